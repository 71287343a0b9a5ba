//! `eddy config` and `eddy service` with the real binary and a real daemon, which talks to nobody.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A home, and whatever daemon it has at the end.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn eddy(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
        // A daemon holds on to what it is given: pipes would stay open.
        command.args(args).env_clear().env("EDDY_HOME", self.0.path()).stdin(Stdio::null());
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
    assert!(!Path::new("/proc").join(second["pid"].to_string()).exists());
    assert!(text(&home.eddy(&["service", "stop"]).stderr).contains("no daemon runs"));
}
