//! What an input costs.

use super::*;
use crate::job::portion::Portion;
use crate::job::spec::{Asking, FileSpec, Patience, PeerUse, Priority};
use crate::port::{FileRef, Input};
use eddy_content::ResourceUrl;

fn spec() -> JobSpec {
    let url = ResourceUrl::parse("https://example.org/file").unwrap();
    let file = FileSpec {
        url,
        destination: "/file".to_owned(),
        digests: Vec::new(),
        overwrite: false,
        credentials: None,
        portion: Portion::Whole,
    };
    JobSpec {
        name: String::new(),
        priority: Priority::Normal,
        files: vec![file],
        finish: Finish::Auto,
        patience: Patience::Background,
        peers: PeerUse::FULL,
        asking: Asking::Always,
        terms: crate::Terms::default(),
    }
}

#[test]
fn ten_thousand_waiting_jobs_cost_an_input_no_look() {
    let now = Now { mono: Duration::from_secs(1), wall: 0 };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    for number in 0..10_000u128 {
        let id = JobId(number.to_be_bytes());
        engine.create(now, id, Owner::default(), spec());
        engine.resume(now, id).unwrap();
    }
    let running = engine.running();
    engine.looks = 0;
    for _ in 0..100 {
        let file = FileRef { job: running[0], file: 0 };
        engine.handle(now, Input::Prepared { file, result: Ok(crate::port::Held::Nothing) });
        engine.handle(
            now,
            Input::Prepared { file: FileRef { job: JobId([9; 16]), file: 0 }, result: Ok(crate::port::Held::Nothing) },
        );
    }
    assert_eq!(engine.looks, 100, "one job for each input that concerns one");
    assert!(running.len() < 20);
    engine.handle_timeout(now);
    assert_eq!(engine.looks, 100 + running.len(), "time concerns those that run");
}

#[test]
fn a_job_that_is_made_to_run_is_written_down_once_as_what_it_will_be() {
    let now = Now { mono: Duration::from_secs(1), wall: 7 };
    let rows = |engine: &mut Engine| {
        let effects = std::iter::from_fn(|| engine.poll_effect());
        effects.map(|effect| if let Effect::Persist(row) = effect { Some(row.state) } else { None }).collect::<Vec<_>>()
    };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let id = JobId([1; 16]);
    engine.create_to_run(now, id, Owner::default(), spec());
    assert_eq!(rows(&mut engine), [Some(JobState::Queued)], "and nothing follows before it is durable");
    assert_eq!(engine.job(id).map(Job::state), Some(JobState::Suspended));
    engine.handle_timeout(Now { mono: Duration::from_secs(2), ..now });
    assert_eq!(rows(&mut engine), []);
    engine.resume(now, id).unwrap();
    assert_eq!(rows(&mut engine), [None], "it prepares its file");
    // Who is paused before it ran must not run after a restart.
    let id = JobId([2; 16]);
    engine.create_to_run(now, id, Owner::default(), spec());
    engine.suspend(now, id).unwrap();
    assert_eq!(rows(&mut engine), [Some(JobState::Queued), Some(JobState::Suspended)]);
    engine.resume(now, id).unwrap();
    assert_eq!(rows(&mut engine).first(), Some(&Some(JobState::Queued)));
}
