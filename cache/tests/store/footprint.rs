//! What the quota counts for small entities is what the disk has given for them.

use crate::support::*;
use eddy_cache::{Account, NewEntity, Store};
use eddy_content::{LookupSecret, ResourceUrl};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Entities of the test.
const COUNT: u64 = 10_000;
/// Those that come with one transaction, as they do when several jobs end at once.
const TOGETHER: usize = 32;

/// A small entity: of any size up to a block, as often of one order of magnitude as of another; some have a signed URL.
fn entity(tag: u64) -> NewEntity {
    let mut choices = Choices(tag);
    let most = 1 << (4 + choices.below(13));
    let mut new = new_entity(tag, 1 + choices.below(most));
    if choices.below(8) == 0 {
        let url = format!("https://origin.example/{tag}?signature={}", "5f".repeat(choices.below(600) as usize));
        new.entity.url = ResourceUrl::parse(&url).expect("a URL");
    }
    new
}

fn fill(store: &Store) {
    store.set_lookup_secret(Some(LookupSecret::new([7; 32]))).expect("set");
    let tags: Vec<u64> = (0..COUNT).collect();
    for tags in tags.chunks(TOGETHER) {
        let whole = tags.iter().map(|tag| {
            let new = entity(*tag);
            let bytes = content(*tag, 0..new.entity.length);
            (new, bytes)
        });
        assert_eq!(store.take_in(whole.collect(), Account::NO_JOB).expect("taken in"), tags.len() as u64);
    }
}

/// Bytes that the file system has given for the index.
fn on_disk(directory: &Path) -> u64 {
    directory.join("index.redb").metadata().expect("the index").blocks() * 512
}

#[test]
fn ten_thousand_small_entities_are_counted_as_what_they_take_on_the_disk() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    let store = open(directory.path());
    fill(&store);
    let usage = store.usage().expect("the usage");
    assert_eq!(usage.entities, COUNT);
    assert_counted(usage.used, directory.path());
    // What is open has room to grow, which is a hole; nothing else is given back.
    drop(store);
    assert_counted(usage.used, directory.path());
}

/// Within a tenth.
fn assert_counted(counted: u64, directory: &Path) {
    let taken = on_disk(directory);
    println!("{counted} bytes counted, {taken} on the disk");
    assert!(counted.abs_diff(taken) * 10 <= taken, "{counted} counted, {taken} on the disk");
}
