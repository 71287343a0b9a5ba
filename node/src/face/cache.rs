//! What the store holds.

use super::{NodeFace, SHORTEST_ID, seconds_to_ms};
use eddy_cache::{EntityRecord, Privacy, RemoveOutcome, Store};
use eddy_content::{EntityId, Geometry};
use eddy_wire::api::{CacheView, Cleared, EntityView, Page, PageQuery, Problem, Removed};
use eddy_wire::catalogue::ErrorCode;

/// Entities read in one go while an abbreviated id is looked for.
const SCAN: usize = 1024;

impl NodeFace {
    pub(super) async fn view_cache(&self) -> Result<CacheView, Problem> {
        let directory = self.home.join("cache").display().to_string();
        let usage = self.with_store(|store| store.usage()).await?;
        Ok(CacheView {
            directory,
            entities: usage.entities,
            used: usage.used,
            quota: usage.quota,
            reserve: usage.reserve,
            free: usage.available,
        })
    }

    pub(super) async fn list_entities(&self, query: PageQuery) -> Result<Page<EntityView>, Problem> {
        let after = query.after.as_deref().map(str::parse::<EntityId>).transpose();
        let after = after.map_err(|e| Problem::new(ErrorCode::BadRequest, e.to_string()))?;
        let size = query.size();
        self.with_store(move |store| {
            let records = store.list(after, size)?;
            let next = if records.len() == size { records.last().map(|r| r.id().to_string()) } else { None };
            let items = records.iter().map(|record| entity_view(store, record)).collect();
            Ok(Page { items, next })
        })
        .await
    }

    pub(super) async fn view_entity(&self, id: &str) -> Result<EntityView, Problem> {
        let id = self.entity_id(id).await?;
        let found = self
            .with_store(move |store| {
                let Some(handle) = store.find(&id)? else { return Ok(None) };
                let mut record = handle.record().clone();
                record.held_blocks = handle.held().len();
                drop(handle);
                Ok(Some(entity_view(store, &record)))
            })
            .await?;
        found.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id.to_string()))
    }

    pub(super) async fn remove(&self, id: &str) -> Result<Removed, Problem> {
        let id = self.entity_id(id).await?;
        match self.with_store(move |store| store.remove(&id)).await? {
            RemoveOutcome::Removed { bytes } => Ok(Removed { freed: bytes }),
            RemoveOutcome::InUse => Err(Problem::new(ErrorCode::EntityInUse, id.to_string())),
            RemoveOutcome::NotFound => Err(Problem::new(ErrorCode::EntityNotFound, id.to_string())),
        }
    }

    pub(super) async fn clear(&self) -> Result<Cleared, Problem> {
        let cleared = self.with_store(|store| store.clear()).await?;
        Ok(Cleared { removed: cleared.removed, kept: cleared.in_use, freed: cleared.bytes })
    }

    /// An entity by its id or an unambiguous beginning of it.
    async fn entity_id(&self, text: &str) -> Result<EntityId, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let shown: String = text.chars().take(64).collect();
        if text.len() < SHORTEST_ID {
            return Err(Problem::new(ErrorCode::EntityNotFound, shown));
        }
        let beginning = text.to_owned();
        let found = self
            .with_store(move |store| {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let records = store.list(after, SCAN)?;
                    found.extend(
                        records.iter().map(EntityRecord::id).filter(|id| id.to_string().starts_with(&beginning)),
                    );
                    after = records.last().map(EntityRecord::id);
                    if records.len() < SCAN || found.len() > 1 {
                        return Ok(found);
                    }
                }
            })
            .await?;
        match found[..] {
            [id] => Ok(id),
            [] => Err(Problem::new(ErrorCode::EntityNotFound, shown)),
            _ => Err(Problem::new(ErrorCode::BadRequest, "more than one entity's id begins like that")),
        }
    }
}

fn entity_view(store: &Store, record: &EntityRecord) -> EntityView {
    let id = record.id();
    let length = record.entity.length;
    let is_whole = Geometry::new(length).is_some_and(|geometry| geometry.block_count() == record.held_blocks);
    let root = is_whole.then(|| store.find(&id).ok().flatten()).flatten().and_then(|handle| handle.root());
    EntityView {
        id: id.to_string(),
        url: record.entity.url.redacted(),
        validator: record.entity.validator.to_string(),
        length,
        held: (u64::from(record.held_blocks) * eddy_content::BLOCK_SIZE).min(length),
        shareable: record.privacy == Privacy::Shareable,
        blake3: root.map(|root| root.to_hex()),
        created_unix_ms: seconds_to_ms(record.admitted),
        used_unix_ms: seconds_to_ms(record.last_used),
        in_use: store.is_in_use(&id),
    }
}
