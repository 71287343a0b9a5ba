//! What an answer says about the version that it carries.

use crate::Validator;
use crate::digest::ExpectedDigest;

/// Whether the origin serves byte ranges of this resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSupport {
    /// It has sent a 206, or says `Accept-Ranges: bytes`.
    Yes,
    /// It says `Accept-Ranges: none`, answered a range with 200, or speaks HTTP/1.0.
    No,
    /// It has not said.
    Unknown,
}

/// Why an answer may not be stored (RFC 9111 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotStored {
    /// `Cache-Control: no-store`.
    NoStore,
}

/// Why an answer may be stored for its own job but not shared with peers (T-31 to T-37).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotShared {
    /// The request carried something personal.
    PersonalRequest,
}

/// The facts of one answer about the selected representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    /// The strong validator, if the answer gave one.
    pub validator: Option<Validator>,
    /// The complete length, if the answer gave one.
    pub length: Option<u64>,
    /// Whether ranges can be asked for.
    pub ranges: RangeSupport,
    /// Digests of the whole representation that the origin named, strongest first.
    pub digests: Vec<ExpectedDigest>,
    /// Last-Modified as seconds since the Unix epoch, for the delivered file's time.
    pub last_modified: Option<i64>,
    /// Whether the bytes may be kept.
    pub storable: Result<(), NotStored>,
    /// Whether the bytes may be offered to peers.
    pub shareable: Result<(), NotShared>,
}
