//! One origin at one node: whom it takes for the home, and whether it is the home itself.

use super::constants::{
    ACTING, BETTER_HOME, IDLE_JOIN, JOIN_PROBE, JOIN_PROBE_MOST, LOST, NOTE_LIFE, NOTED, REFUSAL, TAKE_OVER_GRACE,
    TAKE_OVER_MOST,
};
use super::home::{Home, Succession};
use super::member::Member;
use super::message::Role;
use super::name::{ContentTag, OriginKey};
use super::rank::{Weight, rank};
use crate::port::Peer;
use std::collections::BTreeMap;
use std::time::Duration;

/// How much sooner a better home is asked of which others speak.
const LOOKS: u32 = 10;
/// Homes in a row that only name another one: more is a circle.
const REDIRECTS: u32 = 8;

/// Why somebody is not taken for a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It did not answer in time. Its answer mends that.
    Silent,
    /// It is not home, and named nobody who is. That it acts mends it.
    Misleads,
    /// It is gone, as this node or somebody else has found. Its own word mends that.
    Lost,
    /// It answers, and is worth nothing.
    Useless,
}

/// Until when somebody is not taken for a home.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    until: Duration,
    why: Why,
}

/// One origin.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) origin: OriginKey,
    me: Peer,
    pub(super) member: Member,
    /// While this node acts.
    pub(super) home: Option<Home>,
    /// Whom it takes for the home.
    pub(super) follows: Option<Peer>,
    /// When the home was asked that has not answered yet.
    pub(super) asked: Option<Duration>,
    /// When it was asked first.
    asked_first: Duration,
    /// When the home last said something.
    pub(super) heard: Option<Duration>,
    /// A home that members named, and when.
    noted: Option<(Peer, Duration)>,
    /// Others that have shown themselves that they act, and when.
    acting: BTreeMap<Peer, Duration>,
    /// When this node, acting, sent those that followed it to a better home.
    handed_over: Option<Duration>,
    /// The home to which this node last gave way, and when.
    gave_way: Option<(Peer, Duration)>,
    /// The home that was asked anew because it said that it is none, and when.
    asked_anew: Option<(Peer, Duration)>,
    /// Homes that were told lately of a better one, and when.
    told: BTreeMap<Peer, Duration>,
    refused: BTreeMap<Peer, Refusal>,
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
    pub(super) fn new(
        now: Duration,
        (origin, me): (OriginKey, Peer),
        member: Member,
        all: &BTreeMap<Peer, Weight>,
    ) -> Self {
        let mut ranking: Vec<_> = all.iter().map(|(peer, weight)| (rank(origin, peer, *weight), *peer)).collect();
        ranking.sort_by(|a, b| b.0.total_cmp(&a.0));
        Self {
            origin,
            me,
            member,
            home: None,
            follows: None,
            asked: None,
            asked_first: now,
            heard: None,
            noted: None,
            acting: BTreeMap::new(),
            handed_over: None,
            gave_way: None,
            asked_anew: None,
            told: BTreeMap::new(),
            refused: BTreeMap::new(),
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
        self.rank_of(one) > self.rank_of(other)
    }

    fn rank_of(&self, peer: &Peer) -> f64 {
        let known = self.ranking.iter().find(|(_, known)| known == peer).map(|(rank, _)| *rank);
        known.unwrap_or_else(|| rank(self.origin, peer, Weight::STEADY))
    }

    /// Those that go before this node and may act, whatever others say of them: they are asked themselves. One that was named lately is
    /// among them though this node has not met it yet.
    pub(super) fn betters(&self, now: Duration) -> Vec<Peer> {
        let is_me = |peer: &Peer| *peer == self.me;
        let before = self.ranking.iter().take_while(|(rank, peer)| *rank >= 0.0 && !is_me(peer)).map(|(_, peer)| *peer);
        let mut betters: Vec<Peer> = before.filter(|peer| self.may_ask(now, peer)).take(NOTED).collect();
        let named = self.named(now).filter(|home| self.may_ask(now, home) && !betters.contains(home));
        betters.extend(named.filter(|home| self.is_before(home, &self.me)));
        betters
    }

    /// Whether somebody's own word would count.
    pub(super) fn may_ask(&self, now: Duration, peer: &Peer) -> bool {
        self.why_refused(now, peer) != Some(Why::Useless)
    }

    /// The home that others named lately.
    fn named(&self, now: Duration) -> Option<Peer> {
        self.noted.filter(|(_, at)| now < *at + NOTE_LIFE).map(|(home, _)| home)
    }

    /// A home that acts, as itself or others have said lately, and goes before whom this node would ask. It may not have met that one.
    pub(super) fn known_before(&self, now: Duration, first: &Peer) -> Option<Peer> {
        let acting = self.acting.iter().filter(|(_, at)| now < **at + NOTE_LIFE).map(|(home, _)| *home);
        let known = acting.chain(self.named(now));
        let is_better = |home: &Peer| *home != self.me && !self.is_refused(now, home) && self.is_before(home, first);
        known.filter(is_better).max_by(|a, b| self.rank_of(a).total_cmp(&self.rank_of(b)))
    }

    /// Somebody is said to be the home. A better one that was named lately counts more.
    pub(super) fn note(&mut self, now: Duration, home: Peer) {
        let known = self.named(now).filter(|known| !self.is_refused(now, known) && self.is_before(known, &home));
        if known.is_none() {
            self.noted = Some((home, now));
        }
    }

    /// Acts no more: who follows is sent to this better one.
    pub(super) fn hand_over(&mut self, now: Duration, better: Peer) -> Option<Vec<Peer>> {
        let home = self.home.take()?;
        self.gave_way = Some((better, now));
        let followers: Vec<Peer> = home.members().filter(|peer| *peer != self.me).collect();
        if !followers.is_empty() {
            self.handed_over = Some(now);
        }
        Some(followers)
    }

    /// Whether this node has just given way to a home, so that it knows better than who says that it is lost: where several have lost it,
    /// as after a split, all would act and give way in turn as quickly as messages go.
    pub(super) fn has_just_followed(&self, now: Duration, home: &Peer) -> bool {
        self.gave_way.is_some_and(|(better, at)| better == *home && now < at + TAKE_OVER_GRACE)
    }

    /// How this node shows itself to a home that asks. To a better one it counts as acting as long as those that followed it may be on
    /// their way there.
    pub(super) fn role(&self, now: Duration, asker: &Peer) -> Role {
        let is_handing_over = self.handed_over.is_some_and(|at| now < at + TAKE_OVER_MOST);
        let is_acting = self.home.is_some() || (is_handing_over && self.is_before(asker, &self.me));
        if is_acting { Role::Acting } else { Role::Plain }
    }

    /// Somebody shows itself that it acts. A home that was asked and is at work may take longer to answer.
    pub(super) fn on_acting(&mut self, now: Duration, home: Peer) {
        self.acting.retain(|_, at| now < *at + NOTE_LIFE);
        if self.acting.len() < ACTING || self.acting.contains_key(&home) {
            self.acting.insert(home, now);
        }
        let is_awaited = self.asked.is_some() && self.follows == Some(home);
        if is_awaited && now < self.asked_first + JOIN_PROBE_MOST {
            self.asked = Some(now);
        }
    }

    /// The best of all that act, as far as this node knows for sure, and the others that were not told just now.
    pub(super) fn lesser(&mut self, now: Duration) -> Option<(Peer, Vec<Peer>)> {
        let me = Some(self.me).filter(|_| self.home.is_some());
        let followed = self.follows.filter(|home| *home != self.me && self.is_heard(now));
        let others = self.acting.keys().copied().chain(followed).filter(|home| !self.is_refused(now, home));
        let mut all: Vec<Peer> = others.chain(me).collect();
        all.sort_by(|a, b| self.rank_of(b).total_cmp(&self.rank_of(a)));
        all.dedup();
        let best = all.first().copied()?;
        self.acting.retain(|home, _| *home == best);
        self.told.retain(|_, at| now < *at + TAKE_OVER_GRACE);
        all.retain(|home| *home != best && *home != self.me && !self.told.contains_key(home));
        self.told.extend(all.iter().take(ACTING).map(|home| (*home, now)));
        Some((best, all))
    }

    pub(super) fn is_refused(&self, now: Duration, peer: &Peer) -> bool {
        self.why_refused(now, peer).is_some()
    }

    fn why_refused(&self, now: Duration, peer: &Peer) -> Option<Why> {
        self.refused.get(peer).filter(|refusal| now < refusal.until).map(|refusal| refusal.why)
    }

    pub(super) fn refuse(&mut self, now: Duration, peer: Peer, why: Why) {
        self.refuse_until(now, peer, now + REFUSAL, why);
    }

    /// Somebody itself shows that it acts as home: whether that ends its refusal. One that was too slow may take longer next time.
    pub(super) fn is_back(&mut self, peer: &Peer) -> bool {
        let Some(refusal) = self.refused.get(peer).copied().filter(|refusal| refusal.why != Why::Useless) else {
            return false;
        };
        self.refused.remove(peer);
        if refusal.why == Why::Silent {
            self.probe = (self.probe * 2).min(JOIN_PROBE_MOST);
        }
        true
    }

    /// A shorter time does not end a longer one, nor a lesser reason a graver one.
    pub(super) fn refuse_until(&mut self, now: Duration, peer: Peer, until: Duration, why: Why) {
        self.refused.retain(|_, refusal| now < refusal.until);
        let known = self.refused.entry(peer).or_insert(Refusal { until, why });
        *known = Refusal { until: until.max(known.until), why: why.max(known.why) };
    }

    /// Those before `home` that are gone, as this node knows.
    pub(super) fn lost_before(&self, now: Duration, home: &Peer) -> Vec<Peer> {
        let is_lost = |refusal: &Refusal| now < refusal.until && matches!(refusal.why, Why::Silent | Why::Lost);
        let lost = self.refused.iter().filter(|(peer, refusal)| is_lost(refusal) && self.is_before(peer, home));
        let mut lost: Vec<Peer> = lost.map(|(peer, _)| *peer).collect();
        lost.sort_by(|a, b| self.rank_of(b).total_cmp(&self.rank_of(a)));
        lost.truncate(LOST);
        lost
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
        self.acting.remove(peer);
    }

    /// The home said something.
    pub(super) fn on_heard(&mut self, now: Duration) {
        (self.asked, self.heard, self.redirects) = (None, Some(now), 0);
    }

    /// The home is asked, and owes its answer unless it is this node itself.
    pub(super) fn on_asked(&mut self, now: Duration) {
        self.asked = self.follows.filter(|home| *home != self.me).map(|_| now);
        self.asked_first = now;
    }

    /// The home that this node follows says that it is none, without being asked. It may have begun anew, and is asked once; one that has
    /// taken one content and refuses another would say so each time.
    pub(super) fn may_ask_anew(&mut self, now: Duration, home: Peer) -> bool {
        let is_asked = self.asked_anew.is_some_and(|(asked, at)| asked == home && now < at + IDLE_JOIN);
        if !is_asked {
            self.asked_anew = Some((home, now));
        }
        !is_asked
    }

    /// Another one is said to be the home. Whether to ask it; one that was only slow is asked again.
    pub(super) fn may_follow(&mut self, now: Duration, home: &Peer) -> bool {
        self.redirects += 1;
        self.redirects <= REDIRECTS && self.why_refused(now, home).is_none_or(|why| why == Why::Silent)
    }

    /// A home that goes before this node: the one that it follows and hears of, or that is known to act.
    pub(super) fn home_before(&self, now: Duration) -> Option<Peer> {
        let is_home = |home: &Peer| *home != self.me && !self.is_refused(now, home) && self.is_before(home, &self.me);
        let followed = self.follows.filter(|home| self.is_heard(now) && is_home(home));
        followed.or_else(|| self.known_before(now, &self.me))
    }

    /// Whether the home said something lately.
    pub(super) fn is_heard(&self, now: Duration) -> bool {
        self.heard.is_some_and(|heard| now < heard + IDLE_JOIN)
    }

    /// Whether the home that was asked owes its answer for too long.
    pub(super) fn is_unanswered(&self, now: Duration) -> bool {
        self.asked.is_some_and(|asked| now >= asked + self.probe)
    }

    /// Whether there is anything to do or to give for its origin.
    pub(super) fn is_busy(&self) -> bool {
        self.member.contents().next().is_some() || self.home.as_ref().is_some_and(|home| !home.is_idle())
    }

    /// Whether this node acts since a moment ago only, after another one.
    pub(super) fn is_taking_over(&self, now: Duration) -> bool {
        self.home.as_ref().is_some_and(|home| home.is_taking_over(now))
    }

    /// Begins to act.
    pub(super) fn act(&mut self, now: Duration, seed: u64, succession: Succession) {
        if self.home.is_none() {
            self.home = Some(Home::new(self.me, now, seed, succession));
            self.look_at = now + BETTER_HOME;
        }
    }

    /// Asks better homes sooner than it would, but no more often than [`LOOKS`] times as often.
    pub(super) fn look_soon(&mut self, now: Duration) {
        self.look_at = self.look_at.min(now + BETTER_HOME / LOOKS);
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let probe = self.asked.map(|asked| asked + self.probe);
        let home = self.home.as_ref().and_then(Home::timeout);
        let look = self.home.as_ref().filter(|home| !home.is_quiet()).map(|_| self.look_at);
        [probe, home, look, self.member.timeout()].into_iter().flatten().min()
    }
}
