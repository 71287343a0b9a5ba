//! A disk that is full: typed errors, nothing corrupt, and all goes on when there is room again (C-08, T-50).

use crate::support::*;
use eddy_cache::{AdmitError, FaultKind, StoreError};
use std::fs;
use std::path::Path;
use std::process::Command;

const DIRECTORY: &str = "EDDY_FULL_DISK";

#[test]
#[ignore = "runs as the child of the test below, on a small file system of its own"]
fn child() {
    let root = std::env::var(DIRECTORY).expect("started by the parent");
    let root = Path::new(&root);
    let store = open(&root.join("store"));
    let blocks = 24;
    let handle = store.begin(new_entity(1, blocks * BLOCK as u64)).expect("admitted");
    write(&handle, 1, 0..4);
    handle.commit().expect("committed");

    let too_much = store.begin(new_entity(2, 1 << 30)).expect_err("larger than the disk");
    assert!(matches!(too_much, AdmitError::NoRoom { .. }), "{too_much}");
    assert!(too_much.is_transient());

    let filler = root.join("filler");
    let mut size = 16 << 20;
    let mut all = Vec::new();
    while size >= 4096 {
        // Written in ever smaller pieces until nothing fits.
        match append(&filler, size) {
            Ok(()) => all.push(size),
            Err(_) => size /= 2,
        }
    }
    // Blocks have their place; what the index needs, it may not get. Both answers are honest ones.
    write(&handle, 1, 4..8);
    let mut failures = 0;
    match handle.commit() {
        Ok(_) => {}
        Err(error) => {
            failures += 1;
            assert!(error.source.is_transient(), "{error}");
            assert_eq!(error.blocks, 4);
        }
    }
    for number in 0..64u8 {
        if let Err(error) = store.put_job([number; 16], &vec![number; 100_000]) {
            failures += 1;
            assert!(error.is_transient(), "{error}");
            // Which of the two files of a job finds the disk full first depends on the room that each has set aside.
            let kind = match &error {
                StoreError::Index(fault) => fault.kind(),
                StoreError::Disk(fault) => fault.kind(),
                other => panic!("a full disk is not {other}"),
            };
            assert_eq!(kind, FaultKind::Full, "{error}");
            break;
        }
    }
    assert!(failures > 0, "the disk was full");
    assert_all_held_are_right(&handle, 1);
    assert!(handle.held().contains_run(0..4));

    fs::remove_file(&filler).expect("room again");
    store.put_job([200; 16], b"goes on").expect("by itself");
    write(&handle, 1, 4..24);
    handle.commit().expect("committed");
    assert!(handle.is_complete());
    assert_all_held_are_right(&handle, 1);
    assert!(store.ledger().expect("the ledger").iter().all(eddy_cache::LedgerRow::closes));
    drop((handle, store));
    let store = open(&root.join("store"));
    assert!(store.jobs().expect("the jobs").contains(&([200; 16], b"goes on".to_vec())));
}

fn append(path: &Path, size: usize) -> std::io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(&vec![1; size])
}

#[test]
fn a_full_disk_is_a_passing_condition() {
    let directory = tempfile::tempdir().expect("a directory");
    // A mount name space of its own: the small file system goes with the child.
    let outcome = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", "mount -t tmpfs -o size=8m none \"$0\" || exit 77; exec \"$@\""])
        .arg(directory.path())
        .arg(std::env::current_exe().expect("this test"))
        .args(["full_disk::child", "--exact", "--ignored", "--nocapture"])
        .env(DIRECTORY, directory.path())
        .output();
    let Ok(output) = outcome else { return skip("no unshare here") };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || said.contains("unshare failed") {
        return skip("no right to mount a small file system");
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

/// In CI nothing is skipped.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "must run in CI: {reason}");
    eprintln!("skipped: {reason}");
}
