//! The statements that are kept of one entity, found by the blocks that they speak of.
//!
//! A large entity has tens of thousands of them, and each that comes is asked of all of them whether it is known: that is no walk through
//! all, for it happens under the entity's lock.

use crate::handle::StoredStatement;
use eddy_content::Geometry;
use std::collections::BTreeSet;
use std::ops::Range;

/// Statements kept of one entity, however small their runs are: in memory while it is open, with certificates 80 MiB at most. Whoever signs
/// makes its runs so long that the whole of an entity takes no more than this.
pub const MAX_STATEMENTS: usize = 1 << 16;

/// How many are kept of an entity of this size: two words about each block, and some for a file of a few blocks.
pub(super) fn most(geometry: &Geometry) -> usize {
    (geometry.block_count() as usize).saturating_mul(2).saturating_add(64).min(MAX_STATEMENTS)
}

/// Bytes of the statements of an entity that lies in the index. All of them speak of the one block, and no more than three words about a
/// block are ever asked for; the quota counts that entity at some 1 KiB, and does not count these.
pub(super) const MOST_INLINE_BYTES: usize = 16 * 1024;

/// Statements in the order in which they came.
#[derive(Default)]
pub(crate) struct Statements {
    /// As they stand in the file.
    all: Vec<StoredStatement>,
    /// First block, number of blocks, place among all.
    by_run: BTreeSet<(u32, u32, usize)>,
    /// Blocks of the longest run.
    longest: u32,
    /// Bytes of all.
    bytes: usize,
}

impl Statements {
    /// Those that were kept before.
    pub(super) fn of(all: Vec<StoredStatement>) -> Self {
        let by_run = all.iter().enumerate().map(|(place, kept)| (kept.first_block, kept.count, place)).collect();
        let longest = all.iter().map(|kept| kept.count).max().unwrap_or(0);
        let bytes = all.iter().map(|kept| kept.bytes.len()).sum();
        Self { all, by_run, longest, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Those from a place on, in the order in which they came.
    pub(super) fn since(&self, place: usize) -> &[StoredStatement] {
        self.all.get(place..).unwrap_or_default()
    }

    /// All of them, in the order in which they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &StoredStatement> {
        self.all.iter()
    }

    pub(crate) fn contains(&self, statement: &StoredStatement) -> bool {
        let (first, count) = (statement.first_block, statement.count);
        let same_run = self.by_run.range((first, count, 0)..=(first, count, usize::MAX));
        same_run.filter_map(|(.., place)| self.all.get(*place)).any(|kept| kept.bytes == statement.bytes)
    }

    /// Keeps one that is not known.
    pub(super) fn add(&mut self, statement: &StoredStatement) {
        if !self.contains(statement) {
            self.by_run.insert((statement.first_block, statement.count, self.all.len()));
            self.longest = self.longest.max(statement.count);
            self.bytes += statement.bytes.len();
            self.all.push(statement.clone());
        }
    }

    /// Those that speak of any of `blocks`, by their runs.
    pub(crate) fn about(&self, blocks: Range<u32>) -> Vec<StoredStatement> {
        let from = blocks.start.saturating_sub(self.longest);
        let near = self.by_run.range((from, 0, 0)..(blocks.end.max(from), 0, 0));
        let reaches = |(first, count, _): &&(u32, u32, usize)| first.saturating_add(*count) > blocks.start;
        near.filter(reaches).filter_map(|(.., place)| self.all.get(*place)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn statement((first_block, count, byte): (u32, u32, u8)) -> StoredStatement {
        StoredStatement { first_block, count, bytes: vec![byte] }
    }

    proptest! {
        #[test]
        fn what_is_found_by_its_blocks_is_what_a_walk_through_all_finds(
            runs in prop::collection::vec((0u32..40, 0u32..12, 0u8..3), 0..60),
            loaded in 0usize..60,
            start in 0u32..45,
            count in 0u32..20,
        ) {
            let (loaded, added) = runs.split_at(loaded.min(runs.len()));
            let mut model: Vec<StoredStatement> = Vec::new();
            for run in runs.iter().copied().map(statement) {
                if !model.contains(&run) {
                    model.push(run);
                }
            }
            let mut statements = Statements::of(Vec::new());
            loaded.iter().for_each(|run| statements.add(&statement(*run)));
            let mut statements = Statements::of(statements.since(0).to_vec());
            added.iter().for_each(|run| statements.add(&statement(*run)));
            prop_assert_eq!(statements.since(0), model.as_slice(), "in the order in which they came, none twice");
            prop_assert!(model.iter().all(|kept| statements.contains(kept)));
            prop_assert!(!statements.contains(&statement((0, 1, 9))));
            let blocks = start..start + count;
            model.retain(|kept| kept.first_block < blocks.end && kept.first_block + kept.count > blocks.start);
            model.sort_by_key(|kept| (kept.first_block, kept.count));
            prop_assert_eq!(statements.about(blocks), model);
        }
    }
}
