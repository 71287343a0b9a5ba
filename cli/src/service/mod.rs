//! `eddy service`: the daemon as something that is started and stopped, by the machine's service manager where it has it.

mod manager;

pub(crate) use manager::Manager;

use crate::failure::Failure;
use crate::setting::Setting;
use crate::text::{table, units};
use clap::{Args, Subcommand};
use eddy_node::config;
use eddy_node::control::Client;
use eddy_wire::api::{Mode, StatusView};
use eddy_wire::catalogue::ErrorCode;
use serde::Serialize;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a daemon may take to answer, or to end: the first includes the check of a store after a power cut.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The unit of the machine's service.
const UNIT: &str = "eddy.service";
/// What would start it again with the next call.
const SOCKET_UNIT: &str = "eddy.socket";

/// `eddy service`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// The verbs of `eddy service`.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ServiceCommand {
    /// Say whether the daemon runs, who runs it and where it listens; ends with 0 only if it runs
    Status,
    /// Start the daemon in the background, and wait until it answers
    Start,
    /// Stop the daemon; what runs is made durable first, and goes on with the next start
    Stop,
    /// Stop the daemon if it runs, and start it
    Restart,
}

/// Whether the daemon runs, as programs get it.
#[derive(Debug, Serialize)]
struct ServiceView {
    running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
    run_by: String,
    socket: String,
    home: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
}

pub(crate) async fn run(command: ServiceCommand, setting: &Setting) -> Result<(), Failure> {
    match command {
        ServiceCommand::Status => status(setting).await,
        ServiceCommand::Start => start(setting).await,
        ServiceCommand::Stop => stop(setting).await,
        ServiceCommand::Restart => {
            stop(setting).await?;
            start(setting).await
        }
    }
}

async fn status(setting: &Setting) -> Result<(), Failure> {
    let unit = setting.is_service().then(state_of_unit).flatten();
    let running = running(setting).await?;
    let run_by = match &running {
        Some(status) if status.mode == Mode::Inside => "a command (eddy get), for as long as that lasts",
        Some(status) if unit.as_ref().is_some_and(|unit| unit.pid == Some(status.pid)) => "systemd",
        Some(_) => "itself",
        None => "nobody",
    };
    let view = ServiceView {
        running: running.is_some(),
        pid: running.as_ref().map(|status| status.pid),
        uptime_seconds: running.as_ref().map(|status| status.uptime_seconds),
        run_by: run_by.to_owned(),
        socket: socket(setting).display().to_string(),
        home: running.as_ref().map_or_else(|| setting.home.display().to_string(), |status| status.home.clone()),
        unit: unit.map(|unit| format!("{UNIT}, {}", unit.states)),
    };
    setting.answer(&view, || people(&view))?;
    if view.running { Ok(()) } else { Err(ErrorCode::DaemonUnreachable.into()) }
}

fn people(view: &ServiceView) -> String {
    let runs = match (view.pid, view.uptime_seconds) {
        (Some(pid), Some(seconds)) => {
            format!("runs, process {pid}, for {}", units::duration(Duration::from_secs(seconds)))
        }
        _ => "does not run".to_owned(),
    };
    table::facts(&[
        ("daemon", runs),
        ("run by", view.run_by.clone()),
        ("unit", view.unit.clone().unwrap_or_default()),
        ("socket", view.socket.clone()),
        ("home", view.home.clone()),
    ])
}

async fn start(setting: &Setting) -> Result<(), Failure> {
    match running(setting).await? {
        Some(status) if status.mode == Mode::Daemon => {
            setting.note(&format!("the daemon runs already, as process {}", status.pid));
            return Ok(());
        }
        Some(status) => return Err(inside(&status)),
        None => {}
    }
    if setting.is_service() {
        systemctl(&["start", UNIT])?;
        let status = answered(setting, None).await?;
        setting.note(&format!("the daemon runs, as process {}; started by systemd", status.pid));
        return Ok(());
    }
    // What a daemon would end of at once is told here.
    crate::config::whole(setting)?;
    let log = setting.home.join("daemon.log");
    let child = detached(setting, &log)?;
    let status = answered(setting, Some((child, &log))).await?;
    setting.note(&format!("the daemon runs, as process {}; what it says is in {}", status.pid, log.display()));
    Ok(())
}

/// A daemon of its own process group, so that Ctrl-C here does not end it. Its log begins anew with each start.
fn detached(setting: &Setting, log: &Path) -> Result<Child, Failure> {
    let failed = |what: &Path, error: std::io::Error| {
        Failure::new(ErrorCode::DestinationNotWritable, format!("{}: {error}", what.display()))
    };
    setting.own_home()?;
    setting.make_home().map_err(|error| failed(&setting.home, error))?;
    let out = File::create(log).map_err(|error| failed(log, error))?;
    let errors = out.try_clone().map_err(|error| failed(log, error))?;
    let program = std::env::current_exe().map_err(Failure::internal)?;
    let mut command = Command::new(&program);
    command.arg("--home").arg(&setting.home);
    if let Some(config) = &setting.config {
        command.arg("--config").arg(config);
    }
    if setting.is_socket_named {
        command.arg("--socket").arg(&setting.socket);
    }
    command.arg("daemon").stdin(Stdio::null()).stdout(out).stderr(errors).process_group(0).current_dir("/");
    command.spawn().map_err(|error| Failure::internal(format!("{}: {error}", program.display())))
}

/// Waits until it answers; says what it said last when it ends instead.
async fn answered(setting: &Setting, mut child: Option<(Child, &Path)>) -> Result<StatusView, Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = running(setting).await? {
            return Ok(status);
        }
        if let Some((child, log)) = &mut child
            && let Ok(Some(_)) = child.try_wait()
        {
            let said = std::fs::read_to_string(*log).unwrap_or_default();
            let last = said.lines().rfind(|line| line.starts_with("error")).unwrap_or("it did not say why");
            let detail = format!("the daemon ended at once: {last} ({})", log.display());
            return Err(Failure::new(ErrorCode::DaemonUnreachable, detail));
        }
        sleep(LOOK).await;
    }
    let detail = format!("it has not answered within {} s; it may still come", PATIENCE.as_secs());
    Err(Failure::new(ErrorCode::DaemonUnreachable, detail))
}

async fn stop(setting: &Setting) -> Result<(), Failure> {
    let Some(status) = running(setting).await? else {
        setting.note("no daemon runs");
        return Ok(());
    };
    if status.mode == Mode::Inside {
        return Err(inside(&status));
    }
    let unit = setting.is_service().then(state_of_unit).flatten();
    match unit.is_some_and(|unit| unit.pid == Some(status.pid)) {
        true => {
            systemctl(&["stop", UNIT])?;
            if is_active(SOCKET_UNIT) {
                setting.note(&format!("the next call starts it again; to prevent that: systemctl stop {SOCKET_UNIT}"));
            }
        }
        false => {
            Client::new(&socket(setting))?.shutdown().await?;
            gone(status.pid).await?;
        }
    }
    setting.note("the daemon has stopped");
    Ok(())
}

/// Waits until the process has ended: only then is everything durable and the store free.
async fn gone(pid: u32) -> Result<(), Failure> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if has_ended(pid) {
            return Ok(());
        }
        sleep(LOOK).await;
    }
    let detail = format!("process {pid} has not ended within {} s", PATIENCE.as_secs());
    Err(Failure::new(ErrorCode::StoreInUse, detail))
}

/// Whether a process has ended. A zombie has: it holds nothing any more, and who started it has not asked after it yet, which may never
/// happen, as in a container whose first process asks after nobody.
fn has_ended(pid: u32) -> bool {
    let there: PathBuf = ["/proc", &pid.to_string()].iter().collect();
    // Where there is no such file, nothing is known but that it is there.
    !there.exists() || std::fs::read_to_string(there.join("stat")).is_ok_and(|stat| is_zombie(&stat))
}

/// Whether a line of `/proc/PID/stat` is that of a zombie (proc_pid_stat(5)): the state stands behind the name, in which anything may stand, and
/// the number of threads is the eighteenth from there. A first thread may be one while others still hold files.
fn is_zombie(stat: &str) -> bool {
    let Some((_, fields)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let is_alone = fields.get(17).is_none_or(|threads| matches!(*threads, "0" | "1"));
    matches!(fields.first(), Some(&"Z" | &"X")) && is_alone
}

fn inside(status: &StatusView) -> Failure {
    let detail = format!("process {} is a command that is a node itself; Ctrl-C there ends it", status.pid);
    Failure::new(ErrorCode::StoreInUse, detail)
}

/// The node that answers, if one does.
async fn running(setting: &Setting) -> Result<Option<StatusView>, Failure> {
    match Client::new(&socket(setting))?.status().await {
        Ok(status) => Ok(Some(status)),
        Err(problem) if problem.error_code() == Some(ErrorCode::DaemonUnreachable) => Ok(None),
        Err(problem) => Err(problem.into()),
    }
}

/// Where a daemon of this home listens: not in the home when its configuration says so.
fn socket(setting: &Setting) -> PathBuf {
    let settings = config::load(&setting.home, setting.config.as_deref()).ok().filter(|_| !setting.is_socket_named);
    let named = settings.and_then(|settings| settings.service.socket().map(Path::to_path_buf));
    named.unwrap_or_else(|| setting.socket.clone())
}

/// What systemd says of the unit.
struct UnitState {
    pid: Option<u32>,
    states: String,
}

/// Asks systemd; nothing where it does not answer.
fn state_of_unit() -> Option<UnitState> {
    let asked = ["show", UNIT, "--property=MainPID,ActiveState,SubState,UnitFileState"];
    let output = Command::new("systemctl").args(asked).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let of = |key: &str| said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap_or_default();
    let states = format!("{} ({}), {}", of("ActiveState"), of("SubState"), of("UnitFileState"));
    Some(UnitState { pid: of("MainPID").parse().ok().filter(|pid| *pid != 0), states })
}

fn is_active(unit: &str) -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", unit]).status();
    asked.is_ok_and(|status| status.success())
}

/// Has systemd do it; it says itself what stands in the way.
fn systemctl(words: &[&str]) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(ErrorCode::DaemonUnreachable, what);
    let status = Command::new("systemctl").args(words).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("`systemctl {}` ended with {status}", words.join(" ")))),
        Err(error) => Err(failed(format!("systemctl: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_process_stands_behind_its_name_whatever_that_is() {
        assert!(is_zombie("7 (eddy) Z 1 7 7 0"));
        assert!(is_zombie("7 (a) S (b) Z 1 7"));
        assert!(is_zombie("7 (eddy) X 1 7 7 0"));
        let with_threads = |threads: u32| format!("7 (eddy) Z 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 9");
        assert!(is_zombie(&with_threads(1)) && !is_zombie(&with_threads(2)), "others hold its files still");
        for alive in ["7 (eddy) S 1 7 7 0", "7 (eddy Z) R 1", "7 (a) Z 1) S 1", "", "7 (eddy)"] {
            assert!(!is_zombie(alive), "{alive}");
        }
    }

    #[tokio::test]
    async fn a_process_that_nobody_asks_after_has_ended() {
        let mut child = Command::new("true").spawn().unwrap();
        // Nobody waits for it, so it stays where processes are listed.
        tokio::time::timeout(Duration::from_secs(20), gone(child.id())).await.expect("a zombie has ended").unwrap();
        assert!(Path::new("/proc").join(child.id().to_string()).exists());
        child.wait().unwrap();
        assert!(has_ended(child.id()) && !has_ended(std::process::id()));
    }
}
