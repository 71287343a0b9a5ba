//! Entities come back when the index is lost, damaged or an older copy; never a wrong byte, never what was private as shared.

use crate::support::*;
use eddy_cache::{NewEntity, Privacy, Store, StoredStatement};
use eddy_content::{BlockSet, EntityId};
use std::fs;
use std::path::{Path, PathBuf};

const BLOCKS: u32 = 40;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 9;

fn id(tag: u64) -> EntityId {
    new_entity(tag, LENGTH).entity.id()
}

fn fill(store: &Store, tag: u64, blocks: std::ops::Range<u32>) {
    let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
    write(&handle, tag, blocks);
    handle.commit().expect("committed");
}

/// Every file of the entities that ends in `suffix`.
fn files_of(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for shard in fs::read_dir(directory.join("entities")).expect("a listing") {
        for file in fs::read_dir(shard.expect("an entry").path()).expect("a listing") {
            found.push(file.expect("an entry").path());
        }
    }
    found.retain(|path| path.to_string_lossy().ends_with(suffix));
    found.sort();
    found
}

fn assert_held(store: &Store, tag: u64, blocks: &BlockSet) {
    let handle = store.find(&id(tag)).expect("asked").expect("here");
    assert_eq!(handle.held(), *blocks, "entity {tag}");
    assert_all_held_are_right(&handle, tag);
}

#[test]
fn a_lost_index_is_made_again_from_the_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let generation = {
        let store = open(directory.path());
        fill(&store, 1, 0..BLOCKS);
        fill(&store, 2, 7..20);
        let handle = store.find(&id(1)).expect("asked").expect("here");
        handle.put_statements(&[StoredStatement { first_block: 3, count: 2, bytes: vec![1; 100] }]);
        handle.commit().expect("committed");
        // Shareable when it came in, private since.
        store.begin(NewEntity { privacy: Privacy::Private, ..new_entity(2, LENGTH) }).expect("learned");
        store.put_job([1; 16], b"a job").expect("put");
        store.find(&id(2)).expect("asked").expect("here").record().generation
    };
    fs::remove_file(directory.path().join("index.redb")).expect("lost");
    let store = open(directory.path());
    assert_eq!((store.recovery().adopted, store.recovery().restored_jobs), (2, 1));
    store.rebuild().expect("rebuilt");
    assert_held(&store, 1, &BlockSet::from_run(0..BLOCKS));
    assert_held(&store, 2, &BlockSet::from_run(7..20));
    let handle = store.find(&id(1)).expect("asked").expect("here");
    assert!(handle.fetched_here().is_empty(), "nothing is signed of which nobody knows who fetched it");
    assert_eq!(handle.statements(0..BLOCKS).len(), 1);
    assert_eq!(store.latest(&new_entity(1, 1).requested_url).expect("asked").map(|r| r.id()), Some(id(1)));
    let privacy = |tag| store.find(&id(tag)).expect("asked").expect("here").record().privacy;
    assert_eq!((privacy(1), privacy(2)), (Privacy::Shareable, Privacy::Private));
    assert_eq!(store.usage().expect("the usage").entities, 2);
    let later = store.begin(new_entity(3, LENGTH)).expect("admitted");
    assert!(later.record().generation > generation, "no generation is used twice");
    drop((handle, later, store));
    // It was rebuilt once; the next start finds it so.
    let store = open(directory.path());
    assert_eq!(store.recovery().adopted, 0);
    assert_held(&store, 1, &BlockSet::from_run(0..BLOCKS));
}

#[test]
fn a_rebuild_that_is_cut_short_again_and_again_comes_to_the_same_end() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = open(directory.path());
        (1..=4).for_each(|tag| fill(&store, tag, 0..BLOCKS));
    }
    for _ in 0..3 {
        fs::remove_file(directory.path().join("index.redb")).expect("lost");
        // Closed wherever the store's thread is just then.
        (0..3).for_each(|_| drop(open(directory.path())));
    }
    let store = open(directory.path());
    store.rebuild().expect("rebuilt");
    (1..=4).for_each(|tag| assert_held(&store, tag, &BlockSet::from_run(0..BLOCKS)));
}

#[test]
fn only_blocks_that_are_what_their_outboard_says_are_held_again() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = open(directory.path());
        fill(&store, 1, 0..BLOCKS);
    }
    flip(&file_of(directory.path(), ".data"), 5 * BLOCK as u64);
    flip(&file_of(directory.path(), ".outboard"), 4096 + 9 * 32);
    fs::remove_file(directory.path().join("index.redb")).expect("lost");
    let store = open(directory.path());
    store.rebuild().expect("rebuilt");
    let wrong: BlockSet = [5..6, 9..10].into_iter().collect();
    assert_held(&store, 1, &BlockSet::from_run(0..BLOCKS).difference(&wrong));
}

#[test]
fn an_older_copy_of_the_index_gets_what_came_after_it_and_uses_no_generation_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = directory.path().join("index.redb");
    {
        let store = open(directory.path());
        fill(&store, 1, 0..5);
        fill(&store, 9, 0..5);
    }
    let old = fs::read(&index).expect("the index");
    let highest = {
        let store = open(directory.path());
        fill(&store, 1, 5..BLOCKS);
        fill(&store, 2, 0..BLOCKS);
        store.remove(&id(9)).expect("removed");
        store.find(&id(2)).expect("asked").expect("here").record().generation
    };
    fs::write(&index, old).expect("put back");
    let store = open(directory.path());
    assert_eq!(store.recovery().dangling, 1, "what was removed since is not here");
    store.rebuild().expect("rebuilt");
    assert_held(&store, 1, &BlockSet::from_run(0..BLOCKS));
    assert_held(&store, 2, &BlockSet::from_run(0..BLOCKS));
    assert!(store.find(&id(9)).expect("asked").is_none());
    assert!(store.begin(new_entity(3, LENGTH)).expect("admitted").record().generation > highest);
}

#[test]
fn pairs_in_quarantine_come_back_and_halves_stay_there() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = open(directory.path());
        fill(&store, 1, 0..BLOCKS);
        fill(&store, 2, 0..BLOCKS);
    }
    fs::remove_file(directory.path().join("index.redb")).expect("lost");
    let quarantine = directory.path().join("quarantine");
    let half = files_of(directory.path(), ".data")
        .into_iter()
        .find(|path| path.to_string_lossy().contains(&id(2).to_string()));
    for path in [files_of(directory.path(), ".data"), files_of(directory.path(), ".outboard")].concat() {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let since = if name.ends_with(".data") { i64::MAX - 1 } else { i64::MAX };
        fs::rename(&path, quarantine.join(format!("{since}.{name}"))).expect("moved");
    }
    let half = half.expect("its data").file_name().expect("a name").to_string_lossy().into_owned();
    fs::remove_file(quarantine.join(format!("{}.{half}", i64::MAX - 1))).expect("removed");
    let store = open(directory.path());
    store.rebuild().expect("rebuilt");
    assert_held(&store, 1, &BlockSet::from_run(0..BLOCKS));
    assert!(store.find(&id(2)).expect("asked").is_none());
    assert_eq!(fs::read_dir(&quarantine).expect("a listing").count(), 1);
}

#[test]
fn data_files_that_were_swapped_give_no_wrong_byte_and_fetched_blocks_find_their_place() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = open(directory.path());
        fill(&store, 1, 0..BLOCKS);
        fill(&store, 2, 0..BLOCKS);
    }
    let [a, b] = &files_of(directory.path(), ".data")[..] else { panic!("two data files") };
    let aside = directory.path().join("aside");
    fs::rename(a, &aside).expect("moved");
    fs::rename(b, a).expect("moved");
    fs::rename(&aside, b).expect("moved");
    let store = open(directory.path());
    let step = store.scrub_step(u64::MAX).expect("scrubbed");
    assert_eq!(step.corrupt, u64::from(2 * BLOCKS), "every block is found");
    for tag in [1, 2] {
        assert_held(&store, tag, &BlockSet::new());
        fill(&store, tag, 0..BLOCKS);
        assert_held(&store, tag, &BlockSet::from_run(0..BLOCKS));
    }
}
