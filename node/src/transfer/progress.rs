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
/// How often it hears of bytes of which no wanted block is whole: what it wants to know is that the body moves.
const EVERY_MOVE: Duration = Duration::from_secs(1);

/// Counts the bytes of one fetch and reports them.
#[derive(Debug)]
pub struct Progress {
    fetch: FetchId,
    inputs: mpsc::Sender<Input>,
    unreported: u64,
    last: Instant,
    /// When a wanted block was whole, or it was said that bytes come all the same.
    moved: Instant,
}

impl Progress {
    /// The progress of one fetch.
    #[must_use]
    pub fn new(fetch: FetchId, inputs: mpsc::Sender<Input>) -> Self {
        let long_ago = Instant::now() - EVERY_MOVE;
        Self { fetch, inputs, unreported: 0, last: long_ago, moved: long_ago }
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

    /// Bytes came, and no wanted block is whole with them: none of them is wanted, or the line is slow.
    pub async fn moves(&mut self) {
        if self.moved.elapsed() >= EVERY_MOVE {
            self.moved = Instant::now();
            let _ = self.inputs.send(Input::Moves { fetch: self.fetch }).await;
        }
    }

    /// A wanted block is whole: that says by itself that the body moves.
    pub fn got_on(&mut self) {
        self.moved = Instant::now();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The engine's words within this, from a body that gives a thousandth of it at a time.
    async fn words(span: Duration, is_whole: impl Fn(u32) -> bool) -> usize {
        let (inputs, mut heard) = mpsc::channel(64);
        let mut progress = Progress::new(FetchId(1), inputs);
        for piece in 0..1000 {
            tokio::time::advance(span / 1000).await;
            if is_whole(piece) {
                progress.got_on();
            } else {
                progress.moves().await;
            }
        }
        drop(progress);
        std::iter::from_fn(|| heard.try_recv().ok()).filter(|input| matches!(input, Input::Moves { .. })).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_brings_less_than_a_block_a_second_is_said_to_move_and_a_quicker_one_speaks_for_itself() {
        let span = Duration::from_secs(20);
        assert!((18..=20).contains(&words(span, |_| false).await));
        assert!((10..=18).contains(&words(span, |piece| piece % 200 == 199).await), "a block in four seconds");
        assert_eq!(words(span, |piece| piece % 20 == 0).await, 0, "a block in 0.4 s");
    }
}
