//! Letting entities go: what a goal costs, shown before it is done, and the removal itself (C-05).

use super::line::{Shortage, candidate};
use super::stock::Stock;
use super::stuck::KeptFiles;
use crate::fault::{AdmitError, DiskFault, StoreError};
use crate::index::{Change, InLine, LineHold};
use crate::recovery::{Progress, Sweep, SweepReport};
use crate::room::{ClearOutcome, Goal, Limits, Pin, RemoveOutcome, Usage};
use crate::row::{EntityRecord, Place};
use eddy_content::EntityId;
use eddy_content::evict::{self, Aim, Bounds, Candidates, EvictionPlan, Victim};
use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Entities that are removed in one go: two transactions and a sync for each directory that they lay in.
const BATCH: usize = 256;

/// The part of the quota that goes beyond what an admission needs, when it has to evict: what the next ones would evict one by one.
const SPARE_PART: u64 = 256;
/// Bytes that go beyond what is needed at most.
const MOST_SPARE: u64 = 64 << 20;
/// Nothing goes beyond what is needed where it would be less than this: such a store is small enough to count in it.
const LEAST_SPARE: u64 = 64 << 10;
/// How long others have the lock to themselves between two batches: who gives it back and takes it at once is before all who wait.
const BETWEEN_BATCHES: Duration = Duration::from_millis(1);

/// What became of entities that were to go.
#[derive(Debug, Default)]
pub(crate) struct Removal {
    pub(crate) removed: u64,
    pub(crate) bytes: u64,
    /// What the disk said where it kept the files of one: that one stays doomed, and counted.
    pub(crate) refused: Option<DiskFault>,
}

/// Which of the doomed are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doomed {
    /// All that the disk did not refuse a moment ago.
    Fresh,
    /// All.
    Each,
}

/// Whether what waited for a lease was looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shrunk {
    /// It was.
    Done,
    /// Somebody has the lock, or more is to go than goes at once.
    Later,
}

impl Stock {
    /// What would go for `goal`.
    pub(super) fn plan(&self, goal: &Goal) -> Result<EvictionPlan, StoreError> {
        self.write_touched();
        match goal {
            Goal::Free(bytes) => self.plan_in_line(Aim::Free(*bytes), Bounds::default(), Shortage::Quota),
            Goal::Fit(limits) => self.plan_to_fit(limits, Bounds::default()),
            Goal::UnusedSince(since) => {
                let aim = Aim::Fit { excess: 0, unused_since: Some(*since) };
                self.plan_in_line(aim, Bounds::default(), Shortage::Quota)
            }
            Goal::Everything => self.plan_in_line(Aim::Everything, Bounds::default(), Shortage::Quota),
            Goal::These(ids) => self.plan_these(ids),
        }
    }

    /// What would have to go if `need` bytes had to come in.
    pub(super) fn plan_admission(&self, need: u64, bounds: Bounds) -> Result<EvictionPlan, StoreError> {
        let usage = self.usage()?;
        self.write_touched();
        let of_quota = need.saturating_sub(usage.quota.saturating_sub(usage.used));
        let of_either = need.saturating_sub(usage.available);
        if of_either > of_quota {
            self.plan_in_line(Aim::Free(of_either), bounds, Shortage::Disk)
        } else {
            self.plan_in_line(Aim::Free(of_quota), bounds, Shortage::Quota)
        }
    }

    /// The named ones that are here and may go.
    fn plan_these(&self, ids: &[EntityId]) -> Result<EvictionPlan, StoreError> {
        let in_use = self.in_use();
        let mut named = Vec::new();
        let mut seen = HashSet::new();
        for id in ids.iter().filter(|id| seen.insert(**id)) {
            let line = self.index.line(id)?.filter(|line| line.hold != LineHold::Leaving);
            named.extend(line.map(|line| candidate(&InLine { id: *id, line }, &in_use)));
        }
        named.sort_by_key(|candidate| (candidate.standing.key(), candidate.id));
        Ok(evict::plan(Candidates { first: named, protected: [], overhang: 0 }, Aim::Named))
    }

    /// What has to go under other limits: what is too old, and of the rest what is too much, as far as it may go.
    fn plan_to_fit(&self, limits: &Limits, bounds: Bounds) -> Result<EvictionPlan, StoreError> {
        let unused_since = limits.max_age.map(|age| {
            let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
            self.now().saturating_sub(age)
        });
        let (of_quota, of_disk) = self.excess(limits)?;
        if of_disk <= of_quota {
            return self.plan_in_line(Aim::Fit { excess: of_quota, unused_since }, bounds, Shortage::Quota);
        }
        let mut plan = self.plan_in_line(Aim::Fit { excess: of_disk, unused_since: None }, bounds, Shortage::Disk)?;
        if unused_since.is_some() {
            let old = self.plan_in_line(Aim::Fit { excess: 0, unused_since }, bounds, Shortage::Quota)?;
            let taken: HashSet<EntityId> = plan.victims.iter().map(|victim| victim.id).collect();
            for victim in old.victims.into_iter().filter(|victim| !taken.contains(&victim.id)) {
                plan.freed = plan.freed.saturating_add(victim.bytes);
                plan.victims.push(victim);
            }
            plan.is_cut |= old.is_cut;
        }
        Ok(plan)
    }

    /// Bytes above the quota, and bytes that the disk lacks for the reserve.
    fn excess(&self, limits: &Limits) -> Result<(u64, u64), StoreError> {
        let volume = self.volume()?;
        let (quota, reserve) = (limits.quota.bytes(&volume), limits.reserve.bytes(&volume));
        Ok((self.index.counters().bytes.saturating_sub(quota), reserve.saturating_sub(volume.available)))
    }

    /// Removes the victims of a plan; those that somebody uses or pinned meanwhile stay and are counted.
    /// Others get the lock between two batches.
    pub(super) fn carry_out(&self, plan: &EvictionPlan) -> Result<ClearOutcome, StoreError> {
        let mut outcome = ClearOutcome::default();
        for (number, victims) in plan.victims.chunks(BATCH).enumerate() {
            if number > 0 {
                std::thread::sleep(BETWEEN_BATCHES);
            }
            let _one = self.admit();
            self.evict_locked(victims, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Removes some victims of a plan; gives the refusal where the disk keeps some. The caller has the admission lock.
    fn evict_locked(&self, victims: &[Victim], outcome: &mut ClearOutcome) -> Result<Option<DiskFault>, StoreError> {
        if let Some(refusal) = self.stuck.refusal() {
            return Ok(Some(refusal));
        }
        let mut ids = Vec::with_capacity(victims.len());
        for victim in victims {
            match self.index.line(&victim.id)?.map(|line| line.hold) {
                Some(LineHold::Pinned) => outcome.pinned += 1,
                _ => ids.push(victim.id),
            }
        }
        self.remove_locked(&ids, outcome)
    }

    pub(super) fn remove(&self, id: &EntityId) -> Result<RemoveOutcome, StoreError> {
        let _one = self.admit();
        let mut outcome = ClearOutcome::default();
        if let Some(fault) = self.remove_locked(&[*id], &mut outcome)? {
            return Err(fault.into());
        }
        Ok(match outcome {
            ClearOutcome { removed: 1.., bytes, .. } => RemoveOutcome::Removed { bytes },
            ClearOutcome { in_use: 1.., .. } => RemoveOutcome::InUse,
            _ => RemoveOutcome::NotFound,
        })
    }

    /// Removes everything that may go, and counts what may not.
    pub(super) fn clear(&self) -> Result<ClearOutcome, StoreError> {
        let mut outcome = ClearOutcome::default();
        loop {
            let plan = self.plan(&Goal::Everything)?;
            let done = self.carry_out(&plan)?;
            outcome.removed += done.removed;
            outcome.bytes += done.bytes;
            if !plan.is_cut || done.removed == 0 {
                outcome.in_use = done.in_use + plan.kept.in_use.entities;
                outcome.pinned = done.pinned + plan.kept.pinned.entities;
                return Ok(outcome);
            }
        }
    }

    /// Where thousands have to go for `need` bytes, lets them go before the admission has the lock, so that others get in between: a large
    /// file can need the room of a million small ones. What is left to do, the admission does; nothing goes where it would be refused.
    pub(super) fn clear_the_way(&self, need: u64) -> Result<(), StoreError> {
        let usage = self.usage()?;
        if need <= usage.available || need > usage.quota {
            return Ok(());
        }
        {
            let _one = self.admit();
            self.files.empty_quarantine();
            self.finish_removals()?;
        }
        let plan = self.plan_admission(need, Bounds::default())?;
        if plan.victims.len() > BATCH {
            self.carry_out(&plan)?;
        }
        Ok(())
    }

    /// Makes room for `need` bytes under quota and reserve, or says why there is none. The caller has the admission lock.
    pub(super) fn make_room(&self, need: u64) -> Result<(), AdmitError> {
        let usage = self.usage()?;
        if need > usage.quota {
            return Err(AdmitError::TooLarge { need, quota: usage.quota });
        }
        if need <= usage.available {
            return Ok(());
        }
        // What nobody claims goes before what somebody may ask for, and so does what was on its way out.
        self.files.empty_quarantine();
        self.finish_removals()?;
        match self.evict_for(need) {
            // Before room is refused the disk is asked again about what it kept.
            Err(AdmitError::NoRoom { .. } | AdmitError::Disk(_)) if !self.stuck.is_empty() => {
                self.remove_doomed(Doomed::Each)?;
                self.evict_for(need)
            }
            other => other,
        }
    }

    /// Evicts until `need` bytes are free. Others go in the place of those that the disk keeps.
    fn evict_for(&self, need: u64) -> Result<(), AdmitError> {
        loop {
            let usage = self.usage()?;
            if need <= usage.available {
                return Ok(());
            }
            let plan = self.plan_admission(need, with_spare(usage.quota))?;
            if let Some(refused) = plan.refused {
                return Err(no_room(need, &usage, refused.evictable));
            }
            let (mut outcome, mut refused) = (ClearOutcome::default(), None);
            for victims in plan.victims.chunks(BATCH) {
                refused = refused.or(self.evict_locked(victims, &mut outcome)?);
            }
            match (refused, self.stuck.refusal()) {
                (None, _) => return Ok(()),
                (Some(_), Some(refusal)) => return Err(refusal.into()),
                (Some(_), None) => {}
            }
        }
    }

    /// Lets go of what is beyond the limits, as far as leases and pins let it.
    pub(super) fn keep_to_limits(&self) -> Result<EvictionPlan, StoreError> {
        {
            let _one = self.admit();
            self.finish_removals()?;
        }
        let plan = self.plan(&Goal::Fit(self.limits()))?;
        let outcome = self.carry_out(&plan)?;
        self.note_what_waits(&plan, &outcome);
        Ok(plan)
    }

    /// Lets one batch of it go, for who has the admission lock and keeps others waiting.
    fn shrink_a_little(&self) -> Result<Shrunk, StoreError> {
        self.finish_removals()?;
        self.write_touched();
        let plan = self.plan_to_fit(&self.limits(), Bounds { listed: BATCH, spare: 0 })?;
        let mut outcome = ClearOutcome::default();
        let now = &plan.victims[..plan.victims.len().min(BATCH)];
        self.evict_locked(now, &mut outcome)?;
        self.note_what_waits(&plan, &outcome);
        if plan.is_cut || now.len() < plan.victims.len() {
            self.is_overfull.store(true, Relaxed);
            return Ok(Shrunk::Later);
        }
        Ok(Shrunk::Done)
    }

    fn note_what_waits(&self, plan: &EvictionPlan, outcome: &ClearOutcome) {
        let waits = plan.is_cut || plan.kept.in_use.entities + outcome.in_use > 0;
        self.is_overfull.store(waits, Relaxed);
    }

    /// Sets other limits; gives what went at once.
    pub(super) fn set_limits(&self, limits: Limits) -> Result<EvictionPlan, StoreError> {
        self.replace_limits(limits);
        self.keep_to_limits()
    }

    /// After a handle went: what waited for it goes now, as much as goes at once. Who finds the lock taken does not wait for it.
    pub(super) fn shrink_if_free(&self) -> Shrunk {
        if !self.is_overfull.load(Relaxed) {
            return Shrunk::Done;
        }
        let Some(_one) = self.try_admit() else { return Shrunk::Later };
        self.shrink_a_little().unwrap_or_else(|error| {
            tracing::debug!(%error, "what is beyond the limits stays for now");
            Shrunk::Done
        })
    }

    /// Pins an entity or lets it go; says whether it is here.
    pub(super) fn pin(&self, id: &EntityId, pin: Pin) -> Result<bool, StoreError> {
        let _one = self.admit();
        if let Some(shared) = self.leased(id) {
            shared.ensure_row()?;
        }
        let Some(record) = self.index.record(id)?.filter(|record| !record.doomed) else { return Ok(false) };
        if record.pinned != (pin == Pin::Pinned) {
            self.committer.commit(vec![Change::Pin(*id, pin)])?;
            // It may stand in line again, in front of what was read.
            self.files_in_line.forget();
        }
        Ok(true)
    }

    /// Keeps what a sweep had to go past for whoever asks.
    pub(crate) fn note_passed(&self, passed: u64, last: Option<DiskFault>, progress: Progress) {
        self.stuck.note_passed(passed, last, progress);
    }

    /// What the disk keeps.
    pub(super) fn kept_files(&self) -> KeptFiles {
        self.stuck.kept()
    }

    /// A sweep of what is here.
    pub(super) fn new_sweep(&self) -> Option<Sweep> {
        // Files of this run are in nobody's way: only what an earlier one left can be of no use.
        let (highest, _) = self.index.generations().ok()?;
        Some(Sweep::new(highest, highest))
    }

    /// Sweeps to the end.
    pub(super) fn sweep(&self) -> Result<SweepReport, StoreError> {
        let (highest, _) = self.index.generations()?;
        let mut sweep = Sweep::new(highest, highest);
        while sweep.step(self, usize::MAX)? == Progress::More {}
        Ok(sweep.report())
    }

    /// Removes entities that nobody uses; the caller has the admission lock, so no handle can come up meanwhile.
    /// Gives the refusal where the disk keeps the files of some.
    pub(super) fn remove_locked(
        &self,
        ids: &[EntityId],
        outcome: &mut ClearOutcome,
    ) -> Result<Option<DiskFault>, StoreError> {
        let mut leaving = Vec::new();
        for id in ids {
            if self.is_in_use(id) {
                outcome.in_use += 1;
            } else {
                leaving.extend(self.index.record(id)?);
            }
        }
        let removal = self.destroy(leaving)?;
        outcome.removed += removal.removed;
        outcome.bytes += removal.bytes;
        Ok(removal.refused)
    }

    /// Finishes the removals that were begun, and that a crash or a failing disk cut short; says how many. The caller has the
    /// admission lock: no removal is under way. What the disk refused a moment ago is left for later.
    pub(crate) fn finish_removals(&self) -> Result<u64, StoreError> {
        let which = if self.stuck.is_due() { Doomed::Each } else { Doomed::Fresh };
        self.remove_doomed(which)
    }

    fn remove_doomed(&self, which: Doomed) -> Result<u64, StoreError> {
        let mut records = Vec::new();
        for id in self.index.doomed()? {
            if which == Doomed::Each || !self.stuck.has(&id) {
                records.extend(self.index.record(&id)?.filter(|record| record.doomed));
            }
        }
        if records.is_empty() { Ok(0) } else { Ok(self.destroy(records)?.removed) }
    }

    /// Rows doomed, files unlinked, directories synced, rows removed: in this order (C-05). What lies in the index alone
    /// goes with its rows. What the disk keeps stays doomed.
    pub(crate) fn destroy(&self, records: Vec<EntityRecord>) -> Result<Removal, StoreError> {
        let in_files = records.iter().filter(|record| record.place == Place::Files);
        self.committer.commit(in_files.filter(|record| !record.doomed).map(|r| Change::Doom(r.id())).collect())?;
        let (records, refused) = self.unlink_doomed(records);
        let (removed, bytes) = (records.len() as u64, records.iter().map(EntityRecord::footprint).sum());
        let ids: Vec<EntityId> = records.iter().map(EntityRecord::id).collect();
        let forget = |record: EntityRecord| {
            let key = self.secret_key(&record);
            Change::Forget(Box::new(record), key)
        };
        self.committer.commit(records.into_iter().map(forget).collect())?;
        for id in &ids {
            self.leave(id);
            self.stuck.went(id);
        }
        Ok(Removal { removed, bytes, refused })
    }

    /// Unlinks the files of doomed entities; gives those that have none any more, and what the disk said where it kept some.
    fn unlink_doomed(&self, records: Vec<EntityRecord>) -> (Vec<EntityRecord>, Option<DiskFault>) {
        let is_in_files = |record: &EntityRecord| record.place == Place::Files;
        let (in_files, mut gone): (Vec<_>, Vec<_>) = records.into_iter().partition(is_in_files);
        let pairs: Vec<_> = in_files.iter().map(|record| self.files.pair(&record.id(), record.generation)).collect();
        let (mut refused, mut kept) = (None, 0_u64);
        for (record, outcome) in in_files.into_iter().zip(self.files.unlink(&pairs)) {
            match outcome {
                Ok(()) => gone.push(record),
                Err(fault) => {
                    self.stuck.note(record.id(), fault.clone());
                    kept += 1;
                    refused.get_or_insert(fault);
                }
            }
        }
        if let Some(error) = &refused {
            tracing::warn!(%error, kept, "the disk keeps files of the cache that are to go: tried again every minute");
        }
        (gone, refused)
    }
}

/// What an admission takes under this quota, beyond what it needs: no more than fills a batch, for which it pays anyway.
fn with_spare(quota: u64) -> Bounds {
    let spare = quota / SPARE_PART;
    Bounds { listed: BATCH, spare: if spare < LEAST_SPARE { 0 } else { spare.min(MOST_SPARE) } }
}

fn no_room(need: u64, usage: &Usage, evictable: u64) -> AdmitError {
    AdmitError::NoRoom { need, available: usage.available, evictable }
}

#[cfg(test)]
mod tests;
