//! What may be offered to members: only blocks for which a member's signature can be shown.
//!
//! This node signs what it fetched from the origin itself, and passes on the statements of others for the rest. A run
//! hash is over all blocks of a statement, so a statement can be passed on only while every block of it is held here.

use eddy_cache::MAX_STATEMENTS;
use eddy_content::{BlockSet, Geometry};
use std::ops::Range;

/// A part of what was asked for, with the proof that goes before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Portion {
    /// The blocks to send.
    pub(crate) send: Range<u32>,
    /// Who signs for them.
    pub(crate) proof: Proof,
}

/// Who signs for a portion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// This node, over exactly the portion.
    Own,
    /// The signer of the statement with this place in the list.
    Relayed(usize),
}

/// What this node holds of an entity, as far as offers go.
pub(crate) struct Holdings<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) held: &'a BlockSet,
    pub(crate) fetched_here: &'a BlockSet,
    /// The runs of the statements of others.
    pub(crate) statements: &'a [Range<u32>],
}

impl Holdings<'_> {
    /// Every block that is held and that somebody signs for.
    pub(crate) fn offered(&self) -> BlockSet {
        let mut offered = self.held.intersection(self.fetched_here);
        let usable = self.statements.iter().filter(|run| self.held.contains_run((*run).clone()));
        for run in joined(usable.cloned().collect()) {
            offered.insert(run);
        }
        offered
    }

    /// Cuts what was asked for into portions, ascending; blocks that nobody signs for are left out.
    ///
    /// Own portions end with their segment: segments are what members schedule by, so the reader will hold whole
    /// portions and can pass the statement on.
    pub(crate) fn portions(&self, wanted: Range<u32>) -> Vec<Portion> {
        let asked = BlockSet::from_run(wanted.clone());
        let own = self.held.intersection(self.fetched_here).intersection(&asked);
        let mut portions = Vec::new();
        let mut at = wanted.start;
        while at < wanted.end {
            let portion = self.own_portion(&own, at).or_else(|| self.relayed_portion(at, wanted.end));
            at = portion.as_ref().map_or(at + 1, |portion| portion.send.end);
            portions.extend(portion);
        }
        portions
    }

    fn own_portion(&self, own: &BlockSet, at: u32) -> Option<Portion> {
        let run = own.runs().find(|run| run.contains(&at))?;
        let segment = self.geometry.blocks_of_segment(self.geometry.segment_of(at));
        Some(Portion { send: at..run.end.min(segment.end), proof: Proof::Own })
    }

    fn relayed_portion(&self, at: u32, end: u32) -> Option<Portion> {
        let usable = |run: &Range<u32>| run.contains(&at) && self.held.contains_run(run.clone());
        let (place, run) =
            self.statements.iter().enumerate().filter(|(_, run)| usable(run)).max_by_key(|(_, run)| run.end)?;
        Some(Portion { send: at..run.end.min(end), proof: Proof::Relayed(place) })
    }
}

/// Runs into which this node cuts a whole content for its signatures, at most: whoever takes all of it keeps a statement of each, and has room
/// for a second word about each.
const MOST_SIGNED: u32 = MAX_STATEMENTS as u32 / 2;

/// The blocks from `at` on that are signed together while they are still coming.
///
/// One block as long as that is not too many statements, up to 2 GiB; of the largest content that a swarm shares, 1 TiB, a whole segment
/// of 16 MiB, and then there is room for one word about each.
pub(crate) fn signed_together(geometry: &Geometry, at: u32) -> Range<u32> {
    let blocks = geometry.block_count().div_ceil(MOST_SIGNED).max(1).next_power_of_two();
    let blocks = blocks.min(geometry.blocks_per_segment());
    let end = (at / blocks).saturating_add(1).saturating_mul(blocks);
    at..end.min(geometry.block_count()).max(at)
}

/// Joins runs that touch or overlap. A large entity has thousands of statements, side by side: one run in the end.
fn joined(mut runs: Vec<Range<u32>>) -> Vec<Range<u32>> {
    runs.sort_unstable_by_key(|run| run.start);
    let mut joined: Vec<Range<u32>> = Vec::new();
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_content_that_a_swarm_shares_needs_more_statements_than_are_kept_of_it() {
        let signed = |length: u64| {
            let geometry = Geometry::new(length).expect("fits");
            let (mut at, mut runs) = (0, 0);
            while at < geometry.block_count() {
                let run = signed_together(&geometry, at);
                assert_eq!(geometry.segment_of(run.end - 1), geometry.segment_of(at), "a run lies in one segment");
                (at, runs) = (run.end, runs + 1);
            }
            (runs, at)
        };
        assert_eq!(signed(0), (0, 0));
        assert_eq!(signed(2 << 30), (1 << 15, 1 << 15), "block by block");
        assert_eq!(signed((2 << 30) + 1), ((1 << 14) + 1, (1 << 15) + 1));
        for length in [5 << 30, 100 << 30, 512 << 30] {
            assert!(signed(length).0 <= MAX_STATEMENTS / 2, "{length}");
        }
        assert_eq!(signed(1 << 40).0, MAX_STATEMENTS);
        // From wherever a member begins, it is the same runs.
        let geometry = Geometry::new(100 << 30).expect("fits");
        assert_eq!((signed_together(&geometry, 0), signed_together(&geometry, 33)), (0..64, 33..64));
    }

    fn set(runs: &[Range<u32>]) -> BlockSet {
        runs.iter().cloned().collect()
    }

    #[test]
    fn own_portions_end_with_their_segment() {
        let geometry = Geometry::new(64 << 20).expect("fits");
        let all = BlockSet::from_run(0..1024);
        let holdings = Holdings { geometry: &geometry, held: &all, fetched_here: &all, statements: &[] };
        let sent: Vec<_> = holdings.portions(10..40).into_iter().map(|portion| portion.send).collect();
        assert_eq!(sent, [10..16, 16..32, 32..40]);
    }

    #[test]
    fn a_statement_is_passed_on_only_while_all_of_it_is_held() {
        let geometry = Geometry::new(64 << 20).expect("fits");
        let (held, here) = (BlockSet::from_run(0..31), BlockSet::new());
        let statements = [0..16, 16..32];
        let holdings = Holdings { geometry: &geometry, held: &held, fetched_here: &here, statements: &statements };
        assert_eq!(holdings.offered(), BlockSet::from_run(0..16));
        let portions = holdings.portions(8..32);
        assert_eq!(portions, [Portion { send: 8..16, proof: Proof::Relayed(0) }]);
    }

    proptest! {
        #[test]
        fn portions_are_exactly_what_is_offered(
            held in proptest::collection::vec((0u32..300, 1u32..60), 0..6),
            here in proptest::collection::vec((0u32..300, 1u32..60), 0..6),
            statements in proptest::collection::vec((0u32..300, 1u32..40), 0..12),
            wanted in (0u32..300, 1u32..200),
        ) {
            let geometry = Geometry::new(400 * 65536).expect("fits");
            let runs = |list: Vec<(u32, u32)>| list.into_iter().map(|(at, count)| at..at + count).collect::<Vec<_>>();
            let (held, here, statements) = (set(&runs(held)), set(&runs(here)), runs(statements));
            let wanted = wanted.0..wanted.0 + wanted.1;
            let holdings = Holdings { geometry: &geometry, held: &held, fetched_here: &here, statements: &statements };
            let portions = holdings.portions(wanted.clone());
            let sent = set(&portions.iter().map(|portion| portion.send.clone()).collect::<Vec<_>>());
            prop_assert_eq!(&sent, &holdings.offered().intersection(&BlockSet::from_run(wanted)));
            for pair in portions.windows(2) {
                prop_assert!(pair[0].send.end <= pair[1].send.start);
            }
            for portion in portions {
                match portion.proof {
                    Proof::Own => prop_assert!(here.contains_run(portion.send.clone())),
                    Proof::Relayed(place) => {
                        let run = statements[place].clone();
                        prop_assert!(run.start <= portion.send.start && portion.send.end <= run.end);
                        prop_assert!(held.contains_run(run));
                    }
                }
            }
        }
    }
}
