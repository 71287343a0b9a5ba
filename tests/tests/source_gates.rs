//! What may stand nowhere: ways to switch verification off, tests that nobody runs, documents that name what is not there.
//!
//! A gate is a grep: crude, but it also sees what no compiler minds.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

use eddy_node::config::gateway::DEFAULT_LISTEN;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders of what is shipped; tests that lie in them, as `tests.rs` or under `tests/`, play attackers and may do as they do.
const SHIPPED: [&str; 7] = [
    "cache/content/src/",
    "cache/src/",
    "cli/src/",
    "discovery/src/",
    "node/src/",
    "node/engine/src/",
    "node/wire/src/",
];

/// The one file in which a verifier of our own may be set: it holds peers against the group's authority.
const VERIFIER: &str = "node/src/peer/tls.rs";

/// How the HTTP and TLS libraries let their user go without verification, or replace it.
const VERIFICATION: [&str; 9] = [
    "danger_accept_invalid",
    "danger_accept_insecure",
    "tls_danger_accept",
    ".dangerous()",
    "dangerous_configuration",
    "with_custom_certificate_verifier",
    "set_certificate_verifier",
    "allow_unauthenticated",
    "with_no_client_auth", // among peers both sides prove who they are
];

/// How a handshake signature would be taken unread, or bytes before the handshake has ended (replays): nowhere at all.
const NEVER: [&str; 5] = [
    "HandshakeSignatureValid::assertion",
    "SkipServerVerification",
    "into_0rtt",
    "enable_early_data = true",
    "with_safe_defaults_and_no_verification",
];

/// Why a test may be marked as ignored: another test runs it as its child, or it measures and judges nothing.
const IGNORED: [&str; 4] = ["runs as the child of ", "is run by ", "prints numbers", "writes gigabytes and prints"];

#[test]
fn verification_of_peers_and_origins_cannot_be_switched_off() {
    let sources = shipped();
    for (path, text) in &sources {
        for word in NEVER.iter().chain(VERIFICATION.iter().filter(|_| path != VERIFIER)) {
            assert!(!text.contains(word), "{path} says {word}");
        }
    }
    assert!(sources.iter().any(|(path, _)| path == VERIFIER), "{VERIFIER} is gone: where are peers verified now?");
}

#[test]
fn no_test_is_ignored_but_children_and_measurements() {
    for (path, text) in all() {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with(&ignore())) {
            let reasoned = IGNORED.iter().any(|reason| line.contains(reason));
            assert!(reasoned, "{path}:{}: who runs this test? {line}", number + 1);
        }
    }
}

/// A file whose `mod` line was forgotten is compiled by nobody, and nobody misses its tests.
#[test]
fn every_file_of_a_program_of_tests_is_named_by_it() {
    let sources = all();
    let mut seen = 0;
    for (main, text) in sources.iter().filter(|(path, _)| path.contains("tests/")) {
        let Some(folder) = main.strip_suffix("main.rs").or_else(|| main.strip_suffix("mod.rs")) else { continue };
        for name in sources.iter().filter_map(|(path, _)| path.strip_prefix(folder)?.strip_suffix(".rs")) {
            // A folder's own modules are named by its `mod.rs`, or by the file beside it.
            if name != "main" && name != "mod" && !name.contains('/') {
                seen += 1;
                let line = format!("mod {name};");
                assert!(text.lines().any(|named| named.ends_with(&line)), "{main} does not name {name}");
            }
        }
    }
    assert!(seen > 50, "only {seen} files were found: the way to find them is wrong");
}

#[test]
fn the_units_are_what_systemd_understands() {
    let analyze = |unit: &Path| Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(unit).output();
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("deploy/eddy.service")).unwrap();
    // A program that is there, whatever is installed.
    let service = text.replace("/usr/bin/eddy", "/bin/true");
    assert_ne!(service, text);
    let drop_in = folder.path().join("eddy.service.d");
    std::fs::create_dir(&drop_in).unwrap();
    std::fs::write(folder.path().join("eddy.service"), service).unwrap();
    std::fs::copy(root().join("deploy/eddy.socket"), folder.path().join("eddy.socket")).unwrap();
    for with_users in [false, true] {
        if with_users {
            std::fs::copy(root().join("deploy/users.conf"), drop_in.join("users.conf")).unwrap();
        }
        for unit in ["eddy.service", "eddy.socket"] {
            let Ok(output) = analyze(&folder.path().join(unit)) else {
                println!("skipped: there is no systemd-analyze");
                return;
            };
            let said = String::from_utf8_lossy(&output.stderr);
            // Of other units of this machine nothing is expected.
            let wrong: Vec<_> =
                said.lines().filter(|line| line.contains("eddy") || line.contains("users.conf")).collect();
            assert!(wrong.is_empty(), "{unit}: {wrong:?}");
        }
    }
}

/// What a service delivers must be seen by whom it is for: never in a folder of its own that only looks like theirs.
#[test]
fn no_unit_delivers_into_a_folder_that_nobody_else_sees() {
    for with_users in [false, true] {
        let unit = Unit::service(with_users);
        for hiding in ["PrivateTmp", "TemporaryFileSystem"] {
            assert!(matches!(unit.last(hiding), "" | "no"), "{hiding}={}", unit.last(hiding));
        }
        let (closed, open) = (unit.words("InaccessiblePaths"), unit.words("ReadWritePaths"));
        for folder in ["/tmp", "/var/tmp"] {
            assert_eq!(closed.contains(&folder), !with_users, "{folder} where there are users: {with_users}");
            assert_eq!(open.contains(&folder), with_users, "{folder} where there are users: {with_users}");
        }
    }
}

/// A folder of the service goes when the service ends, and the socket in it, unless the unit says otherwise.
#[test]
fn the_socket_outlives_a_service_that_ends() {
    let unit = Unit::service(true);
    let folder = Path::new("/run").join(unit.last("RuntimeDirectory"));
    let socket = Unit::read(&["deploy/eddy.socket"]);
    let made = Path::new(socket.last("ListenStream"));
    assert_eq!(made.parent(), Some(folder.as_path()));
    assert_eq!(made, Path::new(eddy_node::config::service::SYSTEM_SOCKET), "commands look for it there");
    assert_eq!(unit.last("RuntimeDirectoryPreserve"), "yes");
    assert_eq!(Unit::service(false).last("RuntimeDirectory"), "", "it would need the same");
}

#[test]
fn the_gateway_may_listen_where_it_does_when_nobody_says() {
    let allowed = Unit::service(false);
    let allowed = allowed.words("SocketBindAllow");
    assert!(allowed.contains(&format!("tcp:{}", DEFAULT_LISTEN.port()).as_str()), "{allowed:?}");
    assert!(!allowed.contains(&"tcp") && !allowed.contains(&"any"), "and nowhere else: {allowed:?}");
}

/// What `node/src/owner/hand.rs` and `node/src/hooks/run.rs` ask of the kernel, seen with strace(1).
#[test]
fn a_service_of_all_users_may_be_each_of_them_and_one_of_its_own_user_nobody_else() {
    let users = Unit::service(true);
    for set in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        let given: BTreeSet<_> = users.words(set).into_iter().collect();
        // CAP_KILL: a hook that runs as its job's owner is ended when its time is over.
        assert_eq!(given, BTreeSet::from(["CAP_KILL", "CAP_SETGID", "CAP_SETUID"]), "{set}");
        assert_eq!(Unit::service(false).words(set), [""; 0], "{set}");
    }
    let (Some(with_users), Some(alone)) = (users.calls(), Unit::service(false).calls()) else {
        println!("skipped: there is no systemd-analyze");
        return;
    };
    let files = ["setgroups", "setfsuid", "setfsgid", "capset"];
    let hooks = ["setgroups", "prctl", "clone", "setgid", "setuid", "execve", "pidfd_open", "kill", "wait4"];
    for call in files.iter().chain(&hooks) {
        assert!(with_users.contains(*call), "{call} is not allowed");
    }
    for call in ["setuid", "setfsuid", "setgroups", "chown", "chroot"] {
        assert!(!alone.contains(call), "{call} is allowed");
    }
    assert!(!with_users.contains("chown") && !with_users.contains("chroot"), "no more than what is needed");
}

#[test]
fn the_documents_name_only_files_that_exist() {
    let mut seen = 0;
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for path in text.split('`').skip(1).step_by(2).filter(|word| is_path_of_ours(word)) {
            seen += 1;
            assert!(root().join(path).exists(), "{document} names {path}");
        }
    }
    assert!(seen > 50, "only {seen} paths were found: the way to find them is wrong");
}

#[test]
fn the_table_of_what_became_of_bits_names_only_files_and_tests_that_exist() {
    // The requirements of the inventory that the table answers for.
    let runs = [1..=35, 40..=46, 50..=73, 80..=88, 90..=93, 110..=110, 140..=142, 150..=153, 160..=162, 170..=173];
    let files = runs.into_iter().flatten().map(|number| format!("F-{number}"));
    let wanted: Vec<_> = files.chain((1..=10).map(|number| format!("P-{number}"))).collect();
    let document = std::fs::read_to_string(root().join("node/DESIGN.md")).unwrap();
    let tests: String = all().into_iter().map(|(_, text)| text).collect();
    let mut found = Vec::new();
    for line in document.lines().filter(|line| line.starts_with("| F-") || line.starts_with("| P-")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, _, here, places, shown] = cells[..] else { panic!("five cells: {line}") };
        found.push(id.to_owned());
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        for path in quoted(places) {
            assert!(root().join(&path).is_file(), "{id} names {path}");
        }
        for test in quoted(shown) {
            assert!(tests.contains(&format!("fn {test}(")), "{id} names {test}");
        }
        let is_there = !here.starts_with("no:") && !here.starts_with("not built");
        assert!(
            !is_there || (!quoted(places).is_empty() && !quoted(shown).is_empty()),
            "{id}: where, and shown by what?"
        );
    }
    assert_eq!(found, wanted);
}

#[test]
fn the_gates_see_the_sources() {
    let sources = all();
    for folder in ["cache/content/src/", "cache/src/", "cli/src/", "discovery/src/", "node/src/", "tests/src/"] {
        assert!(sources.iter().any(|(path, _)| path.starts_with(folder)), "nothing is read under {folder}");
    }
    let this = file!().rsplit('/').next().unwrap();
    assert!(sources.iter().any(|(path, _)| path.ends_with(this)), "the gates do not see themselves");
}

/// What a unit says, drop-ins behind it: key and value.
struct Unit(Vec<(String, String)>);

impl Unit {
    fn service(with_users: bool) -> Self {
        let files = ["deploy/eddy.service", "deploy/users.conf"];
        Self::read(&files[..=usize::from(with_users)])
    }

    fn read(files: &[&str]) -> Self {
        let text: String = files.iter().map(|file| std::fs::read_to_string(root().join(file)).unwrap()).collect();
        let lines = text.lines().filter(|line| !line.starts_with(['#', '[']));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Self(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// Every value of a key, in order.
    fn all<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == wanted).map(|(_, value)| value.as_str())
    }

    /// The value of a key of which the last holds.
    fn last(&self, key: &str) -> &str {
        self.0.iter().rev().find(|(there, _)| there == key).map_or("", |(_, value)| value)
    }

    /// The words of a key whose values add up, and of which an empty one takes back those before.
    fn words<'a>(&'a self, key: &'a str) -> Vec<&'a str> {
        let mut words = Vec::new();
        for value in self.all(key) {
            if value.is_empty() {
                words.clear();
            }
            words.extend(value.split_whitespace().map(|word| word.trim_start_matches('-')));
        }
        words
    }

    /// The system calls that it may make, as systemd knows its own groups of them; nothing without systemd.
    fn calls(&self) -> Option<BTreeSet<String>> {
        let mut allowed = BTreeSet::new();
        for value in self.all("SystemCallFilter") {
            let (is_taken, names) = value.strip_prefix('~').map_or((false, value), |names| (true, names));
            for name in names.split_whitespace() {
                for call in calls_of(name)? {
                    let _ = if is_taken { allowed.remove(&call) } else { allowed.insert(call) };
                }
            }
        }
        Some(allowed)
    }
}

/// The system calls that a name of systemd's stands for.
fn calls_of(name: &str) -> Option<Vec<String>> {
    if !name.starts_with('@') {
        return Some(vec![name.to_owned()]);
    }
    let output = Command::new("systemd-analyze").args(["syscall-filter", name]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let names = text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let calls: Option<Vec<_>> = names.map(calls_of).collect();
    calls.map(|calls| calls.concat())
}

/// The attribute, written so that this file does not trip over itself.
fn ignore() -> String {
    format!("#[{}", "ignore")
}

/// Whether a quoted word is a path in this repository, and not one of the reader's machine or a plain word.
fn is_path_of_ours(word: &str) -> bool {
    let folders = ["cache/", "cli/", "deploy/", "discovery/", "node/", "tests/", ".ci/", ".config/"];
    folders.iter().any(|folder| word.starts_with(folder)) && !word.contains(char::is_whitespace)
}

/// What is shipped.
fn shipped() -> Vec<(String, String)> {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    let is_shipped = |path: &str| SHIPPED.iter().any(|folder| path.starts_with(folder)) && !is_test(path);
    all().into_iter().filter(|(path, _)| is_shipped(path)).collect()
}

/// Every Rust file of the workspace: its path from the root, and its text.
fn all() -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    for folder in ["cache", "cli", "discovery", "node", "tests"] {
        walk(&root.join(folder), &mut found);
    }
    let relative = |path: PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found.into_iter().map(|path| (relative(path.clone()), std::fs::read_to_string(&path).unwrap())).collect()
}

/// The folder of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
