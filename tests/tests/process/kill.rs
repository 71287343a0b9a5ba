//! A node is killed while it fetches from the origin, at random instants: the same command, or the daemon by itself, goes
//! on from what was written durably; no acknowledged byte crosses the line twice.

use std::thread;
use std::time::Duration;

use eddy_tests::process::{
    Eddy, MIB, Nginx, NginxSpec, Running, SIGINT, body_bytes, from_environment, hash_of, write_sample,
};
use eddy_wire::api::Identity;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

const PATIENCE: Duration = Duration::from_secs(120);
/// Sent by the origin but not yet taken from a socket when its reader died, for each of a few connections.
const IN_SOCKETS: u64 = 8 * MIB;
/// Kills before the first commit that are bad luck.
const MOST_IN_VAIN: u64 = 8;

/// An origin whose connections give 4 MiB/s each, so that a transfer takes long enough to be killed: four of them need 6 s
/// for the file, three lives end after 4.5 s at the latest.
fn origin(length: u64) -> (Nginx, blake3::Hash) {
    let spec = NginxSpec { directives: "limit_rate 4m;".into(), ..NginxSpec::default() };
    let origin = Nginx::here(&spec).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 5, length).unwrap();
    (origin, hash)
}

fn random() -> SmallRng {
    let seed = from_environment("EDDY_SEED", 12);
    println!("EDDY_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// What the store holds durably, checked against the account that was written in the same transactions.
fn held_by(node: &Eddy<'_>) -> u64 {
    let held = node.cached().unwrap().iter().map(|entity| entity.held).sum();
    let totals = node.report().unwrap().totals;
    assert_eq!(totals.used.origin, held, "blocks and their account became durable together");
    held
}

/// Waits until what had been sent to a dead reader is logged, so that it is not mistaken for something new.
fn sent_so_far(origin: &Nginx) -> u64 {
    let mut last = body_bytes(&origin.access().unwrap());
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = body_bytes(&origin.access().unwrap());
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn a_killed_command_is_gone_on_with_by_the_same_command() {
    if !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_KILL_MIB", 96) * MIB;
    let (origin, hash) = origin(length);
    let node = Eddy::here().unwrap();
    let destination = node.home().join("b");
    let mut rng = random();
    let (mut kills, mut held) = (0, 0);
    // A life that ends before its first commit leaves nothing to go on from: at least one must.
    while kills < from_environment("EDDY_KILLS", 3) || held == 0 {
        kills += 1;
        assert!(kills <= from_environment("EDDY_KILLS", 3) + MOST_IN_VAIN, "no life reaches its first commit");
        let mut get = start(&node, &origin, &destination);
        thread::sleep(Duration::from_millis(rng.random_range(300..1500)));
        get.kill().unwrap();
        held = held_by(&node);
        println!("killed: {held} of {length} bytes are held");
        assert!(!destination.exists(), "{}", get.log());
    }
    let before = sent_so_far(&origin);
    let mut last = start(&node, &origin, &destination);
    assert!(last.wait(PATIENCE).unwrap().success(), "{}", last.log());
    assert_eq!(hash_of(&destination).unwrap(), hash);
    let fetched = sent_so_far(&origin) - before;
    assert!(fetched <= length - held + MIB, "{fetched} bytes fetched, {} were missing", length - held);
    assert_closes(&node, length);
    node.check_cache().unwrap();
}

#[test]
fn a_killed_daemon_goes_on_by_itself() {
    if !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_KILL_MIB", 96) * MIB;
    let (origin, hash) = origin(length);
    let node = Eddy::here().unwrap();
    let destination = node.home().join("b");
    let mut rng = random();
    let mut daemon = node.daemon().unwrap();
    node.get_in_background(&origin.url("big.img"), &destination).unwrap();
    for _ in 0..from_environment("EDDY_KILLS", 3) {
        thread::sleep(Duration::from_millis(rng.random_range(300..1500)));
        daemon.kill().unwrap();
        println!("killed: {} of {length} bytes are held", held_by(&node));
        assert!(!destination.exists(), "{}", daemon.log());
        daemon = node.daemon().unwrap();
    }
    node.wait_delivered(&destination, PATIENCE).unwrap();
    assert_eq!(hash_of(&destination).unwrap(), hash);
    let report = assert_closes(&node, length);
    // Each life may lose what was not durable yet: at most a second of both connections' rate, and what sockets held.
    let sent = sent_so_far(&origin);
    let lives = from_environment("EDDY_KILLS", 3);
    assert!(sent <= length + lives * (64 * MIB + IN_SOCKETS), "{sent} bytes sent for {length}: {report:?}");
    drop(daemon);
    node.check_cache().unwrap();
}

#[test]
fn a_daemon_that_is_killed_around_the_delivery_delivers_once_and_accounts_for_it() {
    if !Nginx::ready() {
        return;
    }
    let length = 3 * MIB;
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 7, length).unwrap();
    let node = Eddy::here().unwrap();
    let mut rng = random();
    for round in 1..=from_environment("EDDY_KILLS", 3) * 4 {
        let destination = node.home().join(format!("b{round}"));
        let staged = || std::fs::read_dir(node.home()).unwrap().any(|entry| is_staged(&entry.unwrap().path()));
        let mut daemon = node.daemon().unwrap();
        node.get_in_background(&origin.url("big.img"), &destination).unwrap();
        // From the first byte beside the destination to some moment after it stands there.
        while !staged() && !destination.exists() {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(rng.random_range(0..60_000)));
        daemon.kill().unwrap();
        let was_there = destination.exists();
        let _again = node.daemon().unwrap();
        node.wait_delivered(&destination, PATIENCE).unwrap();
        assert_eq!(hash_of(&destination).unwrap(), hash);
        let totals = node.report().unwrap().totals;
        assert_eq!(totals.delivered, round * length, "round {round}, there before the kill: {was_there}: {totals:?}");
        assert_ne!(totals.identity(), Identity::Broken, "{totals:?}");
        assert!(!staged(), "a staged file is left over");
    }
    node.check_cache().unwrap();
}

/// Whether this is a file that a job has not finished.
fn is_staged(path: &std::path::Path) -> bool {
    path.extension().is_some_and(|end| end == "part")
}

#[test]
fn ctrl_c_makes_everything_durable_and_says_how_to_go_on() {
    if !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_KILL_MIB", 96) * MIB;
    let (origin, hash) = origin(length);
    let node = Eddy::here().unwrap();
    let destination = node.home().join("b");
    let mut get = start(&node, &origin, &destination);
    node.wait_any_job(PATIENCE, |job| job.sources().origin >= 8 * MIB).unwrap();
    get.signal(SIGINT).unwrap();
    assert_eq!(get.wait(PATIENCE).unwrap().code(), Some(130), "{}", get.log());
    get.wait_line("go on with the same command", PATIENCE).unwrap();
    let (held, before) = (held_by(&node), sent_so_far(&origin));
    assert!(held >= 8 * MIB, "{held}");
    let mut last = start(&node, &origin, &destination);
    assert!(last.wait(PATIENCE).unwrap().success(), "{}", last.log());
    assert_eq!(hash_of(&destination).unwrap(), hash);
    let fetched = sent_so_far(&origin) - before;
    assert!(fetched <= length - held + MIB, "{fetched} bytes fetched, {} were missing", length - held);
    assert_closes(&node, length);
    node.check_cache().unwrap();
}

fn start(node: &Eddy<'_>, origin: &Nginx, destination: &std::path::Path) -> Running {
    node.spawn(["get", &origin.url("big.img"), "-o", destination.to_str().unwrap()]).unwrap()
}

fn assert_closes(node: &Eddy<'_>, length: u64) -> eddy_wire::api::Account {
    let totals = node.report().unwrap().totals;
    assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    assert_eq!((totals.delivered, totals.wasted.duplicate), (length, 0), "{totals:?}");
    totals
}
