//! What the store of a running node met and got over is told to whoever asks for it: `eddy cache info` and `eddy doctor`, by real
//! processes on a real disk.

use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use eddy_content::BLOCK_SIZE;
use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, MIB, Running, hash_of};
use eddy_wire::api::{CacheView, DoctorReport, Finding, Identity, JobState, JobView};

const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: u64 = 3 * MIB;
/// Bytes that a file may have while the disk refuses: the first page of the index, of which every change writes others.
const LITTLE: u64 = 4096;

/// A node with a daemon and a file in its cache.
struct Stage {
    node: Eddy<'static>,
    daemon: Running,
    origin: HostileOrigin,
    hash: blake3::Hash,
}

impl Stage {
    async fn new() -> Self {
        let node = Eddy::here().unwrap();
        std::fs::set_permissions(node.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(node.home().join("eddy.toml"), "[cache]\nreserve = \"1 KiB\"\n").unwrap();
        let origin = HostileOrigin::start().await.unwrap();
        let version = Version::new(1, LENGTH);
        let hash = blake3::hash(&version.whole());
        origin.publish("/image", Resource::new(version, Behaviour::default()));
        let daemon = forbearing_daemon(&node);
        let stage = Self { node, daemon, origin, hash };
        stage.fetch("first");
        stage
    }

    fn url(&self) -> String {
        self.origin.url("/image")
    }

    fn index(&self) -> PathBuf {
        self.node.home().join("cache/index.redb")
    }

    fn fetch(&self, name: &str) {
        let path = self.node.home().join(name);
        assert_eq!(self.node.get(&self.url(), &path).unwrap().state, JobState::Acknowledged);
        assert_eq!(hash_of(&path).unwrap(), self.hash);
    }

    /// How long a file may be that the daemon writes; `None` for as long as it likes.
    fn limit(&self, bytes: Option<u64>) {
        let soft = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let pid = self.daemon.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={soft}:")]).status().unwrap();
        assert!(set.success());
    }

    /// A change of the index that the disk refuses, and so its opening again, too: whoever wanted it is told one or the other.
    fn have_a_change_refused(&self) {
        self.limit(Some(LITTLE));
        let refused = self.node.ended(&["cache", "pin", &self.url()]).unwrap();
        self.limit(None);
        assert!(matches!(refused.code(), Some("disk-full" | "store-unusable")), "{refused:?}");
    }

    /// What is told of the store, the same by both.
    fn findings(&self) -> Vec<Finding> {
        let info: CacheView = self.node.ask(&["cache", "info"]).unwrap();
        let report: DoctorReport = self.node.ask(&["doctor"]).unwrap();
        assert_eq!(report.running, Some(self.daemon.id()));
        for finding in &info.findings {
            assert!(report.findings.contains(finding), "{finding:?} is not in {report:?}");
            assert!(!finding.is_open() && !finding.remedy.is_empty(), "{finding:?}");
        }
        info.findings
    }

    /// The node ends in peace, and its cache is what it should be.
    fn end(mut self) {
        assert_eq!(self.node.report().unwrap().totals.identity(), Identity::Closes);
        assert!(self.daemon.stop(PATIENCE).unwrap().success());
        self.node.check_cache().unwrap();
    }
}

/// A daemon that hears of a file that may not grow by an error, not by a signal that ends it.
fn forbearing_daemon(node: &Eddy<'_>) -> Running {
    let plain = node.command(["daemon"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    for (key, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    daemon
}

fn flip(path: &Path, at: u64) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

/// The files of the cache below a directory, by the end of their names.
fn files(directory: &Path, end: &str) -> Vec<PathBuf> {
    let entries = directory.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| match path.is_dir() {
        true => files(&path, end),
        false => Some(path).into_iter().filter(|path| path.to_string_lossy().ends_with(end)).collect(),
    };
    entries.flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_change_of_the_index_is_told_when_it_is_over() {
    let stage = Stage::new().await;
    assert_eq!(stage.findings(), []);
    stage.have_a_change_refused();
    let findings = stage.findings();
    assert!(
        findings.iter().any(|finding| finding.what.contains("opened again after the disk refused")),
        "{findings:?}"
    );
    let people = stage.node.ended(&["cache", "info"]).unwrap();
    assert!(people.out.contains("warning: index was opened again"), "{people:?}");
    // All goes on, with what was there.
    assert_eq!(stage.node.ended(&["cache", "pin", &stage.url()]).unwrap().status, Some(0));
    let before = stage.origin.counters().body_bytes();
    stage.fetch("second");
    assert_eq!(stage.origin.counters().body_bytes(), before);
    stage.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_rots_in_use_is_made_anew_with_jobs_and_files_and_told() {
    let mut stage = Stage::new().await;
    // A job that waits, whose row must outlive the index.
    let later = stage.node.home().join("later");
    let words = ["job", "create", "later", "--auto", "--file", &stage.url(), later.to_str().unwrap()];
    let job: JobView = stage.node.ask(&words).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(stage.index()).unwrap();
    let rot = vec![0xa5; (file.metadata().unwrap().len() - LITTLE) as usize];
    file.write_all_at(&rot, LITTLE).unwrap();
    // The node has the pages in memory, until it must look what is on the disk.
    stage.have_a_change_refused();
    let findings = stage.findings();
    assert!(findings.iter().any(|finding| finding.what.contains("damaged in use and made anew")), "{findings:?}");
    assert_eq!(files(&stage.node.home().join("cache"), "").iter().filter(|path| is_damaged(path)).count(), 1);
    stage.node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Suspended).unwrap();
    // The files come back: by a thread within a minute, by a start before it serves. Not a byte comes from the origin.
    assert!(stage.daemon.stop(PATIENCE).unwrap().success());
    stage.daemon = forbearing_daemon(&stage.node);
    wait_held(&stage.node);
    let before = stage.origin.counters().body_bytes();
    stage.fetch("second");
    assert_eq!(stage.node.ended(&["job", "resume", &job.id]).unwrap().status, Some(0));
    stage.node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    assert_eq!(hash_of(&later).unwrap(), stage.hash);
    assert_eq!(stage.origin.counters().body_bytes(), before);
    stage.end();
}

/// Waits until every block of the file is proved and held again.
fn wait_held(node: &Eddy<'_>) {
    let deadline = Instant::now() + PATIENCE;
    while !node.cached().unwrap().iter().any(|entity| entity.held == LENGTH) {
        assert!(Instant::now() < deadline, "the file does not come back: {:?}", node.cached());
    }
}

fn is_damaged(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("index.damaged-"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_verification_finds_stays_in_the_record_of_the_cache() {
    let mut stage = Stage::new().await;
    let data = files(&stage.node.home().join("cache/entities"), ".data").remove(0);
    [0, 1, 30].into_iter().for_each(|block| flip(&data, block * BLOCK_SIZE + 7));
    let found = stage.node.ended(&["cache", "verify", "--all"]).unwrap();
    assert_eq!((found.status, found.code()), (Some(6), Some("content-corrupt")), "{found:?}");
    let corrupt = |node: &Eddy<'_>| node.ask::<CacheView>(&["cache", "info"]).unwrap().corrupt_blocks;
    assert_eq!(corrupt(&stage.node), 3);
    let people = stage.node.ended(&["cache", "info"]).unwrap();
    assert!(people.out.contains("3 blocks, set aside"), "{people:?}");
    // Also by doctor, which hashes what is left and what rots since.
    flip(&data, 40 * BLOCK_SIZE);
    let doctor: DoctorReport = stage.node.ask(&["doctor", "--strict"]).unwrap();
    assert!(doctor.findings.iter().any(|finding| finding.what.contains("were not what was written")), "{doctor:?}");
    assert_eq!(corrupt(&stage.node), 4);
    // The record outlives the node, and what is fetched again adds nothing to it.
    assert!(stage.daemon.stop(PATIENCE).unwrap().success());
    stage.daemon = forbearing_daemon(&stage.node);
    stage.fetch("second");
    assert_eq!(stage.node.ended(&["cache", "verify", "--all"]).unwrap().status, Some(0));
    assert_eq!(corrupt(&stage.node), 4);
    stage.end();
}
