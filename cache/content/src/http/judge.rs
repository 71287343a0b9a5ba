//! The judge: one pure function from question and answer to verdict.

use super::{Expectation, Representation, ResponseHead};
use std::ops::Range;
use std::time::Duration;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A 206 that fits: the body carries exactly these bytes of the version.
    Continue {
        /// First to past-the-end byte that the body will carry.
        bytes: Range<u64>,
        /// What the answer says about the version.
        representation: Representation,
    },
    /// A 200: the body is the whole representation from byte 0. With a known version it is the same one.
    Whole {
        /// What the answer says about the version.
        representation: Representation,
    },
    /// A good answer to HEAD.
    Described {
        /// What the answer says about the version.
        representation: Representation,
    },
    /// The origin now names another version than the known one: nothing of this body belongs to it.
    Changed(ChangeReason),
    /// 416; the complete length if the origin named it.
    Unsatisfiable {
        /// N of `bytes */N`.
        length: Option<u64>,
    },
    /// 304 to our conditional request.
    NotModified {
        /// What the answer says about the version.
        representation: Representation,
    },
    /// A redirect that may be followed; `location` is verbatim.
    Redirect {
        /// The Location value.
        location: String,
    },
    /// Worth another try later.
    Transient {
        /// The status code.
        status: u16,
        /// The origin's wish, capped at 24 h.
        retry_after: Option<Duration>,
    },
    /// Not worth another try without a change by somebody.
    Permanent {
        /// The status code.
        status: u16,
    },
    /// The answer breaks HTTP; nothing of it may be used.
    Protocol(ProtocolFault),
}

/// By what a change of version was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeReason {
    /// 412 to our precondition.
    PreconditionFailed,
}

/// How an answer breaks the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolFault {
    /// 206 though no range was asked for.
    #[error("the server sent a partial answer to a question for the whole")]
    UnaskedPartial,
}

/// Judges an answer; `now` is the wall clock in seconds since the Unix epoch (Retry-After dates).
#[must_use]
pub fn judge(expectation: &Expectation, head: &ResponseHead, now: i64) -> Verdict {
    let _ = (expectation, head, now);
    Verdict::Protocol(ProtocolFault::UnaskedPartial)
}
