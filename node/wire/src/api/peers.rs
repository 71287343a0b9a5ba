//! The group, and the peers whom this node talks to.

use super::evidence::EvidenceView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The peers of this node, and why there are none if there are none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct PeersView {
    /// The name of the group, when this node is in one.
    pub group: Option<String>,
    /// Why no peer is there, in one sentence.
    pub reason: Option<String>,
    /// The peers and the neighbours that may become some.
    pub peers: Vec<PeerView>,
    /// What this node takes, or has taken, together with others that want the same at the same time.
    #[serde(default)]
    pub swarms: Vec<SwarmView>,
}

/// One file that machines take from each other while one of them reads it from the origin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct SwarmView {
    /// The file.
    pub url: String,
    /// The node id of the home, which says who reads and who takes from whom; none while it is looked for.
    pub home: Option<String>,
    /// Whether that is this node.
    pub is_home: bool,
    /// Segments that this node has.
    pub held: u32,
    /// Segments of the whole.
    pub segments: u32,
    /// Other machines that still take it, as far as the home has said.
    pub others: Option<u32>,
    /// Segments that this node is giving.
    pub given: u32,
    /// Where this node takes segments from now.
    pub sources: Vec<SwarmShare>,
    /// Who reads what from the origin now. The home knows of all, another one of itself alone.
    pub readers: Vec<SwarmRead>,
    /// The longest way of a segment, in machines, between its reader and who takes it: only the home knows.
    pub depth: u32,
}

/// A machine's share of the segments under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwarmShare {
    /// Its node id; none is the origin.
    pub node: Option<String>,
    /// How many segments.
    pub segments: u32,
}

/// What a machine reads from the origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SwarmRead {
    /// Its node id.
    pub node: String,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last one.
    pub end: u64,
    /// How many of them it has, as far as it has said.
    pub received: u64,
}

/// One neighbour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// Its node id, when it has proved one.
    pub node: Option<String>,
    /// Where it is reached: address and port.
    pub address: String,
    /// How it stands.
    pub state: PeerState,
    /// How it was found: `mdns`, `static`, `incoming`.
    pub found_by: String,
    /// Since when the connection stands, in milliseconds since the Unix epoch.
    pub connected_unix_ms: Option<u64>,
    /// Useful bytes that came from it since this node started.
    pub received: u64,
    /// Bytes that it was given since this node started.
    pub sent: u64,
    /// Why it is not used, when it is not.
    pub reason: Option<String>,
}

/// One member, and what is held against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerDetail {
    /// Its node id.
    pub node: String,
    /// How it is connected, if it is.
    pub peer: Option<PeerView>,
    /// Whether the administrator made it an anchor in this node's configuration.
    pub anchor: bool,
    /// Proofs of the last 24 hours that it sent or signed something wrong.
    pub proofs: u32,
    /// For how many seconds it is not spoken to.
    pub blocked_seconds: Option<u64>,
    /// For how many seconds nothing that it signed counts here.
    pub discredited_seconds: Option<u64>,
    /// Whether it was removed from the group.
    pub removed: bool,
    /// Evidence against it, the newest first.
    pub evidence: Vec<EvidenceView>,
}

/// How a neighbour stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PeerState {
    /// Discovery has heard of it; nothing is proved.
    Found,
    /// A connection is being made.
    Connecting,
    /// It has proved that it is in the group.
    Connected,
    /// It did not answer, or not as a member of the group; it is tried again later.
    Unreachable,
    /// It gave wrong bytes or broke the protocol, and is left alone for a while.
    Blocked,
}
