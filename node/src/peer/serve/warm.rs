//! Entities that were read a moment ago stay open: who is read block by block is not opened for each block.
//!
//! It costs more to open an entity than to read and hash one of its blocks. Those that are kept open are no use of them: the store
//! takes them back before it looks what may go, so they can be evicted and removed like any other.

use eddy_cache::{EntityHandle, Store};
use std::sync::{Arc, Mutex, PoisonError};

/// Entities that are kept open: as many as there are likely to be read in turns.
const KEPT: usize = 4;
/// Statements of one that is kept: they are in memory with it.
const STATEMENTS: usize = 1024;

/// The newest ones, the last read at the end.
#[derive(Clone, Default)]
pub(crate) struct Warm(Arc<Mutex<Vec<EntityHandle>>>);

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

    /// Keeps an entity open that was read. What is one block long is read once.
    pub(super) fn keep(&self, handle: &EntityHandle) {
        if handle.geometry().block_count() <= 1 || handle.statement_count() > STATEMENTS {
            return;
        }
        let gone = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let place = kept.iter().position(|known| known.id() == handle.id());
            let full = (kept.len() >= KEPT).then_some(0);
            let gone = place.or(full).map(|place| kept.remove(place));
            kept.push(handle.clone());
            gone
        };
        // Closes files, perhaps.
        drop(gone);
    }

    fn clear(&self) {
        let gone = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        drop(gone);
    }
}
