//! Everything bad that a person, a server or a disk may put in: each ends with its stable code, its sentence, a remedy and its
//! named exit status; nothing is lost, nothing is left behind, nothing panics.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use eddy_tests::hostile::{Behaviour, Certificate, HostileOrigin, Protocol, Resource, TlsPlan, Version};
use eddy_tests::process::{Eddy, Ended, MIB, Running, hash_of};
use eddy_wire::api::{Identity, Problem};
use eddy_wire::catalogue::{ErrorCode, Exit};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `eddy` for people and for programs, and holds both against the row of the catalogue.
fn assert_refused(node: &Eddy<'_>, arguments: &[&str], code: ErrorCode, exit: Exit) {
    assert_refused_with(node, arguments, &[], code, exit);
}

fn assert_refused_with(node: &Eddy<'_>, arguments: &[&str], environment: &[(&str, &str)], code: ErrorCode, exit: Exit) {
    let run = |more: &[&str]| -> Ended {
        let mut command = node.command([arguments, more].concat());
        command.stdin(std::process::Stdio::null()).envs(environment.iter().copied());
        command.output().unwrap().into()
    };
    let people = run(&[]);
    match code {
        // Of a node that does not run, the one command that starts it is named.
        ErrorCode::DaemonUnreachable => {
            let remedy = format!("Start one: eddy --home {} daemon", node.home().display());
            assert_refusal_is(&people, code, exit, &remedy);
        }
        _ => assert_is_refusal(&people, code, exit),
    }
    let programs = run(&["--json"]);
    assert_eq!(programs.status, people.status, "{programs:?}");
    let problem: Problem = serde_json::from_str(programs.err.lines().last().unwrap()).unwrap();
    assert_eq!(problem.error_code(), Some(code), "{programs:?}");
    assert!(programs.out.is_empty(), "{programs:?}");
}

fn assert_is_refusal(ended: &Ended, code: ErrorCode, exit: Exit) {
    assert_refusal_is(ended, code, exit, code.entry().remedy);
}

fn assert_refusal_is(ended: &Ended, code: ErrorCode, exit: Exit, remedy: &str) {
    let entry = code.entry();
    assert_eq!(ended.code(), Some(entry.code), "{ended:?}");
    assert_eq!(ended.status, Some(i32::from(exit.number())), "{ended:?}");
    assert_eq!(entry.exit, exit, "the catalogue and the promise differ");
    assert!(ended.err.contains(entry.sentence), "{ended:?}");
    assert!(ended.err.lines().any(|line| line.strip_prefix("remedy: ") == Some(remedy)), "{ended:?}");
    assert!(!ended.err.contains("panicked"), "{ended:?}");
}

/// The names in a folder.
fn names(folder: &Path) -> HashSet<String> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The same command with a file system of its own at `folder`, made by `mount` with these options.
fn with_mount(command: &Command, folder: &Path, options: &str) -> Command {
    let mut wrapped = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        wrapped.arg("--map-root-user");
    }
    wrapped.args(["--mount", "sh", "-c", r#"mount -t tmpfs -o "$1" eddy-test "$2" && shift 2 && exec "$@""#, "sh"]);
    wrapped.arg(options).arg(folder).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// Whether file systems can be mounted here. Prints when not; in CI nothing is skipped.
fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let made = with_mount(&Command::new("true"), folder.path(), "size=1m").output();
    let may = made.as_ref().is_ok_and(|output| output.status.success());
    if !may {
        assert!(std::env::var_os("CI").is_none(), "file systems must be mountable in CI: {made:?}");
        eprintln!("skipped: no file system can be mounted here: {made:?}");
    }
    may
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_happens() {
    let node = Eddy::here().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let to = to.to_str().unwrap();
    let get = |url| ["get", url, "-o", to];
    assert_refused(&node, &get("ftp://host.example/a"), ErrorCode::UnknownScheme, Exit::Usage);
    assert_refused(&node, &get("file:///etc/passwd"), ErrorCode::UnknownScheme, Exit::Usage);
    assert_refused(&node, &get("http://"), ErrorCode::BadUrl, Exit::Usage);
    let url = "http://127.0.0.1:9/a";
    assert_refused(&node, &["get", url, "-o", to, "--digest", "sha256:zz"], ErrorCode::BadDigest, Exit::Usage);
    let no_parent = folder.path().join("no/where");
    let no_parent = no_parent.to_str().unwrap();
    assert_refused(&node, &["get", url, "-o", no_parent], ErrorCode::DestinationNoParent, Exit::Destination);
    std::fs::write(to, b"mine").unwrap();
    assert_refused(&node, &get(url), ErrorCode::DestinationExists, Exit::Destination);
    assert_eq!(std::fs::read(to).unwrap(), b"mine");
    assert_eq!(names(folder.path()), HashSet::from(["a".to_owned()]));
    // Names of things that are not there.
    assert_refused(&node, &["status"], ErrorCode::DaemonUnreachable, Exit::Daemon);
    assert_refused(&node, &["job", "show", "0123"], ErrorCode::JobNotFound, Exit::NotFound);
    assert_refused(&node, &["cache", "rm", "0123"], ErrorCode::EntityNotFound, Exit::NotFound);
    assert_refused(&node, &["group", "leave"], ErrorCode::GroupMissing, Exit::Group);
    std::fs::write(node.home().join("eddy.toml"), "[cache]\nqouta = \"1 GiB\"\n").unwrap();
    std::fs::remove_file(to).unwrap();
    assert_refused(&node, &get(url), ErrorCode::BadConfig, Exit::Config);
}

#[test]
fn a_wrong_group_secret_is_refused_and_the_group_stays_as_it_was() {
    let node = Eddy::here().unwrap();
    let secret = node.found_group().unwrap();
    let file = node.home().join("secret.txt");
    let path = file.to_str().unwrap();
    let other = Eddy::here().unwrap();
    // One wrong character, a cut line, an empty file, bytes that are no text, and too much of it.
    let mut wrong = secret.clone().into_bytes();
    let last = wrong.len() - 1;
    wrong[last] = if wrong[last] == b'q' { b'p' } else { b'q' };
    for bad in [&wrong[..], &secret.as_bytes()[..last], b"", b"\xff\xfe\x00secret", &[b'a'; 100_000]] {
        std::fs::write(&file, bad).unwrap();
        assert_refused(&other, &["group", "join", path], ErrorCode::GroupSecretInvalid, Exit::Group);
    }
    assert_refused(&other, &["group", "show"], ErrorCode::GroupMissing, Exit::Group);
    let refused = other.tell(&["group", "join", "-"], "no secret at all").unwrap();
    assert_is_refusal(&refused, ErrorCode::GroupSecretInvalid, Exit::Group);
    // The text that was wrong may have been nearly right: it is not repeated.
    std::fs::write(&file, &wrong).unwrap();
    let refused = other.ended(&["group", "join", path]).unwrap();
    assert!(!refused.err.contains(&secret[4..secret.len() - 4]), "{refused:?}");
    // A secret as an argument is refused whatever became of it, and not repeated either.
    let body = secret.split(':').next_back().unwrap();
    let upper = secret.to_uppercase();
    for argument in [secret.as_str(), upper.as_str(), &secret[..30], body] {
        let refused = other.ended(&["group", "join", argument]).unwrap();
        assert_is_refusal(&refused, ErrorCode::GroupSecretExposed, Exit::Group);
        assert!(!format!("{}{}", refused.out, refused.err).contains(argument), "{refused:?}");
    }
    let absent = node.home().join("absent.txt");
    let absent = absent.to_str().unwrap();
    assert_refused(&other, &["group", "join", absent], ErrorCode::GroupSecretUnreadable, Exit::Group);
    assert_refused(&other, &["group", "show"], ErrorCode::GroupMissing, Exit::Group);
    // Who is in a group does not slip into another.
    let second = Eddy::here().unwrap();
    std::fs::write(&file, second.found_group().unwrap()).unwrap();
    assert_refused(&node, &["group", "join", path], ErrorCode::GroupExists, Exit::Group);
    let shown = node.ended(&["group", "show", "--secret"]).unwrap();
    assert!(shown.out.contains(&secret), "the first group is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_fails_is_named_with_its_fault() {
    let node = Eddy::here().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let to = to.to_str().unwrap();
    let get = |url: &str, code, exit| assert_refused(&node, &["get", url, "-o", to], code, exit);
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    get(&format!("http://{closed}/a"), ErrorCode::ConnectionRefused, Exit::Network);
    get("http://host.invalid/a", ErrorCode::NameNotResolved, Exit::Network);
    get("http://240.0.0.1/a", ErrorCode::HostUnreachable, Exit::Network);

    let origin = HostileOrigin::start().await.unwrap();
    let statuses = [
        (401, ErrorCode::HttpUnauthorized),
        (403, ErrorCode::HttpForbidden),
        (404, ErrorCode::HttpNotFound),
        (410, ErrorCode::HttpNotFound),
        (429, ErrorCode::HttpRateLimited),
        (408, ErrorCode::HttpBusy),
        (500, ErrorCode::HttpServerError),
        (501, ErrorCode::HttpUnsupported),
        (503, ErrorCode::HttpServerError),
    ];
    for (status, code) in statuses {
        let path = format!("/{status}");
        origin.publish(&path, Resource::new(Version::new(1, 1000), Behaviour::status(status)));
        get(&origin.url(&path), code, Exit::Origin);
    }
    origin.publish("/honest", Resource::new(Version::new(1, 300_000), Behaviour::default()));
    let digest = format!("sha256:{}", "0".repeat(64));
    let url = origin.url("/honest");
    assert_refused(&node, &["get", &url, "-o", to, "--digest", &digest], ErrorCode::DigestMismatch, Exit::Integrity);
    assert_eq!(names(folder.path()), HashSet::new(), "a failed download left something behind");
    assert_eq!(node.report().unwrap().totals.delivered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_cannot_prove_who_it_is_gives_nothing() {
    let node = Eddy::here().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let to = to.to_str().unwrap();
    let roots = folder.path().join("roots.pem");
    for (certificate, code) in [
        (Certificate::UnknownIssuer, ErrorCode::TlsUntrusted),
        (Certificate::Expired, ErrorCode::TlsExpired),
        (Certificate::NotYetValid, ErrorCode::TlsExpired),
        (Certificate::OtherName, ErrorCode::TlsWrongName),
    ] {
        let origin = HostileOrigin::start_tls(TlsPlan { certificate, protocol: Protocol::Http1 }).await.unwrap();
        origin.publish("/a", Resource::new(Version::new(1, 1000), Behaviour::default()));
        std::fs::write(&roots, origin.root_pem().unwrap()).unwrap();
        let trust = [("SSL_CERT_FILE", roots.to_str().unwrap())];
        assert_refused_with(&node, &["get", &origin.url("/a"), "-o", to], &trust, code, Exit::Tls);
        assert_eq!(origin.counters().body_bytes(), 0, "{certificate:?}");
    }
    assert!(!Path::new(to).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_without_rights_or_room_loses_nothing_that_was_fetched() {
    if !may_mount() {
        return;
    }
    let node = Eddy::here().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let version = Version::new(9, 24 * MIB);
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/a", Resource::new(version.clone(), Behaviour::default()));
    let get = |options: &str| -> Ended {
        let command = node.command(["get", &origin.url("/a"), "-o", to.to_str().unwrap()]);
        with_mount(&command, folder.path(), options).output().unwrap().into()
    };
    assert_is_refusal(&get("ro"), ErrorCode::DiskReadOnly, Exit::Destination);
    assert_eq!(origin.counters().body_bytes(), 0, "it was known before the first byte");
    assert_is_refusal(&get("size=8m"), ErrorCode::DiskFull, Exit::Destination);
    let fetched = origin.counters().body_bytes();
    // With room, the same command ends well, and not one byte is fetched again.
    let delivered = get("size=64m");
    assert_eq!(delivered.status, Some(0), "{delivered:?}");
    let root = blake3::hash(&version.whole()).to_hex();
    assert!(delivered.out.contains(root.as_str()), "{delivered:?}");
    assert_eq!(origin.counters().body_bytes(), fetched.max(version.length));
    let report = node.report().unwrap();
    let totals = report.totals;
    assert_eq!((totals.identity(), totals.delivered), (Identity::Closes, version.length), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_does_not_fit_into_the_cache_is_delivered_all_the_same() {
    if !may_mount() {
        return;
    }
    let node = Eddy::here().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("a");
    let version = Version::new(9, 24 * MIB);
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/a", Resource::new(version.clone(), Behaviour::default()));
    let command = node.command(["get", &origin.url("/a"), "-o", to.to_str().unwrap()]);
    let ended: Ended = with_mount(&command, node.home(), "size=8m,mode=0700").output().unwrap().into();
    assert_eq!(ended.status, Some(0), "{ended:?}");
    assert_eq!(hash_of(&to).unwrap(), blake3::hash(&version.whole()));
    // Only the store knows that it has no room, and by then the first answer is on its way: what is in sockets is lost.
    let sent = origin.counters().body_bytes();
    assert!(sent <= version.length + 8 * MIB, "{sent} bytes sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotten_block_is_fetched_again_and_never_delivered() {
    let node = Eddy::here().unwrap();
    let version = Version::new(9, 24 * MIB);
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/a", Resource::new(version.clone(), Behaviour::default()));
    let [first, second] = ["a", "b"].map(|name| node.home().join(name));
    node.get(&origin.url("/a"), &first).unwrap();
    let rotten = flip_one_byte(&node.home().join("cache"), &version);
    println!("one byte flipped in {rotten}");
    node.get(&origin.url("/a"), &second).unwrap();
    assert_eq!(hash_of(&second).unwrap(), blake3::hash(&version.whole()));
    let again = origin.counters().body_bytes() - version.length;
    assert!((1..=MIB).contains(&again), "{again} bytes fetched for one rotten block");
    let totals = node.report().unwrap().totals;
    assert_eq!((totals.identity(), totals.delivered), (Identity::Closes, 2 * version.length), "{totals:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_index_is_named_or_mended_and_no_wrong_byte_comes_of_it() {
    let version = Version::new(9, 4 * MIB);
    let origin = HostileOrigin::start().await.unwrap();
    origin.publish("/a", Resource::new(version.clone(), Behaviour::default()));
    for (damage, wound) in [("noise at the start", 0), ("noise in the middle", 8192)] {
        let node = Eddy::here().unwrap();
        let [first, second] = ["a", "b"].map(|name| node.home().join(name));
        node.get(&origin.url("/a"), &first).unwrap();
        let index = largest(&node.home().join("cache"), |path| path.extension().is_some_and(|end| end == "redb"));
        let mut bytes = std::fs::read(&index).unwrap();
        let end = bytes.len().min(wound + 4096);
        bytes[wound..end].fill(0xA5);
        std::fs::write(&index, &bytes).unwrap();
        let ended = node.ended(&["get", &origin.url("/a"), "-o", second.to_str().unwrap()]).unwrap();
        println!("{damage}: {:?} {:?}", ended.status, ended.code());
        match ended.code() {
            None => assert_eq!(hash_of(&second).unwrap(), blake3::hash(&version.whole())),
            Some(_) => assert_is_refusal(&ended, ErrorCode::StoreCorrupt, Exit::Store),
        }
        // What was delivered before is the user's, whatever becomes of the cache; and the remedy works.
        assert_eq!(hash_of(&first).unwrap(), blake3::hash(&version.whole()));
        if ended.code().is_some() {
            std::fs::rename(node.home().join("cache"), node.home().join("cache.damaged")).unwrap();
            node.get(&origin.url("/a"), &second).unwrap();
        }
    }
}

#[test]
fn a_second_node_of_one_home_is_told_about_the_first() {
    let node = Eddy::here().unwrap();
    let mut daemon: Running = node.daemon().unwrap();
    assert_refused(&node, &["daemon"], ErrorCode::StoreInUse, Exit::Store);
    assert!(node.status().is_ok(), "the first is not disturbed");
    assert!(daemon.stop(PATIENCE).unwrap().success(), "{}", daemon.log());
}

/// The largest file under `folder` that is `wanted`.
fn largest(folder: &Path, wanted: impl Fn(&Path) -> bool) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if wanted(&path) => found.push(path),
                false => {}
            }
        }
    }
    found.into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Flips a byte in the middle of the stored copy of `version`; returns the file's name.
fn flip_one_byte(store: &Path, version: &Version) -> String {
    let data = largest(store, |path| path.extension().is_none_or(|end| end != "redb"));
    let mut bytes = std::fs::read(&data).unwrap();
    let probe = version.bytes(0..64);
    let start = bytes.windows(64).position(|window| window == probe).expect("the store keeps the bytes as they are");
    bytes[start + 12_345_678] ^= 1;
    std::fs::write(&data, bytes).unwrap();
    data.display().to_string()
}
