//! Entities of one block stay open from the answer about them until they are read: who asks about one reads it next, or not at all.
//!
//! To open one costs several questions to the index, and its one read would open it again and have another thread do it. Its bytes are
//! brought into memory with the answer, on the thread that gives it.

use eddy_cache::EntityHandle;
use eddy_content::LookupKey;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entities that are kept, of 64 KiB at most: as many as one question names, 4 MiB in all. What is over goes with the next one.
const KEPT: usize = 64;
/// How long one is kept: a member that waits longer with its read has another one opened.
const KEPT_FOR: Duration = Duration::from_secs(2);

/// Those that were asked about last, the newest at the end.
#[derive(Default)]
pub(super) struct Asked(Mutex<VecDeque<Entry>>);

/// One that was asked about.
struct Entry {
    key: LookupKey,
    handle: EntityHandle,
    since: Instant,
    /// Whether it was read: that is noted when it goes, on a thread that may wait for the disk.
    is_used: AtomicBool,
}

impl Asked {
    /// Keeps an entity of one block that was looked up under a key, with its bytes. Waits for the disk.
    pub(super) fn keep(&self, key: LookupKey, handle: &EntityHandle) {
        // It is in memory from here on; what is wrong with it is told to who reads it.
        let _ = handle.block_hashes(handle.geometry().all_blocks());
        let now = Instant::now();
        let gone: Vec<Entry> = {
            let mut kept = self.kept();
            let is_over = |entry: &Entry| now.duration_since(entry.since) >= KEPT_FOR;
            let over = kept.iter().position(|entry| !is_over(entry)).unwrap_or(kept.len());
            let mut gone: Vec<_> = kept.drain(..over).collect();
            let known = kept.iter().position(|entry| entry.handle.id() == handle.id());
            gone.extend(known.and_then(|place| kept.remove(place)));
            if kept.len() >= KEPT {
                gone.extend(kept.pop_front());
            }
            kept.push_back(Entry { key, handle: handle.clone(), since: now, is_used: AtomicBool::new(false) });
            gone
        };
        // Asks the index, perhaps.
        drop(gone);
    }

    /// The entity that an answer spoke of a moment ago, for the read of it.
    pub(super) fn at_hand(&self, key: &LookupKey) -> Option<EntityHandle> {
        let kept = self.kept();
        let known = kept.iter().rfind(|entry| entry.key == *key)?;
        let is_known = known.since.elapsed() < KEPT_FOR && known.handle.is_shareable();
        is_known.then(|| {
            known.is_used.store(true, Relaxed);
            known.handle.clone()
        })
    }

    /// Lets all of them go.
    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *self.kept());
        drop(gone);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.is_used.load(Relaxed) {
            self.handle.touch();
        }
    }
}
