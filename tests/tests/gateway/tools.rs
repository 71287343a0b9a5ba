//! Real package managers fetch through the gateway, from wherever this machine's own configuration has its packages; then a second node gets
//! the large files from the first.
//!
//! Asks nothing of anybody elsewhere unless `EDDY_REAL_TOOLS` is set.

use eddy_tests::hostile::{Behaviour, HostileOrigin, Resource, Version};
use eddy_tests::process::{Eddy, Gateway, Nginx, NginxSpec, Running, mount, write_sample};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// How long a node may take to start, to find a peer, to stop.
const PATIENCE: Duration = Duration::from_secs(60);

fn is_wanted() -> bool {
    let is_set = std::env::var_os("EDDY_REAL_TOOLS").is_some_and(|value| !value.is_empty());
    if !is_set {
        eprintln!("skipped: EDDY_REAL_TOOLS is not set");
    }
    is_set
}

fn is_here(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program} >/dev/null")])
        .status()
        .is_ok_and(|s| s.success());
    if !found {
        eprintln!("skipped: {program} is not here");
    }
    found
}

/// A home whose gateway has a port that stays while the test lasts.
fn eddy(more: &str) -> Eddy<'static> {
    let eddy = Eddy::here().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = format!(
        "[cache]\nquota = \"2 GiB\"\nreserve = \"1 MiB\"\n[gateway]\nlisten = \"127.0.0.1:{port}\"\n[peers]\nmdns = false\nlisten = \"127.0.0.1:0\"\n{more}\n"
    );
    std::fs::write(eddy.home().join("eddy.toml"), settings).unwrap();
    eddy
}

/// A command with the person's own proxies and these variables.
fn with(mut command: Command, variables: &[(&str, &Path)]) -> Command {
    for (name, value) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy"))
    {
        command.env(name, value);
    }
    command.env("no_proxy", "127.0.0.1,localhost").env("NO_PROXY", "127.0.0.1,localhost");
    command.envs(variables.iter().copied());
    command
}

fn good(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn run(program: &str, arguments: &[&str], folder: &Path, variables: &[(&str, &Path)]) -> String {
    let mut command = with(Command::new(program), variables);
    good(&command.args(arguments).current_dir(folder).output().unwrap())
}

fn enable(eddy: &Eddy<'_>, arguments: &[&str], variables: &[(&str, &Path)]) {
    let all = [&["gateway", "enable"], arguments].concat();
    let shown = good(&with(eddy.command([all.as_slice(), &["--dry-run"]].concat()), variables).output().unwrap());
    assert!(shown.contains("+ "), "{shown}");
    let note = eddy.home().join("gateway").join(format!("{}.json", arguments[0]));
    assert!(!note.exists(), "a dry run writes nothing");
    good(&with(eddy.command(&all), variables).output().unwrap());
    good(&with(eddy.command(&all), variables).output().unwrap());
}

fn disable(eddy: &Eddy<'_>, tool: &str, variables: &[(&str, &Path)]) {
    for _ in 0..2 {
        good(&with(eddy.command(["gateway", "disable", tool]), variables).output().unwrap());
    }
}

fn daemon(eddy: &Eddy<'_>) -> Running {
    let mut command = with(eddy.command(["daemon"]), &[]);
    command.env("EDDY_LOG", "error,eddy_node::gateway=debug");
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();
    daemon
}

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_path_buf()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// All folders below a folder.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_path_buf()];
    let mut next = 0;
    while let Some(folder) = found.get(next).cloned() {
        found.extend(folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
        next += 1;
    }
    found.sort();
    found
}

#[test]
fn apt_updates_and_downloads_through_the_gateway_and_goes_on_without_it() {
    if !is_wanted() || !is_here("apt-get") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let root = work.path();
    let etc = root.join("etc");
    let copied = Command::new("cp").args(["-a", "/etc/apt"]).arg(&etc).status().unwrap();
    assert!(copied.success());
    for folder in ["state/lists/partial", "cache/archives/partial", "down"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let conf = root.join("apt.conf");
    let lines = format!(
        "Dir::Etc \"{0}/etc/\";\nDir::State \"{0}/state/\";\nDir::State::status \"/var/lib/dpkg/status\";\nDir::Cache \"{0}/cache/\";\nAPT::Sandbox::User \"root\";\n",
        root.display()
    );
    std::fs::write(&conf, lines).unwrap();
    let variables = [("APT_CONFIG", conf.as_path())];
    let before = files(&etc);
    let eddy = eddy("");
    enable(&eddy, &["apt"], &variables);
    let node = daemon(&eddy);
    let down = root.join("down");
    run("apt-get", &["update"], root, &variables);
    run("apt-get", &["download", "hello"], &down, &variables);
    let log = node.log();
    assert!(files(&down).len() == 1, "{log}");
    good(&with(eddy.command(["gateway", "test", "apt"]), &variables).output().unwrap());
    drop(node);
    std::fs::remove_dir_all(&down).unwrap();
    std::fs::create_dir_all(&down).unwrap();
    run("apt-get", &["download", "hello"], &down, &variables);
    assert_eq!(files(&down).len(), 1, "without the daemon apt asks the origin");
    disable(&eddy, "apt", &variables);
    assert!(files(&etc) == before, "every file is as it was");
}

#[test]
fn pip_downloads_a_wheel_through_the_gateway_and_a_second_node_gets_it_from_the_first() {
    if !is_wanted() || !is_here("pip") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let first = eddy("");
    let secret = first.found_group().unwrap();
    let mut nodes = Vec::new();
    let mut wheels = Vec::new();
    let mut peer = String::new();
    for number in 0..2 {
        let known = format!("known = [{peer}]");
        let here = if number == 0 { None } else { Some(eddy(&known)) };
        let eddy = here.as_ref().unwrap_or(&first);
        if number == 1 {
            eddy.join_group(&secret).unwrap();
        }
        let folder = work.path().join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let conf = folder.join("pip.conf");
        let nowhere = Path::new("/nonexistent");
        let variables =
            [("PIP_CONFIG_FILE", conf.as_path()), ("PIP_NO_CACHE_DIR", Path::new("1")), ("PIP_FIND_LINKS", nowhere)];
        enable(eddy, &["pip"], &variables);
        let node = daemon(eddy);
        if number == 1 {
            eddy.wait_peers(1, PATIENCE).unwrap();
        } else {
            peer = format!("\"127.0.0.1:{}\"", udp_port(node.id()));
        }
        run("pip", &["download", "--no-deps", "--only-binary", ":all:", "-d", "down", "numpy"], &folder, &variables);
        let found = files(&folder.join("down"));
        assert_eq!(found.len(), 1);
        assert!(found[0].1.len() > 8 << 20, "a large one");
        wheels.push(found);
        let totals = eddy.report().unwrap().totals;
        println!("node {number}: {totals:?}");
        // Without a version mark nothing is shared: some mirrors take it away.
        if number == 1 && !first.cached().unwrap().is_empty() {
            assert!(
                totals.received.origin < 2 << 20,
                "the second node asks the origin for no more than an audit: {totals:?}"
            );
            assert!(totals.received.peers > 8 << 20, "{totals:?}");
        }
        disable(eddy, "pip", &variables);
        assert!(!conf.exists());
        nodes.push((node, here));
    }
    assert!(wheels[0][0].1 == wheels[1][0].1, "the same bytes");
}

/// Makes a wheel that holds some bytes.
fn wheel(folder: &Path, name: &str, seed: u64) -> String {
    const MAKE: &str = "import sys, zipfile
path, name, data = sys.argv[1:]
with zipfile.ZipFile(path, 'w') as wheel:
    wheel.write(data, name + '/data.bin')
    folder = name + '-1.0.dist-info/'
    wheel.writestr(folder + 'METADATA', 'Metadata-Version: 2.1\\nName: ' + name.replace('_', '-') + '\\nVersion: 1.0\\n')
    wheel.writestr(folder + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: eddy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(folder + 'RECORD', '')
";
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data.bin");
    write_sample(&data, seed, 100_000).unwrap();
    let path = folder.join(format!("{name}-1.0-py3-none-any.whl"));
    good(&Command::new("python3").args(["-c", MAKE]).arg(&path).arg(name).arg(&data).output().unwrap());
    data_encoding::HEXLOWER.encode(&Sha256::digest(std::fs::read(&path).unwrap()))
}

#[test]
fn pip_follows_an_index_from_the_root_of_its_host_and_past_itself() {
    if !Nginx::ready() || !is_here("pip") {
        return;
    }
    let http = "types { text/html html; application/vnd.pypi.simple.v1+json json; }".to_owned();
    let directives = "index index.html index.json;".to_owned();
    let origin = Nginx::here(&NginxSpec { http, directives, ..NginxSpec::default() }).unwrap();
    // As pypiserver and devpi do, as Nexus and Artifactory do, and the first once more in JSON.
    let projects = [
        ("eddy_root", "/packages/", "html"),
        ("eddy_past", "../../packages/", "html"),
        ("eddy_json", "/packages/", "json"),
    ];
    let (simple, packages) = (origin.files().join("repository/simple"), origin.files().join("packages"));
    let past = origin.files().join("repository/packages");
    for folder in [&simple, &packages, &past] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mut list = String::new();
    for (number, (name, place, kind)) in projects.into_iter().enumerate() {
        let file = format!("{name}-1.0-py3-none-any.whl");
        let digest = wheel(if place.starts_with('/') { &packages } else { &past }, name, number as u64);
        let project = name.replace('_', "-");
        let page = match kind {
            "html" => {
                format!("<!DOCTYPE html><html><body><a href=\"{place}{file}#sha256={digest}\">{file}</a></body></html>")
            }
            _ => format!(
                "{{\"meta\":{{\"api-version\":\"1.0\"}},\"name\":\"{project}\",\"files\":[{{\"filename\":\"{file}\",\"url\":\"{place}{file}\",\"hashes\":{{\"sha256\":\"{digest}\"}}}}]}}"
            ),
        };
        std::fs::create_dir_all(simple.join(&project)).unwrap();
        std::fs::write(simple.join(&project).join(format!("index.{kind}")), page).unwrap();
        list += &format!("<a href=\"{project}/\">{project}</a>\n");
    }
    // An index of one's own has no page of the project that public ones have.
    std::fs::write(simple.join("index.html"), list).unwrap();
    let work = tempfile::tempdir().unwrap();
    let (conf, eddy) = (work.path().join("pip.conf"), eddy(""));
    let variables = [("PIP_CONFIG_FILE", conf.as_path())];
    enable(&eddy, &["pip", "--origin", &origin.url("repository/simple")], &variables);
    let node = daemon(&eddy);
    for turn in ["first", "second"] {
        let mut command = Command::new("pip");
        let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(kept);
        command.env("PIP_CONFIG_FILE", &conf).env("PIP_NO_CACHE_DIR", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        command.args(["download", "--no-deps", "-d", turn]).args(projects.map(|(name, ..)| name.replace('_', "-")));
        good(&command.current_dir(work.path()).output().unwrap());
        for (name, place, _) in projects {
            let file = format!("{name}-1.0-py3-none-any.whl");
            let given = std::fs::read(if place.starts_with('/') { &packages } else { &past }.join(&file)).unwrap();
            assert!(std::fs::read(work.path().join(turn).join(&file)).unwrap() == given, "{file}: {}", node.log());
        }
    }
    let log = origin.access().unwrap();
    for (name, ..) in projects {
        let asks = log.iter().filter(|access| access.uri.contains(&format!("{name}-1.0"))).count();
        assert_eq!(asks, 1, "{name} is asked for once, through the gateway: {log:#?}");
    }
    good(&eddy.command(["gateway", "test", "pip"]).output().unwrap());
    disable(&eddy, "pip", &variables);
    assert!(!conf.exists());
}

/// The port at which a process is reached over UDP.
fn udp_port(id: u32) -> u16 {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{id}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{id}/net/udp")).unwrap();
    let row = table
        .lines()
        .skip(1)
        .find(|row| row.split_whitespace().nth(9).is_some_and(|inode| sockets.iter().any(|s| s == inode)));
    let local = row.unwrap().split_whitespace().nth(1).unwrap();
    u16::from_str_radix(local.rsplit(':').next().unwrap(), 16).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_gets_a_large_file_from_the_first_by_its_gateway() {
    const LENGTH: u64 = 24 << 20;
    let origin = HostileOrigin::start().await.unwrap();
    let version = Version::new(3, LENGTH);
    let whole = version.whole();
    origin.publish("/f.iso", Resource::new(version, Behaviour::default().with_header("Cache-Control: max-age=3600")));
    let common = "listen = \"127.0.0.1:0\"";
    let settings = |known: &str| {
        format!(
            "[group]\naudit = \"0.0001 %\"\n[cache]\nquota = \"2 GiB\"\nreserve = \"1 MiB\"\n[peers]\nmdns = false\n{common}\n{known}\n\
             [gateway]\n{common}\n{}",
            mount("/m", &origin.url(""), "")
        )
    };
    let first = Eddy::here().unwrap();
    let secret = first.found_group().unwrap();
    std::fs::write(first.home().join("eddy.toml"), settings("")).unwrap();
    let first = Gateway::restart(first).unwrap();
    assert!(first.get("/m/f.iso", &[]).await.unwrap().whole() == whole);
    let second = Eddy::here().unwrap();
    second.join_group(&secret).unwrap();
    let known = format!("known = [\"127.0.0.1:{}\"]", udp_port(first.daemon.id()));
    std::fs::write(second.home().join("eddy.toml"), settings(&known)).unwrap();
    let second = Gateway::restart(second).unwrap();
    second.eddy.wait_peers(1, PATIENCE).unwrap();
    assert!(second.get("/m/f.iso", &[]).await.unwrap().whole() == whole);
    // The policy of whom to believe has a part fetched a second time, from the origin, to catch who lies.
    let again = origin.counters().body_bytes() - LENGTH;
    assert!(again <= LENGTH / 10, "the second node asks the origin for no more than an audit: {again}");
    let totals = second.eddy.report().unwrap().totals;
    assert!(totals.received.peers >= LENGTH - LENGTH / 10, "{totals:?}");
}

#[test]
fn npm_packs_through_the_gateway() {
    if !is_wanted() || !is_here("npm") {
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let (folder, rc, cache) = (work.path(), work.path().join("npmrc"), work.path().join("cache"));
    std::fs::write(&rc, "fund=false\n").unwrap();
    let variables = [("npm_config_userconfig", rc.as_path()), ("npm_config_cache", cache.as_path())];
    let eddy = eddy("");
    enable(&eddy, &["npm"], &variables);
    let node = daemon(&eddy);
    run("npm", &["pack", "--silent", "lodash@4.17.21"], folder, &variables);
    assert!(
        files(folder).iter().any(|(path, bytes)| path.extension().is_some_and(|e| e == "tgz") && bytes.len() > 100_000)
    );
    drop(node);
    disable(&eddy, "npm", &variables);
    assert_eq!(std::fs::read_to_string(&rc).unwrap(), "fund=false\n");
}

#[test]
fn cargo_fetches_through_the_gateway() {
    if !is_wanted() || !is_here("cargo") {
        return;
    }
    let Some(index) = cargo_index() else {
        eprintln!("skipped: this machine's cargo has fetched from no sparse index yet");
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (folder, home) = (work.path().join("project"), work.path().join("home"));
    std::fs::create_dir_all(folder.join("src")).unwrap();
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    let manifest =
        "[package]\nname = \"x\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[dependencies]\nitoa = \"1\"\n[workspace]\n";
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let variables = [("CARGO_HOME", home.as_path())];
    let eddy = eddy("");
    enable(&eddy, &["cargo", "--origin", &index], &variables);
    let node = daemon(&eddy);
    run("cargo", &["fetch"], &folder, &variables);
    let crates = files(&home).into_iter().filter(|(path, _)| path.extension().is_some_and(|kind| kind == "crate"));
    assert_eq!(crates.count(), 1, "{}", node.log());
    drop(node);
    disable(&eddy, "cargo", &variables);
    assert!(!home.join("config.toml").exists());
}

/// The sparse index that this machine's cargo has used.
fn cargo_index() -> Option<String> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let names = std::fs::read_dir(home.join("registry/index"))
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with("index."))
        .find_map(|name| Some(format!("https://{}", name.rsplit_once('-')?.0)))
}

#[test]
fn tools_without_an_engine_here_are_led_through_the_gateway_and_every_file_comes_back() {
    let system = tempfile::tempdir().unwrap();
    let etc = system.path().join("etc");
    let repository = "[fedora]\nname=Fedora\nbaseurl=https://mirror.example/fedora/$releasever/\nenabled=1\n";
    for (path, text) in [
        ("docker/daemon.json", "{\n  \"log-driver\": \"local\"\n}\n"),
        ("yum.repos.d/fedora.repo", repository),
        ("yum.repos.d/other.repo", "[x]\nmetalink=https://mirror.example/m\n"),
        ("nix/nix.conf", "max-jobs = 2"),
        ("conda/.condarc", "channels:\n  - conda-forge\n"),
    ] {
        std::fs::create_dir_all(etc.join(path).parent().unwrap()).unwrap();
        std::fs::write(etc.join(path), text).unwrap();
    }
    let (before, folders_before) = (files(&etc), folders(&etc));
    let eddy = eddy("");
    let root = ["--root", system.path().to_str().unwrap()];
    for tool in ["docker", "containerd", "dnf", "nix", "conda", "huggingface"] {
        enable(&eddy, &[&[tool], root.as_slice()].concat(), &[]);
        let text: String =
            files(&etc).into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect::<Vec<_>>().join("");
        assert!(text.contains("http://127.0.0.1:"), "{tool}: {text}");
        let listed: serde_json::Value = eddy.ask(&["gateway", "ls"]).unwrap();
        let row = listed.as_array().unwrap().iter().find(|row| row["tool"] == tool).unwrap();
        assert!(row["enabled"] == true && !row["mounts"].as_array().unwrap().is_empty(), "{row}");
        disable(&eddy, tool, &[]);
        assert!(files(&etc) == before, "{tool}: every file is as it was");
        assert_eq!(folders(&etc), folders_before, "{tool}: no folder is left");
    }
    // All at once: their mounts stand side by side in one gateway.
    for tool in ["docker", "containerd", "dnf", "nix", "conda", "huggingface"] {
        enable(&eddy, &[&[tool], root.as_slice()].concat(), &[]);
    }
    let node = daemon(&eddy);
    assert!(node.log().contains("the gateway listens"), "{}", node.log());
    drop(node);
    for tool in ["huggingface", "conda", "docker", "nix", "containerd", "dnf"] {
        disable(&eddy, tool, &[]);
    }
    assert!(files(&etc) == before, "every file is as it was");
}
