//! What a job proves itself with, from the command line to the origin and the proxy: read from standard input, and shown to nobody.

use eddy_tests::hostile::{Behaviour, DigestGuard, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, MIB};
use eddy_wire::api::{JobState, JobView};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn node() -> Eddy<'static> {
    let node = Eddy::here().unwrap();
    std::fs::write(node.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    node
}

/// A job that rests.
fn create(node: &Eddy<'_>, url: &str, path: &Path, set: &[&str]) -> JobView {
    let words = ["job", "create", "x", "--auto", "--file", url, path.to_str().unwrap()];
    node.ask(&[&words, set].concat()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f69_a_password_that_is_hashed_reaches_the_file_and_never_the_line() {
    let origin = HostileOrigin::start().await.unwrap();
    let guard = DigestGuard::new("eve", "geheim", 3);
    let version = Version::new(1, 40 * MIB);
    origin.publish(
        "/f",
        Resource::scripted(version.clone(), move |ask| {
            assert!(!format!("{ask:?}").contains("geheim"), "{ask:?}");
            (guard.refuse(ask).unwrap_or_default(), None)
        }),
    );
    let node = node();
    let _daemon = node.daemon().unwrap();
    let (url, path) = (origin.url("/f?a=1&b=%20"), node.home().join("f"));
    let job = create(&node, &url, &path, &[]);
    // A wrong password needs somebody's hand.
    let auth = ["job", "auth", &job.id, "--user", "eve", "--digest"];
    assert_eq!(node.tell(&auth, "wrong\n").unwrap().status, Some(0));
    node.ask::<Vec<JobView>>(&["job", "resume", &job.id]).unwrap();
    let failed = node.wait_job(&job.id, PATIENCE, |job| job.state == JobState::Error).unwrap();
    assert_eq!(failed.error.unwrap().code, "http-unauthorized");
    assert_eq!(failed.terms.authorization.as_deref(), Some("digest"));
    // The right one outlives the daemon.
    let told = node.tell(&auth, "geheim\n").unwrap();
    assert!(told.status == Some(0) && !format!("{told:?}").contains("geheim"), "{told:?}");
    drop(_daemon);
    let _daemon = node.daemon().unwrap();
    node.ask::<Vec<JobView>>(&["job", "resume", &job.id]).unwrap();
    node.wait_delivered(&path, PATIENCE).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), version.whole());
}

#[tokio::test(flavor = "multi_thread")]
async fn f69_the_credentials_of_a_proxy_are_read_and_go_to_the_proxy_alone() {
    let proxy = HostileOrigin::start().await.unwrap();
    proxy.publish("/f", Resource::new(Version::new(1, MIB), Behaviour::default()));
    let node = node();
    let _daemon = node.daemon().unwrap();
    let path = node.home().join("f");
    let way = format!("proxy={}", proxy.url(""));
    let job = create(&node, "http://public.example/f", &path, &["--set", &way]);
    let auth = ["job", "auth", &job.id, "--proxy", "--user", "e@e"];
    assert_eq!(node.tell(&auth, "p:w\n").unwrap().status, Some(0));
    let resumed: Vec<JobView> = node.ask(&["job", "resume", &job.id]).unwrap();
    assert_eq!(resumed[0].terms.proxy, format!("{}/", proxy.url("")));
    node.wait_delivered(&path, PATIENCE).unwrap();
    let asked = proxy.counters().path("/f").last_headers;
    assert_eq!(asked.get("proxy-authorization").map(String::as_str), Some("Basic ZUBlOnA6dw=="), "e@e:p:w");
    assert!(!asked.contains_key("authorization"));
    // Without a proxy of its own there is nobody to prove anything to.
    let job = create(&node, "http://public.example/f", &node.home().join("g"), &[]);
    let auth = ["job", "auth", &job.id, "--proxy", "--forget"];
    assert_eq!(node.ended(&auth).unwrap().code(), Some("bad-proxy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f72_the_word_of_one_users_proxy_is_not_what_the_next_one_gets() {
    let (origin, liar) = (HostileOrigin::start().await.unwrap(), HostileOrigin::start().await.unwrap());
    let truth = Version::new(1, MIB);
    let lie = Version { seed: 2, ..truth.clone() };
    origin.publish("/f", Resource::new(truth.clone(), Behaviour::default()));
    liar.publish("/f", Resource::new(lie.clone(), Behaviour::default()));
    let node = node();
    let _daemon = node.daemon().unwrap();
    let (mine, theirs) = (node.home().join("mine"), node.home().join("theirs"));
    let way = format!("proxy={}", liar.url(""));
    let job = create(&node, &origin.url("/f"), &theirs, &["--set", &way]);
    node.ask::<Vec<JobView>>(&["job", "resume", &job.id]).unwrap();
    node.wait_delivered(&theirs, PATIENCE).unwrap();
    assert_eq!(std::fs::read(&theirs).unwrap(), lie.whole());
    let job = create(&node, &origin.url("/f"), &mine, &[]);
    node.ask::<Vec<JobView>>(&["job", "resume", &job.id]).unwrap();
    node.wait_delivered(&mine, PATIENCE).unwrap();
    assert_eq!(std::fs::read(&mine).unwrap(), truth.whole());
    assert_eq!(origin.counters().path("/f").body_bytes, MIB);
}
