//! A statement together with the block hashes that it signs: what two members can be compared by.

use super::{Disbelief, EndorsedStatement, Expected};
use crate::NodeId;
use eddy_content::tree::{BlockHash, run_hash};
use std::ops::Range;

/// What a member signed, hash by hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The statement, with its signer's certificate.
    pub endorsed: EndorsedStatement,
    /// The hashes of exactly the statement's blocks.
    pub hashes: Vec<BlockHash>,
}

impl Claim {
    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> NodeId {
        self.endorsed.signed.statement.signer
    }

    /// The blocks that it is about.
    #[must_use]
    pub fn blocks(&self) -> Range<u32> {
        self.endorsed.signed.statement.blocks()
    }

    /// The hash that was signed for a block.
    #[must_use]
    pub fn hash_of(&self, block: u32) -> Option<BlockHash> {
        self.hashes.get(block.checked_sub(self.blocks().start)? as usize).copied()
    }

    /// Whether the hashes are those that were signed, and the signature is the signer's. Nothing of its certificate.
    pub fn check(&self) -> Result<(), Disbelief> {
        let said = &self.endorsed.signed.statement;
        let expected = Expected { group: said.group, key: said.key, length: said.length };
        self.endorsed.signed.believe(&expected, &self.hashes)
    }

    /// The first block for which the two signed different hashes, if they speak of the same version.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> Option<u32> {
        let (mine, theirs) = (&self.endorsed.signed.statement, &other.endorsed.signed.statement);
        if (mine.group, mine.key, mine.length) != (theirs.group, theirs.key, theirs.length) {
            return None;
        }
        let both = self.blocks().start.max(other.blocks().start)..self.blocks().end.min(other.blocks().end);
        both.into_iter().find(|block| self.hash_of(*block) != other.hash_of(*block))
    }

    /// Whether the hashes alone, without the signature, are those of the statement: what costs next to nothing.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let said = &self.endorsed.signed.statement;
        self.hashes.len() == said.count as usize && run_hash(said.first_block, &self.hashes) == said.run
    }
}
