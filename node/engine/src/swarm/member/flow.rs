//! One segment on its way in: how far it is, at which pace, and when its silence is too long.

use crate::planner::{PACE_GRACE, PEER_PACE};
use crate::port::Peer;
use crate::swarm::constants::{FIRST_BYTE, SILENCE, SILENCE_GAPS, SILENCE_MOST, WAITING_LIFE};
use crate::swarm::message::{FailReason, JoinSource};
use crate::swarm::name::{LeaseId, PeerTag};
use eddy_content::BLOCK_SIZE;
use std::time::Duration;

/// One flow.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    /// The source; `None` for the origin.
    pub(super) source: Option<Peer>,
    /// The right under which it comes from the origin.
    pub(super) lease: Option<LeaseId>,
    /// The source that this member has not met yet.
    pub(super) stranger: Option<PeerTag>,
    /// First segment of the request that it comes by, where that is for several.
    pub(super) run: Option<u32>,
    /// Verified blocks.
    pub(super) prefix: u32,
    /// Of them, those that were there when it began.
    first: u32,
    begun: Duration,
    last: Option<Duration>,
    /// Smoothed time between two arrivals.
    pub(super) gap: Duration,
    /// When its source last said that it has no more itself.
    waiting_heard: Option<Duration>,
    /// When the home was last told that it starves.
    starved_told: Option<Duration>,
}

impl Flow {
    pub(super) fn new(now: Duration, source: Option<Peer>, lease: Option<LeaseId>, prefix: u32) -> Self {
        let (stranger, run, last, waiting_heard, starved_told) = (None, None, None, None, None);
        let gap = Duration::ZERO;
        let (first, begun) = (prefix, now);
        Self { source, lease, stranger, run, prefix, first, begun, last, gap, waiting_heard, starved_told }
    }

    /// A flow whose source must be introduced first.
    pub(super) fn of_stranger(now: Duration, stranger: PeerTag, prefix: u32) -> Self {
        Self { stranger: Some(stranger), ..Self::new(now, None, None, prefix) }
    }

    /// The source as a JOIN names it.
    pub(super) fn join_source(&self) -> Option<JoinSource> {
        self.lease.map(JoinSource::Origin).or(self.source.map(JoinSource::Member))
    }

    /// The source in messages; `None` for the origin.
    pub(super) fn source_tag(&self) -> Option<PeerTag> {
        self.stranger.or_else(|| self.source.as_ref().map(PeerTag::of))
    }

    pub(super) fn on_blocks(&mut self, now: Duration, prefix: u32) {
        if let Some(last) = self.last {
            let gap = now.saturating_sub(last);
            self.gap = if self.gap.is_zero() { gap } else { (self.gap * 7 + gap) / 8 };
        }
        self.last = Some(now);
        self.waiting_heard = None;
        self.starved_told = None;
        self.prefix = self.prefix.max(prefix);
    }

    /// Something came by the same request, at this pace: its source is not silent.
    pub(super) fn on_run(&mut self, now: Duration, gap: Duration) {
        match &mut self.last {
            Some(last) => *last = now,
            None => (self.begun, self.gap) = (now, gap),
        }
    }

    /// Its source has `prefix` blocks and no more.
    pub(super) fn on_waiting(&mut self, now: Duration, prefix: u32) {
        self.waiting_heard = (prefix <= self.prefix).then_some(now);
    }

    /// What is wrong with it, to be told now. A lease is looked after as a whole. `any` is when anything last came to this member:
    /// while it is busy with other flows, one that has to wait is not stalled yet.
    pub(super) fn complaint(&mut self, now: Duration, any: Duration) -> Option<FailReason> {
        if self.trickles(now) {
            return Some(FailReason::Stalled);
        }
        let silence = now.saturating_sub(self.last.unwrap_or(self.begun));
        let is_busy = now.saturating_sub(any) < SILENCE;
        let patience = if is_busy { SILENCE_MOST } else { self.patience() };
        if self.lease.is_some() || silence < patience {
            return None;
        }
        if self.source.is_none() {
            return Some(FailReason::Refused);
        }
        if self.waiting_heard.is_none_or(|heard| now.saturating_sub(heard) > WAITING_LIFE) {
            return Some(FailReason::Stalled);
        }
        // A child that starves says so, and keeps the flow: its source is not to blame (trap 6).
        let is_told = self.starved_told.is_some_and(|told| now.saturating_sub(told) < self.patience());
        if is_told {
            return None;
        }
        self.starved_told = Some(now);
        Some(FailReason::Starved)
    }

    /// Whether a source that holds all of a run brings less than a peer has to: it cannot say that it waits for another.
    fn trickles(&self, now: Duration) -> bool {
        let brought = u64::from(self.prefix - self.first) * BLOCK_SIZE;
        let due = self.begun + PACE_GRACE + Duration::from_millis(brought * 1000 / PEER_PACE);
        self.run.is_some() && self.last.is_some() && now >= due
    }

    fn patience(&self) -> Duration {
        match self.last {
            None => FIRST_BYTE.max((self.gap * SILENCE_GAPS).min(SILENCE_MOST)),
            Some(_) => (self.gap * SILENCE_GAPS).clamp(SILENCE, SILENCE_MOST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_holds_a_run_and_trickles_is_left_and_one_that_waits_for_others_is_not() {
        let begun = Duration::from_secs(100);
        let mut flow = Flow::new(begun, Some(Peer([1; 32])), None, 3);
        for second in 1..30 {
            let now = begun + Duration::from_secs(3 * second);
            flow.on_blocks(now, 3 + second as u32);
            assert_eq!(flow.complaint(now, now), None, "{second}: it passes on what it gets itself");
        }
        let mut flow = Flow { run: Some(0), ..Flow::new(begun, Some(Peer([1; 32])), None, 3) };
        let mut left = None;
        for second in 1..30 {
            let now = begun + Duration::from_secs(3 * second);
            flow.on_blocks(now, 3 + second as u32);
            left = left.or_else(|| flow.complaint(now, now).map(|why| (second, why)));
        }
        // 64 KiB in 3 s: 2 s of grace and 2 s for each block are over with the second one, at 6 s.
        assert_eq!(left, Some((2, FailReason::Stalled)));
    }
}
