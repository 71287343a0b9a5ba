//! One entity in full.

use super::{entity_view, whole_id};
use crate::driver::held;
use crate::face::{NodeFace, seconds_to_ms};
use crate::origin::OriginRequest;
use eddy_cache::{EntityHandle, EntityRecord, Store};
use eddy_content::http::Asked;
use eddy_content::http::freshness::Decision;
use eddy_content::{BlockSet, EntityId, Geometry};
use eddy_wire::api::{DigestBy, EntityDetail, Grounds, Place, Problem, Rung};
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

impl NodeFace {
    pub(in crate::face) async fn view_entity(&self, id: &str) -> Result<EntityDetail, Problem> {
        let id = whole_id(id)?;
        let directory = self.home.join("cache");
        let view = self.neighbours.clone();
        let found = self
            .with_store(move |store| {
                // Before it is opened here, which would count as a use.
                let is_in_use = store.is_in_use(&id);
                let Some(handle) = store.find(&id)? else { return Ok(None) };
                let mut detail = detail(store, &directory, &handle, |handle| {
                    view.as_ref().map_or_else(|| guess(handle), |view| view.witnesses(handle))
                });
                detail.entity.in_use = is_in_use;
                Ok(Some(detail))
            })
            .await?;
        found.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id.to_string()))
    }
}

fn detail(
    store: &Store,
    directory: &Path,
    handle: &EntityHandle,
    witnesses: impl Fn(&EntityHandle) -> Option<u8>,
) -> EntityDetail {
    let id = handle.id();
    // The index knows the last use better than the handle does.
    let mut record = super::record_of(store, &id).ok().flatten().unwrap_or_else(|| handle.record().clone());
    let (held, geometry) = (handle.held(), handle.geometry());
    record.held_blocks = held.len();
    let from_origin = bytes(&handle.fetched_here(), &geometry);
    let (fresh_until_unix_ms, not_fresh) = freshness(&record);
    let is_whole = held.contains_run(geometry.all_blocks());
    let grounds = Grounds {
        https: record.entity.url.is_https(),
        witnesses: witnesses(handle),
        // What is kept does not say who promised it; a digest that did not hold has thrown the version away.
        digest: (is_whole && !record.digests.is_empty()).then_some(DigestBy::Origin),
    };
    EntityDetail {
        entity: entity_view(store, &record),
        requested_url: record.requested_url.redacted(),
        blake3: handle.root().map(|root| root.to_hex()),
        fresh_until_unix_ms,
        not_fresh,
        digests: record.digests.iter().map(ToString::to_string).collect(),
        modified_unix_ms: record.last_modified.map(seconds_to_ms),
        from_origin,
        from_peers: bytes(&held, &geometry).saturating_sub(from_origin),
        rung: (!held.is_empty()).then(|| Rung::of(grounds)),
        witnesses: grounds.witnesses,
        statements: handle.statements(geometry.all_blocks()).len() as u64,
        place: place(directory, &id, record.generation),
    }
}

/// How many members vouch, for a node without peers: it was one, when it had them.
fn guess(handle: &EntityHandle) -> Option<u8> {
    (!handle.held().difference(&handle.fetched_here()).is_empty()).then_some(1)
}

/// Until when it is fresh for anybody who asks for it as it was first asked for, or why it is not.
fn freshness(record: &EntityRecord) -> (Option<u64>, Option<String>) {
    let request = OriginRequest::new(record.requested_url.clone(), Asked::Whole);
    match held::decide(record, &request) {
        Some(Decision::Fresh { seconds }) => {
            (Some(seconds_to_ms(held::wall_clock().saturating_add(i64::from(seconds)))), None)
        }
        Some(Decision::Stale(reason)) => (None, Some(reason.to_string())),
        Some(Decision::MustAsk(reason)) => (None, Some(reason.to_string())),
        None => (None, Some("nothing is known of its lifetime".to_owned())),
    }
}

/// Bytes of a set of blocks; only the last block may be short.
fn bytes(blocks: &BlockSet, geometry: &Geometry) -> u64 {
    blocks.runs().map(|run| geometry.bytes_of(run)).map(|range| range.end - range.start).sum()
}

/// Where the bytes lie, as the store names its files (`cache/DESIGN.md`, "On disk").
fn place(directory: &Path, id: &EntityId, generation: u64) -> Place {
    let shard = format!("{:02x}", id.0[0]);
    let file = directory.join("entities").join(shard).join(format!("{id}-{generation}.data"));
    if file.exists() { Place::File(file.display().to_string()) } else { Place::Index }
}
