//! Who signed for blocks that are held here: this node's own word, and those that it passes on.
//!
//! The cost is bounded like that of a lookup: it waits for the same turns, and a signature that was checked once is remembered.

use super::ask::find;
use super::offer::{Holdings, Proof};
use super::read::relayable;
use super::{Abandon, Server, Shared};
use crate::peer::belief::unix_now;
use crate::peer::conduct::Asked;
use eddy_cache::EntityHandle;
use eddy_content::LookupKey;
use eddy_wire::NodeId;
use eddy_wire::frame::{MAX_VOUCHED, Vouched};
use eddy_wire::statement::{Claim, Expected};
use std::ops::Range;

impl Server {
    /// Answers with what is signed. Absent, private and told-nothing look the same, as everywhere (T-12).
    pub(super) async fn vouch(&self, node: NodeId, key: LookupKey, blocks: Range<u32>) -> Result<Vouched, Abandon> {
        let claims = {
            let _turn = self.lookups.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
            self.blocking(move |shared| claims(shared, key, blocks)).await?
        };
        let told_nothing = self.asks_too_much(node, Asked::Question, usize::from(claims.is_empty()));
        Ok(if told_nothing { Vouched::default() } else { Vouched::of(claims) })
    }
}

fn claims(shared: &Shared, key: LookupKey, blocks: Range<u32>) -> Vec<Claim> {
    let Some(handle) = find(shared, &key) else { return Vec::new() };
    let mut claims = own(shared, &handle, key, blocks.clone());
    let held = handle.held();
    for endorsed in relayable(shared, &handle, blocks) {
        if claims.len() >= MAX_VOUCHED {
            break;
        }
        let run = endorsed.signed.statement.blocks();
        if !held.contains_run(run.clone()) {
            continue;
        }
        let Ok(hashes) = handle.block_hashes(run) else { continue };
        let expected = Expected { group: shared.group, key, length: handle.entity().length };
        if shared.believer.believe(&endorsed, &expected, &hashes, unix_now()).is_ok() {
            claims.push(Claim { endorsed, hashes });
        }
    }
    claims
}

/// This node's own word about what it fetched from the origin.
fn own(shared: &Shared, handle: &EntityHandle, key: LookupKey, blocks: Range<u32>) -> Vec<Claim> {
    let (held, fetched_here) = (handle.held(), handle.fetched_here());
    let holdings = Holdings { geometry: &handle.geometry(), held: &held, fetched_here: &fetched_here, statements: &[] };
    let portions = holdings.portions(blocks);
    let own = portions.into_iter().filter(|portion| portion.proof == Proof::Own).take(MAX_VOUCHED);
    own.filter_map(|portion| {
        let hashes = handle.block_hashes(portion.send.clone()).ok()?;
        let endorsed = shared.signer.statement(handle.entity(), key, portion.send.start, &hashes);
        Some(Claim { endorsed, hashes })
    })
    .collect()
}
