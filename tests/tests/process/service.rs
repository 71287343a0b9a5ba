//! The daemon under a service manager: it takes the socket that was made for it, says when it is ready, that it lives and when it stops,
//! and ends by itself when nobody wants it.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use eddy_tests::process::{Eddy, Running};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a program as a service manager does, with a socket that listens already as its descriptor 3.
const ACTIVATE: &str = "import os, socket, sys\n\
    made = socket.socket(socket.AF_UNIX); made.bind(sys.argv[1]); made.listen(); made.set_inheritable(True)\n\
    os.dup2(made.fileno(), 3, inheritable=True)\n\
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n\
    os.execv(sys.argv[2], sys.argv[2:])\n";

/// A daemon, and the datagrams that its manager gets.
struct Managed {
    daemon: Running,
    notices: UnixDatagram,
}

impl Managed {
    fn start(eddy: &Eddy<'_>, change: impl FnOnce(&mut Command)) -> Self {
        let path = eddy.home().join("notify.sock");
        let notices = UnixDatagram::bind(&path).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = eddy.command(["daemon"]);
        command.env("NOTIFY_SOCKET", &path);
        change(&mut command);
        Self { daemon: Running::start(command).unwrap(), notices }
    }

    fn next(&self) -> String {
        let mut text = [0; 256];
        let length = self.notices.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

fn settings(eddy: &Eddy<'_>, service: &str) {
    std::fs::write(eddy.home().join("eddy.toml"), format!("[peers]\nmdns = false\n[service]\n{service}\n")).unwrap();
}

#[test]
fn a_service_manager_hears_when_it_is_ready_that_it_lives_and_when_it_stops() {
    let eddy = Eddy::here().unwrap();
    settings(&eddy, "");
    let mut managed = Managed::start(&eddy, |command| {
        command.env("WATCHDOG_USEC", "100000").env_remove("WATCHDOG_PID");
    });
    assert_eq!(managed.next(), "READY=1");
    assert!(eddy.status().is_ok(), "it answers when it says so");
    assert_eq!((managed.next(), managed.next()), ("WATCHDOG=1".to_owned(), "WATCHDOG=1".to_owned()));
    managed.daemon.signal(Signal::TERM).unwrap();
    let last = std::iter::repeat_with(|| managed.next()).find(|notice| notice != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn it_serves_the_socket_that_was_made_for_it_and_ends_when_nobody_wants_it() {
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: a socket is handed over by python3");
        return;
    }
    let eddy = Eddy::here().unwrap();
    settings(&eddy, "idle-exit = \"15 s\"");
    let socket = eddy.home().join("made.sock");
    let mut managed = activated(&eddy, &socket);
    assert_eq!(managed.next(), "READY=1");
    let named = socket.to_str().unwrap();
    let status = eddy.ended(&["--socket", named, "status"]).unwrap();
    assert_eq!(status.status, Some(0), "{status:?}");
    assert!(!eddy.home().join("run/control.sock").exists(), "it makes no other");
    // A job that waits for its owner is no reason to stay, and is there again when somebody calls.
    let made = eddy.ended(&["--socket", named, "job", "create", "a", "--file", "http://127.0.0.1:9/a", "a"]).unwrap();
    assert_eq!(made.status, Some(0), "{made:?}");
    assert_eq!(managed.next(), "STOPPING=1");
    assert!(managed.daemon.wait(PATIENCE).unwrap().success(), "{}", managed.daemon.log());
    assert!(socket.exists(), "the socket is its maker's");
    std::fs::remove_file(&socket).unwrap();
    std::fs::remove_file(eddy.home().join("notify.sock")).unwrap();
    let managed = activated(&eddy, &socket);
    assert_eq!(managed.next(), "READY=1");
    let jobs = eddy.ended(&["--socket", named, "job", "ls"]).unwrap();
    assert!(jobs.out.contains("suspended") || jobs.out.contains("paused"), "{jobs:?}");
}

fn activated(eddy: &Eddy<'_>, socket: &Path) -> Managed {
    Managed::start(eddy, |command| {
        let (program, environment) = (PathBuf::from(command.get_program()), command.get_envs());
        let mut python = Command::new("python3");
        for (name, value) in environment {
            match value {
                Some(value) => python.env(name, value),
                None => python.env_remove(name),
            };
        }
        python.args(["-c", ACTIVATE]).arg(socket).arg(&program).arg("daemon");
        *command = python;
    })
}
