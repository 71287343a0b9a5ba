//! A daemon is killed at random instants while its jobs are made, changed, steered and fetched: what was acknowledged holds.
//!
//! Every job names a hook, which is told of its end however often the node died on the way.
//!
//! The facts are what was answered. An order whose answer the kill swallowed may have been carried out or not; both are allowed. No
//! file is visible before its job was to be finished, and what is visible is the right file.

use eddy_node::control::{Client, socket_of};
use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, from_environment};
use eddy_wire::api::{
    FileSpec, Finish, HeaderField, JobAction, JobBatch, JobChange, JobSpec, JobView, MAX_PAGE, MoreFiles, PageQuery,
    PeerUse, Priority, Terms,
};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Jobs of the life.
const JOBS: usize = 50;
/// Different files at the origin.
const FILES: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// What is known of one file.
#[derive(Debug, Clone)]
struct FileFact {
    destination: PathBuf,
    seed: u64,
}

/// What is known of one job; several values where an answer is missing.
#[derive(Debug, Clone)]
struct Fact {
    names: Vec<String>,
    priorities: Vec<Priority>,
    descriptions: Vec<String>,
    secrets: Vec<usize>,
    files: Vec<FileFact>,
    /// Files whose adding was not answered.
    perhaps: Vec<FileFact>,
    may_be_cancelled: bool,
    is_cancelled: bool,
    may_be_finished: bool,
}

struct Life {
    client: Client,
    origin: String,
    folder: PathBuf,
    facts: BTreeMap<String, Fact>,
    /// Destinations of jobs whose making was not answered.
    unanswered: Vec<FileFact>,
    rng: SmallRng,
    made: usize,
    files: usize,
}

impl Life {
    fn file(&mut self) -> (FileSpec, FileFact) {
        self.files += 1;
        let seed = self.rng.random_range(1..=FILES);
        let destination = self.folder.join(format!("f{}", self.files));
        let spec = FileSpec {
            url: format!("{}{seed}", self.origin),
            destination: destination.display().to_string(),
            digest: None,
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        };
        (spec, FileFact { destination, seed })
    }

    /// One order; whether it was answered.
    async fn order(&mut self) -> bool {
        if self.made < JOBS && (self.facts.len() < 4 || self.rng.random_range(0..3) == 0) {
            return self.make().await;
        }
        let open: Vec<String> =
            self.facts.iter().filter(|(_, fact)| !fact.may_be_cancelled).map(|(id, _)| id.clone()).collect();
        if open.is_empty() {
            // Nothing is left to do but to notice the kill.
            return self.client.status().await.is_ok();
        }
        let id = open[self.rng.random_range(0..open.len())].clone();
        match self.rng.random_range(0..12) {
            0..5 => self.change(&id).await,
            5 => self.add(&id).await,
            6..8 => self.act(&id, JobAction::Resume).await,
            8..10 => self.act(&id, JobAction::Pause).await,
            10 => self.act(&id, JobAction::Finish).await,
            _ => self.act(&id, JobAction::Cancel).await,
        }
    }

    async fn make(&mut self) -> bool {
        let count = self.rng.random_range(1..=3);
        let (specs, files): (Vec<_>, Vec<_>) = (0..count).map(|_| self.file()).unzip();
        let finish = if self.rng.random_range(0..2) == 0 { Finish::Auto } else { Finish::Manual };
        let name = format!("job {}", self.made);
        self.made += 1;
        let spec = JobSpec {
            files: specs,
            name: Some(name.clone()),
            priority: Priority::Normal,
            peers: PeerUse::default(),
            start: self.rng.random_range(0..4) > 0,
            finish,
            asking: None,
            adopt: false,
            terms: Terms { hook: Some("note".to_owned()), ..Terms::default() },
            followed: false,
        };
        match self.client.create_job(&spec).await {
            Ok(job) => {
                let fact = Fact {
                    names: vec![name],
                    priorities: vec![Priority::Normal],
                    descriptions: vec![String::new()],
                    secrets: vec![0],
                    files,
                    perhaps: Vec::new(),
                    may_be_cancelled: false,
                    is_cancelled: false,
                    may_be_finished: finish == Finish::Auto,
                };
                self.facts.insert(job.id, fact);
                true
            }
            Err(_) => {
                self.unanswered.extend(files);
                false
            }
        }
    }

    async fn change(&mut self, id: &str) -> bool {
        let number = self.rng.random_range(0..1000);
        let mut change = JobChange::default();
        let mut next = self.facts[id].clone();
        match number % 4 {
            0 => {
                change.name = Some(format!("name {number}"));
                next.names.push(format!("name {number}"));
            }
            1 => {
                let priority = [Priority::Foreground, Priority::High, Priority::Low][number % 3];
                change.priority = Some(priority);
                next.priorities.push(priority);
            }
            2 => {
                let description = Some(format!("words {number}"));
                change.terms = Some(Terms { description, ..Terms::default() });
                next.descriptions.push(format!("words {number}"));
            }
            _ => {
                let field = HeaderField { name: format!("x-{number}"), value: "secret".into(), secret: true };
                change.terms = Some(Terms { headers: vec![field], ..Terms::default() });
                // The same name twice is one field.
                let last = *next.secrets.last().unwrap();
                next.secrets.extend([last, last + 1]);
            }
        }
        match self.client.change_job(id, &change).await {
            Ok(view) => {
                // What was answered holds, and nothing else any more.
                next.names = vec![view.name];
                next.priorities = vec![view.priority];
                next.descriptions = vec![view.terms.description];
                next.secrets = vec![view.terms.headers.len()];
                self.facts.insert(id.to_owned(), next);
                true
            }
            // Refused, because it has ended; or swallowed.
            Err(problem) => {
                self.facts.insert(id.to_owned(), next);
                problem.code == "wrong-state" || problem.code == "job-not-found"
            }
        }
    }

    async fn add(&mut self, id: &str) -> bool {
        let (spec, file) = self.file();
        let fact = self.facts.get_mut(id).unwrap();
        match self.client.add_files(id, &MoreFiles { files: vec![spec] }).await {
            Ok(_) => {
                fact.files.push(file);
                true
            }
            Err(problem) => {
                fact.perhaps.push(file);
                problem.code == "wrong-state" || problem.code == "job-not-found"
            }
        }
    }

    async fn act(&mut self, id: &str, action: JobAction) -> bool {
        let answer = self.client.act(id, action).await;
        let fact = self.facts.get_mut(id).unwrap();
        match action {
            JobAction::Cancel => {
                fact.may_be_cancelled = true;
                fact.is_cancelled |= answer.is_ok();
            }
            JobAction::Finish => fact.may_be_finished = true,
            _ => {}
        }
        answer.is_ok() || answer.is_err_and(|problem| problem.code == "wrong-state" || problem.code == "job-not-found")
    }

    async fn jobs(&self) -> BTreeMap<String, JobView> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.jobs(&PageQuery { after: None, limit: Some(MAX_PAGE) }).await {
                Ok(page) => return page.items.into_iter().map(|job| (job.id.clone(), job)).collect(),
                Err(problem) => assert!(Instant::now() < deadline, "{problem:?}"),
            }
        }
    }

    /// Holds the node against the facts.
    async fn check(&mut self) {
        let jobs = self.jobs().await;
        for (id, fact) in &mut self.facts {
            let living = jobs.get(id).filter(|job| !job.state.is_final());
            if let Some(job) = living {
                assert!(!fact.is_cancelled, "{id} was cancelled: {job:#?}");
                let headers = job.terms.headers.len();
                assert!(fact.names.contains(&job.name), "{fact:?}\n{job:#?}");
                assert!(fact.priorities.contains(&job.priority), "{fact:?}\n{job:#?}");
                assert!(fact.descriptions.contains(&job.terms.description), "{fact:?}\n{job:#?}");
                assert!(fact.secrets.contains(&headers), "{fact:?}\n{job:#?}");
                let most = fact.files.len() + fact.perhaps.len();
                assert!((fact.files.len()..=most).contains(&job.files.len()), "{fact:?}\n{job:#?}");
                // What is seen holds from here on.
                (fact.names, fact.priorities) = (vec![job.name.clone()], vec![job.priority]);
                (fact.descriptions, fact.secrets) = (vec![job.terms.description.clone()], vec![headers]);
                let names: Vec<_> = job.files.iter().map(|file| PathBuf::from(&file.destination)).collect();
                let (there, gone) = fact.perhaps.drain(..).partition(|file| names.contains(&file.destination));
                let _: Vec<FileFact> = gone;
                fact.files.extend::<Vec<_>>(there);
                fact.may_be_cancelled = false;
            } else {
                assert!(fact.may_be_cancelled || fact.may_be_finished, "{id} is lost: {fact:?}");
                fact.may_be_cancelled = true;
            }
            let mut files = fact.files.iter().chain(&fact.perhaps);
            let early = files.clone().find(|file| file.destination.exists() && !fact.may_be_finished);
            assert!(early.is_none(), "{early:?} is visible before its job was finished");
            let wrong = files.find(|file| {
                std::fs::read(&file.destination)
                    .is_ok_and(|bytes| bytes != Version::new(file.seed, length(file.seed)).whole())
            });
            assert!(wrong.is_none(), "{wrong:?} is not the file");
        }
    }
}

/// What the hook wrote: of each event that it was told of, by number, the job and what happened.
fn told(path: &Path) -> BTreeMap<u64, (String, String)> {
    let mut told = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let words: Vec<_> = line.split(' ').collect();
        // The kill may have cut a line short.
        let [number, job, event] = words[..] else { continue };
        let what = (job.to_owned(), event.to_owned());
        let before = told.insert(number.parse().unwrap(), what.clone());
        assert!(before.as_ref().is_none_or(|before| *before == what), "{number} is {before:?} and {what:?}");
    }
    told
}

/// Waits until the hook was told of the end of every job that was acknowledged, and looks whether it was told the truth.
async fn every_end_is_told(life: &Life, path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = told(path);
        let untold: Vec<_> = life.facts.keys().filter(|id| !told.values().any(|(job, _)| job == *id)).collect();
        if untold.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "the hook was never told of {untold:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (job, event) in told(path).into_values() {
        let Some(fact) = life.facts.get(&job) else { continue };
        let may_be = match event.as_str() {
            "finished" => fact.may_be_finished && !fact.is_cancelled,
            "cancelled" => fact.may_be_cancelled,
            other => panic!("{job}: {other}"),
        };
        assert!(may_be, "{job} is told as {event}: {fact:?}");
    }
}

fn length(seed: u64) -> u64 {
    seed * 150_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_job_property_or_completion_is_lost_to_a_kill() {
    let seed = from_environment("EDDY_SEED", 21);
    let kills = from_environment("EDDY_JOB_KILLS", 25);
    println!("EDDY_SEED={seed} EDDY_JOB_KILLS={kills}");
    let origin = HostileOrigin::start().await.unwrap();
    for seed in 1..=FILES {
        let behaviour = Behaviour { rate: Some(400_000), ..Behaviour::default() };
        origin.publish(&format!("/{seed}"), Resource::new(Version::new(seed, length(seed)), behaviour));
    }
    let node = Eddy::here().unwrap();
    let ends = node.home().join("told");
    // One write for each line, so that no kill mixes two.
    let script = format!("echo $EDDY_ID $EDDY_JOB $EDDY_EVENT >> {}", ends.display());
    let settings = format!(
        "[peers]\nmdns = false\n[hooks.note]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\non = [\"finished\", \"cancelled\"]\n"
    );
    std::fs::write(node.home().join("eddy.toml"), settings).unwrap();
    let folder = node.home().join("files");
    std::fs::create_dir(&folder).unwrap();
    let client = Client::new(&socket_of(node.home())).unwrap();
    let (facts, unanswered, rng) = (BTreeMap::new(), Vec::new(), SmallRng::seed_from_u64(seed));
    let mut life = Life { client, origin: origin.url("/"), folder, facts, unanswered, rng, made: 0, files: 0 };
    let mut answered = 0;
    for _ in 0..kills {
        let mut daemon = tokio::task::block_in_place(|| node.daemon()).unwrap();
        life.check().await;
        let instant = tokio::time::Instant::now() + Duration::from_millis(life.rng.random_range(20..700));
        let killer = tokio::spawn(async move {
            tokio::time::sleep_until(instant).await;
            tokio::task::block_in_place(|| daemon.kill()).unwrap();
        });
        while life.order().await {
            answered += 1;
        }
        killer.await.unwrap();
    }
    let _daemon = tokio::task::block_in_place(|| node.daemon()).unwrap();
    life.check().await;
    // All that were not thrown away come to their ends.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let open: Vec<JobView> = life.jobs().await.into_values().filter(|job| !job.state.is_final()).collect();
        if open.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "{open:#?}");
        for job in open {
            let act = match job.state {
                eddy_wire::api::JobState::Suspended | eddy_wire::api::JobState::TransientError => JobAction::Resume,
                eddy_wire::api::JobState::Transferred => JobAction::Finish,
                state => {
                    assert_ne!(state, eddy_wire::api::JobState::Error, "{job:#?}");
                    continue;
                }
            };
            if let Some(fact) = life.facts.get_mut(&job.id) {
                fact.may_be_finished |= act == JobAction::Finish;
            }
            // It may have gone on meanwhile.
            let _ = life.client.act(&job.id, act).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    life.check().await;
    every_end_is_told(&life, &ends).await;
    println!("{answered} orders were answered, {} jobs were made, {kills} kills", life.made);
    assert!(answered > 3 * kills, "{answered} orders in {kills} lives");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_made_job_by_job_survives_a_kill_and_is_found_when_it_is_repeated() {
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let client = Client::new(&socket_of(node.home())).unwrap();
    let spec = |url: &str, name: &str| JobSpec {
        files: vec![FileSpec {
            url: url.to_owned(),
            destination: node.home().join(name).display().to_string(),
            digest: None,
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        }],
        name: Some(name.to_owned()),
        priority: Priority::Low,
        peers: PeerUse::default(),
        start: false,
        finish: Finish::Manual,
        asking: None,
        adopt: false,
        terms: Terms::default(),
        followed: false,
    };
    let mut jobs: Vec<_> = (0..100).map(|n| spec("http://127.0.0.1:1/a", &format!("job {n}"))).collect();
    jobs.insert(50, spec("gopher://127.0.0.1/a", "bad"));
    let batch = JobBatch { jobs };
    let mut daemon = tokio::task::block_in_place(|| node.daemon()).unwrap();
    let made = client.create_jobs_once(&batch, "key").await.unwrap();
    tokio::task::block_in_place(|| daemon.kill()).unwrap();
    let refused: Vec<_> = made.jobs.iter().filter_map(|job| job.error.as_ref()).collect();
    assert_eq!((made.jobs.len(), refused.len()), (101, 1));
    assert_eq!((refused[0].code.as_str(), made.jobs[50].id.as_ref()), ("unknown-scheme", None));

    let _daemon = tokio::task::block_in_place(|| node.daemon()).unwrap();
    let again = client.create_jobs_once(&batch, "key").await.unwrap();
    assert_eq!(again, made);
    let page = client.jobs(&PageQuery { after: None, limit: Some(MAX_PAGE) }).await.unwrap();
    let (mut listed, mut answered) = (Vec::new(), Vec::new());
    listed.extend(page.items.into_iter().map(|job| job.id));
    answered.extend(made.jobs.into_iter().filter_map(|job| job.id));
    listed.sort();
    answered.sort();
    assert_eq!(listed, answered);
    let empty = client.create_jobs(&JobBatch { jobs: Vec::new() }).await.unwrap_err();
    assert_eq!(empty.code, "bad-request");
}
