//! The service manager: what it hands over, and what it is told (sd_listen_fds(3), sd_notify(3)).

use crate::failure::Failure;
use eddy_wire::catalogue::ErrorCode;
use listenfd::ListenFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::sync::Arc;
use std::time::Duration;

/// What a service manager has to do with this process.
#[derive(Debug, Default)]
pub(crate) struct Manager {
    /// A socket that it has made for us and on which somebody has called.
    pub(crate) listener: Option<Arc<UnixListener>>,
    /// How often it wants to hear that we live.
    pub(crate) watchdog: Option<Duration>,
    notices: Option<(UnixDatagram, SocketAddr)>,
}

impl Manager {
    /// Takes over what the environment names; must be called once, before there are threads.
    pub(crate) fn of_environment() -> Result<Self, Failure> {
        let refused =
            |error: std::io::Error| Failure::new(ErrorCode::SocketUnusable, format!("the given socket: {error}"));
        let listener = ListenFd::from_env().take_unix_listener(0).map_err(refused)?;
        if let Some(listener) = &listener {
            listener.set_nonblocking(true).map_err(refused)?;
        }
        Ok(Self { listener: listener.map(Arc::new), watchdog: watchdog(), notices: notices() })
    }

    /// Tells it something; who does not listen misses nothing.
    pub(crate) fn tell(&self, notice: &str) {
        if let Some((socket, address)) = &self.notices {
            let _ = socket.send_to_addr(notice.as_bytes(), address);
        }
    }
}

/// Half of the time within which it wants to hear from this process.
fn watchdog() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    let within = Duration::from_micros(number("WATCHDOG_USEC").filter(|within| is_ours && *within > 0)?);
    Some(within / 2)
}

fn notices() -> Option<(UnixDatagram, SocketAddr)> {
    let name = std::env::var("NOTIFY_SOCKET").ok()?;
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(&name),
    };
    Some((UnixDatagram::unbound().ok()?, address.ok()?))
}
