//! Writes and reads past the page cache, for large files.
//!
//! A page of the cache that is touched for the first time costs several times what the disk takes for it (in a virtual
//! machine the host must find the memory). So of a large download one copy goes through it, the store's, which neighbours ask
//! for at once; the user's file, the scrub and deliveries go past it: whole pages straight between the disk and an aligned
//! buffer. What is not aligned, and file systems that refuse, go the ordinary way.
//!
//! Both ways may be mixed in one file: the kernel drops cached pages of a range that is written past the cache, and no
//! byte of a block is read before the write of the block has returned. Should a read-ahead win a race against that, the
//! block's hash says so, as with any rot. Nothing here is durable before the file is synced, whichever way it went.

use crate::aligned::{ALIGNMENT, AlignedBuffer};
use crate::disk::{self, Disk, OpenFile};
use crate::fault::DiskFault;
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes from which a file may go past the cache; smaller ones are read again soon, and cost little.
const SHORTEST: u64 = 64 << 20;

/// Which way written bytes take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writes {
    /// Somebody reads them soon.
    Cached,
    /// Nobody is known to.
    PastCache,
}

/// A file that takes blocks, with its way past the cache if it has one.
pub(crate) struct BlockFile {
    pub(crate) path: PathBuf,
    disk: Arc<dyn Disk>,
    pub(crate) file: RwLock<OpenFile>,
    direct: RwLock<Option<OpenFile>>,
    writes: Writes,
    /// Where the last read through the page cache ended.
    read_to: AtomicU64,
}

impl BlockFile {
    /// The file at `path`, open as `file`, that is to have `length` bytes. It is written through the cache.
    pub(crate) fn new(disk: &Arc<dyn Disk>, path: &Path, file: OpenFile, length: u64) -> Self {
        Self::opened(disk, path, file, (length, Writes::Cached))
    }

    /// The same for one that is written past the cache as well, where it is long enough.
    pub(crate) fn written_past_cache(disk: &Arc<dyn Disk>, path: &Path, file: OpenFile, length: u64) -> Self {
        Self::opened(disk, path, file, (length, Writes::PastCache))
    }

    fn opened(disk: &Arc<dyn Disk>, path: &Path, file: OpenFile, (length, writes): (u64, Writes)) -> Self {
        let direct = if length >= SHORTEST { file.past_cache() } else { None };
        let (disk, file, direct) = (Arc::clone(disk), RwLock::new(file), RwLock::new(direct));
        Self { path: path.to_owned(), disk, file, direct, writes, read_to: AtomicU64::new(0) }
    }

    /// The file at `path` to be read from the medium, whatever its length, where the disk has a way past the cache.
    pub(crate) fn on_medium(disk: &Arc<dyn Disk>, path: &Path, file: OpenFile) -> Self {
        Self::new(disk, path, file, u64::MAX)
    }

    /// The ordinary descriptor: for reads, and to sync what was written either way.
    pub(crate) fn file(&self) -> OpenFile {
        Arc::clone(&self.file.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether what is read once comes past the cache.
    pub(crate) fn is_direct(&self) -> bool {
        self.direct.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether aligned bytes are written past the cache.
    pub(crate) fn is_written_past_cache(&self) -> bool {
        self.writes == Writes::PastCache && self.is_direct()
    }

    /// Opens both descriptors again, after a failed sync (C-08).
    pub(crate) fn reopen(&self) {
        match disk::open(&*self.disk, &self.path) {
            Ok(Some(file)) => {
                let direct = self.is_direct().then(|| file.past_cache()).flatten();
                *self.direct.write().unwrap_or_else(PoisonError::into_inner) = direct;
                *self.file.write().unwrap_or_else(PoisonError::into_inner) = file;
            }
            // The old descriptor stays: what is read through it is hashed, what is written is synced before it counts.
            Ok(None) => tracing::error!(path = %self.path.display(), "a cache file vanished"),
            Err(error) => tracing::error!(%error, "a cache file cannot be opened again"),
        }
    }

    /// Before a read of these bytes: when reads follow each other, lets the disk bring the run behind this one, to lie in the
    /// page cache when this one is hashed. The kernel's own look ahead is shorter than what is hashed at once.
    pub(crate) fn expect_more(&self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        if self.read_to.swap(end, Ordering::Relaxed) == offset {
            self.file().will_need(end, length);
        }
    }

    /// Writes all of `bytes` at `offset`: past the cache, if at all, as far as both are aligned.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
        let past = self.write_direct(bytes, offset).map_err(|e| DiskFault::new("write to", &self.path, e))?;
        disk::write_at(&*self.file(), &self.path, &bytes[past..], offset + past as u64)
    }

    /// Reads `length` bytes at `offset` for somebody who needs them once: past the cache where that can be.
    pub(crate) fn read_once(&self, into: &mut AlignedBuffer, length: usize, offset: u64) -> io::Result<()> {
        let pages = into.prepare(length);
        let direct = self.direct.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(direct) = direct.filter(|_| offset.is_multiple_of(ALIGNMENT as u64)) {
            let mut done = 0;
            while done < length {
                match direct.read_at(&mut pages[done..], offset + done as u64) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => done += count,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    // Refused, or cut at an odd place: once more, the ordinary way.
                    Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
                    Err(e) => return Err(e),
                }
            }
            if done >= length {
                return Ok(());
            }
        }
        self.file().read_exact_at(&mut pages[..length], offset)
    }

    /// Writes what can go past the cache; says how much it was.
    fn write_direct(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let direct = self.direct.read().unwrap_or_else(PoisonError::into_inner).clone();
        let is_aligned = bytes.as_ptr().align_offset(ALIGNMENT) == 0 && offset.is_multiple_of(ALIGNMENT as u64);
        let Some(direct) = direct.filter(|_| is_aligned && self.writes == Writes::PastCache) else { return Ok(0) };
        let whole = bytes.len() - bytes.len() % ALIGNMENT;
        match direct.write_all_at(&bytes[..whole], offset) {
            Ok(()) => Ok(whole),
            // Opened and refused all the same; whatever went through is written again the ordinary way.
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                tracing::debug!(path = %self.path.display(), "no way past the cache");
                *self.direct.write().unwrap_or_else(PoisonError::into_inner) = None;
                Ok(0)
            }
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{DiskFile, RealDisk, RealFile};
    use std::fs::File;

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at / 7 + at) as u8).collect()
    }

    fn block_file(directory: &Path, length: u64) -> BlockFile {
        block_file_of(directory, length, BlockFile::written_past_cache)
    }

    fn block_file_of(
        directory: &Path,
        length: u64,
        opened: fn(&Arc<dyn Disk>, &Path, OpenFile, u64) -> BlockFile,
    ) -> BlockFile {
        let path = directory.join("data");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let file = disk.create(&path).expect("created");
        file.set_length(length).expect("grown");
        opened(&disk, &path, file, length)
    }

    #[test]
    fn what_is_written_either_way_is_read_back() {
        for opened in [BlockFile::written_past_cache, BlockFile::new] {
            let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
            is_read_back(&block_file_of(directory.path(), SHORTEST, opened));
        }
    }

    fn is_read_back(file: &BlockFile) {
        let mut buffer = AlignedBuffer::default();
        buffer.reserve_once(3 * ALIGNMENT);
        let bytes = pattern(2 * ALIGNMENT + 77);
        buffer.extend_from_slice(&bytes);
        // Aligned with a tail, at an odd place, from odd memory.
        for (offset, from) in [(0, 0), (5, 0), (8 * ALIGNMENT as u64, 0), (16 * ALIGNMENT as u64, 1)] {
            file.write_at(&buffer[from..], offset).expect("written");
            let mut read = vec![0; bytes.len() - from];
            file.file().read_exact_at(&mut read, offset).expect("read");
            assert_eq!(read, bytes[from..], "at {offset}");
            let mut once = AlignedBuffer::default();
            file.read_once(&mut once, read.len(), offset).expect("read");
            assert_eq!(*once, read, "at {offset}");
        }
        let beyond = file.read_once(&mut AlignedBuffer::default(), 2 * ALIGNMENT, SHORTEST - 4096).expect_err("short");
        assert_eq!(beyond.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_system_without_a_way_past_the_cache_is_written_the_ordinary_way() {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let file = block_file(directory.path(), SHORTEST);
        let mut buffer = AlignedBuffer::default();
        buffer.reserve_once(ALIGNMENT);
        buffer.extend_from_slice(&pattern(ALIGNMENT));
        file.write_at(&buffer, 0).expect("written");
        let mut read = vec![0; ALIGNMENT];
        file.file().read_exact_at(&mut read, 0).expect("read");
        assert_eq!(read, *buffer);
        let mut once = AlignedBuffer::default();
        file.read_once(&mut once, 77, 3).expect("read");
        assert_eq!(*once, buffer[3..80]);
    }

    #[test]
    fn a_small_file_stays_in_the_cache_and_a_foreign_one_is_not_written() {
        let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
        let small = block_file(directory.path(), SHORTEST - 1);
        assert!(!small.is_direct() && !small.is_written_past_cache());
        let other = directory.path().join("other");
        let file = RealFile::new(Arc::new(File::create(&other).expect("created")), &small.path);
        assert!(file.past_cache().is_none());
    }
}
