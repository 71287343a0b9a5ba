//! Runs of a large file that are written behind the writer's back: what the disk refuses is told, given back and counted, whichever
//! run it was, and nothing beside it is lost.

use crate::support::*;
use eddy_cache::disk::{Disk, DiskFile, Lock, OpenFile, RealDisk, Volume};
use eddy_cache::{EntityHandle, LedgerRow, RunWriter, Source, Store, WriteError};
use eddy_content::BlockSet;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// Long enough that a mirror is written past the page cache, with an odd end.
const BLOCKS: u32 = 1100;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 777;

/// The real disk, which refuses one write of content.
#[derive(Debug, Clone, Default)]
struct RefusingDisk {
    /// How many such writes go well before that one.
    before: Arc<AtomicI64>,
    /// What was refused: where it was to go, and how many bytes.
    refused: Arc<Mutex<Option<Range<u64>>>>,
}

impl RefusingDisk {
    fn file(&self, path: &Path, opened: io::Result<OpenFile>) -> io::Result<OpenFile> {
        let is_content = path.extension().is_some_and(|kind| kind == "data");
        Ok(Arc::new(RefusingFile { disk: self.clone(), file: opened?, is_content }))
    }
}

impl Disk for RefusingDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_directory(path)
    }

    fn create(&self, path: &Path) -> io::Result<OpenFile> {
        self.file(path, RealDisk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<OpenFile> {
        self.file(path, RealDisk.open(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        RealDisk.unlink(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        RealDisk.length(path)
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        RealDisk.volume(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        RealDisk.lock(path)
    }
}

#[derive(Debug)]
struct RefusingFile {
    disk: RefusingDisk,
    file: OpenFile,
    is_content: bool,
}

impl DiskFile for RefusingFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.is_content && self.disk.before.fetch_sub(1, Ordering::Relaxed) == 0 {
            *self.disk.refused.lock().expect("not poisoned") = Some(offset..offset + bytes.len() as u64);
            return Err(io::Error::other("a bad sector"));
        }
        self.file.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.file.preallocate(length)
    }

    fn sync_bytes(&self) -> io::Result<()> {
        self.file.sync_bytes()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn past_cache(&self) -> Option<OpenFile> {
        self.file.past_cache()
    }
}

/// Whether a writer has a second file to fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    /// None: it writes as it hashes.
    One,
    /// The user's, past the cache: runs are written behind its back.
    Two,
}

fn writer(directory: &TempDir, handle: &EntityHandle, source: Source, copies: Copies) -> RunWriter {
    let writer = handle.writer(0, source, ACCOUNT);
    match copies {
        Copies::One => writer,
        Copies::Two => {
            let path = directory.path().join("the user's");
            let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).expect("made");
            writer.mirror(Arc::new(handle.mirror(&path, file).expect("a mirror")))
        }
    }
}

/// A large entity of which nothing is here yet, on a disk that refuses the write of content number `refused`.
fn begun(refused: i64) -> (TempDir, RefusingDisk, Store, EntityHandle) {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    let disk = RefusingDisk { before: Arc::new(AtomicI64::new(refused)), ..RefusingDisk::default() };
    let store = Store::open_on(config(directory.path()), Arc::new(disk.clone())).expect("the store opens");
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    (directory, disk, store, handle)
}

/// Bytes that came for the entity, and whether every column closes.
fn received(store: &Store) -> u64 {
    let rows = store.ledger().expect("the ledger");
    assert!(rows.iter().all(LedgerRow::closes), "{rows:?}");
    let of_file = |row: &LedgerRow| match row {
        LedgerRow::File { balance, .. } => balance.origin.received,
        _ => 0,
    };
    rows.iter().map(of_file).sum()
}

#[test]
fn a_run_that_the_disk_refuses_is_told_and_all_others_are_kept() {
    // The first, one in the middle, and one of the last two; or, in smaller runs, one where writing behind would be half done.
    for (refused, copies) in
        [0, 62, 136].into_iter().flat_map(|refused| [(refused, Copies::One), (refused, Copies::Two)])
    {
        let (directory, disk, store, handle) = begun(refused);
        let mut writer = writer(&directory, &handle, ORIGIN, copies);
        let bytes = blocks_of(1, &handle.geometry(), 0..BLOCKS);
        let mut pushed = 0;
        let told = bytes.chunks(300_000).find_map(|part| {
            pushed += part.len() as u64;
            writer.push(part).err()
        });
        let told = match told {
            Some(error) => error,
            None => writer.finish().expect_err("told in the end at the latest"),
        };
        assert!(matches!(told, WriteError::Disk(_)), "{told}");
        let place = disk.refused.lock().expect("not poisoned").clone().expect("refused");
        let kept = handle.commit().expect("committed");
        let missing = BlockSet::from_run(0..BLOCKS).difference(&kept);
        let runs: Vec<Range<u32>> = missing.runs().collect();
        assert_eq!(u64::from(runs[0].start) * BLOCK as u64, place.start, "the run that was refused");
        assert!(runs[0].end == BLOCKS || runs[0].end - runs[0].start == 8, "all of it, and no more: {runs:?}");
        assert!(runs[1..].iter().all(|run| run.end == BLOCKS), "and what was not taken after it: {runs:?}");
        assert_eq!(received(&store), pushed, "run {refused}, {copies:?}: every byte is accounted for");
        runs.into_iter().for_each(|run| write(&handle, 1, run));
        handle.commit().expect("committed");
        assert!(handle.is_complete());
        assert_all_held_are_right(&handle, 1);
    }
}

#[test]
fn a_wrong_block_ends_a_large_fetch_and_every_right_one_before_it_is_kept() {
    for copies in [Copies::One, Copies::Two] {
        right_ones_are_kept(copies);
    }
}

fn right_ones_are_kept(copies: Copies) {
    let (directory, _disk, store, handle) = begun(i64::MAX);
    let geometry = handle.geometry();
    let mut bytes = blocks_of(1, &geometry, 0..100);
    bytes[70 * BLOCK + 3] ^= 4;
    let mut writer = writer(&directory, &handle, PEER, copies).expect(hashes_of(1, &geometry, 0..100));
    let error = bytes.chunks(100_000).find_map(|part| writer.push(part).err()).expect("refused");
    assert!(matches!(error, WriteError::WrongBlock { block: 70, from: PEER }), "{error}");
    assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..70));
    assert_all_held_are_right(&handle, 1);
    received(&store);
}

#[test]
fn a_writer_that_is_dropped_leaves_its_whole_blocks() {
    for copies in [Copies::One, Copies::Two] {
        let (directory, _disk, store, handle) = begun(i64::MAX);
        let mut writer = writer(&directory, &handle, ORIGIN, copies);
        writer.push(&content(1, 0..50 * BLOCK as u64 + 5)).expect("pushed");
        drop(writer);
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..50));
        assert_eq!(received(&store), 50 * BLOCK as u64 + 5);
    }
}

/// The writers of one file share the threads: what befalls one of them is told to that one.
#[test]
fn of_many_writers_into_one_file_only_the_one_whose_run_is_refused_is_told() {
    const WRITERS: u32 = 10;
    const EACH: u32 = BLOCKS / WRITERS;
    let (directory, disk, store, handle) = begun(40);
    let path = directory.path().join("the user's");
    let mirror = Arc::new(handle.mirror(&path, File::create_new(&path).expect("made")).expect("a mirror"));
    let fetch = |blocks: Range<u32>| {
        let mut writer = handle.writer(blocks.start, ORIGIN, ACCOUNT).mirror(Arc::clone(&mirror));
        let bytes = blocks_of(1, &handle.geometry(), blocks);
        bytes.chunks(100_000).find_map(|part| writer.push(part).err()).or_else(|| writer.finish().err())
    };
    let told: Vec<WriteError> = std::thread::scope(|scope| {
        let part = |number| scope.spawn(move || fetch(number * EACH..(number + 1) * EACH));
        let parts: Vec<_> = (0..WRITERS).map(part).collect();
        parts.into_iter().filter_map(|part| part.join().expect("no panic")).collect()
    });
    assert!(matches!(told.as_slice(), [WriteError::Disk(_)]), "{told:?}");
    let place = disk.refused.lock().expect("not poisoned").clone().expect("refused");
    let kept = handle.commit().expect("committed");
    let missing: Vec<Range<u32>> = BlockSet::from_run(0..BLOCKS).difference(&kept).runs().collect();
    let unlucky = (place.start / BLOCK as u64) as u32 / EACH;
    assert!(missing.iter().all(|run| run.start / EACH == unlucky && run.end <= (unlucky + 1) * EACH), "{missing:?}");
    assert!(missing.iter().any(|run| u64::from(run.start) * BLOCK as u64 == place.start), "{missing:?}, {place:?}");
    // When all of them were done the threads ended; who comes now has new ones.
    for run in missing {
        assert!(fetch(run).is_none());
    }
    handle.commit().expect("committed");
    assert!(handle.is_complete());
    assert_all_held_are_right(&handle, 1);
    assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..BLOCKS));
    received(&store);
}
