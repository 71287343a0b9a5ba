//! Staged files are taken away; whoever writes their names again waits for it.

use super::Destination;
use crate::owner::Hand;
use std::sync::{Arc, OnceLock};

/// Tells when a name beside a destination is free.
#[derive(Debug, Clone, Default)]
pub struct Cleared(Arc<OnceLock<()>>);

impl Cleared {
    /// Waits for it.
    pub(super) fn wait(&self) {
        self.0.wait();
    }

    /// Whether it is free.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.get().is_some()
    }
}

/// A name beside a destination is being cleared until this is dropped.
#[derive(Debug, Default)]
pub struct Clearing(Cleared);

impl Clearing {
    /// Who is told of its end.
    #[must_use]
    pub fn cleared(&self) -> Cleared {
        self.0.clone()
    }
}

impl Drop for Clearing {
    fn drop(&mut self) {
        let _ = self.0.0.set(());
    }
}

/// Takes staged files away, one after the other. The user database is asked once for all that belong to one user.
pub fn discard(files: Vec<(Destination, Clearing)>) {
    let mut known: Option<Hand> = None;
    for (destination, _clearing) in files {
        if let Some(known) = known.as_ref().filter(|known| known.uid() == destination.owner) {
            // Refused where it has been asked for already.
            let _ = destination.hand.set(known.clone());
        }
        destination.discard();
        known = destination.hand.get().cloned();
    }
}
