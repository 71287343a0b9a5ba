//! A file of the cache that the disk does not let go of is shown wherever an administrator looks, with what to do, until it has gone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, SIGTERM, write_sample};
use eddy_wire::api::DoctorReport;

const PATIENCE: Duration = Duration::from_secs(60);

fn entries(path: &Path) -> Vec<PathBuf> {
    path.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// A folder out of which nobody removes anything, not even root, until this goes.
struct Immutable(PathBuf);

impl Immutable {
    /// Nothing where the file system knows no such thing, or this process may not ask for it.
    fn new(folder: &Path) -> Option<Self> {
        chattr("+i", folder).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(change: &str, folder: &Path) -> bool {
    let run = Command::new("chattr").arg(change).arg(folder).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

#[test]
fn a_file_that_stays_is_shown_with_what_to_do_until_it_has_gone() {
    if !Nginx::ready() {
        return;
    }
    let origin = Nginx::here(&NginxSpec::default()).unwrap();
    write_sample(&origin.files().join("image"), 3, 2 * MIB).unwrap();
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[cache]\nquota = \"100 %\"\nreserve = \"1 KiB\"\n").unwrap();
    let mut daemon = node.daemon().unwrap();
    node.get(&origin.url("image"), &node.home().join("first")).unwrap();
    assert!(!node.status().unwrap().activity.contains("the disk keeps"));
    assert_eq!(node.metric("eddy_cache_kept_entries").unwrap(), Some(0));
    let folder = entries(&node.home().join("cache/entities")).pop().unwrap();
    let Some(immutable) = Immutable::new(&folder) else {
        println!("skipped: nothing is made immutable here");
        return;
    };
    let removal = node.ended(&["cache", "clear", "--yes"]).unwrap();

    let report = node.ended(&["doctor", "--json"]).unwrap();
    let found: DoctorReport = serde_json::from_str(&report.out).unwrap();
    let kept = found.findings.iter().find(|finding| finding.what.contains("1 entry")).unwrap();
    assert!(kept.is_open() && Path::new(&kept.object).starts_with(&folder), "{removal:?} {kept:?}");
    assert_ne!(report.status, Some(0), "somebody has to do something");
    let told = node.ended(&["doctor"]).unwrap().out;
    assert!(
        told.contains(&kept.remedy) && node.ended(&["cache", "info"]).unwrap().out.contains(&kept.remedy),
        "{told}"
    );
    assert!(node.status().unwrap().activity.contains("the disk keeps files"));
    assert_eq!(node.metric("eddy_cache_kept_entries").unwrap(), Some(1));

    assert!(kept.remedy.contains("chattr -i"), "{kept:?}");
    drop(immutable);
    daemon.signal(SIGTERM).unwrap();
    daemon.wait(PATIENCE).unwrap();
    let _daemon = node.daemon().unwrap();
    assert_eq!(node.metric("eddy_cache_kept_entries").unwrap(), Some(0));
    assert!(!node.status().unwrap().activity.contains("the disk keeps") && entries(&folder).is_empty());
}
