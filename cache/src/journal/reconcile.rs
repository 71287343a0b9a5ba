//! Brings journal and index together when a store is opened: the higher sequence number wins.
//!
//! | the journal is | then |
//! |---|---|
//! | ahead of the index (that is a new one, or an older copy) | its jobs are the jobs |
//! | ahead and damaged | what it changed after the index is taken over, what else it has is added, nothing is removed |
//! | level | they say the same; a row that cannot be read, or is gone, comes back from the journal |
//! | behind (a crash between the two syncs), damaged, foreign or not there | it is made anew from the index |
//!
//! Every step may be cut short and is done again by the next start (C-23): the index notes the journal's number only with
//! the last of the changes, and a new journal gets its name when it is whole.

use super::record::{JobId, RowHash, row_hash};
use super::scan::{self, Contents, Place};
use super::{Journal, NAME, NEW_NAME};
use crate::disk::{self, Disk};
use crate::fault::{DiskFault, OpenError};
use crate::index::{Change, Index};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of rows that go into the index in one transaction.
const BATCH: usize = 8 << 20;

/// What was found and done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Reconciled {
    /// Rows that the index got from the journal.
    pub(crate) restored: u64,
    /// Rows of an older index that the journal knows to be removed.
    pub(crate) withdrawn: u64,
    /// The journal was made anew from the index.
    pub(crate) made_anew: bool,
    /// Where a journal lies that could not be read.
    pub(crate) moved_to: Option<PathBuf>,
}

/// What the index has of jobs.
#[derive(Debug, Default)]
pub(super) struct IndexJobs {
    /// `None` for a row that cannot be read.
    pub(super) rows: BTreeMap<JobId, Option<RowHash>>,
    /// Number of the last change that is in it.
    pub(super) sequence: u64,
}

/// What the index must take over.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) put: Vec<JobId>,
    pub(super) remove: Vec<JobId>,
}

/// Opens the journal, and settles with the index what it says. `transaction` is the number of the last transaction.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    root: &Path,
    index: &Index,
    transaction: &mut u64,
) -> Result<(Journal, Reconciled), OpenError> {
    let mut reconciled = Reconciled::default();
    let mut journal = Journal::new(disk, root);
    disk::unlink(&**disk, &root.join(NEW_NAME))?;
    let found = find(&**disk, root, &mut reconciled)?;
    let mut jobs = jobs_of(index)?;
    let mut apply = |changes: Vec<Change>| {
        *transaction += 1;
        index.apply(*transaction, &changes)
    };

    let mut is_current = false;
    if let Some((file, contents)) = found {
        let plan = plan(&contents, &jobs);
        (reconciled.restored, reconciled.withdrawn) = (plan.put.len() as u64, plan.remove.len() as u64);
        let mut changes: Vec<Change> = plan.remove.iter().map(|job| Change::Job(*job, None)).collect();
        let mut bytes = 0;
        for job in &plan.put {
            let Some(place) = contents.live.get(job) else { continue };
            let row = scan::read_row(&*file, &root.join(NAME), &contents.header.key, job, place)?;
            let Some(row) = row else { continue };
            bytes += row.len();
            changes.push(Change::Job(*job, Some(row)));
            if bytes >= BATCH {
                apply(std::mem::take(&mut changes))?;
                bytes = 0;
            }
        }
        let sequence = contents.sequence.max(jobs.sequence);
        if !changes.is_empty() || sequence != jobs.sequence {
            changes.push(Change::JobsSequence(sequence));
            apply(changes)?;
            jobs = jobs_of(index)?;
        }
        is_current = !contents.is_damaged && contents.sequence == jobs.sequence && says_the_same(&contents, &jobs);
        journal.adopt(file, contents)?;
    }
    if !is_current {
        journal.live = places(&journal.live, &jobs);
        // Every job of the snapshot has a number of its own.
        journal.sequence = journal.sequence.max(jobs.sequence).max(journal.live.len() as u64);
        match journal.make_anew(index, journal.sequence) {
            Ok(()) => reconciled.made_anew = true,
            // The store opens on a full disk, too; the first change of a job tries again.
            Err(error) => {
                tracing::error!(%error, "the job journal cannot be made anew: jobs are in the index alone");
                journal.is_doubtful = true;
            }
        }
        if journal.sequence != jobs.sequence {
            apply(vec![Change::JobsSequence(journal.sequence)])?;
        }
    }
    Ok((journal, reconciled))
}

/// The journal's file and what it says; one that makes no sense at all is moved aside and kept.
fn find(
    disk: &dyn Disk,
    root: &Path,
    reconciled: &mut Reconciled,
) -> Result<Option<(disk::OpenFile, Contents)>, DiskFault> {
    let path = root.join(NAME);
    let Some(file) = disk::open(disk, &path)? else { return Ok(None) };
    if let Some(contents) = Contents::read(&*file, &path)? {
        return Ok(Some((file, contents)));
    }
    let aside = crate::recovery::unused_name(disk, &path)?;
    tracing::error!(moved_to = %aside.display(), "the job journal is damaged or foreign: it is made anew from the index");
    disk::rename(disk, &path, &aside)?;
    disk::sync_directory(disk, root)?;
    reconciled.moved_to = Some(aside);
    Ok(None)
}

fn jobs_of(index: &Index) -> Result<IndexJobs, OpenError> {
    let mut jobs = IndexJobs { sequence: index.jobs_sequence()?, ..IndexJobs::default() };
    index.visit_jobs(|key, row| {
        if let Ok(job) = JobId::try_from(key) {
            jobs.rows.insert(job, row.map(row_hash));
        }
    })?;
    Ok(jobs)
}

/// The jobs that the index has, as a journal has them that may hold others.
pub(super) fn places_in(index: &Index, old: &BTreeMap<JobId, Place>) -> Result<BTreeMap<JobId, Place>, OpenError> {
    Ok(places(old, &jobs_of(index)?))
}

/// Decides what the index takes over from the journal.
pub(super) fn plan(journal: &Contents, index: &IndexJobs) -> Plan {
    let is_ahead = journal.sequence > index.sequence;
    let is_level = journal.sequence == index.sequence;
    let takes = |job: &JobId, place: &Place| match index.rows.get(job) {
        Some(Some(hash)) if *hash == place.hash => false,
        // An older row than the index's must not win because the newer one is what cannot be read.
        Some(Some(_)) => is_ahead && (!journal.is_damaged || place.sequence > index.sequence),
        // Better an older row than none.
        Some(None) => true,
        None => is_ahead || (is_level && !journal.is_damaged),
    };
    let put = journal.live.iter().filter(|(job, place)| takes(job, place)).map(|(job, _)| *job).collect();
    let mut remove = Vec::new();
    if is_ahead && !journal.is_damaged {
        remove = index.rows.keys().filter(|job| !journal.live.contains_key(*job)).copied().collect();
    }
    Plan { put, remove }
}

/// Whether both have the same jobs with the same rows.
fn says_the_same(journal: &Contents, index: &IndexJobs) -> bool {
    let in_journal = journal.live.iter().map(|(job, place)| (*job, place.hash));
    let in_index = index.rows.iter().filter_map(|(job, hash)| Some((*job, (*hash)?)));
    in_journal.eq(in_index)
}

/// The jobs of the index as a journal has them, with the places of those that an old file has: the same row, or an older one for
/// when the index cannot say.
fn places(old: &BTreeMap<JobId, Place>, index: &IndexJobs) -> BTreeMap<JobId, Place> {
    let nowhere = |hash| Place { offset: 0, length: 0, sequence: 0, hash };
    let place = |job: &JobId, hash: &Option<RowHash>| old.get(job).copied().or_else(|| hash.map(nowhere));
    index.rows.iter().filter_map(|(job, hash)| Some((*job, place(job, hash)?))).collect()
}

/// How the journal stands with the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// They say the same.
    Level,
    /// The index has changes that it lacks.
    Behind,
    /// It has changes that the index lacks.
    Ahead,
    /// Level by number, and not the same.
    Differs,
    /// It is not there, damaged or foreign.
    Unreadable,
}

/// What a comparison found.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) agreement: Agreement,
    /// Jobs in the index.
    pub(crate) jobs: u64,
}

/// Compares journal and index and changes neither.
pub(crate) fn compare(disk: &Arc<dyn Disk>, root: &Path, index: &Index) -> Result<Compared, OpenError> {
    let (path, jobs) = (root.join(NAME), jobs_of(index)?);
    let file = disk::open(&**disk, &path)?;
    // A crash before the first of all jobs: none was made yet.
    let is_unmade = file.is_none() && jobs.rows.is_empty() && jobs.sequence == 0;
    let contents = match file {
        Some(file) => Contents::read(&*file, &path)?,
        None => None,
    };
    let agreement = match contents {
        None if is_unmade => Agreement::Behind,
        None => Agreement::Unreadable,
        Some(contents) if contents.is_damaged => Agreement::Unreadable,
        Some(contents) if contents.sequence < jobs.sequence => Agreement::Behind,
        Some(contents) if contents.sequence > jobs.sequence => Agreement::Ahead,
        Some(contents) if says_the_same(&contents, &jobs) => Agreement::Level,
        Some(_) => Agreement::Differs,
    };
    Ok(Compared { agreement, jobs: jobs.rows.len() as u64 })
}
