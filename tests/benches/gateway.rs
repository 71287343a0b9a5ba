//! The gateway against what it stands in for: curl at the origin itself, and nginx with `proxy_cache` in its place.
//!
//! | part | what is compared | wanted |
//! |---|---|---|
//! | `miss` | an object that nobody holds, through the gateway, directly, and through a relay that only copies; origins 0, 20 and 100 ms away | at most 1.02 of the time; first byte at most 2 ms later |
//! | `line` | the same where the origin is beyond a line of 1 Gbit/s (the lab, which needs root), not in the memory of this machine | the same |
//! | `hit` | an object that is held, and small ones by 16 clients, from the gateway and from nginx | at least 0.8 of the bytes a second |
//! | `small` | 10,000 files of 10 KiB that nobody holds, 16 clients, through the gateway and through nginx | at least 1.0 of the files a second |
//! | `shared` | 64 MiB, 8 clients at once, an origin with 300 ms to the first byte and 8 MiB/s a connection | one copy; the slowest at most 1.05 of one direct client (aria2c) with as many connections |
//!
//! `cargo build --release -p eddy-cli && cargo bench -p eddy-tests --bench gateway [-- PART...]`. Rounds take turns; medians are printed.
//! `EDDY_BENCH_ROUNDS` (5), `EDDY_BENCH_MIB` (512, the largest miss), `EDDY_BENCH_MBIT` (1000, the line of `line`), `EDDY_BENCH_FILES` (10000), `EDDY_BENCH_DIR`. Nothing is asserted about time.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::lab::{self, Host, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, Gateway, MIB, Nginx, NginxSpec, Running, from_environment, mount, write_sample};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const CLIENTS: usize = 16;
const LIVES: &str = "Cache-Control: max-age=86400";

fn main() {
    if let Ok(way) = std::env::var("EDDY_BENCH_WAY") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(stand_between(&way)).unwrap();
    }
    if !std::env::args().any(|argument| argument == "--bench") || !Nginx::ready() {
        return;
    }
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |part: &str| chosen.is_empty() || chosen.iter().any(|one| one == part);
    let bench = Bench::new();
    for (name, part) in [
        ("miss", Bench::miss as fn(&Bench)),
        ("line", Bench::line),
        ("hit", Bench::hit),
        ("small", Bench::small),
        ("shared", Bench::shared),
    ] {
        if is_chosen(name) {
            part(&bench);
        }
    }
}

struct Bench {
    folder: tempfile::TempDir,
    runtime: Runtime,
    rounds: u64,
}

impl Bench {
    fn new() -> Self {
        let folder = match std::env::var_os("EDDY_BENCH_DIR") {
            Some(at) => tempfile::tempdir_in(at),
            None => tempfile::tempdir(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { folder: folder.unwrap(), runtime, rounds: from_environment("EDDY_BENCH_ROUNDS", 5) }
    }

    fn gateway(&self, origin: &str) -> Gateway<'static> {
        Place::Here.gateway(self.folder.path(), origin)
    }

    /// nginx in the gateway's place, with an empty cache.
    fn proxy(&self, origin: &str) -> (Nginx, tempfile::TempDir) {
        Place::Here.proxy(self.folder.path(), origin)
    }

    /// A miss where the origin is in the memory of this machine.
    fn miss(&self) {
        self.misses("miss", [Place::Here, Place::Here]);
    }

    /// The same where there is a line to it.
    fn line(&self) {
        if !lab::ready() {
            return;
        }
        let rate = u32::try_from(from_environment("EDDY_BENCH_MBIT", 1000)).unwrap();
        let lab = Lab::new(LabSpec { hosts: 1, lan_rate: None, wan_rate: Some(Mbit(rate)) }).unwrap();
        self.misses(&format!("line of {rate} Mbit/s"), [Place::On(lab.origin()), Place::On(lab.host(0))]);
    }

    fn misses(&self, what: &str, [origin_at, client_at]: [Place<'_>; 2]) {
        let largest = from_environment("EDDY_BENCH_MIB", 512);
        let origin = origin_at.nginx(&NginxSpec {
            directives: format!("add_header {};", LIVES.replace(": ", " ")),
            ..NginxSpec::default()
        });
        let name = |length: u64, round: u64| format!("{length}-{round}.bin");
        for distance in [0, 20, 100] {
            let (_line, line) = match distance {
                0 => (None, format!("http://{}", origin.address())),
                _ => {
                    let (running, url) = origin_at.way(&format!("{}", distance / 2), &origin.address().to_string());
                    (Some(running), url)
                }
            };
            for (length, times) in [(64 << 10, 8), (8 * MIB, 4), (largest * MIB, 1)] {
                let gateway = client_at.gateway(self.folder.path(), &line);
                let (proxy, _cache) = client_at.proxy(self.folder.path(), &line);
                let (_relay, relay) = client_at.way("relay", line.trim_start_matches("http://"));
                let (mut ratios, mut later, mut shown) = (Vec::new(), Vec::new(), Vec::new());
                let (mut by_nginx, mut later_by_nginx) = (Vec::new(), Vec::new());
                let (mut by_relay, mut later_by_relay) = (Vec::new(), Vec::new());
                for round in 0..self.rounds * times {
                    let file = origin.files().join(name(length, round));
                    write_sample(&file, round, length).unwrap();
                    let name = name(length, round);
                    let urls = [
                        format!("{line}/{name}"),
                        gateway.url(&format!("/m/{name}")),
                        proxy.url(&name),
                        format!("{relay}/{name}"),
                    ];
                    // Whoever comes later finds the file in the page cache: all do, for it has just been written.
                    let first = round as usize % urls.len();
                    let mut taken = [const { None }; 4];
                    for turn in 0..urls.len() {
                        let who = (first + turn) % urls.len();
                        taken[who] = Some(taken_by(client_at.command("curl"), &urls[who]));
                    }
                    let [direct, through, nginx, relay] = taken.map(Option::unwrap);
                    assert_eq!([direct.bytes, through.bytes, nginx.bytes, relay.bytes], [length; 4]);
                    ratios.push(through.all / direct.all);
                    later.push((through.first - direct.first) * 1e3);
                    by_nginx.push(nginx.all / direct.all);
                    later_by_nginx.push((nginx.first - direct.first) * 1e3);
                    by_relay.push(relay.all / direct.all);
                    later_by_relay.push((relay.first - direct.first) * 1e3);
                    shown.push(direct.all);
                    std::fs::remove_file(file).unwrap();
                }
                println!(
                    "{what} {:>8} KiB, {distance:>3} ms away: direct {:.4} s, ratio {:.3} (wanted 1.02), first byte {:+.2} ms (wanted +2); \
                     nginx proxy_cache {:.3}, {:+.2} ms; a relay that only copies {:.3}, {:+.2} ms",
                    length >> 10,
                    median(&mut shown),
                    median(&mut ratios),
                    median(&mut later),
                    median(&mut by_nginx),
                    median(&mut later_by_nginx),
                    median(&mut by_relay),
                    median(&mut later_by_relay)
                );
            }
        }
    }

    fn hit(&self) {
        let origin = Nginx::here(&NginxSpec {
            directives: format!("add_header {};", LIVES.replace(": ", " ")),
            ..NginxSpec::default()
        })
        .unwrap();
        write_sample(&origin.files().join("large.bin"), 1, 256 * MIB).unwrap();
        small_files(&origin.files(), 2000);
        let base = origin.url("");
        let base = base.trim_end_matches('/');
        let gateway = self.gateway(base);
        let (proxy, _cache) = self.proxy(base);
        let (mut large, mut small) = (Vec::new(), Vec::new());
        let here = |path: &str| gateway.url(&format!("/m/{path}"));
        for round in 0..=self.rounds {
            let (nginx, eddy) = (curl(&proxy.url("large.bin")), curl(&here("large.bin")));
            let (by_nginx, by_eddy) = (
                self.many(2000, |number| proxy.url(&format!("{number}.bin"))),
                self.many(2000, |number| here(&format!("{number}.bin"))),
            );
            // The first round warms both.
            if round > 0 {
                large.push(nginx.all / eddy.all);
                small.push(by_nginx.as_secs_f64() / by_eddy.as_secs_f64());
                println!(
                    "  256 MiB: nginx {:.3} s, eddy {:.3} s; 2,000 of 10 KiB: nginx {by_nginx:.2?}, eddy {by_eddy:.2?}",
                    nginx.all, eddy.all
                );
            }
        }
        println!(
            "hit: {:.2} of nginx's bytes a second, {:.2} of its small files a second (wanted 0.8)",
            median(&mut large),
            median(&mut small)
        );
    }

    fn small(&self) {
        let count = usize::try_from(from_environment("EDDY_BENCH_FILES", 10_000)).unwrap();
        let origin = Nginx::here(&NginxSpec {
            directives: format!("add_header {};", LIVES.replace(": ", " ")),
            ..NginxSpec::default()
        })
        .unwrap();
        small_files(&origin.files(), count);
        let base = origin.url("");
        let base = base.trim_end_matches('/');
        let mut ratios = Vec::new();
        for _ in 0..self.rounds {
            let (proxy, _cache) = self.proxy(base);
            let nginx = self.many(count, |number| proxy.url(&format!("{number}.bin")));
            drop(proxy);
            let gateway = self.gateway(base);
            let cpu = gateway.daemon.cpu_time().unwrap();
            let eddy = self.many(count, |number| gateway.url(&format!("/m/{number}.bin")));
            let cpu = gateway.daemon.cpu_time().unwrap() - cpu;
            println!("  nginx {nginx:.2?}, eddy {eddy:.2?} (CPU {cpu:.1?})");
            ratios.push(nginx.as_secs_f64() / eddy.as_secs_f64());
        }
        println!("small: {:.2} of nginx's files a second (wanted 1.0)", median(&mut ratios));
    }

    fn shared(&self) {
        const LENGTH: u64 = 64 * MIB;
        const AT_ONCE: usize = 8;
        let (mut ratios, mut of_told) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let origin = self.runtime.block_on(HostileOrigin::start()).unwrap();
            let behaviour = Behaviour {
                first_byte_delay: Duration::from_millis(300),
                rate: Some(8 << 20),
                extra_headers: vec![LIVES.to_owned()],
                ..Behaviour::default()
            };
            for path in ["/shared.bin", "/alone.bin"] {
                origin.publish(path, Resource::new(Version::new(round, LENGTH), behaviour.clone()));
            }
            let gateway = self.gateway(origin.url("").trim_end_matches('/'));
            let url = gateway.url("/m/shared.bin");
            let clients: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    let url = url.clone();
                    std::thread::spawn(move || curl(&url))
                })
                .collect();
            let taken: Vec<Taken> = clients.into_iter().map(|client| client.join().unwrap()).collect();
            assert!(taken.iter().all(|taken| taken.bytes == LENGTH));
            let counters = origin.counters();
            let slowest = taken.iter().map(|taken| taken.all).fold(0.0, f64::max);
            let copies = counters.path("/shared.bin").body_bytes as f64 / LENGTH as f64;
            let connections = counters.most_at_once;
            // One client that asks directly over as many connections: one that has to learn the length first, as the gateway has,
            // and one that was told it.
            let direct = aria2c(&origin.url("/alone.bin"), connections, self.folder.path());
            let told = ranges(&origin.url("/alone.bin"), LENGTH, connections, self.folder.path());
            println!(
                "  {connections} connections: {copies:.3} copies, slowest {slowest:.2} s, one direct client {direct:.2} s, \
                 one that knows the length {told:.2} s"
            );
            ratios.push(slowest / direct);
            of_told.push(slowest / told);
        }
        println!(
            "shared: the slowest takes {:.3} of one direct client (wanted 1.05), {:.3} of one that knows the length",
            median(&mut ratios),
            median(&mut of_told)
        );
    }

    /// All of so many URLs by 16 clients.
    fn many(&self, count: usize, url: impl Fn(usize) -> String) -> Duration {
        let list = (0..count).fold(String::new(), |mut list, number| {
            writeln!(list, "url = \"{}\"\noutput = \"/dev/null\"", url(number)).unwrap();
            list
        });
        let file = self.folder.path().join("list");
        std::fs::write(&file, list).unwrap();
        let began = Instant::now();
        let mut command = Command::new("curl");
        let most = CLIENTS.to_string();
        command
            .args(["-sS", "--no-progress-meter", "--fail", "--noproxy", "*", "-Z", "--parallel-max", &most, "-K"])
            .arg(&file);
        assert!(command.status().unwrap().success());
        began.elapsed()
    }
}

/// Where a program runs.
#[derive(Clone, Copy)]
enum Place<'lab> {
    /// On this machine's loopback.
    Here,
    On(&'lab Host),
}

impl<'lab> Place<'lab> {
    fn command(self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::On(host) => host.command(program),
        }
    }

    fn nginx(self, spec: &NginxSpec) -> Nginx {
        match self {
            Self::Here => Nginx::here(spec),
            Self::On(host) => Nginx::on(host, spec),
        }
        .unwrap()
    }

    fn gateway(self, folder: &Path, origin: &str) -> Gateway<'lab> {
        let eddy = match self {
            Self::Here => Eddy::inside(folder),
            Self::On(host) => Eddy::on(host),
        };
        Gateway::start(eddy.unwrap(), &mount("/m", origin, "")).unwrap()
    }

    /// nginx in the gateway's place, with an empty cache.
    fn proxy(self, folder: &Path, origin: &str) -> (Nginx, tempfile::TempDir) {
        let cache = tempfile::tempdir_in(folder).unwrap();
        let at = cache.path().display();
        let spec = NginxSpec {
            http: format!(
                "proxy_cache_path {at} levels=1:2 keys_zone=kept:16m max_size=8g inactive=1d use_temp_path=off;"
            ),
            directives: format!(
                "location / {{ proxy_pass {origin}/; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                 proxy_cache kept; proxy_cache_valid 200 1d; }}"
            ),
            ..NginxSpec::default()
        };
        (self.nginx(&spec), cache)
    }

    /// This program once more, to stand between somebody and `to`: a relay that only copies, or so many milliseconds of way. Its URL.
    fn way(self, way: &str, to: &str) -> (Running, String) {
        let at = match self {
            Self::Here => Ipv4Addr::LOCALHOST,
            Self::On(host) => host.address(),
        };
        let mut command = self.command(std::env::current_exe().unwrap());
        command.env("EDDY_BENCH_WAY", way).env("EDDY_BENCH_TO", to).env("EDDY_BENCH_AT", at.to_string());
        let running = Running::start(command).unwrap();
        let url = running.wait_line("http://", Duration::from_secs(20)).unwrap();
        (running, url.trim().to_owned())
    }
}

/// What curl says of one transfer, in seconds and bytes.
struct Taken {
    first: f64,
    all: f64,
    bytes: u64,
}

fn curl(url: &str) -> Taken {
    taken_by(Command::new("curl"), url)
}

fn taken_by(mut curl: Command, url: &str) -> Taken {
    let form = "%{time_starttransfer} %{time_total} %{size_download}";
    let output = curl.args(["-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", "-w", form, url]).output().unwrap();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace();
    let mut number = || words.next().unwrap().parse::<f64>().unwrap();
    Taken { first: number(), all: number(), bytes: number() as u64 }
}

/// The seconds that aria2c takes for all of a file, over so many connections.
fn aria2c(url: &str, connections: u64, folder: &Path) -> f64 {
    let began = Instant::now();
    let mut command = Command::new("aria2c");
    command.args(["--quiet", "--no-conf", "--all-proxy=", "--allow-overwrite=true", "--file-allocation=none", "-k1M"]);
    command.arg(format!("-x{connections}")).arg(format!("-s{connections}"));
    command.arg("-d").arg(folder).args(["-o", "alone", url]).stdin(Stdio::null());
    assert!(command.status().unwrap().success());
    began.elapsed().as_secs_f64()
}

/// The seconds that a whole takes in equal ranges at once.
fn ranges(url: &str, length: u64, count: u64, folder: &Path) -> f64 {
    let began = Instant::now();
    let step = length.div_ceil(count.max(1));
    let parts: Vec<_> = (0..count.max(1))
        .map(|part| {
            let range = format!("{}-{}", part * step, ((part + 1) * step).min(length) - 1);
            let to: PathBuf = folder.join(format!("part-{part}"));
            let mut command = Command::new("curl");
            command.args(["-sS", "--fail", "--noproxy", "*", "-r", &range, "-o"]).arg(to).arg(url).stdin(Stdio::null());
            command.spawn().unwrap()
        })
        .collect();
    parts.into_iter().for_each(|mut part| assert!(part.wait().unwrap().success()));
    began.elapsed().as_secs_f64()
}

fn small_files(folder: &Path, count: usize) {
    let mut bytes = vec![0; 10 << 10];
    for number in 0..count {
        blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
        std::fs::write(folder.join(format!("{number}.bin")), &bytes).unwrap();
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What this program does when it stands between: `relay`, which copies bytes and nothing else and shows what whoever stands between a client and
/// an origin costs at least, or a way on which every byte takes so many milliseconds, in both directions; the first also those of the handshake.
async fn stand_between(way: &str) -> io::Result<()> {
    let of = |name: &str| std::env::var(name).unwrap();
    let (to, at): (SocketAddr, Ipv4Addr) = (of("EDDY_BENCH_TO").parse().unwrap(), of("EDDY_BENCH_AT").parse().unwrap());
    let listener = TcpListener::bind((at, 0)).await?;
    println!("http://{}", listener.local_addr()?);
    let takes = way.parse().ok().map(Duration::from_millis);
    loop {
        let (mut near, _) = listener.accept().await?;
        tokio::spawn(async move {
            let Ok(mut far) = TcpStream::connect(to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let Some(one_way) = takes else {
                let _ = tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 256 << 10, 256 << 10).await;
                return;
            };
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let handshake = Instant::now() + 2 * one_way;
            tokio::spawn(carry(near_in, far_out, one_way, handshake));
            tokio::spawn(carry(far_in, near_out, one_way, handshake));
        });
    }
}

/// Bytes that may be on their way.
const ON_THE_WAY: usize = 64 << 20;

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, takes: Duration, from_when: Instant) {
    let mut way: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let (mut carried, mut is_over) = (0, false);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let due = way.front().map(|(due, _)| tokio::time::Instant::from_std(*due));
        let arrival = async { tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await };
        tokio::select! {
            biased;
            () = arrival, if due.is_some() => {
                let Some((_, bytes)) = way.pop_front() else { return };
                carried -= bytes.len();
                if to.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if !is_over && carried < ON_THE_WAY => match read {
                Ok(0) | Err(_) => is_over = true,
                Ok(count) => {
                    carried += count;
                    way.push_back((Instant::now().max(from_when) + takes, buffer[..count].to_vec()));
                }
            },
            else => break,
        }
    }
    let _ = to.shutdown().await;
}
