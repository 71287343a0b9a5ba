//! Which bytes a 206 carries, and what may be joined to it (RFC 9110 sections 14.4 and 15.3.7; RFC 9111 sections 3.3 and 3.4).

use super::ranges::{Selected, select};
use crate::Validator;
use crate::digest::{ExpectedDigest, of_representation};
use crate::http::{ContentRange, Framing, ResponseHead};
use ::http::header::{HeaderMap, RANGE};
use std::ops::Range;

/// What a 206 carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// These bytes of a representation of this length.
    At {
        /// Which.
        bytes: Range<u64>,
        /// Bytes of the whole.
        length: u64,
    },
    /// The last so many bytes: as many as were asked for and as the answer's length says, but not as its `Content-Range` says. They are
    /// counted from the end alone, for nobody knows which of its numbers is wrong.
    AtEnd {
        /// How many.
        count: u64,
        /// Bytes of the whole.
        length: u64,
    },
}

impl Part {
    /// Bytes that the body has.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::At { bytes, .. } => bytes.end - bytes.start,
            Self::AtEnd { count, .. } => *count,
        }
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::At { length, .. } | Self::AtEnd { length, .. } => *length,
        }
    }
}

/// What the answer to a request for one range carries; `None` for whatever is not exactly a part of what was asked for.
#[must_use]
pub fn part_of(request: &HeaderMap, head: &ResponseHead) -> Option<Part> {
    if head.status != 206 {
        return None;
    }
    let Ok(ContentRange::Satisfied { first, last, complete: Some(length) }) = ContentRange::of(&head.headers) else {
        return None;
    };
    let Selected::Ranges(asked) = select(request, length) else { return None };
    let [asked] = asked.as_slice() else { return None };
    let named = match Framing::of(head).ok()? {
        Framing::Exact(named) => Some(named),
        Framing::Marked => None,
        Framing::UntilClose => return None,
    };
    let is_asked_for = first == asked.start && last < asked.end;
    match suffix_of(request) {
        _ if is_asked_for && named.is_none_or(|named| named == last - first + 1) => {
            Some(Part::At { bytes: first..last + 1, length })
        }
        Some(count) if named == Some(count) && count <= length && last + 1 == length => {
            Some(Part::AtEnd { count, length })
        }
        _ => None,
    }
}

/// The number of last bytes that a request asks for, where it asks for nothing else.
#[must_use]
pub fn suffix_of(request: &HeaderMap) -> Option<u64> {
    let mut values = request.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (unit, set) = value.to_str().ok()?.split_once('=')?;
    let count = set.trim().strip_prefix('-')?;
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    count.parse().ok().filter(|_| is_number && unit.trim().eq_ignore_ascii_case("bytes"))
}

/// Under what parts of two answers may become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joint {
    /// Both carry this strong validator.
    Validator(Validator),
    /// They carry no common one, but a digest of the whole that the joined bytes must keep before anybody sees them.
    Digest(Vec<ExpectedDigest>),
}

/// Under what the parts that came with these fields may be joined; `now` is in seconds since the Unix epoch.
#[must_use]
pub fn joint(stored: &HeaderMap, later: &HeaderMap, now: i64) -> Option<Joint> {
    match (Validator::select(stored, now), Validator::select(later, now)) {
        (Ok(one), Ok(other)) if one == other => return Some(Joint::Validator(one)),
        // Two versions: no digest of one says anything about the other.
        (Ok(_), Ok(_)) => return None,
        _ => {}
    }
    let mut digests = of_representation(later, true);
    digests.extend(of_representation(stored, true));
    digests.retain(|digest| digest.algorithm.is_collision_resistant());
    (!digests.is_empty()).then_some(Joint::Digest(digests))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::{NOW, head};

    fn of(range: &str, fields: &[(&'static str, &str)]) -> Option<Part> {
        part_of(&head(200, &[("range", range)]).headers, &head(206, fields))
    }

    #[test]
    fn a_part_is_what_was_asked_for_and_no_byte_else() {
        let at = |bytes: Range<u64>| Some(Part::At { bytes, length: 10 });
        let answer = |range: &'static str, length: &'static str| [("content-range", range), ("content-length", length)];
        assert_eq!(of("bytes=2-4", &answer("bytes 2-4/10", "3")), at(2..5));
        assert_eq!(of("bytes=2-", &answer("bytes 2-4/10", "3")), at(2..5), "it may end earlier (R-21)");
        assert_eq!(of("bytes=-3", &answer("bytes 7-9/10", "3")), at(7..10));
        for (asked, range, length) in [
            ("bytes=2-4", "bytes 3-4/10", "2"),
            ("bytes=2-4", "bytes 2-5/10", "4"),
            ("bytes=2-4", "bytes 2-4/10", "4"),
            ("bytes=2-4", "bytes 2-4/*", "3"),
            ("bytes=2-4,8-9", "bytes 2-4/10", "3"),
            ("bytes=-3", "bytes 7-9/10", "2"),
        ] {
            assert_eq!(of(asked, &answer(range, length)), None, "{asked} {range} {length}");
        }
        assert_eq!(of("bytes=2-4", &[("content-range", "bytes 2-4/10")]), None, "its end cannot be seen");
    }

    #[test]
    fn r24_where_the_numbers_contradict_each_other_only_the_end_is_certain() {
        let answer = [("content-range", "bytes 4-9/10"), ("content-length", "5")];
        assert_eq!(of("bytes=-5", &answer), Some(Part::AtEnd { count: 5, length: 10 }));
        assert_eq!(of("bytes=4-9", &answer), None);
        assert_eq!(of("bytes=-5", &[("content-range", "bytes 0-4/10"), ("content-length", "5")]), None, "not the end");
        assert_eq!(of("bytes=-6", &answer), None);
    }

    #[test]
    fn only_one_range_from_the_end_is_a_suffix() {
        let suffix = |value: &str| suffix_of(&head(200, &[("range", value)]).headers);
        assert_eq!((suffix("bytes=-5"), suffix("Bytes = -5")), (Some(5), Some(5)));
        for value in ["bytes=5-", "bytes=-", "bytes=-5,-6", "items=-5", "bytes=--5"] {
            assert_eq!(suffix(value), None, "{value}");
        }
    }

    #[test]
    fn r41_parts_are_joined_under_one_strong_validator_or_a_digest_of_the_whole() {
        let joint = |one: &[(&'static str, &str)], other: &[(&'static str, &str)]| {
            joint(&head(206, one).headers, &head(206, other).headers, NOW)
        };
        let (a, b, weak) = ([("etag", "\"a\"")], [("etag", "\"b\"")], [("etag", "W/\"a\"")]);
        assert!(matches!(joint(&a, &a), Some(Joint::Validator(_))));
        assert_eq!((joint(&a, &b), joint(&weak, &weak), joint(&[], &[])), (None, None, None));
        let digest = [("repr-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:")];
        assert!(matches!(joint(&[], &digest), Some(Joint::Digest(found)) if found.len() == 1));
        assert!(matches!(joint(&digest, &a), Some(Joint::Digest(_))));
        let other = [("etag", "\"b\""), digest[0]];
        assert_eq!(joint(&a, &other), None, "another version");
    }
}
