//! One entity from its admission to its removal, and the rows beside it.

use crate::support::*;
use eddy_cache::*;
use eddy_content::{BlockSet, LookupSecret, Root};
use std::time::Duration;

#[test]
fn what_is_written_and_committed_is_held_and_read_back_also_after_reopening() {
    let directory = tempfile::tempdir().expect("a directory");
    let length = 5 * BLOCK as u64 + 77;
    {
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, length)).expect("admitted");
        write(&handle, 1, 0..6);
        assert!(handle.held().is_empty(), "nothing is acknowledged before the commit");
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..6));
        assert!(handle.commit().expect("an empty commit").is_empty());
        assert_all_held_are_right(&handle, 1);
        assert_eq!(handle.root(), Some(Root(*blake3::hash(&content(1, 0..length)).as_bytes())));
    }
    let store = open(directory.path());
    assert!(!store.recovery().was_unclean);
    let handle = store.find(&new_entity(1, length).entity.id()).expect("asked").expect("still here");
    assert_eq!(handle.held(), BlockSet::from_run(0..6));
    assert_eq!(handle.fetched_here(), BlockSet::from_run(0..6));
    assert!(handle.is_complete());
    assert_all_held_are_right(&handle, 1);
}

#[test]
fn a_store_is_closed_when_the_last_handle_goes_and_can_be_opened_at_that_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let (closing, clone) = (store.closing(), store.clone());
    let handle = store.begin(new_entity(1, 5 * BLOCK as u64 + 77)).expect("admitted");
    drop((store, clone));
    assert!(!closing.wait(Duration::ZERO), "the handle still writes");
    let (go, gone) = std::sync::mpsc::sync_channel(1);
    let late = std::thread::spawn(move || {
        gone.recv().expect("is told");
        drop(handle);
    });
    go.send(()).expect("is heard");
    assert!(closing.wait(Duration::from_secs(60)));
    assert!(!open(directory.path()).recovery().was_unclean);
    late.join().expect("ends");
}

#[test]
fn what_is_written_can_be_read_before_it_is_durable_and_is_not_called_held() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 5 * BLOCK as u64 + 77)).expect("admitted");
    write(&handle, 1, 0..2);
    handle.commit().expect("committed");
    write(&handle, 1, 2..4);
    assert_eq!(handle.held(), BlockSet::from_run(0..2));
    assert!((0..4).all(|block| handle.is_readable(block)) && !handle.is_readable(4));
    let (readable, here) = handle.readable();
    assert_eq!((&readable, &here), (&BlockSet::from_run(0..4), &readable), "all of it came from the origin");
    assert_eq!(handle.readable_hashes(1..4).expect("there").len(), 3);
    assert!(matches!(handle.readable_hashes(3..5), Err(ReadError::NotHeld { block: 4 })));
    assert_eq!(handle.readable_of(1..3), (BlockSet::from_run(1..3), BlockSet::from_run(1..3)));
    assert_eq!(handle.readable_of(3..6).0, BlockSet::from_run(3..4));
    assert!(handle.readable_of(4..6).0.is_empty() && handle.readable_of(2..2).0.is_empty());
    let mut bytes = Vec::new();
    for run in [0..2, 2..4, 3..4] {
        handle.read_written(run.clone(), &mut bytes).expect("there");
        assert!(bytes == blocks_of(1, &handle.geometry(), run));
    }
    assert!(matches!(handle.read_written(1..3, &mut bytes), Err(ReadError::NotHeld { .. })), "one kind at a time");
    assert!(matches!(handle.read_written(4..5, &mut bytes), Err(ReadError::NotHeld { .. })));
    // C-21: also what is not durable yet is held against its hash.
    flip(&file_of(directory.path(), ".data"), 3 * BLOCK as u64);
    assert!(matches!(handle.read_written(2..4, &mut bytes), Err(ReadError::Corrupt { block: 3 })) && bytes.is_empty());
}

#[test]
fn what_was_written_a_moment_ago_is_at_hand_and_what_rotted_since_is_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 6 * BLOCK as u64)).expect("admitted");
    write(&handle, 1, 0..2);
    handle.commit().expect("committed");
    write(&handle, 1, 2..4);
    let (geometry, mut bytes) = (handle.geometry(), Vec::new());
    let hashes = hashes_of(1, &geometry, 0..5);
    // Held, written, and both in one question. Not every file system says what lies in memory.
    let is_said = handle.readable_hashes_at_hand(0..1).is_some();
    assert!(is_said || std::env::var_os("CI").is_none(), "the hashes were written a moment ago");
    for run in [0..2, 2..4, 1..3].into_iter().filter(|run| is_said || run.start == 2) {
        let told = &hashes[run.start as usize..run.end as usize];
        assert_eq!(handle.readable_hashes_at_hand(run.clone()).as_deref(), Some(told), "{run:?}");
    }
    assert_eq!(handle.readable_hashes_at_hand(3..5), None, "block 4 has not come");
    for block in (0..4).filter(|_| is_said) {
        let read = handle.read_at_hand(block, hashes[block as usize], &mut bytes);
        assert!(read.is_some() && bytes == blocks_of(1, &geometry, block..block + 1), "block {block}");
    }
    assert_eq!((handle.read_at_hand(3, hashes[2], &mut bytes), bytes.len()), (None, 0), "not what was told");
    assert_eq!(handle.read_at_hand(4, hashes[4], &mut bytes), None);
    flip(&file_of(directory.path(), ".data"), 3 * BLOCK as u64);
    assert_eq!((handle.read_at_hand(3, hashes[3], &mut bytes), bytes.len()), (None, 0), "C-21");
}

#[test]
fn a_block_of_which_somebody_waits_can_be_read_when_its_last_byte_has_come() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 20 * BLOCK as u64)).expect("admitted");
    let geometry = handle.geometry();
    let readable = |writer: fn(RunWriter) -> RunWriter, first: u32| {
        let mut writer = writer(handle.writer(first, ORIGIN, ACCOUNT));
        let bytes = blocks_of(1, &geometry, first..first + 2);
        writer.push(&bytes[..BLOCK - 1]).expect("taken");
        let before = handle.is_readable(first);
        writer.push(&bytes[BLOCK - 1..BLOCK + 9]).expect("taken");
        let outcome = (before, handle.is_readable(first));
        writer.finish().expect("written");
        outcome
    };
    assert_eq!(readable(RunWriter::instantly, 0), (false, true));
    assert_eq!(readable(RunWriter::promptly, 8), (false, false), "a run of 256 KiB costs less");
}

#[test]
fn blocks_are_read_as_somebody_was_told_they_are_or_not_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 6 * BLOCK as u64 + 77)).expect("admitted");
    let geometry = handle.geometry();
    write(&handle, 1, 0..3);
    handle.commit().expect("committed");
    write(&handle, 1, 3..5);
    let mut bytes = Vec::new();
    // Durable or not, and both in one run.
    for run in [0..3, 3..5, 1..5, 2..2] {
        handle.read_as(run.start, &hashes_of(1, &geometry, run.clone()), &mut bytes).expect("there");
        assert!(bytes == blocks_of(1, &geometry, run));
    }
    assert!(matches!(
        handle.read_as(4, &hashes_of(1, &geometry, 4..6), &mut bytes),
        Err(ReadError::NotHeld { block: 5 })
    ));
    assert!(bytes.is_empty(), "nothing is given out");

    // What was believed is doubted, and the origin says something else.
    handle.commit().expect("committed");
    let told = hashes_of(1, &geometry, 0..5);
    handle.set_aside(&BlockSet::from_run(1..2));
    assert!(matches!(handle.read_as(0, &told, &mut bytes), Err(ReadError::NotHeld { block: 1 })), "it is not held");
    write(&handle, 2, 1..2);
    for _ in ["written", "committed"] {
        assert!(matches!(handle.read_as(0, &told, &mut bytes), Err(ReadError::Replaced { block: 1 })));
        assert!(bytes.is_empty() && handle.is_readable(1), "it is right, and another one");
        handle.read_as(1, &hashes_of(2, &geometry, 1..2), &mut bytes).expect("who hears of it now gets it");
        assert!(bytes == blocks_of(2, &geometry, 1..2));
        handle.commit().expect("committed");
    }
    // Rot is told apart.
    flip(&file_of(directory.path(), ".data"), 4 * BLOCK as u64);
    assert!(matches!(handle.read_as(2, &told[2..], &mut bytes), Err(ReadError::Corrupt { block: 4 })));
    assert!(!handle.held().contains(4) && bytes.is_empty());
}

#[test]
fn that_nothing_was_ever_here_under_a_url_is_known_without_a_look() {
    let directory = tempfile::tempdir().expect("a directory");
    let is_possible = |store: &Store, seed| store.may_have(&new_entity(seed, 1).requested_url);
    {
        let store = open(directory.path());
        store.begin(new_entity(1, 5 * BLOCK as u64)).expect("admitted");
        assert!(is_possible(&store, 2), "no name is in memory yet");
        store.remember_names().expect("read");
        assert!(is_possible(&store, 1) && !is_possible(&store, 2));
        store.begin(new_entity(2, 5 * BLOCK as u64)).expect("admitted");
        store.take_in(vec![(new_entity(3, 9), content(3, 0..9))], ACCOUNT).expect("taken in");
        assert!((1..4).all(|seed| is_possible(&store, seed)) && !is_possible(&store, 4));
    }
    let store = open(directory.path());
    store.remember_names().expect("read");
    assert!((1..4).all(|seed| is_possible(&store, seed)) && !is_possible(&store, 4));
}

#[test]
fn entities_of_no_byte_and_of_one_byte_are_entities() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let nothing = store.begin(new_entity(1, 0)).expect("admitted");
    assert!(nothing.is_complete());
    assert_eq!(nothing.root(), Some(Root::of_nothing()));
    let one = store.begin(new_entity(2, 1)).expect("admitted");
    write(&one, 2, 0..1);
    one.commit().expect("committed");
    assert_eq!(one.root(), Some(Root(*blake3::hash(&content(2, 0..1)).as_bytes())));
}

#[test]
fn any_chunking_gives_the_same_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for (tag, chunk) in
        [1usize, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, 4 * BLOCK, 40 * BLOCK].into_iter().enumerate()
    {
        let length = if chunk == 1 { BLOCK + 3 } else { 13 * BLOCK + 5 } as u64;
        let tag = tag as u64;
        let handle = store.begin(new_entity(tag, length)).expect("admitted");
        let mut writer = handle.writer(0, ORIGIN, ACCOUNT);
        let mut completed = 0;
        for part in content(tag, 0..length).chunks(chunk) {
            let pushed = writer.push(part).expect("pushed");
            assert_eq!(pushed.blocks.start, completed);
            completed = pushed.blocks.end;
        }
        assert_eq!(completed, handle.geometry().block_count());
        assert!(matches!(writer.push(&[0]), Err(WriteError::PastEnd { .. })));
        handle.commit().expect("committed");
        assert!(handle.is_complete(), "chunks of {chunk}");
        assert_all_held_are_right(&handle, tag);
    }
    assert!(store.ledger().expect("the ledger").iter().all(LedgerRow::closes));
}

#[test]
fn more_bytes_than_the_entity_has_in_one_push_keep_the_right_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    let mut writer = handle.writer(0, ORIGIN, ACCOUNT);
    let mut bytes = content(1, 0..8 * BLOCK as u64);
    bytes.extend_from_slice(b"more");
    assert!(matches!(writer.push(&bytes), Err(WriteError::PastEnd { .. })));
    handle.commit().expect("committed");
    assert!(handle.is_complete());
    let rows = store.ledger().expect("the ledger");
    let [LedgerRow::File { balance, .. }] = rows[..] else { panic!("one row: {rows:?}") };
    assert_eq!((balance.origin.received, balance.origin.wasted.corrupt), (8 * BLOCK as u64 + 4, 4));
}

#[test]
fn a_wrong_block_of_a_peer_is_refused_and_the_right_ones_before_it_are_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for chunk in [10_000, BLOCK, 10 * BLOCK] {
        let tag = chunk as u64;
        let handle = store.begin(new_entity(tag, 10 * BLOCK as u64)).expect("admitted");
        let geometry = handle.geometry();
        let mut bytes = blocks_of(tag, &geometry, 0..10);
        bytes[6 * BLOCK + 100] ^= 1;
        let mut writer = handle.writer(0, PEER, ACCOUNT).expect(hashes_of(tag, &geometry, 0..10));
        let error = bytes.chunks(chunk).find_map(|part| writer.push(part).err()).expect("refused");
        assert!(matches!(error, WriteError::WrongBlock { block: 6, from: PEER }), "{error}");
        assert!(matches!(writer.push(b"x"), Err(WriteError::Spent)));
        drop(writer);
        assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..6));
        assert!(handle.fetched_here().is_empty(), "a peer's blocks may not be signed");
        assert_all_held_are_right(&handle, tag);
    }
    let rows = store.ledger().expect("the ledger");
    assert!(rows.iter().all(LedgerRow::closes));
    assert!(rows.iter().any(
        |row| matches!(row, LedgerRow::Peer { flow, .. } if flow.used == 18 * BLOCK as u64 && flow.wasted.corrupt > 0)
    ));
}

#[test]
fn bytes_of_a_peer_without_expected_hashes_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 2 * BLOCK as u64)).expect("admitted");
    let bytes = content(1, 0..2 * BLOCK as u64);
    let refused = handle.writer(0, PEER, ACCOUNT).push(&bytes);
    assert!(matches!(refused, Err(WriteError::Unverified { block: 0 })));
    let short = hashes_of(1, &handle.geometry(), 0..1);
    let refused = handle.writer(0, PEER, ACCOUNT).expect(short).push(&bytes);
    assert!(matches!(refused, Err(WriteError::Unverified { block: 1 })));
    assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..1));
}

#[test]
fn of_two_writers_of_one_block_the_first_wins_and_the_second_is_waste() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    let other = Account { job: [2; 16], file: 7 };
    write(&handle, 1, 2..4);
    let mut writer = handle.writer(0, ORIGIN, other);
    writer.push(&content(1, 0..8 * BLOCK as u64)).expect("pushed");
    writer.finish().expect("finished");
    assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(0..8));
    assert_all_held_are_right(&handle, 1);
    for row in store.ledger().expect("the ledger") {
        assert!(row.closes());
        let LedgerRow::File { account, balance, .. } = row else { panic!("no peer took part") };
        let (used, duplicate) = if account == ACCOUNT { (2, 0) } else { (6, 2) };
        assert_eq!(balance.origin.used, used * BLOCK as u64);
        assert_eq!(balance.origin.wasted.duplicate, duplicate * BLOCK as u64);
    }
}

#[test]
fn an_unfinished_block_is_dropped_and_counted_as_aborted() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    let mut writer = handle.writer(1, ORIGIN, ACCOUNT);
    writer.push(&content(1, BLOCK as u64..BLOCK as u64 * 2 + 5)).expect("pushed");
    assert_eq!(writer.finish().expect("finished"), Finished { next_block: 2, dropped: 5 });
    assert_eq!(handle.commit().expect("committed"), BlockSet::from_run(1..2));
    let rows = store.ledger().expect("the ledger");
    assert!(
        matches!(rows[..], [LedgerRow::File { balance, .. }] if balance.origin.wasted.aborted == 5 && rows[0].closes())
    );
}

#[test]
fn a_second_process_is_refused_and_told_who_is_here() {
    let directory = tempfile::tempdir().expect("a directory");
    let _store = open(directory.path());
    let refused = Store::open(config(directory.path())).expect_err("in use");
    assert!(matches!(refused, OpenError::InUse { holder: Some(pid), .. } if pid == std::process::id()), "{refused}");
}

#[test]
fn files_belong_to_the_node_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("store"));
    store.begin(new_entity(1, 100)).expect("admitted");
    let mut waiting = vec![directory.path().join("store")];
    while let Some(path) = waiting.pop() {
        let mode = path.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_dir() {
            waiting.extend(path.read_dir().expect("a listing").map(|entry| entry.expect("an entry").path()));
        }
    }
}

#[test]
fn the_version_named_last_is_the_latest() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut old = new_entity(1, 10);
    let mut new = new_entity(2, 20);
    (old.requested_url, new.requested_url) = (new_entity(3, 0).requested_url, new_entity(3, 0).requested_url);
    assert!(store.latest(&old.requested_url).expect("asked").is_none());
    for named in [&old, &new, &old] {
        store.begin(named.clone()).expect("admitted");
        let latest = store.latest(&old.requested_url).expect("asked").expect("known");
        assert_eq!(latest.entity, named.entity);
    }
}

#[test]
fn peers_find_shareable_entities_under_the_current_secret_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let (first, second) = (LookupSecret::new([1; 32]), LookupSecret::new([2; 32]));
    let before = new_entity(1, 10);
    store.begin(before.clone()).expect("admitted");
    store.set_lookup_secret(Some(first.clone())).expect("set");
    let after = new_entity(2, 10);
    store.begin(after.clone()).expect("admitted");
    let mut private = new_entity(3, 10);
    private.privacy = Privacy::Private;
    store.begin(private.clone()).expect("admitted");
    let is_found = |new: &NewEntity, secret: &LookupSecret| {
        store.by_lookup(&new.entity.lookup_key(secret)).expect("asked").is_some()
    };
    assert!(is_found(&before, &first) && is_found(&after, &first) && !is_found(&private, &first));

    store.set_lookup_secret(Some(second.clone())).expect("set");
    assert!(is_found(&before, &second) && is_found(&after, &second) && !is_found(&private, &second));
    assert!(!is_found(&before, &first));

    let open = store.find(&before.entity.id()).expect("asked").expect("here");
    assert!(open.is_shareable() && !store.begin(private).expect("the same").is_shareable());
    let mut now_private = before.clone();
    now_private.privacy = Privacy::Private;
    store.begin(now_private).expect("admitted again");
    assert!(!is_found(&before, &second), "private once is private for good");
    assert!(!open.is_shareable(), "also for who has it open");

    store.set_lookup_secret(None).expect("set");
    assert!(!is_found(&after, &second));
}

#[test]
fn statements_are_kept_with_the_commit_and_found_by_what_they_overlap() {
    let directory = tempfile::tempdir().expect("a directory");
    let statement = |first_block, count| StoredStatement { first_block, count, bytes: vec![first_block as u8; 200] };
    let id = {
        let store = open(directory.path());
        let handle = store.begin(new_entity(1, 16 * BLOCK as u64)).expect("admitted");
        assert_eq!(handle.put_statements(&[statement(0, 4), statement(4, 4), statement(0, 4)]), 2);
        let long = StoredStatement { first_block: 0, count: 1, bytes: vec![0; 4097] };
        assert_eq!(handle.put_statements(&[long]), 0);
        handle.commit().expect("committed");
        handle.put_statements(&[statement(8, 8)]);
        handle.commit().expect("committed");
        handle.id()
    };
    let store = open(directory.path());
    let handle = store.find(&id).expect("asked").expect("here");
    assert_eq!(handle.statements(0..16), [statement(0, 4), statement(4, 4), statement(8, 8)]);
    assert_eq!(handle.statements(3..5), [statement(0, 4), statement(4, 4)]);
    assert_eq!(handle.statements(15..16), [statement(8, 8)]);
    assert_eq!(handle.statement_runs(), [0..4, 4..8, 8..16]);
    assert!(handle.statement_bytes() >= 600 && handle.statement_count() == 3);
}

#[test]
fn jobs_and_the_ledger_survive() {
    let directory = tempfile::tempdir().expect("a directory");
    {
        let store = open(directory.path());
        store.put_job([1; 16], b"one").expect("put");
        store.put_job([2; 16], b"two").expect("put");
        store.put_job([1; 16], b"uno").expect("put");
        store.remove_job([2; 16]).expect("removed");
        assert!(matches!(store.put_job([3; 16], &vec![0; 1 << 20]), Err(StoreError::RowTooLarge { .. })));
        let bytes = Delivered { origin: 1, peers: 2, cache: 3 };
        store
            .record(&[
                LedgerEntry::Delivered { account: ACCOUNT, bytes },
                LedgerEntry::Wasted { account: ACCOUNT, source: PEER, reason: Waste::Stale, bytes: 5 },
            ])
            .expect("recorded");
    }
    let store = open(directory.path());
    assert_eq!(store.jobs().expect("the jobs"), [([1; 16], b"uno".to_vec())]);
    let rows = store.ledger().expect("the ledger");
    let [LedgerRow::File { account: ACCOUNT, balance, .. }, LedgerRow::Peer { node, flow }] = rows[..] else {
        panic!("{rows:?}")
    };
    assert_eq!(store.balance(ACCOUNT).expect("asked"), balance);
    assert_eq!((balance.delivered.total(), balance.peers.wasted.stale, flow.received, node), (6, 5, 5, [9; 32]));
}

#[test]
fn what_was_received_and_never_committed_is_aborted_waste() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    write(&handle, 1, 0..2);
    drop(handle);
    let rows = store.ledger().expect("the ledger");
    assert!(
        matches!(rows[..], [LedgerRow::File { balance, .. }] if balance.origin.wasted.aborted == 2 * BLOCK as u64 && rows[0].closes())
    );
    let handle = store.begin(new_entity(1, 8 * BLOCK as u64)).expect("admitted");
    assert!(handle.held().is_empty());
}
