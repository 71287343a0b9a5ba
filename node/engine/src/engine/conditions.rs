//! Conditions of this machine: what a job that met one waits for, and how it hears that it has ended.

use super::Engine;
use crate::file::CacheUse;
use crate::job::condition::Condition;
use crate::job::spec::JobId;
use crate::job::state::JobEvent;
use crate::port::{Effect, Failure, FileRef, Notice, Now};
use crate::retry;

impl Engine {
    /// A condition of this machine stops the job: it is looked at until it ends.
    pub(super) fn hinder(&mut self, now: Now, id: JobId, file: u32, failure: Failure, event: JobEvent) {
        let Some(job) = self.roster.get_mut(id) else { return };
        let since = *job.hindered_since.get_or_insert(now.mono);
        // What others do not give is another matter, whose time does not run meanwhile.
        job.no_progress_since = None;
        job.cache_use = CacheUse::Allowed;
        let is_given_up = now.mono.saturating_sub(since) >= retry::BACKGROUND_NO_PROGRESS;
        if is_given_up {
            job.is_delivery_owed = false;
        } else {
            let look = now.mono + retry::probe_delay(job.attempts, 0, &mut self.rng);
            let turn = now.mono + retry::condition_delay(job.spec().patience, &mut self.rng);
            job.condition =
                Some(Condition { file, class: failure.class, is_over: false, look_at: Some(look), looks: 0 });
            job.retry_at = Some(turn.max(look));
        }
        job.set_failure(Some(failure));
        // A delivery that is given up stays where it was, until its owner asks again.
        let given_up = if event == JobEvent::DeliveryFaltered { JobEvent::Suspend } else { JobEvent::Fail };
        self.transit(id, if is_given_up { given_up } else { event });
        self.persist(id);
    }

    /// A sleeper's time has come: to try again, or to look whether it can.
    pub(super) fn rouse(&mut self, now: Now, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        if job.retry_at().is_some_and(|at| at > now.mono) {
            self.look(now, id);
            return;
        }
        job.cache_use = job.condition.map_or(CacheUse::Allowed, |condition| condition.cache_use(job.attempts));
        job.wake();
        if job.is_delivery_owed {
            self.begin_completion(id);
            self.settle_completion(now, id);
        } else {
            self.transit(id, JobEvent::Retry);
        }
    }

    /// Orders a look, if not too many are under way.
    fn look(&mut self, now: Now, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        if let Some(condition) = &mut job.condition {
            if self.probing.len() < retry::PROBES_AT_ONCE && self.probing.insert(id) {
                let file = FileRef { job: id, file: condition.file };
                condition.look_at = None;
                self.out.push(Effect::Probe { file, class: condition.class });
            } else {
                condition.look_at = Some(now.mono + retry::PROBE_LATER);
            }
        }
        self.roster.settle(id);
    }

    /// Answer to a look.
    pub(super) fn on_probed(&mut self, now: Now, id: JobId, result: Result<(), Failure>) {
        self.probing.remove(&id);
        let Some(job) = self.roster.get_mut(id) else { return };
        // It may have gone on meanwhile.
        let Some(condition) = &mut job.condition else { return };
        match result {
            Ok(()) => {
                condition.is_over = true;
                condition.look_at = None;
                job.retry_at = Some(now.mono);
            }
            Err(failure) => {
                condition.looks = condition.looks.saturating_add(1);
                condition.class = failure.class;
                condition.look_at = Some(now.mono + retry::probe_delay(1, condition.looks, &mut self.rng));
                if job.failure() != Some(&failure) {
                    job.set_failure(Some(failure));
                    self.notices.push_back(Notice::JobChanged(id));
                }
            }
        }
        self.roster.settle(id);
    }
}
