//! Jobs that their owners change while they live.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use crate::rig::world::{Origin, unavailable};
use crate::rig::{Rig, job, url};
use eddy_content::ResourceUrl;
use eddy_engine::engine::{Amendment, CommandError};
use eddy_engine::job::spec::Credentials;
use eddy_engine::job::terms::{HeaderField, Secrecy};
use eddy_engine::{Effect, Finish, JobId, JobSpec, JobState, Owner, PeerUse, Terms};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn rig(names: &[&str]) -> Rig {
    let mut rig = Rig::new(11);
    for name in names {
        rig.set_origin(name, Origin::new(20 * MIB));
    }
    rig
}

fn amend(rig: &mut Rig, id: JobId, amendment: Amendment) {
    rig.act(|engine, now| engine.amend(now, id, amendment)).unwrap();
}

fn to(url_of: &str) -> Vec<(u32, ResourceUrl)> {
    vec![(0, ResourceUrl::parse(&url(url_of)).unwrap())]
}

fn personal() -> Terms {
    let (name, value) = ("x-key".to_owned(), "secret".to_owned());
    Terms {
        headers: vec![HeaderField { name, value, secrecy: Secrecy::WriteOnly }],
        limit: Some(1 << 20),
        ..Terms::default()
    }
}

#[test]
fn an_error_is_mended_by_another_url() {
    let mut rig = rig(&["gone", "b"]);
    rig.origin("gone").failing = Some((u32::MAX, eddy_engine::Failure::fatal("http-not-found", "404")));
    let id = rig.start(job(&["gone"]));
    rig.run_to_state(id, JobState::Error);
    amend(&mut rig, id, Amendment { urls: to("b"), ..Amendment::default() });
    assert_eq!(rig.state(id), JobState::Error, "its owner says when to go on");
    rig.act(|engine, now| engine.resume(now, id)).unwrap();
    rig.run_for(HOUR);
    assert_eq!(rig.delivered(id, 0), Some(1));
}

#[test]
fn a_running_job_goes_on_at_its_other_url_and_mixes_nothing() {
    let mut rig = rig(&["a", "b"]);
    rig.origin("a").rate = 100_000;
    let id = rig.start(job(&["a"]));
    rig.run_for(Duration::from_secs(2));
    assert_eq!(rig.state(id), JobState::Transferring);
    amend(&mut rig, id, Amendment { urls: to("b"), ..Amendment::default() });
    rig.run_for(HOUR);
    assert_eq!(rig.delivered(id, 0), Some(1));
    assert!(rig.origin("b").sent >= 20 * MIB, "all of it is from there: {}", rig.origin("b").sent);
}

#[test]
fn header_fields_begin_a_turn_anew_which_refetches_nothing_held() {
    let mut rig = rig(&["a"]);
    rig.origin("a").rate = 512 << 10;
    let id = rig.start(job(&["a"]));
    rig.run_for(Duration::from_secs(2));
    amend(&mut rig, id, Amendment { terms: Some(personal()), ..Amendment::default() });
    let contacts = rig.count("contact");
    rig.run_for(HOUR);
    assert_eq!(rig.delivered(id, 0), Some(1));
    assert!(rig.count("contact") > contacts, "the origin is asked as who the job now is");
    assert!(rig.origin("a").sent <= 25 * MIB, "{}", rig.origin("a").sent);
}

#[test]
fn whoever_shows_something_of_his_own_shares_with_nobody() {
    let mut rig = rig(&["a"]);
    rig.start(JobSpec { terms: personal(), ..job(&["a"]) });
    rig.run_for(HOUR);
    let shared = rig.log.iter().filter(|(_, effect)| matches!(effect, Effect::Open { shareable: true, .. })).count();
    assert_eq!((rig.count("open"), shared), (1, 0));
}

#[test]
fn a_certificate_makes_what_is_fetched_private_and_goes_with_its_owner() {
    let mut terms = Terms::default();
    assert!(!terms.is_personal());
    terms.ties.certificate = Some("work".to_owned());
    assert!(terms.is_personal());
    assert_eq!(terms.without_secrets().ties.certificate, None);
}

#[test]
fn a_name_and_a_pause_disturb_no_transfer() {
    let mut rig = rig(&["a"]);
    rig.origin("a").rate = 256 << 10;
    let id = rig.start(job(&["a"]));
    rig.run_for(Duration::from_secs(2));
    let aborts = rig.count("abort");
    let terms = Terms { retry_delay: Some(Duration::from_secs(30)), ..Terms::default() };
    amend(&mut rig, id, Amendment { name: Some("b".into()), terms: Some(terms), ..Amendment::default() });
    assert_eq!((rig.state(id), rig.count("abort")), (JobState::Transferring, aborts));
    assert_eq!(rig.rows[&id].spec().name, "b", "written down before anybody hears of it");
}

#[test]
fn files_are_added_at_any_time_also_when_all_others_are_whole() {
    let mut rig = rig(&["a", "b", "c"]);
    let id = rig.start(JobSpec { finish: Finish::Manual, ..job(&["a"]) });
    let more = |name: &str| Amendment { files: job(&[name]).files, ..Amendment::default() };
    rig.run_for(Duration::from_millis(400));
    amend(&mut rig, id, more("b"));
    rig.run_to_state(id, JobState::Transferred);
    assert_eq!(rig.engine.job(id).unwrap().files().len(), 2);
    amend(&mut rig, id, more("c"));
    rig.run_to_state(id, JobState::Transferred);
    rig.act(|engine, now| engine.complete(now, id)).unwrap();
    rig.run_for(HOUR);
    assert_eq!([0, 1, 2].map(|file| rig.delivered(id, file)), [Some(1); 3]);
    let refused = rig.act(|engine, now| engine.amend(now, id, more("a")));
    assert!(matches!(refused, Err(CommandError::WrongState(_))), "{refused:?}");
}

#[test]
fn every_change_survives_a_crash() {
    let mut rig = rig(&["a", "b"]);
    let id = rig.create(job(&["a"]));
    let (owner, peers) = (Some(Owner(1001)), Some(PeerUse::NONE));
    let files = job(&["b"]).files;
    amend(&mut rig, id, Amendment { terms: Some(personal()), owner, peers, files, ..Amendment::default() });
    rig.crash();
    let job = rig.engine.job(id).unwrap();
    assert_eq!((job.owner(), job.spec().peers, job.files().len()), (Owner(1001), PeerUse::NONE, 2));
    assert_eq!(job.spec().terms, personal());
}

#[test]
fn a_files_credentials_stay_with_the_origin_and_with_the_owner_that_they_are_of() {
    let mut rig = rig(&["a"]);
    let secret = Credentials { user: "Aladdin".into(), password: "open sesame".into() };
    let known = || {
        let mut job = job(&["a"]);
        job.files[0].credentials = Some(secret.clone());
        job
    };
    let kept = |rig: &Rig, id: JobId| rig.rows[&id].spec().files[0].credentials.clone();
    let id = rig.create(known());
    amend(&mut rig, id, Amendment { urls: to("b"), ..Amendment::default() });
    assert_eq!(kept(&rig, id), Some(secret.clone()), "another file of the same origin");
    let elsewhere = vec![(0, ResourceUrl::parse("https://other.example/b").unwrap())];
    amend(&mut rig, id, Amendment { urls: elsewhere, ..Amendment::default() });
    assert_eq!(kept(&rig, id), None);
    let id = rig.create(known());
    let own = rig.engine.job(id).map(|job| job.owner());
    amend(&mut rig, id, Amendment { owner: own, ..Amendment::default() });
    assert_eq!(kept(&rig, id), Some(secret.clone()));
    amend(&mut rig, id, Amendment { owner: Some(Owner(1001)), ..Amendment::default() });
    assert_eq!(kept(&rig, id), None);
}

#[test]
fn a_file_that_is_not_there_cannot_be_changed() {
    let mut rig = rig(&["a"]);
    let id = rig.create(job(&["a"]));
    let urls = vec![(7, ResourceUrl::parse("https://h/x").unwrap())];
    let refused = rig.act(|engine, now| engine.amend(now, id, Amendment { urls, ..Amendment::default() }));
    assert_eq!(refused, Err(CommandError::NoSuchFile));
}

#[test]
fn a_jobs_own_pause_and_patience_are_kept() {
    let mut rig = rig(&["a"]);
    rig.origin("a").failing = Some((u32::MAX, unavailable(None)));
    let terms = Terms {
        retry_delay: Some(Duration::from_secs(1)),
        give_up_after: Some(Duration::from_secs(40)),
        ..Terms::default()
    };
    let id = rig.start(JobSpec { terms, ..crate::rig::background(&["a"]) });
    rig.run_to_state(id, JobState::TransientError);
    let pause = rig.engine.job(id).unwrap().retry_at().unwrap() - rig.now;
    assert!(pause >= Duration::from_millis(2500), "no shorter than the half of 5 s (F-25): {pause:?}");
    let start = rig.now;
    rig.run_to_state(id, JobState::Error);
    assert!(rig.now - start >= Duration::from_secs(25) && rig.now - start < Duration::from_secs(1300));
}
