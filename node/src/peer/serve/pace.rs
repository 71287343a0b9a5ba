//! The pace that a reader is held to: 64 KiB within ten seconds, and 16 KiB/s on average after a grace (T-05).
//!
//! Only the time counts in which this node waits for the reader; how long its own disk takes is not the reader's fault.

use super::places::GRACE;
use super::{Abandon, Patience};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A reader is looked at each time when it should have taken this much.
pub(super) const STEP: usize = 64 * 1024;
/// Bytes a second that a reader has to take on average.
const SLOWEST: u64 = 16 * 1024;

/// How a reader gets on.
#[derive(Debug)]
pub(super) struct Pace {
    step: Duration,
    taken: u64,
    waited: Duration,
}

impl Pace {
    pub(super) fn new(patience: &Patience) -> Self {
        Self { step: patience.reader, taken: 0, waited: Duration::ZERO }
    }

    /// Waits for the reader with something of `bytes`, as long as its pace allows.
    pub(super) async fn wait<T>(&mut self, bytes: usize, reader: impl Future<Output = T>) -> Result<T, Abandon> {
        let began = Instant::now();
        let outcome = timeout(self.left(bytes), reader).await.map_err(|_| Abandon::Slow)?;
        self.waited += began.elapsed();
        self.taken += bytes as u64;
        Ok(outcome)
    }

    /// How long the reader may take for the next `bytes`.
    fn left(&self, bytes: usize) -> Duration {
        let due = GRACE + Duration::from_millis((self.taken + bytes as u64) * 1000 / SLOWEST);
        due.saturating_sub(self.waited).min(self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_16_kib_a_second_is_served_and_one_of_8_is_not() {
        let mut pace = Pace::new(&Patience::default());
        for _ in 0..100 {
            pace.wait(STEP, sleep(Duration::from_millis(3900))).await.expect("is fast enough");
        }
        let mut pace = Pace::new(&Patience::default());
        let mut steps = 0;
        while pace.wait(STEP, sleep(Duration::from_secs(8))).await.is_ok() {
            steps += 1;
        }
        assert!(steps <= 2, "{steps} steps of 8 s");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_within_the_patience_is_the_end() {
        let mut pace = Pace::new(&Patience { reader: Duration::from_secs(1), ..Patience::default() });
        assert!(pace.wait(STEP, sleep(Duration::from_secs(2))).await.is_err());
    }
}
