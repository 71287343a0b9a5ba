//! What one commit of each kind costs.

use crate::kit::{ACCOUNT, ORIGIN};
use crate::kit::{BLOCK, at, directory, keep, new_entity, noise, open};
use std::time::{Duration, Instant};

/// Runs something many times and prints how long it took.
fn time(what: &str, count: u32, mut work: impl FnMut(u32)) {
    let mut times: Vec<Duration> = (0..count)
        .map(|number| {
            let start = Instant::now();
            work(number);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{what}: p50 {:.2?}, p99 {:.2?}, max {:.2?}", at(&times, 50), at(&times, 99), at(&times, 100));
}

pub(crate) fn run() {
    let directory = directory();
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 1000 * BLOCK)).expect("admitted");
    let block = noise(BLOCK as usize);
    time("a block of a large file: written and committed", 1000, |number| {
        let mut writer = handle.writer(number, ORIGIN, ACCOUNT);
        writer.push(&block).expect("pushed");
        writer.finish().expect("finished");
        handle.commit().expect("committed");
    });
    time("a job's row", 500, |number| store.put_job([1; 16], &number.to_le_bytes()).expect("put"));
    time("an admission with files", 300, |number| drop(store.begin(new_entity(10 + u64::from(number), 2 * BLOCK))));
    let small = noise(10 * 1024);
    time("a small entity: let in, written, committed", 500, |number| {
        keep(&store, 1000 + u64::from(number), &small);
    });
    time("a removal of a small entity", 300, |number| {
        store.remove(&new_entity(1000 + u64::from(number), small.len() as u64).entity.id()).expect("removed");
    });
}
