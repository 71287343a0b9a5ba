//! One origin at one node: whom it takes for the home, and whether it is the home itself.

use super::constants::{BETTER_HOME, JOIN_PROBE, JOIN_PROBE_MOST, NOTE_LIFE, REFUSAL};
use super::home::{Home, Succession};
use super::member::Member;
use super::name::{ContentTag, OriginKey};
use super::rank::{Weight, rank};
use crate::port::Peer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Homes in a row that only name another one: more is a circle.
const REDIRECTS: u32 = 8;

/// One origin.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) origin: OriginKey,
    pub(super) member: Member,
    /// While this node acts.
    pub(super) home: Option<Home>,
    /// Whom it takes for the home.
    pub(super) follows: Option<Peer>,
    /// When the home was asked that has not answered yet.
    pub(super) asked: Option<Duration>,
    /// When the home last said something.
    pub(super) heard: Option<Duration>,
    /// A home that members named, and when.
    pub(super) noted: Option<(Peer, Duration)>,
    refused: BTreeMap<Peer, Duration>,
    /// Of those, whoever only did not answer in time.
    silent: BTreeSet<Peer>,
    /// How long a home may take to answer.
    probe: Duration,
    redirects: u32,
    /// How many others still take each content, as the home last said.
    pub(super) others: BTreeMap<ContentTag, u32>,
    /// Members by rank, best first.
    ranking: Vec<(f64, Peer)>,
    pub(super) look_at: Duration,
}

impl Room {
    pub(super) fn new(now: Duration, origin: OriginKey, member: Member, all: &BTreeMap<Peer, Weight>) -> Self {
        let mut ranking: Vec<_> = all.iter().map(|(peer, weight)| (rank(origin, peer, *weight), *peer)).collect();
        ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self {
            origin,
            member,
            home: None,
            follows: None,
            asked: None,
            heard: None,
            noted: None,
            refused: BTreeMap::new(),
            silent: BTreeSet::new(),
            probe: JOIN_PROBE,
            redirects: 0,
            others: BTreeMap::new(),
            ranking,
            look_at: now,
        }
    }

    /// The best ranked members that are not refused, best first.
    pub(super) fn candidates(&self, now: Duration, count: usize) -> Vec<Peer> {
        let willing = self.ranking.iter().filter(|(rank, peer)| *rank >= 0.0 && !self.is_refused(now, peer));
        willing.map(|(_, peer)| *peer).take(count).collect()
    }

    /// Whether `one` goes before `other`; one that is not known counts as a steady machine.
    pub(super) fn is_before(&self, one: &Peer, other: &Peer) -> bool {
        let of = |peer: &Peer| {
            let known = self.ranking.iter().find(|(_, known)| known == peer).map(|(rank, _)| *rank);
            known.unwrap_or_else(|| rank(self.origin, peer, Weight::STEADY))
        };
        of(one) > of(other)
    }

    pub(super) fn is_refused(&self, now: Duration, peer: &Peer) -> bool {
        self.refused.get(peer).is_some_and(|until| now < *until)
    }

    pub(super) fn refuse(&mut self, now: Duration, peer: Peer) {
        self.refuse_until(now, peer, now + REFUSAL);
    }

    /// The home that was asked has not answered.
    pub(super) fn refuse_silent(&mut self, now: Duration, peer: Peer) {
        self.refuse(now, peer);
        self.silent.insert(peer);
    }

    /// Whether somebody was passed over only because its answer, which has come, took too long; the next one may take longer.
    pub(super) fn is_late(&mut self, peer: &Peer) -> bool {
        let is_late = self.silent.remove(peer);
        if is_late {
            self.refused.remove(peer);
            self.probe = (self.probe * 2).min(JOIN_PROBE_MOST);
        }
        is_late
    }

    /// A shorter time does not end a longer one.
    pub(super) fn refuse_until(&mut self, now: Duration, peer: Peer, until: Duration) {
        self.refused.retain(|_, until| now < *until);
        // Whatever it is refused for from now on, an answer does not mend.
        self.silent.remove(&peer);
        self.silent.retain(|silent| self.refused.contains_key(silent));
        let known = self.refused.entry(peer).or_insert(until);
        *known = until.max(*known);
    }

    pub(super) fn on_peer_up(&mut self, peer: Peer, weight: Weight) {
        self.on_peer_down(&peer);
        let rank = rank(self.origin, &peer, weight);
        let place = self.ranking.partition_point(|(known, _)| *known > rank);
        self.ranking.insert(place, (rank, peer));
        self.refused.remove(&peer);
    }

    pub(super) fn on_peer_down(&mut self, peer: &Peer) {
        self.ranking.retain(|(_, known)| known != peer);
        if self.noted.is_some_and(|(home, _)| home == *peer) {
            self.noted = None;
        }
    }

    /// The home said something.
    pub(super) fn on_heard(&mut self, now: Duration) {
        (self.asked, self.heard, self.redirects) = (None, Some(now), 0);
    }

    /// Another one is said to be the home. Whether to believe it.
    pub(super) fn may_follow(&mut self, now: Duration, home: &Peer) -> bool {
        self.redirects += 1;
        self.redirects <= REDIRECTS && !self.is_refused(now, home)
    }

    /// The home that others named lately, if it goes before this node.
    pub(super) fn noted_before(&self, now: Duration, me: &Peer) -> Option<Peer> {
        let (home, at) = self.noted?;
        (now < at + NOTE_LIFE && home != *me && !self.is_refused(now, &home) && self.is_before(&home, me))
            .then_some(home)
    }

    /// Whether the home that was asked owes its answer for too long.
    pub(super) fn is_unanswered(&self, now: Duration) -> bool {
        self.asked.is_some_and(|asked| now >= asked + self.probe)
    }

    /// Whether there is anything to do or to give for its origin.
    pub(super) fn is_busy(&self) -> bool {
        self.member.contents().next().is_some() || self.home.as_ref().is_some_and(|home| !home.is_idle())
    }

    /// Begins to act.
    pub(super) fn act(&mut self, now: Duration, seed: u64, succession: Succession) {
        if self.home.is_none() {
            self.home = Some(Home::new(now, seed, succession));
            self.look_at = now + BETTER_HOME;
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let probe = self.asked.map(|asked| asked + self.probe);
        let home = self.home.as_ref().and_then(Home::timeout);
        let look = self.home.as_ref().filter(|home| !home.is_idle()).map(|_| self.look_at);
        [probe, home, look, self.member.timeout()].into_iter().flatten().min()
    }
}
