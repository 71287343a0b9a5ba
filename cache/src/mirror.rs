//! A second place for the verified blocks of an entity: the file that will become the user's.
//!
//! Reading a whole download again only to copy it would cost a second pass over disk and hash. So a writer that was told
//! of a mirror writes each run there too, while it is hot: after it was hashed and verified and found its place in the
//! store, before it counts there. A mirror never holds a byte that the store's hashes do not speak of (T-01): once
//! the store takes back anything that it believed (a failed sync, rot), everything in the mirror is doubted as well.
//!
//! A mirror is a courtesy: when its disk refuses, it takes nothing more and the store does not notice. What it lacks is
//! copied in the end by whoever needs the file, and that one reports what the disk says.

use crate::behind::WriteThreads;
use crate::content::MOST_IN_INDEX;
use crate::direct::BlockFile;
use crate::disk::{self, Disk, OpenFile, RealDisk, RealFile};
use crate::entity::Shared;
use crate::fault::DiskFault;
use eddy_content::{BlockSet, EntityId};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A file that gets each verified block of one entity as it comes. Nothing in it is durable before it is synced.
pub struct Mirror {
    entity: EntityId,
    /// How often the store had taken something back when the mirror was made.
    retractions: u64,
    /// What stands at the path, for whoever seals it.
    part: Arc<File>,
    file: BlockFile,
    blocks: Mutex<BlockSet>,
    is_broken: AtomicBool,
    /// Who writes large runs, as long as a writer needs them.
    threads: Mutex<Weak<WriteThreads>>,
}

impl Mirror {
    /// Begins the empty `file` that stands at `path`: with the extents of a whole entity where the file system can share them,
    /// else with room set aside, unless it is one block.
    pub(crate) fn new(shared: &Shared, path: &Path, file: File) -> Result<Self, DiskFault> {
        let length = shared.geometry.length();
        // Before the look at the blocks: what is taken back from here on makes them doubtful.
        let retractions = shared.blocks().retractions();
        let part = Arc::new(file);
        let has_extents = shared.share_extents(&part);
        let file: OpenFile = Arc::new(RealFile::new(Arc::clone(&part), path));
        // What is written at once needs no room before: setting it aside would cost a small file more than its bytes.
        if !has_extents && length > MOST_IN_INDEX {
            disk::preallocate(&*file, path, length)?;
        }
        // The user's file is on the disk of this machine, whatever the store is on.
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let file = BlockFile::written_past_cache(&disk, path, file, length);
        let blocks = Mutex::new(if has_extents { shared.right_blocks(&file) } else { BlockSet::new() });
        let (is_broken, threads) = (AtomicBool::new(false), Mutex::default());
        Ok(Self { entity: shared.id, retractions, part, file, blocks, is_broken, threads })
    }

    /// Writes what is missing, as a [`crate::RunReader`] gave it.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
        self.file.write_at(bytes, offset)
    }

    /// The file, to sync it.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.part)
    }

    /// Whether runs should come from aligned memory.
    pub(crate) fn is_written_past_cache(&self) -> bool {
        self.file.is_written_past_cache()
    }

    /// The threads that write for all writers into this file; `None` when the system has none to give.
    pub(crate) fn threads(&self) -> Option<Arc<WriteThreads>> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let running = threads.upgrade().or_else(WriteThreads::start)?;
        *threads = Arc::downgrade(&running);
        Some(running)
    }

    /// Takes blocks that have been verified and are written in the store.
    pub(crate) fn put(&self, blocks: Range<u32>, bytes: &[u8], offset: u64) {
        if self.is_broken.load(Ordering::Relaxed) {
            return;
        }
        match self.file.write_at(bytes, offset) {
            Ok(()) => self.blocks.lock().unwrap_or_else(PoisonError::into_inner).insert(blocks),
            Err(error) => {
                self.is_broken.store(true, Ordering::Relaxed);
                tracing::debug!(%error, "a mirror takes nothing more: the rest is copied in the end");
            }
        }
    }

    /// The blocks that the file has, as the store now knows them.
    pub(crate) fn blocks(&self, shared: &Shared) -> BlockSet {
        let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = shared.blocks();
        if self.entity != shared.id || self.retractions != state.retractions() {
            return BlockSet::new();
        }
        blocks.intersection(&state.held)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("entity", &self.entity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Account, EntityHandle, NewEntity, Quota, Reserve, Source, Store, StoreConfig};
    use eddy_content::BLOCK_SIZE;

    /// A store, an entity of twelve blocks in it, and a mirror of that.
    fn begun(directory: &Path) -> (Store, EntityHandle, Arc<Mirror>) {
        let (directory, path) = (directory.join("store"), directory.join("part"));
        let config = StoreConfig { directory, quota: Quota::Bytes(1 << 30), reserve: Reserve::Bytes(0) };
        let store = Store::open(config).expect("opens");
        let handle = store.begin(NewEntity::numbered(1, 12 * BLOCK_SIZE)).expect("admitted");
        let mirror = handle.mirror(&path, File::create_new(&path).expect("created")).expect("room");
        (store, handle, Arc::new(mirror))
    }

    #[test]
    fn all_writers_of_a_mirror_have_the_same_threads_until_the_last_one_is_done() {
        let directory = tempfile::tempdir().expect("a directory");
        let (_store, _handle, mirror) = begun(directory.path());
        let writers = [0; 40].map(|_| mirror.threads().expect("threads"));
        assert!(writers.iter().all(|threads| Arc::ptr_eq(threads, &writers[0])));
        let [last, others @ ..] = writers;
        let running = Arc::downgrade(&last);
        drop(others);
        assert!(running.upgrade().is_some_and(|running| Arc::ptr_eq(&running, &mirror.threads().expect("threads"))));
        drop(last);
        assert!(running.upgrade().is_none(), "nobody needs them");
        assert!(mirror.threads().is_some(), "who comes then has new ones");
    }

    #[test]
    fn a_mirror_whose_disk_fills_up_ends_quietly_and_the_store_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let (_store, handle, mirror) = begun(directory.path());
        let mut writer = handle
            .writer(0, Source::Origin { https: true }, Account { job: [1; 16], file: 0 })
            .mirror(Arc::clone(&mirror));
        let four = vec![7; 4 * BLOCK_SIZE as usize];
        writer.push(&four).expect("pushed");
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let well = mirror.file.file();
        *mirror.file.file.write().expect("not poisoned") = Arc::new(RealFile::new(Arc::new(full), "/dev/full"));
        writer.push(&four).expect("the store has room");
        *mirror.file.file.write().expect("not poisoned") = well;
        writer.push(&four).expect("pushed");
        writer.finish().expect("finished");
        handle.commit().expect("committed");
        assert!(handle.is_complete());
        assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..4), "a mirror that failed once takes nothing more");
    }
}
