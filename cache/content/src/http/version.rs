//! Is the answer of the known version?

use super::{ChangeReason, Known, ProtocolFault, Verdict};
use crate::Validator;
use crate::validator::single;
use ::http::header::{ETAG, HeaderMap, LAST_MODIFIED};

/// Why an answer does not carry the known version; the small half of a [`Verdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is of another version.
    Changed(ChangeReason),
    /// It breaks the rules.
    Protocol(ProtocolFault),
}

impl From<ProtocolFault> for Refusal {
    fn from(fault: ProtocolFault) -> Self {
        Self::Protocol(fault)
    }
}

impl From<Refusal> for Verdict {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Changed(reason) => Self::Changed(reason),
            Refusal::Protocol(fault) => Self::Protocol(fault),
        }
    }
}

/// How an answer's validator stands to the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Likeness {
    /// Byte-identical.
    Same,
    /// The answer names none.
    Unnamed,
    /// Another one.
    Different(ChangeReason),
}

/// Compares the answer's validator with a known strong one, byte by byte.
///
/// The answer's own strength needs no second proof: what is identical to a strong mark is that mark.
pub(super) fn compare(known: &Validator, headers: &HeaderMap) -> Likeness {
    match known {
        Validator::StrongEtag(etag) => match single(headers, ETAG) {
            Ok(Some(value)) if value == etag => Likeness::Same,
            Ok(None) => Likeness::Unnamed,
            // another tag, a weak one, or several.
            Ok(Some(_)) | Err(_) => Likeness::Different(ChangeReason::Etag),
        },
        // an ETag where there was none is another representation.
        Validator::LastModified(_) if headers.contains_key(ETAG) => Likeness::Different(ChangeReason::ValidatorKind),
        Validator::LastModified(date) => match single(headers, LAST_MODIFIED) {
            Ok(Some(value)) if value == date => Likeness::Same,
            Ok(None) => Likeness::Unnamed,
            Ok(Some(_)) | Err(_) => Likeness::Different(ChangeReason::LastModified),
        },
    }
}

/// How a difference of the complete length is to be taken, when the validator is the same or vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LengthDifference {
    /// No difference, or nothing to compare.
    None,
    /// A date is a weak promise, and an unnamed version may well be another: the file has changed.
    Changed,
    /// The same strong ETag is said again with another length: the origin contradicts itself.
    Contradiction,
}

/// Compares an answer's complete length with the known one.
pub(super) fn compare_length(known: &Known, likeness: Likeness, length: Option<u64>) -> LengthDifference {
    match (known.length, length) {
        (Some(known_length), Some(length)) if known_length != length => match (&known.validator, likeness) {
            (Some(Validator::StrongEtag(_)), Likeness::Same) => LengthDifference::Contradiction,
            _ => LengthDifference::Changed,
        },
        _ => LengthDifference::None,
    }
}
