//! Entities with files between their admission and their first commit: nothing is synced yet and no row speaks of them, and whoever looks for
//! them finds them.

use crate::support::*;
use eddy_cache::*;
use eddy_content::{BlockSet, LookupSecret};
use std::fs;
use std::path::Path;

const LENGTH: u64 = 5 * BLOCK as u64;

/// The names of the files of all entities.
fn files(directory: &Path) -> Vec<String> {
    let shards = fs::read_dir(directory.join("entities")).expect("a listing");
    let mut names: Vec<String> = shards
        .flat_map(|shard| fs::read_dir(shard.expect("a shard").path()).expect("a listing"))
        .map(|file| file.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_just_let_in_is_found_by_id_url_and_key_and_counts_before_it_has_a_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let secret = LookupSecret::new([1; 32]);
    store.set_lookup_secret(Some(secret.clone())).expect("set");
    let (new, mut private) = (new_entity(1, LENGTH), new_entity(2, LENGTH));
    private.privacy = Privacy::Private;
    let handles = [store.begin(new.clone()).expect("admitted"), store.begin(private.clone()).expect("admitted")];
    let key = new.entity.lookup_key(&secret);
    for new in [&new, &private] {
        assert!(store.may_have(&new.requested_url));
        assert_eq!(store.latest(&new.requested_url).expect("asked").map(|row| row.id()), Some(new.entity.id()));
        assert!(store.find(&new.entity.id()).expect("asked").is_some());
    }
    assert!(store.by_lookup(&key).expect("asked").is_some());
    assert!(store.by_lookup(&private.entity.lookup_key(&secret)).expect("asked").is_none(), "it is private");
    let usage = store.usage().expect("the usage");
    assert!(usage.used >= 2 * LENGTH && usage.entities == 2);
    assert!(handles.iter().all(|handle| !handle.is_settled()), "the rows come with the first commit");

    // Under another secret it has another key, from this moment on.
    let other = LookupSecret::new([2; 32]);
    store.set_lookup_secret(Some(other.clone())).expect("set");
    assert!(store.by_lookup(&key).expect("asked").is_none());
    for handle in &handles {
        write(handle, if handle.id() == new.entity.id() { 1 } else { 2 }, 0..2);
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..2));
        assert!(handle.is_settled());
    }
    assert!(store.by_lookup(&new.entity.lookup_key(&other)).expect("asked").is_some());
    let now = store.usage().expect("the usage");
    assert_eq!((now.used, now.entities), (usage.used, usage.entities), "it was counted once");
}

#[test]
fn one_that_is_let_in_again_before_its_first_commit_is_what_the_second_one_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let new = new_entity(1, LENGTH);
    {
        let store = open(directory.path());
        let handle = store.begin(new.clone()).expect("admitted");
        write(&handle, 1, 0..1);
        let mut private = new.clone();
        private.privacy = Privacy::Private;
        let again = store.begin(private).expect("the same");
        assert!(!again.is_shareable() && !handle.is_shareable());
        assert!(handle.held().is_empty(), "what waits is not acknowledged behind its writer's back");
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..1));
    }
    let store = open(directory.path());
    let record = store.latest(&new.requested_url).expect("asked").expect("here");
    assert_eq!(record.privacy, Privacy::Private);
    assert_all_held_are_right(&store.find(&new.entity.id()).expect("asked").expect("here"), 1);
}

#[test]
fn what_nothing_came_of_is_here_all_the_same_and_leaves_no_file_but_its_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let (new, other) = (new_entity(1, LENGTH), new_entity(2, LENGTH));
    {
        let store = open(directory.path());
        drop(store.begin(new.clone()).expect("admitted"));
        let dropped = store.begin(other.clone()).expect("admitted");
        // Written and never committed: that is in the ledger as aborted, and nothing is held.
        write(&dropped, 2, 0..3);
        drop(dropped);
        assert_eq!(store.list(None, 10).expect("the list").len(), 2);
        assert!(store.ledger().expect("the ledger").iter().all(LedgerRow::closes));
    }
    assert_eq!(files(directory.path()).len(), 4);
    let store = open(directory.path());
    assert_eq!(store.sweep().expect("swept"), SweepReport::default());
    for new in [new, other] {
        let handle = store.find(&new.entity.id()).expect("asked").expect("here");
        assert!(handle.held().is_empty() && handle.is_settled());
    }
}

#[test]
fn a_process_that_ends_before_the_first_commit_leaves_nothing_that_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let new = new_entity(1, LENGTH);
    {
        let store = open(directory.path());
        let handle = store.begin(new.clone()).expect("admitted");
        write(&handle, 1, 0..3);
        // What a kill would leave.
        std::mem::forget((handle, store));
    }
    assert_eq!(files(directory.path()).len(), 2);
    let copy = tempfile::tempdir().expect("a directory");
    copy_tree(directory.path(), copy.path());
    let store = open(copy.path());
    store.sweep().expect("swept");
    assert!(store.find(&new.entity.id()).expect("asked").is_none());
    assert_eq!(files(copy.path()), Vec::<String>::new(), "nothing of it was acknowledged");
    assert_eq!(store.usage().expect("the usage").used, 0);
}

/// Copies a store that somebody has open.
fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a listing") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            fs::create_dir_all(&to).expect("made");
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}
