//! What the engine hears of bytes under way: often enough for a calm picture, seldom enough to cost nothing.

use eddy_engine::{FetchId, Input};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the engine hears of received bytes.
const EVERY: Duration = Duration::from_millis(100);

/// Counts the bytes of one fetch and reports them.
#[derive(Debug)]
pub struct Progress {
    fetch: FetchId,
    inputs: mpsc::Sender<Input>,
    unreported: u64,
    last: Instant,
}

impl Progress {
    /// The progress of one fetch.
    #[must_use]
    pub fn new(fetch: FetchId, inputs: mpsc::Sender<Input>) -> Self {
        Self { fetch, inputs, unreported: 0, last: Instant::now() - EVERY }
    }

    /// Counts bytes; reports when it is time to.
    pub async fn count(&mut self, bytes: u64) {
        self.unreported += bytes;
        if self.last.elapsed() >= EVERY {
            self.flush().await;
        }
    }

    /// Waits until something is to be reported, for ever when there is nothing. Cancel safe.
    pub async fn due(&self) {
        if self.unreported == 0 {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.last + EVERY).await;
    }

    /// Reports what is not yet reported.
    pub async fn flush(&mut self) {
        if self.unreported > 0 {
            let bytes = std::mem::take(&mut self.unreported);
            self.last = Instant::now();
            // The driver is gone only when the node stops; then nobody wants to know.
            let _ = self.inputs.send(Input::Received { fetch: self.fetch, bytes }).await;
        }
    }
}
