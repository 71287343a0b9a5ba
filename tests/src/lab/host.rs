//! One machine of the lab.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::ip::Namespace;
use crate::process::Running;

/// The name of a host's one interface.
pub(super) const WIRE: &str = "eth0";

/// A network namespace with one interface and one address.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    address: Ipv4Addr,
}

/// Bytes that an interface has carried, link framing included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkBytes {
    /// Sent by the host.
    pub sent: u64,
    /// Received by the host.
    pub received: u64,
}

impl Host {
    pub(super) fn new(namespace: Namespace, address: Ipv4Addr) -> Self {
        Self { namespace, address }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(super) fn inside(&self) -> &Namespace {
        &self.namespace
    }

    /// The name of its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace.name
    }

    /// A command that will run on this host. The child's process id is that of `program` itself.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }

    /// Starts `program` here; it is killed when the result is dropped.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Running> {
        let mut command = self.command(program);
        command.args(arguments);
        Running::start(command)
    }

    /// Gives the host one more address on the LAN.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<()> {
        self.namespace.ip(&["address", "add", &format!("{address}/16"), "dev", WIRE]).map(drop)
    }

    /// Pulls or plugs the host's cable. Routes are lost with the link, as on a real host.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub fn set_plugged(&self, plugged: Plug) -> Result<()> {
        let state = match plugged {
            Plug::In => "up",
            Plug::Out => "down",
        };
        self.namespace.ip(&["link", "set", WIRE, state]).map(drop)
    }

    /// What its interface has carried so far.
    ///
    /// # Errors
    /// When `ip` does not say.
    pub fn link_bytes(&self) -> Result<LinkBytes> {
        let shown = self.namespace.ip(&["-s", "-j", "link", "show", "dev", WIRE])?;
        let shown: serde_json::Value = serde_json::from_str(&shown).context("output of ip")?;
        let of =
            |direction: &str| shown[0]["stats64"][direction]["bytes"].as_u64().context("ip prints no byte counters");
        Ok(LinkBytes { sent: of("tx")?, received: of("rx")? })
    }
}

/// Where a cable is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plug {
    /// In its socket.
    In,
    /// Pulled.
    Out,
}
