//! What the driver can ask of members' words: whether enough of them agree, whom the origin proves wrong, on what held blocks
//! stand.

use super::belief::archive::Archive;
use super::belief::judge::{Judge, Verdict};
use super::belief::vouch::{self, Vouching};
use super::close::code;
use super::conduct::Standing;
use super::peers::Peers;
use eddy_cache::EntityHandle;
use eddy_content::{BlockHash, BlockSet, Entity};
use eddy_engine::port::Proof;
use eddy_engine::trust::Policy;
use eddy_wire::NodeId;
use eddy_wire::statement::Claim;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

impl Peers {
    /// The policy that holds here.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.core().judge.policy
    }

    /// Asks members who signed for blocks of an entity. Cancel safe.
    pub async fn vouch(&self, entity: &Entity, blocks: Range<u32>, proof: &Proof) -> Vouching {
        let (vouching, lies) = vouch::gather(self.core(), entity, blocks, proof).await;
        for (node, lie) in lies {
            self.blame(node, &format!("{lie}, of {}", entity.url.redacted()));
        }
        vouching
    }

    /// Remembers claims that were not believed until the origin's bytes are here.
    pub fn await_origin(&self, entity: &Entity, claims: Vec<Claim>) {
        self.core().judge.await_origin(entity, claims);
    }

    /// Blocks of an entity came from the origin: whoever signed something else for them is convicted.
    ///
    /// Seldom does anything wait for that, so it is not worth a change of threads to find out.
    pub async fn settle(&self, handle: &EntityHandle) {
        if !self.core().judge.is_awaited(handle.entity()) {
            return;
        }
        let handle = handle.clone();
        let verdicts = self.judging(move |judge| judge.settle(&handle)).await;
        self.part_from(&verdicts.unwrap_or_default());
    }

    /// The origin was asked a second time about held blocks and gave these hashes: whoever signed for others is convicted. Gives the
    /// held blocks that are not to be believed any more.
    pub async fn refute(&self, handle: &EntityHandle, first_block: u32, truth: Vec<BlockHash>) -> BlockSet {
        let handle = handle.clone();
        let refuted = self.judging(move |judge| judge.refute(&handle, first_block, &truth)).await;
        let (verdicts, doubted) = refuted.unwrap_or_default();
        self.part_from(&verdicts);
        doubted
    }

    /// Holds claims against the blocks that are held. Gives the blocks about which words differ: only the origin is to be believed
    /// about them, and those that are held are to be put aside.
    pub async fn dispute(&self, handle: &EntityHandle, claims: Vec<Claim>) -> BlockSet {
        let held = handle.held();
        let touches = |claim: &Claim| !held.intersection(&BlockSet::from_run(claim.blocks())).is_empty();
        if !claims.iter().any(touches) {
            return BlockSet::new();
        }
        let handle = handle.clone();
        let disputed = self.judging(move |judge| judge.dispute(&handle, &claims)).await;
        let (verdicts, disputed) = disputed.unwrap_or_default();
        self.part_from(&verdicts);
        disputed
    }

    /// The held blocks of an entity for which fewer than `needed` members vouch whose word counts. Blocks on the disk.
    #[must_use]
    pub fn weak(&self, handle: &EntityHandle, needed: u8) -> BlockSet {
        self.core().judge.weak(handle, needed)
    }

    /// How many members, at most three, vouch for each held block that this node did not fetch itself, at least; none when it
    /// fetched all. Blocks on the disk.
    #[must_use]
    pub fn witnesses(&self, handle: &EntityHandle) -> Option<u8> {
        self.core().judge.ground(handle).witnesses()
    }

    /// How a member stands, if it ever did anything wrong.
    #[must_use]
    pub fn standing_of(&self, node: NodeId) -> Option<Standing> {
        self.core().conduct().standing(node, Instant::now())
    }

    /// Every member that stands badly.
    #[must_use]
    pub fn suspects(&self) -> Vec<(NodeId, Standing)> {
        self.core().conduct().suspects(Instant::now())
    }

    /// The evidence against members.
    #[must_use]
    pub fn archive(&self) -> Option<&Archive> {
        self.core().judge.archive()
    }

    async fn judging<T: Send + 'static>(&self, work: impl FnOnce(&Judge) -> T + Send + 'static) -> Option<T> {
        let judge = Arc::clone(&self.core().judge);
        tokio::task::spawn_blocking(move || work(&judge)).await.ok()
    }

    fn part_from(&self, verdicts: &[Verdict]) {
        for verdict in verdicts.iter().filter(|verdict| verdict.is_blocked) {
            tracing::warn!(node = %verdict.liar, "two proofs: the member is blocked for 24 hours");
            self.core().close_all(verdict.liar, code::BLOCKED);
        }
    }
}
