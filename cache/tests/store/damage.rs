//! Rot, cuts and foreign hands: what is wrong on disk is noticed, dropped and never leaves.

use crate::support::*;
use eddy_cache::{OpenError, ReadError, SweepReport};
use eddy_content::{BlockSet, EntityId};
use std::fs;
use std::path::Path;

const BLOCKS: u32 = 20;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 9;

/// A store with one complete entity, closed.
fn filled(directory: &Path) -> EntityId {
    let store = open(directory);
    let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
    write(&handle, 1, 0..BLOCKS);
    handle.commit().expect("committed");
    store.put_job([1; 16], b"a job").expect("put");
    handle.id()
}

#[test]
fn flipped_bits_are_found_on_reading_and_the_block_can_be_fetched_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    let data = file_of(directory.path(), ".data");
    let mut choices = Choices(0xb17);
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    let mut bytes = Vec::new();
    for _ in 0..200 {
        let offset = choices.below(LENGTH);
        let rotten = (offset / BLOCK as u64) as u32;
        flip(&data, offset);
        let error = handle.read_run(0..BLOCKS, &mut bytes).expect_err("the rot is found");
        assert!(matches!(error, ReadError::Corrupt { block } if block == rotten), "{error}");
        assert!(bytes.is_empty(), "nothing is given out");
        assert!(matches!(handle.read_run(0..BLOCKS, &mut bytes), Err(ReadError::NotHeld { block }) if block == rotten));
        assert_all_held_are_right(&handle, 1);
        write(&handle, 1, rotten..rotten + 1);
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(rotten..rotten + 1));
        handle.read_run(0..BLOCKS, &mut bytes).expect("whole again");
        assert!(bytes == content(1, 0..LENGTH));
    }
}

#[test]
fn a_block_that_lies_in_memory_is_at_hand_and_a_rotten_or_missing_one_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    let mut bytes = Vec::new();
    handle.read_run(0..BLOCKS, &mut bytes).expect("whole");
    let hashes = handle.block_hashes(0..BLOCKS).expect("known");
    let hash = |block: u32| hashes[block as usize];
    for block in [0, 7, BLOCKS - 1] {
        match handle.read_at_hand(block, hash(block), &mut bytes) {
            Some(()) => {
                assert!(bytes == blocks_of(1, &handle.geometry(), block..block + 1), "block {block}");
                assert_eq!(handle.hashes_at_hand(block..block + 1), Some(vec![hash(block)]));
                let of_another = handle.read_at_hand(block, hash((block + 1) % BLOCKS), &mut bytes);
                assert_eq!((of_another, bytes.len()), (None, 0), "it is not what was said of it");
            }
            // Not every file system says what lies in memory.
            None => assert!(std::env::var_os("CI").is_none(), "block {block} was read a moment ago"),
        }
    }
    flip(&file_of(directory.path(), ".data"), 7 * BLOCK as u64 + 3);
    assert_eq!((handle.read_at_hand(7, hash(7), &mut bytes), bytes.len()), (None, 0), "it is not what its hash says");
    assert!(handle.held().contains(7), "who reads in the ordinary way judges it");
    assert!(matches!(handle.read_run(7..8, &mut bytes), Err(ReadError::Corrupt { block: 7 })));
    assert_eq!(
        (handle.read_at_hand(7, hash(7), &mut bytes), handle.hashes_at_hand(6..9)),
        (None, None),
        "it is not held"
    );
    assert_eq!(handle.read_at_hand(BLOCKS, hash(0), &mut bytes), None);
}

#[test]
fn a_dropped_block_stays_dropped_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    flip(&file_of(directory.path(), ".data"), 5 * BLOCK as u64);
    {
        let store = open(directory.path());
        let handle = store.find(&id).expect("asked").expect("here");
        assert!(handle.read_run(5..6, &mut Vec::new()).is_err());
    }
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    assert_eq!(handle.held().len(), BLOCKS - 1);
    assert!(!handle.held().contains(5) && !handle.fetched_here().contains(5));
}

#[test]
fn a_flipped_block_hash_drops_its_block_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    flip(&file_of(directory.path(), ".outboard"), 4096 + 7 * 32 + 3);
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    let mut bytes = Vec::new();
    let bad: Vec<u32> = (0..BLOCKS).filter(|block| handle.read_run(*block..*block + 1, &mut bytes).is_err()).collect();
    assert_eq!(bad, [7]);
    assert_eq!(handle.held().len(), BLOCKS - 1);
}

#[test]
fn files_that_are_gone_or_cut_short_are_forgotten_at_the_next_start() {
    type Damage = fn(&Path);
    let damages: [Damage; 5] = [
        |directory| fs::remove_file(file_of(directory, ".data")).expect("removed"),
        |directory| fs::remove_file(file_of(directory, ".outboard")).expect("removed"),
        |directory| fs::remove_dir_all(directory.join("entities")).expect("removed"),
        |directory| {
            let file = fs::File::options().write(true).open(file_of(directory, ".data")).expect("the file");
            file.set_len(LENGTH / 2).expect("cut");
        },
        |directory| {
            let file = fs::File::options().write(true).open(file_of(directory, ".data")).expect("the file");
            file.set_len(LENGTH + 1).expect("grown");
        },
    ];
    for damage in damages {
        let directory = tempfile::tempdir().expect("a directory");
        let id = filled(directory.path());
        damage(directory.path());
        let store = open(directory.path());
        assert_eq!(store.recovery().dangling, 1);
        assert!(store.find(&id).expect("asked").is_none());
        assert_eq!(store.usage().expect("the usage").used, 0);
        assert_eq!(store.jobs().expect("the jobs").len(), 1);
        let handle = store.begin(new_entity(1, LENGTH)).expect("admitted again");
        assert!(handle.held().is_empty(), "old blocks are not believed for new files");
    }
}

#[test]
fn a_file_cut_short_while_it_is_open_gives_no_wrong_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    let file = fs::File::options().write(true).open(file_of(directory.path(), ".data")).expect("the file");
    file.set_len(10 * BLOCK as u64 + 5).expect("cut");
    let error = handle.read_run(0..BLOCKS, &mut Vec::new()).expect_err("it is noticed");
    assert!(matches!(error, ReadError::Corrupt { block: 10 }), "{error}");
    handle.read_run(0..10, &mut Vec::new()).expect("what is left is right");
}

#[test]
fn an_outboard_of_another_entity_is_not_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    let outboard = file_of(directory.path(), ".outboard");
    let other = tempfile::tempdir().expect("a directory");
    {
        let store = open(other.path());
        store.begin(new_entity(2, LENGTH)).expect("admitted");
    }
    fs::copy(file_of(other.path(), ".outboard"), &outboard).expect("swapped");
    let store = open(directory.path());
    assert!(store.find(&id).expect("asked").is_none());
}

#[test]
fn a_cut_index_is_moved_aside_and_the_store_opens() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let index = directory.path().join("index.redb");
    let whole = fs::read(&index).expect("the index");
    let mut moved = 0;
    for cut in [1, 9, 100, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&index, &whole[..cut]).expect("cut");
        moved += u32::from(opens_and_serves_no_wrong_byte(directory.path()));
    }
    assert!(moved > 0, "a cut index is noticed");
    // Whatever was put aside, the entity came back from its files, and the job from the journal.
    let store = open(directory.path());
    store.rebuild().expect("rebuilt");
    let handle = store.find(&new_entity(1, LENGTH).entity.id()).expect("asked").expect("here");
    assert!(handle.is_complete());
    assert_all_held_are_right(&handle, 1);
    assert_eq!(store.jobs().expect("the jobs").len(), 1);
}

#[test]
fn of_what_was_moved_aside_the_newest_two_of_each_kind_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let aside = |kind: &str| {
        let names =
            fs::read_dir(directory.path()).expect("a listing").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| name.starts_with(kind) && name.contains("damaged"));
        names.sort();
        names
    };
    // The last one is from a time that has not come yet.
    let ages = ["900", "1000", "mine", "99999999999"];
    let kinds = [("index", "index.redb"), ("jobs", "jobs.journal")];
    for name in kinds.iter().flat_map(|(kind, _)| ages.map(|age| format!("{kind}.damaged-{age}"))) {
        fs::write(directory.path().join(name), b"evidence").expect("written");
    }
    let kept = |kind: &str| ["1000", "99999999999", "mine"].map(|age| format!("{kind}.damaged-{age}"));
    drop(open(directory.path()));
    for (kind, _) in kinds {
        assert_eq!(aside(kind), kept(kind));
    }
    for (kind, file) in kinds {
        fs::write(directory.path().join(file), b"nothing that anybody wrote").expect("written");
        let store = open(directory.path());
        let recovery = store.recovery();
        let moved_to = if kind == "index" { &recovery.index_moved_to } else { &recovery.journal_moved_to };
        let now = moved_to.as_deref().expect("moved aside").file_name().expect("a name").to_string_lossy().into_owned();
        let [_, later, foreign] = kept(kind);
        assert_eq!(aside(kind), [now, later, foreign]);
        assert_eq!(store.jobs().expect("the jobs").len(), 1, "each has the jobs of the other");
    }
}

#[test]
fn jobs_are_lost_only_with_index_and_journal_together_and_the_recovery_names_both() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    for file in ["index.redb", "jobs.journal"] {
        fs::write(directory.path().join(file), b"nothing that anybody wrote").expect("written");
    }
    let store = open(directory.path());
    let recovery = store.recovery();
    assert!(recovery.index_moved_to.is_some() && recovery.journal_moved_to.is_some(), "{recovery:?}");
    assert!(store.jobs().expect("the jobs").is_empty());
}

#[test]
fn rot_in_the_index_gives_no_wrong_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    filled(directory.path());
    let source = directory.path();
    let index = fs::read(source.join("index.redb")).expect("the index");
    let mut choices = Choices(0x1dec5);
    for _ in 0..60 {
        let copy = tempfile::tempdir().expect("a directory");
        let status = std::process::Command::new("cp").arg("-a").arg(source.join(".")).arg(copy.path()).status();
        assert!(status.expect("cp").success());
        let mut rotten = index.clone();
        for _ in 0..1 + choices.below(40) {
            // The first pages hold the tables of so small a store.
            let at = choices.below(index.len().min(64 * 1024) as u64) as usize;
            rotten[at] ^= 1 << choices.below(8);
        }
        fs::write(copy.path().join("index.redb"), rotten).expect("written");
        opens_and_serves_no_wrong_byte(copy.path());
    }
}

/// Opens the store twice and reads what it holds; says whether the index was moved aside.
fn opens_and_serves_no_wrong_byte(directory: &Path) -> bool {
    let store = open(directory);
    let was_moved = store.recovery().index_moved_to.is_some();
    if let Ok(Some(handle)) = store.find(&new_entity(1, LENGTH).entity.id()) {
        assert_all_held_are_right(&handle, 1);
    }
    drop(store);
    let store = open(directory);
    let handle = store.begin(new_entity(2, 100)).expect("it still takes something in");
    write(&handle, 2, 0..1);
    handle.commit().expect("committed");
    assert_all_held_are_right(&handle, 2);
    was_moved
}

#[test]
fn an_older_copy_of_the_index_holds_no_more_than_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = directory.path().join("index.redb");
    let id = {
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, LENGTH)).expect("admitted");
        write(&handle, 1, 0..5);
        handle.commit().expect("committed");
        handle.id()
    };
    let old = fs::read(&index).expect("the index");
    {
        let store = open(directory.path());
        let handle = store.find(&id).expect("asked").expect("here");
        write(&handle, 1, 5..BLOCKS);
        handle.commit().expect("committed");
    }
    fs::write(&index, old).expect("put back");
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    assert_eq!(handle.held(), BlockSet::from_run(0..5));
    assert_all_held_are_right(&handle, 1);
}

#[test]
fn files_that_nobody_claims_wait_a_day_in_quarantine() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = filled(directory.path());
    // A file of a generation that had rows once, without a row.
    let shard = directory.path().join("entities").join(format!("{:02x}", id.0[0]));
    fs::write(shard.join(format!("{id}-0.data")), b"old").expect("written");
    fs::write(shard.join(format!("{id}-99.data")), b"never acknowledged").expect("written");
    let report = open(directory.path()).recovery().clone();
    assert_eq!((report.quarantined_files, report.deleted_files, report.entities), (1, 1, 1));

    let report = open(directory.path()).recovery().clone();
    assert_eq!((report.quarantined_files, report.deleted_files), (0, 0), "recovery is idempotent");

    let quarantine = directory.path().join("quarantine");
    let waiting = fs::read_dir(&quarantine).expect("a listing").next().expect("a file").expect("an entry").path();
    let name = waiting.file_name().expect("a name").to_string_lossy().into_owned();
    let (since, rest) = name.split_once('.').expect("a time");
    let yesterday = since.parse::<i64>().expect("a time") - 24 * 3600;
    fs::rename(&waiting, quarantine.join(format!("{yesterday}.{rest}"))).expect("aged");
    let report = open(directory.path()).recovery().clone();
    assert_eq!(report.deleted_files, 1);
    assert_eq!(fs::read_dir(&quarantine).expect("a listing").count(), 0);

    let handle = open(directory.path()).begin(new_entity(5, 1)).expect("admitted");
    assert!(handle.record().generation > 99, "no generation is used twice");
}

#[test]
fn a_sweep_of_an_open_store_finds_what_went_wrong_meanwhile_and_touches_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let kept: Vec<_> = (0..5).map(|tag| store.begin(new_entity(tag, LENGTH)).expect("admitted")).collect();
    write(&kept[0], 0, 0..BLOCKS);
    kept[0].commit().expect("committed");
    let lost = store.begin(new_entity(7, LENGTH)).expect("admitted").id();
    assert_eq!(store.sweep().expect("swept"), SweepReport::default());
    let file = file_of(directory.path(), &format!("{lost}-6.outboard"));
    fs::remove_file(&file).expect("removed");
    fs::write(file.with_extension("tmp"), b"foreign").expect("written");
    let found = store.sweep().expect("swept");
    // The data file of what was lost goes with its row, the foreign file waits for a day.
    assert_eq!(found, SweepReport { dangling: 1, quarantined_files: 1, ..SweepReport::default() });
    assert!(store.find(&lost).expect("asked").is_none());
    assert_eq!(store.usage().expect("the usage").entities, 5);
    assert_all_held_are_right(&kept[0], 0);
    assert_eq!(store.sweep().expect("swept"), SweepReport::default());
}

#[test]
fn the_quarantine_goes_first_when_room_is_needed() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let lost = directory.path().join("quarantine").join(format!("{}.lost.data", i64::MAX));
    fs::write(&lost, b"lost").expect("written");
    let store = eddy_cache::Store::open(eddy_cache::StoreConfig {
        quota: eddy_cache::Quota::Bytes(LENGTH + (64 << 10)),
        ..config(directory.path())
    })
    .expect("opens");
    store.begin(new_entity(1, LENGTH)).expect("admitted");
    assert!(lost.exists(), "there was room");
    store.begin(new_entity(2, LENGTH)).expect("admitted");
    assert!(!lost.exists());
}

#[test]
fn a_file_in_the_way_of_the_directory_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("file");
    fs::write(&path, b"").expect("written");
    let error = eddy_cache::Store::open(config(&path)).expect_err("no directory");
    assert!(matches!(&error, OpenError::Disk(fault) if fault.path == path), "{error}");
}
