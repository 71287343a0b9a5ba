//! Scripted faults, and whether the node names the one thing that each job waits for: the reason, whether something is tried again by
//! itself, and what would change it.
//!
//! What needs root (a full disk, a disk that refuses, too few descriptors) stands in `conditions.rs`.

use eddy_node::control::{Client, socket_of};
use eddy_tests::hostile::{
    Ask, Behaviour, BodyFault, Certificate, HeadFault, HostileOrigin, Instead, Protocol, Resource, TlsPlan, Version,
};
use eddy_tests::process::{Eddy, SIGTERM};
use eddy_wire::api::{FileSpec, Finish, JobSpec, JobView, PeerUse, Priority, Redirects, Terms, Waiting};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const MIB: u64 = 1 << 20;

/// What comes next by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// An attempt at a time that is told.
    Attempt,
    /// Nothing, or it depends on others.
    Nothing,
}

/// A scripted fault: the job that meets it, and what is to be said of it.
struct Fault {
    name: &'static str,
    spec: JobSpec,
    reason: &'static str,
    next: Next,
}

fn spec(url: &str, to: &Path) -> JobSpec {
    let destination = to.display().to_string();
    JobSpec {
        files: vec![FileSpec {
            url: url.to_owned(),
            destination,
            digest: None,
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        }],
        name: None,
        priority: Priority::Foreground,
        peers: PeerUse::default(),
        start: true,
        finish: Finish::Auto,
        asking: None,
        adopt: false,
        terms: Terms::default(),
        followed: true,
    }
}

/// An origin with everything that can be wrong with one.
fn publish(origin: &HostileOrigin) {
    let statuses = [400, 401, 403, 404, 407, 410, 425, 429, 500, 501, 503];
    let honest = |length| Resource::new(Version::new(1, length), Behaviour::default());
    let with = |behaviour| Resource::new(Version::new(1, 300_000), behaviour);
    for status in statuses {
        origin.publish(&format!("/{status}"), with(Behaviour::status(status)));
    }
    origin.publish("/honest", honest(300_000));
    origin.publish("/loop", with(Behaviour::redirect("/loop")));
    origin.publish("/moved", with(Behaviour::redirect("/honest")));
    origin.publish("/not-http", with(Behaviour::head_fault(HeadFault::NotHttp)));
    origin.publish("/two-lengths", with(Behaviour::head_fault(HeadFault::TwoLengths)));
    origin.publish("/hang", with(Behaviour::head_fault(HeadFault::Hang)));
    origin.publish("/reset", with(Behaviour::body(BodyFault::ResetAfter(1000))));
    let full = Instead::Status(503, vec!["Retry-After: 600".to_owned()]);
    origin.publish("/later", with(Behaviour { instead: Some(full), ..Behaviour::default() }));
    let restless =
        |ask: &Ask| (Behaviour::body(BodyFault::CloseAfter(200_000)), Some(Version::new(100 + ask.number, 300_000)));
    origin.publish("/restless", Resource::scripted(Version::new(3, 300_000), restless));
    let slow = Behaviour { rate: Some(100_000), ..Behaviour::default() };
    for name in ["/slow", "/slow-2", "/slow-3"] {
        origin.publish(name, Resource::new(Version::new(2, 64 * MIB), slow.clone()));
    }
}

/// The faults that need nobody else.
fn alone(origin: &HostileOrigin, slow: &HostileOrigin, folder: &Path) -> Vec<Fault> {
    std::fs::write(folder.join("present"), "precious").unwrap();
    std::fs::create_dir(folder.join("directory")).unwrap();
    std::os::unix::fs::symlink(folder.join("directory"), folder.join("link")).unwrap();
    let mut count = 0;
    let mut to = || {
        count += 1;
        folder.join(format!("f{count}"))
    };
    // Those that come slowly have an origin of their own: they keep places that others would wait for.
    let at = |path: &str| if path.contains("slow") || path == "/hang" { slow.url(path) } else { origin.url(path) };
    let mut faults = Vec::new();
    let mut add = |name, spec, reason, next| faults.push(Fault { name, spec, reason, next });
    add("no such name", spec("http://no-such-host.invalid/a", &to()), "name-not-resolved", Next::Nothing);
    add("nobody listens", spec("http://127.0.0.1:1/a", &to()), "connection-refused", Next::Nothing);
    for (name, path, reason, next) in [
        ("400", "/400", "http-refused", Next::Nothing),
        ("401", "/401", "http-unauthorized", Next::Nothing),
        ("403", "/403", "http-forbidden", Next::Nothing),
        ("404", "/404", "http-not-found", Next::Nothing),
        ("407", "/407", "proxy-failed", Next::Nothing),
        ("410", "/410", "http-not-found", Next::Nothing),
        ("425", "/425", "http-busy", Next::Attempt),
        ("429", "/429", "http-rate-limited", Next::Attempt),
        ("500", "/500", "http-server-error", Next::Attempt),
        ("501", "/501", "http-unsupported", Next::Nothing),
        ("503", "/503", "http-server-error", Next::Attempt),
        ("503 with a date", "/later", "http-server-error", Next::Attempt),
        ("a redirect in a circle", "/loop", "http-redirect", Next::Nothing),
        ("two lengths", "/two-lengths", "origin-protocol", Next::Nothing),
        ("no HTTP", "/not-http", "origin-protocol", Next::Nothing),
        ("a file that is never the same", "/restless", "origin-changing", Next::Attempt),
        ("a body that breaks off", "/reset", "connection-lost", Next::Attempt),
        ("an origin that says nothing", "/hang", "connecting", Next::Nothing),
        ("bytes that arrive", "/slow", "transferring", Next::Nothing),
    ] {
        add(name, spec(&at(path), &to()), reason, next);
    }
    let refusing = Terms { redirects: Some(Redirects::Refuse), ..Terms::default() };
    add(
        "a redirect that is not wanted",
        JobSpec { terms: refusing, ..spec(&at("/moved"), &to()) },
        "http-redirect",
        Next::Nothing,
    );
    let mut wrong = spec(&at("/honest"), &to());
    wrong.files[0].digest = Some(format!("sha256:{}", "0".repeat(64)));
    add("another digest", wrong, "digest-mismatch", Next::Nothing);
    let honest = at("/honest");
    add("a file in the way", spec(&honest, &folder.join("present")), "destination-exists", Next::Nothing);
    add("a directory in the way", spec(&honest, &folder.join("directory")), "destination-is-directory", Next::Nothing);
    add("no directory", spec(&honest, &folder.join("missing/a")), "destination-no-parent", Next::Nothing);
    add("a link on the way", spec(&honest, &folder.join("link/a")), "destination-unsafe", Next::Nothing);
    let hurried = Terms { max_transfer_seconds: Some(1), ..Terms::default() };
    add("too slow", JobSpec { terms: hurried, ..spec(&at("/slow-2"), &to()) }, "transfer-time-over", Next::Nothing);
    let impatient = Terms { give_up_after_seconds: Some(0), ..Terms::default() };
    add("no patience", JobSpec { terms: impatient, ..spec(&at("/500"), &to()) }, "http-server-error", Next::Nothing);
    let proxied = Terms { proxy: Some("http://127.0.0.1:1".into()), ..Terms::default() };
    add("no proxy there", JobSpec { terms: proxied, ..spec(&honest, &to()) }, "proxy-failed", Next::Nothing);
    add("nobody let it run", JobSpec { start: false, ..spec(&honest, &to()) }, "paused", Next::Nothing);
    add("nobody finished it", JobSpec { finish: Finish::Manual, ..spec(&honest, &to()) }, "finish", Next::Nothing);
    add("it is over", spec(&at("/over"), &to()), "ended", Next::Nothing);
    faults
}

/// The faults of jobs in the background, which wait for each other; in this order.
fn crowd([origin, other, third, away]: [&HostileOrigin; 4], folder: &Path) -> Vec<Fault> {
    let background = |url: &str, name: &str| JobSpec { priority: Priority::Normal, ..spec(url, &folder.join(name)) };
    let fault = |name, url: &str, file: &str, reason, next| Fault { name, spec: background(url, file), reason, next };
    vec![
        fault("nobody listens, unwatched", "http://127.0.0.1:2/a", "b0", "connection-refused", Next::Attempt),
        fault("a host that asks for a pause", &away.url("/later"), "b1", "http-server-error", Next::Attempt),
        fault("a host that asked others for a pause", &away.url("/honest"), "b2", "host-spared", Next::Attempt),
        fault("bytes that arrive, unwatched", &origin.url("/slow-3"), "b3", "transferring", Next::Nothing),
        fault("a host with enough to do", &origin.url("/honest"), "b4", "host-busy", Next::Nothing),
        fault("the second place", &other.url("/slow"), "b5", "transferring", Next::Nothing),
        fault("no place left", &third.url("/honest"), "b6", "places-taken", Next::Nothing),
    ]
}

/// What is wrong with what is said, if something is.
fn mistake(fault: &Fault, job: &JobView) -> Option<String> {
    let waiting = job.waiting.as_ref().expect("whoever asks for a job is told what it waits for");
    let Waiting { reason, sentence, since_unix_ms, until_unix_ms, remedy } = waiting;
    let is_next_right = until_unix_ms.is_some() == (fault.next == Next::Attempt);
    let is_whole = !sentence.is_empty() && !remedy.is_empty() && since_unix_ms.is_some();
    let is_right = reason == fault.reason && is_next_right && is_whole;
    (!is_right).then(|| format!("{}: {} expected, {:?}: {waiting:?}", fault.name, fault.reason, job.state))
}

/// Makes the jobs, and waits until it is said of each what is to be said; what is wrong of the others at the end, and the ids.
async fn ask(client: &Client, faults: &[Fault]) -> (Vec<String>, Vec<String>) {
    let (mut ids, mut mistakes) = (Vec::new(), Vec::new());
    let mut wrong = BTreeMap::new();
    for fault in faults {
        let job = client.create_job(&fault.spec).await.unwrap_or_else(|problem| panic!("{}: {problem:?}", fault.name));
        wrong.insert(job.id.clone(), fault);
        ids.push(job.id);
        // Those behind wait for what becomes of those before.
        if fault.spec.priority != Priority::Foreground {
            mistakes.extend(settle(client, std::mem::take(&mut wrong)).await);
        }
    }
    mistakes.extend(settle(client, wrong).await);
    (mistakes, ids)
}

async fn settle(client: &Client, mut wrong: BTreeMap<String, &Fault>) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut mistakes = Vec::new();
        for (id, fault) in wrong.clone() {
            match mistake(fault, &client.job(&id).await.unwrap()) {
                Some(mistake) => mistakes.push(mistake),
                // What is tried again and again is not always at rest.
                None => drop(wrong.remove(&id)),
            }
        }
        if wrong.is_empty() || Instant::now() >= deadline {
            return mistakes;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_why_a_job_does_not_move_is_named() {
    let (node, folder) = (Eddy::here().unwrap(), tempfile::tempdir().unwrap());
    let settings = "[peers]\nmdns = false\n[jobs]\nbackground = 2\nper-host = 1\n";
    std::fs::write(node.home().join("eddy.toml"), settings).unwrap();
    let start = async || HostileOrigin::start().await.unwrap();
    let origins = [start().await, start().await, start().await, start().await];
    origins.iter().for_each(publish);
    let origin = &origins[0];
    origin.publish("/over", Resource::new(Version::new(5, 1000), Behaviour::default()));
    let mut faults = alone(origin, &origins[2], folder.path());
    let mut secure = Vec::new();
    for (certificate, reason) in [
        (Certificate::UnknownIssuer, "tls-untrusted"),
        (Certificate::Expired, "tls-expired"),
        (Certificate::OtherName, "tls-wrong-name"),
        (Certificate::NotYetValid, "tls-expired"),
    ] {
        let origin = HostileOrigin::start_tls(TlsPlan { certificate, protocol: Protocol::Http1 }).await.unwrap();
        origin.publish("/a", Resource::new(Version::new(1, 1000), Behaviour::default()));
        let spec = spec(&origin.url("/a"), &folder.path().join(format!("{certificate:?}")));
        faults.push(Fault { name: reason, spec, reason, next: Next::Nothing });
        secure.push(origin);
    }
    let roots: String = secure.iter().filter_map(HostileOrigin::root_pem).collect();
    let pem = folder.path().join("roots.pem");
    std::fs::write(&pem, roots).unwrap();
    let mut command = node.command(["daemon"]);
    command.env("SSL_CERT_FILE", &pem);
    let mut daemon = eddy_tests::process::Running::start(command).unwrap();
    tokio::task::block_in_place(|| daemon.wait_line("the node runs; it listens", PATIENCE)).unwrap();
    let client = Client::new(&socket_of(node.home())).unwrap();

    let crowd = crowd(origins.each_ref(), folder.path());
    let (mut mistakes, waiting) = ask(&client, &crowd).await;
    let (more, _) = ask(&client, &faults).await;
    mistakes.extend(more);
    let mut asked = crowd.len() + faults.len();

    // By its URL, as somebody would ask who knows no id.
    let url = origin.url("/404");
    let by_url: Vec<JobView> = tokio::task::block_in_place(|| node.ask(&["why", &url])).unwrap();
    let is_named =
        by_url.iter().any(|job| job.waiting.as_ref().is_some_and(|waiting| waiting.reason == "http-not-found"));
    mistakes.extend((!is_named).then(|| format!("by URL: {by_url:?}")));
    // And when no daemon runs.
    daemon.signal(SIGTERM).unwrap();
    tokio::task::block_in_place(|| daemon.wait(PATIENCE)).unwrap();
    let id = &waiting[waiting.len() - 2];
    let without: Vec<JobView> = tokio::task::block_in_place(|| node.ask(&["why", id])).unwrap();
    let is_named = without.iter().any(|job| job.waiting.as_ref().is_some_and(|waiting| waiting.reason == "no-node"));
    mistakes.extend((!is_named).then(|| format!("without a daemon: {without:?}")));
    asked += 2;
    assert!(asked >= 40, "{asked}");

    println!("{} of {asked} are right", asked - mistakes.len());
    assert!(mistakes.is_empty(), "{} of {asked} are wrong:\n{}", mistakes.len(), mistakes.join("\n"));
}
