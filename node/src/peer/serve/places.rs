//! The places of reads: how many are served at a time, and who goes when all are taken.
//!
//! A reader that takes little holds memory here for long (T-05). When nobody is waiting that does no harm; when all
//! places are taken, the slowest goes first, and only one that is slow by any measure.

use eddy_wire::NodeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time in which a reader's pace is not looked at.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Bytes a second below which a reader gives way to another: an eighth of a slow wireless link.
const UNHURRIED: u64 = 256 * 1024;

/// The places of all reads.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// Who sits there, and since when.
#[derive(Debug)]
struct Seat {
    node: NodeId,
    since: Instant,
    /// Bytes that were handed to the connection.
    sent: AtomicU64,
    out: CancellationToken,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, seats: Mutex::new(Vec::with_capacity(most)) })
    }

    /// A place for a read of `node`; `None` when all are taken by readers that get on.
    pub(crate) fn enter(self: &Arc<Self>, node: NodeId) -> Option<Place> {
        let now = Instant::now();
        let mut seats = self.seats();
        if seats.len() >= self.most {
            let slowest = slowest(&seats, now)?;
            let seat = seats.swap_remove(slowest);
            tracing::debug!(node = %seat.node, "the slowest reader gives way");
            seat.out.cancel();
        }
        let seat = Arc::new(Seat { node, since: now, sent: AtomicU64::new(0), out: CancellationToken::new() });
        seats.push(Arc::clone(&seat));
        drop(seats);
        Some(Place { places: Arc::clone(self), seat })
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of the slowest reader that has had its grace and is slow enough to give way.
fn slowest(seats: &[Arc<Seat>], now: Instant) -> Option<usize> {
    let paces = seats.iter().enumerate().filter_map(|(place, seat)| {
        let age = now.saturating_duration_since(seat.since);
        (age >= GRACE).then(|| (place, seat.sent.load(Ordering::Relaxed) / age.as_secs().max(1)))
    });
    paces.filter(|(_, pace)| *pace < UNHURRIED).min_by_key(|(_, pace)| *pace).map(|(place, _)| place)
}

impl Place {
    /// Notes bytes that the connection took.
    pub(super) fn count(&self, bytes: usize) {
        self.seat.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns when this place is given to another.
    pub(super) async fn lost(&self) {
        self.seat.out.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.seats().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId([1; 32]);
    const TWO: NodeId = NodeId([2; 32]);

    #[tokio::test(start_paused = true)]
    async fn the_slowest_gives_way_after_its_grace() {
        let places = Places::new(2);
        let slow = places.enter(ONE).expect("is free");
        let slower = places.enter(ONE).expect("is free");
        slow.count(100_000);
        assert!(places.enter(TWO).is_none(), "both have grace");
        tokio::time::advance(GRACE).await;
        let other = places.enter(TWO).expect("the slowest goes");
        slower.lost().await;
        assert!(!slow.seat.out.is_cancelled());
        drop((slower, other));
        assert!(places.enter(TWO).is_some(), "a place that was left is free");
        drop(slow);
    }

    #[tokio::test(start_paused = true)]
    async fn readers_that_get_on_keep_their_places() {
        let places = Places::new(1);
        let reader = places.enter(ONE).expect("is free");
        tokio::time::advance(GRACE * 2).await;
        reader.count(10 << 20);
        assert!(places.enter(TWO).is_none());
    }
}
