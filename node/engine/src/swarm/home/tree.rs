//! Which source a member gets: branches through which verified blocks flow while the rest is still arriving.
//!
//! A source must lead to a live reader or to a holder; that no cycle closes is not enough (trap 5). Shallow trees look good and
//! overload the top (trap 16), so load counts far more than depth.

use super::Home;
use super::board::{From, Link};
use crate::swarm::constants::{CANDIDATES, DEPTH, FIRST_COPIES, SAMPLE, UPLOADS, WOKEN};
use crate::swarm::message::Item;
use crate::swarm::name::{ContentTag, Medium, Order, PeerTag, Reading};
use crate::swarm::node::{Glance, Reads};
use rand::RngExt;
use rand::seq::SliceRandom;
use std::time::Duration;

// The parts of a source's score; simulated.
const LOAD: f64 = 0.4;
const DEEP: f64 = 0.008;
const GIVEN: f64 = 0.05;
const CONNECTED: f64 = 0.03;
const AIR: f64 = 0.2;
const NEEDED: f64 = 1.0;
const ELSEWHERE: f64 = 10.0;
const LEAVING: f64 = 0.5;

/// What leads from a source to the origin or to a holder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Branch {
    depth: u32,
    rate: u64,
}

impl Home {
    /// Gives every member something to take, in random order.
    pub(super) fn fill_all(&mut self, now: Duration, b: u32) {
        if self.boards[b as usize].is_retired {
            return;
        }
        let mut slots: Vec<u32> = self.boards[b as usize].wanting().map(|(n, _)| n).collect();
        slots.shuffle(&mut self.rng);
        for n in slots {
            self.fill(now, b, n);
        }
    }

    /// Gives one member something to take.
    pub(super) fn fill(&mut self, now: Duration, b: u32, n: u32) {
        let board = &self.boards[b as usize];
        let seat = &self.seats[n as usize];
        let Some(stake) = board.stake(n).filter(|_| seat.is_alive && seat.is_joined && board.is_open(now)) else {
            return;
        };
        let Some(order) = stake.wants else { return };
        // One window for all contents: they share its line.
        let flows: u32 = self.boards.iter().filter_map(|board| board.stake(n)).map(|stake| stake.flows).sum();
        let room = seat.window(board.geometry.segment_size()).saturating_sub(flows) as usize;
        // What waits for others may fill the window: a first copy, for which they wait, is given beside it.
        if room == 0 && !board.has_unbegun {
            return;
        }
        self.boards[b as usize].count_first_copies();
        if self.is_alone(b, n) {
            return self.fill_alone(now, b, n, room as u32);
        }
        let board = &self.boards[b as usize];
        let Some(stake) = board.stake(n) else { return };
        // One that has nothing under way is held up by no cap: it begins with what somebody else receives too, where there is that.
        let is_capped = stake.flows == 0 && board.first_copies >= FIRST_COPIES;
        let is_last = |s: u32| is_capped && board.segments[s as usize].sources.len() == 1;
        let (behind, segments): (Vec<u32>, Vec<u32>) = board
            .available
            .without(&stake.have, &stake.under_way)
            .partition(|s| board.segments[*s as usize].is_behind());
        let mut segments: Vec<(bool, u64, u32)> =
            segments.into_iter().map(|s| (is_last(s), self.urgency(b, s, n, order), s)).collect();
        segments.sort_unstable();
        let mut given = 0;
        let mut is_left = !behind.is_empty();
        for (_, _, s) in segments {
            if given >= room && (!self.is_unbegun(b, s) || self.boards[b as usize].is_capped(n)) {
                return;
            }
            if self.put(now, b, s, n) {
                given += 1;
            } else {
                is_left = true;
            }
        }
        let stake = self.boards[b as usize].stake_mut(n).filter(|stake| is_left && !stake.is_waiting);
        if let Some(stake) = stake {
            stake.is_waiting = true;
            self.waiting.push_back((b, n));
        }
    }

    /// Lets members begin what one alone has: those first that take the fewest first copies, and then those that give the least.
    pub(super) fn spread_first_copies(&mut self, now: Duration, b: u32) {
        if !self.boards[b as usize].has_unbegun {
            return;
        }
        self.boards[b as usize].count_first_copies();
        while self.boards[b as usize].has_unbegun && self.boards[b as usize].first_copies < FIRST_COPIES {
            let board = &self.boards[b as usize];
            let before = board.first_copies;
            let takers = board.wanting().map(|(n, _)| n).filter(|n| {
                let seat = &self.seats[*n as usize];
                seat.is_alive && seat.is_joined && !board.has_its_share(*n)
            });
            let worth = |n: &u32| (board.first_copies_of(*n), self.seats[*n as usize].children, *n);
            let Some(n) = takers.min_by_key(worth) else { return };
            self.fill(now, b, n);
            let board = &mut self.boards[b as usize];
            board.count_first_copies();
            if board.first_copies <= before {
                return;
            }
        }
    }

    /// A segment is whole somewhere: who waits may find a source.
    pub(super) fn wake(&mut self, now: Duration) {
        for _ in 0..WOKEN {
            let Some((b, n)) = self.waiting.pop_front() else { return };
            if let Some(stake) = self.boards[b as usize].stake_mut(n) {
                stake.is_waiting = false;
            }
            self.fill(now, b, n);
        }
    }

    /// The smaller, the sooner. Ties of rarity are broken by a hash of member and segment, so that not all take the same.
    fn urgency(&self, b: u32, s: u32, n: u32, order: Order) -> u64 {
        match order {
            Order::Deadline => u64::from(s),
            Order::Rarest => {
                let rarity = self.boards[b as usize].segments[s as usize].sources.len() as u64;
                let mixed = (u64::from(n) << 32 | u64::from(s)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
                rarity << 32 | mixed
            }
        }
    }

    /// Gives a member another source of a segment at once, if there is one.
    pub(super) fn source(&mut self, now: Duration, b: u32, s: u32, n: u32) -> bool {
        let is_lacking = self.boards[b as usize].stake(n).is_some_and(|stake| stake.lacks(s));
        if !is_lacking || !self.put(now, b, s, n) {
            return false;
        }
        if let Some(item) = self.seats[n as usize].pending.pop() {
            self.seats[n as usize].urgent.push(item);
            self.has_urgent = true;
        }
        true
    }

    fn put(&mut self, now: Duration, b: u32, s: u32, n: u32) -> bool {
        let Some((source, rate)) = self.choose_source(now, b, s, n) else { return false };
        self.boards[b as usize].first_copies += u32::from(self.is_first_copy(b, s, source));
        self.link(now, b, s, n, Link::new(From::Member(source), rate));
        let item = Item::From { segment: s, source: PeerTag::of(&self.seats[source as usize].peer) };
        self.assign(now, b, n, item);
        true
    }

    pub(super) fn choose_source(&mut self, now: Duration, b: u32, s: u32, n: u32) -> Option<(u32, u64)> {
        let count = self.boards[b as usize].segments[s as usize].sources.len();
        let drawn: Vec<usize> = if count <= CANDIDATES {
            (0..count).collect()
        } else {
            (0..SAMPLE).map(|_| self.rng.random_range(0..count)).collect()
        };
        let mut best = self.best_of(now, b, s, n, &drawn);
        if best.is_none() && count > CANDIDATES {
            // The draw may have met only those that will not do.
            best = self.best_of(now, b, s, n, &(0..count).collect::<Vec<_>>());
        }
        best
    }

    fn best_of(&self, now: Duration, b: u32, s: u32, n: u32, drawn: &[usize]) -> Option<(u32, u64)> {
        let board = &self.boards[b as usize];
        let need = self.seats[n as usize].need(board.geometry.segment_size());
        let usable: Vec<(u32, Branch, u64, f64)> = drawn
            .iter()
            .filter_map(|place| {
                let p = board.segments[s as usize].sources[*place];
                let branch = self.usable(now, b, s, n, p)?;
                let free = self.seats[p as usize].free();
                let rate = if need == 0 { branch.rate.min(free) } else { need.min(branch.rate).min(free) };
                let fit = if need == 0 { 1.0 } else { (rate as f64 / need as f64).min(1.0) };
                Some((p, branch, rate, fit))
            })
            .collect();
        // How well others could give it: for the sake of a slow one nobody is kept from a fast one.
        let others =
            usable.iter().filter(|(p, ..)| !self.is_needed_elsewhere(b, *p)).map(|(.., fit)| *fit).fold(0.0, f64::max);
        let mut best: Option<(f64, u32, u64)> = None;
        for (p, branch, rate, fit) in usable {
            let spared = if self.is_needed_elsewhere(b, p) { NEEDED * others } else { 0.0 };
            let score = fit - spared + self.score(b, s, n, p, branch.depth);
            if best.is_none_or(|(known, ..)| score > known) {
                best = Some((score, p, if rate == u64::MAX { 0 } else { rate }));
            }
        }
        best.map(|(_, p, rate)| (p, rate))
    }

    /// Everything of a score but its rate.
    fn score(&self, b: u32, s: u32, n: u32, p: u32, depth: u32) -> f64 {
        let (seat, source) = (&self.seats[n as usize], &self.seats[p as usize]);
        let mean = (self.given as f64 / self.seats.len() as f64).max(1.0);
        let load = source.load(self.boards[b as usize].geometry.segment_size());
        let mut score = -LOAD * load * load - DEEP * f64::from(depth) - GIVEN * (f64::from(source.given) / mean - 1.0);
        if self.is_connected(b, n, p) {
            score += CONNECTED;
        }
        if source.link.medium == Medium::Wireless {
            score -= AIR;
        }
        if source.link.subnet != seat.link.subnet {
            let leaving = self.boards[b as usize].segments[s as usize].linked().filter(|(child, link)| {
                link.from == From::Member(p) && self.seats[*child as usize].link.subnet != source.link.subnet
            });
            score -= ELSEWHERE + LEAVING * leaving.count() as f64;
        }
        score
    }

    /// Whether something flows between the two already.
    fn is_connected(&self, b: u32, n: u32, p: u32) -> bool {
        let board = &self.boards[b as usize];
        let Some(stake) = board.stake(n) else { return false };
        stake.under_way.iter().any(|s| board.segments[s as usize].link(n).from == From::Member(p))
    }

    /// Whether `p` may give `s` to `n`, and by which branch.
    pub(super) fn usable(&self, now: Duration, b: u32, s: u32, n: u32, p: u32) -> Option<Branch> {
        let seat = &self.seats[p as usize];
        let is_refused = self.boards[b as usize].stake(n)?.is_refused(now, p);
        if p == n || !seat.is_source(now) || seat.children >= UPLOADS || is_refused {
            return None;
        }
        if self.is_first_copy(b, s, p) && self.boards[b as usize].is_capped(n) {
            return None;
        }
        self.branch(now, b, s, n, p)
    }

    /// Whether nobody but `p`, who has all of the content, has or receives a segment. As with leases, few of those are begun at a time: many
    /// at once would each be slow, and whoever follows them as well (trap 2).
    fn is_first_copy(&self, b: u32, s: u32, p: u32) -> bool {
        let board = &self.boards[b as usize];
        board.segments[s as usize].sources == [p] && board.stake(p).is_some_and(|stake| stake.have.is_full())
    }

    /// Whether one that has everything has a segment that nobody else has or receives.
    fn is_unbegun(&self, b: u32, s: u32) -> bool {
        let sources = &self.boards[b as usize].segments[s as usize].sources;
        matches!(sources[..], [p] if self.is_first_copy(b, s, p))
    }

    /// Whether `p`, who has everything, has segments that nobody has begun to take: a second copy that it gives of what is passed on is one less
    /// of those, and all wait for them.
    pub(super) fn is_needed_elsewhere(&self, b: u32, p: u32) -> bool {
        let board = &self.boards[b as usize];
        board.has_unbegun && board.stake(p).is_some_and(|stake| stake.have.is_full())
    }

    /// What leads from `p` to the origin or to a holder without passing `avoid`.
    pub(super) fn branch(&self, now: Duration, b: u32, s: u32, avoid: u32, p: u32) -> Option<Branch> {
        let board = &self.boards[b as usize];
        let segment = &board.segments[s as usize];
        let (mut at, mut rate) = (p, u64::MAX);
        for depth in 1..DEPTH {
            if at == avoid || !self.seats[at as usize].is_source(now) {
                return None;
            }
            if board.stake(at)?.have.has(s) {
                return Some(Branch { depth, rate });
            }
            let link = segment.link(at);
            if link.rate > 0 {
                rate = rate.min(link.rate);
            }
            match link.from {
                From::Nowhere => return None,
                From::Origin => return segment.is_open.then_some(Branch { depth, rate }),
                From::Member(parent) => at = parent,
            }
        }
        None
    }

    /// Shows who reads a content, and how long the branches are.
    pub(in crate::swarm) fn show(&self, content: ContentTag, glance: &mut Glance) {
        let Some(b) = self.by_content.get(&content) else { return };
        glance.others = Some(self.among(*b));
        let geometry = self.boards[*b as usize].geometry;
        let of_board = self.leases.values().filter(|lease| lease.board == *b);
        let reads = of_board
            .map(|lease| Reads::of(self.seats[lease.slot as usize].peer, &geometry, &lease.segments, lease.bytes));
        glance.reads = reads.collect();
        for segment in &self.boards[*b as usize].segments {
            for (_, link) in segment.linked() {
                let (mut depth, mut at) = (0, link.from);
                while let From::Member(parent) = at
                    && depth < DEPTH
                {
                    (depth, at) = (depth + 1, segment.link(parent).from);
                }
                glance.depth = glance.depth.max(depth);
            }
        }
    }

    /// Whether a flow of `n` leads anywhere.
    pub(super) fn leads(&self, now: Duration, b: u32, s: u32, n: u32) -> bool {
        match self.boards[b as usize].segments[s as usize].link(n).from {
            From::Nowhere => false,
            From::Origin => true,
            From::Member(parent) => self.branch(now, b, s, n, parent).is_some(),
        }
    }

    /// Whether a content comes as one stream.
    pub(super) fn is_stream(&self, b: u32) -> bool {
        self.boards[b as usize].content.reading == Reading::Stream
    }
}
