//! Reading a large file for a delivery, some runs ahead: the bytes are the same in every order, and rot never leaves.

use crate::support::*;
use eddy_cache::{EntityHandle, ReadError, Store};
use tempfile::TempDir;

/// Long enough that blocks go past the page cache, with an odd end.
const BLOCKS: u32 = 1100;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 777;

/// A whole large entity, on a disk.
fn whole() -> (TempDir, Store, EntityHandle) {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    write(&handle, 1, 0..BLOCKS);
    handle.commit().expect("committed");
    (directory, store, handle)
}

#[test]
fn a_large_file_is_read_right_in_order_and_out_of_it() {
    let (_directory, _store, handle) = whole();
    let mut reader = handle.reader();
    let in_order = (0..BLOCKS).step_by(16).map(|start| start..BLOCKS.min(start + 16));
    let jumps = [0..16, 16..32, 32..33, 33..65, 65..97, 0..16, 500..516, 516..532, 540..541, 1090..BLOCKS, 0..1, 1..2];
    for run in in_order.chain(jumps) {
        let bytes = reader.read(run.clone()).expect("held");
        assert!(bytes == blocks_of(1, &handle.geometry(), run.clone()), "{run:?}");
    }
}

#[test]
fn rot_in_a_run_that_was_read_ahead_never_leaves() {
    let (directory, _store, handle) = whole();
    flip(&file_of(directory.path(), ".data"), 20 * BLOCK as u64 + 5);
    let mut reader = handle.reader();
    reader.read(0..16).expect("right");
    let error = reader.read(16..32).expect_err("block 20 is rotten");
    assert!(matches!(error, ReadError::Corrupt { block: 20 }), "{error}");
    assert!(!handle.held().contains_run(20..21));
    // The run behind it was not harmed, and the block may come again.
    assert!(reader.read(32..48).expect("right") == blocks_of(1, &handle.geometry(), 32..48));
    write(&handle, 1, 20..21);
    handle.commit().expect("committed");
    assert!(reader.read(16..32).expect("right again") == blocks_of(1, &handle.geometry(), 16..32));
}
