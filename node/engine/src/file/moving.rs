//! Blocks on their way: what the planner orders, and what sources report.

use super::{CHANGES_ALLOWED, File, Phase, SourceBytes, Surroundings};
use crate::outbox::Outbox;
use crate::planner::{Order, Planner, Source, Words};
use crate::port::{Effect, Failure, FailureClass, FetchId, FetchOutcome, Held, Peer, PeerFault, Proof, Reach};
use crate::retry;
use eddy_content::http::RangeSupport;
use eddy_content::{BlockSet, EntityId};
use rand::rngs::SmallRng;
use std::time::Duration;

/// Changes of version after which HEAD is no longer believed: where servers disagree, the one that gives the bytes is right.
const CHANGES_BY_HEAD: u32 = 1;

/// How long peers may bring no block, after the origin was given up, before the file waits for its next turn.
const PEERS_WITHOUT_PROGRESS: Duration = Duration::from_secs(60);

impl File {
    /// Lets the planner work; true when the phase has changed.
    pub(super) fn move_blocks(&mut self, s: &mut Surroundings<'_>) -> bool {
        let Some(planner) = &mut self.planner else { return false };
        planner.see(s.now);
        if planner.is_complete() {
            // Whoever brought the last block: what others are still bringing is there already.
            for fetch in planner.abort_superfluous() {
                s.out.push(Effect::Abort { fetch });
            }
            if planner.has_flights() || self.part_use.is_some() || self.awaits_audits(s) {
                return false;
            }
            let is_whole = self.planner.as_ref().is_some_and(Planner::is_whole);
            if self.is_only_held() {
                self.end_held(s.out);
            } else if self.spec.portion.demand().is_some() && !is_whole {
                self.abort_all(s.out);
                self.phase = Phase::Satisfied;
            } else {
                self.begin_staging(s.out);
            }
            return true;
        }
        // The first peers may be found a moment after the start: do not spend the origin's bytes before that.
        let may_use_peers = self.may_use_peers();
        let Some(planner) = &mut self.planner else { return false };
        let is_settling = s.peers.is_empty() && s.now < s.settling_until && may_use_peers;
        if is_settling && self.parked.is_none() && !planner.has_flights() {
            return false;
        }
        if self.is_led(s) {
            if let Some(failure) = self.lonely_fault(s.now) {
                self.fail(failure);
            }
            return false;
        }
        let words = if self.needed() > 1 { Words::Several } else { Words::One };
        let Some(planner) = &mut self.planner else { return false };
        planner.need(words);
        let peers: &[Peer] = if may_use_peers { s.peers } else { &[] };
        planner.hold_origin_until(if self.origin_fault.is_some() { Duration::MAX } else { self.origin_wait });
        let elsewhere = self.entity_id.map(|entity| s.out.claimed_elsewhere(entity, self.at)).unwrap_or_default();
        for order in planner.plan(s.now, peers, &elsewhere, s.rng) {
            self.carry_out(order, s);
        }
        if let Some(failure) = self.lonely_fault(s.now) {
            self.fail(failure);
        }
        false
    }

    /// Why the origin was given up, when peers bring nothing any more: none is asked, or whoever is asked only trickles.
    fn lonely_fault(&mut self, now: Duration) -> Option<Failure> {
        // A swarm may give nothing for a moment.
        let has_flights = self.swarming.is_taking() || self.planner.as_ref().is_none_or(Planner::has_flights);
        let progress = self.progress;
        let (_, furthest, since) = self.origin_fault.as_mut()?;
        if progress > *furthest {
            (*furthest, *since) = (progress, now);
        }
        let is_hopeless = now.saturating_sub(*since) >= PEERS_WITHOUT_PROGRESS;
        if is_hopeless || !has_flights { self.origin_fault.take().map(|(failure, ..)| failure) } else { None }
    }

    pub(super) fn carry_out(&mut self, order: Order, s: &mut Surroundings<'_>) {
        let (needed, unwanted) = (self.needed(), self.unwanted());
        let (file, Some(planner)) = (self.at, &mut self.planner) else { return };
        match order {
            Order::Abort { fetch } => {
                s.out.unclaim(fetch);
                s.out.push(Effect::Abort { fetch });
            }
            Order::Ask { peers } => s.out.push(Effect::Ask { file, peers }),
            Order::Fetch { source, blocks } => {
                let fetch = s.out.name_fetch(file);
                planner.begin(s.now, fetch, source, blocks.clone());
                let is_slow = self.is_limited && source == Source::Origin;
                if let Some(entity) = self.entity_id.filter(|_| !is_slow) {
                    s.out.claim(fetch, entity, blocks.clone());
                }
                s.out.push(match source {
                    Source::Peer(peer) => {
                        let ask = if needed > 1 { planner.vouchers(s.now, peer, &blocks) } else { Vec::new() };
                        let proof = Proof { needed, ask };
                        Effect::FetchPeer { fetch, file, peer, blocks, proof, reach: Reach::Held }
                    }
                    Source::Origin => {
                        self.origin_reason = Some(match () {
                            () if !self.peer_use.fetch => "the job does not use peers",
                            () if !self.is_shareable => "the content is private",
                            () if unwanted.is_some() => unwanted.unwrap_or_default(),
                            () if planner.is_reserved(s.now, &blocks) => "too few members vouch for it",
                            () if s.peers.is_empty() => "no peer is connected",
                            () => "no connected peer holds it",
                        });
                        let credentials = self.spec.credentials.clone();
                        let (ranges, through) = (planner.ranges(), None);
                        Effect::FetchOrigin { fetch, file, credentials, blocks, ranges, through }
                    }
                });
            }
        }
    }

    /// The job has a limit from now on: what it reads from the origin is asked for anew, as who it now is, and nobody else waits for
    /// it. Where there are no ranges that would begin at the first byte, so it goes on.
    pub(crate) fn slow_down(&mut self, now: Duration, out: &mut Outbox) {
        self.seen = now;
        let Some(planner) = &self.planner else { return };
        let is_resumable = planner.ranges() == RangeSupport::Yes && !self.is_asked_once;
        let of_origin = planner.fetches().filter(|fetch| planner.source_of(*fetch) == Some(Source::Origin));
        for fetch in of_origin.collect::<Vec<_>>() {
            if is_resumable {
                self.abort_fetch(fetch, out);
            } else {
                out.unclaim(fetch);
            }
        }
    }

    /// A peer said what it holds of a version; what it says of another one than the present is of no use.
    pub fn on_holds(&mut self, entity: EntityId, peer: Peer, blocks: BlockSet) {
        if let Some(planner) = &mut self.planner
            && self.entity_id == Some(entity)
        {
            planner.on_holds(peer, blocks);
        }
    }

    /// A peer is gone.
    pub fn on_peer_down(&mut self, peer: Peer) {
        if let Some(planner) = &mut self.planner {
            planner.on_peer_down(peer);
        }
    }

    /// Bytes of a fetch arrived.
    pub fn on_received(&mut self, now: Duration, fetch: FetchId, bytes: u64) {
        if matches!(self.phase, Phase::Streaming { fetch: streaming } if streaming == fetch) {
            self.streamed += bytes;
            if self.streamed > self.furthest {
                self.furthest = self.streamed;
                self.progress += 1;
                self.origin_failures = 0;
            }
            return;
        }
        let Some(planner) = &mut self.planner else { return };
        planner.on_bytes(now, fetch, bytes);
        if self.stretches.is_some() {
            // Not every byte of a block is wanted: they count when the block is held.
            return;
        }
        match planner.source_of(fetch) {
            Some(Source::Origin) => self.bytes.origin += bytes,
            Some(Source::Peer(_)) => self.bytes.peers += bytes,
            None => {}
        }
    }

    /// Blocks of a version are durable.
    pub fn on_committed(&mut self, entity: EntityId, blocks: &BlockSet, s: (&mut Outbox, &mut SmallRng)) {
        let (Some(planner), true) = (&mut self.planner, self.entity_id == Some(entity)) else { return };
        let gain = planner.on_committed(blocks);
        if gain.is_empty() {
            return;
        }
        if planner.is_origin_fetching(&gain) {
            self.origin_failures = 0;
        }
        let (geometry, own, peers) = (planner.geometry(), planner.own(&gain), planner.from_peers(&gain));
        // What another job's fetch, or nobody's any more, has brought.
        self.bytes.cache += self.bytes_in(geometry, &gain.difference(&own));
        if self.stretches.is_some() {
            self.bytes.origin += self.bytes_in(geometry, &own.difference(&peers));
            self.bytes.peers += self.bytes_in(geometry, &peers);
        }
        // Of several versions only the one that comes furthest counts as a step forward.
        let held = self.held_bytes().unwrap_or_default();
        if held > self.furthest {
            self.furthest = held;
            self.progress += 1;
        }
        self.draw(&gain, s.0, s.1);
    }

    /// A fetch is over.
    pub fn on_ended(&mut self, fetch: FetchId, outcome: FetchOutcome, s: &mut Surroundings<'_>) {
        if self.on_part_stream_ended(fetch, &outcome, s) || self.on_audit_ended(fetch, &outcome, s) {
            return;
        }
        if self.parked.is_some_and(|(parked, ..)| parked == fetch) {
            self.parked = None;
        }
        let Some(planner) = &mut self.planner else { return };
        let Some(source) = planner.source_of(fetch) else { return };
        let has_brought = planner.on_ended(fetch);
        self.on_take_fetch_ended(fetch, &outcome, s);
        let Some(planner) = &mut self.planner else { return };
        match (outcome, source) {
            (FetchOutcome::Changed, _) => self.on_changed(s),
            (FetchOutcome::Failed(failure), Source::Origin) => {
                self.on_origin_failure(s.now, failure, Phase::Moving, s.rng);
            }
            // This node's disk: another source would not help.
            (FetchOutcome::Failed(failure), Source::Peer(_)) => self.fail(failure),
            (FetchOutcome::NoRanges, Source::Origin) => planner.on_no_ranges(),
            (FetchOutcome::PeerFailed(fault), Source::Peer(peer)) => planner.on_peer_fault(s.now, peer, fault),
            (FetchOutcome::Unwitnessed(blocks), _) => {
                planner.on_unwitnessed(s.now, &blocks);
                self.swarming.bar();
            }
            (FetchOutcome::Aborted, _) => {}
            // An end that is called good but brought nothing would be asked for again at once, for ever.
            (_, Source::Origin) if !has_brought => {
                let failure = Failure::transient("connection-lost", "the server ended a body before its first block");
                self.on_origin_failure(s.now, failure, Phase::Moving, s.rng);
            }
            (_, Source::Peer(peer)) if !has_brought => planner.on_peer_fault(s.now, peer, PeerFault::Stalled),
            _ => {}
        }
    }

    /// The origin names another version: everything of this one is put away and the question is asked anew.
    pub(super) fn on_changed(&mut self, s: &mut Surroundings<'_>) {
        self.changes += 1;
        if self.is_only_held() {
            self.fail(Failure::fatal("origin-changing", "the file at the origin has changed while it was read"));
            return;
        }
        if self.changes > CHANGES_ALLOWED {
            let detail = format!("the file at the origin changed {} times during this download", self.changes);
            self.fail(Failure::transient("origin-changing", detail));
            return;
        }
        self.restart(s.out);
        self.is_head_refused = self.changes > CHANGES_BY_HEAD;
    }

    /// Back to the question; flights are ended and the entity let go.
    pub(super) fn restart(&mut self, out: &mut Outbox) {
        self.abort_all(out);
        out.push(Effect::Outdated { file: self.at });
        self.phase = Phase::Prepared { held: Held::Some };
        self.is_head_refused = false;
        self.origin_fault = None;
        self.bytes = SourceBytes::default();
        self.streamed = 0;
        self.held_use = None;
    }

    /// The same, though nothing that this node has seen says that the answer will be another one: what is durable is still of use.
    pub(super) fn ask_again(&mut self, out: &mut Outbox) {
        let held = self.held_bytes().unwrap_or(self.bytes.cache);
        self.abort_all(out);
        self.phase = Phase::Prepared { held: Held::Some };
        self.bytes = SourceBytes { cache: held, ..SourceBytes::default() };
        self.held_use = None;
    }

    pub(super) fn on_origin_failure(&mut self, now: Duration, failure: Failure, otherwise: Phase, rng: &mut SmallRng) {
        self.origin_failures += 1;
        let is_fatal = failure.class == FailureClass::Fatal || failure.class.is_condition();
        let is_given_up = self.is_asked_once
            || match failure.class {
                FailureClass::Fatal | FailureClass::Disk | FailureClass::Destination => true,
                FailureClass::Unreachable => !self.is_first_contact_done && self.origin_failures >= 2,
                // An origin that names a pause is obeyed by the job's own timer.
                FailureClass::Transient => failure.retry_after.is_some(),
            }
            || self.origin_failures > retry::ORIGIN_FAILURES_PER_TURN;
        if !is_given_up {
            self.origin_wait = now + retry::origin_delay(self.origin_failures, rng);
            self.phase = otherwise;
        } else if !is_fatal && self.planner.as_ref().is_some_and(|planner| planner.has_peer_flights()) {
            // Peers go on without it; what they do not have decides later.
            self.origin_fault = Some((failure, self.progress, now));
            self.phase = otherwise;
        } else {
            self.fail(failure);
        }
    }
}
