//! Ranges of a file (F-56): what they touch is fetched and nothing else, and what is delivered is theirs alone.

use super::{HOUR, MIB, coded, rig};
use crate::rig::world::{Manner, Neighbour, Origin};
use crate::rig::{Rig, job, ranged, url};
use eddy_content::http::RangeSupport;
use eddy_content::{BLOCK_SIZE, BlockSet};
use eddy_engine::{Effect, JobId, JobState};
use std::time::Duration;

/// Ranges of a file of 9 MiB and 5 bytes: they touch blocks 80, 0 and 1, and the last two.
const RANGES: [(u64, Option<u64>); 3] = [(5 * MIB + 10, Some(100)), (0, Some(BLOCK_SIZE + 1)), (9 * MIB - 1, None)];
const LENGTH: u64 = 100 + BLOCK_SIZE + 1 + 6;

fn origin() -> Origin {
    Origin::new(9 * MIB + 5)
}

/// The blocks that were asked of the origin or taken from its first answer.
fn asked(rig: &Rig) -> BlockSet {
    let blocks = rig.log.iter().filter_map(|(_, effect)| match effect {
        Effect::FetchOrigin { blocks, .. } | Effect::Pump { blocks, .. } => Some(blocks.clone()),
        _ => None,
    });
    blocks.collect()
}

fn touched() -> BlockSet {
    [80..81, 0..2, 143..145].into_iter().collect()
}

/// Bytes in the blocks that the ranges touch: the last block has five.
const TOUCHED: u64 = 4 * BLOCK_SIZE + 5;

fn assert_delivered(rig: &Rig, id: JobId) {
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)), "{}", rig.picture());
    let job = rig.engine.job(id).expect("known");
    assert_eq!((job.length(), job.done(), job.bytes().total()), (Some(LENGTH), LENGTH, LENGTH));
}

#[test]
fn only_the_blocks_that_ranges_touch_are_fetched() {
    let mut rig = rig(origin());
    let id = rig.start(ranged(&["a"], &RANGES));
    rig.run_for(HOUR);
    assert_delivered(&rig, id);
    assert_eq!(asked(&rig), touched());
    assert_eq!(rig.origin("a").sent, TOUCHED);
    let stored: Vec<_> = rig.store.entities.values().map(|stored| stored.held.clone()).collect();
    assert_eq!(stored, [touched()], "and held");
}

#[test]
fn peers_give_what_ranges_touch() {
    let mut rig = rig(origin());
    let mut neighbour = Neighbour::new(Manner::Serves, 0..2);
    neighbour.holds = touched();
    rig.connect(1, neighbour);
    let id = rig.start(ranged(&["a"], &RANGES));
    rig.run_for(HOUR);
    assert_delivered(&rig, id);
    assert_eq!(rig.origin("a").sent, 0);
    assert_eq!(rig.peers.values().map(|peer| peer.sent).sum::<u64>(), TOUCHED);
    assert_eq!(rig.engine.job(id).expect("known").bytes().peers, LENGTH);
}

#[test]
fn progress_counts_the_bytes_of_ranges_and_no_others() {
    let mut rig = rig(Origin { rate: 20_000, ..origin() });
    let id = rig.start(ranged(&["a"], &RANGES));
    let mut seen = Vec::new();
    rig.run_until(|rig| {
        let job = rig.engine.job(id).expect("known");
        assert!(job.bytes().total() <= LENGTH, "{:?}", job.bytes());
        if seen.last() != Some(&job.done()) {
            seen.push(job.done());
        }
        job.state().is_final()
    });
    assert!(seen.is_sorted(), "{seen:?}");
    assert!(seen.contains(&100) || seen.contains(&BLOCK_SIZE), "a block counts what is wanted of it: {seen:?}");
}

#[test]
fn a_range_outside_of_the_file_is_an_error_that_says_so() {
    for (ranges, without_version) in
        [([(9 * MIB, Some(6))], false), ([(9 * MIB + 5, None)], false), ([(9 * MIB, Some(6))], true)]
    {
        let mut rig = rig(Origin { has_validator: !without_version, ..origin() });
        let id = rig.start(ranged(&["a"], &ranges));
        rig.run_for(HOUR);
        assert_eq!(rig.state(id), JobState::Error);
        let failure = rig.engine.job(id).and_then(|job| job.failure()).expect("it says why");
        assert_eq!(failure.code, "range-outside");
        assert_eq!(rig.origin("a").sent, 0);
    }
}

#[test]
fn what_is_held_is_not_fetched_again_after_a_restart_at_any_moment() {
    for steps in 0..60 {
        let mut rig = rig(Origin { rate: 30_000, ..origin() });
        let id = rig.start(ranged(&["a"], &RANGES));
        let until = rig.now + HOUR;
        for _ in 0..steps {
            rig.step(until);
        }
        let held: u32 = rig.store.entities.values().map(|stored| stored.held.len()).sum();
        let before = rig.origin("a").sent;
        rig.crash();
        rig.run_for(HOUR);
        assert_eq!(rig.delivered(id, 0), Some(1), "after {steps} steps");
        let more = rig.origin("a").sent - before;
        let most = TOUCHED - u64::from(held.saturating_sub(1)) * BLOCK_SIZE;
        assert!(more <= most, "after {steps} steps: {more} bytes though {held} blocks were held");
        assert_eq!(asked(&rig).difference(&touched()), BlockSet::new());
    }
}

#[test]
fn another_version_is_never_spliced_with_the_first() {
    let mut rig = rig(Origin { rate: 20_000, ..origin() });
    // More than are asked for at a time.
    let ranges: Vec<_> = (0..9).map(|number| (number * MIB + 5, Some(10))).collect();
    let id = rig.start(ranged(&["a"], &ranges));
    rig.run_until(|rig| rig.store.entities.values().any(|stored| !stored.held.is_empty()));
    rig.origin("a").change();
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(2)));
}

#[test]
fn a_server_without_ranges_is_read_once_and_no_further_than_needed() {
    let mut rig = rig(Origin { ranges: RangeSupport::No, ..origin() });
    let id = rig.start(ranged(&["a"], &RANGES[..2]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
    assert_eq!(rig.origin("a").requests.len(), 1);
    assert_eq!(rig.origin("a").sent, 81 * BLOCK_SIZE);
}

#[test]
fn what_cannot_be_held_is_read_past_the_cache_in_one_body() {
    // Without a version; without room for it.
    for has_validator in [false, true] {
        let mut rig = rig(Origin { has_validator, ..origin() });
        if has_validator {
            rig.store.refusing = Some((u32::MAX, coded("cache-too-small")));
        }
        let id = rig.start(ranged(&["a"], &RANGES));
        rig.run_for(HOUR);
        assert_delivered(&rig, id);
        assert_eq!((rig.count("stream"), rig.count("stage")), (1, 0));
    }
}

#[test]
fn without_a_length_a_range_to_the_end_has_to_be_the_last() {
    let ranges = RangeSupport::No;
    let unknown = Origin { has_validator: false, names_length: false, ranges, ..origin() };
    let mut rig = self::rig(unknown.clone());
    let id = rig.start(ranged(&["a"], &RANGES));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    let mut rig = self::rig(unknown);
    let id = rig.start(ranged(&["a"], &[RANGES[2], RANGES[0]]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Error);
}

#[test]
fn a_job_of_the_whole_and_one_of_ranges_share_what_is_fetched() {
    let mut rig = rig(Origin { rate: 100_000, ..origin() });
    let whole = rig.start(job(&["a"]));
    rig.run_until(|rig| !rig.live.is_empty() && rig.origins[&url("a")].sent > 0);
    let part = rig.start(ranged(&["a"], &RANGES));
    rig.run_for(HOUR);
    assert_delivered(&rig, part);
    assert_eq!(rig.state(whole), JobState::Acknowledged);
    assert_eq!(rig.origin("a").sent, 9 * MIB + 5, "one copy");
}

#[test]
fn a_held_block_that_is_damaged_is_fetched_again_alone() {
    let mut rig = rig(origin());
    rig.store.damaged_stagings = 1;
    let id = rig.start(ranged(&["a"], &RANGES));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.origin("a").sent, TOUCHED + BLOCK_SIZE);
}

#[test]
fn a_failing_peer_leaves_ranges_to_the_origin() {
    for manner in Manner::ALL {
        let mut rig = rig(origin());
        rig.connect(1, Neighbour::new(manner, 0..145));
        let id = rig.start(ranged(&["a"], &RANGES));
        let begun = rig.now;
        rig.run_to_state(id, JobState::Acknowledged);
        assert!(rig.now - begun < Duration::from_secs(20), "{manner:?} took {:?}", rig.now - begun);
        assert_eq!(asked(&rig).difference(&touched()), BlockSet::new(), "{manner:?}");
    }
}
