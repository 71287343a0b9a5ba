//! The file changes at the origin at random instants, before, during and between transfers: what is delivered is one version,
//! never a mixture, and it is not one that was gone before it was asked for.
//!
//! A real node, in this process so that a thousand instants are feasible, fetches over real HTTP. `EDDY_CHANGE_INSTANTS`
//! sets how many (default 60), `EDDY_SEED` which.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use eddy_node::config::{Network, NodeConfig, RunsAs, Settings};
use eddy_node::control::{Client, socket_of};
use eddy_node::node::Node;
use eddy_tests::hostile::{Behaviour, BodyFault, HostileOrigin, Mark, RangeAnswer, RangeLie, Resource, Version};
use eddy_tests::process::from_environment;
use eddy_wire::api::{FileSpec, Finish, JobAction, JobSpec, JobState, JobView, PeerUse, Priority};
use futures::StreamExt as _;
use rand::rngs::SmallRng;
use rand::{Rng, RngExt as _, SeedableRng as _};

const PATIENCE: Duration = Duration::from_secs(120);
/// Instants that are tried at the same time.
const AT_ONCE: usize = 8;
/// Lengths of the files: some of one request, all of many blocks.
const LENGTHS: std::ops::Range<u64> = 300_000..5_000_000;
/// Bytes a second of a connection: the longest file takes a quarter of a second if nothing breaks.
const RATE: u64 = 20_000_000;

/// When the file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// So long after the job was made, while bodies of the old version go on.
    After(Duration),
    /// With this request: the first is the first contact.
    WithAsk(u64),
    /// Twice, in these intervals.
    Twice(Duration),
    /// While the job is paused.
    InPause(Duration),
    /// When one copy has been delivered, and before the next is asked for.
    BetweenCopies,
}

/// One trial: everything about it follows from the seed.
#[derive(Debug, Clone)]
struct Trial {
    number: u64,
    versions: [Version; 3],
    behaviour: Behaviour,
    moment: Moment,
}

impl Trial {
    fn new(number: u64, rng: &mut impl Rng) -> Self {
        let length = rng.random_range(LENGTHS);
        // Same length, other bytes, other tag, other date: only the validator tells them apart.
        let version =
            |n: u64| Version { modified: 1_700_000_000 + n as i64 * 60, ..Version::new(number * 3 + n, length) };
        let behaviour = Behaviour { rate: Some(RATE), ..behaviour(length, rng) };
        let while_it_runs = Duration::from_millis(rng.random_range(0..300));
        let moment = match rng.random_range(0..5) {
            0 => Moment::After(while_it_runs),
            1 => Moment::WithAsk(rng.random_range(1..6)),
            2 => Moment::Twice(while_it_runs / 2),
            3 => Moment::InPause(while_it_runs),
            _ => Moment::BetweenCopies,
        };
        Self { number, versions: [version(0), version(1), version(2)], behaviour, moment }
    }

    fn path(&self) -> String {
        format!("/file-{}", self.number)
    }

    fn serve(&self, origin: &HostileOrigin, version: usize) {
        origin.publish(&self.path(), Resource::new(self.versions[version].clone(), self.behaviour.clone()));
    }

    /// Which version these bytes are, all of them.
    fn version_of(&self, bytes: &[u8]) -> Option<usize> {
        self.versions.iter().position(|version| version.whole() == bytes)
    }
}

/// A server on which changes are hard to notice: most break off, some ignore what is asked.
fn behaviour(length: u64, rng: &mut impl Rng) -> Behaviour {
    let cut = rng.random_range(200_000..length.max(200_001));
    match rng.random_range(0..7) {
        0 => Behaviour::default(),
        1 | 2 => Behaviour::body(BodyFault::CloseAfter(cut)),
        3 => Behaviour::body(BodyFault::ResetAfter(cut)),
        4 => Behaviour { body: Some(BodyFault::CloseAfter(cut)), ..Behaviour::mark(Mark::Modified) },
        5 => Behaviour { body: Some(BodyFault::CloseAfter(cut)), ..Behaviour::lie(RangeLie::IgnoresPreconditions) },
        _ => Behaviour::ranges(RangeAnswer::Ignored),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_at_any_instant_is_never_mixed() {
    let (instants, seed) = (from_environment("EDDY_CHANGE_INSTANTS", 60), from_environment("EDDY_SEED", 1));
    println!("EDDY_SEED={seed} EDDY_CHANGE_INSTANTS={instants}");
    let home = tempfile::tempdir().unwrap();
    let node = start(home.path()).await;
    let client = Client::new(node.socket()).unwrap();
    let origin = HostileOrigin::start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut rng = SmallRng::seed_from_u64(seed);
    let trials: Vec<_> = (0..instants).map(|number| Trial::new(number, &mut rng)).collect();
    let outcomes: Vec<_> = futures::stream::iter(trials)
        .map(|trial| {
            let (client, origin, folder) = (&client, &origin, folder.path());
            async move { tokio::time::timeout(PATIENCE, run(&trial, client, origin, folder)).await.map_err(|_| trial) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut counts = BTreeMap::<String, u64>::new();
    for outcome in outcomes {
        *counts.entry(outcome.unwrap_or_else(|trial| panic!("{trial:?} does not end"))).or_default() += 1;
    }
    println!("{counts:#?}");
    if instants >= 60 {
        for version in ["version 0", "version 1"] {
            assert!(counts.keys().any(|word| word.ends_with(version)), "no {version}: the instants are not random");
        }
    }
    node.shutdown().await;
}

/// Carries out one trial and says in words which version was delivered. Panics at a mixture.
async fn run(trial: &Trial, client: &Client, origin: &HostileOrigin, folder: &Path) -> String {
    trial.serve(origin, 0);
    let destination = folder.join(format!("copy-{}", trial.number));
    let spec = spec(&origin.url(&trial.path()), &destination);
    let created = async || client.create_job(&spec).await.unwrap().id;
    let mut oldest = 0;
    let id = match trial.moment {
        Moment::After(wait) => {
            let id = created().await;
            tokio::time::sleep(wait).await;
            trial.serve(origin, 1);
            id
        }
        Moment::WithAsk(number) => {
            let [before, after, _] = trial.versions.clone();
            origin.publish(&trial.path(), Resource::changing_at(number, before, after, trial.behaviour.clone()));
            created().await
        }
        Moment::Twice(wait) => {
            let id = created().await;
            for version in [1, 2] {
                tokio::time::sleep(wait).await;
                trial.serve(origin, version);
            }
            id
        }
        Moment::InPause(wait) => {
            let id = created().await;
            tokio::time::sleep(wait).await;
            if client.act(&id, JobAction::Pause).await.is_ok() {
                trial.serve(origin, 1);
                // Had everything come before the pause, the old version may be delivered: it was whole.
                let before = client.job(&id).await.unwrap();
                if before.length() != Some(before.done()) {
                    oldest = 1;
                }
                client.act(&id, JobAction::Resume).await.unwrap();
            }
            id
        }
        Moment::BetweenCopies => {
            let first = end(client, &created().await).await;
            assert_eq!(first.state, JobState::Acknowledged, "{trial:?}: {first:?}");
            std::fs::remove_file(&destination).unwrap();
            trial.serve(origin, 1);
            oldest = 1;
            created().await
        }
    };
    let job = end(client, &id).await;
    let delivered = std::fs::read(&destination).ok();
    let _ = std::fs::remove_file(&destination);
    match (job.state, delivered) {
        (JobState::Acknowledged, Some(bytes)) => {
            let Some(version) = trial.version_of(&bytes) else { panic!("A MIXED FILE: {trial:?}: {job:?}") };
            assert!(version >= oldest, "an outdated file: {trial:?}: {job:?}");
            let shown = job.files[0].blake3.as_deref();
            assert_eq!(shown, Some(blake3::hash(&bytes).to_hex().as_str()), "{trial:?}");
            format!("{}: version {version}", word(trial.moment))
        }
        // Following a file that changes again and again may be given up, openly.
        (JobState::Error, None) if job.error.as_ref().is_some_and(|error| error.code == "origin-changing") => {
            client.act(&id, JobAction::Cancel).await.unwrap();
            format!("{}: given up", word(trial.moment))
        }
        (state, delivered) => panic!("{state:?}, delivered {}: {trial:?}: {job:#?}", delivered.is_some()),
    }
}

fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::After(_) => "during",
        Moment::WithAsk(_) => "with a request",
        Moment::Twice(_) => "twice",
        Moment::InPause(_) => "in a pause",
        Moment::BetweenCopies => "between copies",
    }
}

/// The last view of a job.
async fn end(client: &Client, id: &str) -> JobView {
    let mut watch = client.watch(id).await.unwrap();
    loop {
        let job = watch.next().await.unwrap().expect("a job ends before its watch does");
        if job.state.is_final() || job.state == JobState::Error {
            return job;
        }
    }
}

fn spec(url: &str, destination: &Path) -> JobSpec {
    let file = FileSpec {
        url: url.to_owned(),
        destination: destination.to_str().unwrap().to_owned(),
        digest: None,
        overwrite: false,
        ranges: Vec::new(),
        on_demand: false,
    };
    JobSpec {
        files: vec![file],
        name: None,
        priority: Priority::Foreground,
        peers: PeerUse::default(),
        start: true,
        finish: Finish::Auto,
        asking: None,
        adopt: false,
        followed: true,
        terms: eddy_wire::api::Terms::default(),
    }
}

/// A node whose cache holds a few of the files only, so that versions are also evicted.
async fn start(home: &Path) -> Node {
    let mut settings = Settings::default();
    settings.cache.quota = Some("128 MiB".to_owned());
    settings.cache.reserve = Some("1 MiB".to_owned());
    settings.peers.mdns = Some(false);
    let config = NodeConfig {
        home: home.to_path_buf(),
        config: home.join("eddy.toml"),
        socket: socket_of(home),
        network: Network::Full,
        runs_as: RunsAs::Inside,
        settings,
        given: None,
    };
    Node::start(config).await.unwrap()
}
