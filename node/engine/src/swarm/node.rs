//! A node's part in the swarms of all origins: what its shell talks to.
//!
//! Inputs are `handle_*`, outputs `poll_effect` and `poll_timeout`. What a node says to itself, being home and member at once,
//! never becomes an effect: a node alone sends nothing.

mod hear;
mod seek;

use super::bits::Bits;
use super::constants::{BETTER_HOME, ROOMS, WATCHDOG, WATCHDOG_BACKGROUND};
use super::effect::{Effect, FlowFault, ReadFault};
use super::home::{Home, Out, Succession};
use super::member::{Act, Member};
use super::message::{Message, Say};
use super::name::{Content, ContentTag, LeaseId, Link, Order, OriginKey, PeerTag, Reading};
use super::plain::Plain;
use super::rank::Weight;
use super::room::{Room, Why};
use crate::port::Peer;
use eddy_content::Geometry;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// How long a job bears a home that does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Somebody watches.
    Foreground,
    /// Nobody does.
    Background,
}

/// How it stands with a content, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Glance {
    /// The home, if there is one.
    pub home: Option<Peer>,
    /// Segments that this node has.
    pub have: u32,
    /// Segments of the whole.
    pub segments: u32,
    /// Other members that still take it, as the home says.
    pub others: Option<u32>,
    /// Flows that this node gives.
    pub gives: u32,
    /// From whom this node takes segments now, and how many; `None` is the origin.
    pub sources: BTreeMap<Option<Peer>, u32>,
    /// Who reads what from the origin: as home everybody, else this node alone.
    pub reads: Vec<Reads>,
    /// As home: members on the longest way from the origin or a holder to who takes.
    pub depth: u32,
}

/// A node's part in all swarms, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Contents that it takes and has not whole.
    pub taking: u64,
    /// Flows that it gives.
    pub giving: u64,
    /// Origins of which it is the home, with somebody to look after.
    pub homes: u64,
    /// As home: members of those, this node among them where it takes part.
    pub members: u64,
    /// As home: leases in use.
    pub leases: u64,
    /// Bytes that it has read from origins under leases, in whole blocks.
    pub read: u64,
    /// Times that it followed another home than before.
    pub moves: u64,
}

/// What one member reads from the origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reads {
    /// Who.
    pub peer: Peer,
    /// Which bytes of the content.
    pub bytes: Range<u64>,
    /// How many of them have come, as far as was told.
    pub received: u64,
}

impl Reads {
    /// What `peer` reads of a content of this geometry.
    pub(super) fn of(peer: Peer, geometry: &Geometry, segments: &Range<u32>, received: u64) -> Self {
        let last = segments.end.max(segments.start + 1) - 1;
        let blocks = geometry.blocks_of_segment(segments.start).start..geometry.blocks_of_segment(last).end;
        Self { peer, bytes: geometry.bytes_of(blocks), received }
    }
}

/// One node.
#[derive(Debug)]
pub struct Swarm {
    pub(super) me: Peer,
    link: Link,
    rng: SmallRng,
    /// Every member that takes part in swarms, as far as is known, this one included.
    pub(super) all: BTreeMap<Peer, Weight>,
    /// Those that do not.
    pub(super) plain: Plain,
    pub(super) by_tag: BTreeMap<PeerTag, Peer>,
    /// Sources that homes have introduced and that were not met yet. They are no members for that.
    introduced: BTreeMap<PeerTag, Peer>,
    pub(super) rooms: BTreeMap<OriginKey, Room>,
    origins: BTreeMap<ContentTag, OriginKey>,
    /// What this node says to itself.
    inward: VecDeque<(OriginKey, Say)>,
    pub(super) effects: VecDeque<Effect>,
    /// Times that another home was followed than before.
    moves: u64,
    /// Bytes that were read of origins that are forgotten.
    read_before: u64,
}

impl Swarm {
    /// A node that knows nobody yet.
    #[must_use]
    pub fn new(me: Peer, link: Link, weight: Weight, seed: u64) -> Self {
        Self {
            me,
            link,
            rng: SmallRng::seed_from_u64(seed),
            all: BTreeMap::from([(me, weight)]),
            plain: Plain::default(),
            by_tag: BTreeMap::from([(PeerTag::of(&me), me)]),
            introduced: BTreeMap::new(),
            rooms: BTreeMap::new(),
            origins: BTreeMap::new(),
            inward: VecDeque::new(),
            effects: VecDeque::new(),
            moves: 0,
            read_before: 0,
        }
    }

    /// Takes part in a content. `wants` is `None` when everything is there and only given.
    pub fn start(
        &mut self,
        now: Duration,
        origin: OriginKey,
        content: Content,
        have: Bits,
        wants: Option<(Order, Patience)>,
    ) {
        let silence = match wants {
            Some((_, Patience::Background)) => WATCHDOG_BACKGROUND,
            _ => WATCHDOG,
        };
        self.origins.insert(content.tag(), origin);
        let is_asking = wants.is_some();
        let room = self.room(now, origin);
        room.member.start(now, content, have, wants.map(|(order, _)| order), silence);
        if is_asking {
            match room.follows {
                // What else it takes the home knows: said again, it would cross what that has just given, and void it.
                Some(home) => self.join_for(now, origin, home, content.tag()),
                None => self.seek(now, origin),
            }
        }
        self.settle(now);
    }

    /// Takes no more part in a content.
    pub fn leave(&mut self, now: Duration, content: ContentTag) {
        if let Some(room) = self.room_of(content) {
            room.member.leave(content);
        }
        self.settle(now);
        self.origins.remove(&content);
    }

    /// A member is known, or known better.
    pub fn handle_peer_up(&mut self, now: Duration, peer: Peer, weight: Weight) {
        self.plain.forget(&peer);
        self.meet(now, peer, weight);
        self.settle(now);
    }

    /// A member is gone, or cannot be reached.
    pub fn handle_peer_down(&mut self, now: Duration, peer: Peer) {
        if peer == self.me {
            return;
        }
        self.all.remove(&peer);
        self.plain.forget(&peer);
        self.by_tag.remove(&PeerTag::of(&peer));
        self.introduced.remove(&PeerTag::of(&peer));
        let origins: Vec<OriginKey> = self.rooms.keys().copied().collect();
        for origin in origins {
            let Some(room) = self.rooms.get_mut(&origin) else { continue };
            room.on_peer_down(&peer);
            room.refuse(now, peer, Why::Lost);
            room.member.on_peer_down(now, peer);
            if let Some(home) = &mut room.home {
                home.on_peer_down(now, peer);
            }
            if room.follows == Some(peer) {
                self.seek(now, origin);
            }
        }
        self.settle(now);
    }

    /// A message came.
    pub fn handle_message(&mut self, now: Duration, from: Peer, message: Message) {
        if self.has_room_for(message.origin) {
            self.hear(now, from, message.origin, message.say);
            self.settle(now);
        }
    }

    /// Whether an origin is known, or may be; origins of which nothing is left are forgotten for it.
    fn has_room_for(&mut self, origin: OriginKey) -> bool {
        if self.rooms.len() >= ROOMS && !self.rooms.contains_key(&origin) {
            let idle = self.rooms.values().filter(|room| !room.is_busy());
            self.read_before += idle.map(|room| room.member.read_bytes()).sum::<u64>();
            self.rooms.retain(|_, room| room.is_busy());
        }
        self.rooms.len() < ROOMS || self.rooms.contains_key(&origin)
    }

    /// A member asks for a segment from this block of it on.
    pub fn handle_subscribe(&mut self, now: Duration, from: Peer, content: ContentTag, segment: u32, block: u32) {
        match self.room_of(content) {
            Some(room) => room.member.on_subscribe(now, from, content, segment, block),
            None => self.effects.push_back(Effect::Refuse { to: from, content, segment }),
        }
        self.settle(now);
    }

    /// A member has a segment whole, or wants no more of it.
    pub fn handle_given(&mut self, now: Duration, to: Peer, content: ContentTag, segment: u32) {
        if let Some(room) = self.room_of(content) {
            room.member.on_given(to, content, segment);
        }
        self.settle(now);
    }

    /// `prefix` blocks of a segment are verified, whoever brought them.
    pub fn handle_blocks(&mut self, now: Duration, content: ContentTag, segment: u32, prefix: u32) {
        if let Some(room) = self.room_of(content) {
            room.member.on_blocks(now, content, segment, prefix);
        }
        self.settle(now);
    }

    /// Bytes of a lease came, of which no block is whole yet that somebody lacks.
    pub fn handle_moves(&mut self, now: Duration, content: ContentTag, lease: LeaseId) {
        if let Some(room) = self.room_of(content) {
            room.member.on_moves(now, lease);
        }
    }

    /// A flow from a member ended without being whole.
    pub fn handle_flow_fault(
        &mut self,
        now: Duration,
        from: Peer,
        content: ContentTag,
        segment: u32,
        fault: FlowFault,
    ) {
        if let Some(room) = self.room_of(content) {
            room.member.on_flow_fault(now, content, segment, from, fault);
        }
        self.settle(now);
    }

    /// The origin's answer to a read shows how it serves the content.
    pub fn handle_reading(&mut self, now: Duration, content: ContentTag, lease: LeaseId, reading: Reading) {
        if let Some(room) = self.room_of(content) {
            room.member.on_reading(now, content, lease, reading);
        }
        self.settle(now);
    }

    /// A read from the origin ended without being whole.
    pub fn handle_read_fault(&mut self, now: Duration, content: ContentTag, lease: LeaseId, fault: ReadFault) {
        if let Some(room) = self.room_of(content) {
            room.member.on_read_fault(lease, fault);
        }
        self.settle(now);
    }

    /// A second fetch of this node's has found a lie about a block: every member is told, so that those who take the same look too.
    pub fn handle_lie(&mut self, content: ContentTag, block: u32) {
        let Some(origin) = self.origins.get(&content).copied() else { return };
        if self.room_of(content).is_some_and(|room| room.member.on_alarm(content, block, None)) {
            let others: Vec<Peer> = self.all.keys().copied().filter(|peer| *peer != self.me).collect();
            others.into_iter().for_each(|peer| self.tell(peer, origin, Say::Alarm { content, block }));
        }
    }

    /// The time that [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        let origins: Vec<OriginKey> = self.rooms.keys().copied().collect();
        for origin in origins {
            self.look(now, origin);
        }
        self.look_again(now);
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.rooms.values().filter_map(Room::timeout).chain(self.next_look()).min()
    }

    /// Whom this node takes for the home of an origin.
    #[must_use]
    pub fn home(&self, origin: OriginKey) -> Option<Peer> {
        self.rooms.get(&origin).and_then(|room| room.follows)
    }

    /// Members that matter now: whom it follows, those who follow it, and whom it takes something from.
    #[must_use]
    pub fn companions(&self) -> BTreeSet<Peer> {
        let mut companions = BTreeSet::new();
        for room in self.rooms.values() {
            companions.extend(room.follows.filter(|_| room.member.is_wanting()));
            companions.extend(room.member.sources());
            companions.extend(room.home.iter().filter(|home| !home.is_quiet()).flat_map(Home::members));
        }
        companions.remove(&self.me);
        companions
    }

    /// How it stands with a content that this node takes part in.
    #[must_use]
    pub fn glance(&self, content: ContentTag) -> Option<Glance> {
        let room = self.rooms.get(self.origins.get(&content)?)?;
        let mut glance = room.member.glance(self.me, content)?;
        glance.home = room.follows.or(room.home.as_ref().map(|_| self.me));
        glance.others = room.others.get(&content).copied();
        if let Some(home) = &room.home {
            home.show(content, &mut glance);
            let me = u32::from(room.member.lacks_some(content));
            glance.others = glance.others.map(|others| others.saturating_sub(me));
        }
        Some(glance)
    }

    /// Its part in all swarms, in numbers.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { read: self.read_before, moves: self.moves, ..Tally::default() };
        for room in self.rooms.values() {
            room.member.count(&mut tally);
            if let Some(home) = room.home.as_ref().filter(|home| !home.is_idle()) {
                tally.homes += 1;
                tally.members += home.members().count() as u64;
                tally.leases += home.leases() as u64;
            }
        }
        tally
    }

    /// Origins that it knows of.
    #[must_use]
    pub fn origins(&self) -> usize {
        self.rooms.len()
    }

    fn room(&mut self, now: Duration, origin: OriginKey) -> &mut Room {
        let (me, link, all) = (self.me, self.link, &self.all);
        self.rooms.entry(origin).or_insert_with(|| Room::new(now, (origin, me), Member::new(now, link), all))
    }

    fn room_of(&mut self, content: ContentTag) -> Option<&mut Room> {
        self.rooms.get_mut(self.origins.get(&content)?)
    }

    pub(super) fn tell(&mut self, to: Peer, origin: OriginKey, say: Say) {
        if to == self.me {
            self.inward.push_back((origin, say));
        } else if self.plain.has(&to) {
            // It hears nothing; what it would answer is looked up.
            if let Say::Query { content } = say {
                self.look_up(to, origin, content);
            }
        } else {
            self.effects.push_back(Effect::Send { to, message: Message { origin, say } });
        }
    }

    /// What is due in one room.
    fn look(&mut self, now: Duration, origin: OriginKey) {
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        let heard = room.heard;
        room.member.on_timeout(now, heard);
        if let Some(home) = &mut room.home
            && home.timeout().is_some_and(|at| at <= now)
        {
            home.on_timeout(now);
        }
        if room.is_unanswered(now)
            && let Some(silent) = room.follows
        {
            room.refuse(now, silent, Why::Silent);
            return self.seek(now, origin);
        }
        if room.look_at <= now && room.home.is_some() {
            room.look_at = now + BETTER_HOME;
            self.look_for_better(now, origin);
        }
    }

    /// Carries on what home and member of this node have to say, until nobody has.
    pub(super) fn settle(&mut self, now: Duration) {
        let origins: Vec<OriginKey> = self.rooms.keys().copied().collect();
        loop {
            for origin in &origins {
                self.settle_room(now, *origin);
            }
            let Some((origin, say)) = self.inward.pop_front() else { break };
            self.hear(now, self.me, origin, say);
        }
    }

    fn settle_room(&mut self, now: Duration, origin: OriginKey) {
        let me = self.me;
        while let Some(act) = self.rooms.get_mut(&origin).and_then(|room| room.member.poll_act()) {
            self.carry_out(now, origin, act);
        }
        if let Some(home) = self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut()) {
            home.settle(now);
        }
        while let Some(out) = self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut()?.poll_out()) {
            match out {
                Out::Tell(peer, say) => self.tell(peer, origin, say),
                Out::AskAll(content, but) => {
                    let all = self.all.keys().copied().chain(self.plain.peers());
                    let others: Vec<Peer> = all.filter(|peer| *peer != me && *peer != but).collect();
                    for peer in others {
                        self.tell(peer, origin, Say::Query { content });
                    }
                }
            }
        }
    }

    fn carry_out(&mut self, now: Duration, origin: OriginKey, act: Act) {
        let follows = self.rooms.get(&origin).and_then(|room| room.follows);
        match act {
            Act::Shell(effect) => self.effects.push_back(effect),
            Act::Peer(peer, say) => self.tell(peer, origin, say),
            Act::Home(say) => {
                // One that only gives follows nobody; its own home knows of it all the same.
                let acts = self.rooms.get(&origin).is_some_and(|room| room.home.is_some());
                if let Some(home) = follows.or(acts.then_some(self.me)) {
                    self.tell(home, origin, say);
                }
            }
            Act::Rejoin(content) => {
                if let Some(home) = follows {
                    self.join_for(now, origin, home, content);
                }
            }
            Act::RejoinAll => {
                if let Some(home) = follows {
                    self.join(now, origin, home);
                }
            }
            Act::Forsake => {
                if let (Some(home), Some(room)) = (follows, self.rooms.get_mut(&origin)) {
                    if home != self.me {
                        room.refuse(now, home, Why::Useless);
                    }
                    room.act(now, self.rng.random(), Succession::First);
                    let me = self.me;
                    self.join(now, origin, me);
                }
            }
        }
    }
}
