//! What has just come from the origin, in memory, for readers that keep up: they need not wait for the disk, nor read back from it.
//!
//! Only bytes of this node's own connection to the origin lie here, and only the newest. Who falls behind reads them from the
//! store, held against their hashes.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// What a piece costs beside its bytes: an origin may send them one by one.
const OVERHEAD: u64 = 128;

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
    cost: u64,
}

impl Recent {
    /// None yet, and at most so many, with what they cost.
    #[must_use]
    pub fn new(most: u64, room: Option<OwnedSemaphorePermit>) -> Self {
        Self(Arc::new(Inner { pieces: Mutex::default(), more: Notify::new(), most, _room: room }))
    }

    /// Bytes that are kept at most, with what they cost.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.0.most
    }

    /// The memory that such a piece is counted as.
    #[must_use]
    pub fn cost(piece: &Bytes) -> u64 {
        piece.len() as u64 + OVERHEAD
    }

    /// Keeps bytes that came for this place of the entity; what came first makes room for them.
    pub fn put(&self, place: u64, bytes: Bytes) {
        if bytes.is_empty() || Self::cost(&bytes) > self.0.most {
            return;
        }
        let mut pieces = self.0.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.by_place.contains_key(&place) {
            return;
        }
        pieces.cost += Self::cost(&bytes);
        pieces.by_place.insert(place, bytes);
        pieces.order.push_back(place);
        while pieces.cost > self.0.most
            && let Some(oldest) = pieces.order.pop_front()
        {
            pieces.cost -= pieces.by_place.remove(&oldest).map_or(0, |bytes| Self::cost(&bytes));
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
        let recent = Recent::new(10 + 2 * OVERHEAD, None);
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
        let recent = Recent::new(4 + OVERHEAD, None);
        recent.put(0, Bytes::from_static(b"01"));
        recent.put(2, Bytes::from_static(b"23456"));
        assert_eq!((recent.from(0).as_deref(), recent.from(2)), (Some(b"01".as_slice()), None));
    }

    #[test]
    fn bytes_that_come_one_by_one_take_the_memory_that_they_cost() {
        let recent = Recent::new(100 * (1 + OVERHEAD), None);
        (0..1000).for_each(|place| recent.put(place, Bytes::from_static(b"x")));
        let kept = (0..1000).filter(|place| recent.from(*place).is_some()).count();
        assert_eq!((kept, recent.from(899)), (100, None), "the newest hundred");
    }
}
