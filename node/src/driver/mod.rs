//! The one task that owns the engine.
//!
//! It waits for an input, a command, a timer or the shutdown; takes `now` once; hands it in; carries the effects out in
//! order, persisting first; then publishes the notices. Everything that takes time is done by tasks that it spawns and that
//! answer with inputs.
//!
//! | module | idea |
//! |---|---|
//! | [`command`] | what others may ask of the driver |
//! | [`execute`] | carries effects out |
//! | `held` | what is held of a resource before its origin is asked |
//! | [`durable`] | writes jobs down, again later when the disk refuses |
//! | [`account`] | what the ledger knows of a file that is whole |
//! | `publish` | files become visible together |
//! | `ways` | what questions show of their job, and through which proxy they go |
//! | [`log`] | what happened to jobs, durable and bounded |
//! | [`seal`] | jobs at rest cannot be read without the home's key |
//! | [`view`] | the engine's jobs as the API shows them |
//! | `waiting` | why a job does not move |
//! | `watchers` | who follows a job, and when a view is made for them |

mod account;
pub mod command;
mod durable;
mod execute;
pub(crate) mod held;
pub mod log;
mod publish;
pub mod seal;
mod view;
mod waiting;
mod watchers;
pub(crate) mod ways;

use crate::config::Network;
use crate::network::Losses;
use crate::origin::{Origin, OriginConfig};
use crate::peer::Peers;
use crate::swarm::News;
use command::{Command, Refusal, Start, Whose};
use eddy_cache::Store;
use eddy_engine::engine::{Swarms, Turns};
use eddy_engine::job::live::Job;
use eddy_engine::schedule::Places;
use eddy_engine::{
    Asking, Effect, Engine, EngineConfig, Failure, Input, JobId, JobRecord, JobSpec, JobState, Notice, Now, Owner,
};
use eddy_wire::api::{self, EventKind, JobView, Problem};
use eddy_wire::catalogue::ErrorCode;
use execute::Executor;
use log::EventLog;
use seal::JobSeal;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchers::Watchers;

pub use command::{DriverHandle, HoldOrder, Holding};
pub use execute::Given;
pub(crate) use execute::contacted;

/// Inputs that may wait for the driver; a full queue slows the tasks down, which is right.
const INPUTS: usize = 1024;
/// Commands that may wait.
const COMMANDS: usize = 256;
/// Inputs that are handed in before effects are carried out.
const BATCH: usize = 64;
/// How long tasks may take to end when the node stops.
const DRAIN: Duration = Duration::from_secs(5);

/// How often it is tried to write down again what could not be.
const SAVE_AGAIN: Duration = Duration::from_secs(5);

/// Whether a job that cannot be written down may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Durability {
    /// No: whoever made it may go away and count on it (promise 7).
    Required,
    /// Yes: who made it waits for it, in this very process.
    Wished,
    /// Nothing here outlives the node, for this reason: a job runs only while its maker follows it.
    Lacking(Box<Failure>),
}

/// What a driver drives with.
pub struct DriverParts {
    /// The store.
    pub store: Store,
    /// Where it lies.
    pub directory: PathBuf,
    /// Whether a job that cannot be written down may run.
    pub durability: Durability,
    /// The way to origins.
    pub origin: Origin,
    /// How it was set up, for those that jobs want otherwise.
    pub ways: OriginConfig,
    /// Under what jobs are written down.
    pub seal: JobSeal,
    /// Where it is told what happens to jobs.
    pub events: EventLog,
    /// How many jobs run side by side, and how long forgotten ones are kept.
    pub engine: EngineLimits,
    /// The peers, in a group.
    pub peers: Option<Peers>,
    /// How long after the start the first peers may still be found.
    pub settling: Duration,
    /// Whether members share their reads of origins.
    pub swarms: Swarms,
    /// When the network goes.
    pub losses: Losses,
    /// Without a network jobs are shown and not run.
    pub network: Network,
}

/// What the administrator says about jobs that run.
#[derive(Debug, Clone, Copy)]
pub struct EngineLimits {
    /// How many run side by side.
    pub places: Places,
    /// How long a job that does nothing by itself is kept.
    pub inactive: Option<Duration>,
    /// Most jobs that have not ended.
    pub jobs: usize,
    /// Of those, most of one user.
    pub jobs_per_user: usize,
}

/// Starts the driver: restores the jobs, then runs until `shutdown`.
///
/// Gives the handle for commands, the sender for inputs from peers, and the task, which ends when everything is at rest.
pub fn start(
    parts: DriverParts,
    records: Vec<JobRecord>,
    shutdown: CancellationToken,
) -> (DriverHandle, mpsc::Sender<Input>, tokio::task::JoinHandle<()>) {
    let (inputs, input_queue) = mpsc::channel(INPUTS);
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (opened, opened_queue) = mpsc::channel(INPUTS);
    let tasks = TaskTracker::new();
    let durability = parts.durability.clone();
    let mut seed = [0; 8];
    rand::fill(&mut seed);
    let settling_until = if parts.peers.is_some() { parts.settling } else { Duration::ZERO };
    let turns = if parts.network == Network::Full { Turns::Given } else { Turns::Withheld };
    let trust = parts.peers.as_ref().map(|peers| peers.policy().clone()).unwrap_or_default();
    let config = EngineConfig {
        seed: u64::from_le_bytes(seed),
        settling_until,
        turns,
        places: parts.engine.places,
        inactive: parts.engine.inactive,
        swarms: if parts.peers.is_some() { parts.swarms } else { Swarms::Off },
    };
    let engine = Engine::new(config).trusting(trust);
    let limits = parts.engine;
    let events = parts.events.clone();
    let executor = Executor::new(parts, inputs.clone(), opened, tasks.clone(), shutdown.clone());
    let driver = Driver {
        engine,
        executor,
        inputs: input_queue,
        commands: command_queue,
        opened: opened_queue,
        watchers: Watchers::default(),
        started: Instant::now(),
        durability,
        limits,
        events,
        told: HashMap::new(),
        tasks,
        shutdown,
    };
    let task = tokio::spawn(driver.run(records));
    (DriverHandle::new(commands), inputs, task)
}

struct Driver {
    engine: Engine,
    executor: Executor,
    inputs: mpsc::Receiver<Input>,
    commands: mpsc::Receiver<Command>,
    opened: mpsc::Receiver<execute::OpenedFile>,
    watchers: Watchers,
    started: Instant,
    durability: Durability,
    limits: EngineLimits,
    events: EventLog,
    /// The state of each job of which the log was told last.
    told: HashMap<JobId, JobState>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Driver {
    async fn run(mut self, records: Vec<JobRecord>) {
        // Those that wait go on in the order in which they were made.
        let mut records = records;
        records.sort_by_key(|record| (record.created, record.id));
        let logged = self.events.last_states();
        let mut untold = Vec::new();
        for record in records {
            let (id, state) = (record.id, record.state);
            // What was written down before a crash, and not told, the log hears now: hooks wait for it.
            let is_told = |last: &api::JobState| *last == view::state(state);
            let is_untold = is_at_rest(state) && logged.get(&id.to_string()).is_some_and(|last| !is_told(last));
            if !is_untold {
                self.told.insert(id, state);
            }
            self.engine.restore(self.now(), record);
            untold.extend(self.news_of(id).filter(|_| is_untold).map(|news| (id, news)));
        }
        self.note(&untold);
        self.tell(untold).await;
        self.settle().await;
        while self.step().await {
            self.settle().await;
        }
        self.rest().await;
    }

    /// Waits for one thing and hands it in; false when the node stops.
    async fn step(&mut self) -> bool {
        let now = self.now();
        let timer = self.engine.poll_timeout(now).map(|at| at.saturating_sub(now.mono));
        let save = self.executor.has_unsaved().then_some(SAVE_AGAIN);
        let tell = self.watchers.timeout().map(|at| at.saturating_sub(now.mono));
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return false,
            Some(opened) = self.opened.recv() => {
                let input = self.executor.on_opened(opened);
                self.engine.handle(self.now(), input);
            }
            Some(input) = self.inputs.recv() => self.on_inputs(input).await,
            Some(command) = self.commands.recv() => self.on_command(command).await,
            () = sleep(timer) => self.engine.handle_timeout(self.now()),
            // While inputs come without a pause, jobs change, and each change tries as well.
            () = sleep(save) => self.executor.save_again(&self.engine).await,
            // What is owed is told when things are settled.
            () = sleep(tell) => {}
        }
        true
    }

    async fn on_inputs(&mut self, first: Input) {
        let mut next = Some(first);
        for left in (0..BATCH).rev() {
            let Some(input) = next else { break };
            // Before the engine: what it wants of a swarm follows.
            match input {
                Input::PeerUp(peer) => self.executor.tell_swarm(News::Up(peer)).await,
                Input::PeerDown(peer) => self.executor.tell_swarm(News::Down(peer)).await,
                _ => {}
            }
            self.engine.handle(self.now(), input);
            next = if left > 0 { self.inputs.try_recv().ok() } else { None };
        }
    }

    async fn on_command(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Create { spec, start, answer } => {
                let made = self.make(*spec, start).await;
                let _ = answer.send(made.and_then(|id| self.view(Whose::Anybodys, id)));
            }
            Command::Amend { whose, job, change, answer } => {
                let owner = self.engine.job(job).map(Job::owner);
                let amended = self.amend((now, whose), job, change);
                self.settle().await;
                if amended.is_ok() {
                    let is_taken = owner != self.engine.job(job).map(Job::owner);
                    if is_taken {
                        // Who followed it followed their own.
                        self.watchers.end(job);
                    }
                    self.tell(vec![(job, if is_taken { EventKind::Taken } else { EventKind::Changed })]).await;
                }
                let _ = answer.send(amended.and_then(|()| self.view(Whose::Anybodys, job)));
            }
            Command::Find { whose, prefix, answer } => {
                let found = self.engine.jobs_from(prefix.first).take_while(|job| prefix.is_of(job.id()));
                let _ = answer.send(found.filter(|job| whose.has(job.owner())).map(Job::id).take(2).collect());
            }
            Command::Act { whose, job, act, answer } => {
                let done = self.job(whose, job).map(|_| ()).and_then(|()| {
                    let done = match act {
                        command::Act::Resume => self.engine.resume(now, job),
                        command::Act::Suspend => self.engine.suspend(now, job),
                        command::Act::Cancel => self.engine.cancel(now, job),
                        command::Act::Complete => self.engine.complete(now, job),
                    };
                    done.map_err(Refusal::Command)
                });
                self.settle().await;
                let _ = answer.send(done.and_then(|()| self.view(Whose::Anybodys, job)));
            }
            Command::View { whose, job, answer } => {
                let _ = answer.send(self.view(whose, job));
            }
            Command::List { whose, after, most, answer } => {
                let _ = answer.send(self.list(whose, after, most));
            }
            Command::Watch { whose, job, answer } => {
                let _ = answer.send(self.watch(whose, job));
            }
            Command::Hold { order, answer } => self.hold(*order, answer).await,
            Command::IsBusy { answer } => {
                let _ = answer.send(self.engine.is_busy());
            }
        }
    }

    /// Makes a job, or takes the one that is there; durable before anybody hears of it (promise 7).
    async fn make(&mut self, spec: JobSpec, start: Start) -> Result<JobId, Refusal> {
        // Who wants the origin to be asked is not served by a job that would not.
        let asks = |job: &Job| spec.asking == Asking::WithinLifetime || job.spec().asking == Asking::Always;
        let is_same = |job: &&Job| {
            !job.state().is_final() && job.owner() == start.owner && job.spec().files == spec.files && asks(job)
        };
        // A repeated request finds what the first one made.
        let named = start.id.and_then(|id| self.engine.job(id));
        if named.is_some_and(|job| job.spec().files != spec.files || job.spec().name != spec.name) {
            return Err(Refusal::Problem(Box::new(ErrorCode::KeyReused.into())));
        }
        let there = match named {
            Some(job) => return Ok(job.id()),
            None if start.is_adopting => self.engine.jobs().find(is_same).map(Job::id),
            None => None,
        };
        let id = match there {
            Some(id) => id,
            None => {
                let (id, owner) = (start.id.unwrap_or_else(|| JobId(rand::random())), start.owner);
                self.check_room(owner)?;
                self.engine.create(self.now(), id, owner, spec);
                self.settle().await;
                let lacking = match &self.durability {
                    _ if start.is_followed => None,
                    Durability::Wished => None,
                    Durability::Required => self.executor.unsaved(id).cloned(),
                    Durability::Lacking(failure) => Some(Failure::clone(failure)),
                };
                if let Some(failure) = lacking {
                    let _ = self.engine.cancel(self.now(), id);
                    self.settle().await;
                    return Err(Refusal::NotDurable(Box::new(failure)));
                }
                id
            }
        };
        if start.is_running {
            self.engine.resume(self.now(), id).map_err(Refusal::Command)?;
            self.settle().await;
        }
        Ok(id)
    }

    /// The jobs behind a point in the order in which they were made, at most `most`.
    fn list(&self, whose: Whose, after: Option<(i64, JobId)>, most: usize) -> Vec<JobView> {
        // What is only held is nobody's job.
        let is_there = |job: &&Job| !execute::is_only_held(job.spec()) && whose.has(job.owner());
        let jobs = self.engine.jobs().filter(is_there);
        let keys = jobs.map(|job| (job.created(), job.id()));
        let mut keys: Vec<_> = keys.filter(|key| after.is_none_or(|after| *key > after)).collect();
        if keys.len() > most {
            keys.select_nth_unstable(most);
            keys.truncate(most);
        }
        keys.sort_unstable();
        keys.into_iter().filter_map(|(_, id)| self.view(Whose::Anybodys, id).ok()).collect()
    }

    fn amend(&mut self, (now, whose): (Now, Whose), id: JobId, change: command::Change) -> Result<(), Refusal> {
        let amendment = change(self.job(whose, id)?).map_err(|problem| Refusal::Problem(Box::new(problem)))?;
        self.engine.amend(now, id, amendment).map_err(Refusal::Command)
    }

    /// Refuses one job more than the administrator allows (F-16).
    fn check_room(&self, owner: Owner) -> Result<(), Refusal> {
        let living = self.engine.jobs().filter(|job| !job.state().is_final());
        let (all, own) = living.fold((0, 0), |(all, own), job| (all + 1, own + usize::from(job.owner() == owner)));
        let (limit, whose) = match () {
            () if all >= self.limits.jobs => (self.limits.jobs, "on this machine"),
            () if own >= self.limits.jobs_per_user => (self.limits.jobs_per_user, "of this user"),
            () => return Ok(()),
        };
        let detail = format!("at most {limit} jobs {whose}");
        Err(Refusal::Problem(Box::new(Problem::new(ErrorCode::TooManyJobs, detail))))
    }

    /// Makes a job that holds an entity, and has its first question answered by what the asker knows already.
    async fn hold(&mut self, order: command::HoldOrder, answer: oneshot::Sender<command::Holding>) {
        let id = JobId(rand::random());
        self.executor.expect(id, order.given, order.origin, answer);
        self.engine.create(self.now(), id, Owner(rustix::process::geteuid().as_raw()), order.spec);
        let _ = self.engine.resume(self.now(), id);
        self.settle().await;
    }

    fn watch(&mut self, whose: Whose, job: JobId) -> Result<watch::Receiver<JobView>, Refusal> {
        let view = self.view(whose, job)?;
        if view.state.is_final() {
            // The last view, from a sender that is gone.
            return Ok(watch::channel(view).1);
        }
        let now = self.now().mono;
        let job = self.engine.job(job).ok_or(Refusal::Command(eddy_engine::engine::CommandError::NoSuchJob))?;
        Ok(self.watchers.follow(now, job, view))
    }

    /// Carries effects out and publishes notices until nothing is left.
    async fn settle(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Erase(id) = effect
                && let Some(news) = self.news_of(id)
            {
                // How a job ended is told before it is forgotten: what is told twice has a number, what is not told is lost.
                self.note(&[(id, news)]);
                self.tell(vec![(id, news)]).await;
            }
            self.executor.execute(&self.engine, effect).await;
        }
        self.executor.publish_gathered();
        let mut ended = Vec::new();
        let mut changed = Vec::new();
        while let Some(notice) = self.engine.poll_notice() {
            match notice {
                Notice::JobChanged(id) if !changed.contains(&id) => changed.push(id),
                Notice::JobChanged(_) => {}
                Notice::JobEnded(id) => ended.push(id),
            }
        }
        let news = changed.iter().chain(&ended).filter_map(|id| Some((*id, self.news_of(*id)?)));
        let news: Vec<_> = news.collect();
        self.note(&news);
        self.tell(news).await;
        for id in &ended {
            self.told.remove(id);
        }
        self.show(&changed, &ended);
        for id in ended {
            self.watchers.end(id);
            tracing::info!(job = %id, "the job has ended");
        }
        self.watchers.sweep();
    }

    /// Shows those who follow a job what became of it, as far as it is due.
    fn show(&mut self, changed: &[JobId], ended: &[JobId]) {
        let now = self.now().mono;
        for id in changed.iter().chain(ended) {
            if let Some(job) = self.engine.job(*id)
                && self.watchers.is_urgent(now, job)
                && let Ok(view) = self.view(Whose::Anybodys, *id)
            {
                self.watchers.tell(now, job, view);
            }
        }
        for id in self.watchers.due(now) {
            match (self.engine.job(id), self.view(Whose::Anybodys, id)) {
                (Some(job), Ok(view)) => self.watchers.tell(now, job, view),
                _ => self.watchers.end(id),
            }
        }
    }

    /// Remembers what the log is told.
    fn note(&mut self, news: &[(JobId, EventKind)]) {
        for (id, _) in news {
            match self.engine.job(*id).map(Job::state) {
                Some(state) => drop(self.told.insert(*id, state)),
                None => drop(self.told.remove(id)),
            }
        }
    }

    /// What is new about a job since the log was told last.
    fn news_of(&self, id: JobId) -> Option<EventKind> {
        let (state, told) = (self.engine.job(id)?.state(), self.told.get(&id).copied());
        if told == Some(state) {
            return None;
        }
        Some(match state {
            JobState::Suspended if told.is_none() => EventKind::Created,
            JobState::Suspended => EventKind::Paused,
            JobState::Queued if told.is_some_and(JobState::is_active) => EventKind::Preempted,
            JobState::Queued => EventKind::Queued,
            JobState::Connecting => return None,
            JobState::Transferring => EventKind::Transferring,
            JobState::TransientError => EventKind::Waiting,
            JobState::Error => EventKind::Failed,
            JobState::Transferred => EventKind::Transferred,
            JobState::Acknowledged => EventKind::Finished,
            JobState::Cancelled => EventKind::Cancelled,
        })
    }

    /// Tells the log; what it was told is with the system when this returns.
    async fn tell(&self, news: Vec<(JobId, EventKind)>) {
        let at = u64::try_from(self.now().wall).unwrap_or_default().saturating_mul(1000);
        let events =
            news.into_iter().filter_map(|(id, kind)| Some(log::event(kind, &self.view(Whose::Anybodys, id).ok()?, at)));
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            let log = self.events.clone();
            // A disk that hangs holds nothing up but this.
            let _ = tokio::task::spawn_blocking(move || log.append(events)).await;
        }
    }

    /// Stops every fetch and waits until what was written is durable.
    async fn rest(mut self) {
        self.executor.stop();
        self.tasks.close();
        let drain = async {
            loop {
                tokio::select! {
                    () = self.tasks.wait() => break,
                    input = self.inputs.recv() => if input.is_none() { break },
                    opened = self.opened.recv() => if opened.is_none() { break },
                }
            }
        };
        if tokio::time::timeout(DRAIN, drain).await.is_err() {
            tracing::warn!(
                "some transfers did not end in time; what they wrote since their last commit is fetched again"
            );
        }
    }

    /// The one way to a job that somebody asks for.
    fn job(&self, whose: Whose, id: JobId) -> Result<&Job, Refusal> {
        let job = self.engine.job(id).filter(|job| whose.has(job.owner()));
        job.ok_or(Refusal::Command(eddy_engine::engine::CommandError::NoSuchJob))
    }

    fn view(&self, whose: Whose, id: JobId) -> Result<JobView, Refusal> {
        let job = self.job(whose, id)?;
        let clock = self.clock();
        let mut view = view::job(job, clock);
        view.waiting = Some(waiting::of(job, self.engine.turn_wait(id), clock));
        Ok(view)
    }

    fn clock(&self) -> view::Clock {
        view::Clock { now: self.now() }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.started.elapsed(), wall: wall.as_secs().cast_signed() }
    }
}

/// Whether a job in this state goes on only when somebody wants it to.
fn is_at_rest(state: JobState) -> bool {
    state.is_final() || matches!(state, JobState::Error | JobState::Transferred)
}

async fn sleep(timer: Option<Duration>) {
    match timer {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
