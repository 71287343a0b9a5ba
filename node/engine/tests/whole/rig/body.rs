//! What sources answer, and how their bodies arrive.

use super::act::url_of;
use super::world::{Manner, disk};
use super::{Event, Live, Origins, Rig};
use eddy_content::http::RangeSupport;
use eddy_content::{BLOCK_SIZE, BlockSet, Root, Validator};
use eddy_engine::port::{ContactMethod, Contacted, FetchId, FetchOutcome, PeerFault, Proof, StagedFile};
use eddy_engine::trust::{Weight, Witnessing};
use eddy_engine::{Effect, Failure, FileRef, Input};
use std::time::Duration;

/// How often a piece of a body arrives.
pub(super) const TICK: Duration = Duration::from_millis(100);

impl Rig {
    pub(super) fn answer_contact(&mut self, fetch: FetchId, method: ContactMethod) {
        let Some(live) = self.live.get(&fetch).cloned() else { return };
        if live.is_aborted {
            self.live.remove(&fetch);
            return;
        }
        let (now, url) = (self.now, self.url_of(live.file));
        let origin = self.origins.get_mut(&url).expect("an origin");
        let is_head = method == ContactMethod::Describe;
        let refused = is_head && !origin.answers_head;
        let failure = origin.request(now).or_else(|| refused.then(|| Failure::fatal("http-status", "405")));
        if let Some(failure) = failure {
            self.live.remove(&fetch);
            self.input(Input::Contacted { fetch, result: Err(failure) });
            return;
        }
        let length = origin.names_length.then_some(origin.length);
        let body = match method {
            ContactMethod::Describe => None,
            ContactMethod::Range { first, last } if origin.ranges == RangeSupport::Yes && first < origin.length => {
                let end = last.map_or(origin.length, |last| (last + 1).min(origin.length));
                Some((first, Some(end)))
            }
            _ => Some((0, length)),
        };
        let facts = Contacted {
            waited: None,
            url: eddy_content::ResourceUrl::parse(&url).unwrap(),
            validator: origin.has_validator.then(|| Validator::StrongEtag(format!("\"v{}\"", origin.version))),
            length,
            ranges: origin.ranges,
            storable: origin.storable,
            shareable: origin.shareable,
            last_modified: None,
            digests: Vec::new(),
            body,
            freshness: None,
        };
        let (version, length) = (origin.version, origin.length);
        match body {
            Some((start, end)) => {
                let live = self.live.get_mut(&fetch).expect("seen just now");
                (live.version, live.at, live.end, live.is_parked) = (version, start, end.unwrap_or(length), true);
            }
            None => drop(self.live.remove(&fetch)),
        }
        self.input(Input::Contacted { fetch, result: Ok(Box::new(facts)) });
    }

    pub(super) fn begin(&mut self, fetch: FetchId, file: FileRef, source: Origins, blocks: std::ops::Range<u32>) {
        let entity = self.open[&file];
        let stored = &self.store.entities[&entity];
        let bytes = stored.geometry.bytes_of(blocks.clone());
        assert!(!bytes.is_empty(), "a fetch of nothing");
        let version = self.version_of(entity);
        let (at, end, committed) = (bytes.start, bytes.end, bytes.start);
        let entity = Some(entity);
        self.live.insert(fetch, Live { entity, blocks, version, at, end, committed, ..live(file, source) });
    }

    /// The source answers a fetch: a body begins, or not.
    pub(super) fn begin_body(&mut self, fetch: FetchId) {
        let Some(live) = self.live.get(&fetch).cloned() else { return };
        if live.is_aborted {
            self.end(fetch, FetchOutcome::Aborted);
            return;
        }
        let outcome = match live.source {
            Origins::Origin => {
                let (now, url) = (self.now, self.url_of(live.file));
                let origin = self.origins.get_mut(&url).expect("an origin");
                origin.asked.push(live.blocks.clone());
                match origin.request(now) {
                    Some(failure) => Some(FetchOutcome::Failed(failure)),
                    None if origin.version != live.version => Some(FetchOutcome::Changed),
                    None if origin.ranges == RangeSupport::Yes || live.blocks.start == 0 => None,
                    None => self.whole_instead(fetch),
                }
            }
            Origins::Peer(peer) => match self.peers.get(&peer).map(|peer| (peer.manner, peer.holds.clone())) {
                None | Some((Manner::Breaks, _)) => Some(FetchOutcome::PeerFailed(PeerFault::Gone)),
                Some((Manner::IsBusy, _)) => Some(FetchOutcome::PeerFailed(PeerFault::Busy)),
                Some((Manner::HasNothing, _)) => Some(FetchOutcome::PeerFailed(PeerFault::NotHere)),
                Some((Manner::GivesNothing, _)) => Some(FetchOutcome::Done),
                Some((Manner::Serves, _)) if live.proof.needed > 1 && !self.unwitnessed(&live).is_empty() => {
                    Some(FetchOutcome::Unwitnessed(self.unwitnessed(&live)))
                }
                Some((Manner::Serves | Manner::Poisons, holds)) if !holds.contains_run(live.blocks.clone()) => {
                    Some(FetchOutcome::PeerFailed(PeerFault::NotHere))
                }
                Some(_) => None,
            },
        };
        match outcome {
            Some(outcome) => self.end(fetch, outcome),
            None => {
                self.live.get_mut(&fetch).expect("seen just now").is_begun = true;
                self.later(TICK, Event::Tick(fetch));
            }
        }
    }

    /// Held blocks are looked at a second time: where they are not the origin's, all of that liar's are put aside.
    pub(super) fn audit(&mut self, fetch: FetchId) {
        let Some(live) = self.live.get(&fetch).cloned() else { return };
        let (now, url) = (self.now, self.url_of(live.file));
        let origin = self.origins.get_mut(&url).expect("an origin");
        let outcome = match origin.request(now) {
            _ if live.is_aborted => FetchOutcome::Aborted,
            Some(failure) => FetchOutcome::Failed(failure),
            None if origin.version != live.version => FetchOutcome::Changed,
            None if origin.ranges != RangeSupport::Yes => FetchOutcome::NoRanges,
            None => {
                origin.audited += live.end - live.at;
                self.doubt(&live);
                FetchOutcome::Done
            }
        };
        self.end(fetch, outcome);
    }

    fn doubt(&mut self, live: &Live) {
        let entity = live.entity.expect("an audit is of a version");
        let stored = self.store.entities.get_mut(&entity).expect("is open");
        if stored.poisoned.intersection(&BlockSet::from_run(live.blocks.clone())).is_empty() {
            return;
        }
        let blocks = std::mem::take(&mut stored.poisoned);
        stored.held.difference_with(&blocks);
        self.store.has_damage = true;
        // Nobody believes who was caught.
        for neighbour in self.peers.values_mut().filter(|peer| peer.manner == Manner::Poisons) {
            neighbour.manner = Manner::Lies;
        }
        self.soon(Event::Input(Input::Doubted { file: live.file, entity, blocks }));
    }

    /// For which blocks of a fetch too few of the asked hold them: each of those vouches for what it holds.
    fn unwitnessed(&self, live: &Live) -> BlockSet {
        let mut witnessing = Witnessing::new(live.proof.needed);
        for peer in &live.proof.ask {
            if let Some(neighbour) = self.peers.get(peer).filter(|n| n.manner == Manner::Serves) {
                witnessing.hear(*peer, Weight::Member, &neighbour.holds);
            }
        }
        witnessing.unmet(&BlockSet::from_run(live.blocks.clone()))
    }

    /// A range was asked of a server that has none: told once, then the whole is read and skipped.
    pub(super) fn whole_instead(&mut self, fetch: FetchId) -> Option<FetchOutcome> {
        let was_told = self.log.iter().any(|(_, effect)| {
            matches!(effect, Effect::FetchOrigin { fetch: known, ranges: RangeSupport::No, .. } if *known == fetch)
        });
        (!was_told).then_some(FetchOutcome::NoRanges)
    }

    /// A piece of a body arrives.
    pub(super) fn tick(&mut self, fetch: FetchId) {
        let Some(mut live) = self.live.get(&fetch).cloned() else { return };
        if live.is_aborted {
            self.commit(fetch, &mut live);
            self.end(fetch, FetchOutcome::Aborted);
            return;
        }
        let (rate, manner) = match live.source {
            Origins::Origin => (self.origins[&self.url_of(live.file)].rate, Manner::Serves),
            Origins::Peer(peer) => match self.peers.get(&peer) {
                Some(peer) => (peer.rate, peer.manner),
                None => return self.end(fetch, FetchOutcome::PeerFailed(PeerFault::Gone)),
            },
        };
        let mut bytes = rate.min(live.end - live.at);
        match manner {
            Manner::Stalls => return self.later(TICK, Event::Tick(fetch)),
            Manner::Lies => return self.end(fetch, FetchOutcome::PeerFailed(PeerFault::Lied)),
            Manner::Trickles => bytes = bytes.min(1),
            _ => {}
        }
        let mut limit = None;
        match live.source {
            Origins::Origin => {
                let origin = self.origins.get_mut(&url_of(&self.engine, live.file)).expect("an origin");
                let breaks = origin.breaks_after.map(|after| (after, true));
                limit = breaks.or(origin.cuts_after.map(|after| (after, false)));
                if let Some((after, _)) = limit {
                    bytes = bytes.min(after.saturating_sub(live.sent));
                }
                origin.sent += bytes;
            }
            Origins::Peer(peer) => self.peers.get_mut(&peer).expect("seen just now").sent += bytes,
        }
        live.at += bytes;
        live.sent += bytes;
        self.live.insert(fetch, live.clone());
        if bytes > 0 {
            self.input(Input::Received { fetch, bytes });
        }
        let is_cut = limit.filter(|(after, _)| live.sent >= *after && live.at < live.end);
        let is_over = live.at >= live.end || is_cut.is_some();
        let is_commit_due = is_over || self.now.as_millis().is_multiple_of(3);
        if live.is_stream {
            return self.stream_on(fetch, &live, is_over, is_cut.is_some());
        }
        if is_commit_due && !self.commit(fetch, &mut live) {
            return self.end(fetch, FetchOutcome::Failed(self.store.standing.clone().unwrap_or_else(disk)));
        }
        match is_cut {
            Some((_, true)) => self.end(fetch, FetchOutcome::Failed(Failure::transient("connection-lost", "broken"))),
            _ if is_over => self.end(fetch, FetchOutcome::Done),
            _ => self.later(TICK, Event::Tick(fetch)),
        }
    }

    pub(super) fn stream_on(&mut self, fetch: FetchId, live: &Live, is_over: bool, is_cut: bool) {
        if is_cut {
            self.part_users.remove(&live.file);
            self.end(fetch, FetchOutcome::Failed(Failure::transient("connection-lost", "broken")));
        } else if is_over {
            self.part_users.remove(&live.file);
            self.live.remove(&fetch);
            self.disk.parts.insert(live.file, live.version);
            let wanted = self.stretches_of(live.file);
            let length = wanted.map_or(live.end, |stretches| stretches.length());
            let staged = StagedFile {
                length,
                root: Root([7; 32]),
                origin: length,
                peers: 0,
                wasted: 0,
                audited: 0,
                witnesses: None,
            };
            self.input(Input::Staged { file: live.file, result: Ok(staged) });
        } else {
            self.later(TICK, Event::Tick(fetch));
        }
    }

    /// Makes the whole blocks durable that have arrived.
    pub(super) fn commit(&mut self, fetch: FetchId, live: &mut Live) -> bool {
        let Some(entity) = live.entity else { return true };
        let Some(stored) = self.store.entities.get_mut(&entity) else { return true };
        if self.store.standing.is_some() {
            return false;
        }
        if self.store.failing_commits > 0 {
            self.store.failing_commits -= 1;
            return false;
        }
        let blocks = stored.geometry.blocks_inside(live.committed..live.at);
        if live.at > live.committed && !blocks.is_empty() {
            if let Origins::Peer(peer) = live.source
                && self.peers.get(&peer).is_some_and(|peer| peer.manner == Manner::Poisons)
            {
                let news = BlockSet::from_run(blocks.clone()).difference(&stored.held);
                stored.poisoned.union_with(&news);
            }
            stored.has_peer_bytes |= live.source != Origins::Origin;
            stored.held.insert(blocks.clone());
            live.committed = if blocks.end == stored.geometry.block_count() {
                stored.geometry.length()
            } else {
                u64::from(blocks.end) * BLOCK_SIZE
            };
            if let Some(known) = self.live.get_mut(&fetch) {
                known.committed = live.committed;
            }
            let blocks = stored.held.clone();
            self.soon(Event::Input(Input::Committed { file: live.file, entity, blocks }));
        }
        true
    }

    pub(super) fn abort(&mut self, fetch: FetchId) {
        let Some(live) = self.live.get_mut(&fetch) else { return };
        live.is_aborted = true;
        if live.is_parked {
            self.live.remove(&fetch);
        }
    }

    pub(super) fn end(&mut self, fetch: FetchId, outcome: FetchOutcome) {
        if let Some(live) = self.live.remove(&fetch)
            && live.is_stream
        {
            self.part_users.remove(&live.file);
        }
        self.soon(Event::Input(Input::Ended { fetch, outcome }));
    }
}

pub(super) fn live(file: FileRef, source: Origins) -> Live {
    Live {
        file,
        source,
        entity: None,
        blocks: 0..0,
        version: 0,
        at: 0,
        end: 0,
        sent: 0,
        committed: 0,
        is_aborted: false,
        is_parked: false,
        is_stream: false,
        is_begun: false,
        is_audit: false,
        proof: Proof { needed: 1, ask: Vec::new() },
    }
}
