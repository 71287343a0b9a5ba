//! A node inside this command: the same node as the daemon's, on the same home and the same socket.

use crate::failure::Failure;
use crate::link::Purpose;
use crate::setting::Setting;
use eddy_node::config::{self, Network, NodeConfig, RunsAs};
use eddy_node::node::Node;
use eddy_wire::catalogue::ErrorCode;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A running node.
pub(crate) struct Inside(Node);

impl Inside {
    /// Starts a daemon's, on the socket that a service manager has made, if it has.
    pub(crate) async fn serve(setting: &Setting, given: Option<Arc<UnixListener>>) -> Result<Self, Failure> {
        Self::begin(setting, Purpose::Serve, given).await
    }

    /// Starts it; when this returns, it answers on the socket.
    pub(crate) async fn start(setting: &Setting, purpose: Purpose) -> Result<Self, Failure> {
        Self::begin(setting, purpose, None).await
    }

    async fn begin(setting: &Setting, purpose: Purpose, given: Option<Arc<UnixListener>>) -> Result<Self, Failure> {
        setting.own_home()?;
        let settings = config::load(&setting.home, setting.config.as_deref())
            .map_err(|error| Failure::new(ErrorCode::BadConfig, chain(&error)))?;
        // A service of the machine is not looked for in a home.
        let service = settings.service.socket().filter(|_| purpose == Purpose::Serve && !setting.is_socket_named);
        let config = NodeConfig {
            home: setting.home.clone(),
            socket: service.map_or_else(|| setting.inside.clone(), Path::to_path_buf),
            config: config::file_of(&setting.home, setting.config.as_deref()),
            network: if purpose == Purpose::Look { Network::Off } else { Network::Full },
            runs_as: if purpose == Purpose::Serve { RunsAs::Daemon } else { RunsAs::Inside },
            settings,
            given,
        };
        raise_file_limit();
        match Node::start(config).await {
            Ok(node) => {
                if let Some(trouble) = node.trouble() {
                    setting.note(&format!("this node works without its cache, files go past it: {trouble}"));
                }
                Ok(Self(node))
            }
            Err(error) => Err(error.problem().into()),
        }
    }

    /// Where it answers: elsewhere than asked for when its home takes no socket.
    pub(crate) fn socket(&self) -> &Path {
        self.0.socket()
    }

    /// Whether its driver answers.
    pub(crate) async fn is_alive(&self) -> bool {
        self.0.driver().is_busy().await.is_ok()
    }

    /// After how much idleness it is to end, if it is.
    pub(crate) fn idle_exit(&self) -> Option<Duration> {
        self.0.idle_exit()
    }

    /// How many calls there have been.
    pub(crate) fn calls(&self) -> u64 {
        self.0.calls()
    }

    /// Whether nobody wants anything of it.
    pub(crate) async fn is_idle(&self) -> bool {
        self.0.is_idle().await
    }

    /// Where its gateway listens, if it has one.
    pub(crate) fn gateway(&self) -> Option<std::net::SocketAddr> {
        self.0.gateway()
    }

    /// Waits until a new start would give it its store back. Cancel safe.
    pub(crate) async fn mended(&self) {
        self.0.mended().await;
    }

    /// Waits until somebody asks it to stop. Cancel safe.
    pub(crate) async fn stopping(&self) {
        self.0.stopping().await;
    }

    /// Stops it, and waits until everything is written.
    pub(crate) async fn stop(self) {
        self.0.shutdown().await;
    }
}

/// Takes as many descriptors as the administrator allows: the ordinary limit is for programs that use `select` (T-51).
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With fewer it works as well: jobs wait for each other.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
