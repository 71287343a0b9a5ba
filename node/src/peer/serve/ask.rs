//! Which blocks of the entities that a member names are here, and may be offered.

use super::offer::Holdings;
use super::{Abandon, Server, Shared};
use eddy_cache::EntityHandle;
use eddy_content::LookupKey;
use eddy_wire::NodeId;
use eddy_wire::frame::{Answer, Answers};
use std::ops::Range;

impl Server {
    /// Answers for each key. Absent, private and told-nothing look the same and cost the same lookup (T-12).
    pub(super) async fn ask(&self, node: NodeId, keys: Vec<LookupKey>) -> Result<Answers, Abandon> {
        let count = keys.len();
        let answers = {
            let _turn = self.lookups.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
            self.blocking(move |shared| keys.iter().map(|key| answer(shared, key)).collect::<Vec<_>>()).await?
        };
        let misses = answers.iter().filter(|answer| **answer == Answer::NotHere).count();
        if self.asks_too_much(node, misses) {
            return Ok(Answers(vec![Answer::NotHere; count]));
        }
        Ok(Answers(answers))
    }
}

fn answer(shared: &Shared, key: &LookupKey) -> Answer {
    let Some(handle) = find(shared, key) else { return Answer::NotHere };
    let statements = statement_runs(&handle);
    let blocks = Holdings {
        geometry: &handle.geometry(),
        held: &handle.held(),
        fetched_here: &handle.fetched_here(),
        statements: &statements,
    }
    .offered();
    if blocks.is_empty() { Answer::NotHere } else { Answer::Holds { length: handle.entity().length, blocks } }
}

/// The entity behind a key; a store that fails has nothing.
pub(super) fn find(shared: &Shared, key: &LookupKey) -> Option<EntityHandle> {
    shared.store.by_lookup(key).unwrap_or_else(|error| {
        tracing::warn!(%error, "the store could not look an entity up for a peer");
        None
    })
}

/// The runs of all statements that are kept of an entity.
fn statement_runs(handle: &EntityHandle) -> Vec<Range<u32>> {
    let statements = handle.statements(handle.geometry().all_blocks());
    statements.iter().map(|kept| kept.first_block..kept.first_block.saturating_add(kept.count)).collect()
}
