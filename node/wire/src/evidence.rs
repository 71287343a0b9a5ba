//! Evidence that somebody lied: statements that cannot all be true, to be checked by anybody and without a network.
//!
//! The accused signed a hash for a block; others signed another one for the same block of the same version. That both cannot be
//! true follows from the signatures alone. Which one is true was found out by the node that wrote the evidence down: it fetched the
//! block from the origin itself, and signed what it got like any other member, which is one of the statements.

use crate::NodeId;
use crate::statement::{Claim, Disbelief};
use eddy_content::tree::BlockHash;

/// Statements against the accused in one piece of evidence.
pub const MAX_AGAINST: usize = 3;

/// Statements that cannot all be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What the accused signed.
    pub accused: Claim,
    /// What others signed: first who fetched the block from the origin to find out, then whoever was believed or compared.
    pub against: Vec<Claim>,
}

/// What evidence shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The first block about which the accused and the first witness differ.
    pub block: u32,
    /// Who signed for it, and which hash; the accused first.
    pub said: Vec<(NodeId, BlockHash)>,
}

/// Why something is no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// There is no statement against the accused, or more than are ever kept.
    #[error("{count} statements stand against the accused, 1 to {MAX_AGAINST} would be evidence")]
    Count {
        /// How many.
        count: usize,
    },
    /// A statement is not its signer's, or its hashes are not those that were signed.
    #[error("the statement of {signer}: {why}")]
    Forged {
        /// Whose it is said to be.
        signer: NodeId,
        /// What is wrong.
        why: Disbelief,
    },
    /// A statement does not contradict the accused's.
    #[error("what {signer} signed does not contradict the accused")]
    Agrees {
        /// Whose it is.
        signer: NodeId,
    },
    /// The accused is its own witness: keys leak, and then nothing follows.
    #[error("the accused contradicts itself")]
    Itself,
}

impl Evidence {
    /// Checks every signature and every contradiction. Whether the signers were members is the group's to say.
    pub fn check(&self) -> Result<Contradiction, NoEvidence> {
        let count = self.against.len();
        if !(1..=MAX_AGAINST).contains(&count) {
            return Err(NoEvidence::Count { count });
        }
        for claim in std::iter::once(&self.accused).chain(&self.against) {
            let signer = claim.signer();
            claim.check().map_err(|why| NoEvidence::Forged { signer, why })?;
        }
        let accused = self.accused.signer();
        let mut first = None;
        for claim in &self.against {
            let signer = claim.signer();
            if signer == accused {
                return Err(NoEvidence::Itself);
            }
            let block = self.accused.contradicts(claim).ok_or(NoEvidence::Agrees { signer })?;
            first.get_or_insert(block);
        }
        let block = first.unwrap_or_default();
        let all = std::iter::once(&self.accused).chain(&self.against);
        let said = all.filter_map(|claim| Some((claim.signer(), claim.hash_of(block)?))).collect();
        Ok(Contradiction { block, said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::EndorsedStatement;
    use crate::statement::tests::{hashes, said};
    use ed25519_dalek::SigningKey;
    use eddy_content::tree::run_hash;

    fn claim(key: u8, first: u32, count: u32, bend: Option<u32>) -> Claim {
        let mut hashes = hashes(first, count);
        if let Some(bent) = bend {
            hashes[(bent - first) as usize].0[0] ^= 1;
        }
        let mut statement = said();
        (statement.first_block, statement.count) = (first, count);
        statement.run = run_hash(first, &hashes);
        let signed = statement.sign(&SigningKey::from_bytes(&[key; 32]));
        Claim { endorsed: EndorsedStatement { signed, certificate: vec![0x30; 40] }, hashes }
    }

    #[test]
    fn two_words_about_one_block_are_evidence() {
        let evidence = Evidence { accused: claim(1, 2, 4, Some(4)), against: vec![claim(2, 4, 2, None)] };
        let shown = evidence.check().expect("is evidence");
        assert_eq!(shown.block, 4);
        assert_eq!(shown.said.len(), 2);
        assert_ne!(shown.said[0].1, shown.said[1].1);
    }

    #[test]
    fn what_agrees_is_forged_or_speaks_of_something_else_is_none() {
        let accused = claim(1, 2, 4, Some(4));
        let check = |against: Vec<Claim>| Evidence { accused: accused.clone(), against }.check().unwrap_err();
        assert_eq!(check(vec![]), NoEvidence::Count { count: 0 });
        assert!(matches!(check(vec![claim(2, 2, 2, None)]), NoEvidence::Agrees { .. }));
        assert!(matches!(check(vec![claim(2, 4, 2, Some(4))]), NoEvidence::Agrees { .. }));
        assert_eq!(check(vec![claim(1, 4, 2, None)]), NoEvidence::Itself);
        let mut forged = claim(2, 4, 2, None);
        forged.hashes[0].0[9] ^= 1;
        assert!(matches!(check(vec![forged]), NoEvidence::Forged { .. }));
        let mut other_version = claim(2, 4, 2, None);
        other_version.endorsed.signed.statement.length -= 1;
        other_version.endorsed.signed = other_version.endorsed.signed.statement.sign(&SigningKey::from_bytes(&[2; 32]));
        assert!(matches!(check(vec![other_version]), NoEvidence::Agrees { .. }));
    }
}
