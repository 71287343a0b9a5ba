//! What an HTTP answer means, decided before a byte of its body is kept.
//!
//! [`judge`] takes what was asked and what came back and gives a [`Verdict`]; every rule is a branch with its
//! citation. The shell that speaks HTTP carries the verdict out and decides nothing.

mod judge;
mod representation;

pub use judge::{ChangeReason, ProtocolFault, Verdict, judge};
pub use representation::{NotShared, NotStored, RangeSupport, Representation};

use crate::Validator;

/// The head of an answer: status, headers, protocol version.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The header fields, repeated ones kept apart.
    pub headers: ::http::HeaderMap,
    /// Whether the server spoke HTTP/1.0 or older.
    pub is_http10: bool,
}

/// What the request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Metadata alone (HEAD).
    Head,
    /// The whole representation (GET without Range).
    Whole,
    /// One byte range, `last` inclusive; open-ended without it.
    Range {
        /// First byte.
        first: u64,
        /// Last byte, inclusive.
        last: Option<u64>,
    },
}

/// The precondition that the request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    None,
    /// If-Range with the known validator.
    IfRange,
    /// If-Match, or If-Unmodified-Since for a date.
    IfMatch,
    /// If-None-Match or If-Modified-Since.
    IfNoneMatch,
}

/// What earlier answers, or the job, established about the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The strong validator of the version that bytes are held of.
    pub validator: Option<Validator>,
    /// The complete length, once known.
    pub length: Option<u64>,
}

/// Everything that [`judge`] needs to know about the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// What was asked.
    pub asked: Asked,
    /// Under which precondition.
    pub precondition: Precondition,
    /// The version that is being assembled; `None` on first contact.
    pub known: Option<Known>,
    /// Whether the request carried credentials, cookies, a client certificate or headers of the user's own (T-31, T-34):
    /// the answer is then private whatever its headers say.
    pub privacy: RequestPrivacy,
}

/// Whether the request itself makes its answer private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPrivacy {
    /// Built from the allow-list alone.
    Plain,
    /// Carried something that only this user has.
    Personal,
}
