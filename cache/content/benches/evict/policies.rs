//! The policies under comparison, each as a cache of bytes that is asked for objects.

use crate::eddy::{Eddy, Supersession};
use crate::queues::{S3Fifo, Segmented, Sieve};
use crate::traces::Request;
use std::collections::{BTreeSet, HashMap};

/// A cache with a policy.
pub(crate) trait Cache {
    /// Takes a request; says whether the object was there. `next_use` is when it will be asked for again.
    fn request(&mut self, request: &Request, next_use: i64) -> bool;
}

/// A policy: its name, and how to make a cache of so many bytes with it.
pub(crate) type Policy = (&'static str, Box<dyn Fn(u64) -> Box<dyn Cache>>);

/// Half-life of a use in LRFU, in seconds.
const HALF_LIFE: f64 = 4.0 * 24.0 * 3600.0;

/// Every policy, the upper bound last.
pub(crate) fn all() -> Vec<Policy> {
    vec![
        keyed("LRU", |used: Use<'_, ()>| ((), used.request.at)),
        policy("SIEVE", |capacity| Box::new(Sieve::new(capacity))),
        policy("S3-FIFO", |capacity| Box::new(S3Fifo::new(capacity, 10, 2, 1))),
        policy("S3-FIFO, no ghosts", |capacity| Box::new(S3Fifo::new(capacity, 10, 2, 0))),
        policy("S3-FIFO 20 %, 1 use", |capacity| Box::new(S3Fifo::new(capacity, 20, 1, 1))),
        policy("segmented LRU 80 %", |capacity| Box::new(Segmented::new(capacity, 80, 0))),
        policy("segmented LRU 60 %", |capacity| Box::new(Segmented::new(capacity, 60, 0))),
        policy("same, with ghosts", |capacity| Box::new(Segmented::new(capacity, 60, 1))),
        // The key of the last victim ages what came before; a cost of one for each object favours the small.
        keyed("GDSF", |used: Use<'_, i64>| {
            let count = used.state.unwrap_or(0) + 1;
            (count, used.floor + (count << 40) / (used.request.bytes as i64 + 1))
        }),
        // The same with a cost of the object's bytes.
        keyed("LFU with aging", |used: Use<'_, i64>| {
            let count = used.state.unwrap_or(0) + 1;
            (count, used.floor + count)
        }),
        // Uses that lose half of their weight in four days; the state is the moment at which one use would weigh as much.
        keyed("LRFU, 4 days", |used: Use<'_, f64>| {
            let now = used.request.at as f64;
            let left = used.state.map_or(0.0, |rank| ((rank - now) / HALF_LIFE).exp2());
            let rank = now + (1.0 + left).log2() * HALF_LIFE;
            (rank, rank as i64)
        }),
        policy("eddy, deaf", |capacity| Box::new(Eddy::new(capacity, Supersession::Ignored))),
        policy("eddy", |capacity| Box::new(Eddy::new(capacity, Supersession::Heard))),
        // Farthest next use first. With sizes no true bound, but near it.
        keyed("Belady", |used: Use<'_, ()>| ((), -used.next_use)),
    ]
}

fn policy(name: &'static str, make: fn(u64) -> Box<dyn Cache>) -> Policy {
    (name, Box::new(make))
}

fn keyed<S: Copy + 'static>(name: &'static str, rule: fn(Use<'_, S>) -> (S, i64)) -> Policy {
    (name, Box::new(move |capacity| Box::new(Keyed::new(capacity, rule))))
}

/// What a rule is asked about: the state of the object if it is there, and the key of the last victim.
struct Use<'r, S> {
    state: Option<S>,
    request: &'r Request,
    next_use: i64,
    floor: i64,
}

/// A cache that keeps its objects in the order of a key and evicts from the front.
struct Keyed<S, F> {
    capacity: u64,
    used: u64,
    /// State, key, bytes.
    objects: HashMap<u32, (S, i64, u64)>,
    order: BTreeSet<(i64, u32)>,
    /// State and key after a use.
    rule: F,
    floor: i64,
}

impl<S: Copy, F: Fn(Use<'_, S>) -> (S, i64)> Keyed<S, F> {
    fn new(capacity: u64, rule: F) -> Self {
        Self { capacity, used: 0, objects: HashMap::new(), order: BTreeSet::new(), rule, floor: 0 }
    }

    fn enter(&mut self, request: &Request, next_use: i64) {
        let state = self.objects.get(&request.object).map(|(state, ..)| *state);
        let (state, key) = (self.rule)(Use { state, request, next_use, floor: self.floor });
        if let Some((_, old, _)) = self.objects.insert(request.object, (state, key, request.bytes)) {
            self.order.remove(&(old, request.object));
        } else {
            self.used += request.bytes;
        }
        self.order.insert((key, request.object));
    }

    fn make_room(&mut self, bytes: u64) {
        while self.used + bytes > self.capacity {
            let Some((key, victim)) = self.order.pop_first() else { return };
            self.floor = self.floor.max(key);
            self.used -= self.objects.remove(&victim).map_or(0, |(.., bytes)| bytes);
        }
    }
}

impl<S: Copy, F: Fn(Use<'_, S>) -> (S, i64)> Cache for Keyed<S, F> {
    fn request(&mut self, request: &Request, next_use: i64) -> bool {
        let is_hit = self.objects.contains_key(&request.object);
        if !is_hit {
            if request.bytes > self.capacity {
                return false;
            }
            self.make_room(request.bytes);
        }
        self.enter(request, next_use);
        is_hit
    }
}
