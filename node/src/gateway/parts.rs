//! Parts of a body in memory: what answers to ranges have brought, served again and joined to one another.

use super::growing::Growing;
use bytes::Bytes;
use eddy_content::http::serve::{Part, Selected, select, suffix_of};
use http::HeaderMap;
use std::ops::Range;
use std::sync::Arc;

/// Parts of one version that lie apart; with more, those that came last stay alone.
const MOST: usize = 64;

/// What of a body is here.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    /// Ascending, none overlapping another.
    pieces: Vec<Piece>,
    anchor: Anchor,
}

/// From where the bytes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    Start,
    /// Only the distance from the end is certain ([`Part::AtEnd`]).
    End,
}

/// Bytes, their place, and the body in whose memory they lie.
#[derive(Debug, Clone)]
struct Piece {
    at: u64,
    bytes: Bytes,
    owner: Arc<Growing>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// What of it lies there.
    fn clip(&self, range: &Range<u64>) -> Option<Self> {
        let (from, to) = (self.at.max(range.start), self.end().min(range.end));
        let slice = || self.bytes.slice((from - self.at) as usize..(to - self.at) as usize);
        (from < to).then(|| Self { at: from, bytes: slice(), owner: self.owner.clone() })
    }
}

impl Parts {
    /// The part whose bytes are all in `body`.
    pub(super) fn of(part: &Part, body: Arc<Growing>) -> Option<Self> {
        let bytes = body.all().filter(|bytes| bytes.len() as u64 == part.count())?;
        let (at, anchor) = match part {
            Part::At { bytes, .. } => (bytes.start, Anchor::Start),
            Part::AtEnd { count, length } => (length - count, Anchor::End),
        };
        Some(Self { pieces: vec![Piece { at, bytes, owner: body }], anchor })
    }

    /// These and later ones of the same version, which win where both have a byte; `None` where they cannot be counted together.
    pub(super) fn joined(&self, later: &Self) -> Option<Self> {
        if self.anchor != Anchor::Start || later.anchor != Anchor::Start {
            return None;
        }
        let mut pieces = later.pieces.clone();
        let mut at = 0;
        for piece in &later.pieces {
            pieces.extend(self.pieces.iter().filter_map(|old| old.clip(&(at..piece.at))));
            at = piece.end();
        }
        pieces.extend(self.pieces.iter().filter_map(|old| old.clip(&(at..u64::MAX))));
        pieces.sort_by_key(|piece| piece.at);
        (pieces.len() <= MOST).then_some(Self { pieces, anchor: Anchor::Start })
    }

    /// Bytes that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    /// The beginning of the body, as far as it is here.
    pub(super) fn beginning(&self) -> Option<Bytes> {
        let mut end = 0;
        for piece in self.pieces.iter().take_while(|_| self.anchor == Anchor::Start) {
            if piece.at != end {
                break;
            }
            end = piece.end();
        }
        (end > 0).then(|| self.slice(&(0..end))).flatten()
    }

    /// Whether the ranges that a request wants of a body of this length are here.
    pub(super) fn satisfy(&self, request: &HeaderMap, length: u64) -> bool {
        match select(request, length) {
            Selected::Whole => self.slice(&(0..length)).is_some(),
            Selected::Ranges(_) if self.anchor == Anchor::End => {
                suffix_of(request).is_some_and(|count| count <= self.bytes())
            }
            Selected::Ranges(ranges) => ranges.iter().all(|range| self.slice(range).is_some()),
            Selected::Unsatisfiable => self.anchor == Anchor::Start,
        }
    }

    /// The pieces that these bytes lie in, in order, if all are here.
    pub(super) fn pieces(&self, range: &Range<u64>) -> Option<Vec<Bytes>> {
        let mut at = range.start;
        let mut found = Vec::new();
        for piece in self.pieces.iter().filter_map(|piece| piece.clip(range)) {
            if piece.at != at {
                return None;
            }
            at = piece.end();
            found.push(piece.bytes);
        }
        (at == range.end).then_some(found)
    }

    /// These bytes, if all are here.
    pub(super) fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        let pieces = self.pieces(range)?;
        match pieces.as_slice() {
            [] => None,
            [all] => Some(all.clone()),
            _ => Some(Bytes::from(pieces.concat())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::RANGE;

    const WHOLE: &[u8] = b"0123456789";

    fn at(range: Range<usize>) -> Parts {
        let part = Part::At { bytes: range.start as u64..range.end as u64, length: 10 };
        Parts::of(&part, Growing::whole(Bytes::from_static(&WHOLE[range]), None)).expect("all of it")
    }

    fn wants(range: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(RANGE, HeaderValue::from_static(range))])
    }

    #[test]
    fn every_range_of_what_is_here_and_no_byte_else() {
        let parts = at(0..3).joined(&at(5..8)).and_then(|parts| parts.joined(&at(2..6))).expect("the same anchor");
        assert_eq!(parts.bytes(), 8);
        for from in 0..10_usize {
            for to in from + 1..=10 {
                let slice = parts.slice(&(from as u64..to as u64));
                assert_eq!(slice.as_deref(), (to <= 8).then(|| &WHOLE[from..to]), "{from}..{to}");
            }
        }
        assert_eq!(parts.beginning().as_deref(), Some(&WHOLE[..8]));
        assert_eq!(at(3..5).beginning(), None);
        assert!(parts.satisfy(&wants("bytes=0-1,4-7"), 10) && !parts.satisfy(&wants("bytes=0-1,7-"), 10));
        assert!(!parts.satisfy(&HeaderMap::new(), 10) && at(0..10).satisfy(&HeaderMap::new(), 10));
    }

    #[test]
    fn r24_what_is_counted_from_the_end_answers_only_who_counts_so() {
        let body = Growing::whole(Bytes::from_static(b"56789"), None);
        let parts = Parts::of(&Part::AtEnd { count: 5, length: 10 }, body).expect("all of it");
        assert!(parts.satisfy(&wants("bytes=-5"), 10) && parts.satisfy(&wants("bytes=-1"), 10));
        assert!(!parts.satisfy(&wants("bytes=6-8"), 10) && !parts.satisfy(&wants("bytes=-6"), 10));
        assert!(parts.beginning().is_none() && parts.joined(&at(0..5)).is_none());
    }
}
