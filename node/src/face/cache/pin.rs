//! What never is evicted, because somebody said so.

use super::{record_of, whole_id};
use crate::face::NodeFace;
use eddy_cache::Pin;
use eddy_wire::api::{PinChange, Problem};
use eddy_wire::catalogue::ErrorCode;

impl NodeFace {
    /// Pins an entity or lets it go. Twice is as good as once.
    pub(in crate::face) async fn set_pin(&self, id: &str, pin: Pin) -> Result<PinChange, Problem> {
        let id = whole_id(id)?;
        let found = self
            .with_store(move |store| {
                let Some(before) = record_of(store, &id)? else { return Ok(None) };
                if !store.pin(&id, pin)? {
                    return Ok(None);
                }
                let pinned = pin == Pin::Pinned;
                let url = before.entity.url.redacted();
                Ok(Some(PinChange { id: id.to_string(), url, pinned, changed: before.pinned != pinned }))
            })
            .await?;
        found.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id.to_string()))
    }
}
