//! What the store costs, printed. Run with
//! `cargo test -p eddy-cache --test store measure -- --ignored --nocapture --test-threads=1`.

use crate::support::*;
use eddy_cache::EntityHandle;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LENGTH: u64 = 1 << 30;

/// CPU time of this process so far: (user, system), from `/proc/self/stat` in ticks of 10 ms.
fn cpu() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("ticks") / 100.0;
    (ticks(11), ticks(12))
}

fn report(what: &str, start: Instant, before: (f64, f64)) {
    let after = cpu();
    let wall = start.elapsed().as_secs_f64();
    let (user, system) = (after.0 - before.0, after.1 - before.1);
    println!("{what}: {wall:.2} s wall, CPU {user:.2} user + {system:.2} system s/GiB");
}

/// Writes 1 GiB in pushes of `chunk` bytes while another thread commits whenever that is due.
fn fill(handle: &EntityHandle, chunk: usize) {
    // The same 4 MiB over and over: making bytes would cost more than storing them.
    let bytes = content(1, 0..4 << 20);
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                if handle.is_commit_due() {
                    handle.commit().expect("committed");
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        let mut writer = handle.writer(0, ORIGIN, ACCOUNT);
        let mut slowest = Duration::ZERO;
        let mut left = LENGTH as usize;
        while left > 0 {
            for part in bytes.chunks(chunk) {
                let part = &part[..part.len().min(left)];
                let start = Instant::now();
                writer.push(part).expect("pushed");
                slowest = slowest.max(start.elapsed());
                left -= part.len();
            }
        }
        writer.finish().expect("finished");
        println!("  slowest push while commits ran beside it: {slowest:.1?}");
        is_done.store(true, Ordering::Relaxed);
    });
    handle.commit().expect("committed");
    assert!(handle.is_complete());
}

#[test]
#[ignore = "writes gigabytes and prints numbers"]
fn what_a_gibibyte_costs() {
    for chunk in [16 * 1024, 64 * 1024, 100_000, 1 << 20] {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
        let (start, before) = (Instant::now(), cpu());
        fill(&handle, chunk);
        report(&format!("write, pushes of {chunk} bytes"), start, before);
        let (start, before) = (Instant::now(), cpu());
        let mut bytes = Vec::new();
        for first in (0..handle.geometry().block_count()).step_by(16) {
            handle.read_run(first..first + 16, &mut bytes).expect("read");
        }
        report("read, runs of 1 MiB", start, before);
    }
}

#[test]
#[ignore = "prints numbers"]
fn what_a_commit_costs() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 1000 * BLOCK as u64)).expect("admitted");
    let mut times: Vec<Duration> = (0..1000)
        .map(|block| {
            write(&handle, 1, block..block + 1);
            let start = Instant::now();
            handle.commit().expect("committed");
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("commit of one block: p50 {:.2?}, p99 {:.2?}, max {:.2?}", times[500], times[990], times[999]);
    let mut times: Vec<Duration> = (0..500)
        .map(|number: u32| {
            let start = Instant::now();
            store.put_job([1; 16], &number.to_le_bytes()).expect("put");
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("job row: p50 {:.2?}, p99 {:.2?}", times[250], times[495]);
    let start = Instant::now();
    for tag in 10..510 {
        store.begin(new_entity(tag, 100_000)).expect("admitted");
    }
    println!("admission of an entity: {:.2?} each", start.elapsed() / 500);
    drop((handle, store));
    let start = Instant::now();
    let store = open(directory.path());
    println!("opening with {} entities: {:.2?}", store.recovery().entities, start.elapsed());
}
