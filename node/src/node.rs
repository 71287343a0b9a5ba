//! One node, from start to stop: the store, the origin, the peers, the driver, the control socket.

use crate::condition;
use crate::config::{ConfigError, Network, NodeConfig, RunsAs};
use crate::control::{self, AuditLog, BindError, ControlListener, Door, Guard, Users};
use crate::driver::heads::Heads;
use crate::driver::log::EventLog;
use crate::driver::seal::JobSeal;
use crate::driver::{self, DriverHandle, DriverParts, Durability};
use crate::face::{MAX_LONG_WORK, NodeFace};
use crate::gateway::{self, Gate};
use crate::group::{EXPIRED, Group, GroupError, REMOVED, Standing};
use crate::hooks::Hooks;
use crate::identity::{Identity, IdentityError};
use crate::neighbourhood::{self, Neighbourhood, NeighbourhoodError};
use crate::network::{self, Losses, Outlook};
use crate::origin::Origin;
use crate::refuge::Shelter;
use crate::scrub;
use crate::secret_file::SecretFileError;
use eddy_cache::{FaultKind, Limits, OpenError, Quota, Store, StoreConfig};
use eddy_engine::Failure;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long after the start the first peers may still be found before the origin is asked for bytes.
///
/// Neighbours answer a multicast question within milliseconds and a handshake takes a few more; a node that is alone in its
/// group pays this once, at its start (promise 5: a bounded delay).
const SETTLING: Duration = Duration::from_millis(700);

/// How long a node that stops waits for those who still write; a disk that hangs is not waited for.
const CLOSING: Duration = Duration::from_secs(5);
/// The first pause before a store that could not be opened is looked at again.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home cannot be made.
    #[error("cannot make the folder {path}")]
    Home {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The configuration will not do.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The way to origins cannot be set up.
    #[error(transparent)]
    Origin(#[from] crate::origin::ConfigError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be read.
    #[error("cannot read the jobs from the store")]
    Jobs(#[source] eddy_cache::StoreError),
    /// The key of the jobs.
    #[error(transparent)]
    JobKey(#[from] SecretFileError),
    /// The node's key.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The group's secret.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The endpoint for peers.
    #[error(transparent)]
    Neighbourhood(#[from] NeighbourhoodError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] BindError),
}

impl StartError {
    /// The row of the catalogue, with what exactly happened.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let row = match self {
            Self::Home { .. } | Self::Jobs(_) | Self::JobKey(_) => ErrorCode::StoreUnusable,
            Self::Config(_) | Self::Origin(_) | Self::Neighbourhood(NeighbourhoodError::Discovery(_)) => {
                ErrorCode::BadConfig
            }
            Self::Store(OpenError::InUse { .. }) => ErrorCode::StoreInUse,
            Self::Store(OpenError::TooNew { .. }) => ErrorCode::StoreNewer,
            Self::Store(OpenError::Index(_)) => ErrorCode::StoreCorrupt,
            Self::Store(_) => ErrorCode::StoreUnusable,
            Self::Identity(_) | Self::Group(_) => ErrorCode::GroupUnusable,
            Self::Neighbourhood(_) => ErrorCode::SocketUnusable,
            Self::Socket(BindError::InUse(_)) => ErrorCode::StoreInUse,
            Self::Socket(_) => ErrorCode::SocketUnusable,
        };
        let mut detail = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !detail.contains(&text) {
                detail = format!("{detail}: {text}");
            }
            source = cause.source();
        }
        Problem::new(row, detail)
    }
}

/// A running node.
pub struct Node {
    driver: DriverHandle,
    socket: PathBuf,
    /// One permit for each connection that there could be more.
    callers: Arc<Semaphore>,
    calls: Arc<AtomicU64>,
    idle_exit: Option<Duration>,
    shutdown: CancellationToken,
    driving: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
    neighbourhood: Option<Neighbourhood>,
    gateway: Option<Gate>,
    chores: TaskTracker,
    store: Store,
    /// Why the node's own store is not used.
    trouble: Option<Failure>,
    /// The store that could not be opened.
    lost: Option<StoreConfig>,
    /// Goes last: the store in use may stand there.
    _shelter: Shelter,
}

impl Node {
    /// Starts a node; when this returns its control socket answers.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let started = Instant::now();
        let mut shelter = Shelter::default();
        // The socket first: it tells two nodes of one home apart before either touches the store.
        let listener = listen(&config, &mut shelter)?;
        let socket = listener.path().to_owned();
        let (callers, calls) = (listener.room(), listener.calls());
        let settings = config.settings.clone();
        let store_config = settings.store(&config.home)?;
        let limits = settings.limits()?;
        let Ground { store, directory, trouble } = Ground::open(&config, store_config.clone(), &mut shelter).await?;
        if trouble.is_none() {
            hold_to(&store, limits).await;
        }
        let seal = seal(&config.home, &shelter)?;
        let heads = Heads::of(&config.home, seal.clone());
        let home = config.home.clone();
        let events = blocking(move || EventLog::open(&home)).await;
        let origin = Origin::new(settings.origin())?;
        let (identity, group) = who(&config, &mut shelter)?;
        let standing = group.as_ref().map(|group| group.standing(&identity.node_id()));
        match standing {
            Some(Standing::Expired(_)) => tracing::error!("{EXPIRED}"),
            Some(Standing::Removed) => tracing::error!("{REMOVED}"),
            _ => {}
        }
        let shutdown = CancellationToken::new();
        let audit = AuditLog::open(&config.home);
        let users = match config.runs_as {
            RunsAs::Daemon => settings.service.users(),
            // A command's own node is its user's.
            RunsAs::Inside => Users::Own,
        };
        let guard = Guard::new(users, audit.clone());
        let mut neighbourhood = match (&group, config.network) {
            (Some(group), Network::Full) => {
                let parts = neighbourhood::Parts {
                    identity: &identity,
                    group,
                    store: &store,
                    settings: &settings.peers,
                    uploads: settings.peers.uploads()?,
                    trust: settings.group.policy()?,
                    home: &config.home,
                };
                Some(neighbourhood::start(parts, shutdown.clone()).await?)
            }
            _ => None,
        };
        let losses = watch::Sender::new(Outlook::default());
        let parts = DriverParts {
            losses: Losses::of(&losses),
            store: store.clone(),
            origin,
            ways: settings.origin(),
            seal,
            events: events.clone(),
            heads: heads.clone(),
            engine: settings.jobs()?,
            peers: neighbourhood.as_ref().map(|n| n.peers().clone()),
            settling: if neighbourhood.as_ref().is_some_and(Neighbourhood::may_find_peers) {
                SETTLING
            } else {
                Duration::ZERO
            },
            swarms: settings.peers.swarms(),
            network: config.network,
            directory,
            durability: match (config.runs_as, &trouble) {
                (RunsAs::Inside, _) => Durability::Wished,
                (RunsAs::Daemon, None) => Durability::Required,
                (RunsAs::Daemon, Some(failure)) => Durability::Lacking(Box::new(failure.clone())),
            },
        };
        let chores = TaskTracker::new();
        if config.runs_as == RunsAs::Daemon && config.network == Network::Full {
            let hooks = Hooks::new(settings.hooks.clone(), events.clone(), audit, &config.home);
            if let Some(hooks) = hooks {
                chores.spawn(hooks.run(shutdown.clone()));
            }
        }
        chores.spawn(events.clone().keep_on_disk(shutdown.clone()));
        let driver::Running { handle: driver, inputs, swarm, task: driving } =
            driver::start(parts, shutdown.clone()).await.map_err(StartError::Jobs)?;
        if config.network == Network::Full {
            chores.spawn(network::run(inputs.clone(), losses, shutdown.clone()));
        }
        if let Some(neighbourhood) = &mut neighbourhood {
            neighbourhood.report_to(inputs);
        }
        let gateway = if config.runs_as == RunsAs::Daemon && config.network == Network::Full {
            let peers = neighbourhood.as_ref().map(|n| n.peers().clone());
            let parts =
                gateway::Parts { store: store.clone(), driver: driver.clone(), peers, origin: settings.origin() };
            let files = gateway::Files { home: config.home.clone(), config: config.config.clone() };
            let plan = settings.gateway.plan().map_err(ConfigError::from)?;
            Some(Gate::open(plan, (parts, files), shutdown.clone()).await)
        } else {
            None
        };
        let idle_exit = settings.service.idle_exit()?;
        let face = NodeFace {
            driver: driver.clone(),
            events,
            heads,
            store: store.clone(),
            identity: identity.clone(),
            home: config.home.clone(),
            settings: tokio::sync::Mutex::new(settings),
            config: config.config.clone(),
            group,
            neighbours: neighbourhood.as_ref().map(Neighbourhood::view),
            swarm,
            gateway: gateway.as_ref().map(|gate| gate.current().clone()).unwrap_or_default(),
            runs_as: config.runs_as,
            network: config.network,
            long_work: Arc::new(Semaphore::new(MAX_LONG_WORK)),
            started,
            trouble: trouble.clone(),
            shutdown: shutdown.clone(),
        };
        let serving = tokio::spawn(control::serve(listener, Arc::new(face), guard, shutdown.clone()));
        tracing::info!(node = %identity.node_id(), mode = mode(config.runs_as), "the node runs");
        if config.runs_as == RunsAs::Daemon && trouble.is_none() {
            chores.spawn(scrub::run(store.clone(), driver.clone(), shutdown.clone()));
        }
        chores.close();
        let lost = trouble.is_some().then_some(store_config);
        Ok(Self {
            driver,
            socket,
            callers,
            calls,
            idle_exit,
            shutdown,
            driving,
            serving,
            neighbourhood,
            gateway,
            chores,
            store,
            trouble,
            lost,
            _shelter: shelter,
        })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// After how much idleness the administrator wants it to end.
    #[must_use]
    pub fn idle_exit(&self) -> Option<Duration> {
        self.idle_exit
    }

    /// How many calls there have been.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether nobody wants anything of it: no call, no job that runs or will run by itself, no peer and no tool that it could serve.
    pub async fn is_idle(&self) -> bool {
        // A gateway that cannot be is tried again: whoever wants it wants the node.
        let serves =
            self.neighbourhood.is_some() || self.gateway.as_ref().is_some_and(|gate| gate.current().is_wanted());
        // One permit waits for the next call.
        let is_called = self.callers.available_permits() + 1 < control::socket::MAX_CONNECTIONS;
        !serves && !is_called && !self.driver.is_needed().await.unwrap_or(true)
    }

    /// Where the gateway listens, if there is one.
    #[must_use]
    pub fn gateway(&self) -> Option<std::net::SocketAddr> {
        self.gateway.as_ref()?.current().address()
    }

    /// The way to the driver.
    #[must_use]
    pub fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// Why the node works without its own store, if it does: files go past the cache, nothing is served, and only jobs are
    /// taken whose maker follows them.
    #[must_use]
    pub fn trouble(&self) -> Option<Problem> {
        let failure = self.trouble.as_ref()?;
        Some(Problem::new(ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::StoreUnusable), failure.detail.clone()))
    }

    /// Waits until the store that could not be opened can be, and no job is under way: then a new start brings everything
    /// back. Never, for a node that has its store. Cancel safe.
    pub async fn mended(&self) {
        let Some(lost) = &self.lost else { return std::future::pending().await };
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            let config = lost.clone();
            if blocking(move || Store::open(config)).await.is_err() {
                continue;
            }
            while self.driver.is_busy().await.unwrap_or(false) {
                tokio::time::sleep(FIRST_LOOK).await;
            }
            return;
        }
    }

    /// Waits until somebody asked the node to stop. Cancel safe.
    pub async fn stopping(&self) {
        self.shutdown.cancelled().await;
    }

    /// Stops: transfers end and what they wrote becomes durable, then the store is closed.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        let _ = self.driving.await;
        if let Some(gateway) = self.gateway {
            gateway.close().await;
        }
        if let Some(neighbourhood) = self.neighbourhood {
            neighbourhood.close().await;
        }
        let _ = self.serving.await;
        self.chores.wait().await;
        if !close(self.store).await {
            tracing::warn!("somebody still uses the store: the next start looks after it");
        }
        tracing::info!("the node has stopped");
    }
}

/// Lets go of the store, and waits until everybody has: threads that were cancelled may be in the middle of a write.
async fn close(store: Store) -> bool {
    let closing = store.closing();
    let closed = tokio::task::spawn_blocking(move || {
        drop(store);
        closing.wait(CLOSING)
    });
    closed.await.unwrap_or(false)
}

/// The node's key and its group: kept in its home, or somebody's own PKI.
fn who(config: &NodeConfig, shelter: &mut Shelter) -> Result<(Identity, Option<Group>), StartError> {
    let Some(files) = config.settings.pki() else {
        return Ok((identify(&config.home, shelter)?, Group::load(&config.home)?));
    };
    let group = Group::from_files(&files)?;
    let identity = match group.own_identity() {
        Some(identity) => identity,
        None => identify(&config.home, shelter)?,
    };
    Ok((identity, Some(group)))
}

/// The store that a node works with.
struct Ground {
    store: Store,
    directory: PathBuf,
    /// Why it is not the node's own.
    trouble: Option<Failure>,
}

impl Ground {
    /// Opens the node's own store, or an empty one elsewhere when its disk refuses and the node is there to fetch. Nothing is
    /// kept in that: its quota is nothing.
    async fn open(config: &NodeConfig, own: StoreConfig, shelter: &mut Shelter) -> Result<Self, StartError> {
        let directory = own.directory.clone();
        let opening = own.clone();
        let error = match blocking(move || Store::open(opening)).await {
            Ok(store) => return Ok(Self { store, directory, trouble: None }),
            Err(error) => error,
        };
        let kind = condition::of_opening(&error).filter(|_| config.network == Network::Full);
        let Some((kind, place)) = kind.and_then(|kind| Some((kind, shelter.after(kind)?))) else {
            return Err(error.into());
        };
        let failure = condition::of_cache(kind, &directory, &error);
        tracing::error!(error = %failure.detail, "the node works without its store: files go past the cache");
        let directory = place.join("cache");
        let empty = StoreConfig { directory: directory.clone(), quota: Quota::Bytes(0), ..own };
        let store = blocking(move || Store::open(empty)).await?;
        Ok(Self { store, directory, trouble: Some(failure) })
    }
}

/// Makes home and socket; a command that is a node itself can do with another place, because it is told where.
fn listen(config: &NodeConfig, shelter: &mut Shelter) -> Result<ControlListener, StartError> {
    if let Some(given) = &config.given {
        make_home(&config.home)?;
        let refused = |source| BindError::System { action: "use", path: config.socket.clone(), source };
        return Ok(ControlListener::adopt(given.try_clone().map_err(refused)?)?);
    }
    let door = if config.runs_as == RunsAs::Daemon { config.settings.service.door() } else { Door::Closed };
    let made = make_home(&config.home).and_then(|()| Ok(ControlListener::bind_for(&config.socket, door)?));
    let is_alone = config.runs_as == RunsAs::Inside && config.network == Network::Full;
    let refused = match &made {
        Err(StartError::Home { source, .. } | StartError::Socket(BindError::System { source, .. })) if is_alone => {
            FaultKind::of(source)
        }
        _ => return made,
    };
    match shelter.after(refused) {
        Some(place) => Ok(ControlListener::bind(&place.join("control.sock"))?),
        None => made,
    }
}

/// The node's key; one for the day when the home takes none.
fn identify(home: &Path, shelter: &mut Shelter) -> Result<Identity, StartError> {
    match Identity::load_or_create(home) {
        Err(IdentityError::File(SecretFileError::Io { source, .. })) if shelter.is_used() => {
            match shelter.after(FaultKind::of(&source)) {
                Some(place) => Ok(Identity::load_or_create(place)?),
                None => {
                    Err(IdentityError::File(SecretFileError::Io { step: "use", path: home.to_owned(), source }).into())
                }
            }
        }
        other => Ok(other?),
    }
}

/// Lets go of what has become too old while no node ran.
async fn hold_to(store: &Store, limits: Limits) {
    if limits.max_age.is_some() {
        let store = store.clone();
        // The store itself tries again every minute.
        if let Err(error) = blocking(move || store.set_limits(limits)).await {
            tracing::warn!(%error, "what is too old in the cache stays for now");
        }
    }
}

fn mode(runs_as: RunsAs) -> &'static str {
    match runs_as {
        RunsAs::Daemon => "daemon",
        RunsAs::Inside => "inside a command",
    }
}

/// Makes the home, for its owner alone (T-48).
fn make_home(home: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home);
    made.map_err(|source| StartError::Home { path: home.to_path_buf(), source })
}

/// The key under which jobs are written down; one for the day where the home takes none, since no job is written there either.
fn seal(home: &Path, shelter: &Shelter) -> Result<JobSeal, StartError> {
    match JobSeal::load_or_create(home) {
        Err(SecretFileError::Io { .. }) if shelter.is_used() => Ok(JobSeal::fleeting()),
        other => Ok(other?),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
