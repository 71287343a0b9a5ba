//! An entity of the store that is read while the engine fills it.
//!
//! Every reader reads at its own pace, from the store, block by block and each held against its hash; the transfer goes on at its
//! own. When nobody reads any more, what is far from its end is given up; its blocks stay.

use super::body::{Broken, Pieces};
use super::tally::Tally;
use crate::driver::command::{Act, Whose};
use crate::driver::{DriverHandle, Holding};
use crate::transfer::open::Arrivals;
use bytes::Bytes;
use eddy_cache::{EntityHandle, ReadError};
use eddy_content::BLOCK_SIZE;
use eddy_engine::JobId;
use eddy_wire::api::{JobState, Sources};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Blocks that are read at once: 1 MiB.
const RUN: u32 = 16;

/// How long a transfer that nobody reads goes on, in case somebody comes back.
const LINGER: Duration = Duration::from_secs(10);

/// Bytes that are fetched to the end though nobody reads them: less than the way back would cost.
const NEAR_END: u64 = 16 << 20;

/// How the filling stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Going,
    /// Nothing more comes; what is not there then will not be.
    Over,
}

/// An open entity, and the job that fills it, if one does.
#[derive(Debug)]
pub(super) struct Filling {
    entity: EntityHandle,
    arrivals: Arrivals,
    stand: watch::Sender<Stand>,
    /// Readers now.
    readers: watch::Sender<usize>,
}

impl Filling {
    /// One that is whole.
    pub(super) fn whole(entity: EntityHandle) -> Arc<Self> {
        Arc::new(Self {
            entity,
            arrivals: Arrivals::default(),
            stand: watch::channel(Stand::Over).0,
            readers: watch::channel(0).0,
        })
    }

    /// One that a job fills; the future that is to be spawned follows the job to its end and keeps the entity open until then.
    pub(super) fn start(
        holding: Holding,
        driver: DriverHandle,
        tally: Arc<Tally>,
    ) -> (Arc<Self>, impl Future<Output = ()> + Send) {
        let filling = Arc::new(Self {
            entity: holding.entity,
            arrivals: holding.arrivals,
            stand: watch::channel(Stand::Going).0,
            readers: watch::channel(0).0,
        });
        let followed = filling.clone();
        (filling, async move {
            let sources = followed.follow(holding.job, &driver).await;
            tally.job(sources);
        })
    }

    pub(super) fn length(&self) -> u64 {
        self.entity.geometry().length()
    }

    /// Follows the job to its end; where its bytes came from.
    async fn follow(&self, job: JobId, driver: &DriverHandle) -> Sources {
        let mut sources = Sources::default();
        let mut readers = self.readers.subscribe();
        if let Ok(mut view) = driver.watch(Whose::Anybodys, job).await {
            loop {
                let state = {
                    let view = view.borrow_and_update();
                    sources = view.sources();
                    view.state
                };
                if state.is_final() || state == JobState::Error {
                    break;
                }
                tokio::select! {
                    changed = view.changed() => if changed.is_err() { break },
                    () = self.is_deserted(&mut readers) => break,
                }
            }
        }
        // A job that has ended refuses, which is right.
        let _ = driver.act(Whose::Anybodys, job, Act::Cancel).await;
        self.stand.send_replace(Stand::Over);
        sources
    }

    /// Waits until nobody has read for a while and the end is far.
    async fn is_deserted(&self, readers: &mut watch::Receiver<usize>) {
        loop {
            if readers.wait_for(|count| *count == 0).await.is_err() {
                return std::future::pending().await;
            }
            tokio::select! {
                _ = readers.wait_for(|count| *count > 0) => continue,
                () = tokio::time::sleep(LINGER) => {}
            }
            let held: u64 = {
                let (geometry, held) = (self.entity.geometry(), self.entity.held());
                held.runs().map(|run| geometry.bytes_of(run)).map(|bytes| bytes.end - bytes.start).sum()
            };
            if self.length().saturating_sub(held) > NEAR_END {
                return;
            }
        }
    }

    /// Counts a reader for as long as the result lives.
    pub(super) fn reader(self: &Arc<Self>) -> Reader {
        self.readers.send_modify(|count| *count += 1);
        Reader(self.clone())
    }

    /// Which of these blocks can be read now, from the first on.
    fn ready(&self, blocks: &Range<u32>) -> Range<u32> {
        let end = blocks.clone().take(RUN as usize).find(|block| !self.entity.is_readable(*block));
        blocks.start..end.unwrap_or(blocks.end.min(blocks.start + RUN))
    }
}

/// One reader of a filling.
pub(super) struct Reader(Arc<Filling>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.readers.send_modify(|count| *count -= 1);
    }
}

impl Reader {
    /// Sends these bytes, waiting for those that are still to come. Ends when the client is gone.
    pub(super) async fn send(&self, mut range: Range<u64>, to: &Pieces) {
        let mut stand = self.0.stand.subscribe();
        while range.start < range.end {
            let arrival = self.0.arrivals.next();
            let mut arrival = std::pin::pin!(arrival);
            arrival.as_mut().enable();
            let is_over = *stand.borrow_and_update() == Stand::Over;
            let blocks = (range.start / BLOCK_SIZE) as u32..range.end.div_ceil(BLOCK_SIZE) as u32;
            let ready = self.0.ready(&blocks);
            if !ready.is_empty() {
                let Some(bytes) = self.read(ready, &range).await else {
                    let _ = to.send(Err(Broken)).await;
                    return;
                };
                range.start += bytes.len() as u64;
                if to.send(Ok(bytes)).await.is_err() {
                    return;
                }
            } else if is_over {
                let _ = to.send(Err(Broken)).await;
                return;
            } else {
                tokio::select! {
                    () = arrival => {}
                    _ = stand.changed() => {}
                    () = to.closed() => return,
                }
            }
        }
    }

    /// Bytes of `range` that lie in these blocks.
    async fn read(&self, blocks: Range<u32>, range: &Range<u64>) -> Option<Bytes> {
        let entity = self.0.entity.clone();
        let wanted = blocks.clone();
        let read = tokio::task::spawn_blocking(move || read_some(&entity, wanted)).await.ok()?;
        let (read, bytes) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::warn!(url = %self.0.entity.entity().url, %error, "a block that a client wants cannot be read");
                return None;
            }
        };
        let place = self.0.entity.geometry().bytes_of(read);
        let from = (range.start - place.start) as usize;
        let to = (range.end.min(place.end) - place.start) as usize;
        Some(Bytes::from(bytes).slice(from..to))
    }
}

/// Reads blocks; only the first of them where they are partly held and partly only written.
fn read_some(entity: &EntityHandle, blocks: Range<u32>) -> Result<(Range<u32>, Vec<u8>), ReadError> {
    let mut bytes = Vec::new();
    match entity.read_written(blocks.clone(), &mut bytes) {
        Err(ReadError::NotHeld { .. }) if blocks.len() > 1 => {
            let first = blocks.start..blocks.start + 1;
            entity.read_written(first.clone(), &mut bytes).map(|()| (first, bytes))
        }
        read => read.map(|()| (blocks, bytes)),
    }
}
