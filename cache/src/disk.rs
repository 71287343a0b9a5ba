//! The few file operations of the store, each with the durability that it promises.

use crate::fault::DiskFault;
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Mode of every file of the store: the node's user alone.
const FILE_MODE: u32 = 0o600;
/// Mode of every directory of the store.
const DIRECTORY_MODE: u32 = 0o700;

/// What a try for the directory's lock gave.
pub(crate) enum Locked {
    /// Ours until the file is closed, also by a kill (C-12).
    Ours(File),
    /// Another process has it, and wrote its id into the file if it got that far.
    Theirs(Option<u32>),
}

/// Takes the lock of a store's directory and writes our process id into it.
pub(crate) fn lock(path: &Path) -> Result<Locked, DiskFault> {
    let fault = |operation| move |e: std::io::Error| DiskFault::new(operation, path, e);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
        .map_err(fault("open the lock"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut text = String::new();
            // The holder's id is a courtesy of the message; without it the refusal stands all the same.
            let _ = file.take(32).read_to_string(&mut text);
            return Ok(Locked::Theirs(text.trim().parse().ok()));
        }
        Err(e) => return Err(DiskFault::new("lock", path, e)),
    }
    file.set_len(0).map_err(fault("write the lock"))?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(fault("write the lock"))?;
    Ok(Locked::Ours(file))
}

/// Lets the lock go, also when a copy of the file is still open somewhere.
pub(crate) fn unlock(lock: &File) {
    if let Err(error) = rustix::fs::flock(lock, FlockOperation::Unlock) {
        tracing::debug!(%error, "the lock goes with its file");
    }
}

/// Makes a directory of the store, with its parents, for the node's user alone.
pub(crate) fn make_directory(path: &Path) -> Result<(), DiskFault> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
        .map_err(|e| DiskFault::new("make the directory", path, e))?;
    // `create` keeps the mode of a directory that was there before.
    fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
        .map_err(|e| DiskFault::new("restrict the directory", path, e))
}

/// Makes a new file that must not exist (C-06: names are never used twice).
pub(crate) fn create(path: &Path) -> Result<File, DiskFault> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .map_err(|e| DiskFault::new("create", path, e))
}

/// Opens an existing file of the store; `None` when it is not there.
pub(crate) fn open(path: &Path) -> Result<Option<File>, DiskFault> {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DiskFault::new("open", path, e)),
    }
}

/// Gives the file its full length with blocks set aside for it, so that a full disk shows now and not in mid-write (C-07).
pub(crate) fn preallocate(file: &File, path: &Path, length: u64) -> Result<(), DiskFault> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, length) {
        Ok(()) => Ok(()),
        // Not every file system can; then the length is set and the blocks come with the writes.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            file.set_len(length).map_err(|e| DiskFault::new("set the length of", path, e))
        }
        Err(e) => Err(DiskFault::new("set room aside for", path, e)),
    }
}

/// Makes the file's bytes durable (not its times).
pub(crate) fn sync_bytes(file: &File, path: &Path) -> Result<(), DiskFault> {
    rustix::fs::fdatasync(file).map_err(|e| DiskFault::new("make durable", path, e))
}

/// Makes the file's bytes and length durable.
pub(crate) fn sync_all(file: &File, path: &Path) -> Result<(), DiskFault> {
    file.sync_all().map_err(|e| DiskFault::new("make durable", path, e))
}

/// Makes the names in a directory durable (C-02: the omission shows in 41 % of power cuts).
pub(crate) fn sync_directory(path: &Path) -> Result<(), DiskFault> {
    let directory = File::open(path).map_err(|e| DiskFault::new("open the directory", path, e))?;
    sync_all(&directory, path)
}

/// Writes all of `bytes` at `offset`.
pub(crate) fn write_at(file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
    file.write_all_at(bytes, offset).map_err(|e| DiskFault::new("write to", path, e))
}

/// Removes a file; one that is already gone is no fault.
pub(crate) fn unlink(path: &Path) -> Result<(), DiskFault> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(DiskFault::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Total and available bytes of the file system that holds `path`.
pub(crate) struct Volume {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

/// Asks the file system for its room.
pub(crate) fn volume(path: &Path) -> Result<Volume, DiskFault> {
    let stat = rustix::fs::statvfs(path).map_err(|e| DiskFault::new("ask the room of", path, e))?;
    let unit = stat.f_frsize;
    Ok(Volume { total: stat.f_blocks.saturating_mul(unit), available: stat.f_bavail.saturating_mul(unit) })
}
