//! Whole nodes are killed again and again, in the middle of everything that they do: no order that was answered is lost, and no wrong
//! byte stands anywhere.
//!
//! Orders go to a real daemon over its socket, one after another: jobs made, paused, resumed and cancelled, entities pinned,
//! let go and removed, limits changed under a quota that is too small for all. At some moment the daemon is killed; what it had
//! answered is held against what the next one says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use eddy_node::control::{Client, socket_of};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, Signal, from_environment, hash_of, write_sample};
use eddy_wire::api::{EntityQuery, JobAction, JobSpec, JobState, JobView, LimitsChange, PageQuery, RemovalOrder};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::process::{Pid, kill_process};

const PATIENCE: Duration = Duration::from_secs(120);
/// Files at the origin.
const FILES: u64 = 10;
/// Jobs that may be open at a time.
const MOST_OPEN: usize = 12;
/// Cycles after which a store is looked over while no node runs.
const LOOK_EVERY: u64 = 20;
/// Under the smaller not everything fits.
const QUOTAS: [&str; 2] = ["12 MiB", "64 MiB"];

/// What was answered, and what was asked and not answered.
#[derive(Default)]
struct Facts {
    jobs: BTreeMap<String, Job>,
    /// Destinations of jobs whose making was not answered.
    unanswered: BTreeSet<String>,
    /// By entity: whether it is pinned; `None` where an order was not answered.
    pins: BTreeMap<String, Option<bool>>,
    quota: Option<String>,
    orders: u64,
}

/// What is known of a job.
#[derive(Debug, Clone)]
struct Job {
    file: u64,
    destination: PathBuf,
    state: Known,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Runs,
    Paused,
    Cancelled,
    /// An order was not answered, or the job is over: its destination is what counts.
    Whatever,
}

/// The origin, the node, and what is known.
struct Cycles {
    origin: Nginx,
    hashes: Vec<blake3::Hash>,
    node: Eddy<'static>,
    client: Client,
    facts: Facts,
    random: SmallRng,
    made: u64,
    delivered: BTreeSet<PathBuf>,
    runtime: tokio::runtime::Runtime,
}

impl Cycles {
    fn new() -> Self {
        let origin = Nginx::here(&NginxSpec { directives: "limit_rate 24m;".into(), ..NginxSpec::default() }).unwrap();
        let length = |file: u64| 50_000 + file * file * 37_003;
        let write = |file| write_sample(&origin.files().join(format!("{file}.img")), file, length(file)).unwrap();
        let hashes = (0..FILES).map(write).collect();
        let node = Eddy::here().unwrap();
        let client = Client::new(&socket_of(node.home())).map_err(|problem| problem.to_string()).unwrap();
        std::fs::create_dir(node.home().join("out")).unwrap();
        let seed = from_environment("EDDY_SEED", 31);
        println!("EDDY_SEED={seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            origin,
            hashes,
            node,
            client,
            facts: Facts::default(),
            random: SmallRng::seed_from_u64(seed),
            made: 0,
            delivered: BTreeSet::new(),
            runtime,
        }
    }

    /// One life of a daemon: it is held against the facts, works, and dies.
    fn cycle(&mut self, number: u64) {
        if number % 4 == 3 {
            // Dies while it starts and recovers.
            let mut daemon = self.node.spawn(["daemon"]).unwrap();
            thread::sleep(Duration::from_millis(self.random.random_range(0..150)));
            daemon.kill().unwrap();
            return;
        }
        let mut daemon = self.node.daemon().unwrap();
        self.hold(&daemon);
        let id = daemon.id();
        let life = Duration::from_millis(self.random.random_range(5..400));
        let pauses = number.is_multiple_of(7);
        let killer = thread::spawn(move || {
            let pid = Pid::from_raw(id.cast_signed()).unwrap();
            if pauses {
                // Stopped as by a suspend, and gone on.
                kill_process(pid, Signal::STOP).unwrap();
                thread::sleep(Duration::from_millis(50));
                kill_process(pid, Signal::CONT).unwrap();
            }
            thread::sleep(life);
            kill_process(pid, Signal::KILL).unwrap();
        });
        while self.order().is_some() {
            self.facts.orders += 1;
        }
        killer.join().unwrap();
        daemon.wait(PATIENCE).unwrap();
        self.look_at_destinations();
    }

    /// Gives some order; `None` when it was not answered.
    fn order(&mut self) -> Option<()> {
        match self.random.random_range(0..12) {
            0..=3 => self.make_job(),
            4 => self.act(JobAction::Pause),
            5 | 6 => self.act(JobAction::Resume),
            7 => self.act(JobAction::Cancel),
            8 | 9 => self.pin(),
            10 => self.remove(),
            _ => self.set_quota(),
        }
    }

    fn jobs(&self) -> Option<Vec<JobView>> {
        let all = PageQuery { limit: Some(1000), ..PageQuery::default() };
        self.runtime.block_on(self.client.jobs(&all)).ok().map(|page| page.items)
    }

    fn make_job(&mut self) -> Option<()> {
        if self.jobs()?.len() >= MOST_OPEN {
            return Some(());
        }
        self.made += 1;
        let file = self.random.random_range(0..FILES);
        let destination = self.node.home().join("out").join(format!("{}-{file}", self.made));
        let text = destination.to_str().unwrap().to_owned();
        let start = self.random.random_range(0..4) != 0;
        let url = self.origin.url(&format!("{file}.img"));
        let spec = serde_json::json!({ "files": [{ "url": url, "destination": text }], "start": start });
        let spec: JobSpec = serde_json::from_value(spec).unwrap();
        self.facts.unanswered.insert(text.clone());
        let job = self.runtime.block_on(self.client.create_job(&spec)).ok()?;
        self.facts.unanswered.remove(&text);
        let state = if start { Known::Runs } else { Known::Paused };
        self.facts.jobs.insert(job.id, Job { file, destination, state });
        Some(())
    }

    fn act(&mut self, action: JobAction) -> Option<()> {
        let open = self.jobs()?;
        let known: Vec<&JobView> = open.iter().filter(|job| self.facts.jobs.contains_key(&job.id)).collect();
        if known.is_empty() {
            return Some(());
        }
        let id = known[self.random.random_range(0..known.len())].id.clone();
        let answer = self.runtime.block_on(self.client.act(&id, action));
        let job = self.facts.jobs.get_mut(&id)?;
        match answer {
            Ok(view) if view.state.is_final() && action != JobAction::Cancel => job.state = Known::Whatever,
            Ok(_) => {
                job.state = match action {
                    JobAction::Pause => Known::Paused,
                    JobAction::Cancel => Known::Cancelled,
                    JobAction::Resume | JobAction::Finish => Known::Runs,
                    // It is whose it was, and goes on.
                    JobAction::Take => return Some(()),
                }
            }
            Err(_) => {
                job.state = Known::Whatever;
                // Refused, because the job was over meanwhile, or not answered at all.
                self.jobs()?;
            }
        }
        Some(())
    }

    fn pin(&mut self) -> Option<()> {
        let entities = self.runtime.block_on(self.client.entities(&EntityQuery::default())).ok()?.items;
        if entities.is_empty() {
            return Some(());
        }
        let id = entities[self.random.random_range(0..entities.len())].id.clone();
        // Few enough that not the whole quota is pinned.
        let pins = self.facts.pins.values().filter(|pinned| **pinned != Some(false)).count() < 3;
        self.facts.pins.insert(id.clone(), None);
        let answer = self
            .runtime
            .block_on(async { if pins { self.client.pin(&id).await } else { self.client.unpin(&id).await } });
        match answer {
            Ok(change) => {
                assert_eq!(change.pinned, pins);
                self.facts.pins.insert(id, Some(pins));
            }
            // Gone meanwhile, or not answered.
            Err(_) => drop(self.jobs()?),
        }
        Some(())
    }

    fn remove(&mut self) -> Option<()> {
        let entities = self.runtime.block_on(self.client.entities(&EntityQuery::default())).ok()?.items;
        let ids = entities.into_iter().map(|entity| entity.id).take(2).collect();
        let order = RemovalOrder { ids, ..RemovalOrder::default() };
        let removed = self.runtime.block_on(self.client.remove(&order)).ok()?;
        for id in &removed.removed {
            assert_ne!(self.facts.pins.get(id), Some(&Some(true)), "a pinned entity was removed");
        }
        Some(())
    }

    fn set_quota(&mut self) -> Option<()> {
        let quota = QUOTAS[self.random.random_range(0..QUOTAS.len())].to_owned();
        self.facts.quota = None;
        let change = LimitsChange { quota: Some(quota.clone()), ..LimitsChange::default() };
        match self.runtime.block_on(self.client.set_limits(&change)) {
            Ok(outcome) => {
                assert_eq!(outcome.new.quota.value, quota);
                self.facts.quota = Some(quota);
                Some(())
            }
            Err(problem) => {
                assert!(self.jobs().is_none(), "a living node refuses a setting: {problem}");
                None
            }
        }
    }

    /// Holds a daemon that has just started against everything that was answered before.
    fn hold(&mut self, daemon: &Running) {
        let jobs = self.jobs().unwrap_or_else(|| panic!("{}", daemon.log()));
        let open: BTreeMap<&str, &JobView> = jobs.iter().map(|job| (job.id.as_str(), job)).collect();
        for (id, job) in &mut self.facts.jobs {
            let found = open.get(id.as_str()).copied();
            let is_delivered = job.destination.exists();
            match job.state {
                Known::Runs => assert!(found.is_some() || is_delivered, "{id} is lost: {job:?}\n{}", daemon.log()),
                Known::Paused => {
                    let is_paused = found.is_some_and(|found| found.state == JobState::Suspended);
                    assert!(is_paused, "{id} was paused: {job:?}, {found:?}");
                }
                Known::Cancelled => {
                    assert!(found.is_none_or(|found| found.state.is_final()), "{id}: {job:?}, {found:?}")
                }
                Known::Whatever => {}
            }
            if is_delivered && found.is_none() {
                job.state = Known::Whatever;
            }
        }
        for job in &jobs {
            let is_known = self.facts.jobs.contains_key(&job.id);
            let is_ours = job.files.iter().any(|file| self.facts.unanswered.contains(&file.destination));
            assert!(is_known || is_ours, "nobody made {job:?}");
        }
        self.hold_cache();
    }

    fn hold_cache(&mut self) {
        let cache = self.runtime.block_on(self.client.cache()).map_err(|problem| problem.to_string()).unwrap();
        match &self.facts.quota {
            Some(quota) => assert_eq!(cache.limits.quota.value, *quota, "a setting is lost"),
            None => self.facts.quota = Some(cache.limits.quota.value.clone()).filter(|_| self.facts.orders > 0),
        }
        let all = EntityQuery { limit: Some(1000), ..EntityQuery::default() };
        let entities =
            self.runtime.block_on(self.client.entities(&all)).map_err(|problem| problem.to_string()).unwrap();
        let entities: BTreeMap<String, bool> =
            entities.items.into_iter().map(|entity| (entity.id, entity.pinned)).collect();
        for (id, pinned) in &mut self.facts.pins {
            let found = entities.get(id).copied();
            match *pinned {
                Some(true) => assert_eq!(found, Some(true), "a pin on {id} is lost"),
                Some(false) => assert_ne!(found, Some(true), "{id} is pinned again"),
                None => {}
            }
            *pinned = Some(found == Some(true));
        }
    }

    /// Whatever stands at a destination is whole and right.
    fn look_at_destinations(&mut self) {
        for entry in std::fs::read_dir(self.node.home().join("out")).unwrap() {
            let path = entry.unwrap().path();
            let Some(file) = file_of(&path).filter(|_| !self.delivered.contains(&path)) else { continue };
            assert_eq!(hash_of(&path).unwrap(), self.hashes[file], "{} has wrong bytes", path.display());
            self.delivered.insert(path);
        }
    }

    /// Looks over the store while no node runs: it is sound as the kill left it, and every held block is read and is right.
    fn look_over(&self) {
        self.node.check_cache().unwrap();
        let config = eddy_cache::StoreConfig::new(self.node.home().join("cache"));
        let store = eddy_cache::Store::open(config).unwrap();
        let mut bytes = Vec::new();
        for record in store.list(None, 1000).unwrap() {
            let Some(handle) = store.find(&record.id()).unwrap() else { panic!("a listed entity is not here") };
            let name = record.entity.url.as_str().rsplit('/').next().unwrap().to_owned();
            let source = std::fs::read(self.origin.files().join(name)).unwrap();
            for block in handle.held().runs().flatten() {
                handle.read_run(block..block + 1, &mut bytes).unwrap();
                let place = handle.geometry().block_bytes(block);
                assert!(bytes == source[place.start as usize..place.end as usize], "a held block is wrong");
            }
        }
        assert!(store.ledger().unwrap().iter().all(eddy_cache::LedgerRow::closes));
        drop(store);
        self.node.check_cache().unwrap();
    }

    /// Lets everything come to its end.
    fn end(&mut self) {
        let daemon = self.node.daemon().unwrap();
        self.hold(&daemon);
        let change = LimitsChange { quota: Some("1 GiB".to_owned()), ..LimitsChange::default() };
        self.runtime.block_on(self.client.set_limits(&change)).map_err(|problem| problem.to_string()).unwrap();
        for job in self.jobs().unwrap() {
            if job.state == JobState::Suspended || job.state == JobState::Error {
                let _ = self.runtime.block_on(self.client.act(&job.id, JobAction::Resume));
            }
        }
        let running = self.facts.jobs.values().filter(|job| matches!(job.state, Known::Runs | Known::Paused));
        let waited: Vec<PathBuf> = running.map(|job| job.destination.clone()).collect();
        for destination in waited {
            self.node.wait_delivered(&destination, PATIENCE).unwrap();
        }
        self.look_at_destinations();
        for job in self.facts.jobs.values().filter(|job| self.delivered.contains(&job.destination)) {
            assert_eq!(file_of(&job.destination), Some(job.file as usize));
        }
        drop(daemon);
        self.node.check_cache().unwrap();
    }
}

/// Which file of the origin a destination is for; `None` for one that is not finished.
fn file_of(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.split_once('-')?.1.parse().ok()
}

#[test]
fn a_node_that_is_killed_again_and_again_loses_nothing_that_it_answered() {
    if !Nginx::ready() {
        return;
    }
    let mut cycles = Cycles::new();
    let count = from_environment("EDDY_NODE_KILLS", 200);
    for number in 0..count {
        cycles.cycle(number);
        if number % LOOK_EVERY == LOOK_EVERY - 1 {
            cycles.look_over();
        }
    }
    cycles.end();
    let facts = &cycles.facts;
    println!(
        "{count} kills, {} orders answered, {} jobs, {} delivered, {} MiB",
        facts.orders,
        facts.jobs.len(),
        cycles.delivered.len(),
        cycles.delivered.iter().map(|path| path.metadata().unwrap().len()).sum::<u64>() / MIB
    );
    assert!(facts.orders > count / 2 && !cycles.delivered.is_empty(), "the nodes got something done");
}
