//! The real binary in front of a scripted node, over the real socket.

#[path = "../../../node/tests/scripted/mod.rs"]
pub(crate) mod scripted;

use eddy_node::control::{Asker, ControlListener, Guard, Reach, serve, socket_of};
use eddy_wire::api::{JobState, JobView, Problem};
use eddy_wire::catalogue::ErrorCode;
use rustix::process::{Pid, Signal};
use scripted::{Scripted, Step};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A served node in a home of its own, and what it remembers.
pub(crate) struct Stage {
    pub(crate) home: tempfile::TempDir,
    pub(crate) node: Arc<Scripted>,
    pub(crate) stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    pub(crate) fn new(begin: Step) -> Self {
        let home = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let node = Arc::new(Scripted::new(begin, stop.clone()));
        let listener = ControlListener::bind(&socket_of(home.path())).unwrap();
        tokio::spawn(serve(listener, Arc::clone(&node), Guard::default(), stop.clone()));
        Self { home, node, stop }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
        command.args(args).env_clear().env("EDDY_HOME", self.home.path()).current_dir(self.home.path());
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, errors }
    }

    pub(crate) fn change(&self, step: Step) {
        self.node.with_job("job0", |job| job.send_modify(step)).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.home.path()).canonicalize().unwrap().join(name)
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.node.asked.lock().unwrap().clone()
    }
}

/// A command on its way, whose standard error is read line by line: so a test knows what it has seen.
pub(crate) struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Running {
    /// Waits for the line that begins so.
    pub(crate) fn expect(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        assert!(line.starts_with(beginning), "expected `{beginning}...`, heard `{line}`");
        line
    }

    pub(crate) fn interrupt(&self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end: exit status, standard output and the rest of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stdout), rest)
    }
}

/// A user in their own node.
pub(crate) fn own() -> Asker {
    Asker { uid: 0, reach: Reach::All }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn queued(_job: &mut JobView) {}

pub(crate) fn half(job: &mut JobView) {
    job.state = JobState::Transferring;
    job.rate = 1 << 20;
    job.eta_seconds = Some(1);
    job.files[0].length = Some(2 << 20);
    job.files[0].done = 1 << 20;
    job.files[0].sources.origin = 1 << 20;
}

pub(crate) fn whole(job: &mut JobView) {
    elsewhere(job);
    // Where the command that asked for it sees it.
    std::fs::File::create(&job.files[0].destination).unwrap().set_len(2 << 20).unwrap();
}

/// Delivered, as the node says; not where the command sees it.
pub(crate) fn elsewhere(job: &mut JobView) {
    job.state = JobState::Acknowledged;
    job.files[0].length = Some(2 << 20);
    job.files[0].done = 2 << 20;
    job.files[0].sources.peers = 1 << 20;
    job.files[0].blake3 = Some("ab".repeat(32));
}

pub(crate) fn unresolved(job: &mut JobView) {
    job.state = JobState::TransientError;
    job.error = Some(Problem::new(ErrorCode::NameNotResolved, "no-such-host"));
}

pub(crate) fn missing(job: &mut JobView) {
    job.state = JobState::Error;
    job.error = Some(Problem::new(ErrorCode::HttpNotFound, "404"));
}
