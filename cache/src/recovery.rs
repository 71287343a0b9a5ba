//! What the last stop left behind, and what is done about it before anything is served (C-20).
//!
//! Idempotent: every step may be cut short and is done again by the next start (C-23). Nothing is hashed here: blocks
//! are hashed whenever they are read, after a clean stop as well as after a crash (C-21).

use crate::disk::{self, Disk};
use crate::fault::{DiskFault, IndexFault, OpenError};
use crate::index::{Change, FORMAT, Index, IndexOpenError};
use crate::journal::Reconciled;
use crate::room;
use crate::row::EntityRecord;
use crate::store::{Files, wall_clock};
use eddy_content::EntityId;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

mod orphans;

/// What opening a store found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// The last process stopped without closing the store.
    pub was_unclean: bool,
    /// The index was damaged beyond repair and lies here now; a new one was begun. Jobs come back from the journal.
    pub index_moved_to: Option<PathBuf>,
    /// Jobs that the index got back from the journal.
    pub restored_jobs: u64,
    /// Jobs of an older copy of the index that the journal knows to be removed: removed again.
    pub withdrawn_jobs: u64,
    /// The job journal was not there, behind or damaged, and was made anew from the index.
    pub journal_made_anew: bool,
    /// Where a job journal lies that made no sense.
    pub journal_moved_to: Option<PathBuf>,
    /// Removals that were begun and are finished now.
    pub finished_removals: u64,
    /// Entities whose files were gone or had another size: forgotten.
    pub dangling: u64,
    /// Rows that were damaged: forgotten.
    pub damaged_rows: u64,
    /// Files that no row speaks of, moved to the quarantine.
    pub quarantined_files: u64,
    /// Files that were never acknowledged, or lay in quarantine for a day: deleted.
    pub deleted_files: u64,
    /// Entities that are here.
    pub entities: u64,
}

impl RecoveryReport {
    /// Takes in what was settled between index and journal.
    pub(crate) fn take_jobs(&mut self, jobs: Reconciled) {
        if jobs.restored > 0 || jobs.withdrawn > 0 {
            tracing::warn!(jobs.restored, jobs.withdrawn, "the cache index got its jobs from the journal");
        }
        self.restored_jobs = jobs.restored;
        self.withdrawn_jobs = jobs.withdrawn;
        self.journal_made_anew = jobs.made_anew;
        self.journal_moved_to = jobs.moved_to;
    }
}

/// The recovered store, before its threads start.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) report: RecoveryReport,
    pub(crate) transaction: u64,
    pub(crate) generation: u64,
    pub(crate) used: u64,
    pub(crate) entities: u64,
}

/// Opens the index and brings rows and files together; an index that is damaged beyond repair is moved aside and a new
/// one begun, so that the store always opens (N6).
pub(crate) fn recover(files: &Files) -> Result<Recovered, OpenError> {
    let damage = match try_to_recover(files, RecoveryReport::default()) {
        Ok(recovered) => return Ok(recovered),
        Err(Failure::Damaged(damage)) => damage,
        Err(Failure::Open(error)) => return Err(error),
    };
    let (disk, path) = (&**files.disk(), files.index());
    let aside = unused_name(disk, &path)?;
    tracing::error!(%damage, moved_to = %aside.display(), "the cache index is damaged: a new one is begun");
    disk::rename(disk, &path, &aside)?;
    disk::sync_directory(disk, files.root())?;
    let report = RecoveryReport { index_moved_to: Some(aside), ..RecoveryReport::default() };
    try_to_recover(files, report).map_err(|failure| match failure {
        Failure::Open(error) => error,
        Failure::Damaged(text) => DiskFault::new("make", &path, std::io::Error::other(text)).into(),
    })
}

fn try_to_recover(files: &Files, report: RecoveryReport) -> Result<Recovered, Failure> {
    let index = Index::open(files.disk(), &files.index())?;
    let mut recovery = Recovery { files, transaction: index.last_transaction()?, index, report };
    recovery.report.was_unclean = recovery.index.was_running()?;
    let highest = recovery.index.generation()?;
    recovery.apply(vec![Change::Running(true)])?;

    let mut rows = recovery.read_rows()?;
    let found = orphans::sweep(files, &mut rows.live, highest, &mut recovery.report)?;
    let dangling = rows.live.values().filter(|row| !row.is_whole()).map(|row| row.id).collect();
    recovery.forget_dangling(dangling, &mut rows.used)?;
    let generation = found.max(highest);
    recovery.apply(vec![Change::Generation(generation)])?;

    let entities = rows.live.values().filter(|row| row.is_whole()).count() as u64;
    recovery.report.entities = entities;
    let Recovery { index, report, transaction, .. } = recovery;
    if report.was_unclean || report.index_moved_to.is_some() {
        tracing::info!(?report, "the cache was recovered");
    }
    Ok(Recovered { index, report, transaction, generation, used: rows.used, entities })
}

/// A name beside the index that nothing has yet.
pub(crate) fn unused_name(disk: &dyn Disk, path: &Path) -> Result<PathBuf, DiskFault> {
    let mut number = wall_clock();
    loop {
        let name = path.with_extension(format!("damaged-{number}"));
        if disk::length(disk, &name)?.is_none() {
            return Ok(name);
        }
        number += 1;
    }
}

/// Why a recovery ended early.
enum Failure {
    /// The index is damaged: another attempt without it can succeed.
    Damaged(String),
    /// Anything else.
    Open(OpenError),
}

impl From<IndexOpenError> for Failure {
    fn from(error: IndexOpenError) -> Self {
        match error {
            IndexOpenError::Damaged(damage) => Self::Damaged(damage),
            IndexOpenError::TooNew(found) => Self::Open(OpenError::TooNew { found, supported: FORMAT }),
            IndexOpenError::Fault(fault) => fault.into(),
        }
    }
}

impl From<IndexFault> for Failure {
    fn from(fault: IndexFault) -> Self {
        match &*fault.source {
            redb::Error::Corrupted(damage) => Self::Damaged(damage.clone()),
            _ => Self::Open(fault.into()),
        }
    }
}

impl From<DiskFault> for Failure {
    fn from(fault: DiskFault) -> Self {
        Self::Open(fault.into())
    }
}

/// A row of which the files are being looked for.
pub(crate) struct Expected {
    id: EntityId,
    pub(crate) length: u64,
    pub(crate) has_data: bool,
    pub(crate) has_outboard: bool,
}

impl Expected {
    fn is_whole(&self) -> bool {
        self.has_data && self.has_outboard
    }
}

/// The rows of the index, by the names of their files.
struct Rows {
    live: HashMap<(EntityId, u64), Expected>,
    used: u64,
}

struct Recovery<'f> {
    files: &'f Files,
    index: Index,
    report: RecoveryReport,
    transaction: u64,
}

impl Recovery<'_> {
    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Failure> {
        self.transaction += 1;
        Ok(self.index.apply(self.transaction, &changes)?)
    }

    /// Reads every row, finishes removals that were begun and drops rows that are damaged.
    fn read_rows(&mut self) -> Result<Rows, Failure> {
        let mut rows = Rows { live: HashMap::new(), used: 0 };
        let (mut doomed, mut damaged) = (Vec::new(), Vec::new());
        self.index.visit(|key, record| match record {
            Some(record) if record.doomed => doomed.push(record),
            Some(record) => {
                let (id, length) = (record.id(), record.entity.length);
                rows.used += room::footprint(length);
                let expected = Expected { id, length, has_data: false, has_outboard: false };
                rows.live.insert((id, record.generation), expected);
            }
            None => damaged.push(key.to_vec()),
        })?;
        for record in doomed {
            self.report.finished_removals += 1;
            self.finish_removal(record)?;
        }
        for key in damaged {
            self.report.damaged_rows += 1;
            self.apply(vec![Change::Strike(key)])?;
        }
        Ok(rows)
    }

    fn finish_removal(&mut self, record: EntityRecord) -> Result<(), Failure> {
        self.files.unlink(&self.files.pair(&record.id(), record.generation))?;
        // A row of the lookup table may stay: it leads to nothing, and the next rebuild drops it.
        self.apply(vec![Change::Forget(Box::new(record), None)])
    }

    fn forget_dangling(&mut self, dangling: Vec<EntityId>, used: &mut u64) -> Result<(), Failure> {
        for id in dangling {
            let Some(record) = self.index.record(&id)? else { continue };
            tracing::error!(entity = %record.entity.url, "the files of a cached entity are gone or cut short: forgotten");
            self.report.dangling += 1;
            *used -= room::footprint(record.entity.length);
            self.apply(vec![Change::Doom(id)])?;
            self.finish_removal(record)?;
        }
        Ok(())
    }
}
