//! Where a body ends, as the head announces it (R-32; RFC 9112 section 6.3).

use super::content_range::number;
use super::{ProtocolFault, ResponseHead};
use ::http::Version;
use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

/// Bytes of the largest head (names and values) that is looked at (T-22).
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields of the largest head (T-22).
pub const MAX_HEAD_FIELDS: usize = 100;
/// Interim answers (1xx) that may precede a final one.
pub const MAX_INTERIM_ANSWERS: usize = 8;
/// Seconds until the final head must be there (T-22).
pub const MAX_SECONDS_TO_HEAD: u64 = 30;

/// How the end of a body will be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// After exactly this many bytes.
    Exact(u64),
    /// By a mark in the stream (last chunk, or END_STREAM in HTTP/2 and later): a cut is noticed.
    Marked,
    /// When the connection closes: a cut looks like the end.
    UntilClose,
}

impl Framing {
    /// The framing that `head` announces for an answer that has a body.
    pub fn of(head: &ResponseHead) -> Result<Self, ProtocolFault> {
        check_size(head)?;
        let length = content_length(head)?;
        let is_chunked = transfer_coding(head)?;
        match (length, is_chunked) {
            // RFC 9112 section 6.1: likely an attempt at smuggling or splitting.
            (Some(_), true) => Err(ProtocolFault::LengthAndTransferCoding),
            (Some(length), false) => Ok(Self::Exact(length)),
            (None, true) => Ok(Self::Marked),
            (None, false) if head.version >= Version::HTTP_2 => Ok(Self::Marked),
            (None, false) => Ok(Self::UntilClose),
        }
    }

    /// The announced length, if there is one.
    #[must_use]
    pub fn length(self) -> Option<u64> {
        match self {
            Self::Exact(length) => Some(length),
            Self::Marked | Self::UntilClose => None,
        }
    }
}

fn check_size(head: &ResponseHead) -> Result<(), ProtocolFault> {
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head.headers.len() > MAX_HEAD_FIELDS || bytes > MAX_HEAD_BYTES {
        return Err(ProtocolFault::HeadTooLarge);
    }
    Ok(())
}

/// Identical repetitions count once (RFC 9110 section 8.6); anything else that is not one number is a fault.
fn content_length(head: &ResponseHead) -> Result<Option<u64>, ProtocolFault> {
    let mut length = None;
    for value in head.headers.get_all(CONTENT_LENGTH) {
        let text = value.to_str().map_err(|_| ProtocolFault::MalformedLength)?;
        for part in text.split(',') {
            let part = number(part.trim_matches([' ', '\t'])).ok_or(ProtocolFault::MalformedLength)?;
            if length.is_some_and(|length| length != part) {
                return Err(ProtocolFault::ConflictingLengths);
            }
            length = Some(part);
        }
    }
    Ok(length)
}

/// Whether the body is chunked.
fn transfer_coding(head: &ResponseHead) -> Result<bool, ProtocolFault> {
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(only), None)
            if head.version == Version::HTTP_11
                && only.to_str().is_ok_and(|text| text.trim().eq_ignore_ascii_case("chunked")) =>
        {
            Ok(true)
        }
        _ => Err(ProtocolFault::TransferCoding),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    #[test]
    fn the_three_ways_to_end_are_told_apart() {
        assert_eq!(Framing::of(&head(200, &[("content-length", "5")])), Ok(Framing::Exact(5)));
        assert_eq!(Framing::of(&head(200, &[("transfer-encoding", "Chunked")])), Ok(Framing::Marked));
        assert_eq!(Framing::of(&head(200, &[])), Ok(Framing::UntilClose));
        let h2 = ResponseHead { version: Version::HTTP_2, ..head(200, &[]) };
        assert_eq!(Framing::of(&h2), Ok(Framing::Marked));
    }

    #[test]
    fn r32_identical_lengths_are_one_differing_ones_a_fault() {
        let lengths = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|v| ("content-length", *v)).collect();
            Framing::of(&head(200, &fields))
        };
        assert_eq!(lengths(&["5", "5"]), Ok(Framing::Exact(5)));
        assert_eq!(lengths(&["5, 5"]), Ok(Framing::Exact(5)));
        assert_eq!(lengths(&["5", "6"]), Err(ProtocolFault::ConflictingLengths));
        assert_eq!(lengths(&["5,6"]), Err(ProtocolFault::ConflictingLengths));
        for wrong in ["-1", "+5", "", "5.0", "0x5", "9223372036854775808", "99999999999999999999", "5;6"] {
            assert_eq!(lengths(&[wrong]), Err(ProtocolFault::MalformedLength), "{wrong}");
        }
        assert_eq!(lengths(&["9223372036854775807"]), Ok(Framing::Exact(i64::MAX as u64)));
    }

    #[test]
    fn r32_length_and_transfer_coding_exclude_each_other() {
        let both = head(200, &[("content-length", "5"), ("transfer-encoding", "chunked")]);
        assert_eq!(Framing::of(&both), Err(ProtocolFault::LengthAndTransferCoding));
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "xchunked", ""] {
            let odd = head(200, &[("transfer-encoding", coding)]);
            assert_eq!(Framing::of(&odd), Err(ProtocolFault::TransferCoding), "{coding}");
        }
        let old = ResponseHead { version: Version::HTTP_10, ..head(200, &[("transfer-encoding", "chunked")]) };
        assert_eq!(Framing::of(&old), Err(ProtocolFault::TransferCoding));
    }

    #[test]
    fn a_head_is_bounded_in_fields_and_bytes() {
        let many = |n: usize| head(200, &vec![("x", "y"); n]);
        assert_eq!(Framing::of(&many(MAX_HEAD_FIELDS)), Ok(Framing::UntilClose));
        assert_eq!(Framing::of(&many(MAX_HEAD_FIELDS + 1)), Err(ProtocolFault::HeadTooLarge));
        let long = "v".repeat(MAX_HEAD_BYTES);
        assert_eq!(Framing::of(&head(200, &[("x", &long)])), Err(ProtocolFault::HeadTooLarge));
    }
}
