//! Entities by name and conditions, page by page, so that a million of them need no room in the node.

use super::entity_view;
use super::name::{Fit, Name};
use crate::face::{NodeFace, unix_ms};
use eddy_cache::{EntityRecord, Store, StoreError};
use eddy_content::EntityId;
use eddy_wire::api::{EntityQuery, EntityView, Page, Problem};
use eddy_wire::catalogue::ErrorCode;
use std::time::SystemTime;

/// Rows that one call looks at: if they fill no page, it answers with what there is and the cursor for the next call.
const MAX_SCAN: usize = 16 * 1024;
/// Rows that are in memory at once.
const BATCH: usize = 512;

impl NodeFace {
    pub(in crate::face) async fn list_entities(&self, query: EntityQuery) -> Result<Page<EntityView>, Problem> {
        query.check()?;
        let after = query.after.as_deref().map(str::parse::<EntityId>).transpose();
        let after = after.map_err(|e| Problem::new(ErrorCode::BadRequest, e.to_string()))?;
        let name = query.named.as_deref().map(Name::parse).transpose()?;
        let now = unix_ms(SystemTime::now());
        self.with_store(move |store| Walk { store, query: &query, name: name.as_ref(), now }.page(after)).await
    }
}

/// One walk over the rows.
struct Walk<'a> {
    store: &'a Store,
    query: &'a EntityQuery,
    name: Option<&'a Name>,
    now: u64,
}

impl Walk<'_> {
    fn page(&self, after: Option<EntityId>) -> Result<Page<EntityView>, StoreError> {
        let mut at = after.max(self.name.and_then(Name::start));
        let mut items = Vec::new();
        for _ in 0..MAX_SCAN / BATCH {
            let records = self.store.list(at, BATCH)?;
            if records.is_empty() {
                return Ok(Page { items, next: None });
            }
            for record in &records {
                at = Some(record.id());
                match self.look_at(record) {
                    Look::Take(view) => items.push(view),
                    Look::Skip => {}
                    Look::Stop => return Ok(Page { items, next: None }),
                }
                if items.len() == self.query.size() {
                    return Ok(Page { items, next: at.map(|id| id.to_string()) });
                }
            }
        }
        Ok(Page { items, next: at.map(|id| id.to_string()) })
    }

    fn look_at(&self, record: &EntityRecord) -> Look {
        match self.name.map_or(Fit::Meant, |name| name.fit(record)) {
            Fit::Past => return Look::Stop,
            Fit::Other => return Look::Skip,
            Fit::Meant => {}
        }
        let view = entity_view(self.store, record);
        if self.query.admits(&view, self.now) { Look::Take(view) } else { Look::Skip }
    }
}

/// What becomes of a row.
enum Look {
    Take(EntityView),
    Skip,
    Stop,
}
