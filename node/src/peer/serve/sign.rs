//! This node's own statements, signed when somebody asks for the blocks and kept for the next who does.

use crate::peer::badge::Badge;
use crate::peer::belief::unix_now;
use crate::peer::bounded::Bounded;
use eddy_content::{BlockHash, Entity, LookupKey, tree};
use eddy_wire::statement::{EndorsedStatement, GroupId, Statement, Transport};
use std::sync::{Arc, Mutex, PoisonError};

/// Statements that are kept: about 2 MiB.
const KEPT: usize = 2048;

/// Which run of which entity.
type Name = (LookupKey, u32, u32);

/// Signs runs of blocks in the name of this node.
pub(crate) struct Signer {
    group: GroupId,
    badge: Arc<Badge>,
    /// With the certificate of its day: a statement holds by the certificate that held when it was made.
    signed: Mutex<Bounded<Name, EndorsedStatement>>,
}

impl Signer {
    pub(crate) fn new(group: GroupId, badge: Arc<Badge>) -> Self {
        Self { group, badge, signed: Mutex::new(Bounded::new(KEPT)) }
    }

    /// The statement over a run; the caller vouches that every block of it came from the origin to this node.
    pub(crate) fn statement(
        &self,
        entity: &Entity,
        key: LookupKey,
        first_block: u32,
        hashes: &[BlockHash],
    ) -> EndorsedStatement {
        let count = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        let run = tree::run_hash(first_block, hashes);
        let name = (key, first_block, count);
        let known = self.signed.lock().unwrap_or_else(PoisonError::into_inner).at(&name).cloned();
        // Rotten blocks are fetched again, and an origin may give other bytes the second time.
        known.filter(|endorsed| endorsed.signed.statement.run == run).unwrap_or_else(|| {
            let transport = if entity.url.is_https() { Transport::Https } else { Transport::Http };
            let statement = Statement {
                group: self.group,
                key,
                length: entity.length,
                first_block,
                count,
                run,
                time: unix_now(),
                transport,
                validator: entity.validator.kind(),
                signer: self.badge.node_id(),
            };
            let signed = statement.sign(self.badge.signing_key());
            let endorsed = EndorsedStatement { signed, certificate: self.badge.chain().to_vec() };
            self.signed.lock().unwrap_or_else(PoisonError::into_inner).put(name, endorsed.clone());
            endorsed
        })
    }
}
