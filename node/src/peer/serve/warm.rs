//! Entities that were read a moment ago stay open: who is read block by block is not opened for each block.
//!
//! It costs more to open an entity than to read and hash one of its blocks, and more to have another thread read a block that lies in
//! memory than to read it. Those that are kept open are no use of them: the store
//! takes them back before it looks what may go, so they can be evicted and removed like any other.

use eddy_cache::{EntityHandle, Store};
use eddy_content::LookupKey;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Entities that are kept open: as many as there are likely to be read in turns.
const KEPT: usize = 4;
/// Statements of one that is kept: they are in memory with it.
const STATEMENTS: usize = 1024;
/// How long one is at hand without being looked up: then its use is noted again, for the order of eviction.
const AT_HAND: Duration = Duration::from_secs(10);

/// The newest ones, the last read at the end.
#[derive(Clone, Default)]
pub(crate) struct Warm(Arc<Mutex<Vec<Entry>>>);

/// One that is kept.
struct Entry {
    key: LookupKey,
    handle: EntityHandle,
    /// When it was looked up.
    since: Instant,
}

impl Warm {
    /// None yet, of a store that may take them back.
    pub(crate) fn of(store: &Store) -> Self {
        let warm = Self::default();
        let kept = Arc::downgrade(&warm.0);
        store.take_back_by(move || {
            if let Some(kept) = kept.upgrade() {
                Self(kept).clear();
            }
        });
        warm
    }

    /// Keeps an entity open that was looked up under a key, and read. What is one block long is read once.
    pub(super) fn keep(&self, key: LookupKey, handle: &EntityHandle) {
        if handle.geometry().block_count() <= 1 || handle.statement_count() > STATEMENTS {
            return;
        }
        let gone = {
            let mut kept = self.kept();
            let place = kept.iter().position(|known| known.handle.id() == handle.id());
            let full = (kept.len() >= KEPT).then_some(0);
            let gone = place.or(full).map(|place| kept.remove(place));
            kept.push(Entry { key, handle: handle.clone(), since: Instant::now() });
            gone
        };
        // Closes files, perhaps.
        drop(gone);
    }

    /// The entity that was found under a key a moment ago, if members may still have it. Does not ask the store.
    pub(super) fn at_hand(&self, key: &LookupKey) -> Option<EntityHandle> {
        let kept = self.kept();
        let known = kept.iter().find(|known| known.key == *key)?;
        let is_known = known.since.elapsed() < AT_HAND && known.handle.is_shareable();
        is_known.then(|| known.handle.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let gone = std::mem::take(&mut *self.kept());
        drop(gone);
    }
}
