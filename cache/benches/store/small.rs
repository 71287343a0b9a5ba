//! Small objects: how many a second are let in, written and acknowledged, in the index and in files.

use crate::kit::{BLOCK, directory, keep, noise, open};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Objects of each run.
const COUNT: u64 = 2000;

fn measure(what: &str, length: u64, workers: u64) -> f64 {
    let directory = directory();
    let store = open(directory.path());
    let bytes = noise(length as usize);
    let next = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let tag = next.fetch_add(1, Ordering::Relaxed);
                    if tag >= COUNT {
                        break;
                    }
                    keep(&store, tag, &bytes);
                }
            });
        }
    });
    let rate = COUNT as f64 / start.elapsed().as_secs_f64();
    let used = store.usage().expect("the usage").used / COUNT;
    drop(store);
    let index = directory.path().join("index.redb").metadata().expect("the index").len() / COUNT;
    println!(
        "{what}, {workers} at once: {rate:.0} a second; counted {used} bytes each, the index has {index} for each"
    );
    rate
}

pub(crate) fn run() {
    for workers in [1, 8] {
        let files = measure("one byte more than a block (files)", BLOCK + 1, workers);
        let index = measure("10 KiB (in the index)", 10 * 1024, workers);
        measure("64 KiB (in the index)", BLOCK, workers);
        measure("1 KiB (in the index)", 1024, workers);
        println!("   10 KiB in the index: {:.1} times as many as with files", index / files);
    }
}
