//! Who reads what from the origin: a sliding window of few leases, the lowest segment first (traps 1 and 2).

use super::Home;
use super::board::{From, Link};
use super::stream::Checked;
use crate::swarm::constants::{
    LEASE_PATIENCE, LEASE_ROUND_TRIPS, LEASE_SEGMENTS, LEASE_TIME, LEASES_MOST, ORPHAN_HOLD, STREAM_SILENCE,
    TAIL_ROUND_TRIPS,
};
use crate::swarm::message::Item;
use crate::swarm::name::{ContentTag, LeaseId, Medium, Reading};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Load above which a reader is not simply given the next lease.
const BUSY: f64 = 0.7;

/// One lease.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) board: u32,
    pub(super) slot: u32,
    pub(super) segments: Range<u32>,
    /// Nearly over: it does not count against the budget any more (trap 14).
    pub(super) is_tail: bool,
    pub(super) bytes: u64,
    granted: Duration,
    /// When its reader last said that something came.
    moved: Duration,
    /// What others say of it.
    pub(super) checked: Checked,
}

impl Lease {
    pub(super) fn new(now: Duration, board: u32, slot: u32, segments: Range<u32>) -> Self {
        let checked = Checked::new(now);
        Self { board, slot, segments, is_tail: false, bytes: 0, granted: now, moved: now, checked }
    }
}

/// What becomes of the segments of a lease that ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Its reader is gone: a child may have a part, and is waited for.
    Lost,
    /// Its reader is there, and says what it has.
    Kept,
}

impl Home {
    /// Gives leases while there are some to give; `prefer` has just ended one.
    pub(super) fn issue(&mut self, now: Duration, prefer: Option<u32>) {
        let mut has_given = false;
        while now >= self.no_leases_before && self.has_lease_free() {
            let Some((b, s)) = self.next_unread(now) else { break };
            let Some(n) = self.choose_reader(now, b, s, prefer) else { break };
            self.grant(now, b, s, n);
            has_given = true;
        }
        if has_given {
            for b in 0..self.boards.len() as u32 {
                self.boards[b as usize].count_unread();
                self.fill_all(now, b);
            }
        }
    }

    pub(super) fn has_lease_free(&self) -> bool {
        let budget = self.pace.leases();
        let active = self.leases.values().filter(|lease| !lease.is_tail).count() as u32;
        active < budget && (self.leases.len() as u32) < (2 * budget).min(LEASES_MOST)
    }

    /// The lowest segment that somebody wants and nobody has or reads; of several contents that with the fewest leases.
    fn next_unread(&self, now: Duration) -> Option<(u32, u32)> {
        let boards = self.boards.iter().enumerate().filter(|(_, board)| !board.is_retired && board.is_readable(now));
        let reads = |b: u32| self.leases.values().filter(|lease| lease.board == b).count();
        let found = boards.filter_map(|(b, _)| Some((b as u32, self.next_unread_of(now, b as u32)?)));
        found.min_by_key(|(b, _)| (reads(*b), *b))
    }

    fn next_unread_of(&self, now: Duration, b: u32) -> Option<u32> {
        let board = &self.boards[b as usize];
        board.wanting().next()?;
        let is_unread = |s: &usize| board.segments[*s].holders == 0 && board.segments[*s].lease.is_none();
        let mut unread = (0..board.segments.len()).filter(is_unread);
        if board.content.reading != Reading::Ranges {
            // A second stream, or one that skips a segment, costs a whole copy (trap 13). What may be one is read by one who finds out.
            let is_read = self.leases.values().any(|lease| lease.board == b);
            let first = unread.next().filter(|s| !is_read && !board.is_held_back(now, *s as u32))?;
            return self.has_reader(now, b, first as u32).then_some(first as u32);
        }
        let is_free = |s: &usize| !board.is_held_back(now, *s as u32) && self.has_reader(now, b, *s as u32);
        unread.find(is_free).map(|s| s as u32)
    }

    fn has_reader(&self, now: Duration, b: u32, s: u32) -> bool {
        self.boards[b as usize].wanting().any(|(n, stake)| stake.lacks(s) && self.may_read(now, n))
    }

    pub(super) fn may_read(&self, now: Duration, n: u32) -> bool {
        let seat = &self.seats[n as usize];
        seat.is_alive && seat.is_joined && now >= seat.no_reading_before
    }

    /// Who has a part already; else who has just read; else who can give best.
    fn choose_reader(&self, now: Duration, b: u32, s: u32, prefer: Option<u32>) -> Option<u32> {
        let board = &self.boards[b as usize];
        let size = board.geometry.segment_size();
        let lacks = |n: u32| board.stake(n).is_some_and(|stake| stake.lacks(s)) && self.may_read(now, n);
        // A struck member gives nothing on; it reads for itself only when nobody else wants it (trap 9).
        let is_good = |n: u32| lacks(n) && !self.seats[n as usize].is_struck(now);
        if let Some((n, _)) = board.segments[s as usize].best.filter(|(n, _)| is_good(*n)) {
            return Some(n);
        }
        let is_easy = |n: &u32| {
            let seat = &self.seats[*n as usize];
            is_good(*n) && seat.load(size) < BUSY && seat.leases < 2 && seat.link.medium == Medium::Wired
        };
        if let Some(n) = prefer.filter(is_easy) {
            return Some(n);
        }
        let by_subnet = |subnet: u32| {
            self.leases.values().filter(|lease| self.seats[lease.slot as usize].link.subnet == subnet).count()
        };
        let worth = |n: u32| {
            let seat = &self.seats[n as usize];
            let (struck, air) = (seat.is_struck(now), seat.link.medium == Medium::Wireless);
            let load = (seat.load(size) * 16.0) as u32;
            // The smallest is chosen.
            (struck, air, seat.leases, by_subnet(seat.link.subnet), load, !seat.has_read, seat.given, n)
        };
        board.wanting().map(|(n, _)| n).filter(|n| lacks(*n)).min_by_key(|n| worth(*n))
    }

    /// Lets `n` read from segment `s` on.
    pub(super) fn grant(&mut self, now: Duration, b: u32, s: u32, n: u32) {
        let segments = self.extent(now, b, s, n);
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.enter_lease(now, id, Lease::new(now, b, n, segments.clone()), segments.clone());
        if self.is_stream(b) {
            self.allow_skipping(id);
        }
        self.assign_at_once(b, n, Item::Lease { lease: id, segments });
    }

    /// Enters a lease, under which these of its segments are read.
    pub(super) fn enter_lease(
        &mut self,
        now: Duration,
        id: LeaseId,
        lease: Lease,
        segments: impl IntoIterator<Item = u32>,
    ) {
        self.lend(now, id, (lease.board, lease.slot), segments);
        let seat = &mut self.seats[lease.slot as usize];
        (seat.leases, seat.has_read) = (seat.leases + 1, true);
        self.leases.insert(id, lease);
        self.open_next(id);
    }

    /// Those of the segments that `n` lacks and nobody has or reads are what it reads under this lease.
    fn lend(&mut self, now: Duration, id: LeaseId, (b, n): (u32, u32), segments: impl IntoIterator<Item = u32>) {
        let rate = self.pace.rate_of_lease();
        for s in segments {
            let board = &mut self.boards[b as usize];
            let is_read = board.segments[s as usize].lease.is_some() || board.segments[s as usize].holders > 0;
            if is_read || !board.stake(n).is_some_and(|stake| stake.lacks(s)) {
                continue;
            }
            let segment = &mut board.segments[s as usize];
            (segment.lease, segment.best, segment.is_open) = (Some(id), None, false);
            self.link(now, b, s, n, Link::new(From::Origin, rate));
        }
    }

    /// Children may take what is being read, and what comes next.
    pub(super) fn open_next(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get(&id) else { return };
        let board = &mut self.boards[lease.board as usize];
        let left = lease.segments.clone().filter(|s| board.segments[*s as usize].lease == Some(id));
        for s in left.take(2).collect::<Vec<_>>() {
            board.open(s);
        }
    }

    /// As many segments as one request should bring, so that round trips do not count (trap 15).
    fn extent(&self, now: Duration, b: u32, s: u32, n: u32) -> Range<u32> {
        let board = &self.boards[b as usize];
        let count = board.segments.len() as u32;
        if board.content.reading == Reading::Stream {
            return s..count;
        }
        let bytes = self.pace.bytes_in(self.pace.round_trip() * LEASE_ROUND_TRIPS);
        let fair = (board.unread / (2 * self.pace.leases())).max(1);
        let by_round_trips = bytes.div_ceil(board.geometry.segment_size()).min(LEASE_SEGMENTS.into()) as u32;
        let wanted = by_round_trips.max(self.pace.extent()).min(LEASE_SEGMENTS).min(fair);
        let is_free = |s: u32| {
            let segment = &board.segments[s as usize];
            let is_unread = segment.holders == 0 && segment.lease.is_none() && segment.best.is_none();
            is_unread && !board.is_held_back(now, s) && board.stake(n).is_some_and(|stake| stake.lacks(s))
        };
        let end = (s + 1..count.min(s + wanted)).find(|next| !is_free(*next)).unwrap_or(count.min(s + wanted));
        s..end
    }

    /// Lets `n` read one segment although others have it: it refused them all.
    pub(super) fn grant_alone(&mut self, now: Duration, b: u32, s: u32, n: u32) {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let count = self.boards[b as usize].segments.len() as u32;
        let segments = s..if self.is_stream(b) { count } else { s + 1 };
        self.enter_alone(now, id, Lease::new(now, b, n, segments.clone()), segments.clone());
        self.open_next(id);
        self.assign_at_once(b, n, Item::Lease { lease: id, segments });
    }

    /// Enters a lease of one that reads these segments for itself, whoever else has or reads them.
    pub(super) fn enter_alone(
        &mut self,
        now: Duration,
        id: LeaseId,
        lease: Lease,
        segments: impl IntoIterator<Item = u32>,
    ) {
        let (b, n) = (lease.board, lease.slot);
        for s in segments {
            let board = &mut self.boards[b as usize];
            let is_lacking = board.stake(n).is_some_and(|stake| stake.lacks(s));
            if is_lacking && board.segments[s as usize].link(n).from == From::Nowhere {
                board.segments[s as usize].lease.get_or_insert(id);
                self.link(now, b, s, n, Link::new(From::Origin, 0));
            }
        }
        if self.leases.contains_key(&id) {
            return;
        }
        self.seats[n as usize].leases += 1;
        self.leases.insert(id, lease);
    }

    /// A lease is nearly over: the next one begins, so that the line never rests (trap 14).
    pub(super) fn on_tail(&mut self, now: Duration, n: u32, id: LeaseId, first_byte: Duration) {
        let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.slot == n) else { return };
        lease.is_tail = true;
        let (count, so_far) = (lease.segments.len() as u32, now.saturating_sub(lease.granted));
        self.pace.on_round_trip(first_byte);
        // What is left of it needs less than that; the next one should know before it begins.
        self.pace.on_lease(count, so_far + first_byte * TAIL_ROUND_TRIPS);
        self.issue(now, Some(n));
    }

    /// A reader has seen how the origin serves a content. Nobody else has: who holds no such lease is not believed.
    pub(super) fn on_offers(&mut self, now: Duration, n: u32, content: ContentTag, (id, reading): (LeaseId, Reading)) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let is_it = |lease: &&mut Lease| (lease.board, lease.slot) == (b, n);
        let Some(lease) = self.leases.get_mut(&id).filter(is_it) else { return };
        lease.moved = now;
        self.learn(now, b, reading);
        if self.is_stream(b) {
            self.read_on(now, id);
        }
        self.issue(now, None);
    }

    /// An answer of the origin counts more than what was announced or heard, and that a range was answered with everything more than
    /// that one was served. Where ranges were believed in and are not served, all leases were given in vain.
    fn learn(&mut self, now: Duration, b: u32, shown: Reading) {
        let board = &mut self.boards[b as usize];
        board.shown = board.shown.learn(shown);
        if board.shown == Reading::Unknown {
            return;
        }
        let known = std::mem::replace(&mut board.content.reading, board.shown);
        if known == Reading::Ranges && self.is_stream(b) {
            let of_board = self.leases.iter().filter(|(_, lease)| lease.board == b);
            for id in of_board.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.drop_lease(now, id, Ending::Kept);
            }
        }
    }

    /// The reader of a stream gets all that is still to come, under the same lease.
    fn read_on(&mut self, now: Duration, id: LeaseId) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let (b, n, end) = (lease.board, lease.slot, lease.segments.end);
        let count = self.boards[b as usize].segments.len() as u32;
        if end == count {
            return;
        }
        (lease.segments.end, lease.is_tail) = (count, false);
        self.lend(now, id, (b, n), end..count);
        self.allow_skipping(id);
        self.open_next(id);
        self.boards[b as usize].count_unread();
        self.fill_all(now, b);
    }

    pub(super) fn on_progress(&mut self, now: Duration, n: u32, id: LeaseId, bytes: u64) {
        let Some(lease) = self.leases.get_mut(&id).filter(|lease| lease.slot == n) else { return };
        // One that reads on under another home's lease counts from its beginning; more than there is nobody has read.
        let board = &self.boards[lease.board as usize];
        let most = board.geometry.segment_size() * board.segments.len() as u64;
        let gained = bytes.min(most).saturating_sub(lease.bytes);
        if gained > 0 {
            (lease.bytes, lease.moved) = (lease.bytes + gained, now);
        }
        self.pace.on_bytes(now, gained);
    }

    /// A reader gives a lease back.
    pub(super) fn on_return(&mut self, now: Duration, n: u32, id: LeaseId, prefix: u32) {
        let Some(lease) = self.leases.get(&id).filter(|lease| lease.slot == n) else { return };
        let (b, first) = (lease.board, lease.segments.start);
        // One that reads as much as it may gives all back at once: given again at once, it would go to and fro for ever.
        self.seats[n as usize].on_read_fault(now, prefix > 0);
        self.drop_lease(now, id, Ending::Kept);
        let segment = &mut self.boards[b as usize].segments[first as usize];
        if prefix > 0 && segment.best.is_none() {
            segment.best = Some((n, prefix));
        }
        self.issue(now, None);
    }

    /// A segment of a lease is whole.
    pub(super) fn on_segment_read(&mut self, now: Duration, id: LeaseId) {
        let Some(lease) = self.leases.get(&id) else { return };
        let segments = &self.boards[lease.board as usize].segments;
        if lease.segments.clone().any(|s| segments[s as usize].lease == Some(id)) {
            return self.open_next(id);
        }
        let bytes = self.boards[lease.board as usize].geometry.segment_size() * lease.segments.len() as u64;
        let rest = bytes.saturating_sub(lease.bytes);
        let (count, took) = (lease.segments.len() as u32, now.saturating_sub(lease.granted));
        self.pace.on_bytes(now, rest);
        self.pace.on_lease(count, took);
        self.end_lease(id);
    }

    /// Forgets a lease, whatever became of it.
    pub(super) fn end_lease(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        let seat = &mut self.seats[lease.slot as usize];
        seat.leases = seat.leases.saturating_sub(1);
        for s in lease.segments {
            let segment = &mut self.boards[lease.board as usize].segments[s as usize];
            if segment.lease == Some(id) {
                segment.lease = None;
            }
        }
    }

    /// Ends a lease before its time.
    pub(super) fn drop_lease(&mut self, now: Duration, id: LeaseId, ending: Ending) {
        let Some(lease) = self.leases.get(&id).cloned() else { return };
        let b = lease.board;
        for s in lease.segments.clone() {
            let segment = &mut self.boards[b as usize].segments[s as usize];
            if segment.lease != Some(id) {
                continue;
            }
            if ending == Ending::Lost && segment.is_open {
                segment.hold_until = now + ORPHAN_HOLD;
            }
            segment.is_open = false;
            if segment.link(lease.slot).from == From::Origin {
                self.unlink(b, s, lease.slot);
            }
        }
        self.end_lease(id);
    }

    pub(super) fn end_leases_of(&mut self, now: Duration, b: u32, n: u32, ending: Ending) {
        let of_member = self.leases.iter().filter(|(_, lease)| (lease.board, lease.slot) == (b, n));
        for id in of_member.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.drop_lease(now, id, ending);
        }
    }

    /// Leases that take far too long are given to somebody else, whatever their readers say; that of a stream, which lasts as long as it
    /// lasts, when nothing comes any more, or nothing of it to several others.
    pub(super) fn revoke_late(&mut self, now: Duration) {
        let doubted = self.leases.iter().filter(|(_, lease)| self.is_stream(lease.board));
        let doubted: Vec<LeaseId> =
            doubted.filter(|(_, lease)| self.is_unchecked(now, lease)).map(|(id, _)| *id).collect();
        let refuted: BTreeSet<LeaseId> = doubted.into_iter().filter(|id| self.is_refuted(now, *id)).collect();
        let late = self.leases.iter().filter(|(id, lease)| {
            if self.is_stream(lease.board) {
                return now >= lease.moved + STREAM_SILENCE || refuted.contains(*id);
            }
            let blocks = self.boards[lease.board as usize].geometry.segment_size() * lease.segments.len() as u64;
            let patience =
                self.pace.time_for(blocks).map_or(LEASE_TIME, |time| (time * LEASE_PATIENCE).max(LEASE_TIME));
            now >= lease.granted + patience
        });
        for (id, slot, b) in late.map(|(id, lease)| (*id, lease.slot, lease.board)).collect::<Vec<_>>() {
            self.boards[b as usize].streams_lost += u32::from(self.is_stream(b));
            self.seats[slot as usize].on_read_fault(now, false);
            self.drop_lease(now, id, Ending::Kept);
        }
    }
}
