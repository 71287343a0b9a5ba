//! A million entities: opening, looking up, planning, listing, and the memory that it takes.
//!
//! Each step is a process of its own, so that no step profits from the memory of another. The entities are real ones: most
//! lie in the index with their bytes, let in many at a time ([`Store::take_in`]); some have files and came the usual way.

use crate::kit::{BLOCK, Choices, at, directory, judge, keep, new_entity, noise, number, open, status};
use eddy_cache::{Account, Goal, Store};
use eddy_content::LookupSecret;
use rustix::fs::Advice;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const STEP: &str = "EDDY_BENCH_STEP";
const PLACE: &str = "EDDY_BENCH_PLACE";
/// Entities with files of their own.
const WITH_FILES: u64 = 1000;
/// Bytes of those in the index.
const SMALL: u64 = 400;
/// Lookups of each kind.
const LOOKUPS: u64 = 20_000;

fn entities() -> u64 {
    number("EDDY_BENCH_ENTITIES", 1_000_000)
}

fn secret() -> LookupSecret {
    LookupSecret::new([7; 32])
}

/// Runs the step that the environment names, if it names one.
pub(crate) fn is_child() -> bool {
    let Ok(step) = std::env::var(STEP) else { return false };
    let directory = PathBuf::from(std::env::var(PLACE).expect("the place"));
    match step.as_str() {
        "fill" => fill(&directory),
        "die" => die(&directory),
        name => measure(name, &directory),
    }
    true
}

pub(crate) fn run() {
    let directory = directory();
    let step = |name: &str| {
        let program = std::env::current_exe().expect("this program");
        let status = Command::new(program).env(STEP, name).env(PLACE, directory.path()).status().expect("a child");
        assert!(status.success() || name == "die", "{name}: {status}");
    };
    step("fill");
    forget_pages(directory.path());
    step("cold, after a clean stop");
    step("warm, after a clean stop");
    step("die");
    step("after a kill");
    step("die");
    forget_pages(directory.path());
    step("cold, after a kill");
}

/// Lets all entities in.
fn fill(directory: &Path) {
    let (store, start, count) = (open(directory), Instant::now(), entities());
    store.set_lookup_secret(Some(secret())).expect("set");
    let large = noise(BLOCK as usize + 1);
    for tag in 0..WITH_FILES.min(count) {
        keep(&store, tag, &large);
    }
    println!("{WITH_FILES} entities with files: {:.1?}", start.elapsed());
    let (start, bytes) = (Instant::now(), noise(SMALL as usize));
    let mut tag = WITH_FILES;
    while tag < count {
        let end = count.min(tag + 8192);
        let batch = (tag..end).map(|tag| (new_entity(tag, SMALL), bytes.clone())).collect();
        assert_eq!(store.take_in(batch, Account::NO_JOB).expect("taken in"), end - tag);
        tag = end;
    }
    println!("{} entities in the index, in large transactions: {:.1?}", count - WITH_FILES, start.elapsed());
    // Every tenth is used again: the order of eviction has both its parts.
    assert_eq!(store.usage().expect("the usage").entities, count);
    drop(store);
    let index = directory.join("index.redb").metadata().expect("the index").len();
    println!("the index has {} MiB, {} bytes for each entity", index >> 20, index / count);
}

/// Opens the store and ends without closing it.
fn die(directory: &Path) {
    let store = open(directory);
    store.put_job([1; 16], b"the last words").expect("put");
    std::process::exit(9);
}

fn forget_pages(directory: &Path) {
    let file = std::fs::File::open(directory.join("index.redb")).expect("opened");
    file.sync_all().expect("durable");
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
}

fn measure(name: &str, directory: &Path) {
    println!("\n-- {name}");
    let start = Instant::now();
    let store = open(directory);
    let opened = start.elapsed();
    assert_eq!(store.recovery().was_unclean, name.contains("kill"));
    assert_eq!(store.usage().expect("the usage").entities, entities());
    println!("open with {} entities: {opened:.2?}", entities());
    judge("at most 2 s", opened <= Duration::from_secs(2));
    lookups(&store);
    plans(&store);
    let start = Instant::now();
    let mut after = None;
    for _ in 0..100 {
        after = store.list(after, 100).expect("a page").last().map(|record| record.id());
    }
    println!("a page of 100: {:.2?}", start.elapsed() / 100);
    let (now, peak) = (status("VmRSS"), status("VmHWM"));
    println!("memory of the process: {now} MiB, at most {peak} MiB");
    judge("at most 128 MiB", peak <= 128);
    let start = Instant::now();
    drop(store);
    println!("close: {:.2?}", start.elapsed());
}

fn lookups(store: &Store) {
    let (mut choices, secret) = (Choices(1), secret());
    let kinds: [(&str, &dyn Fn(u64)); 3] = [
        ("by id, opened", &|tag| {
            let id = new_entity(tag, length(tag)).entity.id();
            assert!(store.find(&id).expect("asked").expect("here").is_complete());
        }),
        ("by requested URL", &|tag| {
            assert!(store.latest(&new_entity(tag, length(tag)).requested_url).expect("asked").is_some());
        }),
        ("by lookup key, opened", &|tag| {
            assert!(
                store.by_lookup(&new_entity(tag, length(tag)).entity.lookup_key(&secret)).expect("asked").is_some()
            );
        }),
    ];
    for (what, ask) in kinds {
        let mut times: Vec<Duration> = (0..LOOKUPS)
            .map(|_| {
                let tag = choices.below(entities());
                let start = Instant::now();
                ask(tag);
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("lookup {what}: p50 {:.1?}, p99 {:.1?}, max {:.1?}", at(&times, 50), at(&times, 99), at(&times, 100));
        judge("p99 at most 1 ms", at(&times, 99) <= Duration::from_millis(1));
    }
}

/// Bytes of the entity number `tag`.
fn length(tag: u64) -> u64 {
    if tag < WITH_FILES { BLOCK + 1 } else { SMALL }
}

fn plans(store: &Store) {
    let used = store.usage().expect("the usage").used;
    for (what, bytes) in [("1 entity", 1), ("1 %", used / 100), ("10 %", used / 10)] {
        let mut times: Vec<Duration> = (0..9)
            .map(|_| {
                let start = Instant::now();
                let plan = store.plan(&Goal::Free(bytes)).expect("a plan");
                assert!(plan.refused.is_none() && plan.freed >= bytes);
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("eviction plan for {what}: {:.2?}, at most {:.2?}", at(&times, 50), at(&times, 100));
        judge("at most 100 ms", at(&times, 100) <= Duration::from_millis(100));
    }
}
