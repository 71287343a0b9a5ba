//! Buffers for blocks on their way out, used again: fresh memory costs a page fault for each 4 KiB.

use super::places::Seat;
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedSemaphorePermit;

/// Buffers that are kept while nobody uses them.
const SPARE: usize = 16;

/// Room for one chunk in a read's window, and whose read it is.
pub(super) type Room = (Arc<Seat>, OwnedSemaphorePermit);

/// The spare buffers.
#[derive(Clone, Default)]
pub(crate) struct Pool {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer that comes back when the last byte of it is sent and acknowledged: then the reader has taken it.
struct Lent {
    buffer: Vec<u8>,
    pool: Pool,
    reader: Arc<Seat>,
    /// Room in the read's window, free again when the buffer is.
    _room: OwnedSemaphorePermit,
}

impl Pool {
    /// A buffer with whatever was in it.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// A buffer that was filled, shareable; the room again where nothing came to fill it.
    pub(super) fn fill(&self, room: Room, fill: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> Result<Bytes, Room> {
        let mut buffer = self.take();
        if fill(&mut buffer).is_some() {
            return Ok(self.lend(buffer, room));
        }
        self.give_back(&mut buffer);
        Err(room)
    }

    fn give_back(&self, buffer: &mut Vec<u8>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(buffer));
        }
    }

    /// Makes a filled buffer shareable.
    pub(super) fn lend(&self, buffer: Vec<u8>, (reader, room): Room) -> Bytes {
        Bytes::from_owner(Lent { buffer, pool: self.clone(), reader, _room: room })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.reader.count(self.buffer.len());
        self.pool.give_back(&mut self.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_goes() {
        let (pool, window) = (Pool::default(), Arc::new(tokio::sync::Semaphore::new(1)));
        let room = Arc::clone(&window).try_acquire_owned().expect("is free");
        let place = super::super::places::Places::new(1).enter(eddy_wire::NodeId([1; 32])).expect("is free");
        let bytes = pool.lend(vec![7; 100], (place.seat(), room));
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(pool.take().capacity(), 0, "still read");
        assert_eq!(window.available_permits(), 0);
        drop(part);
        assert_eq!(pool.take(), vec![7; 100]);
        assert_eq!(window.available_permits(), 1);
    }
}
