//! The plan of what goes, and its execution.

use super::{entity_view, record_of, whole_id};
use crate::face::NodeFace;
use eddy_cache::{RemoveOutcome, Store, StoreError};
use eddy_content::EntityId;
use eddy_wire::api::{
    EntityView, Kept, KeptReason, MAX_ORDER, PinnedToo, PlanView, Planned, Problem, RemovalOrder, Removed,
};
use eddy_wire::catalogue::ErrorCode;

impl NodeFace {
    /// What an order would do; nothing is done.
    pub(in crate::face) async fn plan_order(&self, order: RemovalOrder) -> Result<PlanView, Problem> {
        let ids = ids(&order)?;
        self.with_store(move |store| {
            let mut plan = PlanView::default();
            for id in ids {
                match judge(store, &id, order.pinned)? {
                    Ok(entity) => {
                        plan.count += 1;
                        plan.bytes += entity.length;
                        plan.victims.push(planned(entity));
                    }
                    Err(reason) => plan.kept.push(Kept { id: id.to_string(), reason }),
                }
            }
            Ok(plan)
        })
        .await
    }

    /// Removes what an order names, unless it must stay.
    pub(in crate::face) async fn carry_out(&self, order: RemovalOrder) -> Result<Removed, Problem> {
        let ids = ids(&order)?;
        self.with_store(move |store| {
            let mut done = Removed::default();
            for id in ids {
                let reason = match judge(store, &id, order.pinned)? {
                    Err(reason) => reason,
                    Ok(_) => match store.remove(&id)? {
                        RemoveOutcome::Removed { bytes } => {
                            done.removed.push(id.to_string());
                            done.freed += bytes;
                            continue;
                        }
                        RemoveOutcome::InUse => KeptReason::InUse,
                        RemoveOutcome::NotFound => KeptReason::NotFound,
                    },
                };
                done.kept.push(Kept { id: id.to_string(), reason });
            }
            Ok(done)
        })
        .await
    }
}

fn ids(order: &RemovalOrder) -> Result<Vec<EntityId>, Problem> {
    if order.ids.len() > MAX_ORDER {
        let detail = format!("an order names at most {MAX_ORDER} entities, this one {}", order.ids.len());
        return Err(Problem::new(ErrorCode::TooLong, detail));
    }
    order.ids.iter().map(|id| whole_id(id)).collect()
}

/// Whether an entity may go.
fn judge(store: &Store, id: &EntityId, pinned: PinnedToo) -> Result<Result<EntityView, KeptReason>, StoreError> {
    let Some(record) = record_of(store, id)? else { return Ok(Err(KeptReason::NotFound)) };
    let entity = entity_view(store, &record);
    Ok(if entity.in_use {
        Err(KeptReason::InUse)
    } else if entity.pinned && pinned == PinnedToo::Keep {
        Err(KeptReason::Pinned)
    } else {
        Ok(entity)
    })
}

fn planned(entity: EntityView) -> Planned {
    Planned {
        id: entity.id,
        url: entity.url,
        bytes: entity.length,
        used_unix_ms: entity.used_unix_ms,
        reason: "chosen".to_owned(),
    }
}
