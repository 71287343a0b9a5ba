//! A file from a neighbour over a veth pair, by two real nodes, against stock quinn over the same pair ([`kit::bare`]).
//!
//! eddy: asked for over the control socket, looked up, proven, verified, stored, made durable and delivered. Stock quinn:
//! bytes from memory, hashed, written and synced. Rounds take turns; each round's reader is a new node with an empty store.
//! Before each round as many pages are written and let go again as the round needs: in a virtual machine a page that is touched for the first
//! time costs several times what it costs to fill it, and whoever came behind somebody who had just let his go paid nothing.
//! CPU time is that of both ends' processes. `EDDY_BENCH_MIB` (1024) and `EDDY_BENCH_ROUNDS` (5) set size and number. Needs
//! root, and `cargo build --release -p eddy-cli` before. With `EDDY_BENCH_RIVAL`, the path of `blobs-rival` of `tests/rivals`, iroh-blobs
//! takes its turn too: from a store on disk into a store on disk, verified, exported and synced.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

mod kit;

use eddy_tests::lab::{self, Host, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, from_environment, hash_of, write_sample};
use kit::bare::{Credentials, Tuning, give, take};
use kit::{Cost, cpu_time, measured, median, ratios};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const PORT: u16 = 17_900;
const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    if let Ok(role) = std::env::var("EDDY_BENCH_ROLE") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(bare(&role));
    }
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_BENCH_MIB", 1024) * MIB;
    let rounds = from_environment("EDDY_BENCH_ROUNDS", 5);
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let (giver, taker) = (lab.host(0), lab.host(1));
    let folder = tempfile::tempdir().unwrap();

    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big"), 1, length).unwrap();
    let url = origin.url("big");
    let node = Eddy::on(giver).unwrap();
    let secret = node.found_group().unwrap();
    let daemon = node.daemon().unwrap();
    node.get(&url, &folder.path().join("first")).unwrap();

    let pair = Pair::make(folder.path(), giver, taker, length);
    let rival = Rival::named(folder.path(), giver, taker, &folder.path().join("first"));
    let (mut stock, mut tuned, mut eddy, mut blobs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds as usize {
        stock.push(pair.bare_round(Tuning::Stock));
        eddy.push(eddy_round(&pair, &secret, &url, folder.path(), hash, &daemon));
        tuned.push(pair.bare_round(Tuning::Tuned));
        let show = |costs: &[Cost]| costs[round].show(length);
        println!("round {round}: stock {}, tuned {}, eddy {}", show(&stock), show(&tuned), show(&eddy));
        if let Some(rival) = &rival {
            blobs.push(rival.round(hash));
            println!("round {round}: iroh-blobs {}", show(&blobs));
        }
    }
    let (stock, tuned, eddy) = (median(stock), median(tuned), median(eddy));
    println!("medians of {} MiB over {rounds} rounds:", length / MIB);
    println!("stock quinn {}", stock.show(length));
    println!("tuned quinn {}", tuned.show(length));
    println!("eddy        {}", eddy.show(length));
    println!("eddy to stock quinn: {} (wanted: at least 1.1 and at most 0.85)", ratios(eddy, stock));
    println!("eddy to tuned quinn: {}", ratios(eddy, tuned));
    if rival.is_some() {
        let blobs = median(blobs);
        println!("iroh-blobs  {}", blobs.show(length));
        println!("eddy to iroh-blobs: {} (wanted: at least 1.4 and at most 0.65)", ratios(eddy, blobs));
    }
}

/// iroh-blobs between the two hosts.
struct Rival<'lab> {
    program: PathBuf,
    taker: &'lab Host,
    folder: PathBuf,
    length: u64,
    giving: Running,
    id: String,
    hash: String,
    address: String,
}

impl<'lab> Rival<'lab> {
    fn named(folder: &Path, giver: &Host, taker: &'lab Host, file: &Path) -> Option<Self> {
        let length = std::fs::metadata(file).unwrap().len();
        let program = PathBuf::from(std::env::var_os("EDDY_BENCH_RIVAL")?);
        let address = SocketAddr::from((giver.address(), PORT + 1)).to_string();
        let store = folder.join("rival-gives");
        let arguments = ["give", file.to_str()?, &address, store.to_str()?];
        let giving = giver.spawn(&program, arguments).unwrap();
        let said = giving.wait_line("ready", PATIENCE).unwrap();
        let mut words = said.split_whitespace().skip(1).map(str::to_owned);
        let (id, hash) = (words.next()?, words.next()?);
        Some(Self { program, taker, folder: folder.to_owned(), length, giving, id, hash, address })
    }

    fn round(&self, expected: blake3::Hash) -> Cost {
        let (to, store) = (self.folder.join("rival-took"), self.folder.join("rival-takes"));
        leave_pages(&self.folder, self.length);
        let before = self.giving.cpu_time().unwrap();
        let arguments = ["take", &self.id, &self.address, &self.hash, to.to_str().unwrap(), store.to_str().unwrap()];
        let taking = self.taker.spawn(&self.program, arguments).unwrap();
        let said = taking.wait_line("wall", PATIENCE).unwrap();
        let wall = Duration::from_secs_f64(said.trim_start_matches("wall").trim().parse().unwrap());
        let cpu = self.giving.cpu_time().unwrap() - before + taking.cpu_time().unwrap();
        assert_eq!(hash_of(&to).unwrap(), expected, "the rival delivered another file");
        drop(taking);
        std::fs::remove_file(to).unwrap();
        std::fs::remove_dir_all(store).unwrap();
        Cost { wall, cpu }
    }
}

/// Leaves used pages for what comes next: those of a file of that length, and of a copy of it.
fn leave_pages(folder: &Path, length: u64) {
    let path = folder.join("pages");
    let mut file = std::fs::File::create(&path).unwrap();
    let piece = vec![7; 1 << 20];
    for _ in 0..2 * length / MIB {
        file.write_all(&piece).unwrap();
    }
    std::fs::remove_file(path).unwrap();
}

/// A new node takes the file from its neighbour.
fn eddy_round(pair: &Pair<'_>, secret: &str, url: &str, folder: &Path, hash: blake3::Hash, giving: &Running) -> Cost {
    let (taker, length) = (pair.taker, pair.length);
    let node = Eddy::on(taker).unwrap();
    node.join_group(secret).unwrap();
    let taking = node.daemon().unwrap();
    node.wait_peers(1, PATIENCE).unwrap();
    let to = folder.join("second");
    leave_pages(folder, length);
    let cpu = || giving.cpu_time().unwrap() + taking.cpu_time().unwrap();
    let (begin, before) = (Instant::now(), cpu());
    node.get(url, &to).unwrap();
    let cost = Cost { wall: begin.elapsed(), cpu: cpu() - before };
    assert_eq!(hash_of(&to).unwrap(), hash, "another file was delivered");
    let report = node.report().unwrap();
    assert_eq!(report.totals.received.origin, 0, "the origin sent bytes");
    std::fs::remove_file(to).unwrap();
    cost
}

/// Two hosts, and what both ends of a bare round must know.
struct Pair<'lab> {
    giver: &'lab Host,
    taker: &'lab Host,
    length: u64,
    certificate: PathBuf,
    key: PathBuf,
    taken: PathBuf,
}

impl<'lab> Pair<'lab> {
    fn make(folder: &Path, giver: &'lab Host, taker: &'lab Host, length: u64) -> Self {
        let made = Credentials::make();
        let (certificate, key) = (folder.join("bare.der"), folder.join("bare.key"));
        std::fs::write(&certificate, made.certificate).unwrap();
        std::fs::write(&key, made.key).unwrap();
        Self { giver, taker, length, certificate, key, taken: folder.join("taken") }
    }

    fn role(&self, host: &Host, role: &str, tuning: Tuning) -> Command {
        let mut command = host.command(std::env::current_exe().unwrap());
        command.env("EDDY_BENCH_ROLE", role).env("EDDY_BENCH_TUNING", tuning.name());
        command.env("EDDY_BENCH_LENGTH", self.length.to_string());
        command.env("EDDY_BENCH_TO", SocketAddr::from((self.giver.address(), PORT)).to_string());
        command.env("EDDY_BENCH_CERTIFICATE", &self.certificate).env("EDDY_BENCH_KEY", &self.key);
        command.env("EDDY_BENCH_TAKEN", &self.taken);
        command
    }

    fn bare_round(&self, tuning: Tuning) -> Cost {
        leave_pages(self.taken.parent().unwrap(), self.length);
        let mut giving = Running::start(self.role(self.giver, "give", tuning)).unwrap();
        giving.wait_line("ready", PATIENCE).unwrap();
        let mut taking = Running::start(self.role(self.taker, "take", tuning)).unwrap();
        taking.wait(PATIENCE).unwrap();
        giving.wait(PATIENCE).unwrap();
        let said = |from: &Running, what: &str| {
            let line = from.wait_line(what, PATIENCE).unwrap();
            Duration::from_secs_f64(line.trim_start_matches(what).trim().parse().unwrap())
        };
        std::fs::remove_file(&self.taken).unwrap();
        Cost { wall: said(&taking, "wall"), cpu: said(&taking, "cpu") + said(&giving, "cpu") }
    }
}

/// One side of stock quinn.
async fn bare(role: &str) {
    let variable = |name: &str| std::env::var(name).unwrap();
    let read = |name: &str| std::fs::read(variable(name)).unwrap();
    let credentials = Credentials { certificate: read("EDDY_BENCH_CERTIFICATE"), key: read("EDDY_BENCH_KEY") };
    let tuning = Tuning::named(&variable("EDDY_BENCH_TUNING"));
    // The first use gathers entropy for some hundredths of a second, which eddy's nodes have behind them.
    rustls::crypto::aws_lc_rs::default_provider().secure_random.fill(&mut [0; 32]).unwrap();
    if role == "give" {
        let giver = credentials.giver(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)), tuning);
        println!("ready");
        let before = cpu_time();
        give(giver.accept().await.unwrap().await.unwrap()).await;
        println!("cpu {}", (cpu_time() - before).as_secs_f64());
        return;
    }
    let from = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let length = variable("EDDY_BENCH_LENGTH").parse().unwrap();
    let (cost, here) = measured(async {
        let (here, connection) = credentials.connect(from, variable("EDDY_BENCH_TO").parse().unwrap(), tuning).await;
        take(&connection, length, Path::new(&variable("EDDY_BENCH_TAKEN"))).await;
        here
    })
    .await;
    here.close(quinn::VarInt::from_u32(0), b"");
    here.wait_idle().await;
    println!("wall {}\ncpu {}", cost.wall.as_secs_f64(), cost.cpu.as_secs_f64());
}
