//! What followed segments have in memory: a block of each always, more of each while there is room for it.
//!
//! Who follows may take its time (T-05), and what it has not acknowledged lies here. So all flows share room, of which each connection has a
//! part at most. Where none is left a flow goes on block by block, each when the one before is acknowledged: who takes little keeps
//! nobody else waiting.

use crate::peer::config::CHUNK_BLOCKS;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Blocks of one flow: as much as its stream may have in flight.
const OF_FLOW: u32 = 16;
/// Blocks of all flows of one connection, beside one of each: half of what the connection may have in flight.
const OF_CONNECTION: usize = 64;
/// The same of all connections: 32 MiB.
const OF_ALL: usize = 512;

/// Room that flows share.
pub(super) type Shared = Arc<Semaphore>;

/// The room of all connections.
pub(super) fn of_all() -> Shared {
    Arc::new(Semaphore::new(OF_ALL))
}

/// The room of one connection.
pub(super) fn of_connection() -> Shared {
    Arc::new(Semaphore::new(OF_CONNECTION))
}

/// One followed segment.
#[derive(Debug)]
pub(super) struct Flow {
    window: Arc<Semaphore>,
    shared: [Shared; 2],
}

/// Room for blocks, until the last byte of them is acknowledged.
#[derive(Debug)]
pub(super) struct Room {
    blocks: u32,
    _mine: OwnedSemaphorePermit,
    _shared: Option<[OwnedSemaphorePermit; 2]>,
}

/// Blocks in memory. Their buffer is as long as they are: one of those that chunks of reads share would keep eight blocks of memory for one.
struct Lent {
    buffer: Vec<u8>,
    _room: Room,
}

impl Flow {
    pub(super) fn new(of_connection: &Shared, of_all: &Shared) -> Self {
        let shared = [Arc::clone(of_connection), Arc::clone(of_all)];
        Self { window: Arc::new(Semaphore::new(OF_FLOW as usize)), shared }
    }

    /// Room for the next blocks, at most `most` of them and a chunk. Cancel safe.
    pub(super) async fn room(&self, most: u32) -> Result<Room, AcquireError> {
        let blocks = most.clamp(1, CHUNK_BLOCKS);
        let mine = Arc::clone(&self.window).acquire_many_owned(blocks).await?;
        if let Some(shared) = self.share(blocks) {
            return Ok(Room { blocks, _mine: mine, _shared: Some(shared) });
        }
        drop(mine);
        let whole = Arc::clone(&self.window).acquire_many_owned(OF_FLOW).await?;
        Ok(Room { blocks: 1, _mine: whole, _shared: None })
    }

    fn share(&self, blocks: u32) -> Option<[OwnedSemaphorePermit; 2]> {
        let part = |room: &Shared| Arc::clone(room).try_acquire_many_owned(blocks).ok();
        let [of_connection, of_all] = &self.shared;
        Some([part(of_connection)?, part(of_all)?])
    }
}

impl Room {
    /// For how many blocks it is.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The bytes of these blocks, which take the room until the last of them goes.
    pub(super) fn lend(self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, _room: self })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// Takes room for runs of `most` blocks until there is none; for how many blocks it is.
    fn fill(flow: &Flow, most: u32, taken: &mut Vec<Room>) -> u32 {
        let before = taken.len();
        while let Some(room) = flow.room(most).now_or_never() {
            taken.push(room.expect("is open"));
        }
        taken[before..].iter().map(Room::blocks).sum()
    }

    #[test]
    fn a_flow_has_a_window_of_its_own_and_goes_on_when_a_run_is_acknowledged() {
        let (flow, mut taken) = (Flow::new(&of_connection(), &of_all()), Vec::new());
        assert_eq!(fill(&flow, 256, &mut taken), OF_FLOW);
        let bytes = taken.remove(0).lend(vec![7; 100]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert!(flow.room(1).now_or_never().is_none(), "a part of it is not acknowledged");
        drop(part);
        assert_eq!(fill(&flow, 256, &mut taken), CHUNK_BLOCKS);
    }

    #[test]
    fn many_flows_of_a_connection_have_its_share_and_one_block_each() {
        let (connection, all, mut taken) = (of_connection(), of_all(), Vec::new());
        let flows: Vec<_> = (0..24).map(|_| Flow::new(&connection, &all)).collect();
        let blocks: u32 = flows.iter().map(|flow| fill(flow, 256, &mut taken)).sum();
        assert!(blocks <= OF_CONNECTION as u32 + 24, "{blocks} blocks");
        let other = Flow::new(&of_connection(), &all);
        assert_eq!(fill(&other, 256, &mut Vec::new()), OF_FLOW, "another connection has its own share");
    }

    #[test]
    fn all_connections_together_have_a_bound_and_a_late_one_goes_on_block_by_block() {
        let (all, mut taken, mut blocks) = (of_all(), Vec::new(), 0);
        for _ in 0..256 {
            let connection = of_connection();
            for _ in 0..24 {
                blocks += fill(&Flow::new(&connection, &all), 256, &mut taken);
            }
        }
        assert!(blocks <= (OF_ALL + 256 * 24) as u32, "{blocks} blocks");
        let (late, mut its) = (Flow::new(&of_connection(), &all), Vec::new());
        for _ in 0..3 {
            assert_eq!(fill(&late, 8, &mut its), 1);
            its.clear();
        }
    }
}
