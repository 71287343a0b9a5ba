//! What changes leave in the tables.

use super::*;
use crate::disk::{Disk, RealDisk};
use crate::row::{NewEntity, Place};
use redb::ReadableTableMetadata;
use std::path::Path;
use std::sync::Arc;

fn open(directory: &Path) -> Index {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Index::open(&disk, &directory.join("index.redb")).expect("opens")
}

fn record(tag: u64) -> EntityRecord {
    let mut new = NewEntity::numbered(tag, 99_999);
    new.requested_url = NewEntity::numbered(0, 0).requested_url;
    EntityRecord::admit(&new, Place::Files, tag, 1000)
}

/// The changes of an admission, all under one URL.
fn birth(tag: u64) -> [Change; 2] {
    let record = record(tag);
    let name = record.names[0];
    [Change::Supersede { name, by: record.id() }, Change::Entity(Box::new(record), name)]
}

fn named(index: &Index) -> usize {
    index.read(|transaction| Ok(transaction.open_table(NAMES)?.len()?)).expect("read") as usize
}

#[test]
fn of_the_versions_under_a_url_the_newest_are_found_however_many_there_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = open(directory.path());
    let name = record(1).names[0];
    let latest = || index.latest(&name).expect("read").map(|record| record.generation);
    for tag in 1..=200 {
        index.apply(tag, &birth(tag)).expect("applied");
        assert_eq!((latest(), named(&index)), (Some(tag), MAX_VERSIONS.min(tag as usize)));
    }
    // All but the last stand as superseded, those that are not found as well.
    let standing = |tag| index.line(&record(tag).id()).expect("read").expect("in line").standing.segment();
    assert!((1..200).all(|tag| standing(tag) == eddy_content::evict::Segment::Superseded));
    assert!(index.record(&record(1).id()).expect("read").is_some(), "they are here");

    // An old one that is named again is found again, and the newest.
    let name_again = Change::Entity(Box::new(record(1)), name);
    index.apply(201, std::slice::from_ref(&name_again)).expect("applied");
    assert_eq!((latest(), named(&index)), (Some(1), MAX_VERSIONS));
    // When they go, the others come forth, as far as they are known.
    let forget: Vec<_> = [1, 200, 199].into_iter().map(|tag| Change::Forget(Box::new(record(tag)), None)).collect();
    index.apply(202, &forget).expect("applied");
    assert_eq!((latest(), named(&index)), (Some(198), MAX_VERSIONS - 3));
}

#[test]
fn too_many_versions_of_an_earlier_program_become_few_with_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = open(directory.path());
    let name = record(1).names[0];
    let put_all = |database: &Database| {
        let transaction = begin(database)?;
        let mut tables = Tables::of(&transaction);
        for tag in 1..=100_u64 {
            put_record(&mut tables, &record(tag))?;
            tables.put(NAMES, &name_key(&name, &record(tag).id()), &tag)?;
        }
        tables.put_row(NAMES, &name_key(&name, &record(100).id()), b"rot")?;
        drop(tables);
        Ok(transaction.commit()?)
    };
    index.with(put_all).expect("written");
    index.apply(101, &birth(101)).expect("applied");
    assert_eq!(named(&index), MAX_VERSIONS);
    assert_eq!(index.latest(&name).expect("read").map(|record| record.generation), Some(101));
    index.apply(102, &[Change::Forget(Box::new(record(101)), None)]).expect("applied");
    assert_eq!(index.latest(&name).expect("read").map(|record| record.generation), Some(99), "rot is the oldest");
}
