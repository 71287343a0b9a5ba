//! Rot: bytes of the cache change on the disk, behind everybody's back. Nobody gets them, only the blocks that rotted cross the
//! network again, from a peer where one has them, and the account closes.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eddy_content::BLOCK_SIZE;
use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, SIGTERM, body_bytes, hash_of, write_sample};
use eddy_wire::api::{Identity, JobState};

const PATIENCE: Duration = Duration::from_secs(60);
const LENGTH: u64 = 8 * MIB;
/// The blocks that rot; more than the engine takes for a bad moment.
const ROTTEN: [u64; 7] = [0, 1, 17, 40, 64, 100, 127];

/// The one data file of a node's cache.
fn data_file(node: &Eddy<'_>) -> PathBuf {
    let entries =
        |path: &Path| -> Vec<PathBuf> { path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect() };
    let files = entries(&node.home().join("cache/entities")).into_iter().flat_map(|folder| entries(&folder));
    let mut data: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|kind| kind == "data")).collect();
    assert_eq!(data.len(), 1, "{data:?}");
    data.remove(0)
}

/// Flips a bit in each of the blocks.
fn rot(node: &Eddy<'_>) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(data_file(node)).unwrap();
    for block in ROTTEN {
        let (mut byte, at) = ([0], block * BLOCK_SIZE + block);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }
    file.sync_all().unwrap();
}

/// The cache may use all of the disk, however full that is.
fn unlimited(node: Eddy<'_>) -> Eddy<'_> {
    std::fs::write(node.home().join("eddy.toml"), "[cache]\nquota = \"100 %\"\nreserve = \"1 KiB\"\n").unwrap();
    node
}

#[test]
fn blocks_that_rotted_are_fetched_again_and_no_others() {
    if !Nginx::ready() {
        return;
    }
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("image"), 3, LENGTH).unwrap();
    let node = unlimited(Eddy::here().unwrap());
    let mut daemon = node.daemon().unwrap();
    node.get(&origin.url("image"), &node.home().join("first")).unwrap();
    for (round, is_running) in [true, false].into_iter().enumerate() {
        if is_running {
            rot(&node);
        } else {
            daemon.signal(SIGTERM).unwrap();
            daemon.wait(PATIENCE).unwrap();
            rot(&node);
            daemon = node.daemon().unwrap();
        }
        let before = body_bytes(&origin.access().unwrap());
        let path = node.home().join(format!("again{round}"));
        let job = node.get(&origin.url("image"), &path).unwrap();
        assert_eq!(job.state, JobState::Acknowledged);
        assert_eq!(hash_of(&path).unwrap(), hash);
        let again = body_bytes(&origin.access().unwrap()) - before;
        assert_eq!(again, ROTTEN.len() as u64 * BLOCK_SIZE, "only what rotted, running: {is_running}");
        let totals = node.report().unwrap().totals;
        assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    }
    // Mended: another delivery costs nothing.
    let before = body_bytes(&origin.access().unwrap());
    node.get(&origin.url("image"), &node.home().join("last")).unwrap();
    assert_eq!(hash_of(&node.home().join("last")).unwrap(), hash);
    assert_eq!(body_bytes(&origin.access().unwrap()), before);
}

#[test]
fn blocks_that_rotted_come_from_a_peer_that_has_them_and_rot_is_not_served() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("image"), 4, LENGTH).unwrap();
    let nodes = [0, 1].map(|n| unlimited(Eddy::on(lab.host(n)).unwrap()));
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();
    let _daemons = [nodes[0].daemon().unwrap(), nodes[1].daemon().unwrap()];
    nodes[0].wait_peers(1, PATIENCE).unwrap();
    nodes[1].wait_peers(1, PATIENCE).unwrap();
    for node in &nodes {
        node.get(&origin.url("image"), &node.home().join("first")).unwrap();
    }
    let from_origin = || body_bytes(&origin.access().unwrap());
    // What members signed for is looked at twice in places, and counted apart.
    let audited = || nodes[1].report().unwrap().totals.audited;
    assert_eq!(from_origin(), LENGTH + audited());

    // The second machine's cache rots, and is mended by the first.
    rot(&nodes[1]);
    let received = || nodes[1].report().unwrap().totals.received.peers;
    let before = received();
    let path = nodes[1].home().join("again");
    nodes[1].get(&origin.url("image"), &path).unwrap();
    assert_eq!(hash_of(&path).unwrap(), hash);
    assert_eq!(received() - before, ROTTEN.len() as u64 * BLOCK_SIZE);
    assert_eq!(from_origin(), LENGTH + audited(), "the origin was not asked for a byte to mend it");

    // The first machine's rots, and is met when the second asks for the file with an empty cache: what is right comes from the
    // peer, what is not from the origin.
    rot(&nodes[0]);
    nodes[1].ended(&["cache", "clear", "--yes"]).unwrap();
    let path = nodes[1].home().join("third");
    nodes[1].get(&origin.url("image"), &path).unwrap();
    assert_eq!(hash_of(&path).unwrap(), hash);
    for node in &nodes {
        let totals = node.report().unwrap().totals;
        assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    }
}
