//! Evens out who gives how much, where nobody knows what lines carry: a flow that lasts leaves a source that gives to many for one that has the
//! segment and gives to few.
//!
//! Sources are chosen when a flow begins, by what they give then. Some of their flows end soon and others hang on a slow lease, so that
//! after a while one line is full and its neighbour is not. A change costs what is on its way, and a round trip.

use super::Home;
use super::board::{From, Lane, Link};
use crate::swarm::constants::{CANDIDATES, EVEN_AGE, EVEN_EACH, EVEN_EVERY, EVEN_GAP, EVEN_LOOKS, EVEN_MOST, SAMPLE};
use crate::swarm::message::Item;
use crate::swarm::name::{Medium, PeerTag};
use rand::RngExt;
use std::collections::BTreeSet;
use std::time::Duration;

/// One that may leave its source.
#[derive(Debug, Clone, Copy)]
struct Flow {
    segment: u32,
    taker: u32,
    source: u32,
}

impl Home {
    /// Moves a few flows at most, and none before its time has come again.
    pub(super) fn even_out(&mut self, now: Duration, b: u32) {
        if now < self.even_out_at || self.boards[b as usize].is_retired {
            return;
        }
        self.even_out_at = now + EVEN_EVERY;
        let moves = (self.seats.len() / EVEN_EACH).clamp(1, EVEN_MOST);
        let mut moved = BTreeSet::new();
        for flow in self.lasting_flows(now, b).into_iter().take(moves * EVEN_LOOKS) {
            if moved.len() == moves {
                return;
            }
            if !moved.contains(&flow.taker)
                && let Some(source) = self.lighter_source(now, b, flow)
            {
                self.link(now, b, flow.segment, flow.taker, Link::new(From::Member(source), 0));
                let source = PeerTag::of(&self.seats[source as usize].peer);
                self.assign_at_once(b, flow.taker, Item::From { segment: flow.segment, source });
                moved.insert(flow.taker);
            }
        }
    }

    /// The flows that may leave a source, those first of members that get the least, if every source gives all its flows the same.
    fn lasting_flows(&self, now: Duration, b: u32) -> Vec<Flow> {
        let is_unknown = |n: u32| self.seats[n as usize].link.up == 0;
        let givers = self.boards[b as usize].stakes.iter().zip(&self.seats);
        let least =
            givers.filter(|(stake, seat)| stake.is_some() && seat.is_source(now)).map(|(_, seat)| seat.children);
        let least = least.min().unwrap_or(0);
        let mut share = vec![0.0; self.seats.len()];
        let mut flows = Vec::new();
        for (segment, all) in (0..).zip(&self.boards[b as usize].segments) {
            for (taker, link) in all.linked() {
                let From::Member(source) = link.from else { continue };
                if link.lane != Lane::Own {
                    continue;
                }
                let given = self.seats[source as usize].children;
                share[taker as usize] += 1.0 / f64::from(given.max(1));
                if now >= link.since + EVEN_AGE && is_heavier(given, least) && is_unknown(source) && is_unknown(taker) {
                    flows.push(Flow { segment, taker, source });
                }
            }
        }
        flows.sort_by(|one, other| share[one.taker as usize].total_cmp(&share[other.taker as usize]));
        flows
    }

    /// Who has the segment and gives to far fewer; of a content with many holders, one of a few drawn ones.
    fn lighter_source(&mut self, now: Duration, b: u32, flow: Flow) -> Option<u32> {
        let Flow { segment, taker, source } = flow;
        let sources = &self.boards[b as usize].segments[segment as usize].sources;
        let drawn: Vec<u32> = if sources.len() <= CANDIDATES {
            sources.clone()
        } else {
            (0..SAMPLE).map(|_| sources[self.rng.random_range(0..sources.len())]).collect()
        };
        let board = &self.boards[b as usize];
        let seat = |n: u32| &self.seats[n as usize];
        let is_as_near = |q: u32| {
            let subnet = seat(q).link.subnet;
            let is_wired = seat(q).link.medium == Medium::Wired || seat(source).link.medium == Medium::Wireless;
            is_wired && (subnet == seat(taker).link.subnet || subnet == seat(source).link.subnet)
        };
        let will_do = |q: &u32| {
            *q != source
                && is_heavier(seat(source).children, seat(*q).children)
                && seat(*q).link.up == 0
                && board.stake(*q).is_some_and(|stake| stake.have.has(segment))
                && is_as_near(*q)
                && !self.is_needed_elsewhere(b, *q)
                && self.usable(now, b, segment, taker, *q).is_some()
        };
        drawn.into_iter().filter(will_do).min_by_key(|q| seat(*q).children)
    }
}

/// Whether one that gives to so many gives to so many more than another that a change is worth it.
fn is_heavier(children: u32, others: u32) -> bool {
    children >= others + EVEN_GAP && 2 * children >= 3 * others
}
