//! Letting entities in and out: admission under quota and reserve, eviction, removal.

use super::{Core, LOOKUP_BATCH, wall_clock};
use crate::disk;
use crate::entity::Shared;
use crate::fault::{AdmitError, StoreError};
use crate::index::Change;
use crate::room::{self, ClearOutcome, RemoveOutcome, Usage};
use crate::row::{self, EntityRecord, NewEntity, Privacy};
use eddy_content::evict::{self, Aim, Candidate, Candidates, EvictionPlan, Hold, Standing};
use eddy_content::{EntityId, Geometry};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, PoisonError, Weak};

/// Candidates of which nothing but the last use is known.
fn unsegmented(first: Vec<Candidate>) -> Candidates<Vec<Candidate>, [Candidate; 0]> {
    Candidates { first, protected: [], overhang: 0 }
}

impl Core {
    pub(super) fn begin(self: &Arc<Self>, new: &NewEntity) -> Result<Arc<Shared>, AdmitError> {
        let geometry =
            Geometry::new(new.entity.length).ok_or(AdmitError::BeyondProtocol { length: new.entity.length })?;
        let id = new.entity.id();
        let _one = self.admit();
        if let Some(shared) = self.open_existing(&id)? {
            self.learn(&shared.record.id(), new)?;
            self.touch(id);
            return Ok(shared);
        }
        self.make_room(room::footprint(new.entity.length))?;
        let generation = self.generation.fetch_add(1, Relaxed) + 1;
        let record = EntityRecord::admit(new, generation, wall_clock());
        let files = self.files.make(&record, &geometry)?;
        let mut changes = vec![Change::Entity(Box::new(record.clone()), row::name_of(&new.requested_url))];
        changes.extend(self.lookup_change(&record));
        if let Err(error) = self.committer.commit(changes) {
            // Only where the index says that no row refers to the files: the outcome of a commit may be unknown (C-08), and
            // what nobody claims is cleared away by the next start.
            if let Ok(None) = self.index.record(&id) {
                let _ = self.files.unlink(&self.files.pair(&id, generation));
            }
            return Err(error.into());
        }
        self.used.fetch_add(room::footprint(new.entity.length), Relaxed);
        self.entities.fetch_add(1, Relaxed);
        let shared = Shared::new(Arc::clone(self), record, geometry, files, Default::default())?;
        Ok(self.enter(Arc::new(shared)))
    }

    pub(super) fn find(self: &Arc<Self>, id: &EntityId) -> Result<Option<Arc<Shared>>, StoreError> {
        if let Some(shared) = self.leased(id) {
            return Ok(Some(shared));
        }
        let _one = self.admit();
        self.open_existing(id)
    }

    pub(super) fn remove(&self, id: &EntityId) -> Result<RemoveOutcome, StoreError> {
        let _one = self.admit();
        self.remove_admitted(id)
    }

    pub(super) fn clear(&self) -> Result<ClearOutcome, StoreError> {
        let mut outcome = ClearOutcome::default();
        let mut after = None;
        loop {
            let page = self.index.page(after, LOOKUP_BATCH)?;
            let Some(last) = page.last() else { return Ok(outcome) };
            after = Some(last.id());
            for record in page {
                match self.remove(&record.id())? {
                    RemoveOutcome::Removed { bytes } => {
                        outcome.removed += 1;
                        outcome.bytes += bytes;
                    }
                    RemoveOutcome::InUse => outcome.in_use += 1,
                    RemoveOutcome::NotFound => {}
                }
            }
        }
    }

    pub(super) fn usage(&self) -> Result<Usage, StoreError> {
        let volume = disk::volume(&**self.files.disk(), self.files.root())?;
        let (quota, reserve) = (self.config.quota.bytes(&volume), self.config.reserve.bytes(&volume));
        let used = self.used.load(Relaxed);
        let available = quota.saturating_sub(used).min(volume.available.saturating_sub(reserve));
        Ok(Usage { used, quota, reserve, available, entities: self.entities.load(Relaxed) })
    }

    pub(super) fn plan_eviction(&self, need: u64) -> Result<EvictionPlan, StoreError> {
        let available = self.usage()?.available;
        Ok(evict::plan(unsegmented(self.candidates()?), Aim::Free(need.saturating_sub(available))))
    }

    /// Every entity as the eviction plan sees it; a live handle is a use.
    fn candidates(&self) -> Result<Vec<Candidate>, StoreError> {
        let touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut candidates = Vec::new();
        self.index.visit(|_, record| {
            if let Some(record) = record {
                let id = record.id();
                let last_use = touched.get(&id).copied().unwrap_or(record.last_used);
                let bytes = room::footprint(record.entity.length);
                let standing = Standing::admitted(last_use);
                candidates.push(Candidate { id, bytes, standing, hold: Hold::Free });
            }
        })?;
        candidates.sort_by_key(|candidate| (candidate.standing.key(), candidate.id));
        let open = self.leases();
        for candidate in &mut candidates {
            if open.get(&candidate.id).is_some_and(|lease| lease.strong_count() > 0) {
                candidate.hold = Hold::InUse;
            }
        }
        Ok(candidates)
    }

    /// Makes room for `need` bytes under quota and reserve, or says why there is none.
    fn make_room(&self, need: u64) -> Result<(), AdmitError> {
        let mut usage = self.usage()?;
        if need > usage.quota {
            return Err(AdmitError::TooLarge { need, quota: usage.quota });
        }
        if need > usage.available {
            // What nobody claims goes before what somebody may ask for.
            self.files.empty_quarantine()?;
            usage = self.usage()?;
        }
        if need <= usage.available {
            return Ok(());
        }
        let plan = evict::plan(unsegmented(self.candidates()?), Aim::Free(need - usage.available));
        if let Some(refused) = plan.refused {
            return Err(AdmitError::NoRoom { need, available: usage.available, evictable: refused.evictable });
        }
        for victim in plan.victims {
            self.remove_admitted(&victim.id)?;
        }
        Ok(())
    }

    /// Removes an entity; the caller has the admission lock, so no handle can come up meanwhile.
    fn remove_admitted(&self, id: &EntityId) -> Result<RemoveOutcome, StoreError> {
        let Some(record) = self.index.record(id)? else { return Ok(RemoveOutcome::NotFound) };
        if self.leased(id).is_some() {
            return Ok(RemoveOutcome::InUse);
        }
        self.destroy(record)
    }

    /// Row doomed, files unlinked, directory synced, rows removed: in this order (C-05).
    fn destroy(&self, record: EntityRecord) -> Result<RemoveOutcome, StoreError> {
        let (id, bytes) = (record.id(), room::footprint(record.entity.length));
        self.committer.commit(vec![Change::Doom(id)])?;
        self.files.unlink(&self.files.pair(&id, record.generation))?;
        let key = self.secret_key(&record);
        self.committer.commit(vec![Change::Forget(Box::new(record), key)])?;
        self.leases().remove(&id);
        // An entity whose admission had an unknown outcome was not counted.
        let _ = self.used.fetch_update(Relaxed, Relaxed, |used| Some(used.saturating_sub(bytes)));
        let _ = self.entities.fetch_update(Relaxed, Relaxed, |entities| Some(entities.saturating_sub(1)));
        Ok(RemoveOutcome::Removed { bytes })
    }

    /// Opens what the index knows; what has lost its files is forgotten.
    fn open_existing(self: &Arc<Self>, id: &EntityId) -> Result<Option<Arc<Shared>>, StoreError> {
        if let Some(shared) = self.leased(id) {
            return Ok(Some(shared));
        }
        let Some(record) = self.index.record(id)? else { return Ok(None) };
        let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(None) };
        let files = if record.doomed { None } else { self.files.open(&record, &geometry)? };
        let Some(files) = files else {
            if !record.doomed {
                tracing::error!(entity = %record.entity.url, "the files of a cached entity are gone or foreign: forgotten");
            }
            self.destroy(record)?;
            return Ok(None);
        };
        let (mut held, mut here) = self.index.held(id)?;
        // Rows never speak of blocks that the entity does not have; a foreign one must not.
        let all = eddy_content::BlockSet::from_run(geometry.all_blocks());
        held = held.intersection(&all);
        here = here.intersection(&held);
        let shared = Shared::new(Arc::clone(self), record, geometry, files, (held, here))?;
        Ok(Some(self.enter(Arc::new(shared))))
    }

    /// Takes over what a repeated admission knows better.
    fn learn(&self, id: &EntityId, new: &NewEntity) -> Result<(), StoreError> {
        let Some(mut record) = self.index.record(id)? else { return Ok(()) };
        let name = row::name_of(&new.requested_url);
        let is_newest = self.index.latest(&name)?.is_some_and(|newest| newest.id() == *id);
        let was = record.privacy;
        if !record.learn(new) && is_newest {
            return Ok(());
        }
        let mut changes = Vec::new();
        if was == Privacy::Shareable && record.privacy == Privacy::Private {
            changes.extend(self.secret_key(&record).map(Change::Unlookup));
        }
        changes.push(Change::Entity(Box::new(record), name));
        self.committer.commit(changes)
    }

    fn secret_key(&self, record: &EntityRecord) -> Option<eddy_content::LookupKey> {
        self.secret.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|s| record.entity.lookup_key(s))
    }

    /// The row of the lookup table, for shareable entities. Where no secret is set (yet), the table is no longer complete
    /// for the one of its mark.
    fn lookup_change(&self, record: &EntityRecord) -> Option<Change> {
        match self.secret_key(record) {
            _ if record.privacy == Privacy::Private => None,
            Some(key) => Some(Change::Lookup(key, record.id())),
            None => Some(Change::Fingerprint(None)),
        }
    }

    fn admit(&self) -> MutexGuard<'_, ()> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<EntityId, Weak<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has a handle on the entity.
    pub(crate) fn is_in_use(&self, id: &EntityId) -> bool {
        self.leases().get(id).is_some_and(|lease| lease.strong_count() > 0)
    }

    fn leased(&self, id: &EntityId) -> Option<Arc<Shared>> {
        self.leases().get(id).and_then(Weak::upgrade)
    }

    fn enter(&self, shared: Arc<Shared>) -> Arc<Shared> {
        let mut open = self.leases();
        // Dead leases are swept when they could be half of the table, so that it stays as small as what is in use.
        if open.len() >= 64 && open.len() == open.capacity() {
            open.retain(|_, lease| lease.strong_count() > 0);
        }
        open.insert(shared.id, Arc::downgrade(&shared));
        shared
    }
}
