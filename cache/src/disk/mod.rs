//! The seam between the store and the disk: everything that the store asks of one, and nothing else.
//!
//! The index, too, reads and writes through it ([`backend`]). So a simulated disk under this seam is under the whole
//! store, and a wrapper around the real one can count operations, refuse one, or end the process at one: what a power
//! cut, a full disk or a dying medium does is tested on the code that runs everywhere.
//!
//! The traits speak [`io::Error`]; the store speaks [`DiskFault`], which names operation and path. The functions here
//! translate.

mod backend;
mod real;

use crate::fault::DiskFault;
use std::any::Any;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use backend::{DiskBackend, Unsynced};
pub use real::{RealDisk, RealFile};

/// An open file of a disk. Clones of the handle share it.
pub type OpenFile = Arc<dyn DiskFile>;

/// A disk: names, files, and the durability of both.
///
/// Nothing is durable before it is synced: bytes by [`DiskFile::sync_bytes`], names by [`Disk::sync_directory`]. An error of
/// a sync means that what was written since the last good one is unknown (C-08).
pub trait Disk: fmt::Debug + Send + Sync {
    /// Makes a directory with its parents, for this user alone; one that is there is restricted to this user.
    fn make_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// Makes a file that must not exist, for this user alone, and opens it to read and write.
    fn create(&self, path: &Path) -> io::Result<OpenFile>;
    /// Opens a file that exists, to read and write.
    fn open(&self, path: &Path) -> io::Result<OpenFile>;
    /// Gives a file another name on the same file system; what stands there goes.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory that are text, in any order.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Bytes of the file at `path`.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// The room on the file system that holds `path`.
    fn volume(&self, path: &Path) -> io::Result<Volume>;
    /// Seconds since 1970, by the clock that stands beside this disk: for display, the order of eviction and the age
    /// of accounts only (C-13).
    fn clock(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
    /// Tries for the lock of a store's directory, without waiting; a lock that is ours is let go when it is dropped, also
    /// by a kill (C-12).
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// An open file. All methods take `&self` and may be called from several threads.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads at `offset`; says how many bytes it were, 0 at the end of the file.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads as [`Self::read_at`] as far as the bytes lie in memory: never waits for the medium. Refused where that cannot be told.
    fn read_cached_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let _ = (into, offset);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Says that these bytes will be read next, so that the disk may bring them meanwhile; they need not exist.
    fn will_need(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }
    /// Writes all of `bytes` at `offset`. After an error any part of them may be written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Bytes of the file.
    fn length(&self) -> io::Result<u64>;
    /// Cuts the file, or lengthens it by a hole.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Gives the file its length with room set aside for it (C-07).
    fn preallocate(&self, length: u64) -> io::Result<()>;
    /// Makes the bytes, and the length that is needed to read them, durable.
    fn sync_bytes(&self) -> io::Result<()>;
    /// Makes everything about the file durable.
    fn sync_all(&self) -> io::Result<()>;
    /// The same file once more, past the page cache, where the disk has such a way.
    fn past_cache(&self) -> Option<OpenFile> {
        None
    }
    /// Gives the empty file `into` of this machine the extents of this one, so that both have the same bytes and neither is
    /// copied; refused where the disk, or the way between the two, has no such thing.
    fn share_extents(&self, into: &File) -> io::Result<()> {
        let _ = into;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Reads until `into` is full; a file that ends before is [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        match read_up_to(self, into, offset)? {
            all if all == into.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
    /// The same into a vector, which has `length` bytes then; after an error it has any.
    fn read_exact_into(&self, into: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        // Keeps the vector's length where it can: zeroing it for each run would cost a pass over memory.
        into.resize(length, 0);
        self.read_exact_at(into, offset)
    }
}

/// What a try for a lock gave.
pub enum Lock {
    /// Ours for as long as this lives.
    Ours(Box<dyn Any + Send + Sync>),
    /// Another process has it, and wrote its id down if it got that far.
    Theirs(Option<u32>),
}

/// Room on a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume {
    /// All of it.
    pub total: u64,
    /// What this user may still take.
    pub available: u64,
}

/// Reads until the buffer is full or the file ends; says how much it was.
fn read_up_to<F: DiskFile + ?Sized>(file: &F, into: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// The refusal of `operation` on `path`.
fn fault<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DiskFault + 'a {
    move |error| DiskFault::new(operation, path, error)
}

/// [`Disk::lock`]
pub(crate) fn lock(disk: &dyn Disk, path: &Path) -> Result<Lock, DiskFault> {
    disk.lock(path).map_err(fault("lock", path))
}

/// [`Disk::make_directory`]
pub(crate) fn make_directory(disk: &dyn Disk, path: &Path) -> Result<(), DiskFault> {
    disk.make_directory(path).map_err(fault("make the directory", path))
}

/// [`Disk::sync_directory`] (C-02: the omission shows in 41 % of power cuts).
pub(crate) fn sync_directory(disk: &dyn Disk, path: &Path) -> Result<(), DiskFault> {
    disk.sync_directory(path).map_err(fault("make durable", path))
}

/// [`Disk::create`] (C-06: names are never used twice).
pub(crate) fn create(disk: &dyn Disk, path: &Path) -> Result<OpenFile, DiskFault> {
    disk.create(path).map_err(fault("create", path))
}

/// [`Disk::open`]; `None` when there is no such file.
pub(crate) fn open(disk: &dyn Disk, path: &Path) -> Result<Option<OpenFile>, DiskFault> {
    unless_missing(disk.open(path)).map_err(fault("open", path))
}

/// [`Disk::rename`]
pub(crate) fn rename(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), DiskFault> {
    disk.rename(from, to).map_err(fault("rename", from))
}

/// [`Disk::unlink`]; a file that is already gone is no fault, nor is a directory in its place: that is not ours.
pub(crate) fn unlink(disk: &dyn Disk, path: &Path) -> Result<(), DiskFault> {
    match unless_missing(disk.unlink(path)) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            tracing::warn!(path = %path.display(), "a directory stands where a file of the cache should: left alone");
            Ok(())
        }
        other => other.map(|_| ()).map_err(fault("remove", path)),
    }
}

/// [`Disk::list`]; nothing when there is no such directory, nor when something else has its name: then it is not ours.
pub(crate) fn list(disk: &dyn Disk, directory: &Path) -> Result<Vec<String>, DiskFault> {
    Ok(unless_missing(disk.list(directory)).map_err(fault("list", directory))?.unwrap_or_default())
}

/// [`Disk::length`]; `None` when nothing has that name.
pub(crate) fn length(disk: &dyn Disk, path: &Path) -> Result<Option<u64>, DiskFault> {
    unless_missing(disk.length(path)).map_err(fault("measure", path))
}

/// [`Disk::volume`]
pub(crate) fn volume(disk: &dyn Disk, path: &Path) -> Result<Volume, DiskFault> {
    disk.volume(path).map_err(fault("ask the room of", path))
}

/// [`DiskFile::preallocate`], so that a full disk shows when a file is made and not in mid-write (C-07).
pub(crate) fn preallocate(file: &dyn DiskFile, path: &Path, length: u64) -> Result<(), DiskFault> {
    if length == 0 {
        return Ok(());
    }
    file.preallocate(length).map_err(fault("set room aside for", path))
}

/// [`DiskFile::sync_bytes`]
pub(crate) fn sync_bytes(file: &dyn DiskFile, path: &Path) -> Result<(), DiskFault> {
    file.sync_bytes().map_err(fault("make durable", path))
}

/// [`DiskFile::sync_all`]
pub(crate) fn sync_all(file: &dyn DiskFile, path: &Path) -> Result<(), DiskFault> {
    file.sync_all().map_err(fault("make durable", path))
}

/// [`DiskFile::write_all_at`]
pub(crate) fn write_at(file: &dyn DiskFile, path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
    file.write_all_at(bytes, offset).map_err(fault("write to", path))
}

/// Reads until the buffer is full or the file ends; says how much it was.
pub(crate) fn read_some_at(file: &dyn DiskFile, path: &Path, into: &mut [u8], offset: u64) -> Result<usize, DiskFault> {
    read_up_to(file, into, offset).map_err(fault("read", path))
}

/// What is not there is an answer, not an error; nor is anything there below what is no directory.
fn unless_missing<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}
