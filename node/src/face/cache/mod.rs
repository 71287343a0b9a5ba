//! What the store holds, and what may be done about it.
//!
//! | module | does |
//! |---|---|
//! | `name` | what a caller calls an entity: an id, its beginning, a URL |
//! | `list` | entities by name and conditions, page by page |
//! | `detail` | one entity in full |
//! | `health` | what is or was wrong with the store |
//! | `limits` | how much may be here, and who said so |
//! | `package`, `seal` | packages; who is trusted to have signed one |
//! | `pin` | what never is evicted |
//! | `verify` | whether what is held is what was written |
//! | `removal` | the plan of what goes, and its execution |

mod detail;
mod health;
mod limits;
mod list;
mod name;
mod package;
mod pin;
mod removal;
mod seal;
mod verify;

use super::{NodeFace, seconds_to_ms};
use eddy_cache::{EntityRecord, Privacy, Store, StoreError};
use eddy_content::{BLOCK_SIZE, EntityId};
use eddy_wire::api::{CacheView, EntityView, Problem};
use eddy_wire::catalogue::ErrorCode;

impl NodeFace {
    pub(super) async fn view_cache(&self) -> Result<CacheView, Problem> {
        let directory = self.home.join("cache");
        let limits = limits::view(&*self.settings.lock().await, &self.config);
        self.with_store(move |store| {
            let (usage, scrubbed) = (store.usage()?, store.scrubbed()?);
            // The store has just been asked how much is free there.
            let free = rustix::fs::statvfs(&directory).map_or(0, |v| v.f_bavail.saturating_mul(v.f_frsize));
            Ok(CacheView {
                directory: directory.display().to_string(),
                entities: usage.entities,
                used: usage.used,
                quota: usage.quota,
                reserve: usage.reserve,
                free,
                available: usage.available,
                pinned: usage.pinned,
                limits,
                scrubbed_unix_ms: scrubbed.last_full_pass.map(seconds_to_ms),
                corrupt_blocks: scrubbed.corrupt,
                findings: health::findings(store),
            })
        })
        .await
    }
}

/// The entity as lists show it.
fn entity_view(store: &Store, record: &EntityRecord) -> EntityView {
    let id = record.id();
    let length = record.entity.length;
    EntityView {
        id: id.to_string(),
        url: record.entity.url.redacted(),
        validator: record.entity.validator.to_string(),
        length,
        held: (u64::from(record.held_blocks) * BLOCK_SIZE).min(length),
        shareable: record.privacy == Privacy::Shareable,
        pinned: record.pinned,
        created_unix_ms: seconds_to_ms(record.admitted),
        used_unix_ms: seconds_to_ms(record.last_used),
        in_use: store.is_in_use(&id),
    }
}

/// What the index knows of an entity; its files are not touched.
fn record_of(store: &Store, id: &EntityId) -> Result<Option<EntityRecord>, StoreError> {
    let found = store.list(name::before(id), 1)?.pop();
    Ok(found.filter(|record| record.id() == *id))
}

/// A whole id, as orders must name entities.
fn whole_id(text: &str) -> Result<EntityId, Problem> {
    let shown: String = text.chars().take(80).collect();
    text.parse().map_err(|_| Problem::new(ErrorCode::BadRequest, format!("`{shown}` is no whole id")))
}
