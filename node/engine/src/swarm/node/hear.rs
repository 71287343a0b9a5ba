//! What each message means to a node: as member, as home, or as somebody who knows who is home.

use super::Swarm;
use crate::port::Peer;
use crate::swarm::Effect;
use crate::swarm::constants::{FEW_MEMBERS, HEARSAY, HOME_WORDS, MISLED};
use crate::swarm::home::{Home, Succession};
use crate::swarm::message::{Join, JoinSource, Role, Say};
use crate::swarm::name::{Content, ContentTag, OriginKey, PeerTag};
use crate::swarm::room::Why;
use crate::trust::Sharing;
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::Duration;

impl Swarm {
    /// A message, of another node or of this one.
    pub(super) fn hear(&mut self, now: Duration, from: Peer, origin: OriginKey, say: Say) {
        match say {
            Say::Join(_) | Say::Note { .. } => self.hear_newcomer(now, from, origin, say),
            Say::Query { content } => self.hear_query(now, from, origin, content),
            Say::Seek { content, home } => {
                let tag = content.tag();
                let answer = self.have_any(now, origin, (tag, &home));
                if home != self.me && self.all.contains_key(&home) {
                    self.tell(home, origin, answer.clone());
                }
                self.tell(from, origin, answer);
            }
            Say::HaveAny { content, role, holdings } => {
                if let Some(room) = self.rooms.get_mut(&origin) {
                    room.member.on_sought(now, from, content, (role, holdings.as_deref()));
                }
                if role == Role::Acting {
                    self.hear_home(now, origin, from);
                }
                let words = self.home_words();
                if let Some(home) = self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut()) {
                    let holdings = holdings.filter(|_| words < HOME_WORDS).map(|holdings| *holdings);
                    home.on_holdings(now, from, content, holdings);
                }
            }
            Say::Alive | Say::At { .. } => {}
            Say::Alarm { content, block } => {
                let room = self.rooms.get_mut(&origin);
                if room.is_some_and(|room| room.member.on_alarm(content, block, Some(from))) {
                    self.effects.push_back(Effect::LookTwice { content, block });
                }
            }
            Say::Assign { .. }
            | Say::Watch { .. }
            | Say::Introduce { .. }
            | Say::Redirect { .. }
            | Say::NotHome
            | Say::Waiting { .. } => {
                self.hear_as_member(now, from, origin, say);
            }
            Say::Changed { content } if self.rooms.get(&origin).is_some_and(|room| room.follows == Some(from)) => {
                if let Some(room) = self.rooms.get_mut(&origin) {
                    room.member.on_changed(content);
                }
                if from == self.me {
                    self.hear_as_home(now, from, origin, say);
                }
            }
            _ => self.hear_as_home(now, from, origin, say),
        }
    }

    fn hear_as_home(&mut self, now: Duration, from: Peer, origin: OriginKey, say: Say) {
        match self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut()) {
            Some(home) => home.on_say(now, from, say),
            None => self.tell(from, origin, Say::NotHome),
        }
    }

    fn hear_newcomer(&mut self, now: Duration, from: Peer, origin: OriginKey, say: Say) {
        let me = self.me;
        if matches!(&say, Say::Note { home } if self.plain.has(home)) {
            // Whoever names it will find out as well.
            return;
        }
        let seed = self.rng.random();
        let room = self.room(now, origin);
        match say {
            Say::Note { home } if room.home.is_some() && room.is_before(&home, &me) => {
                self.hear_of_home(now, origin, home);
            }
            Say::Note { home } => {
                if let Some(own) = room.home.as_mut().filter(|_| home != me) {
                    own.take_over(now, home);
                }
                room.note(now, home);
                self.correct(now, origin, home);
            }
            Say::Join(join) => {
                if room.home.is_none() {
                    for lost in join.lost.iter().filter(|lost| **lost != me) {
                        if room.has_just_followed(now, lost) {
                            continue;
                        }
                        room.refuse_until(now, *lost, now + HEARSAY, Why::Lost);
                    }
                    if let Some(home) = room.home_before(now) {
                        return self.tell(from, origin, Say::Redirect { home });
                    }
                    let is_first = !has_had_a_home(&join) && room.follows.is_none_or(|home| home == me);
                    room.act(now, seed, if is_first { Succession::First } else { Succession::AfterAnother });
                    if room.member.is_wanting() && room.follows != Some(me) {
                        self.join(now, origin, me);
                    }
                }
                let tag = join.content.tag();
                let mut others = self.answering(now, origin, (&from, tag));
                let are_few = others.len() <= FEW_MEMBERS && self.plain.peers().next().is_none();
                let is_waited_for = usize::from(join.asked) >= others.len();
                let content = join.content;
                let mut asked = BTreeSet::new();
                if are_few && is_waited_for && self.rooms.get(&origin).is_some_and(|room| !room.is_taking_over(now)) {
                    // It waits for them itself, and they tell this node too. They are asked all the same: who asks shows that it acts.
                    asked = std::mem::take(&mut others);
                    asked.iter().for_each(|other| self.tell(*other, origin, Say::Query { content }));
                }
                let own = self.rooms.get(&origin).and_then(|room| room.member.holdings(tag));
                let mut words = self.home_words();
                let mut home = self.rooms.get_mut(&origin).and_then(|room| room.home.as_mut());
                if let Some(home) = home.as_mut().filter(|_| words >= HOME_WORDS) {
                    words -= home.make_room(words - HOME_WORDS);
                }
                // What this node takes itself is bounded by its own jobs, and nobody else would be its home.
                let may_enter = |home: &&mut Home| from == me || words < HOME_WORDS || home.knows(&from, tag);
                let Some(home) = home.filter(may_enter) else { return self.refuse_join(origin, from, tag) };
                // What this node holds itself nobody else would tell.
                let own = own.filter(|_| from != me && !home.knows(&me, tag));
                others.extend(own.as_ref().map(|_| me));
                if !home.enter(now, from, *join, others) {
                    return self.refuse_join(origin, from, tag);
                }
                if own.is_some() {
                    home.on_holdings(now, me, tag, own);
                }
                // What it hears from them before this node does it says by a second JOIN, and that is no reason to let it read.
                home.wait_for(now, tag, asked);
            }
            _ => {}
        }
    }

    /// There is no place for a member's part in a content. Another node asks somebody else; this one has nobody to ask, and would ask
    /// itself for ever.
    fn refuse_join(&mut self, origin: OriginKey, from: Peer, content: ContentTag) {
        if from != self.me {
            return self.tell(from, origin, Say::NotHome);
        }
        self.origins.remove(&content);
        if let Some(room) = self.rooms.get_mut(&origin) {
            room.member.give_up(content);
        }
    }

    /// About how many words of memory all its homes take.
    pub(in crate::swarm) fn home_words(&self) -> u64 {
        self.rooms.values().filter_map(|room| room.home.as_ref()).map(Home::words).sum()
    }

    /// Somebody acts, or is taken for the home, though this node follows one that goes before it: it is told. Members whose views
    /// differ so find together even if neither home knows the other (trap 11).
    fn correct(&mut self, now: Duration, origin: OriginKey, other: Peer) {
        let Some(room) = self.rooms.get(&origin) else { return };
        let is_sure = room.is_heard(now) || room.follows == Some(self.me);
        let better = room.follows.filter(|home| *home != other && is_sure && room.is_before(home, &other));
        if let Some(home) = better {
            self.tell(other, origin, Say::Note { home });
        }
    }

    /// Members but this one that will answer a question about a content of which the home has not heard yet: those that are not lost.
    fn answering(&self, now: Duration, origin: OriginKey, (but, content): (&Peer, ContentTag)) -> BTreeSet<Peer> {
        let room = self.rooms.get(&origin);
        let Some(room) = room.filter(|room| room.home.as_ref().is_some_and(|home| !home.has_heard_of(content))) else {
            return BTreeSet::new();
        };
        let others = self.all.keys().filter(|peer| **peer != self.me && *peer != but);
        let others = others.filter(|peer| !room.is_refused(now, peer)).copied();
        others.chain(self.plain.peers().filter(|peer| peer != but)).collect()
    }

    /// Somebody shows itself that it acts: whatever was said of it, it lives.
    fn hear_home(&mut self, now: Duration, origin: OriginKey, from: Peer) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        room.is_back(&from);
        room.on_acting(now, from);
        if room.is_before(&me, &from)
            && let Some(home) = &mut room.home
        {
            home.take_over(now, from);
        }
        self.reconcile(now, origin);
        self.hear_of_home(now, origin, from);
    }

    /// Of all that act the best is told to the others, by whoever knows of both, also one that takes no part: neither may know the other
    /// (trap 11). The best hears of the others as well, since what their members have is not to be read again.
    fn reconcile(&mut self, now: Duration, origin: OriginKey) {
        let Some((home, others)) = self.rooms.get_mut(&origin).and_then(|room| room.lesser(now)) else { return };
        for other in others {
            self.tell(other, origin, Say::Note { home });
            if home != self.me {
                self.tell(home, origin, Say::Note { home: other });
            }
        }
    }

    /// Somebody else acts too: the better ranked stays.
    fn hear_of_home(&mut self, now: Duration, origin: OriginKey, other: Peer) {
        let me = self.me;
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        if other == me || !room.may_ask(now, &other) || !room.is_before(&other, &me) {
            return;
        }
        room.note(now, other);
        if room.is_refused(now, &other) {
            // It was silent, or is lost: only its own word counts, and it is asked for that.
            return room.look_soon(now);
        }
        let is_joined = room.follows == Some(other) && room.is_heard(now);
        let Some(followers) = room.hand_over(now, other) else { return };
        for peer in followers {
            self.tell(peer, origin, Say::Redirect { home: other });
        }
        if !is_joined {
            self.join(now, origin, other);
        }
    }

    fn hear_query(&mut self, now: Duration, from: Peer, origin: OriginKey, content: Content) {
        let tag = content.tag();
        self.room(now, origin);
        // Only an acting home asks. That a better one acts it hears first: with the last answer it begins to let others read.
        self.hear_home(now, origin, from);
        let answer = self.have_any(now, origin, (tag, &from));
        self.tell(from, origin, answer);
    }

    /// What this node says of a content: whether it acts, and what it has of it.
    fn have_any(&self, now: Duration, origin: OriginKey, (content, home): (ContentTag, &Peer)) -> Say {
        let room = self.rooms.get(&origin);
        let role = room.map_or(Role::Plain, |room| room.role(now, home));
        let holdings = room.and_then(|room| room.member.holdings(content)).map(Box::new);
        Say::HaveAny { content, role, holdings }
    }

    /// A home that was passed over lives after all: it is followed again if it goes before whom this node follows. Two homes would
    /// read everything twice (trap 11).
    fn hear_late(&mut self, now: Duration, origin: OriginKey, home: Peer) {
        let Some(room) = self.rooms.get(&origin) else { return };
        if room.home.is_some() {
            self.hear_of_home(now, origin, home);
        } else if room.follows.is_some_and(|follows| room.is_before(&home, &follows)) {
            self.join(now, origin, home);
        }
    }

    fn hear_as_member(&mut self, now: Duration, from: Peer, origin: OriginKey, say: Say) {
        let me = self.me;
        let say = match say {
            Say::Assign { content, collect, items } => {
                let items = items.into_iter().map(|item| self.as_held(item)).collect();
                Say::Assign { content, collect, items }
            }
            say => say,
        };
        let (by_tag, introduced) = (&self.by_tag, &self.introduced);
        let Some(room) = self.rooms.get_mut(&origin) else { return };
        if let Say::Waiting { content, segment, prefix } = say {
            return room.member.on_waiting(now, from, content, segment, prefix);
        }
        if room.follows != Some(from) {
            // What it assigned is void: it hears all anew, and assigns again. One that leads beside a better one is told.
            if matches!(say, Say::Assign { .. }) {
                let is_back = room.is_back(&from);
                room.on_acting(now, from);
                self.reconcile(now, origin);
                if is_back {
                    self.hear_late(now, origin, from);
                }
            }
            return;
        }
        let was_awaited = room.asked.is_some();
        match say {
            Say::Assign { content, collect, items } => {
                room.on_heard(now);
                let know = |tag: PeerTag| by_tag.get(&tag).or_else(|| introduced.get(&tag)).copied();
                room.member.on_assign(now, content, collect, items, know);
                if was_awaited && from != me {
                    // It leads: who does so beside it is told, this node included.
                    self.reconcile(now, origin);
                    self.hear_of_home(now, origin, from);
                }
            }
            Say::Watch { content, sharing } => {
                room.on_heard(now);
                let me = u32::from(room.member.lacks_some(content));
                room.others.insert(content, sharing.among.saturating_sub(me));
                room.others.retain(|content, _| room.member.takes_part(*content));
                // A home that speaks of a crowd must not keep a few from looking.
                let among = sharing.among.clamp(1, self.all.len().try_into().unwrap_or(u32::MAX));
                self.effects.push_back(Effect::Watch { content, sharing: Sharing { among, ..sharing } });
            }
            Say::Introduce { peer } => {
                room.on_heard(now);
                let is_asked = room.member.on_introduced(now, peer);
                if is_asked && !self.all.contains_key(&peer) && !self.plain.has(&peer) {
                    self.on_introduced(peer);
                }
            }
            Say::Redirect { home } if home != from && !self.plain.has(&home) && room.may_follow(now, &home) => {
                if home == me {
                    let seed = self.rng.random();
                    room.act(now, seed, Succession::AfterAnother);
                }
                self.join(now, origin, home);
            }
            // To itself a node says so only of what it no longer takes part in.
            Say::NotHome if from == me => {}
            _ => {
                // It is not home, or names nobody who is: an answer to a JOIN of that kind is none.
                match say {
                    Say::Redirect { .. } => room.refuse_until(now, from, now + MISLED, Why::Misleads),
                    _ if room.asked.is_some() => room.refuse(now, from, Why::Useless),
                    _ if !room.may_ask_anew(now, from) => return,
                    _ => {}
                }
                self.seek(now, origin);
            }
        }
    }
}

/// Whether a joining member had a home before: it has lost one, or still receives something.
fn has_had_a_home(join: &Join) -> bool {
    !join.lost.is_empty() || join.flows.iter().any(|flow| flow.source != JoinSource::Nobody)
}
