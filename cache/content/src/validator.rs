//! The validator: the mark by which two answers are known to be of the same version.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the longest validator that is kept.
pub const MAX_VALIDATOR_LENGTH: usize = 1024;

/// A strong validator: bytes of one version may be joined under it. A weak one never gets this type.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Validator {
    /// A strong entity tag, quotes included, compared byte by byte (RFC 9110 section 8.8.3.2).
    StrongEtag(String),
    /// A Last-Modified value, verbatim, that is strong by RFC 9110 section 8.8.2.2 with our margin of 60 s.
    LastModified(String),
}

impl Validator {
    /// The value for `If-Range`, verbatim as the origin sent it.
    #[must_use]
    pub fn header_value(&self) -> &str {
        match self {
            Self::StrongEtag(value) | Self::LastModified(value) => value,
        }
    }

    /// One byte that tells the kinds apart in hashes and statements.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::StrongEtag(_) => 1,
            Self::LastModified(_) => 2,
        }
    }
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: the value comes from the origin and may hold terminal controls (T-28).
        match self {
            Self::StrongEtag(value) => write!(f, "etag {}", value.escape_debug()),
            Self::LastModified(value) => write!(f, "last-modified {}", value.escape_debug()),
        }
    }
}
