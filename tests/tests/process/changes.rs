//! What is changed about a job that is there already, by the command line: where its files come from, what becomes of redirects; and
//! how somebody who follows events goes on after a break.

use eddy_node::control::socket_of;
use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, MIB};
use eddy_wire::api::{EventView, JobState, JobView};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn node() -> Eddy<'static> {
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    node
}

/// A job of these files that puts them in place by itself, and rests.
fn create(node: &Eddy<'_>, files: &[(&str, &Path)], set: &[&str]) -> JobView {
    let mut words = vec!["job", "create", "x", "--auto"];
    for (url, path) in files {
        words.extend(["--file", url, path.to_str().unwrap()]);
    }
    for pair in set {
        words.extend(["--set", pair]);
    }
    node.ask(&words).unwrap()
}

fn resume(node: &Eddy<'_>, id: &str) {
    node.ask::<Vec<JobView>>(&["job", "resume", id]).unwrap();
}

fn version(seed: u64) -> Version {
    Version::new(seed, MIB)
}

#[tokio::test(flavor = "multi_thread")]
async fn f58_the_beginning_of_urls_is_replaced_where_it_is_theirs_and_f59_a_single_url_is() {
    let origin = HostileOrigin::start().await.unwrap();
    for (path, seed) in [("/old/b", 2), ("/new/a", 1), ("/OLD/c", 3), ("/else/d", 4)] {
        origin.publish(path, Resource::new(version(seed), Behaviour::default()));
    }
    let node = node();
    let _daemon = node.daemon().unwrap();
    let place = |name: &str| node.home().join(name);
    let urls = ["/old/a", "/OLD/c", "/old/d"].map(|path| origin.url(path));
    let [a, c, d] = [place("a"), place("c"), place("d")];
    let job = create(&node, &[(&urls[0], &a), (&urls[1], &c), (&urls[2], &d)], &[]);
    let relocate = |from: &str, to: &str| {
        let (from, to) = (origin.url(from), origin.url(to));
        node.ask::<JobView>(&["job", "relocate", &job.id, "--from", &from, "--to", &to]).unwrap()
    };
    let paths = |job: &JobView| -> Vec<String> {
        let shown = job.files.iter().map(|file| file.url.replace(&origin.url(""), ""));
        shown.collect()
    };
    assert_eq!(paths(&relocate("/nowhere/", "/new/")), ["/old/a", "/OLD/c", "/old/d"], "no URL begins so");
    assert_eq!(paths(&relocate("/old/", "/new/")), ["/new/a", "/OLD/c", "/new/d"], "capitals are other letters");
    let url = format!("url.2={}", origin.url("/else/d"));
    assert_eq!(paths(&node.ask(&["job", "set", &job.id, &url]).unwrap()), ["/new/a", "/OLD/c", "/else/d"]);
    resume(&node, &job.id);
    for (path, seed) in [(&a, 1), (&c, 3), (&d, 4)] {
        node.wait_delivered(path, PATIENCE).unwrap();
        assert_eq!(std::fs::read(path).unwrap(), version(seed).whole());
    }
    assert_eq!(origin.counters().path("/old/a").requests + origin.counters().path("/old/d").requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f64_redirects_are_followed_told_or_refused_as_the_job_says() {
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/moved", Resource::new(version(1), Behaviour::redirect("/file")));
    origin.publish("/file", Resource::new(version(1), Behaviour::default()));
    let node = node();
    let _daemon = node.daemon().unwrap();
    let moved = origin.url("/moved");
    for (policy, shown) in [("follow", "/moved"), ("report", "/file")] {
        let path = node.home().join(policy);
        let set = format!("redirects={policy}");
        let words = ["job", "create", "x", "--set", &set, "--start", "--file", &moved, path.to_str().unwrap()];
        let job: JobView = node.ask(&words).unwrap();
        let whole = node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Transferred).unwrap();
        assert_eq!(whole.files[0].url, origin.url(shown), "{policy}");
        node.ask::<Vec<JobView>>(&["job", "finish", &job.id]).unwrap();
        node.wait_delivered(&path, PATIENCE).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), version(1).whole());
    }
    let path = node.home().join("refuse");
    let job = create(&node, &[(&moved, &path)], &["redirects=refuse"]);
    resume(&node, &job.id);
    let failed = node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Error).unwrap();
    assert_eq!(failed.error.unwrap().code, "http-redirect");
    // What stopped it is taken away, and it goes on.
    node.ask::<JobView>(&["job", "set", &job.id, "redirects=follow"]).unwrap();
    resume(&node, &job.id);
    node.wait_delivered(&path, PATIENCE).unwrap();
}

/// So many events as they come, for somebody who has heard of all up to the last one that is named.
fn follow(node: &Eddy<'_>, last: Option<&str>, most: usize) -> Vec<(String, EventView)> {
    let mut line = UnixStream::connect(socket_of(node.home())).unwrap();
    line.set_read_timeout(Some(PATIENCE)).unwrap();
    let last = last.map_or_else(String::new, |last| format!("last-event-id: {last}\r\n"));
    write!(line, "GET /v1/events/follow?after=0 HTTP/1.1\r\nhost: localhost\r\n{last}\r\n").unwrap();
    let (mut events, mut id) = (Vec::new(), String::new());
    for text in BufReader::new(line).lines() {
        let text = text.unwrap();
        if let Some(named) = text.strip_prefix("id:") {
            id = named.trim().to_owned();
        } else if let Some(data) = text.strip_prefix("data:") {
            events.push((id.clone(), serde_json::from_str(data).unwrap()));
        }
        if events.len() == most {
            break;
        }
    }
    events
}

#[test]
fn a_stream_of_events_that_broke_goes_on_behind_the_last_one_that_was_heard_also_over_a_kill() {
    let node = node();
    let daemon = node.daemon().unwrap();
    let paths: Vec<_> = (0..4).map(|number| node.home().join(number.to_string())).collect();
    let jobs: Vec<_> = paths.iter().map(|path| create(&node, &[("http://127.0.0.1:9/f", path)], &[]).id).collect();
    let mut heard = follow(&node, None, 2);
    drop(daemon);
    let _daemon = node.daemon().unwrap();
    let last = heard[1].0.clone();
    heard.extend(follow(&node, Some(&last), 2));
    let told: Vec<_> = heard.iter().map(|(_, event)| event.job.clone()).collect();
    assert_eq!(told, jobs, "each once, in order");
}
