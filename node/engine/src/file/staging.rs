//! The end of a file: staged beside its destination, made visible, or put away.

use super::{File, MISMATCHES_ALLOWED, Phase, SourceBytes};
use crate::planner::Planner;
use crate::port::{Effect, Failure, FetchId, StagedFile};
use eddy_content::{BlockSet, Entity};
use std::collections::VecDeque;
use std::time::Duration;

impl File {
    /// Held blocks turned out damaged: they are fetched again.
    pub fn on_damaged(&mut self, blocks: &BlockSet) {
        if let Some(planner) = &mut self.planner {
            planner.on_damaged(blocks);
            if matches!(self.phase, Phase::Staging) {
                self.phase = Phase::Moving;
            }
        }
    }

    /// Answer to the staging.
    pub fn on_staged(&mut self, result: Result<StagedFile, Failure>, effects: &mut VecDeque<Effect>) {
        if !matches!(self.phase, Phase::Staging | Phase::Streaming { .. }) {
            return;
        }
        match result {
            Ok(staged) => {
                self.length = Some(staged.length);
                self.root = Some(staged.root);
                self.wasted = staged.wasted;
                // The ledger's account replaces what was counted under way.
                let (origin, peers) = (staged.origin.min(staged.length), staged.peers.min(staged.length));
                self.streamed = 0;
                self.bytes = SourceBytes { origin, peers, cache: staged.length.saturating_sub(origin + peers) };
                self.phase = Phase::Staged;
                effects.push_back(Effect::Release { file: self.at });
                self.entity_is_done();
            }
            Err(failure)
                if failure.code == "digest-mismatch"
                    && self.mismatches < MISMATCHES_ALLOWED
                    && self.bytes.peers + self.bytes.cache > 0 =>
            {
                // Some byte came from elsewhere than the origin: once more, from the origin alone.
                self.mismatches += 1;
                self.peer_use.fetch = false;
                effects.push_back(Effect::Discard { file: self.at });
                let entity = self.entity.as_ref().map(Entity::id);
                self.restart(effects);
                effects.extend(entity.map(|entity| Effect::Distrust { entity }));
            }
            Err(failure) => self.fail(failure),
        }
    }

    pub(super) fn entity_is_done(&mut self) {
        self.planner = None;
        self.parked = None;
    }

    /// Asks for the staged file to become visible.
    pub fn publish(&mut self, effects: &mut VecDeque<Effect>) {
        if matches!(self.phase, Phase::Staged) {
            self.failure = None;
            self.phase = Phase::Publishing;
            effects.push_back(Effect::Publish { file: self.at });
        }
    }

    /// Answer to the publishing.
    pub fn on_published(&mut self, result: Result<(), Failure>) {
        if matches!(self.phase, Phase::Publishing) {
            match result {
                Ok(()) => self.phase = Phase::Published,
                Err(failure) => {
                    self.phase = Phase::Staged;
                    self.failure = Some(failure);
                }
            }
        }
    }

    /// Stops whatever is under way; what is durable stays.
    pub fn pause(&mut self, effects: &mut VecDeque<Effect>) {
        // What is durable is the beginning of the next turn; blocks of a body without a version are not.
        let held = self.planner.as_ref().map_or(self.bytes.cache, Planner::held_bytes);
        self.abort_all(effects);
        self.failure = None;
        self.origin_failures = 0;
        self.origin_wait = Duration::ZERO;
        self.is_first_contact_done = false;
        self.changes = 0;
        if !self.is_staged() {
            self.phase = Phase::Idle;
            self.bytes = SourceBytes { cache: held, ..SourceBytes::default() };
            self.streamed = 0;
        }
    }

    /// Stops and takes every trace beside the destination away.
    pub fn discard(&mut self, effects: &mut VecDeque<Effect>) {
        self.abort_all(effects);
        if !matches!(self.phase, Phase::Published) {
            effects.push_back(Effect::Discard { file: self.at });
            self.phase = Phase::Idle;
        }
    }

    pub(super) fn abort_all(&mut self, effects: &mut VecDeque<Effect>) {
        let contact = match &self.phase {
            Phase::Contacting { fetch, .. } | Phase::Contacted { fetch, .. } | Phase::Streaming { fetch } => {
                Some(*fetch)
            }
            Phase::Opening { parked } => *parked,
            _ => None,
        };
        let flights = self.planner.iter().flat_map(Planner::fetches);
        let mut fetches: Vec<FetchId> = contact.into_iter().chain(flights).collect();
        fetches.dedup();
        effects.extend(fetches.into_iter().map(|fetch| Effect::Abort { fetch }));
        if self.entity.take().is_some() {
            effects.push_back(Effect::Release { file: self.at });
        }
        self.planner = None;
        self.parked = None;
    }
}
