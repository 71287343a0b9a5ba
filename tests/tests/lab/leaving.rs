//! Who leaves a swarm: a finished command that stays for the others until it is interrupted, and the one reader of an origin without
//! ranges that is killed in the middle. The others have everything in the end, and it is what the origin has.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eddy_tests::hostile::{COUNTERS_PATH, Counters, Version};
use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, SIGINT, from_environment, hash_of, write_sample};
use eddy_wire::api::SwarmView;

const PATIENCE: Duration = Duration::from_secs(120);
const HOSTILE_ORIGIN: &str = env!("CARGO_BIN_EXE_hostile-origin");
/// All homes lie on one disk.
const SETTINGS: &str = "[cache]\nreserve = \"1 MiB\"\nquota = \"1 GiB\"\n";
/// What a command fetches, and the line between the machines: four seconds and more for whoever has nothing of it.
const LENGTH: u64 = 24 * MIB;
const LINE: Mbit = Mbit(50);

fn members<const N: usize>(lab: &Lab) -> [Eddy<'_>; N] {
    let nodes = std::array::from_fn(|n| Eddy::on(lab.host(n)).unwrap());
    let secret = nodes[0].found_group().unwrap();
    nodes[1..].iter().for_each(|node| node.join_group(&secret).unwrap());
    nodes.iter().for_each(|node| std::fs::write(node.home().join("eddy.toml"), SETTINGS).unwrap());
    nodes
}

fn destination(node: &Eddy<'_>) -> PathBuf {
    node.home().join("fetched.img")
}

/// A command that fetches a file by a node inside itself, and a daemon on another machine that begins with the same when the command has
/// most of it; once the command is done and has said that it stays.
fn finished_and_staying<'lab>(nodes: &[Eddy<'lab>; 2], url: &str) -> (Running, Running) {
    let [finished, late] = nodes;
    let daemon = late.daemon().unwrap();
    let command = finished.spawn(["get", url, "-o", destination(finished).to_str().unwrap()]).unwrap();
    let has_most = |swarm: &SwarmView| swarm.held * 4 >= swarm.segments * 3;
    finished.wait_peers_view(PATIENCE, |view| view.swarms.iter().any(has_most)).unwrap();
    late.get_in_background(url, &destination(late)).unwrap();
    command.wait_line("staying up to 30 s", PATIENCE).unwrap();
    (command, daemon)
}

#[test]
fn a_finished_command_stays_until_the_others_have_what_it_has() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(LINE), wan_rate: Some(LINE) }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 1, LENGTH).unwrap();
    let nodes = members(&lab);
    let (mut command, _daemon) = finished_and_staying(&nodes, &origin.url("big.img"));
    let [finished, late] = &nodes;
    late.wait_delivered(&destination(late), PATIENCE).unwrap();
    assert!(command.wait(PATIENCE).unwrap().success(), "{}", command.log());
    for node in &nodes {
        assert_eq!(hash_of(&destination(node)).unwrap(), hash);
    }
    let (gave, took) = (finished.report().unwrap(), late.report().unwrap());
    println!("{:#?}", took.totals);
    assert!(took.totals.used.peers > LENGTH / 2, "{took:#?}");
    assert_eq!(gave.totals.used.origin + took.totals.used.origin, LENGTH, "one copy: {gave:#?} {took:#?}");
}

#[test]
fn an_interruption_ends_the_stay_of_a_finished_command_and_nothing_else() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(LINE), wan_rate: Some(LINE) }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 2, LENGTH).unwrap();
    let nodes = members(&lab);
    let (mut command, _daemon) = finished_and_staying(&nodes, &origin.url("big.img"));
    command.signal(SIGINT).unwrap();
    let status = command.wait(PATIENCE).unwrap();
    let [finished, late] = &nodes;
    // Else the other one's end may have ended the stay, and nothing is shown.
    assert!(!destination(late).exists(), "the command did not end at once: {}", command.log());
    assert!(status.success(), "what was asked for is there: {status:?}, {}", command.log());
    assert_eq!(hash_of(&destination(finished)).unwrap(), hash);
    late.wait_delivered(&destination(late), PATIENCE).unwrap();
    assert_eq!(hash_of(&destination(late)).unwrap(), hash);
}

#[test]
fn when_the_only_reader_of_a_stream_is_killed_another_reads_it_and_nobody_fails() {
    if !lab::ready() {
        return;
    }
    let seed = from_environment("EDDY_SEED", 1);
    println!("EDDY_SEED={seed}");
    let length = 12 * MIB;
    let lab = Lab::new(LabSpec { hosts: 4, lan_rate: Some(Mbit(400)), wan_rate: Some(Mbit(40)) }).unwrap();
    let at = format!("{}:80", lab.origin().address());
    let running = lab.origin().spawn(HOSTILE_ORIGIN, [&at]).unwrap();
    running.wait_line(&at, PATIENCE).unwrap();
    let url = format!("http://{at}/big.img?seed={seed}&length={length}&behaviour=http10");
    let hash = blake3::hash(&Version::new(seed, length).whole());
    let nodes = members::<4>(&lab);
    let mut daemons: Vec<_> = nodes.iter().map(|node| node.daemon().unwrap()).collect();
    nodes.iter().for_each(|node| drop(node.wait_peers(3, PATIENCE).unwrap()));
    nodes.iter().for_each(|node| drop(node.get_in_background(&url, &destination(node)).unwrap()));

    // The reader knows what it reads, whoever is home.
    let reads = |swarm: &SwarmView, id: &str| swarm.readers.iter().any(|r| r.node == id && r.received >= length / 4);
    let ids: Vec<String> = nodes.iter().map(|node| node.status().unwrap().node).collect();
    let is_reader = |n: &usize| {
        let view = nodes[*n].wait_peers_view(PATIENCE, |_| true).unwrap();
        view.swarms.iter().any(|swarm| reads(swarm, &ids[*n]))
    };
    let deadline = Instant::now() + PATIENCE;
    let reader = loop {
        if let Some(reader) = (0..nodes.len()).find(is_reader) {
            break reader;
        }
        assert!(Instant::now() < deadline, "nobody reads");
    };
    daemons[reader].kill().unwrap();
    for (n, node) in nodes.iter().enumerate().filter(|(n, _)| *n != reader) {
        node.wait_delivered(&destination(node), PATIENCE).unwrap();
        assert_eq!(hash_of(&destination(node)).unwrap(), hash, "machine {n} has other bytes than the origin");
    }
    let counters = format!("http://{at}{COUNTERS_PATH}");
    let counters = lab.origin().command("curl").args(["-sS", &counters]).output().unwrap();
    let counters: Counters = serde_json::from_slice(&counters.stdout).unwrap();
    let path = counters.path("/big.img");
    println!("{} requests, {} bytes for {length}", path.requests, path.body_bytes);
    // What the dead one read, what the next one reads from the first byte on, and what lay in sockets where somebody looked twice.
    assert!(path.body_bytes <= 2 * length + 4 * MIB, "{path:?}");
}
