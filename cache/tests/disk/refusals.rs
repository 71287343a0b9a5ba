//! The disk refuses an operation of a scripted life: every single one, once or from then on. The store says so, loses
//! nothing, and goes on by itself when the disk does.

use crate::entities::TIGHT;
use crate::meter::{Event, Kind, Order, ROOM};
use crate::script::{afterwards, script};
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sim::medium::Fate;
use crate::sweep::{Case, for_each, stride};
use crate::truth::Truth;
use crate::world::{Step, World, config};
use rustix::io::Errno;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// For how long the disk refuses.
#[derive(Debug, Clone, Copy)]
enum Spell {
    Once,
    FromThenOn,
}

const READS: &[Kind] = &[Kind::Read];
const WRITES: &[Kind] = &[Kind::Write];
const SYNCS: &[Kind] = &[Kind::Sync, Kind::SyncDirectory];
const NAMES: &[Kind] = &[
    Kind::Create,
    Kind::Open,
    Kind::Rename,
    Kind::Unlink,
    Kind::List,
    Kind::MakeDirectory,
    Kind::Measure,
    Kind::Volume,
];
const SIZES: &[Kind] = &[Kind::Preallocate, Kind::SetLength];

/// Those without which no file goes for good.
pub(crate) const REMOVALS: &[Kind] = &[Kind::Unlink, Kind::Measure, Kind::SyncDirectory];

/// A life on a disk.
struct Life {
    disk: SimDisk,
    world: World,
    /// How often a store of it said that it had opened its index again, at most.
    reopened: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let disk = SimDisk::new(seed);
        let world = World::new(disk.share(), config(Path::new(DIRECTORY), TIGHT), Truth::default());
        Self { disk, world, reopened: 0 }
    }

    /// Takes every step of the script; those that are refused say why.
    fn live(&mut self) -> u64 {
        let mut refused = 0;
        for step in script() {
            if let Err(error) = self.world.take(&step) {
                assert!(!error.to_string().is_empty());
                self.world.truth.is_given_up();
                refused += 1;
            }
            self.reopened = self.reopened.max(self.world.reopened());
        }
        refused
    }

    /// The disk is whole again: so is the store, without being opened again; and what it said outlives a power cut.
    fn goes_on(mut self) {
        for step in afterwards() {
            if let Err(error) = self.world.take(&step) {
                panic!("afterwards {step:?} is refused: {error}");
            }
        }
        self.disk = self.disk.cut(Fate::Lost);
        self.world.close();
        self.world.move_to(self.disk.share());
        self.world.open_and_hold();
        self.world.close_and_check();
    }
}

/// How many operations of these kinds the script asks for.
fn count(kinds: &'static [Kind]) -> u64 {
    let mut life = Life::new(1);
    assert_eq!(life.live(), 0, "a sound disk refuses nothing");
    life.world.close();
    life.disk.meter(|meter| meter.count(kinds))
}

/// Refuses the n-th operation, for every n; says how often the index was opened again and told so.
fn sweep(name: &str, kinds: &'static [Kind], errno: Errno, usual_stride: u64) -> u64 {
    let (all, stride) = (count(kinds), stride(usual_stride));
    let (lives, refusals, reopened) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    for (part, spell) in [Spell::Once, Spell::FromThenOn].into_iter().enumerate() {
        for_each(all.div_ceil(stride), |case| {
            let n = case * stride + part as u64;
            let _case = Case(format!("{errno} at {name} {n}, {spell:?}"));
            let mut life = Life::new(n);
            life.world.may_keep_files = kinds.iter().any(|kind| REMOVALS.contains(kind));
            let order = match spell {
                Spell::Once => Order::once(kinds, n, Event::Refuse(errno)),
                Spell::FromThenOn => Order::from(kinds, n, Event::Refuse(errno)),
            };
            life.disk.meter(|meter| meter.order(Some(order)));
            life.live();
            refusals.fetch_add(life.disk.meter(|meter| meter.happened()), Ordering::Relaxed);
            life.disk.meter(|meter| meter.order(None));
            reopened.fetch_add(life.reopened, Ordering::Relaxed);
            life.goes_on();
            lives.fetch_add(1, Ordering::Relaxed);
        });
    }
    let (lives, refusals) = (lives.into_inner(), refusals.into_inner());
    let reopened = reopened.into_inner();
    println!(
        "{name}: {all} in the script, {lives} lives, {refusals} refusals, {reopened} times the index opened again"
    );
    assert!(refusals > 0);
    reopened
}

#[test]
fn a_read_that_fails_loses_nothing() {
    sweep("read", READS, Errno::IO, 5);
}

#[test]
fn a_write_that_fails_loses_nothing() {
    sweep("write", WRITES, Errno::IO, 5);
}

#[test]
fn a_sync_that_fails_loses_nothing() {
    let reopened = sweep("sync", SYNCS, Errno::IO, 1);
    assert!(reopened > 0, "a store that opened its index again says so");
}

#[test]
fn what_is_acknowledged_after_a_failed_sync_outlives_a_power_cut_right_behind_it() {
    let (all, cut) = (count(SYNCS), AtomicU64::new(0));
    // With and without the pages that the sync left clean: the disk draws whether it keeps them.
    for seed in [0, 1] {
        for_each(all, |n| {
            let _case = Case(format!("sync {n} fails, disk {seed}, and the power goes"));
            let mut life = Life::new(2 * n + seed);
            life.disk.meter(|meter| meter.order(Some(Order::once(SYNCS, n, Event::Refuse(Errno::IO)))));
            for step in script() {
                if life.world.take(&step).is_err() {
                    life.world.truth.is_given_up();
                }
                if life.disk.meter(|meter| meter.happened()) > 0 {
                    cut.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
            life.disk.meter(|meter| meter.order(None));
            // Some of it is asked again, by a start that finds only what memory shows.
            if n.is_multiple_of(2) && life.world.take(&Step::Reopen).is_err() {
                life.world.truth.is_given_up();
            }
            life.disk = life.disk.cut(Fate::Lost);
            life.world.close();
            life.world.move_to(life.disk.share());
            life.world.open_and_hold();
            life.world.close_and_check();
        });
    }
    println!("{all} syncs in the script, {} cuts", cut.into_inner());
}

#[test]
fn a_name_or_a_size_that_fails_loses_nothing() {
    sweep("name", NAMES, Errno::IO, 3);
    sweep("size", SIZES, Errno::IO, 1);
}

#[test]
fn a_full_disk_loses_nothing_and_work_goes_on_when_there_is_room() {
    sweep("growth", ROOM, Errno::NOSPC, 5);
}

#[test]
fn a_disk_of_any_size_loses_nothing_and_work_goes_on_when_it_grows() {
    let (enough, step) = (4 << 20, stride(2) * 16 * 1024);
    let (too_small, sizes) = (AtomicU64::new(0), enough / step);
    for_each(sizes, |case| {
        let size = case * step;
        let _case = Case(format!("a disk of {size} bytes"));
        let mut life = Life::new(case);
        life.disk.resize(size);
        too_small.fetch_add(u64::from(life.live() > 0), Ordering::Relaxed);
        life.disk.resize(1 << 40);
        life.goes_on();
    });
    let too_small = too_small.into_inner();
    println!("{sizes} disks of up to {enough} bytes, {too_small} of them too small");
    assert!(0 < too_small && too_small < sizes);
}
