//! Jobs that meet: two for one file, and one that is more urgent.

use super::{HOUR, MIB, excess, rig};
use crate::rig::world::Origin;
use crate::rig::{Origins, Rig, background, job};
use eddy_content::BlockSet;
use eddy_engine::engine::Amendment;
use eddy_engine::{JobId, JobSpec, JobState, Terms};
use std::time::Duration;

#[test]
fn two_jobs_for_one_file_cost_the_origin_one_copy() {
    let mut rig = rig(Origin::new(64 * MIB));
    let first = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    let second = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(first), rig.state(second)), (JobState::Acknowledged, JobState::Acknowledged));
    assert_eq!((rig.delivered(first, 0), rig.delivered(second, 0)), (Some(1), Some(1)));
    assert_eq!(excess(&mut rig), 0);
}

#[test]
fn two_jobs_share_and_the_second_goes_on_when_the_first_is_cancelled() {
    let mut rig = rig(Origin::new(64 * MIB));
    let first = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    let second = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    rig.act(|engine, now| engine.cancel(now, first).unwrap());
    rig.run_for(HOUR);
    assert_eq!((rig.state(second), rig.delivered(second, 0)), (JobState::Acknowledged, Some(1)));
}

fn limited() -> Terms {
    Terms { limit: Some(64 << 10), ..Terms::default() }
}

/// What the origin is bringing for a job.
fn coming(rig: &Rig, job: JobId) -> BlockSet {
    let mut coming = BlockSet::new();
    for live in rig.live.values().filter(|live| live.file.job == job && !live.is_aborted) {
        if live.source == Origins::Origin {
            coming.insert(live.blocks.clone());
        }
    }
    coming
}

#[test]
fn f110_nobody_waits_for_what_a_job_with_a_limit_reads_from_the_origin() {
    let mut rig = rig(Origin { rate: 8 << 10, ..Origin::new(4 * MIB) });
    let slow = rig.start(JobSpec { terms: limited(), ..job(&["a"]) });
    rig.run_for(Duration::from_millis(300));
    let other = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    let (of_slow, of_other) = (coming(&rig, slow), coming(&rig, other));
    assert!(!of_slow.intersection(&of_other).is_empty(), "{of_slow:?} {of_other:?}");
    rig.run_for(HOUR);
    assert_eq!((rig.delivered(slow, 0), rig.delivered(other, 0)), (Some(1), Some(1)));
}

#[test]
fn f110_a_limit_in_mid_transfer_frees_those_who_waited_for_the_job() {
    let mut rig = rig(Origin { rate: 8 << 10, ..Origin::new(4 * MIB) });
    let first = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    let other = rig.start(job(&["a"]));
    rig.run_for(Duration::from_millis(300));
    assert!(!coming(&rig, first).is_empty() && coming(&rig, other).is_empty(), "the first brings all of it");
    let amendment = Amendment { terms: Some(limited()), ..Amendment::default() };
    rig.act(|engine, now| engine.amend(now, first, amendment)).unwrap();
    assert!(!coming(&rig, other).is_empty(), "the other reads for itself");
    rig.run_for(HOUR);
    assert_eq!((rig.delivered(first, 0), rig.delivered(other, 0)), (Some(1), Some(1)));
}

#[test]
fn a_more_urgent_job_interrupts_and_the_other_loses_nothing() {
    let mut rig = Rig::new(3);
    for n in 0..4 {
        rig.set_origin(&format!("f{n}"), Origin::new(256 * MIB));
    }
    let low: Vec<_> = (0..3).map(|n| rig.start(background(&[&format!("f{n}")]))).collect();
    rig.run_for(Duration::from_millis(800));
    let high = rig.start(JobSpec { priority: eddy_engine::Priority::High, ..background(&["f3"]) });
    assert_eq!(rig.state(high), JobState::Connecting);
    assert_eq!(low.iter().filter(|id| rig.state(**id) == JobState::Queued).count(), 1);
    rig.run_for(HOUR);
    for (n, id) in low.into_iter().chain([high]).enumerate() {
        assert_eq!(rig.delivered(id, 0), Some(1));
        let sent = rig.origin(&format!("f{n}")).sent;
        assert!(sent <= 258 * MIB + 8 * MIB, "f{n}: {sent}");
    }
}
