//! Members that take part in no swarm: they hear nothing, and give what they hold to whoever asks.
//!
//! They are sources beside all others. A home looks up what they hold where it asks others, and sends its members to them; so the
//! origin is read for what nobody holds at all. They know nothing of that: what they are asked are lookups and reads, as of any
//! peer where there is no swarm. What they come to hold by themselves nobody tells, so it is looked up again now and then.

use super::constants::{HOME_WORDS, LOOK_AGAIN, LOOK_DOUBLINGS};
use super::effect::Effect;
use super::message::{Holdings, Item, Say};
use super::name::{Content, ContentTag, Link, Medium, OriginKey, PeerTag};
use super::node::Swarm;
use super::{Bits, room::Why};
use crate::port::Peer;
use std::collections::BTreeMap;
use std::time::Duration;

/// A line of which nothing is known.
const UNKNOWN: Link = Link { up: 0, down: 0, medium: Medium::Wired, subnet: 0 };

/// All of them, and what was looked up.
#[derive(Debug, Default)]
pub(super) struct Plain {
    known: BTreeMap<Peer, BTreeMap<ContentTag, Look>>,
}

/// What one holds of one content, as it was last found.
#[derive(Debug, Clone, Copy)]
struct Look {
    origin: OriginKey,
    content: Content,
    /// Segments that it held.
    held: u32,
    /// Answers in a row that named none: who keeps asking in vain is taken for a prober (T-12).
    in_vain: u32,
    /// When it is due again; not while the answer is to come, nor when there is nothing more to find.
    again_at: Option<Duration>,
}

impl Plain {
    pub(super) fn has(&self, peer: &Peer) -> bool {
        self.known.contains_key(peer)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.known.keys().copied()
    }

    /// It is gone, or takes part after all. Whether it was one of them.
    pub(super) fn forget(&mut self, peer: &Peer) -> bool {
        self.known.remove(peer).is_some()
    }

    /// Notes that it is asked about a content.
    pub(super) fn ask(&mut self, peer: Peer, origin: OriginKey, content: Content) {
        let Some(looks) = self.known.get_mut(&peer) else { return };
        let look = looks.entry(content.tag()).or_insert(Look { origin, content, held: 0, in_vain: 0, again_at: None });
        look.again_at = None;
    }

    fn looks(&self) -> impl Iterator<Item = (Peer, &Look)> {
        self.known.iter().flat_map(|(peer, looks)| looks.values().map(|look| (*peer, look)))
    }
}

impl Swarm {
    /// A member says that it takes part in no swarm: it is nobody's home and asked by lookups.
    pub fn handle_plain(&mut self, now: Duration, peer: Peer) {
        if peer == self.me || self.plain.has(&peer) {
            return;
        }
        self.all.remove(&peer);
        self.by_tag.insert(PeerTag::of(&peer), peer);
        self.plain.known.insert(peer, BTreeMap::new());
        let origins: Vec<OriginKey> = self.rooms.keys().copied().collect();
        for origin in origins {
            let Some(room) = self.rooms.get_mut(&origin) else { continue };
            room.on_peer_down(&peer);
            // Others may still name it, and nothing was lost with it.
            room.refuse(now, peer, Why::Useless);
            let wanted: Vec<Content> = room.home.iter().flat_map(|home| home.wanted()).collect();
            if room.follows == Some(peer) {
                (room.follows, room.asked) = (None, None);
                self.seek(now, origin);
            }
            wanted.into_iter().for_each(|content| self.look_up(peer, origin, content));
        }
        self.settle(now);
    }

    /// What a member holds of a content: the answer to [`Effect::LookUp`]. Nothing where it holds nothing, or does not say.
    pub fn handle_lookup(&mut self, now: Duration, peer: Peer, content: ContentTag, have: Option<Bits>) {
        let have = have.filter(|have| !have.is_empty());
        let Some(look) = self.plain.known.get_mut(&peer).and_then(|looks| looks.get_mut(&content)) else { return };
        let held = have.as_ref().map_or(0, Bits::count);
        let is_all = have.as_ref().is_some_and(Bits::is_full);
        let known = std::mem::replace(&mut look.held, held);
        look.in_vain = if held == 0 { look.in_vain.saturating_add(1) } else { 0 };
        look.again_at = (!is_all).then(|| now + LOOK_AGAIN * (1 << look.in_vain.min(LOOK_DOUBLINGS)));
        let (origin, words) = (look.origin, self.home_words());
        let Some(home) = self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut()) else { return };
        let is_known = home.knows(&peer, content);
        match have {
            // What it has gained is heard like a member's report.
            Some(have) if is_known && held >= known => {
                home.on_say(now, peer, Say::Done { content, segments: have.iter().collect() });
            }
            have => {
                if is_known {
                    home.on_say(now, peer, Say::Leave { content });
                }
                let have = have.filter(|_| words < HOME_WORDS);
                let holdings = have.map(|have| Holdings { link: UNKNOWN, have, flows: Vec::new() });
                home.on_holdings(now, peer, content, holdings);
            }
        }
        self.settle(now);
    }

    /// Has the shell look up what one of them holds.
    pub(super) fn look_up(&mut self, peer: Peer, origin: OriginKey, content: Content) {
        self.plain.ask(peer, origin, content);
        self.effects.push_back(Effect::LookUp { peer, content });
    }

    /// Looks up again what is due, and forgets what no home here knows any more.
    pub(super) fn look_again(&mut self, now: Duration) {
        let rooms = &self.rooms;
        let home = |look: &Look| rooms.get(&look.origin).and_then(|room| room.home.as_ref());
        let is_known = |look: &Look| home(look).is_some_and(|home| home.has_heard_of(look.content.tag()));
        self.plain.known.values_mut().for_each(|looks| looks.retain(|_, look| is_known(look)));
        let is_wanted = |look: &Look| home(look).is_some_and(|home| home.wants(look.content.tag()));
        let is_due = |look: &Look| look.again_at.is_some_and(|at| at <= now) && is_wanted(look);
        let due = self.plain.looks().filter(|(_, look)| is_due(look));
        for (peer, look) in due.map(|(peer, look)| (peer, *look)).collect::<Vec<_>>() {
            self.look_up(peer, look.origin, look.content);
        }
    }

    /// When one of them is looked at again.
    pub(super) fn next_look(&self) -> Option<Duration> {
        let is_wanted = |look: &Look| {
            let home = self.rooms.get(&look.origin).and_then(|room| room.home.as_ref());
            home.is_some_and(|home| home.wants(look.content.tag()))
        };
        self.plain.looks().filter(|(_, look)| is_wanted(look)).filter_map(|(_, look)| look.again_at).min()
    }

    /// What a home says to take from one of them is asked for as something that is held: such a member knows nothing of what is coming.
    pub(super) fn as_held(&self, item: Item) -> Item {
        match item {
            Item::From { segment, source } if self.by_tag.get(&source).is_some_and(|peer| self.plain.has(peer)) => {
                Item::Held { segments: segment..segment + 1, source }
            }
            item => item,
        }
    }
}
