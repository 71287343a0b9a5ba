//! What comes as one stream, what is damaged, and what a restart finds.

use super::{HOUR, MIB, coded, rig};
use crate::rig::world::{Manner, Neighbour, Origin};
use crate::rig::{background, job, url};
use eddy_content::http::RangeSupport;
use eddy_engine::JobState;
use std::time::Duration;

#[test]
fn content_without_a_version_is_streamed_and_restarted_whole() {
    let mut rig = rig(Origin { has_validator: false, names_length: false, ..Origin::new(64 * MIB) });
    rig.origin("a").breaks_after = Some(40 * MIB);
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.origins[&url("a")].sent > 30 * MIB);
    rig.run_for(Duration::from_secs(1));
    rig.origin("a").breaks_after = None;
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert_eq!(rig.count("open"), 0);
}

#[test]
fn a_file_that_does_not_fit_into_the_cache_is_streamed_past_it() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.store.refusing = Some((u32::MAX, eddy_engine::Failure { ..coded("cache-too-small") }));
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert_eq!((rig.count("open"), rig.count("stream")), (1, 1));
}

#[test]
fn without_ranges_the_whole_is_read_as_one_stream() {
    let mut rig = rig(Origin { ranges: RangeSupport::No, ..Origin::new(64 * MIB) });
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.origin("a").requests.len(), 1);
}

#[test]
fn damaged_blocks_are_fetched_again_but_not_for_ever() {
    let mut rig = rig(Origin::new(8 * MIB));
    rig.store.damaged_stagings = 1;
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.origin("a").asked, vec![0..1]);

    let mut rig = self::rig(Origin::new(8 * MIB));
    rig.store.damaged_stagings = u32::MAX;
    let id = rig.start(background(&["a"]));
    rig.run_to_state(id, JobState::TransientError);
    assert_eq!(rig.count("stage"), 4);
}

#[test]
fn restart_from_records_at_any_moment_loses_no_job() {
    for steps in 0..80 {
        let mut rig = rig(Origin::new(16 * MIB));
        rig.connect(1, Neighbour::new(Manner::Serves, 64..128));
        let id = rig.start(job(&["a"]));
        let until = rig.now + HOUR;
        for _ in 0..steps {
            rig.step(until);
        }
        rig.crash();
        rig.run_for(HOUR);
        assert_eq!(rig.delivered(id, 0), Some(1), "after {steps} steps");
        assert!(rig.rows.is_empty());
    }
}
