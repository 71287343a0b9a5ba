//! `eddy daemon`: a node until it is stopped, or until nobody has wanted it for as long as the administrator says.

use crate::failure::Failure;
use crate::inside::Inside;
use crate::service::Manager;
use crate::setting::Setting;
use clap::Args;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

/// Looks at whether it is idle, in the time after which an idle node ends.
const IDLE_LOOKS: u32 = 4;

/// `eddy daemon`.
#[derive(Debug, Args)]
pub struct DaemonArgs {}

/// Why the node is to end.
enum Next {
    Stop,
    Anew,
}

pub(crate) async fn run(_args: DaemonArgs, setting: &Setting, manager: &Manager) -> Result<(), Failure> {
    let mut stop = StopSignal::listen()?;
    let mut node = Inside::serve(setting, manager.listener.clone()).await?;
    if let Some(address) = node.gateway() {
        setting.note(&format!("the gateway listens on http://{address}"));
    }
    setting.note(&format!("the node runs; it listens on {}", node.socket().display()));
    manager.tell("READY=1");
    while let Next::Anew = next(&node, &mut stop, manager).await {
        // Started on a disk that refused; the same again, on one that does not.
        setting.note("the cache can be used again: starting anew with it");
        node.stop().await;
        node = Inside::serve(setting, manager.listener.clone()).await?;
        setting.note("the node runs with its cache");
    }
    manager.tell("STOPPING=1");
    setting.note("stopping; what runs is made durable first");
    tokio::select! {
        () = node.stop() => {}
        // Whoever asks twice is in a hurry; what is not durable yet is fetched again.
        () = stop.next() => {}
    }
    Ok(())
}

async fn next(node: &Inside, stop: &mut StopSignal, manager: &Manager) -> Next {
    tokio::select! {
        () = stop.next() => Next::Stop,
        () = node.stopping() => Next::Stop,
        () = idle(node) => Next::Stop,
        () = node.mended() => Next::Anew,
        () = be_watched(node, manager) => Next::Stop,
    }
}

/// Tells the service manager that the node lives, as often as it wants to hear it and as long as its driver answers.
async fn be_watched(node: &Inside, manager: &Manager) {
    let Some(within) = manager.watchdog else { return std::future::pending().await };
    let mut beat = tokio::time::interval(within);
    loop {
        beat.tick().await;
        if node.is_alive().await {
            manager.tell("WATCHDOG=1");
        }
    }
}

/// Waits until nobody has wanted the node for as long as it waits for that, if it does.
async fn idle(node: &Inside) {
    let Some(span) = node.idle_exit() else { return std::future::pending().await };
    let (mut since, mut calls) = (Instant::now(), node.calls());
    while since.elapsed() < span {
        tokio::time::sleep((span / IDLE_LOOKS).max(Duration::from_millis(10))).await;
        // A call may have come and gone between two looks.
        if !node.is_idle().await || node.calls() != calls {
            (since, calls) = (Instant::now(), node.calls());
        }
    }
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
