//! The engine: jobs, inputs, effects. See the crate's page for its four families of methods.

use crate::file::Surroundings;
use crate::job::live::{Job, News};
use crate::job::record::{FileRecord, JobRecord};
use crate::job::spec::{Finish, JobId, JobSpec};
use crate::job::state::{IllegalTransition, JobEvent, JobState};
use crate::outbox::Outbox;
use crate::port::{Effect, Failure, FileRef, Input, Notice, Now, Peer};
use crate::roster::Roster;
use crate::{retry, schedule};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
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
        let record = JobRecord { id, spec, state, created: now.wall, failure: None, files, is_completing: false };
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
            job.retry_at = None;
            job.no_progress_since = None;
            self.persist(id);
        }
        self.run(now);
        Ok(())
    }

    /// Stops a job; what is durable stays.
    pub fn suspend(&mut self, now: Now, id: JobId) -> Result<(), CommandError> {
        let job = self.roster.get_mut(id).ok_or(CommandError::NoSuchJob)?;
        if job.apply(JobEvent::Suspend)? {
            job.is_completing = false;
            job.retry_at = None;
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
        job.is_completing = true;
        job.retry_at = None;
        job.set_failure(None);
        // Written down first: after a crash in the middle the rest is delivered too, and a file that is visible already is
        // known for what it is.
        self.persist(id);
        if let Some(job) = self.roster.get_mut(id) {
            job.publish_files(&mut self.out);
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
                self.advance_all(now);
            }
            Input::PeerDown(peer) => {
                self.peers.retain(|known| *known != peer);
                for id in self.running() {
                    let Some(job) = self.roster.get_mut(id) else { continue };
                    job.files_mut().iter_mut().for_each(|file| file.on_peer_down(peer));
                }
                self.advance_all(now);
            }
            other => {
                self.tell_companions(now, &other);
                if let Some(id) = self.handle_for_file(now, other) {
                    self.advance(now, id);
                }
            }
        }
        self.schedule(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.run(now);
    }

    /// What is durable, or damaged, is so for every job that wants the same version.
    fn tell_companions(&mut self, now: Now, input: &Input) {
        let (file, entity, news) = match input {
            Input::Committed { file, entity, blocks } => (file, *entity, News::Durable(blocks)),
            Input::Damaged { file, blocks } => {
                let teller = self.roster.get(file.job).and_then(|job| job.files().get(file.file as usize));
                let Some(entity) = teller.and_then(|file| file.entity_id()) else { return };
                (file, entity, News::Lost(blocks))
            }
            _ => return,
        };
        for id in self.running() {
            let Some(job) = self.roster.get_mut(id) else { continue };
            if job.tell_movers(*file, entity, news) {
                self.advance(now, id);
            }
        }
    }

    /// Hands an input to its file; the job whose turn may go on with it.
    fn handle_for_file(&mut self, now: Now, input: Input) -> Option<JobId> {
        let at = self.file_of(&input)?;
        let ended = match &input {
            Input::Ended { fetch, .. } => Some(*fetch),
            _ => None,
        };
        let touched = self.hand_in(now, at, input);
        if let Some(fetch) = ended {
            self.out.forget(fetch);
        }
        touched
    }

    fn hand_in(&mut self, now: Now, at: FileRef, input: Input) -> Option<JobId> {
        let job = self.roster.get_mut(at.job)?;
        let peers: &[Peer] = if job.spec().peers.fetch { &self.peers } else { &[] };
        let settling_until = self.settling_until;
        let mut s = Surroundings { now: now.mono, peers, settling_until, out: &mut self.out, rng: &mut self.rng };
        let is_notable = !matches!(input, Input::Holds { .. } | Input::Committed { .. });
        let file = job.file_mut(at.file)?;
        let progress = file.progress();
        let (mut received, mut is_published) = (0, false);
        match input {
            Input::Prepared { result, .. } => file.on_prepared(result),
            Input::Contacted { fetch, result } => file.on_contacted(fetch, result, &mut s),
            Input::Opened { result, .. } => file.on_opened(result, &mut s),
            Input::Holds { entity, peer, blocks, .. } => file.on_holds(entity, peer, blocks),
            Input::Received { fetch, bytes } => {
                received = bytes;
                file.on_received(now.mono, fetch, bytes);
            }
            Input::Committed { entity, blocks, .. } => file.on_committed(entity, &blocks),
            Input::Ended { fetch, outcome } => file.on_ended(fetch, outcome, &mut s),
            Input::Damaged { blocks, .. } => file.on_damaged(&blocks, s.out),
            Input::Staged { result, .. } => file.on_staged(result, &mut s),
            Input::Published { result, .. } => is_published = file.on_published(result),
            Input::PeerUp(_) | Input::PeerDown(_) => {}
        }
        if file.progress() > progress {
            job.on_progress();
        }
        if received > 0 {
            job.count(now.mono, received);
        }
        if is_published && job.is_completing {
            job.publishing = job.publishing.saturating_sub(1);
            self.settle_completion(at.job);
        }
        let job = self.roster.get(at.job)?;
        if is_notable && !job.state().is_final() {
            self.notices.push_back(Notice::JobChanged(at.job));
        }
        Some(at.job)
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
                self.out.owner(*fetch)
            }
            Input::PeerUp(_) | Input::PeerDown(_) => None,
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

    // --- inner workings

    /// Brings everything on as far as it goes without the outside.
    fn run(&mut self, now: Now) {
        self.advance_all(now);
        self.schedule(now);
    }

    fn running(&self) -> Vec<JobId> {
        self.roster.running().map(Job::id).collect()
    }

    fn advance_all(&mut self, now: Now) {
        for id in self.running() {
            self.advance(now, id);
        }
    }

    /// Wakes who has slept enough and gives free places away, until nothing is left to give.
    fn schedule(&mut self, now: Now) {
        if self.turns == Turns::Withheld {
            return;
        }
        while let Some((at, id)) = self.roster.next_to_wake()
            && at <= now.mono
        {
            if let Some(job) = self.roster.get_mut(id) {
                job.retry_at = None;
            }
            self.transit(id, JobEvent::Retry);
        }
        loop {
            // Whoever waited for what another job was fetching looks again; every round ends some fetch or job.
            while self.out.take_freed() {
                self.advance_all(now);
            }
            let turns = schedule::turns(&self.roster);
            if turns.begin.is_empty() {
                return;
            }
            for id in turns.preempt {
                self.preempt(id);
            }
            for id in turns.begin {
                self.transit(id, JobEvent::Turn);
                if let Some(job) = self.roster.get_mut(id) {
                    job.begin_turn(now.mono);
                }
                self.advance(now, id);
            }
        }
    }

    fn preempt(&mut self, id: JobId) {
        if let Some(job) = self.roster.get_mut(id) {
            job.pause_files(&mut self.out);
        }
        self.transit(id, JobEvent::Preempt);
    }

    /// Brings a job that has the turn on.
    fn advance(&mut self, now: Now, id: JobId) {
        let Some(job) = self.roster.get_mut(id) else { return };
        if !job.state().is_active() || job.is_completing || self.turns == Turns::Withheld {
            return;
        }
        #[cfg(test)]
        {
            self.looks += 1;
        }
        let peers: &[Peer] = if job.spec().peers.fetch { &self.peers } else { &[] };
        let settling_until = self.settling_until;
        let mut s = Surroundings { now: now.mono, peers, settling_until, out: &mut self.out, rng: &mut self.rng };
        job.advance_files(&mut s);
        if let Some(failure) = job.stopper().cloned() {
            self.stop(now, id, failure);
            return;
        }
        let is_whole = job.is_whole();
        let is_contacted = is_whole || job.movers().any(|file| file.is_contacted());
        if is_contacted && job.state() == JobState::Connecting {
            self.transit(id, JobEvent::Connected);
        }
        if is_whole {
            self.transit(id, JobEvent::AllDone);
            self.persist(id);
            if self.roster.get(id).is_some_and(|job| job.spec().finish == Finish::Auto) {
                // Legal from every state that is not final.
                let _ = self.complete(now, id);
            }
        }
    }

    fn stop(&mut self, now: Now, id: JobId, failure: Failure) {
        let Some(job) = self.roster.get_mut(id) else { return };
        let patience = job.spec().patience;
        job.count_fault();
        job.pause_files(&mut self.out);
        let since = *job.no_progress_since.get_or_insert(now.mono);
        let is_given_up = now.mono.saturating_sub(since) >= retry::no_progress_timeout(patience);
        let event = if is_given_up || job.is_hopeless(failure.class) { JobEvent::Fail } else { JobEvent::Falter };
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
        let Some(job) = self.roster.get_mut(id) else { return };
        if !job.is_completing || job.publishing > 0 {
            return;
        }
        job.is_completing = false;
        if let Some(failure) = job.files().iter().find_map(|file| file.failure()).cloned() {
            // What is visible stays visible; the job stays until the destination is mended.
            job.set_failure(Some(failure));
            let event = if job.state() == JobState::Transferred { JobEvent::DeliveryFailed } else { JobEvent::Suspend };
            self.transit(id, event);
            self.persist(id);
        } else if job.apply(JobEvent::Complete).is_ok() {
            self.end(id);
        }
    }

    fn end(&mut self, id: JobId) {
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
    fn transit(&mut self, id: JobId, event: JobEvent) {
        if let Some(job) = self.roster.get_mut(id)
            && job.apply(event).is_ok()
        {
            self.notices.push_back(Notice::JobChanged(id));
        }
        self.roster.settle(id);
    }

    fn persist(&mut self, id: JobId) {
        self.roster.settle(id);
        if let Some(job) = self.roster.get(id) {
            self.out.push(Effect::Persist(Box::new(job.record())));
            self.notices.push_back(Notice::JobChanged(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::spec::{FileSpec, Patience, PeerUse, Priority};
    use eddy_content::ResourceUrl;

    fn spec() -> JobSpec {
        let url = ResourceUrl::parse("https://example.org/file").unwrap();
        let file =
            FileSpec { url, destination: "/file".to_owned(), digests: Vec::new(), overwrite: false, credentials: None };
        JobSpec {
            name: String::new(),
            priority: Priority::Normal,
            files: vec![file],
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
        }
    }

    #[test]
    fn ten_thousand_waiting_jobs_cost_an_input_no_look() {
        let now = Now { mono: Duration::from_secs(1), wall: 0 };
        let mut engine = Engine::new(EngineConfig { seed: 1, settling_until: Duration::ZERO, turns: Turns::Given });
        for number in 0..10_000u128 {
            let id = JobId(number.to_be_bytes());
            engine.create(now, id, spec());
            engine.resume(now, id).unwrap();
        }
        let running = engine.running();
        engine.looks = 0;
        for _ in 0..100 {
            let file = FileRef { job: running[0], file: 0 };
            engine.handle(now, Input::Prepared { file, result: Ok(false) });
            engine.handle(now, Input::Prepared { file: FileRef { job: JobId([9; 16]), file: 0 }, result: Ok(false) });
        }
        assert_eq!(engine.looks, 100, "one job for each input that concerns one");
        assert!(running.len() < 20);
        engine.handle_timeout(now);
        assert_eq!(engine.looks, 100 + running.len(), "time concerns those that run");
    }
}
