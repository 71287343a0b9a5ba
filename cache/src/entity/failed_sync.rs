//! A sync that really fails: the data file's descriptor is swapped for one that takes writes and cannot be synced.

use crate::disk::RealFile;
use crate::entity::Shared;
use crate::ledger::{Account, LedgerRow, Source};
use crate::{NewEntity, Quota, Reserve, Store, StoreConfig};
use eddy_content::{BLOCK_SIZE, BlockHash, BlockSet};
use std::fs::File;
use std::sync::{Arc, PoisonError};

const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
const ORIGIN: Source = Source::Origin { https: true };

impl Shared {
    /// Writes to `/dev/null` succeed and fdatasync of it is EINVAL: what a dying disk looks like from here.
    fn break_the_disk(&self) {
        let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        let null = RealFile::new(Arc::new(null), "/dev/null");
        let crate::content::Content::Files(pair) = &self.content else { panic!("it has files") };
        *pair.data.file.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(null);
    }
}

#[test]
fn after_a_failed_sync_nothing_written_since_the_last_good_one_is_believed() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = StoreConfig {
        directory: directory.path().to_owned(),
        quota: Quota::Bytes(1 << 30),
        reserve: Reserve::Bytes(0),
    };
    let store = Store::open(config).expect("opens");
    let handle = store.begin(NewEntity::numbered(1, 10 * BLOCK_SIZE)).expect("admitted");
    let write = |first: u32, count: u32| {
        let mut writer = handle.writer(first, ORIGIN, ACCOUNT);
        writer.push(&vec![first as u8; (u64::from(count) * BLOCK_SIZE) as usize]).expect("pushed");
        writer.finish().expect("finished");
    };
    write(0, 4);
    handle.commit().expect("a healthy disk");

    let shared = handle.shared();
    shared.break_the_disk();
    write(4, 4);
    let in_flight = shared.claim(8..9, ACCOUNT, ORIGIN).expect("nobody has it");
    let error = handle.commit().expect_err("the sync fails");
    assert_eq!(error.blocks, 4);
    assert!(!error.source.is_transient());
    assert_eq!(handle.held(), BlockSet::from_run(0..4));
    // The page of a block that was being written may have been marked clean by the failure: it does not count either.
    assert!(!shared.wrote(&in_flight, &[BlockHash([0; 32])], ACCOUNT, ORIGIN));
    assert!(handle.commit().expect("nothing waits but the ledger").is_empty());

    // The descriptor was opened again, so that the next attempt reaches the file.
    write(4, 4);
    write(8, 2);
    assert_eq!(handle.commit().expect("the disk is well again"), BlockSet::from_run(4..10));
    handle.read_run(0..10, &mut Vec::new()).expect("all blocks are right");
    let rows = store.ledger().expect("the ledger");
    let [LedgerRow::File { balance, .. }] = &rows[..] else { panic!("one account: {rows:?}") };
    assert!(rows[0].closes());
    assert_eq!((balance.origin.used, balance.origin.wasted.aborted), (10 * BLOCK_SIZE, 5 * BLOCK_SIZE));
}
