//! The jobs, and who among them waits, runs or sleeps: so that no decision has to look at all of them.

use crate::job::live::Job;
use crate::job::parcel::likeness;
use crate::job::spec::{FileSpec, Goal, JobId, Priority};
use crate::job::state::JobState;
use crate::job::terms::Owner;
use crate::queue::{HostKey, Line, Queue, Ticket};
use crate::schedule::{Class, Places};
use crate::sessions::Sessions;
use crate::shares::Shares;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

/// What a job is to the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Waits for its turn.
    Waiting(Ticket),
    /// Has the turn.
    Running(Class, Priority, Owner, HostKey),
    /// Tries again then, or looks whether it can.
    Sleeping(Duration),
    /// Its files are becoming visible.
    Completing,
    /// Waits for its owner to log on, and is forgotten then.
    Away(Option<Duration>),
    /// Does nothing by itself, and is forgotten then.
    Resting(Option<Duration>),
}

/// Jobs at rest that have run, and whose files are kept at hand.
const KEPT_AT_HAND: usize = 256;

/// A job where it belongs.
#[derive(Debug)]
struct Slot {
    job: Job,
    place: Place,
    /// For whom it is counted as one that has not ended, and as wanting which files.
    counted: Option<(Owner, u64)>,
    /// Whether it is among those whose files are kept at hand for a while.
    is_cooling: bool,
}

/// How many jobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// That have not ended.
    pub open: usize,
    /// Of those, through which bytes come.
    pub moving: usize,
}

/// All jobs of an engine.
#[derive(Debug)]
pub struct Roster {
    // In boxes: the nodes of such a tree are half empty.
    jobs: BTreeMap<JobId, Box<Slot>>,
    /// In the order in which they were made.
    by_age: BTreeSet<(i64, JobId)>,
    /// Jobs that have not ended, of each owner.
    living: BTreeMap<Owner, usize>,
    /// The same by their files: jobs of one owner with one likeness lie side by side.
    alike: BTreeSet<(Owner, u64, JobId)>,
    /// Of those, jobs that only hold: nobody made them.
    holding: usize,
    /// Jobs that somebody has had a hand in since the last tidying.
    touched: Vec<JobId>,
    /// Jobs at rest that have run, the last one at the end.
    cooling: VecDeque<JobId>,
    queue: Queue,
    shares: Shares,
    running: BTreeSet<JobId>,
    foreground: usize,
    held: usize,
    sleeping: BTreeSet<(Duration, JobId)>,
    completing: BTreeSet<JobId>,
    resting: BTreeSet<(Duration, JobId)>,
    /// Jobs that wait for their owners.
    away: BTreeSet<JobId>,
    sessions: Sessions,
    /// The time of the last change.
    now: Duration,
    /// The last number in the queue.
    last: u64,
}

impl Roster {
    /// No jobs, and so many places at each host.
    #[must_use]
    pub fn new(places: &Places) -> Self {
        Self {
            jobs: BTreeMap::new(),
            by_age: BTreeSet::new(),
            living: BTreeMap::new(),
            alike: BTreeSet::new(),
            holding: 0,
            touched: Vec::new(),
            cooling: VecDeque::new(),
            queue: Queue::new(places.per_host, places.held_per_host),
            shares: Shares::default(),
            running: BTreeSet::new(),
            foreground: 0,
            held: 0,
            sleeping: BTreeSet::new(),
            completing: BTreeSet::new(),
            resting: BTreeSet::new(),
            away: BTreeSet::new(),
            sessions: Sessions::default(),
            now: Duration::ZERO,
            last: 0,
        }
    }

    /// Time has passed: those who run have used it.
    pub fn pass_time(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now);
        if passed > Duration::ZERO {
            for id in &self.running {
                if let Some(slot) = self.jobs.get_mut(id) {
                    slot.job.spend(passed);
                    self.shares.charge(slot.job.owner(), passed);
                }
            }
            self.now = now;
        }
        self.queue.pass_time(now);
    }

    /// Enters a job, which has no place before [`Self::settle`] gives it one.
    pub fn insert(&mut self, job: Job) {
        let id = job.id();
        self.by_age.insert((job.created(), id));
        let slot = Slot { job, place: Place::Resting(None), counted: None, is_cooling: false };
        self.jobs.insert(id, Box::new(slot));
        self.count(id);
    }

    /// Forgets a job.
    pub fn remove(&mut self, id: JobId) {
        if let Some(slot) = self.jobs.remove(&id) {
            self.by_age.remove(&(slot.job.created(), id));
            self.discount(id, slot.counted);
            self.holding -= usize::from(slot.counted.is_some() && slot.job.goal() == Goal::Hold);
            self.leave(id, slot.place);
        }
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values().map(|slot| &slot.job)
    }

    /// The jobs from this id on, in the order of ids.
    pub fn jobs_from(&self, id: JobId) -> impl Iterator<Item = &Job> {
        self.jobs.range(id..).map(|(_, slot)| &slot.job)
    }

    /// The jobs behind a point in the order in which they were made.
    pub fn jobs_after(&self, after: Option<(i64, JobId)>) -> impl Iterator<Item = &Job> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_age.range((from, Bound::Unbounded)).filter_map(|(_, id)| self.get(*id))
    }

    /// Jobs of an owner that have not ended and may want these very files; their wishes say whether they do. No other is looked at.
    pub fn alike(&self, owner: Owner, files: &[FileSpec]) -> impl Iterator<Item = &Job> + use<'_> {
        let likeness = likeness(files);
        let all = (owner, likeness, JobId([0; 16]))..=(owner, likeness, JobId([u8::MAX; 16]));
        self.alike.range(all).filter_map(|(_, _, id)| self.get(*id))
    }

    /// Jobs that have not ended: all of them, and one owner's.
    #[must_use]
    pub fn living(&self, owner: Owner) -> (usize, usize) {
        (self.living.values().sum(), self.living.get(&owner).copied().unwrap_or(0))
    }

    /// Jobs that somebody made and that have not ended, and those of them through which bytes come. No job is unpacked for it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let moves = |job: &&Job| job.state() == JobState::Transferring && job.goal() != Goal::Hold;
        let open = self.living.values().sum::<usize>() - self.holding;
        Standing { open, moving: self.running().filter(moves).count() }
    }

    /// One job.
    #[must_use]
    pub fn get(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id).map(|slot| &slot.job)
    }

    /// One job, to be changed; whoever changes its state calls [`Self::settle`] afterwards.
    pub fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
        self.jobs.get_mut(&id).map(|slot| &mut slot.job)
    }

    /// Puts the files of jobs away that have come to rest; not at once those of jobs of which more is known than is written down.
    pub(crate) fn tidy(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(slot) = self.jobs.get_mut(&id) else { continue };
            if !slot.job.is_at_hand() || !slot.job.is_at_rest() {
                continue;
            }
            if slot.job.is_fresh() {
                slot.job.fold();
            } else if !slot.is_cooling {
                slot.is_cooling = true;
                self.cooling.push_back(id);
            }
        }
        while self.cooling.len() > KEPT_AT_HAND {
            let Some(id) = self.cooling.pop_front() else { return };
            if let Some(slot) = self.jobs.get_mut(&id) {
                slot.is_cooling = false;
                slot.job.fold();
            }
        }
    }

    /// Puts the files of a job away that somebody has looked at.
    pub(crate) fn put_away(&mut self, id: JobId) {
        if let Some(slot) = self.jobs.get_mut(&id).filter(|slot| slot.job.is_fresh()) {
            slot.job.fold();
        }
    }

    /// Counts a job among its owner's and those that want the same, as long as it has not ended.
    fn count(&mut self, id: JobId) {
        let Some(slot) = self.jobs.get_mut(&id) else { return };
        let next = (!slot.job.state().is_final()).then(|| (slot.job.owner(), slot.job.likeness()));
        let last = std::mem::replace(&mut slot.counted, next);
        if slot.job.goal() == Goal::Hold {
            self.holding = self.holding + usize::from(next.is_some()) - usize::from(last.is_some());
        }
        if last != next {
            self.discount(id, last);
            if let Some((owner, likeness)) = next {
                *self.living.entry(owner).or_default() += 1;
                self.alike.insert((owner, likeness, id));
            }
        }
    }

    fn discount(&mut self, id: JobId, counted: Option<(Owner, u64)>) {
        let Some((owner, likeness)) = counted else { return };
        self.alike.remove(&(owner, likeness, id));
        if let Some(count) = self.living.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.living.remove(&owner);
            }
        }
    }

    /// Puts a job whose state may have changed where it belongs.
    pub fn settle(&mut self, id: JobId) {
        self.count(id);
        let (now, next_number) = (self.now, self.last + 1);
        let Some(Slot { job, place, .. }) = self.jobs.get_mut(&id).map(Box::as_mut) else { return };
        let next = match (job.state(), job.wakes_at()) {
            _ if job.is_completing => Place::Completing,
            (JobState::Queued, _) if !self.sessions.admit(job.presence(), job.owner()) => Place::Away(job.forgotten_at),
            (JobState::Queued, _) => Place::Waiting(ticket(job, place, now, next_number)),
            (state, _) if state.is_active() => {
                Place::Running(Class::of(job.rank(), job.goal()), job.rank(), job.owner(), job.host())
            }
            (JobState::TransientError, Some(at)) => Place::Sleeping(at),
            (state, _) if state.is_final() => Place::Resting(None),
            _ => Place::Resting(job.forgotten_at),
        };
        if let Place::Away(_) = next {
            // What others did not give before is another matter, whose time does not run meanwhile.
            job.no_progress_since = None;
        }
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
        let now = self.now;
        match place {
            Place::Waiting(ticket) => {
                self.shares.enter(ticket.line.owner);
                self.queue.enter(ticket, id);
            }
            Place::Running(class, rank, owner, host) => {
                self.shares.enter(owner);
                self.queue.begin(host, (class, rank));
                if let Some(slot) = self.jobs.get(&id) {
                    self.queue.serve(line(&slot.job), now);
                }
                self.running.insert(id);
                match class {
                    Class::Foreground => self.foreground += 1,
                    Class::Held => self.held += 1,
                    Class::Background => self.shares.begin(owner),
                }
            }
            Place::Sleeping(at) => drop(self.sleeping.insert((at, id))),
            Place::Completing => drop(self.completing.insert(id)),
            Place::Away(at) => {
                self.away.insert(id);
                self.resting.extend(at.map(|at| (at, id)));
            }
            Place::Resting(Some(at)) => drop(self.resting.insert((at, id))),
            Place::Resting(None) => {}
        }
    }

    fn leave(&mut self, id: JobId, place: Place) {
        match place {
            Place::Waiting(ticket) => {
                self.queue.leave(ticket);
                self.shares.leave(ticket.line.owner);
            }
            Place::Running(class, rank, owner, host) => {
                // It may run still, as another.
                if !self.jobs.get(&id).is_some_and(|slot| matches!(slot.place, Place::Running(..))) {
                    self.running.remove(&id);
                }
                self.queue.end(host, (class, rank));
                self.shares.leave(owner);
                match class {
                    Class::Foreground => self.foreground -= 1,
                    Class::Held => self.held -= 1,
                    Class::Background => self.shares.end(owner),
                }
            }
            Place::Sleeping(at) => drop(self.sleeping.remove(&(at, id))),
            Place::Completing => drop(self.completing.remove(&id)),
            Place::Away(at) => {
                // It may be away still, and be forgotten later.
                if !self.jobs.get(&id).is_some_and(|slot| matches!(slot.place, Place::Away(_))) {
                    self.away.remove(&id);
                }
                self.keep(id, at);
            }
            Place::Resting(at) => self.keep(id, at),
        }
    }

    /// The job is not forgotten at that time, unless it is where it rests until the same.
    fn keep(&mut self, id: JobId, at: Option<Duration>) {
        let until = self.jobs.get(&id).and_then(|slot| match slot.place {
            Place::Away(at) | Place::Resting(at) => at,
            _ => None,
        });
        if let Some(at) = at.filter(|_| at != until) {
            self.resting.remove(&(at, id));
        }
    }

    /// Who is logged on.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Others are logged on; whoever says so calls [`Self::settle`] for the jobs that it concerns.
    pub(crate) fn set_sessions(&mut self, sessions: Sessions) {
        self.sessions = sessions;
    }

    /// Whether a job may run as far as its owner's sessions are concerned.
    pub(crate) fn admits(&self, job: &Job) -> bool {
        self.sessions.admit(job.presence(), job.owner())
    }

    /// Whether some job waits for its owner to log on.
    pub(crate) fn has_away(&self) -> bool {
        !self.away.is_empty()
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

    /// Of those, how many in the foreground that deliver something.
    #[must_use]
    pub fn foreground(&self) -> usize {
        self.foreground
    }

    /// Of those, how many in the foreground that only hold.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Of those, how many in the background.
    #[must_use]
    pub fn background(&self) -> usize {
        self.running.len() - self.foreground - self.held
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

/// The line in which the job waits.
fn line(job: &Job) -> Line {
    Line { priority: job.priority(), goal: job.goal(), owner: job.owner() }
}

/// The job's place in the queue: the one that it has or had, or the last.
fn ticket(job: &Job, place: &Place, now: Duration, next_number: u64) -> Ticket {
    let since = match place {
        Place::Waiting(ticket) => ticket.since,
        _ => now,
    };
    let number = job.number.unwrap_or(next_number);
    Ticket { line: line(job), host: job.host(), number, since }
}
