//! Whom to believe: whether the hashes in a run header are a member's signed word about the entity that was asked for.
//!
//! Nothing of a header is used before all of this holds (T-02, T-03): the signer's certificate is the group's, the
//! statement is about this very entity, the hashes are those that were signed, and the blocks that follow are covered.
//!
//! | module | question that it answers |
//! |---|---|
//! | this one | is it a member's word, about these blocks? |
//! | [`vouch`] | do enough different members say the same? |
//! | [`ground`] | on whose word do the blocks stand that are held? |
//! | [`judge`] | who lied, once the origin was asked? |
//! | [`sweep`] | what of the store stands on a word that lost its weight? |
//! | [`archive`] | what is kept of that, for people to look at |
//! | [`hearing`] | does somebody else's evidence hold? |

pub mod archive;
pub mod ground;
pub mod hearing;
pub mod judge;
pub mod sweep;
pub mod vouch;

use super::bounded::Bounded;
use super::conduct::Conduct;
use crate::group::{Group, Member, NotAMember, chain};
use eddy_cache::StoredStatement;
use eddy_content::{BlockHash, BlockSet};
use eddy_wire::NodeId;
use eddy_wire::frame::RunHeader;
use eddy_wire::statement::{Claim, Disbelief, EndorsedStatement, Expected, SignedStatement, StatementError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Certificates that are remembered as good; each costs a chain check of about 0.1 ms otherwise.
const REMEMBERED: usize = 1024;
/// Seconds for which a certificate that was good is so: then it may have expired.
const GOOD_FOR: i64 = 10 * 60;

/// What a member said that cannot be true, or that no honest member says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lie {
    /// The header says something about blocks that were not asked for, or not in order.
    #[error("blocks {}..{} were announced, {}..{} could come", said.start, said.end, open.start, open.end)]
    NotAsked {
        /// The announced blocks.
        said: Range<u32>,
        /// What could still come.
        open: Range<u32>,
    },
    /// Nobody signed for a block.
    #[error("nobody signed for block {block}")]
    Unsigned {
        /// The block.
        block: u32,
    },
    /// A statement is about blocks without a hash.
    #[error("a statement speaks of block {block}, for which no hash came")]
    NoHash {
        /// The first such block.
        block: u32,
    },
    /// The statement of blocks from `block` on counts for nothing.
    #[error("the statement about block {block} and on: {why}")]
    Statement {
        /// The statement's first block.
        block: u32,
        /// Why.
        why: Disbelief,
    },
    /// The signer is no member.
    #[error("the signer of block {block} and on is no member: {why}")]
    Signer {
        /// The statement's first block.
        block: u32,
        /// Why.
        why: String,
    },
    /// A statement that proves nothing beside the others. Each is kept, so many of one signer would leave no room for others' words.
    #[error("a statement of block {block} and on is more than the run needs")]
    Surplus {
        /// The statement's first block.
        block: u32,
    },
    /// The signer was removed from the group. No fault of the member that passes it on: it may not have heard of it yet.
    #[error("the signer of block {block} and on was removed from the group")]
    Removed {
        /// The statement's first block.
        block: u32,
    },
    /// Bytes that are no frame, or a frame that is no answer to the question.
    #[error("not eddy's protocol: {0}")]
    Protocol(String),
    /// The entity as the member holds it cannot be the one that was asked for.
    #[error("it holds {said} bytes under a key that stands for another length")]
    Length {
        /// The length it gave.
        said: u64,
    },
}

/// A header that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Believed {
    /// The blocks whose bytes follow.
    pub(crate) blocks: Range<u32>,
    /// Their hashes.
    pub(crate) hashes: Vec<BlockHash>,
    /// What to keep, to pass on.
    pub(crate) statements: Vec<StoredStatement>,
    /// The same, hash by hash.
    pub(crate) claims: Vec<Claim>,
}

/// Statements before one run that are looked at: each costs about 0.05 ms, and an honest member sends one or a few. What one signer
/// says there is bounded by the blocks that follow: see [`surplus`].
const MOST_STATEMENTS: usize = 32;

/// Signatures that are remembered as good: whoever asks for the same statements again costs hashes only.
const SIGNATURES: usize = 4096;

/// Checks headers for one group.
pub(crate) struct Believer {
    group: Arc<Group>,
    conduct: Arc<Mutex<Conduct>>,
    good: Mutex<Bounded<Seen, Member>>,
    /// Hashes of signed statements whose signature is good.
    signed: Mutex<Bounded<[u8; 32], ()>>,
}

/// A chain, and the ten minutes at which it was looked at: at another time it may have expired.
type Seen = ([u8; 32], i64);

impl Believer {
    pub(crate) fn new(group: Arc<Group>, conduct: Arc<Mutex<Conduct>>) -> Self {
        let (good, signed) = (Mutex::new(Bounded::new(REMEMBERED)), Mutex::new(Bounded::new(SIGNATURES)));
        Self { group, conduct, good, signed }
    }

    /// The member that a chain belongs to at a time, unless it was removed meanwhile.
    pub(crate) fn member(&self, chain: &[u8], at: i64) -> Result<Member, NotAMember> {
        let seen = (*blake3::hash(chain).as_bytes(), at.div_euclid(GOOD_FOR));
        let known = self.good.lock().unwrap_or_else(PoisonError::into_inner).at(&seen).copied();
        if let Some(member) = known {
            return self.group.removed(&member).map_or(Ok(member), |node| Err(NotAMember::Removed { node }));
        }
        let parts = chain::split(chain).ok_or(NotAMember::Malformed(webpki::Error::BadDer))?;
        let member = self.group.verify_chain(&parts, at)?;
        self.good.lock().unwrap_or_else(PoisonError::into_inner).put(seen, member);
        Ok(member)
    }

    /// Whether what this signer says counts for nothing any more, whoever certified it: it was removed from the group, or a
    /// statement of its was proved wrong here.
    pub(crate) fn is_removed(&self, signer: &NodeId) -> bool {
        self.group.denied().is_some_and(|denied| denied.known().is_removed(signer)) || self.is_discredited(signer)
    }

    /// Whether there is anybody of whom that is so.
    pub(crate) fn is_anybody_removed(&self) -> bool {
        self.group.denied().is_some_and(|denied| denied.known().signed.is_some())
            || self.conduct.lock().unwrap_or_else(PoisonError::into_inner).is_anybody_discredited(Instant::now())
    }

    fn is_discredited(&self, signer: &NodeId) -> bool {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner).is_discredited(*signer, Instant::now())
    }

    /// The member that signed, if what it says counts.
    pub(crate) fn signer(&self, endorsed: &EndorsedStatement, now: i64) -> Result<Member, NotAMember> {
        // A certificate lives for days, what it was good for at the time stays said. The time is the signer's own word, so
        // of a removed one nothing counts, whatever date it bears.
        let statement = &endorsed.signed.statement;
        let member = self.member(&endorsed.certificate, statement.time.min(now))?;
        match () {
            () if member.node != statement.signer => Err(NotAMember::Key),
            () if self.is_discredited(&member.node) => Err(NotAMember::Removed { node: member.node }),
            () => Ok(member),
        }
    }

    /// Believes one statement about `hashes`, the hashes of exactly its blocks.
    pub(crate) fn believe(
        &self,
        endorsed: &EndorsedStatement,
        expected: &Expected,
        hashes: &[BlockHash],
        now: i64,
    ) -> Result<(), Lie> {
        let statement = &endorsed.signed.statement;
        let block = statement.first_block;
        self.signer(endorsed, now).map_err(|why| match why {
            NotAMember::Removed { .. } => Lie::Removed { block },
            NotAMember::Key => Lie::Signer { block, why: "the certificate is another member's".to_owned() },
            why => Lie::Signer { block, why: why.to_string() },
        })?;
        let wrong = |why| Lie::Statement { block, why };
        endorsed.signed.speaks_of(expected, hashes).map_err(wrong)?;
        self.verify_signature(&endorsed.signed).map_err(|why| wrong(why.into()))
    }

    /// Whether a kept statement, of whose blocks not all are here, is about `expected` and truly its signer's: what came with a package
    /// was looked at by nobody.
    pub(crate) fn is_genuine(&self, endorsed: &EndorsedStatement, expected: &Expected) -> bool {
        endorsed.signed.is_about(expected).is_ok() && self.verify_signature(&endorsed.signed).is_ok()
    }

    fn verify_signature(&self, signed: &SignedStatement) -> Result<(), StatementError> {
        let name = *blake3::hash(&signed.encode()).as_bytes();
        if self.signed.lock().unwrap_or_else(PoisonError::into_inner).at(&name).is_none() {
            signed.verify_signature()?;
            self.signed.lock().unwrap_or_else(PoisonError::into_inner).put(name, ());
        }
        Ok(())
    }

    /// Checks a header against what can still come of a read, `open`.
    pub(crate) fn check(
        &self,
        header: &RunHeader,
        open: &Range<u32>,
        expected: &Expected,
        now: i64,
    ) -> Result<Believed, Lie> {
        let send = header.send.clone();
        if send.is_empty() || send.start < open.start || send.end > open.end {
            return Err(Lie::NotAsked { said: send, open: open.clone() });
        }
        if header.statements.len() > MOST_STATEMENTS {
            return Err(Lie::Protocol(format!("{} statements before one run", header.statements.len())));
        }
        let mut covered = BlockSet::new();
        let mut statements = Vec::with_capacity(header.statements.len());
        let mut claims = Vec::with_capacity(header.statements.len());
        for endorsed in &header.statements {
            let run = endorsed.signed.statement.blocks();
            let hashes = header.hashes_of(run.clone()).ok_or(Lie::NoHash { block: run.start })?;
            self.believe(endorsed, expected, hashes, now)?;
            covered.insert(run.clone());
            let (first_block, count) = (run.start, run.end - run.start);
            statements.push(StoredStatement { first_block, count, bytes: endorsed.encode() });
            claims.push(Claim { endorsed: endorsed.clone(), hashes: hashes.to_vec() });
        }
        if let Some(run) = BlockSet::from_run(send.clone()).difference(&covered).first_run() {
            return Err(Lie::Unsigned { block: run.start });
        }
        if let Some(surplus) = surplus(&header.statements, &send) {
            return Err(Lie::Surplus { block: surplus.start });
        }
        let hashes = header.hashes_of(send.clone()).ok_or(Lie::NoHash { block: send.start })?.to_vec();
        Ok(Believed { blocks: send, hashes, statements, claims })
    }
}

/// The run of the first statement that speaks of nothing of `send`, or of a block of which its signer has spoken already.
///
/// Without it one signer fills the table of an entity by itself: the same words with another time are another statement.
fn surplus(statements: &[EndorsedStatement], send: &Range<u32>) -> Option<Range<u32>> {
    let mut said: BTreeMap<NodeId, BlockSet> = BTreeMap::new();
    statements.iter().map(|endorsed| &endorsed.signed.statement).find_map(|statement| {
        let run = BlockSet::from_run(statement.blocks());
        let before = said.entry(statement.signer).or_default();
        let is_needed = before.intersection(&run).is_empty() && !vouch::overlap(send, &statement.blocks()).is_empty();
        before.union_with(&run);
        (!is_needed).then(|| statement.blocks())
    })
}

pub(crate) use crate::group::clock::unix_now;

#[cfg(test)]
mod tests;
