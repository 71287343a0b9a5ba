//! How much each owner has had: the time in which its jobs held places.
//!
//! Whoever has had least is next. An owner that comes back begins with no less than the least of those who are there, so
//! that nobody saves up for later (start-time fair queueing, with time at a place as the service).

use crate::job::terms::Owner;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default)]
struct Share {
    used: Duration,
    /// Jobs that wait or run.
    active: usize,
    /// Of those, the ones that run in the background.
    background: usize,
}

/// The owners' shares.
#[derive(Debug, Default)]
pub(crate) struct Shares(BTreeMap<Owner, Share>);

impl Shares {
    /// One more of the owner's jobs waits or runs.
    pub(crate) fn enter(&mut self, owner: Owner) {
        if self.0.get(&owner).is_some_and(|share| share.active > 0) {
            self.0.entry(owner).or_default().active += 1;
            return;
        }
        let floor = self.0.values().filter(|share| share.active > 0).map(|share| share.used).min();
        if let Some(floor) = floor {
            // Whoever has no more than the newest would be given is not worth remembering.
            self.0.retain(|_, share| share.active > 0 || share.used > floor);
        }
        let share = self.0.entry(owner).or_default();
        share.used = share.used.max(floor.unwrap_or_default());
        share.active = 1;
    }

    /// One fewer.
    pub(crate) fn leave(&mut self, owner: Owner) {
        if let Some(share) = self.0.get_mut(&owner) {
            share.active = share.active.saturating_sub(1);
        }
    }

    /// One more of the owner's jobs has a place in the background.
    pub(crate) fn begin(&mut self, owner: Owner) {
        self.0.entry(owner).or_default().background += 1;
    }

    /// One fewer.
    pub(crate) fn end(&mut self, owner: Owner) {
        if let Some(share) = self.0.get_mut(&owner) {
            share.background = share.background.saturating_sub(1);
        }
    }

    /// Jobs of the owner that have a place in the background.
    pub(crate) fn background(&self, owner: Owner) -> usize {
        self.0.get(&owner).map_or(0, |share| share.background)
    }

    /// The owner has held a place for so long.
    pub(crate) fn charge(&mut self, owner: Owner, time: Duration) {
        self.0.entry(owner).or_default().used += time;
    }

    /// What the owner has had.
    pub(crate) fn used(&self, owner: Owner) -> Duration {
        self.0.get(&owner).map(|share| share.used).unwrap_or_default()
    }
}
