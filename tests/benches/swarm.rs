//! What swarms cost an origin and its line, in the lab, at the sizes of the design: real processes and real multicast, a line whose rate is held
//! by the kernel. Each row is run three times (`EDDY_BENCH_RUNS`), and its middle one counts. A row of one's choice: `EDDY_BENCH_ROWS` (words that a row's
//! name has, separated by commas); a fleet of one's choice, cold and warm: `EDDY_BENCH_FLEET=machines,WAN,LAN,MiB` (Mbit/s).
//! Needs root, nginx, and `cargo build --release -p eddy-cli` before; about twenty minutes of a machine that does nothing else. Nothing is asserted.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::office::{Fleet, Hostile, Office, Outcome, PATIENCE, SETTINGS};
use eddy_tests::process::{MIB, Nginx, from_environment};

const HOSTILE_ORIGIN: &str = env!("CARGO_BIN_EXE_hostile-origin");
/// Files that one machine fetches for each of the ways that are held against each other.
const STARTS: u64 = 21;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let fleet = |machines, wan, lan, mib: u64| Fleet { machines, wan: Mbit(wan), lan: Mbit(lan), length: mib * MIB };
    let bench = Bench {
        rows: std::env::var("EDDY_BENCH_ROWS").unwrap_or_default(),
        runs: from_environment("EDDY_BENCH_RUNS", 3),
    };
    if let Some([machines, wan, lan, mib]) = chosen() {
        let one = fleet(machines as usize, wan, lan, mib.into());
        bench.row("chosen cold", (1.01, 1.08), |seed| one.run_cold(seed).unwrap());
        bench.row("chosen warm", (0.0, 1.30), |seed| one.run_warm(seed, |_| SETTINGS.to_owned()).unwrap());
        return;
    }
    let eight = fleet(8, 50, 500, 128);
    let many = fleet(32, 20, 200, 64);
    bench.row("cold 8", (1.01, 1.08), |seed| eight.run_cold(seed).unwrap());
    bench.row("cold 16", (1.01, 1.08), |seed| fleet(16, 40, 400, 128).run_cold(seed).unwrap());
    bench.row("cold 32", (1.01, 1.08), |seed| many.run_cold(seed).unwrap());
    bench.row("fast 16", (1.01, 1.20), |seed| fleet(16, 50, 50, 64).run_cold(seed).unwrap());
    bench.row("killed 32", (1.01, 1.12), |seed| many.run_killed(seed, 3).unwrap());
    bench.row("warm 16", (0.0, 1.30), |seed| fleet(16, 50, 50, 64).run_warm(seed, |_| SETTINGS.to_owned()).unwrap());
    let alone = |_: usize| format!("{SETTINGS}swarm = false\n");
    bench.row("warm apart 16", (f64::INFINITY, f64::INFINITY), |seed| {
        fleet(16, 50, 50, 64).run_warm(seed, alone).unwrap()
    });
    bench.row("taken 2", (0.0, f64::INFINITY), |seed| {
        fleet(2, 1000, 1000, 256).run_warm(seed, |_| SETTINGS.to_owned()).unwrap()
    });
    bench.row("taken apart 2", (0.0, f64::INFINITY), |seed| fleet(2, 1000, 1000, 256).run_warm(seed, alone).unwrap());
    // Where two cores are enough for sixteen machines.
    bench.row("warm slow 16", (0.0, 1.30), |seed| {
        fleet(16, 20, 20, 24).run_warm(seed, |_| SETTINGS.to_owned()).unwrap()
    });
    bench.row("no ranges 32", (1.00, 1.05), |seed| many.run_without_ranges(seed).unwrap());
    // One pair in five does not know each other; which, is drawn by the run.
    bench.row("views 32", (1.03, f64::INFINITY), |seed| {
        many.run_with_views(seed, |a, b| blake3::hash(&[a as u8, b as u8, seed as u8]).as_bytes()[0] < 51).unwrap()
    });
    let small = Fleet { length: MIB, ..fleet(32, 200, 200, 1) };
    bench.row("requests 64", (1.01, f64::INFINITY), |seed| small.run_requests(seed, 64, SETTINGS).unwrap());
    bench.row("requests 1", (1.01, f64::INFINITY), |seed| small.run_requests(seed, 1, SETTINGS).unwrap());
    // At the rates at which two cores stand for 32 machines, as the other rows of 32.
    let scaled = Fleet { length: MIB, ..fleet(32, 20, 200, 1) };
    bench.row("requests scaled 64", (1.01, f64::INFINITY), |seed| scaled.run_requests(seed, 64, SETTINGS).unwrap());
    bench.row("requests scaled 1", (1.01, f64::INFINITY), |seed| scaled.run_requests(seed, 1, SETTINGS).unwrap());
    // What so many jobs take this machine, which is 32 machines, with no line in the way.
    let apart = format!("{SETTINGS}swarm = false\n");
    let quick = Fleet { wan: Mbit(10_000), lan: Mbit(10_000), ..small };
    bench.row("requests 64 apart", (32.0, f64::INFINITY), |seed| quick.run_requests(seed, 64, &apart).unwrap());
    if bench.wants("starts") {
        starts();
    }
}

/// A fleet of one's choice instead of the rows.
fn chosen() -> Option<[u32; 4]> {
    let text = std::env::var("EDDY_BENCH_FLEET").ok()?;
    let numbers: Vec<u32> = text.split(',').map(|number| number.trim().parse().unwrap()).collect();
    Some(numbers.try_into().expect("machines, WAN and LAN in Mbit/s, MiB"))
}

/// Which rows, and how often.
struct Bench {
    rows: String,
    runs: u64,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.rows.is_empty() || self.rows.split(',').any(|row| name.contains(row))
    }

    fn row(&self, name: &str, (copies, to_bound): (f64, f64), run: impl Fn(u64) -> Outcome) {
        if !self.wants(name) {
            return;
        }
        let first = from_environment("EDDY_SEED", 1);
        let outcomes: Vec<Outcome> = (first..first + self.runs).map(run).collect();
        let middle = |of: fn(&Outcome) -> f64| {
            let mut all: Vec<f64> = outcomes.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        println!(
            "== {name}: {:.4} copies (at most {copies}), {:.3} times the bound (at most {to_bound}), {:.3} s\n",
            middle(|outcome| outcome.copies),
            middle(|outcome| outcome.to_bound),
            middle(|outcome| outcome.took.as_secs_f64()),
        );
    }
}

/// How long a file takes one that is alone, one among others that want nothing, and two that start together: with swarms and without, in turns, by
/// the control socket of a daemon, so that no program's start is in it.
fn starts() {
    let spec = LabSpec { hosts: 4, lan_rate: Some(Mbit(1000)), wan_rate: Some(Mbit(1000)) };
    let lab = Lab::new(spec).unwrap();
    let origin = Hostile::on(&lab, HOSTILE_ORIGIN).unwrap();
    let mut seed = 1_000_000;
    for (name, machines, starters) in [("alone", 1, 1), ("one, three idle", 4, 1), ("two together", 2, 2)] {
        let office = |swarm: bool| {
            let settings = format!("{SETTINGS}swarm = {swarm}\n");
            let office = Office::found(&lab, machines, |_, _| settings.clone()).unwrap();
            office.nodes.iter().for_each(|node| drop(node.wait_peers(machines - 1, PATIENCE).unwrap()));
            office
        };
        let ways = [office(false), office(true)];
        for (kib, rounds) in [(64, STARTS), (1024, STARTS), (65536, 5)] {
            let mut took = [Vec::new(), Vec::new()];
            for _ in 0..rounds {
                for (way, office) in ways.iter().enumerate() {
                    seed += 1;
                    let url = origin.url("honest", seed, kib * 1024);
                    let asked: Vec<_> =
                        (0..starters).map(|n| (n, office.nodes[n].home().join("fetched.img"))).collect();
                    took[way].push(office.fetch_by_socket(&asked, &url).into_iter().map(Result::unwrap).max().unwrap());
                }
            }
            let [without, with] = took.map(|mut took| {
                took.sort();
                (took[took.len() / 2].as_secs_f64() * 1e3, took[0].as_secs_f64() * 1e3)
            });
            println!(
                "== starts, {name}, {kib} KiB: {:.1} ms without a swarm, {:.1} with one (least {:.1}, {:.1})",
                without.0, with.0, without.1, with.1
            );
        }
    }
}
