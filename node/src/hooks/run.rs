//! One run of a hook: as the owner of the job, with nothing of the service's (T-42).
//!
//! The program stands where only root or the service's user could have put it. It starts in `/` with an empty environment but for
//! `EDDY_*` and `PATH`, reads the event as one line of JSON, holds no descriptor and no capability of the service, can gain no
//! privilege, and is ended with its children when its time is over.

use crate::config::hooks::HookSettings;
use crate::owner::Account;
use eddy_wire::api::EventView;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use rustix::thread::{Gid, clear_ambient_capability_set, set_no_new_privs, set_thread_groups};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The program ended.
    Ended(ExitStatus),
    /// It ran for too long.
    TimedOut,
    /// It was not started, because others could have put something in its place.
    Unsafe,
    /// It could not be started.
    NotStarted,
}

impl Outcome {
    /// As an exit status; what never ended by itself has those that shells use.
    pub(super) fn status(&self) -> i32 {
        match self {
            Self::Ended(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            Self::TimedOut => 124,
            Self::Unsafe => 126,
            Self::NotStarted => 127,
        }
    }
}

/// Runs a hook to its end. Blocks.
pub(super) fn run(hook: &HookSettings, event: &EventView) -> Outcome {
    let Some((program, arguments)) = hook.command.split_first() else { return Outcome::Unsafe };
    if !is_kept(Path::new(program)) {
        return Outcome::Unsafe;
    }
    let account = Account::of(event.owner);
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/").process_group(0);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let kind = event.kind.word();
    let facts = [("ID", &event.id), ("JOB", &event.job), ("NAME", &event.name)];
    for (name, value) in facts {
        command.env(format!("EDDY_{name}"), value.replace('\0', ""));
    }
    command.env("EDDY_EVENT", kind).env("EDDY_OWNER", event.owner.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = match start(command, &account) {
        Ok(child) => child,
        Err(error) => {
            tracing::warn!(%error, program, "a hook cannot be started");
            return Outcome::NotStarted;
        }
    };
    if let Some(mut input) = child.stdin.take() {
        // Plain data with string keys; JSON takes all of it. It fits into a pipe, so nothing waits for a reader.
        let _ = input.write_all((serde_json::to_string(event).unwrap_or_default() + "\n").as_bytes());
    }
    wait(child, hook.timeout().unwrap_or_default())
}

/// Starts it on a thread that gives up what a program would inherit.
fn start(mut command: Command, account: &Account) -> io::Result<Child> {
    let is_other = account.uid != rustix::process::geteuid().as_raw();
    let started = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("hook".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            if is_other {
                set_thread_groups(&[Gid::from_raw(account.gid)])?;
                clear_ambient_capability_set()?;
                command.uid(account.uid).gid(account.gid);
            }
            set_no_new_privs(true)?;
            command.spawn()
        });
        thread.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    started?
}

/// Waits for its end, and brings it about when its time is over.
fn wait(mut child: Child, timeout: Duration) -> Outcome {
    let pid = Pid::from_child(&child);
    let is_over = pidfd_open(pid, PidfdFlags::empty()).and_then(|fd| {
        let limit = Timespec { tv_sec: timeout.as_secs().cast_signed(), tv_nsec: i64::from(timeout.subsec_nanos()) };
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit))
    });
    let timed_out = matches!(is_over, Ok(0));
    // What it has left behind ends with it, too.
    let _ = kill_process_group(pid, Signal::KILL);
    match child.wait() {
        _ if timed_out => Outcome::TimedOut,
        Ok(status) => Outcome::Ended(status),
        Err(_) => Outcome::NotStarted,
    }
}

/// Whether nobody but root and this process's user could have put something else in the program's place.
fn is_kept(program: &Path) -> bool {
    let Ok(real) = program.canonicalize() else { return false };
    let own = rustix::process::geteuid().as_raw();
    real.ancestors().all(|step| {
        let found = std::fs::metadata(step);
        found.is_ok_and(|found| (found.uid() == 0 || found.uid() == own) && found.mode() & 0o022 == 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_wire::api::{EventKind, JobState};
    use std::os::unix::fs::PermissionsExt;

    fn event(owner: u32) -> EventView {
        EventView {
            id: "7".into(),
            at_unix_ms: 1,
            kind: EventKind::Finished,
            job: "j".into(),
            name: "$(touch no)".into(),
            owner,
            state: JobState::Acknowledged,
            hook: Some("h".into()),
            code: None,
            detail: None,
        }
    }

    fn shell(script: &str, timeout: &str) -> HookSettings {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        HookSettings { command, on: vec![EventKind::Finished], timeout: Some(timeout.to_owned()) }
    }

    fn me() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[test]
    fn a_hook_reads_the_event_and_has_nothing_of_the_service() {
        let folder = tempfile::tempdir().expect("a directory");
        let out = folder.path().join("out");
        let script = format!("cat > {0}; env | sort >> {0}; grep NoNewPrivs /proc/self/status >> {0}", out.display());
        assert_eq!(run(&shell(&script, "60 s"), &event(me())).status(), 0);
        let text = std::fs::read_to_string(out).expect("written");
        assert!(text.starts_with("{\"id\":\"7\"") && text.contains("EDDY_NAME=$(touch no)\n"), "{text}");
        assert!(!text.contains("HOME=") && !text.contains("CARGO"), "{text}");
        assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    }

    #[test]
    fn a_hook_of_another_user_is_that_user_and_nothing_more() {
        if me() != 0 {
            println!("skipped: only root is another user");
            return;
        }
        let check = "[ \"$(id -u) $(id -g) $(id -G)\" = '61001 65534 65534' ] && \
            ! grep -qE '^Cap(Eff|Prm|Amb):.*[1-9a-f]' /proc/self/status";
        assert_eq!(run(&shell(check, "60 s"), &event(61_001)).status(), 0);
    }

    #[test]
    fn a_hook_that_does_not_end_is_ended_with_its_children() {
        let outcome = run(&shell("sleep 1000 & sleep 1000", "1 s"), &event(me()));
        assert!(matches!(outcome, Outcome::TimedOut), "{outcome:?}");
        assert_eq!(run(&shell("exit 3", "60 s"), &event(me())).status(), 3);
    }

    #[test]
    fn a_program_that_others_could_have_replaced_is_not_started() {
        let folder = tempfile::tempdir().expect("a directory");
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), everybody).expect("a mode");
        let program = folder.path().join("program");
        std::fs::copy("/bin/true", &program).expect("copied");
        let hook = HookSettings { command: vec![program.display().to_string()], ..shell("", "1 s") };
        assert!(matches!(run(&hook, &event(me())), Outcome::Unsafe), "everybody may write to its folder");
    }
}
