//! A node inside this command: the same node as the daemon's, on the same home and the same socket.

use crate::failure::Failure;
use crate::link::Purpose;
use crate::setting::Setting;
use eddy_node::config::{self, Network, NodeConfig, RunsAs};
use eddy_node::node::Node;
use eddy_wire::catalogue::ErrorCode;

/// A running node.
pub(crate) struct Inside {
    node: Node,
}

impl Inside {
    /// Starts it; when this returns, it answers on the socket.
    pub(crate) async fn start(setting: &Setting, purpose: Purpose) -> Result<Self, Failure> {
        let settings = config::load(&setting.home, setting.config.as_deref())
            .map_err(|error| Failure::new(ErrorCode::BadConfig, error.to_string()))?;
        let config = NodeConfig {
            home: setting.home.clone(),
            socket: setting.socket.clone(),
            network: if purpose == Purpose::Look { Network::Off } else { Network::Full },
            runs_as: if purpose == Purpose::Serve { RunsAs::Daemon } else { RunsAs::Inside },
            settings,
        };
        let node = Node::start(config).await.map_err(|error| error.problem())?;
        Ok(Self { node })
    }

    /// Waits until somebody asks it to stop.
    pub(crate) async fn stopping(&self) {
        self.node.stopping().await;
    }

    /// Stops it, and waits until everything is written.
    pub(crate) async fn stop(self) {
        self.node.shutdown().await;
    }
}
