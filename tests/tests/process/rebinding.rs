//! A name that means another machine when it is looked at again (DNS rebinding): whoever was led there by a redirect goes no nearer than the
//! redirect could lead, however long ago that was (T-20).

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eddy_tests::lab::{self, Lab, LabSpec};
use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, hash_of, write_sample};
use eddy_wire::api::{JobState, JobView};

const PATIENCE: Duration = Duration::from_secs(60);
/// A public address: it exists in the lab alone.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(172, 15, 77, 1);
const LENGTH: u64 = 8 * MIB;

/// Names that can be made to mean something else.
struct Names(PathBuf);

impl Names {
    fn mean(&self, address: Ipv4Addr) {
        std::fs::write(&self.0, format!("127.0.0.1 localhost\n{address} moved.example\n")).unwrap();
    }
}

/// The file that the node has made and not put in place yet.
fn staged(folder: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

fn wait_refused(node: &Eddy<'_>, job: &str) -> JobView {
    let is_refused = |job: &JobView| {
        matches!(job.state, JobState::Error | JobState::TransientError)
            && job.error.as_ref().is_some_and(|error| error.code == "http-redirect")
    };
    node.wait_job(job, PATIENCE, is_refused).unwrap()
}

#[test]
fn t20_a_place_that_a_redirect_led_to_is_not_asked_where_its_name_means_a_neighbour_by_now() {
    if !lab::ready() || !Nginx::ready() {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    lab.host(0).add_address(PUBLIC).unwrap();
    // Each question is one connection, for which the name is looked at.
    let directives = format!(
        "listen {PUBLIC}:80; limit_rate 2m; keepalive_timeout 0; location = /image {{ return 302 http://moved.example/file; }}"
    );
    let origin = Nginx::on(lab.host(0), &NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    let neighbour = Nginx::on(lab.host(1), &NginxSpec::default()).unwrap();
    let hash = write_sample(&origin.files().join("file"), 3, LENGTH).unwrap();
    std::fs::copy(origin.files().join("file"), neighbour.files().join("file")).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (names, folder) = (Names(work.path().join("hosts")), work.path().join("out"));
    std::fs::create_dir(&folder).unwrap();
    names.mean(PUBLIC);
    let node = Eddy::on(lab.host(0)).unwrap().with_names(&names.0);
    let mut daemon = node.daemon().unwrap();

    // In the middle of the file.
    let (url, out) = (format!("http://{PUBLIC}/image"), folder.join("image"));
    let file = ["--file", &url, out.to_str().unwrap()];
    let made: JobView =
        node.ask(&[&["job", "create", "j", "--start", "--set", "redirects=report"][..], &file].concat()).unwrap();
    let id = made.id.as_str();
    node.wait_job(id, PATIENCE, |job| job.sources().origin > MIB).unwrap();
    node.ended(&["job", "pause", id]).unwrap();
    names.mean(lab.host(1).address());
    node.ended(&["job", "resume", id]).unwrap();
    let refused = wait_refused(&node, id);
    assert!(refused.files[0].url.ends_with("/image"), "nobody is told of what is not whole: {refused:?}");
    names.mean(PUBLIC);
    node.ended(&["job", "resume", id]).unwrap();
    let whole = node.wait_job(id, PATIENCE, |job| job.state == JobState::Transferred).unwrap();
    assert_eq!(whole.files[0].url, "http://moved.example/file");

    // After the end, when a restart has forgotten which URL the owner named, and somebody has taken the file away.
    daemon.kill().unwrap();
    let _daemon = node.daemon().unwrap();
    std::fs::remove_file(staged(&folder)).unwrap();
    names.mean(lab.host(1).address());
    node.ended(&["cache", "clear", "--yes"]).unwrap();
    node.ended(&["job", "finish", id]).unwrap();
    let refused = wait_refused(&node, id);
    let said = refused.error.unwrap();
    assert!(said.detail.unwrap_or_default().contains("moved.example") && !said.remedy.is_empty());
    assert_eq!(neighbour.access().unwrap().len(), 0, "the neighbour was asked for nothing");
    names.mean(PUBLIC);
    node.ended(&["job", "resume", id]).unwrap();
    node.wait_job(id, PATIENCE, |job| matches!(job.state, JobState::Transferred | JobState::Acknowledged)).unwrap();
    node.ended(&["job", "finish", id]).unwrap();
    node.wait_delivered(&out, PATIENCE).unwrap();
    assert_eq!(hash_of(&out).unwrap(), hash);
    assert_eq!(neighbour.access().unwrap().len(), 0, "the neighbour was asked for nothing");
}
