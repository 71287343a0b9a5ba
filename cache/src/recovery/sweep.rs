//! Rows and files held against each other, a little at a time (C-20, C-31).
//!
//! A row whose files are gone or cut short is forgotten, a row that cannot be read is struck, a file that no row speaks of is
//! adopted with its twin, or cleared away: one that was never acknowledged at once, others after a day in the quarantine. Two million files cannot be
//! looked at before anything is served, and need not be: who opens an entity meets what is missing by himself. So a
//! small store is looked over when it is opened, a large one goes on beside the work.
//!
//! Whatever is changed is looked at a second time under the lock of admissions, so that nothing is taken for lost that is
//! being let in or removed just then. All steps may be cut short and come again (C-23).

use crate::disk;
use crate::fault::{DiskFault, StoreError};
use crate::index::Change;
use crate::rebuild::{self, Adoption};
use crate::row::{EntityRecord, Place};
use crate::store::{Name, Stock, wall_clock};
use eddy_content::EntityId;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Seconds that an orphan is kept for whoever wants to rebuild the index from it (C-22).
const QUARANTINE: i64 = 24 * 3600;
/// Rows that are read at once.
const ROWS: usize = 256;

/// What a sweep found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SweepReport {
    /// Entities whose files were gone or had another size: forgotten.
    pub dangling: u64,
    /// Rows that were damaged: forgotten.
    pub damaged_rows: u64,
    /// Entities that no row spoke of, made again from their files.
    pub adopted: u64,
    /// Files that no row speaks of, moved to the quarantine.
    pub quarantined_files: u64,
    /// Files that were never acknowledged, or lay in quarantine for a day: deleted.
    pub deleted_files: u64,
    /// Files and directories that the disk refused to show, move or delete: left for the next sweep.
    pub refused_files: u64,
}

/// How far a sweep came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to look at.
    More,
    /// Everything was looked at.
    Done,
}

/// One pass over rows and files.
pub(crate) struct Sweep {
    stage: Stage,
    unacknowledged: Range<u64>,
    report: SweepReport,
    /// What the disk said last where it refused something.
    refusal: Option<DiskFault>,
}

/// What is looked at next.
enum Stage {
    Quarantine,
    /// Rows after this key.
    Rows(Option<Vec<u8>>),
    /// Directories that wait, and the one that is looked at with its names that wait.
    Files {
        directories: Vec<String>,
        directory: PathBuf,
        names: Vec<String>,
    },
    Done,
}

impl Sweep {
    /// A pass for a store in which no row was ever of a generation beyond `highest`, and no file is beyond `reserved` but
    /// those that come in from here on: what lies between was never acknowledged.
    pub(crate) fn new(highest: u64, reserved: u64) -> Self {
        // An index that never had a row knows nothing of what lies there.
        let unacknowledged = if highest > 0 { highest + 1..reserved.saturating_add(1) } else { 0..0 };
        Self { stage: Stage::Quarantine, unacknowledged, report: SweepReport::default(), refusal: None }
    }

    /// What was found and done so far.
    pub(crate) fn report(&self) -> SweepReport {
        self.report
    }

    /// Looks at some `looks` rows and files.
    pub(crate) fn step(&mut self, stock: &Stock, looks: usize) -> Result<Progress, StoreError> {
        let progress = self.look(stock, looks)?;
        stock.note_passed(self.report.refused_files, self.refusal.clone(), progress);
        Ok(progress)
    }

    fn look(&mut self, stock: &Stock, looks: usize) -> Result<Progress, StoreError> {
        let mut left = looks;
        while left > 0 {
            let done = match &mut self.stage {
                Stage::Quarantine => {
                    let (adopted, refused) = rebuild::reclaim_quarantine(stock)?;
                    self.report.adopted += adopted;
                    refused.iter().for_each(|fault| self.skip(fault));
                    self.empty_quarantine(stock);
                    self.stage = Stage::Rows(None);
                    1
                }
                Stage::Rows(after) => {
                    let after = after.take();
                    self.look_at_rows(stock, after, left.min(ROWS))?
                }
                Stage::Files { .. } => self.look_at_files(stock, left)?,
                Stage::Done => return Ok(Progress::Done),
            };
            left = left.saturating_sub(done.max(1));
        }
        Ok(if matches!(self.stage, Stage::Done) { Progress::Done } else { Progress::More })
    }

    /// Deletes what lay in quarantine for a day.
    fn empty_quarantine(&mut self, stock: &Stock) {
        let (disk, directory) = (&**stock.files.disk(), stock.files.quarantine());
        for name in self.list(stock, &directory) {
            let Some((since, original)) = name.split_once('.') else { continue };
            stock.saw_generation(Name::parse(original).map_or(0, |name| name.generation));
            if since.parse::<i64>().is_ok_and(|since| wall_clock() - since >= QUARANTINE) {
                match disk::unlink(disk, &directory.join(&name)) {
                    Ok(()) => self.report.deleted_files += 1,
                    Err(fault) => self.skip(&fault),
                }
            }
        }
    }

    /// The names in a directory; none when the disk refuses to show it.
    fn list(&mut self, stock: &Stock, directory: &Path) -> Vec<String> {
        disk::list(&**stock.files.disk(), directory).unwrap_or_else(|fault| {
            self.skip(&fault);
            Vec::new()
        })
    }

    /// Goes past a file that the disk refuses: it keeps nobody from looking at the others.
    fn skip(&mut self, error: &DiskFault) {
        tracing::warn!(%error, "a file of the cache cannot be looked after; another time");
        self.report.refused_files += 1;
        self.refusal = Some(error.clone());
    }

    /// The same for whatever else may have been refused with it.
    fn skip_file<T>(&mut self, outcome: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Disk(fault)) => {
                self.skip(&fault);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn look_at_rows(&mut self, stock: &Stock, after: Option<Vec<u8>>, limit: usize) -> Result<usize, StoreError> {
        let rows = stock.index.rows(after.as_deref(), limit)?;
        let mut looks = rows.len();
        for (key, record) in &rows {
            match record {
                Some(record) if record.place == Place::Files && !record.doomed => {
                    looks += 1;
                    match stock.files.are_whole(record) {
                        Ok(true) => {}
                        Ok(false) => {
                            let forgotten = self.forget(stock, &record.id());
                            self.skip_file(forgotten)?;
                        }
                        Err(fault) => self.skip(&fault),
                    }
                }
                Some(_) => {}
                None => self.strike(stock, key)?,
            }
        }
        self.stage = match rows.into_iter().next_back().filter(|_| looks >= limit) {
            Some((key, _)) => Stage::Rows(Some(key)),
            None => {
                let directories = self.list(stock, &stock.files.entities());
                Stage::Files { directories, directory: PathBuf::new(), names: Vec::new() }
            }
        };
        Ok(looks)
    }

    /// Forgets an entity whose files are not whole, if that is so.
    fn forget(&mut self, stock: &Stock, id: &EntityId) -> Result<(), StoreError> {
        let _one = stock.admit();
        let Some(record) = stock.index.record(id)? else { return Ok(()) };
        if stock.is_in_use(id) || record.place != Place::Files || stock.files.are_whole(&record)? {
            return Ok(());
        }
        tracing::error!(entity = %record.entity.url, "the files of a cached entity are gone or cut short: forgotten");
        if let Some(fault) = stock.destroy(vec![record])?.refused {
            self.skip(&fault);
        }
        self.report.dangling += 1;
        Ok(())
    }

    /// Strikes a row that cannot be read, if that is so.
    fn strike(&mut self, stock: &Stock, key: &[u8]) -> Result<(), StoreError> {
        let _one = stock.admit();
        if let Ok(id) = <[u8; 32]>::try_from(key)
            && stock.index.record(&EntityId(id))?.is_some()
        {
            return Ok(());
        }
        stock.committer.commit(vec![Change::Strike(key.to_vec())])?;
        self.report.damaged_rows += 1;
        Ok(())
    }

    fn look_at_files(&mut self, stock: &Stock, limit: usize) -> Result<usize, StoreError> {
        let Stage::Files { directories, directory, names } = &mut self.stage else { return Ok(0) };
        if names.is_empty() {
            let Some(next) = directories.pop() else {
                self.stage = Stage::Done;
                return Ok(1);
            };
            let next = stock.files.entities().join(next);
            *directory = next.clone();
            let found = self.list(stock, &next);
            if let Stage::Files { names, .. } = &mut self.stage {
                *names = found;
            }
            return Ok(1);
        }
        let some = names.split_off(names.len().saturating_sub(limit));
        let directory = directory.clone();
        let looks = some.len();
        let mut orphans = Vec::new();
        for name in some {
            if !has_row(stock, &name)? {
                orphans.push(name);
            }
        }
        self.clear_away(stock, &directory, orphans)?;
        Ok(looks)
    }

    /// Removes or sets aside the files that no row speaks of.
    fn clear_away(&mut self, stock: &Stock, directory: &Path, orphans: Vec<String>) -> Result<(), StoreError> {
        let disk = &**stock.files.disk();
        let mut changed = BTreeSet::new();
        // The latest generation of an entity is adopted, the others find it taken.
        let mut orphans = orphans;
        orphans.sort_by_key(|name| std::cmp::Reverse(Name::parse(name).map_or(0, |name| name.generation)));
        for name in orphans {
            let _one = stock.admit();
            let parsed = Name::parse(&name);
            // Under the lock: what was being let in has its row by now, and who is removing something is done.
            if has_row(stock, &name)? || parsed.is_some_and(|name| stock.is_in_use(&name.id)) {
                continue;
            }
            // Whatever becomes of the file: its number is not used again.
            stock.saw_generation(parsed.map_or(0, |name| name.generation));
            if let Some(name) = &parsed {
                match self.skip_file(rebuild::adopt(stock, name))? {
                    Some(Adoption::Adopted) => {
                        self.report.adopted += 1;
                        continue;
                    }
                    Some(_) => {}
                    // What cannot be read may be a whole entity.
                    None => continue,
                }
            }
            let path = directory.join(&name);
            let was_acknowledged = parsed.is_none_or(|name| !self.unacknowledged.contains(&name.generation));
            let aside = stock.files.quarantine().join(format!("{}.{name}", wall_clock()));
            let gone = if was_acknowledged { disk::rename(disk, &path, &aside) } else { disk::unlink(disk, &path) };
            match gone {
                Ok(()) if was_acknowledged => {
                    self.report.quarantined_files += 1;
                    changed.insert(stock.files.quarantine());
                }
                Ok(()) => self.report.deleted_files += 1,
                Err(fault) => {
                    self.skip(&fault);
                    continue;
                }
            }
            changed.insert(directory.to_owned());
        }
        for directory in changed {
            if let Err(fault) = disk::sync_directory(disk, &directory) {
                self.skip(&fault);
            }
        }
        Ok(())
    }
}

/// Whether a row speaks of the file of this name.
fn has_row(stock: &Stock, name: &str) -> Result<bool, StoreError> {
    let Some(name) = Name::parse(name) else { return Ok(false) };
    let is_its = |record: EntityRecord| record.place == Place::Files && record.generation == name.generation;
    Ok(stock.index.record(&name.id)?.is_some_and(is_its))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use crate::index::Index;
    use crate::journal;
    use crate::room::{Limits, Quota, Reserve};
    use crate::row::NewEntity;
    use crate::store::Files;
    use eddy_content::Geometry;
    use std::sync::Arc;

    /// A stock of `count` entities with files; nobody sweeps it but the test.
    fn filled(directory: &Path, count: u64) -> Stock {
        let files = Files::new(Arc::new(RealDisk), directory).expect("a directory tree");
        let index = Index::open(files.disk(), &files.index()).expect("an index");
        let limits = Limits { quota: Quota::Bytes(1 << 30), reserve: Reserve::Bytes(0), max_age: None };
        let mut transaction = 0;
        let (journal, _) = journal::open(files.disk(), files.root(), &index, &mut transaction).expect("a journal");
        let stock = Stock::new(files, index, journal, transaction, limits).expect("a stock");
        stock.begin_numbering(0, Vec::new()).expect("numbered");
        for tag in 1..=count {
            let record = EntityRecord::admit(&NewEntity::numbered(tag, 70_000), Place::Files, tag, wall_clock());
            let geometry = Geometry::new(70_000).expect("a geometry");
            stock.files.make(&record, &geometry).expect("made");
            stock.committer.commit(vec![Change::Entity(Box::new(record), [0; 32])]).expect("committed");
        }
        stock
    }

    #[test]
    fn a_sweep_in_slices_of_one_look_finds_what_a_sweep_at_once_finds() {
        for slice in [1, 7, usize::MAX] {
            let directory = tempfile::tempdir().expect("a directory");
            let stock = filled(directory.path(), 20);
            let rows = stock.index.rows(None, 100).expect("the rows");
            let pair = |at: usize| {
                let record = rows[at].1.as_ref().expect("whole");
                stock.files.pair(&record.id(), record.generation)
            };
            std::fs::remove_file(pair(3).data).expect("removed");
            std::fs::remove_file(pair(19).outboard).expect("removed");
            std::fs::rename(pair(5).data, pair(5).directory.join("elsewhere")).expect("renamed");
            std::fs::write(pair(7).directory.join(format!("{}-500.data", EntityId([7; 32]))), b"new").expect("written");
            let mut sweep = Sweep::new(20, 1000);
            let mut steps = 0;
            while sweep.step(&stock, slice).expect("a step") == Progress::More {
                steps += 1;
                assert!(steps < 1000, "it ends");
            }
            let expected =
                SweepReport { dangling: 3, quarantined_files: 1, deleted_files: 1, ..SweepReport::default() };
            assert_eq!(sweep.report(), expected, "slices of {slice}");
            assert_eq!(stock.index.counters().entities, 17);
            assert!(slice > 1 || steps > 40);
            let mut again = Sweep::new(20, 1000);
            while again.step(&stock, slice).expect("a step") == Progress::More {}
            assert_eq!(again.report(), SweepReport::default());
        }
    }
}
