//! What goes first when room is needed: the eviction plan, pure and showable before it is executed.
//!
//! Least recently used first. Pinned entities and entities in use (read, written or part of a running job) never go. A plan
//! that cannot free enough frees nothing: an emptied cache would help nobody, least of all the request that started it.

use crate::EntityId;
use std::collections::BinaryHeap;

/// An entity that might go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: EntityId,
    /// Bytes on disk that its removal frees.
    pub bytes: u64,
    /// Last use, in seconds since the Unix epoch.
    pub last_use: i64,
    /// Whether something holds it.
    pub hold: Hold,
}

/// What keeps an entity from going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Nothing.
    Free,
    /// Somebody pinned it.
    Pinned,
    /// A reader, a writer or a running job needs it.
    InUse,
}

/// Why an entity goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionReason {
    /// Nobody used it for longer than anything that stays.
    LeastRecentlyUsed,
}

/// An entity that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Victim {
    /// Its name.
    pub id: EntityId,
    /// Bytes that this frees.
    pub bytes: u64,
    /// Last use, in seconds since the Unix epoch.
    pub last_use: i64,
    /// Why it goes.
    pub reason: EvictionReason,
}

/// Why no room can be made: the cache is full of what must stay. Wait for the readers, unpin, or raise the quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{need} bytes are needed, but only {evictable} may go ({pinned} are pinned, {in_use} in use)")]
pub struct NotEnough {
    /// Bytes that were asked for.
    pub need: u64,
    /// Bytes that could go.
    pub evictable: u64,
    /// Bytes that are pinned.
    pub pinned: u64,
    /// Bytes that are in use.
    pub in_use: u64,
}

/// What goes, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvictionPlan {
    /// Bytes that were asked for.
    pub need: u64,
    /// Who goes, least recently used first; empty when the plan is refused.
    pub victims: Vec<Victim>,
    /// Bytes that the victims free.
    pub freed: u64,
    /// Why there is no plan, if so.
    pub refused: Option<NotEnough>,
}

impl EvictionPlan {
    /// The plan for an entity that needs no room.
    #[must_use]
    pub fn nothing() -> Self {
        Self { need: 0, victims: Vec::new(), freed: 0, refused: None }
    }
}

/// Plans to free at least `need` bytes: the shortest run of least recently used candidates that does.
///
/// Streams over the candidates; memory grows with the victims alone, not with the cache (T-52).
#[must_use]
pub fn plan(candidates: impl IntoIterator<Item = Candidate>, need: u64) -> EvictionPlan {
    if need == 0 {
        return EvictionPlan::nothing();
    }
    let mut chosen = Chosen { need, heap: BinaryHeap::new(), bytes: 0 };
    let (mut evictable, mut pinned, mut in_use) = (0_u64, 0_u64, 0_u64);
    for candidate in candidates {
        let account = match candidate.hold {
            Hold::Free => &mut evictable,
            Hold::Pinned => &mut pinned,
            Hold::InUse => &mut in_use,
        };
        *account = account.saturating_add(candidate.bytes);
        // What frees nothing would only lose content.
        if candidate.hold == Hold::Free && candidate.bytes > 0 {
            chosen.offer(candidate);
        }
    }
    if evictable < need {
        let refused = Some(NotEnough { need, evictable, pinned, in_use });
        return EvictionPlan { need, victims: Vec::new(), freed: 0, refused };
    }
    let freed = u64::try_from(chosen.bytes).unwrap_or(u64::MAX);
    EvictionPlan { need, victims: chosen.into_victims(), freed, refused: None }
}

/// The shortest oldest run so far that frees enough; all of them while it does not.
struct Chosen {
    need: u64,
    /// Newest on top. Ordered by (last use, id), so that the plan does not depend on the order of the candidates.
    heap: BinaryHeap<(i64, EntityId, u64)>,
    /// Wide enough for any sum.
    bytes: u128,
}

impl Chosen {
    fn offer(&mut self, candidate: Candidate) {
        self.heap.push((candidate.last_use, candidate.id, candidate.bytes));
        self.bytes += u128::from(candidate.bytes);
        while let Some((_, _, newest)) = self.heap.peek().copied()
            && self.bytes - u128::from(newest) >= u128::from(self.need)
        {
            self.heap.pop();
            self.bytes -= u128::from(newest);
        }
    }

    fn into_victims(self) -> Vec<Victim> {
        let reason = EvictionReason::LeastRecentlyUsed;
        let victim = |(last_use, id, bytes)| Victim { id, bytes, last_use, reason };
        self.heap.into_sorted_vec().into_iter().map(victim).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(name: u8, bytes: u64, last_use: i64, hold: Hold) -> Candidate {
        Candidate { id: EntityId([name; 32]), bytes, last_use, hold }
    }

    fn names(plan: &EvictionPlan) -> Vec<u8> {
        plan.victims.iter().map(|victim| victim.id.0[0]).collect()
    }

    #[test]
    fn the_least_recently_used_go_first_and_no_more_than_needed() {
        let all =
            [candidate(1, 10, 300, Hold::Free), candidate(2, 10, 100, Hold::Free), candidate(3, 10, 200, Hold::Free)];
        assert_eq!(names(&plan(all, 1)), [2]);
        assert_eq!(names(&plan(all, 11)), [2, 3]);
        assert_eq!(plan(all, 11).freed, 20);
        assert_eq!(names(&plan(all, 30)), [2, 3, 1]);
    }

    #[test]
    fn what_is_pinned_or_in_use_stays() {
        let all =
            [candidate(1, 10, 1, Hold::Pinned), candidate(2, 10, 2, Hold::InUse), candidate(3, 10, 3, Hold::Free)];
        assert_eq!(names(&plan(all, 10)), [3]);
    }

    #[test]
    fn a_plan_that_cannot_free_enough_frees_nothing_and_says_why() {
        let all = [candidate(1, 10, 1, Hold::Pinned), candidate(2, 20, 2, Hold::InUse), candidate(3, 5, 3, Hold::Free)];
        let plan = plan(all, 6);
        assert_eq!((plan.victims.len(), plan.freed), (0, 0));
        let refused = plan.refused.expect("refused").to_string();
        insta::assert_snapshot!(refused, @"6 bytes are needed, but only 5 may go (10 are pinned, 20 in use)");
    }

    #[test]
    fn no_need_no_victims() {
        assert_eq!(plan([candidate(1, 10, 1, Hold::Free)], 0), EvictionPlan::nothing());
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let all = [candidate(1, u64::MAX, 1, Hold::Free), candidate(2, u64::MAX, 2, Hold::Free)];
        assert_eq!(names(&plan(all, u64::MAX)), [1]);
    }

    prop_compose! {
        fn any_candidate()(name in 0u8..60, bytes in 0u64..100, last_use in 0i64..20, hold in 0u8..5) -> Candidate {
            let hold = match hold { 0 => Hold::Pinned, 1 => Hold::InUse, _ => Hold::Free };
            candidate(name, bytes, last_use, hold)
        }
    }

    /// The obvious plan: sort everything, take from the front.
    fn model(mut all: Vec<Candidate>, need: u64) -> Vec<(i64, EntityId)> {
        all.retain(|c| c.hold == Hold::Free && c.bytes > 0);
        all.sort_by_key(|c| (c.last_use, c.id));
        let mut freed = 0;
        let taken: Vec<_> = all
            .iter()
            .take_while(|c| {
                let is_needed = freed < need;
                freed += c.bytes;
                is_needed
            })
            .collect();
        let sum: u64 = taken.iter().map(|c| c.bytes).sum();
        if sum < need { Vec::new() } else { taken.iter().map(|c| (c.last_use, c.id)).collect() }
    }

    proptest! {
        #[test]
        fn the_plan_is_the_shortest_oldest_run(
            all in proptest::collection::btree_map(0u8..60, any_candidate(), 0..40),
            need in 0u64..1500,
        ) {
            let all: Vec<_> = all.into_iter().map(|(name, c)| Candidate { id: EntityId([name; 32]), ..c }).collect();
            let plan = plan(all.iter().rev().copied(), need);
            let chosen: Vec<_> = plan.victims.iter().map(|v| (v.last_use, v.id)).collect();
            prop_assert_eq!(chosen, model(all, need));
            prop_assert_eq!(plan.freed, plan.victims.iter().map(|v| v.bytes).sum::<u64>());
            prop_assert!(plan.refused.is_some() || plan.freed >= need);
        }
    }
}
