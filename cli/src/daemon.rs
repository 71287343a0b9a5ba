//! `eddy daemon`: a node until it is stopped.

use crate::failure::Failure;
use crate::inside::Inside;
use crate::link::Purpose;
use crate::setting::Setting;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// `eddy daemon`.
#[derive(Debug, Args)]
pub struct DaemonArgs {}

pub(crate) async fn run(_args: DaemonArgs, setting: &Setting) -> Result<(), Failure> {
    let mut stop = StopSignal::listen()?;
    let mut node = Inside::start(setting, Purpose::Serve).await?;
    if let Some(address) = node.gateway() {
        setting.note(&format!("the gateway listens on http://{address}"));
    }
    setting.note(&format!("the node runs; it listens on {}", node.socket().display()));
    loop {
        tokio::select! {
            () = stop.next() => break,
            () = node.stopping() => break,
            () = node.mended() => {}
        }
        // Started on a disk that refused; the same again, on one that does not.
        setting.note("the cache can be used again: starting anew with it");
        node.stop().await;
        node = Inside::start(setting, Purpose::Serve).await?;
        setting.note("the node runs with its cache");
    }
    setting.note("stopping; what runs is made durable first");
    tokio::select! {
        () = node.stop() => {}
        // Whoever asks twice is in a hurry; what is not durable yet is fetched again.
        () = stop.next() => {}
    }
    Ok(())
}

/// What asks a process to stop: Ctrl-C, or SIGTERM from a service manager. Heard from the moment it is made.
pub(crate) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// Begins to listen; from now on neither signal ends the process by itself.
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(Failure::internal)?,
            terminate: signal(SignalKind::terminate()).map_err(Failure::internal)?,
        })
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
