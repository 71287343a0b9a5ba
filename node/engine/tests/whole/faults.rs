//! Thousands of random worlds: whatever fails, every job ends delivered or stands still with a reason.
//!
//! The rig checks with every effect what must hold always; here is only what the worlds are made of. A world that fails is
//! named by its seed, which goes into `one_world` to be looked at.

#![allow(clippy::unwrap_used, reason = "choices among constants")]

use crate::rig::world::{Manner, Neighbour, Origin, destination, disk, unavailable, unreachable};
use crate::rig::{Event, Rig, background, job, url};
use eddy_content::http::RangeSupport;
use eddy_content::http::freshness::{Decision, Stale};
use eddy_content::{BlockSet, EntityId};
use eddy_engine::port::{FetchId, FetchOutcome, Held, PeerFault};
use eddy_engine::trust::{AuditShare, Policy, Witnesses};
use eddy_engine::{Asking, Failure, FileRef, Finish, Input, JobId, JobSpec, JobState, Peer, Priority};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::ops::Range;
use std::time::Duration;

/// Worlds of every run of the tests.
const WORLDS: u64 = 400;
/// Files that jobs ask for.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const MIB: u64 = 1 << 20;

fn chance(rng: &mut SmallRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn failure(rng: &mut SmallRng) -> Failure {
    match rng.random_range(0..6) {
        0 => unreachable(),
        1 => disk(),
        2 => Failure::fatal("http-not-found", "404"),
        3 => unavailable(Some(Duration::from_secs(rng.random_range(1..300)))),
        _ => unavailable(None),
    }
}

fn origin(rng: &mut SmallRng) -> Origin {
    let length = *[0, 1, 65_536, 3 * MIB, 20 * MIB, 70 * MIB + 17].choose(rng).unwrap();
    let mut origin = Origin::new(length);
    origin.has_validator = !chance(rng, 15);
    origin.names_length = !chance(rng, 10);
    origin.ranges = *[RangeSupport::Yes, RangeSupport::Yes, RangeSupport::Yes, RangeSupport::No, RangeSupport::Unknown]
        .choose(rng)
        .unwrap();
    origin.storable = !chance(rng, 10);
    origin.shareable = !chance(rng, 20);
    origin.answers_head = !chance(rng, 20);
    origin.rate = *[MIB / 2, 2 * MIB, 8 * MIB].choose(rng).unwrap();
    if chance(rng, 30) {
        origin.failing = Some((rng.random_range(1..30), failure(rng)));
    }
    if chance(rng, 20) {
        origin.breaks_after = Some(rng.random_range(1..30 * MIB));
    } else if chance(rng, 10) {
        origin.cuts_after = Some(rng.random_range(1..30 * MIB));
    }
    origin
}

fn neighbour(rng: &mut SmallRng) -> Neighbour {
    let manner = if chance(rng, 50) { Manner::Serves } else { *Manner::ALL.choose(rng).unwrap() };
    let start = rng.random_range(0..600);
    let holds = if chance(rng, 50) { 0..1200 } else { start..start + rng.random_range(1..600) };
    let mut neighbour = Neighbour::new(manner, holds);
    neighbour.latency = Duration::from_millis(rng.random_range(0..400));
    neighbour.rate = rng.random_range(1000..8 * MIB);
    neighbour
}

fn spec(rng: &mut SmallRng) -> JobSpec {
    let count = rng.random_range(1..=4);
    let names: Vec<&str> = (0..count).map(|_| *NAMES.choose(rng).unwrap()).collect();
    let base = if chance(rng, 50) { job(&names) } else { background(&names) };
    let priority = *[Priority::Foreground, Priority::High, Priority::Normal, Priority::Low].choose(rng).unwrap();
    let finish = if chance(rng, 80) { Finish::Auto } else { Finish::Manual };
    let asking = if chance(rng, 50) { Asking::Always } else { Asking::WithinLifetime };
    JobSpec { priority, finish, asking, ..base }
}

/// Whom to believe; from a randomness of its own, so that a world stays the one that it was.
fn trust(rng: &mut SmallRng) -> Policy {
    let witnesses = [Witnesses::One, Witnesses::One, Witnesses::Two, Witnesses::Three, Witnesses::DigestOnly];
    let audit = [AuditShare::OFF, AuditShare::percent(1), AuditShare::percent(30)];
    Policy { witnesses: *witnesses.choose(rng).unwrap(), audit: *audit.choose(rng).unwrap(), ..Policy::default() }
}

/// A world with faults; jobs and commands come while it runs.
fn run_world(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut rig = Rig::new(seed).trusting(trust(&mut SmallRng::seed_from_u64(seed ^ 0x7_2057)));
    rig.is_jittery = true;
    for name in NAMES {
        rig.set_origin(name, origin(&mut rng));
        for _ in 0..if chance(&mut rng, 20) { rng.random_range(1..4) } else { 0 } {
            rig.later(Duration::from_millis(rng.random_range(0..5000)), Event::Change(url(name)));
        }
    }
    rig.store.failing_commits = if chance(&mut rng, 20) { rng.random_range(1..4) } else { 0 };
    rig.store.damaged_stagings = if chance(&mut rng, 20) { rng.random_range(1..6) } else { 0 };
    rig.disk.failing_publishings = if chance(&mut rng, 20) { rng.random_range(1..3) } else { 0 };
    if chance(&mut rng, 15) {
        let refusal = Failure { code: "cache-too-small".to_owned(), ..disk() };
        let refusal = if chance(&mut rng, 50) { refusal } else { disk() };
        rig.store.refusing = Some((rng.random_range(1..5), refusal));
    }
    if chance(&mut rng, 15) {
        rig.disk.failing_stagings = Some((rng.random_range(1..4), Failure::fatal("digest-mismatch", "sha-256")));
    }
    if chance(&mut rng, 30) {
        let (store, place) = (chance(&mut rng, 50).then(disk), chance(&mut rng, 50));
        let destination = place.then(|| destination("disk-full"));
        let begin = Duration::from_millis(rng.random_range(0..8000));
        let end = begin + Duration::from_millis(rng.random_range(0..200_000));
        rig.later(begin, Event::Weather { store, destination });
        rig.later(end, Event::Weather { store: None, destination: None });
    }
    let decisions = [None, Some(Decision::Fresh { seconds: 60 }), Some(Decision::Stale(Stale::NoLifetime))];
    rig.store.decision = *decisions.choose(&mut rng).unwrap();
    for number in 0..rng.random_range(0..5) {
        let neighbour = neighbour(&mut rng);
        rig.connect(number + 1, neighbour);
    }
    let mut jobs = Vec::new();
    for _ in 0..rng.random_range(1..40) {
        disturb(&mut rig, &mut rng, &mut jobs);
        rig.run_for(Duration::from_millis(rng.random_range(0..700)));
    }
    end(&mut rig, &jobs);
}

fn disturb(rig: &mut Rig, rng: &mut SmallRng, jobs: &mut Vec<JobId>) {
    match rng.random_range(0..100) {
        0..25 if jobs.len() < 8 => {
            let spec = spec(rng);
            jobs.push(rig.start(spec));
        }
        25..60 => {
            let Some(id) = jobs.choose(rng).copied() else { return };
            let command = rng.random_range(0..8);
            // What does not fit the state is refused, and nothing else happens.
            let _ = rig.act(|engine, now| match command {
                0 => engine.cancel(now, id),
                1 => engine.complete(now, id),
                2 | 3 => engine.suspend(now, id),
                _ => engine.resume(now, id),
            });
        }
        60..65 => {
            let peer = Peer([rng.random_range(1..6); 32]);
            if rig.peers.contains_key(&peer) {
                rig.later(Duration::ZERO, Event::Down(peer));
            }
        }
        65..72 => {
            let neighbour = neighbour(rng);
            rig.connect(rng.random_range(1..6), neighbour);
        }
        72..75 => rig.crash(),
        75..95 => rig.input(nonsense(rng, jobs)),
        _ => {}
    }
}

/// An input that nobody waits for: for something unknown, a second time, or too late.
fn nonsense(rng: &mut SmallRng, jobs: &[JobId]) -> Input {
    let job = jobs.choose(rng).copied().unwrap_or(JobId([99; 16]));
    let file = FileRef { job, file: rng.random_range(0..6) };
    let fetch = FetchId(1_000_000 + rng.random_range(0..10));
    let (entity, peer) = (EntityId([rng.random_range(0..3); 32]), Peer([rng.random_range(1..9); 32]));
    let blocks = BlockSet::from_run(0..rng.random_range(1..2000));
    match rng.random_range(0..10) {
        8 => Input::Doubted { file, entity, blocks },
        9 => Input::Ended { fetch, outcome: FetchOutcome::Unwitnessed(blocks) },
        0 => Input::Prepared { file: FileRef { job: JobId([98; 16]), file: 0 }, result: Ok(Held::Some) },
        1 => Input::Contacted { fetch, result: Err(unreachable()) },
        2 => Input::Holds { file, entity, peer, blocks },
        3 => Input::Received { fetch, bytes: 1 << 40 },
        4 => Input::Committed { file, entity, blocks },
        5 => Input::Ended { fetch, outcome: FetchOutcome::PeerFailed(PeerFault::Lied) },
        6 => Input::PeerDown(Peer([77; 32])),
        _ => Input::Ended { fetch, outcome: FetchOutcome::Changed },
    }
}

/// Whatever can go on by itself does, until nothing moves any more; then each job is where it may rest.
fn end(rig: &mut Rig, jobs: &[JobId]) {
    rig.run_for(Duration::from_secs(40 * 24 * 3600));
    for id in jobs {
        let Some(job) = rig.engine.job(*id) else {
            // Ended before the node was killed.
            assert!(!rig.rows.contains_key(id));
            continue;
        };
        let is_at_rest = match job.state() {
            JobState::Acknowledged | JobState::Cancelled | JobState::Suspended => true,
            JobState::Error => job.failure().is_some(),
            JobState::Transferred => job.failure().is_some() || job.spec().finish == Finish::Manual,
            _ => false,
        };
        assert!(is_at_rest, "{}", rig.picture());
        assert_eq!(rig.rows.contains_key(id), !job.state().is_final(), "{}", rig.picture());
    }
    for (file, version) in &rig.disk.visible {
        // The origin had that version at some time; a file of two versions cannot be staged in the rig.
        let known = rig.origins.values().any(|origin| origin.versions.contains(version));
        assert!(known, "{file:?} has version {version}");
    }
    let wanted = |file: &&FileRef| rig.rows.contains_key(&file.job);
    let leftovers: Vec<_> = rig.disk.parts.keys().filter(|file| !wanted(file)).collect();
    assert!(leftovers.is_empty(), "left behind: {leftovers:?} {}", rig.picture());
}

fn run_worlds(worlds: Range<u64>) {
    let threads = 2;
    std::thread::scope(|scope| {
        for part in 0..threads {
            let worlds = worlds.clone();
            scope.spawn(move || {
                let worlds = worlds.clone().filter(|seed| seed % threads == part);
                let failed = worlds.filter(|seed| std::panic::catch_unwind(|| run_world(*seed)).is_err());
                let failed: Vec<u64> = failed.take(5).collect();
                assert!(failed.is_empty(), "worlds {failed:?} failed");
            });
        }
    });
}

/// `EDDY_WORLDS` sets how many when this is built; ten thousand take six minutes.
#[test]
fn every_world_comes_to_rest_with_a_reason() {
    let worlds = option_env!("EDDY_WORLDS").and_then(|count| count.parse().ok()).unwrap_or(WORLDS);
    run_worlds(0..worlds);
}

#[test]
fn one_world() {
    // A world that once failed, or that fails now.
    run_world(2179);
}
