//! A store of format 1, as the program of that time wrote it, in this one.

use crate::support::*;
use eddy_cache::*;
use eddy_content::{BlockSet, Entity, EntityId, LookupSecret, ResourceUrl, Validator};
use redb::{Database, TableDefinition};
use std::fs;
use std::path::Path;

/// Rows of the index and files, written down by the last program of format 1.
const STORE: &str = include_str!("../fixtures/format-1.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Puts the store of format 1 into a directory.
fn lay_out(directory: &Path) {
    let database = Database::create(directory.join("index.redb")).expect("an index");
    let transaction = database.begin_write().expect("a transaction");
    let mut table = String::new();
    for line in STORE.lines() {
        let mut words = line.split(' ');
        let (kind, name) = (words.next().expect("a kind"), words.next().expect("a name"));
        match kind {
            "table" => {
                name.clone_into(&mut table);
                transaction.open_table(definition(&table)).expect("a table");
            }
            "row" => {
                let (key, value) = (bytes(name), bytes(words.next().expect("a value")));
                let mut open = transaction.open_table(definition(&table)).expect("a table");
                open.insert(key.as_slice(), value.as_slice()).expect("inserted");
            }
            _ => {
                let path = directory.join(name);
                fs::create_dir_all(path.parent().expect("a parent")).expect("made");
                let content: Vec<u8> = words
                    .flat_map(|part| match part.split_once('*') {
                        Some((byte, count)) => vec![bytes(byte)[0]; count.parse().expect("a count")],
                        None => bytes(part),
                    })
                    .collect();
                fs::write(path, content).expect("written");
            }
        }
    }
    transaction.commit().expect("committed");
}

fn definition(name: &str) -> TableDefinition<'_, &'static [u8], &'static [u8]> {
    TableDefinition::new(name)
}

/// The id that an entity of the old store has.
fn id(name: &str, length: u64) -> EntityId {
    let url = ResourceUrl::parse(&format!("https://origin.example/{name}?key=secret")).expect("a URL");
    Entity { url, validator: Validator::StrongEtag(format!("\"{name}\"")), length }.id()
}

fn assert_it_is_all_there(store: &Store) {
    assert_eq!((store.recovery().dangling, store.recovery().damaged_rows), (0, 0));
    let held = [
        ("old", 3 * BLOCK as u64 + 77, 0..4, b'a'),
        ("new", 1000, 0..1, b'b'),
        ("private", 5 * BLOCK as u64, 1..2, b'c'),
    ];
    for (name, length, blocks, byte) in held {
        let handle = store.find(&id(name, length)).expect("asked").expect("here");
        assert_eq!(handle.held(), BlockSet::from_run(blocks.clone()), "{name}");
        assert_eq!(handle.statements(0..1).len(), 1, "{name}");
        let mut read = Vec::new();
        handle.read_run(blocks, &mut read).expect("read");
        assert!(!read.is_empty() && read.iter().all(|found| *found == byte), "{name}");
        assert_eq!(handle.record().last_modified, Some(1_700_000_000));
    }
    assert!(store.find(&id("empty", 0)).expect("asked").expect("here").is_complete());
    let requested = ResourceUrl::parse("https://origin.example/file").expect("a URL");
    assert_eq!(store.latest(&requested).expect("asked").expect("known").id(), id("new", 1000));
    store.set_lookup_secret(Some(LookupSecret::new([5; 32]))).expect("set");
    for record in store.list(None, 9).expect("the list") {
        let key = record.entity.lookup_key(&LookupSecret::new([5; 32]));
        let is_private = record.privacy == Privacy::Private;
        assert_eq!(store.by_lookup(&key).expect("asked").is_none(), is_private);
    }
    assert_eq!(store.jobs().expect("the jobs"), [([1; 16], b"a job of format 1".to_vec())]);
    let rows = store.ledger().expect("the ledger");
    assert!(rows.iter().all(LedgerRow::closes) && rows.len() == 2);
    let usage = store.usage().expect("the usage");
    assert_eq!(usage.entities, 4);
    let everything = store.plan(&Goal::Everything).expect("a plan");
    assert_eq!((everything.victims.len(), everything.freed), (4, usage.used));
}

#[test]
fn a_store_of_format_1_is_upgraded_and_nothing_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    lay_out(directory.path());
    assert_it_is_all_there(&open(directory.path()));
    assert_it_is_all_there(&open(directory.path()));
    let store = open(directory.path());
    assert!(store.pin(&id("old", 3 * BLOCK as u64 + 77), Pin::Pinned).expect("pinned"));
    let cleared = store.clear().expect("cleared");
    assert_eq!((cleared.removed, cleared.pinned), (3, 1));
    write(&store.begin(new_entity(1, 5000)).expect("admitted"), 1, 0..1);
}

#[test]
fn an_earlier_program_refuses_what_was_upgraded() {
    let directory = tempfile::tempdir().expect("a directory");
    lay_out(directory.path());
    drop(open(directory.path()));
    let database = Database::open(directory.path().join("index.redb")).expect("an index");
    let transaction = redb::ReadableDatabase::begin_read(&database).expect("a transaction");
    let meta = transaction.open_table(definition("meta")).expect("a table");
    let format = meta.get(b"format".as_slice()).expect("read").expect("there");
    // Program 1 reads the number after the row's version, and takes nothing above 1.
    assert!(format.value()[1] > 1);
}
