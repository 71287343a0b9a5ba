//! Many machines start together: the origin sends one copy, and every machine ends with the same bytes.
//!
//! Real processes, real multicast, a shaped line to the origin. What the origin sent is in its own log; what was looked at twice to catch
//! liars is in the machines' accounts, and counted apart. Times are printed, not asserted.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

use std::thread;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, from_environment, hash_of, write_sample};
use eddy_wire::api::Identity;

const PATIENCE: Duration = Duration::from_secs(120);
/// Fleets of which the middle one counts.
const RUNS: u64 = 3;
/// Of a line's rate, what TCP leaves for bodies.
const GOODPUT: f64 = 0.955;

/// All homes lie on one disk, whose other contents are nobody's business here.
const SETTINGS: &str = "[peers]\nswarm = true\n[cache]\nreserve = \"1 MiB\"\nquota = \"1 GiB\"\n";

/// A fleet and its lines: the ratios of the design, so that two cores carry what all machines pass on together.
#[derive(Debug, Clone, Copy)]
struct Fleet {
    machines: usize,
    wan: Mbit,
    lan: Mbit,
    length: u64,
}

/// Machines of one group in a lab, with their daemons.
struct Office<'lab> {
    nodes: Vec<Eddy<'lab>>,
    _daemons: Vec<Running>,
}

impl<'lab> Office<'lab> {
    fn open(lab: &'lab Lab, machines: usize) -> Self {
        let nodes: Vec<_> = (0..machines).map(|n| Eddy::on(lab.host(n)).unwrap()).collect();
        let secret = nodes[0].found_group().unwrap();
        nodes[1..].iter().for_each(|node| node.join_group(&secret).unwrap());
        for node in &nodes {
            std::fs::write(node.home().join("eddy.toml"), SETTINGS).unwrap();
        }
        let daemons = nodes.iter().map(|node| node.daemon().unwrap()).collect();
        nodes.iter().for_each(|node| drop(node.wait_peers(machines - 1, PATIENCE).unwrap()));
        Self { nodes, _daemons: daemons }
    }

    /// Every machine fetches the file at the same time; how long the last one took.
    fn fetch_together(&self, url: &str, hash: blake3::Hash) -> Duration {
        let began = Instant::now();
        let ends = thread::scope(|scope| {
            let fetching: Vec<_> = self
                .nodes
                .iter()
                .map(|node| {
                    scope.spawn(move || {
                        let destination = node.home().join("fetched.img");
                        node.get(url, &destination).unwrap();
                        let took = began.elapsed();
                        assert_eq!(hash_of(&destination).unwrap(), hash, "a machine has other bytes than the origin");
                        took
                    })
                })
                .collect();
            fetching.into_iter().map(|fetch| fetch.join().unwrap()).collect::<Vec<_>>()
        });
        ends.into_iter().max().unwrap_or_default()
    }

    /// Bytes that were fetched a second time, of all accounts; each of which closes.
    fn audited(&self) -> u64 {
        let totals = self.nodes.iter().map(|node| node.report().unwrap().totals);
        totals.inspect(|totals| assert_eq!(totals.identity(), Identity::Closes, "{totals:#?}")).map(|t| t.audited).sum()
    }
}

/// Runs a fleet that starts cold; what the origin sent, in copies.
fn run_cold(fleet: Fleet, seed: u64) -> f64 {
    let Fleet { machines, wan, lan, length } = fleet;
    let lab = Lab::new(LabSpec { hosts: machines, lan_rate: Some(lan), wan_rate: Some(wan) }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), seed, length).unwrap();
    let office = Office::open(&lab, machines);
    let took = office.fetch_together(&origin.url("big.img"), hash);
    let log = origin.wait_access(PATIENCE, |log| body_bytes(log) >= length).unwrap();
    let (sent, audited) = (body_bytes(&log), office.audited());
    let bound = length as f64 * 8.0 / (f64::from(wan.0.min(lan.0)) * 1e6 * GOODPUT);
    let copies = (sent - audited.min(sent)) as f64 / length as f64;
    let reads = log.iter().filter(|access| access.body_bytes > 0).count();
    println!(
        "{machines} machines, WAN {} Mbit/s, LAN {} Mbit/s, {} MiB: {copies:.4} copies in {reads} answers, {audited} bytes \
         looked at twice; the last machine after {:.2} s, {:.3} times the bound",
        wan.0,
        lan.0,
        length / MIB,
        took.as_secs_f64(),
        took.as_secs_f64() / bound,
    );
    copies
}

#[test]
fn machines_that_start_together_take_one_copy_from_the_origin() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let seed = from_environment("EDDY_SEED", 1);
    let machines = usize::try_from(from_environment("EDDY_SWARM_MACHINES", 4)).unwrap();
    println!("EDDY_SEED={seed}");
    // Together they pass on what two cores carry.
    let wan = Mbit(u32::try_from(400 / machines).unwrap());
    let fleet = Fleet { machines, wan, lan: Mbit(wan.0 * 10), length: from_environment("EDDY_SWARM_MIB", 32) * MIB };
    // The goal is one of medians: a machine that gets no processor for seconds is taken for dead, and its part is read again.
    let mut copies: Vec<f64> = (seed..seed + RUNS).map(|seed| run_cold(fleet, seed)).collect();
    copies.sort_by(f64::total_cmp);
    let median = copies[copies.len() / 2];
    assert!(median <= 1.01, "{copies:?} copies");
}
