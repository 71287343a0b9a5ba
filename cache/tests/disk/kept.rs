//! A single file or directory that the disk refuses for good: somebody else's, immutable, or on a bad inode. It keeps the store from nothing
//! but itself.

use crate::meter::Kind;
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::support::{BLOCK, new_entity, write};
use crate::world::config;
use eddy_cache::{Limits, Quota, Store};
use eddy_content::EntityId;
use std::path::{Path, PathBuf};

/// What the owner of a directory refuses to others.
const FOREIGN: &[Kind] = &[Kind::Unlink, Kind::Rename, Kind::List, Kind::Measure];
/// What an immutable file refuses.
const IMMUTABLE: &[Kind] = &[Kind::Unlink, Kind::Rename];
/// Jobs that are put.
const JOBS: u8 = 3;
/// Entities that have room.
const FIT: u64 = 6;
/// Bytes of each: three blocks, with files.
const LENGTH: u64 = 3 * BLOCK as u64;
const QUOTA: u64 = FIT * (LENGTH + 16 * 1024);

fn open(disk: &SimDisk) -> Store {
    Store::open_on(config(Path::new(DIRECTORY), QUOTA), disk.share()).expect("the store opens")
}

/// Lets an entity in with all its blocks.
fn put(store: &Store, tag: u64) {
    let handle = store.begin(new_entity(tag, LENGTH)).unwrap_or_else(|error| panic!("{tag} is refused: {error}"));
    write(&handle, tag, 0..3);
    handle.commit().expect("committed");
}

fn id(tag: u64) -> EntityId {
    new_entity(tag, LENGTH).entity.id()
}

/// A store that is as full as it may be.
fn filled() -> (SimDisk, Store) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    for job in 1..=JOBS {
        store.put_job([job; 16], &[job; 100]).expect("kept");
    }
    (0..FIT).for_each(|tag| put(&store, tag));
    (disk, store)
}

/// The data file of an entity.
fn data_of(disk: &SimDisk, id: &EntityId) -> PathBuf {
    let is_its =
        |path: &PathBuf| path.to_string_lossy().ends_with(".data") && path.to_string_lossy().contains(&id.to_string());
    disk.medium().paths().into_iter().find(is_its).expect("a data file")
}

fn has_all_jobs(store: &Store) -> bool {
    store.jobs().expect("the jobs") == (1..=JOBS).map(|job| ([job; 16], vec![job; 100])).collect::<Vec<_>>()
}

#[test]
fn a_file_that_cannot_be_removed_keeps_no_other_from_going_and_the_store_from_nothing() {
    let (disk, store) = filled();
    let first = store.plan_eviction(LENGTH).expect("a plan").victims[0].id;
    disk.forbid(IMMUTABLE, &data_of(&disk, &first));
    for tag in FIT..4 * FIT {
        put(&store, tag);
        let usage = store.usage().expect("an answer");
        assert!(usage.used <= usage.quota, "what stays on the disk is counted: {usage:?}");
    }
    assert!(store.find(&first).expect("an answer").is_none(), "it is on its way out");
    assert!(store.find(&id(4 * FIT - 1)).expect("an answer").is_some());
    let limits = store.limits();
    store.set_limits(Limits { quota: Quota::Bytes(QUOTA / 2), ..limits }).expect("the limit is set");
    store.set_limits(limits).expect("the limit is set");
    drop(store);

    let store = open(&disk);
    assert!(has_all_jobs(&store));
    assert_eq!(store.recovery().finished_removals, 0);
    put(&store, 100);
    assert!(store.remove(&first).is_err(), "who asks for this one is told why it stays");
    disk.allow_all();
    drop(store);
    assert_eq!(open(&disk).recovery().finished_removals, 1);
}

#[test]
fn an_entity_whose_old_files_stay_comes_in_again_and_is_kept() {
    let (disk, store) = filled();
    disk.forbid(IMMUTABLE, &data_of(&disk, &id(0)));
    assert!(store.remove(&id(0)).is_err());
    put(&store, 0);
    drop(store);
    disk.allow_all();
    let store = open(&disk);
    let handle = store.find(&id(0)).expect("an answer").expect("it is here");
    assert_eq!(handle.held().len(), 3);
    assert_eq!(store.recovery().finished_removals, 0, "its removal ended with its return");
}

#[test]
fn a_removal_that_the_disk_refused_goes_before_room_is_refused() {
    let (disk, store) = filled();
    let handles: Vec<_> = (1..FIT).map(|tag| store.find(&id(tag)).expect("an answer").expect("here")).collect();
    disk.forbid(IMMUTABLE, &data_of(&disk, &id(0)));
    assert!(store.begin(new_entity(50, LENGTH)).is_err(), "all others are in use");
    disk.allow_all();
    put(&store, 50);
    drop(handles);
}

#[test]
fn the_sweep_goes_past_files_and_directories_that_are_refused() {
    let (disk, store) = filled();
    drop(store);
    let directory = |tag| data_of(&disk, &id(tag)).parent().expect("a directory").to_owned();
    let (stays, goes) = (directory(0).join("stays"), directory(0).join("goes"));
    let mut medium = disk.medium();
    medium.put(&stays, b"not ours".to_vec());
    medium.put(&goes, b"not ours".to_vec());
    let disk = SimDisk::with(medium, 2);
    disk.forbid(IMMUTABLE, &stays);
    disk.forbid(&[Kind::Measure], &data_of(&disk, &id(1)));
    disk.forbid(FOREIGN, &directory(2));
    let store = open(&disk);
    assert!(has_all_jobs(&store));
    let report = store.recovery();
    assert!(report.refused_files >= 3, "{report:?}");
    assert_eq!((report.quarantined_files, report.dangling), (1, 0), "the others are looked after");
    put(&store, 100);
}

#[test]
fn what_the_disk_keeps_is_told_until_it_lets_go() {
    let (disk, store) = filled();
    assert_eq!((store.kept_files().entities, store.kept_files().passed), (0, 0));
    let data = data_of(&disk, &id(0));
    disk.forbid(IMMUTABLE, &data);
    assert!(store.remove(&id(0)).is_err());
    let kept = store.kept_files();
    assert_eq!((kept.entities, kept.last.expect("a word of the disk").path), (1, data));
    drop(store);
    let store = open(&disk);
    assert_eq!(store.kept_files().entities, 1, "the next node meets it as well");
    disk.allow_all();
    store.remove(&id(0)).expect("it goes");
    let kept = store.kept_files();
    assert_eq!((kept.entities, kept.last.is_none()), (0, true));
}

#[test]
fn what_a_sweep_goes_past_is_told_until_one_comes_through() {
    let (disk, store) = filled();
    drop(store);
    let directory = data_of(&disk, &id(2)).parent().expect("a directory").to_owned();
    disk.forbid(FOREIGN, &directory);
    let store = open(&disk);
    let kept = store.kept_files();
    assert!(kept.passed > 0, "{kept:?}");
    assert!(kept.last_passed.expect("a word of the disk").path.starts_with(&directory));
    store.sweep().expect("a sweep");
    assert!(store.kept_files().passed > 0, "it is still so");
    disk.allow_all();
    store.sweep().expect("a sweep");
    let kept = store.kept_files();
    assert_eq!((kept.passed, kept.last_passed.is_none()), (0, true));
}
