//! Whether a statement speaks of the bytes in hand, and is truly its signer's word.
//!
//! The caller still has to know that the signer is a member (its certificate) and that the bytes have these hashes.

use super::{GroupId, SignedStatement, StatementError};
use eddy_content::LookupKey;
use eddy_content::tree::{BlockHash, run_hash};

/// What this node knows from the origin itself: the only thing that a statement may be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// This node's group.
    pub group: GroupId,
    /// The entity that the origin named.
    pub key: LookupKey,
    /// Its length.
    pub length: u64,
}

/// Why a statement counts for nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Disbelief {
    /// Said to another group.
    #[error("the statement was made for another group")]
    Group,
    /// Said of another entity: another file, another version.
    #[error("the statement is about another version or another file")]
    Entity,
    /// Said of an entity of another length.
    #[error("the statement gives the file another length")]
    Length,
    /// The hashes at hand are not one for each block of its run.
    #[error("the statement is about {stated} blocks, {given} hashes came with it")]
    Count {
        /// Blocks of the statement.
        stated: u32,
        /// Hashes at hand.
        given: usize,
    },
    /// The hashes at hand are not those that were signed.
    #[error("the block hashes are not those that were signed")]
    Hashes,
    /// The statement is ill-formed or its signature is wrong.
    #[error(transparent)]
    Forged(#[from] StatementError),
}

impl SignedStatement {
    /// Checks that this is a genuine statement about `expected`, and that `hashes` are exactly its blocks' hashes.
    ///
    /// The signature, by far the dearest part (tens of microseconds), is looked at last.
    pub fn believe(&self, expected: &Expected, hashes: &[BlockHash]) -> Result<(), Disbelief> {
        self.speaks_of(expected, hashes)?;
        Ok(self.verify_signature()?)
    }

    /// All of [`Self::believe`] but the signature.
    pub fn speaks_of(&self, expected: &Expected, hashes: &[BlockHash]) -> Result<(), Disbelief> {
        self.is_about(expected)?;
        let said = &self.statement;
        if hashes.len() != said.count as usize {
            return Err(Disbelief::Count { stated: said.count, given: hashes.len() });
        }
        if run_hash(said.first_block, hashes) != said.run {
            return Err(Disbelief::Hashes);
        }
        Ok(())
    }

    /// Checks that this is about `expected`, whatever it says of its blocks and whoever signed it.
    pub fn is_about(&self, expected: &Expected) -> Result<(), Disbelief> {
        let said = &self.statement;
        if said.group != expected.group {
            return Err(Disbelief::Group);
        }
        if said.key != expected.key {
            return Err(Disbelief::Entity);
        }
        if said.length != expected.length {
            return Err(Disbelief::Length);
        }
        Ok(said.check_run()?)
    }
}
