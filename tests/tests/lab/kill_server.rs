//! A machine that serves is killed in the middle: whoever took from it goes on from the origin at once, and nothing is
//! fetched twice.

use std::thread;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec, Mbit};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, from_environment, hash_of, write_sample};
use eddy_wire::api::Identity;

const PATIENCE: Duration = Duration::from_secs(120);
/// Longest silence that is no defect: the promise is another source within 1 s, and a busy machine may double that.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// What a block that was under way in each of a few streams may cost.
const UNDER_WAY: u64 = MIB;

#[test]
fn when_the_serving_machine_is_killed_the_origin_takes_over_and_nothing_is_fetched_twice() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let length = from_environment("EDDY_KILL_MIB", 48) * MIB;
    // 25 MB/s on the LAN: the file takes two seconds, which have a middle.
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(Mbit(200)), wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("big.img"), 3, length).unwrap();
    let nodes = [0, 1].map(|n| Eddy::on(lab.host(n)).unwrap());
    let secret = nodes[0].found_group().unwrap();
    nodes[1].join_group(&secret).unwrap();
    let mut server = nodes[0].daemon().unwrap();
    let client = nodes[1].daemon().unwrap();
    nodes[0].get(&origin.url("big.img"), &nodes[0].home().join("a")).unwrap();
    nodes[1].wait_peers(1, PATIENCE).unwrap();
    let before = origin.wait_access(PATIENCE, |log| body_bytes(log) >= length).unwrap();

    let destination = nodes[1].home().join("b");
    let start = client.link_received("eth0").unwrap();
    nodes[1].get_in_background(&origin.url("big.img"), &destination).unwrap();
    wait_received(&client, start + length / 3);
    server.kill().unwrap();
    let pause = pause_after(&client, Instant::now());
    println!("the line was silent for {} ms after the kill", pause.as_millis());
    nodes[1].wait_delivered(&destination, PATIENCE).unwrap();

    assert_eq!(hash_of(&destination).unwrap(), hash);
    let report = nodes[1].report().unwrap();
    let totals = report.totals;
    println!("{totals:?}");
    assert_eq!(totals.identity(), Identity::Closes, "{report:#?}");
    assert!(totals.used.peers >= length / 4, "the peer was not killed in the middle: {report:#?}");
    assert!(totals.used.origin > 0, "the peer was not killed in the middle: {report:#?}");
    assert_eq!(totals.wasted.duplicate, 0, "a block was fetched twice: {report:#?}");
    assert!(totals.wasted.total() <= UNDER_WAY, "{report:#?}");
    // The origin's own view of the same; what was looked at twice is counted apart.
    let log = origin.wait_access(PATIENCE, |log| body_bytes(&log[before.len()..]) >= totals.used.origin).unwrap();
    let asked = body_bytes(&log[before.len()..]);
    assert!(
        asked <= totals.used.origin + totals.audited + UNDER_WAY,
        "{asked} bytes sent by the origin for {totals:?}"
    );
    assert!(pause <= LONGEST_PAUSE, "the line was silent for {pause:?}");
}

/// Waits until so many bytes have arrived at the machine of `eddy`.
fn wait_received(eddy: &Running, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while eddy.link_received("eth0").unwrap() < count {
        assert!(Instant::now() < deadline, "nothing more arrives\n{}", eddy.log());
        thread::sleep(Duration::from_millis(2));
    }
}

/// The longest time after `since` in which less than 64 KiB arrived, until 4 MiB have.
fn pause_after(eddy: &Running, since: Instant) -> Duration {
    let start = eddy.link_received("eth0").unwrap();
    let (mut mark, mut at, mut longest) = (start, since, Duration::ZERO);
    while mark < start + 4 * MIB {
        let now = eddy.link_received("eth0").unwrap();
        longest = longest.max(at.elapsed());
        if now >= mark + 64 * 1024 {
            (mark, at) = (now, Instant::now());
        }
        assert!(longest < PATIENCE, "nothing arrives any more\n{}", eddy.log());
        thread::sleep(Duration::from_millis(2));
    }
    longest
}
