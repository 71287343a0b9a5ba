//! One node, from start to stop: the store, the origin, the peers, the driver, the control socket.

use crate::config::{ConfigError, Network, NodeConfig, RunsAs};
use crate::control::{self, BindError, ControlListener};
use crate::driver::{self, DriverHandle, DriverParts, Durability};
use crate::face::NodeFace;
use crate::group::{Group, GroupError};
use crate::identity::{Identity, IdentityError};
use crate::neighbourhood::{self, Neighbourhood, NeighbourhoodError};
use crate::origin::Origin;
use eddy_cache::{OpenError, Store};
use eddy_engine::JobRecord;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long after the start the first peers may still be found before the origin is asked for bytes.
///
/// Neighbours answer a multicast question within milliseconds and a handshake takes a few more; a node that is alone in its
/// group pays this once, at its start (promise 5: a bounded delay).
const SETTLING: Duration = Duration::from_millis(700);

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
            Self::Home { .. } | Self::Jobs(_) => ErrorCode::StoreUnusable,
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
    shutdown: CancellationToken,
    driving: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
    neighbourhood: Option<Neighbourhood>,
    store: Store,
}

impl Node {
    /// Starts a node; when this returns its control socket answers.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        let started = Instant::now();
        make_home(&config.home)?;
        // The socket first: it tells two nodes of one home apart before either touches the store.
        let listener = ControlListener::bind(&config.socket)?;
        let settings = config.settings.clone();
        let store_config = settings.store(&config.home)?;
        let directory = store_config.directory.clone();
        let store = blocking(move || Store::open(store_config)).await?;
        let records = jobs(&store).await?;
        let origin = Origin::new(settings.origin())?;
        let identity = Identity::load_or_create(&config.home)?;
        let group = Group::load(&config.home)?;
        let shutdown = CancellationToken::new();
        let mut neighbourhood = match (&group, config.network) {
            (Some(group), Network::Full) => {
                let parts =
                    neighbourhood::Parts { identity: &identity, group, store: &store, settings: &settings.peers };
                Some(neighbourhood::start(parts, shutdown.clone()).await?)
            }
            _ => None,
        };
        let parts = DriverParts {
            store: store.clone(),
            origin,
            peers: neighbourhood.as_ref().map(|n| n.peers().clone()),
            settling: if neighbourhood.as_ref().is_some_and(Neighbourhood::may_find_peers) {
                SETTLING
            } else {
                Duration::ZERO
            },
            network: config.network,
            directory,
            durability: match config.runs_as {
                RunsAs::Daemon => Durability::Required,
                RunsAs::Inside => Durability::Wished,
            },
        };
        let (driver, inputs, driving) = driver::start(parts, records, shutdown.clone());
        if let Some(neighbourhood) = &mut neighbourhood {
            neighbourhood.report_to(inputs);
        }
        let face = NodeFace {
            driver: driver.clone(),
            store: store.clone(),
            node: identity.node_id(),
            home: config.home.clone(),
            settings,
            config: config.config.clone(),
            group: group.map(|group| group.name()),
            neighbours: neighbourhood.as_ref().map(Neighbourhood::view),
            runs_as: config.runs_as,
            network: config.network,
            started,
            shutdown: shutdown.clone(),
        };
        let serving = tokio::spawn(control::serve(listener, Arc::new(face), shutdown.clone()));
        tracing::info!(node = %identity.node_id(), mode = mode(config.runs_as), "the node runs");
        Ok(Self { driver, socket: config.socket, shutdown, driving, serving, neighbourhood, store })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The way to the driver.
    #[must_use]
    pub fn driver(&self) -> &DriverHandle {
        &self.driver
    }

    /// Waits until somebody asked the node to stop. Cancel safe.
    pub async fn stopping(&self) {
        self.shutdown.cancelled().await;
    }

    /// Stops: transfers end and what they wrote becomes durable, then the store is closed.
    pub async fn shutdown(self) {
        self.shutdown.cancel();
        let _ = self.driving.await;
        if let Some(neighbourhood) = self.neighbourhood {
            neighbourhood.close().await;
        }
        let _ = self.serving.await;
        let store = self.store;
        let _ = tokio::task::spawn_blocking(move || drop(store)).await;
        tracing::info!("the node has stopped");
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

async fn jobs(store: &Store) -> Result<Vec<JobRecord>, StartError> {
    let store = store.clone();
    let rows = blocking(move || store.jobs()).await.map_err(StartError::Jobs)?;
    let mut records = Vec::new();
    for (id, row) in rows {
        match postcard::from_bytes::<JobRecord>(&row) {
            Ok(record) => records.push(record),
            // Kept in the store for a version that can read it; the queue of the others goes on (N5).
            Err(error) => {
                tracing::error!(job = %eddy_engine::JobId(id), %error, "a job's row cannot be read; it is left as it is")
            }
        }
    }
    Ok(records)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
