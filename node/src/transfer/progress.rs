//! What the engine hears of bytes under way: often enough for a calm picture, seldom enough to cost nothing.

use eddy_content::http::RangeSupport;
use eddy_engine::{FetchId, Input};
use std::pin::pin;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often the engine hears of received bytes.
const EVERY: Duration = Duration::from_millis(100);
/// What ends within this is reported together with its end: each word to the engine wakes it.
const SOON: Duration = Duration::from_millis(20);
/// How often it hears of bytes that are not wanted: what it wants to know is that the body moves.
const EVERY_SKIP: Duration = Duration::from_secs(1);

/// Counts the bytes of one fetch and reports them.
#[derive(Debug)]
pub struct Progress {
    fetch: FetchId,
    inputs: mpsc::Sender<Input>,
    unreported: u64,
    last: Instant,
    /// When it was last said that bytes come of which none is wanted.
    skipped: Instant,
}

impl Progress {
    /// The progress of one fetch.
    #[must_use]
    pub fn new(fetch: FetchId, inputs: mpsc::Sender<Input>) -> Self {
        let long_ago = Instant::now() - EVERY_SKIP;
        Self { fetch, inputs, unreported: 0, last: long_ago, skipped: long_ago }
    }

    /// Counts bytes; reports when it is time to.
    pub async fn count(&mut self, bytes: u64) {
        self.unreported += bytes;
        if self.last.elapsed() >= EVERY {
            self.flush().await;
        }
    }

    /// Counts bytes that are to be reported with the fetch's end, which is at hand.
    pub fn count_last(&mut self, bytes: u64) {
        self.unreported += bytes;
    }

    /// Bytes came of which none is wanted.
    pub async fn skip(&mut self) {
        if self.skipped.elapsed() >= EVERY_SKIP {
            self.skipped = Instant::now();
            let _ = self.inputs.send(Input::Skipped { fetch: self.fetch }).await;
        }
    }

    /// An answer has shown whether its server serves ranges, or leaves it open.
    pub async fn answered(&mut self, ranges: RangeSupport) {
        if ranges != RangeSupport::Unknown {
            let _ = self.inputs.send(Input::Answered { fetch: self.fetch, ranges }).await;
        }
    }

    /// Waits until something is to be reported, for ever when there is nothing. Cancel safe.
    pub async fn due(&self) {
        if self.unreported == 0 {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.last + EVERY).await;
    }

    /// Reports what is not yet reported when `ending` is over, or while it goes on if that takes a while. Cancel safe as `ending` is.
    pub async fn flush_with<T>(&mut self, ending: impl Future<Output = T>) -> T {
        let mut ending = pin!(ending);
        let soon = tokio::time::timeout(SOON, &mut ending).await;
        self.flush().await;
        match soon {
            Ok(ended) => ended,
            Err(_) => ending.await,
        }
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
