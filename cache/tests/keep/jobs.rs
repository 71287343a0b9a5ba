//! Jobs survive the loss, the damage and the age of either file that they are in.

use crate::support::{flip, open};
use std::fs;
use std::path::Path;

/// A store with jobs 1 and 2, closed.
fn filled(directory: &Path) {
    let store = open(directory);
    store.put_job([1; 16], b"one").expect("put");
    store.put_job([2; 16], b"two").expect("put");
    store.put_job([3; 16], b"three").expect("put");
    store.remove_job([3; 16]).expect("removed");
}

fn assert_jobs_are_there(directory: &Path) {
    let jobs = open(directory).jobs().expect("the jobs");
    assert_eq!(jobs, [([1; 16], b"one".to_vec()), ([2; 16], b"two".to_vec())]);
}

#[test]
fn jobs_survive_an_index_that_is_gone_cut_or_foreign() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |index| fs::remove_file(index).expect("removed"),
        |index| fs::write(index, b"foreign bytes").expect("written"),
        |index| {
            let whole = fs::read(index).expect("the index");
            fs::write(index, &whole[..5000]).expect("cut");
        },
        |index| fs::write(index, vec![0; 1 << 20]).expect("wiped"),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().expect("a directory");
        filled(directory.path());
        damage(&directory.path().join("index.redb"));
        assert_eq!(open(directory.path()).recovery().restored_jobs, 2);
        assert_jobs_are_there(directory.path());
    }
}

#[test]
fn jobs_survive_a_journal_that_is_gone_cut_foreign_or_rotten() {
    for number in 0..4 {
        let directory = tempfile::tempdir().expect("a directory");
        filled(directory.path());
        let journal = directory.path().join("jobs.journal");
        match number {
            0 => fs::remove_file(&journal).expect("removed"),
            1 => fs::write(&journal, b"foreign").expect("written"),
            2 => fs::File::options().write(true).open(&journal).expect("the journal").set_len(4200).expect("cut"),
            _ => flip(&journal, 4096 + 40),
        }
        assert!(open(directory.path()).recovery().journal_made_anew);
        // The journal is whole again: it saves them from the next loss.
        fs::remove_file(directory.path().join("index.redb")).expect("removed");
        assert_jobs_are_there(directory.path());
    }
}

#[test]
fn an_older_copy_of_the_index_neither_loses_a_job_nor_brings_one_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let index = directory.path().join("index.redb");
    {
        let store = open(directory.path());
        store.put_job([1; 16], b"old").expect("put");
        store.put_job([9; 16], b"cancelled later").expect("put");
    }
    let old = fs::read(&index).expect("the index");
    {
        let store = open(directory.path());
        store.put_job([1; 16], b"one").expect("put");
        store.put_job([2; 16], b"two").expect("put");
        store.remove_job([9; 16]).expect("removed");
    }
    fs::write(&index, old).expect("put back");
    {
        let store = open(directory.path());
        let report = store.recovery();
        assert_eq!((report.restored_jobs, report.withdrawn_jobs), (2, 1));
    }
    assert_jobs_are_there(directory.path());
}
