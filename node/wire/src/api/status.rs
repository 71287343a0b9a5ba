//! The node itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a node is and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// The version of eddy.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Its node id, as peers know it.
    pub node: String,
    /// Its home directory.
    pub home: String,
    /// The name of the group, when it is in one.
    pub group: Option<String>,
    /// Where peers reach it, when they can.
    pub listen: Vec<String>,
    /// Whether it is a daemon or runs inside a command.
    pub mode: Mode,
    /// How long it runs, in seconds.
    pub uptime_seconds: u64,
    /// Jobs that have not ended.
    pub jobs: u64,
    /// Peers that are connected.
    pub peers: u64,
    /// What it does, or why it does nothing, in one sentence.
    pub activity: String,
}

/// What kind of process a node runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// `eddy daemon`.
    Daemon,
    /// Inside `eddy get`, for as long as that runs.
    Inside,
}
