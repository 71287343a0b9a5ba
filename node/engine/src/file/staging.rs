//! The end of a file: staged beside its destination, made visible, or put away.
//!
//! The file beside the destination exists once. So whoever writes it is waited for, even when the file was given up
//! meanwhile: only after its answer is the name written again, or cleared.

use super::contact::OTHER_DIGEST;
use super::{
    DAMAGES_ALLOWED, File, LOSSES_ALLOWED, MISMATCHES_ALLOWED, PartUse, Phase, STAGED_LOST, SourceBytes, Surroundings,
    Swarming,
};
use crate::outbox::Outbox;
use crate::planner::Planner;
use crate::port::{Doubted, Effect, Failure, FailureClass, FetchId, FetchOutcome, StagedFile};
use eddy_content::{BlockSet, Entity};
use std::time::Duration;

impl File {
    pub(super) fn begin_staging(&mut self, out: &mut Outbox) {
        let (stretches, digests) = (self.stretches.clone(), self.digests.clone());
        out.push(Effect::Stage { file: self.at, stretches, digests });
        self.part_use = Some(PartUse::Stage);
        self.phase = Phase::Staging;
    }

    /// Everything is held, and nothing else was wanted.
    pub(super) fn end_held(&mut self, out: &mut Outbox) {
        self.phase = Phase::Published;
        self.progress += 1;
        if self.entity_id.take().is_some() {
            out.push(Effect::Release { file: self.at });
        }
        self.planner = None;
        self.parked = None;
    }

    /// Held blocks turned out damaged while they were staged: they are fetched again.
    pub fn on_damaged(&mut self, blocks: &BlockSet, out: &mut Outbox) {
        let was_used = self.part_use.take().is_some();
        let (Some(planner), true) = (&mut self.planner, matches!(self.phase, Phase::Staging)) else {
            self.clear_part(was_used, out);
            return;
        };
        planner.on_damaged(blocks);
        self.swarming.bar();
        self.damages += 1;
        self.phase = Phase::Moving;
        if self.damages > DAMAGES_ALLOWED {
            let detail = "stored blocks were damaged again and again; the disk of the cache may be failing";
            self.fail(Failure { class: FailureClass::Disk, ..Failure::fatal("disk-failed", detail) });
        }
    }

    /// Another job found blocks of the version damaged.
    pub fn on_lost(&mut self, blocks: &BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_damaged(blocks);
            self.swarming.bar();
        }
    }

    /// Answer to the staging, or to a stream that came to its good end.
    pub fn on_staged(&mut self, result: Result<StagedFile, Failure>, s: &mut Surroundings<'_>) {
        let part_use = self.part_use.take();
        let is_awaited = match (&self.phase, part_use) {
            (Phase::Staging, Some(PartUse::Stage)) => true,
            (Phase::Streaming { fetch }, Some(PartUse::Stream(user))) => *fetch == user,
            _ => false,
        };
        if let Some(PartUse::Stream(fetch)) = part_use {
            s.out.forget(fetch);
        }
        if !is_awaited {
            self.clear_part(part_use.is_some(), s.out);
            return;
        }
        match result {
            // Something that it was made of was doubted meanwhile.
            Ok(_) if self.planner.as_ref().is_some_and(|planner| !planner.is_complete()) => {
                s.out.push(Effect::Discard { file: self.at });
                self.phase = Phase::Moving;
            }
            Ok(staged) => self.take_staged(staged, s.out),
            Err(failure)
                if failure.code == "digest-mismatch"
                    && self.mismatches < MISMATCHES_ALLOWED
                    && self.bytes.peers + self.bytes.cache > 0 =>
            {
                // Some byte came from elsewhere than the origin: once more, from the origin alone.
                self.mismatches += 1;
                self.peer_use.fetch = false;
                s.out.push(Effect::Discard { file: self.at });
                let entity = self.entity.as_ref().map(Entity::id);
                let has_given = self.bytes.peers > 0;
                self.restart(s.out);
                // What others rely on does not go because one job promises itself something else.
                let doubted = if self.spec.digests.is_empty() { Doubted::All } else { Doubted::Given };
                if doubted == Doubted::Given && !has_given {
                    // Nothing of it may go, and it would be as wrong again.
                    self.pass_cache_by(OTHER_DIGEST);
                }
                if let Some(entity) = entity {
                    s.out.push(Effect::Distrust { file: self.at, entity, doubted });
                }
            }
            Err(failure) => self.fail(failure),
        }
    }

    fn take_staged(&mut self, staged: StagedFile, out: &mut Outbox) {
        self.length = Some(staged.length);
        self.root = Some(staged.root);
        self.wasted = staged.wasted;
        self.audited = staged.audited;
        self.witnesses = staged.witnesses;
        // The ledger's account replaces what was counted under way.
        let origin = staged.origin.min(staged.length);
        let peers = staged.peers.min(staged.length - origin);
        self.streamed = 0;
        self.bytes = SourceBytes { origin, peers, cache: staged.length.saturating_sub(origin + peers) };
        if let Some(told) = self.told.take() {
            self.named = Some(std::mem::replace(&mut self.spec.url, told));
        }
        self.phase = Phase::Staged;
        self.progress += 1;
        if self.entity_id.take().is_some() {
            out.push(Effect::Release { file: self.at });
        }
        self.planner = None;
        self.parked = None;
    }

    /// The body that went straight beside the destination is over without success; true when it was that.
    pub(super) fn on_part_stream_ended(
        &mut self,
        fetch: FetchId,
        outcome: &FetchOutcome,
        s: &mut Surroundings<'_>,
    ) -> bool {
        if self.part_use != Some(PartUse::Stream(fetch)) {
            return false;
        }
        self.part_use = None;
        if matches!(self.phase, Phase::Streaming { fetch: streaming } if streaming == fetch) {
            self.on_stream_ended(outcome.clone(), s);
        } else {
            self.clear_part(true, s.out);
        }
        true
    }

    /// Takes away what a given-up writer has left beside the destination.
    fn clear_part(&self, was_used: bool, out: &mut Outbox) {
        if was_used && !self.is_staged() {
            out.push(Effect::Discard { file: self.at });
        }
    }

    /// Asks for the staged file to become visible; true when an answer is to be expected.
    pub fn publish(&mut self, out: &mut Outbox) -> bool {
        if matches!(self.phase, Phase::Staged) {
            self.failure = None;
            self.phase = Phase::Publishing;
            out.push(Effect::Publish { file: self.at });
        }
        matches!(self.phase, Phase::Publishing)
    }

    /// Answer to the publishing; false when nobody waited for it.
    pub fn on_published(&mut self, result: Result<(), Failure>) -> bool {
        if !matches!(self.phase, Phase::Publishing) {
            return false;
        }
        match result {
            Ok(()) => self.phase = Phase::Published,
            Err(failure) => {
                // What may have an effect is not asked again by itself.
                let is_lost = failure.code == STAGED_LOST && self.losses < LOSSES_ALLOWED && !self.is_asked_once;
                self.phase = if is_lost { Phase::Idle } else { Phase::Staged };
                if is_lost {
                    self.losses += 1;
                    self.root = None;
                    if let Some(named) = self.named.take() {
                        self.spec.url = named;
                    }
                }
                self.failure = Some(failure);
            }
        }
        true
    }

    /// Whether it was staged and has to be so anew.
    pub fn is_lost(&self) -> bool {
        !self.is_staged() && self.failure.as_ref().is_some_and(|failure| failure.code == STAGED_LOST)
    }

    /// Stops whatever is under way; what is durable stays.
    pub fn pause(&mut self, out: &mut Outbox) {
        // What is durable is the beginning of the next turn; blocks of a body without a version are not.
        let known = if self.is_satisfied() { self.bytes.total() } else { self.bytes.cache };
        let held = self.held_bytes().unwrap_or(known);
        self.abort_all(out);
        self.failure = None;
        self.origin_fault = None;
        self.origin_failures = 0;
        self.origin_wait = Duration::ZERO;
        self.is_first_contact_done = false;
        self.changes = 0;
        self.is_version_asked_again = false;
        self.damages = 0;
        if !self.is_staged() {
            self.phase = Phase::Idle;
            self.bytes = SourceBytes { cache: held, ..SourceBytes::default() };
            self.streamed = 0;
            // The next turn may find room in the cache.
            self.wants_whole &= self.uncacheable.take().is_none();
        }
    }

    /// Stops and takes every trace beside the destination away.
    pub fn discard(&mut self, out: &mut Outbox) {
        self.abort_all(out);
        self.failure = None;
        if matches!(self.phase, Phase::Published) {
            return;
        }
        self.phase = Phase::Idle;
        // Whoever is still writing there answers first.
        if self.part_use.is_none() {
            out.push(Effect::Discard { file: self.at });
        }
    }

    pub(super) fn abort_all(&mut self, out: &mut Outbox) {
        match self.phase {
            Phase::Contacting { fetch, .. } | Phase::Contacted { fetch, .. } => out.drop_fetch(fetch),
            Phase::Opening { parked: Some(fetch) } => out.drop_fetch(fetch),
            // Its end is waited for.
            Phase::Streaming { fetch } => out.push(Effect::Abort { fetch }),
            _ => {}
        }
        self.end_audits(out);
        for fetch in self.planner.iter().flat_map(Planner::fetches) {
            out.drop_fetch(fetch);
        }
        if self.entity_id.is_some() {
            out.push(Effect::Release { file: self.at });
        }
        self.forget_entity();
    }

    /// Forgets the version, which nobody holds open.
    pub(super) fn forget_entity(&mut self) {
        self.entity = None;
        self.entity_id = None;
        self.planner = None;
        self.parked = None;
        self.swarming = Swarming::default();
    }
}
