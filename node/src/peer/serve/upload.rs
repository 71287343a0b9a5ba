//! Uploads within the administrator's limits: a read asks for its next step, and goes on when its turn has come.
//!
//! Whose turn it is, `eddy_engine::upload` decides; here is the task that keeps its time. Without limits there is no task and
//! no waiting.

use super::Abandon;
use eddy_engine::upload::{Turn, Turns, UploadLimits};
use eddy_wire::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bytes a second that one read must be able to get: with less, its reader would take the wait for a stall.
const LEAST: u64 = 64 * 1024;

/// The way to the turns; `None` where nothing is limited.
#[derive(Debug)]
pub(crate) struct Upload {
    asks: Option<mpsc::Sender<Ask>>,
}

/// A read that waits for its turn.
#[derive(Debug)]
struct Ask {
    node: NodeId,
    bytes: u64,
    granted: oneshot::Sender<()>,
}

impl Upload {
    /// Starts keeping time; `reads` is how many may wait.
    pub(crate) fn start(limits: UploadLimits, reads: usize, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        let asks = limits.is_limited().then(|| {
            let (asks, asked) = mpsc::channel(reads.max(1));
            let keeping = stop.clone().run_until_cancelled_owned(keep_time(Turns::new(limits), asked));
            tasks.spawn(async move { keeping.await.unwrap_or_default() });
            asks
        });
        Self { asks }
    }

    /// Waits until `bytes` may be sent to a peer. Given up, the bytes may count as sent.
    pub(super) async fn turn(&self, node: NodeId, bytes: usize) -> Result<(), Abandon> {
        let Some(asks) = &self.asks else { return Ok(()) };
        let (granted, grant) = oneshot::channel();
        let ask = Ask { node, bytes: bytes as u64, granted };
        asks.send(ask).await.map_err(|_| Abandon::Unwanted)?;
        grant.await.map_err(|_| Abandon::Unwanted)
    }
}

/// How many of `most` reads can be served at a time within a limit, so that none of them seems to stall.
pub(crate) fn reads_within(limit: Option<u64>, most: usize) -> usize {
    limit.map_or(most, |limit| usize::try_from(limit / LEAST).unwrap_or(most).clamp(1, most))
}

async fn keep_time(mut turns: Turns<NodeId, oneshot::Sender<()>>, mut asked: mpsc::Receiver<Ask>) {
    let began = Instant::now();
    loop {
        let next = match turns.poll(began.elapsed()) {
            Turn::Go(granted) => {
                // Who has given up meanwhile does not hear it.
                let _ = granted.send(());
                continue;
            }
            Turn::At(at) => Some(began + at),
            Turn::Nobody => None,
        };
        let its_time = async {
            match next {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ask = asked.recv() => match ask {
                Some(Ask { node, bytes, granted }) => turns.ask(node, bytes, granted),
                None => return,
            },
            () = its_time => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::task::JoinSet;

    const STEP: usize = 64 * 1024;

    #[tokio::test(start_paused = true)]
    async fn two_peers_share_a_limit_equally_though_one_has_more_reads() {
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let limits = UploadLimits { all: Some(1 << 20), each: None };
        let upload = Arc::new(Upload::start(limits, 64, &tasks, &stop));
        let mut reads = JoinSet::new();
        let began = Instant::now();
        for number in [1, 1, 1, 1, 2] {
            let upload = Arc::clone(&upload);
            reads.spawn(async move {
                let mut steps = 0;
                while began.elapsed() < Duration::from_secs(10) {
                    upload.turn(NodeId([number; 32]), STEP).await.expect("is granted");
                    steps += 1;
                }
                (number, steps)
            });
        }
        let mut had = [0; 3];
        while let Some(read) = reads.join_next().await {
            let (number, steps) = read.expect("ends");
            had[usize::from(number)] += steps;
        }
        assert!((160..=166).contains(&(had[1] + had[2])), "{had:?} steps of 64 KiB in 10 s at 1 MiB/s");
        assert!(i32::abs(had[1] - had[2]) <= 4, "{had:?}");
        stop.cancel();
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_limits_nobody_waits() {
        let upload = Upload::start(UploadLimits::default(), 64, &TaskTracker::new(), &CancellationToken::new());
        let began = Instant::now();
        for _ in 0..1000 {
            upload.turn(NodeId([1; 32]), STEP).await.expect("is granted");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[test]
    fn a_low_limit_serves_fewer_reads_at_a_time() {
        assert_eq!(reads_within(None, 64), 64);
        assert_eq!(reads_within(Some(1_000_000), 64), 15);
        assert_eq!(reads_within(Some(1), 64), 1);
        assert_eq!(reads_within(Some(u64::MAX), 64), 64);
    }
}
