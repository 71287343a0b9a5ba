//! A change of a job that the disk does not take: the client hears that it is made and may be forgotten, and what it heard is so.

use std::time::Duration;

use eddy_tests::process::{Eddy, MIB, Mounts};
use eddy_wire::api::JobView;

const PATIENCE: Duration = Duration::from_secs(60);
/// Files of the job: so many that the change of all URLs is longer than any slack of the index.
const FILES: usize = 700;

#[test]
fn a_change_that_cannot_be_written_down_is_made_and_said_to_be_forgotten_with_the_node() {
    if !Mounts::ready() {
        return;
    }
    let mounts = Mounts::new().unwrap();
    let node = Eddy::among(&mounts).unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[cache]\nquota = \"100 %\"\nreserve = \"1 KiB\"\n").unwrap();
    let (cache, out) = (node.home().join("cache"), node.home().join("out"));
    mounts.tmpfs(&cache, 24 * MIB).unwrap();
    std::fs::create_dir(&out).unwrap();
    let list = node.home().join("list");
    let lines: String = (0..FILES).map(|file| format!("http://h/{file}\t{}/{file}\n", out.display())).collect();
    std::fs::write(&list, lines).unwrap();
    let mut daemon = node.daemon().unwrap();
    let made: JobView = node.ask(&["job", "create", "j", "--from", list.to_str().unwrap()]).unwrap();
    let id = made.id.as_str();
    let first = || -> String {
        let job: JobView = node.ask(&["job", "show", id]).unwrap();
        job.files[0].url.clone()
    };
    let long = format!("http://h/{}/", "a".repeat(200));
    let relocate = |from: &str, to: &str| node.ended(&["job", "relocate", id, "--from", from, "--to", to]).unwrap();

    let filler = mounts.fill(&cache).unwrap();
    let told = relocate("http://h/", &long);
    assert_eq!(told.code(), Some("disk-full"), "{told:?}");
    assert_ne!(told.status, Some(0));
    for said in ["the change is made", "forgotten if the node stops before it is written down", "remedy: "] {
        assert!(told.err.contains(said), "{said}: {told:?}");
    }
    assert_eq!(first(), format!("{long}0"), "it is made");
    // It is forgotten if the node stops: what was written down last comes back.
    daemon.kill().unwrap();
    std::fs::remove_file(&filler).unwrap();
    let mut daemon = node.daemon().unwrap();
    assert_eq!(first(), "http://h/0", "as it was said");

    // With room it is written down by itself.
    let filler = mounts.fill(&cache).unwrap();
    assert_eq!(relocate("http://h/", &long).code(), Some("disk-full"));
    std::fs::remove_file(&filler).unwrap();
    daemon.wait_line("is written down after all", PATIENCE).unwrap();
    daemon.kill().unwrap();
    let _daemon = node.daemon().unwrap();
    assert_eq!(first(), format!("{long}0"), "it was written down when there was room");
}
