//! Jobs that a condition of the machine stops: a full disk, a missing destination, no descriptors.

use super::{HOUR, MIB, coded, excess, rig};
use crate::rig::world::{Origin, destination, disk};
use crate::rig::{Rig, background, job};
use eddy_engine::{Effect, Finish, JobSpec, JobState};
use std::time::Duration;

#[test]
fn a_full_disk_lets_the_job_wait() {
    let mut rig = rig(Origin::new(16 * MIB));
    rig.store.failing_commits = 3;
    let id = rig.start(background(&["a"]));
    rig.run_to_state(id, JobState::TransientError);
    rig.run_to_state(id, JobState::Acknowledged);
}

#[test]
fn whoever_watches_sees_the_job_go_on_within_seconds_of_the_end_of_a_condition() {
    for (at, is_store) in [(150, true), (900, true), (0, false), (900, false)] {
        let mut rig = rig(Origin { rate: MIB, ..Origin::new(128 * MIB) });
        let id = rig.start(background(&["a"]));
        rig.run_for(Duration::from_millis(at));
        let (place, code) =
            if is_store { (&mut rig.store.standing, "disk-full") } else { (&mut rig.disk.standing, "read-only") };
        *place = Some(if is_store { disk() } else { destination(code) });
        rig.run_to_state(id, JobState::TransientError);
        let reason = rig.engine.job(id).unwrap().failure().unwrap();
        assert_eq!(reason.code, code);
        // Five minutes: nothing is asked of the origin meanwhile.
        let (requests, looks) = (rig.origin("a").requests.len(), rig.count("probe"));
        rig.run_for(Duration::from_secs(280));
        assert_eq!((rig.state(id), rig.origin("a").requests.len()), (JobState::TransientError, requests));
        let looks = rig.count("probe") - looks;
        assert!((50..150).contains(&looks), "{looks} looks");
        (rig.store.standing, rig.disk.standing) = (None, None);
        let ended = rig.now;
        rig.run_until(|rig| rig.state(id) != JobState::TransientError);
        assert!(rig.now - ended <= Duration::from_secs(5), "{:?}", rig.now - ended);
        rig.run_for(HOUR);
        assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
        let twice = excess(&mut rig);
        assert!(twice <= 24 * MIB, "only what was on its way is fetched again: {twice} at {at}");
    }
}

#[test]
fn a_cache_whose_disk_stays_in_the_way_is_passed_by() {
    // Met in the middle of the transfer, by somebody who watches.
    let mut rig = rig(Origin::new(256 * MIB));
    let id = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(900));
    rig.store.standing = Some(disk());
    rig.run_to_state(id, JobState::TransientError);
    let stopped = rig.now;
    rig.run_to_state(id, JobState::Acknowledged);
    assert_eq!((rig.delivered(id, 0), rig.count("stream")), (Some(1), 1));
    assert!(rig.now - stopped < Duration::from_secs(60));

    // Met by the very first opening: nobody waits.
    let mut rig = self::rig(Origin::new(64 * MIB));
    rig.store.standing = Some(disk());
    let id = rig.start(background(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0), rig.count("probe")), (JobState::Acknowledged, Some(1), 0));

    // Looks find nothing, but every turn ends the same.
    let mut rig = self::rig(Origin::new(64 * MIB));
    rig.store.failing_commits = u32::MAX;
    let id = rig.start(background(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0), rig.count("stream")), (JobState::Acknowledged, Some(1), 1));
}

#[test]
fn what_is_only_held_ends_with_the_disk_and_waits_for_descriptors() {
    let held = || {
        let mut spec = job(&["a"]);
        spec.files[0].destination = String::new();
        spec
    };
    // Met by the opening, and in the middle: who reads goes on without the store, and nothing else waits for it.
    for at in [0, 900] {
        let mut rig = rig(Origin { rate: MIB, ..Origin::new(64 * MIB) });
        let id = rig.start(held());
        rig.run_for(Duration::from_millis(at));
        rig.store.standing = Some(disk());
        rig.run_to_state(id, JobState::Error);
        assert_eq!(rig.engine.job(id).unwrap().failure().unwrap().code, "disk-full", "{at}");
    }
    let mut rig = rig(Origin { rate: MIB, ..Origin::new(64 * MIB) });
    let id = rig.start(held());
    rig.run_for(Duration::from_millis(900));
    rig.store.standing = Some(coded("too-many-open-files"));
    rig.run_to_state(id, JobState::TransientError);
    rig.store.standing = None;
    rig.run_to_state(id, JobState::Transferring);
}

#[test]
fn without_descriptors_the_cache_is_not_passed_by() {
    let mut rig = rig(Origin::new(16 * MIB));
    rig.store.standing = Some(coded("too-many-open-files"));
    let id = rig.start(job(&["a"]));
    rig.run_to_state(id, JobState::TransientError);
    rig.store.standing = None;
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.count("stream")), (JobState::Acknowledged, 0));
}

#[test]
fn a_delivery_that_a_condition_stopped_is_finished_when_it_ends() {
    for finish in [Finish::Auto, Finish::Manual] {
        let mut rig = rig(Origin::new(MIB));
        let id = rig.start(JobSpec { finish, ..background(&["a"]) });
        if finish == Finish::Manual {
            rig.run_to_state(id, JobState::Transferred);
            rig.act(|engine, now| engine.complete(now, id).unwrap());
        } else {
            rig.run_until(|rig| rig.count("publish") == 1);
        }
        rig.disk.standing = Some(destination("destination-not-writable"));
        rig.run_to_state(id, JobState::TransientError);
        // Also when the node is killed while it waits.
        rig.run_for(Duration::from_secs(20));
        rig.crash();
        rig.run_for(Duration::from_secs(20));
        assert_eq!(rig.state(id), JobState::TransientError);
        let contacts = rig.count("contact");
        rig.disk.standing = None;
        rig.run_for(Duration::from_secs(10));
        assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
        assert_eq!(rig.count("contact"), contacts, "it is whole: the origin is not asked");
    }
}

#[test]
fn a_staged_file_that_is_lost_while_its_delivery_waits_is_made_anew() {
    let mut rig = rig(Origin::new(MIB));
    let id = rig.start(JobSpec { finish: Finish::Manual, ..background(&["a"]) });
    rig.run_to_state(id, JobState::Transferred);
    rig.disk.standing = Some(destination("destination-not-writable"));
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_to_state(id, JobState::TransientError);
    rig.disk.parts.clear();
    let sent = rig.origin("a").sent;
    rig.disk.standing = None;
    rig.run_to_state(id, JobState::Transferred);
    assert_eq!(rig.origin("a").sent, sent, "it is made of what is held");
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_for(Duration::from_secs(10));
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
}

#[test]
fn a_delivery_that_fails_after_it_has_waited_is_an_error_and_no_pause() {
    let mut rig = rig(Origin::new(MIB));
    let id = rig.start(background(&["a"]));
    rig.run_until(|rig| rig.count("publish") == 1);
    rig.disk.standing = Some(destination("destination-not-writable"));
    rig.run_to_state(id, JobState::TransientError);
    rig.disk.failing_publishings = 1;
    rig.disk.standing = None;
    rig.run_to_state(id, JobState::Error);
    let code = rig.engine.job(id).unwrap().failure().map(|failure| failure.code.clone());
    assert_eq!(code.as_deref(), Some("destination-exists"));
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_for(Duration::from_secs(10));
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
}

#[test]
fn many_jobs_that_wait_are_looked_at_a_few_at_a_time() {
    let mut rig = Rig::new(5);
    rig.set_origin("a", Origin::new(MIB));
    rig.disk.standing = Some(destination("disk-full"));
    for _ in 0..100 {
        rig.start(background(&["a"]));
    }
    rig.run_for(Duration::from_secs(200));
    let mut seconds = std::collections::BTreeMap::<u64, usize>::new();
    for (at, effect) in &rig.log {
        if matches!(effect, Effect::Probe { .. }) {
            *seconds.entry(at.as_millis() as u64).or_default() += 1;
        }
    }
    assert!(seconds.values().all(|count| *count <= 16), "{seconds:?}");
    rig.disk.standing = None;
    rig.run_for(Duration::from_secs(60));
    assert!(rig.engine.jobs().all(|job| job.state() == JobState::Acknowledged), "{}", rig.picture());
}

#[test]
fn a_condition_that_never_ends_is_given_up_after_two_weeks() {
    let mut rig = rig(Origin::new(MIB));
    rig.disk.standing = Some(destination("disk-full"));
    let id = rig.start(job(&["a"]));
    rig.run_for(Duration::from_secs(13 * 24 * 3600));
    assert_eq!(rig.state(id), JobState::TransientError);
    rig.run_for(Duration::from_secs(2 * 24 * 3600));
    assert_eq!(rig.state(id), JobState::Error);
}
