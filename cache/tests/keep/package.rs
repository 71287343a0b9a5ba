//! Packages carry what is held, are checked like any peer, and leave nothing behind that was not verified.

use crate::support::*;
use eddy_cache::{
    EntityHandle, NewEntity, NotExported, NotImported, PackageError, PackagePlace, Privacy, Quota, Store, StoreConfig,
    StoredStatement,
};
use eddy_content::{BlockSet, EntityId};
use proptest::prelude::*;
use std::sync::OnceLock;

const BLOCKS: u32 = 20;
const LENGTH: u64 = BLOCKS as u64 * BLOCK as u64 - 9;

/// A signature that only knows of one signer.
fn sign(signed: &[u8]) -> Vec<u8> {
    blake3::keyed_hash(&[5; 32], signed).as_bytes().to_vec()
}

fn trust(signed: &[u8], signature: &[u8]) -> bool {
    sign(signed) == signature
}

fn id(tag: u64) -> EntityId {
    new_entity(tag, LENGTH).entity.id()
}

fn fill(store: &Store, new: NewEntity, tag: u64, blocks: std::ops::Range<u32>) -> EntityHandle {
    let handle = store.begin(new).expect("admitted");
    write(&handle, tag, blocks);
    handle.commit().expect("committed");
    handle
}

fn statement(block: u32) -> StoredStatement {
    StoredStatement { first_block: block, count: 1, bytes: vec![block as u8; 150] }
}

/// A package of entity 1, whole and with statements, and 2, in part.
fn package() -> &'static [u8] {
    static PACKAGE: OnceLock<Vec<u8>> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let handle = fill(&store, new_entity(1, LENGTH), 1, 0..BLOCKS);
        handle.put_statements(&[statement(0), statement(7)]);
        handle.commit().expect("committed");
        fill(&store, new_entity(2, LENGTH), 2, 3..9);
        let mut package = Vec::new();
        let outcome = store.export(&[id(1), id(2), id(1), id(3)], &mut package, &sign).expect("exported");
        assert_eq!((outcome.entities, outcome.blocks), (2, u64::from(BLOCKS) + 6));
        assert_eq!(outcome.left_out, [(id(3), NotExported::NotHere)]);
        package
    })
}

#[test]
fn what_is_held_arrives_with_its_statements_and_as_nobodys_own() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let outcome = store.import(&mut &package()[..], &trust).expect("imported");
    assert_eq!((outcome.entities, outcome.blocks, outcome.known_blocks), (2, u64::from(BLOCKS) + 6, 0));
    assert_eq!(outcome.statements, 2);
    drop(store);
    let store = open(directory.path());
    let whole = store.find(&id(1)).expect("asked").expect("here");
    assert!(whole.is_complete());
    assert_all_held_are_right(&whole, 1);
    assert!(whole.fetched_here().is_empty(), "this node signs nothing of it");
    assert_eq!(whole.statements(0..BLOCKS), [statement(0), statement(7)]);
    assert_eq!(whole.record().privacy, Privacy::Shareable);
    let part = store.find(&id(2)).expect("asked").expect("here");
    assert_eq!(part.held(), BlockSet::from_run(3..9));
    assert_all_held_are_right(&part, 2);
    assert!(store.ledger().expect("the ledger").is_empty(), "bytes of no origin and no peer");
    assert!(store.latest(&new_entity(1, LENGTH).requested_url).expect("asked").is_some());
}

#[test]
fn a_second_import_writes_nothing_and_a_part_is_completed() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    fill(&store, new_entity(1, LENGTH), 1, 4..6);
    let first = store.import(&mut &package()[..], &trust).expect("imported");
    assert_eq!((first.blocks, first.known_blocks), (u64::from(BLOCKS) + 4, 2));
    let handle = store.find(&id(1)).expect("asked").expect("here");
    assert_eq!(handle.fetched_here(), BlockSet::from_run(4..6), "what was fetched here stays so");
    let second = store.import(&mut &package()[..], &trust).expect("imported");
    assert_eq!((second.blocks, second.known_blocks, second.statements), (0, u64::from(BLOCKS) + 6, 0));
}

#[test]
fn a_wrong_signature_stores_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let error = store.import(&mut &package()[..], &|_, _| false).expect_err("not trusted");
    assert!(matches!(error, PackageError::Untrusted), "{error}");
    let error = store.import(&mut &b"PK\x03\x04 something else"[..], &trust).expect_err("foreign");
    assert!(matches!(error, PackageError::NotAPackage), "{error}");
    assert_eq!(store.usage().expect("the usage").entities, 0);
}

#[test]
fn private_content_stays_here_unless_it_is_asked_for_and_stays_private_there() {
    let (here, there) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let store = open(here.path());
    let private = NewEntity { privacy: Privacy::Private, ..new_entity(1, LENGTH) };
    fill(&store, private, 1, 0..BLOCKS);
    let mut package = Vec::new();
    let outcome = store.export(&[id(1)], &mut package, &sign).expect("exported");
    assert_eq!((outcome.entities, outcome.left_out), (0, vec![(id(1), NotExported::Private)]));
    let mut package = Vec::new();
    store.export_private_too(&[id(1)], &mut package, &sign).expect("exported");
    let other = open(there.path());
    other.import(&mut package.as_slice(), &trust).expect("imported");
    let handle = other.find(&id(1)).expect("asked").expect("here");
    assert_eq!(handle.record().privacy, Privacy::Private);

    // What may be shared here does not turn private because a package says so.
    let third = tempfile::tempdir().expect("a directory");
    let third = open(third.path());
    fill(&third, new_entity(1, LENGTH), 1, 0..1);
    third.import(&mut package.as_slice(), &trust).expect("imported");
    let records = third.list(None, 10).expect("listed");
    assert_eq!((records.len(), records[0].privacy, records[0].held_blocks), (1, Privacy::Shareable, BLOCKS));
}

#[test]
fn what_does_not_fit_is_left_out_and_the_rest_comes_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let small = StoreConfig { quota: Quota::Bytes(LENGTH + 100_000), ..config(directory.path()) };
    let store = Store::open(small).expect("opens");
    let _held = fill(&store, new_entity(2, LENGTH), 2, 0..1);
    let outcome = store.import(&mut &package()[..], &trust).expect("imported");
    assert!(matches!(&outcome.left_out[..], [(left, NotImported::NoRoom(_))] if *left == id(1)), "{outcome:?}");
    assert_eq!((outcome.entities, outcome.blocks), (1, 6));
}

#[test]
fn a_cut_package_says_where_and_what_was_whole_before_stays() {
    let package = package();
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut held = 0;
    for cut in (0..package.len()).step_by(package.len() / 40).chain([package.len() - 1]) {
        let error = store.import(&mut &package[..cut], &trust).expect_err("cut");
        match error {
            PackageError::NotAPackage => assert!(cut < 8),
            PackageError::Cut { at, .. } => assert_eq!(at, cut as u64),
            other => panic!("cut at {cut}: {other}"),
        }
        let now: u32 = store.list(None, 10).expect("listed").iter().map(|record| record.held_blocks).sum();
        assert!(now >= held, "nothing that came in goes again");
        held = now;
    }
    assert_eq!(held, BLOCKS + 6, "all blocks were there before the end mark");
    for tag in [1, 2] {
        assert_all_held_are_right(&store.find(&id(tag)).expect("asked").expect("here"), tag);
    }
    store.import(&mut &package[..], &trust).expect("the whole package afterwards");
}

#[test]
fn a_flipped_bit_anywhere_is_found_and_nothing_wrong_is_stored() {
    let package = package();
    let mut choices = Choices(0x9ac4);
    for number in 0..24 {
        // The beginning has the structure, the rest is data.
        let within = if number % 2 == 0 { 3000 } else { package.len() as u64 };
        let at = choices.below(within) as usize;
        let mut flipped = package.to_vec();
        flipped[at] ^= 1 << choices.below(8);
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        let store = open(directory.path());
        let error = store.import(&mut flipped.as_slice(), &trust).expect_err("found");
        assert!(!error.to_string().is_empty(), "at {at}");
        for tag in [1, 2] {
            if let Some(handle) = store.find(&id(tag)).expect("asked") {
                assert_all_held_are_right(&handle, tag);
            }
        }
    }
}

#[test]
fn rot_in_the_exporting_cache_withdraws_its_piece_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let length = 300 * BLOCK as u64;
    let new = new_entity(1, length);
    let rotten = new.entity.id();
    fill(&store, new, 1, 0..300);
    flip(&file_of(directory.path(), ".data"), 5 * BLOCK as u64);
    let mut package = Vec::new();
    let outcome = store.export(&[rotten], &mut package, &sign).expect("exported");
    assert_eq!((outcome.blocks, outcome.left_out), (44, vec![(rotten, NotExported::Unreadable)]));
    let there = tempfile::tempdir().expect("a directory");
    let other = open(there.path());
    let outcome = other.import(&mut package.as_slice(), &trust).expect("imported");
    assert_eq!(outcome.blocks, 44);
    let handle = other.find(&rotten).expect("asked").expect("here");
    assert_eq!(handle.held(), BlockSet::from_run(256..300));
    assert_all_held_are_right(&handle, 1);
}

/// A package whose head is whatever was signed.
fn forged(head: &[u8], rest: &[u8]) -> Vec<u8> {
    let signed = [b"eddy package v1\n".as_slice(), &blake3::derive_key("eddy v1 2026-11 package head", head)].concat();
    let signature = sign(&signed);
    let mut package = b"eddypk1\n".to_vec();
    for part in [head, &signature] {
        package.extend_from_slice(&(part.len() as u32).to_le_bytes());
        package.extend_from_slice(part);
    }
    package.extend_from_slice(rest);
    package
}

#[test]
fn a_well_signed_package_that_promises_what_it_has_not_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let import = |package: Vec<u8>| store.import(&mut package.as_slice(), &trust).expect_err("refused");
    // A head that announces 2^60 entities, one with an entity that is not there, one whose entity is something else.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let error = import(forged(&huge, &[]));
    assert!(matches!(error, PackageError::Damaged { place: PackagePlace::Head, .. }), "{error}");
    let one = [[1].as_slice(), &[7; 32]].concat();
    let error = import(forged(&one, &[]));
    assert!(matches!(error, PackageError::Cut { place: PackagePlace::Description(0), .. }), "{error}");
    let error = import(forged(&one, &[&4u32.to_le_bytes()[..], b"evil"].concat()));
    assert!(matches!(error, PackageError::Damaged { place: PackagePlace::Description(0), .. }), "{error}");
    let error = import(forged(&one, &u32::MAX.to_le_bytes()));
    assert!(matches!(error, PackageError::Damaged { place: PackagePlace::Description(0), .. }), "{error}");
    assert_eq!(store.usage().expect("the usage").entities, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn arbitrary_bytes_behind_a_good_head_store_nothing(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        static STORE: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
        let (_, store) = STORE.get_or_init(|| {
            let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
            let store = open(directory.path());
            (directory, store)
        });
        let head = [[2].as_slice(), &[7; 64]].concat();
        // Two withdrawn entities and the end mark would be a whole package; nothing else is.
        let _ = store.import(&mut forged(&head, &bytes).as_slice(), &trust);
        prop_assert_eq!(store.usage().expect("the usage").entities, 0);
    }
}
