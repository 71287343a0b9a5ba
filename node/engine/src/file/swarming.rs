//! The file's part in the swarm of its version: what the swarm orders is fetched, and nothing else.
//!
//! There is one as soon as a member is connected that takes part in swarms, also for what members hold whole: the home hears of it and
//! sends those who start together to each other, where each by itself would go to the one holder, and to the origin while that is
//! busy. Whatever is not the swarm's business (doubt, damage) ends the part in it, and the file plans by itself until its turn is over.

use super::{File, Surroundings};
use crate::job::spec::Goal;
use crate::outbox::Outbox;
use crate::planner::{Order, Source};
use crate::port::{Effect, FetchId, FetchOutcome, Peer, PeerFault, Proof, Reach, TakeEnd, TakeId};
use crate::swarm;
use eddy_content::BLOCK_SIZE;
use eddy_content::http::RangeSupport;
use std::collections::BTreeMap;
use std::ops::Range;

/// Whether the swarm leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Part {
    /// Not decided: no member has been seen.
    #[default]
    Open,
    /// The swarm orders.
    Taking,
    /// It no longer may: told with the next step.
    Barred,
    /// The file plans by itself.
    Apart,
}

/// What the swarm has ordered of a file.
#[derive(Debug, Default)]
pub(super) struct Swarming {
    part: Part,
    /// The fetches under way for each order.
    fetches: BTreeMap<FetchId, Ordered>,
}

/// For which order a fetch is under way.
#[derive(Debug, Clone, Copy)]
struct Ordered {
    take: TakeId,
    /// Up to which block it reads what turns out to be the whole.
    through: Option<u32>,
}

impl Surroundings<'_> {
    /// Whether somebody is there who takes part in swarms.
    fn has_company(&self) -> bool {
        self.peers.iter().any(|peer| !self.plain.contains(peer))
    }
}

impl Swarming {
    /// Whether the swarm orders.
    pub(super) fn is_taking(&self) -> bool {
        self.part == Part::Taking
    }

    /// The swarm leads no more.
    pub(super) fn bar(&mut self) {
        self.part = match self.part {
            Part::Taking => Part::Barred,
            Part::Open => Part::Apart,
            part => part,
        };
    }

    fn of_take(&self, take: TakeId) -> Vec<FetchId> {
        self.fetches.iter().filter(|(_, of)| of.take == take).map(|(fetch, _)| *fetch).collect()
    }
}

impl File {
    /// Whether the swarm says what is fetched, or is about to.
    pub(super) fn is_led(&mut self, s: &mut Surroundings<'_>) -> bool {
        match (self.swarming.part, s.swarm) {
            (Part::Taking, Some(_)) if self.may_swarm() => true,
            (Part::Taking | Part::Barred, _) => {
                self.leave_swarm(s.out);
                false
            }
            (Part::Open, Some(patience)) if s.has_company() && self.may_swarm() && self.origin_fault.is_none() => {
                self.consider_swarm(patience, s)
            }
            (Part::Open | Part::Apart, _) => false,
        }
    }

    /// The policy must be content with one statement, since a swarm has one source for each block; and all of it must be wanted. To ask
    /// who brings a single block costs as much as the block.
    fn may_swarm(&self) -> bool {
        let is_worth_it = self.entity.as_ref().is_some_and(|entity| entity.length > BLOCK_SIZE);
        let is_all_wanted = self.stretches.is_none() && self.spec.portion.demand().is_none();
        is_worth_it && is_all_wanted && self.may_use_peers() && self.needed() == 1
    }

    /// Joins, once what was begun alone has ended. True: the file's own plan has to wait.
    fn consider_swarm(&mut self, patience: swarm::Patience, s: &mut Surroundings<'_>) -> bool {
        let Some(planner) = &mut self.planner else { return false };
        if !planner.serves_ranges() && planner.reads_origin() {
            // One stream: what is left of it comes sooner than all of it once more.
            return false;
        }
        let ranges = planner.ranges();
        // What was begun before there was anybody ends first: the swarm must not order it again.
        for fetch in planner.abort_all(s.now) {
            self.carry_out(Order::Abort { fetch }, s);
        }
        if !self.planner.as_ref().is_some_and(|planner| planner.has_flights()) {
            self.swarming.part = Part::Taking;
            let order = match self.spec.goal() {
                Goal::Deliver => swarm::Order::Rarest,
                Goal::Hold => swarm::Order::Deadline,
            };
            s.out.push(Effect::JoinSwarm { file: self.at, order, patience, ranges });
        }
        true
    }

    fn leave_swarm(&mut self, out: &mut Outbox) {
        self.swarming.part = Part::Apart;
        for fetch in std::mem::take(&mut self.swarming.fetches).into_keys() {
            self.abort_fetch(fetch, out);
        }
        out.push(Effect::LeaveSwarm { file: self.at });
    }

    pub(super) fn abort_fetch(&mut self, fetch: FetchId, out: &mut Outbox) {
        let now = self.seen;
        if let Some(planner) = &mut self.planner {
            planner.abort(now, fetch);
        }
        out.unclaim(fetch);
        out.push(Effect::Abort { fetch });
    }

    /// The swarm orders blocks.
    pub(crate) fn on_take(
        &mut self,
        take: TakeId,
        (source, blocks): (Source, Range<u32>),
        (through, reach): (Option<u32>, Reach),
        s: &mut Surroundings<'_>,
    ) {
        let (true, Some(planner)) = (self.swarming.is_taking(), &mut self.planner) else { return };
        if source == Source::Origin && through.is_none() && !planner.serves_ranges() {
            // It would be read from the first byte, and so would every other range.
            return s.out.push(Effect::TakeEnded { file: self.at, take, end: TakeEnd::NoRanges });
        }
        let mut lacking = planner.lacking(blocks);
        if let (Some(_), [first, .., last]) = (through, lacking.as_slice()) {
            // Each would be a stream of its own.
            lacking = std::iter::once(first.start..last.end).collect();
        }
        for blocks in &lacking {
            let fetch = s.out.name_fetch(self.at);
            planner.begin(s.now, fetch, source, blocks.clone());
            if let Some(entity) = self.entity_id {
                s.out.claim(fetch, entity, blocks.clone());
            }
            self.swarming.fetches.insert(fetch, Ordered { take, through });
            let (file, blocks) = (self.at, blocks.clone());
            s.out.push(match source {
                Source::Peer(peer) => {
                    let proof = Proof { needed: 1, ask: Vec::<Peer>::new() };
                    Effect::FetchPeer { fetch, file, peer, blocks, proof, reach }
                }
                Source::Origin => {
                    self.origin_reason = Some("this machine reads it for all that want it");
                    let credentials = self.spec.credentials.clone();
                    Effect::FetchOrigin { fetch, file, credentials, blocks, ranges: planner.ranges(), through }
                }
            });
        }
        if lacking.is_empty() {
            s.out.push(Effect::TakeEnded { file: self.at, take, end: TakeEnd::Over });
        }
    }

    /// The origin's answer to what the swarm ordered shows whether it serves ranges; one that does not brings everything.
    pub(crate) fn on_answered(&mut self, fetch: FetchId, ranges: RangeSupport, out: &mut Outbox) {
        let (Some(Ordered { take, through: Some(through) }), Some(planner)) =
            (self.swarming.fetches.get(&fetch).copied(), &mut self.planner)
        else {
            return;
        };
        let longer = planner.on_answered(fetch, ranges, through);
        if let (Some(blocks), Some(entity)) = (longer, self.entity_id) {
            out.claim(fetch, entity, blocks);
        }
        out.push(Effect::TakeAnswered { take, ranges });
    }

    /// Bytes come, and no block yet that is lacking.
    pub(crate) fn on_moves(&mut self, fetch: FetchId, out: &mut Outbox) {
        if let Some(ordered) = self.swarming.fetches.get(&fetch) {
            out.push(Effect::TakeMoves { take: ordered.take });
        }
    }

    /// The swarm takes an order back.
    pub(crate) fn on_untake(&mut self, take: TakeId, s: &mut Surroundings<'_>) {
        for fetch in self.swarming.of_take(take) {
            self.swarming.fetches.remove(&fetch);
            self.abort_fetch(fetch, s.out);
        }
    }

    /// The swarm of this version has ended, because the origin is said to have another one. That is others' word: the file asks the origin,
    /// and takes part again where the version stands. Said again in the same turn it would only keep the file from getting on.
    pub(crate) fn on_swarm_changed(&mut self, out: &mut Outbox) {
        if !self.swarming.is_taking() {
            return;
        }
        if std::mem::replace(&mut self.is_version_asked_again, true) {
            self.leave_swarm(out);
        } else {
            self.ask_again(out);
        }
    }

    /// The swarm has nothing to say any more.
    pub(crate) fn on_swarm_over(&mut self, out: &mut Outbox) {
        if self.swarming.is_taking() {
            self.leave_swarm(out);
        }
    }

    /// A fetch is over; when the swarm ordered it, it hears of it. What failed is its business from then on.
    pub(super) fn on_take_fetch_ended(&mut self, fetch: FetchId, outcome: &FetchOutcome, s: &mut Surroundings<'_>) {
        let Some(Ordered { take, .. }) = self.swarming.fetches.remove(&fetch) else { return };
        let end = match outcome {
            FetchOutcome::Done | FetchOutcome::Aborted => TakeEnd::Over,
            FetchOutcome::Changed => TakeEnd::Changed,
            FetchOutcome::PeerFailed(PeerFault::Lied) => TakeEnd::Corrupt,
            FetchOutcome::PeerFailed(PeerFault::NotHere) => TakeEnd::Lacking,
            FetchOutcome::NoRanges => TakeEnd::NoRanges,
            FetchOutcome::Failed(_) | FetchOutcome::PeerFailed(_) | FetchOutcome::Unwitnessed(_) => TakeEnd::Failed,
        };
        let others = self.swarming.of_take(take);
        if end == TakeEnd::Over && !others.is_empty() {
            return;
        }
        for other in others {
            self.swarming.fetches.remove(&other);
            self.abort_fetch(other, s.out);
        }
        s.out.push(Effect::TakeEnded { file: self.at, take, end });
    }
}
