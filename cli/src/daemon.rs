//! `eddy daemon`: a node until it is stopped.

use crate::failure::Failure;
use crate::inside::Inside;
use crate::link::Purpose;
use crate::setting::Setting;
use clap::Args;

/// `eddy daemon`.
#[derive(Debug, Args)]
pub struct DaemonArgs {}

pub(crate) async fn run(_args: DaemonArgs, setting: &Setting) -> Result<(), Failure> {
    let node = Inside::start(setting, Purpose::Serve).await?;
    setting.note(&format!("the node runs; it listens on {}", setting.socket.display()));
    tokio::select! {
        stopped = stop_signal() => stopped?,
        () = node.stopping() => {}
    }
    setting.note("stopping; what runs is made durable first");
    node.stop().await;
    Ok(())
}

/// Waits for what asks a process to stop: Ctrl-C, or SIGTERM from a service manager.
pub(crate) async fn stop_signal() -> Result<(), Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::internal)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::internal),
        _ = terminate.recv() => Ok(()),
    }
}
