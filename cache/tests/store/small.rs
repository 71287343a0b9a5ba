//! Entities of one block at most: no files, one transaction, and everything else as with large ones.

use crate::support::*;
use eddy_cache::*;
use eddy_content::{BlockHash, BlockSet, Root};
use redb::{Database, ReadableTable, TableDefinition};
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

/// Whether the store has any file of an entity.
fn has_files(directory: &Path) -> bool {
    fs::read_dir(directory.join("entities")).expect("a listing").next().is_some()
}

#[test]
fn small_entities_have_no_files_and_are_held_read_and_found_like_large_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let statement = StoredStatement { first_block: 0, count: 1, bytes: vec![7; 200] };
    let lengths = [1, 77, 10_240, BLOCK as u64 - 1, BLOCK as u64];
    {
        let store = open(directory.path());
        for (tag, length) in lengths.into_iter().enumerate() {
            let tag = tag as u64;
            let handle = store.begin(new_entity(tag, length)).expect("admitted");
            write(&handle, tag, 0..1);
            assert!(handle.held().is_empty(), "nothing is acknowledged before the commit");
            assert!(matches!(handle.read_run(0..1, &mut Vec::new()), Err(ReadError::NotHeld { block: 0 })));
            assert_eq!(handle.put_statements(std::slice::from_ref(&statement)), 1);
            assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..1));
            assert_all_held_are_right(&handle, tag);
        }
    }
    assert!(!has_files(directory.path()));
    let store = open(directory.path());
    assert_eq!(store.sweep().expect("swept"), SweepReport::default());
    for (tag, length) in lengths.into_iter().enumerate() {
        let tag = tag as u64;
        let handle = store.find(&new_entity(tag, length).entity.id()).expect("asked").expect("still here");
        assert!(handle.is_complete());
        assert_eq!(handle.fetched_here(), BlockSet::from_run(0..1));
        assert_eq!(handle.statements(0..1), std::slice::from_ref(&statement));
        assert_eq!(handle.root(), Some(Root(*blake3::hash(&content(tag, 0..length)).as_bytes())));
        assert_eq!(handle.reader().read(0..1).expect("read"), content(tag, 0..length));
        assert_all_held_are_right(&handle, tag);
    }
    let rows = store.ledger().expect("the ledger");
    assert!(rows.iter().all(LedgerRow::closes));
    let used = store.usage().expect("the usage");
    assert!(used.used > lengths.iter().sum() && used.entities == 5);
    assert_eq!(store.clear().expect("cleared").bytes, used.used);
    assert_eq!(store.usage().expect("the usage").used, 0);
}

#[test]
fn what_the_origin_brought_whole_is_booked_and_may_be_signed_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let take_in = |tags: &[u64]| {
        let whole = tags.iter().map(|tag| (new_entity(*tag, 100), content(*tag, 0..100)));
        store.take_in(whole.collect(), Account::NO_JOB).expect("taken")
    };
    assert_eq!(take_in(&[0, 1, 2]), 3);
    assert_eq!(take_in(&[2, 6, 6]), 1, "one is here, and one comes twice");
    let here = |tag| store.find(&new_entity(tag, 100).entity.id()).expect("asked").expect("is here").fetched_here();
    let one = BlockSet::from_run(0..1);
    assert!([0, 1, 2, 6].into_iter().all(|tag| here(tag) == one));
    let rows = store.ledger().expect("the ledger");
    let [LedgerRow::File { account: Account::NO_JOB, balance, .. }] = &rows[..] else { panic!("one row: {rows:?}") };
    let flow = balance.origin;
    assert_eq!((flow.received, flow.used, flow.wasted.duplicate), (600, 400, 200));
    assert!(rows[0].closes());
}

#[test]
fn what_was_read_once_is_at_hand_while_it_is_open() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = {
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, 10_240)).expect("admitted");
        write(&handle, 1, 0..1);
        assert!(handle.hashes_at_hand(0..1).is_none(), "it is not durable");
        handle.commit().expect("committed");
        assert!(handle.hashes_at_hand(0..1).is_some());
        handle.id()
    };
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("still here");
    assert!(handle.hashes_at_hand(0..1).is_none(), "the index would have to be asked");
    let hashes = handle.block_hashes(0..1).expect("the hash");
    assert_eq!(handle.hashes_at_hand(0..1).as_ref(), Some(&hashes));
    let mut bytes = Vec::new();
    assert!(handle.read_at_hand(0, BlockHash([7; 32]), &mut bytes).is_none(), "not what was told");
    assert!(handle.read_at_hand(0, hashes[0], &mut bytes).is_some());
    assert_eq!(bytes, content(1, 0..10_240));
    handle.quarantine(&BlockSet::from_run(0..1));
    assert!(handle.hashes_at_hand(0..1).is_none() && handle.read_at_hand(0, hashes[0], &mut bytes).is_none());
}

#[test]
fn an_entity_is_settled_when_a_commit_would_do_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for (tag, length) in [(1, 100), (2, BLOCK as u64 + 1)] {
        let handle = store.begin(new_entity(tag, length)).expect("admitted");
        let is_in_index = length == 100;
        assert_eq!(handle.is_settled(), !is_in_index, "the row of a small one comes with its first commit");
        write(&handle, tag, 0..1);
        assert!(!handle.is_settled(), "a block waits");
        handle.commit().expect("committed");
        assert!(handle.is_settled() && handle.held() == BlockSet::from_run(0..1));
        handle.put_statements(&[StoredStatement { first_block: 0, count: 1, bytes: vec![7; 200] }]);
        assert!(!handle.is_settled(), "a statement waits");
        handle.commit().expect("committed");
        write(&handle, tag, 0..1);
        assert!(!handle.is_settled(), "bytes that were here already are to be booked");
        handle.commit().expect("committed");
        assert!(handle.is_settled());
    }
}

#[test]
fn statements_about_a_small_entity_take_16_kib_at_most() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = |number: u8, length| StoredStatement { first_block: 0, count: 1, bytes: vec![number; length] };
    let store = open(directory.path());
    let id = {
        let handle = store.begin(new_entity(1, 400)).expect("admitted");
        write(&handle, 1, 0..1);
        let many: Vec<_> = (0..66).map(|number| said(number, 4096)).collect();
        assert_eq!(handle.put_statements(&many), 4, "the first that come");
        assert_eq!(handle.put_statements(&[said(200, 1)]), 0);
        handle.commit().expect("committed");
        handle.id()
    };
    let kept = |handle: &EntityHandle| handle.statements(0..1);
    let handle = store.find(&id).expect("asked").expect("here");
    assert_eq!(kept(&handle), [0, 1, 2, 3].map(|number| said(number, 4096)));
    assert_eq!(handle.put_statements(&[said(200, 1)]), 0, "also when it is opened again");
    // Short ones are as many as ever, and with files there is room for more.
    let short: Vec<_> = (0..70).map(|number| said(number, 200)).collect();
    assert_eq!(store.begin(new_entity(2, 400)).expect("admitted").put_statements(&short), 66);
    let long: Vec<_> = (0..10).map(|number| said(number, 4096)).collect();
    assert_eq!(store.begin(new_entity(3, 100_000)).expect("admitted").put_statements(&long), 10);
}

#[test]
fn one_more_byte_than_a_block_has_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, BLOCK as u64 + 1)).expect("admitted");
    write(&handle, 1, 0..2);
    handle.commit().expect("committed");
    assert!(has_files(directory.path()));
}

#[test]
fn what_was_let_in_and_never_written_is_here_without_a_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 100)).expect("admitted");
    assert_eq!(store.usage().expect("the usage").entities, 1, "it has its room");
    let id = handle.id();
    let mut writer = handle.writer(0, ORIGIN, ACCOUNT);
    writer.push(&content(1, 0..60)).expect("pushed");
    drop((writer, handle));
    assert_eq!((store.usage().expect("the usage").entities, store.list(None, 9).expect("the list").len()), (1, 1));
    let handle = store.find(&id).expect("asked").expect("here");
    assert!(handle.held().is_empty());
    write(&handle, 1, 0..1);
    handle.commit().expect("committed");
    assert_all_held_are_right(&handle, 1);
    let rows = store.ledger().expect("the ledger");
    assert!(
        matches!(rows[..], [LedgerRow::File { balance, .. }] if balance.origin.wasted.aborted == 60 && rows[0].closes())
    );
}

#[test]
fn a_peer_s_small_block_is_verified_before_it_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 5000)).expect("admitted");
    let hashes = hashes_of(1, &handle.geometry(), 0..1);
    let mut wrong = content(1, 0..5000);
    wrong[4999] ^= 1;
    let refused = handle.writer(0, PEER, ACCOUNT).expect(hashes.clone()).push(&wrong);
    assert!(matches!(refused, Err(WriteError::WrongBlock { block: 0, .. })));
    assert!(handle.commit().expect("committed").is_empty());
    let mut writer = handle.writer(0, PEER, ACCOUNT).expect(hashes);
    writer.push(&content(1, 0..5000)).expect("pushed");
    drop(writer);
    handle.commit().expect("committed");
    assert!(handle.is_complete() && handle.fetched_here().is_empty(), "a peer's block may not be signed");
    assert_all_held_are_right(&handle, 1);
}

#[test]
fn a_mirror_gets_a_small_entity_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let (store, path) = (open(&directory.path().join("store")), directory.path().join("part"));
    let handle = store.begin(new_entity(1, 3000)).expect("admitted");
    let file = File::options().write(true).create_new(true).open(&path).expect("created");
    let mirror = Arc::new(handle.mirror(&path, file).expect("room for a mirror"));
    let mut writer = handle.writer(0, ORIGIN, ACCOUNT).mirror(Arc::clone(&mirror));
    writer.push(&content(1, 0..3000)).expect("pushed");
    writer.finish().expect("finished");
    handle.commit().expect("committed");
    assert_eq!(handle.mirrored(&mirror), BlockSet::from_run(0..1));
    assert_eq!(fs::read(&path).expect("the mirror"), content(1, 0..3000));
}

#[test]
fn two_jobs_that_want_the_same_small_entity_share_it_before_it_has_a_row() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut elsewhere = new_entity(1, 3000);
    elsewhere.requested_url = new_entity(2, 0).requested_url;
    elsewhere.privacy = Privacy::Private;
    let first = store.begin(new_entity(1, 3000)).expect("admitted");
    write(&first, 1, 0..1);
    let second = store.begin(elsewhere.clone()).expect("the same");
    first.commit().expect("committed");
    assert!(second.is_complete());
    drop((first, second));
    for requested in [&new_entity(1, 3000).requested_url, &elsewhere.requested_url] {
        let latest = store.latest(requested).expect("asked").expect("known under both");
        assert_eq!((latest.privacy, latest.held_blocks), (Privacy::Private, 1), "private once is private for good");
    }
}

#[test]
fn rot_in_the_row_of_a_small_entity_is_found_and_the_block_can_be_fetched_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let id = {
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, 3000)).expect("admitted");
        write(&handle, 1, 0..1);
        handle.commit().expect("committed");
        handle.id()
    };
    {
        let database = Database::open(directory.path().join("index.redb")).expect("an index");
        let transaction = database.begin_write().expect("a transaction");
        {
            let rows = TableDefinition::<&[u8], &[u8]>::new("inline");
            let mut table = transaction.open_table(rows).expect("a table");
            let mut row = table.get(id.0.as_slice()).expect("read").expect("a row").value().to_vec();
            row[1000] ^= 1;
            table.insert(id.0.as_slice(), row.as_slice()).expect("inserted");
        }
        transaction.commit().expect("committed");
    }
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    let mut bytes = vec![1];
    let error = handle.read_run(0..1, &mut bytes).expect_err("the rot is found");
    assert!(matches!(error, ReadError::Corrupt { block: 0 }) && bytes.is_empty(), "{error}");
    assert!(handle.held().is_empty());
    write(&handle, 1, 0..1);
    handle.commit().expect("committed");
    assert_all_held_are_right(&handle, 1);
}

#[test]
fn small_entities_go_when_room_is_needed_and_stay_when_they_are_pinned() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let keep = |tag| {
        let handle = store.begin(new_entity(tag, 10_000)).expect("admitted");
        write(&handle, tag, 0..1);
        assert!(handle.commit().expect("committed").contains(0));
        handle.id()
    };
    let ids: Vec<_> = (0..10).map(keep).collect();
    let one = store.usage().expect("the usage").used / 10;
    store.pin(&ids[0], Pin::Pinned).expect("pinned");
    store.set_limits(Limits { quota: Quota::Bytes(4 * one), ..store.limits() }).expect("set");
    assert_eq!(store.usage().expect("the usage").entities, 4);
    keep(10);
    let left = store.list(None, 99).expect("the list");
    assert_eq!(left.len(), 4);
    assert!(left.iter().any(|record| record.id() == ids[0] && record.pinned));
    for record in left {
        let handle = store.find(&record.id()).expect("asked").expect("here");
        assert!(handle.is_complete());
    }
}

#[test]
fn a_commit_that_no_thread_waits_for_acknowledges_when_it_is_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 3000)).expect("admitted");
    write(&handle, 1, 0..1);
    let (tell, told) = mpsc::sync_channel(1);
    let pending = handle.begin_commit(move |answer| tell.send(answer).expect("heard")).expect("begun");
    assert!(pending.is_under_way());
    let answer = told.recv().expect("told");
    assert!(handle.held().is_empty() && !handle.is_settled(), "nobody has ended it");
    assert!(handle.begin_commit(|_| {}).is_none(), "one at a time");
    let other = handle.clone();
    let waiting = thread::spawn(move || other.commit().expect("committed"));
    assert_eq!(pending.end(Some(answer)).expect("committed"), BlockSet::from_run(0..1));
    assert!(waiting.join().expect("a thread").is_empty(), "nothing was left for who waited");
    assert!(handle.is_settled() && handle.is_complete());
    assert_all_held_are_right(&handle, 1);
    let id = handle.id();
    drop((handle, store));
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    assert_all_held_are_right(&handle, 1);
    assert!(handle.is_complete());
    let large = store.begin(new_entity(2, BLOCK as u64 + 1)).expect("admitted");
    assert!(large.begin_commit(|_| {}).is_none(), "files are synced by whoever waits for it");
}

#[test]
fn what_a_commit_carried_that_nobody_ended_is_fetched_again_and_booked_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 3000)).expect("admitted");
    write(&handle, 1, 0..1);
    let (tell, told) = mpsc::sync_channel(1);
    let pending = handle.begin_commit(move |answer| tell.send(answer).expect("heard")).expect("begun");
    told.recv().expect("told");
    drop(pending);
    assert!(handle.held().is_empty(), "nobody counts on it");
    write(&handle, 1, 0..1);
    assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..1));
    assert_all_held_are_right(&handle, 1);
    let rows = store.ledger().expect("the ledger");
    let [LedgerRow::File { balance, .. }] = &rows[..] else { panic!("{rows:?}") };
    assert!(balance.origin.received == 6000 && rows[0].closes(), "{balance:?}");
}
