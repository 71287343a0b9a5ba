//! Which blocks of the entities that a member names are here, and may be offered.

use super::offer::Holdings;
use super::{Abandon, Server, Shared};
use crate::peer::conduct::Asked;
use crate::peer::config::Serving;
use eddy_cache::EntityHandle;
use eddy_content::{BlockSet, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{Answer, Answers};
use eddy_wire::statement::EndorsedStatement;
use std::collections::HashMap;
use std::ops::Range;

impl Server {
    /// Answers for each key. Absent, private and told-nothing look the same and cost the same lookup (T-12).
    pub(super) async fn ask(&self, node: NodeId, keys: Vec<LookupKey>) -> Result<Answers, Abandon> {
        let count = keys.len();
        let answers = {
            let _turn = self.lookups.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
            self.blocking(move |shared| each_once(&keys, |key| answer(shared, key))).await?
        };
        let misses = answers.iter().filter(|answer| **answer == Answer::NotHere).count();
        if self.asks_too_much(node, Asked::Question, misses) {
            return Ok(Answers(vec![Answer::NotHere; count]));
        }
        Ok(Answers(answers))
    }
}

/// An answer for each key, in their order; what is asked about twice is looked up once.
fn each_once<A: Clone>(keys: &[LookupKey], mut answer: impl FnMut(&LookupKey) -> A) -> Vec<A> {
    let mut known = HashMap::new();
    keys.iter().map(|key| known.entry(*key).or_insert_with(|| answer(key)).clone()).collect()
}

fn answer(shared: &Shared, key: &LookupKey) -> Answer {
    let Some(handle) = find(shared, key) else { return Answer::NotHere };
    let blocks = offered(shared, &handle);
    if blocks.is_empty() {
        return Answer::NotHere;
    }
    shared.warm.told_of(*key, &handle);
    Answer::Holds { length: handle.entity().length, blocks }
}

/// The blocks of an entity that members may have.
pub(super) fn offered(shared: &Shared, handle: &EntityHandle) -> BlockSet {
    let statements = statement_runs(shared, handle);
    Holdings {
        geometry: &handle.geometry(),
        held: &handle.held(),
        fetched_here: &handle.fetched_here(),
        statements: &statements,
    }
    .offered()
}

/// The entity behind a key; a store that fails has nothing, and neither has a node that serves nobody.
pub(super) fn find(shared: &Shared, key: &LookupKey) -> Option<EntityHandle> {
    if shared.serving == Serving::Nobody {
        return None;
    }
    let found = shared.store.by_lookup(key).unwrap_or_else(|error| {
        tracing::warn!(%error, "the store could not look an entity up for a peer");
        None
    });
    // It may have turned private since the index was asked.
    let found = found.filter(EntityHandle::is_shareable)?;
    shared.warm.hold(*key, &found);
    Some(found)
}

/// The runs of all statements that are kept of an entity; those of removed members are passed on to nobody.
fn statement_runs(shared: &Shared, handle: &EntityHandle) -> Vec<Range<u32>> {
    if !shared.believer.is_anybody_removed() {
        return handle.statement_runs();
    }
    let mut statements = handle.statements(handle.geometry().all_blocks());
    statements.retain(|kept| {
        let signer = EndorsedStatement::decode(&kept.bytes).map(|endorsed| endorsed.signed.statement.signer);
        signer.is_ok_and(|signer| !shared.believer.is_removed(&signer))
    });
    statements.iter().map(|kept| kept.first_block..kept.first_block.saturating_add(kept.count)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_twice_is_looked_up_once() {
        let keys = [3, 1, 3, 3, 2, 1].map(|number| LookupKey([number; 32]));
        let mut looked_up = Vec::new();
        let answers = each_once(&keys, |key| {
            looked_up.push(key.0[0]);
            key.0[0]
        });
        assert_eq!((answers, looked_up), (vec![3, 1, 3, 3, 2, 1], vec![3, 1, 2]));
    }
}
