//! The threads that serve clients, each with a reactor of its own.
//!
//! A request for something small is read, answered and written in a few microseconds; to wake another thread in between, as a runtime of
//! several workers does, costs more than all of that. So a connection stays where it was taken, and what it sets off, a flight
//! and its question to the origin, begins there too. What is long, or waits for a disk, goes to blocking threads and to the driver.

use super::Gateway;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

/// Threads at most.
const MOST: usize = 4;

/// The threads, until they are joined.
#[derive(Debug)]
pub(super) struct Reactors(Vec<JoinHandle<()>>);

impl Reactors {
    /// Starts them: one for two cores. They take connections from the same socket until the gateway stops, and end with its tasks.
    pub(super) fn start(gateway: &Arc<Gateway>, listener: &TcpListener) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            let listener = listener.try_clone()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let gateway = gateway.clone();
            std::thread::Builder::new().name("gateway".to_owned()).spawn(move || {
                runtime.block_on(async {
                    let tasks = gateway.tasks.clone();
                    match tokio::net::TcpListener::from_std(listener) {
                        Ok(listener) => gateway.listen(listener).await,
                        Err(error) => tracing::error!(%error, "a thread of the gateway cannot listen"),
                    }
                    tasks.wait().await;
                });
            })
        };
        (0..(cores / 2).clamp(1, MOST)).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for their end. Blocks.
    pub(super) fn join(self) {
        for thread in self.0 {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway died");
            }
        }
    }
}
