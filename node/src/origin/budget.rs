//! How many requests one origin sees from this node at a time.

use eddy_content::url::OriginKey;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The budgets of all origins that are being asked right now.
#[derive(Debug)]
pub(super) struct Budgets {
    per_origin: usize,
    // Weak: an origin that nobody asks any more takes no memory beyond the next sweep.
    live: Mutex<HashMap<OriginKey, Weak<Semaphore>>>,
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Budgets {
    pub(super) fn new(per_origin: usize) -> Self {
        Self { per_origin: per_origin.clamp(1, Semaphore::MAX_PERMITS), live: Mutex::default() }
    }

    /// Waits for a free place; first come, first served. Cancel safe.
    pub(super) async fn acquire(&self, origin: &OriginKey) -> Option<Permit> {
        // `None` cannot happen: nobody closes these semaphores. The caller then simply goes on without a permit.
        self.semaphore(origin).acquire_owned().await.ok().map(|permit| Permit { _permit: permit })
    }

    fn semaphore(&self, origin: &OriginKey) -> Arc<Semaphore> {
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
        let first = budgets.acquire(&origin(1)).now_or_never().flatten().expect("free");
        let _second = budgets.acquire(&origin(1)).now_or_never().flatten().expect("free");
        assert!(budgets.acquire(&origin(1)).now_or_never().is_none());
        assert!(budgets.acquire(&origin(2)).now_or_never().is_some(), "another origin has its own budget");
        drop(first);
        assert!(budgets.acquire(&origin(1)).now_or_never().flatten().is_some());
    }

    #[test]
    fn idle_origins_are_forgotten() {
        let budgets = Budgets::new(1);
        for host in 0..10 * SWEEP_AT {
            drop(budgets.acquire(&origin(host)).now_or_never());
        }
        assert!(budgets.live.lock().expect("not poisoned").len() <= SWEEP_AT);
    }
}
