//! What one connection may have under way here, so that no peer lives at the cost of the others.

use super::flow;
use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Chunks that one connection's reads may want of the disk at a time.
const DISK_TURNS: usize = 3;

/// Segments that one connection may follow at a time: what a member of a swarm has under way when it knows one other only.
const FOLLOWS: usize = 24;

/// The shares of one connection.
#[derive(Debug)]
pub(crate) struct Guest {
    /// Reads; one more waits a moment, then it hears `Busy`.
    pub(super) reads: Semaphore,
    /// Segments that it follows; one more hears `Busy`.
    pub(super) follows: Semaphore,
    /// What those have in memory beside a block of each.
    pub(super) flowing: flow::Shared,
    /// Its turns in the queue for the disk.
    disk: Arc<Semaphore>,
}

/// The right to read one chunk from the disk.
#[derive(Debug)]
pub(super) struct DiskTurns {
    _mine: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Guest {
    pub(crate) fn new(reads: usize) -> Self {
        Self {
            reads: Semaphore::new(reads),
            follows: Semaphore::new(FOLLOWS),
            flowing: flow::of_connection(),
            disk: Arc::new(Semaphore::new(DISK_TURNS)),
        }
    }

    /// A turn at the disk, if nobody waits for one.
    pub(super) fn disk_turns(&self, all: &Arc<Semaphore>) -> Option<DiskTurns> {
        let mine = Arc::clone(&self.disk).try_acquire_owned().ok()?;
        Some(DiskTurns { _mine: mine, _of_all: Arc::clone(all).try_acquire_owned().ok()? })
    }

    /// Waits for a turn: first among the reads of this peer, then among all. Both are served in the order of asking, so
    /// that peers get equal shares.
    pub(super) fn wait_for_disk(
        &self,
        all: &Arc<Semaphore>,
    ) -> impl Future<Output = Result<DiskTurns, AcquireError>> + Send + 'static {
        let (mine, all) = (Arc::clone(&self.disk), Arc::clone(all));
        async move { Ok(DiskTurns { _mine: mine.acquire_owned().await?, _of_all: all.acquire_owned().await? }) }
    }
}
