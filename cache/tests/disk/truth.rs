//! What a store has acknowledged, and what was on its way when something happened: the facts that it is held against.
//!
//! A fact has one acknowledged value and, while an order is on its way or after it failed, others that may have become
//! true. Whatever the store says is taken as said: from then on it must stay so.

use crate::entities::{TAGS, entity, key, right_bytes};
use crate::support::BLOCK;
use eddy_cache::{EntityHandle, LedgerRow, ReadError, Store};
use eddy_content::{BlockSet, EntityId};
use std::collections::{BTreeMap, BTreeSet};

/// What is promised after what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Promise {
    /// Cuts, kills, refused operations, full disks: nothing acknowledged is lost.
    #[default]
    Full,
    /// The medium lied or rotted: nothing wrong is given out, and the store opens.
    NothingWrong,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Fact<T> {
    said: T,
    perhaps: Vec<T>,
}

impl<T: PartialEq + Clone + Default + std::fmt::Debug> Fact<T> {
    /// The value that was acknowledged last.
    pub(crate) fn said(&self) -> &T {
        &self.said
    }

    fn may_be(&self, found: &T) -> bool {
        self.said == *found || self.perhaps.contains(found)
    }

    fn is_open(&self) -> bool {
        !self.perhaps.is_empty()
    }

    fn settle(&mut self, value: T) {
        self.said = value;
        self.perhaps.clear();
    }
}

/// What is known of one entity.
#[derive(Debug, Clone, Default)]
pub(crate) struct EntityTruth {
    is_here: Fact<bool>,
    is_pinned: Fact<bool>,
    held: BlockSet,
}

/// Everything that was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Truth {
    promise: Promise,
    entities: BTreeMap<u64, EntityTruth>,
    jobs: BTreeMap<u8, Fact<Option<u64>>>,
    /// Bytes of acknowledged blocks: the ledger has them as used.
    used: u64,
}

impl Truth {
    /// Nothing was acknowledged yet, and this is promised of what will be.
    pub(crate) fn new(promise: Promise) -> Self {
        Self { promise, ..Self::default() }
    }

    /// What is promised.
    pub(crate) fn promise(&self) -> Promise {
        self.promise
    }

    /// Whether the entity is here, as far as is known.
    pub(crate) fn is_here(&self, tag: u64) -> bool {
        self.entities.get(&tag).is_some_and(|entity| *entity.is_here.said())
    }

    /// Whether nothing was ever acknowledged.
    fn is_blank(&self) -> bool {
        self.jobs.values().all(|job| job.said.is_none()) && self.entities.values().all(|entity| !entity.is_here.said)
    }

    /// An entity may come in or go from here on.
    pub(crate) fn may_become(&mut self, tag: u64, here: bool) {
        self.entities.entry(tag).or_default().is_here.perhaps.push(here);
    }

    /// An entity was let in.
    pub(crate) fn came(&mut self, tag: u64) {
        self.entities.entry(tag).or_default().is_here.settle(true);
    }

    /// An entity was removed.
    pub(crate) fn went(&mut self, tag: u64) {
        self.entities.insert(tag, EntityTruth::default());
    }

    /// An entity is being pinned or let go.
    pub(crate) fn pin_may_become(&mut self, tag: u64, pinned: bool) {
        self.entities.entry(tag).or_default().is_pinned.perhaps.push(pinned);
    }

    /// An entity was pinned or let go, or it is said not to be here.
    pub(crate) fn pin_became(&mut self, tag: u64, pinned: bool) {
        self.entities.entry(tag).or_default().is_pinned.settle(pinned);
    }

    /// An entity is let in, or found. Where a removal of it may have come to pass, it may be a new one, which nobody has pinned.
    pub(crate) fn may_be_new(&mut self, tag: u64) {
        if self.entities.get(&tag).is_some_and(|truth| truth.is_here.perhaps.contains(&false)) {
            self.pin_may_become(tag, false);
        }
    }

    /// Whether it may have to go for another.
    pub(crate) fn is_surely_pinned(&self, tag: u64) -> bool {
        self.entities.get(&tag).is_some_and(|truth| *truth.is_pinned.said() && !truth.is_pinned.is_open())
    }

    /// Whether nothing keeps it from going.
    pub(crate) fn is_surely_free(&self, tag: u64) -> bool {
        self.entities.get(&tag).is_none_or(|truth| !*truth.is_pinned.said() && !truth.is_pinned.is_open())
    }

    /// An order to remove failed: what was to go may go at any time.
    pub(crate) fn is_given_up(&mut self) {
        for entity in self.entities.values_mut().filter(|entity| entity.is_here.may_be(&false)) {
            entity.held = BlockSet::new();
        }
    }

    /// Blocks were acknowledged.
    pub(crate) fn holds(&mut self, tag: u64, blocks: &BlockSet, bytes: u64) {
        self.entities.entry(tag).or_default().held.union_with(blocks);
        self.used += bytes;
    }

    /// A job's row is being written.
    pub(crate) fn job_may_become(&mut self, job: u8, version: Option<u64>) {
        self.jobs.entry(job).or_default().perhaps.push(version);
    }

    /// A job's row was written.
    pub(crate) fn job_became(&mut self, job: u8, version: Option<u64>) {
        self.jobs.entry(job).or_default().settle(version);
    }

    /// Takes what the store says of whatever is not settled. What it cannot say stays open.
    pub(crate) fn ask(&mut self, store: &Store) {
        if let Ok(here) = ids(store) {
            for (tag, truth) in self.entities.iter_mut().filter(|(_, truth)| truth.is_here.is_open()) {
                let is_here = here.contains(&entity(*tag).entity.id());
                let is_right = truth.is_here.may_be(&is_here) || self.promise == Promise::NothingWrong;
                assert!(is_right, "entity {tag} is here: {is_here}, but {truth:?}");
                truth.is_here.settle(is_here);
                if !is_here {
                    *truth = EntityTruth::default();
                }
            }
        }
        if let Ok(rows) = store.jobs() {
            self.hold_jobs(&rows);
        }
    }

    fn hold_jobs(&mut self, rows: &[eddy_cache::JobRow]) {
        let rows: BTreeMap<u8, u64> = rows.iter().map(|(id, row)| (id[0], version_of(id[0], row))).collect();
        for job in rows.keys() {
            assert!(self.jobs.contains_key(job), "job {job} was never put");
        }
        for (job, fact) in &mut self.jobs {
            let found = rows.get(job).copied();
            // A medium that lies may lose a job, or show an older state of it, but never one that there was not.
            let is_older = found.is_none_or(|found| fact.said.is_none_or(|said| found <= said));
            let is_right = fact.may_be(&found) || (self.promise == Promise::NothingWrong && is_older);
            assert!(is_right, "job {job} is {found:?}, but {fact:?}");
            fact.settle(found);
        }
    }

    /// Holds an opened store against what is known, and takes over what it says.
    pub(crate) fn hold(&mut self, store: &Store) {
        let promise = self.promise;
        let report = store.recovery();
        if promise == Promise::Full {
            // An index that the power left half made was never an index of anything.
            let moved = report.index_moved_to.as_ref().filter(|_| !self.is_blank());
            let harm = (report.dangling, report.damaged_rows, moved);
            assert_eq!(harm, (0, 0, None), "no row is lost or lies: {report:?}");
        }
        store.set_lookup_secret(Some(key())).expect("the lookup table is made");
        let known: BTreeSet<EntityId> = (0..TAGS).map(|tag| entity(tag).entity.id()).collect();
        let here = ids(store).expect("a listing");
        assert!(here.is_subset(&known), "an entity that nobody let in");
        for tag in 0..TAGS {
            self.hold_entity(store, tag);
        }
        let rows = store.jobs().expect("the jobs");
        self.hold_jobs(&rows);
        self.hold_ledger(store);
        let usage = store.usage().expect("the usage");
        if promise == Promise::Full {
            assert_eq!(usage.entities, ids(store).expect("a listing").len() as u64, "entities are counted right");
            assert_eq!(usage.used == 0, usage.entities == 0, "{usage:?}");
        }
    }

    fn hold_entity(&mut self, store: &Store, tag: u64) {
        let promise = self.promise;
        let truth = self.entities.entry(tag).or_default();
        let new = entity(tag);
        let handle = store.find(&new.entity.id()).expect("an answer");
        let is_known = truth.is_here.may_be(&handle.is_some()) || promise == Promise::NothingWrong;
        assert!(is_known, "entity {tag} is here: {}, but {truth:?}", handle.is_some());
        truth.is_here.settle(handle.is_some());
        let key = new.entity.lookup_key(&key());
        let Some(handle) = handle else {
            *truth = EntityTruth::default();
            assert!(store.by_lookup(&key).expect("an answer").is_none(), "a peer finds what is not here");
            return;
        };
        if promise == Promise::Full {
            let lost = truth.held.difference(&handle.held());
            assert!(lost.is_empty(), "acknowledged blocks of {tag} are lost: {lost:?}, left are {:?}", handle.held());
            assert!(store.by_lookup(&key).expect("an answer").is_some(), "a peer finds {tag}");
            let latest = store.latest(&new.requested_url).expect("an answer").map(|record| record.id());
            assert_eq!(latest, Some(new.entity.id()), "the version of {tag} is found under its URL");
        }
        let is_pinned = handle.record().pinned;
        let is_right = truth.is_pinned.may_be(&is_pinned) || promise == Promise::NothingWrong;
        assert!(is_right, "entity {tag} is pinned: {is_pinned}, but {truth:?}");
        truth.is_pinned.settle(is_pinned);
        assert!(handle.fetched_here().difference(&handle.held()).is_empty(), "only held blocks are vouched for");
        let corrupt = read_all(&handle, tag);
        assert!(corrupt.is_empty() || promise == Promise::NothingWrong, "blocks {corrupt:?} of {tag} are corrupt");
        truth.held = handle.held();
    }

    fn hold_ledger(&mut self, store: &Store) {
        let mut used = 0;
        for row in store.ledger().expect("the ledger") {
            assert!(row.closes(), "{row:?}");
            if let LedgerRow::File { balance, .. } = row {
                used += balance.origin.used + balance.peers.used;
            }
        }
        assert!(
            used >= self.used || self.promise == Promise::NothingWrong,
            "the ledger lost bytes: {used} < {}",
            self.used
        );
        self.used = used;
    }
}

/// Reads every held block: what is given out is right. Gives the blocks that were found corrupt.
pub(crate) fn read_all(handle: &EntityHandle, tag: u64) -> Vec<u32> {
    let (mut bytes, mut corrupt) = (Vec::new(), Vec::new());
    for block in handle.held().runs().flatten() {
        match handle.read_run(block..block + 1, &mut bytes) {
            Ok(()) => assert!(bytes == right_bytes(tag, block..block + 1), "block {block} of {tag} has wrong bytes"),
            Err(ReadError::Corrupt { .. }) => {
                assert!(bytes.is_empty(), "a corrupt block is given out");
                corrupt.push(block);
            }
            Err(error) => panic!("block {block} of {tag}: {error}"),
        }
    }
    corrupt
}

/// The ids of all entities of a store.
pub(crate) fn ids(store: &Store) -> Result<BTreeSet<EntityId>, eddy_cache::StoreError> {
    Ok(store.list(None, BLOCK)?.iter().map(eddy_cache::EntityRecord::id).collect())
}

/// A job's row of some version.
pub(crate) fn row_of(job: u8, version: u64) -> Vec<u8> {
    let mut row = version.to_le_bytes().to_vec();
    row.resize(8 + usize::from(job) * 400 + version as usize % 300, job);
    row
}

/// The version of a job's row; the rest of it must be what was put there.
fn version_of(job: u8, row: &[u8]) -> u64 {
    let version = u64::from_le_bytes(*row.first_chunk().expect("a version"));
    assert!(row == row_of(job, version), "a job's row is not what was put");
    version
}
