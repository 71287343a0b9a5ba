//! The jobs, and who among them waits, runs or sleeps: so that no decision has to look at all of them.

use crate::job::live::Job;
use crate::job::spec::{JobId, Priority};
use crate::job::state::JobState;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a job is to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Waits for its turn; urgent first, then old first.
    Waiting(Priority, i64),
    /// Has the turn.
    Running,
    /// Tries again then, or looks whether it can.
    Sleeping(Duration),
    /// Its files are becoming visible.
    Completing,
    /// Does nothing by itself.
    Resting,
}

impl Place {
    fn of(job: &Job) -> Self {
        match (job.state(), job.wakes_at()) {
            _ if job.is_completing => Self::Completing,
            (JobState::Queued, _) => Self::Waiting(job.spec().priority, job.created()),
            (state, _) if state.is_active() => Self::Running,
            (JobState::TransientError, Some(at)) => Self::Sleeping(at),
            _ => Self::Resting,
        }
    }
}

/// All jobs of an engine.
#[derive(Debug, Default)]
pub struct Roster {
    jobs: BTreeMap<JobId, (Job, Place)>,
    waiting: BTreeSet<(Priority, i64, JobId)>,
    running: BTreeSet<JobId>,
    sleeping: BTreeSet<(Duration, JobId)>,
    completing: BTreeSet<JobId>,
}

impl Roster {
    /// Enters a job.
    pub fn insert(&mut self, job: Job) {
        let id = job.id();
        self.jobs.insert(id, (job, Place::Resting));
        self.settle(id);
    }

    /// Forgets a job.
    pub fn remove(&mut self, id: JobId) {
        if let Some((_, place)) = self.jobs.remove(&id) {
            self.leave(id, place);
        }
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().map(|(job, _)| job)
    }

    /// One job.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|(job, _)| job)
    }

    /// One job, to be changed; whoever changes its state calls [`Self::settle`] afterwards.
    pub fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(&id).map(|(job, _)| job)
    }

    /// Puts a job whose state may have changed where it belongs.
    pub fn settle(&mut self, id: JobId) {
        let Some((job, place)) = self.jobs.get_mut(&id) else { return };
        let next = Place::of(job);
        let last = std::mem::replace(place, next);
        if last == next {
            return;
        }
        self.leave(id, last);
        match next {
            Place::Waiting(priority, created) => drop(self.waiting.insert((priority, created, id))),
            Place::Running => drop(self.running.insert(id)),
            Place::Sleeping(at) => drop(self.sleeping.insert((at, id))),
            Place::Completing => drop(self.completing.insert(id)),
            Place::Resting => {}
        }
    }

    fn leave(&mut self, id: JobId, place: Place) {
        match place {
            Place::Waiting(priority, created) => drop(self.waiting.remove(&(priority, created, id))),
            Place::Running => drop(self.running.remove(&id)),
            Place::Sleeping(at) => drop(self.sleeping.remove(&(at, id))),
            Place::Completing => drop(self.completing.remove(&id)),
            Place::Resting => {}
        }
    }

    /// Foreground jobs that wait, oldest first.
    pub fn waiting_foreground(&self) -> impl Iterator<Item = &Job> {
        self.jobs_of(self.waiting.range(..background()))
    }

    /// The other jobs that wait: urgent first, then oldest first.
    pub fn waiting_background(&self) -> impl Iterator<Item = &Job> {
        self.jobs_of(self.waiting.range(background()..))
    }

    fn jobs_of<'a>(
        &'a self,
        entries: impl Iterator<Item = &'a (Priority, i64, JobId)> + 'a,
    ) -> impl Iterator<Item = &'a Job> {
        entries.filter_map(|(_, _, id)| self.get(*id))
    }

    /// Jobs that have the turn.
    pub fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.iter().filter_map(|id| self.get(*id))
    }

    /// The job that is to be woken first, and when.
    #[must_use]
    pub fn next_to_wake(&self) -> Option<(Duration, JobId)> {
        self.sleeping.first().copied()
    }

    /// Whether some job runs or will run by itself.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !(self.waiting.is_empty() && self.running.is_empty() && self.sleeping.is_empty() && self.completing.is_empty())
    }
}

/// Where the background begins in the order of those that wait.
fn background() -> (Priority, i64, JobId) {
    (Priority::High, i64::MIN, JobId([0; 16]))
}
