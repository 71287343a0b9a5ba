//! The `Content-Range` field (RFC 9110 section 14.4), read strictly: what is not exactly the grammar is refused.

use super::ProtocolFault;
use ::http::header::{CONTENT_RANGE, HeaderMap};

/// A valid `Content-Range` value with the unit `bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes first-last/complete`; `complete` is `None` for `*`. Always `first <= last < complete`.
    Satisfied {
        /// First byte.
        first: u64,
        /// Last byte, inclusive.
        last: u64,
        /// The complete length, where the origin names it.
        complete: Option<u64>,
    },
    /// `bytes */complete`, as a 416 carries it.
    Unsatisfied {
        /// The complete length.
        complete: u64,
    },
}

impl ContentRange {
    /// Parses one field value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.split_once(' ')?;
        // Range units compare case-insensitively (RFC 9110 section 14.1).
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (range, complete) = rest.split_once('/')?;
        if range == "*" {
            return Some(Self::Unsatisfied { complete: number(complete)? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        let is_ordered = first <= last && complete.is_none_or(|complete| last < complete);
        is_ordered.then_some(Self::Satisfied { first, last, complete })
    }

    /// The one `Content-Range` of a head (R-20: exactly one, valid).
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ProtocolFault> {
        let mut values = headers.get_all(CONTENT_RANGE).iter();
        let value = values.next().ok_or(ProtocolFault::MissingContentRange)?;
        if values.next().is_some() {
            return Err(ProtocolFault::SeveralContentRanges);
        }
        value.to_str().ok().and_then(Self::parse).ok_or(ProtocolFault::MalformedContentRange)
    }
}

/// Digits only, at most 2^63 - 1: a larger length breaks signed arithmetic somewhere on the way.
pub(super) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= i64::MAX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_the_three_forms() {
        let satisfied = |first, last, complete| Some(ContentRange::Satisfied { first, last, complete });
        assert_eq!(ContentRange::parse("bytes 0-99/100"), satisfied(0, 99, Some(100)));
        assert_eq!(ContentRange::parse("Bytes 5-5/*"), satisfied(5, 5, None));
        assert_eq!(ContentRange::parse("bytes */0"), Some(ContentRange::Unsatisfied { complete: 0 }));
    }

    #[test]
    fn refuses_everything_else() {
        let wrong = [
            "",
            "bytes",
            "bytes ",
            "bytes 0-99",
            "bytes 0-99/",
            "bytes 0-/100",
            "bytes -99/100",
            "bytes 9-8/100",
            "bytes 0-100/100",
            "bytes */*",
            "bytes */",
            "bytes=0-99/100",
            "bytes: 0-99/100",
            "bytes  0-99/100",
            "bytes 0 - 99/100",
            "bytes +0-99/100",
            "bytes 0x0-0x9/100",
            "lines 0-99/100",
            "bytes 0-99/100, bytes 100-199/200",
            "bytes 0-99/100 ",
            "bytes 0-9223372036854775808/*",
            "bytes 0-1/18446744073709551616",
            "bytes 0-1/2/3",
            "none",
        ];
        for text in wrong {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_always_keeps_its_order(text in "(bytes )?[0-9*/ -]{0,24}") {
            if let Some(ContentRange::Satisfied { first, last, complete }) = ContentRange::parse(&text) {
                prop_assert!(first <= last && complete.is_none_or(|c| last < c));
            }
        }
    }
}
