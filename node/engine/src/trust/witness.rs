//! The word of members about blocks, gathered until enough of it agrees.
//!
//! Only statements that agree with each other are heard here; one that differs is a dispute, which the origin decides.

use crate::port::Peer;
use eddy_content::BlockSet;
use std::collections::BTreeMap;

/// How much a member's word weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// One witness.
    Member,
    /// An anchor: enough by itself.
    Anchor,
}

/// Who says what about the blocks of one version.
#[derive(Debug, Clone)]
pub struct Witnessing {
    said: BTreeMap<Peer, BlockSet>,
    /// At place `n` the blocks that at least `n + 1` different members speak of.
    levels: Vec<BlockSet>,
}

impl Witnessing {
    /// Nobody has said anything; `needed` different members are enough.
    #[must_use]
    pub fn new(needed: u8) -> Self {
        Self { said: BTreeMap::new(), levels: vec![BlockSet::new(); usize::from(needed.max(1))] }
    }

    /// A member signed for these blocks. Said twice, it is said once.
    pub fn hear(&mut self, signer: Peer, weight: Weight, blocks: &BlockSet) {
        let said = self.said.entry(signer).or_default();
        let news = blocks.difference(said);
        said.union_with(&news);
        for level in (1..self.levels.len()).rev() {
            let raised = match weight {
                Weight::Member => self.levels[level - 1].intersection(&news),
                Weight::Anchor => news.clone(),
            };
            self.levels[level].union_with(&raised);
        }
        self.levels[0].union_with(&news);
    }

    /// The blocks that enough members signed for.
    #[must_use]
    pub fn met(&self) -> &BlockSet {
        &self.levels[self.levels.len() - 1]
    }

    /// The blocks that at least `count` different members signed for, 1 to what is needed.
    #[must_use]
    pub fn by(&self, count: u8) -> &BlockSet {
        &self.levels[usize::from(count.max(1)).min(self.levels.len()) - 1]
    }

    /// Those of `blocks` for which somebody else would have to sign, too.
    #[must_use]
    pub fn unmet(&self, blocks: &BlockSet) -> BlockSet {
        blocks.difference(self.met())
    }

    /// How many different members signed for each of `blocks`, at least; no more than are needed.
    #[must_use]
    pub fn fewest(&self, blocks: &BlockSet) -> u8 {
        self.levels.iter().take_while(|level| blocks.difference(level).is_empty()).count() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn run(start: u32, end: u32) -> BlockSet {
        BlockSet::from_run(start..end)
    }

    #[test]
    fn the_same_member_twice_is_one_witness() {
        let mut two = Witnessing::new(2);
        two.hear(Peer([1; 32]), Weight::Member, &run(0, 4));
        two.hear(Peer([1; 32]), Weight::Member, &run(0, 8));
        assert_eq!(two.unmet(&run(0, 8)), run(0, 8));
        two.hear(Peer([2; 32]), Weight::Member, &run(2, 6));
        assert_eq!(two.met(), &run(2, 6));
    }

    #[test]
    fn an_anchor_is_enough_by_itself() {
        let mut three = Witnessing::new(3);
        three.hear(Peer([1; 32]), Weight::Anchor, &run(1, 3));
        assert_eq!(three.unmet(&run(0, 4)), [0..1, 3..4].into_iter().collect());
    }

    proptest! {
        #[test]
        fn blocks_are_met_exactly_when_enough_different_members_spoke(
            needed in 1u8..4, said in proptest::collection::vec((0u8..5, 0u32..30, 1u32..12), 0..20),
        ) {
            let mut witnessing = Witnessing::new(needed);
            for (who, start, count) in &said {
                witnessing.hear(Peer([*who; 32]), Weight::Member, &run(*start, start + count));
            }
            for block in 0..45 {
                let of_block = |(_, start, count): &&(u8, u32, u32)| (*start..start + count).contains(&block);
                let who: BTreeSet<u8> = said.iter().filter(of_block).map(|(who, ..)| *who).collect();
                prop_assert_eq!(witnessing.met().contains(block), who.len() >= usize::from(needed), "{}", block);
                prop_assert_eq!(usize::from(witnessing.fewest(&run(block, block + 1))), who.len().min(usize::from(needed)));
            }
        }
    }
}
