//! Entities whose files the disk does not let go: they stay doomed and counted, and keep nobody else from going.

use crate::fault::DiskFault;
use eddy_content::EntityId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the disk is left in peace about them.
const REST: Duration = Duration::from_secs(60);
/// A disk that keeps so many refuses all removals: no more is doomed then, so that it does not take the whole cache along.
const MOST: usize = 1024;

/// Whose removal was refused.
#[derive(Default)]
pub(super) struct Stuck(Mutex<State>);

#[derive(Default)]
struct State {
    ids: HashSet<EntityId>,
    last: Option<DiskFault>,
    tried: Option<Instant>,
}

impl Stuck {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the disk kept the files of an entity.
    pub(super) fn note(&self, id: EntityId, fault: DiskFault) {
        let mut state = self.state();
        state.ids.insert(id);
        state.last = Some(fault);
        state.tried.get_or_insert_with(Instant::now);
    }

    /// Its files went.
    pub(super) fn went(&self, id: &EntityId) {
        self.state().ids.remove(id);
    }

    /// Whether its files were kept, as far as is known.
    pub(super) fn has(&self, id: &EntityId) -> bool {
        self.state().ids.contains(id)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.state().ids.is_empty()
    }

    /// Why nothing more is doomed; `None` as long as others may go.
    pub(super) fn refusal(&self) -> Option<DiskFault> {
        let state = self.state();
        state.last.clone().filter(|_| state.ids.len() >= MOST)
    }

    /// Whether to ask the disk about them again; who hears so does.
    pub(super) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.tried.is_some_and(|tried| tried.elapsed() >= REST);
        if is_due {
            state.tried = Some(Instant::now());
        }
        is_due
    }
}
