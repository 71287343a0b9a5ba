//! A delivery on a file system that shares extents: the user's file costs no room and no second write, is hashed where it
//! stands, and stays a file of its own (C-04, T-48).

use crate::support::*;
use eddy_content::BlockSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const DIRECTORY: &str = "EDDY_SHARED_EXTENTS";
/// Long enough that its blocks go past the page cache.
const BLOCKS: u32 = 1200;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 1000;

/// The child of the test below, on a file system of its own; without that it has nothing to do.
#[test]
fn child() {
    let Some(root) = std::env::var_os(DIRECTORY) else { return };
    let root = Path::new(&root);
    let store = open(&root.join("store"));
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    write(&handle, 1, 0..BLOCKS);
    handle.commit().expect("committed");

    let free = || {
        // Deferred work of the file system is done before its room is asked.
        let _ = File::open(root).expect("the root").sync_all();
        let stat = rustix::fs::statvfs(root).expect("its room");
        stat.f_bavail * stat.f_frsize
    };
    let before = free();
    let first = root.join("first");
    let mirror = handle.mirror(&first, File::create_new(&first).expect("made")).expect("begun");
    assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..BLOCKS), "all of it is there and right");
    mirror.file().sync_all().expect("synced");
    let taken = before.saturating_sub(free());
    assert!(taken < LENGTH / 8, "{taken} bytes were taken for a copy that is none");
    assert!(fs::read(&first).expect("read") == content(1, 0..LENGTH));

    // The user's edit is the user's alone.
    let edited = File::options().write(true).open(&first).expect("the user's file");
    edited.write_all_at(b"mine", 5).expect("written");
    edited.sync_all().expect("synced");
    assert_all_held_are_right(&handle, 1);

    // Rot is shared as well, and seen: what is wrong counts as missing, and the store finds it by its own reading.
    drop(handle);
    drop(store);
    flip(&file_of(&root.join("store"), ".data"), 7 * BLOCK as u64 + 3);
    let store = open(&root.join("store"));
    let handle = store.begin(new_entity(1, LENGTH)).expect("here");
    let second = root.join("second");
    let mirror = handle.mirror(&second, File::create_new(&second).expect("made")).expect("begun");
    let mut right = BlockSet::from_run(0..BLOCKS);
    right.remove(7..8);
    assert_eq!(handle.mirrored(&mirror), right);
    handle.read_run(7..8, &mut Vec::new()).expect_err("rot");
}

#[test]
fn a_whole_entity_is_delivered_by_its_extents_where_the_file_system_shares_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let image = directory.path().join("image");
    File::create(&image).and_then(|file| file.set_len(512 << 20)).expect("a hole for a file system");
    let place = directory.path().join("place");
    fs::create_dir(&place).expect("made");
    // A mount name space of its own: the file system goes with the child.
    let script = "mkfs.btrfs -q \"$0\" || exit 77; mount -o loop \"$0\" \"$1\" || exit 77; shift; exec \"$@\"";
    let outcome = Command::new("unshare")
        .args(["--mount", "--", "sh", "-c", script])
        .args([&image, &place])
        .arg(std::env::current_exe().expect("this test"))
        .args(["extents::child", "--exact", "--nocapture"])
        .env(DIRECTORY, &place)
        .env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()))
        .output();
    let Ok(output) = outcome else { return skip("no unshare here") };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(77) || said.contains("unshare failed") {
        return skip(&format!("no btrfs can be made or mounted: {said}"));
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn elsewhere_nothing_is_there_yet_and_room_is_set_aside() {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory, which shares nothing");
    let store = open(&directory.path().join("store"));
    let handle = store.begin(new_entity(1, 3 * BLOCK as u64)).expect("admitted");
    write(&handle, 1, 0..3);
    handle.commit().expect("committed");
    let part = directory.path().join("part");
    let mirror = handle.mirror(&part, File::create_new(&part).expect("made")).expect("begun");
    assert!(handle.mirrored(&mirror).is_empty());
    assert_eq!(fs::metadata(&part).expect("there").len(), 3 * BLOCK as u64);
}

/// In CI nothing is skipped.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "must run in CI: {reason}");
    eprintln!("skipped: {reason}");
}
