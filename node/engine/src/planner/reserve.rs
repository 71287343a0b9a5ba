//! Blocks that are kept for the origin, because the word of the peers about them is not enough.

use eddy_content::BlockSet;
use std::time::Duration;

/// How long blocks with too few witnesses are kept for the origin, before peers are asked about them again: should the origin be
/// gone, others may have fetched them meanwhile.
pub(super) const WITNESS_PAUSE: Duration = Duration::from_secs(10);

/// What only the origin may bring.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    for_good: BlockSet,
    for_a_while: Option<(BlockSet, Duration)>,
}

impl Reserve {
    /// Members' words about these blocks differ, or were proved wrong.
    pub(super) fn for_good(&mut self, blocks: &BlockSet) {
        self.for_good.union_with(blocks);
    }

    /// Too few members spoke of these blocks.
    pub(super) fn for_a_while(&mut self, now: Duration, blocks: &BlockSet) {
        let mut all = self.blocks(now);
        all.union_with(blocks);
        self.for_a_while = Some((all, now + WITNESS_PAUSE));
    }

    /// What is kept now.
    pub(super) fn blocks(&self, now: Duration) -> BlockSet {
        let mut blocks = self.for_good.clone();
        if let Some((some, until)) = &self.for_a_while
            && now < *until
        {
            blocks.union_with(some);
        }
        blocks
    }

    /// When less is kept.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.for_a_while.as_ref().map(|(_, until)| *until)
    }
}
