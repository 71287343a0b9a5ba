//! A file from a neighbour over a line of 1 Gbit/s, against what iperf3 reaches over the same line (TCP, one connection).
//!
//! Rounds take turns; each round's reader is a new node. `EDDY_BENCH_MIB` (1024), `EDDY_BENCH_ROUNDS` (3), `EDDY_BENCH_MBIT`
//! (1000). Needs root, iperf3, and `cargo build --release -p eddy-cli` before. Nothing is asserted.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Host, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, from_environment, hash_of, write_sample};

const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_BENCH_MIB", 1024) * MIB;
    let rate = u32::try_from(from_environment("EDDY_BENCH_MBIT", 1000)).unwrap();
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(Mbit(rate)), wan_rate: None }).unwrap();
    let (giver, taker) = (lab.host(0), lab.host(1));
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big"), 1, length).unwrap();
    let url = origin.url("big");
    let node = Eddy::on(giver).unwrap();
    let secret = node.found_group().unwrap();
    let _giving = node.daemon().unwrap();
    node.get(&url, &node.home().join("big")).unwrap();
    let (mut ratios, listening) = (Vec::new(), giver.spawn("iperf3", ["-s", "--forceflush"]));
    let Ok(listening) = listening else { return println!("skipped: iperf3 is not installed") };
    listening.wait_line("listening", PATIENCE).unwrap();
    for round in 0..from_environment("EDDY_BENCH_ROUNDS", 3) {
        let line = by_iperf3(taker, giver, length);
        let reader = Eddy::on(taker).unwrap();
        reader.join_group(&secret).unwrap();
        let _reading = reader.daemon().unwrap();
        reader.wait_peers(1, PATIENCE).unwrap();
        let to = reader.home().join("big");
        let begin = Instant::now();
        reader.get(&url, &to).unwrap();
        let peer = length as f64 * 8.0 / 1e6 / begin.elapsed().as_secs_f64();
        assert_eq!(hash_of(&to).unwrap(), hash);
        assert_eq!(reader.report().unwrap().totals.received.origin, 0, "the origin sent bytes");
        println!("round {round}: iperf3 {line:.0} Mbit/s, eddy {peer:.0} Mbit/s: {:.3}", peer / line);
        ratios.push(peer / line);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: {:.3} of what iperf3 reaches (wanted: at least 0.95)", ratios[ratios.len() / 2]);
}

/// Mbit/s of payload that the taker gets from the giver.
fn by_iperf3(taker: &Host, giver: &Host, length: u64) -> f64 {
    let (to, bytes) = (giver.address().to_string(), length.to_string());
    let output = taker.command("iperf3").args(["-J", "-R", "-c", &to, "-n", &bytes]).output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    told["end"]["sum_received"]["bits_per_second"].as_f64().unwrap() / 1e6
}
