//! A job journal that is due to be made shorter, on a disk that has no room for that or refuses it: the old one goes on.

use crate::meter::Kind;
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::world::config;
use eddy_cache::Store;
use std::path::{Path, PathBuf};

/// Jobs with long rows, which are what a new journal takes.
const LONG: u8 = 8;
/// Bytes of each.
const ROW: usize = 400_000;
/// Changes of a small job after them.
const PUTS: u32 = 1000;

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn open(disk: &SimDisk) -> Store {
    Store::open_on(config(Path::new(DIRECTORY), 1 << 30), disk.share()).expect("the store opens")
}

/// A store whose journal has as many dead bytes as live ones: a few changes more, and it is to be made shorter.
fn due() -> (SimDisk, Store) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    for turn in 0..2 {
        for job in 1..=LONG {
            store.put_job([job; 16], &vec![turn; ROW]).expect("kept");
        }
    }
    (disk, store)
}

/// Changes a small job often; gives how many files were made meanwhile.
fn put_often(disk: &SimDisk, store: &Store) -> u64 {
    let made = || disk.meter(|meter| meter.count(&[Kind::Create]));
    let before = made();
    for number in 0..PUTS {
        store.put_job([100; 16], &number.to_le_bytes()).unwrap_or_else(|error| panic!("put {number}: {error}"));
    }
    assert!(disk.medium().node(&path("jobs.journal.new")).is_none(), "what did not become the journal is gone");
    made() - before
}

fn length_of_journal(disk: &SimDisk) -> usize {
    disk.medium().content(&path("jobs.journal")).expect("the journal").len()
}

#[test]
fn a_journal_stays_long_on_a_disk_without_room_for_two_and_is_made_shorter_when_there_is() {
    let (disk, store) = due();
    disk.resize(disk.medium().used() + 3 * u64::from(LONG) * ROW as u64 / 4);
    assert_eq!(put_often(&disk, &store), 0, "what has no room is not begun");
    disk.resize(1 << 40);
    assert_eq!(put_often(&disk, &store), 1);
    assert!(length_of_journal(&disk) < (usize::from(LONG) + 1) * ROW);
}

#[test]
fn a_refused_shortening_is_not_tried_with_every_change() {
    let (disk, store) = due();
    // The open file keeps the name under which it was made, as far as the disk is concerned.
    drop(store);
    let store = open(&disk);
    disk.forbid(&[Kind::Write], &path("jobs.journal.new"));
    assert_eq!(put_often(&disk, &store), 1);
    disk.allow_all();
    drop(store);
    let store = open(&disk);
    assert_eq!(store.jobs().expect("the jobs").len(), usize::from(LONG) + 1);
    assert_eq!(put_often(&disk, &store), 1, "it is made shorter by the next process");
    assert!(length_of_journal(&disk) < (usize::from(LONG) + 1) * ROW);
}
