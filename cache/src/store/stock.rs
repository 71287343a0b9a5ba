//! The stock: files, index and leases, and what all work on them shares.
//!
//! Handles hold the [`super::Core`] around it; the thread of [`super::upkeep`] holds the stock alone, so that it never is
//! the last to let the store go.

use super::Files;
use super::line::FilesInLine;
use super::stuck::Stuck;
use crate::committer::Committer;
use crate::content::Inline;
use crate::disk::{self, Disk, RealDisk, Volume};
use crate::entity::{Blocks, Shared};
use crate::fault::{DiskFault, StoreError};
use crate::index::{Change, Index};
use crate::journal::Journal;
use crate::ledger::LedgerLimits;
use crate::room::{Limits, Usage};
use crate::row::EntityRecord;
use eddy_content::{BlockSet, EntityId, LookupSecret};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

/// Uses that are remembered before they are written down.
const MAX_TOUCHED: usize = 1024;
/// Generations that are set aside at once, so that not each admission writes that down.
const RESERVED: u64 = 1 << 16;

/// What is here.
pub(crate) struct Stock {
    pub(crate) files: Files,
    pub(crate) index: Arc<Index>,
    pub(crate) committer: Committer,
    limits: RwLock<Limits>,
    /// Open entities; also the leases: what can be upgraded here does not go.
    open: Mutex<HashMap<EntityId, Lease>>,
    /// One admission, removal or opening of files at a time; writers and readers never take it.
    admission: Mutex<()>,
    generations: Mutex<Generations>,
    pub(super) secret: RwLock<Option<LookupSecret>>,
    /// Uses that are not written down yet.
    touched: Mutex<BTreeMap<EntityId, i64>>,
    /// What was let in and has no row yet: its number and bytes.
    expected: Mutex<(u64, u64)>,
    /// More is here than the limits allow: what goes, goes when its lease ends.
    pub(super) is_overfull: AtomicBool,
    /// What is doomed and stays on the disk for now.
    pub(super) stuck: Stuck,
    /// What is remembered of the line where the disk is short.
    pub(super) files_in_line: FilesInLine,
    /// Takes handles back that are kept only to be quick.
    take_back: Mutex<Option<TakeBack>>,
    /// How often entities were asked for.
    asked: AtomicU64,
    /// How many were made again from their files.
    adopted: AtomicU64,
    /// Held by whoever changes the record of the scrub.
    scrub_record: Mutex<()>,
}

/// Lets handles go that are no use of their entities.
pub(super) type TakeBack = Arc<dyn Fn() + Send + Sync>;

/// An entity that somebody has a handle on, or had one a moment ago.
struct Lease {
    shared: Weak<Shared>,
    /// As it was when it was opened. Whoever held the entity itself would be the last to have it open, at times.
    record: EntityRecord,
    has_row: Arc<AtomicBool>,
    blocks: Arc<Mutex<Blocks>>,
}

/// What is known of an open entity without asking the index.
pub(super) struct Known {
    pub(super) record: EntityRecord,
    pub(super) held: BlockSet,
    pub(super) fetched_here: BlockSet,
}

/// The numbers that name files, each used once (C-06).
#[derive(Debug, Clone, Copy, Default)]
struct Generations {
    last: u64,
    /// What the index says may have been used: no number beyond it was.
    reserved: u64,
}

impl Lease {
    fn is_live(&self) -> bool {
        self.shared.strong_count() > 0
    }

    fn known(&self) -> Known {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, fetched_here) = (blocks.held.clone(), blocks.fetched_here.clone());
        Known { record: self.record.clone(), held, fetched_here }
    }
}

impl Stock {
    /// The stock of an index that was opened, and the journal beside it; `transaction` is the last one in the index.
    pub(crate) fn new(
        files: Files,
        index: Index,
        journal: Journal,
        transaction: u64,
        limits: Limits,
    ) -> Result<Self, DiskFault> {
        let index = Arc::new(index);
        let committer = Committer::start(Arc::clone(&index), journal, transaction)
            .map_err(|e| DiskFault::new("start a thread for", files.root(), e))?;
        Ok(Self {
            files,
            index,
            committer,
            limits: RwLock::new(limits),
            open: Mutex::default(),
            admission: Mutex::default(),
            generations: Mutex::default(),
            secret: RwLock::default(),
            touched: Mutex::default(),
            expected: Mutex::default(),
            is_overfull: AtomicBool::new(false),
            stuck: Stuck::default(),
            files_in_line: FilesInLine::default(),
            take_back: Mutex::default(),
            asked: AtomicU64::new(0),
            adopted: AtomicU64::new(0),
            scrub_record: Mutex::default(),
        })
    }

    /// Begins the numbering after `last`, and says so in the index, together with `more`.
    pub(crate) fn begin_numbering(&self, last: u64, mut more: Vec<Change>) -> Result<(), StoreError> {
        let reserved = last.saturating_add(RESERVED);
        more.push(Change::Reserved(reserved));
        self.committer.commit(more)?;
        *self.generations.lock().unwrap_or_else(PoisonError::into_inner) = Generations { last, reserved };
        Ok(())
    }

    /// A number that no file had and none will have.
    pub(super) fn next_generation(&self) -> Result<u64, StoreError> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.last >= generations.reserved {
            let reserved = generations.last.saturating_add(RESERVED);
            self.committer.commit(vec![Change::Reserved(reserved)])?;
            generations.reserved = reserved;
        }
        generations.last += 1;
        Ok(generations.last)
    }

    /// A file with this number was met: later ones are higher.
    pub(crate) fn saw_generation(&self, seen: u64) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.last = generations.last.max(seen);
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn replace_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(crate) fn volume(&self) -> Result<Volume, DiskFault> {
        disk::volume(&**self.files.disk(), self.files.root())
    }

    pub(crate) fn usage(&self) -> Result<Usage, StoreError> {
        let (volume, limits, counters) = (self.volume()?, self.limits(), self.index.counters());
        let (quota, reserve) = (limits.quota.bytes(&volume), limits.reserve.bytes(&volume));
        let (entities, bytes) = *self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let used = counters.bytes.saturating_add(bytes);
        let available = quota.saturating_sub(used).min(volume.available.saturating_sub(reserve));
        let entities = counters.entities.saturating_add(entities);
        Ok(Usage { used, quota, reserve, available, entities, pinned: counters.pinned_bytes })
    }

    /// Counts an entity that has no row yet.
    pub(crate) fn expect(&self, record: &EntityRecord) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = (expected.0 + 1, expected.1.saturating_add(record.footprint()));
    }

    /// It has its row, or never gets one.
    pub(crate) fn expect_no_more(&self, record: &EntityRecord) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        *expected = (expected.0.saturating_sub(1), expected.1.saturating_sub(record.footprint()));
    }

    /// The content of an entity that lies in the index.
    pub(crate) fn inline(&self, record: &EntityRecord) -> Inline {
        Inline::new(Arc::clone(&self.index), self.files.index(), record.id(), record.generation)
    }

    /// Takes the lock of whoever lets in, removes or opens files.
    pub(crate) fn admit(&self) -> MutexGuard<'_, ()> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same if nobody has it.
    pub(super) fn try_admit(&self) -> Option<MutexGuard<'_, ()>> {
        self.admission.try_lock().ok()
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<EntityId, Lease>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on handles are taken back by this.
    pub(super) fn take_back_by(&self, take_back: TakeBack) {
        *self.take_back.lock().unwrap_or_else(PoisonError::into_inner) = Some(take_back);
    }

    /// What takes back handles that are kept only to be quick. With the last of them the store may close, so whoever calls it has the
    /// store open, or does so on a thread that nobody waits for.
    pub(super) fn to_take_back(&self) -> Option<TakeBack> {
        self.take_back.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether somebody has a handle on the entity.
    pub(crate) fn is_in_use(&self, id: &EntityId) -> bool {
        self.leases().get(id).is_some_and(Lease::is_live)
    }

    /// The entities that somebody has a handle on.
    pub(super) fn in_use(&self) -> HashSet<EntityId> {
        self.leases().iter().filter(|(_, lease)| lease.is_live()).map(|(id, _)| *id).collect()
    }

    /// What is known of them, as far as they have a row in the index.
    pub(super) fn known(&self) -> Vec<Known> {
        let leases = self.leases();
        let has_row = |lease: &&Lease| lease.is_live() && lease.has_row.load(Relaxed);
        leases.values().filter(has_row).map(Lease::known).collect()
    }

    pub(super) fn leased(&self, id: &EntityId) -> Option<Arc<Shared>> {
        self.leases().get(id).and_then(|lease| lease.shared.upgrade())
    }

    /// Notes that somebody has the entity open.
    pub(super) fn enter(&self, shared: Arc<Shared>) -> Arc<Shared> {
        // Its files of before, if the disk keeps them, are no row's any more.
        self.stuck.went(&shared.id);
        let mut open = self.leases();
        // Dead leases are swept when they could be half of the table, so that it stays as small as what is in use.
        if open.len() >= 64 && open.len() == open.capacity() {
            open.retain(|_, lease| lease.is_live());
        }
        let (record, (has_row, blocks)) = (shared.record.clone(), shared.state());
        open.insert(shared.id, Lease { shared: Arc::downgrade(&shared), record, has_row, blocks });
        shared
    }

    /// Forgets the lease of an entity that is gone.
    pub(super) fn leave(&self, id: &EntityId) {
        self.leases().remove(id);
    }

    /// The clock in seconds since 1970, for the order of eviction only (C-13).
    pub(super) fn now(&self) -> i64 {
        self.files.disk().clock()
    }

    /// Takes the record of the scrub, to read it and write it back.
    pub(crate) fn scrub_record(&self) -> MutexGuard<'_, ()> {
        self.scrub_record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asks for an entity.
    pub(super) fn note_question(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    /// An entity was made again from its files: its blocks are to be proved.
    pub(crate) fn note_adoption(&self) {
        self.adopted.fetch_add(1, Relaxed);
    }

    /// How often that was so.
    pub(crate) fn adoptions(&self) -> u64 {
        self.adopted.load(Relaxed)
    }

    /// How often somebody asked.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Relaxed)
    }

    /// Notes a use, to be written down with the next that are many enough.
    pub(crate) fn touch(&self, id: EntityId) {
        let is_full = {
            let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            touched.insert(id, self.now());
            touched.len() >= MAX_TOUCHED
        };
        if is_full {
            self.write_touched();
        }
    }

    /// The uses that are not written down yet.
    pub(super) fn touched(&self) -> MutexGuard<'_, BTreeMap<EntityId, i64>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the uses down, in one transaction. They may be lost: then the order of eviction is a little older.
    pub(super) fn write_touched(&self) {
        // In order, so that the same work writes the same pages.
        let touched: BTreeMap<EntityId, i64> = std::mem::take(&mut *self.touched()).into_iter().collect();
        let changes = touched.into_iter().map(|(id, at)| Change::Used(id, at)).collect();
        if let Err(error) = self.committer.commit(changes) {
            tracing::debug!(%error, "uses of cached entities were not written down");
        }
    }

    /// Does the next slice of what keeps the ledger to these limits; false when there was nothing to do.
    pub(super) fn fold_slice(&self, limits: &LedgerLimits) -> Result<bool, StoreError> {
        let Some(changes) = self.index.next_fold(limits)? else { return Ok(false) };
        self.committer.commit(changes)?;
        Ok(true)
    }

    /// Closes the index. `Err` says that the last state may not be marked as clean.
    pub(super) fn close(&self) -> Result<(), StoreError> {
        self.write_touched();
        let marked = self.committer.commit(vec![Change::Running(false)]);
        self.committer.stop();
        let closed = self.index.close();
        marked.and(closed.map_err(StoreError::Index))
    }

    /// Lets go of an index that turned out to be damaged while the store was being opened.
    pub(crate) fn abandon(&self) {
        self.committer.stop();
        if let Err(error) = self.index.close() {
            tracing::debug!(%error, "the damaged index did not close");
        }
    }
}

/// The wall clock in seconds since 1970: for display and names of what is set aside (C-13).
pub(crate) fn wall_clock() -> i64 {
    RealDisk.clock()
}
