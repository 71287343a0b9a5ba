//! The power goes, or the disk refuses, while the ledger is folded: no byte is lost, and none is counted twice.

use crate::meter::{ALL, Event, Order};
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sim::medium::{Fate, Medium};
use crate::support::{ORIGIN, PEER};
use crate::sweep::{Case, for_each, stride};
use crate::world::config;
use eddy_cache::{Account, Delivered, LedgerEntry, LedgerLimits, LedgerRow, Store, Waste};
use rustix::io::Errno;
use std::path::Path;
use std::time::Duration;

/// Files of the job that ended: more than one transaction folds.
const FILES: u32 = 1500;
/// Everything that ended is folded, and all peers but one.
const NONE: LedgerLimits = LedgerLimits { age: Duration::ZERO, ended_jobs: 0, accounts: 0, peers: 1 };

/// Received, used, wasted and delivered of all accounts; received from all peers.
type Sums = [u64; 5];

fn open(disk: &SimDisk) -> Store {
    Store::open_on(config(Path::new(DIRECTORY), 1 << 30), disk.share()).expect("the store opens")
}

fn sums(store: &Store) -> Sums {
    let mut sums = Sums::default();
    for row in store.ledger().expect("the ledger") {
        assert!(row.closes(), "{row:?}");
        match row {
            LedgerRow::File { balance, .. } => {
                for flow in [balance.origin, balance.peers] {
                    sums[0] += flow.received;
                    sums[1] += flow.used;
                    sums[2] += flow.wasted.total();
                }
                sums[3] += balance.delivered.total();
            }
            LedgerRow::Peer { flow, .. } => sums[4] += flow.received,
        }
    }
    sums
}

/// A disk with two jobs that ended and one that has not, and what their accounts come to.
fn filled() -> (SimDisk, Sums) {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    for job in 1..=3 {
        store.put_job([job; 16], &[job; 100]).expect("kept");
        let (mut entries, mut names) = (Vec::new(), Vec::new());
        for file in 0..if job == 2 { FILES } else { 3 } {
            let (account, source) = (Account { job: [job; 16], file }, if file % 2 == 0 { ORIGIN } else { PEER });
            let bytes = Delivered { cache: 3, ..Delivered::default() };
            entries.extend([
                LedgerEntry::Streamed { account, source, bytes: 1000 + u64::from(file) },
                LedgerEntry::Spoiled { account, source, reason: Waste::Corrupt, bytes: 7 },
                LedgerEntry::Delivered { account, bytes },
            ]);
            names.push((account, "https://h/"));
        }
        store.record_named(&entries, &names).expect("recorded");
    }
    store.remove_job([1; 16]).expect("removed");
    store.remove_job([2; 16]).expect("removed");
    let sums = sums(&store);
    drop(store);
    (disk, sums)
}

/// The sums are the same, and after what is left was folded, too: of the two jobs one row is left.
fn holds(disk: &SimDisk, expected: Sums) {
    let store = open(disk);
    assert_eq!(sums(&store), expected);
    store.fold_ledger(&NONE).expect("a sound disk refuses nothing");
    let is_file = |row: &&LedgerRow| matches!(row, LedgerRow::File { .. });
    assert_eq!((sums(&store), store.ledger().expect("the ledger").iter().filter(is_file).count()), (expected, 4));
}

#[test]
fn a_cut_at_any_change_of_a_fold_loses_no_byte() {
    let (disk, expected) = filled();
    let before = disk.medium();
    disk.record();
    let store = open(&disk);
    assert!(store.fold_ledger(&NONE).expect("folded") > 2, "a cut between slices is one of the cuts");
    drop(store);
    let changes = disk.recorded();
    let stride = stride(5) as usize;
    for_each(3, |part| {
        let mut medium: Medium = before.clone();
        for (n, change) in changes.iter().enumerate() {
            if (n + part as usize).is_multiple_of(stride) {
                let fate = [Fate::Lost, Fate::Kept, Fate::Drawn(n as u64)][part as usize];
                let _case = Case(format!("cut before change {n} of {}, {fate:?}", changes.len()));
                let mut found = medium.clone();
                found.cut(fate);
                holds(&SimDisk::with(found, 2), expected);
            }
            medium.apply(change);
        }
    });
}

#[test]
fn a_fold_that_the_disk_refuses_is_done_wholly_or_not_at_all() {
    let (disk, expected) = filled();
    let medium = disk.medium();
    for n in (0..).step_by(stride(7) as usize) {
        let _case = Case(format!("operation {n} is refused"));
        let disk = SimDisk::with(medium.clone(), 2);
        let store = open(&disk);
        disk.meter(|meter| meter.order(Some(Order::once(ALL, n, Event::Refuse(Errno::IO)))));
        let _ = store.fold_ledger(&NONE);
        let happened = disk.meter(|meter| meter.happened());
        disk.meter(|meter| meter.order(None));
        assert_eq!(sums(&store), expected);
        drop(store);
        holds(&disk, expected);
        if happened == 0 {
            break;
        }
    }
}
