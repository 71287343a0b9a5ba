//! A fetch under way, and when its source has stalled.

use super::neighbour::Line;
use super::{ANSWER_WAIT, FLIGHTS_PER_PEER, PEER_RUN};
use crate::port::Peer;
use eddy_content::{BLOCK_SIZE, Geometry};
use std::ops::Range;
use std::time::Duration;

/// Without a byte for this long, on any of its flights, a peer has stalled; with the abort this keeps the promise of another
/// source within 1 s.
pub const PEER_STALL: Duration = Duration::from_millis(800);
/// How long a fetch that is being ended keeps its blocks: long enough to write and report what has arrived, so that nothing is
/// fetched twice, and with [`PEER_STALL`] less than 1 s.
pub(super) const ABORT_GRACE: Duration = Duration::from_millis(150);
/// Bytes per second that a peer must bring at least: below it holds blocks back from others with a trickle.
pub(crate) const PEER_PACE: u64 = 32 * 1024;
/// How long a fetch may run before its pace is looked at.
pub(crate) const PACE_GRACE: Duration = Duration::from_secs(2);
/// What a peer may bring on its other flights while one gets nothing: as much as may have been asked of it before. Whoever
/// brings more serves what was asked later, and holds this one back.
const MOST_AHEAD: u64 = PEER_RUN * (FLIGHTS_PER_PEER as u64 - 1);

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
    last_byte: Duration,
    first_byte: Option<Duration>,
    pub(super) bytes: u64,
    /// What its peer had brought on all flights when this one began, and when it got its last byte.
    line_at_begin: u64,
    line_at_last: u64,
    pub(super) has_brought: bool,
    /// Whether its peer was not asked what it holds: silence is no answer then.
    pub(super) is_question: bool,
    pub(super) is_aborting: bool,
    /// Whether its body came with the origin's first answer.
    pub(super) is_first_answer: bool,
    /// When it was told to end.
    aborted: Duration,
}

impl Flight {
    pub(super) fn new(now: Duration, source: Source, blocks: Range<u32>, line: Line) -> Self {
        let (bytes, has_brought, is_aborting) = (0, false, false);
        let (line_at_begin, line_at_last) = (line.bytes, line.bytes);
        let (begun, last_byte, aborted) = (now, now, now);
        Self {
            source,
            blocks,
            begun,
            last_byte,
            first_byte: None,
            bytes,
            line_at_begin,
            line_at_last,
            has_brought,
            is_question: false,
            is_aborting,
            is_first_answer: false,
            aborted,
        }
    }

    /// One from the origin whose wait is over.
    pub(super) fn answered(now: Duration, blocks: Range<u32>) -> Self {
        Self { first_byte: Some(now), is_first_answer: true, ..Self::new(now, Source::Origin, blocks, Line::default()) }
    }

    /// Its peer's line at the moment when it began.
    pub(super) fn begun(&self) -> Line {
        Line { bytes: self.line_at_begin, last_byte: self.begun }
    }

    /// Bytes of it arrived; `line` counts them already.
    pub(super) fn on_bytes(&mut self, now: Duration, bytes: u64, line: Line) {
        self.last_byte = now;
        self.first_byte.get_or_insert(now);
        self.bytes += bytes;
        self.line_at_last = line.bytes;
    }

    /// How long it has waited for its first byte, if that is still to come.
    pub(super) fn waits_since(&self, now: Duration) -> Option<Duration> {
        self.first_byte.is_none().then(|| now.saturating_sub(self.begun))
    }

    /// In what time its bytes came, from the first one's report on, if there were several.
    pub(super) fn brought_in(&self) -> Option<Duration> {
        let first = self.first_byte?;
        (self.last_byte > first).then(|| self.last_byte - first)
    }

    /// Bytes that have come since the first one, and in what time, while more are to come.
    pub(super) fn going(&self, now: Duration, geometry: Geometry) -> Option<(u64, Duration)> {
        let first = self.first_byte.filter(|_| !self.is_aborting && !self.has_arrived(geometry))?;
        Some((self.bytes, now.saturating_sub(first)))
    }

    /// Bytes that are still to come.
    pub(super) fn left(&self, geometry: Geometry) -> u64 {
        let bytes = geometry.bytes_of(self.blocks.clone());
        (bytes.end - bytes.start).saturating_sub(self.bytes)
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

    /// The moment at which its peer has stalled, if not a byte more comes until then. A peer may serve what is asked of it one
    /// request after another: a flight that gets nothing waits while the peer brings what was asked before.
    pub(super) fn stalls_at(&self, line: Line) -> Duration {
        if self.is_question && self.first_byte.is_none() {
            return self.begun + ANSWER_WAIT;
        }
        let own = self.last_byte + PEER_STALL;
        let silent = match line.bytes - self.line_at_last < MOST_AHEAD {
            true => own.max(line.last_byte + PEER_STALL),
            false => own,
        };
        let brought = line.bytes - self.line_at_begin;
        silent.min(self.begun + PACE_GRACE + Duration::from_millis(brought.saturating_mul(1000) / PEER_PACE))
    }
}
