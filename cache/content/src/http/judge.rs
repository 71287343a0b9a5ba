//! The judge: one pure function from question and answer to verdict.

use super::framing::Framing;
use super::{ChangeReason, Expectation, Location, ProtocolFault, Representation, ResponseHead};
use super::{partial, redirect, status, whole};
use std::ops::Range;
use std::time::Duration;

/// Changes of version that one job puts up with before it fails with "source changes".
pub const MAX_CHANGES_PER_JOB: u32 = 3;

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A 206 that fits: the body carries exactly these bytes of the version.
    Continue {
        /// First to past-the-end byte that the body will carry; may end earlier than asked.
        bytes: Range<u64>,
        /// What the answer says about the version.
        representation: Representation,
    },
    /// A 200: the body is the whole representation from byte 0. With a known version it is the same one, if that
    /// has a validator; without one, bytes held must be dropped.
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
    ///
    /// Whoever wants to start over with this very answer judges it again with `known: None`.
    Changed(ChangeReason),
    /// 416; the complete length if the origin named it. With all blocks held: verify and finish; without a
    /// length: ask HEAD; at an empty file: done.
    Unsatisfiable {
        /// N of `bytes */N`; never another than the known one.
        length: Option<u64>,
    },
    /// 304 to our conditional request.
    NotModified {
        /// What the answer says about the version.
        representation: Representation,
    },
    /// A redirect that may be followed if [`super::may_follow`] agrees; `location` is verbatim.
    Redirect {
        /// The Location value.
        location: Location,
    },
    /// Worth another try later.
    Transient {
        /// The status code.
        status: u16,
        /// The origin's wish, capped at 24 h.
        retry_after: Option<Duration>,
    },
    /// The server, or a proxy (407), wants credentials.
    Credentials {
        /// The status code: 401 or 407.
        status: u16,
    },
    /// Refused as asked, though a simpler question may be answered (R-11, "degrade, never die").
    AskSimpler {
        /// The status code.
        status: u16,
        /// What to leave out.
        without: Simpler,
    },
    /// Not worth another try without a change by somebody.
    Permanent {
        /// The status code.
        status: u16,
    },
    /// The answer breaks HTTP; nothing of it may be used.
    Protocol(ProtocolFault),
}

/// What a simpler question leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Simpler {
    /// If-Match: ask under If-Range.
    IfMatch,
    /// Range: ask for the whole.
    Range,
    /// HEAD: ask with GET.
    Head,
}

impl From<ProtocolFault> for Verdict {
    fn from(fault: ProtocolFault) -> Self {
        Self::Protocol(fault)
    }
}

/// Judges an answer; `now` is the wall clock in seconds since the Unix epoch (for dates).
#[must_use]
pub fn judge(expectation: &Expectation, head: &ResponseHead, now: i64) -> Verdict {
    // R-32 comes first: where the message's end is in doubt, nothing else in it can be trusted.
    let framing = match Framing::of(head) {
        Ok(framing) => framing,
        Err(fault) => return fault.into(),
    };
    match head.status {
        200 | 203 => whole::judge(expectation, head, framing, now),
        206 => partial::judge(expectation, head, framing, now).unwrap_or_else(Verdict::from),
        304 => whole::judge_not_modified(expectation, head, now),
        300..=303 | 307 | 308 => redirect::judge(head),
        416 => partial::judge_unsatisfiable(expectation, head),
        // interim answers are the HTTP client's to skip, at most MAX_INTERIM_ANSWERS of them.
        0..=199 => ProtocolFault::NotFinal.into(),
        _ => status::judge(expectation, head, now),
    }
}
