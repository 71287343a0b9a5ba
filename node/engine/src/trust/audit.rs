//! Which blocks are fetched a second time, from the origin, though a member's statement was believed.
//!
//! One statement is enough by default, so who signs a lie is believed at first. A lie about everything is found in the first
//! file; one about a single block of a large file with the chance that this block is drawn. Nobody outside knows the draw: it
//! is made here, from the node's own seed.

use eddy_content::{BlockSet, Geometry};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::ops::Range;

/// Blocks of the smallest file of which one block is drawn with certainty. Of a smaller one a second fetch would cost a large part of
/// what the peer has spared, so it gets one with the chance that keeps the cost of many small files at the same sixteenth.
const CERTAIN_FROM: u32 = 16;
const MILLION: u32 = 1_000_000;

/// How many of a file's segments are fetched a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditShare(u32);

impl Default for AuditShare {
    fn default() -> Self {
        Self::percent(1)
    }
}

impl AuditShare {
    /// None, not even one block.
    pub const OFF: Self = Self(0);

    /// So many of a hundred; at most all.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self::per_million(percent as u32 * (MILLION / 100))
    }

    /// So many of a million; at most all.
    #[must_use]
    pub const fn per_million(parts: u32) -> Self {
        Self(if parts > MILLION { MILLION } else { parts })
    }

    /// Whether nothing is fetched a second time.
    #[must_use]
    pub const fn is_off(self) -> bool {
        self.0 == 0
    }
}

/// Who looks twice besides this node: members that take a content from each other share its second fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// Members among whom the share is divided, this one included; at least one.
    pub among: u32,
    /// Whether this one looks at the block that is drawn with certainty.
    pub duty: Duty,
}

/// Whether a member has to look at one block at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// It has, whatever the others do.
    Watcher,
    /// Another one has; this one does with its part of the chance.
    Other,
}

impl Default for Sharing {
    /// Nobody else looks.
    fn default() -> Self {
        Self { among: 1, duty: Duty::Watcher }
    }
}

/// The second fetches of one file.
#[derive(Debug)]
pub struct Audit {
    geometry: Geometry,
    share: AuditShare,
    /// Segments of which something was believed, and whether they are drawn.
    segments: BTreeMap<u32, Draw>,
    /// Blocks that were believed and have not been asked for a second time.
    unseen: BlockSet,
    /// The block that is drawn of the file as a whole, until one was asked for.
    owed: Option<u32>,
    sharing: Sharing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Draw {
    Drawn,
    Spared,
}

impl Audit {
    /// Draws for a file of which nothing was believed yet.
    #[must_use]
    pub fn new(geometry: Geometry, share: AuditShare, rng: &mut SmallRng) -> Self {
        let count = geometry.block_count();
        let is_owed = count > 0 && !share.is_off() && rng.random_range(0..CERTAIN_FROM) < count;
        let owed = is_owed.then(|| rng.random_range(0..count));
        let sharing = Sharing::default();
        Self { geometry, share, segments: BTreeMap::new(), unseen: BlockSet::new(), owed, sharing }
    }

    /// How many others look from now on.
    pub fn share_among(&mut self, sharing: Sharing) {
        self.sharing = sharing;
    }

    /// Blocks were believed by one statement: those of them to fetch again.
    pub fn on_believed(&mut self, blocks: &BlockSet, rng: &mut SmallRng) -> Vec<Range<u32>> {
        self.unseen.union_with(blocks);
        let mut again = Vec::new();
        for run in blocks.runs() {
            let mut at = run.start;
            while at < run.end {
                let segment = self.geometry.segment_of(at);
                let end = self.geometry.blocks_of_segment(segment).end.min(run.end);
                if end <= at {
                    break;
                }
                let (share, all) = (u64::from(self.share.0), u64::from(MILLION) * u64::from(self.sharing.among.max(1)));
                let draw = *self
                    .segments
                    .entry(segment)
                    .or_insert_with(|| if rng.random_range(0..all) < share { Draw::Drawn } else { Draw::Spared });
                let owed = self.owed.filter(|owed| (at..end).contains(owed));
                if draw == Draw::Drawn {
                    again.push(at..end);
                } else if let Some(owed) = owed
                    && self.takes_the_certain_one(rng)
                {
                    again.push(owed..owed + 1);
                }
                at = end;
            }
        }
        self.note(&again);
        again
    }

    /// Everything is there: the block that is still owed, since the one that was drawn came from elsewhere.
    pub fn last(&mut self, rng: &mut SmallRng) -> Option<Range<u32>> {
        self.owed?;
        if !self.takes_the_certain_one(rng) {
            return None;
        }
        let count = self.unseen.len();
        if count == 0 {
            return None;
        }
        let mut place = rng.random_range(0..count);
        for run in self.unseen.clone().runs() {
            let length = run.end - run.start;
            if place < length {
                let again = run.start + place..run.start + place + 1;
                self.note(std::slice::from_ref(&again));
                return Some(again);
            }
            place -= length;
        }
        None
    }

    /// Blocks are held no more, or their origin is asked anyway.
    pub fn forget(&mut self, blocks: &BlockSet) {
        self.unseen.difference_with(blocks);
    }

    /// Whether the block that is looked at with certainty is this node's; when it is not, nothing is owed any more.
    fn takes_the_certain_one(&mut self, rng: &mut SmallRng) -> bool {
        let takes = self.sharing.duty == Duty::Watcher || rng.random_range(0..self.sharing.among.max(1)) == 0;
        if takes {
            // Asked once: whoever has drawn it does not give it up later.
            self.sharing.duty = Duty::Watcher;
        } else {
            self.owed = None;
        }
        takes
    }

    fn note(&mut self, again: &[Range<u32>]) {
        for run in again {
            self.owed = None;
            self.unseen.remove(run.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const MIB: u64 = 1 << 20;

    /// Lets all of a file be believed, in pieces; the blocks that are fetched again.
    fn audited(length: u64, share: AuditShare, seed: u64) -> BlockSet {
        let (geometry, mut rng) = (Geometry::new(length).unwrap(), SmallRng::seed_from_u64(seed));
        let mut audit = Audit::new(geometry, share, &mut rng);
        let mut again = BlockSet::new();
        for start in geometry.all_blocks().step_by(50) {
            let blocks = BlockSet::from_run(start..(start + 50).min(geometry.block_count()));
            again.union_with(&audit.on_believed(&blocks, &mut rng).into_iter().collect());
        }
        again.union_with(&audit.last(&mut rng).into_iter().collect());
        assert_eq!(audit.last(&mut rng), None, "once is enough");
        again
    }

    #[test]
    fn at_least_one_block_and_about_the_share_is_fetched_again() {
        let mut sum = 0;
        for seed in 0..200 {
            let again = audited(64 * MIB, AuditShare::percent(1), seed);
            assert!(!again.is_empty(), "seed {seed}");
            sum += again.len();
        }
        // One block for sure, and one in a hundred of 64 segments with 16 blocks each.
        let mean = f64::from(sum) / 200.0;
        assert!((5.0..20.0).contains(&mean), "{mean}");
        assert_eq!(audited(64 * MIB, AuditShare::percent(100), 1).len(), 1024);
    }

    #[test]
    fn nothing_is_fetched_again_where_it_is_switched_off() {
        assert!((0..100).all(|seed| audited(64 * MIB, AuditShare::OFF, seed).is_empty()));
    }

    #[test]
    fn small_files_are_drawn_in_the_measure_of_their_size() {
        let drawn =
            |length| (0..1600).filter(|seed| !audited(length, AuditShare::percent(1), *seed).is_empty()).count();
        assert!((60..180).contains(&drawn(10_000)), "a sixteenth, and one in a hundred: {}", drawn(10_000));
        assert_eq!(drawn(MIB), 1600);
        assert_eq!(drawn(0), 0);
    }

    /// What a swarm looks at twice, when each member gets all of a file by statements.
    fn audited_together(length: u64, members: u32, watchers: u32, seed: u64) -> (BlockSet, u32) {
        let (mut all, mut bytes) = (BlockSet::new(), 0);
        for member in 0..members {
            let (geometry, mut rng) =
                (Geometry::new(length).unwrap(), SmallRng::seed_from_u64(seed * 1000 + u64::from(member)));
            let mut audit = Audit::new(geometry, AuditShare::percent(1), &mut rng);
            let duty = if member < watchers { Duty::Watcher } else { Duty::Other };
            audit.share_among(Sharing { among: members, duty });
            let mut again: BlockSet =
                audit.on_believed(&BlockSet::from_run(geometry.all_blocks()), &mut rng).into_iter().collect();
            again.union_with(&audit.last(&mut rng).into_iter().collect());
            bytes += again.len();
            all.union_with(&again);
        }
        (all, bytes)
    }

    #[test]
    fn many_members_look_at_no_more_than_about_what_one_would() {
        for members in [2, 8, 64] {
            let sum: u32 = (0..200).map(|seed| audited_together(64 * MIB, members, 1, seed).1).sum();
            // One block for sure, the parts of the others' chances of one more, and one in a hundred of 64 segments of 16 blocks.
            let mean = f64::from(sum) / 200.0;
            assert!((5.0..25.0).contains(&mean), "{members} members: {mean} blocks");
        }
    }

    #[test]
    fn somebody_looks_at_a_block_for_sure_while_there_is_a_watcher_and_mostly_without_one() {
        assert!((0..200).all(|seed| !audited_together(4 * MIB, 16, 1, seed).0.is_empty()));
        let without = (0..400).filter(|seed| !audited_together(4 * MIB, 16, 0, *seed).0.is_empty()).count();
        assert!((220..330).contains(&without), "nobody is told to, and {without} of 400 files are looked at");
    }

    #[test]
    fn every_block_may_be_the_one() {
        let mut seen = BlockSet::new();
        for seed in 0..2000 {
            seen.union_with(&audited(2 * MIB, AuditShare(1), seed));
        }
        assert_eq!(seen, BlockSet::from_run(0..32));
    }

    #[test]
    fn what_came_from_the_origin_after_all_is_not_fetched_a_third_time() {
        let (geometry, mut rng) = (Geometry::new(MIB).unwrap(), SmallRng::seed_from_u64(3));
        let mut audit = Audit::new(geometry, AuditShare(1), &mut rng);
        assert_eq!(audit.last(&mut rng), None, "nothing was believed");
        audit.on_believed(&BlockSet::from_run(0..2), &mut rng);
        audit.forget(&BlockSet::from_run(0..2));
        assert_eq!(audit.last(&mut rng), None);
    }
}
