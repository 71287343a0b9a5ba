//! How the node is.

use super::{NodeFace, of_refusal};
use crate::config::{Network, RunsAs};
use crate::group::Group;
use eddy_engine::roster::Standing;
use eddy_wire::api::{Mode, Problem, StatusView};

/// What is added where the disk refuses to let go of files of the cache: which, and what to do, is a matter of the doctor.
const KEPT: &str = "; the disk keeps files of the cache that should go: see `eddy doctor`";

impl NodeFace {
    pub(super) async fn view_status(&self) -> Result<StatusView, Problem> {
        // Each command asks for this first: it is counted, and no job is looked at.
        let Standing { open, moving } = self.driver.standing().await.map_err(of_refusal)?;
        let peers = self.neighbours.as_ref().map_or(0, |n| n.connected().len());
        let without = self.trouble.as_ref().map(|failure| format!("works without its store ({}): ", failure.detail));
        let activity = match (self.network, moving, open) {
            (Network::Off, ..) => "looks at the store and the jobs without touching the network".to_owned(),
            (_, 0, 0) => "waits for jobs and serves what it holds".to_owned(),
            (_, 0, open) => format!("has {open} jobs, none of which is moving"),
            (_, moving, open) => format!("moves {moving} of {open} jobs"),
        };
        let gateway = self.gateway.trouble().map(|trouble| format!("; the gateway: {trouble}")).unwrap_or_default();
        let kept = self.store.kept_files();
        let disk = if kept.entities + kept.passed > 0 { KEPT } else { "" };
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: self.identity.node_id().to_string(),
            home: self.home.display().to_string(),
            group: self.group.as_ref().map(Group::name),
            listen: self.neighbours.iter().map(|n| format!("udp port {}", n.port())).collect(),
            mode: match self.runs_as {
                RunsAs::Daemon => Mode::Daemon,
                RunsAs::Inside => Mode::Inside,
            },
            uptime_seconds: self.started.elapsed().as_secs(),
            jobs: open as u64,
            peers: peers as u64,
            activity: without.unwrap_or_default() + &activity + disk + &gateway,
        })
    }
}
