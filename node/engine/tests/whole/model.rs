//! The engine held against a model that is far simpler: random commands, faults, crashes and the passing of time.
//!
//! The model knows what each job is called, how urgent it is, to whom it belongs, how much of which files it wants, and what its owner did last. What
//! it says after each step must be what the engine shows, and what is written down; at the end, when all faults are over, every job that was
//! not thrown away is delivered. The same seed gives the same effects, byte for byte.

#![allow(clippy::unwrap_used, reason = "choices among constants")]

use crate::rig::world::{Manner, Neighbour, Origin, disk, unavailable, unreachable};
use crate::rig::{Event, Rig, background, job};
use eddy_engine::engine::{Amendment, CommandError};
use eddy_engine::{
    ByteRange, Failure, FileSpec, Finish, Input, JobId, JobSpec, JobState, Owner, Portion, Priority, Ranges, Terms,
};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::time::Duration;

/// Steps of every run of the tests; `EDDY_MODEL_STEPS` says otherwise when this is built.
const STEPS: u64 = 6_000;
/// Steps of one world.
const STEPS_OF_A_WORLD: u64 = 200;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const PRIORITIES: [Priority; 4] = [Priority::Foreground, Priority::High, Priority::Normal, Priority::Low];
const MIB: u64 = 1 << 20;

/// What its owner did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Rest,
    Run,
    /// Deliver what is whole and end.
    End,
    /// Nothing more: it is gone.
    Gone,
}

/// A job as the model knows it.
#[derive(Debug, Clone)]
struct Known {
    name: String,
    description: String,
    priority: Priority,
    owner: Owner,
    /// How much of each file is wanted.
    files: Vec<Portion>,
    finish: Finish,
    wish: Wish,
    /// Whether it was ever told to deliver what it has: what came of that stays when it is told otherwise.
    was_completed: bool,
}

/// One world with its model.
struct World {
    rig: Rig,
    rng: SmallRng,
    jobs: BTreeMap<JobId, Known>,
    seed: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(seed);
        rig.is_jittery = true;
        for name in NAMES {
            let mut origin = Origin::new(*[0, 65_536, 3 * MIB, 9 * MIB + 5].choose(&mut rng).unwrap());
            origin.has_validator = rng.random_range(0..10) > 0;
            origin.rate = *[MIB / 4, 4 * MIB].choose(&mut rng).unwrap();
            rig.set_origin(name, origin);
        }
        rig.connect(1, Neighbour::new(Manner::Serves, 0..200));
        Self { rig, rng, jobs: BTreeMap::new(), seed }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..12 => self.create(),
            12..30 => self.command(),
            30..45 => self.amend(),
            45..55 => self.fault(),
            55..58 => self.rig.crash(),
            58..60 => self.rig.input(Input::NetworkUp),
            _ => {
                let time = self.rng.random_range(1..20_000);
                self.rig.run_for(Duration::from_millis(time));
            }
        }
        self.compare();
    }

    fn pick(&mut self) -> Option<JobId> {
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        ids.choose(&mut self.rng).copied()
    }

    fn create(&mut self) {
        if self.jobs.len() >= 40 {
            return;
        }
        let count = self.rng.random_range(0..=3);
        let names: Vec<&str> = (0..count).map(|_| *NAMES.choose(&mut self.rng).unwrap()).collect();
        let mut base = if self.rng.random_range(0..2) == 0 { job(&names) } else { background(&names) };
        base.files.iter_mut().for_each(|file| self.choose_portion(file));
        let portions = base.files.iter().map(|file| file.portion.clone()).collect();
        let priority = *PRIORITIES.choose(&mut self.rng).unwrap();
        let finish = if self.rng.random_range(0..3) == 0 { Finish::Manual } else { Finish::Auto };
        let owner = Owner(self.rng.random_range(0..3));
        let spec = JobSpec { priority, finish, ..base };
        let mut wish = Wish::Rest;
        let id = if self.rng.random_range(0..2) == 0 {
            self.rig.create_for(owner, spec)
        } else {
            let id = self.rig.create_to_run(owner, spec);
            wish = if count > 0 { Wish::Run } else { Wish::Rest };
            // Its maker lets it run as soon as it is durable, or is killed before.
            if count > 0 && self.rng.random_range(0..4) == 0 {
                self.rig.crash();
            } else if count > 0 {
                self.rig.act(|engine, now| engine.resume(now, id)).unwrap();
            }
            id
        };
        let (name, description) = ("test".to_owned(), String::new());
        self.jobs.insert(
            id,
            Known { name, description, priority, owner, files: portions, finish, wish, was_completed: false },
        );
    }

    /// Of some files not all is wanted, but only what there is.
    fn choose_portion(&mut self, file: &mut FileSpec) {
        let length = self.rig.origins[file.url.as_str()].length;
        if length == 0 || self.rng.random_range(0..3) > 0 {
            return;
        }
        let middle = self.rng.random_range(0..length);
        let mut ranges = vec![ByteRange { offset: middle, length: None }];
        if middle > 0 && self.rng.random_range(0..2) == 0 {
            let offset = self.rng.random_range(0..middle);
            ranges.push(ByteRange { offset, length: Some(self.rng.random_range(1..=middle - offset)) });
        }
        // Without a length nothing has a place behind the end.
        ranges.reverse();
        file.portion = Portion::Ranges(Ranges::new(ranges).unwrap());
    }

    fn command(&mut self) {
        let Some(id) = self.pick() else { return };
        let which = self.rng.random_range(0..10);
        let known = self.jobs.get_mut(&id).unwrap();
        let is_there = self.rig.engine.job(id).is_some_and(|job| !job.state().is_final());
        let result = self.rig.act(|engine, now| match which {
            0..5 => engine.resume(now, id),
            5..7 => engine.suspend(now, id),
            7..8 => engine.cancel(now, id),
            _ => engine.complete(now, id),
        });
        match (&result, which) {
            (Ok(()), _) => assert!(is_there, "seed {}: a job that has ended took a command", self.seed),
            (Err(CommandError::NoFiles), 0..5) => assert_eq!(known.files, [], "seed {}", self.seed),
            (Err(CommandError::NoSuchJob | CommandError::WrongState(_)), _) => {
                assert!(!is_there, "seed {}: refused: {result:?} {}", self.seed, self.rig.picture());
            }
            other => panic!("seed {}: {other:?}", self.seed),
        }
        if result.is_ok() {
            known.was_completed |= which >= 8;
            known.wish = match which {
                // It may be on its way out already.
                0..5 if known.wish == Wish::End => Wish::End,
                0..5 => Wish::Run,
                5..7 => Wish::Rest,
                7..8 => Wish::Gone,
                _ => Wish::End,
            };
        }
    }

    fn amend(&mut self) {
        let Some(id) = self.pick() else { return };
        let is_open = self.rig.engine.job(id).is_some_and(|job| !job.state().is_final() && !job.is_completing());
        let mut next = self.jobs[&id].clone();
        let mut amendment = Amendment::default();
        match self.rng.random_range(0..5) {
            0 => {
                next.name = format!("n{}", self.rng.random_range(0..100));
                amendment.name = Some(next.name.clone());
            }
            1 => {
                next.priority = *PRIORITIES.choose(&mut self.rng).unwrap();
                amendment.priority = Some(next.priority);
            }
            2 => {
                next.description = format!("d{}", self.rng.random_range(0..100));
                amendment.terms = Some(Terms { description: next.description.clone(), ..Terms::default() });
            }
            3 => {
                next.owner = Owner(self.rng.random_range(0..3));
                amendment.owner = Some(next.owner);
            }
            _ => {
                let mut file = job(&[NAMES.choose(&mut self.rng).unwrap()]).files.remove(0);
                self.choose_portion(&mut file);
                next.files.push(file.portion.clone());
                amendment.files = vec![file];
            }
        }
        let result = self.rig.act(|engine, now| engine.amend(now, id, amendment));
        assert_eq!(result.is_ok(), is_open, "seed {}: {result:?} {}", self.seed, self.rig.picture());
        if is_open {
            self.jobs.insert(id, next);
        }
    }

    fn fault(&mut self) {
        let name = *NAMES.choose(&mut self.rng).unwrap();
        let count = self.rng.random_range(1..6);
        let failure: Failure = match self.rng.random_range(0..5) {
            0 => unreachable(),
            1 => unavailable(Some(Duration::from_secs(20))),
            2 => Failure::fatal("http-not-found", "404"),
            _ => unavailable(None),
        };
        match self.rng.random_range(0..6) {
            0 => self.rig.origin(name).change(),
            1 => self.rig.store.failing_commits = count,
            2 => {
                let over = Event::Weather { store: None, destination: None };
                self.rig.store.standing = Some(disk());
                self.rig.later(Duration::from_secs(40), over);
            }
            3 => self.rig.store.damaged_stagings = 1,
            _ => self.rig.origin(name).failing = Some((count, failure)),
        }
    }

    /// What the model says is what the engine shows, and what is written down.
    fn compare(&mut self) {
        let picture = || self.rig.picture();
        for (id, known) in &self.jobs {
            let shown = self.rig.engine.job(*id).filter(|job| !job.state().is_final());
            let row = self.rig.rows.get(id);
            assert_eq!(shown.is_some(), row.is_some(), "seed {}: {id} {known:?} {}", self.seed, picture());
            let may_be_gone = match known.wish {
                Wish::Gone | Wish::End => true,
                Wish::Run | Wish::Rest => known.finish == Finish::Auto && !known.files.is_empty(),
            };
            let Some((job, row)) = shown.zip(row) else {
                assert!(may_be_gone, "seed {}: {id} is lost: {known:?} {}", self.seed, picture());
                continue;
            };
            assert_ne!(known.wish, Wish::Gone, "seed {}: {id} was cancelled", self.seed);
            let spec = job.spec();
            let portions = |files: &[FileSpec]| files.iter().map(|file| file.portion.clone()).collect::<Vec<_>>();
            for file in job.files().iter().filter(|file| file.is_staged()) {
                let ranges = file.spec().portion.ranges().and_then(Ranges::length);
                let length = self.rig.origins[file.spec().url.as_str()].length;
                assert!(ranges.is_none_or(|sum| file.length() == Some(sum)), "seed {}: {}", self.seed, picture());
                assert!(file.done() <= length, "seed {}: {}", self.seed, picture());
            }
            let (name, description) = (known.name.as_str(), known.description.as_str());
            let seen = (
                spec.name.as_str(),
                spec.terms.description.as_str(),
                spec.priority,
                job.owner(),
                portions(&spec.files),
            );
            let wanted = (name, description, known.priority, known.owner, known.files.clone());
            assert_eq!(seen, wanted, "seed {}: {id} as it is shown", self.seed);
            let kept = row.spec();
            let durable = (
                kept.name.as_str(),
                kept.terms.description.as_str(),
                kept.priority,
                row.life.owner,
                portions(&kept.files),
            );
            assert_eq!(durable, wanted, "seed {}: {id} as it is written down", self.seed);
            if known.wish == Wish::Rest && known.finish == Finish::Manual {
                assert_eq!(job.state(), JobState::Suspended, "seed {}: {id} {}", self.seed, picture());
            }
        }
        for file in self.rig.disk.visible.keys() {
            let known = &self.jobs[&file.job];
            let may_be = known.finish == Finish::Auto || known.was_completed;
            assert!(may_be, "seed {}: {file:?} is visible too early: {known:?}", self.seed);
        }
    }

    /// All faults are over, and everybody is told to go on.
    fn end(&mut self) {
        for name in NAMES {
            self.rig.origin(name).failing = None;
        }
        (self.rig.store.standing, self.rig.store.failing_commits, self.rig.store.damaged_stagings) = (None, 0, 0);
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for round in 0..3 {
            for id in &ids {
                let is_stuck = self
                    .rig
                    .engine
                    .job(*id)
                    .is_some_and(|job| !job.state().is_final() && !job.files().is_empty() && !job.is_completing());
                if is_stuck {
                    self.rig.act(|engine, now| engine.resume(now, *id)).unwrap();
                    self.jobs.get_mut(id).unwrap().wish = Wish::Run;
                }
            }
            self.rig.run_for(Duration::from_secs(3600 << round));
        }
        for (id, known) in &self.jobs {
            let state = self.rig.engine.job(*id).map(|job| job.state()).filter(|state| !state.is_final());
            let wanted = match state {
                None => true,
                Some(JobState::Transferred) => known.finish == Finish::Manual,
                Some(JobState::Suspended) => known.files.is_empty(),
                Some(_) => false,
            };
            assert!(wanted, "seed {}: {id} ends as {state:?}: {known:?} {}", self.seed, self.rig.picture());
        }
    }
}

/// Lives one world; what it did.
fn live(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..STEPS_OF_A_WORLD {
        world.step();
    }
    world
}

#[test]
fn the_engine_does_what_a_simple_model_says() {
    let steps = option_env!("EDDY_MODEL_STEPS").and_then(|text| text.parse().ok()).unwrap_or(STEPS);
    for seed in 0..steps.div_ceil(STEPS_OF_A_WORLD) {
        live(seed).end();
    }
    println!("{steps} steps");
}

#[test]
fn the_same_seed_gives_the_same_effects_byte_for_byte() {
    for seed in 0..3 {
        let (first, second) = (live(seed), live(seed));
        assert!(first.rig.log.len() > 100, "seed {seed} does something");
        assert_eq!(format!("{:?}", first.rig.log), format!("{:?}", second.rig.log), "seed {seed}");
    }
}
