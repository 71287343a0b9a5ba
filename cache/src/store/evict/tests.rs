//! What evictions cost whoever waits for them.

use super::{BATCH, Shrunk, with_spare};
use crate::room::{Limits, Pin, Quota, Reserve};
use crate::row::NewEntity;
use crate::{Account, AdmitError, Store, StoreConfig};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

const LENGTH: u64 = 1000;

fn open(directory: &Path, quota: u64) -> Store {
    let (quota, reserve) = (Quota::Bytes(quota), Reserve::Bytes(0));
    Store::open(StoreConfig { directory: directory.to_owned(), quota, reserve }).expect("opens")
}

/// Lets small entities in, thousands in a transaction; gives the bytes of one.
fn fill(store: &Store, tags: std::ops::Range<u64>) -> u64 {
    let whole = tags.clone().map(|tag| (NewEntity::numbered(tag, LENGTH), vec![1; LENGTH as usize])).collect();
    assert_eq!(store.take_in(whole, Account::NO_JOB).expect("taken"), tags.end - tags.start);
    let usage = store.usage().expect("the usage");
    usage.used / usage.entities
}

fn entities(store: &Store) -> u64 {
    store.usage().expect("the usage").entities
}

#[test]
fn small_admissions_to_a_full_store_share_their_evictions() {
    let directory = tempfile::tempdir().expect("a directory");
    let quota = 17 << 20;
    let store = open(directory.path(), quota);
    let one = fill(&store, 0..100);
    fill(&store, 100..quota / one);
    let before = store.stock().index.highest_number();
    for tag in 0..100 {
        store.begin(NewEntity::numbered((1 << 40) + tag, LENGTH)).expect("room is made");
    }
    let transactions = store.stock().index.highest_number() - before;
    // Each admission is one of its own.
    assert!((100..110).contains(&transactions), "{transactions} transactions");
    let usage = store.usage().expect("the usage");
    assert!(usage.available <= quota / 256 + one, "no more went than that: {usage:?}");
}

#[test]
fn a_small_store_spares_nothing_and_a_large_one_no_more_than_64_mib() {
    assert_eq!(with_spare(16 << 20).spare, 64 << 10);
    assert_eq!(with_spare((16 << 20) - 1).spare, 0);
    assert_eq!(with_spare(u64::MAX).spare, 64 << 20);
}

#[test]
fn a_handle_that_goes_takes_one_batch_along_and_the_store_goes_on_by_itself() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path(), 1 << 30);
    fill(&store, 0..1000);
    let handle = store.find(&NewEntity::numbered(3, LENGTH).entity.id()).expect("asked").expect("here");
    let stock = store.stock();
    // As it is while somebody has what must go, and others came to be too much meanwhile.
    stock.replace_limits(Limits { quota: Quota::Bytes(0), ..stock.limits() });
    stock.is_overfull.store(true, Relaxed);
    assert_eq!(stock.shrink_if_free(), Shrunk::Later);
    assert_eq!(entities(&store), 1000 - BATCH as u64, "others had to wait for no more than that");
    drop(handle);
    let start = Instant::now();
    while entities(&store) > 0 || stock.is_overfull.load(Relaxed) {
        assert!(start.elapsed() < Duration::from_secs(20), "{} are left", entities(&store));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_file_that_needs_the_room_of_many_small_ones_lets_others_in_between() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path(), 4 << 20);
    let one = fill(&store, 0..100);
    fill(&store, 100..(4 << 20) / one);
    let all = entities(&store);
    let refused = store.begin(NewEntity::numbered(1 << 40, 5 << 20)).expect_err("it never fits");
    assert!(matches!(refused, AdmitError::TooLarge { .. }), "{refused}");
    assert_eq!(entities(&store), all, "nothing goes for it");
    let (is_done, stock) = (AtomicBool::new(false), store.stock());
    let (admitted, seen) = std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !is_done.load(Relaxed) {
                let lock = stock.admit();
                seen.insert(stock.index.counters().entities);
                drop(lock);
                std::thread::sleep(Duration::from_micros(200));
            }
            seen
        });
        let admitted = store.begin(NewEntity::numbered(1 << 41, 3 << 20));
        is_done.store(true, Relaxed);
        (admitted, others.join())
    });
    let (_handle, seen) = (admitted.expect("admitted"), seen.expect("no panic"));
    let left = entities(&store);
    assert!(left > 100 && all - left > 3 * BATCH as u64, "{left} of {all} are left");
    let between = seen.range(left + 1..all).count();
    assert!(between >= 2, "others saw {seen:?}");
}

#[test]
fn where_the_disk_is_short_small_entities_are_read_past_once() {
    const SMALL: u64 = 8_000;
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path(), 1 << 30);
    let file = |tag| NewEntity::numbered(tag, 100_000);
    let first = store.begin(file(1 << 40)).expect("admitted");
    fill(&store, 0..SMALL);
    let stock = store.stock();
    stock.replace_limits(Limits { reserve: Reserve::Bytes(u64::MAX / 2), ..stock.limits() });
    let victims = || stock.plan_admission(1, with_spare(0)).expect("a plan").victims.len();
    let rows = || stock.files_in_line.rows();

    let evictable = |error| match error {
        AdmitError::NoRoom { evictable, .. } => evictable,
        other => panic!("{other}"),
    };
    let refused = store.begin(file(5)).expect_err("nothing helps");
    assert_eq!(evictable(refused), 0);
    let once = rows();
    assert!(once >= SMALL as u32);
    let start = Instant::now();
    for tag in 0..20 {
        store.begin(file(tag)).expect_err("nothing helps");
    }
    // It is left alone ten microseconds for each row: 80 ms.
    let again = start.elapsed().as_millis() as u64 / 80 + 1;
    assert!(u64::from(rows() - once) <= again * (SMALL + 1), "{} rows", rows() - once);
    // What is let go of is found at once, and so is what stands in line again.
    let id = first.id();
    drop(first);
    assert_eq!(victims(), 1);
    store.pin(&id, Pin::Pinned).expect("pinned");
    assert_eq!(victims(), 0);
    store.pin(&id, Pin::Free).expect("let go");
    assert_eq!(victims(), 1);
}
