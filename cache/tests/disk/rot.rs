//! One bit flips somewhere in a store that was closed: it is found, or it stands where it changes nothing; and nothing
//! wrong is given out.
//!
//! A flip counts as *found* when the store reports it (a corrupt block, a damaged row, an index moved aside), when what
//! it stands in is refused (its seal is broken: then a fact is missing, and none is another), or when the index's
//! own checksums say so. A flip in a page that nothing refers to, in padding or in a block that is not held cannot be found by
//! anybody: then the store must give every answer as before, which is asserted for each of them.

use crate::answers::Answers;
use crate::entities::{account, key};
use crate::script::afterwards;
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sim::medium::Medium;
use crate::support::Choices;
use crate::sweep::{Case, for_each, from_environment, quiet};
use crate::truth::{Promise, Truth};
use crate::world::{From, Step, World, config};
use redb::{Builder, StorageBackend};
use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Kinds of files, by the ends of their names, and how many of a hundred flips go there.
const KINDS: [(&str, u64); 4] = [(".data", 35), (".outboard", 20), (".redb", 30), (".journal", 15)];

/// A store that has something of everything, closed, and all that is known of it.
pub(crate) struct Filled {
    pub(crate) medium: Medium,
    pub(crate) truth: Truth,
    answers: Answers,
}

impl Filled {
    pub(crate) fn new() -> Self {
        let disk = SimDisk::new(3);
        let mut world =
            World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), Truth::new(Promise::NothingWrong));
        for step in filling() {
            world.take(&step).expect("a sound disk refuses nothing");
        }
        world.close();
        let medium = disk.medium();
        let answers = ask(&medium);
        assert!(answers.reported.is_empty(), "{:?}", answers.reported);
        assert!(answers.facts.len() > 60, "there is something to lose: {answers:?}");
        Self { medium, truth: world.truth, answers }
    }

    /// The files of one kind.
    pub(crate) fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut paths = self.medium.paths();
        paths.retain(|path| path.to_string_lossy().ends_with(kind));
        paths
    }

    /// The store on a changed medium goes on: it takes in, gives out and is opened again.
    pub(crate) fn goes_on(&self, medium: Medium) {
        let disk = SimDisk::with(medium, 5);
        let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), self.truth.clone());
        for step in afterwards() {
            // The first of a damaged kind may be refused; what comes later may not.
            if let Err(error) = world.take(&step).or_else(|_| world.take(&step)) {
                panic!("afterwards {step:?} is refused: {error}");
            }
        }
        world.close();
        world.open_and_hold();
        world.close_and_check();
    }
}

fn filling() -> Vec<Step> {
    let write = |tag, blocks, from| Step::Write { tag, blocks, from };
    let mut steps = vec![Step::Secret];
    for tag in 0..8 {
        steps.push(write(tag, 0..2, From::Origin));
        steps.push(Step::Commit(tag));
        steps.push(write(tag, 2..5, From::Peer));
        steps.push(Step::Statements { tag, count: 2 });
        steps.push(Step::Commit(tag));
        steps.push(Step::Record(tag));
    }
    steps.extend((0..9).map(|number| Step::PutJob(number % 4, u64::from(number) + 1)));
    steps.push(Step::RemoveJob(3));
    steps
}

/// Opens the store and asks it everything; where an answer is refused, it is opened and asked again.
fn ask(medium: &Medium) -> Answers {
    ask_on(&SimDisk::with(medium.clone(), 4))
}

fn ask_on(disk: &SimDisk) -> Answers {
    let mut refused = Vec::new();
    while refused.len() < 3 {
        let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), Truth::default());
        let store = world.open().unwrap_or_else(|error| panic!("the store does not open: {error}"));
        let answers = store.set_lookup_secret(Some(key())).and_then(|()| Answers::of(store));
        match answers {
            Ok(mut answers) => {
                answers.reported.extend(refused);
                return answers;
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    panic!("damage is not got over by opening the store again: {refused:?}");
}

/// What became of a flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// The store said so.
    Reported,
    /// A fact whose seal is broken is not given out.
    Refused,
    /// The checksums of the index's pages say so, and every answer is as before.
    Checksum,
    /// The journal was made anew from the index, and every answer is as before.
    MadeAnew,
    /// It changes nothing.
    Dead,
}

/// Flips one bit, asks everything, and judges.
fn judge(filled: &Filled, path: &Path, offset: usize, bit: u32) -> Verdict {
    let mut medium = filled.medium.clone();
    medium.edit(path, |bytes| bytes[offset] ^= 1 << bit);
    let flipped = medium.content(path).map(<[u8]>::to_vec);
    let disk = SimDisk::with(medium.clone(), 4);
    let answers = ask_on(&disk);
    let contradictions = answers.contradictions(&filled.answers);
    assert!(contradictions.is_empty(), "said otherwise: {contradictions:?}");
    let jobs = |answers: &Answers| answers.facts.keys().filter(|of| of.starts_with("job ")).count();
    assert_eq!(jobs(&answers), jobs(&filled.answers), "no single bit loses a job (C-22)");
    if (offset + bit as usize).is_multiple_of(16) {
        filled.goes_on(medium);
    }
    let is_index = path.extension().is_some_and(|kind| kind == "redb");
    let is_anew = !is_index && disk.medium().content(path).map(<[u8]>::to_vec) != flipped;
    match () {
        () if !answers.reported.is_empty() => Verdict::Reported,
        () if answers.facts.len() < filled.answers.facts.len() => Verdict::Refused,
        () if is_index && !is_sound(&filled.medium, path, offset, bit) => Verdict::Checksum,
        () if is_anew => Verdict::MadeAnew,
        () => Verdict::Dead,
    }
}

#[test]
fn every_flipped_bit_is_found_or_changes_nothing() {
    quiet();
    let filled = Filled::new();
    let flips = from_environment("EDDY_DISK_FLIPS").unwrap_or(2000);
    let begin = from_environment("EDDY_SEED").unwrap_or(0xb17);
    println!("EDDY_SEED={begin}, {flips} flips");
    let verdicts: Mutex<BTreeMap<(&str, Verdict), u64>> = Mutex::default();
    for_each(flips, |number| {
        let mut choices = Choices((begin << 32) + number);
        let mut share = choices.below(100);
        let kind = KINDS.iter().find(|(_, part)| {
            let is_it = share < *part;
            share = share.saturating_sub(*part);
            is_it
        });
        let kind = kind.expect("they are a hundred").0;
        let files = filled.files(kind);
        let path = &files[choices.below(files.len() as u64) as usize];
        let bytes = filled.medium.content(path).expect("a file");
        if bytes.is_empty() {
            return;
        }
        let offset = place(bytes, &mut choices);
        let bit = choices.below(8) as u32;
        let _case = Case(format!("bit {bit} of byte {offset} in {}", path.display()));
        let verdict = judge(&filled, path, offset, bit);
        *verdicts.lock().expect("no other flip failed").entry((kind, verdict)).or_default() += 1;
    });
    let verdicts = verdicts.into_inner().expect("no flip failed");
    verdicts.iter().for_each(|((kind, verdict), count)| println!("{kind}: {verdict:?} {count}"));
    assert!(KINDS.iter().all(|(kind, _)| verdicts.keys().any(|(of, verdict)| of == kind && *verdict != Verdict::Dead)));
}

/// Some byte; mostly one in a piece that is not all zeros, because most of an index and a journal is room to grow.
fn place(bytes: &[u8], choices: &mut Choices) -> usize {
    for _ in 0..if choices.below(10) == 0 { 0 } else { 50 } {
        let at = choices.below(bytes.len() as u64) as usize;
        let piece = at / 64 * 64;
        if bytes[piece..bytes.len().min(piece + 64)].iter().any(|byte| *byte != 0) {
            return at;
        }
    }
    choices.below(bytes.len() as u64) as usize
}

/// Whether redb finds every page of the flipped index whole.
fn is_sound(medium: &Medium, path: &Path, offset: usize, bit: u32) -> bool {
    let mut bytes = medium.content(path).expect("the index").to_vec();
    bytes[offset] ^= 1 << bit;
    let check = || {
        let mut database = Builder::new().create_with_backend(InMemory(Mutex::new(bytes)))?;
        Ok::<bool, redb::Error>(database.check_integrity()?)
    };
    matches!(std::panic::catch_unwind(AssertUnwindSafe(check)), Ok(Ok(true)))
}

/// An index in memory.
#[derive(Debug)]
struct InMemory(Mutex<Vec<u8>>);

impl InMemory {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StorageBackend for InMemory {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|bytes| bytes.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.with(|bytes| {
            let part = bytes.get(offset as usize..offset as usize + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(part);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.with(|bytes| bytes.resize(length as usize, 0));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, new: &[u8]) -> Result<(), io::Error> {
        self.with(|bytes| {
            let end = offset as usize + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[offset as usize..end].copy_from_slice(new);
        });
        Ok(())
    }
}

#[test]
fn rot_that_is_read_is_struck_off_and_can_be_fetched_again() {
    let filled = Filled::new();
    for path in filled.files(".data") {
        let mut medium = filled.medium.clone();
        medium.edit(&path, |bytes| bytes.iter_mut().step_by(9000).for_each(|byte| *byte ^= 0x40));
        let disk = SimDisk::with(medium, 6);
        let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), 1 << 30), filled.truth.clone());
        world.open_and_hold();
        for tag in 0..8 {
            for step in [Step::Write { tag, blocks: 0..9, from: From::Peer }, Step::Commit(tag)] {
                world.take(&step).expect("nothing is refused");
            }
        }
        let store = world.open().expect("it is open");
        let answers = Answers::of(store).expect("answers");
        assert!(answers.reported.is_empty(), "{:?}", answers.reported);
        for tag in 0..8 {
            let (file, balance) = (account(tag), store.balance(account(tag)).expect("a balance"));
            assert!(balance.origin.closes() && balance.peers.closes(), "{file:?}: {balance:?}");
        }
    }
}

#[test]
fn a_table_of_the_index_with_another_name_or_type_is_damage() {
    quiet();
    let filled = Filled::new();
    let path = filled.files(".redb").remove(0);
    let bytes = filled.medium.content(&path).expect("the index");
    let mut flips = 0;
    for word in ["&[u8]", "meta", "entities", "jobs", "held", "lines"] {
        let places = bytes.windows(word.len()).enumerate().filter(|(_, window)| *window == word.as_bytes());
        for (at, _) in places.step_by(3) {
            let _case = Case(format!("{word} at {at}"));
            judge(&filled, &path, at + 1, 0);
            flips += 1;
        }
    }
    println!("{flips} flips");
    assert!(flips > 5);
}
