//! What is held whole is used without asking within the lifetime that the origin gave it, if the node or the job is set so; in
//! every other case the origin is asked first (promise 3, RFC 9111).

use eddy_tests::hostile::{Behaviour, HostileOrigin, Instead, Resource, Version};
use eddy_tests::process::Eddy;
use std::path::Path;
use std::process::Output;

const LENGTH: u64 = 300_000;

/// A server that says this besides the usual.
fn saying(lines: &[&str]) -> Behaviour {
    Behaviour { extra_headers: lines.iter().map(|line| (*line).to_owned()).collect(), ..Behaviour::default() }
}

fn publish(origin: &HostileOrigin, version: u64, lines: &[&str]) -> Vec<u8> {
    let version = Version::new(version, LENGTH);
    origin.publish("/f", Resource::new(version.clone(), saying(lines)));
    version.whole()
}

/// An eddy that is set to use lifetimes.
fn eddy(policy: &str) -> Eddy<'static> {
    let eddy = Eddy::here().unwrap();
    let settings = format!("[cache]\nquota = \"64 MiB\"\nreserve = \"1 MiB\"\n{policy}\n[peers]\nmdns = false\n");
    std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
    eddy
}

const LIFETIME: &str = "freshness = \"lifetime\"";

/// `eddy get` to `path`, which it may replace.
fn get(eddy: &Eddy<'_>, url: &str, path: &Path, more: &[&str]) -> Output {
    let mut arguments = vec!["get", url, "--overwrite", "-o", path.to_str().unwrap()];
    arguments.extend(more);
    eddy.run(arguments).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Blocks a test's thread as the program runs, while the origin goes on beside it.
async fn off<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_file_is_delivered_without_the_network_and_a_stale_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (fresh, stale) = (folder.path().join("fresh"), folder.path().join("stale"));
    let eddy = eddy(LIFETIME);
    let origin = HostileOrigin::start().await.unwrap();
    let whole = publish(&origin, 1, &["Cache-Control: max-age=3600"]);
    origin.publish("/stale", Resource::new(Version::new(2, LENGTH), saying(&["Cache-Control: max-age=0"])));
    let (url, stale_url) = (origin.url("/f"), origin.url("/stale"));
    off(move || {
        for (url, path) in [(&url, &fresh), (&stale_url, &stale)] {
            let first = get(&eddy, url, path, &[]);
            assert!(first.status.success(), "{}", said(&first));
        }
        drop(origin);
        std::fs::remove_file(&fresh).unwrap();

        let again = get(&eddy, &url, &fresh, &[]);
        assert!(again.status.success(), "{}", said(&again));
        assert_eq!(std::fs::read(&fresh).unwrap(), whole);
        assert!(said(&again).contains("cache"), "where the bytes came from is told: {}", said(&again));

        let asked = get(&eddy, &stale_url, &stale, &[]);
        assert!(!asked.status.success());
        assert!(said(&asked).contains("connection-refused"), "the origin's fault is named: {}", said(&asked));

        let refreshed = get(&eddy, &url, &fresh, &["--refresh"]);
        assert!(!refreshed.status.success() && said(&refreshed).contains("connection-refused"), "{}", said(&refreshed));

        let shown = eddy.run(["cache", "show", &url]).unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("fresh until"), "{shown}");
        let shown = eddy.run(["cache", "show", &stale_url]).unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("not fresh") && shown.contains("lifetime that the origin named ended"), "{shown}");
    })
    .await;
}

/// Fetches twice with a new version between; which one is delivered the second time.
async fn second_version(policy: &'static str, lines: &'static [&'static str], more: &'static [&'static str]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let origin = HostileOrigin::start().await.unwrap();
    let first = publish(&origin, 1, lines);
    let eddy = eddy(policy);
    let url = origin.url("/f");
    let got = {
        let (url, path) = (url.clone(), path.clone());
        move |eddy: &Eddy<'_>| {
            let output = get(eddy, &url, &path, more);
            assert!(output.status.success(), "{lines:?}: {}", said(&output));
            std::fs::read(&path).unwrap()
        }
    };
    let (eddy, got, once) = off(move || {
        let once = got(&eddy);
        (eddy, got, once)
    })
    .await;
    assert!(once == first, "{lines:?}");
    let second = publish(&origin, 2, lines);
    let twice = off(move || got(&eddy)).await;
    match () {
        () if twice == first => 1,
        () if twice == second => 2,
        () => panic!("{lines:?}: neither version"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_version_is_used_only_where_the_origin_and_the_policy_allow_it() {
    let hour: &[&str] = &["Cache-Control: max-age=3600"];
    let cases: &[(&str, &[&str], &[&str], u64)] = &[
        (LIFETIME, hour, &[], 1),
        ("", hour, &[], 2),
        (LIFETIME, hour, &["--refresh"], 2),
        (LIFETIME, &["Cache-Control: max-age=3600, no-cache"], &[], 2),
        (LIFETIME, &["Cache-Control: no-store, max-age=3600"], &[], 2),
        (LIFETIME, &["Cache-Control: max-age=3600, max-age=60"], &[], 2),
        (LIFETIME, &["Cache-Control: max-age=3600", "Age: 3600"], &[], 2),
        (LIFETIME, &["Cache-Control: max-age=3600", "Vary: *"], &[], 2),
        (LIFETIME, &["Cache-Control: max-age=3600", "Vary: Accept-Language"], &[], 1),
        (LIFETIME, &["Cache-Control: private, max-age=3600"], &[], 1),
        (LIFETIME, &["Cache-Control: private, s-maxage=3600, max-age=0"], &[], 2),
        (LIFETIME, &["Expires: 0"], &[], 2),
    ];
    for (policy, lines, more, expected) in cases.iter().copied() {
        assert_eq!(second_version(policy, lines, more).await, expected, "{policy} {lines:?} {more:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_a_password_or_a_redirect_is_asked_about_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f");
    let origin = HostileOrigin::start().await.unwrap();
    publish(&origin, 1, &["Cache-Control: public, max-age=3600"]);
    let redirect = Instead::Redirect(302, "/f".to_owned());
    origin.publish("/latest", Resource::new(Version::new(1, 0), Behaviour { instead: Some(redirect), ..saying(&[]) }));
    let eddy = eddy(LIFETIME);
    let (redirected, plain) = (origin.url("/latest"), origin.url("/f"));
    let personal = plain.replace("http://", "http://user:word@");
    let (eddy, path) = off(move || {
        for url in [&redirected, &redirected, &personal, &plain, &personal] {
            let output = get(&eddy, url, &path, &[]);
            assert!(output.status.success(), "{url}: {}", said(&output));
        }
        (eddy, path)
    })
    .await;
    assert_eq!(origin.counters().path("/latest").requests, 2);
    let before = origin.counters().path("/f").requests;
    // The last answer was for somebody with a password: a stranger is not given it unasked, and then it is everybody's.
    let plain = origin.url("/f");
    off(move || {
        for _ in 0..3 {
            let output = get(&eddy, &plain, &path, &[]);
            assert!(output.status.success(), "{}", said(&output));
        }
    })
    .await;
    assert_eq!(origin.counters().path("/f").requests - before, 1);
}
