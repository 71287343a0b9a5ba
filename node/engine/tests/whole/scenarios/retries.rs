//! What happens when it fails: who waits, who gives up, and who is not held up by it.

use super::{HOUR, MIB, rig};
use crate::rig::world::{Origin, unavailable, unreachable};
use crate::rig::{Rig, background, job, url};
use eddy_engine::{JobSpec, JobState, Patience, Terms};
use std::time::Duration;

#[test]
fn a_watched_job_with_an_unreachable_host_fails_at_once() {
    let mut rig = rig(Origin::new(MIB));
    rig.origin("a").failing = Some((u32::MAX, unreachable()));
    let begun = rig.now;
    let id = rig.start(job(&["a"]));
    rig.run_to_state(id, JobState::Error);
    assert!(rig.now - begun < Duration::from_millis(500));
    assert_eq!(rig.engine.job(id).unwrap().failure().unwrap().code, "host-unreachable");
}

#[test]
fn a_background_job_waits_and_retries() {
    let mut rig = rig(Origin::new(MIB));
    rig.origin("a").failing = Some((5, unreachable()));
    let id = rig.start(background(&["a"]));
    rig.run_to_state(id, JobState::TransientError);
    let failed = rig.now;
    rig.run_to_state(id, JobState::Acknowledged);
    assert!(rig.now - failed >= Duration::from_secs(30));
    assert_eq!(rig.engine.job(id).unwrap().failure(), None);
}

/// The times of the questions of a job whose origin fails, beside one that nobody wants, while the clock on the wall is set.
fn asked_while_the_clock_is_set(errors: &[i64]) -> Vec<Duration> {
    let mut rig = rig(Origin::new(MIB));
    rig.origin("a").failing = Some((6, unavailable(Some(Duration::from_secs(100)))));
    let unwanted = rig.create(background(&["a"]));
    let id = rig.start(background(&["a"]));
    for error in errors.iter().cycle().take(12) {
        rig.clock_error = *error;
        rig.run_for(Duration::from_secs(70));
    }
    rig.run_to_state(id, JobState::Acknowledged);
    assert_eq!(rig.state(unwanted), JobState::Suspended, "90 days are not over");
    rig.origin("a").requests.clone()
}

#[test]
fn f28_a_clock_that_is_set_by_years_moves_no_attempt_and_ends_no_job() {
    const YEARS: i64 = 10 * 365 * 86_400;
    let undisturbed = asked_while_the_clock_is_set(&[0]);
    assert!(undisturbed.len() >= 7, "{undisturbed:?}");
    assert_eq!(asked_while_the_clock_is_set(&[YEARS, -2 * YEARS, 0]), undisturbed);
}

#[test]
fn retry_after_is_obeyed() {
    for answers_head in [true, false] {
        for patience in [Patience::Watching, Patience::Background] {
            let mut rig = rig(Origin { answers_head, ..Origin::new(MIB) });
            rig.origin("a").failing = Some((1, unavailable(Some(Duration::from_secs(200)))));
            let id = rig.start(JobSpec { patience, ..job(&["a"]) });
            rig.run_to_state(id, JobState::Acknowledged);
            let requests = rig.origin("a").requests.clone();
            assert!(requests[1] - requests[0] >= Duration::from_secs(200), "{requests:?}");
        }
    }
}

#[test]
fn a_watched_job_gives_up_after_a_minute_without_progress() {
    let mut rig = rig(Origin::new(64 * MIB));
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.origins[&url("a")].sent > 8 * MIB);
    rig.origin("a").failing = Some((u32::MAX, unavailable(None)));
    let begun = rig.now;
    rig.run_to_state(id, JobState::Error);
    let waited = rig.now - begun;
    assert!(waited >= Duration::from_secs(60) && waited < Duration::from_secs(120), "{waited:?}");
}

#[test]
fn one_file_that_falters_does_not_stop_the_others() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.set_origin("b", Origin::new(MIB));
    rig.origin("b").failing = Some((1, unavailable(Some(Duration::from_secs(30)))));
    let id = rig.start(job(&["b", "a"]));
    rig.run_until(|rig| rig.engine.job(id).unwrap().files()[1].is_staged());
    assert!(rig.now < Duration::from_secs(29));
    rig.run_to_state(id, JobState::Acknowledged);
    assert_eq!((rig.delivered(id, 0), rig.delivered(id, 1)), (Some(1), Some(1)));
}

#[test]
fn more_failing_files_than_move_at_once_do_not_block_the_rest() {
    let mut rig = Rig::new(1);
    let names: Vec<String> = (0..20).map(|n| format!("f{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        rig.set_origin(name, Origin::new(MIB));
        if n < 12 {
            rig.origin(name).failing = Some((1, unavailable(Some(Duration::from_secs(600)))));
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = rig.start(background(&names));
    rig.run_to_state(id, JobState::TransientError);
    assert_eq!(rig.engine.job(id).unwrap().files().iter().filter(|file| file.is_staged()).count(), 8);
    rig.run_to_state(id, JobState::Acknowledged);
}

#[test]
fn whoever_watches_and_says_how_long_waits_for_an_origin_that_cannot_be_reached() {
    for (give_up_after, expected) in [(None, JobState::Error), (Some(HOUR), JobState::Acknowledged)] {
        let mut rig = rig(Origin::new(MIB));
        rig.origin("a").failing = Some((5, unreachable()));
        let watched = job(&["a"]);
        let terms = Terms { give_up_after, ..watched.terms.clone() };
        let id = rig.start(JobSpec { terms, ..watched });
        rig.run_for(HOUR);
        assert_eq!(rig.state(id), expected, "{give_up_after:?}");
    }
}
