//! Jobs that run only while their owner is logged on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::rig::world::Origin;
use crate::rig::{Rig, background, job};
use eddy_engine::engine::{Amendment, TurnWait};
use eddy_engine::job::terms::{Presence, Ties};
use eddy_engine::sessions::Sessions;
use eddy_engine::{Engine, EngineConfig, Input, JobId, JobSpec, JobState, Owner, Terms};
use std::time::Duration;

const ANNA: Owner = Owner(1001);
const BERT: Owner = Owner(1002);
/// As the daemon's own user.
const SYSTEM: Owner = Owner(0);

fn tied(spec: JobSpec) -> JobSpec {
    let ties = Ties { presence: Presence::WhileLoggedOn, ..Ties::default() };
    JobSpec { terms: Terms { ties, ..spec.terms.clone() }, ..spec }
}

/// A world with a file that takes a while, and a job of it.
fn begin(owner: Owner, spec: JobSpec) -> (Rig, JobId) {
    let mut rig = Rig::new(1);
    rig.set_origin("a", Origin { rate: 1 << 20, ..Origin::new(256 << 20) });
    let id = rig.create_for(owner, spec);
    rig.act(|engine, now| engine.resume(now, id).unwrap());
    (rig, id)
}

fn tell(rig: &mut Rig, users: &[Owner]) {
    rig.input(Input::Sessions(Sessions::Of(users.iter().copied().collect())));
}

#[test]
fn a_job_pauses_when_its_owner_logs_off_and_goes_on_at_the_next_log_on() {
    let (mut rig, id) = begin(ANNA, tied(background(&["a"])));
    assert_eq!(rig.count("watch sessions"), 1, "somebody has to be asked");
    assert_eq!(rig.engine.turn_wait(id), Some(TurnWait::SessionsUnknown));
    tell(&mut rig, &[ANNA, BERT]);
    rig.run_to_state(id, JobState::Transferring);
    tell(&mut rig, &[BERT]);
    assert_eq!((rig.state(id), rig.engine.turn_wait(id)), (JobState::Queued, Some(TurnWait::OwnerAway)));
    assert!(!rig.engine.is_busy() && rig.engine.awaits_owners());
    let sent = rig.origin("a").sent;
    rig.run_for(Duration::from_secs(15 * 86_400));
    assert_eq!((rig.state(id), rig.origin("a").sent), (JobState::Queued, sent), "nothing moves meanwhile");
    // Two weeks without progress would make it an error; these do not count.
    rig.origin("a").failing = Some((6, crate::rig::world::unreachable()));
    tell(&mut rig, &[ANNA]);
    rig.run_to_state(id, JobState::TransientError);
    rig.run_to_state(id, JobState::Acknowledged);
    assert_eq!(rig.count("watch sessions"), 1);
}

#[test]
fn other_jobs_and_those_of_the_system_need_nobody() {
    let (mut rig, id) = begin(ANNA, background(&["a"]));
    rig.run_to_state(id, JobState::Acknowledged);
    assert_eq!(rig.count("watch sessions"), 0, "and nobody is asked");
    let (mut rig, id) = begin(SYSTEM, tied(background(&["a"])));
    rig.run_to_state(id, JobState::Acknowledged);
}

#[test]
fn a_place_is_given_to_somebody_who_is_there() {
    let mut rig = Rig::new(1);
    let mut ids = Vec::new();
    for number in 0..8 {
        let name = format!("a{number}");
        rig.set_origin(&name, Origin { rate: 1 << 20, ..Origin::new(64 << 20) });
        let (owner, spec) = (if number % 2 == 0 { ANNA } else { BERT }, tied(background(&[&name])));
        let id = rig.create_for(owner, spec);
        rig.act(|engine, now| engine.resume(now, id).unwrap());
        ids.push(id);
    }
    tell(&mut rig, &[BERT]);
    rig.run_until(|rig| rig.ended.len() == 4);
    let ended = |rig: &Rig| ids.iter().map(|id| rig.ended.contains(id)).collect::<Vec<_>>();
    assert_eq!(ended(&rig), [false, true, false, true, false, true, false, true]);
    tell(&mut rig, &[]);
    tell(&mut rig, &[ANNA]);
    rig.run_until(|rig| rig.ended.len() == 8);
}

#[test]
fn what_is_not_known_any_more_counts_as_nobody() {
    let (mut rig, id) = begin(ANNA, tied(job(&["a"])));
    tell(&mut rig, &[ANNA]);
    rig.run_to_state(id, JobState::Transferring);
    rig.input(Input::Sessions(Sessions::Unknown));
    assert_eq!((rig.state(id), rig.engine.turn_wait(id)), (JobState::Queued, Some(TurnWait::SessionsUnknown)));
    tell(&mut rig, &[ANNA]);
    rig.run_to_state(id, JobState::Acknowledged);
}

#[test]
fn the_rule_survives_a_restart_and_a_new_owner_and_can_be_taken_away() {
    let (mut rig, id) = begin(ANNA, tied(background(&["a"])));
    rig.crash();
    assert_eq!(rig.count("watch sessions"), 2, "each life of the engine asks");
    tell(&mut rig, &[BERT]);
    assert_eq!(rig.engine.turn_wait(id), Some(TurnWait::OwnerAway));
    let terms = rig.engine.job(id).unwrap().spec().terms.clone();
    let change = Amendment { owner: Some(BERT), terms: Some(terms.clone().without_secrets()), ..Amendment::default() };
    rig.act(|engine, now| engine.amend(now, id, change).unwrap());
    rig.run_to_state(id, JobState::Transferring);
    let change = Amendment { owner: Some(ANNA), ..Amendment::default() };
    rig.act(|engine, now| engine.amend(now, id, change).unwrap());
    assert_eq!((rig.state(id), rig.engine.turn_wait(id)), (JobState::Queued, Some(TurnWait::OwnerAway)));
    let change = Amendment { terms: Some(Terms { ties: Ties::default(), ..terms }), ..Amendment::default() };
    rig.act(|engine, now| engine.amend(now, id, change).unwrap());
    rig.run_to_state(id, JobState::Acknowledged);
}

#[test]
fn who_stays_away_for_too_long_is_forgotten_and_who_pauses_in_between_too() {
    let mut rig = Rig::new(1);
    rig.engine = Engine::new(EngineConfig::ordinary(1));
    let id = rig.create_for(ANNA, tied(background(&["a"])));
    rig.act(|engine, now| engine.resume(now, id).unwrap());
    // At the same moment: the job moves from one place of rest to another.
    rig.act(|engine, now| engine.suspend(now, id).unwrap());
    rig.act(|engine, now| engine.resume(now, id).unwrap());
    tell(&mut rig, &[]);
    rig.run_for(eddy_engine::engine::INACTIVE - Duration::from_secs(60));
    assert_eq!(rig.state(id), JobState::Queued);
    rig.run_for(Duration::from_secs(120));
    assert_eq!(rig.ended, [id]);
    assert!(!rig.engine.awaits_owners());
}
