//! The one task that owns the engine.
//!
//! It waits for an input, a command, a timer or the shutdown; takes `now` once; hands it in; carries the effects out in
//! order, persisting first; then publishes the notices. Everything that takes time is done by tasks that it spawns and that
//! answer with inputs.
//!
//! | module | idea |
//! |---|---|
//! | [`command`] | what others may ask of the driver |
//! | `answer` | commands, each answered |
//! | `take_over` | the jobs of the last run, page by page |
//! | `make` | jobs are made, and listed |
//! | [`execute`] | carries effects out |
//! | `contact` | the first answer of an origin |
//! | [`heads`] | what origins answered last, on the disk |
//! | `held` | what is held of a resource before its origin is asked |
//! | `led` | who has led files elsewhere by redirects |
//! | [`durable`] | writes jobs down, again later when the disk refuses |
//! | [`account`] | what the ledger knows of a file that is whole |
//! | `publish` | files become visible together |
//! | `discard` | staged files are taken away, and jobs forgotten after that |
//! | `ways` | what questions show of their job, and through which proxy they go |
//! | `tell` | what became of a job is told to the log, and to those who follow it |
//! | [`log`] | what happened to jobs, durable and bounded |
//! | [`seal`] | jobs at rest cannot be read without the home's key |
//! | [`view`] | the engine's jobs as the API shows them |
//! | `waiting` | why a job does not move |
//! | `watchers` | who follows a job, and when a view is made for them |

mod account;
mod answer;
pub mod command;
mod contact;
mod discard;
mod durable;
mod execute;
pub mod heads;
pub(crate) mod held;
mod led;
pub mod log;
mod make;
mod publish;
pub mod seal;
mod take_over;
mod tell;
mod view;
mod waiting;
mod watchers;
pub(crate) mod ways;

use crate::config::Network;
use crate::network::Losses;
use crate::origin::{Origin, OriginConfig};
use crate::peer::Peers;
use crate::swarm::{News, SwarmHandle};
use command::{Command, Refusal, Whose};
use durable::SaveAgain;
use eddy_cache::{Store, StoreError};
use eddy_engine::engine::{CommandError, Swarms, Turns};
use eddy_engine::job::live::Job;
use eddy_engine::port::Contacted;
use eddy_engine::schedule::Places;
use eddy_engine::{Effect, Engine, EngineConfig, Failure, Goal, Input, JobId, JobRecord, JobState, Notice, Now};
use eddy_wire::api::JobView;
use execute::Executor;
use heads::Heads;
use log::EventLog;
use seal::JobSeal;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use watchers::Watchers;

pub use command::{DriverHandle, HoldOrder, Holding, Naming};
pub use contact::AheadBody;
pub(crate) use contact::contacted;
pub use execute::Given;

/// Inputs that may wait for the driver; a full queue slows the tasks down, which is right.
const INPUTS: usize = 1024;
/// Commands that may wait.
const COMMANDS: usize = 256;
/// Inputs that are handed in before effects are carried out.
const BATCH: usize = 64;
/// How long tasks may take to end when the node stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Jobs that are written down in one go.
const WRITTEN_AT_ONCE: usize = 1024;

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
    /// Where it is kept what origins answer.
    pub heads: Heads,
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

/// A driver that runs.
pub struct Running {
    /// For commands.
    pub handle: DriverHandle,
    /// For inputs from peers.
    pub inputs: mpsc::Sender<Input>,
    /// The way to the room of swarms, if there is one.
    pub swarm: Option<SwarmHandle>,
    /// Ends when everything is at rest.
    pub task: tokio::task::JoinHandle<()>,
}

/// Starts the driver: takes the jobs over, then runs until `shutdown`.
pub async fn start(parts: DriverParts, shutdown: CancellationToken) -> Result<Running, StoreError> {
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
    let swarm = executor.swarm();
    let mut driver = Driver {
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
        save_again: SaveAgain::default(),
        tasks,
        shutdown,
    };
    driver.take_over().await?;
    // Very many jobs take their time to be put in order: who asks finds that done, and has not to wait for it.
    driver.engine.start(driver.now());
    let task = tokio::spawn(driver.run());
    Ok(Running { handle: DriverHandle::new(commands), inputs, swarm, task })
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
    save_again: SaveAgain,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Driver {
    async fn run(mut self) {
        self.settle().await;
        while self.step().await {
            self.settle().await;
        }
        self.rest().await;
    }

    /// Waits for one thing and hands it in; false when the node stops.
    async fn step(&mut self) -> bool {
        let now = self.now();
        let due = self.engine.poll_timeout(now);
        let timer = due.map(|at| at.saturating_sub(now.mono));
        let save = self.save_again.left(self.executor.has_unsaved(), now.mono);
        if save == Some(Duration::ZERO) {
            self.executor.save_again(&self.engine).await;
            self.save_again.was_tried();
            return true;
        }
        let erase = self.executor.discards.left(Instant::now());
        if erase == Some(Duration::ZERO) {
            self.executor.erase_overdue().await;
            return true;
        }
        let tell = self.watchers.timeout().map(|at| at.saturating_sub(now.mono));
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => return false,
            Some(opened) = self.opened.recv() => {
                let input = self.executor.on_opened(opened);
                self.engine.handle(self.now(), input);
            }
            Some(job) = self.executor.discards.next() => self.executor.on_discarded(job).await,
            Some(input) = self.inputs.recv() => {
                self.on_inputs(input).await;
                // An input concerns one file: time passes for the others too, however many come.
                let now = self.now();
                if due.is_some_and(|at| at <= now.mono) {
                    self.engine.handle_timeout(now);
                }
                // Inputs may come without a pause: who asks for something waits for some of them, not for all.
                if let Ok(command) = self.commands.try_recv() {
                    self.settle().await;
                    self.on_command(command).await;
                }
            }
            Some(command) = self.commands.recv() => self.on_command(command).await,
            () = sleep(timer) => self.engine.handle_timeout(self.now()),
            // It is tried by the next step, as it is when inputs come without a pause.
            () = sleep(save) => {}
            // So are those forgotten whose staged files do not go.
            () = sleep(erase) => {}
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
                Input::Contacted { fetch, ref result } => self.executor.on_contacted(fetch, has_body(result)),
                _ => {}
            }
            let refused = if let Input::Prepared { file, result: Err(_) } = &input { Some(*file) } else { None };
            self.engine.handle(self.now(), input);
            if let Some(file) = refused
                && !self.engine.job(file.job).is_some_and(|job| job.state().is_active())
            {
                // Its next turn looks anew, and many may wait for theirs.
                self.executor.forget_destination(file);
            }
            next = if left > 0 { self.inputs.try_recv().ok() } else { None };
        }
    }

    /// Carries effects out and publishes notices until nothing is left.
    async fn settle(&mut self) {
        loop {
            let changed = self.carry_out().await;
            let refused: Vec<JobId> =
                changed.into_iter().filter(|id| self.executor.turn_away(&self.engine, *id)).collect();
            if refused.is_empty() {
                return;
            }
            for id in refused {
                // Nobody else knows of it, so nobody else would end it.
                let _ = self.engine.cancel(self.now(), id);
            }
        }
    }

    /// The same once; which jobs have changed.
    async fn carry_out(&mut self) -> Vec<JobId> {
        let mut records = Vec::new();
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                // Nothing of what is only held is durable but its blocks.
                Effect::Persist(record) if record.goal() == Goal::Hold => {}
                // What many jobs want written down is written in one go, before anything that follows.
                Effect::Persist(record) if records.len() < WRITTEN_AT_ONCE => records.push(*record),
                effect => {
                    self.write_down(&mut records).await;
                    if let Effect::Erase(id) = effect {
                        if let Some(news) = self.news_of(id) {
                            // How a job ended is told before it is forgotten: what is told twice has a number, what is not told is lost.
                            self.note(&[(id, news)]);
                            self.tell(vec![(id, news)]).await;
                        }
                        self.show_finished(id);
                    }
                    self.executor.execute(&self.engine, effect).await;
                }
            }
        }
        self.executor.publish_gathered();
        self.executor.discard_gathered(&self.engine);
        self.executor.keep_answers();
        self.write_down(&mut records).await;
        let (mut ended, mut changed, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        while let Some(notice) = self.engine.poll_notice() {
            match notice {
                Notice::JobChanged(id) if known.insert(id) => changed.push(id),
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
        changed
    }

    async fn write_down(&mut self, records: &mut Vec<JobRecord>) {
        if !records.is_empty() {
            self.executor.persist(std::mem::take(records)).await;
        }
    }

    /// Stops every fetch and waits until what was written is durable, and what could not be written down is tried once more.
    async fn rest(mut self) {
        self.executor.stop();
        self.tasks.close();
        let drain = async {
            // A transfer that does not end in time does not keep it from being tried.
            self.executor.save_all_again(&self.engine).await;
            loop {
                let erase = self.executor.discards.left(Instant::now());
                tokio::select! {
                    () = self.tasks.wait(), if self.executor.discards.is_at_rest() => break,
                    Some(job) = self.executor.discards.next() => self.executor.on_discarded(job).await,
                    () = sleep(erase) => self.executor.erase_overdue().await,
                    input = self.inputs.recv() => match input {
                        None => break,
                        Some(Input::Contacted { fetch, result }) => {
                            self.executor.on_contacted(fetch, has_body(&result));
                            self.executor.keep_answers();
                        }
                        Some(_) => {}
                    },
                    opened = self.opened.recv() => if opened.is_none() { break },
                }
            }
            // What the last tasks owe.
            self.executor.save_all_again(&self.engine).await;
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
        job.ok_or(Refusal::Command(CommandError::NoSuchJob))
    }

    fn view(&mut self, whose: Whose, id: JobId) -> Result<JobView, Refusal> {
        let job = self.job(whose, id)?;
        let clock = self.clock();
        let mut view = view::job(job, clock);
        view.waiting = Some(waiting::of(job, self.engine.turn_wait(id), clock));
        self.engine.put_away(id);
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

/// Whether a body came with an answer.
fn has_body(answer: &Result<Box<Contacted>, Failure>) -> bool {
    answer.as_ref().is_ok_and(|facts| facts.body.is_some())
}

async fn sleep(timer: Option<Duration>) {
    match timer {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}
