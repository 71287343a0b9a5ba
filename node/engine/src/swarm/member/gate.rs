//! What others say that were asked, before a first lease begins: they may hold what it is for, or read it.
//!
//! A home asks everybody before it lets anybody read, which is two ways more for one that has joined it. Where members are few the one
//! who joins asks them itself, while its JOIN is under way; its home lets it read at once, and it begins when they have answered.

use super::{Act, Member};
use crate::port::Peer;
use crate::swarm::bits::Bits;
use crate::swarm::constants::{ACTIVATION, LEASES_MOST};
use crate::swarm::message::{Holdings, JoinSource, Role};
use crate::swarm::name::{ContentTag, LeaseId};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// Answers that are waited for, and leases that wait.
#[derive(Debug)]
pub(super) struct Gate {
    awaited: BTreeSet<Peer>,
    opens_at: Duration,
    leases: Vec<(LeaseId, Range<u32>)>,
    /// What others hold, or read themselves. Who takes something from a member has it from one of those, or from this one.
    elsewhere: Bits,
    /// Whether somebody says that it is home.
    has_other_home: bool,
}

impl Gate {
    pub(super) fn opens_at(&self) -> Duration {
        self.opens_at
    }

    /// Keeps a lease until it opens; not more than one member may have.
    pub(super) fn keep(&mut self, lease: LeaseId, segments: &Range<u32>) -> bool {
        let has_room = self.leases.len() < LEASES_MOST as usize;
        if has_room {
            self.leases.push((lease, segments.clone()));
        }
        has_room
    }

    /// The home has found somebody else for a segment: the lease that it is of is void.
    pub(super) fn forget(&mut self, segment: u32) {
        self.leases.retain(|(_, segments)| !segments.contains(&segment));
    }

    /// Whether it opens: all have answered, or somebody takes too long. Answers that come before the first lease are kept for it, where they
    /// say anything.
    fn is_over(&self, now: Duration) -> bool {
        let says_nothing = !self.has_other_home && self.elsewhere.is_empty();
        (self.awaited.is_empty() && (says_nothing || !self.leases.is_empty())) || now >= self.opens_at
    }

    /// Whether what the leases are for need not be read, or is read by somebody whom another home leads.
    fn is_doubtful(&self) -> bool {
        let is_elsewhere = |segment: u32| self.elsewhere.has(segment);
        self.has_other_home || self.leases.iter().any(|(_, segments)| segments.clone().any(is_elsewhere))
    }
}

impl Member {
    /// Whether this member asks the others itself for a content that no home has heard of yet.
    pub(in crate::swarm) fn seeks(&mut self, now: Duration, content: ContentTag, others: &[Peer]) -> bool {
        let Some(job) = self.jobs.get_mut(&content) else { return false };
        let is_new = !std::mem::replace(&mut job.has_joined, true) && job.is_wanting() && job.flows.is_empty();
        // What was leased before is void with a JOIN.
        job.gate = (is_new && !others.is_empty()).then(|| Gate {
            awaited: others.iter().copied().collect(),
            opens_at: now + ACTIVATION,
            leases: Vec::new(),
            elsewhere: Bits::none(job.have.len()),
            has_other_home: false,
        });
        job.gate.is_some()
    }

    /// One that was asked has answered.
    pub(in crate::swarm) fn on_sought(
        &mut self,
        now: Duration,
        from: Peer,
        content: ContentTag,
        (role, holdings): (Role, Option<&Holdings>),
    ) {
        let Some(gate) = self.jobs.get_mut(&content).and_then(|job| job.gate.as_mut()) else { return };
        if !gate.awaited.remove(&from) {
            return;
        }
        gate.has_other_home |= role == Role::Acting;
        let count = gate.elsewhere.len();
        let has = |holdings: &Holdings| {
            let read = holdings.flows.iter().filter(|flow| matches!(flow.source, JoinSource::Origin(_)));
            holdings
                .have
                .iter()
                .chain(read.map(|flow| flow.segment))
                .filter(|segment| *segment < count)
                .collect::<Vec<_>>()
        };
        holdings.map(has).into_iter().flatten().for_each(|segment| gate.elsewhere.insert(segment));
        self.look_at_gate(now, content);
    }

    /// One that was asked is gone.
    pub(super) fn on_not_sought(&mut self, now: Duration, peer: Peer, content: ContentTag) {
        let gate = self.jobs.get_mut(&content).and_then(|job| job.gate.as_mut());
        if gate.is_some_and(|gate| gate.awaited.remove(&peer)) {
            self.look_at_gate(now, content);
        }
    }

    /// Begins what was kept when all have answered, or somebody takes too long. What somebody else has, the home hears of as well: it is
    /// asked anew.
    pub(super) fn look_at_gate(&mut self, now: Duration, content: ContentTag) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let Some(gate) = job.gate.take_if(|gate| gate.is_over(now)) else { return };
        if gate.is_doubtful() {
            return self.acts.push_back(Act::Rejoin(content));
        }
        for (lease, segments) in gate.leases {
            self.on_lease(now, content, lease, segments);
        }
    }
}
