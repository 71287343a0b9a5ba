//! Quota, reserve, eviction and leases.

use crate::support::*;
use eddy_cache::{AdmitError, Quota, RemoveOutcome, Reserve, Store, StoreConfig};
use std::path::Path;

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

#[test]
fn a_reserve_that_the_disk_does_not_have_refuses_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = StoreConfig { reserve: Reserve::Bytes(u64::MAX), ..config(directory.path()) };
    let store = Store::open(config).expect("opens");
    assert_eq!(store.usage().expect("the usage").available, 0);
    assert!(matches!(store.begin(new_entity(1, 1)), Err(AdmitError::NoRoom { .. })));
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
