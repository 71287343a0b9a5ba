//! Sets of blocks: what a node holds, lacks or is fetching of one entity.

use range_collections::RangeSet2;
use range_collections::range_set::RangeSetRange;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Range;

/// A set of block numbers, kept as sorted runs; serialised as a list of `(start, end)` pairs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct BlockSet(RangeSet2<u32>);

impl BlockSet {
    /// The empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The blocks of one run; empty when the run is.
    #[must_use]
    pub fn from_run(run: Range<u32>) -> Self {
        if run.start >= run.end { Self::new() } else { Self(RangeSet2::from(run)) }
    }

    /// Adds a run of blocks.
    pub fn insert(&mut self, run: Range<u32>) {
        self.0.union_with(&Self::from_run(run).0);
    }

    /// Takes a run of blocks out.
    pub fn remove(&mut self, run: Range<u32>) {
        self.0.difference_with(&Self::from_run(run).0);
    }

    /// Adds every block of `other`.
    pub fn union_with(&mut self, other: &Self) {
        self.0.union_with(&other.0);
    }

    /// Takes every block of `other` out.
    pub fn difference_with(&mut self, other: &Self) {
        self.0.difference_with(&other.0);
    }

    /// The blocks that are in `self` and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0))
    }

    /// The blocks that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0))
    }

    /// Whether `block` is in the set.
    #[must_use]
    pub fn contains(&self, block: u32) -> bool {
        self.0.contains(&block)
    }

    /// Whether every block of `run` is in the set.
    #[must_use]
    pub fn contains_run(&self, run: Range<u32>) -> bool {
        Self::from_run(run).0.is_subset(&self.0)
    }

    /// Whether the set has no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of blocks.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.runs().map(|run| run.end - run.start).sum()
    }

    /// The runs of consecutive blocks, ascending, never empty, never adjoining.
    pub fn runs(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        self.0.iter().map(|range| match range {
            RangeSetRange::Range(r) => *r.start..*r.end,
            RangeSetRange::RangeFrom(r) => *r.start..u32::MAX,
        })
    }

    /// Number of runs.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.runs().count()
    }

    /// The lowest run, or `None` of the empty set.
    #[must_use]
    pub fn first_run(&self) -> Option<Range<u32>> {
        self.runs().next()
    }
}

impl FromIterator<Range<u32>> for BlockSet {
    /// Takes runs in any order, overlapping or not, in O(n log n): one by one they would cost O(n^2), which a peer's list of
    /// many small runs could make us pay (T-53).
    fn from_iter<I: IntoIterator<Item = Range<u32>>>(runs: I) -> Self {
        let mut runs: Vec<Range<u32>> = runs.into_iter().filter(|run| run.start < run.end).collect();
        runs.sort_unstable_by_key(|run| run.start);
        runs.dedup_by(|next, run| {
            let is_joined = next.start <= run.end;
            if is_joined {
                run.end = run.end.max(next.end);
            }
            is_joined
        });
        let boundaries = runs.iter().flat_map(|run| [run.start, run.end]).collect();
        Self(RangeSet2::new(boundaries).expect("merged runs are strictly ascending"))
    }
}

impl fmt::Debug for BlockSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

impl Serialize for BlockSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs: Vec<(u32, u32)> = self.runs().map(|run| (run.start, run.end)).collect();
        runs.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for BlockSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let runs = Vec::<(u32, u32)>::deserialize(deserializer)?;
        Ok(runs.into_iter().map(|(start, end)| start..end).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn adjoining_runs_become_one() {
        let set: BlockSet = [4..6, 0..2, 2..4].into_iter().collect();
        assert_eq!(set.runs().collect::<Vec<_>>(), vec![0..6]);
        assert!(set.contains_run(1..5) && !set.contains_run(5..7));
    }

    #[test]
    fn the_last_block_number_is_a_block_like_any_other() {
        let set: BlockSet = [u32::MAX - 1..u32::MAX, 0..1].into_iter().collect();
        assert!(set.contains(u32::MAX - 1) && set.len() == 2);
    }

    #[test]
    fn a_hundred_thousand_runs_in_the_worst_order_are_one_set() {
        let set: BlockSet = (0..100_000u32).rev().map(|i| 2 * i..2 * i + 1).collect();
        assert_eq!((set.run_count(), set.len()), (100_000, 100_000));
    }

    #[test]
    fn an_empty_or_reversed_run_changes_nothing() {
        let mut set = BlockSet::from_run(3..5);
        set.insert(9..9);
        #[allow(clippy::reversed_empty_ranges)]
        set.remove(5..3);
        assert_eq!(set.len(), 2);
    }

    proptest! {
        #[test]
        fn runs_collected_at_once_are_those_inserted_one_by_one(
            runs in proptest::collection::vec((0u32..200, 0u32..40), 0..40),
        ) {
            let mut one_by_one = BlockSet::new();
            for (start, len) in &runs {
                one_by_one.insert(*start..start + len);
            }
            let at_once: BlockSet = runs.iter().map(|(start, len)| *start..start + len).collect();
            prop_assert_eq!(at_once, one_by_one);
        }

        #[test]
        fn behaves_as_a_set_of_numbers(ops in proptest::collection::vec((any::<bool>(), 0u32..200, 0u32..40), 0..40)) {
            let (mut set, mut model) = (BlockSet::new(), BTreeSet::new());
            for (insert, start, len) in ops {
                if insert {
                    set.insert(start..start + len);
                    model.extend(start..start + len);
                } else {
                    set.remove(start..start + len);
                    model.retain(|b| !(start..start + len).contains(b));
                }
            }
            prop_assert_eq!(set.runs().flatten().collect::<BTreeSet<_>>(), model.clone());
            prop_assert_eq!(set.len() as usize, model.len());
        }
    }
}
