//! Reads the next runs of a large file while the one before them is hashed: disk and processor work at the same time.
//!
//! Two threads for each reader, begun with its first run and ended with it, and one run on its way for each at most: a disk that
//! knows of the next run before the last one is done need not wait between them. Nothing is believed here: what comes is
//! hashed by whoever asked for it.

use crate::aligned::AlignedBuffer;
use crate::content::Content;
use crate::entity::Shared;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Threads that read ahead, and so runs that are on their way at most.
const LANES: usize = 2;

/// The reader that is some runs ahead.
pub(crate) struct ReadAhead {
    idle: Vec<Lane>,
    /// Runs of blocks that are on their way, each where the one before it ends.
    awaited: VecDeque<(Range<u32>, Lane)>,
}

impl ReadAhead {
    /// A reader for an entity whose blocks come past the page cache; `None` for others, which the kernel reads ahead.
    pub(crate) fn start(shared: &Arc<Shared>) -> Option<Self> {
        if !shared.content.is_direct() {
            return None;
        }
        let idle: Vec<Lane> = (0..LANES).map_while(|_| Lane::start(shared)).collect();
        (!idle.is_empty()).then(|| Self { idle, awaited: VecDeque::new() })
    }

    /// Orders the runs behind `blocks`, each of the same length, up to `end`, as long as a lane is idle.
    pub(crate) fn order_behind(&mut self, blocks: &Range<u32>, end: u32) {
        let length = blocks.end.saturating_sub(blocks.start);
        let mut first = self.awaited.back().map_or(blocks.end, |(awaited, _)| awaited.end);
        while length > 0
            && first < end
            && let Some(mut lane) = self.idle.pop()
        {
            let run = first..first.saturating_add(length).min(end);
            first = run.end;
            // A lane whose thread is gone goes, too.
            if lane.order(run.clone()) {
                self.awaited.push_back((run, lane));
            }
        }
    }

    /// Swaps the bytes of `blocks` into `buffer`, if they are the next that were ordered and could be read. What was ordered is not
    /// wanted any more when others are asked for.
    pub(crate) fn take(&mut self, blocks: &Range<u32>, buffer: &mut AlignedBuffer) -> bool {
        if self.awaited.front().is_none_or(|(awaited, _)| awaited != blocks) {
            for (_, mut lane) in self.awaited.drain(..) {
                lane.skip();
                self.idle.push(lane);
            }
            return false;
        }
        let Some((_, mut lane)) = self.awaited.pop_front() else { return false };
        let is_here = lane.take(buffer);
        self.idle.push(lane);
        is_here
    }
}

/// One thread that reads, and the way to it and back.
struct Lane {
    orders: Option<SyncSender<(Range<u32>, AlignedBuffer)>>,
    runs: Receiver<(io::Result<()>, AlignedBuffer)>,
    thread: Option<JoinHandle<()>>,
    /// The buffer that waits for the next order.
    spare: Option<AlignedBuffer>,
}

impl Lane {
    fn start(shared: &Arc<Shared>) -> Option<Self> {
        let (orders, ordered) = sync_channel::<(Range<u32>, AlignedBuffer)>(1);
        let (finished, runs) = sync_channel(1);
        let shared = Arc::clone(shared);
        let work = move || {
            for (blocks, mut buffer) in ordered {
                let outcome = read(&shared, blocks, &mut buffer);
                if finished.send((outcome, buffer)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("store read".to_owned()).spawn(work).ok()?;
        let spare = Some(AlignedBuffer::default());
        Some(Self { orders: Some(orders), runs, thread: Some(thread), spare })
    }

    /// Says whether the run will come.
    fn order(&mut self, blocks: Range<u32>) -> bool {
        let (Some(orders), Some(buffer)) = (&self.orders, self.spare.take()) else { return false };
        orders.send((blocks, buffer)).is_ok()
    }

    /// Waits for the run and swaps it into `buffer`, unless it could not be read.
    fn take(&mut self, buffer: &mut AlignedBuffer) -> bool {
        let Ok((outcome, mut run)) = self.runs.recv() else { return false };
        if outcome.is_ok() {
            std::mem::swap(&mut run, buffer);
        }
        self.spare = Some(run);
        outcome.is_ok()
    }

    /// Waits for a run that nobody wants.
    fn skip(&mut self) {
        self.spare = self.runs.recv().ok().map(|(_, buffer)| buffer);
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        drop(self.orders.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that read ahead died");
        }
    }
}

fn read(shared: &Shared, blocks: Range<u32>, buffer: &mut AlignedBuffer) -> io::Result<()> {
    let place = shared.geometry.bytes_of(blocks);
    match &shared.content {
        Content::Files(pair) => pair.data.read_once(buffer, (place.end - place.start) as usize, place.start),
        Content::Index(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
