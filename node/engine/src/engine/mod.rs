//! The engine: jobs, inputs, effects. See the crate's page for its four families of methods.

mod amend;
mod conditions;
mod inputs;
mod timers;
mod turns;
mod why;

pub use amend::Amendment;
pub use why::TurnWait;

use crate::file::{CacheUse, Surroundings};
use crate::job::live::Job;
use crate::job::parcel::Parcel;
use crate::job::record::JobRecord;
use crate::job::spec::{FileSpec, Finish, JobId, JobSpec, Priority};
use crate::job::state::{IllegalTransition, JobEvent, JobState};
use crate::job::terms::{Life, Owner};
use crate::outbox::Outbox;
use crate::port::{Effect, Notice, Now, Peer};
use crate::roster::{Roster, Standing};
use crate::schedule::Places;
use crate::swarm::Patience;
use crate::trust::Policy;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Ended jobs that are still shown.
const ENDED_KEPT: usize = 256;
/// How long a job that does nothing by itself is kept if nobody says otherwise (F-23: 90 days).
pub const INACTIVE: Duration = Duration::from_secs(90 * 86_400);

/// What an engine is told at its birth.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Seed of its randomness.
    pub seed: u64,
    /// Until when discovery may still bring the first peers; zero for a node without a group.
    pub settling_until: Duration,
    /// Whether jobs get turns.
    pub turns: Turns,
    /// How many run side by side.
    pub places: Places,
    /// How long a job that does nothing by itself is kept (F-23); `None` for ever.
    pub inactive: Option<Duration>,
    /// Whether members share their reads of origins.
    pub swarms: Swarms,
}

impl EngineConfig {
    /// A node alone, with the ordinary numbers.
    #[must_use]
    pub fn ordinary(seed: u64) -> Self {
        let (settling_until, places) = (Duration::ZERO, Places::default());
        Self { seed, settling_until, turns: Turns::Given, places, inactive: Some(INACTIVE), swarms: Swarms::Off }
    }
}

/// Whether members share their reads of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swarms {
    /// Each file plans by itself.
    Off,
    /// The swarm orders, as soon as there is another member that takes part.
    On,
}

/// Whether jobs get turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// As the scheduler says.
    Given,
    /// Never: the node only shows its jobs.
    Withheld,
}

/// Why a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such job.
    #[error("there is no such job")]
    NoSuchJob,
    /// The job has no file, so it cannot run.
    #[error("the job has no file")]
    NoFiles,
    /// A file that was named is not there, or cannot be changed any more.
    #[error("there is no such file in the job, or it stands at its destination")]
    NoSuchFile,
    /// The file is not fetched on demand.
    #[error("the file is not fetched on demand")]
    NotOnDemand,
    /// The command does not fit the job's state.
    #[error(transparent)]
    WrongState(#[from] IllegalTransition),
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    roster: Roster,
    ended: VecDeque<JobId>,
    peers: Vec<Peer>,
    /// Those of them that take part in no swarm.
    plain: BTreeSet<Peer>,
    settling_until: Duration,
    turns: Turns,
    places: Places,
    inactive: Option<Duration>,
    swarms: Swarms,
    /// When what is handled now happens.
    clock: Now,
    trust: Policy,
    out: Outbox,
    notices: VecDeque<Notice>,
    /// Restored jobs of which files are to be delivered.
    deliverable: Vec<JobId>,
    /// Jobs for which a look is under way.
    probing: BTreeSet<JobId>,
    /// Whether it has asked who is logged on.
    attends: bool,
    rng: SmallRng,
    /// Jobs that were looked at.
    #[cfg(test)]
    looks: usize,
}

impl Engine {
    /// An engine without jobs.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            roster: Roster::new(&config.places),
            ended: VecDeque::new(),
            peers: Vec::new(),
            plain: BTreeSet::new(),
            settling_until: config.settling_until,
            turns: config.turns,
            places: config.places,
            inactive: config.inactive,
            swarms: config.swarms,
            clock: Now { mono: Duration::ZERO, wall: 0 },
            trust: Policy::default(),
            out: Outbox::default(),
            notices: VecDeque::new(),
            deliverable: Vec::new(),
            probing: BTreeSet::new(),
            attends: false,
            rng: SmallRng::seed_from_u64(config.seed),
            #[cfg(test)]
            looks: 0,
        }
    }

    /// The same with a policy of whom to believe.
    #[must_use]
    pub fn trusting(self, trust: Policy) -> Self {
        Self { trust, ..self }
    }

    // --- getters

    /// All jobs, ended ones that are still shown included.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.roster.jobs()
    }

    /// The jobs from this id on, in the order of ids.
    pub fn jobs_from(&self, id: JobId) -> impl Iterator<Item = &Job> {
        self.roster.jobs_from(id)
    }

    /// The jobs behind a point in the order in which they were made.
    pub fn jobs_after(&self, after: Option<(i64, JobId)>) -> impl Iterator<Item = &Job> {
        self.roster.jobs_after(after)
    }

    /// Jobs of an owner that have not ended and may want these very files; their wishes say whether they do. No other is looked at.
    pub fn jobs_alike(&self, owner: Owner, files: &[FileSpec]) -> impl Iterator<Item = &Job> + use<'_> {
        self.roster.alike(owner, files)
    }

    /// Jobs that have not ended: all of them, and one owner's.
    #[must_use]
    pub fn living(&self, owner: Owner) -> (usize, usize) {
        self.roster.living(owner)
    }

    /// How many jobs there are.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.roster.standing()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.roster.get(id)
    }

    /// Whether some job is running or will run by itself.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.roster.is_busy()
    }

    /// Whether some job waits for its owner to log on, and will then run.
    #[must_use]
    pub fn awaits_owners(&self) -> bool {
        self.roster.has_away()
    }

    /// Fetches that are under way, as far as the engine wants to hear of them.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.out.fetches()
    }

    /// A job, and what its files act in.
    fn surroundings(&mut self, now: Now, id: JobId) -> Option<(&mut Job, Surroundings<'_>)> {
        let job = self.roster.get_mut(id)?;
        let peers: &[Peer] = if job.spec().peers.fetch { &self.peers } else { &[] };
        let (settling_until, cache_use, swarm) =
            (self.settling_until, job.cache_use, Self::swarm_of(self.swarms, job.spec()));
        let (out, rng) = (&mut self.out, &mut self.rng);
        let (trust, plain) = (&self.trust, &self.plain);
        let s = Surroundings { now: now.mono, peers, plain, settling_until, cache_use, swarm, trust, out, rng };
        Some((job, s))
    }

    /// How the files of a job take part in swarms, if they may.
    fn swarm_of(swarms: Swarms, spec: &JobSpec) -> Option<Patience> {
        let patience = match spec.priority {
            Priority::Foreground => Patience::Foreground,
            Priority::High | Priority::Normal | Priority::Low => Patience::Background,
        };
        // Others would wait for who reads slowly on purpose.
        (swarms == Swarms::On && spec.terms.limit.is_none()).then_some(patience)
    }

    // --- commands

    /// Takes a job over from its record, after a restart. It does nothing before [`Self::start`].
    pub fn restore(&mut self, now: Now, record: JobRecord) {
        self.begin(now);
        let was_completing = record.is_completing;
        let mut job = Job::from_record(record);
        let idle = u64::try_from(now.wall.saturating_sub(job.life().touched)).unwrap_or_default();
        // A record from before this was written down does not say since when.
        let idle = if job.life().touched == 0 { 0 } else { idle };
        job.forgotten_at = self.inactive.map(|kept| now.mono + kept.saturating_sub(Duration::from_secs(idle)));
        let (id, state) = (job.id(), job.state());
        if state == JobState::TransientError {
            job.retry_at = Some(now.mono);
        }
        // It was about to be delivered when the node stopped.
        let is_deliverable = state == JobState::Transferred && job.finish() == Finish::Auto;
        self.roster.insert(job);
        if was_completing || is_deliverable {
            self.deliverable.push(id);
        }
    }

    /// Goes on with the jobs that were restored; those that wait, in the order in which they were made.
    pub fn start(&mut self, now: Now) {
        self.begin(now);
        let ids: Vec<JobId> = self.roster.jobs_after(None).map(Job::id).collect();
        for id in ids {
            self.attend_sessions(id);
            self.roster.settle(id);
        }
        for id in std::mem::take(&mut self.deliverable) {
            if self.turns == Turns::Given {
                let _ = self.complete(now, id);
            }
        }
        self.run(now);
    }

    /// Puts away what takes room of a job that somebody has looked at and that does nothing.
    pub fn put_away(&mut self, id: JobId) {
        self.roster.put_away(id);
    }

    /// Enters a new job, suspended. A name that is taken already is left to its job.
    pub fn create(&mut self, now: Now, id: JobId, owner: Owner, spec: JobSpec) {
        self.enter(now, (id, owner), &spec, |job| job);
    }

    /// The same for one that [`Self::resume`] lets run as soon as it is durable: it is written down as one that waits for its turn, so
    /// that nothing is left to write when it does.
    pub fn create_to_run(&mut self, now: Now, id: JobId, owner: Owner, spec: JobSpec) {
        self.enter(now, (id, owner), &spec, Job::about_to_run);
    }

    fn enter(&mut self, now: Now, (id, owner): (JobId, Owner), spec: &JobSpec, begin: impl FnOnce(Job) -> Job) {
        self.begin(now);
        if self.roster.get(id).is_some() {
            return;
        }
        let record = JobRecord {
            id,
            state: JobState::Suspended,
            created: now.wall,
            failure: None,
            is_completing: false,
            life: Life { owner, touched: now.wall, ..Life::default() },
            parcel: Parcel::of(spec, &[]),
        };
        self.roster.insert(begin(Job::from_record(record).begin_life(now.mono)));
        self.persist(id);
        self.attend_sessions(id);
    }

    /// Lets a job run.
    pub fn resume(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        self.begin(now);
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        if !job.has_files() {
            return Err(CommandError::NoFiles);
        }
        let is_new = job.state() == JobState::Suspended;
        if job.apply(now.mono, JobEvent::Resume)? {
            let host = job.host();
            job.life_mut().spent = Duration::ZERO;
            job.set_failure(None);
            job.attempts = 0;
            job.wake();
            job.cache_use = CacheUse::Allowed;
            job.no_progress_since = None;
            job.hindered_since = None;
            let is_delivery_owed = job.is_delivery_owed;
            let is_written = job.settle_record();
            if !is_new {
                // Somebody says that it will go better now.
                self.roster.queue_mut().open(host);
            }
            if is_delivery_owed {
                self.begin_completion(id);
            } else if is_written {
                self.roster.settle(id);
                self.notices.push_back(Notice::JobChanged(id));
            } else {
                self.persist(id);
            }
        }
        self.run(now);
        Ok(())
    }

    /// Stops a job; what is durable stays.
    pub fn suspend(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        self.begin(now);
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        let is_changed = job.apply(now.mono, JobEvent::Suspend)?;
        // It may be written down as one that is about to run.
        if job.settle_record() || is_changed {
            job.is_completing = false;
            job.is_delivery_owed = false;
            job.wake();
            job.pause_files(&mut self.out);
            self.persist(id);
        }
        self.run(now);
        Ok(())
    }

    /// Throws a job away with all its traces but the cache.
    pub fn cancel(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        self.begin(now);
        self.roster.get(id).ok_or(CommandError::NoSuchJob)?.state().after(JobEvent::Cancel)?;
        self.throw_away(id);
        self.run(now);
        Ok(())
    }

    /// Delivers what is whole and ends the job; what is not whole is dropped (F-20, success code 0x00200017 of BITS).
    pub fn complete(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        self.begin(now);
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        // Asked of the table now, applied when the files are visible.
        job.state().after(JobEvent::Complete)?;
        if job.is_completing {
            return Ok(());
        }
        self.begin_completion(id);
        self.settle_completion(now, id);
        self.run(now);
        Ok(())
    }

    /// Makes visible what is staged, and drops the rest.
    fn begin_completion(&mut self, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        job.is_completing = true;
        job.is_delivery_owed = false;
        job.settle_record();
        job.wake();
        job.set_failure(None);
        // Written down first: after a crash in the middle the rest is delivered too, and a file that is visible already is
        // known for what it is.
        self.persist(id);
        if let Some(job) = self.roster.get_mut(id) {
            job.publish_files(&mut self.out);
        }
    }

    // --- outputs

    /// The next thing to do; drain until `None`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.out.pop()
    }

    /// The next thing to tell; drain until `None`.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }
}

#[cfg(test)]
mod tests;
