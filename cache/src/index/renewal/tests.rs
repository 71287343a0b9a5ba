//! Pages of an index rot while a store has it open, one page at a time: the store goes on, without being opened again.

use crate::check::{Depth, Repair, Severity, check};
use crate::handle::EntityHandle;
use crate::ledger::{Account, Source};
use crate::{NewEntity, Quota, Reserve, Store, StoreConfig, StoreError};
use eddy_content::{BLOCK_SIZE, BlockSet, EntityId};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE: u64 = 4096;
const ACCOUNT: Account = Account { job: [1; 16], file: 0 };
const ORIGIN: Source = Source::Origin { https: true };
/// Jobs that are put; the last is removed again.
const JOBS: u8 = 100;
/// Bytes of each entity: two that lie in the index, three with files.
const LENGTHS: [u64; 5] = [400, 30_000, 2 * BLOCK_SIZE, 3 * BLOCK_SIZE, 4 * BLOCK_SIZE + 5];

fn new(tag: usize) -> NewEntity {
    NewEntity::numbered(tag as u64, LENGTHS[tag])
}

fn open(directory: &Path) -> Store {
    let directory = directory.to_owned();
    let config = StoreConfig { directory, quota: Quota::Bytes(1 << 30), reserve: Reserve::Bytes(0) };
    Store::open(config).expect("opens")
}

fn bytes_of(tag: usize, handle: &EntityHandle, blocks: std::ops::Range<u32>) -> Vec<u8> {
    let bytes = handle.geometry().bytes_of(blocks);
    (bytes.start..bytes.end).map(|at| (at / 7 + tag as u64) as u8).collect()
}

fn write(tag: usize, handle: &EntityHandle, blocks: std::ops::Range<u32>) {
    let mut writer = handle.writer(blocks.start, ORIGIN, ACCOUNT);
    writer.push(&bytes_of(tag, handle, blocks)).expect("pushed");
    writer.finish().expect("finished");
}

fn is_whole(tag: usize, handle: &EntityHandle) -> bool {
    let all = handle.geometry().all_blocks();
    let mut bytes = Vec::new();
    let is_held = handle.held() == BlockSet::from_run(all.clone());
    is_held && handle.read_run(all.clone(), &mut bytes).is_ok() && bytes == bytes_of(tag, handle, all)
}

fn id(tag: usize) -> EntityId {
    new(tag).entity.id()
}

/// Everything of every kind: whole entities but for the last, of which the first two blocks are there.
fn fill(directory: &Path) {
    let store = open(directory);
    for tag in 0..LENGTHS.len() {
        let handle = store.begin(new(tag)).expect("admitted");
        let all = handle.geometry().all_blocks();
        write(tag, &handle, if tag == 4 { 0..2 } else { all });
        handle.commit().expect("committed");
    }
    for job in 1..=JOBS {
        store.put_job([job; 16], &[job; 900]).expect("kept");
    }
    store.remove_job([JOBS; 16]).expect("removed");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    fs::set_permissions(to, fs::metadata(from).expect("a directory").permissions()).expect("for us alone");
    for entry in from.read_dir().expect("a listing") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copied");
        }
    }
}

/// What is refused once is answered the second time.
fn twice<T>(ask: impl Fn() -> Result<T, StoreError>) -> T {
    ask().or_else(|_| ask()).unwrap_or_else(|error| panic!("refused twice: {error}"))
}

/// One page rots under an open store; gives how often its index was made anew, `None` when nobody could tell: room to grow.
fn life(directory: &Path, page: u64) -> Option<u64> {
    let store = open(directory);
    let open_one = store.find(&id(4)).expect("an answer").expect("it is here");
    let file = fs::File::options().read(true).write(true).open(directory.join("index.redb")).expect("the index");
    let mut bytes = [0; 24];
    if file.read_exact_at(&mut bytes, page * PAGE).is_err() || bytes == [0; 24] {
        return None;
    }
    file.write_all_at(&bytes.map(|byte| byte ^ 0x55), page * PAGE).expect("rotten");
    // Whatever redb remembers of the file goes, so that it meets the rot.
    store.stock().index.shut();

    let jobs = || -> Vec<u8> { twice(|| store.jobs()).iter().map(|(job, _)| job[0]).collect() };
    let expected: Vec<u8> = (1..JOBS).collect();
    assert_eq!(jobs(), expected);
    twice(|| store.list(None, 100));
    twice(|| store.ledger());
    for tag in 0..LENGTHS.len() {
        twice(|| store.latest(&new(tag).requested_url));
        twice(|| store.find(&id(tag)).map(drop));
    }
    twice(|| store.put_job([JOBS + 1; 16], b"another"));
    // Who has an entity open goes on with it.
    for run in [2..3, 3..5] {
        write(4, &open_one, run.clone());
        if open_one.commit().is_err() {
            write(4, &open_one, run);
            open_one.commit().expect("the second time");
        }
    }
    assert!(is_whole(4, &open_one));
    assert!(twice(|| store.plan_eviction(1)).refused.is_none());
    drop(open_one);

    twice(|| store.rebuild());
    for tag in 2..LENGTHS.len() {
        let handle = store.find(&id(tag)).expect("an answer").expect("it came back from its files");
        assert!(is_whole(tag, &handle), "entity {tag} holds {:?}", handle.held());
    }
    // What lay in the index is there, or is fetched again.
    for tag in 0..2 {
        let handle = store.begin(new(tag)).expect("admitted");
        if !is_whole(tag, &handle) {
            write(tag, &handle, 0..1);
            handle.commit().expect("committed");
        }
        assert!(is_whole(tag, &handle));
    }
    let renewals = store.index_troubles().renewed;
    drop(store);
    let report = check(directory, Depth::Strict, Repair::No).expect("checked");
    let bad: Vec<_> = report.findings.iter().filter(|finding| finding.severity > Severity::Untidy).collect();
    // A page that nobody asked for is met by the check, and by the next start.
    assert!(bad.is_empty() || renewals == 0, "{bad:?}");
    let store = open(directory);
    assert_eq!(store.recovery().index_moved_to.is_some(), !bad.is_empty());
    store.rebuild().expect("rebuilt");
    let jobs: Vec<u8> = store.jobs().expect("the jobs").iter().map(|(job, _)| job[0]).collect();
    assert_eq!(jobs, expected.into_iter().chain([JOBS + 1]).collect::<Vec<_>>());
    for tag in if bad.is_empty() { 0 } else { 2 }..LENGTHS.len() {
        assert!(is_whole(tag, &store.find(&id(tag)).expect("an answer").expect("it is here")));
    }
    Some(renewals)
}

#[test]
fn any_page_that_rots_in_use_is_got_over_without_another_start() {
    let template = tempfile::tempdir().expect("a directory");
    fill(template.path());
    let length = fs::metadata(template.path().join("index.redb")).expect("the index").len();
    let stride = std::env::var("EDDY_DISK_STRIDE").map_or(8, |text| text.parse().expect("a number"));
    let mut renewals = Vec::new();
    for page in (0..length / PAGE).step_by(stride) {
        let directory = tempfile::tempdir().expect("a directory");
        copy(template.path(), directory.path());
        println!("page {page}");
        renewals.extend(life(directory.path(), page));
    }
    println!("{} lives, {} renewals", renewals.len(), renewals.iter().sum::<u64>());
    assert!(renewals.len() > 4 && renewals.iter().any(|count| *count > 0));
}
