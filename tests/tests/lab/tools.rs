//! Real package managers on two machines of a LAN: the second gets the large packages from the first, and no byte of them from the origin.
//!
//! The repository is served in the lab; the tools are led through each machine's own gateway by `eddy gateway enable`, and the machines find
//! each other by mDNS. The origin's own log says what it gave.

use eddy_tests::lab::{self, Host, Lab, LabSpec};
use eddy_tests::process::{Access, Eddy, MIB, Nginx, NginxSpec, Running, body_bytes, write_sample};
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a node may take to start, to find a peer, to make something durable.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the packages: so many that the engine fetches them, from peers where it can.
const LENGTH: u64 = 24 * MIB;

/// A machine, its node, and a folder for the tool.
struct Machine<'lab> {
    host: &'lab Host,
    node: Eddy<'lab>,
    work: tempfile::TempDir,
    /// Set for the tool and for whoever changes its configuration.
    variables: Vec<(&'static str, PathBuf)>,
}

impl<'lab> Machine<'lab> {
    /// The machines of a lab, in one group, with these lines in their settings.
    fn all(lab: &'lab Lab, settings: &str) -> Vec<Self> {
        let machine = |host: &'lab Host| {
            let node = Eddy::on(host).unwrap();
            std::fs::write(node.home().join("eddy.toml"), settings).unwrap();
            Self { host, node, work: tempfile::tempdir().unwrap(), variables: Vec::new() }
        };
        let machines: Vec<Self> = lab.hosts().iter().map(machine).collect();
        let secret = machines[0].node.found_group().unwrap();
        machines[1..].iter().for_each(|machine| machine.node.join_group(&secret).unwrap());
        machines
    }

    fn at(&self, path: &str) -> PathBuf {
        self.work.path().join(path)
    }

    /// Leads a tool through the node, and starts it.
    fn enable(&self, tool: &[&str]) -> Running {
        let mut command = self.node.command([&["gateway", "enable"], tool].concat());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        good(&mut command);
        self.node.daemon().unwrap()
    }

    /// Runs the tool in its folder, with nothing of the person's own configuration.
    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = self.host.command(program);
        command.env_clear();
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        good(command.args(arguments).current_dir(self.work.path()));
    }

    /// The bytes of what the tool has fetched.
    fn fetched(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.at(name)).unwrap()
    }

    /// Waits until the node can give all of what has this name.
    fn holds(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let cached = self.node.cached().unwrap();
            if cached.iter().any(|entity| entity.url.ends_with(name) && entity.held == entity.length) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is not held whole: {cached:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn good(command: &mut Command) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn is_here(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
    let is_here = found.is_ok_and(|status| status.success());
    if !is_here {
        assert!(std::env::var_os("CI").is_none(), "{program} must be there in CI");
        eprintln!("skipped: {program} is not here");
    }
    is_here
}

fn sha256(path: &Path) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(std::fs::read(path).unwrap()))
}

/// Requests for what has this name.
fn of(log: &[Access], name: &str) -> Vec<Access> {
    log.iter().filter(|access| access.uri.ends_with(name)).cloned().collect()
}

/// Two machines fetch the same package one after the other; what the second one's cost the origin.
fn one_after_the_other(
    machines: &[Machine<'_>],
    (origin, name): (&Nginx, &str),
    fetch: impl Fn(&Machine<'_>) -> Running,
) -> Vec<Access> {
    let first = fetch(&machines[0]);
    machines[0].holds(name);
    let log = origin.wait_access(PATIENCE, |log| body_bytes(&of(log, name)) >= LENGTH).unwrap();
    assert!(body_bytes(&of(&log, name)) < LENGTH + MIB, "the first machine fetched some of it twice: {log:#?}");
    let second = fetch(&machines[1]);
    let after = of(&origin.access().unwrap()[log.len()..], name);
    // The tool has each block when it is verified; the ledger has it when it is durable.
    machines[1].holds(name);
    drop((first, second));
    after
}

/// A repository of Debian with one large package in it.
fn debian_repository(at: &Path) -> &'static str {
    const NAME: &str = "eddy-sample_1.0_all.deb";
    let work = tempfile::tempdir().unwrap();
    let inside = work.path().join("usr/share/eddy-sample");
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir_all(work.path().join("DEBIAN")).unwrap();
    std::fs::create_dir_all(at.join("pool")).unwrap();
    write_sample(&inside.join("data.bin"), 7, LENGTH).unwrap();
    let about = "Package: eddy-sample\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: a sample\n";
    std::fs::write(work.path().join("DEBIAN/control"), about).unwrap();
    let package = at.join("pool").join(NAME);
    good(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(work.path()).arg(&package));
    let size = |path: &Path| std::fs::metadata(path).unwrap().len();
    let packages = at.join("Packages");
    let row = format!("{about}Filename: pool/{NAME}\nSize: {}\nSHA256: {}\n\n", size(&package), sha256(&package));
    std::fs::write(&packages, row).unwrap();
    let release = format!("Suite: sample\nSHA256:\n {} {} Packages\n", sha256(&packages), size(&packages));
    std::fs::write(at.join("Release"), release).unwrap();
    NAME
}

/// A configuration of apt's own for one machine, with one source.
fn apt(machine: &mut Machine<'_>, source: &str) {
    for folder in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(machine.at(folder)).unwrap();
    }
    std::fs::write(machine.at("status"), "").unwrap();
    std::fs::write(machine.at("etc/sources.list"), format!("deb [trusted=yes] {source} ./\n")).unwrap();
    let at = machine.work.path().display();
    let lines = format!(
        "Dir::Etc \"{at}/etc/\";\nDir::State \"{at}/state/\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}/cache/\";\n\
         APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n"
    );
    std::fs::write(machine.at("apt.conf"), lines).unwrap();
    machine.variables = vec![("APT_CONFIG", machine.at("apt.conf"))];
}

#[test]
fn apt_on_a_second_machine_gets_a_large_package_from_the_first() {
    if !lab::ready() || !Nginx::ready() || !is_here("apt-get") {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let origin = Nginx::on(lab.origin(), &NginxSpec::default()).unwrap();
    let name = debian_repository(&origin.files());
    // No index says to the gateway what is in a package, so a share would be fetched a second time to catch who lies.
    let mut machines = Machine::all(&lab, "[group]\naudit = \"off\"\n");
    machines.iter_mut().for_each(|machine| apt(machine, origin.url("").trim_end_matches('/')));
    let after = one_after_the_other(&machines, (&origin, name), |machine| {
        let daemon = machine.enable(&["apt"]);
        if !std::ptr::eq(machine, &machines[0]) {
            machine.node.wait_peers(1, PATIENCE).unwrap();
        }
        machine.run("apt-get", &["update"]);
        machine.run("apt-get", &["download", "eddy-sample"]);
        daemon
    });
    assert!(
        !after.is_empty() && body_bytes(&after) == 0,
        "the origin says which version there is, and no more: {after:#?}"
    );
    let package = std::fs::read(origin.files().join("pool").join(name)).unwrap();
    assert!(machines.iter().all(|machine| machine.fetched(name) == package), "the same bytes");
    let totals = machines[1].node.report().unwrap().totals;
    assert!(totals.received.peers >= LENGTH, "{totals:?}");
}

/// An index of Python's packages with one large wheel in it.
fn python_index(at: &Path) -> &'static str {
    const NAME: &str = "eddy_sample-1.0-py3-none-any.whl";
    const MAKE: &str = "import sys, zipfile
with zipfile.ZipFile(sys.argv[2], 'w') as wheel:
    wheel.write(sys.argv[1], 'eddy_sample/data.bin')
    folder = 'eddy_sample-1.0.dist-info/'
    wheel.writestr(folder + 'METADATA', 'Metadata-Version: 2.1\\nName: eddy-sample\\nVersion: 1.0\\n')
    wheel.writestr(folder + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: eddy\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(folder + 'RECORD', '')
";
    let work = tempfile::tempdir().unwrap();
    let data = work.path().join("data.bin");
    write_sample(&data, 8, LENGTH).unwrap();
    // `eddy gateway enable pip` looks at the page of a project that every index has.
    for project in ["eddy-sample", "pip"] {
        std::fs::create_dir_all(at.join("simple").join(project)).unwrap();
    }
    let page = at.join("simple/eddy-sample/index.html");
    let wheel = page.with_file_name(NAME);
    good(Command::new("python3").args(["-c", MAKE]).args([&data, &wheel]));
    let text =
        format!("<!DOCTYPE html><html><body><a href=\"{NAME}#sha256={}\">{NAME}</a></body></html>", sha256(&wheel));
    std::fs::write(&page, text).unwrap();
    std::fs::write(at.join("simple/pip/index.html"), "<!DOCTYPE html><html><body></body></html>").unwrap();
    NAME
}

#[test]
fn pip_on_a_second_machine_gets_a_wheel_from_the_first_and_nothing_of_it_is_looked_at_twice() {
    if !lab::ready() || !Nginx::ready() || !is_here("pip") {
        return;
    }
    let lab = Lab::new(LabSpec { hosts: 2, lan_rate: None, wan_rate: None }).unwrap();
    let spec = NginxSpec { directives: "types { text/html html; }".into(), ..NginxSpec::default() };
    let origin = Nginx::on(lab.origin(), &spec).unwrap();
    let name = python_index(&origin.files());
    // The index names the wheel's digest, which decides: no share of it is fetched a second time, though the policy asks for all of it.
    let mut machines = Machine::all(&lab, "[group]\naudit = \"100 %\"\n");
    for machine in &mut machines {
        machine.variables = vec![
            ("PIP_CONFIG_FILE", machine.at("pip.conf")),
            ("PIP_NO_CACHE_DIR", "1".into()),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1".into()),
            ("PIP_EXTRA_INDEX_URL", PathBuf::new()),
        ];
    }
    let after = one_after_the_other(&machines, (&origin, name), |machine| {
        let daemon = machine.enable(&["pip", "--origin", &origin.url("simple")]);
        if !std::ptr::eq(machine, &machines[0]) {
            machine.node.wait_peers(1, PATIENCE).unwrap();
        }
        machine.run("pip", &["download", "--no-deps", "eddy-sample"]);
        daemon
    });
    assert!(
        !after.is_empty() && body_bytes(&after) == 0,
        "the origin says which version there is, and no more: {after:#?}"
    );
    let wheel = std::fs::read(origin.files().join("simple/eddy-sample").join(name)).unwrap();
    assert!(machines.iter().all(|machine| machine.fetched(name) == wheel), "the same bytes");
}
