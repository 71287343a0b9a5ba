//! On whose word the file's blocks are believed: what statements it needs, what is looked at twice, what turned out doubtful.

use super::{File, Phase, Surroundings};
use crate::outbox::Outbox;
use crate::port::{Effect, FetchId, FetchOutcome};
use crate::trust::{Audit, Demand, Digest, Line, Sharing, Unwanted};
use eddy_content::{BlockSet, EntityId, Geometry};
use rand::rngs::SmallRng;
use std::ops::Range;
use std::time::Duration;

/// How long a file that is whole waits for second fetches: an origin that does not answer them does not hold it up.
const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

/// What the file's blocks need to be believed, and the second fetches of some of them.
#[derive(Debug)]
pub(super) struct Trusting {
    pub(super) demand: Demand,
    /// Draws what is fetched a second time; none where that is not done.
    audit: Option<Audit>,
    /// Second fetches under way.
    under_way: Vec<FetchId>,
    /// Until when they are waited for, once the file is whole.
    patience: Option<Duration>,
}

impl Default for Trusting {
    fn default() -> Self {
        Self { demand: Demand::Statements(1), audit: None, under_way: Vec::new(), patience: None }
    }
}

impl File {
    /// A version is about to be opened: what do its blocks need?
    pub(super) fn judge_trust(&mut self, is_https: Line, geometry: Option<Geometry>, s: &mut Surroundings<'_>) {
        // A digest of ranges says nothing about the rest of the blocks, which others may get.
        let is_vouched_for = !self.digests.is_empty() && self.stretches.is_none();
        let digest = if is_vouched_for { Digest::Known } else { Digest::Unknown };
        let is_audited = s.trust.is_audited(is_https, digest);
        let audit = geometry.filter(|_| is_audited).map(|geometry| Audit::new(geometry, s.trust.audit, s.rng));
        self.trusting = Trusting { demand: s.trust.demand(is_https, digest), audit, ..Trusting::default() };
    }

    /// Whether peers may give blocks of the open version.
    pub(super) fn may_use_peers(&self) -> bool {
        self.is_shareable && self.peer_use.fetch && matches!(self.trusting.demand, Demand::Statements(_))
    }

    /// Why the policy keeps peers away, if it does.
    pub(super) fn unwanted(&self) -> Option<&'static str> {
        match self.trusting.demand {
            Demand::NoPeers(Unwanted::NoDigest) => Some("there is no digest, and the group's policy wants one"),
            Demand::NoPeers(Unwanted::PlainHttp) => Some("the group's policy wants no peers for plain HTTP"),
            Demand::Statements(_) => None,
        }
    }

    /// How many members have to vouch for a block.
    pub(super) fn needed(&self) -> u8 {
        match self.trusting.demand {
            Demand::Statements(needed) => needed,
            Demand::NoPeers(_) => 1,
        }
    }

    /// Blocks became durable: those that came by one statement may be drawn.
    pub(super) fn draw(&mut self, gain: &BlockSet, out: &mut Outbox, rng: &mut SmallRng) {
        let (Some(audit), Some(planner)) = (&mut self.trusting.audit, &self.planner) else { return };
        let believed = planner.from_peers(gain);
        for blocks in audit.on_believed(&believed, rng) {
            self.look_twice(blocks, out);
        }
    }

    /// Others take the same from each other: second fetches are shared with them.
    pub(crate) fn on_watch(&mut self, sharing: Sharing) {
        if let Some(audit) = &mut self.trusting.audit {
            audit.share_among(sharing);
        }
    }

    /// A member found a lie about a block. That is no proof, but it costs no more than a block to ask the origin.
    pub(crate) fn on_alarm(&mut self, block: u32, out: &mut Outbox) {
        let is_held = self.planner.as_ref().is_some_and(|planner| planner.held().contains(block));
        if self.trusting.audit.is_some() && is_held {
            self.look_twice(block..block + 1, out);
        }
    }

    /// The file is whole; true while second fetches have to be waited for.
    pub(super) fn awaits_audits(&mut self, s: &mut Surroundings<'_>) -> bool {
        if let Some(blocks) = self.trusting.audit.as_mut().and_then(|audit| audit.last(s.rng)) {
            self.look_twice(blocks, s.out);
        }
        if self.trusting.under_way.is_empty() {
            return false;
        }
        let until = *self.trusting.patience.get_or_insert(s.now + AUDIT_PATIENCE);
        if s.now < until {
            return true;
        }
        self.end_audits(s.out);
        false
    }

    /// When second fetches are no longer waited for.
    pub(super) fn audit_timeout(&self) -> Option<Duration> {
        self.trusting.patience.filter(|_| !self.trusting.under_way.is_empty())
    }

    fn look_twice(&mut self, blocks: Range<u32>, out: &mut Outbox) {
        // A server without ranges would send everything again.
        if self.origin_fault.is_some() || self.planner.as_ref().is_none_or(|planner| !planner.serves_ranges()) {
            return;
        }
        let fetch = out.name_fetch(self.at);
        self.trusting.under_way.push(fetch);
        out.push(Effect::Audit { fetch, file: self.at, credentials: self.spec.credentials.clone(), blocks });
    }

    /// A fetch is over; true when it was a second one. One that failed is let go: the policy allows one statement.
    pub(super) fn on_audit_ended(&mut self, fetch: FetchId, outcome: &FetchOutcome, s: &mut Surroundings<'_>) -> bool {
        let count = self.trusting.under_way.len();
        self.trusting.under_way.retain(|known| *known != fetch);
        if self.trusting.under_way.len() == count {
            return false;
        }
        if let (FetchOutcome::NoRanges, Some(planner)) = (outcome, &mut self.planner) {
            planner.on_no_ranges();
        }
        if *outcome == FetchOutcome::Changed && matches!(self.phase, Phase::Moving) {
            self.on_changed(s);
        }
        true
    }

    /// Ends the second fetches; nobody waits for what they still say.
    pub(super) fn end_audits(&mut self, out: &mut Outbox) {
        for fetch in std::mem::take(&mut self.trusting.under_way) {
            out.drop_fetch(fetch);
        }
        self.trusting.patience = None;
    }

    /// Blocks of a version are held no more, because the word that they were held by is doubtful.
    pub fn on_doubted(&mut self, entity: EntityId, blocks: &BlockSet) {
        let (Some(planner), true) = (&mut self.planner, self.entity_id == Some(entity)) else { return };
        planner.on_doubted(blocks);
        self.swarming.bar();
        self.trusting.patience = None;
        if let Some(audit) = &mut self.trusting.audit {
            audit.forget(blocks);
        }
    }
}
