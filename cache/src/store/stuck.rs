//! Entities whose files the disk does not let go: they stay doomed and counted, and keep nobody else from going.

use crate::fault::DiskFault;
use crate::recovery::Progress;
use eddy_content::EntityId;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the disk is left in peace about them.
const REST: Duration = Duration::from_secs(60);
/// A disk that keeps so many refuses all removals: no more is doomed then, so that it does not take the whole cache along.
const MOST: usize = 1024;

/// What the disk keeps although it is to go, or does not let anybody look after: an operator must act.
#[derive(Debug, Clone, Default)]
pub struct KeptFiles {
    /// Entities that are to go and whose files stay; their room counts as used. Tried again every minute.
    pub entities: u64,
    /// What the disk said of the last of them.
    pub last: Option<DiskFault>,
    /// Files and directories that the latest sweep had to go past. Looked at again by the next one.
    pub passed: u64,
    /// What the disk said of the last of those.
    pub last_passed: Option<DiskFault>,
}

/// Whose removal was refused.
#[derive(Default)]
pub(super) struct Stuck(Mutex<State>);

#[derive(Default)]
struct State {
    ids: HashSet<EntityId>,
    last: Option<DiskFault>,
    tried: Option<Instant>,
    passed: u64,
    last_passed: Option<DiskFault>,
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

    /// What a sweep had to go past so far; of one that has not come to its end, no less than is known from the one before.
    pub(super) fn note_passed(&self, passed: u64, last: Option<DiskFault>, progress: Progress) {
        let mut state = self.state();
        if progress == Progress::Done || passed > state.passed {
            (state.passed, state.last_passed) = (passed, last);
        }
    }

    /// What an operator should know.
    pub(super) fn kept(&self) -> KeptFiles {
        let state = self.state();
        let last = state.last.clone().filter(|_| !state.ids.is_empty());
        KeptFiles {
            entities: state.ids.len() as u64,
            last,
            passed: state.passed,
            last_passed: state.last_passed.clone(),
        }
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
