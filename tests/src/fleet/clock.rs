//! Events in order of time; those of one moment in the order in which they were made.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nanoseconds since the beginning.
pub(super) type Moment = u64;

/// What is still to come.
#[derive(Debug)]
pub(super) struct Clock<E> {
    heap: BinaryHeap<Reverse<(Moment, u64, Slot)>>,
    events: Vec<Option<E>>,
    free: Vec<usize>,
    made: u64,
}

type Slot = usize;

impl<E> Clock<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), made: 0 }
    }

    pub(super) fn at(&mut self, moment: Moment, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                self.events.len() - 1
            }
        };
        self.made += 1;
        self.heap.push(Reverse((moment, self.made, slot)));
    }

    pub(super) fn next(&mut self) -> Option<(Moment, E)> {
        let Reverse((moment, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((moment, self.events[slot].take()?))
    }

    /// Events that there were.
    pub(super) fn made(&self) -> u64 {
        self.made
    }
}

/// How long so many bytes take at so many bits per second.
pub(super) fn time_of(bytes: u64, rate: u64) -> Moment {
    (u128::from(bytes) * 8 * 1_000_000_000 / u128::from(rate.max(1))) as u64
}
