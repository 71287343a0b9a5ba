//! On whose word the blocks stand that are held here.
//!
//! What this node fetched itself needs nobody's word. For the rest the statements are kept beside the blocks; whether they
//! still count is looked at when it matters: when an entity is opened for a job, and before it is delivered.

use super::Believer;
use crate::group::Member;
use eddy_cache::{EntityHandle, StoredStatement};
use eddy_content::BlockSet;
use eddy_engine::Peer;
use eddy_engine::trust::{Policy, Weight, Witnessing};
use eddy_wire::membership::Role;
use eddy_wire::statement::{Claim, EndorsedStatement, Expected};

/// The most witnesses that are told apart.
const MOST: u8 = 3;

/// Whose word the held blocks of an entity stand on.
#[derive(Debug)]
pub(crate) struct Ground {
    held: BlockSet,
    own: BlockSet,
    /// Blocks that some statement speaks of, whether it counts or not.
    spoken: BlockSet,
    /// Blocks that a statement speaks of which counts for nothing.
    revoked: BlockSet,
    witnessing: Witnessing,
}

/// What a kept statement is worth.
enum Worth {
    /// It speaks of the blocks as they are held, or of blocks that are not all here; who signed counts.
    Counts(Member),
    /// Who signed does not count, or it speaks of other bytes.
    Revoked,
}

impl Ground {
    /// Looks at every statement that is kept of the entity.
    pub(crate) fn of(
        handle: &EntityHandle,
        (believer, expected): (&Believer, &Expected),
        policy: &Policy,
        now: i64,
    ) -> Self {
        let (held, own) = (handle.held(), handle.fetched_here());
        let (mut spoken, mut revoked) = (BlockSet::new(), BlockSet::new());
        let mut witnessing = Witnessing::new(MOST);
        for kept in handle.statements(handle.geometry().all_blocks()) {
            let run = BlockSet::from_run(kept.first_block..kept.first_block.saturating_add(kept.count));
            let Ok(endorsed) = EndorsedStatement::decode(&kept.bytes) else { continue };
            match worth(handle, believer, &endorsed, &held, expected, now) {
                Worth::Counts(member) => {
                    let signer = Peer(member.node.0);
                    witnessing.hear(signer, weight(policy, &member), &run);
                }
                Worth::Revoked => revoked.union_with(&run),
            }
            spoken.union_with(&run);
        }
        Self { own: own.intersection(&held), spoken, revoked, held, witnessing }
    }

    /// Held blocks for which too few members vouch.
    ///
    /// Where one is enough, only blocks stand out whose statement counts no more. Blocks of which nobody ever spoke came with a
    /// package, whose signer the administrator trusts.
    pub(crate) fn weak(&self, needed: u8) -> BlockSet {
        let foreign = self.held.difference(&self.own);
        let suspect = if needed > 1 { &self.spoken } else { &self.revoked };
        let enough = if needed > MOST { BlockSet::new() } else { self.witnessing.by(needed).clone() };
        foreign.intersection(suspect).difference(&enough)
    }

    /// How many members vouch for each held block that was not fetched here, at least; none when all were. At most three are
    /// counted.
    pub(crate) fn witnesses(&self) -> Option<u8> {
        let foreign = self.held.difference(&self.own);
        (!foreign.is_empty()).then(|| self.witnessing.fewest(&foreign))
    }
}

fn worth(
    handle: &EntityHandle,
    believer: &Believer,
    endorsed: &EndorsedStatement,
    held: &BlockSet,
    expected: &Expected,
    now: i64,
) -> Worth {
    let Ok(member) = believer.signer(endorsed, now) else { return Worth::Revoked };
    let statement = &endorsed.signed.statement;
    if !held.contains_run(statement.blocks()) {
        // From a member it came with its hashes, which are not all here, and was held against them; with a package it just came.
        return if believer.is_genuine(endorsed, expected) { Worth::Counts(member) } else { Worth::Revoked };
    }
    let Ok(hashes) = handle.block_hashes(statement.blocks()) else { return Worth::Revoked };
    match believer.believe(endorsed, expected, &hashes, now) {
        Ok(()) => Worth::Counts(member),
        Err(_) => Worth::Revoked,
    }
}

/// How much a member's word weighs.
pub(crate) fn weight(policy: &Policy, member: &Member) -> Weight {
    let is_anchor = member.role == Role::Anchor || policy.anchors.contains(&Peer(member.node.0));
    if is_anchor { Weight::Anchor } else { Weight::Member }
}

/// The kept statements about a block, hash by hash, as far as their blocks are held as they were signed. Whose word they are nobody has looked
/// at: a package brings what it likes.
pub(crate) fn claims_about(handle: &EntityHandle, block: u32) -> Vec<Claim> {
    let held = handle.held();
    let claim = |kept: StoredStatement| {
        let endorsed = EndorsedStatement::decode(&kept.bytes).ok()?;
        let run = endorsed.signed.statement.blocks();
        let hashes = if held.contains_run(run.clone()) { handle.block_hashes(run).ok()? } else { return None };
        Some(Claim { endorsed, hashes }).filter(Claim::is_consistent)
    };
    handle.statements(block..block.saturating_add(1)).into_iter().filter_map(claim).collect()
}
