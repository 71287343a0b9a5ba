//! What an origin answered last is there for the job's owner: after the job has ended, after the daemon died, and nowhere in the clear.

use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, write_sample};
use eddy_wire::api::{HeadView, JobState};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: &str = "session-topsecret";

/// Whether some file below the folder has the text in it.
fn is_told(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.into_iter().any(|path| {
        if path.is_dir() {
            return is_told(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

fn value<'h>(head: &'h HeadView, name: &str) -> Option<&'h str> {
    head.fields.iter().find(|field| field.name == name)?.value.as_deref()
}

#[test]
fn the_last_answer_of_each_file_is_kept_behind_the_end_of_its_job_and_of_the_daemon() {
    if !Nginx::ready() {
        return;
    }
    let directives = format!("add_header Set-Cookie {SECRET} always;");
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    write_sample(&origin.files().join("small"), 4, 200_000).unwrap();
    write_sample(&origin.files().join("large"), 5, 40 * MIB).unwrap();
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let mut daemon = node.daemon().unwrap();
    let small = node.get_in_background(&origin.url("small"), &node.home().join("small")).unwrap();
    let large = node.get_in_background(&origin.url("large"), &node.home().join("large")).unwrap();
    let missing = node.get_in_background(&origin.url("missing"), &node.home().join("missing")).unwrap();
    for job in [&small, &large] {
        node.wait_job(job, PATIENCE, |job| job.state == JobState::Acknowledged).unwrap();
    }
    node.wait_job(&missing, PATIENCE, |job| job.state == JobState::Error).unwrap();
    for is_restarted in [false, true] {
        if is_restarted {
            daemon.kill().unwrap();
            daemon = node.daemon().unwrap();
        }
        for (job, status) in [(&small, 206), (&large, 206), (&missing, 404)] {
            let heads: Vec<HeadView> = node.ask(&["job", "headers", job, "0"]).unwrap();
            let [head] = heads.as_slice() else { panic!("{heads:?}") };
            assert_eq!((head.status, value(head, "set-cookie")), (status, Some(SECRET)), "{head:?}");
        }
        let heads: Vec<HeadView> = node.ask(&["job", "headers", &large]).unwrap();
        let range = value(&heads[0], "content-range").unwrap();
        assert!(!range.starts_with("bytes 0-"), "the last answer, not the first: {range}");
    }
    assert_eq!(node.ended(&["job", "headers", &small, "1"]).unwrap().code(), Some("file-not-in-job"));
    assert!(!is_told(node.home(), SECRET), "neither logs nor rows have it in the clear");
    node.ended(&["job", "cancel", &missing]).unwrap();
    let gone = || node.ended(&["job", "headers", &missing]).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !node.ask::<Vec<HeadView>>(&["job", "headers", &missing]).unwrap_or_default().is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", gone());
    }
    assert!(!node.home().join("heads").join(&missing).exists(), "nothing is left of a job that was cancelled");
}

#[test]
fn a_field_that_is_typed_goes_to_the_origin_and_is_shown_no_more() {
    if !Nginx::ready() {
        return;
    }
    let directives = format!("if ($http_x_key != \"{SECRET}\") {{ return 403; }}");
    let origin = Nginx::here(&NginxSpec { directives, ..NginxSpec::default() }).unwrap();
    write_sample(&origin.files().join("file"), 4, 200_000).unwrap();
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let (url, place, field) = (origin.url("file"), node.home().join("file"), format!("X-Key: {SECRET}"));
    let get = |field: &str| node.ended(&["get", &url, "-H", field, "-o", place.to_str().unwrap()]).unwrap();
    assert_eq!(get("no field").code(), Some("bad-header"));
    assert_eq!(get("X-Key: another").code(), Some("http-forbidden"));
    let got = get(&field);
    assert_eq!(got.status, Some(0), "{got:?}");
    assert!(place.exists() && !got.out.contains(SECRET), "{got:?}");
    assert!(!is_told(node.home(), SECRET));
}

#[test]
fn who_changes_the_configuration_hears_of_the_daemon_wherever_it_listens() {
    let (node, away) = (Eddy::here().unwrap(), tempfile::tempdir().unwrap());
    let socket = away.path().join("run/control.sock");
    std::fs::write(node.home().join("eddy.toml"), format!("[peers]\nmdns = false\n[service]\nsocket = {socket:?}\n"))
        .unwrap();
    let set = |value: &str| node.ended(&["config", "set", &format!("cache.quota={value}")]).unwrap();
    assert!(!set("1GiB").err.contains("when it starts"), "none runs");
    let _daemon = node.daemon().unwrap();
    let told = set("2GiB");
    assert!(told.err.contains("the daemon reads it when it starts"), "{told:?}");
}
