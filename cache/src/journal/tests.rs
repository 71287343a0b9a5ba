//! Journal and index side by side, with crashes between their syncs, torn ends and losses of either.

use super::record::FIRST_RECORD;
use super::*;
use crate::disk::RealDisk;
use crate::index::Change;
use proptest::prelude::*;
use std::fs;

/// The table of jobs in the index.
const JOBS_TABLE: &str = "jobs";

/// Rows by job: what somebody was told.
type Jobs = BTreeMap<JobId, Vec<u8>>;

/// A directory with journal and index, opened and closed as a crash would.
struct Rig {
    directory: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    acknowledged: Jobs,
}

/// Both, open.
struct Open {
    index: Index,
    journal: Journal,
    reconciled: Reconciled,
    number: u64,
}

impl Rig {
    fn new() -> Self {
        // In memory: what is synced is not the question here, and there are many syncs.
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory");
        Self { directory, disk: Arc::new(RealDisk), acknowledged: Jobs::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn open(&self) -> Open {
        let index = Index::open(&self.disk, &self.path("index.redb")).unwrap_or_else(|e| panic!("{e:?}"));
        let mut number = index.last_transaction().expect("asked");
        let (journal, reconciled) =
            super::open(&self.disk, self.directory.path(), &index, &mut number).expect("the journal opens");
        Open { index, journal, reconciled, number }
    }

    fn put(&mut self, open: &mut Open, job: u8, row: Option<&[u8]>) {
        let job = [job; 16];
        let first = Self::put_into_index(open, job, row);
        open.journal.append(first, &[(job, row)], &open.index).expect("appended");
        match row {
            Some(row) => self.acknowledged.insert(job, row.to_vec()),
            None => self.acknowledged.remove(&job),
        };
    }

    /// The first half of a change; gives its number.
    fn put_into_index(open: &mut Open, job: JobId, row: Option<&[u8]>) -> u64 {
        let (first, last) = open.journal.number(1);
        open.number += 1;
        let changes = [Change::Job(job, row.map(<[u8]>::to_vec)), Change::JobsSequence(last)];
        open.index.apply(open.number, &changes).expect("applied");
        first
    }

    /// Both say what was acknowledged.
    fn assert_is_right(&self, open: &Open) {
        assert_eq!(jobs(&open.index), self.acknowledged);
        let path = self.path(NAME);
        let file = self.disk.open(&path).expect("the journal");
        let contents = Contents::read(&*file, &path).expect("read").expect("a journal");
        assert!(!contents.is_damaged);
        assert_eq!(contents.sequence, open.index.jobs_sequence().expect("asked"), "the same changes are in both");
        let live: Jobs = contents
            .live
            .iter()
            .map(|(job, place)| {
                let row =
                    scan::read_row(&*file, &path, &contents.header.key, job, place).expect("read").expect("a row");
                (*job, row)
            })
            .collect();
        assert_eq!(live, self.acknowledged);
    }
}

fn jobs(index: &Index) -> Jobs {
    index.jobs_behind(None, usize::MAX).expect("the jobs").0.rows.into_iter().collect()
}

/// What happens to the pair.
#[derive(Debug, Clone)]
enum Event {
    Put(u8, Vec<u8>),
    Remove(u8),
    /// A change that is in the index and ends there: a kill between the two syncs.
    HalfDone(u8, Vec<u8>),
    /// A change of whose record only some bytes reach the disk.
    Torn(u8, Vec<u8>, u8),
    /// The index refuses a change.
    Refused,
    Reopen,
    LoseIndex,
    LoseJournal,
    /// The journal's byte at this place is flipped.
    Rot(prop::sample::Index),
    /// An index that was copied some events ago is put back.
    OlderIndex,
    OlderJournal,
    Copy,
}

fn event() -> impl Strategy<Value = Event> {
    let row = || prop::collection::vec(any::<u8>(), 0..60);
    prop_oneof![
        6 => (0u8..5, row()).prop_map(|(job, row)| Event::Put(job, row)),
        2 => (0u8..5).prop_map(Event::Remove),
        2 => (0u8..5, row()).prop_map(|(job, row)| Event::HalfDone(job, row)),
        2 => (0u8..5, row(), any::<u8>()).prop_map(|(job, row, cut)| Event::Torn(job, row, cut)),
        2 => Just(Event::Refused),
        2 => Just(Event::Reopen),
        1 => Just(Event::LoseIndex),
        1 => Just(Event::LoseJournal),
        1 => any::<prop::sample::Index>().prop_map(Event::Rot),
        1 => Just(Event::OlderIndex),
        1 => Just(Event::OlderJournal),
        2 => Just(Event::Copy),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_loss_of_one_file_and_no_crash_loses_or_invents_a_job(events in prop::collection::vec(event(), 1..24)) {
        let mut rig = Rig::new();
        let mut open = rig.open();
        for event in events {
            open = happen(&mut rig, open, event);
            rig.assert_is_right(&open);
        }
    }
}

/// Carries an event out; the rig's acknowledged jobs are what must be there afterwards.
fn happen(rig: &mut Rig, mut open: Open, event: Event) -> Open {
    let (journal, index) = (rig.path(NAME), rig.path("index.redb"));
    match event {
        Event::Put(job, row) => {
            rig.put(&mut open, job, Some(&row));
            return open;
        }
        Event::Remove(job) => {
            rig.put(&mut open, job, None);
            return open;
        }
        Event::Refused => {
            // Its number is not used again.
            open.journal.number(1);
            return open;
        }
        Event::HalfDone(job, row) => {
            Rig::put_into_index(&mut open, [job; 16], Some(&row));
            drop(open);
            // Nobody was told, and the index has it: it counts.
            rig.acknowledged.insert([job; 16], row);
        }
        Event::Torn(job, row, cut) => {
            let start = open.journal.end;
            rig.put(&mut open, job, Some(&row));
            let end = open.journal.end;
            drop(open);
            let mut bytes = fs::read(&journal).expect("the journal");
            let kept = start.min(end) + u64::from(cut) % (end - start.min(end));
            bytes[kept as usize..end as usize].fill(0);
            fs::write(&journal, bytes).expect("torn");
        }
        Event::Reopen => drop(open),
        Event::LoseIndex => {
            drop(open);
            fs::remove_file(index).expect("lost");
        }
        Event::LoseJournal => {
            drop(open);
            fs::remove_file(journal).expect("lost");
        }
        Event::Rot(at) => {
            let end = open.journal.end as usize;
            drop(open);
            let mut bytes = fs::read(&journal).expect("the journal");
            bytes[at.index(end)] ^= 4;
            fs::write(&journal, bytes).expect("rotten");
        }
        Event::Copy => {
            drop(open);
            fs::copy(index, rig.path("older.redb")).expect("copied");
            fs::copy(journal, rig.path("older.journal")).expect("copied");
        }
        Event::OlderIndex => {
            drop(open);
            drop(fs::copy(rig.path("older.redb"), index));
        }
        Event::OlderJournal => {
            drop(open);
            drop(fs::copy(rig.path("older.journal"), journal));
        }
    }
    rig.open()
}

#[test]
fn a_journal_of_many_changes_stays_short() {
    let mut rig = Rig::new();
    let mut open = rig.open();
    let row = vec![7; 100_000];
    for number in 0..60u8 {
        rig.put(&mut open, number % 3, Some(&row));
    }
    rig.put(&mut open, 1, None);
    rig.assert_is_right(&open);
    let length = fs::metadata(rig.path(NAME)).expect("the journal").len();
    assert!(length < 2 * LEAST_DEAD, "{length} bytes for two rows of 100 kB");
}

#[test]
fn what_a_user_wrote_into_a_row_is_never_a_record() {
    let mut rig = Rig::new();
    let mut open = rig.open();
    // A row that has a whole record of the same file in it, sealed as well as somebody can who does not know the key.
    let mut forged = Vec::new();
    Record { sequence: 1 << 40, job: [9; 16], row: Some(b"forged") }.encode(&[0; 32], &mut forged);
    rig.put(&mut open, 1, Some(&forged));
    let start = open.journal.live[&[1; 16]].offset;
    drop(open);
    let mut bytes = fs::read(rig.path(NAME)).expect("the journal");
    bytes[start as usize] ^= 1;
    fs::write(rig.path(NAME), bytes).expect("written");
    let open = rig.open();
    assert!(open.reconciled.made_anew);
    rig.assert_is_right(&open);
}

#[test]
fn foreign_bytes_in_place_of_the_journal_are_kept_and_a_new_one_is_begun() {
    let mut rig = Rig::new();
    let mut open = rig.open();
    rig.put(&mut open, 1, Some(b"a job"));
    drop(open);
    for foreign in [Vec::new(), b"foreign".to_vec(), vec![0; 3 * FIRST_RECORD as usize]] {
        fs::write(rig.path(NAME), &foreign).expect("written");
        let open = rig.open();
        let aside = open.reconciled.moved_to.clone().expect("moved aside");
        assert_eq!(fs::read(aside).expect("kept"), foreign);
        rig.assert_is_right(&open);
    }
}

/// Refuses the next change of a job's row after the index took it in.
fn refuse_one(rig: &Rig, open: &mut Open, job: JobId, row: &[u8]) {
    let first = Rig::put_into_index(open, job, Some(row));
    fs::create_dir(rig.path(NEW_NAME)).expect("in its way");
    open.journal.is_doubtful = true;
    open.journal.append(first, &[(job, Some(row))], &open.index).expect_err("a directory is in its way");
    fs::remove_dir(rig.path(NEW_NAME)).expect("out of its way");
}

#[test]
fn a_row_that_the_index_lost_after_a_refused_append_is_the_older_one_of_the_file() {
    let mut rig = Rig::new();
    let mut open = rig.open();
    rig.put(&mut open, 1, Some(b"as it was acknowledged"));
    refuse_one(&rig, &mut open, [1; 16], b"as it was refused");
    open.number += 1;
    let rot = Change::StrikeRow(JOBS_TABLE, [1; 16].to_vec());
    open.index.apply(open.number, &[rot]).expect("the row is gone");
    rig.put(&mut open, 2, Some(b"another job"));
    drop(open);
    fs::remove_file(rig.path("index.redb")).expect("lost");
    let open = rig.open();
    rig.assert_is_right(&open);
}

#[test]
fn an_index_that_cannot_say_does_not_cost_the_file_that_can() {
    let mut rig = Rig::new();
    let mut open = rig.open();
    rig.put(&mut open, 1, Some(b"as it was acknowledged"));
    rig.put(&mut open, 2, Some(b"another"));
    // A row that stands in no file, as after a refused append of a new job.
    open.journal.note([3; 16], Some(place(9)));
    open.index.close().expect("closed");
    fs::remove_file(rig.path("index.redb")).expect("lost");
    let before = fs::read(rig.path(NAME)).expect("the journal");
    open.journal.make_anew(&open.index, 2).expect_err("the index may have the third");
    assert!(fs::read(rig.path(NAME)).expect("the journal") == before, "it is the file that was there");
    assert!(!rig.path(NEW_NAME).exists(), "what did not become the journal takes no room");
    drop(open);
    let open = rig.open();
    rig.assert_is_right(&open);
}

#[test]
fn a_damaged_journal_that_is_ahead_adds_and_removes_nothing() {
    let journal = |is_damaged| Contents {
        header: Header { key: [0; 32], sequence: 0, snapshot: 0 },
        live: [(1, 4), (2, 9)].map(|(job, sequence)| ([job; 16], place(sequence))).into(),
        sequence: 9,
        end: 0,
        is_damaged,
    };
    let index = reconcile::IndexJobs { rows: [1, 2, 3].map(|job| ([job; 16], Some([0; 32]))).into(), sequence: 5 };
    let whole = reconcile::plan(&journal(false), &index);
    assert_eq!(whole, reconcile::Plan { put: vec![[1; 16], [2; 16]], remove: vec![[3; 16]] });
    let damaged = reconcile::plan(&journal(true), &index);
    assert_eq!(damaged, reconcile::Plan { put: vec![[2; 16]], remove: Vec::new() });
}

fn place(sequence: u64) -> Place {
    Place { offset: 0, length: 0, sequence, hash: [sequence as u8; 32] }
}
