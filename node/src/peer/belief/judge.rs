//! Who lied, once the origin was asked.
//!
//! What members signed and this node did not believe, or could not yet, is remembered until the bytes come from the origin over
//! its own connection: then each such claim is right or wrong. A wrong one is a proof against its signer, whoever
//! passed it on, and is kept as evidence together with this node's own signed word about the same blocks.

use super::archive::Archive;
use super::ground::{Ground, claims_about};
use super::{Believer, unix_now};
use crate::group::Group;
use crate::peer::badge::Badge;
use crate::peer::bounded::Bounded;
use crate::peer::conduct::{BLOCKED_FOR, Conduct};
use crate::peer::serve::sign::Signer;
use eddy_cache::EntityHandle;
use eddy_content::tree::RunHash;
use eddy_content::{BlockHash, BlockSet, Entity, LookupKey, LookupSecret};
use eddy_engine::trust::Policy;
use eddy_wire::NodeId;
use eddy_wire::evidence::{Evidence, MAX_AGAINST};
use eddy_wire::statement::{Claim, EndorsedStatement, Expected};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Versions of which claims wait for the origin's word.
const VERSIONS: usize = 64;
/// Claims of one version that wait: each has at most 9 KiB.
const CLAIMS: usize = 16;
/// Proofs that are remembered as counted.
const COUNTED: usize = 1024;
/// Believed claims that are remembered: those of the runs that are coming, of which a node has a few dozen at once.
const HEARD: usize = 64;

/// Somebody who was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Who.
    pub(crate) liar: NodeId,
    /// Whether it was the second proof, so that it is not spoken to for a day.
    pub(crate) is_blocked: bool,
}

/// Judges the claims of members by what the origin gave.
pub(crate) struct Judge {
    me: NodeId,
    group: Arc<Group>,
    secret: LookupSecret,
    believer: Arc<Believer>,
    conduct: Arc<Mutex<Conduct>>,
    signer: Signer,
    archive: Option<Archive>,
    pub(crate) policy: Policy,
    waiting: Mutex<Bounded<LookupKey, Vec<Claim>>>,
    /// Proofs that were counted: one version is one proof, however many of its blocks were wrong.
    counted: Mutex<Bounded<(NodeId, LookupKey), ()>>,
    /// What was believed of late. A statement is stored without its hashes, which are those of the blocks: as long as its run is
    /// not all here, only this can prove what it said.
    heard: Mutex<Bounded<Heard, Claim>>,
}

/// Who signed which run of hashes of which version.
type Heard = (NodeId, LookupKey, RunHash);

impl Judge {
    pub(crate) fn new(
        (group, badge): (Arc<Group>, Arc<Badge>),
        (believer, conduct): (Arc<Believer>, Arc<Mutex<Conduct>>),
        archive: Option<Archive>,
        policy: Policy,
    ) -> Self {
        let judge = Self {
            me: badge.node_id(),
            secret: group.lookup_secret(),
            signer: Signer::new(group.id(), badge),
            group,
            believer,
            conduct,
            archive,
            policy,
            waiting: Mutex::new(Bounded::new(VERSIONS)),
            counted: Mutex::new(Bounded::new(COUNTED)),
            heard: Mutex::new(Bounded::new(HEARD)),
        };
        judge.remember_verdicts();
        judge
    }

    /// What was found before this node started still counts for its day.
    fn remember_verdicts(&self) {
        let now = Instant::now();
        let mut conduct = self.conduct.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, age) in self.archive.iter().flat_map(Archive::verdicts).filter(|(_, age)| *age < BLOCKED_FOR) {
            if let Some(then) = now.checked_sub(age) {
                conduct.discredit(node, then);
                conduct.count_proof(node, then);
            }
        }
    }

    /// The evidence that is kept.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// Remembers claims that were not believed, until the origin says who is right.
    pub(crate) fn await_origin(&self, entity: &Entity, claims: Vec<Claim>) {
        if claims.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.entry(entity.lookup_key(&self.secret), Vec::new);
        for claim in claims {
            if known.len() < CLAIMS && !known.contains(&claim) {
                known.push(claim);
            }
        }
    }

    /// Whether claims about a version wait for the origin's word. Does not block.
    pub(crate) fn is_awaited(&self, entity: &Entity) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.at(&entity.lookup_key(&self.secret)).is_some_and(|claims| !claims.is_empty())
    }

    /// Remembers claims that were checked and are believed, while the blocks they are about come.
    pub(crate) fn hear(&self, claims: &[Claim]) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in claims {
            let said = &claim.endorsed.signed.statement;
            heard.entry((said.signer, said.key, said.run), || claim.clone());
        }
    }

    /// The believed claims about a block of a version whose runs need not be here.
    fn heard_about(&self, key: LookupKey, block: u32) -> Vec<Claim> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let speaks = |claim: &&Claim| claim.endorsed.signed.statement.key == key && claim.blocks().contains(&block);
        heard.values().filter(speaks).cloned().collect()
    }

    /// Blocks came from the origin: holds the claims about them against what it gave. Blocks on the disk.
    pub(crate) fn settle(&self, handle: &EntityHandle) -> Vec<Verdict> {
        let key = handle.entity().lookup_key(&self.secret);
        let claims = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            match waiting.at(&key) {
                Some(claims) if !claims.is_empty() => std::mem::take(waiting.entry(key, Vec::new)),
                _ => return Vec::new(),
            }
        };
        let own = handle.fetched_here().intersection(&handle.held());
        let (mut verdicts, mut open) = (Vec::new(), Vec::new());
        for claim in &claims {
            match self.truth_about(handle, key, claim, &own) {
                Some(truth) => verdicts.extend(self.convict(handle.entity(), claim, truth, &claims)),
                None if own.contains_run(claim.blocks()) => {}
                None => open.push(claim.clone()),
            }
        }
        self.await_origin(handle.entity(), open);
        verdicts
    }

    /// What this node signs about the first blocks of a claim that came from the origin and are not as claimed.
    fn truth_about(&self, handle: &EntityHandle, key: LookupKey, claim: &Claim, own: &BlockSet) -> Option<Claim> {
        let here = own.intersection(&BlockSet::from_run(claim.blocks()));
        here.runs().find_map(|run| {
            let hashes = handle.block_hashes(run.clone()).ok()?;
            let differs = run.clone().zip(&hashes).any(|(block, hash)| claim.hash_of(block) != Some(*hash));
            differs.then(|| self.own_word(handle.entity(), key, run, hashes))
        })
    }

    /// This node's word about blocks that it had from the origin.
    fn own_word(&self, entity: &Entity, key: LookupKey, run: Range<u32>, hashes: Vec<BlockHash>) -> Claim {
        let endorsed = self.signer.statement(entity, key, run.start, &hashes);
        Claim { endorsed, hashes }
    }

    /// The origin was asked a second time about held blocks and gave others: names who signed for those that are held, and says
    /// which blocks stand on the same word. Blocks on the disk.
    pub(crate) fn refute(
        &self,
        handle: &EntityHandle,
        first_block: u32,
        truth: &[BlockHash],
    ) -> (Vec<Verdict>, BlockSet) {
        let key = handle.entity().lookup_key(&self.secret);
        let run = first_block..first_block.saturating_add(truth.len() as u32);
        let Ok(held) = handle.block_hashes(run.clone()) else { return (Vec::new(), BlockSet::new()) };
        let wrong = run.clone().zip(held.iter().zip(truth)).filter(|(_, (held, truth))| held != truth);
        let mut doubted: BlockSet = wrong.map(|(block, _)| block..block + 1).collect();
        if !doubted.intersection(&handle.fetched_here()).is_empty() {
            tracing::warn!(url = %handle.entity().url.redacted(), "the origin gives other bytes under the same version");
            return (Vec::new(), BlockSet::new());
        }
        let own = self.own_word(handle.entity(), key, run, truth.to_vec());
        let mut verdicts = Vec::new();
        for block in doubted.runs().flatten() {
            let heard = self.heard_about(key, block);
            let signed_it = |claim: &&Claim| claim.hash_of(block) != own.hash_of(block);
            for claim in claims_about(handle, block).iter().chain(&heard).filter(signed_it) {
                verdicts.extend(self.convict(handle.entity(), claim, own.clone(), &[]));
            }
            self.discredit_alone(handle, key, block);
        }
        doubted.union_with(&self.weak(handle, 1));
        (verdicts, doubted)
    }

    /// Where one member alone signed for a wrong block, and its statement is not all here to be shown, its word counts no more.
    fn discredit_alone(&self, handle: &EntityHandle, key: LookupKey, block: u32) {
        let kept = handle.statements(block..block.saturating_add(1));
        let expected = self.expected(handle.entity(), key);
        let signers = kept.iter().filter_map(|kept| EndorsedStatement::decode(&kept.bytes).ok());
        let signers = signers.filter(|endorsed| self.believer.is_genuine(endorsed, &expected));
        let mut signers: Vec<NodeId> = signers.map(|endorsed| endorsed.signed.statement.signer).collect();
        signers.sort();
        signers.dedup();
        if let [signer] = signers[..]
            && signer != self.me
        {
            self.conduct.lock().unwrap_or_else(PoisonError::into_inner).discredit(signer, Instant::now());
        }
    }

    /// A claim about blocks that are held by others' word says something else: all of them wait for the origin. Gives the blocks
    /// about which the words differ, to be put aside. Blocks on the disk.
    pub(crate) fn dispute(&self, handle: &EntityHandle, claims: &[Claim]) -> (Vec<Verdict>, BlockSet) {
        let (held, own) = (handle.held(), handle.fetched_here());
        let key = handle.entity().lookup_key(&self.secret);
        let (mut verdicts, mut disputed) = (Vec::new(), BlockSet::new());
        for claim in claims {
            if let Some(truth) = self.truth_about(handle, key, claim, &own.intersection(&held)) {
                verdicts.extend(self.convict(handle.entity(), claim, truth, &[]));
                disputed.union_with(&BlockSet::from_run(claim.blocks()).difference(&held));
                continue;
            }
            let differing = self.differing(handle, claim, &held);
            if differing.is_empty() {
                continue;
            }
            let others = differing.runs().flatten().flat_map(|block| claims_about(handle, block));
            let mut all: Vec<Claim> = others.take(CLAIMS).collect();
            all.dedup();
            all.push(claim.clone());
            self.await_origin(handle.entity(), all);
            disputed.union_with(&differing);
        }
        (verdicts, disputed)
    }

    /// The held blocks for which a claim names another hash.
    fn differing(&self, handle: &EntityHandle, claim: &Claim, held: &BlockSet) -> BlockSet {
        let here = held.intersection(&BlockSet::from_run(claim.blocks()));
        let mut differing = BlockSet::new();
        for run in here.runs() {
            let Ok(hashes) = handle.block_hashes(run.clone()) else { continue };
            let wrong = run.zip(hashes).filter(|(block, hash)| claim.hash_of(*block) != Some(*hash));
            wrong.for_each(|(block, _)| differing.insert(block..block + 1));
        }
        differing
    }

    /// Whose word the held blocks stand on. Blocks on the disk.
    pub(crate) fn ground(&self, handle: &EntityHandle) -> Ground {
        let expected = self.expected(handle.entity(), handle.entity().lookup_key(&self.secret));
        Ground::of(handle, (&self.believer, &expected), &self.policy, unix_now())
    }

    /// What a statement has to be about.
    fn expected(&self, entity: &Entity, key: LookupKey) -> Expected {
        Expected { group: self.group.id(), key, length: entity.length }
    }

    /// The held blocks for which too few members vouch.
    pub(crate) fn weak(&self, handle: &EntityHandle, needed: u8) -> BlockSet {
        // The usual case costs nothing: one word is enough, and nobody's has lost its weight.
        if needed <= 1 && !self.believer.is_anybody_removed() {
            return BlockSet::new();
        }
        self.ground(handle).weak(needed)
    }

    /// Notes a lie that is proved by this node's own word about what the origin gave; `others` may say the same as it does.
    ///
    /// The word has to be the signer's and has to differ, whoever says so here: what came with a package nobody has looked at, and it may
    /// put words into anybody's mouth.
    fn convict(&self, entity: &Entity, lie: &Claim, truth: Claim, others: &[Claim]) -> Option<Verdict> {
        if lie.check().is_err() || lie.contradicts(&truth).is_none() {
            return None;
        }
        let liar = lie.signer();
        let name = (liar, lie.endorsed.signed.statement.key);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if liar == self.me || counted.at(&name).is_some() {
            return None;
        }
        counted.put(name, ());
        drop(counted);
        let is_blocked = {
            let (mut conduct, now) = (self.conduct.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
            conduct.discredit(liar, now);
            conduct.count_proof(liar, now)
        };
        let url = entity.url.redacted();
        let right = |claim: &&Claim| claim.contradicts(&truth).is_none() && claim.contradicts(lie).is_some();
        let mut against = vec![truth.clone()];
        against.extend(others.iter().filter(right).filter(|claim| claim.signer() != liar).cloned());
        against.truncate(MAX_AGAINST);
        let evidence = Evidence { accused: lie.clone(), against };
        let id = self.archive.as_ref().map(|archive| archive.keep(&evidence, url.clone()));
        match id {
            Some(Ok(id)) => {
                tracing::warn!(%liar, url, evidence = id, "a member signed for bytes that the origin does not give")
            }
            Some(Err(error)) => {
                tracing::error!(%liar, url, %error, "a member signed for bytes that the origin does not give; the evidence cannot be kept")
            }
            None => tracing::warn!(%liar, url, "a member signed for bytes that the origin does not give"),
        }
        Some(Verdict { liar, is_blocked })
    }
}
