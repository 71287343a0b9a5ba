//! What an administrator says about peers as a whole: a machine that does not fetch from them, and one that does not serve them (P-1).

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, write_sample};
use eddy_wire::api::Sources;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const LENGTH: u64 = 4 * MIB;

#[test]
fn p1_who_does_not_fetch_asks_no_peer_and_who_does_not_serve_is_asked_in_vain() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 3, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    for (name, seed) in [("a", 1), ("b", 2), ("c", 3)] {
        write_sample(&origin.files().join(name), seed, LENGTH).unwrap();
    }
    let nodes = [0, 1, 2].map(|host| Eddy::on(lab.host(host)).unwrap());
    let [plain, alone, mute] = &nodes;
    let secret = plain.found_group().unwrap();
    alone.join_group(&secret).unwrap();
    mute.join_group(&secret).unwrap();
    std::fs::write(alone.home().join("eddy.toml"), "[peers]\nfetch = false\n").unwrap();
    std::fs::write(mute.home().join("eddy.toml"), "[peers]\nserve = false\n").unwrap();
    let _daemons = nodes.each_ref().map(|node| node.daemon().unwrap());
    for node in &nodes {
        node.wait_peers(2, PATIENCE).unwrap();
    }
    let get = |node: &Eddy<'_>, name: &str| {
        let job = node.get(&origin.url(name), &node.home().join(name)).unwrap();
        let Sources { origin, peers, cache } = job.sources();
        (origin, peers, cache)
    };
    assert_eq!(get(plain, "a"), (LENGTH, 0, 0));
    assert_eq!(get(alone, "a"), (LENGTH, 0, 0), "a peer has it and is not asked");
    assert_eq!(get(mute, "b"), (LENGTH, 0, 0));
    assert_eq!(get(plain, "b"), (LENGTH, 0, 0), "a peer has it and does not give it");
    assert_eq!(get(alone, "c"), (LENGTH, 0, 0));
    assert_eq!(get(mute, "c"), (0, LENGTH, 0), "who does not fetch serves, and who does not serve fetches");
}
