//! Whether the one who reads a stream gets on: by the word of those who take it from there, since nobody can check its own.
//!
//! A stream has one reader, and everybody waits for it. One that only says that it reads would hold all of them up; what the others
//! have of it cannot be made up by the reader. Where nobody else takes the stream there is nobody to be held up either.

use super::Home;
use super::lease::Lease;
use crate::swarm::constants::{STREAM_DOUBLINGS, STREAM_UNCHECKED};
use crate::swarm::name::{ContentTag, LeaseId};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known of a stream that does not come from its reader.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// When somebody else last had more of it.
    moved: Duration,
    /// Verified blocks at those who tell, by slot.
    reached: BTreeMap<u32, u32>,
    /// How long its reader may pass over what others have: a stream begins at the first byte.
    skip: Duration,
}

impl Checked {
    pub(super) fn new(now: Duration) -> Self {
        Self { moved: now, reached: BTreeMap::new(), skip: Duration::ZERO }
    }

    /// A member has so many blocks. Its first word is what later ones are held against.
    fn on_reached(&mut self, now: Duration, slot: u32, blocks: u32) {
        let known = self.reached.get(&slot).copied();
        if known.is_none_or(|known| blocks > known) {
            self.reached.insert(slot, blocks);
            self.moved = now;
        }
    }
}

impl Home {
    /// A member tells how much of a content is verified there.
    pub(super) fn on_reached(&mut self, now: Duration, n: u32, content: ContentTag, blocks: u32) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let blocks = blocks.min(self.boards[b as usize].geometry.block_count());
        let others = self.leases.values_mut().filter(|lease| lease.board == b && lease.slot != n);
        others.for_each(|lease| lease.checked.on_reached(now, n, blocks));
    }

    /// A stream is read under this lease: what of it nobody lacks may take its time.
    pub(super) fn allow_skipping(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let board = &self.boards[lease.board as usize];
        let is_passed_over = |segment: &&super::board::Segment| segment.lease != Some(id);
        let segments = board.segments.iter().filter(is_passed_over).count() as u64;
        lease.checked.skip = self.pace.time_to_skip(segments * board.geometry.segment_size());
    }

    /// Whether others wait for a stream that nobody but its reader has seen move.
    pub(super) fn is_unchecked(&self, now: Duration, lease: &Lease) -> bool {
        let board = &self.boards[lease.board as usize];
        let waits = |n: &u32| {
            let seat = &self.seats[*n as usize];
            let is_wanting = board.stake(*n).is_some_and(|stake| stake.wants.is_some() && !stake.have.is_full());
            is_wanting && seat.is_alive && seat.is_joined
        };
        let patience = STREAM_UNCHECKED * (1 << board.streams_lost.min(STREAM_DOUBLINGS));
        now >= lease.checked.moved + patience + lease.checked.skip && lease.checked.reached.keys().any(waits)
    }
}
