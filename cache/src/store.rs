//! The front door of the store: open, let in, find, list, remove, and the rows of others that it keeps safe.

mod admit;
mod files;

use crate::committer::Committer;
use crate::disk::{self, Disk, Lock, RealDisk};
use crate::entity::Shared;
use crate::fault::{DiskFault, OpenError, StoreError};
use crate::handle::EntityHandle;
use crate::index::{Change, Index};
use crate::journal;
use crate::ledger::{Account, Balance, LedgerEntry, LedgerRow};
use crate::recovery::{self, RecoveryReport};
use crate::room::{ClearOutcome, Quota, RemoveOutcome, Reserve, Usage};
use crate::row::{self, EntityRecord, NewEntity, Privacy};
use eddy_content::evict::EvictionPlan;
use eddy_content::{Entity, EntityId, LookupKey, LookupSecret, ResourceUrl, Validator};
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use files::{Files, Name};

/// Bytes of the longest job row (C-09: values below 1 MiB).
pub(crate) const MAX_JOB_ROW: usize = 512 * 1024;
/// Bytes of the longest name of an account.
pub const MAX_ACCOUNT_NAME: usize = 1024;
/// Uses that are remembered before they are written down.
const MAX_TOUCHED: usize = 1024;
/// Rows of the lookup table that are rebuilt in one transaction.
const LOOKUP_BATCH: usize = 2048;

/// A job's row: its id and what was put there.
pub type JobRow = ([u8; 16], Vec<u8>);

/// Where the store lives and how much it may use.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The directory; made when it is not there, for this user alone.
    pub directory: PathBuf,
    /// How much it may use.
    pub quota: Quota,
    /// How much it leaves to others.
    pub reserve: Reserve,
}

impl StoreConfig {
    /// Half of the disk, with the standard reserve.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), quota: Quota::Percent(50), reserve: Reserve::Standard }
    }
}

/// The store. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
}

/// What all handles share.
pub(crate) struct Core {
    pub(crate) files: Files,
    pub(crate) index: Arc<Index>,
    pub(crate) committer: Committer,
    config: StoreConfig,
    report: RecoveryReport,
    /// Open entities; also the leases: what can be upgraded here does not go.
    open: Mutex<HashMap<EntityId, Weak<Shared>>>,
    /// One admission, removal or opening of files at a time; writers and readers never take it.
    admission: Mutex<()>,
    /// Bytes and number of all entities, and the highest generation.
    used: AtomicU64,
    entities: AtomicU64,
    generation: AtomicU64,
    secret: RwLock<Option<LookupSecret>>,
    /// Uses that are not written down yet.
    touched: Mutex<HashMap<EntityId, i64>>,
    /// Let go last.
    _lock: Box<dyn Any + Send + Sync>,
}

impl Store {
    /// Opens the store of a directory, alone (C-12), and cleans up after the last stop (C-20).
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_on(config, Arc::new(RealDisk))
    }

    /// Opens the store of a directory on another disk than this machine's: a simulated one, or one that fails to order.
    pub fn open_on(config: StoreConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        Files::make_root(&*disk, &config.directory)?;
        let lock = match disk::lock(&*disk, &config.directory.join("lock"))? {
            Lock::Ours(lock) => lock,
            Lock::Theirs(holder) => return Err(OpenError::InUse { directory: config.directory, holder }),
        };
        let files = Files::new(disk, &config.directory)?;
        let mut recovered = recovery::recover(&files)?;
        let (journal, jobs) = journal::open(files.disk(), files.root(), &recovered.index, &mut recovered.transaction)?;
        recovered.report.take_jobs(jobs);
        let index = Arc::new(recovered.index);
        let committer = Committer::start(Arc::clone(&index), journal, recovered.transaction)
            .map_err(|e| DiskFault::new("start a thread for", &config.directory, e))?;
        let core = Core {
            files,
            index,
            committer,
            config,
            report: recovered.report,
            open: Mutex::default(),
            admission: Mutex::default(),
            used: AtomicU64::new(recovered.used),
            entities: AtomicU64::new(recovered.entities),
            generation: AtomicU64::new(recovered.generation),
            secret: RwLock::default(),
            touched: Mutex::default(),
            _lock: lock,
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// Finds the entity or lets it in, making room if it must. The same entity twice gives the same shared state.
    pub fn begin(&self, new: NewEntity) -> Result<EntityHandle, crate::AdmitError> {
        self.core.begin(&new).map(EntityHandle::new)
    }

    /// The entity, if it is here.
    pub fn find(&self, id: &EntityId) -> Result<Option<EntityHandle>, StoreError> {
        Ok(self.core.find(id)?.map(EntityHandle::new))
    }

    /// The version that was named last for a requested URL (before redirects), if one is here.
    pub fn latest(&self, requested: &ResourceUrl) -> Result<Option<EntityRecord>, StoreError> {
        Ok(self.core.index.latest(&row::name_of(requested))?)
    }

    /// The entity that a peer asks for; shareable ones only.
    pub fn by_lookup(&self, key: &LookupKey) -> Result<Option<EntityHandle>, StoreError> {
        let Some(id) = self.core.index.lookup(key)? else { return Ok(None) };
        // The row's own word counts, not only its absence from the table (T-33).
        let handle = self.find(&id)?;
        let may_leave = self.core.index.record(&id)?.is_some_and(|record| record.privacy == Privacy::Shareable);
        Ok(handle.filter(|_| may_leave))
    }

    /// Sets the group's lookup secret and makes the lookup table anew when it is another than before.
    ///
    /// The secret is not stored, only the mark of it that says for which one the table is complete.
    pub fn set_lookup_secret(&self, secret: Option<LookupSecret>) -> Result<(), StoreError> {
        let core = &self.core;
        let mark = secret.as_ref().map(fingerprint);
        // From here on entities that come in are entered under the new secret.
        core.secret.write().unwrap_or_else(PoisonError::into_inner).clone_from(&secret);
        if core.index.fingerprint()? == mark {
            return Ok(());
        }
        core.committer.commit(vec![Change::Fingerprint(None), Change::ClearLookup])?;
        let Some(secret) = secret else { return Ok(()) };
        let mut after = None;
        loop {
            let page = core.index.page(after, LOOKUP_BATCH)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id());
            let rows = page
                .iter()
                .filter(|record| record.privacy == Privacy::Shareable && !record.doomed)
                .map(|record| Change::Lookup(record.entity.lookup_key(&secret), record.id()))
                .collect();
            core.committer.commit(rows)?;
        }
        core.committer.commit(vec![Change::Fingerprint(mark)])
    }

    /// Up to `limit` entities after `after`, by id.
    pub fn list(&self, after: Option<EntityId>, limit: usize) -> Result<Vec<EntityRecord>, StoreError> {
        let mut records = self.core.index.page(after, limit)?;
        records.retain(|record| !record.doomed);
        let touched = self.core.touched.lock().unwrap_or_else(PoisonError::into_inner);
        for record in &mut records {
            record.last_used = touched.get(&record.id()).copied().unwrap_or(record.last_used);
        }
        Ok(records)
    }

    /// Removes an entity that nobody uses (C-05).
    pub fn remove(&self, id: &EntityId) -> Result<RemoveOutcome, StoreError> {
        self.core.remove(id)
    }

    /// Removes every entity that nobody uses.
    pub fn clear(&self) -> Result<ClearOutcome, StoreError> {
        self.core.clear()
    }

    /// What is used and may be used.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.core.usage()
    }

    /// What would go if `need` bytes had to come in.
    pub fn plan_eviction(&self, need: u64) -> Result<EvictionPlan, StoreError> {
        self.core.plan_eviction(need)
    }

    /// Commits a change that changes nothing: whether the index can be written, for whoever waits for the disk.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.core.committer.commit(vec![Change::Running(true)])
    }

    /// Keeps a job's row; durable when this returns.
    pub fn put_job(&self, id: [u8; 16], row: &[u8]) -> Result<(), StoreError> {
        if row.len() > MAX_JOB_ROW {
            return Err(StoreError::RowTooLarge { bytes: row.len(), limit: MAX_JOB_ROW });
        }
        self.core.committer.commit(vec![Change::Job(id, Some(row.to_vec()))])
    }

    /// Removes a job's row; durable when this returns.
    pub fn remove_job(&self, id: [u8; 16]) -> Result<(), StoreError> {
        self.core.committer.commit(vec![Change::Job(id, None)])
    }

    /// All jobs' rows, by id. Damaged ones are left out and counted in the log.
    pub fn jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        let (jobs, damaged) = self.core.index.jobs()?;
        if damaged > 0 {
            tracing::error!(damaged, "job rows are damaged and cannot be read");
        }
        Ok(jobs)
    }

    /// Accounts for events; durable when this returns.
    pub fn record(&self, entries: &[LedgerEntry]) -> Result<(), StoreError> {
        self.core.committer.commit(entries.iter().copied().map(Change::Entry).collect())
    }

    /// The columns of one account; zero when nothing was ever written to it.
    pub fn balance(&self, account: Account) -> Result<Balance, StoreError> {
        Ok(self.core.index.balance(&account)?)
    }

    /// Gives an account a name for people: a redacted URL. At most [`MAX_ACCOUNT_NAME`] bytes are kept.
    pub fn name_account(&self, account: Account, name: &str) -> Result<(), StoreError> {
        let mut name = name.to_owned();
        while name.len() > MAX_ACCOUNT_NAME {
            name.pop();
        }
        self.core.committer.commit(vec![Change::AccountName(account, name)])
    }

    /// Whether somebody has a handle on the entity, so that it cannot go.
    #[must_use]
    pub fn is_in_use(&self, id: &EntityId) -> bool {
        self.core.is_in_use(id)
    }

    /// Every row of the ledger.
    pub fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        Ok(self.core.index.ledger()?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.core.config.directory).finish_non_exhaustive()
    }
}

/// A mark that tells secrets apart and gives none away: the lookup key of an entity that cannot exist.
fn fingerprint(secret: &LookupSecret) -> [u8; 32] {
    match ResourceUrl::parse("https://fingerprint.invalid/") {
        Ok(url) => {
            Entity { url, validator: Validator::StrongEtag("\"eddy\"".to_owned()), length: 0 }.lookup_key(secret).0
        }
        // The constant parses; were it not so, every start would rebuild the table.
        Err(_) => [0; 32],
    }
}

impl Core {
    /// Notes a use, to be written down with the next that are many enough.
    pub(crate) fn touch(&self, id: EntityId) {
        let full = {
            let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            touched.insert(id, wall_clock());
            touched.len() >= MAX_TOUCHED
        };
        if full {
            self.write_touched();
        }
    }

    /// Writes the uses down. They may be lost: then the order of eviction is a little older.
    fn write_touched(&self) {
        let touched = std::mem::take(&mut *self.touched.lock().unwrap_or_else(PoisonError::into_inner));
        let changes = touched.into_iter().map(|(id, at)| Change::Used(id, at)).collect();
        if let Err(error) = self.committer.commit(changes) {
            tracing::debug!(%error, "uses of cached entities were not written down");
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.write_touched();
        let marked = self.committer.commit(vec![Change::Running(false)]);
        self.committer.stop();
        let closed = self.index.close();
        if let Some(error) = marked.err().or(closed.err().map(StoreError::Index)) {
            tracing::warn!(%error, "the cache did not close cleanly; the next start looks after it");
        }
    }
}

/// The wall clock in seconds since 1970: for display and the order of eviction only (C-13).
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
