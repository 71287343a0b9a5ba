//! The home: knows who wants and has what, gives leases, and says who takes what from whom.
//!
//! It keeps soft state only. It can delay, and nobody believes a byte because of it; when it is gone the next one learns all of
//! it again from what members say they have.
//!
//! | module | what it does |
//! |---|---|
//! | this one | messages in, messages out |
//! | [`seat`] | one member: its line, its load, its strikes |
//! | [`board`] | one content: who wants and has which segment, and who takes it from whom |
//! | [`enter`] | a member joins, leaves, is gone |
//! | [`lease`] | who reads what from the origin |
//! | [`adopt`] | what a member reads already when it joins |
//! | [`tree`] | which source a member gets |
//! | [`runs`] | what a member gets that shares a content with nobody |
//! | [`stream`] | whether the one who reads a stream gets on, by the word of others |
//! | [`even`] | which flows leave a source of many for one of few |
//! | [`fault`] | what a failed flow means |
//! | [`changed`] | whose word it takes that the origin has another version |
//! | [`pace`] | how many leases there are |
//! | [`tempo`] | how fast members take a content, and so for how long assignments may be collected |
//! | [`upkeep`] | counts afresh and looks after everybody |
//! | [`watch`] | who looks twice, and at how much |

mod adopt;
mod board;
mod changed;
mod enter;
mod even;
mod fault;
mod lease;
mod pace;
mod runs;
mod seat;
mod stream;
mod tempo;
mod tree;
mod upkeep;
mod watch;

use super::constants::{
    ACTING, ASSIGN_ITEMS, COLLECT, COLLECT_DONE, EXPECTED, FEW_MEMBERS, LAST_SEGMENTS, SAFETY_PASS, TAKE_OVER_GRACE,
    TAKE_OVER_MOST,
};
use super::message::{Item, Say};
use super::name::{Content, ContentTag, LeaseId, PeerTag};
use crate::port::Peer;
use board::Board;
use lease::Lease;
use pace::Pace;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use seat::Seat;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub(super) use enter::Succession;

/// What a home wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Out {
    /// Tell a member.
    Tell(Peer, Say),
    /// Ask every member that is known but this one, which has said itself what it holds.
    AskAll(Content, Peer),
}

/// The home of one origin.
#[derive(Debug)]
pub(super) struct Home {
    me: Peer,
    rng: SmallRng,
    seats: Vec<Seat>,
    by_peer: BTreeMap<Peer, u32>,
    by_tag: BTreeMap<PeerTag, u32>,
    boards: Vec<Board>,
    by_content: BTreeMap<ContentTag, u32>,
    leases: BTreeMap<LeaseId, Lease>,
    next_lease: u64,
    /// The part of the seed that no lease shows.
    unseen_seed: u64,
    pace: Pace,
    /// Flows that members were ever given to serve.
    given: u64,
    has_urgent: bool,
    /// Members for whom no source was free.
    waiting: VecDeque<(u32, u32)>,
    flush_at: Option<Duration>,
    /// Flows are not evened out before.
    even_out_at: Duration,
    pass_at: Duration,
    no_leases_before: Duration,
    /// The same, until it has passed.
    grace_ends: Option<Duration>,
    /// Until then members that were led by another one may still have to tell what they read.
    takes_over_until: Duration,
    /// Until then what members read under another home's leases is believed of all of them.
    adopts_until: Duration,
    /// Other homes whose members are coming here, or have.
    taken_over: BTreeSet<Peer>,
    out: VecDeque<Out>,
}

impl Home {
    pub(super) fn new(me: Peer, now: Duration, seed: u64, succession: Succession) -> Self {
        let (grace, most, adopts) = match succession {
            Succession::First => (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            Succession::AfterAnother => (TAKE_OVER_GRACE, TAKE_OVER_MOST, EXPECTED),
        };
        Self {
            me,
            rng: SmallRng::seed_from_u64(seed),
            seats: Vec::new(),
            by_peer: BTreeMap::new(),
            by_tag: BTreeMap::new(),
            boards: Vec::new(),
            by_content: BTreeMap::new(),
            leases: BTreeMap::new(),
            // Names of another home's leases must not be taken for this one's.
            next_lease: seed & !0xffff_ffff,
            unseen_seed: seed & 0xffff_ffff,
            pace: Pace::new(now, succession),
            given: 0,
            has_urgent: false,
            waiting: VecDeque::new(),
            flush_at: None,
            even_out_at: now,
            pass_at: now,
            no_leases_before: now + grace,
            grace_ends: Some(now + grace).filter(|at| *at > now),
            takes_over_until: now + most,
            adopts_until: now + adopts,
            taken_over: BTreeSet::new(),
            out: VecDeque::new(),
        }
    }

    pub(super) fn poll_out(&mut self) -> Option<Out> {
        self.out.pop_front()
    }

    /// Whether it still has anybody to look after.
    pub(super) fn is_idle(&self) -> bool {
        self.boards.iter().all(|board| board.is_retired)
    }

    /// Whether there is nothing to look after: nobody wants, reads or is waited for, and what is known is only kept.
    pub(super) fn is_quiet(&self) -> bool {
        let is_done =
            |board: &Board| board.is_retired || (board.opening().is_none() && board.wanting().next().is_none());
        self.leases.is_empty() && self.boards.iter().all(is_done)
    }

    /// A lesser home hands over to this one. Its members are a moment on their way, and what they hold and read nobody else is to read: no
    /// new leases until then, once for each home and few of them.
    pub(super) fn take_over(&mut self, now: Duration, from: Peer) {
        if self.taken_over.len() < ACTING && self.taken_over.insert(from) {
            let until = (now + TAKE_OVER_GRACE).max(self.no_leases_before);
            (self.no_leases_before, self.grace_ends) = (until, Some(until));
            self.takes_over_until = self.takes_over_until.max(now + TAKE_OVER_MOST);
            self.adopts_until = self.adopts_until.max(now + EXPECTED);
        }
    }

    /// Whether members may not have told yet what they read under another home's leases.
    pub(super) fn is_taking_over(&self, now: Duration) -> bool {
        now < self.takes_over_until
    }

    /// Members that take part, this one included.
    pub(super) fn members(&self) -> impl Iterator<Item = Peer> + '_ {
        self.seats.iter().filter(|seat| seat.is_alive && seat.is_joined).map(|seat| seat.peer)
    }

    /// Whether somebody takes part and follows it, as far as it knows.
    pub(super) fn is_followed_by(&self, peer: &Peer) -> bool {
        let slot = self.by_peer.get(peer).map(|slot| &self.seats[*slot as usize]);
        slot.is_some_and(|seat| seat.is_alive && seat.follows)
    }

    /// Leases in use, those in their tail among them.
    pub(super) fn leases(&self) -> usize {
        self.leases.len()
    }

    /// About how many words of memory it takes.
    pub(super) fn words(&self) -> u64 {
        self.boards.iter().map(Board::words).sum()
    }

    /// Whether a member's part in a content is known, so that what it says of it takes no more memory.
    pub(super) fn knows(&self, peer: &Peer, content: ContentTag) -> bool {
        let slot = self.by_peer.get(peer);
        let board = self.by_content.get(&content).map(|b| &self.boards[*b as usize]);
        slot.zip(board).is_some_and(|(slot, board)| board.stake(*slot).is_some())
    }

    /// Whether somebody has joined for a content.
    pub(super) fn has_heard_of(&self, content: ContentTag) -> bool {
        self.by_content.contains_key(&content)
    }

    /// Contents of which somebody lacks something.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Content> + '_ {
        let boards = self.boards.iter().filter(|board| !board.is_retired && board.wanting().next().is_some());
        boards.map(|board| board.content)
    }

    /// One of the contents, to ask others about.
    pub(super) fn any_content(&self) -> Option<Content> {
        self.boards.iter().find(|board| !board.is_retired).map(|board| board.content)
    }

    /// Whether somebody lacks something of a content.
    pub(super) fn wants(&self, content: ContentTag) -> bool {
        let board = self.by_content.get(&content).map(|b| &self.boards[*b as usize]);
        board.is_some_and(|board| board.wanting().next().is_some())
    }

    /// Requests that a member is thought to serve.
    #[cfg(test)]
    pub(super) fn requests_to(&self, peer: &Peer) -> Option<u32> {
        self.by_peer.get(peer).map(|slot| self.seats[*slot as usize].children)
    }

    /// A message of a member, other than a JOIN.
    pub(super) fn on_say(&mut self, now: Duration, from: Peer, say: Say) {
        let Some(slot) = self.by_peer.get(&from).copied().filter(|slot| self.seats[*slot as usize].is_joined) else {
            return self.out.push_back(Out::Tell(from, Say::NotHome));
        };
        match say {
            Say::Done { content, segments } => self.on_done(now, slot, content, &segments),
            Say::Fail { content, segment, source, reason, prefix } => {
                self.on_fail(now, slot, content, fault::Failed { segment, source, reason, prefix });
            }
            Say::Tail { lease, first_byte } => self.on_tail(now, slot, lease, first_byte),
            Say::Progress { lease, bytes } => self.on_progress(now, slot, lease, bytes),
            Say::Offers { content, lease, reading } => self.on_offers(now, slot, content, (lease, reading)),
            Say::Reached { content, blocks } => self.on_reached(now, slot, content, blocks),
            Say::Return { lease, prefix } => self.on_return(now, slot, lease, prefix),
            Say::Leave { content } => self.on_leave(now, slot, content),
            Say::Changed { content } => self.on_changed(now, slot, content),
            Say::WhoIs { peer } => self.on_who_is(from, peer),
            _ => {}
        }
    }

    fn on_who_is(&mut self, from: Peer, who: PeerTag) {
        if let Some(slot) = self.by_tag.get(&who) {
            let peer = self.seats[*slot as usize].peer;
            self.out.push_back(Out::Tell(from, Say::Introduce { peer }));
        }
    }

    fn retire(&mut self, b: u32) {
        self.by_content.remove(&self.boards[b as usize].content.tag());
        let ended: Vec<LeaseId> = self.leases.iter().filter(|(_, l)| l.board == b).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|id| self.end_lease(id));
        for n in 0..self.seats.len() as u32 {
            self.forget_stake(b, n);
        }
        self.boards[b as usize].clear();
        self.waiting.retain(|(board, _)| *board != b);
        for seat in &mut self.seats {
            seat.pending.retain(|(board, _)| *board != b);
            seat.urgent.retain(|(board, _)| *board != b);
        }
    }

    /// An assignment that can wait for others.
    fn assign(&mut self, now: Duration, b: u32, n: u32, item: Item) {
        self.seats[n as usize].pending.push((b, item));
        let at = now + self.collecting(b);
        self.flush_at = Some(self.flush_at.map_or(at, |known| known.min(at)));
    }

    /// An assignment that somebody waits for.
    fn assign_at_once(&mut self, b: u32, n: u32, item: Item) {
        self.seats[n as usize].urgent.push((b, item));
        self.has_urgent = true;
    }

    /// How long assignments are collected: long while much is to come, because every member has work for a while.
    fn collecting(&self, b: u32) -> Duration {
        let board = &self.boards[b as usize];
        let is_midst = board.unread >= LAST_SEGMENTS && self.seats.len() > FEW_MEMBERS;
        if is_midst { board.tempo.collecting() } else { COLLECT }
    }

    /// Sends what cannot wait, and, when its time has come, what could.
    fn flush(&mut self, now: Duration) {
        let is_due = self.flush_at.is_some_and(|at| at <= now);
        if is_due {
            self.flush_at = None;
        }
        self.has_urgent = false;
        for n in 0..self.seats.len() {
            let mut items = std::mem::take(&mut self.seats[n].urgent);
            if is_due {
                items.append(&mut self.seats[n].pending);
            }
            self.send(n, items);
        }
    }

    /// One message for each content.
    fn send(&mut self, n: usize, mut items: Vec<(u32, Item)>) {
        let peer = self.seats[n].peer;
        items.sort_by_key(|(b, _)| *b);
        for of_board in items.chunk_by(|(a, _), (b, _)| a == b) {
            let b = of_board[0].0;
            let board = &self.boards[b as usize];
            // What it begins with is little: it says at once that it has some of it.
            let collect = if board.start(n as u32) == 1 { COLLECT } else { self.collecting(b).max(COLLECT_DONE) };
            let content = board.content.tag();
            for some in of_board.chunks(ASSIGN_ITEMS) {
                let items = some.iter().map(|(_, item)| item.clone()).collect();
                self.out.push_back(Out::Tell(peer, Say::Assign { content, collect, items }));
            }
        }
    }

    /// When something may be due though nothing happens.
    pub(super) fn timeout(&self) -> Option<Duration> {
        if self.is_idle() {
            return None;
        }
        let openings = self.boards.iter().filter_map(Board::opening);
        openings.chain(self.grace_ends).chain(self.flush_at).chain([self.pass_at]).min()
    }

    /// Does what is due.
    pub(super) fn on_timeout(&mut self, now: Duration) {
        for b in 0..self.boards.len() as u32 {
            if self.boards[b as usize].look_at_opening(now) {
                self.fill_all(now, b);
            }
        }
        self.grace_ends = self.grace_ends.filter(|at| *at > now);
        if self.pass_at <= now {
            self.pass(now);
        }
        self.issue(now, None);
        self.flush(now);
    }

    /// Ends an input: what it made urgent is sent.
    pub(super) fn settle(&mut self, now: Duration) {
        if self.pass_at > now + SAFETY_PASS && !self.is_quiet() {
            self.pass_at = now + SAFETY_PASS;
        }
        if self.has_urgent || self.flush_at.is_some_and(|at| at <= now) {
            self.flush(now);
        }
    }
}
