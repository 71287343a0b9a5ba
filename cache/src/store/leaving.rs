//! Waiting until a store is closed: its clones and handles may be with threads that end a little later.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Tells when the last clone and the last handle of a store have gone, and its folder is free again. It keeps the store from
/// nothing itself.
#[derive(Clone)]
pub struct Closing(Arc<Gone>);

impl Closing {
    /// Waits until the store is closed, for at most so long; whether it is. Blocks.
    #[must_use]
    pub fn wait(&self, at_most: Duration) -> bool {
        let is_gone = self.0.is_gone.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.came.wait_timeout_while(is_gone, at_most, |is_gone| !*is_gone);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Gone {
    is_gone: Mutex<bool>,
    came: Condvar,
}

/// What a store lets go of last of all.
#[derive(Default)]
pub(super) struct Last(Arc<Gone>);

impl Last {
    pub(super) fn closing(&self) -> Closing {
        Closing(Arc::clone(&self.0))
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        *self.0.is_gone.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.came.notify_all();
    }
}
