//! Quota, reserve, eviction and leases.

use crate::support::*;
use eddy_cache::{
    AdmitError, EntityHandle, EvictionReason, Goal, Limits, Pin, Quota, RemoveOutcome, Reserve, Store, StoreConfig,
};
use eddy_content::EntityId;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LENGTH: u64 = 4 * BLOCK as u64;

/// A store that has room for `count` entities of [`LENGTH`].
fn small(directory: &Path, count: u64) -> Store {
    let one = {
        let probe = tempfile::tempdir().expect("a directory");
        let store = open(probe.path());
        store.begin(new_entity(0, LENGTH)).expect("admitted");
        store.usage().expect("the usage").used
    };
    let quota = Quota::Bytes(one * count);
    Store::open(StoreConfig { directory: directory.to_owned(), quota, reserve: Reserve::Bytes(0) }).expect("opens")
}

#[test]
fn what_could_never_fit_is_refused_with_the_numbers() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 1);
    let error = store.begin(new_entity(1, 1 << 30)).expect_err("too large");
    assert!(matches!(error, AdmitError::TooLarge { need, quota } if need > quota && need > 1 << 30), "{error}");
    assert!(!error.is_transient());
    let error = store.begin(new_entity(1, u64::MAX)).expect_err("beyond the protocol");
    assert!(matches!(error, AdmitError::BeyondProtocol { .. }), "{error}");
}

#[test]
fn room_is_made_by_what_nobody_uses_and_was_used_longest_ago() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 3);
    let in_use = store.begin(new_entity(0, LENGTH)).expect("admitted");
    for tag in [1, 2] {
        let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
        write(&handle, tag, 0..4);
        handle.commit().expect("committed");
    }
    let plan = store.plan_eviction(LENGTH).expect("a plan");
    assert!(plan.refused.is_none());
    assert_eq!(plan.victims.len(), 1);
    let victim = plan.victims[0].id;
    assert_ne!(victim, in_use.id());

    let new = store.begin(new_entity(3, LENGTH)).expect("room is made");
    assert!(store.find(&victim).expect("asked").is_none(), "the plan is what was done");
    assert_eq!(store.usage().expect("the usage").entities, 3);
    assert_eq!(std::fs::read_dir(directory.path().join("quarantine")).expect("a listing").count(), 0);

    let rest = store.list(None, 10).expect("the list");
    let rest: Vec<_> = rest.iter().map(|record| store.find(&record.id()).expect("asked").expect("here")).collect();
    let error = store.begin(new_entity(4, LENGTH)).expect_err("all is in use");
    assert!(matches!(error, AdmitError::NoRoom { evictable: 0, .. }) && error.is_transient(), "{error}");
    drop((in_use, new, rest));
    store.begin(new_entity(4, LENGTH)).expect("room is made again");
}

/// Lets an entity in, so that nobody uses it.
fn keep(store: &Store, tag: u64) -> EntityId {
    store.begin(new_entity(tag, LENGTH)).expect("admitted").id()
}

#[test]
fn what_is_pinned_stays_whatever_room_is_needed_and_goes_when_it_is_let_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let pinned = {
        let store = small(directory.path(), 3);
        let pinned = keep(&store, 0);
        assert!(store.pin(&pinned, Pin::Pinned).expect("asked"));
        assert!(!store.pin(&new_entity(9, 1).entity.id(), Pin::Pinned).expect("asked"), "it is not here");
        for tag in 1..8 {
            keep(&store, tag);
        }
        pinned
    };
    let store = small(directory.path(), 3);
    assert!(store.find(&pinned).expect("asked").expect("here").record().pinned);
    assert_eq!(store.usage().expect("the usage").entities, 3);
    let refused = store.plan(&Goal::Free(3 * LENGTH)).expect("a plan").refused.expect("two may go, and not three");
    assert!(refused.pinned > LENGTH && refused.evictable > 2 * LENGTH && refused.evictable < 3 * LENGTH + LENGTH);
    let plan = store.plan(&Goal::These(vec![pinned])).expect("a plan");
    assert_eq!((plan.victims.len(), plan.kept.pinned.entities), (0, 1));
    let cleared = store.clear().expect("cleared");
    assert_eq!((cleared.removed, cleared.pinned), (2, 1));
    assert!(store.pin(&pinned, Pin::Free).expect("asked"));
    assert_eq!(store.clear().expect("cleared").removed, 1);
}

#[test]
fn what_was_pinned_after_the_plan_was_shown_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 3);
    let (first, second, third) = (keep(&store, 0), keep(&store, 1), keep(&store, 2));
    let plan = store.plan(&Goal::Everything).expect("a plan");
    assert_eq!(plan.victims.len(), 3);
    store.pin(&first, Pin::Pinned).expect("pinned");
    let handle = store.find(&second).expect("asked").expect("here");
    let done = store.carry_out(&plan).expect("carried out");
    assert_eq!((done.removed, done.pinned, done.in_use), (1, 1, 1));
    assert!(store.find(&third).expect("asked").is_none());
    drop(handle);
    let again = store.carry_out(&plan).expect("carried out");
    assert_eq!((again.removed, again.pinned, again.in_use), (1, 1, 0), "who is gone is no victim");
}

#[test]
fn smaller_limits_take_at_once_what_may_go_and_the_rest_when_its_lease_ends() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 6);
    let ids: Vec<_> = (0..6).map(|tag| keep(&store, tag)).collect();
    let one = store.usage().expect("the usage").used / 6;
    let held: Vec<_> = ids[..4].iter().map(|id| store.find(id).expect("asked").expect("here")).collect();
    let limits = Limits { quota: Quota::Bytes(one), ..store.limits() };
    let wanted = store.plan(&Goal::Fit(limits)).expect("a plan");
    assert_eq!(store.usage().expect("the usage").entities, 6, "a plan does nothing");
    let plan = store.set_limits(limits).expect("set");
    assert_eq!((&plan.victims, plan.victims.len(), plan.kept.in_use.entities), (&wanted.victims, 2, 4));
    assert_eq!((store.limits(), store.usage().expect("the usage").quota), (limits, one));
    for (left, handle) in (1..=4).rev().zip(held) {
        assert_eq!(store.usage().expect("the usage").entities, left);
        drop(handle);
    }
    assert_eq!(store.usage().expect("the usage").entities, 1, "what fits stays");
    let error = store.begin(new_entity(7, 2 * LENGTH)).expect_err("too large under these limits");
    assert!(matches!(error, AdmitError::TooLarge { quota, .. } if quota == one));
}

#[test]
fn what_nobody_used_for_long_goes() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 3);
    let ids = [keep(&store, 0), keep(&store, 1)];
    let last_used = store.list(None, 9).expect("the list").iter().map(|record| record.last_used).max().expect("two");
    assert_eq!(store.plan(&Goal::UnusedSince(last_used - 60)).expect("a plan").victims.len(), 0);
    let plan = store.plan(&Goal::UnusedSince(last_used + 1)).expect("a plan");
    assert_eq!(plan.victims.len(), 2);
    store.carry_out(&plan).expect("carried out");
    assert!(ids.iter().all(|id| store.find(id).expect("asked").is_none()));
    keep(&store, 2);
    let aged = Limits { max_age: Some(Duration::from_secs(3600)), ..store.limits() };
    assert_eq!(store.set_limits(aged).expect("set").victims.len(), 0);
}

#[test]
fn a_version_that_the_origin_has_replaced_goes_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 3);
    keep(&store, 0);
    let (mut old, mut new) = (new_entity(1, LENGTH), new_entity(2, LENGTH));
    for version in [&mut old, &mut new] {
        version.requested_url = new_entity(3, 0).requested_url;
    }
    store.begin(old.clone()).expect("admitted");
    store.begin(new.clone()).expect("admitted");
    let victims = |need| store.plan(&Goal::Free(need)).expect("a plan").victims;
    assert_eq!((victims(1)[0].id, victims(1)[0].reason), (old.entity.id(), EvictionReason::Superseded));
    // Back to the old version: then the other one is the superseded.
    store.begin(old.clone()).expect("here");
    assert_eq!(victims(1)[0].id, new.entity.id());
}

#[test]
fn a_reserve_that_the_disk_does_not_have_refuses_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = StoreConfig { reserve: Reserve::Bytes(u64::MAX), ..config(directory.path()) };
    let store = Store::open(config).expect("opens");
    assert_eq!(store.usage().expect("the usage").available, 0);
    assert!(matches!(store.begin(new_entity(1, 1)), Err(AdmitError::NoRoom { .. })));
}

#[test]
fn a_handle_that_is_kept_to_be_quick_keeps_nothing_here() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = small(directory.path(), 2);
    let kept: Arc<Mutex<Vec<EntityHandle>>> = Arc::default();
    let keep = |tag| {
        let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
        let id = handle.id();
        kept.lock().expect("not poisoned").push(handle);
        id
    };
    let id = keep(1);
    assert_eq!(store.remove(&id).expect("asked"), RemoveOutcome::InUse, "nobody said how to take it back");
    let taken = Arc::clone(&kept);
    store.take_back_by(move || {
        let gone = std::mem::take(&mut *taken.lock().expect("not poisoned"));
        drop(gone);
    });
    assert!(!store.is_in_use(&id));
    keep(1);
    assert!(matches!(store.remove(&id).expect("asked"), RemoveOutcome::Removed { .. }));
    for tag in [2, 3] {
        keep(tag);
    }
    // Whoever needs room gets it from what is only kept.
    store.begin(new_entity(4, LENGTH)).expect("admitted");
    assert!(kept.lock().expect("not poisoned").is_empty(), "they were taken back");
}

#[test]
fn removing_waits_for_nobody_and_takes_nothing_from_whoever_uses_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    let id = handle.id();
    assert_eq!(store.remove(&id).expect("asked"), RemoveOutcome::InUse);
    drop(handle);
    store.begin(new_entity(2, LENGTH)).expect("admitted");
    let kept = store.begin(new_entity(3, LENGTH)).expect("admitted");
    assert!(matches!(store.remove(&id).expect("removed"), RemoveOutcome::Removed { bytes } if bytes >= LENGTH));
    assert_eq!(store.remove(&id).expect("asked"), RemoveOutcome::NotFound);
    assert!(store.latest(&new_entity(1, LENGTH).requested_url).expect("asked").is_none());
    let cleared = store.clear().expect("cleared");
    assert_eq!((cleared.removed, cleared.in_use), (1, 1));
    let left = store.list(None, 10).expect("the list");
    assert_eq!(left.iter().map(|record| record.id()).collect::<Vec<_>>(), [kept.id()]);
}

#[test]
fn usage_is_the_same_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let before = {
        let store = open(directory.path());
        for tag in 0..5 {
            store.begin(new_entity(tag, LENGTH * tag)).expect("admitted");
        }
        store.remove(&new_entity(3, LENGTH * 3).entity.id()).expect("removed");
        store.usage().expect("the usage")
    };
    let after = open(directory.path()).usage().expect("the usage");
    assert_eq!((before.used, before.entities), (after.used, after.entities));
}

#[test]
fn a_listing_goes_on_where_it_stopped() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for tag in 0..7 {
        store.begin(new_entity(tag, 1)).expect("admitted");
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(after, 3).expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.id());
        seen.extend(page.iter().map(|record| record.id()));
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), &seen), (7, &sorted));
}
