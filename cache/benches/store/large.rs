//! A gibibyte each way, beside the same bytes without any of what the store is for, pair by pair in one run.

use crate::kit::{ACCOUNT, ORIGIN, directory, judge, median, new_entity, noise, number, open};
use eddy_cache::{EntityHandle, RunWriter};
use memmap2::MmapMut;
use rustix::fs::{Advice, FallocateFlags, OFlags};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one push, one write and one read.
const CHUNK: usize = 1 << 20;
/// Bytes that a delivery reads at once.
const DELIVERED: usize = 2 << 20;

/// Writes the file into the store while another thread commits whenever that is due; all is acknowledged in the end.
fn write_into(handle: &EntityHandle, chunk: &[u8]) {
    write_all(handle, handle.writer(0, ORIGIN, ACCOUNT), chunk);
}

/// The same with a second copy for the user, as a job does it, durable as well.
fn write_twice(handle: &EntityHandle, path: &Path, chunk: &[u8]) {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).expect("opened");
    let mirror = Arc::new(handle.mirror(path, file).expect("a mirror"));
    write_all(handle, handle.writer(0, ORIGIN, ACCOUNT).mirror(Arc::clone(&mirror)), chunk);
    mirror.file().sync_all().expect("durable");
}

fn write_all(handle: &EntityHandle, mut writer: RunWriter, chunk: &[u8]) {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let committer = scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                if handle.is_commit_due() {
                    handle.commit().expect("committed");
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        for _ in 0..handle.geometry().length() / CHUNK as u64 {
            writer.push(chunk).expect("pushed");
        }
        writer.finish().expect("finished");
        is_done.store(true, Ordering::Relaxed);
        committer.thread().unpark();
    });
    handle.commit().expect("committed");
    assert!(handle.is_complete());
}

/// Writes the same bytes into a preallocated file and makes them durable, and no more.
fn write_plainly(path: &Path, length: u64, chunk: &[u8], way: Way) {
    let file = way.open(path);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, length).expect("set aside");
    let aligned = Aligned::of(chunk);
    for at in (0..length).step_by(CHUNK) {
        file.write_all_at(aligned.bytes(), at).expect("written");
    }
    file.sync_data().expect("durable");
}

/// Whether the page cache is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Cached,
    Past,
}

impl Way {
    fn open(self, path: &Path) -> File {
        let flags = if self == Self::Past { OFlags::DIRECT.bits().cast_signed() } else { 0 };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(flags).open(path).expect("opened")
    }
}

/// A chunk that begins at a page's beginning.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn of(chunk: &[u8]) -> Self {
        let mut bytes = vec![0; chunk.len() + 4096];
        let start = bytes.as_ptr().align_offset(4096).min(4096);
        bytes[start..start + chunk.len()].copy_from_slice(chunk);
        Self { bytes, start }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + CHUNK]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + CHUNK]
    }
}

fn read_plainly(path: &Path, length: u64, way: Way) {
    let file = way.open(path);
    let mut chunk = Aligned::of(&vec![0; CHUNK]);
    for at in (0..length).step_by(CHUNK) {
        file.read_exact_at(chunk.bytes_mut(), at).expect("read");
    }
}

/// The best that one thread gets from the disk without anything done to it: into a huge page, as the store reads.
fn read_at_best(path: &Path, length: u64) {
    let file = Way::Past.open(path);
    let mut map = MmapMut::map_anon(2 * DELIVERED).expect("mapped");
    map.advise(memmap2::Advice::HugePage).expect("advised");
    let start = map.as_ptr().align_offset(DELIVERED);
    for at in (0..length).step_by(DELIVERED) {
        file.read_exact_at(&mut map[start..start + DELIVERED], at).expect("read");
    }
}

/// Reads and verifies all: as a delivery does, past the cache, or as a peer's request does, through it.
fn read_from(handle: &EntityHandle, way: Way) {
    let bytes = if way == Way::Past { DELIVERED } else { CHUNK };
    let run = (bytes as u64 / eddy_content::BLOCK_SIZE) as u32;
    let all = handle.geometry().block_count();
    let (mut reader, mut bytes) = (handle.reader(), Vec::new());
    for first in (0..all).step_by(run as usize) {
        let blocks = first..all.min(first + run);
        match way {
            Way::Past => drop(reader.read(blocks).expect("read")),
            Way::Cached => handle.read_run(blocks, &mut bytes).expect("read"),
        }
    }
}

/// The seconds of some work, on a thread of its own: where a thread and its memory lie decides a good part of what a read past the
/// cache costs. So each side draws its lot anew in each pair, and neither keeps a good or a bad one for the whole run.
fn time(work: impl FnOnce() + Send) -> f64 {
    let work = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| scope.spawn(work).join()).expect("the work went well")
}

/// Drops a file's pages from the cache.
fn forget_pages(path: &Path) {
    let file = File::open(path).expect("opened");
    file.sync_all().expect("durable");
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
}

/// Compares pair by pair: `(ours, plain)` in seconds, first the one, then the other way round.
fn compare(what: &str, bound: f64, mut pair: impl FnMut(u64) -> (f64, f64)) {
    let pairs = number("EDDY_BENCH_PAIRS", 5);
    let (mut ratios, mut ours, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..pairs {
        let (mine, theirs) = pair(round);
        ratios.push(theirs / mine);
        ours.push(mine);
        plain.push(theirs);
    }
    let all = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect::<Vec<_>>().join(" ");
    let (ratio, mine, theirs) = (median(&mut ratios), median(&mut ours), median(&mut plain));
    println!("{what}: {mine:.2} s against {theirs:.2} s; {ratio:.2} times the speed (pairs: {all})");
    // Sorted by now. On a machine that others use the best of many is nearest to what a quiet one would show.
    println!("   at best {:.2} s against {:.2} s: {:.2} times", ours[0], plain[0], plain[0] / ours[0]);
    judge(&format!("at least {bound} times the speed"), ratio >= bound);
}

fn data_file(directory: &Path) -> PathBuf {
    let shard =
        std::fs::read_dir(directory.join("entities")).expect("a listing").next().expect("one").expect("an entry");
    let mut files = std::fs::read_dir(shard.path()).expect("a listing").map(|entry| entry.expect("an entry").path());
    files.find(|path| path.extension().is_some_and(|kind| kind == "data")).expect("the data file")
}

/// A job's way: the store's copy and the user's in one pass, beside two plain ones.
fn twice(length: u64, chunk: &[u8]) {
    compare("write with hashing and commits and the user's copy, against two of write + fdatasync", 0.9, |round| {
        let directory = directory();
        let plain = || {
            time(|| {
                for name in ["plain", "plain too"] {
                    write_plainly(&directory.path().join(name), length, chunk, Way::Cached);
                }
            })
        };
        let ours = || {
            let store = open(&directory.path().join("store"));
            let copy = directory.path().join("copy");
            time(|| write_twice(&store.begin(new_entity(1, length)).expect("admitted"), &copy, chunk))
        };
        if round % 2 == 0 {
            (ours(), plain())
        } else {
            let plain = plain();
            (ours(), plain)
        }
    });
}

pub(crate) fn run() {
    let length = number("EDDY_BENCH_MIB", 1024) << 20;
    let chunk = noise(CHUNK);
    for (what, way) in [
        ("write with hashing and commits, against write + fdatasync", Way::Cached),
        ("the same against O_DIRECT + fdatasync", Way::Past),
    ] {
        compare(what, 0.9, |round| {
            let directory = directory();
            let plain = || time(|| write_plainly(&directory.path().join("plain"), length, &chunk, way));
            let ours = || {
                let store = open(&directory.path().join("store"));
                // Admission is part of it: the plain file is made and set aside as well.
                time(|| write_into(&store.begin(new_entity(1, length)).expect("admitted"), &chunk))
            };
            if round % 2 == 0 {
                (ours(), plain())
            } else {
                let plain = plain();
                (ours(), plain)
            }
        });
    }

    twice(length, &chunk);

    let directory = directory();
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, length)).expect("admitted");
    write_into(&handle, &chunk);
    let data = data_file(directory.path());
    let pair = |round: u64, way: Way, before: &dyn Fn(), plainly: &(dyn Fn() + Sync)| {
        let ours = || {
            before();
            time(|| read_from(&handle, way))
        };
        let plain = || {
            before();
            time(plainly)
        };
        if round.is_multiple_of(2) {
            (ours(), plain())
        } else {
            let plain = plain();
            (ours(), plain)
        }
    };
    let (past, cached) = (|| read_plainly(&data, length, Way::Past), || read_plainly(&data, length, Way::Cached));
    compare("read with verification past the cache, against O_DIRECT", 0.8, |round| {
        pair(round, Way::Past, &|| {}, &past)
    });
    compare("the same against O_DIRECT into a huge page", 0.8, |round| {
        pair(round, Way::Past, &|| {}, &|| read_at_best(&data, length))
    });
    compare("read with verification from the disk through the cache", 0.8, |round| {
        pair(round, Way::Cached, &|| forget_pages(&data), &cached)
    });
    cached();
    compare("read with verification of what is in the cache", 0.8, |round| pair(round, Way::Cached, &|| {}, &cached));
}
