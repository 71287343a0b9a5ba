//! The real engine in virtual time, inside a world that answers its effects as the node does.
//!
//! The rig checks with every effect what must hold always: nobody fetches for a job that does not run, no block is asked of
//! the origin twice at a time, nothing is staged that is not durable, nothing is done that was not written down before.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of the rig")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod act;
mod body;
pub mod world;

use eddy_content::{EntityId, ResourceUrl};
use eddy_engine::engine::{EngineConfig, Swarms, TurnWait};
use eddy_engine::port::{ContactMethod, FetchId, Proof};
use eddy_engine::trust::{AuditShare, Policy};
use eddy_engine::{
    Asking, ByteRange, Effect, Engine, Failure, FileRef, FileSpec, Finish, Input, JobId, JobRecord, JobSpec, JobState,
    Notice, Now, Owner, Patience, Peer, PeerUse, Portion, Priority, Ranges, Terms,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;
use world::{Disk, Neighbour, Origin, Store};

/// Effects of one test after which the engine is taken for mad.
const EFFECTS_AT_MOST: usize = 200_000;

/// Something that will happen.
#[derive(Debug, Clone)]
pub enum Event {
    Input(Input),
    Contact(FetchId, ContactMethod),
    Begin(FetchId),
    Audit(FetchId),
    Tick(FetchId),
    Open(FileRef, EntityId),
    Stage(FileRef),
    Publish(FileRef),
    Change(String),
    /// What stands in the way of the store, and of destinations.
    Weather {
        store: Option<Failure>,
        destination: Option<Failure>,
    },
    Down(Peer),
}

/// A fetch that runs in the world.
#[derive(Debug, Clone)]
pub struct Live {
    pub file: FileRef,
    pub source: Origins,
    pub entity: Option<EntityId>,
    pub blocks: Range<u32>,
    pub version: u32,
    /// The next byte.
    pub at: u64,
    /// The byte behind the last.
    pub end: u64,
    pub sent: u64,
    /// The first byte that is not durable.
    pub committed: u64,
    pub is_aborted: bool,
    pub is_parked: bool,
    pub is_stream: bool,
    pub is_begun: bool,
    pub is_audit: bool,
    pub proof: Proof,
}

/// Where a fetch comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origins {
    Origin,
    Peer(Peer),
}

/// The rig.
pub struct Rig {
    pub engine: Engine,
    trust: Policy,
    pub now: Duration,
    /// Seconds by which the clock on the wall is wrong.
    pub clock_error: i64,
    pub rng: SmallRng,
    seed: u64,
    sequence: u64,
    queue: BTreeMap<(Duration, u64), Event>,
    pub origins: BTreeMap<String, Origin>,
    pub peers: BTreeMap<Peer, Neighbour>,
    pub store: Store,
    pub disk: Disk,
    pub rows: BTreeMap<JobId, JobRecord>,
    pub log: Vec<(Duration, Effect)>,
    pub live: BTreeMap<FetchId, Live>,
    pub open: BTreeMap<FileRef, EntityId>,
    opening: BTreeSet<FileRef>,
    part_users: BTreeSet<FileRef>,
    pub ended: Vec<JobId>,
    /// Whether answers take random times.
    pub is_jittery: bool,
    next_job: u8,
}

impl Rig {
    pub fn new(seed: u64) -> Self {
        Self {
            engine: engine(seed, Policy { audit: AuditShare::OFF, ..Policy::default() }),
            trust: Policy { audit: AuditShare::OFF, ..Policy::default() },
            now: Duration::from_secs(1),
            clock_error: 0,
            rng: SmallRng::seed_from_u64(seed ^ 0x5eed),
            seed,
            sequence: 0,
            queue: BTreeMap::new(),
            origins: BTreeMap::new(),
            peers: BTreeMap::new(),
            store: Store::default(),
            disk: Disk::default(),
            rows: BTreeMap::new(),
            log: Vec::new(),
            live: BTreeMap::new(),
            open: BTreeMap::new(),
            opening: BTreeSet::new(),
            part_users: BTreeSet::new(),
            ended: Vec::new(),
            is_jittery: false,
            next_job: 0,
        }
    }

    /// The same with another word on whom to believe; before any job is made.
    pub fn trusting(mut self, trust: Policy) -> Self {
        self.engine = engine(self.seed, trust.clone());
        self.trust = trust;
        self
    }

    /// The same with swarms, of which the test plays the part; before any job is made.
    pub fn in_swarms(mut self) -> Self {
        let config =
            EngineConfig { settling_until: Duration::ZERO, inactive: None, ..EngineConfig::ordinary(self.seed) };
        self.engine = Engine::new(EngineConfig { swarms: Swarms::On, ..config }).trusting(self.trust.clone());
        self
    }

    pub fn clock(&self) -> Now {
        Now { mono: self.now, wall: 1_800_000_000 + self.now.as_secs() as i64 + self.clock_error }
    }

    // --- what tests do

    /// Makes a job of these files and lets it run.
    pub fn start(&mut self, spec: JobSpec) -> JobId {
        let id = self.create(spec);
        self.act(|engine, now| engine.resume(now, id).unwrap());
        id
    }

    pub fn create(&mut self, spec: JobSpec) -> JobId {
        self.create_for(Owner::default(), spec)
    }

    pub fn create_for(&mut self, owner: Owner, spec: JobSpec) -> JobId {
        self.next_job += 1;
        let id = JobId([self.next_job; 16]);
        self.act(|engine, now| engine.create(now, id, owner, spec));
        id
    }

    /// The same, written down as one that is about to be let run.
    pub fn create_to_run(&mut self, owner: Owner, spec: JobSpec) -> JobId {
        self.next_job += 1;
        let id = JobId([self.next_job; 16]);
        self.act(|engine, now| engine.create_to_run(now, id, owner, spec));
        id
    }

    /// Gives the engine a command, and carries out what follows.
    pub fn act<T>(&mut self, command: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let now = self.clock();
        let result = command(&mut self.engine, now);
        self.settle();
        result
    }

    pub fn input(&mut self, input: Input) {
        self.act(|engine, now| engine.handle(now, input));
    }

    pub fn connect(&mut self, number: u8, neighbour: Neighbour) -> Peer {
        let peer = Peer([number; 32]);
        self.peers.insert(peer, neighbour);
        self.input(Input::PeerUp(peer));
        peer
    }

    /// Kills the node and starts it again from what is durable.
    pub fn crash(&mut self) {
        self.engine = engine(self.seed ^ self.sequence, self.trust.clone());
        self.queue.retain(|_, event| matches!(event, Event::Change(_) | Event::Weather { .. }));
        self.live.clear();
        self.open.clear();
        self.opening.clear();
        self.part_users.clear();
        let rows: Vec<JobRecord> = self.rows.values().cloned().collect();
        self.act(|engine, now| {
            rows.into_iter().for_each(|row| engine.restore(now, row));
            engine.start(now);
        });
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        for peer in peers {
            self.input(Input::PeerUp(peer));
        }
    }

    /// Lets time pass until nothing more will happen by itself, or until `limit` from now.
    pub fn run_for(&mut self, limit: Duration) {
        let until = self.now + limit;
        while self.step(until) {}
    }

    /// Lets time pass until `is_reached`; fails when that does not come within a virtual hour.
    pub fn run_until(&mut self, mut is_reached: impl FnMut(&Self) -> bool) {
        let until = self.now + Duration::from_secs(3600);
        while !is_reached(self) {
            assert!(self.step(until), "seed {}: nothing happens any more: {}", self.seed, self.picture());
        }
    }

    pub fn run_to_state(&mut self, id: JobId, state: JobState) {
        self.run_until(|rig| rig.state(id) == state);
    }

    /// One thing happens; false when nothing will before `until`.
    pub fn step(&mut self, until: Duration) -> bool {
        // The driver asks for the timeout a moment after it has handed in.
        self.now += Duration::from_micros(if self.is_jittery { self.rng.random_range(0..2000) } else { 10 });
        let timeout = self.engine.poll_timeout(self.clock());
        let event = self.queue.first_key_value().map(|((at, _), _)| *at);
        let Some(next) = timeout.into_iter().chain(event).min().filter(|next| *next <= until) else {
            self.check_rest(timeout.is_none() && event.is_none());
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= next) {
            let (_, event) = self.queue.pop_first().expect("seen just now");
            self.happen(event);
        } else {
            self.act(|engine, now| engine.handle_timeout(now));
            let again = self.engine.poll_timeout(self.clock());
            let is_later = again.is_none_or(|at| at > self.now);
            assert!(is_later, "seed {}: the timer is due again at once: {}", self.seed, self.picture());
        }
        true
    }

    // --- what tests ask

    pub fn state(&self, id: JobId) -> JobState {
        self.engine.job(id).expect("the job is known").state()
    }

    pub fn origin(&mut self, name: &str) -> &mut Origin {
        self.origins.get_mut(&url(name)).expect("the origin was set")
    }

    pub fn set_origin(&mut self, name: &str, origin: Origin) {
        self.origins.insert(url(name), origin);
    }

    /// The names of the effects so far, with the time stamps left out.
    pub fn effects(&self) -> Vec<&'static str> {
        self.log.iter().map(|(_, effect)| name(effect)).collect()
    }

    pub fn count(&self, wanted: &str) -> usize {
        self.effects().into_iter().filter(|name| *name == wanted).count()
    }

    pub fn later(&mut self, delay: Duration, event: Event) {
        let jitter = if self.is_jittery { self.rng.random_range(0..20) } else { 0 };
        self.sequence += 1;
        self.queue.insert((self.now + delay + Duration::from_millis(jitter), self.sequence), event);
    }

    /// Inputs of one fetch keep their order.
    pub fn soon(&mut self, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now, self.sequence), event);
    }

    pub fn picture(&self) -> String {
        let jobs: Vec<String> = self
            .engine
            .jobs()
            .map(|job| {
                let phases: Vec<_> = job.files().iter().map(|file| file.phase_name()).collect();
                format!("{} {:?} {:?}", job.state(), phases, job.failure())
            })
            .collect();
        format!("at {:?}: {jobs:?}, live {:?}, queue {:?}", self.now, self.live, self.queue)
    }

    // --- what holds always

    fn settle(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            self.log.push((self.now, effect.clone()));
            assert!(self.log.len() < EFFECTS_AT_MOST, "seed {}: effects without end: {}", self.seed, self.picture());
            self.carry_out(effect);
        }
        while let Some(notice) = self.engine.poll_notice() {
            if let Notice::JobEnded(id) = notice {
                assert!(!self.ended.contains(&id), "a job ends once");
                self.ended.push(id);
            }
        }
        self.check();
    }

    fn check(&self) {
        for live in self.live.values().filter(|live| !live.is_aborted) {
            let state = self.engine.job(live.file.job).map(|job| job.state());
            let may_run = state.is_some_and(JobState::is_active);
            assert!(may_run, "seed {}: a fetch outlives its job: {live:?} {}", self.seed, self.picture());
        }
        for job in self.engine.jobs() {
            let is_stopped = matches!(job.state(), JobState::Error | JobState::TransientError) && !job.is_completing();
            assert!(!is_stopped || job.failure().is_some(), "seed {}: a job stops without a reason", self.seed);
        }
    }

    /// Where nothing will happen any more, nobody waits for anything.
    fn check_rest(&self, is_at_rest: bool) {
        if !is_at_rest {
            return;
        }
        for job in self.engine.jobs() {
            let waits = job.state().is_active() || matches!(job.state(), JobState::Queued | JobState::TransientError);
            let is_for_owner =
                matches!(self.engine.turn_wait(job.id()), Some(TurnWait::OwnerAway | TurnWait::SessionsUnknown));
            assert!(!waits || is_for_owner, "seed {}: a job hangs: {}", self.seed, self.picture());
        }
        assert!(self.live.values().all(|live| live.is_aborted), "seed {}: {}", self.seed, self.picture());
        assert_eq!(self.open.len(), 0, "seed {}: nobody lets go of an entity: {}", self.seed, self.picture());
        assert_eq!(self.engine.fetches(), 0, "seed {}: ended fetches are remembered", self.seed);
    }
}

fn engine(seed: u64, trust: Policy) -> Engine {
    let settling_until = Duration::ZERO;
    Engine::new(EngineConfig { settling_until, inactive: None, ..EngineConfig::ordinary(seed) }).trusting(trust)
}

pub fn url(name: &str) -> String {
    format!("https://origin.example/{name}")
}

/// A job of these files, as `eddy get` makes it.
pub fn job(names: &[&str]) -> JobSpec {
    let file = |name: &&str| FileSpec {
        url: ResourceUrl::parse(&url(name)).unwrap(),
        destination: format!("/home/{name}"),
        digests: Vec::new(),
        overwrite: false,
        credentials: None,
        portion: Portion::Whole,
    };
    JobSpec {
        name: "test".to_owned(),
        priority: Priority::Foreground,
        files: names.iter().map(file).collect(),
        finish: Finish::Auto,
        patience: Patience::Watching,
        peers: PeerUse::FULL,
        asking: Asking::Always,
        terms: Terms::default(),
    }
}

/// The same job, of which these ranges of the first file are wanted: offset and length.
pub fn ranged(names: &[&str], ranges: &[(u64, Option<u64>)]) -> JobSpec {
    let ranges = ranges.iter().map(|&(offset, length)| ByteRange { offset, length }).collect();
    let mut spec = job(names);
    spec.files[0].portion = Portion::Ranges(Ranges::new(ranges).unwrap());
    spec
}

pub fn background(names: &[&str]) -> JobSpec {
    JobSpec { priority: Priority::Low, patience: Patience::Background, ..job(names) }
}

pub fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Persist(_) => "persist",
        Effect::Erase(_) => "erase",
        Effect::Prepare { .. } => "prepare",
        Effect::Probe { .. } => "probe",
        Effect::Contact { .. } => "contact",
        Effect::Open { .. } => "open",
        Effect::Ask { .. } => "ask",
        Effect::Pump { .. } => "pump",
        Effect::FetchOrigin { .. } => "fetch origin",
        Effect::FetchPeer { .. } => "fetch peer",
        Effect::JoinSwarm { .. } => "join swarm",
        Effect::LeaveSwarm { .. } => "leave swarm",
        Effect::TakeEnded { .. } => "take ended",
        Effect::TakeAnswered { .. } => "take answered",
        Effect::TakeMoves { .. } => "take moves",
        Effect::Audit { .. } => "audit",
        Effect::Stream { .. } => "stream",
        Effect::Abort { .. } => "abort",
        Effect::Stage { .. } => "stage",
        Effect::Publish { .. } => "publish",
        Effect::Discard { .. } => "discard",
        Effect::Outdated { .. } => "outdated",
        Effect::WatchSessions => "watch sessions",
        Effect::Distrust { .. } => "distrust",
        Effect::Release { .. } => "release",
    }
}
