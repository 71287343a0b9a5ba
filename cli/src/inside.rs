//! A node inside this command: the same node as the daemon's, on the same home and the same socket.

use crate::failure::Failure;
use crate::link::Purpose;
use crate::setting::Setting;
use eddy_wire::catalogue::ErrorCode;

/// A running node.
#[derive(Debug)]
pub(crate) struct Inside {}

impl Inside {
    /// Starts it; when this returns, it answers on the socket.
    pub(crate) async fn start(setting: &Setting, _purpose: Purpose) -> Result<Self, Failure> {
        Err(Failure::new(ErrorCode::DaemonUnreachable, setting.socket.display().to_string()))
    }

    /// Waits until somebody asks it to stop.
    pub(crate) async fn stopping(&self) {}

    /// Stops it, and waits until everything is written.
    pub(crate) async fn stop(self) {}
}
