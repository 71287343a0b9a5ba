//! A second place for blocks: it gets what was verified and nothing else, and the store never suffers from it.

use crate::support::*;
use eddy_cache::{EntityHandle, Mirror, ReadError, WriteError};
use eddy_content::{BlockSet, Root};
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

fn mirror(handle: &EntityHandle, path: &Path) -> Arc<Mirror> {
    let file = File::options().write(true).create_new(true).open(path).expect("created");
    Arc::new(handle.mirror(path, file).expect("room for a mirror"))
}

fn write_mirrored(handle: &EntityHandle, mirror: &Arc<Mirror>, tag: u64, blocks: Range<u32>) {
    let mut writer = handle.writer(blocks.start, ORIGIN, ACCOUNT).mirror(Arc::clone(mirror));
    for part in blocks_of(tag, &handle.geometry(), blocks).chunks(300_001) {
        writer.push(part).expect("pushed");
    }
    writer.finish().expect("finished");
}

#[test]
fn the_mirror_of_a_large_file_is_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, path) = (open(&directory.path().join("store")), directory.path().join("part"));
    // Long enough for writes past the cache, with a last block and a last page that are not whole.
    let length = (64 << 20) + 5 * BLOCK as u64 + 12_345;
    let handle = store.begin(new_entity(1, length)).expect("admitted");
    let mirror = mirror(&handle, &path);
    let all = handle.geometry().all_blocks();
    // Two writers side by side that meet in the middle of a run, and one that ends in the middle of a block.
    std::thread::scope(|scope| {
        scope.spawn(|| write_mirrored(&handle, &mirror, 1, 0..517));
        scope.spawn(|| write_mirrored(&handle, &mirror, 1, 517..1000));
    });
    let bytes = blocks_of(1, &handle.geometry(), 1000..all.end);
    let mut writer = handle.writer(1000, ORIGIN, ACCOUNT).mirror(Arc::clone(&mirror));
    writer.push(&bytes[..3 * BLOCK + 99]).expect("pushed");
    writer.finish().expect("finished");
    write_mirrored(&handle, &mirror, 1, 1003..all.end);

    assert!(handle.mirrored(&mirror).is_empty(), "nothing is acknowledged yet");
    handle.commit().expect("committed");
    assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(all.clone()));
    let written = fs::read(&path).expect("the mirror");
    assert_eq!(written.len() as u64, length);
    assert_eq!(Some(Root(*blake3::hash(&written).as_bytes())), handle.root());
    assert_all_held_are_right(&handle, 1);

    // And back past the cache, the odd end included.
    let mut reader = handle.reader();
    let mut hasher = blake3::Hasher::new();
    for first in (0..all.end).step_by(16) {
        hasher.update(reader.read(first..all.end.min(first + 16)).expect("read"));
    }
    assert_eq!(Some(Root(*hasher.finalize().as_bytes())), handle.root());
    flip(&file_of(&directory.path().join("store"), ".data"), length - 1);
    let error = reader.read(all.end - 2..all.end).expect_err("rot");
    assert!(matches!(error, ReadError::Corrupt { block } if block == all.end - 1), "{error}");
    assert!(!handle.is_complete());
}

#[test]
fn a_wrong_block_reaches_neither_the_store_nor_the_mirror() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, path) = (open(&directory.path().join("store")), directory.path().join("part"));
    // Once in the cache, once past it.
    for (tag, blocks) in [(1, 8), (2, 1100)] {
        let handle = store.begin(new_entity(tag, blocks * BLOCK as u64)).expect("admitted");
        let mirror = mirror(&handle, &path);
        let mut bytes = blocks_of(tag, &handle.geometry(), 0..8);
        bytes[5 * BLOCK + 17] ^= 1;
        let hashes = hashes_of(tag, &handle.geometry(), 0..8);
        let mut writer = handle.writer(0, PEER, ACCOUNT).expect(hashes).mirror(Arc::clone(&mirror));
        let error = writer.push(&bytes).expect_err("block 5 is wrong");
        assert!(matches!(error, WriteError::WrongBlock { block: 5, .. }), "{error}");
        drop(writer);
        handle.commit().expect("committed");
        assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..5));
        let written = fs::read(&path).expect("the mirror");
        assert_eq!(written[..5 * BLOCK], bytes[..5 * BLOCK]);
        assert!(written[5 * BLOCK..].iter().all(|byte| *byte == 0), "a byte after the right blocks");
        fs::remove_file(&path).expect("removed");
    }
}

#[test]
fn what_the_store_has_from_elsewhere_is_not_mirrored_by_who_brings_it_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, path) = (open(&directory.path().join("store")), directory.path().join("part"));
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    write(&handle, 1, 2..4);
    let mirror = mirror(&handle, &path);
    write_mirrored(&handle, &mirror, 1, 0..8);
    handle.commit().expect("committed");
    assert_eq!(handle.held(), BlockSet::from_run(0..8));
    assert_eq!(handle.mirrored(&mirror), [0..2, 4..8].into_iter().collect::<BlockSet>());
    let written = fs::read(&path).expect("the mirror");
    assert!(written[2 * BLOCK..4 * BLOCK].iter().all(|byte| *byte == 0));
}

#[test]
fn a_mirror_is_doubted_once_the_store_took_something_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let (root, path) = (directory.path().join("store"), directory.path().join("part"));
    let store = open(&root);
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    let mirror = mirror(&handle, &path);
    write_mirrored(&handle, &mirror, 1, 0..8);
    handle.commit().expect("committed");
    flip(&file_of(&root, ".data"), 3 * BLOCK as u64);
    let error = handle.read_run(0..8, &mut Vec::new()).expect_err("rot");
    assert!(matches!(error, ReadError::Corrupt { block: 3 }), "{error}");
    // Block 3 comes again, perhaps with other bytes, and perhaps to somebody else.
    write(&handle, 1, 3..4);
    handle.commit().expect("committed");
    assert!(handle.is_complete());
    assert!(handle.mirrored(&mirror).is_empty());
}

#[test]
fn the_mirror_of_another_entity_has_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, path) = (open(&directory.path().join("store")), directory.path().join("part"));
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    let other = store.begin(new_entity(2, 8 * BLOCK as u64)).expect("admitted");
    let mirror = mirror(&handle, &path);
    write_mirrored(&handle, &mirror, 1, 0..8);
    write(&other, 2, 0..8);
    handle.commit().expect("committed");
    other.commit().expect("committed");
    assert!(other.mirrored(&mirror).is_empty());
    assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..8));
}
