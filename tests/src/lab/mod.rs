//! Hosts in network namespaces: a LAN with multicast, and an origin behind a router on a shaped line.
//!
//! ```text
//!   h0 ─┐                      ┌────────────┐
//!   h1 ─┼─ bridge "lan" ───────┤   router   ├──── shaped WAN ──── origin
//!   h2 ─┘  10.77.0.0/16        └────────────┘      172.16.77.0/30
//! ```
//!
//! Everything lives in namespaces of its own, with names made of this process's id and a counter; the host's network is
//! not touched. A [`Lab`] takes its namespaces and all processes in them along when it is dropped, also in a panic; what a
//! killed test process left behind is removed by the next lab.
//!
//! The kernel needs neither netem nor anything but veth, bridge and tbf. Delay must come from the origin.

mod host;
mod ip;
mod topology;

use std::path::Path;

pub use host::{Host, LinkBytes, Plug};
pub use topology::{Lab, LabSpec, Mbit};

/// Whether this machine can run the lab, or what is missing.
///
/// # Errors
/// The reason, in words for a person.
pub fn available() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    for tool in ["ip", "tc"] {
        let dirs = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        if !dirs.iter().any(|dir| Path::new(dir).join(tool).exists()) {
            return Err(format!("`{tool}` (iproute2) is not installed"));
        }
    }
    ip::probe().map_err(|error| format!("namespaces cannot be made here: {error:#}"))
}

/// For the first line of a test: whether to go on. Prints why not; in CI nothing is skipped.
///
/// # Panics
/// When the lab is not available and `CI` is set.
#[must_use]
pub fn ready() -> bool {
    match available() {
        Ok(()) => true,
        Err(reason) => {
            assert!(std::env::var_os("CI").is_none(), "the lab must run in CI: {reason}");
            eprintln!("skipped: {reason}");
            false
        }
    }
}
