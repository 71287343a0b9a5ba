//! What the last stop left behind, and what is done about it before anything is served (C-20).
//!
//! Before serving, only that is looked at which can have been under way: rows that are being removed, an upgrade that was
//! cut short. It does not grow with the store. The rest is the sweep's ([`sweep`]).
//!
//! Idempotent: every step may be cut short and is done again by the next start (C-23). Nothing is hashed here: blocks
//! are hashed whenever they are read, after a clean stop as well as after a crash (C-21).

mod sweep;

use crate::disk::{self, Disk};
use crate::fault::{DiskFault, IndexFault, OpenError, StoreError};
use crate::index::{Change, FORMAT, Index, IndexOpenError};
use crate::journal::{self, Reconciled};
use crate::room::Limits;
use crate::store::{Files, Name, Stock, wall_clock};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use sweep::SweepReport;
pub(crate) use sweep::{Progress, Sweep};

/// Rows and files that are looked at before a store is served; one that has more is swept beside the work.
const LOOKS: usize = 8192;

/// What an index is called that was moved aside, before the time when that was.
const DAMAGED_INDEX: &str = "index.damaged-";
/// The same of a job journal.
const DAMAGED_JOURNAL: &str = "jobs.damaged-";
/// Of each kind, how many that were moved aside are kept.
const MOST_DAMAGED: usize = 2;

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
    /// Entities that no row spoke of, made again from their files; the sweep goes on with it in a large store.
    pub adopted: u64,
    /// Files that no row speaks of, moved to the quarantine.
    pub quarantined_files: u64,
    /// Files that were never acknowledged, or lay in quarantine for a day: deleted.
    pub deleted_files: u64,
    /// Files and directories that the disk refused to show, move or delete: left for the next sweep.
    pub refused_files: u64,
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

/// The recovered store.
pub(crate) struct Recovered {
    pub(crate) stock: Stock,
    pub(crate) report: RecoveryReport,
    /// The sweep, when it is not finished.
    pub(crate) sweep: Option<Sweep>,
}

/// Refuses a store that a later version wrote, before anything in it is touched (C-24).
pub(crate) fn refuse_newer(disk: &Arc<dyn Disk>, index: &Path) -> Result<(), OpenError> {
    match Index::format_of(disk, index) {
        Some(found) if found > FORMAT => Err(OpenError::TooNew { found, supported: FORMAT }),
        _ => Ok(()),
    }
}

/// Opens the index and finishes what was under way; an index that is damaged beyond repair is moved aside and a new
/// one begun, so that the store always opens (N6).
pub(crate) fn recover(files: &Files, limits: Limits) -> Result<Recovered, OpenError> {
    let recovered = recover_index(files, limits)?;
    clear_damaged(files, DAMAGED_INDEX, recovered.report.index_moved_to.as_deref());
    clear_damaged(files, DAMAGED_JOURNAL, recovered.report.journal_moved_to.as_deref());
    Ok(recovered)
}

fn recover_index(files: &Files, limits: Limits) -> Result<Recovered, OpenError> {
    let damage = match try_to_recover(files, limits, RecoveryReport::default()) {
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
    try_to_recover(files, limits, report).map_err(|failure| match failure {
        Failure::Open(error) => error,
        Failure::Damaged(text) => DiskFault::new("make", &path, std::io::Error::other(text)).into(),
    })
}

fn try_to_recover(files: &Files, limits: Limits, mut report: RecoveryReport) -> Result<Recovered, Failure> {
    let index = Index::open(files.disk(), &files.index())?;
    let mut transaction = index.last_transaction()?;
    let (journal, jobs) = journal::open(files.disk(), files.root(), &index, &mut transaction)?;
    report.take_jobs(jobs);
    let stock = Stock::new(files.clone(), index, journal, transaction, limits)?;
    match finish(&stock, report) {
        Ok((report, sweep)) => Ok(Recovered { stock, report, sweep }),
        Err(failure) => {
            stock.abandon();
            Err(failure)
        }
    }
}

/// Brings the opened store to the point from which it serves.
fn finish(stock: &Stock, mut report: RecoveryReport) -> Result<(RecoveryReport, Option<Sweep>), Failure> {
    report.was_unclean = stock.index.was_running()?;
    let (highest, reserved) = stock.index.generations()?;
    let first = if highest == 0 && reserved == 0 { first_generation(stock)? } else { reserved };
    stock.begin_numbering(first, vec![Change::Running(true)])?;
    report.finished_removals = stock.finish_removals()?;

    let mut sweep = Some(Sweep::new(highest, reserved.max(first)));
    let is_small = stock.index.counters().entities.saturating_mul(2) <= LOOKS as u64;
    if is_small && let Some(begun) = &mut sweep {
        stock.index.look_through()?;
        let progress = begun.step(stock, LOOKS)?;
        let found = begun.report();
        (report.dangling, report.damaged_rows) = (found.dangling, found.damaged_rows);
        (report.quarantined_files, report.deleted_files) = (found.quarantined_files, found.deleted_files);
        (report.adopted, report.refused_files) = (found.adopted, found.refused_files);
        if progress == Progress::Done {
            sweep = None;
        }
    }
    report.entities = stock.index.counters().entities;
    if report.was_unclean || report.index_moved_to.is_some() {
        tracing::info!(?report, "the cache was recovered");
    }
    Ok((report, sweep))
}

/// Where a new index begins to number: beyond every file that lies there, which is a look at all their names.
fn first_generation(stock: &Stock) -> Result<u64, Failure> {
    let (disk, entities, quarantine) = (&**stock.files.disk(), stock.files.entities(), stock.files.quarantine());
    let mut seen = 0;
    for name in disk::list(disk, &quarantine)? {
        let original = name.split_once('.').and_then(|(_, original)| Name::parse(original));
        seen = seen.max(original.map_or(0, |name| name.generation));
    }
    for directory in disk::list(disk, &entities)? {
        // What cannot be listed takes no new file of an old name either: that one is made only where none is.
        for name in disk::list(disk, &entities.join(directory)).unwrap_or_default() {
            seen = seen.max(Name::parse(&name).map_or(0, |name| name.generation));
        }
    }
    Ok(seen)
}

/// Removes all but the newest of one kind of files that were moved aside: whoever looks into what happened looks at those, and nobody
/// else takes them away. A refusal keeps no store from opening.
fn clear_damaged(files: &Files, kind: &str, moved_now: Option<&Path>) {
    let (disk, mut damaged) = (&**files.disk(), Vec::new());
    for name in disk::list(disk, files.root()).unwrap_or_default() {
        let since = name.strip_prefix(kind).and_then(|since| since.parse::<i64>().ok());
        // Under a clock that went back as well.
        let is_newest = moved_now.is_some_and(|now| now.file_name().is_some_and(|now| now == name.as_str()));
        damaged.extend(since.map(|since| (is_newest, since, name)));
    }
    damaged.sort();
    let old = damaged.len().saturating_sub(MOST_DAMAGED);
    for (.., name) in damaged.drain(..old) {
        let path = files.root().join(name);
        match disk::unlink(disk, &path) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "an old damaged file is removed: two later ones of its kind are kept")
            }
            Err(error) => tracing::warn!(%error, "an old damaged file stays"),
        }
    }
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

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Index(fault) => fault.into(),
            other => Self::Open(other),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Index(fault) => fault.into(),
            StoreError::Disk(fault) => fault.into(),
            // Neither happens while a store is being opened.
            StoreError::Closing | StoreError::RowTooLarge { .. } => {
                Self::Open(DiskFault::new("open", Path::new("the cache"), std::io::Error::other(error)).into())
            }
        }
    }
}
