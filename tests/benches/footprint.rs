//! What a node takes of a machine: memory when idle, with 100 peers, while it serves and fetches a file; CPU when idle (in the kernel's ticks of
//! 10 ms).
//!
//! Real processes in the lab. Nothing is asserted. `EDDY_BENCH_MIB` (1024) is the file, `EDDY_BENCH_IDLE` (60) the seconds of
//! idleness that are looked at, `EDDY_BENCH_PEERS` (100) the peers. Needs root, and `cargo build --release -p eddy-cli` before.

#![allow(clippy::unwrap_used, reason = "a bench, like a test, may unwrap")]

use std::net::SocketAddr;
use std::time::Duration;

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, from_environment, hash_of, write_sample};

const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") || !lab::ready() || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_BENCH_MIB", 1024) * MIB;
    let lab = Lab::new(LabSpec { hosts: 3, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let [giver, taker] = [0, 1].map(|host| Eddy::on(lab.host(host)).unwrap());
    taker.join_group(&giver.found_group().unwrap()).unwrap();
    let giving = giver.daemon().unwrap();
    println!("a node that has just started:         {}", memory(&giving));
    idle(&giving, "a node alone");

    let hash = write_sample(&origin.files().join("big"), 1, length).unwrap();
    giving.forget_peak().unwrap();
    fetch(&giver, &origin, hash);
    println!("{} MiB from the origin, fetching:    {}", length / MIB, memory(&giving));

    let taking = taker.daemon().unwrap();
    giver.wait_peers(1, PATIENCE).unwrap();
    taker.wait_peers(1, PATIENCE).unwrap();
    [&giving, &taking].iter().for_each(|node| node.forget_peak().unwrap());
    fetch(&taker, &origin, hash);
    println!("{} MiB from a peer, serving:         {}", length / MIB, memory(&giving));
    println!("{} MiB from a peer, fetching:        {}", length / MIB, memory(&taking));

    drop(taking);
    let again = taker.daemon().unwrap();
    crowd(&lab, &taker, &again);
}

/// A hundred members that are there and ask nothing.
fn crowd(lab: &Lab, node: &Eddy<'_>, daemon: &Running) {
    let count = from_environment("EDDY_BENCH_PEERS", 100).to_string();
    let listens = node.status().unwrap().listen;
    let port = listens.iter().find_map(|at| at.rsplit(' ').next()?.parse().ok()).unwrap();
    let target = SocketAddr::from((lab.host(1).address(), port)).to_string();
    let arguments = [node.home().to_str().unwrap(), &target, "stay", &count];
    let members = lab.host(2).spawn(env!("CARGO_BIN_EXE_hostile-member"), arguments).unwrap();
    members.wait_line("here", PATIENCE).unwrap();
    println!("{count} peers, connected:                  {}", memory(daemon));
    idle(daemon, &format!("a node with {count} peers"));
}

fn fetch(node: &Eddy<'_>, origin: &Nginx, hash: blake3::Hash) {
    let to = node.home().join("big");
    node.get(&origin.url("big"), &to).unwrap();
    assert_eq!(hash_of(&to).unwrap(), hash);
    std::fs::remove_file(to).unwrap();
}

fn memory(node: &Running) -> String {
    let of = |bytes: u64| bytes as f64 / MIB as f64;
    let (now, peak) = (node.resident_bytes().unwrap(), node.peak_resident_bytes().unwrap());
    let anonymous = node.anonymous_bytes().unwrap();
    format!("{:5.1} MiB, at most {:5.1} MiB; {:5.1} MiB of it anonymous", of(now), of(peak), of(anonymous))
}

fn idle(node: &Running, who: &str) {
    let span = Duration::from_secs(from_environment("EDDY_BENCH_IDLE", 60));
    // What a beginning takes is not idleness.
    std::thread::sleep(Duration::from_secs(5));
    let before = node.cpu_time().unwrap();
    std::thread::sleep(span);
    let spent = node.cpu_time().unwrap() - before;
    println!(
        "{who}, idle for {span:?}: {spent:?} of CPU, {:.3} % of a core; {}",
        100.0 * spent.as_secs_f64() / span.as_secs_f64(),
        memory(node)
    );
}
