//! The jobs, and who among them waits, runs or sleeps: so that no decision has to look at all of them.

use crate::job::live::Job;
use crate::job::spec::{JobId, Priority};
use crate::job::state::JobState;
use crate::job::terms::Owner;
use crate::queue::{HostKey, Queue, Ticket};
use crate::schedule::Class;
use crate::shares::Shares;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a job is to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Waits for its turn.
    Waiting(Ticket),
    /// Has the turn.
    Running(Priority, Owner, HostKey),
    /// Tries again then, or looks whether it can.
    Sleeping(Duration),
    /// Its files are becoming visible.
    Completing,
    /// Does nothing by itself, and is forgotten then.
    Resting(Option<Duration>),
}

/// All jobs of an engine.
#[derive(Debug)]
pub struct Roster {
    jobs: BTreeMap<JobId, (Job, Place)>,
    queue: Queue,
    shares: Shares,
    running: BTreeSet<JobId>,
    foreground: usize,
    sleeping: BTreeSet<(Duration, JobId)>,
    completing: BTreeSet<JobId>,
    resting: BTreeSet<(Duration, JobId)>,
    /// The time of the last change.
    now: Duration,
    /// The last number in the queue.
    last: u64,
}

impl Roster {
    /// No jobs, and so many places at each host.
    #[must_use]
    pub fn new(per_host: usize) -> Self {
        Self {
            jobs: BTreeMap::new(),
            queue: Queue::new(per_host),
            shares: Shares::default(),
            running: BTreeSet::new(),
            foreground: 0,
            sleeping: BTreeSet::new(),
            completing: BTreeSet::new(),
            resting: BTreeSet::new(),
            now: Duration::ZERO,
            last: 0,
        }
    }

    /// Time has passed: those who run have used it.
    pub fn pass_time(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        if passed > Duration::ZERO {
            for id in &self.running {
                if let Some((job, _)) = self.jobs.get_mut(id) {
                    job.spend(passed);
                    self.shares.charge(job.owner(), passed);
                }
            }
            self.now = now;
        }
        self.queue.pass_time(now);
    }

    /// Enters a job.
    pub fn insert(&mut self, job: Job) {
        let id = job.id();
        self.jobs.insert(id, (job, Place::Resting(None)));
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

    /// The jobs from this id on, in the order of ids.
    pub fn jobs_from(&self, id: JobId) -> impl Iterator<Item = &Job> {
        self.jobs.range(id..).map(|(_, (job, _))| job)
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
        let (now, next_number) = (self.now, self.last + 1);
        let Some((job, place)) = self.jobs.get_mut(&id) else { return };
        let next = match (job.state(), job.wakes_at()) {
            _ if job.is_completing => Place::Completing,
            (JobState::Queued, _) => Place::Waiting(ticket(job, place, now, next_number)),
            (state, _) if state.is_active() => Place::Running(job.rank(), job.owner(), job.host()),
            (JobState::TransientError, Some(at)) => Place::Sleeping(at),
            (state, _) if state.is_final() => Place::Resting(None),
            _ => Place::Resting(job.forgotten_at),
        };
        let last = std::mem::replace(place, next);
        if last == next {
            return;
        }
        if let Place::Waiting(ticket) = next {
            job.number = Some(ticket.number);
            self.last = self.last.max(ticket.number);
        }
        self.enter(id, next);
        self.leave(id, last);
    }

    /// Lets a job that waits wait behind all others of its kind.
    pub(crate) fn send_to_the_end(&mut self, id: JobId) {
        if let Some(job) = self.get_mut(id) {
            job.number = None;
        }
        self.settle(id);
    }

    fn enter(&mut self, id: JobId, place: Place) {
        match place {
            Place::Waiting(ticket) => {
                self.shares.enter(ticket.owner);
                self.queue.enter(ticket, id);
            }
            Place::Running(rank, owner, host) => {
                self.shares.enter(owner);
                self.queue.begin(host, rank);
                if let Some((job, _)) = self.jobs.get(&id) {
                    self.queue.serve(job.spec().priority, owner, self.now);
                }
                self.running.insert(id);
                match Class::of(rank) {
                    Class::Foreground => self.foreground += 1,
                    Class::Background => self.shares.begin(owner),
                }
            }
            Place::Sleeping(at) => drop(self.sleeping.insert((at, id))),
            Place::Completing => drop(self.completing.insert(id)),
            Place::Resting(Some(at)) => drop(self.resting.insert((at, id))),
            Place::Resting(None) => {}
        }
    }

    fn leave(&mut self, id: JobId, place: Place) {
        match place {
            Place::Waiting(ticket) => {
                self.queue.leave(ticket);
                self.shares.leave(ticket.owner);
            }
            Place::Running(rank, owner, host) => {
                // It may run still, as another.
                if !matches!(self.jobs.get(&id), Some((_, Place::Running(..)))) {
                    self.running.remove(&id);
                }
                self.queue.end(host, rank);
                self.shares.leave(owner);
                match Class::of(rank) {
                    Class::Foreground => self.foreground -= 1,
                    Class::Background => self.shares.end(owner),
                }
            }
            Place::Sleeping(at) => drop(self.sleeping.remove(&(at, id))),
            Place::Completing => drop(self.completing.remove(&id)),
            Place::Resting(Some(at)) => drop(self.resting.remove(&(at, id))),
            Place::Resting(None) => {}
        }
    }

    /// Those that wait, and their hosts.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The same, to be changed.
    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }

    /// What each owner has had.
    pub(crate) fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The time of the last change.
    pub(crate) fn now(&self) -> Duration {
        self.now
    }

    /// Jobs that have the turn.
    pub fn running(&self) -> impl Iterator<Item = &Job> {
        self.running.iter().filter_map(|id| self.get(*id))
    }

    /// Of those, how many in the foreground.
    #[must_use]
    pub fn foreground(&self) -> usize {
        self.foreground
    }

    /// Of those, how many in the background.
    #[must_use]
    pub fn background(&self) -> usize {
        self.running.len() - self.foreground
    }

    /// Jobs that sleep.
    pub(crate) fn sleepers(&self) -> impl Iterator<Item = JobId> {
        self.sleeping.iter().map(|(_, id)| *id)
    }

    /// The job that is to be woken first, and when.
    #[must_use]
    pub fn next_to_wake(&self) -> Option<(Duration, JobId)> {
        self.sleeping.first().copied()
    }

    /// The job that is to be forgotten first, and when.
    pub(crate) fn next_to_forget(&self) -> Option<(Duration, JobId)> {
        self.resting.first().copied()
    }

    /// Whether some job runs or will run by itself.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !(self.queue.waiting() == 0
            && self.running.is_empty()
            && self.sleeping.is_empty()
            && self.completing.is_empty())
    }
}

/// The job's place in the queue: the one that it has or had, or the last.
fn ticket(job: &Job, place: &Place, now: Duration, next_number: u64) -> Ticket {
    let since = match place {
        Place::Waiting(ticket) => ticket.since,
        _ => now,
    };
    let number = job.number.unwrap_or(next_number);
    Ticket { priority: job.spec().priority, owner: job.owner(), host: job.host(), number, since }
}
