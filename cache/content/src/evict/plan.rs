//! Who goes for an aim, who stays and why: data, to be shown before it is executed.
//!
//! Candidates come in the order of [`Standing::key`], in two parts, and no more of them are read than the aim needs. Pinned
//! entities and entities in use (read, written or part of a running job) never go.

use super::{PROTECTED_SHARE, Segment, Standing};
use crate::EntityId;
use std::iter::Peekable;

/// Victims of one plan for an aim that may take everything: a longer list would cost a large cache more memory than its
/// index (T-52). Such a plan says that it is cut; when it has been carried out, the next one goes on.
pub const MAX_LISTED: usize = 100_000;

/// An entity that might go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub id: EntityId,
    /// Bytes on disk that its removal frees.
    pub bytes: u64,
    /// How much it is wanted.
    pub standing: Standing,
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

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// To free so many bytes, or nothing at all: an emptied cache would help nobody, least of all the request that started it.
    Free(u64),
    /// To keep to limits: as many of the `excess` bytes as may go, and everything that was last used before `unused_since`
    /// (seconds since the Unix epoch). What is held goes when a later plan finds it free.
    Fit {
        /// Bytes above the limit.
        excess: u64,
        /// The age limit, if there is one.
        unused_since: Option<i64>,
    },
    /// Every candidate, because each was named.
    Named,
    /// Every candidate, because all shall go.
    Everything,
}

/// Why an entity goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EvictionReason {
    /// The origin has named another version under the same URL, and nobody has used this one since.
    Superseded,
    /// It was used once, and nothing that was used once and stays waits longer for a second use.
    UsedOnce,
    /// It was used more than once, but not for longer than anything else that was and stays.
    LeastRecentlyUsed,
    /// Nobody used it since the age limit.
    Unused,
    /// Somebody named it.
    Named,
    /// Everything goes.
    Cleared,
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

/// A number of entities and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Tally {
    /// How many.
    pub entities: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, candidate: &Candidate) {
        self.entities += 1;
        self.bytes = self.bytes.saturating_add(candidate.bytes);
    }
}

/// What the plan passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Kept {
    /// Because it is pinned.
    pub pinned: Tally,
    /// Because it is in use.
    pub in_use: Tally,
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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EvictionPlan {
    /// Bytes that were asked for; 0 where the aim is no number of bytes.
    pub need: u64,
    /// Who goes, in the order of eviction; empty when the plan is refused.
    pub victims: Vec<Victim>,
    /// Bytes that the victims free.
    pub freed: u64,
    /// Who would go, or might have to, but must stay; as far as the plan has read.
    pub kept: Kept,
    /// Whether the list was cut at [`MAX_LISTED`], and another plan will find more.
    pub is_cut: bool,
    /// Why there is no plan, if so; only for [`Aim::Free`].
    pub refused: Option<NotEnough>,
}

impl EvictionPlan {
    /// The plan for an entity that needs no room.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    fn take(&mut self, candidate: &Candidate, reason: EvictionReason) {
        let Candidate { id, bytes, standing, .. } = *candidate;
        self.victims.push(Victim { id, bytes, last_use: standing.last_use(), reason });
        self.freed = self.freed.saturating_add(bytes);
    }

    /// The plan that frees nothing and says why.
    fn refuse(self) -> Self {
        let Self { need, freed: evictable, kept, .. } = self;
        let (pinned, in_use) = (kept.pinned.bytes, kept.in_use.bytes);
        let refused = Some(NotEnough { need, evictable, pinned, in_use });
        Self { need, kept, refused, ..Self::default() }
    }
}

/// The rows of the table, as a plan reads them.
#[derive(Debug)]
pub struct Candidates<F, P> {
    /// Those before [`Standing::PROTECTED_FROM`], in order.
    pub first: F,
    /// Those from there on, in order.
    pub protected: P,
    /// Bytes of the protected beyond [`PROTECTED_SHARE`] of the room: see [`Candidates::overhang`].
    pub overhang: u64,
}

impl<F, P> Candidates<F, P> {
    /// By how much `protected` bytes are more than their share of `room`: the bytes that the cache uses and may still use.
    #[must_use]
    pub fn overhang(protected: u64, room: u64) -> u64 {
        protected.saturating_sub(room / 100 * PROTECTED_SHARE)
    }
}

/// Plans for an aim: the first candidates, in the order of eviction, that fulfil it.
///
/// Reads no further than it needs; memory grows with the victims alone, not with the cache (T-52).
#[must_use]
pub fn plan<F, P>(candidates: Candidates<F, P>, aim: Aim) -> EvictionPlan
where
    F: IntoIterator<Item = Candidate>,
    P: IntoIterator<Item = Candidate>,
{
    let need = match aim {
        Aim::Free(bytes) | Aim::Fit { excess: bytes, .. } => bytes,
        Aim::Named | Aim::Everything => 0,
    };
    let mut plan = EvictionPlan { need, ..EvictionPlan::default() };
    let mut order = Order {
        first: candidates.first.into_iter().peekable(),
        protected: candidates.protected.into_iter().peekable(),
        overhang: candidates.overhang,
    };
    // Asked before the next row is read.
    while !is_reached(aim, plan.freed) {
        let Some(candidate) = order.next(age_limit(aim, plan.freed)) else { break };
        let Some(reason) = reason(aim, plan.freed, &candidate) else { continue };
        match candidate.hold {
            Hold::Pinned => plan.kept.pinned.add(&candidate),
            Hold::InUse => plan.kept.in_use.add(&candidate),
            Hold::Free if plan.victims.len() >= MAX_LISTED && !matches!(aim, Aim::Free(_)) => {
                plan.is_cut = true;
                return plan;
            }
            Hold::Free => {
                order.on_gone(&candidate);
                plan.take(&candidate, reason);
            }
        }
    }
    if matches!(aim, Aim::Free(_)) && plan.freed < need { plan.refuse() } else { plan }
}

/// The order of eviction over both parts of the table.
struct Order<F: Iterator<Item = Candidate>, P: Iterator<Item = Candidate>> {
    first: Peekable<F>,
    protected: Peekable<P>,
    overhang: u64,
}

impl<F: Iterator<Item = Candidate>, P: Iterator<Item = Candidate>> Order<F, P> {
    /// The next candidate. With an age limit only what may be older: each segment is in the order of last use.
    fn next(&mut self, age_limit: Option<i64>) -> Option<Candidate> {
        let may_be_old = |standing: Standing| age_limit.is_none_or(|limit| standing.last_use() < limit);
        let first = self.first.peek().map(|candidate| candidate.standing);
        // Behind what is superseded the last uses begin anew.
        let first = first.filter(|standing| standing.segment() == Segment::Superseded || may_be_old(*standing));
        let is_settled =
            first.is_some_and(|first| first.segment() == Segment::Superseded) || first.is_some() && self.overhang == 0;
        if is_settled {
            return self.first.next();
        }
        let protected = self.protected.peek().map(|candidate| candidate.standing).filter(|s| may_be_old(*s));
        match (first, protected) {
            (Some(first), Some(protected)) if protected.last_use() < first.last_use() => self.protected.next(),
            (Some(_), _) => self.first.next(),
            (None, Some(_)) => self.protected.next(),
            (None, None) => None,
        }
    }

    fn on_gone(&mut self, candidate: &Candidate) {
        if candidate.standing.segment() == Segment::Protected {
            self.overhang = self.overhang.saturating_sub(candidate.bytes);
        }
    }
}

/// Whether enough bytes are freed, where the aim is bytes alone.
fn is_reached(aim: Aim, freed: u64) -> bool {
    match aim {
        Aim::Free(bytes) | Aim::Fit { excess: bytes, unused_since: None } => freed >= bytes,
        Aim::Fit { .. } | Aim::Named | Aim::Everything => false,
    }
}

/// The moment before which the last use must be, when nothing else makes a candidate go any more.
fn age_limit(aim: Aim, freed: u64) -> Option<i64> {
    match aim {
        Aim::Fit { excess, unused_since } if freed >= excess => unused_since,
        _ => None,
    }
}

/// Why the candidate would go, if it would.
fn reason(aim: Aim, freed: u64, candidate: &Candidate) -> Option<EvictionReason> {
    let standing = candidate.standing;
    let for_room = || match standing.segment() {
        // What frees nothing would only lose content.
        _ if candidate.bytes == 0 => None,
        Segment::Superseded => Some(EvictionReason::Superseded),
        Segment::Probation => Some(EvictionReason::UsedOnce),
        Segment::Protected => Some(EvictionReason::LeastRecentlyUsed),
    };
    match aim {
        Aim::Free(_) => for_room(),
        Aim::Fit { unused_since: Some(moment), .. } if standing.last_use() < moment => Some(EvictionReason::Unused),
        Aim::Fit { excess, .. } if freed < excess => for_room(),
        Aim::Fit { .. } => None,
        Aim::Named => Some(EvictionReason::Named),
        Aim::Everything => Some(EvictionReason::Cleared),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    fn candidate(name: u8, bytes: u64, last_use: i64, hold: Hold) -> Candidate {
        Candidate { id: EntityId([name; 32]), bytes, standing: Standing::admitted(last_use), hold }
    }

    fn protected(name: u8, bytes: u64, last_use: i64) -> Candidate {
        let standing = Standing::admitted(last_use - 1000).used(last_use);
        Candidate { standing, ..candidate(name, bytes, 0, Hold::Free) }
    }

    fn superseded(name: u8, bytes: u64, last_use: i64) -> Candidate {
        let standing = Standing::admitted(last_use).superseded();
        Candidate { standing, ..candidate(name, bytes, 0, Hold::Free) }
    }

    fn names(plan: &EvictionPlan) -> Vec<u8> {
        plan.victims.iter().map(|victim| victim.id.0[0]).collect()
    }

    /// Plans over a table of these rows.
    fn plan_of(all: &[Candidate], overhang: u64, aim: Aim) -> EvictionPlan {
        let mut all = all.to_vec();
        all.sort_by_key(|candidate| (candidate.standing.key(), candidate.id));
        let from = all.partition_point(|candidate| candidate.standing.key() < Standing::PROTECTED_FROM);
        let protected = all.split_off(from);
        plan(Candidates { first: all, protected, overhang }, aim)
    }

    #[test]
    fn those_used_once_go_first_the_oldest_first_and_no_more_than_needed() {
        let all = [
            candidate(1, 10, 300, Hold::Free),
            candidate(2, 10, 100, Hold::Free),
            candidate(3, 10, 200, Hold::Free),
            protected(4, 10, 50),
        ];
        assert_eq!(names(&plan_of(&all, 0, Aim::Free(1))), [2]);
        assert_eq!(names(&plan_of(&all, 0, Aim::Free(11))), [2, 3]);
        assert_eq!(plan_of(&all, 0, Aim::Free(11)).freed, 20);
        assert_eq!(names(&plan_of(&all, 0, Aim::Free(40))), [2, 3, 1, 4]);
        assert_eq!(plan_of(&all, 0, Aim::Free(0)), EvictionPlan::nothing());
    }

    #[test]
    fn beyond_their_share_the_protected_are_not_spared() {
        let all =
            [candidate(1, 10, 150, Hold::Free), protected(2, 10, 100), protected(3, 10, 120), protected(4, 10, 200)];
        assert_eq!(names(&plan_of(&all, 1, Aim::Free(40))), [2, 1, 3, 4]);
        assert_eq!(names(&plan_of(&all, 11, Aim::Free(40))), [2, 3, 1, 4]);
        assert_eq!(Candidates::<(), ()>::overhang(70, 100), 10);
        assert_eq!(Candidates::<(), ()>::overhang(50, 100), 0);
    }

    #[test]
    fn what_is_pinned_or_in_use_stays_and_is_counted() {
        let all =
            [candidate(1, 10, 1, Hold::Pinned), candidate(2, 11, 2, Hold::InUse), candidate(3, 10, 3, Hold::Free)];
        let kept = Kept { pinned: Tally { entities: 1, bytes: 10 }, in_use: Tally { entities: 1, bytes: 11 } };
        for aim in [Aim::Free(10), Aim::Fit { excess: 99, unused_since: Some(5) }, Aim::Named, Aim::Everything] {
            let plan = plan_of(&all, 0, aim);
            assert_eq!((names(&plan), plan.kept), (vec![3], kept), "{aim:?}");
        }
    }

    #[test]
    fn a_plan_that_cannot_free_enough_frees_nothing_and_says_why() {
        let all = [candidate(1, 10, 1, Hold::Pinned), candidate(2, 20, 2, Hold::InUse), candidate(3, 5, 3, Hold::Free)];
        let plan = plan_of(&all, 0, Aim::Free(6));
        assert_eq!((plan.victims.len(), plan.freed), (0, 0));
        let refused = plan.refused.expect("refused").to_string();
        insta::assert_snapshot!(refused, @"6 bytes are needed, but only 5 may go (10 are pinned, 20 in use)");
    }

    #[test]
    fn shrinking_takes_what_may_go_though_it_is_not_enough() {
        let all = [candidate(1, 10, 1, Hold::InUse), candidate(2, 5, 2, Hold::Free)];
        let plan = plan_of(&all, 0, Aim::Fit { excess: 12, unused_since: None });
        assert_eq!((names(&plan), plan.freed, plan.refused), (vec![2], 5, None));
    }

    #[test]
    fn each_victim_says_why_it_goes() {
        use EvictionReason::{Cleared, LeastRecentlyUsed, Named, Superseded, Unused, UsedOnce};
        let all = [superseded(1, 10, 900), candidate(2, 10, 100, Hold::Free), protected(3, 10, 200)];
        let reasons = |aim| plan_of(&all, 0, aim).victims.iter().map(|victim| victim.reason).collect::<Vec<_>>();
        assert_eq!(reasons(Aim::Free(30)), [Superseded, UsedOnce, LeastRecentlyUsed]);
        assert_eq!(reasons(Aim::Fit { excess: 10, unused_since: Some(150) }), [Superseded, Unused]);
        assert_eq!(reasons(Aim::Named), [Named; 3]);
        assert_eq!(reasons(Aim::Everything), [Cleared; 3]);
    }

    #[test]
    fn no_more_rows_are_read_than_the_plan_needs() {
        let read = Cell::new(0);
        let plan_over = |overhang, aim| {
            read.set(0);
            let count = |make: fn(i64) -> Candidate| (0..1_000_000).map(make).inspect(|_| read.set(read.get() + 1));
            let first = count(|at| candidate(1, 10, at, Hold::Free));
            let protected = count(|at| protected(1, 10, at));
            let plan = plan(Candidates { first, protected, overhang }, aim);
            (plan.victims.len(), read.get())
        };
        assert_eq!(plan_over(0, Aim::Free(100)), (10, 10));
        assert_eq!(plan_over(1000, Aim::Free(100)), (10, 11), "one is looked at on either side");
        assert_eq!(plan_over(0, Aim::Fit { excess: 100, unused_since: None }), (10, 10));
        assert_eq!(plan_over(1000, Aim::Free(0)), (0, 0));
        assert_eq!(plan_over(0, Aim::Fit { excess: 0, unused_since: Some(10) }), (20, 22));
    }

    #[test]
    fn a_plan_for_everything_is_cut_and_says_so() {
        let count = MAX_LISTED as i64 + 1;
        let all: Vec<_> = (0..count).map(|at| candidate(1, 1, at, Hold::Free)).collect();
        let cut = plan_of(&all, 0, Aim::Everything);
        assert!(cut.is_cut && cut.victims.len() == MAX_LISTED);
        assert!(!plan_of(&all[1..], 0, Aim::Everything).is_cut);
        assert_eq!(plan_of(&all, 0, Aim::Free(count as u64)).freed, count as u64, "all or nothing");
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let all = [candidate(1, u64::MAX, 1, Hold::Free), candidate(2, u64::MAX, 2, Hold::Free)];
        assert_eq!(names(&plan_of(&all, u64::MAX, Aim::Free(u64::MAX))), [1]);
        assert_eq!(plan_of(&all, u64::MAX, Aim::Everything).freed, u64::MAX);
    }

    prop_compose! {
        fn any_candidate()(bytes in 0u64..100, last_use in 0i64..30, segment in 0u8..10, hold in 0u8..5) -> Candidate {
            let hold = match hold { 0 => Hold::Pinned, 1 => Hold::InUse, _ => Hold::Free };
            let make = match segment { 0 => superseded, 1..5 => protected, _ => |n, b, at| candidate(n, b, at, Hold::Free) };
            Candidate { hold, ..make(0, bytes, last_use) }
        }
    }

    /// The obvious plan: of all that may go take the best choice, again and again.
    fn model(all: &[Candidate], overhang: u64, need: u64) -> Option<Vec<EntityId>> {
        let mut left: Vec<_> = all.iter().filter(|c| c.hold == Hold::Free && c.bytes > 0).collect();
        let (mut taken, mut freed, mut overhang) = (Vec::new(), 0, overhang);
        while freed < need {
            let rank = |c: &&&Candidate| match (c.standing.segment(), overhang) {
                (Segment::Protected, 0) => (2, c.standing.last_use(), 1, c.id),
                (Segment::Protected, _) => (1, c.standing.last_use(), 1, c.id),
                (Segment::Probation, _) => (1, c.standing.last_use(), 0, c.id),
                (Segment::Superseded, _) => (0, c.standing.last_use(), 0, c.id),
            };
            let next = **left.iter().min_by_key(rank)?;
            left.retain(|c| c.id != next.id);
            taken.push(next.id);
            freed += next.bytes;
            if next.standing.segment() == Segment::Protected {
                overhang = overhang.saturating_sub(next.bytes);
            }
        }
        Some(taken)
    }

    proptest! {
        #[test]
        fn plans_are_what_the_obvious_model_says(
            all in proptest::collection::vec(any_candidate(), 0..40),
            overhang in 0u64..400,
            need in 0u64..1500,
            moment in 0i64..30,
        ) {
            let named = all.into_iter().enumerate().map(|(n, c)| Candidate { id: EntityId([n as u8; 32]), ..c });
            let all: Vec<_> = named.collect();
            let ids = |plan: &EvictionPlan| plan.victims.iter().map(|v| v.id).collect::<Vec<_>>();
            let free = plan_of(&all, overhang, Aim::Free(need));
            prop_assert_eq!(ids(&free), model(&all, overhang, need).unwrap_or_default());
            prop_assert_eq!(free.freed, free.victims.iter().map(|v| v.bytes).sum::<u64>());
            prop_assert!(free.refused.is_some() != (free.freed >= need));
            if let Some(refused) = free.refused {
                let sum = |hold| all.iter().filter(|c| c.hold == hold).map(|c| c.bytes).sum::<u64>();
                let sums = (sum(Hold::Free), sum(Hold::Pinned), sum(Hold::InUse));
                prop_assert_eq!((refused.evictable, refused.pinned, refused.in_use), sums);
            }
            let aged = plan_of(&all, overhang, Aim::Fit { excess: 0, unused_since: Some(moment) });
            let mut old: Vec<_> = all.iter().filter(|c| c.hold == Hold::Free && c.standing.last_use() < moment).collect();
            old.sort_by_key(|c| c.id);
            let mut found = ids(&aged);
            found.sort();
            prop_assert_eq!(found, old.iter().map(|c| c.id).collect::<Vec<_>>());
            let fit = plan_of(&all, overhang, Aim::Fit { excess: need, unused_since: Some(moment) });
            let may_go = all.iter().filter(|c| c.hold == Hold::Free).map(|c| c.bytes).sum::<u64>();
            prop_assert!(fit.freed >= need.min(may_go) && old.iter().all(|c| ids(&fit).contains(&c.id)));
        }
    }
}
