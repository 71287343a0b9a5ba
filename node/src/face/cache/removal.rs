//! The plan of what goes, and its execution.

use super::{entity_view, record_of, whole_id};
use crate::face::{NodeFace, seconds_to_ms};
use eddy_cache::{EvictionPlan, EvictionReason, Goal, RemoveOutcome, Store, StoreError, Victim};
use eddy_content::EntityId;
use eddy_wire::api::{Kept, KeptReason, MAX_ORDER, PinnedToo, PlanView, Planned, Problem, RemovalOrder, Removed};
use eddy_wire::catalogue::ErrorCode;
use std::collections::HashSet;

/// Victims that a plan shows; it counts all.
const MAX_SHOWN: usize = 1000;

impl NodeFace {
    /// What an order would do; nothing is done.
    pub(in crate::face) async fn plan_order(&self, order: RemovalOrder) -> Result<PlanView, Problem> {
        let ids = ids(&order)?;
        self.with_store(move |store| {
            let sorted = Sorted::of(store, ids, order.pinned)?;
            let mut view = plan_view(store, &store.plan(&Goal::These(sorted.free))?)?;
            for id in sorted.pinned {
                let Some(record) = record_of(store, &id)? else { continue };
                view.count += 1;
                view.bytes += record.footprint();
                view.victims.push(Planned {
                    id: id.to_string(),
                    url: record.entity.url.redacted(),
                    bytes: record.footprint(),
                    used_unix_ms: seconds_to_ms(record.last_used),
                    reason: "named, although pinned".to_owned(),
                });
            }
            view.kept = sorted.kept;
            Ok(view)
        })
        .await
    }

    /// Removes what an order names, unless it must stay.
    pub(in crate::face) async fn carry_out(&self, order: RemovalOrder) -> Result<Removed, Problem> {
        let ids = ids(&order)?;
        self.with_store(move |store| {
            let sorted = Sorted::of(store, ids, order.pinned)?;
            let mut done = Removed { kept: sorted.kept, ..Removed::default() };
            let plan = store.plan(&Goal::These(sorted.free))?;
            done.freed = store.carry_out(&plan)?.bytes;
            for victim in &plan.victims {
                // The outcome counts; which of them stayed, because somebody began to use or pinned them, the index knows.
                let id = victim.id.to_string();
                match record_of(store, &victim.id)? {
                    None => done.removed.push(id),
                    Some(record) if record.pinned => done.kept.push(Kept { id, reason: KeptReason::Pinned }),
                    Some(_) => done.kept.push(Kept { id, reason: KeptReason::InUse }),
                }
            }
            for id in sorted.pinned {
                let kept = |reason| Kept { id: id.to_string(), reason };
                match store.remove(&id)? {
                    RemoveOutcome::Removed { bytes } => {
                        done.removed.push(id.to_string());
                        done.freed += bytes;
                    }
                    RemoveOutcome::InUse => done.kept.push(kept(KeptReason::InUse)),
                    RemoveOutcome::NotFound => done.kept.push(kept(KeptReason::NotFound)),
                }
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
    let mut seen = HashSet::new();
    let ids: Result<Vec<EntityId>, Problem> = order.ids.iter().map(|id| whole_id(id)).collect();
    Ok(ids?.into_iter().filter(|id| seen.insert(*id)).collect())
}

/// What an order names, by what keeps it.
#[derive(Default)]
struct Sorted {
    /// Nothing.
    free: Vec<EntityId>,
    /// A pin that the order overrules: the eviction's plan would not.
    pinned: Vec<EntityId>,
    /// Something that the order does not overrule.
    kept: Vec<Kept>,
}

impl Sorted {
    fn of(store: &Store, ids: Vec<EntityId>, pinned: PinnedToo) -> Result<Self, StoreError> {
        let mut sorted = Self::default();
        for id in ids {
            let record = record_of(store, &id)?;
            let reason = match (record, pinned) {
                (None, _) => KeptReason::NotFound,
                (Some(record), _) if entity_view(store, &record).in_use => KeptReason::InUse,
                (Some(record), PinnedToo::Keep) if record.pinned => KeptReason::Pinned,
                (Some(record), PinnedToo::Remove) if record.pinned => {
                    sorted.pinned.push(id);
                    continue;
                }
                _ => {
                    sorted.free.push(id);
                    continue;
                }
            };
            sorted.kept.push(Kept { id: id.to_string(), reason });
        }
        Ok(sorted)
    }
}

/// A plan of the store's, for people.
pub(super) fn plan_view(store: &Store, plan: &EvictionPlan) -> Result<PlanView, StoreError> {
    let mut victims = Vec::new();
    for victim in plan.victims.iter().take(MAX_SHOWN) {
        let record = record_of(store, &victim.id)?;
        let url = record.as_ref().map(|record| record.entity.url.redacted()).unwrap_or_default();
        victims.push(planned(victim, url, record.map_or(victim.last_use, |record| record.last_used)));
    }
    Ok(PlanView { count: plan.victims.len() as u64, bytes: plan.freed, is_cut: plan.is_cut, victims, kept: Vec::new() })
}

/// Of a plan that was shown, what really went.
pub(super) fn only(mut shown: PlanView, gone: &EvictionPlan) -> PlanView {
    let ids: HashSet<String> = gone.victims.iter().map(|victim| victim.id.to_string()).collect();
    shown.victims.retain(|victim| ids.contains(&victim.id));
    PlanView { count: gone.victims.len() as u64, bytes: gone.freed, ..shown }
}

fn planned(victim: &Victim, url: String, last_use: i64) -> Planned {
    let reason = match victim.reason {
        EvictionReason::Superseded => "there is a newer version",
        EvictionReason::UsedOnce => "used once",
        EvictionReason::LeastRecentlyUsed => "not used for longest",
        EvictionReason::Unused => "not used since max-age",
        EvictionReason::Named => "chosen",
        EvictionReason::Cleared => "everything goes",
    };
    Planned {
        id: victim.id.to_string(),
        url,
        bytes: victim.bytes,
        used_unix_ms: seconds_to_ms(last_use),
        reason: reason.to_owned(),
    }
}
