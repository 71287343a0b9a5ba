//! Writes runs of a large file while the next one is received and hashed: disk and processor work at the same time.
//!
//! Three threads for each writer, begun with its first full run and ended with it: a disk that is given the next run before it has said
//! that the last one is done need not wait between them. A run that is handed over is hashed and right; what
//! a thread cannot write is given back, accounted for and told with a later run or at the end. Blocks count as pending
//! only once their bytes are written, in whatever order, so a commit in between takes exactly what is there.

use crate::aligned::AlignedBuffer;
use crate::entity::Shared;
use crate::fault::WriteError;
use crate::ledger::{Account, Source, Waste};
use crate::mirror::Mirror;
use eddy_content::BlockHash;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Threads that write, and so runs that are on their way to the disk at once.
const THREADS: usize = 3;
/// Runs that are handed over and not written yet, at most: those on their way, and one that follows at once.
const IN_FLIGHT: usize = THREADS + 1;

/// Where the blocks of a writer go, and on whose account.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) shared: Arc<Shared>,
    pub(crate) source: Source,
    pub(crate) account: Account,
    pub(crate) mirror: Option<Arc<Mirror>>,
}

/// Consecutive whole blocks that are hashed and right.
pub(crate) struct Run {
    /// The number of the first one.
    pub(crate) first: u32,
    pub(crate) hashes: Vec<BlockHash>,
    /// Exactly their bytes.
    pub(crate) bytes: AlignedBuffer,
}

impl Target {
    /// Writes `bytes`, exactly the blocks from `first` on that have these hashes; those that somebody else has are left out as
    /// duplicates. Every byte is accounted for, also in an error.
    pub(crate) fn write(&self, first: u32, hashes: &[BlockHash], bytes: &[u8]) -> Result<(), WriteError> {
        let all = first..first + hashes.len() as u32;
        let base = self.shared.geometry.bytes_of(all.clone()).start;
        let mut rest = all.clone();
        while let Some(claim) = self.shared.claim(rest.clone(), self.account, self.source) {
            let place = self.shared.geometry.bytes_of(claim.blocks.clone());
            let part = &bytes[(place.start - base) as usize..(place.end - base) as usize];
            rest.start = claim.blocks.end;
            if let Err(fault) = self.shared.content.write_at(part, place.start) {
                self.shared.abandon(&claim, self.account, self.source);
                self.waste(Waste::Aborted, self.shared.byte_count(&rest));
                return Err(WriteError::Disk(fault));
            }
            // First the mirror: what counts in the store is not written anywhere any more.
            if let Some(mirror) = &self.mirror {
                mirror.put(claim.blocks.clone(), part, place.start);
            }
            let hashes = &hashes[of(&claim.blocks, all.start)];
            self.shared.wrote(&claim, hashes, self.account, self.source);
        }
        Ok(())
    }

    /// Accounts for received bytes that are of no use.
    pub(crate) fn waste(&self, reason: Waste, bytes: u64) {
        self.shared.blocks().waste(self.account, self.source, reason, bytes);
    }
}

/// The places of these blocks in a list that begins with block `first`.
fn of(blocks: &Range<u32>, first: u32) -> Range<usize> {
    (blocks.start - first) as usize..(blocks.end - first) as usize
}

/// A run that was written, or not, and its buffer.
type Written = (Result<(), WriteError>, AlignedBuffer);

/// The threads that are behind a writer.
pub(crate) struct WriteBehind {
    orders: Option<SyncSender<Run>>,
    written: Receiver<Written>,
    threads: Vec<JoinHandle<()>>,
    in_flight: usize,
    spare: Vec<AlignedBuffer>,
}

impl WriteBehind {
    /// Starts the threads, one at least; `None` when the system has none to give.
    pub(crate) fn start(target: &Target) -> Option<Self> {
        let (orders, runs) = sync_channel::<Run>(IN_FLIGHT);
        let (finished, written) = sync_channel(IN_FLIGHT);
        let runs = Arc::new(Mutex::new(runs));
        let start = || {
            let (target, runs, finished) = (target.clone(), Arc::clone(&runs), finished.clone());
            let thread = std::thread::Builder::new().name("store write".to_owned());
            thread.spawn(move || write_all(&target, &runs, &finished)).ok()
        };
        let threads: Vec<_> = (0..THREADS).map_while(|_| start()).collect();
        if threads.is_empty() {
            return None;
        }
        Some(Self { orders: Some(orders), written, threads, in_flight: 0, spare: Vec::new() })
    }

    /// Hands a run over and gives an empty buffer for the next one; waits while too many are on their way. An error is one of an
    /// earlier run.
    pub(crate) fn hand_over(&mut self, run: Run) -> (Result<(), WriteError>, AlignedBuffer) {
        let mut outcome = if self.in_flight < IN_FLIGHT { Ok(()) } else { self.await_one() };
        if self.orders.as_ref().is_some_and(|orders| orders.send(run).is_ok()) {
            self.in_flight += 1;
        } else {
            // The threads died; the run is nowhere, and nobody may think otherwise.
            outcome = outcome.and(Err(WriteError::Spent));
        }
        (outcome, self.spare.pop().unwrap_or_default())
    }

    /// Waits until everything is written; the first error of what was.
    pub(crate) fn drain(&mut self) -> Result<(), WriteError> {
        let mut outcome = Ok(());
        while self.in_flight > 0 {
            outcome = outcome.and(self.await_one());
        }
        outcome
    }

    fn await_one(&mut self) -> Result<(), WriteError> {
        let Ok((outcome, mut buffer)) = self.written.recv() else {
            self.in_flight = 0;
            return Err(WriteError::Spent);
        };
        self.in_flight -= 1;
        buffer.clear();
        self.spare.push(buffer);
        outcome
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        drop(self.orders.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that writes into the cache died");
            }
        }
    }
}

/// What each thread does: takes the next run and writes it, until there are no more.
fn write_all(target: &Target, runs: &Mutex<Receiver<Run>>, finished: &SyncSender<Written>) {
    loop {
        let next = runs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(run) = next else { return };
        let outcome = target.write(run.first, &run.hashes, &run.bytes);
        if finished.send((outcome, run.bytes)).is_err() {
            return;
        }
    }
}
