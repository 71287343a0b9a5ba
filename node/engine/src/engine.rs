//! The engine: jobs, inputs, effects. See the crate's page for its four families of methods.

use crate::file::Surroundings;
use crate::job::live::Job;
use crate::job::record::{FileRecord, JobRecord};
use crate::job::spec::{Finish, JobId, JobSpec};
use crate::job::state::{IllegalTransition, JobEvent, JobState};
use crate::port::{Effect, Failure, FailureClass, FetchId, FileRef, Input, Notice, Now, Peer};
use crate::{retry, schedule};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Files of one job that move side by side.
const FILES_AT_ONCE: usize = 8;
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
    jobs: BTreeMap<JobId, Job>,
    ended: VecDeque<JobId>,
    peers: Vec<Peer>,
    settling_until: Duration,
    turns: Turns,
    owners: BTreeMap<FetchId, FileRef>,
    effects: VecDeque<Effect>,
    notices: VecDeque<Notice>,
    next_fetch: u64,
    rng: SmallRng,
}

impl Engine {
    /// An engine without jobs.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self {
            jobs: BTreeMap::new(),
            ended: VecDeque::new(),
            peers: Vec::new(),
            settling_until: config.settling_until,
            turns: config.turns,
            owners: BTreeMap::new(),
            effects: VecDeque::new(),
            notices: VecDeque::new(),
            next_fetch: 0,
            rng: SmallRng::seed_from_u64(config.seed),
        }
    }

    // --- getters

    /// All jobs, ended ones that are still shown included.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// One job.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Whether some job is running or will run by itself.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let moves = |state| matches!(state, JobState::Queued | JobState::TransientError) || JobState::is_active(state);
        self.jobs.values().any(|job| moves(job.state()) || job.is_completing)
    }

    // --- commands

    /// Takes a job over from its record, after a restart.
    pub fn restore(&mut self, now: Now, record: JobRecord) {
        let job = Job::from_record(record);
        let id = job.id();
        self.jobs.insert(id, job);
        let state = self.jobs[&id].state();
        if state == JobState::TransientError
            && let Some(job) = self.jobs.get_mut(&id)
        {
            job.retry_at = Some(now.mono);
        }
        let is_given = self.turns == Turns::Given;
        if is_given && state == JobState::Transferred && self.jobs[&id].spec().finish == Finish::Auto {
            // It was about to be delivered when the node stopped.
            let _ = self.complete(now, id);
        }
        self.run(now);
    }

    /// Enters a new job, suspended.
    pub fn create(&mut self, now: Now, id: JobId, spec: JobSpec) {
        let files = vec![FileRecord::UNKNOWN; spec.files.len()];
        let state = JobState::Suspended;
        let record = JobRecord { id, spec, state, created: now.wall, failure: None, files };
        self.effects.push_back(Effect::Persist(Box::new(record.clone())));
        self.jobs.insert(id, Job::from_record(record));
        self.notices.push_back(Notice::JobChanged(id));
    }

    /// Lets a job run.
    pub fn resume(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.jobs.get_mut(&id).ok_or(CommandError::NoSuchJob)?;
        if job.spec().files.is_empty() {
            return Err(CommandError::NoFiles);
        }
        if job.apply(JobEvent::Resume)? {
            job.set_failure(None);
            job.attempts = 0;
            job.retry_at = None;
            job.no_progress_since = None;
            self.persist(id);
        }
        self.run(now);
        Ok(())
    }

    /// Stops a job; what is durable stays.
    pub fn suspend(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.jobs.get_mut(&id).ok_or(CommandError::NoSuchJob)?;
        if job.apply(JobEvent::Suspend)? {
            job.is_completing = false;
            job.retry_at = None;
            job.pause_files(&mut self.effects);
            self.persist(id);
        }
        self.run(now);
        Ok(())
    }

    /// Throws a job away with all its traces but the cache.
    pub fn cancel(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.jobs.get_mut(&id).ok_or(CommandError::NoSuchJob)?;
        job.apply(JobEvent::Cancel)?;
        for file in job.files_mut() {
            file.discard(&mut self.effects);
        }
        self.end(id);
        self.run(now);
        Ok(())
    }

    /// Delivers what is whole and ends the job; what is not whole is dropped (F-20, success code 0x00200017 of BITS).
    pub fn complete(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.jobs.get_mut(&id).ok_or(CommandError::NoSuchJob)?;
        // Asked of the table now, applied when the files are visible.
        job.state().after(JobEvent::Complete)?;
        job.is_completing = true;
        job.set_failure(None);
        for file in job.files_mut() {
            if file.is_staged() {
                file.publish(&mut self.effects);
            } else {
                file.discard(&mut self.effects);
            }
        }
        self.settle_completion(id);
        self.run(now);
        Ok(())
    }

    // --- inputs

    /// Handles what happened outside.
    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::PeerUp(peer) => {
                if !self.peers.contains(&peer) {
                    self.peers.push(peer);
                }
            }
            Input::PeerDown(peer) => {
                self.peers.retain(|known| *known != peer);
                for job in self.jobs.values_mut() {
                    job.files_mut().iter_mut().for_each(|file| file.on_peer_down(peer));
                }
            }
            other => self.handle_for_file(now, other),
        }
        self.run(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.run(now);
    }

    fn handle_for_file(&mut self, now: Now, input: Input) {
        let Some(at) = self.file_of(&input) else { return };
        let Some(job) = self.jobs.get_mut(&at.job) else { return };
        let peers: &[Peer] = if job.spec().peers.fetch { &self.peers } else { &[] };
        let mut surroundings = Surroundings {
            now: now.mono,
            peers,
            settling_until: self.settling_until,
            effects: &mut self.effects,
            next_fetch: &mut self.next_fetch,
            rng: &mut self.rng,
        };
        let received = match &input {
            Input::Received { bytes, .. } => *bytes,
            _ => 0,
        };
        let is_notable = !matches!(input, Input::Holds { .. } | Input::Committed { .. });
        let Some(file) = job.file_mut(at.file) else { return };
        match input {
            Input::Prepared { result, .. } => file.on_prepared(result),
            Input::Contacted { fetch, result } => file.on_contacted(now.mono, fetch, result, surroundings.rng),
            Input::Opened { result, .. } => file.on_opened(now.mono, result, surroundings.effects),
            Input::Holds { peer, blocks, .. } => file.on_holds(peer, blocks),
            Input::Received { fetch, bytes } => file.on_received(now.mono, fetch, bytes),
            Input::Committed { blocks, .. } => file.on_committed(&blocks),
            Input::Ended { fetch, outcome } => {
                file.on_ended(now.mono, fetch, outcome, &mut surroundings);
                self.owners.remove(&fetch);
            }
            Input::Damaged { blocks, .. } => file.on_damaged(&blocks),
            Input::Staged { result, .. } => file.on_staged(result, surroundings.effects),
            Input::Published { result, .. } => file.on_published(result),
            Input::PeerUp(_) | Input::PeerDown(_) => {}
        }
        if received > 0 {
            job.count(now.mono, received);
        }
        if is_notable {
            self.notices.push_back(Notice::JobChanged(at.job));
        }
        self.settle_completion(at.job);
    }

    fn file_of(&self, input: &Input) -> Option<FileRef> {
        match input {
            Input::Prepared { file, .. }
            | Input::Opened { file, .. }
            | Input::Holds { file, .. }
            | Input::Damaged { file, .. }
            | Input::Committed { file, .. }
            | Input::Staged { file, .. }
            | Input::Published { file, .. } => Some(*file),
            Input::Contacted { fetch, .. } | Input::Received { fetch, .. } | Input::Ended { fetch, .. } => {
                self.owners.get(fetch).copied()
            }
            Input::PeerUp(_) | Input::PeerDown(_) => None,
        }
    }

    // --- outputs

    /// The next thing to do; drain until `None`.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front()?;
        match &effect {
            Effect::Contact { fetch, file, .. }
            | Effect::FetchOrigin { fetch, file, .. }
            | Effect::FetchPeer { fetch, file, .. } => {
                self.owners.insert(*fetch, *file);
            }
            _ => {}
        }
        Some(effect)
    }

    /// The next thing to tell; drain until `None`.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// When [`Self::handle_timeout`] is due at the latest.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> Option<Duration> {
        let retries = self.jobs.values().filter(|j| j.state() == JobState::TransientError).filter_map(Job::retry_at);
        let files = self.jobs.values().filter(|job| job.state().is_active()).flat_map(|job| job.files());
        let files = files.filter_map(|file| file.timeout(now.mono, self.settling_until));
        retries.chain(files).min()
    }

    // --- inner workings

    /// Brings everything on as far as it goes without the outside.
    fn run(&mut self, now: Now) {
        if self.turns == Turns::Withheld {
            return;
        }
        self.retry_due(now);
        loop {
            let turns = schedule::turns(self.jobs.values());
            if turns.begin.is_empty() {
                break;
            }
            for id in turns.preempt {
                self.preempt(id);
            }
            for id in turns.begin {
                self.begin_turn(now, id);
            }
        }
        let active: Vec<JobId> = self.jobs.values().filter(|j| j.state().is_active()).map(Job::id).collect();
        for id in active {
            self.advance(now, id);
        }
    }

    fn retry_due(&mut self, now: Now) {
        let is_due =
            |job: &&Job| job.state() == JobState::TransientError && job.retry_at().is_some_and(|at| at <= now.mono);
        let due: Vec<JobId> = self.jobs.values().filter(is_due).map(Job::id).collect();
        for id in due {
            self.transit(id, JobEvent::Retry);
            if let Some(job) = self.jobs.get_mut(&id) {
                job.retry_at = None;
            }
        }
    }

    fn begin_turn(&mut self, now: Now, id: JobId) {
        self.transit(id, JobEvent::Turn);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.bytes_at_turn = job.meter().total();
            job.no_progress_since.get_or_insert(now.mono);
        }
    }

    fn preempt(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.pause_files(&mut self.effects);
        }
        self.transit(id, JobEvent::Preempt);
    }

    fn advance(&mut self, now: Now, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let peers: &[Peer] = if job.spec().peers.fetch { &self.peers } else { &[] };
        let mut surroundings = Surroundings {
            now: now.mono,
            peers,
            settling_until: self.settling_until,
            effects: &mut self.effects,
            next_fetch: &mut self.next_fetch,
            rng: &mut self.rng,
        };
        for file in job.files_mut().iter_mut().filter(|file| !file.is_staged()).take(FILES_AT_ONCE) {
            file.advance(&mut surroundings);
        }
        // A file that needs somebody's hand stops the job; one that falters does when nothing else can move.
        let failure =
            job.files().iter().filter_map(|file| file.failure()).min_by_key(|f| f.class != FailureClass::Fatal);
        if let Some(failure) = failure.cloned() {
            self.stop(now, id, failure);
            return;
        }
        let (is_contacted, is_done) =
            (job.files().iter().any(|f| f.is_contacted() || f.is_staged()), job.files().iter().all(|f| f.is_staged()));
        if is_contacted && job.state() == JobState::Connecting {
            self.transit(id, JobEvent::Connected);
        }
        if is_done {
            self.transit(id, JobEvent::AllDone);
            self.persist(id);
            if self.jobs.get(&id).is_some_and(|job| job.spec().finish == Finish::Auto) {
                // Legal from every state that is not final.
                let _ = self.complete(now, id);
            }
        }
    }

    fn stop(&mut self, now: Now, id: JobId, failure: Failure) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let patience = job.spec().patience;
        let has_moved = job.meter().total() > job.bytes_at_turn;
        let is_untouched = job.done() == 0;
        job.attempts = if has_moved { 1 } else { job.attempts + 1 };
        job.pause_files(&mut self.effects);
        let since = *job.no_progress_since.get_or_insert(now.mono);
        let is_given_up = now.mono.saturating_sub(since) >= retry::no_progress_timeout(patience);
        let is_hopeless = match failure.class {
            FailureClass::Fatal => true,
            FailureClass::Unreachable => patience == crate::Patience::Watching && is_untouched,
            FailureClass::Transient | FailureClass::Disk => false,
        };
        let event = if is_hopeless || is_given_up { JobEvent::Fail } else { JobEvent::Falter };
        if event == JobEvent::Falter {
            let delay = retry::job_delay(patience, job.attempts, failure.retry_after, &mut self.rng);
            job.retry_at = Some(now.mono + delay);
        }
        job.set_failure(Some(failure));
        self.transit(id, event);
        self.persist(id);
    }

    /// Ends the job when its completion was asked for and every staged file is visible.
    fn settle_completion(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.is_completing {
            return;
        }
        if let Some(failure) = job.files().iter().find_map(|file| file.failure()).cloned() {
            // What is visible stays visible; the job stays until the destination is mended.
            job.is_completing = false;
            job.set_failure(Some(failure));
            let event = if job.state() == JobState::Transferred { JobEvent::DeliveryFailed } else { JobEvent::Suspend };
            self.transit(id, event);
            self.persist(id);
            return;
        }
        if job.files().iter().any(|file| file.is_staged() && !file.is_published()) {
            return;
        }
        job.is_completing = false;
        if job.apply(JobEvent::Complete).is_ok() {
            self.end(id);
        }
    }

    fn end(&mut self, id: JobId) {
        self.effects.push_back(Effect::Erase(id));
        self.notices.push_back(Notice::JobEnded(id));
        self.ended.push_back(id);
        while self.ended.len() > ENDED_KEPT {
            if let Some(oldest) = self.ended.pop_front() {
                self.jobs.remove(&oldest);
            }
        }
    }

    /// Events that the engine itself raises fit the state by construction; one that does not is dropped, not obeyed.
    fn transit(&mut self, id: JobId, event: JobEvent) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.apply(event).is_ok()
        {
            self.notices.push_back(Notice::JobChanged(id));
        }
    }

    fn persist(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get(&id) {
            self.effects.push_back(Effect::Persist(Box::new(job.record())));
            self.notices.push_back(Notice::JobChanged(id));
        }
    }
}
