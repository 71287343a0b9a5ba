//! What a job fetches: from the origin and from peers, once, and never of two versions.

use super::{HOUR, MIB, excess, rig};
use crate::rig::world::{Manner, Neighbour, Origin, unavailable};
use crate::rig::{Event, job, url};
use eddy_content::BlockSet;
use eddy_engine::{Effect, FileRef, Input, JobState};
use std::time::Duration;

#[test]
fn a_small_file_takes_one_request_and_no_more_effects_than_steps() {
    let mut rig = rig(Origin::new(3 * MIB));
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.delivered(id, 0), Some(1));
    assert_eq!(
        rig.effects(),
        vec![
            "persist", "persist", "prepare", "contact", "open", "pump", "stage", "release", "persist", "persist",
            "publish", "erase"
        ]
    );
    assert!(rig.rows.is_empty());
    assert_eq!(excess(&mut rig), 0);
}

#[test]
fn persist_comes_before_the_act_it_announces() {
    let mut rig = rig(Origin::new(MIB));
    rig.start(job(&["a"]));
    rig.run_for(HOUR);
    let records = rig.log.iter().filter_map(|(_, effect)| match effect {
        Effect::Persist(row) => Some((row.state, row.is_completing)),
        _ => None,
    });
    let records: Vec<_> = records.collect();
    assert_eq!(
        records,
        vec![
            (JobState::Suspended, false),
            (JobState::Queued, false),
            (JobState::Transferred, false),
            (JobState::Transferred, true)
        ]
    );
}

#[test]
fn an_empty_file_is_delivered() {
    let mut rig = rig(Origin::new(0));
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(1)));
}

#[test]
fn resumes_after_disconnect_without_refetching() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.origin("a").breaks_after = Some(5 * MIB);
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    let breaks = rig.origin("a").requests.len() as u64;
    assert!(excess(&mut rig) <= breaks * eddy_content::BLOCK_SIZE, "at most the torn block of each body is lost");
}

#[test]
fn a_body_that_always_breaks_inside_its_first_block_is_given_up() {
    for is_called_good in [false, true] {
        let mut rig = rig(Origin::new(64 * MIB));
        match is_called_good {
            false => rig.origin("a").breaks_after = Some(1000),
            true => rig.origin("a").cuts_after = Some(1000),
        }
        let id = rig.start(job(&["a"]));
        rig.run_for(HOUR);
        assert_eq!(rig.state(id), JobState::Error);
        assert!(rig.origin("a").requests.len() < 200, "the origin is spared: {}", rig.origin("a").requests.len());
    }
}

#[test]
fn a_stream_that_never_ends_whole_is_given_up() {
    let mut rig = rig(Origin { has_validator: false, breaks_after: Some(20 * MIB), ..Origin::new(64 * MIB) });
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Error);
    assert!(rig.origin("a").requests.len() < 20, "{}", rig.origin("a").requests.len());
}

#[test]
fn a_changed_version_restarts_and_never_mixes() {
    let mut rig = rig(Origin::new(256 * MIB));
    let id = rig.start(job(&["a"]));
    rig.later(Duration::from_millis(450), Event::Change(url("a")));
    rig.run_for(HOUR);
    assert_eq!((rig.state(id), rig.delivered(id, 0)), (JobState::Acknowledged, Some(2)));
    let first = rig.effects().iter().position(|name| *name == "outdated").unwrap();
    assert_eq!(rig.count("outdated"), 1);
    assert!(rig.effects()[first..].contains(&"open"));
}

#[test]
fn late_news_of_the_old_version_says_nothing_of_the_new() {
    let mut rig = rig(Origin::new(64 * MIB));
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.count("open") == 1 && !rig.open.is_empty());
    let file = FileRef { job: id, file: 0 };
    let old = rig.open[&file];
    rig.origin("a").change();
    rig.run_until(|rig| rig.count("open") == 2 && rig.open.get(&file).is_some_and(|id| *id != old));
    let blocks = BlockSet::from_run(0..1024);
    rig.input(Input::Committed { file, entity: old, blocks });
    assert_eq!(rig.count("stage"), 0);
    rig.run_for(HOUR);
    assert_eq!(rig.delivered(id, 0), Some(2));
}

#[test]
fn an_origin_that_changes_all_the_time_is_not_followed_for_ever() {
    let mut rig = rig(Origin::new(64 * MIB));
    let id = rig.start(job(&["a"]));
    for tenth in 1..2000 {
        rig.later(Duration::from_millis(tenth * 100), Event::Change(url("a")));
    }
    rig.run_for(Duration::from_secs(150));
    assert_eq!(rig.state(id), JobState::Error);
    assert_eq!(rig.engine.job(id).unwrap().failure().unwrap().code, "origin-changing");
}

#[test]
fn origin_is_not_asked_for_what_a_peer_holds() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..1024));
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.origin("a").sent, 0);
    assert_eq!(rig.origin("a").requests.len(), 1);
}

#[test]
fn what_peers_lack_comes_from_the_origin_once() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..512));
    rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.origin("a").sent, 32 * MIB);
}

/// How long a download takes beside these peers.
fn time_beside(manners: &[Manner]) -> Duration {
    let mut rig = rig(Origin::new(64 * MIB));
    for (number, manner) in manners.iter().enumerate() {
        rig.connect(number as u8 + 1, Neighbour::new(*manner, 0..1024));
    }
    let begun = rig.now;
    let id = rig.start(job(&["a"]));
    rig.run_to_state(id, JobState::Acknowledged);
    rig.now - begun
}

#[test]
fn a_peer_that_stalls_costs_less_than_a_second() {
    let alone = time_beside(&[]);
    for manner in Manner::ALL.into_iter().filter(|manner| !matches!(manner, Manner::Trickles | Manner::IsBusy)) {
        let beside = time_beside(&[manner]);
        assert!(beside <= alone + Duration::from_millis(1200), "{manner:?}: {beside:?} against {alone:?}");
    }
    for manner in [Manner::Trickles, Manner::IsBusy] {
        let beside = time_beside(&[manner]);
        assert!(beside <= alone + Duration::from_millis(3500), "{manner:?}: {beside:?} against {alone:?}");
    }
}

#[test]
fn peers_that_come_and_go_do_not_keep_the_origin_waiting() {
    let mut rig = rig(Origin::new(8 * MIB));
    let first = rig.connect(1, Neighbour::new(Manner::IsSilent, 0..128));
    let id = rig.start(job(&["a"]));
    for _ in 0..40 {
        rig.run_for(Duration::from_millis(50));
        rig.input(Input::PeerDown(first));
        rig.input(Input::PeerUp(first));
    }
    assert_eq!(rig.state(id), JobState::Acknowledged);
}

#[test]
fn peers_go_on_while_the_origin_is_away() {
    let mut rig = rig(Origin::new(64 * MIB));
    rig.connect(1, Neighbour { rate: MIB, ..Neighbour::new(Manner::Serves, 0..1008) });
    let id = rig.start(job(&["a"]));
    rig.run_until(|rig| rig.count("fetch peer") > 0);
    rig.origin("a").failing = Some((12, unavailable(None)));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert!(rig.origin("a").sent <= 2 * MIB);
}

#[test]
fn a_version_that_failed_its_digest_comes_again_from_the_origin_alone() {
    let mut rig = rig(Origin::new(8 * MIB));
    rig.connect(1, Neighbour::new(Manner::Serves, 0..128));
    rig.disk.failing_stagings = Some((1, eddy_engine::Failure::fatal("digest-mismatch", "sha-256")));
    let id = rig.start(job(&["a"]));
    rig.run_for(HOUR);
    assert_eq!(rig.state(id), JobState::Acknowledged);
    assert_eq!(rig.count("distrust"), 1);
    assert_eq!(rig.origin("a").sent, 8 * MIB);
    let after = rig.effects().iter().rposition(|name| *name == "fetch peer").unwrap();
    assert!(after < rig.effects().iter().position(|name| *name == "distrust").unwrap());
}
