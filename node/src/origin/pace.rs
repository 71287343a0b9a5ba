//! How fast the bodies that one job takes from its origins may come, all of them together (F-110).
//!
//! A body waits before it reads, so that nothing piles up here: the window of the connection fills, and the origin waits.

use eddy_engine::bucket::Bucket;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The pace of one job. Clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Bytes a second, and what may come by now.
    limit: Mutex<Option<(u64, Bucket)>>,
    /// The job's turn to ask while it has a limit: several bodies would each come more slowly, and hold more places.
    turn: Arc<Semaphore>,
}

/// A place among those that read slowly; given back when dropped.
#[derive(Debug)]
pub(super) struct SlowPlace {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Pace {
    /// At most so many bytes a second; as fast as it goes without a number.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Self {
        let (limit, turn) = (Mutex::new(rate.map(bucket)), Arc::new(Semaphore::new(1)));
        Self(Arc::new(Shared { started: Instant::now(), limit, turn }))
    }

    /// The pace from now on, also of bodies that are being read: they notice within [`LOOK`].
    pub fn set(&self, rate: Option<u64>) {
        let mut limit = self.limit();
        if limit.as_ref().map(|(known, _)| *known) != rate {
            *limit = rate.map(bucket);
        }
    }

    /// Whether nobody else goes by it and a fresh one would allow no more: it may be forgotten.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let now = self.0.started.elapsed();
        Arc::strong_count(&self.0) == 1 && self.limit().as_ref().is_none_or(|(_, bucket)| bucket.is_full(now))
    }

    pub(super) fn is_limited(&self) -> bool {
        self.limit().is_some()
    }

    /// Waits for the job's turn and then for one of `places`; `None` when the limit is taken away before. Cancel safe.
    pub(super) async fn place(&self, places: Arc<Semaphore>) -> Option<SlowPlace> {
        let turn = self.limited(Arc::clone(&self.0.turn).acquire_owned()).await?.ok()?;
        let place = self.limited(places.acquire_owned()).await?.ok()?;
        Some(SlowPlace { _turn: turn, _place: place })
    }

    /// Waits as long as there is a limit.
    async fn limited<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        while self.is_limited() {
            if let Ok(done) = tokio::time::timeout(LOOK, &mut wait).await {
                return Some(done);
            }
        }
        None
    }

    /// Waits until more may come. Cancel safe.
    pub(super) async fn ready(&self) {
        while let Some(wait) = self.wait() {
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    /// Counts what came: what was too much is waited for by the next.
    pub(super) fn take(&self, bytes: usize) {
        let now = self.0.started.elapsed();
        if let Some((_, bucket)) = self.limit().as_mut() {
            bucket.take(now, bytes as u64);
        }
    }

    fn wait(&self) -> Option<Duration> {
        let now = self.0.started.elapsed();
        let ready = self.limit().as_ref().map(|(_, bucket)| bucket.ready_at(now, 1))?;
        ready.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    fn limit(&self) -> MutexGuard<'_, Option<(u64, Bucket)>> {
        self.0.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bucket(rate: u64) -> (u64, Bucket) {
    (rate, Bucket::new(rate, rate / BURSTS))
}

/// A burst is what comes in a fourth of a second.
const BURSTS: u64 = 4;

/// How long a body, or a request, waits before it looks whether the pace is another one.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds that so many pieces of 1 KiB take.
    async fn seconds(pace: &Pace, pieces: usize) -> u64 {
        let before = Instant::now();
        for _ in 0..pieces {
            pace.ready().await;
            pace.take(1024);
        }
        before.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn all_bodies_of_a_job_share_its_pace_and_a_change_holds_at_once() {
        let pace = Pace::new(Some(10 * 1024));
        let (one, other) = tokio::join!(seconds(&pace, 100), async { seconds(&pace.clone(), 100).await });
        assert!((18..=20).contains(&one.max(other)), "{one} {other}");
        pace.set(None);
        assert_eq!(seconds(&pace, 1000).await, 0);
        pace.set(Some(1024));
        let slow = tokio::spawn({
            let pace = pace.clone();
            async move { seconds(&pace, 1000).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        pace.set(None);
        assert!(slow.await.expect("ran") <= 11, "who waits notices");
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_too_fast_is_remembered_until_it_is_paid_for() {
        let pace = Pace::new(Some(1024));
        assert!(pace.is_idle());
        let body = pace.clone();
        assert!(!pace.is_idle(), "somebody goes by it");
        body.take(10 * 1024);
        drop(body);
        assert!(!pace.is_idle(), "it is ahead of its time");
        pace.set(Some(1024));
        assert!((9..=10).contains(&seconds(&pace, 1).await), "the same limit forgives nothing");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(pace.is_idle());
    }
}
