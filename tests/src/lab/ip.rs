//! Running `ip` and `tc`, and the names of namespaces.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

/// What every namespace of every lab begins with.
const PREFIX: &str = "eddy-lab-";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace that is removed on drop, with the processes in it.
#[derive(Debug)]
pub(super) struct Namespace {
    pub(super) name: String,
}

impl Namespace {
    /// Makes a namespace with its loopback up; `role` is for people.
    pub(super) fn new(role: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}-{}-{role}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Runs `ip` inside.
    pub(super) fn ip(&self, arguments: &[&str]) -> Result<String> {
        run("ip", &[&["-n", &self.name], arguments].concat())
    }

    /// Runs `tc` inside.
    pub(super) fn tc(&self, arguments: &[&str]) -> Result<String> {
        run("tc", &[&["-n", &self.name], arguments].concat())
    }

    /// The hardware address of a device inside.
    pub(super) fn hardware_address(&self, device: &str) -> Result<String> {
        let shown = self.ip(&["-o", "link", "show", "dev", device])?;
        let address = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1);
        address.map(str::to_owned).with_context(|| format!("{device} has no hardware address: {shown}"))
    }

    /// Tells the hardware addresses of others that are reached by a device, for good.
    pub(super) fn introduce(&self, device: &str, others: &[(Ipv4Addr, String)]) -> Result<()> {
        let lines: String = others
            .iter()
            .map(|(address, hardware)| {
                format!("neighbour replace {address} lladdr {hardware} dev {device} nud permanent\n")
            })
            .collect();
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]).stdin(Stdio::piped());
        let mut child = command.spawn().context("ip -batch")?;
        child.stdin.take().context("ip -batch has no input")?.write_all(lines.as_bytes())?;
        ensure!(child.wait()?.success(), "ip -n {} -batch: {lines}", self.name);
        Ok(())
    }

    /// A command that will run inside; its process id is that of the program.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Ok(pids) = run("ip", &["netns", "pids", &self.name]) {
            for pid in pids.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = run("ip", &["netns", "delete", &self.name]);
    }
}

/// Proves that a namespace can be made here.
pub(super) fn probe() -> Result<()> {
    let one = Namespace::new("probe-a")?;
    let other = Namespace::new("probe-b")?;
    one.ip(&["link", "add", "x", "type", "veth", "peer", "name", "y", "netns", &other.name])?;
    Ok(())
}

/// Removes the namespaces of labs whose process is gone.
pub(super) fn sweep() -> Result<()> {
    for line in run("ip", &["netns", "list"])?.lines() {
        let Some(name) = line.split_whitespace().next() else { continue };
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            drop(Namespace { name: name.to_owned() });
        }
    }
    Ok(())
}

fn run(tool: &str, arguments: &[&str]) -> Result<String> {
    let shown = || format!("{tool} {}", arguments.join(" "));
    let output = Command::new(tool).args(arguments).output().with_context(shown)?;
    if !output.status.success() {
        bail!("{}: {}", shown(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
