//! What very many jobs take: 100,000 of ten files each, made in batches, listed, kept over a restart; and how long it takes to find the next.
//!
//! A real daemon, asked at its socket; its first jobs are at an origin that never answers, so that the others wait: it is counted whether
//! they do. The choice of the next is timed in an engine of this process, with the same jobs of 100 users at 100 hosts. No time is asserted.
//! `EDDY_BENCH_JOBS` (100000). Needs `cargo build --release -p eddy-cli` before.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use eddy_content::ResourceUrl;
use eddy_engine::{Asking, Engine, EngineConfig, JobId, JobSpec, JobState, Now, Owner, Patience};
use eddy_node::control::{Client, socket_of};
use eddy_tests::hostile::{Behaviour, HeadFault, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, MIB, Running, SIGTERM, from_environment};
use eddy_wire::api::{self, FileSpec, JobBatch, PageQuery, PeerUse, Priority};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
/// Files of a job.
const FILES: usize = 10;
/// Jobs of a batch.
const BATCH: usize = 500;
/// Choices that are timed.
const PICKS: usize = 2000;

#[tokio::main]
async fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let jobs = usize::try_from(from_environment("EDDY_BENCH_JOBS", 100_000)).unwrap();
    picks(jobs);
    daemon(jobs).await;
}

async fn daemon(jobs: usize) {
    let origin = HostileOrigin::start().await.unwrap();
    let silent = Behaviour::head_fault(HeadFault::Hang);
    for job in 0..jobs.min(BATCH) {
        for file in 0..FILES {
            let resource = Resource::new(Version::new(1, 1), silent.clone());
            origin.publish(&path(job, file), resource);
        }
    }
    let node = Eddy::here().unwrap();
    // A job without its folder fails as soon as it has the turn, and the next one has it then.
    for job in 0..jobs.min(BATCH) {
        std::fs::create_dir_all(folder(node.home(), job)).unwrap();
    }
    std::fs::write(
        node.home().join("eddy.toml"),
        format!("[peers]\nmdns = false\n[jobs]\nmost = {jobs}\nmost-per-user = {jobs}\n"),
    )
    .unwrap();
    let running = node.daemon().unwrap();
    let memory_before = running.resident_bytes().unwrap();
    let client = Client::new(&socket_of(node.home())).unwrap();

    let begun = Instant::now();
    let mut made = 0;
    while made < jobs {
        let count = BATCH.min(jobs - made);
        let batch = JobBatch { jobs: (made..made + count).map(|job| spec(&origin, node.home(), job)).collect() };
        let view = client.create_jobs(&batch).await.unwrap();
        assert!(
            view.jobs.iter().all(|job| job.error.is_none()),
            "{:?}",
            view.jobs.iter().find(|job| job.error.is_some())
        );
        made += count;
    }
    let took = begun.elapsed();
    println!(
        "{jobs} jobs of {FILES} files, made in batches of {BATCH}: {:.0} jobs/s",
        jobs as f64 / took.as_secs_f64()
    );
    println!("of that CPU time of the daemon: {:?}", running.cpu_time().unwrap());
    println!("memory: {} before, {}", mib(memory_before), memory(&running));
    list(&client, jobs).await;
    println!("memory, all of them listed: {}", memory(&running));

    let mut running = running;
    running.signal(SIGTERM).unwrap();
    running.wait(PATIENCE).unwrap();
    let begun = Instant::now();
    let running = node.daemon().unwrap();
    println!("start with {jobs} jobs: {:?}, {:?} of CPU time", begun.elapsed(), running.cpu_time().unwrap());
    println!("memory after the start: {}", memory(&running));
    list(&client, jobs).await;
    println!("memory, all of them listed: {}", memory(&running));
}

/// Reads every page once.
async fn list(client: &Client, jobs: usize) {
    let (mut times, mut seen, mut stopped, mut after) = (Vec::new(), 0, 0, None);
    loop {
        let begun = Instant::now();
        let page = client.jobs(&PageQuery { after, limit: None }).await.unwrap();
        times.push(begun.elapsed());
        seen += page.items.len();
        stopped += page.items.iter().filter(|job| job.error.is_some()).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, jobs);
    // Those that the silent origin has stopped: the places of one host, as often as it was tried.
    assert!(stopped <= BATCH, "{stopped} jobs have met a fault: this is no queue that waits");
    println!("a page of 100 jobs: {}; {stopped} of all have met a fault", spread(times));
}

fn path(job: usize, file: usize) -> String {
    format!("/pool/main/job-{job:06}/package-{file}_1.2.{job}_amd64.deb")
}

fn folder(home: &Path, job: usize) -> PathBuf {
    home.join(format!("files/job-{job:06}"))
}

fn spec(origin: &HostileOrigin, home: &Path, job: usize) -> api::JobSpec {
    let file = |file| FileSpec {
        url: origin.url(&path(job, file)),
        destination: folder(home, job).join(format!("package-{file}.deb")).display().to_string(),
        digest: None,
        overwrite: false,
        ranges: Vec::new(),
        on_demand: false,
    };
    api::JobSpec {
        files: (0..FILES).map(file).collect(),
        name: Some(format!("job {job}")),
        priority: Priority::Normal,
        peers: PeerUse::default(),
        start: true,
        finish: api::Finish::Auto,
        asking: None,
        adopt: false,
        terms: api::Terms::default(),
        followed: false,
    }
}

/// How long it takes to give the place of a job that is stopped to the next one.
fn picks(jobs: usize) {
    let mut engine = Engine::new(EngineConfig::ordinary(1));
    let (mut now, mut running) = (Now { mono: Duration::from_secs(1), wall: 1_700_000_000 }, Vec::new());
    for job in 0..jobs {
        let id = JobId((job as u128).to_be_bytes());
        engine.create(now, id, Owner(job as u32 % 100), engine_spec(job));
        engine.resume(now, id).unwrap();
        drain(&mut engine);
    }
    running.extend(engine.jobs().filter(|job| job.state().is_active()).map(|job| job.id()));
    let mut times = Vec::new();
    for _ in 0..PICKS.min(jobs / 2) {
        let last = running.remove(0);
        now.mono += Duration::from_millis(100);
        let begun = Instant::now();
        engine.suspend(now, last).unwrap();
        times.push(begun.elapsed());
        running.extend(drain(&mut engine));
        running.retain(|id| engine.job(*id).is_some_and(|job| job.state() == JobState::Connecting));
        assert!(!running.is_empty());
    }
    println!("the next of {jobs} jobs: {}", spread(times));
}

/// Jobs that got the turn.
fn drain(engine: &mut Engine) -> Vec<JobId> {
    while engine.poll_notice().is_some() {}
    let effects = std::iter::from_fn(|| engine.poll_effect());
    let begun = effects.filter_map(|effect| match effect {
        eddy_engine::Effect::Prepare { file } if file.file == 0 => Some(file.job),
        _ => None,
    });
    begun.collect()
}

fn engine_spec(job: usize) -> JobSpec {
    let file = |file| eddy_engine::FileSpec {
        url: ResourceUrl::parse(&format!("https://mirror-{}.example.org{}", job % 100, path(job, file))).unwrap(),
        destination: format!("/srv/files/job-{job:06}/package-{file}.deb"),
        digests: Vec::new(),
        overwrite: false,
        credentials: None,
        portion: eddy_engine::Portion::Whole,
    };
    JobSpec {
        name: format!("job {job}"),
        priority: eddy_engine::Priority::Normal,
        files: (0..FILES).map(file).collect(),
        finish: eddy_engine::Finish::Auto,
        patience: Patience::Background,
        peers: eddy_engine::PeerUse::FULL,
        asking: Asking::Always,
        terms: eddy_engine::Terms::default(),
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    format!("{:?} in the middle, {:?} of 99 %, {:?} at most", at(0.5), at(0.99), at(1.0))
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

fn memory(node: &Running) -> String {
    let (now, peak) = (node.resident_bytes().unwrap(), node.peak_resident_bytes().unwrap());
    format!("{}, at most {}; {} of it anonymous", mib(now), mib(peak), mib(node.anonymous_bytes().unwrap()))
}
