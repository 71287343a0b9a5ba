//! The places of reads: how many are served at a time, who gets one, and who goes when all are taken.
//!
//! A reader that takes little holds memory here for long (T-05). When nobody is waiting that does no harm; when all
//! places are taken, the slowest goes first, and only one that is slow by any measure. How a member has read before is
//! remembered: who was slow can fill half of the places, has no grace and displaces nobody; for those that were brisk some
//! places are kept, so that a crowd of slow ones which nobody knows yet does not keep them waiting.

use crate::peer::bounded::Bounded;
use crate::peer::config::REMEMBERED_PEERS;
use eddy_wire::NodeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time of waiting in which a reader's pace is not looked at.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Bytes a second below which a reader gives way to another: an eighth of a slow wireless link.
const UNHURRIED: u64 = 256 * 1024;
/// What a reader must have taken to count as brisk, and the time it must have kept this node waiting to count as slow.
const BRISK_AFTER: u64 = 1024 * 1024;
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// How long it is remembered that a member was slow.
const FORGIVEN_AFTER: Duration = Duration::from_secs(10 * 60);
/// Of the places, the part that is kept for brisk readers, the part that slow ones may have, and the part up to which reads
/// have all the memory that is good for them.
const KEPT: usize = 8;
const FOR_SLOW: usize = 2;
const ROOMY: usize = 4;
/// Chunks of one read in memory until the reader has taken them: enough for a fast link, and few enough to lie in a cache of
/// the CPU; when there are many reads; and of a slow reader. With 64 places it is 80 MiB at most. What is
/// followed has its own bounds (`flow`).
const AHEAD: usize = 4;
const AHEAD_OF_MANY: usize = 2;
const AHEAD_OF_SLOW: usize = 1;

/// The places of all reads.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    room: Mutex<Room>,
}

#[derive(Debug)]
struct Room {
    seats: Vec<Arc<Seat>>,
    known: Bounded<NodeId, Known>,
}

/// How a member read when it was last seen to read.
#[derive(Debug, Clone, Copy)]
struct Known {
    manner: Manner,
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Brisk,
    Unknown,
    Slow,
}

/// Who sits there, and how it gets on.
#[derive(Debug)]
pub(super) struct Seat {
    node: NodeId,
    /// Bytes that the reader has taken: sent and acknowledged.
    taken: AtomicU64,
    waiting: Mutex<Waiting>,
    out: CancellationToken,
}

/// The time that this node has waited for a reader.
#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    before: Duration,
    since: Option<Instant>,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    seat: Arc<Seat>,
    window: usize,
}

impl Places {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        let room = Room { seats: Vec::with_capacity(most), known: Bounded::new(REMEMBERED_PEERS) };
        Arc::new(Self { most, room: Mutex::new(room) })
    }

    /// A place for a read of `node`; `None` when it has to wait for one.
    pub(crate) fn enter(self: &Arc<Self>, node: NodeId) -> Option<Place> {
        let now = Instant::now();
        let mut room = self.room();
        let manner = room.manner(node, now);
        if !room.has_place(manner, self.most, now) {
            let slowest = (manner != Manner::Slow).then(|| room.slowest(now))??;
            let seat = room.seats.swap_remove(slowest);
            tracing::debug!(node = %seat.node, "the slowest reader gives way");
            seat.out.cancel();
        }
        let window = match manner {
            Manner::Slow => AHEAD_OF_SLOW,
            _ if room.seats.len() >= self.most.div_ceil(ROOMY) => AHEAD_OF_MANY,
            _ => AHEAD,
        };
        let (taken, waiting) = (AtomicU64::new(0), Mutex::default());
        let seat = Arc::new(Seat { node, taken, waiting, out: CancellationToken::new() });
        room.seats.push(Arc::clone(&seat));
        drop(room);
        Some(Place { places: Arc::clone(self), seat, window })
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    fn manner(&self, node: NodeId, now: Instant) -> Manner {
        match self.known.at(&node) {
            Some(Known { manner: Manner::Slow, at }) if now.duration_since(*at) >= FORGIVEN_AFTER => Manner::Unknown,
            Some(known) => known.manner,
            None => Manner::Unknown,
        }
    }

    fn has_place(&self, manner: Manner, most: usize, now: Instant) -> bool {
        let for_all = most - most / KEPT;
        let slow = || self.seats.iter().filter(|seat| self.manner(seat.node, now) == Manner::Slow).count();
        match manner {
            Manner::Brisk => self.seats.len() < most,
            Manner::Unknown => self.seats.len() < for_all,
            Manner::Slow => self.seats.len() < for_all && slow() < most.div_ceil(FOR_SLOW),
        }
    }

    /// The place of the slowest reader that is slow enough to give way, and has had its grace unless it is known.
    fn slowest(&self, now: Instant) -> Option<usize> {
        let paces = self.seats.iter().enumerate().filter_map(|(place, seat)| {
            let (pace, waited) = seat.pace(now);
            let has_grace = waited < GRACE && self.manner(seat.node, now) != Manner::Slow;
            (!has_grace && pace < UNHURRIED).then_some((place, pace))
        });
        paces.min_by_key(|(_, pace)| *pace).map(|(place, _)| place)
    }

    /// Remembers how a reader was that leaves.
    fn learn(&mut self, seat: &Seat, now: Instant) {
        let (pace, waited) = seat.pace(now);
        let manner = if waited >= SLOW_AFTER && pace < UNHURRIED {
            Manner::Slow
        } else if seat.taken.load(Ordering::Relaxed) >= BRISK_AFTER {
            Manner::Brisk
        } else {
            return;
        };
        self.known.put(seat.node, Known { manner, at: now });
    }
}

impl Seat {
    /// Bytes a second of the time in which it was waited for, and that time.
    fn pace(&self, now: Instant) -> (u64, Duration) {
        let waiting = *self.waiting();
        let waited = waiting.before + waiting.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        (self.taken.load(Ordering::Relaxed).saturating_mul(1000) / millis, waited)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes bytes that the reader has taken.
    pub(super) fn count(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Place {
    /// Chunks that this read may have in memory.
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// The seat, for those who count what the reader takes.
    pub(super) fn seat(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }

    /// Waits for the reader: this time counts for its pace, no other does.
    pub(super) async fn waiting<T>(&self, reader: impl Future<Output = T>) -> T {
        let _counted = Counted::begin(&self.seat);
        reader.await
    }

    /// Returns when this place is given to another.
    pub(super) async fn lost(&self) {
        self.seat.out.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut room = self.places.room();
        room.seats.retain(|seat| !Arc::ptr_eq(seat, &self.seat));
        room.learn(&self.seat, Instant::now());
    }
}

/// A wait that is counted, also when it is given up.
struct Counted<'a>(&'a Seat);

impl<'a> Counted<'a> {
    fn begin(seat: &'a Seat) -> Self {
        seat.waiting().since = Some(Instant::now());
        Self(seat)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        if let Some(since) = waiting.since.take() {
            waiting.before += since.elapsed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeId = NodeId([1; 32]);
    const TWO: NodeId = NodeId([2; 32]);

    fn node(number: u8) -> NodeId {
        NodeId([number; 32])
    }

    /// A read that takes so much and keeps this node waiting so long.
    async fn read(place: &Place, bytes: usize, waited: Duration) {
        place.waiting(tokio::time::sleep(waited)).await;
        place.seat.count(bytes);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_gives_way_after_its_grace() {
        let places = Places::new(2);
        let slow = places.enter(ONE).expect("is free");
        let slower = places.enter(ONE).expect("is free");
        slow.seat.count(100_000);
        assert!(places.enter(TWO).is_none(), "both have grace");
        tokio::join!(read(&slow, 0, GRACE), read(&slower, 0, GRACE));
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
        read(&reader, 10 << 20, GRACE * 2).await;
        assert!(places.enter(TWO).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn what_this_node_takes_its_time_for_is_not_the_readers_fault() {
        let places = Places::new(1);
        let reader = places.enter(ONE).expect("is free");
        read(&reader, 1000, Duration::from_millis(1)).await;
        // A slow disk, or a limit on uploads.
        tokio::time::advance(GRACE * 100).await;
        assert!(places.enter(TWO).is_none());
        drop(reader);
        assert_eq!(places.room().manner(ONE, Instant::now()), Manner::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_slow_readers_leaves_places_for_those_who_were_brisk() {
        let places = Places::new(64);
        read(&places.enter(ONE).expect("is free"), 16 << 20, Duration::from_secs(1)).await;
        let crowd: Vec<_> = (10..74).filter_map(|number| places.enter(node(number))).collect();
        assert_eq!(crowd.len(), 56);
        let brisk: Vec<_> = (0..9).filter_map(|_| places.enter(ONE)).collect();
        assert_eq!(brisk.len(), 8);
        assert!(brisk.iter().all(|place| place.window() == AHEAD_OF_MANY));
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_slow_displaces_nobody_and_gives_way_at_once() {
        let places = Places::new(8);
        for number in 10..18 {
            let Some(place) = places.enter(node(number)) else { continue };
            read(&place, 1000, SLOW_AFTER).await;
        }
        // They come again, all at once, and fill half.
        let crowd: Vec<_> = (10..18).filter_map(|number| places.enter(node(number))).collect();
        assert_eq!(crowd.len(), 4);
        assert!(crowd.iter().all(|place| place.window() == AHEAD_OF_SLOW));
        // Others get the rest, and then their places.
        let others: Vec<_> = (20..30).filter_map(|number| places.enter(node(number))).collect();
        assert_eq!(others.len(), 7);
        assert!(crowd.iter().all(|place| place.seat.out.is_cancelled()));
        drop((crowd, others));
        tokio::time::advance(FORGIVEN_AFTER).await;
        let forgiven: Vec<_> = (10..18).filter_map(|number| places.enter(node(number))).collect();
        assert_eq!(forgiven.len(), 7);
    }
}
