//! What is in the store: delivered without a question, asked about, or only held.

use super::{HOUR, MIB, excess, rig};
use crate::rig::world::{Origin, unreachable};
use crate::rig::{Event, Rig, job, url};
use eddy_content::http::freshness::{Decision, Stale};
use eddy_engine::file::HeldUse;
use eddy_engine::roster::Standing;
use eddy_engine::{Asking, Finish, JobSpec, JobState};
use std::time::Duration;

/// A world in which version 1 of the file is held whole, and the store says this of it.
fn rig_that_holds(decision: Decision) -> Rig {
    let mut rig = rig(Origin::new(3 * MIB));
    let id = rig.start(job(&["a"]));
    rig.run_to_state(id, JobState::Acknowledged);
    rig.run_for(HOUR);
    rig.store.decision = Some(decision);
    rig.log.clear();
    rig
}

fn within_lifetime() -> JobSpec {
    JobSpec { asking: Asking::WithinLifetime, ..job(&["a"]) }
}

#[test]
fn a_fresh_version_is_delivered_without_a_question_though_the_origin_is_gone() {
    let mut rig = rig_that_holds(Decision::Fresh { seconds: 60 });
    let (asked, sent) = (rig.origin("a").requests.len(), rig.origin("a").sent);
    rig.origin("a").failing = Some((99, unreachable()));
    let id = rig.start(JobSpec { finish: Finish::Manual, ..within_lifetime() });
    rig.run_to_state(id, JobState::Transferred);
    let file = &rig.engine.job(id).unwrap().files()[0];
    assert_eq!(file.held_use(), Some(HeldUse::Unasked { seconds: 60 }));
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_for(HOUR);
    assert_eq!(rig.delivered(id, 0), Some(1));
    assert_eq!((rig.origin("a").requests.len(), rig.origin("a").sent), (asked, sent));
    assert!(!rig.effects().contains(&"contact"), "{:?}", rig.effects());
}

#[test]
fn a_stale_version_is_asked_about_and_the_origins_fault_is_the_jobs() {
    let mut rig = rig_that_holds(Decision::Stale(Stale::NoLifetime));
    rig.origin("a").failing = Some((99, unreachable()));
    let id = rig.start(within_lifetime());
    rig.run_to_state(id, JobState::Error);
    assert_eq!(rig.engine.job(id).unwrap().failure(), Some(&unreachable()));
    let file = &rig.engine.job(id).unwrap().files()[0];
    assert_eq!(file.held_use(), Some(HeldUse::Asked(Decision::Stale(Stale::NoLifetime))));
}

#[test]
fn a_job_that_asks_always_gets_the_new_version_though_the_old_one_is_fresh() {
    for (spec, delivered) in [(job(&["a"]), 2), (within_lifetime(), 1)] {
        let mut rig = rig_that_holds(Decision::Fresh { seconds: 60 });
        rig.origin("a").change();
        let id = rig.start(spec);
        rig.run_for(HOUR);
        assert_eq!(rig.delivered(id, 0), Some(delivered));
    }
}

#[test]
fn what_is_damaged_in_a_fresh_version_comes_from_the_origin_again() {
    let mut rig = rig_that_holds(Decision::Fresh { seconds: 60 });
    rig.store.damaged_stagings = 1;
    let asked = rig.origin("a").requests.len();
    let id = rig.start(within_lifetime());
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert!(rig.origin("a").requests.len() > asked);
}

/// A job that holds a version in the store and makes no file.
fn hold() -> JobSpec {
    let mut spec = job(&["a"]);
    spec.files[0].destination.clear();
    spec
}

#[test]
fn what_is_only_held_ends_with_its_last_block_and_touches_no_destination() {
    let mut rig = rig(Origin::new(3 * MIB));
    let id = rig.start(hold());
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    let foreign = ["stage", "publish", "discard", "stream"];
    assert!(rig.effects().iter().all(|name| !foreign.contains(name)), "{:?}", rig.effects());
    assert_eq!((rig.count("release"), excess(&mut rig)), (1, 0));
}

#[test]
fn what_is_only_held_ends_when_the_version_changes_and_never_goes_on_with_another() {
    let mut rig = rig(Origin::new(256 * MIB));
    let id = rig.start(hold());
    rig.later(Duration::from_millis(450), Event::Change(url("a")));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Error);
    assert_eq!(rig.count("open"), 1);
}

#[test]
fn what_has_no_version_is_not_held() {
    let mut rig = rig(Origin { has_validator: false, ..Origin::new(MIB) });
    let id = rig.start(hold());
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.count("stream"), rig.count("open")), (JobState::Error, 0, 0));
}

#[test]
fn jobs_are_counted_as_they_stand_and_what_is_only_held_is_nobodys() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.set_origin("b", Origin::new(64 * MIB));
    let standing = |rig: &Rig| {
        let Standing { open, moving } = rig.engine.standing();
        (open, moving)
    };
    let mut holding = job(&["b"]);
    holding.files[0].destination = String::new();
    let held = rig.start(holding);
    rig.run_to_state(held, JobState::Transferring);
    assert_eq!(standing(&rig), (0, 0));
    let waiting = rig.create(job(&["b"]));
    let id = rig.start(job(&["a"]));
    rig.run_to_state(id, JobState::Transferring);
    assert_eq!(standing(&rig), (2, 1));
    rig.act(|engine, now| engine.cancel(now, held).unwrap());
    rig.act(|engine, now| engine.cancel(now, waiting).unwrap());
    assert_eq!(standing(&rig), (1, 1));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), standing(&rig)), (JobState::Acknowledged, (0, 0)));
}
