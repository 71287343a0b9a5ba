//! Plans held against the obvious ones.

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
    sparing(all, overhang, aim, Bounds::default())
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
    let all = [candidate(1, 10, 150, Hold::Free), protected(2, 10, 100), protected(3, 10, 120), protected(4, 10, 200)];
    assert_eq!(names(&plan_of(&all, 1, Aim::Free(40))), [2, 1, 3, 4]);
    assert_eq!(names(&plan_of(&all, 11, Aim::Free(40))), [2, 3, 1, 4]);
    assert_eq!(Candidates::<(), ()>::overhang(70, 100), 10);
    assert_eq!(Candidates::<(), ()>::overhang(50, 100), 0);
}

#[test]
fn what_is_pinned_or_in_use_stays_and_is_counted() {
    let all = [candidate(1, 10, 1, Hold::Pinned), candidate(2, 11, 2, Hold::InUse), candidate(3, 10, 3, Hold::Free)];
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

/// Plans over a table of these rows, with bytes to spare.
fn sparing(all: &[Candidate], overhang: u64, aim: Aim, bounds: Bounds) -> EvictionPlan {
    let mut all = all.to_vec();
    all.sort_by_key(|candidate| (candidate.standing.key(), candidate.id));
    let from = all.partition_point(|candidate| candidate.standing.key() < Standing::PROTECTED_FROM);
    let protected = all.split_off(from);
    plan_within(Candidates { first: all, protected, overhang }, aim, bounds)
}

#[test]
fn to_spare_go_the_next_in_order_and_nothing_that_is_held_protected_or_too_large() {
    let all = [
        candidate(1, 10, 100, Hold::Free),
        candidate(2, 10, 200, Hold::InUse),
        candidate(3, 10, 300, Hold::Free),
        candidate(4, 10, 400, Hold::Free),
        protected(5, 10, 50),
    ];
    let spare = |spare, listed| Bounds { spare, listed };
    let names = |overhang, aim, bounds| names(&sparing(&all, overhang, aim, bounds));
    assert_eq!(names(0, Aim::Free(5), spare(0, 9)), [1]);
    assert_eq!(names(0, Aim::Free(5), spare(15, 9)), [1, 3]);
    assert_eq!(names(0, Aim::Free(5), spare(14, 9)), [1], "the next is larger than what is left");
    assert_eq!(names(0, Aim::Free(5), spare(99, 9)), [1, 3, 4], "the protected are spared");
    assert_eq!(names(0, Aim::Free(5), spare(99, 2)), [1, 3], "no longer than was said");
    assert_eq!(names(0, Aim::Free(30), spare(99, 2)), [1, 3, 4], "but what is needed is needed");
    assert_eq!(names(1, Aim::Free(5), spare(99, 9)), [5, 1, 3, 4], "beyond their share they are not");
    assert_eq!(names(0, Aim::Free(0), spare(99, 9)), [], "who needs nothing takes nothing");
    let refused = sparing(&all, 0, Aim::Free(41), spare(99, 9)).refused.expect("refused");
    assert_eq!((refused.need, refused.evictable), (41, 40), "what was needed is what is said");
    let cut = sparing(&all, 0, Aim::Everything, spare(99, 2));
    assert!(cut.is_cut && cut.victims.len() == 2);
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
        spare in 0u64..300,
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
        let spared = sparing(&all, overhang, Aim::Free(need), Bounds { spare, listed: MAX_LISTED });
        prop_assert_eq!(&ids(&spared)[..free.victims.len()], ids(&free), "first what is needed");
        prop_assert_eq!(spared.refused, free.refused);
        prop_assert!(spared.freed <= free.freed.max(need.saturating_add(spare)));
        let in_order = model(&all, overhang, spared.freed).unwrap_or_default();
        prop_assert!(in_order.starts_with(&ids(&spared)) || ids(&spared).starts_with(&in_order), "in the same order");
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
