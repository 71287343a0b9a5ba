//! Many small files from a warm neighbour, 16 at a time, against a warm caching proxy (nginx) in its place.
//!
//! eddy: 16 jobs side by side, over the control socket of a node that holds none of them; each file is asked for at the origin
//! (HEAD), looked up, read from the peer, verified, stored and delivered durably: the file and its name are on the disk before its job
//! ends. nginx: `curl -Z` from the neighbour's proxy_cache, to the same disk; no origin is asked, nothing is checked and nothing is
//! synced. That is the first line, and the bound. A second one asks nginx for what a user of eddy gets of the same things: the proxy asks
//! the origin about each file (`proxy_cache_revalidate`), and what curl wrote is synced, by 16 threads. Still nothing is checked and
//! no copy is kept here.
//!
//! Rounds take turns. What was taken stays until the end: ext4 without a journal looks at every inode that was deleted in the last
//! minute before it gives one out, and that would be measured. `EDDY_BENCH_FILES` (10000), `EDDY_BENCH_KIB` (10), `EDDY_BENCH_ROUNDS` (3).
//! Needs root, nginx, curl, and `cargo build --release -p eddy-cli` before. Nothing is asserted.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use eddy_node::control::{Client, socket_of};
use eddy_tests::lab::{self, Host, Lab, LabSpec};
use eddy_tests::process::{Eddy, Nginx, NginxSpec, from_environment};
use eddy_wire::api::{FileSpec, JobSpec};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(300);
const AT_A_TIME: usize = 16;
/// Where the proxy asks the origin about what it has.
const ASKED: &str = "asked/";

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let count = usize::try_from(from_environment("EDDY_BENCH_FILES", 10_000)).unwrap();
    let size = usize::try_from(from_environment("EDDY_BENCH_KIB", 10)).unwrap() * 1024;
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let (neighbour, taker) = (lab.host(0), lab.host(1));
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let mut bytes = vec![0; size];
    for number in 0..count {
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        std::fs::write(origin.files().join(number.to_string()), &bytes).unwrap();
    }
    let cache = tempfile::tempdir().unwrap();
    let proxy = Nginx::on(neighbour, &caching(&origin.url(""), cache.path())).unwrap();
    let node = Eddy::on(neighbour).unwrap();
    let secret = node.found_group().unwrap();
    let _giving = node.daemon().unwrap();
    let mut taken = Vec::new();
    println!(
        "warming: eddy {:.0} files/s from the origin",
        count as f64 / by_eddy(&node, &origin, count, &mut taken).as_secs_f64()
    );
    for place in ["", ASKED] {
        let took = by_curl(taker, &proxy, (place, Keeping::Unsynced), count, &mut taken);
        println!("warming: nginx {:.0} files/s", count as f64 / took.as_secs_f64());
    }
    let (mut ratios, mut alike) = (Vec::new(), Vec::new());
    for round in 0..from_environment("EDDY_BENCH_ROUNDS", 3) {
        let per_second = |took: Duration| count as f64 / took.as_secs_f64();
        let nginx = per_second(by_curl(taker, &proxy, ("", Keeping::Unsynced), count, &mut taken));
        let asked = per_second(by_curl(taker, &proxy, (ASKED, Keeping::Synced), count, &mut taken));
        let reader = Eddy::on(taker).unwrap();
        reader.join_group(&secret).unwrap();
        let reading = reader.daemon().unwrap();
        reader.wait_peers(1, PATIENCE).unwrap();
        let cpu = reading.cpu_time().unwrap();
        let eddy = count as f64 / by_eddy(&reader, &origin, count, &mut taken).as_secs_f64();
        let cpu = reading.cpu_time().unwrap() - cpu;
        let received = reader.report().unwrap().totals.received;
        println!(
            "round {round}: nginx {nginx:.0} files/s (asking and synced {asked:.0}), eddy {eddy:.0} files/s: {:.2} ({:.2}); {} bytes from peers, {} from the origin; CPU {cpu:.1?}",
            eddy / nginx,
            eddy / asked,
            received.peers,
            received.origin
        );
        ratios.push(eddy / nginx);
        alike.push(eddy / asked);
    }
    let median = |mut ratios: Vec<f64>| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    println!("median: {:.2} of nginx's files per second (wanted: at least 1.0)", median(ratios));
    println!("median: {:.2} of what nginx gives that asks the origin, synced", median(alike));
}

/// A proxy that keeps what it has fetched.
fn caching(origin: &str, at: &Path) -> NginxSpec {
    let at = at.display();
    let server = origin.trim_start_matches("http://").trim_end_matches('/');
    NginxSpec {
        http: format!(
            "proxy_cache_path {at} levels=2 keys_zone=kept:16m max_size=8g inactive=1d;
             upstream asked {{ server {server}; keepalive 32; }}"
        ),
        directives: format!(
            "location / {{ proxy_pass {origin}; proxy_cache kept; proxy_cache_valid 200 1d; }}
             location /{ASKED} {{ proxy_pass http://asked/; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_cache kept;
                                 proxy_cache_valid 200 1s; proxy_cache_revalidate on; }}"
        ),
        ..NginxSpec::default()
    }
}

/// 16 jobs that share the files.
fn by_eddy(node: &Eddy<'_>, origin: &Nginx, count: usize, taken: &mut Vec<TempDir>) -> Duration {
    let folder = folder(taken);
    let file = |number: usize| FileSpec {
        url: origin.url(&number.to_string()),
        destination: folder.join(number.to_string()).to_str().unwrap().to_owned(),
        digest: None,
        overwrite: false,
        ranges: Vec::new(),
        on_demand: false,
    };
    let specs: Vec<JobSpec> = (0..AT_A_TIME)
        .map(|job| {
            let files: Vec<FileSpec> = (job..count).step_by(AT_A_TIME).map(file).collect();
            serde_json::from_value(serde_json::json!({ "files": files })).unwrap()
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let client = Client::new(&socket_of(node.home())).unwrap();
        let began = Instant::now();
        futures::future::join_all(specs.iter().map(|spec| async {
            let job = client.create_job(spec).await.unwrap();
            let mut watch = client.watch(&job.id).await.unwrap();
            let mut last = job;
            while let Some(view) = watch.next().await.unwrap() {
                last = view;
            }
            assert!(last.state.is_final(), "{last:#?}");
        }))
        .await;
        began.elapsed()
    });
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), count, "files are missing");
    took
}

/// What becomes of the files that curl has written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keeping {
    Unsynced,
    Synced,
}

fn by_curl(
    host: &Host,
    proxy: &Nginx,
    (place, keeping): (&str, Keeping),
    count: usize,
    taken: &mut Vec<TempDir>,
) -> Duration {
    let folder = folder(taken);
    let list = (0..count).fold(String::new(), |mut list, number| {
        let (from, to) = (proxy.url(&format!("{place}{number}")), folder.join(number.to_string()));
        writeln!(list, "url = \"{from}\"\noutput = \"{}\"", to.display()).unwrap();
        list
    });
    let file = folder.join("list");
    std::fs::write(&file, list).unwrap();
    let began = Instant::now();
    let mut command = host.command("curl");
    command
        .args([
            "-sS",
            "--no-progress-meter",
            "--fail",
            "--noproxy",
            "*",
            "-Z",
            "--parallel-max",
            &AT_A_TIME.to_string(),
            "-K",
        ])
        .arg(&file);
    assert!(command.status().unwrap().success());
    if keeping == Keeping::Synced {
        sync(&folder, count);
    }
    let took = began.elapsed();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), count + 1);
    took
}

/// Makes the files of a folder durable, and their names.
fn sync(folder: &Path, count: usize) {
    let sync = |name: PathBuf| std::fs::File::open(name).unwrap().sync_all().unwrap();
    std::thread::scope(|scope| {
        for first in 0..AT_A_TIME {
            let numbers = (first..count).step_by(AT_A_TIME);
            scope.spawn(move || numbers.for_each(|number| sync(folder.join(number.to_string()))));
        }
    });
    sync(folder.to_owned());
}

/// A new folder, which is kept.
fn folder(taken: &mut Vec<TempDir>) -> PathBuf {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    taken.push(folder);
    path
}
