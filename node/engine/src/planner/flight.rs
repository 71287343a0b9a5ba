//! A fetch under way, and when its source has stalled.

use crate::port::Peer;
use eddy_content::{BLOCK_SIZE, Geometry};
use std::ops::Range;
use std::time::Duration;

/// Without a byte for this long a peer has stalled; with the abort this keeps the promise of another source within 1 s.
pub const PEER_STALL: Duration = Duration::from_millis(800);
/// How long a fetch that is being ended keeps its blocks: long enough to write and report what has arrived, so that nothing is
/// fetched twice, and with [`PEER_STALL`] less than 1 s.
pub(super) const ABORT_GRACE: Duration = Duration::from_millis(150);
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
    /// When it was told to end.
    aborted: Duration,
}

impl Flight {
    pub(super) fn new(now: Duration, source: Source, blocks: Range<u32>) -> Self {
        let (bytes, has_brought, is_aborting) = (0, false, false);
        Self { source, blocks, begun: now, last_byte: now, bytes, has_brought, is_aborting, aborted: now }
    }

    /// Notes that it was told to end.
    pub(super) fn abort(&mut self, now: Duration) {
        self.is_aborting = true;
        self.aborted = now;
    }

    /// When what has not arrived of it is free for others, if it was told to end.
    pub(super) fn frees_at(&self) -> Option<Duration> {
        self.is_aborting.then(|| self.aborted + ABORT_GRACE)
    }

    /// The blocks that nobody else should fetch.
    pub(super) fn keeps(&self, now: Duration) -> Range<u32> {
        match self.frees_at() {
            Some(at) if now >= at => self.arrived(),
            _ => self.blocks.clone(),
        }
    }

    /// The blocks that have arrived whole, though they may not be durable yet; bytes come in order.
    fn arrived(&self) -> Range<u32> {
        let count = u32::try_from(self.bytes / BLOCK_SIZE).unwrap_or(u32::MAX);
        self.blocks.start..self.blocks.start.saturating_add(count).min(self.blocks.end)
    }

    /// Whether every byte has arrived: then it waits for this node's own disk, and its source has done its part.
    pub(super) fn has_arrived(&self, geometry: Geometry) -> bool {
        let bytes = geometry.bytes_of(self.blocks.clone());
        self.bytes >= bytes.end - bytes.start
    }

    /// The moment at which its peer has stalled, if not a byte more comes until then.
    pub(super) fn stalls_at(&self) -> Duration {
        let paced = Duration::from_millis(self.bytes.saturating_mul(1000) / PEER_PACE);
        (self.last_byte + PEER_STALL).min(self.begun + PACE_GRACE + paced)
    }
}
