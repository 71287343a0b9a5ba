//! The power goes at every single change that a scripted life makes on the disk, and again while the store recovers.

use crate::entities::TIGHT;
use crate::script::{afterwards, script};
use crate::seeds::DIRECTORY;
use crate::sim::SimDisk;
use crate::sim::medium::{Change, Fate, Medium};
use crate::sweep::{Case, for_each, stride};
use crate::truth::Truth;
use crate::world::{World, config};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a life did to its disk, and what was known when.
struct Recording {
    changes: Vec<Change>,
    /// The truth from this many changes on.
    known: Vec<(usize, Truth)>,
}

impl Recording {
    fn of_script() -> Self {
        let disk = SimDisk::new(1);
        disk.record();
        let mut world = World::new(disk.share(), config(Path::new(DIRECTORY), TIGHT), Truth::default());
        let mut known = vec![(0, Truth::default())];
        for step in script() {
            world.announce(&step);
            known.push((disk.record_length(), world.truth.clone()));
            world.carry_out(&step).expect("a sound disk refuses nothing");
            known.push((disk.record_length(), world.truth.clone()));
        }
        world.close();
        println!("the script asks: {}", disk.meter(|meter| meter.to_string()));
        Self { changes: disk.recorded(), known }
    }

    /// What was known when this many changes were made.
    fn truth(&self, changes: usize) -> &Truth {
        let after = self.known.partition_point(|(from, _)| *from <= changes);
        &self.known[after - 1].1
    }
}

/// What is found on a disk, and what a store must still know of it.
struct Found<'t> {
    medium: Medium,
    truth: &'t Truth,
}

impl Found<'_> {
    /// The store opens, knows everything, and goes on.
    fn holds(&self) {
        let mut world = self.world(&SimDisk::with(self.medium.clone(), 2));
        world.open_and_hold();
        for step in afterwards() {
            if let Err(error) = world.take(&step) {
                panic!("afterwards {step:?} is refused: {error}");
            }
        }
        world.close();
        world.open_and_hold();
        world.close_and_check();
    }

    /// The changes that opening the store makes.
    fn recovery(&self) -> Vec<Change> {
        let disk = SimDisk::with(self.medium.clone(), 2);
        disk.record();
        let mut world = self.world(&disk);
        world.open().expect("the store opens");
        let changes = disk.recorded();
        world.close();
        changes
    }

    fn world(&self, disk: &SimDisk) -> World {
        World::new(disk.share(), config(Path::new(DIRECTORY), TIGHT), self.truth.clone())
    }

    /// The same after some of these changes and a power cut.
    fn after(&self, changes: &[Change], fate: Fate) -> Self {
        let mut medium = self.medium.clone();
        changes.iter().for_each(|change| medium.apply(change));
        medium.cut(fate);
        Self { medium, truth: self.truth }
    }
}

/// What becomes of unsynced writes at the n-th cut.
fn fates(n: usize) -> [Fate; 4] {
    [Fate::Lost, Fate::Kept, Fate::Drawn(n as u64), Fate::Drawn(!(n as u64))]
}

#[test]
fn a_cut_at_any_change_loses_nothing() {
    let recording = Recording::of_script();
    let stride = stride(2) as usize;
    let count = AtomicU64::new(0);
    for_each(fates(0).len() as u64, |part| {
        let mut medium = Medium::new();
        for n in 0..=recording.changes.len() {
            let fate = fates(n)[part as usize];
            if (n + part as usize).is_multiple_of(stride) {
                let _case = Case(format!("cut before change {n}, {fate:?}"));
                let found = Found { medium: medium.clone(), truth: recording.truth(n) };
                found.after(&[], fate).holds();
                count.fetch_add(1, Ordering::Relaxed);
            }
            recording.changes.get(n).into_iter().for_each(|change| medium.apply(change));
        }
    });
    println!("{} changes, {} cuts", recording.changes.len(), count.into_inner());
}

#[test]
fn a_cut_inside_recovery_and_one_inside_that_lose_nothing() {
    let recording = Recording::of_script();
    // Each cut of the first level has as many of the second as recovery makes changes, and some of those of the third.
    let stride = stride(2) as usize * 23;
    let (second, third) = (AtomicU64::new(0), AtomicU64::new(0));
    let cases = recording.changes.len().div_ceil(stride) as u64;
    for_each(cases, |case| {
        let n = case as usize * stride;
        let mut medium = Medium::new();
        recording.changes[..n].iter().for_each(|change| medium.apply(change));
        let found = Found { medium, truth: recording.truth(n) }.after(&[], fates(n)[case as usize % 4]);
        let recovery = found.recovery();
        for k in 0..=recovery.len() {
            let _case = Case(format!("cut before change {n}, then before change {k} of recovery"));
            let again = found.after(&recovery[..k], fates(k)[(case as usize + k) % 4]);
            again.holds();
            second.fetch_add(1, Ordering::Relaxed);
            if k.is_multiple_of(17) {
                let once_more = again.recovery();
                for l in (0..=once_more.len()).step_by(7) {
                    let _case = Case(format!("... then before change {l} of the next recovery"));
                    again.after(&once_more[..l], fates(l)[(k + l) % 4]).holds();
                    third.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    println!("{} cuts inside recovery, {} inside the recovery from one", second.into_inner(), third.into_inner());
}
