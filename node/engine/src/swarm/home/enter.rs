//! A member joins, leaves, or is gone.

use super::board::{Board, From, Link, Stake};
use super::lease::Ending;
use super::seat::Seat;
use super::{Home, Out};
use crate::port::Peer;
use crate::swarm::bits::Bits;
use crate::swarm::constants::{ACTIVATION, CONTENTS, EXPECTED, MEMBERS, TAKE_OVER_MOST};
use crate::swarm::message::{Holdings, Join, JoinFlow, JoinSource, Say};
use crate::swarm::name::{Content, ContentTag, PeerTag};
use std::collections::BTreeSet;
use std::time::Duration;

/// Whether somebody was home before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::swarm) enum Succession {
    /// Nobody that is known of.
    First,
    /// Another one, whose readers still have to tell what they read.
    AfterAnother,
}

impl Home {
    /// A member says all that it has; what was known of it before counts no more. `others` are those that can be asked about a
    /// content that is new here.
    pub(in crate::swarm) fn enter(&mut self, now: Duration, from: Peer, join: Join, others: BTreeSet<Peer>) -> bool {
        let Some(b) = self.board_of(now, join.content, (from, others)) else { return false };
        let Some(n) = self.seat_of(now, from) else { return false };
        if self.boards[b as usize].segments.len() != join.have.len() as usize {
            return false;
        }
        // Who has joined has said it all.
        let opens = self.boards[b as usize].has_answered(&from);
        if self.boards[b as usize].stake(n).is_none() {
            self.ask_doubted(now, b, n);
        }
        let seat = &mut self.seats[n as usize];
        (seat.link, seat.is_alive, seat.is_joined, seat.follows) = (join.link, true, true, true);
        seat.pending.retain(|(board, _)| *board != b);
        seat.urgent.retain(|(board, _)| *board != b);
        let before = self.take_leases_of(now, b, n);
        let mut stake = Stake::new(now, join.wants, join.have);
        if let Some(known) = self.boards[b as usize].stake_mut(n) {
            // Who asks again because nothing comes must not be sent to the same again.
            stake.keep_sources(known);
            stake.busy = known.busy;
        }
        self.forget_stake(b, n);
        self.boards[b as usize].touched = now;
        self.boards[b as usize].hear(join.content.reading);
        self.take_stake(now, b, n, stake);
        self.adopt_reads(now, (b, n), &join.flows, before);
        for flow in &join.flows {
            self.enter_flow(now, b, n, *flow);
        }
        // The answer to a JOIN is an assignment, even of nothing.
        let content = join.content.tag();
        let collect = self.collecting(b);
        self.out.push_back(Out::Tell(from, Say::Assign { content, collect, items: Vec::new() }));
        self.issue(now, None);
        if opens {
            self.fill_all(now, b);
        } else {
            self.fill(now, b, n);
        }
        // What is assigned now answers the JOIN: nobody waits for a collection that has just begun.
        let items = std::mem::take(&mut self.seats[n as usize].pending);
        self.seats[n as usize].urgent.extend(items);
        self.has_urgent = true;
        if self.among(b) == 2 {
            // The one who was alone has somebody to feed: it hears of that before it brings much more.
            self.tell_watches(b);
        } else {
            self.tell_watch(b, n);
        }
        true
    }

    /// An answer to the query about holdings.
    pub(in crate::swarm) fn on_holdings(
        &mut self,
        now: Duration,
        from: Peer,
        content: ContentTag,
        holdings: Option<Holdings>,
    ) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        let board = &mut self.boards[b as usize];
        board.has_answered(&from);
        let count = board.segments.len() as u32;
        let known = self.by_peer.get(&from).copied().filter(|n| self.boards[b as usize].stake(*n).is_some());
        if let Some(n) = known {
            self.correct_holdings(now, b, n, holdings.as_ref());
        } else if let Some(Holdings { link, have, flows }) = holdings.filter(|holdings| holdings.have.len() == count)
            && let Some(n) = self.seat_of(now, from)
        {
            let seat = &mut self.seats[n as usize];
            (seat.link, seat.is_alive, seat.is_joined) = (link, true, true);
            self.take_stake(now, b, n, Stake::new(now, None, have));
            let mut coming = Bits::none(count);
            flows.iter().filter(|flow| flow.segment < count).for_each(|flow| coming.insert(flow.segment));
            if !coming.is_empty() {
                self.boards[b as usize].expect(n, coming, now + EXPECTED);
            }
        }
        if self.boards[b as usize].awaited.is_empty() {
            self.issue(now, None);
            self.fill_all(now, b);
        }
    }

    /// Who is known says what it holds: what it does not hold any more counts no more. One that has nothing of it takes no part: it may have
    /// left while another one was home.
    fn correct_holdings(&mut self, now: Duration, b: u32, n: u32, holdings: Option<&Holdings>) {
        let Some(stake) = self.boards[b as usize].stake_mut(n) else { return };
        let holds = |s: &u32| holdings.is_some_and(|holdings| *s < holdings.have.len() && holdings.have.has(*s));
        let lost: Vec<u32> = stake.have.iter().filter(|s| !holds(s)).collect();
        if lost.is_empty() {
            return;
        }
        if holdings.is_none() {
            return self.take_out(now, b, n, Ending::Kept);
        }
        lost.iter().for_each(|s| stake.have.remove(*s));
        for s in lost {
            self.drop_holder(b, s, n);
            self.release_children_of(now, b, s, n);
        }
    }

    /// Gives no more of a content before these have answered, or [`ACTIVATION`] is over.
    pub(in crate::swarm) fn wait_for(&mut self, now: Duration, content: ContentTag, others: BTreeSet<Peer>) {
        let board = self.by_content.get(&content).map(|b| &mut self.boards[*b as usize]);
        if let Some(board) = board.filter(|_| !others.is_empty()) {
            board.wait(others, now + ACTIVATION, now + ACTIVATION);
        }
    }

    fn enter_flow(&mut self, now: Duration, b: u32, n: u32, flow: JoinFlow) {
        let board = &self.boards[b as usize];
        if flow.segment >= board.segments.len() as u32 || !board.stake(n).is_some_and(|stake| stake.lacks(flow.segment))
        {
            return;
        }
        let s = flow.segment;
        self.note_prefix(b, s, n, flow.prefix);
        let JoinSource::Member(source) = flow.source else { return };
        if let Some(p) = self.seat_of(now, source).filter(|p| *p != n) {
            self.link(now, b, s, n, Link::new(From::Member(p), 0));
        }
    }

    /// Takes a member out of a content that it leaves.
    pub(super) fn on_leave(&mut self, now: Duration, n: u32, content: ContentTag) {
        let Some(b) = self.by_content.get(&content).copied() else { return };
        self.take_out(now, b, n, Ending::Lost);
        if self.boards.iter().all(|board| board.is_retired || board.stake(n).is_none()) {
            self.seats[n as usize].is_alive = false;
        }
    }

    /// A member is gone.
    pub(in crate::swarm) fn on_peer_down(&mut self, now: Duration, peer: Peer) {
        for b in 0..self.boards.len() as u32 {
            if self.boards[b as usize].has_answered(&peer) {
                self.issue(now, None);
                self.fill_all(now, b);
            }
        }
        let Some(n) = self.by_peer.get(&peer).copied() else { return };
        let seat = &mut self.seats[n as usize];
        (seat.is_alive, seat.is_joined, seat.follows) = (false, false, false);
        seat.urgent.clear();
        seat.pending.clear();
        for b in 0..self.boards.len() as u32 {
            self.take_out(now, b, n, Ending::Lost);
        }
    }

    pub(super) fn take_out(&mut self, now: Duration, b: u32, n: u32, ending: Ending) {
        if self.boards[b as usize].is_retired {
            return;
        }
        self.end_pause(now, b, n);
        self.end_leases_of(now, b, n, ending);
        self.forget_stake(b, n);
        self.release_children(now, b, n);
        self.issue(now, None);
    }

    /// Whoever takes something from `n` gets it from somebody else.
    pub(super) fn release_children(&mut self, now: Duration, b: u32, n: u32) {
        for s in 0..self.boards[b as usize].segments.len() as u32 {
            self.release_children_of(now, b, s, n);
        }
    }

    pub(super) fn release_children_of(&mut self, now: Duration, b: u32, s: u32, n: u32) {
        let segment = &self.boards[b as usize].segments[s as usize];
        let children = segment.linked().filter(|(_, link)| link.from == From::Member(n)).map(|(child, _)| child);
        let children: Vec<u32> = children.collect();
        for child in &children {
            self.unlink(b, s, *child);
        }
        for child in children {
            self.source(now, b, s, child);
        }
    }

    fn take_stake(&mut self, now: Duration, b: u32, n: u32, stake: Stake) {
        let held: Vec<u32> = stake.have.iter().collect();
        self.boards[b as usize].seat(n, stake);
        if self.seats[n as usize].is_source(now) {
            held.into_iter().for_each(|s| self.add_holder(b, s, n));
        }
    }

    /// Forgets what a member wants, has and receives.
    pub(super) fn forget_stake(&mut self, b: u32, n: u32) {
        self.boards[b as usize].unexpect(n);
        let Some(stake) = self.boards[b as usize].stake(n) else { return };
        let under_way: Vec<u32> = stake.under_way.iter().collect();
        let held: Vec<u32> = stake.have.iter().collect();
        under_way.into_iter().for_each(|s| self.unlink(b, s, n));
        held.into_iter().for_each(|s| self.drop_holder(b, s, n));
        self.boards[b as usize].stakes[n as usize] = None;
    }

    /// The slot of a member; `None` when there are too many.
    pub(super) fn seat_of(&mut self, now: Duration, peer: Peer) -> Option<u32> {
        if let Some(slot) = self.by_peer.get(&peer) {
            return Some(*slot);
        }
        if self.seats.len() >= MEMBERS && peer != self.me {
            return self.take_seat(now, peer);
        }
        let slot = self.seats.len() as u32;
        self.seats.push(Seat::new(now, peer));
        self.by_peer.insert(peer, slot);
        self.by_tag.insert(PeerTag::of(&peer), slot);
        Some(slot)
    }

    /// The seat of somebody who is gone, or was only named and never came.
    fn take_seat(&mut self, now: Duration, peer: Peer) -> Option<u32> {
        let is_free = |slot: &usize| {
            let seat = &self.seats[*slot];
            let has_stake = self.boards.iter().any(|board| board.stake(*slot as u32).is_some());
            !seat.is_alive && !seat.is_joined && seat.leases == 0 && !has_stake
        };
        let slot = (0..self.seats.len()).find(is_free)?;
        let gone = std::mem::replace(&mut self.seats[slot], Seat::new(now, peer)).peer;
        self.by_peer.remove(&gone);
        self.by_tag.remove(&PeerTag::of(&gone));
        self.by_peer.insert(peer, slot as u32);
        self.by_tag.insert(PeerTag::of(&peer), slot as u32);
        Some(slot as u32)
    }

    fn board_of(&mut self, now: Duration, content: Content, (from, others): (Peer, BTreeSet<Peer>)) -> Option<u32> {
        if let Some(b) = self.by_content.get(&content.tag()) {
            let known = self.boards[*b as usize].content;
            return ((known.key, known.length) == (content.key, content.length)).then_some(*b);
        }
        let geometry = content.geometry()?;
        let mut board = Board::new(now, content, geometry);
        let is_full = self.boards.len() >= CONTENTS && self.boards.iter().all(|board| !board.is_retired);
        if is_full && self.forget_oldest().is_none() && from != self.me {
            return None;
        }
        if !others.is_empty() {
            let opens = now + ACTIVATION;
            board.wait(others, opens, if self.is_taking_over(now) { now + TAKE_OVER_MOST } else { opens });
            self.out.push_back(Out::AskAll(content, from));
        }
        let free = self.boards.iter().position(|board| board.is_retired);
        let b = match free {
            Some(b) => {
                self.boards[b] = board;
                b
            }
            None => {
                self.boards.push(board);
                self.boards.len() - 1
            }
        };
        self.by_content.insert(content.tag(), b as u32);
        Some(b as u32)
    }

    /// Forgets contents that nobody wants until so many words are free, or none is left; how many came free.
    pub(in crate::swarm) fn make_room(&mut self, words: u64) -> u64 {
        let mut free = 0;
        while free <= words
            && let Some(more) = self.forget_oldest()
        {
            free += more;
        }
        free
    }

    /// Forgets the content that nobody wants and that was of use the longest ago; the words that it took. Whoever wants it again is told
    /// by those who hold it.
    fn forget_oldest(&mut self) -> Option<u64> {
        let unwanted = self.boards.iter().enumerate();
        let unwanted = unwanted.filter(|(_, board)| !board.is_retired && board.wanting().next().is_none());
        let (b, board) = unwanted.min_by_key(|(_, board)| board.touched)?;
        let words = board.words();
        self.retire(b as u32);
        Some(words)
    }
}
