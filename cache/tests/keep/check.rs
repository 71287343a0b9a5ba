//! The checker finds what is wrong, says how bad it is, and mends what it can without losing what can be saved.

use crate::support::*;
use eddy_cache::{CheckReport, Depth, Object, OpenError, Repair, Severity, check};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const BLOCKS: u32 = 20;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 9;

/// A store with one whole entity and a job, closed.
fn filled(directory: &Path) {
    let store = open(directory);
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    write(&handle, 1, 0..BLOCKS);
    handle.commit().expect("committed");
    store.put_job([1; 16], b"a job").expect("put");
}

fn look(directory: &Path) -> CheckReport {
    check(directory, Depth::Strict, Repair::No).expect("checked")
}

#[test]
fn a_sound_store_has_nothing_to_find() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).expect("restricted");
    let report = look(directory.path());
    assert_eq!(report.findings, [], "{report}");
    assert_eq!((report.entities, report.hashed_blocks, report.jobs), (1, u64::from(BLOCKS), 1));
    assert_eq!(report.hashed_bytes, LENGTH);
    assert!(report.is_sound());
    let quick = check(directory.path(), Depth::Quick, Repair::No).expect("checked");
    assert_eq!((quick.findings.len(), quick.hashed_blocks), (0, 0));
}

#[test]
fn a_store_in_use_is_not_checked() {
    let directory = tempfile::tempdir().expect("a directory");
    let _store = open(directory.path());
    let error = check(directory.path(), Depth::Quick, Repair::No).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
}

/// Does the damage, expects a finding of this severity on such an object, repairs, and expects soundness.
fn find_and_mend(name: &str, severity: Severity, is_it: fn(&Object) -> bool, damage: fn(&Path)) {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    damage(directory.path());
    let found = look(directory.path());
    let hit = found.findings.iter().find(|finding| finding.severity == severity && is_it(&finding.object));
    assert!(hit.is_some_and(|finding| finding.is_fixable), "{name}: {found}");
    let mended = check(directory.path(), Depth::Strict, Repair::Yes).expect("checked");
    assert!(mended.findings.iter().all(|finding| finding.is_fixed), "{name}: {mended}");
    assert!(mended.is_sound() && !mended.findings.is_empty(), "{name}: {mended}");
    let after = look(directory.path());
    assert_eq!(after.findings, [], "{name}: {after}");
    assert_eq!(after.jobs, 1, "{name}");
}

#[test]
fn each_damage_is_found_and_mended() {
    find_and_mend(
        "rot",
        Severity::Lost,
        |o| matches!(o, Object::Block { block: 7, .. }),
        |directory| {
            flip(&file_of(directory, ".data"), 7 * BLOCK as u64 + 1);
        },
    );
    find_and_mend(
        "a rotten hash",
        Severity::Lost,
        |o| matches!(o, Object::Block { block: 3, .. }),
        |directory| {
            flip(&file_of(directory, ".outboard"), 4096 + 3 * 32);
        },
    );
    find_and_mend(
        "data gone",
        Severity::Lost,
        |o| matches!(o, Object::Entity(_)),
        |directory| {
            fs::remove_file(file_of(directory, ".data")).expect("removed");
        },
    );
    find_and_mend(
        "a header cut off",
        Severity::Lost,
        |o| matches!(o, Object::Entity(_)),
        |directory| {
            fs::write(file_of(directory, ".outboard"), b"").expect("cut");
        },
    );
    find_and_mend(
        "the index gone",
        Severity::Lost,
        |o| matches!(o, Object::Index),
        |directory| {
            fs::remove_file(directory.join("index.redb")).expect("removed");
        },
    );
    find_and_mend(
        "the index foreign",
        Severity::Damaged,
        |o| matches!(o, Object::Index),
        |directory| {
            fs::write(directory.join("index.redb"), vec![7; 50_000]).expect("written");
        },
    );
    find_and_mend(
        "the journal gone",
        Severity::Damaged,
        |o| matches!(o, Object::Journal),
        |directory| {
            fs::remove_file(directory.join("jobs.journal")).expect("removed");
        },
    );
    find_and_mend(
        "the journal rotten",
        Severity::Damaged,
        |o| matches!(o, Object::Journal),
        |directory| {
            flip(&directory.join("jobs.journal"), 20);
        },
    );
    find_and_mend(
        "open to others",
        Severity::Damaged,
        |o| matches!(o, Object::File(_)),
        |directory| {
            fs::set_permissions(file_of(directory, ".data"), fs::Permissions::from_mode(0o644)).expect("opened");
        },
    );
    find_and_mend(
        "an orphan",
        Severity::Untidy,
        |o| matches!(o, Object::File(_)),
        |directory| {
            let data = file_of(directory, ".data");
            fs::write(data.with_extension("other"), b"orphan").expect("written");
            fs::set_permissions(data.with_extension("other"), fs::Permissions::from_mode(0o600)).expect("restricted");
        },
    );
}

#[test]
fn a_repair_brings_a_lost_index_back_with_every_block() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    fs::remove_file(directory.path().join("index.redb")).expect("removed");
    let report = check(directory.path(), Depth::Strict, Repair::Yes).expect("checked");
    assert_eq!((report.entities, report.hashed_blocks, report.jobs), (1, u64::from(BLOCKS), 1), "{report}");
    let store = open(directory.path());
    let handle = store.find(&new_entity(1, LENGTH).entity.id()).expect("asked").expect("here");
    assert!(handle.is_complete());
    assert_all_held_are_right(&handle, 1);
}

#[test]
fn what_is_not_the_caches_is_named_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let foreign = directory.path().join("notes.txt");
    fs::write(&foreign, b"mine").expect("written");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o600)).expect("restricted");
    let report = check(directory.path(), Depth::Strict, Repair::Yes).expect("checked");
    let [finding] = &report.findings[..] else { panic!("one finding: {report}") };
    assert_eq!((finding.severity, finding.is_fixed), (Severity::Untidy, false));
    assert_eq!(finding.object, Object::File("notes.txt".to_owned()));
    assert!(report.is_sound(), "it is in nobody's way");
    assert_eq!(fs::read(foreign).expect("still there"), b"mine");
}

#[test]
fn a_file_of_another_user_is_named_and_left_to_the_administrator() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let data = file_of(directory.path(), ".data");
    if std::os::unix::fs::chown(&data, Some(12_345), None).is_err() {
        assert!(!rustix::process::geteuid().is_root(), "root may give files away");
        return println!("only root may give files away");
    }
    let report = check(directory.path(), Depth::Strict, Repair::Yes).expect("checked");
    let [finding] = &report.findings[..] else { panic!("one finding: {report}") };
    assert_eq!((finding.severity, finding.is_fixable, finding.is_fixed), (Severity::Damaged, false, false));
    assert!(finding.what.contains("12345") && matches!(&finding.object, Object::File(name) if name.ends_with(".data")));
    assert!(!report.is_sound());
}
