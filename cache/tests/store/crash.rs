//! `kill -9` at any moment: nothing acknowledged is lost, no wrong byte is there, the store always opens.
//!
//! The test runs itself again as a child that works on a store and writes what was acknowledged to its standard error;
//! the parent kills it at random moments, also while it recovers, and holds the store against the log.

use crate::support::*;
use eddy_cache::{Account, Depth, LedgerRow, Repair, Source, Store, check};
use eddy_content::BlockSet;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DIRECTORY: &str = "EDDY_KILL_DIRECTORY";
const SEED: &str = "EDDY_KILL_SEED";
const CYCLES: &str = "EDDY_KILL_CYCLES";
/// Entities that one worker works on.
const TAGS: u64 = 3;
const WORKERS: u64 = 2;
const BLOCKS: u32 = 48;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 100;

/// Writes one line of the log with one call, so that a kill leaves whole lines or a torn last one.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("the parent listens");
}

#[test]
#[ignore = "runs as the child of the test below"]
fn child() {
    let directory = std::env::var(DIRECTORY).expect("started by the parent");
    let seed: u64 = std::env::var(SEED).expect("started by the parent").parse().expect("a number");
    let store = open(Path::new(&directory));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let store = &store;
            scope.spawn(move || work(store, worker, &mut Choices(seed ^ (worker << 32))));
        }
    });
}

/// Works on entities and jobs of its own until it is killed.
fn work(store: &Store, worker: u64, choices: &mut Choices) {
    let mut version = choices.below(1 << 40);
    loop {
        let tag = worker * TAGS + choices.below(TAGS);
        match choices.below(10) {
            0 => {
                say(&format!("removing {tag}"));
                store.remove(&new_entity(tag, LENGTH).entity.id()).expect("removed");
            }
            1 | 2 => {
                version += 1;
                let job = [worker as u8; 16];
                say(&format!("putting {worker} {version}"));
                store.put_job(job, &version.to_le_bytes()).expect("put");
                say(&format!("put {worker} {version}"));
            }
            _ => write_and_commit(store, tag, choices),
        }
    }
}

fn write_and_commit(store: &Store, tag: u64, choices: &mut Choices) {
    let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
    for _ in 0..1 + choices.below(3) {
        let start = choices.below(u64::from(BLOCKS)) as u32;
        let end = (start + 1 + choices.below(12) as u32).min(BLOCKS);
        let account = Account { job: [7; 16], file: tag as u32 };
        let bytes = blocks_of(tag, &handle.geometry(), start..end);
        let mut writer = match choices.below(2) {
            0 => handle.writer(start, ORIGIN, account),
            _ => handle.writer(start, PEER, account).expect(hashes_of(tag, &handle.geometry(), start..end)),
        };
        for part in bytes.chunks(1 + choices.below(200_000) as usize) {
            writer.push(part).expect("pushed");
        }
    }
    for run in handle.commit().expect("committed").runs() {
        say(&format!("held {tag} {} {}", run.start, run.end));
    }
}

/// What the children said.
#[derive(Default)]
struct Log {
    held: HashMap<u64, BlockSet>,
    acknowledged_bytes: u64,
    /// By worker: the version that was acknowledged, and those that were on their way since: several, where nobody has looked between
    /// one kill and the next.
    jobs: HashMap<u64, (Option<u64>, Vec<u64>)>,
}

impl Log {
    fn take(&mut self, text: &str) -> usize {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut count = 0;
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse::<u64>().expect("a number");
            match words[0] {
                "removing" => drop(self.held.remove(&number(1))),
                "putting" => self.jobs.entry(number(1)).or_default().1.push(number(2)),
                "put" => *self.jobs.entry(number(1)).or_default() = (Some(number(2)), Vec::new()),
                "held" => {
                    let run = number(2) as u32..number(3) as u32;
                    let geometry = eddy_content::Geometry::new(LENGTH).expect("a geometry");
                    let bytes = geometry.bytes_of(run.clone());
                    self.acknowledged_bytes += bytes.end - bytes.start;
                    self.held.entry(number(1)).or_default().insert(run);
                }
                _ => panic!("the child failed: {text}"),
            }
            count += 1;
        }
        count
    }

    /// Holds the store against what was acknowledged.
    fn check(&mut self, directory: &Path) {
        let store = open(directory);
        assert_eq!(store.recovery().dangling, 0, "a row never refers to files that are not there");
        assert_eq!(store.recovery().index_moved_to, None);
        assert_eq!(store.recovery().damaged_rows, 0);
        for tag in 0..WORKERS * TAGS {
            let acknowledged = self.held.remove(&tag).unwrap_or_default();
            let Some(handle) = store.find(&new_entity(tag, LENGTH).entity.id()).expect("asked") else {
                assert!(acknowledged.is_empty(), "entity {tag} is lost");
                continue;
            };
            let lost = acknowledged.difference(&handle.held());
            assert!(lost.is_empty(), "acknowledged blocks of {tag} are lost: {lost:?}");
            assert_all_held_are_right(&handle, tag);
            self.held.insert(tag, handle.held());
        }
        let jobs: HashMap<_, _> = store.jobs().expect("the jobs").into_iter().collect();
        for (worker, (acknowledged, on_its_way)) in &mut self.jobs {
            let found =
                jobs.get(&[*worker as u8; 16]).map(|row| u64::from_le_bytes(row[..].try_into().expect("a version")));
            let is_right = found == *acknowledged || found.is_some_and(|found| on_its_way.contains(&found));
            assert!(is_right, "job {worker}: {found:?}, acknowledged was {acknowledged:?}, on its way {on_its_way:?}");
            (*acknowledged, *on_its_way) = (found, Vec::new());
        }
        let mut used = 0;
        for row in store.ledger().expect("the ledger") {
            assert!(row.closes(), "{row:?}");
            if let LedgerRow::File { balance, .. } = row {
                used += balance.origin.used + balance.peers.used;
            }
        }
        assert!(used >= self.acknowledged_bytes, "the ledger lost bytes: {used} < {}", self.acknowledged_bytes);
    }
}

/// What is also `eddy doctor --strict` finds nothing that is worse than untidy.
fn assert_sound(directory: &Path) {
    let report = check(directory, Depth::Strict, Repair::No).expect("checked");
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let directory = tempfile::tempdir().expect("a directory");
    // As the store makes its own: a child that dies before it has looked at the mode leaves it as it was.
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("ours alone");
    let cycles: u64 = std::env::var(CYCLES).map_or(60, |text| text.parse().expect("a number"));
    let mut choices = Choices(0xedd1);
    let mut log = Log::default();
    let mut lines = 0;
    for cycle in 0..cycles {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["crash::child", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, directory.path())
            .env(SEED, cycle.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a child");
        // Every third dies while it starts and recovers, the others in mid-work.
        let life = if cycle % 3 == 0 { choices.below(15_000) } else { choices.below(250_000) };
        std::thread::sleep(Duration::from_micros(life));
        child.kill().expect("killed");
        let mut text = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut text).expect("the log");
        child.wait().expect("gone");
        lines += log.take(&text);
        // Some are recovered by the next child, so that recoveries are killed on top of each other (C-23).
        if cycle % 4 != 0 {
            log.check(directory.path());
        }
        if cycle % 8 == 0 {
            // As the kill left it, which no start has looked at.
            assert_sound(directory.path());
        }
    }
    log.check(directory.path());
    assert_sound(directory.path());
    println!("{cycles} kills, {lines} acknowledgements, {} bytes", log.acknowledged_bytes);
    assert!(cycles < 10 || log.acknowledged_bytes > 0, "the children got something done");
}

#[test]
fn commits_of_several_entities_at_once_lose_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    std::thread::scope(|scope| {
        for tag in 0..6u64 {
            let store = &store;
            scope.spawn(move || {
                let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
                for block in 0..BLOCKS {
                    let source = Source::Peer { node: [tag as u8; 32] };
                    let account = Account { job: [3; 16], file: tag as u32 };
                    let mut writer = handle.writer(block, source, account).expect(hashes_of(
                        tag,
                        &handle.geometry(),
                        block..block + 1,
                    ));
                    writer.push(&blocks_of(tag, &handle.geometry(), block..block + 1)).expect("pushed");
                    drop(writer);
                    assert!(handle.commit().expect("committed").contains(block));
                }
                assert_all_held_are_right(&handle, tag);
            });
        }
    });
    for row in store.ledger().expect("the ledger") {
        let flow = match row {
            LedgerRow::File { balance, .. } => balance.peers,
            LedgerRow::Peer { flow, .. } => flow,
        };
        assert!(row.closes());
        assert_eq!(flow.used, LENGTH);
    }
}
