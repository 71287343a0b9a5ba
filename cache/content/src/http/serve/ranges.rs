//! Which bytes a `Range` means (RFC 9110 section 14; R-55).

use ::http::header::{HeaderMap, RANGE};
use std::ops::Range;

/// Ranges that one request may name; with more, the whole is sent.
pub const MAX_RANGES: usize = 16;

/// What of a representation is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selected {
    /// All of it (200): nothing else was asked for, or what was asked for is no range.
    Whole,
    /// These bytes (206): one range as it is, several as parts, none of which touches another.
    Ranges(Vec<Range<u64>>),
    /// None of the ranges has a byte (416).
    Unsatisfiable,
}

/// The bytes that a request means of a representation with this length. A field that is malformed, of another unit, or said twice
/// is as if it were not there (RFC 9110 section 14.2).
#[must_use]
pub fn select(request: &HeaderMap, length: u64) -> Selected {
    let mut values = request.get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Selected::Whole };
    let Some(ranges) = value.to_str().ok().and_then(|text| parse(text, length)) else { return Selected::Whole };
    if ranges.is_empty() {
        return Selected::Unsatisfiable;
    }
    Selected::Ranges(coalesce(ranges))
}

/// The satisfiable ranges; `None` where the field is to be ignored.
fn parse(text: &str, length: u64) -> Option<Vec<Range<u64>>> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    let mut named = 0;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        named += 1;
        if named > MAX_RANGES {
            return None;
        }
        let (first, last) = spec.split_once('-')?;
        let range = match (number(first)?, number(last)?) {
            (None, None) => return None,
            // The last so many bytes; all, where there are fewer.
            (None, Some(count)) => length.saturating_sub(count)..length,
            (Some(first), Some(last)) if last < first => return None,
            (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
            (Some(first), None) => first..length,
        };
        if range.start < range.end {
            ranges.push(range);
        }
    }
    (named > 0).then_some(ranges)
}

/// Digits alone, or nothing; `None` for anything else. What is too large for a number is beyond every file.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

/// Joins what overlaps or touches, in ascending order (RFC 9110 section 15.3.7.2 allows both).
fn coalesce(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;
    use proptest::prelude::*;

    fn one(range: Range<u64>) -> Selected {
        Selected::Ranges(std::iter::once(range).collect())
    }

    fn of(value: &str, length: u64) -> Selected {
        select(&head(200, &[("range", value)]).headers, length)
    }

    #[test]
    fn single_ranges_are_clipped_to_the_length() {
        assert_eq!(of("bytes=0-0", 10), one(0..1));
        assert_eq!(of("bytes=5-", 10), one(5..10));
        assert_eq!(of("Bytes=5-99", 10), one(5..10));
        assert_eq!(of("bytes=-3", 10), one(7..10));
        assert_eq!(of("bytes=-30", 10), one(0..10));
        assert_eq!(of("bytes=0-18446744073709551615999", 10), one(0..10));
    }

    #[test]
    fn several_are_joined_where_they_touch() {
        assert_eq!(of("bytes=8-9, 0-1,2-3", 10), Selected::Ranges(vec![0..4, 8..10]));
        assert_eq!(of("bytes=0-5,3-9", 10), one(0..10));
        assert_eq!(of("bytes=20-,0-1", 10), one(0..2), "one that has no byte is left out");
    }

    #[test]
    fn without_a_byte_it_is_416_and_garbage_is_ignored() {
        for value in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=11-12,10-"] {
            assert_eq!(of(value, 10), Selected::Unsatisfiable, "{value}");
        }
        assert_eq!(of("bytes=0-", 0), Selected::Unsatisfiable);
        for value in
            ["bytes", "bytes=", "bytes=a-", "bytes=3-1", "bytes=-", "bytes=1-2-3", "items=0-1", "bytes=+1-2", "bytes=,"]
        {
            assert_eq!(of(value, 10), Selected::Whole, "{value}");
        }
        let many = (0..=MAX_RANGES).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect::<Vec<_>>().join(",");
        assert_eq!(of(&format!("bytes={many}"), 100), Selected::Whole, "R-55");
        assert_eq!(select(&head(200, &[("range", "bytes=0-1"), ("range", "bytes=2-3")]).headers, 10), Selected::Whole);
    }

    proptest! {
        #[test]
        fn every_selected_byte_exists_once(value in "bytes=[0-9,-]{0,40}", length in 0u64..100) {
            if let Selected::Ranges(ranges) = of(&value, length) {
                prop_assert!(!ranges.is_empty() && ranges.len() <= MAX_RANGES);
                prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= length));
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
