//! The walls of the house: which crate may use which, and that the pure crates stay pure.
//!
//! The allowed arrows are those of ARCHITECTURE.md. Cargo itself is asked what the arrows are, so that nothing hides in a
//! feature, a target or a rename.

#![allow(clippy::unwrap_used, reason = "the helpers of tests, like tests, may unwrap")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may use whom inside the project, for normal and build dependencies; development ones obey the same, but that
/// `eddy-tests` is nobody's.
const ARROWS: [(&str, &str, &[&str]); 8] = [
    ("eddy-content", "cache/content", &[]),
    ("eddy-cache", "cache", &["eddy-content"]),
    ("eddy-discovery", "discovery", &["eddy-content"]),
    ("eddy-engine", "node/engine", &["eddy-content"]),
    ("eddy-wire", "node/wire", &["eddy-content", "eddy-engine"]),
    ("eddy-node", "node", &["eddy-content", "eddy-cache", "eddy-discovery", "eddy-engine", "eddy-wire"]),
    ("eddy-cli", "cli", &["eddy-wire", "eddy-node"]),
    (
        "eddy-tests",
        "tests",
        &["eddy-content", "eddy-cache", "eddy-discovery", "eddy-engine", "eddy-wire", "eddy-node", "eddy-cli"],
    ),
];

/// The crates that take `now` as an argument and reach no clock, socket, file, thread or task.
const PURE: [&str; 3] = ["eddy-content", "eddy-engine", "eddy-wire"];

/// What brings a runtime, sockets, files or threads; no pure crate reaches one of these by any path.
const IMPURE: [&str; 36] = [
    "async-io",
    "async-std",
    "aws-lc-rs",
    "axum",
    "crossbeam-channel",
    "crossbeam-utils",
    "etcetera",
    "futures-executor",
    "h2",
    "hyper",
    "hyper-util",
    "if-watch",
    "libp2p",
    "memmap2",
    "mio",
    "notify",
    "polling",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rayon",
    "rayon-core",
    "redb",
    "reflink-copy",
    "reqwest",
    "rustix",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tokio-rustls",
    "tokio-util",
    "tower",
    "tracing-subscriber",
    "webpki-roots",
];

/// What the clippy.toml of every pure crate bans; the lints that enforce it are errors in the whole workspace.
const BANS: [&str; 14] = [
    "std::env::var",
    "std::fs::File",
    "std::fs::OpenOptions",
    "std::fs::read",
    "std::fs::write",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::process::Command",
    "std::thread::sleep",
    "std::thread::spawn",
    "std::time::Instant",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
];

#[test]
fn the_workspace_holds_the_crates_of_the_map_and_no_others() {
    let root = root();
    let there: BTreeMap<String, PathBuf> = packages()
        .iter()
        .map(|package| {
            let manifest = PathBuf::from(text(package, "manifest_path"));
            (text(package, "name").to_owned(), manifest.parent().unwrap().to_owned())
        })
        .collect();
    let mapped: BTreeMap<String, PathBuf> =
        ARROWS.iter().map(|(name, folder, _)| ((*name).to_owned(), root.join(folder))).collect();
    assert_eq!(there, mapped);
}

#[test]
fn arrows_point_only_where_the_map_allows() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for package in &packages() {
        let name = text(package, "name");
        let allowed = allowed(name);
        for dependency in list(package, "dependencies").iter().filter(|dependency| is_ours(dependency)) {
            seen += 1;
            let target = text(dependency, "name");
            // A dependency without a kind is a normal one.
            let kind = dependency["kind"].as_str().unwrap_or("normal");
            if !allowed.contains(&target) {
                wrong.push(format!("{name} -> {target} ({kind})"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that ARCHITECTURE.md does not know: {wrong:?}");
    assert!(seen >= ARROWS.len() - 1, "only {seen} arrows were seen: the question to cargo is wrong");
}

#[test]
fn the_map_itself_has_no_way_round() {
    let mut above: Vec<&str> = Vec::new();
    for (name, _, uses) in ARROWS {
        for used in uses {
            assert!(above.contains(used), "{name} stands in the table before {used}, which it may use");
        }
        above.push(name);
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for (name, folder, _) in ARROWS {
        let manifest = read(&root().join(folder).join("Cargo.toml"));
        let sections: Vec<&str> = manifest.split("\n[").collect();
        let lints = sections.iter().find_map(|section| section.strip_prefix("lints]"));
        assert_eq!(lints.map(str::trim), Some("workspace = true"), "{name}");
    }
}

#[test]
fn pure_crates_reach_no_runtime_socket_or_file_by_any_path() {
    for name in PURE {
        let reached = reached_by(name);
        assert!(reached.contains("serde") && reached.contains(name), "{name}: the question to cargo is wrong");
        let impure: Vec<&str> = IMPURE.into_iter().filter(|impure| reached.contains(*impure)).collect();
        assert!(impure.is_empty(), "{name} is pure, but reaches {impure:?}");
    }
    // The same question sees them where they are.
    let node = reached_by("eddy-node");
    assert!(["tokio", "redb", "quinn", "reqwest", "rustix"].iter().all(|shell| node.contains(*shell)));
}

#[test]
fn pure_crates_ban_clock_socket_file_and_task_and_never_lift_a_ban() {
    for (name, folder, _) in ARROWS.iter().filter(|(name, ..)| PURE.contains(name)) {
        let clippy = read(&root().join(folder).join("clippy.toml"));
        for ban in BANS {
            assert!(clippy.contains(&format!("{{ path = \"{ban}\"")), "{name}: clippy.toml does not ban {ban}");
        }
        let sources = source_files(&root().join(folder).join("src"));
        assert!(!sources.is_empty(), "{name} has no sources");
        for source in sources {
            let lifted = read(&source).contains("clippy::disallowed");
            assert!(!lifted, "{} lifts a ban of its crate", source.display());
        }
    }
}

/// What `name` may use.
fn allowed(name: &str) -> &'static [&'static str] {
    let row = ARROWS.iter().find(|(known, ..)| *known == name);
    row.unwrap_or_else(|| panic!("{name} is not on the map")).2
}

/// Whether a dependency is a crate of this project: it is named by its folder.
fn is_ours(dependency: &Value) -> bool {
    dependency["path"].is_string()
}

/// The packages of the workspace, as cargo describes them.
fn packages() -> Vec<Value> {
    let output = cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"]);
    let metadata: Value = serde_json::from_str(&output).unwrap();
    list(&metadata, "packages").clone()
}

/// Names of every package that `name` is built from on this machine, development dependencies left out.
fn reached_by(name: &str) -> BTreeSet<String> {
    let tree = cargo(&["tree", "--package", name, "--edges", "normal", "--prefix", "none", "--offline", "--locked"]);
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// What cargo answers; its word is needed, so there is no going on without it.
fn cargo(arguments: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(program).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every Rust file under a folder.
fn source_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { source_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no list `{key}`"))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}`"))
}
