//! The world's half: what each effect does, and what is answered when.

use super::body::{TICK, live};
use super::world::{Manner, Stored, take};
use super::{Event, Origins, Rig};
use eddy_content::http::RangeSupport;
use eddy_content::{BlockSet, Entity, Geometry, Root};
use eddy_engine::job::portion::Stretches;
use eddy_engine::job::record::FileRecord;
use eddy_engine::port::{Contacted, FetchId, Held, StagedFile};
use eddy_engine::{Effect, Failure, FailureClass, FileRef, Input};
use std::time::Duration;

impl Rig {
    pub(super) fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(row) => drop(self.rows.insert(row.id, *row)),
            Effect::Erase(id) => drop(self.rows.remove(&id)),
            Effect::Prepare { file } => {
                let standing = self.disk.standing.clone();
                let result = match standing.or_else(|| take(&mut self.disk.refusing)) {
                    Some(failure) => Err(failure),
                    None => Ok(self.held_of(file)),
                };
                self.later(Duration::from_millis(1), Event::Input(Input::Prepared { file, result }));
            }
            Effect::Probe { file, class } => {
                let (at, standing) = match class {
                    FailureClass::Disk => (2, self.store.standing.clone()),
                    _ => (1, self.disk.standing.clone()),
                };
                let result = standing.map_or(Ok(()), Err);
                self.later(Duration::from_millis(at), Event::Input(Input::Probed { job: file.job, result }));
            }
            Effect::Contact { fetch, file, method, .. } => {
                self.live.insert(fetch, live(file, Origins::Origin));
                let latency = self.origins[&self.url_of(file)].latency;
                self.later(latency, Event::Contact(fetch, method));
            }
            Effect::Open { file, entity, .. } => {
                assert!(!self.open.contains_key(&file), "opened twice: {}", self.picture());
                assert!(self.opening.insert(file), "asked twice for an opening: {}", self.picture());
                let id = entity.id();
                let geometry = Geometry::new(entity.length).unwrap();
                let (held, has_peer_bytes) = (BlockSet::new(), false);
                self.store.entities.entry(id).or_insert(Stored {
                    entity,
                    geometry,
                    held,
                    has_peer_bytes,
                    poisoned: BlockSet::new(),
                });
                self.later(Duration::from_millis(2), Event::Open(file, id));
            }
            Effect::Ask { file, peers } => {
                let entity = self.open[&file];
                for peer in peers {
                    let Some(neighbour) = self.peers.get(&peer) else { continue };
                    let latency = neighbour.latency;
                    let is_same = self.version_of(entity) == neighbour.version;
                    let blocks = if is_same { neighbour.holds.clone() } else { BlockSet::new() };
                    let (delay, blocks) = match neighbour.manner {
                        Manner::IsSilent => (Duration::from_secs(3), BlockSet::new()),
                        _ => (latency, blocks),
                    };
                    self.later(delay, Event::Input(Input::Holds { file, entity, peer, blocks }));
                }
            }
            Effect::Pump { fetch, file, blocks } => {
                let entity = self.open[&file];
                let bytes = self.store.entities[&entity].geometry.bytes_of(blocks.clone());
                let live = self.live.get_mut(&fetch).expect("the body is parked");
                assert!(live.is_parked && !live.is_aborted);
                (live.is_parked, live.entity, live.blocks) = (false, Some(entity), blocks.clone());
                assert!(live.at <= bytes.start && bytes.end <= live.end, "the body carries what is pumped");
                (live.at, live.end, live.committed) = (bytes.start, bytes.end, bytes.start);
                self.check_alone(fetch, file, &blocks);
                self.later(TICK, Event::Tick(fetch));
            }
            Effect::Stream { fetch, file, .. } => {
                assert!(self.part_users.insert(file), "two write beside one destination: {}", self.picture());
                self.disk.parts.remove(&file);
                let live = self.live.get_mut(&fetch).expect("the body is parked");
                assert!(live.is_parked && !live.is_aborted);
                (live.is_parked, live.is_stream) = (false, true);
                self.later(TICK, Event::Tick(fetch));
            }
            Effect::FetchOrigin { fetch, file, blocks, .. } => {
                self.check_alone(fetch, file, &blocks);
                self.begin(fetch, file, Origins::Origin, blocks);
                let latency = self.origins[&self.url_of(file)].latency;
                self.later(latency, Event::Begin(fetch));
            }
            Effect::JoinSwarm { .. }
            | Effect::LeaveSwarm { .. }
            | Effect::TakeEnded { .. }
            | Effect::TakeAnswered { .. }
            | Effect::TakeMoves { .. } => {}
            Effect::FetchPeer { fetch, file, peer, blocks, proof, .. } => {
                self.begin(fetch, file, Origins::Peer(peer), blocks);
                self.live.get_mut(&fetch).expect("just begun").proof = proof;
                let latency = self.peers.get(&peer).map_or(Duration::ZERO, |peer| peer.latency);
                self.later(latency, Event::Begin(fetch));
            }
            Effect::Audit { fetch, file, blocks, .. } => {
                let held = &self.store.entities[&self.open[&file]].held;
                assert!(held.contains_run(blocks.clone()), "a second fetch of what is not held: {}", self.picture());
                self.begin(fetch, file, Origins::Origin, blocks);
                self.live.get_mut(&fetch).expect("just begun").is_audit = true;
                let latency = self.origins[&self.url_of(file)].latency;
                self.later(latency, Event::Audit(fetch));
            }
            Effect::Abort { fetch } => self.abort(fetch),
            Effect::Stage { file, stretches, .. } => {
                assert!(self.part_users.insert(file), "two write beside one destination: {}", self.picture());
                let stored = &self.store.entities[&self.open[&file]];
                let is_whole = has_all(stored, stretches.as_ref());
                assert!(is_whole || self.store.has_damage, "staged before it is whole: {}", self.picture());
                self.disk.parts.remove(&file);
                self.later(Duration::from_millis(20), Event::Stage(file));
            }
            Effect::Publish { file } => {
                let row = &self.rows[&file.job];
                let record = row.files()[file.file as usize];
                assert!(matches!(record, FileRecord::Staged { .. }), "published before it is written down: {record:?}");
                assert!(row.is_completing || row.state == eddy_engine::JobState::Transferred);
                self.later(Duration::from_millis(5), Event::Publish(file));
            }
            Effect::Discard { file } => {
                assert!(!self.part_users.contains(&file), "discarded under its writer: {}", self.picture());
                self.disk.parts.remove(&file);
            }
            Effect::Outdated { .. } | Effect::WatchSessions => {}
            Effect::Distrust { entity, .. } => {
                let is_in_use = !self.opening.is_empty() || self.open.values().any(|open| *open == entity);
                if !is_in_use {
                    self.store.entities.remove(&entity);
                }
            }
            Effect::Release { file } => drop(self.open.remove(&file)),
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.input(input),
            Event::Contact(fetch, method) => self.answer_contact(fetch, method),
            Event::Begin(fetch) => self.begin_body(fetch),
            Event::Audit(fetch) => self.audit(fetch),
            Event::Tick(fetch) => self.tick(fetch),
            Event::Open(file, id) => {
                self.opening.remove(&file);
                let standing = self.store.standing.clone();
                let result = match standing.or_else(|| take(&mut self.store.refusing)) {
                    Some(failure) => Err(failure),
                    None => {
                        self.open.insert(file, id);
                        Ok(self.store.entities[&id].held.clone())
                    }
                };
                self.input(Input::Opened { file, result });
            }
            Event::Stage(file) => self.stage(file),
            Event::Publish(file) => {
                let result = if let Some(standing) = self.disk.standing.clone() {
                    Err(standing)
                } else if self.disk.failing_publishings > 0 {
                    self.disk.failing_publishings -= 1;
                    Err(Failure::fatal("destination-exists", "the file exists"))
                } else if let Some(version) = self.disk.parts.remove(&file) {
                    self.disk.visible.insert(file, version);
                    Ok(())
                } else if self.disk.visible.contains_key(&file) {
                    Ok(())
                } else {
                    Err(Failure::fatal("staged-lost", "there is no staged file"))
                };
                self.input(Input::Published { file, result });
            }
            Event::Weather { store, destination } => {
                (self.store.standing, self.disk.standing) = (store, destination);
            }
            Event::Change(url) => self.origins.get_mut(&url).expect("an origin").change(),
            Event::Down(peer) => {
                self.peers.remove(&peer);
                self.input(Input::PeerDown(peer));
            }
        }
    }

    fn stage(&mut self, file: FileRef) {
        self.part_users.remove(&file);
        let standing = self.disk.standing.clone();
        if let Some(failure) = standing.or_else(|| take(&mut self.disk.failing_stagings)) {
            return self.input(Input::Staged { file, result: Err(failure) });
        }
        let Some(id) = self.staged_entity(file) else {
            let failure = Failure::transient("block-corrupt", "the store lost a block");
            return self.input(Input::Staged { file, result: Err(failure) });
        };
        let stretches = self.stretches_of(file);
        let stored = self.store.entities.get_mut(&id).expect("staged from the store");
        if !has_all(stored, stretches.as_ref()) {
            let failure = Failure::transient("block-corrupt", "the store lost a block");
            return self.input(Input::Staged { file, result: Err(failure) });
        }
        if self.store.damaged_stagings > 0 && stored.geometry.block_count() > 0 {
            self.store.damaged_stagings -= 1;
            self.store.has_damage = true;
            let first = stretches.map_or(0..1, |s| s.blocks(stored.geometry).first_run().expect("there is one"));
            let first = first.start..first.start + 1;
            stored.held.remove(first.clone());
            return self.input(Input::Damaged { file, blocks: BlockSet::from_run(first) });
        }
        self.disk.poisoned_parts += usize::from(!stored.poisoned.is_empty());
        let length = stretches.map_or(stored.geometry.length(), |stretches| stretches.length());
        let (origin, peers) = if stored.has_peer_bytes { (0, length) } else { (length, 0) };
        let version = self.version_of(id);
        self.disk.parts.insert(file, version);
        let staged = StagedFile { length, root: Root([7; 32]), origin, peers, wasted: 0, audited: 0, witnesses: None };
        self.input(Input::Staged { file, result: Ok(staged) });
    }

    /// What the last staging or stream of the file was to take, if not all.
    pub(super) fn stretches_of(&self, file: FileRef) -> Option<Stretches> {
        self.log.iter().rev().find_map(|(_, effect)| match effect {
            Effect::Stage { file: of, stretches, .. } | Effect::Stream { file: of, stretches, .. } if *of == file => {
                Some(stretches.clone())
            }
            _ => None,
        })?
    }

    /// The entity that the last staging of the file was told of.
    fn staged_entity(&self, file: FileRef) -> Option<eddy_content::EntityId> {
        let opened = self
            .log
            .iter()
            .rev()
            .skip_while(|(_, effect)| !matches!(effect, Effect::Stage { file: staged, .. } if *staged == file));
        let id = opened.into_iter().find_map(|(_, effect)| match effect {
            Effect::Open { file: opened, entity, .. } if *opened == file => Some(Entity::id(entity)),
            _ => None,
        })?;
        self.store.entities.contains_key(&id).then_some(id)
    }

    fn check_alone(&self, fetch: FetchId, file: FileRef, blocks: &std::ops::Range<u32>) {
        for (other, live) in &self.live {
            let is_same = live.entity == self.open.get(&file).copied() && live.source == Origins::Origin;
            let overlaps = live.blocks.start < blocks.end && blocks.start < live.blocks.end;
            // Nobody waits for what comes slowly on purpose.
            let is_slow = self.engine.job(live.file.job).is_some_and(|job| job.spec().terms.limit.is_some());
            let is_rival = *other != fetch && !live.is_audit && is_same && overlaps && !live.is_aborted && !is_slow;
            assert!(!is_rival, "blocks {blocks:?} are asked of the origin twice at a time: {}", self.picture());
        }
    }

    /// What is held of the file's URL: of the newest version that has blocks.
    fn held_of(&self, file: FileRef) -> Held {
        let url = self.url_of(file);
        let versions = self.store.entities.values().filter(|s| s.entity.url.as_str() == url && !s.held.is_empty());
        let newest = versions.max_by_key(|stored| self.version_of(stored.entity.id()));
        match (newest, self.store.decision) {
            (None, _) => Held::Nothing,
            (Some(newest), Some(decision)) if newest.held == BlockSet::from_run(newest.geometry.all_blocks()) => {
                let entity = newest.entity.clone();
                let facts = Contacted {
                    url: entity.url,
                    validator: Some(entity.validator),
                    length: Some(entity.length),
                    ranges: RangeSupport::Unknown,
                    storable: true,
                    shareable: true,
                    last_modified: None,
                    digests: Vec::new(),
                    waited: None,
                    body: None,
                    freshness: None,
                };
                Held::Whole { facts: Box::new(facts), decision }
            }
            (Some(_), _) => Held::Some,
        }
    }

    pub fn url_of(&self, file: FileRef) -> String {
        url_of(&self.engine, file)
    }

    pub fn version_of(&self, entity: eddy_content::EntityId) -> u32 {
        let value = self.store.entities[&entity].entity.validator.header_value();
        value.trim_matches('"').trim_start_matches('v').parse().unwrap()
    }

    /// The version that stands at a destination.
    pub fn delivered(&self, id: eddy_engine::JobId, file: u32) -> Option<u32> {
        self.disk.visible.get(&FileRef { job: id, file }).copied()
    }
}

/// Whether all of an entity is held, or of what is wanted of it.
fn has_all(stored: &Stored, stretches: Option<&Stretches>) -> bool {
    match stretches {
        Some(stretches) => stretches.blocks(stored.geometry).difference(&stored.held).is_empty(),
        None => stored.held.contains_run(stored.geometry.all_blocks()),
    }
}

pub(super) fn url_of(engine: &eddy_engine::Engine, file: FileRef) -> String {
    engine.job(file.job).expect("a job").spec().files[file.file as usize].url.as_str().to_owned()
}
