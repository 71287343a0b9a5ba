//! The policies that are made of queues: SIEVE, segmented LRU, S3-FIFO.

use crate::policies::Cache;
use crate::traces::Request;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

/// The names of what went lately, up to some bytes.
struct Ghosts {
    limit: u64,
    bytes: u64,
    names: HashSet<u32>,
    queue: VecDeque<(u32, u64)>,
}

impl Ghosts {
    fn new(limit: u64) -> Self {
        Self { limit, bytes: 0, names: HashSet::new(), queue: VecDeque::new() }
    }

    fn remember(&mut self, object: u32, bytes: u64) {
        if self.names.insert(object) {
            self.queue.push_back((object, bytes));
            self.bytes += bytes;
        }
        while self.bytes > self.limit {
            let Some((object, bytes)) = self.queue.pop_front() else { break };
            self.names.remove(&object);
            self.bytes -= bytes;
        }
    }
}

/// Segmented LRU: what is used a second time is protected, up to a share of the bytes; the rest is on probation.
pub(crate) struct Segmented {
    capacity: u64,
    /// Percent that may be protected.
    share: u64,
    /// Bytes on probation, bytes protected.
    used: [u64; 2],
    /// Segment, place, bytes.
    objects: HashMap<u32, (usize, u64, u64)>,
    order: [BTreeMap<u64, u32>; 2],
    clock: u64,
    ghosts: Ghosts,
}

impl Segmented {
    pub(crate) fn new(capacity: u64, share: u64, ghost_capacities: u64) -> Self {
        let ghosts = Ghosts::new(capacity * ghost_capacities);
        Self { capacity, share, used: [0; 2], objects: HashMap::new(), order: Default::default(), clock: 0, ghosts }
    }

    fn put(&mut self, object: u32, segment: usize, bytes: u64) {
        self.clock += 1;
        if let Some((old, place, bytes)) = self.objects.insert(object, (segment, self.clock, bytes)) {
            self.order[old].remove(&place);
            self.used[old] -= bytes;
        }
        self.order[segment].insert(self.clock, object);
        self.used[segment] += bytes;
        while self.used[1] > self.capacity / 100 * self.share {
            // Its old place is gone, which the next turn does not mind.
            let Some((_, last)) = self.order[1].pop_first() else { break };
            let bytes = self.objects[&last].2;
            self.put(last, 0, bytes);
        }
    }
}

impl Cache for Segmented {
    fn request(&mut self, request: &Request, _: i64) -> bool {
        if self.objects.contains_key(&request.object) {
            self.put(request.object, 1, request.bytes);
            return true;
        }
        if request.bytes > self.capacity {
            return false;
        }
        while self.used[0] + self.used[1] + request.bytes > self.capacity {
            let segment = usize::from(self.order[0].is_empty());
            let Some((_, victim)) = self.order[segment].pop_first() else { break };
            let bytes = self.objects.remove(&victim).map_or(0, |(.., bytes)| bytes);
            self.used[segment] -= bytes;
            self.ghosts.remember(victim, bytes);
        }
        let segment = usize::from(self.ghosts.names.contains(&request.object));
        self.put(request.object, segment, request.bytes);
        false
    }
}

/// SIEVE (Zhang et al., NSDI 2024): a FIFO whose hand spares, once, what was used since it came by.
pub(crate) struct Sieve {
    capacity: u64,
    used: u64,
    /// Place, bytes, whether used since the hand came by.
    objects: HashMap<u32, (u64, u64, bool)>,
    order: BTreeMap<u64, u32>,
    clock: u64,
    hand: u64,
}

impl Sieve {
    pub(crate) fn new(capacity: u64) -> Self {
        Self { capacity, used: 0, objects: HashMap::new(), order: BTreeMap::new(), clock: 0, hand: 0 }
    }
}

impl Cache for Sieve {
    fn request(&mut self, request: &Request, _: i64) -> bool {
        if let Some((.., is_used)) = self.objects.get_mut(&request.object) {
            *is_used = true;
            return true;
        }
        if request.bytes > self.capacity {
            return false;
        }
        while self.used + request.bytes > self.capacity {
            let at = self.order.range(self.hand..).next().or_else(|| self.order.iter().next());
            let Some((place, object)) = at.map(|(place, object)| (*place, *object)) else { break };
            self.hand = place + 1;
            if let Some((.., is_used)) = self.objects.get_mut(&object)
                && std::mem::take(is_used)
            {
                continue;
            }
            self.order.remove(&place);
            self.used -= self.objects.remove(&object).map_or(0, |(_, bytes, _)| bytes);
        }
        self.clock += 1;
        self.order.insert(self.clock, request.object);
        self.objects.insert(request.object, (self.clock, request.bytes, false));
        self.used += request.bytes;
        false
    }
}

/// S3-FIFO (Yang et al., SOSP 2023): a small queue through which the new must pass, a main queue that gives what was used
/// another turn, and the names of what fell out of the small one.
pub(crate) struct S3Fifo {
    capacity: u64,
    /// Percent for the small queue.
    small: u64,
    /// Uses that lead from the small queue to the main one.
    promoting: u8,
    /// Bytes in the small queue, in the main one.
    used: [u64; 2],
    queues: [VecDeque<u32>; 2],
    /// Bytes, uses (at most 3).
    objects: HashMap<u32, (u64, u8)>,
    ghosts: Ghosts,
}

impl S3Fifo {
    pub(crate) fn new(capacity: u64, small: u64, promoting: u8, ghost_capacities: u64) -> Self {
        let ghosts = Ghosts::new(capacity * ghost_capacities);
        Self { capacity, small, promoting, used: [0; 2], queues: Default::default(), objects: HashMap::new(), ghosts }
    }

    /// One step of eviction; says whether there was anything.
    fn evict(&mut self) -> bool {
        let is_small = self.used[0] >= self.capacity / 100 * self.small || self.queues[1].is_empty();
        let from = usize::from(!is_small);
        let Some(object) = self.queues[from].pop_front() else { return false };
        let Some((bytes, uses)) = self.objects.get(&object).copied() else { return true };
        self.used[from] -= bytes;
        if uses >= if is_small { self.promoting } else { 1 } {
            self.objects.insert(object, (bytes, if is_small { 0 } else { uses - 1 }));
            self.queues[1].push_back(object);
            self.used[1] += bytes;
        } else {
            self.objects.remove(&object);
            if is_small {
                self.ghosts.remember(object, bytes);
            }
        }
        true
    }
}

impl Cache for S3Fifo {
    fn request(&mut self, request: &Request, _: i64) -> bool {
        if let Some((_, uses)) = self.objects.get_mut(&request.object) {
            *uses = (*uses + 1).min(3);
            return true;
        }
        if request.bytes > self.capacity {
            return false;
        }
        while self.used[0] + self.used[1] + request.bytes > self.capacity && self.evict() {}
        let into = usize::from(self.ghosts.names.contains(&request.object));
        self.queues[into].push_back(request.object);
        self.used[into] += request.bytes;
        self.objects.insert(request.object, (request.bytes, 0));
        false
    }
}
