//! How a node finds the home of an origin, and how two homes find each other.

use super::Swarm;
use crate::port::Peer;
use crate::swarm::constants::{ASKED_OF_NEWCOMERS, FEW_MEMBERS, MEMBERS, NOTED};
use crate::swarm::home::Succession;
use crate::swarm::message::{Join, Say};
use crate::swarm::name::{Content, ContentTag, OriginKey, PeerTag};
use crate::swarm::rank::Weight;
use rand::RngExt;
use rand::seq::IndexedRandom;
use std::time::Duration;

impl Swarm {
    /// Enters a member. What was said to it before there was a way to it is lost and said again, and the home of an origin asks it as it
    /// has asked the others: it may hold something, or act itself.
    pub(super) fn meet(&mut self, now: Duration, peer: Peer, weight: Weight) {
        let known = if peer == self.me { Some(weight) } else { self.all.insert(peer, weight) };
        if known == Some(weight) {
            return;
        }
        self.by_tag.insert(PeerTag::of(&peer), peer);
        self.introduced.remove(&PeerTag::of(&peer));
        let origins: Vec<OriginKey> = self.rooms.keys().copied().collect();
        for origin in origins {
            let Some(room) = self.rooms.get_mut(&origin) else { continue };
            room.on_peer_up(peer, weight);
            if known.is_some() {
                continue;
            }
            if room.follows == Some(peer) && room.asked.is_some() {
                self.join(now, origin, peer);
            } else if let Some(home) = &room.home {
                let contents: Vec<Content> = home.wanted().take(ASKED_OF_NEWCOMERS).collect();
                contents.into_iter().for_each(|content| self.tell(peer, origin, Say::Query { content }));
            }
        }
    }

    /// A home has said who a source is that this node asked about. It is remembered by name only: a member is who has a connection, and
    /// a home could name any number of others that nobody would ever see go.
    pub(super) fn on_introduced(&mut self, peer: Peer) {
        if self.introduced.len() >= MEMBERS {
            // It is asked about again.
            self.introduced.pop_first();
        }
        self.introduced.insert(PeerTag::of(&peer), peer);
    }

    /// An acting home asks those that go before it whether they act too, and one of those that do not follow it: that one may know of
    /// another home.
    pub(super) fn look_for_better(&mut self, now: Duration, origin: OriginKey) {
        let me = self.me;
        let Some(room) = self.rooms.get(&origin) else { return };
        let Some(home) = &room.home else { return };
        let Some(content) = home.any_content() else { return };
        let mut asked = room.betters(now);
        let is_other = |peer: &&Peer| **peer != me && !home.is_followed_by(peer) && !asked.contains(peer);
        let others: Vec<Peer> = self.all.keys().filter(is_other).copied().collect();
        asked.extend(others.choose(&mut self.rng).copied());
        asked.into_iter().for_each(|peer| self.tell(peer, origin, Say::Query { content }));
    }

    /// Finds a home: the best ranked that is not refused.
    pub(in crate::swarm) fn seek(&mut self, now: Duration, origin: OriginKey) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        if !room.member.is_wanting() && room.home.is_none() {
            (room.follows, room.asked) = (None, None);
            return;
        }
        let candidates = room.candidates(now, 1 + NOTED);
        let first = candidates.first().copied().unwrap_or(me);
        // Who is known to act goes before who would have to begin.
        let home = room.known_before(now, &first).unwrap_or(first);
        if home == me {
            let succession = if room.follows.is_none() { Succession::First } else { Succession::AfterAnother };
            room.act(now, self.rng.random(), succession);
        }
        for other in candidates.into_iter().filter(|other| ![me, home].contains(other) && home != me) {
            self.tell(other, origin, Say::Note { home });
        }
        self.join(now, origin, home);
    }

    /// Tells a home all that there is to tell.
    pub(super) fn join(&mut self, now: Duration, origin: OriginKey, home: Peer) {
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        let joins: Vec<Join> = room.member.contents().filter_map(|content| room.member.join(content)).collect();
        // Who has nothing to say gets no answer, and must not take that for silence.
        let followed = std::mem::replace(&mut room.follows, Some(home).filter(|_| !joins.is_empty()));
        self.moves += u64::from(followed.is_some() && room.follows.is_some() && followed != room.follows);
        room.on_asked(now);
        self.tell_joins(now, origin, (home, followed), joins);
    }

    /// Tells the home that is followed of one content.
    pub(super) fn join_for(&mut self, now: Duration, origin: OriginKey, home: Peer, content: ContentTag) {
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        let Some(join) = room.member.join(content) else { return };
        if room.asked.is_none() {
            room.on_asked(now);
        }
        self.tell_joins(now, origin, (home, Some(home)), vec![join]);
    }

    fn tell_joins(
        &mut self,
        now: Duration,
        origin: OriginKey,
        (home, followed): (Peer, Option<Peer>),
        joins: Vec<Join>,
    ) {
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        let lost = room.lost_before(now, &home);
        let is_first = followed.is_none_or(|followed| followed == home) && lost.is_empty();
        let others = if is_first { self.few_others(home) } else { Vec::new() };
        for join in joins {
            let content = join.content;
            let Some(room) = self.rooms.get_mut(&origin) else { return };
            let sought: &[Peer] = if room.member.seeks(now, content.tag(), &others) { &others } else { &[] };
            let asked = sought.len() as u8;
            self.tell(home, origin, Say::Join(Box::new(Join { lost: lost.clone(), asked, ..join })));
            sought.iter().for_each(|other| self.tell(*other, origin, Say::Seek { content, home }));
        }
    }

    /// Whom one asks itself that joins a home: all others, where they are few and all hear it.
    fn few_others(&self, home: Peer) -> Vec<Peer> {
        if home == self.me || self.all.len() > FEW_MEMBERS || self.plain.peers().next().is_some() {
            return Vec::new();
        }
        self.all.keys().copied().filter(|peer| *peer != self.me && *peer != home).collect()
    }
}
