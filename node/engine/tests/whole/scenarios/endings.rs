//! How a job ends: cancelled, suspended, completed early or by its owner.

use super::{HOUR, MIB, rig};
use crate::rig::world::{Manner, Neighbour, Origin};
use crate::rig::{Rig, job};
use eddy_engine::{Finish, JobSpec, JobState};

#[test]
fn cancel_leaves_no_fetch_running_and_nothing_behind() {
    for steps in 0..60 {
        let mut rig = rig(Origin::new(16 * MIB));
        rig.is_jittery = true;
        rig.connect(1, Neighbour::new(Manner::Serves, 0..128));
        let id = rig.start(job(&["a"]));
        let until = rig.now + HOUR;
        for _ in 0..steps {
            rig.step(until);
        }
        if rig.state(id).is_final() {
            break;
        }
        rig.act(|engine, now| engine.cancel(now, id).unwrap());
        assert!(rig.live.values().all(|live| live.is_aborted));
        rig.run_for(HOUR);
        assert_eq!(rig.state(id), JobState::Cancelled);
        assert!(rig.disk.parts.is_empty() && rig.rows.is_empty(), "after {steps} steps");
    }
}

#[test]
fn suspend_then_resume_refetches_nothing_held() {
    for steps in 0..60 {
        let mut rig = rig(Origin::new(16 * MIB));
        let id = rig.start(job(&["a"]));
        let until = rig.now + HOUR;
        for _ in 0..steps {
            rig.step(until);
        }
        if rig.state(id).is_final() {
            break;
        }
        let _ = rig.act(|engine, now| engine.suspend(now, id));
        let held = |rig: &Rig| rig.store.entities.values().map(|stored| u64::from(stored.held.len())).sum::<u64>();
        // Resumed at once, before the world has answered what was given up.
        let (before, sent) = (held(&rig), rig.origin("a").sent);
        let _ = rig.act(|engine, now| engine.resume(now, id));
        rig.run_for(HOUR);
        assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)), "after {steps} steps");
        let fetched = rig.origin("a").sent - sent;
        assert!(
            fetched + before * eddy_content::BLOCK_SIZE <= 16 * MIB + 16 * MIB / 10,
            "after {steps} steps: {fetched}"
        );
    }
}

#[test]
fn complete_early_delivers_whole_files_only() {
    let mut rig = rig(Origin::new(MIB));
    rig.set_origin("big", Origin::new(512 * MIB));
    let id = rig.start(job(&["a", "big"]));
    rig.run_until(|rig| rig.engine.job(id).unwrap().files()[0].is_staged());
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    let before = rig.log.len();
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (Some(1), None));
    assert_eq!(rig.effects()[before..], ["erase"], "nothing is begun anew");
}

#[test]
fn a_crash_while_completing_early_delivers_what_was_promised() {
    let mut rig = rig(Origin::new(MIB));
    rig.set_origin("big", Origin::new(512 * MIB));
    let id = rig.start(job(&["a", "big"]));
    rig.run_until(|rig| rig.engine.job(id).unwrap().files()[0].is_staged());
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.crash();
    rig.run_for(HOUR);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (Some(1), None));
    assert!(rig.rows.is_empty());
}

#[test]
fn a_delivery_that_failed_is_finished_when_the_destination_is_mended() {
    let mut rig = rig(Origin::new(MIB));
    rig.set_origin("b", Origin::new(MIB));
    rig.disk.failing_publishings = 1;
    let id = rig.start(job(&["a", "b"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Transferred);
    assert!(rig.engine.job(id).unwrap().failure().is_some());
    assert!(!rig.engine.is_busy());
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (Some(1), Some(1)));
    assert_eq!(rig.count("publish"), 3);
}

#[test]
fn a_staged_file_that_is_gone_is_made_anew_from_the_cache_and_not_for_ever() {
    for losses in 1..=3 {
        let mut rig = rig(Origin::new(MIB));
        rig.set_origin("b", Origin::new(MIB));
        let id = rig.start(job(&["a", "b"]));
        for lost in 1..=losses {
            rig.run_until(|rig| rig.count("publish") > lost);
            rig.disk.parts.retain(|file, _| file.file != 0);
            rig.run_for(std::time::Duration::from_millis(10));
        }
        let sent = rig.origin("a").sent;
        rig.run_for(HOUR);
        assert_eq!(rig.origin("a").sent, sent, "what is held is not fetched again");
        let is_lasting = losses > 2;
        let expected = if is_lasting { JobState::Transferred } else { JobState::Acknowledged };
        assert_eq!((rig.state(id), rig.delivered(id, 1)), (expected, Some(1)), "{losses} losses");
        assert_eq!(rig.delivered(id, 0), (!is_lasting).then_some(1));
        assert_eq!(rig.engine.job(id).unwrap().failure().is_some(), is_lasting);
    }
}

#[test]
fn a_staged_file_that_a_crash_has_lost_is_made_anew() {
    let mut rig = rig(Origin::new(MIB));
    rig.set_origin("b", Origin::new(MIB));
    let id = rig.start(job(&["a", "b"]));
    rig.run_until(|rig| rig.count("publish") > 1);
    rig.disk.parts.clear();
    rig.crash();
    rig.run_for(HOUR);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (Some(1), Some(1)));
    assert!(rig.rows.is_empty());
}

#[test]
fn a_job_suspended_while_it_completes_goes_on_where_it_was() {
    let mut rig = rig(Origin::new(MIB));
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.count("publish") == 1);
    rig.act(|engine, now| engine.suspend(now, id).unwrap());
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Suspended);
    rig.act(|engine, now| engine.resume(now, id).unwrap());
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.count("contact"), 1);
}

#[test]
fn a_manual_job_waits_for_its_owner() {
    let mut rig = rig(Origin::new(MIB));
    let id = rig.start(JobSpec { finish: Finish::Manual, ..job(&["a"]) });
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Transferred, None));
    rig.act(|engine, now| engine.complete(now, id).unwrap());
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
}
