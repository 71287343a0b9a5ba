//! A commit that is under way while no thread waits for it.
//!
//! A small object is a share of one transaction: nothing but the committing thread has anything to do for it. To have a thread of its own
//! wait for each costs more than its share: two changes of threads, and a stack.

use crate::committer::Told;
use crate::entity::{Batch, Shared};
use crate::fault::{CommitError, StoreError};
use crate::index::Change;
use eddy_content::BlockSet;
use std::fmt;
use std::sync::Arc;

/// A commit that was begun. It has to be ended, with what [`crate::EntityHandle::begin_commit`] tells: until then no other commit of the
/// entity begins. Dropped instead, nobody counts on what it carried.
pub struct PendingCommit {
    shared: Arc<Shared>,
    batch: Option<Batch>,
    /// What is not on its way, because the store is closing.
    unsent: Option<Vec<Change>>,
}

/// What became of a commit, for [`PendingCommit::end`].
#[derive(Debug)]
pub struct CommitAnswer(Result<(), StoreError>);

impl PendingCommit {
    /// Begins to commit what waits, if the entity lies in the index and no commit of it is under way. Does not block.
    pub(crate) fn begin(shared: &Arc<Shared>, told: impl FnOnce(CommitAnswer) + Send + 'static) -> Option<Self> {
        let (batch, changes) = shared.begin_turn()?;
        let told: Told = Box::new(move |outcome| told(CommitAnswer(outcome)));
        if changes.is_empty() {
            told(Ok(()));
            return Some(Self { shared: Arc::clone(shared), batch: Some(batch), unsent: None });
        }
        let unsent = shared.core.committer.commit_then(changes, told).err();
        Some(Self { shared: Arc::clone(shared), batch: Some(batch), unsent })
    }

    /// Whether somebody will be told. If not, the store is closing, and [`Self::wait`] says so.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.unsent.is_none()
    }

    /// Ends it with what was told, `None` when nobody told anything: the store is closing. Gives the newly acknowledged blocks.
    pub fn end(mut self, answer: Option<CommitAnswer>) -> Result<BlockSet, CommitError> {
        let batch = self.batch.take().unwrap_or_default();
        self.shared.end_turn(batch, answer.map(|answer| answer.0))
    }

    /// Ends what is not under way, as [`crate::EntityHandle::commit`] does.
    pub fn wait(mut self) -> Result<BlockSet, CommitError> {
        let outcome = self.unsent.take().map(|changes| self.shared.core.committer.commit(changes));
        let batch = self.batch.take().unwrap_or_default();
        self.shared.end_turn(batch, outcome)
    }
}

impl Drop for PendingCommit {
    fn drop(&mut self) {
        if let Some(batch) = self.batch.take() {
            let never_sent = self.unsent.take().map(|_| Err(StoreError::Closing));
            let _ = self.shared.end_turn(batch, never_sent);
        }
    }
}

impl fmt::Debug for PendingCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingCommit").field("is_under_way", &self.is_under_way()).finish_non_exhaustive()
    }
}
