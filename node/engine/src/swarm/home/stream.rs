//! Whether the one who reads a stream gets on: by the words of those who take it from there, since nobody can check its own.
//!
//! A stream has one reader, and everybody waits for it. One that only says that it reads would hold all of them up; what the others
//! have of it cannot be made up by the reader. But one who waits can lie as well, so its word alone takes the stream from nobody: it says
//! nothing more comes, the reader says that it reads, and both may be right in their own way. Such a one reads for itself, which it
//! could have done anyway. Two who take it from the reader by different ways are believed, and so is what the home itself takes.
//! Where nobody else takes the stream there is nobody to be held up either.

use super::Home;
use super::board::From;
use super::lease::Lease;
use crate::swarm::constants::{DEPTH, LEASES_MOST, REFUSAL, STREAM_DOUBLINGS, STREAM_UNCHECKED};
use crate::swarm::name::{ContentTag, LeaseId};
use eddy_content::BLOCK_SIZE;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Ways to a reader by which nothing comes that are needed to take its stream away.
const WORDS: usize = 2;

/// What one member told last of how much it has.
#[derive(Debug, Clone, Copy)]
struct Reached {
    blocks: u32,
    at: Duration,
}

/// What is known of a stream that does not come from its reader.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// When somebody else last had more of it, or was helped otherwise.
    moved: Duration,
    /// Verified blocks at those who tell, by slot.
    reached: BTreeMap<u32, Reached>,
    /// How long its reader may pass over what others have: a stream begins at the first byte.
    skip: Duration,
}

impl Checked {
    pub(super) fn new(now: Duration) -> Self {
        Self { moved: now, reached: BTreeMap::new(), skip: Duration::ZERO }
    }

    /// A member has so many blocks. Its first word is what later ones are held against; of those, the bytes per second in between.
    fn on_reached(&mut self, now: Duration, slot: u32, blocks: u32) -> Option<f64> {
        let known = self.reached.get(&slot).copied();
        if known.is_some_and(|known| blocks <= known.blocks) {
            return None;
        }
        self.reached.insert(slot, Reached { blocks, at: now });
        self.moved = now;
        let known = known.filter(|known| now > known.at)?;
        let bytes = u64::from(blocks - known.blocks) * BLOCK_SIZE;
        Some(bytes as f64 / now.saturating_sub(known.at).as_secs_f64())
    }
}

impl Home {
    /// A member tells how much of a content is verified there.
    pub(super) fn on_reached(&mut self, now: Duration, n: u32, content: ContentTag, blocks: u32) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let blocks = blocks.min(self.boards[b as usize].geometry.block_count());
        let others = self.leases.values_mut().filter(|lease| lease.board == b && lease.slot != n);
        let seen = others.filter_map(|lease| lease.checked.on_reached(now, n, blocks)).reduce(f64::max);
        if let Some(seen) = seen {
            self.pace.on_seen(seen);
        }
    }

    /// A stream is read under this lease: what of it nobody lacks may take its time.
    pub(super) fn allow_skipping(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let board = &self.boards[lease.board as usize];
        let is_passed_over = |segment: &&super::board::Segment| segment.lease != Some(id);
        let segments = board.segments.iter().filter(is_passed_over).count() as u64;
        lease.checked.skip = self.pace.time_to_skip(segments * board.geometry.segment_size());
    }

    /// Whether others wait for a stream that nobody but its reader has seen move. Of what this node reads itself it needs no word.
    pub(super) fn is_unchecked(&self, now: Duration, lease: &Lease) -> bool {
        let board = &self.boards[lease.board as usize];
        let patience = STREAM_UNCHECKED * (1 << board.streams_lost.min(STREAM_DOUBLINGS));
        let is_own = self.seats[lease.slot as usize].peer == self.me;
        !is_own
            && now >= lease.checked.moved + patience + lease.checked.skip
            && self.waiting_for(lease).next().is_some()
    }

    /// Those who wait for a stream and have told how much they have.
    fn waiting_for(&self, lease: &Lease) -> impl Iterator<Item = u32> + '_ {
        let board = &self.boards[lease.board as usize];
        let reader = lease.slot;
        let waits = move |n: &u32| {
            let seat = &self.seats[*n as usize];
            let is_wanting = board.stake(*n).is_some_and(|stake| stake.wants.is_some() && !stake.have.is_full());
            is_wanting && *n != reader && seat.is_alive && seat.is_joined
        };
        lease.checked.reached.keys().copied().collect::<Vec<_>>().into_iter().filter(waits)
    }

    /// Whether the words of those who wait are enough against the reader's; else they are helped otherwise, and heard again later.
    pub(super) fn is_refuted(&mut self, now: Duration, id: LeaseId) -> bool {
        let Some(lease) = self.leases.get(&id).cloned() else { return false };
        let b = lease.board;
        let waiting: Vec<u32> = self.waiting_for(&lease).collect();
        let firsts: BTreeSet<u32> = waiting.iter().map(|n| self.first_of_branch(&lease, *n)).collect();
        if firsts.len() >= WORDS || firsts.iter().any(|n| self.seats[*n as usize].peer == self.me) {
            return true;
        }
        if let Some(lease) = self.leases.get_mut(&id) {
            lease.checked.moved = now;
        }
        // Behind one that may hold them up they would all say the same: they take it from the reader itself.
        let behind: Vec<u32> = waiting.iter().copied().filter(|n| !firsts.contains(n)).collect();
        for n in &behind {
            self.avoid(now, b, *n, &firsts);
            self.fill(now, b, *n);
        }
        if behind.is_empty() {
            // One against one: nobody can know which of them it is.
            for n in firsts {
                self.avoid(now, b, n, &BTreeSet::from([lease.slot]));
                self.grant_alone_from(now, b, n);
            }
        }
        false
    }

    /// Who hangs on the reader in the branch through which `n` gets what is read now; `n` itself where nobody stands between.
    fn first_of_branch(&self, lease: &Lease, n: u32) -> u32 {
        let board = &self.boards[lease.board as usize];
        let read = |s: &u32| board.stake(lease.slot).is_some_and(|stake| stake.lacks(*s));
        let Some(s) = lease.segments.clone().find(read) else { return n };
        let mut at = n;
        for _ in 0..DEPTH {
            match board.segments[s as usize].link(at).from {
                From::Member(parent) if parent != lease.slot => at = parent,
                From::Member(_) | From::Origin | From::Nowhere => return at,
            }
        }
        n
    }

    /// `n` takes nothing more from these.
    fn avoid(&mut self, now: Duration, b: u32, n: u32, sources: &BTreeSet<u32>) {
        let Some(stake) = self.boards[b as usize].stake_mut(n) else { return };
        sources.iter().for_each(|p| stake.refuse(now, *p, now + REFUSAL));
        let under_way: Vec<u32> = stake.under_way.iter().collect();
        for s in under_way {
            if let From::Member(p) = self.boards[b as usize].segments[s as usize].link(n).from
                && sources.contains(&p)
            {
                self.unlink(b, s, n);
            }
        }
    }

    /// Lets one that is not sure of the reader read for itself from the first segment that it lacks, beside the one who reads for all.
    fn grant_alone_from(&mut self, now: Duration, b: u32, n: u32) {
        let Some(stake) = self.boards[b as usize].stake(n) else { return };
        let lacking = (0..stake.have.len()).find(|s| stake.lacks(*s) && !stake.under_way.has(*s));
        let is_free = self.leases.len() < LEASES_MOST as usize;
        if let Some(s) = lacking.filter(|_| is_free && self.may_read(now, n)) {
            self.grant_alone(now, b, s, n);
        }
    }
}
