//! Whether enough different members say the same about blocks, before a byte of them is asked for.

use super::ground::weight;
use super::{Lie, unix_now};
use crate::peer::ask::Question;
use crate::peer::core::Core;
use crate::peer::stream::InputError;
use eddy_content::{BlockHash, BlockSet, Entity};
use eddy_engine::Peer;
use eddy_engine::port::Proof;
use eddy_engine::trust::Witnessing;
use eddy_wire::NodeId;
use eddy_wire::frame::{Request, StreamKind, Vouched};
use eddy_wire::statement::{Claim, Expected};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;
use tokio::time::timeout;

/// How long the answers are waited for: less than after what the planner calls a peer stalled. Who is slower did not vouch.
const PATIENCE: Duration = Duration::from_millis(600);

/// What the members say about blocks.
#[derive(Debug, Default)]
pub struct Vouching {
    /// The blocks for which enough different members signed the same hash.
    pub met: BlockSet,
    /// That hash.
    pub hashes: BTreeMap<u32, BlockHash>,
    /// The blocks for which members signed different hashes: only their origin can say who is right.
    pub disputed: BlockSet,
    /// Everything that was signed, to be held against the origin's bytes.
    pub claims: Vec<Claim>,
}

impl Vouching {
    /// Weighs what was signed about `wanted`.
    fn of(core: &Core, proof: &Proof, wanted: &Range<u32>, claims: Vec<Claim>) -> Self {
        let mut said: BTreeMap<u32, BTreeSet<[u8; 32]>> = BTreeMap::new();
        for claim in &claims {
            for block in overlap(wanted, &claim.blocks()) {
                said.entry(block).or_default().extend(claim.hash_of(block).map(|hash| hash.0));
            }
        }
        let differing = said.iter().filter(|(_, hashes)| hashes.len() > 1);
        let disputed: BlockSet = differing.map(|(block, _)| *block..*block + 1).collect();
        let mut witnessing = Witnessing::new(proof.needed);
        for claim in &claims {
            let blocks = BlockSet::from_run(overlap(wanted, &claim.blocks())).difference(&disputed);
            let Ok(member) = core.believer.signer(&claim.endorsed, core.group.now()) else { continue };
            witnessing.hear(Peer(member.node.0), weight(&core.config.trust, &member), &blocks);
        }
        let met = witnessing.met().clone();
        let hashes = said.into_iter().filter(|(block, _)| met.contains(*block));
        let hashes = hashes.filter_map(|(block, hashes)| Some((block, BlockHash(*hashes.first()?)))).collect();
        Self { met, hashes, disputed, claims }
    }
}

/// Asks the members of `proof` who signed for blocks of an entity. Who answers with what no honest member says is named, too.
pub(crate) async fn gather(
    core: &Core,
    entity: &Entity,
    wanted: Range<u32>,
    proof: &Proof,
) -> (Vouching, Vec<(NodeId, Lie)>) {
    let asked = proof.ask.iter().map(|peer| {
        let node = NodeId(peer.0);
        let wanted = wanted.clone();
        async move { (node, timeout(PATIENCE, ask(core, node, entity, wanted)).await.unwrap_or(Ok(Vec::new()))) }
    });
    let (mut claims, mut lies) = (Vec::new(), Vec::new());
    for (node, answer) in join_all(asked).await {
        match answer {
            Ok(said) => claims.extend(said),
            Err(lie) => lies.push((node, lie)),
        }
    }
    claims.sort_by_key(|claim: &Claim| (claim.signer(), claim.blocks().start, claim.blocks().end));
    claims.dedup();
    (Vouching::of(core, proof, &wanted, claims), lies)
}

/// What one member knows to be signed; nothing when it is gone or silent.
async fn ask(core: &Core, node: NodeId, entity: &Entity, blocks: Range<u32>) -> Result<Vec<Claim>, Lie> {
    let key = entity.lookup_key(&core.secret);
    let Some(connection) = core.used(node) else { return Ok(Vec::new()) };
    let request = Request::Vouch { key, blocks: blocks.clone() };
    let answered = async {
        let mut question = Question::put(&connection, StreamKind::Request, &request).await?;
        question.input.frame::<Vouched>().await
    };
    let vouched = match answered.await {
        Ok(vouched) => vouched,
        Err(InputError::Frame(error)) => return Err(Lie::Protocol(error.to_string())),
        Err(_) => return Ok(Vec::new()),
    };
    let expected = Expected { group: core.group.id(), key, length: entity.length };
    let mut claims = Vec::new();
    for claim in vouched.claims() {
        if overlap(&blocks, &claim.blocks()).is_empty() {
            return Err(Lie::NotAsked { said: claim.blocks(), open: blocks });
        }
        match core.believer.believe(&claim.endorsed, &expected, &claim.hashes, unix_now()) {
            Ok(()) => claims.push(claim),
            // Whoever passes it on may not know yet that it counts for nothing.
            Err(Lie::Removed { .. }) => {}
            Err(lie) => return Err(lie),
        }
    }
    Ok(claims)
}

/// The blocks that are in both runs.
pub(crate) fn overlap(a: &Range<u32>, b: &Range<u32>) -> Range<u32> {
    let start = a.start.max(b.start);
    start..a.end.min(b.end).max(start)
}
