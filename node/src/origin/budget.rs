//! How many requests one origin sees from this node at a time.

use super::pace::{Pace, SlowPlace};
use eddy_content::url::OriginKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budgets of all origins that are being asked right now.
#[derive(Debug)]
pub(super) struct Budgets {
    all: Places,
    /// What requests of jobs with a limit pass first: they keep their places for long, and leave most to everybody else.
    slow: Places,
}

/// Equally many places at each origin.
#[derive(Debug)]
struct Places {
    per_origin: usize,
    // Weak: an origin that nobody asks any more takes no memory beyond the next sweep.
    live: Mutex<HashMap<OriginKey, Weak<Semaphore>>>,
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
    _slow: Option<SlowPlace>,
}

impl Budgets {
    pub(super) fn new(per_origin: usize) -> Self {
        let per_origin = per_origin.clamp(1, Semaphore::MAX_PERMITS);
        Self { all: Places::new(per_origin), slow: Places::new(SLOW.min(per_origin.div_ceil(2))) }
    }

    /// Waits for a free place; first come, first served. Cancel safe.
    pub(super) async fn acquire(&self, origin: &OriginKey, pace: Option<&Pace>) -> Option<Permit> {
        let slow = match pace.filter(|pace| pace.is_limited()) {
            Some(pace) => pace.place(self.slow.at(origin)).await,
            None => None,
        };
        // `None` cannot happen: nobody closes these semaphores. The caller then simply goes on without a permit.
        self.all.at(origin).acquire_owned().await.ok().map(|permit| Permit { _permit: permit, _slow: slow })
    }
}

impl Places {
    fn new(per_origin: usize) -> Self {
        Self { per_origin, live: Mutex::default() }
    }

    fn at(&self, origin: &OriginKey) -> Arc<Semaphore> {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = live.get(origin).and_then(Weak::upgrade) {
            return semaphore;
        }
        if live.len() >= SWEEP_AT {
            live.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.per_origin));
        live.insert(origin.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

/// Most requests of jobs with a limit that are under way to one origin, and at most half of the budget.
const SLOW: usize = 2;

/// Remembered origins at which those without a request are forgotten. What remains is bounded by the requests under way.
const SWEEP_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::ResourceUrl;
    use futures::FutureExt;

    fn origin(host: usize) -> OriginKey {
        ResourceUrl::parse(&format!("http://host{host}/")).expect("parses").origin()
    }

    #[test]
    fn one_more_than_the_budget_waits_until_one_is_given_back() {
        let budgets = Budgets::new(2);
        let first = budgets.acquire(&origin(1), None).now_or_never().flatten().expect("free");
        let _second = budgets.acquire(&origin(1), None).now_or_never().flatten().expect("free");
        assert!(budgets.acquire(&origin(1), None).now_or_never().is_none());
        assert!(budgets.acquire(&origin(2), None).now_or_never().is_some(), "another origin has its own budget");
        drop(first);
        assert!(budgets.acquire(&origin(1), None).now_or_never().flatten().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn f110_jobs_with_a_limit_leave_most_of_the_budget_to_everybody_else() {
        let budgets = Budgets::new(8);
        let paces: Vec<Pace> = (0..3).map(|_| Pace::new(Some(1024))).collect();
        let take = |pace: Option<&Pace>| budgets.acquire(&origin(1), pace).now_or_never().flatten();
        let first = take(Some(&paces[0])).expect("free");
        assert!(take(Some(&paces[0])).is_none(), "one of a job at a time");
        let _second = take(Some(&paces[1])).expect("free");
        assert!(take(Some(&paces[2])).is_none(), "two of all jobs with a limit");
        let others: Vec<Permit> = (0..6).filter_map(|_| take(None)).collect();
        assert_eq!(others.len(), 6, "the rest is everybody's");
        drop(first);
        assert!(take(Some(&paces[2])).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn f110_whose_limit_is_taken_away_waits_for_no_slow_place_any_more() {
        let budgets = Budgets::new(8);
        let (one, other) = (Pace::new(Some(1024)), Pace::new(Some(1024)));
        let _held = [budgets.acquire(&origin(1), Some(&one)).await, budgets.acquire(&origin(1), Some(&other)).await];
        let origin = origin(1);
        let free = async {
            tokio::task::yield_now().await;
            other.set(None);
        };
        assert!(tokio::join!(budgets.acquire(&origin, Some(&other)), free).0.is_some());
    }

    #[test]
    fn idle_origins_are_forgotten() {
        let budgets = Budgets::new(1);
        for host in 0..10 * SWEEP_AT {
            drop(budgets.acquire(&origin(host), None).now_or_never());
        }
        assert!(budgets.all.live.lock().expect("not poisoned").len() <= SWEEP_AT);
    }
}
