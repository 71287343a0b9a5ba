//! Conditions of the machine, the real ones: full disks, read-only mounts, lost rights, no descriptors left. The job says
//! which, and goes on by itself when the condition ends, with what it has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use eddy_tests::process::{Eddy, MIB, Mounts, Nginx, NginxSpec, Running, body_bytes, hash_of, write_sample};
use eddy_wire::api::{Identity, JobState, JobView};

const PATIENCE: Duration = Duration::from_secs(60);
/// `nobody`, or whoever has that number: somebody without rights.
const SOMEBODY: u32 = 65_534;

/// An origin with one file, and where a node is to put it.
struct Scene {
    origin: Nginx,
    hash: blake3::Hash,
    length: u64,
}

impl Scene {
    fn new(length: u64, directives: &str) -> Self {
        let origin = Nginx::here(&NginxSpec { directives: directives.to_owned(), ..NginxSpec::default() }).unwrap();
        let hash = write_sample(&origin.files().join("image"), 11, length).unwrap();
        Self { origin, hash, length }
    }

    fn url(&self) -> String {
        self.origin.url("image")
    }

    /// The job has ended, the file is right, the origin gave it once and the account says the same.
    fn assert_delivered(&self, node: &Eddy<'_>, job: &str, file: &Path, most_twice: u64) {
        node.wait_job(job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
        assert_eq!(hash_of(file).unwrap(), self.hash);
        let totals = node.report().unwrap().totals;
        assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
        assert_eq!(totals.delivered, self.length, "{totals:?}");
        let sent = body_bytes(&self.origin.access().unwrap());
        assert!(sent <= self.length + most_twice, "{sent} bytes sent for {}: {totals:?}", self.length);
    }
}

/// Waits until the job waits for a condition of this kind, and gives what it says.
fn wait_hindered(node: &Eddy<'_>, job: &str, code: &str) -> String {
    let hindered = |job: &JobView| {
        job.state == JobState::TransientError && job.error.as_ref().is_some_and(|error| error.code == code)
    };
    let job = node.wait_job(job, PATIENCE, hindered).unwrap();
    assert!(job.next_attempt_unix_ms.is_some(), "{job:?}");
    let error = job.error.unwrap();
    assert!(!error.remedy.is_empty());
    error.detail.unwrap_or_default()
}

fn ready() -> bool {
    Nginx::ready() && Mounts::ready()
}

fn place(node: &Eddy<'_>, name: &str) -> PathBuf {
    node.home().join(name)
}

/// The cache may use all of a file system, however small or full.
fn unlimited(node: Eddy<'_>) -> Eddy<'_> {
    std::fs::write(node.home().join("eddy.toml"), "[cache]\nquota = \"100 %\"\nreserve = \"1 KiB\"\n").unwrap();
    node
}

#[test]
fn a_full_disk_at_the_destination_is_waited_out_with_everything_in_the_cache() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(6 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let disk = place(&node, "disk");
    mounts.tmpfs(&disk, 8 * MIB).unwrap();
    let filler = mounts.fill(&disk).unwrap();
    let _daemon = node.daemon().unwrap();
    let job = node.get_in_background(&scene.url(), &disk.join("image")).unwrap();
    let said = wait_hindered(&node, &job, "disk-full");
    assert!(said.contains(disk.to_str().unwrap()), "{said}");
    std::fs::remove_file(filler).unwrap();
    scene.assert_delivered(&node, &job, &mounts.seen(&disk.join("image")), 0);
}

#[test]
fn a_destination_that_becomes_writable_again_gets_its_file() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let disk = place(&node, "disk");
    mounts.tmpfs(&disk, 8 * MIB).unwrap();
    mounts.remount(&disk, "ro").unwrap();
    let _daemon = node.daemon().unwrap();
    let job = node.get_in_background(&scene.url(), &disk.join("image")).unwrap();
    let said = wait_hindered(&node, &job, "disk-read-only");
    assert!(said.contains(disk.to_str().unwrap()), "{said}");
    mounts.remount(&disk, "rw").unwrap();
    scene.assert_delivered(&node, &job, &mounts.seen(&disk.join("image")), 0);
}

#[test]
fn rights_that_are_lost_in_the_middle_and_given_back_lose_nothing() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(12 * MIB, "limit_rate 4m;"));
    let node = unlimited(Eddy::among(&mounts).unwrap().run_by(SOMEBODY).unwrap());
    let disk = place(&node, "disk");
    mounts.tmpfs(&disk, 32 * MIB).unwrap();
    let rights = |mode| std::fs::set_permissions(mounts.seen(&disk), std::fs::Permissions::from_mode(mode)).unwrap();
    let _daemon = node.daemon().unwrap();
    let job = node.get_in_background(&scene.url(), &disk.join("image")).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.sources().origin > 2 * MIB).unwrap();
    // The file in the making is open; what fails is the last step, its rename.
    rights(0o555);
    let said = wait_hindered(&node, &job, "destination-not-writable");
    assert!(said.contains(disk.to_str().unwrap()), "{said}");
    rights(0o777);
    scene.assert_delivered(&node, &job, &mounts.seen(&disk.join("image")), 0);
}

#[test]
fn the_cache_gives_way_to_a_file_on_its_own_disk() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(6 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let cache = place(&node, "cache");
    mounts.tmpfs(&cache, 24 * MIB).unwrap();
    let old = scene.origin.files().join("old");
    write_sample(&old, 1, 8 * MIB).unwrap();
    let _daemon = node.daemon().unwrap();
    // Something that is cached, and of which the user has a copy elsewhere.
    node.get(&scene.origin.url("old"), &place(&node, "old")).unwrap();
    let before = body_bytes(&scene.origin.access().unwrap());
    // Of 24 MiB, 8 are cached and 5 are others': 6 more may come in, but then the user's own 6 have no room.
    let filler = mounts.seen(&cache.join("filler"));
    std::fs::write(&filler, vec![1; 5 * MIB as usize]).unwrap();
    let job = node.get_in_background(&scene.url(), &cache.join("image")).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    assert_eq!(hash_of(&mounts.seen(&cache.join("image"))).unwrap(), scene.hash);
    assert_eq!(body_bytes(&scene.origin.access().unwrap()) - before, 6 * MIB);
    let cached = node.cached().unwrap();
    assert!(cached.iter().all(|entity| !entity.url.ends_with("/old")), "{cached:?}");
    assert_eq!(node.report().unwrap().totals.identity(), Identity::Closes);
}

#[test]
fn a_disk_with_room_for_one_copy_gets_the_users() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(9 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let cache = place(&node, "cache");
    mounts.tmpfs(&cache, 18 * MIB).unwrap();
    let _daemon = node.daemon().unwrap();
    let job = node.get_in_background(&scene.url(), &cache.join("image")).unwrap();
    // The body that came with the first answer is given up for a plain one.
    scene.assert_delivered(&node, &job, &mounts.seen(&cache.join("image")), 9 * MIB);
    assert_eq!(node.cached().unwrap(), Vec::new());
}

#[test]
fn a_cache_disk_that_fills_up_in_the_middle_delays_the_job_and_no_more() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(12 * MIB, "limit_rate 4m;"));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let cache = place(&node, "cache");
    mounts.tmpfs(&cache, 32 * MIB).unwrap();
    let _daemon = node.daemon().unwrap();
    let file = place(&node, "image");
    let job = node.get_in_background(&scene.url(), &file).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.sources().origin > 2 * MIB).unwrap();
    let filler = mounts.fill(&cache).unwrap();
    // What has its place goes on; a new job cannot be written down, or is.
    let other =
        node.ended(&["get", &scene.origin.url("image"), "-o", place(&node, "other").to_str().unwrap(), "--background"]);
    let other = other.unwrap();
    assert!(other.status == Some(0) || other.code() == Some("disk-full"), "{other:?}");
    std::fs::remove_file(filler).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    assert_eq!(hash_of(&file).unwrap(), scene.hash);
    let again = node.get(&scene.url(), &place(&node, "again")).unwrap();
    assert_eq!(again.state, JobState::Acknowledged);
    assert_eq!(node.report().unwrap().totals.identity(), Identity::Closes);
}

#[test]
fn a_daemon_starts_on_a_full_disk_and_takes_jobs_when_there_is_room() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let cache = place(&node, "cache");
    mounts.tmpfs(&cache, 8 * MIB).unwrap();
    let filler = mounts.fill(&cache).unwrap();
    let daemon = node.daemon().unwrap();
    let (file, url) = (place(&node, "image"), scene.url());
    // Whoever follows gets the file, past the cache.
    let got = node.get(&url, &file).unwrap();
    assert_eq!(got.state, JobState::Acknowledged);
    assert_eq!(hash_of(&file).unwrap(), scene.hash);
    // A promise is not given that cannot be kept.
    let later = place(&node, "later");
    let refused = node.ended(&["get", &url, "-o", later.to_str().unwrap(), "--background"]).unwrap();
    assert_eq!(refused.code(), Some("disk-full"), "{refused:?}");
    let status = node.status().unwrap();
    assert!(status.activity.contains("without its store"), "{status:?}");
    std::fs::remove_file(filler).unwrap();
    daemon.wait_line("the node runs with its cache", PATIENCE).unwrap();
    let job = node.get_in_background(&url, &later).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    assert_eq!(hash_of(&later).unwrap(), scene.hash);
}

#[test]
fn a_command_gets_its_file_past_a_cache_that_cannot_be_used() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    // Read-only, full, and with nothing in it; the home itself, so that there is not even a place for a socket.
    for (number, options) in ["ro", "rw"].into_iter().enumerate() {
        let node = unlimited(Eddy::among(&mounts).unwrap());
        let home = place(&node, "home");
        mounts.tmpfs(&home, MIB).unwrap();
        if options == "ro" {
            mounts.remount(&home, "ro").unwrap();
        } else {
            mounts.fill(&home).unwrap();
        }
        let file = place(&node, "image");
        let home = home.to_str().unwrap();
        let got = node.ended(&["--home", home, "get", &scene.url(), "-o", file.to_str().unwrap()]).unwrap();
        assert_eq!(got.status, Some(0), "{options}: {got:?}");
        assert!(got.err.contains("works without its cache"), "{got:?}");
        assert_eq!(hash_of(&file).unwrap(), scene.hash);
        let sent = body_bytes(&scene.origin.access().unwrap());
        assert!(sent <= (number as u64 + 1) * 2 * scene.length, "{sent}");
    }
    // No rights in a cache that was made by another user.
    let node = unlimited(Eddy::among(&mounts).unwrap().run_by(SOMEBODY).unwrap());
    std::fs::create_dir(place(&node, "cache")).unwrap();
    let file = place(&node, "image");
    let got = node.ended(&["get", &scene.url(), "-o", file.to_str().unwrap()]).unwrap();
    assert_eq!(got.status, Some(0), "{got:?}");
    assert_eq!(hash_of(&file).unwrap(), scene.hash);
}

#[test]
fn a_daemon_starts_on_a_read_only_cache_and_takes_it_up_when_it_is_writable() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let cache = place(&node, "cache");
    mounts.tmpfs(&cache, 16 * MIB).unwrap();
    // What lies there from before is of use again, too.
    let mut before = node.daemon().unwrap();
    node.get(&scene.url(), &place(&node, "first")).unwrap();
    assert!(before.stop(PATIENCE).unwrap().success());
    mounts.remount(&cache, "ro").unwrap();
    let daemon = node.daemon().unwrap();
    let (file, later) = (place(&node, "image"), place(&node, "later"));
    assert_eq!(node.get(&scene.url(), &file).unwrap().state, JobState::Acknowledged);
    assert_eq!(hash_of(&file).unwrap(), scene.hash);
    let refused = node.ended(&["get", &scene.url(), "-o", later.to_str().unwrap(), "--background"]).unwrap();
    assert_eq!(refused.code(), Some("disk-read-only"), "{refused:?}");
    assert!(node.status().unwrap().activity.contains("without its store"));
    mounts.remount(&cache, "rw").unwrap();
    daemon.wait_line("the node runs with its cache", PATIENCE).unwrap();
    let sent = body_bytes(&scene.origin.access().unwrap());
    let job = node.get_in_background(&scene.url(), &later).unwrap();
    node.wait_job(&job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    assert_eq!(hash_of(&later).unwrap(), scene.hash);
    assert_eq!(body_bytes(&scene.origin.access().unwrap()), sent, "it is in the cache");
}

#[test]
fn without_descriptors_a_job_waits_and_goes_on_with_more() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    let daemon = node.daemon().unwrap();
    let limit = |files: u32| {
        let pid = daemon.id().to_string();
        let set = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]).status().unwrap();
        assert!(set.success());
    };
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count() as u32;
    // One for the command's connection; not enough for the origin's, the cache's two files and the user's.
    limit(open + 3);
    let file = place(&node, "image");
    let job = node.get_in_background(&scene.url(), &file).unwrap();
    wait_hindered(&node, &job, "too-many-open-files");
    limit(open + 200);
    scene.assert_delivered(&node, &job, &file, 3 * MIB);
}

#[test]
fn with_few_descriptors_jobs_wait_for_each_other_and_all_end() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(MIB, "limit_rate 1m;"));
    let node = unlimited(Eddy::among(&mounts).unwrap());
    // T-51: a process that may open 64 files, with 30 to fetch.
    let mut command = node.command(["daemon"]);
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let environment: Vec<_> =
        command.get_envs().map(|(key, value)| (key.to_owned(), value.map(std::ffi::OsStr::to_owned))).collect();
    command = Command::new("prlimit");
    command.arg("--nofile=64:64").arg(program).args(arguments);
    for (key, value) in environment {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    let mut jobs = Vec::new();
    for number in 0..30 {
        let url = scene.origin.url(&format!("image?{number}"));
        let file = place(&node, &format!("image{number}"));
        jobs.push((node.get_in_background(&url, &file).unwrap(), file));
    }
    for (job, file) in &jobs {
        node.wait_job(job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
        assert_eq!(hash_of(file).unwrap(), scene.hash);
    }
    let totals = node.report().unwrap().totals;
    assert_eq!((totals.identity(), totals.delivered), (Identity::Closes, 30 * MIB), "{totals:?}");
}

#[test]
fn of_jobs_that_have_failed_no_directory_stays_open() {
    if !Nginx::ready() {
        return;
    }
    let (origin, node) = (Nginx::here(&NginxSpec::default()).unwrap(), Eddy::here().unwrap());
    let daemon = node.daemon().unwrap();
    let jobs = (0..20).map(|number| {
        let folder = place(&node, &format!("folder-{number}"));
        std::fs::create_dir(&folder).unwrap();
        node.get_in_background(&origin.url("missing"), &folder.join("file")).unwrap()
    });
    for job in jobs.collect::<Vec<_>>() {
        node.wait_job(&job, PATIENCE, |job| job.state == JobState::Error).unwrap();
    }
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap();
    let places = descriptors.filter_map(|at| std::fs::read_link(at.unwrap().path()).ok());
    let open: Vec<_> = places.filter(|place| place.to_string_lossy().contains("/folder-")).collect();
    assert_eq!(open, Vec::<PathBuf>::new());
}

#[test]
fn a_destination_that_does_not_answer_holds_up_neither_the_daemon_nor_other_jobs() {
    if !ready() {
        return;
    }
    let (mounts, scene) = (Mounts::new().unwrap(), Scene::new(3 * MIB, ""));
    let node = Eddy::among(&mounts).unwrap();
    let mut daemon = node.daemon().unwrap();
    let (lost, file) = (place(&node, "lost"), place(&node, "image"));
    std::fs::create_dir(&lost).unwrap();
    let into = lost.join("image");
    let words = ["job", "create", "lost", "--file", &scene.url(), into.to_str().unwrap()];
    let job: JobView = node.ask(&words).unwrap();
    let _hanging = mounts.hang(&lost).unwrap();
    std::thread::scope(|scope| {
        let begun = Instant::now();
        let cancelled = scope.spawn(|| node.ended(&["job", "cancel", &job.id]));
        node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Cancelled).unwrap();
        assert_eq!(node.get(&scene.url(), &file).unwrap().state, JobState::Acknowledged);
        // Who cancels hears of it when the job cannot come back; not for ever.
        assert_eq!(cancelled.join().unwrap().unwrap().status, Some(0));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    });
    assert_eq!(hash_of(&file).unwrap(), scene.hash);
    assert!(daemon.stop(Duration::from_secs(20)).unwrap().success());
    let _again = node.daemon().unwrap();
    let all: Vec<JobView> = node.ask(&["job", "ls"]).unwrap();
    assert!(all.iter().all(|known| known.id != job.id), "{all:?}");
}
