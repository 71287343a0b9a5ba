//! The main job: one machine of a LAN fetches from the origin, its neighbours take every byte from it.
//!
//! Real processes, real multicast, no configuration but the group. The origin's own log and the counters of the line to it
//! say what crossed it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Access, Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, hash_of, write_sample};
use eddy_wire::api::{Identity, PeerState};

const PATIENCE: Duration = Duration::from_secs(120);
const LENGTH: u64 = 256 * MIB;
/// What answers without a body, TCP and TLS handshakes may put on the line.
const QUESTIONS: u64 = MIB / 8;

/// Three machines of one group; only the first two run a daemon.
struct Office<'lab> {
    nodes: [Eddy<'lab>; 3],
    /// Held to keep them running; dropped first, so that their homes are still there.
    daemons: Vec<Running>,
}

impl<'lab> Office<'lab> {
    fn open(lab: &'lab Lab, daemons: usize) -> Self {
        let nodes = [0, 1, 2].map(|n| Eddy::on(lab.host(n)).unwrap());
        let secret = nodes[0].found_group().unwrap();
        nodes[1].join_group(&secret).unwrap();
        // The other way that the manual names: a file.
        let file = nodes[2].home().join("secret.txt");
        std::fs::write(&file, &secret).unwrap();
        let joined = nodes[2].ended(&["group", "join", file.to_str().unwrap()]).unwrap();
        assert_eq!(joined.status, Some(0), "{joined:?}");
        let daemons = nodes.iter().take(daemons).map(|node| node.daemon().unwrap()).collect();
        Self { nodes, daemons }
    }

    fn destination(&self, node: usize) -> PathBuf {
        self.nodes[node].home().join("fetched.img")
    }
}

#[test]
fn the_second_and_the_third_machine_take_the_whole_body_from_peers() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 3, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 1, LENGTH).unwrap();
    let office = Office::open(&lab, 3);
    for node in &office.nodes {
        node.wait_peers(2, PATIENCE).unwrap();
    }

    let first = timed_get(&office, 0, &origin, hash);
    let log = origin.wait_access(PATIENCE, |log| body_bytes(log) >= LENGTH).unwrap();
    assert_eq!(body_bytes(&log), LENGTH, "the first machine fetched something twice: {log:#?}");
    assert_account(&office.nodes[0], [LENGTH, 0]);

    for node in [1, 2] {
        let line = lab.wan_bytes().unwrap();
        let before = origin.access().unwrap().len();
        timed_get(&office, node, &origin, hash);
        assert_account(&office.nodes[node], [0, LENGTH]);
        let audited = assert_only_questions(&office.nodes[node], &origin.access().unwrap()[before..], LENGTH);
        let crossed = lab.wan_bytes().unwrap().sent - line.sent;
        let most = QUESTIONS + audited + audited / 10;
        assert!(crossed < most, "{crossed} bytes crossed the line for machine {node}, {audited} to catch liars");
    }
    assert_peers_are_shown(&office, first);
}

#[test]
fn a_command_without_a_daemon_takes_the_whole_body_from_peers_too() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 3, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 2, LENGTH / 4).unwrap();
    let office = Office::open(&lab, 1);

    timed_get(&office, 0, &origin, hash);
    let log = origin.wait_access(PATIENCE, |log| body_bytes(log) >= LENGTH / 4).unwrap();
    timed_get(&office, 2, &origin, hash);
    assert_account(&office.nodes[2], [0, LENGTH / 4]);
    assert_only_questions(&office.nodes[2], &origin.access().unwrap()[log.len()..], LENGTH / 4);
    // What the command fetched is this machine's from now on, without anybody.
    let again = office.nodes[2].home().join("again.img");
    office.nodes[2].get(&origin.url("big.img"), &again).unwrap();
    assert_eq!(hash_of(&again).unwrap(), hash);
    let report = office.nodes[2].report().unwrap();
    assert_eq!((report.totals.used.cache, report.totals.received.origin), (LENGTH / 4, 0));
    drop(office.daemons);
}

/// Fetches on one machine, checks every byte, and returns the daemon's id.
fn timed_get(office: &Office<'_>, node: usize, origin: &Nginx, hash: blake3::Hash) -> Option<String> {
    let destination = office.destination(node);
    let began = Instant::now();
    let job = office.nodes[node].get(&origin.url("big.img"), &destination).unwrap();
    println!("machine {node}: {:.2} s, {:?}", began.elapsed().as_secs_f64(), job.sources());
    assert_eq!(job.files[0].blake3.as_deref(), Some(hash.to_hex().as_str()));
    assert_eq!(hash_of(&destination).unwrap(), hash, "machine {node} has other bytes than the origin");
    office.nodes[node].status().ok().map(|status| status.node)
}

/// The account closes to the byte, and names these sources: origin and peers.
fn assert_account(node: &Eddy<'_>, [origin, peers]: [u64; 2]) {
    let report = node.report().unwrap();
    let totals = report.totals;
    assert_eq!(totals.identity(), Identity::Closes, "{report:#?}");
    assert_eq!((totals.used.origin, totals.used.peers, totals.used.cache), (origin, peers, 0), "{report:#?}");
    assert_eq!((totals.delivered, totals.wasted.total()), (origin + peers, 0), "{report:#?}");
}

/// The origin was asked for the version, and for what is looked at twice, which the account names to the byte.
fn assert_only_questions(node: &Eddy<'_>, log: &[Access], length: u64) -> u64 {
    let audited = node.report().unwrap().totals.audited;
    assert_eq!(body_bytes(log), audited, "the origin was asked for more than the account says: {log:#?}");
    // One block at least, one segment in a hundred on average; eight in a hundred never come in a lifetime of runs.
    assert!((1..=length / 12).contains(&audited), "{audited} bytes were looked at twice");
    assert_eq!(log.iter().filter(|access| access.body_bytes == 0).count(), 1, "one question is enough: {log:#?}");
    audited
}

/// The machine that took the bytes shows where from, and the one that gave them shows whereto.
fn assert_peers_are_shown(office: &Office<'_>, first: Option<String>) {
    let first = first.unwrap();
    let views = [0, 1, 2].map(|n| office.nodes[n].wait_peers(2, PATIENCE).unwrap());
    for view in &views {
        assert!(view.group.is_some() && view.reason.is_none(), "{view:#?}");
        assert!(view.peers.iter().all(|peer| peer.state == PeerState::Connected), "{view:#?}");
    }
    let from_first = |view: usize| views[view].peers.iter().find(|peer| peer.node.as_ref() == Some(&first)).unwrap();
    assert!(from_first(1).received >= LENGTH, "the second had only the first to take from: {views:#?}");
    let received: u64 = views[2].peers.iter().map(|peer| peer.received).sum();
    assert!(received >= LENGTH, "{views:#?}");
    let sent: u64 = views[0].peers.iter().map(|peer| peer.sent).sum();
    assert!(sent >= LENGTH, "{views:#?}");
}
