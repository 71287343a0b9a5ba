//! How much of a file is wanted: all of it, or ranges that are written one behind the other (F-56).
//!
//! A range is what somebody asks for; a stretch is where it lies, once the length of the file is known.

use eddy_content::{BLOCK_SIZE, BlockSet, Geometry};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Most ranges of one file (F-16).
pub const MAX_RANGES: usize = 500;

/// Most runs of blocks that are asked for of one file on demand: what a record has to hold.
pub const MAX_DEMANDED: usize = 10_000;

/// How much of a file is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Portion {
    /// All of it.
    #[default]
    Whole,
    /// These ranges and nothing else.
    Ranges(Ranges),
    /// All of it in the end, and until then what is asked for while the job is there (F-57).
    OnDemand(Demand),
}

impl Portion {
    /// The ranges, if it is not the whole.
    #[must_use]
    pub fn ranges(&self) -> Option<&Ranges> {
        match self {
            Self::Whole | Self::OnDemand(_) => None,
            Self::Ranges(ranges) => Some(ranges),
        }
    }

    /// What was asked for, if it is fetched on demand.
    #[must_use]
    pub fn demand(&self) -> Option<&Demand> {
        match self {
            Self::Whole | Self::Ranges(_) => None,
            Self::OnDemand(demand) => Some(demand),
        }
    }
}

/// A range of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByteRange {
    /// Its first byte.
    pub offset: u64,
    /// Its bytes, at least one; `None` for all up to the end of the file.
    pub length: Option<u64>,
}

impl ByteRange {
    /// The byte behind the last; of one that reaches to the end of the file the last that there can be.
    fn end(self) -> u64 {
        self.length.map_or(u64::MAX, |length| self.offset.saturating_add(length))
    }
}

impl fmt::Display for ByteRange {
    /// As HTTP writes it: first and last byte.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            Some(_) => write!(f, "{}-{}", self.offset, self.end().saturating_sub(1)),
            None => write!(f, "{}-", self.offset),
        }
    }
}

/// Ranges of one file in the order in which they are written: at least one, none of them empty, no byte twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ByteRange>", into = "Vec<ByteRange>")]
pub struct Ranges(Vec<ByteRange>);

/// Why a list is no list of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RangesError {
    /// There is none.
    #[error("there is no range")]
    None,
    /// There are too many.
    #[error("a file has at most {MAX_RANGES} ranges, not {0}")]
    TooMany(usize),
    /// What is asked for on demand lies in too many places.
    #[error("what is wanted of a file lies in at most {MAX_DEMANDED} places, not {0}")]
    Scattered(usize),
    /// One is empty, or reaches further than a file can.
    #[error("the range of {length} bytes at {offset} is empty or too long")]
    Length {
        /// Its first byte.
        offset: u64,
        /// Its bytes.
        length: u64,
    },
    /// Two have a byte in common.
    #[error("the ranges {0} and {1} overlap")]
    Overlap(ByteRange, ByteRange),
}

/// A file does not have what is wanted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the file has {length} bytes, and the range {range} lies outside of it")]
pub struct OutsideFile {
    /// What is wanted.
    pub range: ByteRange,
    /// Bytes of the file.
    pub length: u64,
}

impl Ranges {
    /// These ranges, if they can be asked of some file.
    pub fn new(list: Vec<ByteRange>) -> Result<Self, RangesError> {
        if list.is_empty() {
            return Err(RangesError::None);
        }
        if list.len() > MAX_RANGES {
            return Err(RangesError::TooMany(list.len()));
        }
        for &ByteRange { offset, length } in &list {
            if let Some(length) = length
                && (length == 0 || offset.checked_add(length).is_none())
            {
                return Err(RangesError::Length { offset, length });
            }
        }
        let mut sorted = list.clone();
        sorted.sort_by_key(|range| range.offset);
        for pair in sorted.windows(2) {
            if pair[0].end() > pair[1].offset || pair[0].offset == pair[1].offset {
                return Err(RangesError::Overlap(pair[0], pair[1]));
            }
        }
        Ok(Self(list))
    }

    /// The ranges, in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[ByteRange] {
        &self.0
    }

    /// Where they lie in a file of so many bytes.
    pub fn within(&self, length: u64) -> Result<Stretches, OutsideFile> {
        let stretch = |range: &ByteRange| {
            let end = range.length.map_or(length, |_| range.end());
            let is_inside = range.offset < length && end <= length;
            is_inside.then_some(range.offset..end).ok_or(OutsideFile { range: *range, length })
        };
        self.0.iter().map(stretch).collect::<Result<_, _>>().map(Stretches)
    }

    /// Where they lie in a file whose length nobody names; `None` when something is to be written behind a range that reaches to its
    /// end.
    #[must_use]
    pub fn within_unknown(&self) -> Option<Stretches> {
        let (_, before) = self.0.split_last()?;
        let has_places = before.iter().all(|range| range.length.is_some());
        has_places.then(|| Stretches(self.0.iter().map(|range| range.offset..range.end()).collect()))
    }

    /// Bytes of all, when none reaches to the end of the file.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.0.iter().try_fold(0u64, |sum, range| Some(sum.saturating_add(range.length?)))
    }

    /// The first byte of all and the last, unless one reaches to the end of the file.
    #[must_use]
    pub fn hull(&self) -> (u64, Option<u64>) {
        let first = self.0.iter().map(|range| range.offset).min().unwrap_or_default();
        let end = self.0.iter().map(|range| range.end()).max().unwrap_or(u64::MAX);
        (first, (end < u64::MAX).then(|| end - 1))
    }

    /// The first useful bytes in the order of the file, whole blocks of them and at most so many bytes: first and last.
    #[must_use]
    pub fn beginning(&self, most: u64) -> (u64, u64) {
        let lowest = self.0.iter().min_by_key(|range| range.offset).copied();
        let lowest = lowest.unwrap_or(ByteRange { offset: 0, length: None });
        let first = lowest.offset - lowest.offset % BLOCK_SIZE;
        let end = lowest.end().checked_next_multiple_of(BLOCK_SIZE).unwrap_or(u64::MAX);
        (first, end.min(first.saturating_add(most)) - 1)
    }
}

impl TryFrom<Vec<ByteRange>> for Ranges {
    type Error = RangesError;
    fn try_from(list: Vec<ByteRange>) -> Result<Self, RangesError> {
        Self::new(list)
    }
}

impl From<Ranges> for Vec<ByteRange> {
    fn from(ranges: Ranges) -> Self {
        ranges.0
    }
}

/// What was asked for so far of a file that is fetched on demand: whole blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Demand {
    /// Those behind the end of the file say nothing.
    wanted: BlockSet,
    /// The block that comes first: those before it come last.
    position: u32,
}

impl Demand {
    /// Asks for these ranges as well; what was asked for already is not asked for twice.
    pub fn add(&mut self, ranges: &[ByteRange]) -> Result<(), RangesError> {
        let mut wanted = self.wanted.clone();
        for range in ranges {
            let (offset, first) = (range.offset, range.offset / BLOCK_SIZE);
            let length = range.length.unwrap_or(u64::MAX);
            let first = u32::try_from(first).ok().filter(|_| length > 0);
            let first = first.ok_or(RangesError::Length { offset, length })?;
            let end = range.end().div_ceil(BLOCK_SIZE).min(u64::from(u32::MAX)) as u32;
            wanted.insert(first..end);
        }
        if wanted.run_count() > MAX_DEMANDED {
            return Err(RangesError::Scattered(wanted.run_count()));
        }
        self.wanted = wanted;
        Ok(())
    }

    /// What lies at this byte comes first, then what lies behind.
    pub fn begin_at(&mut self, offset: u64) {
        self.position = u32::try_from(offset / BLOCK_SIZE).unwrap_or(u32::MAX);
    }

    /// The blocks that were asked for.
    #[must_use]
    pub fn blocks(&self, geometry: Geometry) -> BlockSet {
        self.wanted.intersection(&BlockSet::from_run(geometry.all_blocks()))
    }

    /// The block that comes first.
    #[must_use]
    pub fn position(&self) -> u32 {
        self.position
    }
}

/// Where the wanted bytes lie in a file, in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretches(Vec<Range<u64>>);

impl Stretches {
    /// The stretches, in their order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }

    /// Bytes of all.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.iter().fold(0, |sum, stretch| sum.saturating_add(stretch.end - stretch.start))
    }

    /// The byte behind the last of all.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.end).max().unwrap_or_default()
    }

    /// The blocks that they touch.
    #[must_use]
    pub fn blocks(&self, geometry: Geometry) -> BlockSet {
        self.0.iter().map(|stretch| touched(geometry, stretch)).collect()
    }

    /// How many of their bytes lie in these blocks.
    #[must_use]
    pub fn bytes_in(&self, geometry: Geometry, blocks: &BlockSet) -> u64 {
        let runs = blocks.runs().map(|run| geometry.bytes_of(run));
        runs.map(|run| {
            self.0.iter().map(|stretch| overlap(stretch, &run)).map(|bytes| bytes.end - bytes.start).sum::<u64>()
        })
        .sum()
    }

    /// What of these bytes of the file is wanted, and where it stands in what is made of it.
    pub fn placed(&self, piece: Range<u64>) -> impl Iterator<Item = (Range<u64>, u64)> + '_ {
        let mut place = 0u64;
        self.0.iter().filter_map(move |stretch| {
            let wanted = overlap(stretch, &piece);
            let at = place + (wanted.start - stretch.start);
            place = place.saturating_add(stretch.end - stretch.start);
            (!wanted.is_empty()).then_some((wanted, at))
        })
    }
}

/// The blocks that a stretch touches.
#[must_use]
pub fn touched(geometry: Geometry, stretch: &Range<u64>) -> Range<u32> {
    let count = u64::from(geometry.block_count());
    let (start, end) = (stretch.start / BLOCK_SIZE, stretch.end.div_ceil(BLOCK_SIZE));
    start.min(count) as u32..end.min(count) as u32
}

/// What of a stretch lies in `piece`; empty, and inside the stretch, where nothing does.
fn overlap(stretch: &Range<u64>, piece: &Range<u64>) -> Range<u64> {
    let start = piece.start.clamp(stretch.start, stretch.end);
    start..piece.end.clamp(start, stretch.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(list: &[(u64, Option<u64>)]) -> Result<Ranges, RangesError> {
        Ranges::new(list.iter().map(|&(offset, length)| ByteRange { offset, length }).collect())
    }

    #[test]
    fn ranges_that_no_file_can_have_are_refused() {
        assert_eq!(ranges(&[]), Err(RangesError::None));
        assert_eq!(ranges(&[(5, Some(0))]), Err(RangesError::Length { offset: 5, length: 0 }));
        assert_eq!(ranges(&[(5, Some(u64::MAX))]), Err(RangesError::Length { offset: 5, length: u64::MAX }));
        assert!(matches!(ranges(&[(9, Some(2)), (0, Some(10))]), Err(RangesError::Overlap(..))));
        assert!(matches!(ranges(&[(9, None), (20, Some(1))]), Err(RangesError::Overlap(..))));
        assert!(matches!(ranges(&[(7, None), (7, None)]), Err(RangesError::Overlap(..))));
        let many: Vec<_> = (0..=MAX_RANGES as u64).map(|at| (2 * at, Some(1))).collect();
        assert_eq!(ranges(&many), Err(RangesError::TooMany(MAX_RANGES + 1)));
        assert!(ranges(&many[1..]).is_ok());
    }

    #[test]
    fn what_is_asked_for_on_demand_may_overlap_and_is_counted_once() {
        let geometry = Geometry::new(10 * BLOCK_SIZE).expect("small");
        let mut demand = Demand::default();
        let range = |offset, length| ByteRange { offset, length };
        demand.add(&[range(70_000, Some(10)), range(0, Some(100_000)), range(70_000, Some(10))]).expect("legal");
        assert_eq!(demand.blocks(geometry), BlockSet::from_run(0..2));
        demand.add(&[range(9 * BLOCK_SIZE - 1, None)]).expect("legal");
        assert_eq!(demand.blocks(geometry), [0..2, 8..10].into_iter().collect());
        demand.begin_at(9 * BLOCK_SIZE + 5);
        assert_eq!(demand.position(), 9);
        assert!(demand.add(&[range(0, Some(0))]).is_err());
        let mut demand = Demand::default();
        demand.add(&[range(0, Some(1))]).expect("legal");
        let scattered: Vec<_> = (0..MAX_DEMANDED as u64).map(|at| range((20 + 2 * at) * BLOCK_SIZE, Some(1))).collect();
        let before = demand.clone();
        assert!(matches!(demand.add(&scattered), Err(RangesError::Scattered(_))));
        assert_eq!(demand, before, "what is refused changes nothing");
    }

    #[test]
    fn neighbours_do_not_overlap_and_the_order_is_kept() {
        let list = ranges(&[(10, Some(5)), (0, Some(10)), (15, None)]).expect("legal");
        let stretches = list.within(20).expect("inside");
        assert_eq!(stretches.iter().collect::<Vec<_>>(), [10..15, 0..10, 15..20]);
        assert_eq!(stretches.placed(8..12).collect::<Vec<_>>(), [(10..12, 0), (8..10, 13)]);
        assert_eq!((list.length(), list.hull()), (None, (0, None)));
        assert_eq!(list.as_slice()[0].to_string(), "10-14");
        assert_eq!(list.as_slice()[2].to_string(), "15-");
    }

    #[test]
    fn what_lies_outside_of_the_file_is_named() {
        let refused = |list: &[(u64, Option<u64>)]| ranges(list).expect("legal").within(20).map_err(|e| e.to_string());
        assert_eq!(
            refused(&[(0, Some(5)), (18, Some(3))]),
            Err("the file has 20 bytes, and the range 18-20 lies outside of it".into())
        );
        assert!(refused(&[(20, None)]).is_err(), "nothing is left of it");
        assert!(refused(&[(19, None)]).is_ok());
    }

    #[test]
    fn without_a_length_only_the_last_may_reach_to_the_end() {
        let places = |list: &[(u64, Option<u64>)]| {
            ranges(list).expect("legal").within_unknown().map(|s| s.iter().collect::<Vec<_>>())
        };
        assert_eq!(places(&[(5, Some(5)), (20, None)]), Some(vec![5..10, 20..u64::MAX]));
        assert_eq!(places(&[(20, None), (5, Some(5))]), None);
    }

    #[test]
    fn the_beginning_is_whole_blocks_of_the_lowest_range() {
        let beginning = |list: &[(u64, Option<u64>)]| ranges(list).expect("legal").beginning(1 << 20);
        assert_eq!(beginning(&[(1 << 30, Some(1)), (70_000, Some(10))]), (65_536, 131_071));
        assert_eq!(beginning(&[(0, None)]), (0, (1 << 20) - 1));
        assert_eq!(beginning(&[(u64::MAX, None)]).1, u64::MAX - 1);
    }

    proptest! {
        #[test]
        fn stretches_count_and_place_each_wanted_byte_once(
            cuts in proptest::collection::btree_set(0u64..400_000, 2..12),
            blocks in proptest::collection::vec((0u32..8, 0u32..4), 0..4),
            rotation in 0usize..6,
        ) {
            let cuts: Vec<u64> = cuts.into_iter().collect();
            let mut list: Vec<_> = cuts.chunks_exact(2).map(|pair| (pair[0], Some(pair[1] - pair[0]))).collect();
            let by = rotation % list.len();
            list.rotate_left(by);
            let geometry = Geometry::new(400_000).expect("small");
            let stretches = ranges(&list).expect("apart").within(400_000).expect("inside");
            let is_wanted = |byte: u64| stretches.iter().any(|stretch| stretch.contains(&byte));
            let held: BlockSet = blocks.iter().map(|(start, count)| *start..start + count).collect();
            let held_bytes: Vec<u64> = held.runs().flat_map(|run| geometry.bytes_of(run)).filter(|byte| is_wanted(*byte)).collect();
            prop_assert_eq!(stretches.bytes_in(geometry, &held), held_bytes.len() as u64);
            prop_assert_eq!(stretches.bytes_in(geometry, &stretches.blocks(geometry)), stretches.length());
            for block in stretches.blocks(geometry).runs().flatten() {
                prop_assert!(geometry.block_bytes(block).any(is_wanted), "block {} has nothing that is wanted", block);
            }
            let mut places: Vec<(u64, u64)> = Vec::new();
            for start in (0..400_000).step_by(30_001) {
                for (bytes, at) in stretches.placed(start..(start + 30_001).min(400_000)) {
                    places.extend(bytes.clone().map(|byte| (at + byte - bytes.start, byte)));
                }
            }
            places.sort_unstable();
            let in_order: Vec<u64> = stretches.iter().flatten().collect();
            prop_assert!(places.iter().map(|(at, _)| *at).eq(0..stretches.length()));
            prop_assert!(places.into_iter().map(|(_, byte)| byte).eq(in_order));
        }
    }
}
