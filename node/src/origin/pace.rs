//! How fast the bodies that one job takes from its origins may come, all of them together (F-110).
//!
//! A body waits before it reads, so that nothing piles up here: the window of the connection fills, and the origin waits.

use eddy_engine::bucket::Bucket;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::Instant;

/// The pace of one job. Clones share it.
#[derive(Debug, Clone)]
pub struct Pace(Arc<Shared>);

/// A pace that is forgotten when nobody goes by it.
#[derive(Debug, Clone)]
pub struct WeakPace(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Bytes a second, and what may come by now.
    limit: Mutex<Option<(u64, Bucket)>>,
}

impl Pace {
    /// At most so many bytes a second; as fast as it goes without a number.
    #[must_use]
    pub fn new(rate: Option<u64>) -> Self {
        Self(Arc::new(Shared { started: Instant::now(), limit: Mutex::new(rate.map(bucket)) }))
    }

    /// The pace from now on, also of bodies that are being read: they notice within [`LOOK`].
    pub fn set(&self, rate: Option<u64>) {
        let mut limit = self.limit();
        if limit.as_ref().map(|(known, _)| *known) != rate {
            *limit = rate.map(bucket);
        }
    }

    /// The same, without keeping it.
    #[must_use]
    pub fn downgrade(&self) -> WeakPace {
        WeakPace(Arc::downgrade(&self.0))
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

impl WeakPace {
    /// The pace, if anybody still goes by it.
    #[must_use]
    pub fn upgrade(&self) -> Option<Pace> {
        self.0.upgrade().map(Pace)
    }
}

fn bucket(rate: u64) -> (u64, Bucket) {
    (rate, Bucket::new(rate, rate / BURSTS))
}

/// A burst is what comes in a fourth of a second.
const BURSTS: u64 = 4;

/// How long a body waits before it looks whether the pace is another one.
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
        assert!(pace.downgrade().upgrade().is_some());
    }
}
