//! What an input costs.

use super::*;
use crate::job::portion::Portion;
use crate::job::spec::{Asking, FileSpec, Patience, PeerUse, Priority};
use crate::job::terms::{ProxyUse, Redirects};
use crate::port::{ContactMethod, Contacted, Failure, FetchOutcome, FileRef, Held, Input, StagedFile};
use crate::retry;
use eddy_content::http::RangeSupport;
use eddy_content::{ResourceUrl, Validator};

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
fn who_looks_for_a_job_with_the_same_files_looks_at_no_other_and_finds_it_as_it_is_now() {
    let now = Now { mono: Duration::from_secs(1), wall: 0 };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let named = |name: u128| {
        let mut spec = spec();
        spec.files[0].destination = format!("/{name}");
        spec
    };
    let (mine, other) = (Owner(1), Owner(2));
    for number in 0..10_000u128 {
        engine.create(now, JobId(number.to_be_bytes()), if number % 2 == 0 { mine } else { other }, named(number / 4));
    }
    let found = |engine: &Engine, owner, name| {
        let found = engine.jobs_alike(owner, &named(name).files).map(|job| u128::from_be_bytes(job.id().0));
        found.collect::<Vec<_>>()
    };
    assert_eq!((found(&engine, mine, 100), found(&engine, other, 100)), (vec![400, 402], vec![401, 403]));
    engine.cancel(now, JobId(400u128.to_be_bytes())).unwrap();
    assert_eq!(found(&engine, mine, 100), [402], "one that has ended is none");
    let id = JobId(402u128.to_be_bytes());
    let url = ResourceUrl::parse("https://example.org/another").unwrap();
    engine.amend(now, id, Amendment { urls: vec![(0, url)], ..Amendment::default() }).unwrap();
    assert_eq!(found(&engine, mine, 100), [], "nor is one that wants something else now");
    let id = JobId(401u128.to_be_bytes());
    engine.amend(now, id, Amendment { owner: Some(mine), ..Amendment::default() }).unwrap();
    assert_eq!((found(&engine, mine, 100), found(&engine, other, 100)), (vec![401], vec![403]), "who took it has it");
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

fn files(count: usize) -> JobSpec {
    let one = spec();
    let file = |number| FileSpec {
        url: ResourceUrl::parse(&format!("https://example.org/{number}")).unwrap(),
        destination: format!("/{number}"),
        ..one.files[0].clone()
    };
    JobSpec { files: (0..count).map(file).collect(), ..spec() }
}

#[test]
fn an_input_of_one_file_costs_the_other_files_of_its_job_no_look() {
    let now = Now { mono: Duration::from_secs(1), wall: 0 };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let id = JobId([1; 16]);
    engine.create(now, id, Owner::default(), files(20));
    engine.resume(now, id).unwrap();
    engine.roster.get_mut(id).unwrap().looks = 0;
    for file in [3, 5] {
        let file = FileRef { job: id, file };
        engine.handle(now, Input::Prepared { file, result: Ok(crate::port::Held::Nothing) });
    }
    assert_eq!(engine.job(id).unwrap().looks, 2);
    let contacted = std::iter::from_fn(|| engine.poll_effect());
    let contacted =
        contacted.filter_map(|effect| if let Effect::Contact { file, .. } = effect { Some(file.file) } else { None });
    assert_eq!(contacted.collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn the_end_of_a_fetch_costs_jobs_that_want_something_else_no_look() {
    let now = Now { mono: Duration::from_secs(1), wall: 0 };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let ids = [1, 2, 3].map(|number| JobId([number; 16]));
    // The first two want the same file.
    for (id, spec) in ids.into_iter().zip([spec(), spec(), files(1)]) {
        engine.create(now, id, Owner::default(), spec);
        engine.resume(now, id).unwrap();
        engine.handle(
            now,
            Input::Prepared { file: FileRef { job: id, file: 0 }, result: Ok(crate::port::Held::Nothing) },
        );
    }
    let mut fetches = Vec::new();
    while let Some(effect) = engine.poll_effect() {
        match effect {
            Effect::Contact { fetch, url, .. } => {
                let facts = Contacted {
                    url,
                    validator: Some(Validator::StrongEtag("\"1\"".to_owned())),
                    length: Some(1000),
                    ranges: RangeSupport::Yes,
                    storable: true,
                    shareable: true,
                    last_modified: None,
                    digests: Vec::new(),
                    waited: None,
                    body: None,
                    freshness: None,
                };
                engine.handle(now, Input::Contacted { fetch, result: Ok(Box::new(facts)) });
            }
            Effect::Open { file, .. } => {
                engine.handle(now, Input::Opened { file, result: Ok(eddy_content::BlockSet::new()) });
            }
            Effect::FetchOrigin { fetch, .. } => fetches.push(fetch),
            _ => {}
        }
    }
    assert_eq!(fetches.len(), 2, "what two want is fetched once");
    engine.looks = 0;
    engine.handle(now, Input::Ended { fetch: fetches[0], outcome: FetchOutcome::Done });
    assert_eq!(engine.looks, 2, "its own job, and the one that waited for the same");
}

#[test]
fn who_gets_the_place_of_a_file_begins_with_the_input_that_frees_it() {
    let now = Now { mono: Duration::from_secs(1), wall: 0 };
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let id = JobId([1; 16]);
    let mut spec = spec();
    spec.files = vec![spec.files[0].clone(); 10];
    engine.create(now, id, Owner::default(), spec);
    engine.resume(now, id).unwrap();
    while engine.poll_effect().is_some() {}
    let file = FileRef { job: id, file: 2 };
    let refused = Err(crate::port::Failure::transient("internal", "not now"));
    engine.handle(now, Input::Prepared { file, result: refused });
    let begun = std::iter::from_fn(|| engine.poll_effect());
    let begun = begun.filter_map(|effect| if let Effect::Prepare { file } = effect { Some(file.file) } else { None });
    assert_eq!(begun.collect::<Vec<_>>(), [8]);
}

#[test]
fn f68_what_is_asked_with_another_method_is_asked_once_whatever_becomes_of_it() {
    let at = |seconds| Now { mono: Duration::from_secs(seconds), wall: 7 };
    let effects = |engine: &mut Engine| std::iter::from_fn(|| engine.poll_effect()).collect::<Vec<_>>();
    let (mut engine, id) = (Engine::new(EngineConfig::ordinary(1)), JobId([1; 16]));
    let terms = crate::Terms { method: Some("POST".to_owned()), ..crate::Terms::default() };
    let wish = JobSpec { priority: Priority::Foreground, peers: PeerUse::NONE, terms, ..spec() };
    engine.create_to_run(at(1), id, Owner::default(), wish);
    effects(&mut engine);
    engine.resume(at(1), id).unwrap();
    let told = effects(&mut engine);
    let [Effect::Persist(row), Effect::Prepare { file }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(row.state, JobState::Error, "written down before it asks");
    assert_eq!(row.failure.as_ref().map(|failure| failure.code.as_str()), Some(retry::ASKED_ONCE));
    engine.handle(at(2), Input::Prepared { file: *file, result: Ok(Held::Nothing) });
    let told = effects(&mut engine);
    let [Effect::Contact { fetch, method: ContactMethod::Whole, .. }] = told.as_slice() else { panic!("{told:?}") };
    engine
        .handle(at(3), Input::Contacted { fetch: *fetch, result: Err(Failure::transient("connection-lost", "lost")) });
    assert_eq!(engine.job(id).map(Job::state), Some(JobState::Error));
    engine.handle(at(4), Input::NetworkUp);
    engine.handle_timeout(at(10_000));
    let asks = |effect: &Effect| matches!(effect, Effect::Prepare { .. } | Effect::Contact { .. });
    assert!(!effects(&mut engine).iter().any(asks));
    // A crash after it has asked.
    let mut again = Engine::new(EngineConfig::ordinary(1));
    again.restore(at(1), JobRecord::clone(row));
    again.start(at(1));
    again.handle_timeout(at(10_000));
    assert!(!effects(&mut again).iter().any(asks));
    assert_eq!(
        again.job(id).map(|job| (job.state(), job.spec().terms.method.as_deref())),
        Some((JobState::Error, Some("POST")))
    );
    again.resume(at(10_001), id).unwrap();
    assert!(effects(&mut again).iter().any(asks), "its owner may ask again");
}

/// What becomes of a file whose origin answers its first question with a version that anybody may have.
fn after_the_answer(url: &str, terms: crate::Terms) -> (ContactMethod, Vec<Effect>) {
    let now = Now { mono: Duration::from_secs(1), wall: 7 };
    let (mut engine, id) = (Engine::new(EngineConfig::ordinary(1)), JobId([1; 16]));
    let url = ResourceUrl::parse(url).unwrap();
    let file = FileSpec { url: url.clone(), ..spec().files.remove(0) };
    engine.create_to_run(now, id, Owner::default(), JobSpec { files: vec![file], terms, ..spec() });
    engine.resume(now, id).unwrap();
    engine.handle(now, Input::Prepared { file: FileRef { job: id, file: 0 }, result: Ok(Held::Nothing) });
    let effects = std::iter::from_fn(|| engine.poll_effect()).collect::<Vec<_>>();
    let Some(Effect::Contact { fetch, method, .. }) = effects.last() else { panic!("{effects:?}") };
    let facts = Contacted {
        url,
        validator: Some(Validator::StrongEtag("\"1\"".to_owned())),
        length: Some(1000),
        ranges: RangeSupport::Yes,
        storable: true,
        shareable: true,
        last_modified: None,
        digests: Vec::new(),
        waited: None,
        body: Some((0, Some(1000))),
        freshness: None,
    };
    engine.handle(now, Input::Contacted { fetch: *fetch, result: Ok(Box::new(facts)) });
    (*method, std::iter::from_fn(|| engine.poll_effect()).collect())
}

#[test]
fn f72_what_a_jobs_own_proxy_brings_by_plain_http_is_nobody_elses() {
    let through = ProxyUse::Through { url: "http://127.0.0.1:9999/".to_owned(), credentials: None };
    let own = crate::Terms { proxy: through, ..crate::Terms::default() };
    let (method, effects) = after_the_answer("http://example.org/file", own.clone());
    assert_eq!(method, ContactMethod::Whole);
    assert!(matches!(effects.as_slice(), [Effect::Stream { .. }]), "neither opened nor claimed: {effects:?}");
    // TLS shows whose bytes they are, and the node's own way is everybody's.
    for (url, terms) in [("https://example.org/file", own), ("http://example.org/file", crate::Terms::default())] {
        let (_, effects) = after_the_answer(url, terms);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Open { .. })), "{effects:?}");
    }
}

#[test]
fn f64_a_redirect_is_told_once_the_file_is_whole_and_the_named_url_is_asked_until_then() {
    let now = Now { mono: Duration::from_secs(1), wall: 7 };
    let effects = |engine: &mut Engine| std::iter::from_fn(|| engine.poll_effect()).collect::<Vec<_>>();
    let url = |engine: &Engine, id| engine.job(id).unwrap().files()[0].spec().url.to_string();
    let (mut engine, id) = (Engine::new(EngineConfig::ordinary(1)), JobId([1; 16]));
    let file = FileRef { job: id, file: 0 };
    let terms = crate::Terms { redirects: Redirects::Report, ..crate::Terms::default() };
    engine.create_to_run(now, id, Owner::default(), JobSpec { finish: Finish::Manual, terms, ..spec() });
    engine.resume(now, id).unwrap();
    engine.handle(now, Input::Prepared { file, result: Ok(Held::Nothing) });
    let told = effects(&mut engine);
    let Some(Effect::Contact { fetch, .. }) = told.last() else { panic!("{told:?}") };
    let (named, end) = ("https://example.org/file", "https://elsewhere.example/file");
    let facts = Contacted {
        url: ResourceUrl::parse(end).unwrap(),
        validator: None,
        length: Some(1000),
        ranges: RangeSupport::Yes,
        storable: true,
        shareable: true,
        last_modified: None,
        digests: Vec::new(),
        waited: None,
        body: Some((0, Some(1000))),
        freshness: None,
    };
    engine.handle(now, Input::Contacted { fetch: *fetch, result: Ok(Box::new(facts)) });
    assert_eq!(url(&engine, id), named, "where it led may be asked only as where an origin has led");
    let (length, root) = (1000, eddy_content::Root::of_nothing());
    let staged = StagedFile { length, root, origin: length, peers: 0, wasted: 0, audited: 0, witnesses: None };
    engine.handle(now, Input::Staged { file, result: Ok(staged) });
    assert_eq!((url(&engine, id).as_str(), engine.job(id).map(Job::state)), (end, Some(JobState::Transferred)));
    // Who reads the record knows no more which of the two it is.
    let rows = effects(&mut engine);
    let row = rows.iter().rev().find_map(|effect| if let Effect::Persist(row) = effect { Some(row) } else { None });
    let mut again = Engine::new(EngineConfig::ordinary(1));
    again.restore(now, JobRecord::clone(row.unwrap()));
    assert!(again.job(id).unwrap().files()[0].may_be_led() && !engine.job(id).unwrap().files()[0].may_be_led());
    // Somebody takes the staged file away.
    engine.complete(now, id).unwrap();
    engine.handle(now, Input::Published { file, result: Err(Failure::transient("staged-lost", "gone")) });
    assert_eq!(url(&engine, id), named);
}
