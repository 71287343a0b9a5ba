//! Turns: who runs, what ends a turn, and what becomes of a job then.

use super::{ENDED_KEPT, Engine, Turns};
use crate::file::{CacheUse, File};
use crate::job::live::{Job, Movers};
use crate::job::spec::{Finish, JobId};
use crate::job::state::{JobEvent, JobState};
use crate::port::{Effect, Failure, FailureClass, FileRef, Notice, Now};
use crate::queue::HostKey;
use crate::{retry, schedule};
use eddy_content::EntityId;
use std::collections::BTreeSet;

/// Before every other file.
const FIRST: FileRef = FileRef { job: JobId([0; 16]), file: 0 };

impl Engine {
    /// Brings everything on as far as it goes without the outside.
    pub(super) fn run(&mut self, now: Now) {
        self.begin(now);
        self.advance_all(now);
        self.schedule(now);
    }

    pub(super) fn running(&self) -> Vec<JobId> {
        self.roster.running().map(Job::id).collect()
    }

    pub(super) fn advance_all(&mut self, now: Now) {
        for id in self.running() {
            self.advance(now, id);
        }
    }

    /// Brings on the jobs of which a file wants a version that another file has given claims up of; whoever gave them up has been
    /// brought on already.
    fn advance_waiting(&mut self, now: Now, freed: &BTreeSet<(EntityId, FileRef)>) {
        let wants = |file: &File| {
            let Some(entity) = file.entity_id() else { return false };
            let of_version = freed.range((entity, FIRST)..).take_while(|(freed, _)| *freed == entity);
            of_version.into_iter().any(|(_, by)| *by != file.at())
        };
        let waiting: Vec<JobId> = self.roster.running().filter(|job| job.movers().any(wants)).map(Job::id).collect();
        for id in waiting {
            self.advance(now, id);
        }
    }

    /// Wakes who has slept enough and gives free places away, until nothing is left to give.
    pub(super) fn schedule(&mut self, now: Now) {
        if self.turns == Turns::Withheld {
            return;
        }
        self.end_overdue(now);
        while let Some((at, id)) = self.roster.next_to_wake()
            && at <= now.mono
        {
            self.rouse(now, id);
        }
        loop {
            // Whoever waited for what another job was fetching looks again; every round ends some fetch or job.
            while let freed = self.out.take_freed()
                && !freed.is_empty()
            {
                self.advance_waiting(now, &freed);
            }
            let Some(turn) = schedule::next(&self.roster, &self.places) else {
                if self.end_slices(now) {
                    continue;
                }
                return;
            };
            if let Some(victim) = turn.victim {
                self.preempt(victim);
            }
            if let Some(job) = self.roster.get_mut(turn.begin) {
                job.begin_turn(now.mono, turn.rank);
            }
            self.transit(turn.begin, JobEvent::Turn);
            if self.roster.get(turn.begin).is_some_and(|job| job.spec().terms.method.is_some()) {
                // Before the question goes: one that a crash overtakes is not asked again.
                self.persist(turn.begin);
            }
            self.advance(now, turn.begin);
        }
    }

    pub(super) fn preempt(&mut self, id: JobId) {
        if self.roster.get(id).is_some_and(Job::is_asked_once) {
            return self.stop(self.clock, id, 0, retry::broken_off());
        }
        if let Some(job) = self.roster.get_mut(id) {
            job.pause_files(&mut self.out);
        }
        self.transit(id, JobEvent::Preempt);
    }

    /// Brings a job that has the turn on.
    pub(super) fn advance(&mut self, now: Now, id: JobId) {
        self.advance_files(now, id, Movers::All);
    }

    /// The same after something that concerns one of its files alone.
    pub(super) fn advance_one(&mut self, now: Now, at: FileRef) {
        self.advance_files(now, at.job, Movers::One(at.file));
    }

    fn advance_files(&mut self, now: Now, id: JobId, movers: Movers) {
        let Some(job) = self.roster.get_mut(id) else { return };
        if !job.state().is_active() || job.is_completing || self.turns == Turns::Withheld {
            return;
        }
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let Some((job, mut s)) = self.surroundings(now, id) else { return };
        job.advance_files(movers, &mut s);
        if let Some((file, failure)) = job.stopper() {
            let failure = failure.clone();
            self.stop(now, id, file, failure);
            return;
        }
        let (is_whole, is_satisfied) = (job.is_whole(), job.is_whole() && job.is_satisfied());
        let is_contacted = is_whole || job.movers().any(|file| file.is_contacted());
        if is_contacted && job.state() == JobState::Connecting {
            let host = job.host();
            self.transit(id, JobEvent::Connected);
            self.roster.queue_mut().open(host);
        }
        if is_satisfied {
            self.rest(id);
        } else if is_whole {
            if let Some(job) = self.roster.get_mut(id) {
                job.life_mut().transferred = Some(now.wall);
            }
            self.transit(id, JobEvent::AllDone);
            self.persist(id);
            if self.roster.get(id).is_some_and(|job| job.finish() == Finish::Auto) {
                // Legal from every state that is not final.
                let _ = self.complete(now, id);
            }
        }
    }

    /// What was asked for on demand is there: the job waits for its owner, who asks for more or ends it (F-57).
    fn rest(&mut self, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        job.has_ranges = true;
        job.pause_files(&mut self.out);
        self.transit(id, JobEvent::RangesDone);
        self.persist(id);
    }

    pub(super) fn stop(&mut self, now: Now, id: JobId, file: u32, failure: Failure) {
        let Some(job) = self.roster.get_mut(id) else { return };
        let patience = job.spec().patience;
        job.cache_use = CacheUse::Allowed;
        job.count_fault();
        job.pause_files(&mut self.out);
        if failure.class.is_condition() && !job.is_asked_once() {
            self.hinder(now, id, file, failure, JobEvent::Falter);
            return;
        }
        let since = *job.no_progress_since.get_or_insert(now.mono);
        let is_given_up = now.mono.saturating_sub(since) >= job.gives_up_after();
        let event = if is_given_up || job.is_hopeless(failure.class) { JobEvent::Fail } else { JobEvent::Falter };
        if event == JobEvent::Falter {
            let pace = (patience, job.retry_delay());
            let delay = retry::job_delay(pace, job.attempts, failure.retry_after, &mut self.rng);
            job.retry_at = Some(now.mono + delay);
        }
        let host = job.host_of(file);
        self.close_host(now, host, &failure);
        let Some(job) = self.roster.get_mut(id) else { return };
        job.set_failure(Some(failure));
        self.transit(id, event);
        self.persist(id);
    }

    /// A host that does not answer, or asks for a pause, is spared by the jobs that nobody watches.
    fn close_host(&mut self, now: Now, host: HostKey, failure: &Failure) {
        let pause = match (failure.class, failure.retry_after) {
            (FailureClass::Transient | FailureClass::Unreachable, Some(wish)) => retry::host_wish(wish),
            // Those who were there at the same time say the same.
            (FailureClass::Unreachable, None) if self.roster.queue().closed_until(host).is_none() => {
                retry::host_delay(self.roster.queue().failures(host) + 1, &mut self.rng)
            }
            _ => return,
        };
        self.roster.queue_mut().close(host, now.mono + pause);
    }

    /// Ends the job when its completion was asked for and every staged file is visible.
    pub(super) fn settle_completion(&mut self, now: Now, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        if !job.is_completing || job.publishing > 0 {
            return;
        }
        job.is_completing = false;
        let failed = job.files().iter().zip(0..).find_map(|(file, at)| Some((at, file.failure()?.clone())));
        // Where some of it was not wanted whole, what is gone is not fetched after all.
        let is_whole = job.files().iter().all(|file| file.is_staged() || file.is_lost());
        let again = match job.state() {
            JobState::Transferred => Some(JobEvent::FilesAdded),
            // Its delivery has faltered before, and the condition is over.
            JobState::TransientError if is_whole => Some(JobEvent::Retry),
            _ => None,
        };
        let again = again.filter(|_| job.files().iter().any(File::is_lost));
        if let Some(again) = again {
            // It is made anew from what is held, as a file that is added now would be.
            job.files_mut().iter_mut().for_each(|file| file.pause(&mut self.out));
            job.pause_files(&mut self.out);
            self.transit(id, again);
            self.persist(id);
        } else if let Some((file, failure)) = failed {
            if failure.class.is_condition() {
                job.is_delivery_owed = true;
                job.attempts = job.attempts.saturating_add(1);
                self.hinder(now, id, file, failure, JobEvent::DeliveryFaltered);
                return;
            }
            // What is visible stays visible; the job stays until the destination is mended.
            job.set_failure(Some(failure));
            let event = match job.state() {
                JobState::Transferred => JobEvent::DeliveryFailed,
                // It waited for a condition; nobody has paused it.
                JobState::TransientError => JobEvent::Fail,
                _ => JobEvent::Suspend,
            };
            self.transit(id, event);
            self.persist(id);
        } else if job.apply(now.mono, JobEvent::Complete).is_ok() {
            self.end(id);
        }
    }

    /// Throws a job away with all its traces but the cache, if it has not ended.
    pub(super) fn throw_away(&mut self, id: JobId) {
        let now = self.clock.mono;
        let Some(job) = self.roster.get_mut(id) else { return };
        if job.apply(now, JobEvent::Cancel).is_err() {
            return;
        }
        job.is_completing = false;
        job.is_delivery_owed = false;
        for file in job.files_mut() {
            file.discard(&mut self.out);
        }
        self.end(id);
    }

    pub(super) fn end(&mut self, id: JobId) {
        self.roster.settle(id);
        self.out.push(Effect::Erase(id));
        self.notices.push_back(Notice::JobEnded(id));
        self.ended.push_back(id);
        while self.ended.len() > ENDED_KEPT {
            if let Some(oldest) = self.ended.pop_front() {
                self.roster.remove(oldest);
            }
        }
    }

    /// Events that the engine itself raises fit the state by construction; one that does not is dropped, not obeyed.
    pub(super) fn transit(&mut self, id: JobId, event: JobEvent) {
        let now = self.clock.mono;
        if let Some(job) = self.roster.get_mut(id)
            && job.apply(now, event).is_ok()
        {
            self.notices.push_back(Notice::JobChanged(id));
        }
        self.roster.settle(id);
    }

    pub(super) fn persist(&mut self, id: JobId) {
        let forgotten_at = self.inactive.map(|kept| self.clock.mono + kept);
        if let Some(job) = self.roster.get_mut(id) {
            job.touch(self.clock.wall, forgotten_at);
        }
        self.roster.settle(id);
        if let Some(job) = self.roster.get(id) {
            self.out.push(Effect::Persist(Box::new(job.record())));
            self.notices.push_back(Notice::JobChanged(id));
        }
    }
}
