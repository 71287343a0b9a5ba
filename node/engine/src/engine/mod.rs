//! The engine: jobs, inputs, effects. See the crate's page for its four families of methods.

mod conditions;
mod inputs;
mod turns;

use crate::file::CacheUse;
use crate::job::live::Job;
use crate::job::record::{FileRecord, JobRecord};
use crate::job::spec::{Finish, JobId, JobSpec};
use crate::job::state::{IllegalTransition, JobEvent, JobState};
use crate::outbox::Outbox;
use crate::port::{Effect, Notice, Now, Peer};
use crate::roster::Roster;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Ended jobs that are still shown.
const ENDED_KEPT: usize = 256;

/// What an engine is told at its birth.
#[derive(Debug, Clone, Copy)]
pub struct EngineConfig {
    /// Seed of its randomness.
    pub seed: u64,
    /// Until when discovery may still bring the first peers; zero for a node without a group.
    pub settling_until: Duration,
    /// Whether jobs get turns.
    pub turns: Turns,
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
    settling_until: Duration,
    turns: Turns,
    out: Outbox,
    notices: VecDeque<Notice>,
    /// Jobs for which a look is under way.
    probing: BTreeSet<JobId>,
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
            roster: Roster::default(),
            ended: VecDeque::new(),
            peers: Vec::new(),
            settling_until: config.settling_until,
            turns: config.turns,
            out: Outbox::default(),
            notices: VecDeque::new(),
            probing: BTreeSet::new(),
            rng: SmallRng::seed_from_u64(config.seed),
            #[cfg(test)]
            looks: 0,
        }
    }

    // --- getters

    /// All jobs, ended ones that are still shown included.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.roster.jobs()
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

    /// Fetches that are under way, as far as the engine wants to hear of them.
    #[must_use]
    pub fn fetches(&self) -> usize {
        self.out.fetches()
    }

    // --- commands

    /// Takes a job over from its record, after a restart.
    pub fn restore(&mut self, now: Now, record: JobRecord) {
        let was_completing = record.is_completing;
        let mut job = Job::from_record(record);
        let (id, state) = (job.id(), job.state());
        if state == JobState::TransientError {
            job.retry_at = Some(now.mono);
        }
        // It was about to be delivered when the node stopped.
        let is_deliverable = state == JobState::Transferred && job.spec().finish == Finish::Auto;
        self.roster.insert(job);
        if self.turns == Turns::Given && (was_completing || is_deliverable) {
            let _ = self.complete(now, id);
        }
        self.run(now);
    }

    /// Enters a new job, suspended. A name that is taken already is left to its job.
    pub fn create(&mut self, now: Now, id: JobId, spec: JobSpec) {
        if self.roster.get(id).is_some() {
            return;
        }
        let files = vec![FileRecord::UNKNOWN; spec.files.len()];
        let state = JobState::Suspended;
        let (created, asking) = (now.wall, spec.asking);
        let record = JobRecord { id, spec, state, created, failure: None, files, is_completing: false, asking };
        self.roster.insert(Job::from_record(record));
        self.persist(id);
    }

    /// Lets a job run.
    pub fn resume(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        if job.spec().files.is_empty() {
            return Err(CommandError::NoFiles);
        }
        if job.apply(JobEvent::Resume)? {
            job.set_failure(None);
            job.attempts = 0;
            job.wake();
            job.cache_use = CacheUse::Allowed;
            job.no_progress_since = None;
            job.hindered_since = None;
            if job.is_delivery_owed {
                self.begin_completion(id);
            } else {
                self.persist(id);
            }
        }
        self.run(now);
        Ok(())
    }

    /// Stops a job; what is durable stays.
    pub fn suspend(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        if job.apply(JobEvent::Suspend)? {
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
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        job.apply(JobEvent::Cancel)?;
        job.is_completing = false;
        job.is_delivery_owed = false;
        for file in job.files_mut() {
            file.discard(&mut self.out);
        }
        self.end(id);
        self.run(now);
        Ok(())
    }

    /// Delivers what is whole and ends the job; what is not whole is dropped (F-20, success code 0x00200017 of BITS).
    pub fn complete(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
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

    /// When [`Self::handle_timeout`] is due at the latest; never before `now`.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<Duration> {
        if self.turns == Turns::Withheld {
            return None;
        }
        let wake = self.roster.next_to_wake().map(|(at, _)| at);
        let files = self.roster.running().flat_map(Job::movers);
        let files = files.filter_map(|file| file.timeout(self.settling_until));
        wake.into_iter().chain(files).min().map(|at| at.max(now.mono))
    }
}

#[cfg(test)]
mod tests;
