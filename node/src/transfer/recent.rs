//! What has just come from the origin, in memory, for readers that keep up: they need not wait for the disk, nor read back from it.
//!
//! Only bytes of this node's own connection to the origin lie here, and only the newest. Who falls behind reads them from the
//! store, held against their hashes.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// The newest bytes of an entity that is being filled.
#[derive(Debug, Clone)]
pub struct Recent(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pieces: Mutex<Pieces>,
    more: Notify,
    most: u64,
    /// The memory that they take, given back with them.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug, Default)]
struct Pieces {
    by_place: BTreeMap<u64, Bytes>,
    /// Their places in the order in which they came.
    order: VecDeque<u64>,
    bytes: u64,
}

impl Recent {
    /// None yet, and at most so many.
    #[must_use]
    pub fn new(most: u64, room: Option<OwnedSemaphorePermit>) -> Self {
        Self(Arc::new(Inner { pieces: Mutex::default(), more: Notify::new(), most, _room: room }))
    }

    /// Bytes that are kept at most.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// Keeps bytes that came for this place of the entity; what came first makes room for them.
    pub fn put(&self, place: u64, bytes: Bytes) {
        if bytes.is_empty() || bytes.len() as u64 > self.0.most {
            return;
        }
        let mut pieces = self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.by_place.contains_key(&place) {
            return;
        }
        pieces.bytes += bytes.len() as u64;
        pieces.by_place.insert(place, bytes);
        pieces.order.push_back(place);
        while pieces.bytes > self.0.most
            && let Some(oldest) = pieces.order.pop_front()
        {
            let length = pieces.by_place.remove(&oldest).map_or(0, |bytes| bytes.len() as u64);
            pieces.bytes -= length;
        }
        drop(pieces);
        self.0.more.notify_waiters();
    }

    /// The bytes from this place on, as far as one piece of them goes.
    #[must_use]
    pub fn from(&self, place: u64) -> Option<Bytes> {
        let pieces = self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, bytes) = pieces.by_place.range(..=place).next_back()?;
        let skipped = usize::try_from(place - start).ok().filter(|skipped| *skipped < bytes.len())?;
        Some(bytes.slice(skipped..))
    }

    /// Waits for the next piece. Enable the future before looking at what is there, so that none is missed. Cancel safe.
    pub fn next(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.more.notified()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_here_and_the_oldest_make_room() {
        let recent = Recent::new(10, None);
        recent.put(0, Bytes::from_static(b"0123"));
        recent.put(100, Bytes::from_static(b"abcd"));
        assert_eq!(recent.from(2).as_deref(), Some(b"23".as_slice()));
        assert_eq!((recent.from(4), recent.from(99)), (None, None));
        recent.put(4, Bytes::from_static(b"4567"));
        assert_eq!(recent.from(0), None, "it came first");
        assert_eq!(recent.from(101).as_deref(), Some(b"bcd".as_slice()));
        assert_eq!(recent.from(4).as_deref(), Some(b"4567".as_slice()));
    }

    #[test]
    fn what_is_longer_than_all_room_is_not_kept_and_takes_nobodys_place() {
        let recent = Recent::new(4, None);
        recent.put(0, Bytes::from_static(b"01"));
        recent.put(2, Bytes::from_static(b"23456"));
        assert_eq!((recent.from(0).as_deref(), recent.from(2)), (Some(b"01".as_slice()), None));
    }
}
