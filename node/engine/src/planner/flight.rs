//! A fetch under way, and when its source has stalled.

use crate::port::Peer;
use std::ops::Range;
use std::time::Duration;

/// Without a byte for this long a peer has stalled; with the abort this keeps the promise of another source within 1 s.
pub const PEER_STALL: Duration = Duration::from_millis(800);
/// Bytes per second that a peer must bring at least: below it holds blocks back from others with a trickle.
const PEER_PACE: u64 = 32 * 1024;
/// How long a fetch may run before its pace is looked at.
const PACE_GRACE: Duration = Duration::from_secs(2);

/// Where the blocks of a fetch come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The origin.
    Origin,
    /// A peer.
    Peer(Peer),
}

/// A fetch under way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) source: Source,
    pub(super) blocks: Range<u32>,
    begun: Duration,
    pub(super) last_byte: Duration,
    pub(super) bytes: u64,
    pub(super) has_brought: bool,
    pub(super) is_aborting: bool,
}

impl Flight {
    pub(super) fn new(now: Duration, source: Source, blocks: Range<u32>) -> Self {
        let (bytes, has_brought, is_aborting) = (0, false, false);
        Self { source, blocks, begun: now, last_byte: now, bytes, has_brought, is_aborting }
    }

    /// The moment at which its peer has stalled, if not a byte more comes until then.
    pub(super) fn stalls_at(&self) -> Duration {
        let paced = Duration::from_millis(self.bytes.saturating_mul(1000) / PEER_PACE);
        (self.last_byte + PEER_STALL).min(self.begun + PACE_GRACE + paced)
    }
}
