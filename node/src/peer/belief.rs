//! Whom to believe: whether the hashes in a run header are a member's signed word about the entity that was asked for.
//!
//! Nothing of a header is used before all of this holds (T-02, T-03): the signer's certificate is the group's, the
//! statement is about this very entity, the hashes are those that were signed, and the blocks that follow are covered.

use super::bounded::Bounded;
use crate::group::{Group, NotAMember};
use eddy_cache::StoredStatement;
use eddy_content::{BlockHash, BlockSet};
use eddy_wire::NodeId;
use eddy_wire::frame::RunHeader;
use eddy_wire::statement::{Disbelief, EndorsedStatement, Expected};
use rustls_pki_types::CertificateDer;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Certificates that are remembered as good; each costs a chain check of about 0.1 ms otherwise.
const REMEMBERED: usize = 1024;
/// Seconds after which a certificate is looked at again: it may have expired meanwhile.
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
}

/// Statements before one run that are looked at: each costs about 0.05 ms, and an honest member sends one or a few.
const MOST_STATEMENTS: usize = 32;

/// Checks headers for one group.
pub(crate) struct Believer {
    group: Arc<Group>,
    good: Mutex<Bounded<[u8; 32], (NodeId, i64)>>,
}

impl Believer {
    pub(crate) fn new(group: Arc<Group>) -> Self {
        Self { group, good: Mutex::new(Bounded::new(REMEMBERED)) }
    }

    /// The member that a certificate belongs to.
    pub(crate) fn member(&self, certificate: &[u8], now: i64) -> Result<NodeId, NotAMember> {
        let hash = *blake3::hash(certificate).as_bytes();
        let known = self.good.lock().unwrap_or_else(PoisonError::into_inner).at(&hash).copied();
        if let Some((node, _)) = known.filter(|(_, at)| (0..GOOD_FOR).contains(&now.saturating_sub(*at))) {
            return Ok(node);
        }
        let node = self.group.verify_member(&CertificateDer::from(certificate), now)?;
        self.good.lock().unwrap_or_else(PoisonError::into_inner).put(hash, (node, now));
        Ok(node)
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
        let not_a_member = |why: String| Lie::Signer { block, why };
        let member = self.member(&endorsed.certificate, now).map_err(|why| not_a_member(why.to_string()))?;
        if member != statement.signer {
            return Err(not_a_member("the certificate is another member's".to_owned()));
        }
        endorsed.signed.believe(expected, hashes).map_err(|why| Lie::Statement { block, why })
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
        for endorsed in &header.statements {
            let run = endorsed.signed.statement.blocks();
            let hashes = header.hashes_of(run.clone()).ok_or(Lie::NoHash { block: run.start })?;
            self.believe(endorsed, expected, hashes, now)?;
            covered.insert(run.clone());
            let (first_block, count) = (run.start, run.end - run.start);
            statements.push(StoredStatement { first_block, count, bytes: endorsed.encode() });
        }
        if let Some(run) = BlockSet::from_run(send.clone()).difference(&covered).first_run() {
            return Err(Lie::Unsigned { block: run.start });
        }
        let hashes = header.hashes_of(send.clone()).ok_or(Lie::NoHash { block: send.start })?.to_vec();
        Ok(Believed { blocks: send, hashes, statements })
    }
}

/// Seconds since 1970, for the life of certificates.
pub(crate) fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
