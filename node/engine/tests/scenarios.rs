//! What one job goes through, as sentences.

mod rig;

use eddy_content::BlockSet;
use eddy_content::http::RangeSupport;
use eddy_content::http::freshness::{Decision, Stale};
use eddy_engine::file::HeldUse;
use eddy_engine::{Asking, Effect, FileRef, Finish, Input, JobSpec, JobState, Patience};
use rig::world::{Manner, Neighbour, Origin, destination, disk, unavailable, unreachable};
use rig::{Event, Rig, background, job, url};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn rig(origin: Origin) -> Rig {
    let mut rig = Rig::new(7);
    rig.set_origin("a", origin);
    rig
}

/// Bytes that the origin sent beyond one copy.
fn excess(rig: &mut Rig) -> u64 {
    let origin = rig.origin("a");
    origin.sent.saturating_sub(origin.length)
}

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
    let mut rig = rig(Origin::new(64 * MIB));
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

fn coded(code: &str) -> eddy_engine::Failure {
    eddy_engine::Failure { code: code.to_owned(), ..disk() }
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
        let mut rig = rig(Origin::new(64 * MIB));
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
    let mut rig = rig(Origin::new(64 * MIB));
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

#[test]
fn a_more_urgent_job_interrupts_and_the_other_loses_nothing() {
    let mut rig = Rig::new(3);
    for n in 0..4 {
        rig.set_origin(&format!("f{n}"), Origin::new(64 * MIB));
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
        assert!(sent <= 66 * MIB + 8 * MIB, "f{n}: {sent}");
    }
}

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
    let mut rig = rig(Origin::new(64 * MIB));
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
