use super::*;
use crate::disk::{Disk, RealDisk};
use crate::index::apply::begin;
use crate::ledger::{FlowChange, LedgerEntry, Source, Waste};
use crate::{Delivered, Store, StoreConfig};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DAY: i64 = 24 * 3600;
/// Nothing is beyond them but what is older than 90 days.
const ROOMY: LedgerLimits = LedgerLimits {
    age: Duration::from_secs(90 * DAY.unsigned_abs()),
    ended_jobs: u64::MAX,
    accounts: u64::MAX,
    peers: u64::MAX,
};
/// Every job that ended is beyond them.
const NONE: LedgerLimits = LedgerLimits { age: Duration::ZERO, ended_jobs: 0, accounts: 0, peers: u64::MAX };

/// An index that numbers its transactions.
struct Book {
    directory: tempfile::TempDir,
    index: Option<Index>,
    number: u64,
}

/// Everything that must stay the same: columns of all accounts and of all peers.
type Sums = (Balance, Flow);

fn account(job: u8, file: u32) -> Account {
    Account { job: [job; 16], file }
}

fn peer(tag: u32) -> [u8; 32] {
    let mut node = [7; 32];
    node[..4].copy_from_slice(&tag.to_be_bytes());
    node
}

fn flow_of(received: u64) -> Flow {
    let mut flow = Flow::default();
    flow.use_up(received);
    flow.spoil(Waste::Stale, received / 3);
    flow
}

fn came(account: Account, source: Source, bytes: u64) -> Change {
    Change::Flow(FlowChange { account, source, flow: flow_of(bytes) })
}

fn from_origin(account: Account, bytes: u64) -> Change {
    came(account, Source::Origin { https: true }, bytes)
}

fn delivered(account: Account, bytes: Delivered) -> Change {
    Change::Entry(LedgerEntry::Delivered { account, bytes })
}

impl Book {
    fn new() -> Self {
        let mut book = Self { directory: tempfile::tempdir().expect("a directory"), index: None, number: 0 };
        book.reopen();
        book
    }

    fn reopen(&mut self) {
        if let Some(index) = self.index.take() {
            index.close().expect("closed");
        }
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        self.index = Some(Index::open(&disk, &self.directory.path().join("index.redb")).expect("opens"));
    }

    fn index(&self) -> &Index {
        self.index.as_ref().expect("open")
    }

    fn now(&self) -> i64 {
        RealDisk.clock()
    }

    fn apply(&mut self, changes: &[Change]) {
        self.number += 1;
        self.index().apply(self.number, changes).expect("applied");
    }

    /// Changes tables past [`Change`].
    fn meddle(&self, work: impl Fn(&mut Tables<'_>) -> Result<(), redb::Error>) {
        let meddled = self.index().with(|database| {
            let transaction = begin(database)?;
            work(&mut Tables::of(&transaction))?;
            Ok(transaction.commit()?)
        });
        meddled.expect("changed");
    }

    /// A job that was removed some days ago.
    fn ended(&mut self, job: u8, days: i64) {
        let at = self.now() - days * DAY;
        self.meddle(|tables| job_ended(tables, &[job; 16], at));
    }

    /// Everything that is to be done, slice by slice; each keeps the sums and is bounded. Gives how many there were.
    fn fold(&mut self, limits: &LedgerLimits) -> u64 {
        let mut slices = 0;
        while let Some(changes) = self.index().next_fold(limits).expect("asked") {
            let (before, sums) = (self.accounts().len() + self.peers().len(), self.sums());
            self.apply(&changes);
            assert_eq!(self.sums(), sums, "a slice lost something");
            let after = self.accounts().len() + self.peers().len();
            assert!(before.abs_diff(after) <= SLICE, "a slice of {before} to {after} rows");
            slices += 1;
            assert!(slices < 100, "it does not end");
        }
        slices
    }

    /// The same, as on another day.
    fn fold_and_seek(&mut self, limits: &LedgerLimits) -> u64 {
        self.apply(&[Change::StraysSought(Strays::default())]);
        self.fold(limits)
    }

    fn accounts(&self) -> BTreeMap<Account, Balance> {
        let mut accounts = BTreeMap::new();
        self.index().each_balance(|account, balance| accounts.extend([(account, balance)])).expect("read");
        accounts
    }

    fn peers(&self) -> BTreeMap<[u8; 32], Flow> {
        let mut peers = BTreeMap::new();
        self.index().each_peer(|node, flow| peers.extend([(node, flow)])).expect("read");
        peers
    }

    fn sums(&self) -> Sums {
        let (mut balance, mut flow) = (Balance::default(), Flow::default());
        self.accounts().values().for_each(|row| balance.merge(row));
        self.peers().values().for_each(|row| flow.merge(row));
        (balance, flow)
    }

    fn jobs(&self) -> Vec<u8> {
        let mut jobs: Vec<u8> = self.accounts().keys().map(|account| account.job[0]).collect();
        jobs.dedup();
        jobs
    }

    fn listed(&self) -> u64 {
        self.index().read(|transaction| Ok(Listed::of(&transaction.open_table(ENDED)?)?.jobs)).expect("read")
    }
}

const EARLIER: u8 = Account::EARLIER.job[0];

#[test]
fn a_job_that_goes_is_folded_with_its_names_and_one_that_stays_is_not() {
    let mut book = Book::new();
    for job in 1..=3 {
        let name = Change::AccountName(account(job, 0), format!("https://h/{job}"));
        let sent = Delivered { origin: 20, peers: 4, cache: 6 };
        book.apply(&[Change::Job([job; 16], Some(vec![job])), from_origin(account(job, 0), 30), name]);
        book.apply(&[delivered(account(job, 0), sent), from_origin(account(job, 7), 3)]);
    }
    book.apply(&[Change::Job([1; 16], None), Change::Job([3; 16], None)]);
    assert_eq!(book.listed(), 2);
    book.fold(&ROOMY);
    assert_eq!(book.jobs(), [1, 2, 3], "they ended just now");
    book.fold(&NONE);
    assert_eq!((book.jobs(), book.listed()), (vec![2, EARLIER], 0));
    let earlier = book.accounts()[&Account::EARLIER];
    assert_eq!((earlier.origin.received, earlier.delivered.total()), (66, 60));
    let names = book.index().account_names([1, 2, 3].map(|job| account(job, 0)).into_iter()).expect("read");
    assert_eq!(names.keys().collect::<Vec<_>>(), [&account(2, 0)]);
}

#[test]
fn the_oldest_go_first_by_age_by_number_and_by_their_accounts() {
    for (limits, stay) in [
        (ROOMY, vec![2, 3, 4]),
        (LedgerLimits { ended_jobs: 2, ..ROOMY }, vec![3, 4]),
        (LedgerLimits { accounts: 5, ..ROOMY }, vec![4]),
        (LedgerLimits { accounts: 6, ..ROOMY }, vec![3, 4]),
    ] {
        let mut book = Book::new();
        for (job, days) in [(1, 91), (2, 89), (3, 2), (4, 0)] {
            let files: Vec<_> = (0..3).map(|file| from_origin(account(job, file), 100)).collect();
            book.apply(&files);
            book.ended(job, days);
        }
        book.fold(&limits);
        assert_eq!(book.jobs(), [stay, vec![EARLIER]].concat(), "{limits:?}");
    }
}

#[test]
fn a_job_of_many_files_is_folded_in_slices_and_any_of_them_may_be_the_last_before_a_crash() {
    let mut book = Book::new();
    let files: Vec<_> = (0..2500).map(|file| from_origin(account(1, file), u64::from(file))).collect();
    book.apply(&files);
    book.ended(1, 1);
    let sums = book.sums();
    let mut left = vec![book.accounts().len()];
    while let Some(changes) = book.index().next_fold(&NONE).expect("asked").filter(|_| book.listed() > 0) {
        book.apply(&changes);
        book.reopen();
        assert_eq!(book.sums(), sums);
        left.push(book.accounts().len());
    }
    assert_eq!(left, [2500, 1478, 455, 1]);
}

#[test]
fn a_job_that_came_back_keeps_its_accounts_until_it_goes_again() {
    let mut book = Book::new();
    book.apply(&[Change::Job([1; 16], Some(vec![1])), from_origin(account(1, 0), 30), Change::Job([1; 16], None)]);
    book.apply(&[Change::Job([1; 16], Some(vec![1]))]);
    book.fold(&NONE);
    assert_eq!((book.jobs(), book.listed()), (vec![1], 0));
    book.apply(&[Change::Job([1; 16], None)]);
    book.fold(&NONE);
    assert_eq!(book.jobs(), [EARLIER]);
}

#[test]
fn what_is_accounted_for_after_its_rows_were_folded_is_found_the_next_day() {
    let mut book = Book::new();
    book.apply(&[from_origin(account(1, 0), 30), Change::Job([1; 16], None)]);
    book.fold(&NONE);
    book.apply(&[from_origin(account(1, 0), 12)]);
    book.fold(&NONE);
    assert_eq!(book.jobs(), [1, EARLIER], "strays were sought a moment ago");
    book.fold_and_seek(&ROOMY);
    assert_eq!((book.jobs(), book.listed()), (vec![1, EARLIER], 1), "it counts as ended now");
    book.fold_and_seek(&ROOMY);
    assert_eq!(book.listed(), 1, "once");
    book.fold(&NONE);
    assert_eq!(book.accounts()[&Account::EARLIER].origin.received, 42);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn accounts_of_no_job_are_never_folded() {
    let mut book = Book::new();
    book.apply(&[from_origin(Account::NO_JOB, 5), from_origin(account(1, 0), 7)]);
    book.fold_and_seek(&NONE);
    let accounts = book.accounts();
    assert_eq!(accounts.keys().copied().collect::<Vec<_>>(), [Account::NO_JOB, Account::EARLIER]);
    book.meddle(|tables| job_ended(tables, &Account::NO_JOB.job, 0));
    book.fold_and_seek(&NONE);
    assert_eq!(book.accounts(), accounts);
}

#[test]
fn an_index_of_a_program_that_knew_of_no_ends_is_gone_through_once_over_restarts() {
    let mut book = Book::new();
    let job = |tag: u32| {
        let mut job = [9; 16];
        job[..4].copy_from_slice(&tag.to_be_bytes());
        job
    };
    let count = 2 * SLICE as u32 + 100;
    let flows: Vec<_> = (0..count)
        .flat_map(|tag| [0, 1].map(|file| from_origin(Account { job: job(tag), file }, u64::from(tag))))
        .collect();
    book.apply(&flows);
    book.apply(&[Change::Job(job(5), Some(vec![5]))]);
    book.meddle(|tables| tables.remove(ENDED));
    let sums = book.sums();
    book.reopen();
    for expected in [SLICE as u64 - 1, 2 * SLICE as u64 - 1] {
        let changes = book.index().next_fold(&ROOMY).expect("asked").expect("due");
        book.apply(&changes);
        assert_eq!(book.listed(), expected);
        book.reopen();
    }
    assert_eq!(book.fold(&ROOMY), 1);
    assert_eq!((book.listed(), book.index().next_fold(&ROOMY).expect("asked").is_none()), (u64::from(count) - 1, true));
    book.fold(&NONE);
    assert_eq!(
        (book.accounts().len(), book.sums()),
        (3, sums),
        "two of the job that is here, and the sum of the others"
    );
}

#[test]
fn strays_are_sought_again_a_day_later_and_when_the_clock_was_set_back() {
    let strays = Strays { done: 1_000_000, after: None };
    let is_due = |after: i64| strays.is_due(1_000_000 + after);
    assert_eq!([0, DAY - 1, DAY, -1].map(is_due), [false, false, true, true]);
    assert!(Strays { after: Some(Vec::new()), ..strays }.is_due(1_000_000));
}

#[test]
fn an_end_that_cannot_be_read_folds_nothing_and_its_job_is_found_again() {
    let mut book = Book::new();
    book.apply(&[from_origin(account(1, 0), 30)]);
    let key = ended_key(&[1; 16], book.now() - 100 * DAY);
    book.meddle(|tables| tables.put_row(ENDED, &key, b"rot"));
    book.apply(&[Change::FoldAccounts(ROOMY)]);
    assert_eq!((book.jobs(), book.listed()), (vec![1], 0));
    book.fold(&ROOMY);
    assert_eq!(book.listed(), 1);
}

#[test]
fn peers_that_sent_least_become_one_row_when_there_are_too_many() {
    let limits = LedgerLimits { peers: 8, ..ROOMY };
    let mut book = Book::new();
    // In the order of their names they are the other way round.
    let named = |tag: u32| peer(100 - tag);
    let flows = |from: u32, to: u32| -> Vec<Change> {
        (from..to).map(|tag| came(account(1, 0), Source::Peer { node: named(tag) }, u64::from(tag) * 10)).collect()
    };
    book.apply(&flows(1, 9));
    book.fold(&limits);
    assert_eq!(book.peers().len(), 8, "as many as may be");
    book.apply(&flows(9, 11));
    book.fold(&limits);
    let peers: Vec<_> = book.peers().into_keys().collect();
    assert_eq!(peers, [vec![EARLIER_PEERS], (5..11).rev().map(named).collect()].concat());
    assert_eq!(book.peers()[&EARLIER_PEERS].received, 100);
    book.apply(&flows(1, 3));
    assert_eq!(book.fold(&limits), 0, "who comes back has time: {} rows", book.peers().len());
    book.apply(&flows(11, 12));
    book.fold(&limits);
    assert_eq!(book.peers()[&EARLIER_PEERS].received, 100 + 10 + 20 + 50);
}

#[test]
fn a_peer_that_sends_in_the_transaction_that_folds_it_is_counted_once() {
    let mut book = Book::new();
    let sends = |tag: u32, bytes| came(account(1, 0), Source::Peer { node: peer(tag) }, bytes);
    book.apply(&[sends(1, 10), sends(2, 20)]);
    book.apply(&[sends(1, 3), Change::FoldPeers(LedgerLimits { peers: 0, ..ROOMY }), sends(2, 5)]);
    let received = book.peers().into_iter().map(|(node, flow)| (node, flow.received)).collect::<Vec<_>>();
    assert_eq!(received, [(EARLIER_PEERS, 33), (peer(2), 5)]);
}

#[test]
fn a_thousand_peers_too_many_go_in_slices() {
    let mut book = Book::new();
    let flows: Vec<_> =
        (1..2000).map(|tag| came(account(1, 0), Source::Peer { node: peer(tag) }, u64::from(tag))).collect();
    book.apply(&flows);
    book.fold(&LedgerLimits { peers: 400, ..ROOMY });
    assert_eq!(book.peers().len(), 301);
}

#[test]
fn a_store_folds_and_its_check_finds_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = |path: &Path| Store::open(StoreConfig::new(path)).expect("opens");
    let store = open(directory.path());
    for job in 1..=5 {
        store.put_job([job; 16], b"row").expect("kept");
        let bytes = LedgerEntry::Streamed {
            account: account(job, 0),
            source: Source::Peer { node: peer(u32::from(job)) },
            bytes: 10,
        };
        store.record_named(&[bytes], &[(account(job, 0), "https://h/")]).expect("recorded");
        store.remove_job([job; 16]).expect("removed");
    }
    assert!(store.fold_ledger(&LedgerLimits { peers: 2, ..NONE }).expect("folded") >= 2);
    drop(store);
    let store = open(directory.path());
    let rows = store.ledger().expect("the ledger");
    assert!(rows.len() == 4 && rows.iter().all(crate::LedgerRow::closes), "{rows:?}");
    assert_eq!(store.balance(Account::EARLIER).expect("asked").peers, {
        let mut f = Flow::default();
        f.use_up(50);
        f
    });
    drop(store);
    let found = crate::check(directory.path(), crate::Depth::Strict, crate::Repair::No).expect("checked");
    assert_eq!(found.findings, [], "{found}");
}

#[test]
fn a_check_finds_a_folded_row_that_does_not_close() {
    let directory = tempfile::tempdir().expect("a directory");
    drop(Store::open(StoreConfig::new(directory.path())).expect("opens"));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let index = Index::open(&disk, &directory.path().join("index.redb")).expect("opens");
    let flow = Flow { received: 5, used: 3, ..Flow::default() };
    let put = index.with(|database| {
        let transaction = begin(database)?;
        let mut tables = Tables::of(&transaction);
        let balance = Balance { origin: flow, ..Balance::default() };
        tables.put(FILES, &account_key(&Account::EARLIER), &balance)?;
        tables.put(PEERS, &EARLIER_PEERS, &flow)?;
        drop(tables);
        Ok(transaction.commit()?)
    });
    put.expect("put");
    index.close().expect("closed");
    let found = crate::check(directory.path(), crate::Depth::Quick, crate::Repair::No).expect("checked");
    let mut objects: Vec<_> = found.findings.iter().map(|finding| finding.object.to_string()).collect();
    objects.sort();
    assert_eq!(objects, ["ledger row of earlier peers", "ledger row of jobs that ended earlier"]);
}

/// What may happen to a ledger.
#[derive(Debug, Clone)]
enum Event {
    Received { account: Account, peer: Option<u32>, bytes: u64 },
    Spoiled { account: Account, bytes: u64 },
    Delivered { account: Account, bytes: u64 },
    Job(u8, bool),
    Fold { ended_jobs: u64, peers: u64, age: u64 },
    Seek,
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    let account = || {
        let job = (1..5_u8, 0..3_u32).prop_map(|(job, file)| account(job, file));
        prop_oneof![9 => job, 1 => Just(Account::NO_JOB)]
    };
    prop_oneof![
        8 => (account(), prop::option::of(1..9_u32), 0..1_u64 << 40)
            .prop_map(|(account, peer, bytes)| Event::Received { account, peer, bytes }),
        2 => (account(), 0..1_u64 << 40).prop_map(|(account, bytes)| Event::Spoiled { account, bytes }),
        2 => (account(), 0..1_u64 << 40).prop_map(|(account, bytes)| Event::Delivered { account, bytes }),
        4 => (1..5_u8, any::<bool>()).prop_map(|(job, is_here)| Event::Job(job, is_here)),
        4 => (0..3_u64, 0..6_u64, 0..2_u64).prop_map(|(ended_jobs, peers, age)| Event::Fold { ended_jobs, peers, age }),
        1 => Just(Event::Seek),
        1 => Just(Event::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Folding changes no sum, no row of a job that is here, and nothing that does not close.
    #[test]
    fn any_sequence_of_events_and_folds_keeps_every_sum(events in prop::collection::vec(event(), 0..40)) {
        let mut book = Book::new();
        let (mut here, mut received) = (std::collections::BTreeSet::new(), (0, 0));
        for event in events {
            match event {
                Event::Received { account, peer: None, bytes } => {
                    received.0 += bytes;
                    book.apply(&[from_origin(account, bytes)]);
                }
                Event::Received { account, peer: Some(tag), bytes } => {
                    received.1 += bytes;
                    book.apply(&[came(account, Source::Peer { node: peer(tag) }, bytes)]);
                }
                Event::Spoiled { account, bytes } => book.apply(&[Change::Entry(LedgerEntry::Spoiled {
                    account, source: Source::Origin { https: false }, reason: Waste::Corrupt, bytes,
                })]),
                Event::Delivered { account, bytes } => {
                    book.apply(&[delivered(account, Delivered { cache: bytes, ..Delivered::default() })]);
                }
                Event::Job(job, is_here) => {
                    if is_here { here.insert(job) } else { here.remove(&job) };
                    book.apply(&[Change::Job([job; 16], is_here.then(|| vec![job]))]);
                }
                Event::Fold { ended_jobs, peers, age } => {
                    let mut before = book.accounts();
                    let age = Duration::from_secs(age * 1000);
                    book.fold(&LedgerLimits { age, ended_jobs, accounts: 6, peers });
                    let mut after = book.accounts();
                    for accounts in [&mut before, &mut after] {
                        accounts.retain(|account, _| *account == Account::NO_JOB || here.contains(&account.job[0]));
                    }
                    prop_assert_eq!(before, after);
                    prop_assert!(book.peers().len() as u64 <= peers + 1);
                }
                Event::Seek => {
                    book.fold_and_seek(&NONE);
                    let is_left = |job: &u8| *job == EARLIER || *job == Account::NO_JOB.job[0] || here.contains(job);
                    prop_assert!(book.jobs().iter().all(is_left), "{:?} beside {here:?}", book.jobs());
                }
                Event::Reopen => book.reopen(),
            }
            let (accounts, peers) = book.sums();
            prop_assert!(accounts.closes() && peers.closes());
            prop_assert!(book.accounts().values().all(Balance::closes));
            prop_assert_eq!((accounts.origin.received, accounts.peers.received, peers.received), (received.0, received.1, received.1));
        }
    }
}
