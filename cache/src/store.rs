//! The front door of the store: open, let in, find, list, remove, and the rows of others that it keeps safe.

mod admit;
mod evict;
mod files;
mod heirs;
mod leaving;
mod line;
mod stock;
mod stuck;
mod upkeep;

use crate::disk::{self, Disk, Lock, RealDisk};
use crate::fault::{DiskFault, OpenError, StoreError};
use crate::handle::EntityHandle;
use crate::index::{Change, IndexTroubles};
use crate::ledger::{Account, Balance, LedgerEntry, LedgerLimits, LedgerRow};
use crate::recovery::{self, RecoveryReport, SweepReport};
use crate::room::{ClearOutcome, Goal, Limits, Pin, Quota, RemoveOutcome, Reserve, Usage};
use crate::row::{self, EntityRecord, NewEntity, Privacy};
use eddy_content::evict::{Bounds, EvictionPlan};
use eddy_content::{Entity, EntityId, LookupKey, LookupSecret, ResourceUrl, Validator};
use evict::Shrunk;
use leaving::Last;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, Weak};
use upkeep::Upkeep;

pub use leaving::Closing;
pub use stuck::KeptFiles;

pub(crate) use files::{Files, Name, Pair};
pub(crate) use stock::{Stock, wall_clock};

/// Bytes of the longest job row (C-09: values below 1 MiB).
pub(crate) const MAX_JOB_ROW: usize = 512 * 1024;
/// Bytes of the longest name of an account.
pub const MAX_ACCOUNT_NAME: usize = 1024;
/// Rows of the lookup table that are rebuilt in one transaction.
const LOOKUP_BATCH: usize = 2048;

/// A job's row: its id and what was put there.
pub type JobRow = ([u8; 16], Vec<u8>);

/// A page of jobs' rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobRows {
    /// The rows that can be read.
    pub rows: Vec<JobRow>,
    /// Behind whom the next page begins; `None` when there was nothing.
    pub last: Option<[u8; 16]>,
}

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

    fn limits(&self) -> Limits {
        Limits { quota: self.quota, reserve: self.reserve, max_age: None }
    }
}

/// The store. Clones share it; the last one to go closes it.
#[derive(Clone)]
pub struct Store {
    core: Arc<Core>,
}

/// What all handles share: the stock, and the thread that looks after it.
pub(crate) struct Core {
    stock: Arc<Stock>,
    report: RecoveryReport,
    upkeep: Upkeep,
    /// Let go when all is written.
    _lock: Box<dyn Any + Send + Sync>,
    /// Let go last, when others may open the folder.
    last: Last,
}

impl Deref for Core {
    type Target = Stock;

    fn deref(&self) -> &Stock {
        &self.stock
    }
}

impl Store {
    /// Opens the store of a directory, alone (C-12), and cleans up after the last stop (C-20).
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        Self::open_on(config, Arc::new(RealDisk))
    }

    /// Tells when the store is closed. Threads that work for somebody who has stopped may hold it a little longer; who ends the
    /// process before they let go leaves a store that was not closed.
    #[must_use]
    pub fn closing(&self) -> Closing {
        self.core.last.closing()
    }

    /// Opens the store of a directory on another disk than this machine's: a simulated one, or one that fails to order.
    pub fn open_on(config: StoreConfig, disk: Arc<dyn Disk>) -> Result<Self, OpenError> {
        Files::make_root(&*disk, &config.directory)?;
        let lock = match disk::lock(&*disk, &config.directory.join("lock"))? {
            Lock::Ours(lock) => lock,
            Lock::Theirs(holder) => return Err(OpenError::InUse { directory: config.directory, holder }),
        };
        recovery::refuse_newer(&disk, &config.directory.join(files::INDEX))?;
        let files = Files::new(disk, &config.directory)?;
        let recovered = recovery::recover(&files, config.limits())?;
        let stock = Arc::new(recovered.stock);
        let heirs: Weak<Stock> = Arc::downgrade(&stock);
        stock.index.set_heirs(heirs);
        let upkeep = Upkeep::start(Arc::clone(&stock), recovered.sweep)
            .map_err(|e| DiskFault::new("start a thread for", &config.directory, e))?;
        let (report, last) = (recovered.report, Last::default());
        Ok(Self { core: Arc::new(Core { stock, report, upkeep, _lock: lock, last }) })
    }

    /// What opening found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.core.report
    }

    /// Finds the entity or lets it in, making room if it must. The same entity twice gives the same shared state.
    pub fn begin(&self, new: NewEntity) -> Result<EntityHandle, crate::AdmitError> {
        self.core.note_question();
        self.core.begin(&new).map(EntityHandle::new)
    }

    /// Lets whole entities of at most one block in, many in one transaction, each of which its origin gave over this node's own connection.
    /// Durable when this returns.
    ///
    /// Longer ones, those whose bytes are not as many as they should be, and those that are here already are left out; gives
    /// how many were taken. They count as fetched here, and are booked, as duplicates what was here already.
    pub fn take_in(&self, whole: Vec<(NewEntity, Vec<u8>)>, account: Account) -> Result<u64, crate::AdmitError> {
        self.core.take_in(whole, account)
    }

    /// The entity, if it is here.
    pub fn find(&self, id: &EntityId) -> Result<Option<EntityHandle>, StoreError> {
        self.core.note_question();
        Ok(self.core.find(id)?.map(EntityHandle::new))
    }

    /// What the index says of an entity at this moment.
    pub(crate) fn record_of(&self, id: &EntityId) -> Result<Option<EntityRecord>, StoreError> {
        Ok(self.core.index.record(id)?.filter(|record| !record.doomed))
    }

    /// What the index met since this store was opened, and got over.
    #[must_use]
    pub fn index_troubles(&self) -> IndexTroubles {
        self.core.index.troubles()
    }

    /// What the disk refuses to let go of, as far as is known now. Asks nothing of the disk.
    #[must_use]
    pub fn kept_files(&self) -> KeptFiles {
        self.core.kept_files()
    }

    /// What all handles share.
    pub(crate) fn stock(&self) -> &Stock {
        &self.core.stock
    }

    /// The version that was named last for a requested URL (before redirects), if one is here.
    pub fn latest(&self, requested: &ResourceUrl) -> Result<Option<EntityRecord>, StoreError> {
        self.core.note_question();
        Ok(self.core.index.latest(&row::name_of(requested))?)
    }

    /// From when this returns on, [`Self::may_have`] knows better than to say yes to everything. Reads all names once.
    pub fn remember_names(&self) -> Result<(), StoreError> {
        Ok(self.core.index.fill_names()?)
    }

    /// Whether [`Self::latest`] may find something. Does not touch the disk, and says no only where nothing is here.
    #[must_use]
    pub fn may_have(&self, requested: &ResourceUrl) -> bool {
        self.core.index.may_have(&row::name_of(requested))
    }

    /// The entity that a peer asks for; shareable ones only.
    pub fn by_lookup(&self, key: &LookupKey) -> Result<Option<EntityHandle>, StoreError> {
        self.core.note_question();
        // The row's own word counts, not only its absence from the table (T-33).
        match self.core.index.shareable(key)? {
            Some(id) => Ok(self.core.find(&id)?.map(EntityHandle::new)),
            None => Ok(None),
        }
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
        let renewals = core.index.renewals();
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
        if core.index.renewals() != renewals {
            // The table was lost under way: what comes back is entered as it comes, and it is made again by the next start.
            return Ok(());
        }
        core.committer.commit(vec![Change::Fingerprint(mark)])
    }

    /// Up to `limit` entities after `after`, by id.
    pub fn list(&self, after: Option<EntityId>, limit: usize) -> Result<Vec<EntityRecord>, StoreError> {
        let mut records = self.core.index.page(after, limit)?;
        records.retain(|record| !record.doomed);
        let touched = self.core.touched();
        for record in &mut records {
            record.last_used = touched.get(&record.id()).copied().unwrap_or(record.last_used);
        }
        Ok(records)
    }

    /// Removes an entity that nobody uses (C-05), also when it is pinned.
    pub fn remove(&self, id: &EntityId) -> Result<RemoveOutcome, StoreError> {
        self.core.take_back();
        self.core.remove(id)
    }

    /// Removes every entity that nobody uses and that is not pinned.
    pub fn clear(&self) -> Result<ClearOutcome, StoreError> {
        self.core.take_back();
        self.core.clear()
    }

    /// Pins an entity, so that it never is evicted, or lets it go; says whether it is here.
    pub fn pin(&self, id: &EntityId, pin: Pin) -> Result<bool, StoreError> {
        self.core.pin(id, pin)
    }

    /// What is used and may be used.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        self.core.usage()
    }

    /// How much may be here, and for how long.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.core.limits()
    }

    /// Sets other limits and lets go at once of what is beyond them; gives what that was. What is in use goes when its lease
    /// ends. Not kept over a restart: whoever opens the store says how much it may use.
    pub fn set_limits(&self, limits: Limits) -> Result<EvictionPlan, StoreError> {
        self.core.take_back();
        let plan = self.core.set_limits(limits)?;
        if plan.is_cut {
            self.core.upkeep.wake();
        }
        Ok(plan)
    }

    /// What would go for a goal, without doing it.
    pub fn plan(&self, goal: &Goal) -> Result<EvictionPlan, StoreError> {
        self.core.take_back();
        self.core.plan(goal)
    }

    /// Removes what a plan names; what somebody uses or pinned meanwhile stays and is counted.
    pub fn carry_out(&self, plan: &EvictionPlan) -> Result<ClearOutcome, StoreError> {
        self.core.take_back();
        self.core.carry_out(plan)
    }

    /// What would have to go if `need` bytes had to come in. An admission that evicts takes a little more, so that the next one need not.
    pub fn plan_eviction(&self, need: u64) -> Result<EvictionPlan, StoreError> {
        self.core.take_back();
        self.core.plan_admission(need, Bounds::default())
    }

    /// Holds all rows and files against each other, now and to the end; else a thread does so once a day, slowly.
    pub fn sweep(&self) -> Result<SweepReport, StoreError> {
        self.core.sweep()
    }

    /// Commits a change that changes nothing: whether the index can be written, for whoever waits for the disk.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.core.committer.commit(vec![Change::Running(true)])
    }

    /// The highest epoch that was ever kept under a name, such as a group's for its deny-list; 0 when none was.
    pub fn epoch(&self, name: &[u8; 32]) -> Result<u64, StoreError> {
        Ok(self.core.index.epoch(name)?)
    }

    /// Keeps an epoch, unless a higher one is; durable when this returns.
    pub fn raise_epoch(&self, name: &[u8; 32], epoch: u64) -> Result<(), StoreError> {
        if self.epoch(name)? >= epoch {
            return Ok(());
        }
        self.core.committer.commit(vec![Change::Epoch(*name, epoch)])
    }

    /// Keeps a job's row; durable when this returns.
    pub fn put_job(&self, id: [u8; 16], row: &[u8]) -> Result<(), StoreError> {
        if row.len() > MAX_JOB_ROW {
            return Err(StoreError::RowTooLarge { bytes: row.len(), limit: MAX_JOB_ROW });
        }
        self.core.committer.commit(vec![Change::Job(id, Some(row.to_vec()))])
    }

    /// Keeps rows of jobs, all or none; durable when this returns.
    pub fn put_jobs(&self, rows: Vec<JobRow>) -> Result<(), StoreError> {
        if let Some(bytes) = rows.iter().map(|(_, row)| row.len()).find(|bytes| *bytes > MAX_JOB_ROW) {
            return Err(StoreError::RowTooLarge { bytes, limit: MAX_JOB_ROW });
        }
        self.core.committer.commit(rows.into_iter().map(|(id, row)| Change::Job(id, Some(row))).collect())
    }

    /// Removes a job's row; durable when this returns.
    pub fn remove_job(&self, id: [u8; 16]) -> Result<(), StoreError> {
        self.core.committer.commit(vec![Change::Job(id, None)])
    }

    /// All jobs' rows, by id. Damaged ones are left out and counted in the log.
    pub fn jobs(&self) -> Result<Vec<JobRow>, StoreError> {
        Ok(self.jobs_behind(None, usize::MAX)?.rows)
    }

    /// The rows of at most `most` jobs behind a point in the order of ids. Damaged ones are left out and counted in the log.
    pub fn jobs_behind(&self, behind: Option<[u8; 16]>, most: usize) -> Result<JobRows, StoreError> {
        let (rows, damaged) = self.core.index.jobs_behind(behind, most)?;
        if damaged > 0 {
            tracing::error!(damaged, "job rows are damaged and cannot be read");
        }
        Ok(rows)
    }

    /// Accounts for events; durable when this returns.
    pub fn record(&self, entries: &[LedgerEntry]) -> Result<(), StoreError> {
        self.core.committer.commit(entries.iter().copied().map(Change::Entry).collect())
    }

    /// The same, and gives accounts names for people, all at once: redacted URLs. At most [`MAX_ACCOUNT_NAME`] bytes of each are kept.
    pub fn record_named(&self, entries: &[LedgerEntry], names: &[(Account, &str)]) -> Result<(), StoreError> {
        let named = names.iter().map(|(account, name)| {
            let mut name = (*name).to_owned();
            while name.len() > MAX_ACCOUNT_NAME {
                name.pop();
            }
            Change::AccountName(*account, name)
        });
        self.core.committer.commit(entries.iter().copied().map(Change::Entry).chain(named).collect())
    }

    /// The columns of one account; zero when nothing was ever written to it.
    pub fn balance(&self, account: Account) -> Result<Balance, StoreError> {
        Ok(self.core.index.balance(&account)?)
    }

    /// Says how handles are taken back that are kept only to be quick: that is done before anybody is told what is in use, and before
    /// room is refused, so they keep no entity here. There is one who keeps some: the last one that said so.
    pub fn take_back_by(&self, take_back: impl Fn() + Send + Sync + 'static) {
        self.core.take_back_by(Arc::new(take_back));
    }

    /// Whether somebody has a handle on the entity, so that it cannot go.
    #[must_use]
    pub fn is_in_use(&self, id: &EntityId) -> bool {
        self.core.take_back();
        self.core.is_in_use(id)
    }

    /// Every row of the ledger.
    pub fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        Ok(self.core.index.ledger()?)
    }

    /// Adds what is beyond these limits to the rows of what is earlier, now and to the end; else a thread does so slowly, with the usual
    /// limits. Gives how many transactions that took.
    pub fn fold_ledger(&self, limits: &LedgerLimits) -> Result<u64, StoreError> {
        let mut slices = 0;
        while self.core.fold_slice(limits)? {
            slices += 1;
        }
        Ok(slices)
    }

    /// Looks at the columns of each account of a file, in the order of accounts.
    pub fn each_balance(&self, look: impl FnMut(Account, Balance)) -> Result<(), StoreError> {
        Ok(self.core.index.each_balance(look)?)
    }

    /// What accounts were of, for people, as far as somebody said so.
    pub fn account_names(
        &self,
        accounts: impl Iterator<Item = Account>,
    ) -> Result<HashMap<Account, String>, StoreError> {
        Ok(self.core.index.account_names(accounts)?)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("directory", &self.core.files.root()).finish_non_exhaustive()
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
    /// Takes back what is kept only to be quick. A handle that goes may ask for the lock of admissions, and does not wait for it.
    pub(crate) fn take_back(&self) {
        if let Some(take_back) = self.stock.to_take_back() {
            take_back();
        }
    }

    /// Whether something waits for a lease to end.
    pub(crate) fn is_overfull(&self) -> bool {
        self.stock.is_overfull.load(Relaxed)
    }

    /// After a handle went: what waited for its lease goes.
    pub(crate) fn on_released(&self) {
        if self.stock.shrink_if_free() == Shrunk::Later {
            self.upkeep.wake();
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.upkeep.stop();
        if let Err(error) = self.stock.close() {
            tracing::warn!(%error, "the cache did not close cleanly; the next start looks after it");
        }
    }
}
