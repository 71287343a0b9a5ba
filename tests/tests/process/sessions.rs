//! `--while-logged-on` against a logind: a mock of its interface (`tests/logind`) on a D-Bus of the test's own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use eddy_tests::process::{Eddy, MIB, Nginx, NginxSpec, Running, hash_of, write_sample};
use eddy_wire::api::{JobState, JobView};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);
/// Who runs the node where root runs the test: `nobody`, as a bus lets in only users that have a name, and accounts of the system count as
/// always logged on.
const NOBODY: u32 = 65_534;

/// A bus like the system's.
struct Bus {
    address: String,
    _folder: TempDir,
    _daemon: Running,
}

impl Bus {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("eddy-bus-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let socket = folder.path().join("bus");
        let config = folder.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>system</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
             <allow send_type=\"signal\"/></policy></busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--print-address=1"]).arg(format!("--config-file={}", config.display()));
        let daemon = Running::start(command).unwrap();
        let address = daemon.wait_line("unix:path=", PATIENCE).unwrap();
        Self { address, _folder: folder, _daemon: daemon }
    }

    fn logind(&self, words: &[&str]) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("logind");
        let mut command = Command::new(PYTHON);
        command.arg(script).args(words).env("DBUS_SYSTEM_BUS_ADDRESS", &self.address).stdin(Stdio::null());
        command
    }

    fn tell(&self, words: &[&str]) {
        let output = self.logind(words).output().unwrap();
        assert!(output.status.success(), "logind {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The python of the system, for which distributions package dbusmock.
const PYTHON: &str = "/usr/bin/python3";

/// Whether this machine can play logind. Prints when it cannot; in CI nothing is skipped.
fn can_mock() -> bool {
    let runs = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let is_there = runs(Command::new("dbus-daemon").arg("--version"))
        && runs(Command::new(PYTHON).args(["-c", "import dbusmock"]));
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "in CI nothing may be skipped: dbus-daemon and python3-dbusmock");
        println!("skipped: logind is played by dbus-daemon and python3-dbusmock");
    }
    is_there
}

fn waits_for(reason: &str) -> impl Fn(&JobView) -> bool {
    move |job| job.state == JobState::Queued && job.waiting.as_ref().is_some_and(|waiting| waiting.reason == reason)
}

#[test]
fn a_job_runs_only_while_its_owner_has_a_session_and_says_what_it_waits_for() {
    if !can_mock() || !Nginx::ready() {
        return;
    }
    let bus = Bus::start();
    // The long one takes longer than the test at this rate.
    let nginx = Nginx::here(&NginxSpec { directives: "limit_rate 256k;".to_owned(), ..NginxSpec::default() }).unwrap();
    write_sample(&nginx.files().join("long"), 1, 64 * MIB).unwrap();
    write_sample(&nginx.files().join("short"), 2, MIB / 4).unwrap();
    let mut eddy = Eddy::here().unwrap();
    let user = rustix::process::geteuid().as_raw();
    let user = if user == 0 { NOBODY } else { user };
    if rustix::process::geteuid().is_root() {
        eddy = eddy.run_by(user).unwrap();
    }
    let user = user.to_string();
    std::fs::write(eddy.home().join("eddy.toml"), "[peers]\nmdns = false\n").unwrap();
    let mut command = eddy.command(["daemon"]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", &bus.address);
    let daemon = Running::start(command).unwrap();
    daemon.wait_line("the node runs; it listens", PATIENCE).unwrap();

    let get = |name: &str| {
        let (url, path) = (nginx.url(name), eddy.home().join(name));
        let words = ["get", &url, "-o", path.to_str().unwrap(), "--background", "--while-logged-on"];
        let job: JobView = eddy.ask(&words).unwrap();
        assert!(job.terms.while_logged_on);
        (job.id, path)
    };
    let (long, _) = get("long");
    let job = eddy.wait_job(&long, PATIENCE, waits_for("sessions-unknown")).unwrap();
    assert!(job.waiting.unwrap().remedy.contains("while-logged-on=no"));
    daemon.wait_line("nobody says who is logged on", PATIENCE).unwrap();

    let _logind = Running::start(bus.logind(&["serve"])).unwrap();
    // A cron job of the user is not the user, and another user is another one.
    bus.tell(&["on", "c1", &user, "background"]);
    bus.tell(&["on", "c2", "61009", "user"]);
    eddy.wait_job(&long, PATIENCE, waits_for("owner-away")).unwrap();
    let is_moving = |job: &JobView| job.state == JobState::Transferring;
    bus.tell(&["on", "c3", &user, "user"]);
    eddy.wait_job(&long, PATIENCE, is_moving).unwrap();
    // On the way out; what the user left running keeps the session from ending.
    bus.tell(&["state", "c3", "closing"]);
    eddy.wait_job(&long, PATIENCE, waits_for("owner-away")).unwrap();
    bus.tell(&["off", "c3"]);
    bus.tell(&["on", "c4", &user, "user"]);
    eddy.wait_job(&long, PATIENCE, is_moving).unwrap();
    bus.tell(&["off", "c4"]);
    eddy.wait_job(&long, PATIENCE, waits_for("owner-away")).unwrap();

    // The rule can be taken away, and one that ends while its owner is there is delivered.
    let set: JobView = eddy.ask(&["job", "set", &long, "while-logged-on=no"]).unwrap();
    assert!(!set.terms.while_logged_on);
    eddy.wait_job(&long, PATIENCE, is_moving).unwrap();
    let (_, path) = get("short");
    bus.tell(&["on", "c5", &user, "user"]);
    eddy.wait_delivered(&path, PATIENCE).unwrap();
    assert_eq!(hash_of(&path).unwrap(), hash_of(&nginx.files().join("short")).unwrap());
}
