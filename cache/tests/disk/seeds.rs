//! Random work, random faults and random power cuts, all drawn from one number.

use crate::entities::{TAGS, TIGHT, geometry};
use crate::meter::{CHANGES, Event, Kind, Order, ROOM};
use crate::refusals::REMOVALS;
use crate::sim::SimDisk;
use crate::sim::medium::Fate;
use crate::support::Choices;
use crate::sweep::{for_each, from_environment, quiet};
use crate::truth::{Promise, Truth};
use crate::world::{From, Step, Trouble, World, config};
use eddy_cache::Pin;
use rustix::io::Errno;
use std::path::Path;
use std::sync::Mutex;

/// Where the store lies on the simulated disk: its parents are made by it, too.
pub(crate) const DIRECTORY: &str = "/home/eddy/cache";

/// Kinds of operations that fail together.
const REFUSALS: [(&[Kind], Errno); 7] = [
    (&[Kind::Read], Errno::IO),
    (&[Kind::Write], Errno::IO),
    (&[Kind::Sync], Errno::IO),
    (&[Kind::SyncDirectory, Kind::Rename, Kind::Unlink, Kind::List, Kind::Measure], Errno::IO),
    (&[Kind::Create, Kind::Open], Errno::MFILE),
    (ROOM, Errno::NOSPC),
    (CHANGES, Errno::ROFS),
];

/// What one seed did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Of everything that was asked of the disk, in order.
    trace: u64,
    steps: u64,
    cuts: u64,
    refusals: u64,
    lies: u64,
}

/// One life of a store under faults.
struct Life {
    disk: SimDisk,
    world: World,
    choices: Choices,
    tally: Tally,
    promise: Promise,
    version: u64,
    /// Whether each step is told.
    telling: Telling,
    /// Limits that change wake a thread of the store, which asks the disk for its room whenever it comes to it.
    quota: QuotaChanges,
}

/// Whether the quota changes under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum QuotaChanges {
    Never,
    Sometimes,
}

/// How much a life tells of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Telling {
    Nothing,
    Everything,
}

impl Life {
    fn new(seed: u64, promise: Promise, telling: Telling) -> Self {
        let mut choices = Choices(seed);
        let disk = SimDisk::new(choices.below(u64::MAX));
        let quota = if choices.below(2) == 0 { TIGHT } else { 1 << 30 };
        let world = World::new(disk.share(), config(Path::new(DIRECTORY), quota), Truth::new(promise));
        Self {
            disk,
            world,
            choices,
            tally: Tally::default(),
            promise,
            version: 0,
            telling,
            quota: QuotaChanges::Sometimes,
        }
    }

    fn run(self) -> Tally {
        self.run_rounds(8, 12)
    }

    /// At least so many rounds of work, and some more.
    fn run_rounds(mut self, least: u64, more: u64) -> Tally {
        for _ in 0..least + self.choices.below(more) {
            match (self.choices.below(10), self.promise) {
                (0..=2, _) => self.work_until_a_cut(),
                (3..=5, Promise::Full) => self.work_under_refusals(),
                (3..=5, Promise::NothingWrong) => self.work_with_a_liar(),
                _ => self.work(6),
            }
        }
        self.cut();
        self.recover();
        self.tally.trace = self.disk.trace();
        self.world.close_and_check();
        self.tally
    }

    fn take(&mut self, step: &Step) -> Result<(), Trouble> {
        self.tally.steps += 1;
        let outcome = self.world.take(step);
        self.tell(format_args!("{step:?}: {outcome:?}"));
        outcome
    }

    fn tell(&self, what: std::fmt::Arguments<'_>) {
        if self.telling == Telling::Everything {
            println!("{what}");
        }
    }

    /// Some steps, at most so many; they must be carried out, whatever went wrong before them.
    fn work(&mut self, most: u64) {
        for _ in 0..1 + self.choices.below(most) {
            let step = self.step();
            match self.take(&step) {
                Ok(()) => {}
                Err(error) if self.promise == Promise::Full => panic!("{step:?}: {error}"),
                Err(_) => self.world.truth.is_given_up(),
            }
        }
    }

    /// Steps until the power goes at some change of the disk.
    fn work_until_a_cut(&mut self) {
        let at = self.choices.below(60);
        self.disk.meter(|meter| meter.order(Some(Order::once(CHANGES, at, Event::PowerCut))));
        for _ in 0..self.choices.below(12) {
            let step = self.step();
            let outcome = self.take(&step);
            if self.disk.is_dead() {
                break;
            }
            match outcome {
                Ok(()) => {}
                Err(error) if self.promise == Promise::Full => panic!("{step:?}: {error}"),
                Err(_) => self.world.truth.is_given_up(),
            }
        }
        self.cut();
        self.recover();
    }

    /// Cuts the power if it is still on.
    fn cut(&mut self) {
        let fate = match self.choices.below(6) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Drawn(self.choices.below(u64::MAX)),
        };
        self.tell(format_args!("the power goes: {fate:?}"));
        self.disk = self.disk.cut(fate);
        self.world.close();
        self.world.move_to(self.disk.share());
        self.tally.cuts += 1;
    }

    /// Starts again, and again when the power goes in the middle of that (C-23); then holds the store against the truth.
    fn recover(&mut self) {
        while self.choices.below(3) == 0 {
            let at = self.choices.below(40);
            self.disk.meter(|meter| meter.order(Some(Order::once(CHANGES, at, Event::PowerCut))));
            let opened = self.world.open().map(drop);
            if !self.disk.is_dead() {
                opened.expect("the store opens");
            }
            self.cut();
        }
        self.disk.meter(|meter| meter.order(None));
        self.tell(format_args!("held against {:?}", self.world.truth));
        self.world.open_and_hold();
        self.world.may_keep_files = false;
    }

    /// Steps while operations of some kind are refused: each is done or says why not. Then everything goes on.
    fn work_under_refusals(&mut self) {
        let (kinds, errno) = REFUSALS[self.choices.below(REFUSALS.len() as u64) as usize];
        let at = self.choices.below(20);
        let count = [1, 1, 2, 5, u64::MAX][self.choices.below(5) as usize];
        let order = Order { kinds, first: at, count, event: Event::Refuse(errno) };
        self.tell(format_args!("{order:?}"));
        self.world.may_keep_files |= kinds.iter().any(|kind| REMOVALS.contains(kind));
        self.disk.meter(|meter| meter.order(Some(order)));
        for _ in 0..1 + self.choices.below(8) {
            let step = self.step();
            if let Err(error) = self.take(&step) {
                assert!(!error.to_string().is_empty());
                self.world.truth.is_given_up();
                assert!(self.disk.meter(|meter| meter.happened()) > 0, "{step:?} fails by itself: {error}");
            }
        }
        self.tally.refusals += self.disk.meter(|meter| meter.happened());
        self.disk.meter(|meter| meter.order(None));
        self.work(3);
        self.world.take(&Step::Ask).expect("an answer");
    }

    /// Steps on a disk that lies once, or writes to a wrong place.
    fn work_with_a_liar(&mut self) {
        let (kinds, event): (&[Kind], Event) = match self.choices.below(4) {
            0 => (&[Kind::Write], Event::Lie),
            1 => (&[Kind::Write], Event::Misdirect),
            2 => (&[Kind::SyncDirectory], Event::Lie),
            _ => (&[Kind::Sync], Event::Lie),
        };
        let order = Order::once(kinds, self.choices.below(20), event);
        self.disk.meter(|meter| meter.order(Some(order)));
        self.work(6);
        self.tally.lies += self.disk.meter(|meter| meter.happened());
        self.disk.meter(|meter| meter.order(None));
        self.cut();
        self.recover();
    }

    /// The next thing to do.
    fn step(&mut self) -> Step {
        let choices = &mut self.choices;
        let tag = choices.below(TAGS);
        let first = choices.below(u64::from(geometry(tag).block_count()) + 1) as u32;
        let blocks = first..first + 1 + choices.below(4) as u32;
        match choices.below(46) {
            0 => Step::Admit(tag),
            1..=9 => Step::Write { tag, blocks, from: From::Origin },
            10..=13 => Step::Write { tag, blocks, from: From::Peer },
            14 => Step::Write { tag, blocks, from: From::Liar },
            15..=23 => Step::Commit(tag),
            24..=26 => Step::Read { tag, blocks },
            27 | 28 => Step::LetGo(tag),
            29 => Step::Remove(tag),
            30 | 31 => Step::Statements { tag, count: 1 + choices.below(3) as u32 },
            32..=34 => {
                self.version += 1;
                Step::PutJob(choices.below(3) as u8, self.version)
            }
            35 => Step::RemoveJob(choices.below(3) as u8),
            36 => Step::Record(tag),
            37 => Step::Secret,
            38 if choices.below(5) == 0 => Step::Clear,
            38 => Step::Ask,
            39 => Step::Pin(tag, Pin::Pinned),
            40 => Step::Pin(tag, Pin::Free),
            41 if self.quota == QuotaChanges::Never => Step::Ask,
            41 => Step::Limit(if choices.below(2) == 0 { TIGHT } else { 1 << 30 }),
            42 => Step::Verify(tag),
            43 => Step::Scrub,
            _ => Step::Reopen,
        }
    }
}

/// Says how to see a failure again.
struct Say(u64, Promise);

impl Drop for Say {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let test = if self.1 == Promise::Full { "nothing_is_lost" } else { "nothing_wrong_is_given_out" };
            eprintln!("EDDY_DISK_SEED={} cargo test -p eddy-cache --test disk {test} -- --nocapture", self.0);
        }
    }
}

/// Runs many seeds on all processors, or the one that the environment names.
fn run_seeds(promise: Promise) {
    quiet();
    if let Some(seed) = from_environment("EDDY_DISK_SEED") {
        let _say = Say(seed, promise);
        println!("{:?}", Life::new(seed, promise, Telling::Everything).run());
        return;
    }
    let count = from_environment("EDDY_DISK_SEEDS").unwrap_or(300);
    let begin = from_environment("EDDY_SEED").unwrap_or(0xd15c);
    println!("EDDY_SEED={begin}, {count} seeds");
    let total = Mutex::new(Tally::default());
    for_each(count, |number| {
        let _say = Say(begin + number, promise);
        if std::env::var_os("EDDY_DISK_LOUD").is_some() {
            println!("seed {}", begin + number);
        }
        let tally = Life::new(begin + number, promise, Telling::Nothing).run();
        let mut total = total.lock().expect("no other seed failed");
        total.steps += tally.steps;
        total.cuts += tally.cuts;
        total.refusals += tally.refusals;
        total.lies += tally.lies;
    });
    println!("{:?}", total.into_inner().expect("no seed failed"));
}

#[test]
fn nothing_is_lost_by_cuts_and_refusals() {
    run_seeds(Promise::Full);
}

#[test]
fn nothing_wrong_is_given_out_by_a_disk_that_lies() {
    run_seeds(Promise::NothingWrong);
}

#[test]
fn a_seed_does_the_same_twice() {
    quiet();
    for seed in 0..20 {
        for promise in [Promise::Full, Promise::NothingWrong] {
            let life = || {
                let life = Life::new(seed, promise, Telling::Nothing);
                Life { quota: QuotaChanges::Never, ..life }.run_rounds(3, 3)
            };
            // Rows say in seconds when something was used, and a thread of the store looks after it when it comes to it: not
            // every two lives are the same, but none would be if anything else were left to chance.
            assert!((0..8).any(|_| life() == life()), "seed {seed}");
        }
    }
}
