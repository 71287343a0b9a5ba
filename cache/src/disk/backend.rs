//! The index's file as redb sees it: a file of the disk under the store's seam, whose failed syncs are settled (C-08).
//!
//! After a failed sync the system holds pages for clean that never reached the disk, shows them to every reader, and tries none
//! again. A database that is opened over them takes for durable what a power cut takes away. So what was written since the
//! last good sync is remembered, and before the file is opened again it is *settled*: whatever a reader sees of it is written once
//! more, which makes the pages dirty again, and synced. What comes out is one of the states that a power cut at that moment could
//! have left, and redb knows how to go on from any of those. A mark beside the file tells the next process, should this one end
//! before; a power cut settles everything by itself, so the mark need not outlive one.

use super::{Disk, DiskFile, OpenFile};
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs that are remembered; more are the whole file.
const MOST_RUNS: usize = 1 << 16;
/// Bytes that are read and written again at once.
const PIECE: usize = 1 << 20;

/// What was written to the index's file since its last good sync.
#[derive(Debug)]
pub(crate) struct Unsynced {
    disk: Arc<dyn Disk>,
    mark: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Ends of runs of bytes, by their beginnings.
    runs: BTreeMap<u64, u64>,
    is_all: bool,
    /// A sync has failed since.
    has_failed: bool,
}

impl State {
    fn wrote(&mut self, run: Range<u64>) {
        if self.is_all || run.is_empty() {
            return;
        }
        // Pages are written in any order, mostly side by side.
        let before = self.runs.range(..=run.start).next_back().filter(|(_, end)| **end >= run.start);
        let (start, mut end) = before.map_or((run.start, run.end), |(start, end)| (*start, run.end.max(*end)));
        while let Some((&next, &its_end)) = self.runs.range(start + 1..=end).next() {
            self.runs.remove(&next);
            end = end.max(its_end);
        }
        self.runs.insert(start, end);
        if self.runs.len() > MOST_RUNS {
            self.is_all = true;
            self.runs.clear();
        }
    }

    fn runs(&self, length: u64) -> Vec<Range<u64>> {
        if self.is_all {
            return std::iter::once(0..length).collect();
        }
        self.runs.iter().map(|(start, end)| *start..(*end).min(length)).collect()
    }
}

impl Unsynced {
    /// Of the index at `path`.
    pub(crate) fn of(disk: &Arc<dyn Disk>, path: &Path) -> Self {
        Self { disk: Arc::clone(disk), mark: path.with_extension("unsynced"), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failed sync, for this process and the next.
    fn failed(&self) {
        self.state().has_failed = true;
        match self.disk.create(&self.mark) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::error!(%error, "a failed sync of the cache index could not be written down");
            }
            _ => {}
        }
    }

    /// Makes durable what a reader sees of a file that was opened anew, when a sync of it has failed.
    pub(crate) fn settle(&self, file: &dyn DiskFile) -> io::Result<()> {
        let is_marked = self.disk.length(&self.mark).is_ok();
        if !is_marked && !self.state().has_failed {
            return Ok(());
        }
        let length = file.length()?;
        let runs = {
            let mut state = self.state();
            // What an earlier process wrote is not known here.
            state.is_all |= !state.has_failed;
            state.runs(length)
        };
        tracing::warn!(runs = runs.len(), "a sync of the cache index failed: what was written since is written again");
        let mut piece = Vec::new();
        for run in runs {
            let mut start = run.start;
            while start < run.end {
                piece.resize(PIECE.min((run.end - start) as usize), 0);
                file.read_exact_at(&mut piece, start)?;
                file.write_all_at(&piece, start)?;
                start += piece.len() as u64;
            }
        }
        file.set_length(length)?;
        file.sync_bytes()?;
        *self.state() = State::default();
        if is_marked && let Err(error) = self.disk.unlink(&self.mark) {
            tracing::debug!(%error, "the mark of a failed sync stays: the next start writes the index once more");
        }
        Ok(())
    }
}

/// Lends a file of the disk to redb. Two processes are kept apart by the store's own lock (C-12).
#[derive(Debug)]
pub(crate) struct DiskBackend {
    file: OpenFile,
    unsynced: Option<Arc<Unsynced>>,
}

impl DiskBackend {
    /// A file that is settled.
    pub(crate) fn new(file: OpenFile, unsynced: &Arc<Unsynced>) -> io::Result<Self> {
        unsynced.settle(&*file)?;
        Ok(Self { file, unsynced: Some(Arc::clone(unsynced)) })
    }

    /// A file that is only read.
    pub(crate) fn to_read(file: OpenFile) -> Self {
        Self { file, unsynced: None }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        self.unsynced.as_ref().map(|unsynced| unsynced.state())
    }
}

impl StorageBackend for DiskBackend {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let before = self.file.length()?;
        // What lies between may be on the disk, or not.
        self.state().into_iter().for_each(|mut state| state.wrote(before.min(length)..before.max(length)));
        self.file.set_length(length)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let synced = self.file.sync_bytes();
        match (&synced, &self.unsynced) {
            (Ok(()), Some(unsynced)) if !unsynced.state().has_failed => *unsynced.state() = State::default(),
            (Err(_), Some(unsynced)) => unsynced.failed(),
            _ => {}
        }
        synced
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), io::Error> {
        self.state().into_iter().for_each(|mut state| state.wrote(offset..offset + bytes.len() as u64));
        self.file.write_all_at(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    /// A file whose failed sync leaves the pages clean and the disk without them.
    #[derive(Debug, Default)]
    struct Forgetful(Mutex<Bytes>);

    #[derive(Debug, Default)]
    struct Bytes {
        shown: Vec<u8>,
        durable: Vec<u8>,
        /// What is dirty: beginnings and bytes.
        dirty: Vec<(usize, Vec<u8>)>,
        fails: bool,
    }

    impl Forgetful {
        fn bytes(&self) -> MutexGuard<'_, Bytes> {
            self.0.lock().expect("no other test has it")
        }
    }

    impl DiskFile for Forgetful {
        fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
            let bytes = self.bytes();
            let rest = &bytes.shown[bytes.shown.len().min(offset as usize)..];
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn write_all_at(&self, new: &[u8], offset: u64) -> io::Result<()> {
            let (mut bytes, start) = (self.bytes(), offset as usize);
            let length = bytes.shown.len().max(start + new.len());
            bytes.shown.resize(length, 0);
            bytes.shown[start..start + new.len()].copy_from_slice(new);
            bytes.dirty.push((start, new.to_vec()));
            Ok(())
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.bytes().shown.len() as u64)
        }

        fn set_length(&self, length: u64) -> io::Result<()> {
            self.bytes().shown.resize(length as usize, 0);
            Ok(())
        }

        fn preallocate(&self, length: u64) -> io::Result<()> {
            self.set_length(length)
        }

        fn sync_bytes(&self) -> io::Result<()> {
            let mut bytes = self.bytes();
            let (dirty, length) = (std::mem::take(&mut bytes.dirty), bytes.shown.len());
            if std::mem::take(&mut bytes.fails) {
                return Err(io::ErrorKind::Other.into());
            }
            bytes.durable.resize(length, 0);
            for (start, new) in dirty {
                bytes.durable[start..start + new.len()].copy_from_slice(&new);
            }
            Ok(())
        }

        fn sync_all(&self) -> io::Result<()> {
            self.sync_bytes()
        }
    }

    #[test]
    fn what_a_failed_sync_left_in_memory_alone_is_on_the_disk_before_the_file_is_used_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let path = directory.path().join("index.redb");
        let mark = path.with_extension("unsynced");
        // The process that met it goes on, or another one does that knows of it by the mark.
        for is_another in [false, true] {
            let unsynced = Arc::new(Unsynced::of(&disk, &path));
            let file = Arc::new(Forgetful::default());
            let backend = DiskBackend::new(Arc::clone(&file) as OpenFile, &unsynced).expect("nothing to settle");
            backend.write(0, &[1; 100]).expect("written");
            backend.sync_data().expect("synced");
            backend.write(50, &[2; 100]).expect("written");
            file.bytes().fails = true;
            backend.sync_data().expect_err("the disk fails");
            assert!(mark.exists());
            file.sync_bytes().expect("as if nothing had been");
            assert_eq!(file.bytes().durable.len(), 150);
            assert_eq!(file.bytes().durable[50..], [[1; 50], [0; 50]].concat(), "the trap is set");

            let next = if is_another { Arc::new(Unsynced::of(&disk, &path)) } else { unsynced };
            file.bytes().fails = true;
            DiskBackend::new(Arc::clone(&file) as OpenFile, &next).expect_err("the disk fails still");
            DiskBackend::new(Arc::clone(&file) as OpenFile, &next).expect("settled");
            let bytes = file.bytes();
            assert_eq!(bytes.durable, bytes.shown);
            assert_eq!(bytes.durable[..], [vec![1; 50], vec![2; 100]].concat());
            assert!(!mark.exists());
        }
    }

    #[test]
    fn runs_that_touch_or_overlap_are_one() {
        let mut state = State::default();
        for run in [10..20, 30..40, 20..25, 5..6, 0..0, 24..31, 100..200, 120..130, 6..10] {
            state.wrote(run);
        }
        assert_eq!(state.runs(1000), [5..40, 100..200]);
        assert_eq!(state.runs(150), [5..40, 100..150]);
        state.is_all = true;
        assert_eq!(state.runs(150).first(), Some(&(0..150)));
    }
}
