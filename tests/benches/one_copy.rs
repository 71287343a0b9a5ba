//! Eight machines want the same file at once, behind one line, from an origin that is far away (300 ms to the first byte) and gives each
//! connection 8 MiB/s: curl on each of them, nginx as a proxy with `proxy_cache_lock`, with and without `slice`, Squid with
//! `collapsed_forwarding`, and eddy. What the origin sent, in copies, second looks apart, and when the last machine had it.
//!
//! `cargo build --release -p eddy-cli && cargo bench -p eddy-tests --bench one_copy`. `EDDY_BENCH_MIB` (64), `EDDY_BENCH_MACHINES` (8) and
//! `EDDY_BENCH_RUNS` (3) set the size, `EDDY_BENCH_WAN` and `EDDY_BENCH_LAN` the lines in Mbit/s (200 and 1000). Needs the lab (root) and
//! nginx; without Squid its row is left out. Nothing is asserted about time: that is for people to read.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use eddy_tests::hostile::{COUNTERS_PATH, Counters, PathCounters, Version};
use eddy_tests::lab::{self, Host, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, from_environment, hash_of};

const HOSTILE_ORIGIN: &str = env!("CARGO_BIN_EXE_hostile-origin");
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the nodes: all of their homes lie on one disk.
const SETTINGS: &str = "[cache]\nreserve = \"1 MiB\"\nquota = \"1 GiB\"\n";
/// Of the proxy: one request to the origin, however many want it.
const CACHE: &str = "proxy_cache one; proxy_cache_valid 200 206 1h; proxy_set_header Connection \"\"; proxy_http_version 1.1; \
                     proxy_cache_lock on; proxy_cache_lock_timeout 120s; proxy_cache_lock_age 120s;";
/// The same for each MiB.
const SLICES: &str = "slice 1m; proxy_cache_key $uri$is_args$args$slice_range; proxy_set_header Range $slice_range;";
/// Of the other proxy, which keeps all in memory and lets nobody wait that may share.
const SQUID: &str = "http_access allow all\ncollapsed_forwarding on\ncache_mem 1 GB\nmaximum_object_size_in_memory 1 GB\n\
                     maximum_object_size 1 GB\nrefresh_pattern . 60 100% 60\naccess_log none\ncache_log stdio:/dev/stderr\n\
                     pid_filename none\npinger_enable off\nshutdown_lifetime 1 seconds\n";
const SQUID_PORT: u16 = 3128;

/// How one contender did in one run.
struct Outcome {
    /// Without what was looked at twice.
    copies: f64,
    /// What a node fetched again to hold it against what a member had signed, in copies.
    again: f64,
    requests: u64,
    slowest: Duration,
}

/// The machines, and what they want.
struct Office<'lab> {
    lab: &'lab Lab,
    machines: usize,
    length: u64,
    origin: String,
    _running: Running,
}

impl<'lab> Office<'lab> {
    fn open(lab: &'lab Lab, machines: usize, length: u64) -> Self {
        let origin = format!("{}:80", lab.origin().address());
        let running = lab.origin().spawn(HOSTILE_ORIGIN, [&origin]).unwrap();
        running.wait_line(&origin, PATIENCE).unwrap();
        Self { lab, machines, length, origin, _running: running }
    }

    /// A file that nobody has asked for before, at the origin or at somebody in its place.
    fn file(&self, server: &str, seed: u64) -> String {
        let length = self.length;
        format!("http://{server}/file-{seed}?seed={seed}&length={length}&delay-ms=300&rate={}", 8 * MIB)
    }

    fn sent(&self, seed: u64) -> PathCounters {
        let counters = format!("http://{}{COUNTERS_PATH}", self.origin);
        let counters = self.lab.origin().command("curl").args(["-sS", &counters]).output().unwrap();
        serde_json::from_slice::<Counters>(&counters.stdout).unwrap().path(&format!("/file-{seed}"))
    }

    /// All machines fetch at once, each with its own command; `to` says where.
    fn race(&self, seed: u64, fetch: impl Fn(usize, &Host) -> (Command, std::path::PathBuf) + Sync) -> Outcome {
        let hash = blake3::hash(&Version::new(seed, self.length).whole());
        let began = Instant::now();
        let ends: Vec<Duration> = thread::scope(|scope| {
            let fetching: Vec<_> = (0..self.machines)
                .map(|n| {
                    let fetch = &fetch;
                    scope.spawn(move || {
                        let (mut command, to) = fetch(n, self.lab.host(n));
                        let output = command.output().unwrap();
                        let took = began.elapsed();
                        assert!(output.status.success(), "{command:?}: {output:?}");
                        assert_eq!(hash_of(&to).unwrap(), hash, "{command:?} brought something else");
                        took
                    })
                })
                .collect();
            fetching.into_iter().map(|fetch| fetch.join().unwrap()).collect()
        });
        let counters = self.sent(seed);
        let copies = counters.body_bytes as f64 / self.length as f64;
        Outcome { copies, again: 0.0, requests: counters.requests, slowest: ends.into_iter().max().unwrap_or_default() }
    }

    fn by_curl(&self, server: &str, seed: u64) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let url = self.file(server, seed);
        self.race(seed, |n, host| {
            let to = folder.path().join(n.to_string());
            (curl(host, &url, &to), to)
        })
    }

    fn by_nginx(&self, slices: &str, seed: u64) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let http = format!("proxy_cache_path {} keys_zone=one:10m max_size=4g;", folder.path().display());
        let directives = format!("location / {{ {CACHE} {slices} proxy_pass http://{}; }}", self.origin);
        let proxy = Nginx::on(self.lab.host(self.machines), &NginxSpec { directives, http, ..NginxSpec::default() });
        self.by_curl(&proxy.unwrap().address().to_string(), seed)
    }

    fn by_squid(&self, seed: u64) -> Outcome {
        let host = self.lab.host(self.machines);
        let folder = tempfile::tempdir().unwrap();
        let (settings, to) = (folder.path().join("squid.conf"), tempfile::tempdir().unwrap());
        // It gives up being root, and reads its settings before.
        std::fs::write(&settings, format!("{SQUID}http_port {}:{SQUID_PORT}\n", host.address())).unwrap();
        let mut squid = host.spawn("squid", ["-N", "-f", settings.to_str().unwrap()]).unwrap();
        squid.wait_line("Accepting HTTP Socket connections", PATIENCE).unwrap();
        let (proxy, url) = (format!("http://{}:{SQUID_PORT}", host.address()), self.file(&self.origin, seed));
        let outcome = self.race(seed, |n, host| {
            let to = to.path().join(n.to_string());
            let mut command = curl(host, &url, &to);
            command.env_remove("no_proxy").args(["--noproxy", "", "-x", &proxy]);
            (command, to)
        });
        squid.stop(PATIENCE).unwrap();
        outcome
    }

    fn by_eddy(&self, seed: u64) -> Outcome {
        let nodes: Vec<_> = (0..self.machines).map(|n| Eddy::on(self.lab.host(n)).unwrap()).collect();
        let secret = nodes[0].found_group().unwrap();
        nodes[1..].iter().for_each(|node| node.join_group(&secret).unwrap());
        nodes.iter().for_each(|node| std::fs::write(node.home().join("eddy.toml"), SETTINGS).unwrap());
        let _daemons: Vec<_> = nodes.iter().map(|node| node.daemon().unwrap()).collect();
        nodes.iter().for_each(|node| drop(node.wait_peers(self.machines - 1, PATIENCE).unwrap()));
        let url = self.file(&self.origin, seed);
        let outcome = self.race(seed, |n, _| {
            let to = nodes[n].home().join("fetched");
            let command = nodes[n].command(["get", &url, "-o", to.to_str().unwrap()]);
            (command, to)
        });
        let again: u64 = nodes.iter().map(|node| node.report().unwrap().totals.audited).sum();
        let again = again as f64 / self.length as f64;
        Outcome { copies: outcome.copies - again, again, ..outcome }
    }
}

fn curl(host: &Host, url: &str, to: &Path) -> Command {
    let mut command = host.command("curl");
    command.args(["-sS", "--fail", "--noproxy", "*", "-o"]).arg(to).arg(url);
    command
}

fn main() {
    // `cargo test --all-targets` runs benches too, without this word.
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let number = |name, normal| usize::try_from(from_environment(name, normal)).unwrap();
    let rate = |name, normal| Mbit(u32::try_from(from_environment(name, normal)).unwrap());
    let (machines, runs) = (number("EDDY_BENCH_MACHINES", 8), from_environment("EDDY_BENCH_RUNS", 3));
    let length = from_environment("EDDY_BENCH_MIB", 64) * MIB;
    let (wan, lan) = (rate("EDDY_BENCH_WAN", 200), rate("EDDY_BENCH_LAN", 1000));
    // One more for the proxy.
    let lab = Lab::new(LabSpec { hosts: machines + 1, lan_rate: Some(lan), wan_rate: Some(wan) }).unwrap();
    let office = Office::open(&lab, machines, length);
    println!(
        "{machines} machines, {} MiB, WAN {} Mbit/s, LAN {} Mbit/s; medians of {runs}",
        length / MIB,
        wan.0,
        lan.0
    );
    println!("| | copies from the origin | looked at twice | requests | last machine |\n|---|---|---|---|---|");
    let curl = |seed| office.by_curl(&office.origin, seed);
    tell("curl on each", runs, 100, curl);
    tell("nginx, cache lock", runs, 200, |seed| office.by_nginx("", seed));
    tell("nginx, cache lock and slices of 1 MiB", runs, 300, |seed| office.by_nginx(SLICES, seed));
    match Command::new("squid").arg("-v").output() {
        Ok(_) => tell("Squid, collapsed forwarding", runs, 400, |seed| office.by_squid(seed)),
        Err(_) => eprintln!("skipped: squid is not installed"),
    }
    tell("eddy", runs, 500, |seed| office.by_eddy(seed));
}

fn tell(name: &str, runs: u64, seed: u64, run: impl Fn(u64) -> Outcome) {
    let outcomes: Vec<Outcome> = (seed..seed + runs).map(run).collect();
    let median = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    println!(
        "| {name} | {:.2} | {:.3} | {:.0} | {:.1} s |",
        median(outcomes.iter().map(|outcome| outcome.copies).collect()),
        median(outcomes.iter().map(|outcome| outcome.again).collect()),
        median(outcomes.iter().map(|outcome| outcome.requests as f64).collect()),
        median(outcomes.iter().map(|outcome| outcome.slowest.as_secs_f64()).collect()),
    );
}
