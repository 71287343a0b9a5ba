//! A machine is killed while it takes from a peer, again and again: after each restart it goes on from what it had written
//! durably, and asks nobody for that again.

use std::thread;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, from_environment, hash_of, write_sample};
use eddy_wire::api::Identity;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const PATIENCE: Duration = Duration::from_secs(120);
/// Framing, acknowledgements and packets that were sent again, in parts of the body: the account tells to the byte, the line
/// only has to agree that nothing large went over it twice.
const FRAMING: u64 = 4;
/// Kills before the first commit that are bad luck.
const MOST_IN_VAIN: u64 = 8;

#[test]
fn a_killed_machine_goes_on_from_what_it_holds_and_fetches_no_acknowledged_block_again() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let seed = from_environment("EDDY_SEED", 11);
    let instants = from_environment("EDDY_KILLS", 3);
    let length = from_environment("EDDY_KILL_MIB", 64) * MIB;
    let line = Mbit(from_environment("EDDY_LAN_MBIT", 80) as u32);
    println!("EDDY_SEED={seed}");
    let mut rng = SmallRng::seed_from_u64(seed);
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(line), wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 4, length).unwrap();
    let nodes = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();
    let _server = nodes[0].daemon().unwrap();
    nodes[0].get(&origin.url("big.img"), &nodes[0].home().join("a")).unwrap();

    let destination = nodes[1].home().join("b");
    let mut client = nodes[1].daemon().unwrap();
    nodes[1].wait_peers(1, PATIENCE).unwrap();
    nodes[1].get_in_background(&origin.url("big.img"), &destination).unwrap();
    let (mut kills, mut held) = (0, 0);
    // A life that ends before its first commit, a second after it began, leaves nothing to go on from: at least one must.
    while kills < instants || held == 0 {
        kills += 1;
        assert!(kills <= instants + MOST_IN_VAIN, "no life reaches its first commit");
        // The instants are spread over the transfer: each life may fetch a part of the file.
        let life = rng.random_range(length / 16..length / (instants + 1));
        let start = client.link_received("eth0").unwrap();
        let deadline = Instant::now() + PATIENCE;
        while client.link_received("eth0").unwrap() < start + life {
            assert!(Instant::now() < deadline, "nothing more arrives\n{}", client.log());
            thread::sleep(Duration::from_millis(2));
        }
        client.kill().unwrap();
        held = held_by(&nodes[1]);
        let totals = nodes[1].report().unwrap().totals;
        println!("killed after {life} bytes on the line: {held} are held");
        assert_eq!(totals.used.origin + totals.used.peers, held, "blocks and their account became durable together");
        client = nodes[1].daemon().unwrap();
    }
    let start = client.link_received("eth0").unwrap();
    nodes[1].wait_delivered(&destination, PATIENCE).unwrap();
    let arrived = client.link_received("eth0").unwrap() - start;

    assert_eq!(hash_of(&destination).unwrap(), hash);
    assert!(
        arrived <= (length - held) * (FRAMING + 1) / FRAMING + MIB,
        "{arrived} bytes on the line for the {} that were missing",
        length - held
    );
    let totals = nodes[1].report().unwrap().totals;
    assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    assert_eq!(totals.delivered, length, "{totals:?}");
    assert_eq!(totals.wasted.duplicate, 0, "{totals:?}");
    // A peer that holds everything gives it, also over a slow line: the origin may be asked only while a new life looks for it.
    assert!(totals.used.origin <= length / 4, "{totals:?}");
    assert_eq!(totals.used.origin + totals.used.peers, length, "acknowledged blocks were taken again: {totals:?}");
}

/// Bytes that the store holds durably, as it says itself.
fn held_by(node: &Eddy<'_>) -> u64 {
    node.cached().unwrap().iter().map(|entity| entity.held).sum()
}
