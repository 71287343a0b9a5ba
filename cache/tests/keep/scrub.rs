//! Rot is found on the medium, struck off, counted, and the scrub goes on where it was.

use crate::support::*;
use eddy_cache::{ScrubStep, Store};
use eddy_content::BlockSet;
use redb::{Database, ReadableTable, TableDefinition};

const BLOCKS: u32 = 40;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 9;

fn fill(store: &Store, tag: u64) {
    let handle = store.begin(new_entity(tag, LENGTH)).expect("admitted");
    write(&handle, tag, 0..BLOCKS);
    handle.commit().expect("committed");
}

#[test]
fn verify_finds_every_rotten_block_and_strikes_it_off() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    let store = open(directory.path());
    fill(&store, 1);
    let id = new_entity(1, LENGTH).entity.id();
    let mut heard = Vec::new();
    let sound = store.verify(&id, &mut |bytes| heard.push(bytes)).expect("verified").expect("here");
    assert_eq!((sound.blocks, sound.bytes), (u64::from(BLOCKS), LENGTH));
    assert!(sound.corrupt.is_empty());
    assert!(heard.is_sorted() && heard.last() == Some(&LENGTH));

    let data = file_of(directory.path(), ".data");
    for block in [0, 17, BLOCKS - 1] {
        flip(&data, u64::from(block) * BLOCK as u64 + 5);
    }
    let found = store.verify(&id, &mut |_| {}).expect("verified").expect("here");
    let rotten: BlockSet = [0..1, 17..18, BLOCKS - 1..BLOCKS].into_iter().collect();
    assert_eq!(found.corrupt, rotten);
    assert_eq!(store.scrubbed().expect("the record").corrupt, 3);
    store.note_corrupt(2).expect("noted");
    assert_eq!(store.scrubbed().expect("the record").corrupt, 5, "whoever found it");
    let handle = store.find(&id).expect("asked").expect("here");
    assert_eq!(handle.held(), BlockSet::from_run(0..BLOCKS).difference(&rotten));
    assert_all_held_are_right(&handle, 1);
    assert!(store.verify(&new_entity(7, 1).entity.id(), &mut |_| {}).expect("asked").is_none());
}

#[test]
fn a_file_that_was_cut_short_is_corrupt_where_it_ends() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    let store = open(directory.path());
    fill(&store, 1);
    // Somebody has it open; else it would be forgotten as soon as it is opened.
    let _lease = store.find(&new_entity(1, LENGTH).entity.id()).expect("asked").expect("here");
    let file = std::fs::File::options().write(true).open(file_of(directory.path(), ".data")).expect("the file");
    file.set_len(20 * BLOCK as u64 + 7).expect("cut");
    let found = store.verify(&new_entity(1, LENGTH).entity.id(), &mut |_| {}).expect("verified").expect("here");
    assert_eq!(found.corrupt, BlockSet::from_run(20..BLOCKS));
}

#[test]
fn a_scrub_goes_on_where_it_was_also_in_another_process_and_finds_all_rot() {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on a disk");
    {
        let store = open(directory.path());
        (1..=3).for_each(|tag| fill(&store, tag));
    }
    let mut rotten = 0;
    for shard in std::fs::read_dir(directory.path().join("entities")).expect("a listing") {
        for file in std::fs::read_dir(shard.expect("an entry").path()).expect("a listing") {
            let path = file.expect("an entry").path();
            if path.extension().is_some_and(|kind| kind == "data") {
                flip(&path, 33 * BLOCK as u64);
                rotten += 1;
            }
        }
    }
    assert_eq!(rotten, 3);
    let mut sum = ScrubStep::default();
    while !sum.is_pass_complete {
        // A store that is opened anew for every step.
        let step = open(directory.path()).scrub_step(7 * BLOCK as u64).expect("scrubbed");
        assert!(step.is_pass_complete || step.blocks > 0, "every step comes further");
        sum.blocks += step.blocks;
        sum.bytes += step.bytes;
        sum.corrupt += step.corrupt;
        sum.is_pass_complete = step.is_pass_complete;
    }
    assert_eq!((sum.blocks, sum.bytes, sum.corrupt), (3 * u64::from(BLOCKS), 3 * LENGTH, 3));
    let store = open(directory.path());
    let record = store.scrubbed().expect("the record");
    assert_eq!((record.corrupt, record.corrupt_in_pass, record.bytes), (3, 0, 3 * LENGTH));
    assert!(record.last_full_pass.is_some() && record.pass_began.is_none());
    let again = store.scrub_step(u64::MAX).expect("scrubbed");
    assert_eq!((again.blocks, again.corrupt, again.is_pass_complete), (3 * u64::from(BLOCKS - 1), 0, true));
}

#[test]
fn rot_of_small_entities_in_the_index_is_counted_like_any_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = |tag| new_entity(tag, 3000);
    {
        let store = open(directory.path());
        for tag in 1..=3 {
            let handle = store.begin(small(tag)).expect("admitted");
            write(&handle, tag, 0..1);
            handle.commit().expect("committed");
        }
    }
    let rot = |tags: [u64; 2]| {
        let database = Database::open(directory.path().join("index.redb")).expect("an index");
        let transaction = database.begin_write().expect("a transaction");
        {
            let rows = TableDefinition::<&[u8], &[u8]>::new("inline");
            let mut table = transaction.open_table(rows).expect("a table");
            for tag in tags {
                let id = small(tag).entity.id();
                let mut row = table.get(id.0.as_slice()).expect("read").expect("a row").value().to_vec();
                row[1000] ^= 1;
                table.insert(id.0.as_slice(), row.as_slice()).expect("inserted");
            }
        }
        transaction.commit().expect("committed");
    };
    rot([1, 3]);
    let store = open(directory.path());
    let one = BlockSet::from_run(0..1);
    let found = store.verify(&small(1).entity.id(), &mut |_| {}).expect("verified").expect("here");
    assert_eq!((found.blocks, &found.corrupt), (1, &one));
    assert_eq!(store.scrubbed().expect("the record").corrupt, 1);
    let step = store.scrub_step(u64::MAX).expect("scrubbed");
    assert_eq!((step.blocks, step.corrupt, step.is_pass_complete), (2, 1, true));
    assert_eq!(store.scrubbed().expect("the record").corrupt, 2);
    let held = |tag| store.find(&small(tag).entity.id()).expect("asked").expect("here").held();
    assert_eq!([1, 2, 3].map(held), [BlockSet::new(), one, BlockSet::new()]);
    assert_eq!(store.scrub_step(u64::MAX).expect("scrubbed").corrupt, 0, "it is counted once");
}

#[test]
fn a_scrub_of_an_empty_store_is_complete_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    assert!(open(directory.path()).scrub_step(1).expect("scrubbed").is_pass_complete);
}
