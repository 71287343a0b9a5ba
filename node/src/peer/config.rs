//! What can be set of the peer room, and every bound that a member meets here.

use eddy_engine::engine::Swarms;
use eddy_engine::trust::Policy;
use eddy_engine::upload::UploadLimits;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How the peer endpoint is started.
#[derive(Debug, Clone)]
pub struct PeersConfig {
    /// Where to listen; the default is any free port on every IPv6 and IPv4 address of the host.
    pub listen: SocketAddr,
    /// What one member may ask of this node.
    pub limits: Limits,
    /// How long this node waits for a member.
    pub patience: Patience,
    /// Whose word is enough.
    pub trust: Policy,
    /// The home under which evidence against members is kept; without one it is in the log only.
    pub records: Option<PathBuf>,
}

impl Default for PeersConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            limits: Limits::default(),
            patience: Patience::default(),
            trust: Policy::default(),
            records: None,
        }
    }
}

/// The bounds of the serving side (T-05, T-06, T-07, T-12).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connected peers; one more is closed at once.
    pub peers: usize,
    /// Reads of one peer that are served at a time; one more waits a moment, then it hears `Busy`.
    pub reads_per_peer: usize,
    /// Reads that are served at a time in all: each holds at most four chunks of [`CHUNK_BLOCKS`] blocks, 64 together 80 MiB.
    /// When all are taken, the slowest reader gives way to one more, or it hears `Busy`.
    pub reads: usize,
    /// Keys that one peer may ask for in vain within a minute, before it hears `NotHere` for everything (T-12).
    pub misses_per_minute: u32,
    /// The same of keys that it names in the matter of swarms, counted apart: a home asks everybody about each content that anybody begins, so
    /// that whoever starts many files at once would else be refused all reads for a minute. As many as a home knows at once
    /// ([`CONTENTS`](eddy_engine::swarm::constants::CONTENTS)); beyond it the member is heard, is told nothing of what is
    /// held here, and may follow nothing.
    pub swarm_misses_per_minute: u32,
    /// Handshakes with unproven addresses under way, above which an address must prove itself first (T-07).
    pub unproven_handshakes: usize,
    /// Handshakes under way in all, above which a new one is dropped unanswered.
    pub handshakes: usize,
    /// Bytes of blocks that leave in a second.
    pub upload: UploadLimits,
    /// Who is given what is held here.
    pub serving: Serving,
    /// Whether what members say of swarms is heard here, once there is somebody to hear it.
    pub swarms: Swarms,
}

/// Who is given what is held here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serving {
    /// Members of the group.
    #[default]
    Members,
    /// Nobody: for them there is nothing here.
    Nobody,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            peers: 256,
            reads_per_peer: 8,
            reads: 64,
            misses_per_minute: 64,
            swarm_misses_per_minute: eddy_engine::swarm::constants::CONTENTS as u32,
            unproven_handshakes: 32,
            handshakes: 256,
            upload: UploadLimits::default(),
            serving: Serving::default(),
            swarms: Swarms::Off,
        }
    }
}

/// Deadlines: nothing here waits for a peer without one.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a handshake.
    pub handshake: Duration,
    /// For the answer to a question.
    pub answer: Duration,
    /// For each next byte of a read. Reads of one peer may stand in one line, so this is only what ends one that nobody watches: the
    /// engine, which knows what else comes from the peer, gives it up much earlier.
    pub stall: Duration,
    /// How long a read waits for others of the same peer before it hears `Busy`: many small objects are asked for side by side, and each
    /// takes a moment. Far below what a reader takes for a stall; how many wait is bounded by the connection's streams.
    pub turn: Duration,
    /// For a reader to take the next 64 KiB from us (T-05); on average it has to take 16 KiB/s.
    pub reader: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            stall: Duration::from_secs(30),
            turn: Duration::from_millis(200),
            reader: Duration::from_secs(10),
        }
    }
}

/// Blocks that are read from the store and handed to the connection at once: 512 KiB, so that a busy machine has few changes of
/// threads to wait for.
pub(crate) const CHUNK_BLOCKS: u32 = 8;
/// Blocks of one read: what the wire allows.
pub const MAX_READ_BLOCKS: u32 = eddy_wire::frame::MAX_READ_BLOCKS;
/// Members about which this node remembers how they behaved (misses, proofs of wrong blocks).
pub(crate) const REMEMBERED_PEERS: usize = 4096;
