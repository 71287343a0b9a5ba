//! A machine loses its network and gets it back: its jobs know at once, and go on by themselves, whatever pause they would have made.

use std::thread;
use std::time::{Duration, Instant};

use eddy_tests::lab::{self, Lab, LabSpec, Mbit, Plug};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, hash_of, write_sample};
use eddy_wire::api::{Identity, JobState, JobView};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_job_knows_at_once_that_the_network_went_and_goes_on_as_soon_as_it_comes() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    // 2.5 MB/s: the file takes six seconds, which have a middle.
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(Mbit(20)), wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.host(1), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("image"), 9, 16 * MIB).unwrap();
    let node = Eddy::on(lab.host(0)).unwrap();
    let daemon = node.daemon().unwrap();
    let destination = node.home().join("image");
    let job = node.get_in_background(&origin.url("image"), &destination).unwrap();
    // Left to itself it would try again in an hour: longer than this test waits.
    assert_eq!(node.ended(&["job", "set", &job, "retry-delay=1h"]).unwrap().status, Some(0));
    let deadline = Instant::now() + PATIENCE;
    while daemon.link_received("eth0").unwrap() < 2 * MIB {
        assert!(Instant::now() < deadline, "nothing arrives\n{}", daemon.log());
        thread::sleep(Duration::from_millis(5));
    }
    lab.host(0).set_plugged(Plug::Out).unwrap();
    let lost = node.wait_job(&job, PATIENCE, |job| job.state == JobState::TransientError).unwrap();
    // What only times out has another reason.
    assert_eq!(lost.error.unwrap().code, "network-lost");
    daemon.wait_line("the network has gone", PATIENCE).unwrap();
    lab.host(0).set_plugged(Plug::In).unwrap();
    node.wait_delivered(&destination, PATIENCE).unwrap();
    assert_eq!(hash_of(&destination).unwrap(), hash);
    let totals = node.report().unwrap().totals;
    assert_eq!(totals.identity(), Identity::Closes, "{totals:?}");
    assert!(totals.wasted.total() <= 2 * MIB, "what was there is kept: {totals:?}");
}

#[test]
fn what_is_on_the_link_does_not_need_the_default_route_that_goes() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: Some(Mbit(20)), wan_rate: None }).unwrap();
    let route = |words: &[&str]| {
        let output = lab.host(0).command("ip").arg("route").args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    };
    let origin = Nginx::on(lab.host(1), &NginxSpec::default()).unwrap();
    write_sample(&origin.files().join("image"), 9, 16 * MIB).unwrap();
    let node = Eddy::on(lab.host(0)).unwrap();
    // Whatever the lab gives its hosts: one default route, over the neighbour.
    let gateway = lab.host(1).address().to_string();
    route(&["replace", "default", "via", &gateway]);
    let daemon = node.daemon().unwrap();
    let destination = node.home().join("image");
    let path = destination.to_str().unwrap();
    let made = ["job", "create", "image", "--start", "--file", &origin.url("image"), path];
    let job: JobView = node.ask(&made).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while daemon.link_received("eth0").unwrap() < 2 * MIB {
        assert!(Instant::now() < deadline, "nothing arrives\n{}", daemon.log());
        thread::sleep(Duration::from_millis(5));
    }
    route(&["del", "default"]);
    daemon.wait_line("the network has gone", PATIENCE).unwrap();
    let whole = node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Transferred).unwrap();
    assert_eq!((whole.faults, whole.error), (0, None));
}
