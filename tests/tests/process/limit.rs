//! A job that takes no more from its origin in a second than it may, and what changes that while it runs.

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, MIB};
use eddy_wire::api::{JobState, JobView};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn f110_a_limit_holds_until_it_is_taken_away_in_mid_transfer() {
    let origin = HostileOrigin::start().await.unwrap();
    // At the limit it would take half an hour.
    let version = Version::new(1, 128 * MIB);
    origin.publish("/f", Resource::new(version.clone(), Behaviour::default()));
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let _daemon = node.daemon().unwrap();
    let path = node.home().join("f");
    let get = ["get", &origin.url("/f"), "-o", path.to_str().unwrap(), "--background", "--limit", "64KiB/s"];
    let job: JobView = node.ask(&get).unwrap();
    assert_eq!(job.terms.limit_bytes_per_second, Some(64 * 1024));
    let slow = node.wait_job(&job.id, PATIENCE, |job| job.done() > 0).unwrap();
    assert_eq!(slow.state, JobState::Transferring);
    // What no body reads yet waits in sockets; it is far less than the file.
    let sent = origin.counters().body_bytes();
    assert!(sent < version.length, "{sent}");
    let faster: JobView = node.ask(&["job", "set", &job.id, "limit="]).unwrap();
    assert_eq!(faster.terms.limit_bytes_per_second, None);
    node.wait_delivered(&path, PATIENCE).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), version.whole());
    assert_eq!(node.ended(&["get", "https://h/a", "--limit", "64KiB"]).unwrap().code(), Some("bad-amount"));
}
