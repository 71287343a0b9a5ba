//! Reads the next run of a large file while the one before it is hashed: disk and processor work at the same time.
//!
//! One thread for each reader, begun with its first run and ended with it, and one run on its way at most. Nothing is believed
//! here: what comes is hashed by whoever asked for it.

use crate::content::Content;
use crate::direct::AlignedBuffer;
use crate::entity::Shared;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// The reader that is one run ahead.
pub(crate) struct ReadAhead {
    orders: Option<SyncSender<(Range<u64>, AlignedBuffer)>>,
    runs: Receiver<(io::Result<()>, AlignedBuffer)>,
    thread: Option<JoinHandle<()>>,
    /// The bytes that are on their way.
    awaited: Option<Range<u64>>,
    /// The buffer that waits for the next order.
    spare: Option<AlignedBuffer>,
}

impl ReadAhead {
    /// A reader for an entity whose blocks come past the page cache; `None` for others, which the kernel reads ahead.
    pub(crate) fn start(shared: &Arc<Shared>) -> Option<Self> {
        if !shared.content.is_direct() {
            return None;
        }
        let (orders, ordered) = sync_channel(1);
        let (finished, runs) = sync_channel(1);
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new()
            .name("store read".to_owned())
            .spawn(move || {
                for (place, mut buffer) in ordered {
                    let outcome = read(&shared, &place, &mut buffer);
                    if finished.send((outcome, buffer)).is_err() {
                        return;
                    }
                }
            })
            .ok()?;
        let spare = Some(AlignedBuffer::default());
        Some(Self { orders: Some(orders), runs, thread: Some(thread), awaited: None, spare })
    }

    /// Orders the bytes that will be wanted next.
    pub(crate) fn order(&mut self, place: Range<u64>) {
        if place.is_empty() || self.awaited.is_some() {
            return;
        }
        let (Some(orders), Some(buffer)) = (&self.orders, self.spare.take()) else { return };
        if orders.send((place.clone(), buffer)).is_ok() {
            self.awaited = Some(place);
        }
    }

    /// Swaps the bytes of `place` into `buffer`, if they were ordered and could be read.
    pub(crate) fn take(&mut self, place: &Range<u64>, buffer: &mut AlignedBuffer) -> bool {
        let Some(awaited) = self.awaited.take() else { return false };
        let Ok((outcome, mut run)) = self.runs.recv() else { return false };
        let is_it = awaited == *place && outcome.is_ok();
        if is_it {
            std::mem::swap(&mut run, buffer);
        }
        self.spare = Some(run);
        is_it
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        drop(self.orders.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread that read ahead died");
        }
    }
}

fn read(shared: &Shared, place: &Range<u64>, buffer: &mut AlignedBuffer) -> io::Result<()> {
    match &shared.content {
        Content::Files(pair) => pair.data.read_once(buffer, (place.end - place.start) as usize, place.start),
        Content::Index(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
