//! The events in memory: the newest ones, and those before them of which a hook is still to be told.

use super::number;
use eddy_wire::api::EventView;
use std::collections::{HashMap, HashSet, VecDeque};

/// Events that are kept.
pub const KEPT: usize = 10_000;
/// Events of one owner that wait for their hook behind the newest ones: as many as a slow hook may fall behind, whatever others do. An event
/// has a few hundred bytes.
const UNTOLD: usize = 1000;

/// The events in memory.
#[derive(Default)]
pub(super) struct Kept {
    newest: VecDeque<EventView>,
    /// Older ones with a hook, in order, and how many each owner has of them.
    untold: VecDeque<EventView>,
    of_owner: HashMap<u32, usize>,
    /// Owners of whom more waited than is kept, as long as others of theirs wait: it is said once.
    beyond: HashSet<u32>,
    /// Up to where hooks have been told.
    told: u64,
}

impl Kept {
    /// Nothing, of which hooks have been told up to `told`.
    pub(super) fn told_to(told: u64) -> Self {
        Self { told, ..Self::default() }
    }

    /// Adds an event with its number.
    pub(super) fn push(&mut self, event: EventView) {
        self.newest.push_back(event);
        if self.newest.len() > KEPT
            && let Some(event) = self.newest.pop_front()
        {
            self.keep_untold(event);
        }
    }

    fn keep_untold(&mut self, event: EventView) {
        if event.hook.is_none() || number(&event) <= self.told {
            return;
        }
        let count = self.of_owner.entry(event.owner).or_default();
        if *count >= UNTOLD {
            if self.beyond.insert(event.owner) {
                let EventView { id, owner, job, .. } = &event;
                tracing::error!(event = %id, %owner, %job, "a hook is so slow that events of its owner are dropped before it is told");
            }
            return;
        }
        *count += 1;
        self.untold.push_back(event);
    }

    /// Hooks have been told of everything up to here.
    pub(super) fn tell_to(&mut self, told: u64) {
        self.told = self.told.max(told);
        while let Some(event) = self.untold.pop_front_if(|event| number(event) <= told) {
            if let Some(count) = self.of_owner.get_mut(&event.owner) {
                *count -= 1;
                if *count == 0 {
                    self.of_owner.remove(&event.owner);
                    self.beyond.remove(&event.owner);
                }
            }
        }
    }

    /// The newest events, in order.
    pub(super) fn newest(&self) -> &VecDeque<EventView> {
        &self.newest
    }

    /// Those of the newest that are behind a cursor.
    pub(super) fn after(&self, cursor: u64) -> impl Iterator<Item = &EventView> {
        behind(&self.newest, cursor)
    }

    /// The events behind a cursor of which hooks may have to be told: all that are in memory.
    pub(super) fn for_hooks(&self, cursor: u64) -> impl Iterator<Item = &EventView> {
        behind(&self.untold, cursor).chain(self.after(cursor))
    }
}

fn behind(events: &VecDeque<EventView>, cursor: u64) -> impl Iterator<Item = &EventView> {
    let first = events.partition_point(|event| number(event) <= cursor);
    events.iter().skip(first)
}
