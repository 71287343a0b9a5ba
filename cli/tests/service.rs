//! `eddy config`, `eddy service`, `eddy gateway` and a job in the background with the real binary and a real daemon, which talks to nobody
//! but the test.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long something may take that another process does: longer than the first pause of a job that nobody follows.
const PATIENCE: Duration = Duration::from_secs(180);

/// A home, and whatever daemon it has at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn eddy(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
        // A daemon holds on to what it is given: pipes would stay open.
        command.args(args).env_clear().env("EDDY_HOME", self.0.path()).env("HOME", self.0.path()).stdin(Stdio::null());
        command.output().unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.eddy(&[args, &["--json"]].concat()).stdout).unwrap()
    }

    /// What a command says, which must do what it was asked for.
    fn done(&self, args: &[&str]) -> String {
        let output = self.eddy(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command says that must refuse.
    fn refused(&self, args: &[&str]) -> String {
        let output = self.eddy(args);
        assert_ne!(output.status.code(), Some(0), "{args:?}");
        text(&output.stderr)
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.0.path().join("eddy.toml")).unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Only where the test failed before it stopped its daemon, which says itself which process it is.
        let pid = serde_json::from_slice::<Value>(&self.eddy(&["service", "status", "--json"]).stdout);
        let pid = pid.ok().and_then(|status| i32::try_from(status["pid"].as_i64()?).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn keys_are_shown_changed_and_put_back() {
    let home = Home::new();
    assert!(home.done(&["config", "check"]).contains("is not there: the defaults hold"));
    home.done(&[
        "config",
        "set",
        "cache.quota=50 GiB",
        "peers.mdns=false",
        "group.anchors=[]",
        "hooks.scan.command=[\"/bin/true\"]",
    ]);
    assert_eq!(
        home.file(),
        "[cache]\nquota = \"50 GiB\"\n\n[peers]\nmdns = false\n\n[group]\nanchors = []\n\n[hooks.scan]\ncommand = [\"/bin/true\"]\n"
    );
    let keys = home.json(&["config", "show"]);
    let of = |name: &str| keys.as_array().unwrap().iter().find(|key| key["key"] == name).unwrap().clone();
    assert_eq!(
        (of("cache.quota")["value"].as_str(), of("cache.quota")["default"].as_str()),
        (Some("50 GiB"), Some("20 %"))
    );
    assert_eq!(of("jobs.foreground")["set_by"], "default");
    assert_eq!(of("hooks.scan.command")["value"], "[\"/bin/true\"]");
    assert!(home.done(&["config", "show", "cache.quota"]).contains("Most that the cache may take"));
    home.done(&["config", "set", "cache.quota=default"]);
    assert!(!home.file().contains("quota"));
    assert!(home.done(&["config", "check"]).contains("in order, 3 keys set"));
}

#[test]
fn what_would_be_no_configuration_is_refused_and_the_file_stays() {
    let home = Home::new();
    home.done(&["config", "set", "cache.quota=1 GiB"]);
    for (change, said) in [
        ("cache.qouta=1 GiB", "did you mean cache.quota?"),
        ("cache.quota=much", "cache.quota"),
        ("peers.mdns=perhaps", "peers.mdns"),
        ("gateway.mount[].path=/x", "in the file itself"),
        ("quota", "is not KEY=VALUE"),
    ] {
        let message = home.refused(&["config", "set", change]);
        assert!(message.contains(said), "{change}: {message}");
        assert_eq!(home.file(), "[cache]\nquota = \"1 GiB\"\n", "{change}");
    }
    assert!(home.done(&["config", "set", "--dry-run", "cache.quota=2 GiB"]).contains("2 GiB"));
    let shown = home.json(&["config", "set", "--dry-run", "cache.quota=2 GiB"]);
    assert_eq!((&shown["written"], shown["text"].as_str().unwrap().contains("2 GiB")), (&Value::Bool(false), true));
    assert!(home.file().contains("1 GiB"));
    std::fs::write(home.0.path().join("eddy.toml"), "[cache]\nquota = 1\n").unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["service", "start"]] {
        let message = home.refused(command);
        assert!(message.contains("eddy.toml") && message.contains("line 2"), "{command:?}: {message}");
    }
}

#[test]
fn a_daemon_is_started_once_answers_and_is_gone_when_it_is_stopped() {
    let home = Home::new();
    home.done(&["config", "set", "peers.mdns=false", "peers.listen=127.0.0.1:0"]);
    assert!(home.refused(&["service", "status"]).contains("no node answers"));
    home.done(&["service", "start"]);
    let first = home.json(&["service", "status"]);
    assert_eq!((&first["running"], first["run_by"].as_str()), (&Value::Bool(true), Some("itself")));
    let again = home.eddy(&["service", "start"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stderr).contains("runs already"), "{}", text(&again.stderr));
    assert_eq!(home.json(&["service", "status"])["pid"], first["pid"]);
    home.done(&["service", "restart"]);
    let second = home.json(&["service", "status"]);
    assert_ne!(second["pid"], first["pid"]);
    home.done(&["service", "stop"]);
    // Nothing is left of it but what its first parent has to ask after, which is not eddy's doing.
    let left = std::fs::read_to_string(Path::new("/proc").join(second["pid"].to_string()).join("stat"));
    assert!(left.as_ref().map_or(true, |stat| stat.contains(") Z ")), "{left:?}");
    assert!(text(&home.eddy(&["service", "stop"]).stderr).contains("no daemon runs"));
}

/// Asks until it is so.
fn until<T>(mut ask: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(last) => assert!(Instant::now() < deadline, "{last}"),
        }
    }
}

/// Answers every request with five bytes, one connection at a time.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().map(Result::unwrap) {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
        let Some(first) = lines.next() else { continue };
        lines.for_each(drop);
        let body = if first.starts_with("HEAD") { "" } else { "hello" };
        let head = "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
        // Who asked may be gone.
        let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
    }
}

#[tokio::test]
async fn a_job_in_the_background_waits_for_an_origin_that_is_down() {
    // Bound and not listening: whoever connects is refused, and nobody else gets the port.
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = port.local_addr().unwrap();
    let home = Home::new();
    home.done(&["config", "set", "peers.mdns=false"]);
    home.done(&["service", "start"]);
    let out = home.0.path().join("out");
    // Of the foreground as well: nobody is there who would see its error.
    for (name, priority) in [("a", None), ("b", Some("--priority=foreground"))] {
        let (url, path) = (format!("http://{address}/{name}"), out.with_extension(name));
        let args = ["get", "--background", &url, "-o", path.to_str().unwrap()];
        home.done(&[&args[..], priority.as_slice()].concat());
    }
    let jobs = until(|| {
        let jobs = home.json(&["job", "ls"]);
        let states: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["state"].as_str().unwrap()).collect();
        assert!(!states.contains(&"error"), "{jobs}");
        if states == ["transient_error", "transient_error"] { Ok(jobs.clone()) } else { Err(jobs.to_string()) }
    });
    let mut priorities: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["priority"].as_str().unwrap()).collect();
    // They are listed in the order of their ids, which are drawn.
    priorities.sort_unstable();
    assert_eq!(priorities, ["foreground", "normal"]);
    let listener = port.listen(16).unwrap().into_std().unwrap();
    listener.set_nonblocking(false).unwrap();
    std::thread::spawn(move || serve(&listener));
    let ids: Vec<&str> = jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    // It would come to it by itself, a minute later.
    home.done(&[&["job", "resume"][..], ids.as_slice()].concat());
    for name in ["a", "b"] {
        let path = out.with_extension(name);
        until(|| match std::fs::read_to_string(&path) {
            Ok(text) if text == "hello" => Ok(()),
            other => Err(format!("{name}: {other:?}, {}", home.json(&["job", "ls"]))),
        });
    }
    home.done(&["service", "stop"]);
}

#[test]
fn a_gateway_that_cannot_listen_is_told_and_comes_as_soon_as_it_can() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let mount = "[[gateway.mount]]\npath = \"/x\"\norigin = \"http://127.0.0.1:9\"\n";
    let text = format!("[peers]\nmdns = false\n[gateway]\nlisten = \"{listen}\"\n{mount}");
    std::fs::write(home.0.path().join("eddy.toml"), text).unwrap();
    home.done(&["service", "start"]);
    let said = format!("the gateway cannot listen at {listen}: ");
    assert!(home.done(&["status"]).contains(&said), "{}", home.done(&["status"]));
    let doctor = home.eddy(&["doctor"]);
    assert!(text_of(&doctor).contains(&said), "{}", text_of(&doctor));
    assert_eq!(doctor.status.code(), Some(8));
    // Nor is a tool led to where nobody is, and told that this was done.
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", upstream.local_addr().unwrap());
    std::thread::spawn(move || serve(&upstream));
    let enable = ["gateway", "enable", "conda", "--origin", &origin];
    let refused = home.refused(&enable);
    assert!(refused.contains(&said) && !home.0.path().join(".condarc").exists(), "{refused}");
    drop(taken);
    until(|| {
        let gateway = home.json(&["report", "--by", "mount"]);
        if gateway["listens"].is_string() { Ok(()) } else { Err(gateway.to_string()) }
    });
    assert!(!home.done(&["status"]).contains("the gateway"), "{}", home.done(&["status"]));
    let enabled = home.json(&enable);
    assert_eq!((&enabled["written"], enabled["mounts"].as_array().unwrap().len()), (&Value::Bool(true), 1));
    assert!(home.0.path().join(".condarc").exists());
    assert_eq!(home.json(&["gateway", "test", "conda"])[0]["path"], "/conda");
    home.done(&["service", "stop"]);
}

#[test]
fn a_tool_is_not_led_to_a_daemon_that_reads_another_home() {
    let (service, user) = (Home::new(), Home::new());
    service.done(&["config", "set", "peers.mdns=false"]);
    service.done(&["service", "start"]);
    let socket = service.0.path().join("run/control.sock");
    let refused = user.refused(&["--socket", socket.to_str().unwrap(), "gateway", "enable", "conda"]);
    assert!(refused.contains("has its home in"), "{refused}");
    assert!(!user.0.path().join("gateway").exists() && !user.0.path().join(".condarc").exists());
    service.done(&["service", "stop"]);
}

#[test]
fn root_leaves_nothing_in_a_home_that_its_owner_could_not_read() {
    const OWNER: u32 = 61_001;
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root could");
        return;
    }
    let home = Home::new();
    chown(home.0.path(), Some(OWNER), Some(OWNER)).unwrap();
    home.done(&["config", "set", "cache.quota=1 GiB"]);
    // As the owner it goes below the folder of the test.
    std::fs::set_permissions(home.0.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    home.done(&["gateway", "enable", "conda"]);
    for name in ["eddy.toml", "gateway", "gateway/conda.toml", "gateway/conda.json"] {
        assert_eq!(std::fs::metadata(home.0.path().join(name)).unwrap().uid(), OWNER, "{name}");
    }
    let before = std::fs::read_dir(home.0.path()).unwrap().count();
    for args in [&["doctor", "--fix"][..], &["cache", "ls"], &["group", "init"], &["daemon"], &["service", "start"]] {
        let refused = home.refused(args);
        let again = format!("remedy: Give it as that user: sudo -u '#61001' eddy --home {} ", home.0.path().display());
        assert!(refused.contains("error[home-foreign]"), "{refused}");
        assert!(refused.contains(&again) && refused.contains(&args.join(" ")), "{refused}");
    }
    assert_eq!(std::fs::read_dir(home.0.path()).unwrap().count(), before);
    // What only looks, looks.
    for args in [&["doctor"][..], &["group", "show"]] {
        assert!(!text_of(&home.eddy(args)).contains("home-foreign"), "{args:?}");
    }
}

fn text_of(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn what_was_written_into_a_tools_file_since_stays_when_the_tool_is_disabled() {
    let (home, image) = (Home::new(), tempfile::tempdir().unwrap());
    let root = format!("--root={}", image.path().display());
    let docker = image.path().join("etc/docker/daemon.json");
    std::fs::create_dir_all(docker.parent().unwrap()).unwrap();
    std::fs::write(&docker, "{\"debug\": true}").unwrap();
    home.done(&["gateway", "enable", "docker", &root]);
    // Another program lays it out anew and adds a key.
    let mut said: Value = serde_json::from_str(&std::fs::read_to_string(&docker).unwrap()).unwrap();
    said["log-level"] = "warn".into();
    std::fs::write(&docker, serde_json::to_string_pretty(&said).unwrap()).unwrap();
    let talk = text(&home.eddy(&["gateway", "disable", "docker"]).stderr);
    assert!(talk.contains("what was written there since stays") && talk.contains("no longer"), "{talk}");
    let left: Value = serde_json::from_str(&std::fs::read_to_string(&docker).unwrap()).unwrap();
    assert_eq!(left, serde_json::json!({"debug": true, "log-level": "warn"}));

    let conda = image.path().join("etc/conda/.condarc");
    home.done(&["gateway", "enable", "conda", &root]);
    std::fs::write(&conda, "channels:\n  - c\nchannel_alias: https://mine\n").unwrap();
    let why = home.refused(&["gateway", "disable", "conda"]);
    assert!(why.contains(".condarc line 3") && why.contains("--force") && why.contains("https://mine"), "{why}");
    let talk = home.eddy(&["gateway", "disable", "conda", "--force"]);
    assert_eq!(talk.status.code(), Some(0));
    assert!(text(&talk.stderr).contains("- channel_alias: https://mine"), "{}", text(&talk.stderr));
    assert!(!conda.exists() && conda.with_file_name(".condarc.eddy-saved").exists());
    assert!(!home.done(&["gateway", "ls"]).contains("yes"));
    let why = home.refused(&["gateway", "test", "conda"]);
    assert!(why.contains("remedy: Let it do so: eddy gateway enable conda"), "{why}");
}
