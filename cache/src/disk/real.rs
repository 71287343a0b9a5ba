//! The disk of this machine, through the system's calls.

use super::{Disk, DiskFile, Lock, OpenFile, Volume};
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, FlockOperation, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSliceMut, Read, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mode of every file of the store: the node's user alone.
const FILE_MODE: u32 = 0o600;
/// Mode of every directory of the store.
const DIRECTORY_MODE: u32 = 0o700;

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

/// A file of this machine, and the path under which it was opened.
#[derive(Debug, Clone)]
pub struct RealFile {
    file: Arc<File>,
    path: PathBuf,
}

impl RealFile {
    /// The file that is open as `file` and stands at `path`.
    #[must_use]
    pub fn new(file: Arc<File>, path: impl Into<PathBuf>) -> Self {
        Self { file, path: path.into() }
    }

    fn open(options: &mut OpenOptions, path: &Path) -> io::Result<OpenFile> {
        let file = options.read(true).write(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(Self::new(Arc::new(file), path)))
    }
}

impl Disk for RealDisk {
    fn make_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        // `create` keeps the mode of a directory that was there before.
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn create(&self, path: &Path) -> io::Result<OpenFile> {
        RealFile::open(OpenOptions::new().create_new(true), path)
    }

    fn open(&self, path: &Path) -> io::Result<OpenFile> {
        RealFile::open(&mut OpenOptions::new(), path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        let stat = rustix::fs::statvfs(path)?;
        let unit = stat.f_frsize;
        Ok(Volume { total: stat.f_blocks.saturating_mul(unit), available: stat.f_bavail.saturating_mul(unit) })
    }

    /// Takes the lock and writes this process's id into it.
    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // The holder's id is a courtesy of the message; without it the refusal stands all the same.
                let _ = file.take(32).read_to_string(&mut text);
                return Ok(Lock::Theirs(text.trim().parse().ok()));
            }
            Err(e) => return Err(e.into()),
        }
        let lock = FileLock(file.try_clone()?);
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        Ok(Lock::Ours(Box::new(lock)))
    }
}

/// A held lock.
struct FileLock(File);

impl Drop for FileLock {
    /// Said, not left to closing the file: a child that is being forked just now holds a copy of it for a moment.
    fn drop(&mut self) {
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::debug!(%error, "the lock goes with its file");
        }
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn read_cached_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut into = [IoSliceMut::new(into)];
        Ok(rustix::io::preadv2(&*self.file, &mut into, offset, ReadWriteFlags::NOWAIT)?)
    }

    /// Memory that is made for it is not zeroed first: that would be one pass more over each block that is given.
    fn read_exact_into(&self, into: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        if into.capacity() >= length {
            into.resize(length, 0);
            return self.read_exact_at(into, offset);
        }
        *into = Vec::with_capacity(length);
        while into.len() < length {
            let at = offset + into.len() as u64;
            match rustix::io::pread(&*self.file, spare_capacity(into), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // An allocator may have given more than was asked for.
        into.truncate(length);
        Ok(())
    }

    fn will_need(&self, offset: u64, length: u64) {
        let Some(length) = NonZeroU64::new(length) else { return };
        // A hint: what the kernel makes of it shows in the read that follows.
        let _ = rustix::fs::fadvise(&*self.file, offset, Some(length), Advice::WillNeed);
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, length) {
            // Not every file system can; then the length is set and the blocks come with the writes.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.file.set_len(length),
            other => Ok(other?),
        }
    }

    fn sync_bytes(&self) -> io::Result<()> {
        Ok(rustix::fs::fdatasync(&self.file)?)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn share_extents(&self, into: &File) -> io::Result<()> {
        Ok(rustix::fs::ioctl_ficlone(into, &*self.file)?)
    }

    /// `None` where the file system has no such way (tmpfs), or another file stands at the path.
    fn past_cache(&self) -> Option<OpenFile> {
        let flags = OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = flags.bits().cast_signed();
        let direct = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&self.path).ok()?;
        let (ours, theirs) = (self.file.metadata().ok()?, direct.metadata().ok()?);
        let is_same = ours.dev() == theirs.dev() && ours.ino() == theirs.ino();
        is_same.then(|| Arc::new(Self::new(Arc::new(direct), &self.path)) as OpenFile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_has_just_what_stands_there_however_much_it_had() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        fs::write(&path, &bytes).expect("written");
        let file = RealFile::new(Arc::new(File::open(&path).expect("opens")), &path);
        let with_room = |length, capacity| {
            let mut into = Vec::with_capacity(capacity);
            into.resize(length, 1);
            into
        };
        for mut into in [with_room(0, 0), with_room(10, 20), with_room(10, 200_000), with_room(200_000, 200_000)] {
            file.read_exact_into(&mut into, 65_536, 300).expect("read");
            assert!(into == bytes[300..65_836]);
        }
        for mut into in [with_room(0, 0), with_room(70_000, 70_000)] {
            let error = file.read_exact_into(&mut into, 65_536, 40_000).expect_err("it ends before");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
