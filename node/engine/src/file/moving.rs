//! Blocks on their way: what the planner orders, and what sources report.

use super::{CHANGES_ALLOWED, File, Phase, SourceBytes, Surroundings};
use crate::planner::{Order, Source};
use crate::port::{Effect, Failure, FailureClass, FetchId, FetchOutcome, Peer};
use crate::retry;
use eddy_content::BlockSet;
use rand::rngs::SmallRng;
use std::collections::VecDeque;
use std::time::Duration;

impl File {
    /// Lets the planner work; true when the phase has changed.
    pub(super) fn move_blocks(&mut self, s: &mut Surroundings<'_>) -> bool {
        let Some(planner) = &mut self.planner else { return false };
        if planner.is_complete() {
            if planner.has_flights() {
                return false;
            }
            s.effects.push_back(Effect::Stage { file: self.at, digests: self.digests.clone() });
            self.phase = Phase::Staging;
            return true;
        }
        // The first peers may be found a moment after the start: do not spend the origin's bytes before that.
        let may_use_peers = self.is_shareable && self.peer_use.fetch;
        let is_settling = s.peers.is_empty() && s.now < s.settling_until && may_use_peers;
        if is_settling && self.parked.is_none() && !planner.has_flights() {
            return false;
        }
        let peers: &[Peer] = if may_use_peers { s.peers } else { &[] };
        planner.hold_origin_until(self.origin_wait);
        let reason = match () {
            () if !self.peer_use.fetch => "the job does not use peers",
            () if !self.is_shareable => "the content is private",
            () if s.peers.is_empty() => "no peer is connected",
            () => "no connected peer holds it",
        };
        for order in planner.plan(s.now, peers, s.rng) {
            match order {
                Order::Abort { fetch } => s.effects.push_back(Effect::Abort { fetch }),
                Order::Ask { peers } => s.effects.push_back(Effect::Ask { file: self.at, peers }),
                Order::Fetch { source, blocks } => {
                    *s.next_fetch += 1;
                    let fetch = FetchId(*s.next_fetch);
                    planner.begin(s.now, fetch, source, blocks.clone());
                    let file = self.at;
                    s.effects.push_back(match source {
                        Source::Peer(peer) => Effect::FetchPeer { fetch, file, peer, blocks },
                        Source::Origin => {
                            self.origin_reason = Some(reason);
                            let credentials = self.spec.credentials.clone();
                            Effect::FetchOrigin { fetch, file, credentials, blocks, ranges: planner.ranges() }
                        }
                    });
                }
            }
        }
        false
    }

    /// A peer said what it holds.
    pub fn on_holds(&mut self, peer: Peer, blocks: BlockSet) {
        if let Some(planner) = &mut self.planner {
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
            self.origin_failures = 0;
            return;
        }
        let Some(planner) = &mut self.planner else { return };
        planner.on_bytes(now, fetch);
        match planner.source_of(fetch) {
            Some(Source::Origin) => {
                self.bytes.origin += bytes;
                self.origin_failures = 0;
            }
            Some(Source::Peer(_)) => self.bytes.peers += bytes,
            None => {}
        }
    }

    /// Blocks are durable.
    pub fn on_committed(&mut self, blocks: &BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_committed(blocks);
        }
    }

    /// A fetch is over.
    pub fn on_ended(&mut self, now: Duration, fetch: FetchId, outcome: FetchOutcome, s: &mut Surroundings<'_>) {
        if self.parked.is_some_and(|(parked, ..)| parked == fetch) {
            self.parked = None;
        }
        if let Phase::Streaming { fetch: streaming } = self.phase
            && streaming == fetch
        {
            self.on_stream_ended(now, outcome, s.rng);
            return;
        }
        let Some(planner) = &mut self.planner else { return };
        let Some(source) = planner.source_of(fetch) else { return };
        planner.on_ended(fetch);
        match (outcome, source) {
            (FetchOutcome::Changed, _) => self.on_changed(s),
            (FetchOutcome::NoRanges, _) => planner.on_no_ranges(),
            (FetchOutcome::Failed(failure), Source::Origin) => {
                if failure.class == FailureClass::Disk || failure.class == FailureClass::Fatal {
                    self.fail(failure);
                } else {
                    self.on_origin_failure(now, failure, Phase::Moving, s.rng);
                }
            }
            (FetchOutcome::Failed(failure), Source::Peer(_)) => self.fail(failure),
            (FetchOutcome::PeerFailed(fault), Source::Peer(peer)) => planner.on_peer_fault(now, peer, fault),
            _ => {}
        }
    }

    /// The origin names another version: everything of this one is put away and the question is asked anew.
    pub(super) fn on_changed(&mut self, s: &mut Surroundings<'_>) {
        self.changes += 1;
        if self.changes > CHANGES_ALLOWED {
            let detail = format!("the file at the origin changed {} times during this download", self.changes);
            self.fail(Failure::transient("origin-changing", detail));
            return;
        }
        self.restart(s.effects);
    }

    /// Back to the question; flights are ended and the entity let go.
    pub(super) fn restart(&mut self, effects: &mut VecDeque<Effect>) {
        self.abort_all(effects);
        effects.push_back(Effect::Outdated { file: self.at });
        self.phase = Phase::Prepared { is_held: true };
        self.is_head_refused = false;
        self.bytes = SourceBytes::default();
        self.streamed = 0;
    }

    pub(super) fn on_origin_failure(&mut self, now: Duration, failure: Failure, otherwise: Phase, rng: &mut SmallRng) {
        self.origin_failures += 1;
        let is_hopeless = match failure.class {
            FailureClass::Fatal | FailureClass::Disk => true,
            FailureClass::Unreachable => !self.is_first_contact_done && self.origin_failures >= 2,
            // An origin that names a pause is obeyed by the job's own timer.
            FailureClass::Transient => failure.retry_after.is_some(),
        };
        if is_hopeless || self.origin_failures > retry::ORIGIN_FAILURES_PER_TURN {
            self.fail(failure);
            return;
        }
        self.origin_wait = now + retry::origin_delay(self.origin_failures, rng);
        self.phase = otherwise;
    }
}
