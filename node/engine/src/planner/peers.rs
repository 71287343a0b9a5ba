//! The peers' part of the plan: who is asked, who is read from, who is left alone.

use super::neighbour::Neighbour;
use super::{ANSWER_WAIT, FLIGHTS_PER_PEER, Order, Planner, Source, Words, has_all, run_from};
use crate::port::{Peer, PeerFault};
use eddy_content::{BLOCK_SIZE, BlockSet};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::ops::Range;
use std::time::Duration;

/// Peers that are asked for their word about one run of blocks: each answer costs milliseconds of signature checks.
const MOST_VOUCHERS: usize = 8;

impl Planner {
    /// Number of peers that hold something that is of use now.
    #[must_use]
    pub fn useful_peers(&self, now: Duration) -> usize {
        self.neighbours.values().filter(|n| n.is_usable(now) && !n.holds.is_empty()).count()
    }

    /// Whether a fetch from a peer is still under way.
    #[must_use]
    pub fn has_peer_flights(&self) -> bool {
        self.flights.values().any(|flight| matches!(flight.source, Source::Peer(_)) && !flight.is_aborting)
    }

    /// Those of the blocks that fetches from peers bring.
    #[must_use]
    pub fn from_peers(&self, blocks: &BlockSet) -> BlockSet {
        let of_peers = self.flights.values().filter(|flight| matches!(flight.source, Source::Peer(_)));
        let brought: BlockSet = of_peers.map(|flight| flight.blocks.clone()).collect();
        brought.intersection(blocks)
    }

    /// Whom to ask for their word about `blocks` that are read from `peer`: it first, then others that hold some of them or have
    /// not said.
    #[must_use]
    pub fn vouchers(&self, now: Duration, peer: Peer, blocks: &Range<u32>) -> Vec<Peer> {
        let blocks = BlockSet::from_run(blocks.clone());
        let holds = |n: &Neighbour| n.is_usable(now) && (n.owes_answer() || !n.holds.intersection(&blocks).is_empty());
        let others = self.neighbours.iter().filter(|(other, n)| **other != peer && holds(n)).map(|(other, _)| *other);
        std::iter::once(peer).chain(others).take(MOST_VOUCHERS).collect()
    }

    /// A peer failed this file.
    pub fn on_peer_fault(&mut self, now: Duration, peer: Peer, fault: PeerFault) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        match fault {
            // It was read from without being asked, and this is its answer.
            PeerFault::NotHere if neighbour.holds.is_empty() => neighbour.on_holds(BlockSet::new()),
            PeerFault::Busy if neighbour.holds.is_empty() => {
                neighbour.on_holds(BlockSet::from_run(self.geometry.all_blocks()));
                neighbour.on_fault(now, fault);
            }
            fault => neighbour.on_fault(now, fault),
        }
    }

    /// A peer said what it holds. One that was not asked, or left, has no say.
    pub fn on_holds(&mut self, peer: Peer, blocks: BlockSet) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.on_holds(blocks.intersection(&BlockSet::from_run(self.geometry.all_blocks())));
    }

    /// A peer left: its blocks are free for others with the next plan.
    pub fn on_peer_down(&mut self, peer: Peer) {
        self.neighbours.remove(&peer);
    }

    /// Ends the fetches of peers that stalled or left.
    pub(super) fn stalled(&mut self, now: Duration) -> Vec<Order> {
        let mut stalled = Vec::new();
        for (fetch, flight) in &mut self.flights {
            let Source::Peer(peer) = flight.source else { continue };
            let line = self.neighbours.get(&peer).map(|neighbour| neighbour.line);
            let is_under_way = !flight.is_aborting && !flight.has_arrived(self.geometry);
            if is_under_way && line.is_none_or(|line| now >= flight.stalls_at(line)) {
                flight.abort(now);
                stalled.push((*fetch, peer));
            }
        }
        for (_, peer) in &stalled {
            self.on_peer_fault(now, *peer, PeerFault::Stalled);
        }
        stalled.into_iter().map(|(fetch, _)| Order::Abort { fetch }).collect()
    }

    /// Those of the peers whose turn it is to be asked what they hold, and are.
    pub(super) fn due_questions(&mut self, now: Duration, peers: &[Peer]) -> Vec<Peer> {
        let mut asked = Vec::new();
        for peer in peers {
            let neighbour = self.neighbours.entry(*peer).or_default();
            let holds_all = has_all(&neighbour.holds, &self.wanted);
            let is_due = neighbour.next_ask().is_none_or(|at| now >= at && !holds_all);
            if is_due && neighbour.is_usable(now) {
                neighbour.asked = Some(now);
                self.first_asked.get_or_insert(now);
                asked.push(*peer);
            }
        }
        asked
    }

    /// One of the peers that are asked about a single block, to be read from without asking: that it does not hold the block is as short an
    /// answer to the one as to the other. Not where somebody is known to hold it, or where one member's word is not enough.
    pub(super) fn read_at_once(
        &self,
        now: Duration,
        free: &BlockSet,
        asked: &mut Vec<Peer>,
        rng: &mut SmallRng,
    ) -> Option<Peer> {
        let is_single = self.geometry.block_count() == 1 && !free.is_empty();
        let is_held_by = |neighbour: &Neighbour| !neighbour.holds.is_empty() && neighbour.may_soon_serve(now);
        if !is_single
            || asked.is_empty()
            || self.words != Words::One
            || !self.reserve.blocks(now).is_empty()
            || self.neighbours.values().any(is_held_by)
        {
            return None;
        }
        let chosen = if asked.len() == 1 { 0 } else { rng.random_range(0..asked.len()) };
        Some(asked.remove(chosen))
    }

    /// Whether answers of the first peers are still waited for.
    pub(super) fn awaits_answers(&self, now: Duration) -> bool {
        let is_time = self.first_asked.is_some_and(|asked| now < asked + ANSWER_WAIT);
        is_time && self.neighbours.values().any(Neighbour::owes_answer)
    }

    pub(super) fn plan_peers(
        &mut self,
        now: Duration,
        free: &mut BlockSet,
        orders: &mut Vec<Order>,
        rng: &mut SmallRng,
    ) {
        let mut places: Vec<(Peer, usize)> = self
            .neighbours
            .iter()
            .filter(|(_, n)| n.is_usable(now) && !n.holds.is_empty())
            .map(|(peer, _)| (*peer, FLIGHTS_PER_PEER.saturating_sub(self.flights_of(Source::Peer(*peer)))))
            .collect();
        let in_order = places.len() == 1 || self.position > 0;
        let reserved = self.reserve.blocks(now).intersection(free);
        free.difference_with(&reserved);
        while !free.is_empty() {
            let mut is_progress = false;
            for (peer, left) in &mut places {
                if *left == 0 {
                    continue;
                }
                let neighbour = &self.neighbours[peer];
                let (offered, longest) = (neighbour.holds.intersection(free), neighbour.run() / BLOCK_SIZE);
                let Some(run) = choose_run(&offered, longest as u32, (in_order, self.position), rng) else { continue };
                free.remove(run.clone());
                orders.push(Order::Fetch { source: Source::Peer(*peer), blocks: run });
                *left -= 1;
                is_progress = true;
            }
            if !is_progress {
                break;
            }
        }
        free.union_with(&reserved);
    }
}

/// At most `longest` blocks: the lowest run when there is one peer; a random place when there are several, so that they are
/// read side by side and neighbours that start together soon have different blocks to give.
fn choose_run(
    offered: &BlockSet,
    longest: u32,
    (in_order, position): (bool, u32),
    rng: &mut SmallRng,
) -> Option<Range<u32>> {
    let runs = offered.run_count();
    if runs == 0 {
        return None;
    }
    if in_order {
        let run = run_from(offered, position)?;
        return Some(run.start..run.end.min(run.start + longest));
    }
    let run = offered.runs().nth(rng.random_range(0..runs))?;
    let pieces = (run.end - run.start).div_ceil(longest);
    let start = run.start + rng.random_range(0..pieces) * longest;
    Some(start..run.end.min(start + longest))
}
