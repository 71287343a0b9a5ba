//! Hooks over `kill -9`: of every job that was acknowledged its hook is told the end, at least once, with a number that stays the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use eddy_node::control::{Client, socket_of};
use eddy_tests::process::{Eddy, Nginx, NginxSpec, from_environment, write_sample};
use eddy_wire::api::{JobSpec, JobView};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const PATIENCE: Duration = Duration::from_secs(120);
/// Jobs of each life of the daemon.
const JOBS: usize = 3;

fn make(eddy: &Eddy<'_>, url: &str, destination: &Path) -> Option<String> {
    let spec = serde_json::json!({
        "files": [{"url": url, "destination": destination.to_str().unwrap()}],
        "terms": {"hook": "note"},
    });
    let spec: JobSpec = serde_json::from_value(spec).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(&socket_of(eddy.home())).unwrap();
    runtime.block_on(client.create_job(&spec)).ok().map(|job| job.id)
}

/// What the hook wrote: by job, the event and its number.
fn told(path: &Path) -> BTreeMap<String, Vec<(String, u64)>> {
    let mut told: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [number, job, event] = words[..] else { continue };
        told.entry(job.to_owned()).or_default().push((event.to_owned(), number.parse().unwrap()));
    }
    told
}

#[test]
fn no_hook_of_an_acknowledged_job_is_lost_over_kills() {
    if !Nginx::ready() {
        return;
    }
    let seed = from_environment("EDDY_SEED", 20_260);
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    write_sample(&origin.files().join("small"), 4, 200_000).unwrap();
    let eddy = Eddy::here().unwrap();
    let out = eddy.home().join("told");
    let script = format!("echo $EDDY_ID $EDDY_JOB $EDDY_EVENT >> {}", out.display());
    let settings = format!("[peers]\nmdns = false\n[hooks.note]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n");
    std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
    let mut acknowledged = Vec::new();
    for life in 0..from_environment("EDDY_HOOK_KILLS", 8) {
        let mut daemon = eddy.daemon().unwrap();
        for number in 0..JOBS {
            let destination = eddy.home().join(format!("{life}-{number}"));
            acknowledged.extend(make(&eddy, &origin.url("small"), &destination));
        }
        // Somewhere between the first byte and long after the last hook.
        thread::sleep(Duration::from_millis(random.random_range(0..250)));
        daemon.kill().unwrap();
    }
    let _daemon = eddy.daemon().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let missing = |jobs: &[String]| {
        let told = told(&out);
        jobs.iter().filter(|job| !told.contains_key(*job)).cloned().collect::<Vec<_>>()
    };
    while !missing(&acknowledged).is_empty() {
        assert!(Instant::now() < deadline, "never told of {:?}", missing(&acknowledged));
        thread::sleep(Duration::from_millis(20));
    }
    let jobs: Vec<JobView> = eddy.ask(&["job", "ls"]).unwrap();
    assert!(jobs.is_empty(), "{jobs:?}");
    let mut again = 0;
    for (job, events) in told(&out) {
        assert!(events.iter().all(|event| event.0 == "finished"), "{job}: {events:?}");
        again += events.len() - 1;
    }
    println!("{} jobs told, {again} of them again", acknowledged.len());
}

#[test]
fn a_job_names_only_what_an_administrator_has_registered() {
    let eddy = Eddy::here().unwrap();
    std::fs::write(eddy.home().join("eddy.toml"), "[hooks.note]\ncommand = [\"/bin/true\"]\n").unwrap();
    let _daemon = eddy.daemon().unwrap();
    let made: JobView = eddy.ask(&["job", "create", "a", "--file", "http://127.0.0.1:9/a", "a"]).unwrap();
    let set = |hook: &str| eddy.ended(&["job", "set", &made.id, &format!("hook={hook}")]).unwrap();
    let refused = set("/tmp/mine");
    assert_eq!(refused.code(), Some("hook-unknown"), "{refused:?}");
    assert!(refused.err.contains("registered: note"), "{refused:?}");
    assert_eq!(set("note").status, Some(0));
    assert_eq!(eddy.ask::<JobView>(&["job", "show", &made.id]).unwrap().terms.hook.as_deref(), Some("note"));
    assert_eq!(set("").status, Some(0), "an empty one takes it away");
    assert_eq!(eddy.ask::<JobView>(&["job", "show", &made.id]).unwrap().terms.hook, None);
}
