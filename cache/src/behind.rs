//! Writes runs of a large file while the next ones are received and hashed: disk and processor work at the same time.
//!
//! Three threads for each mirror, begun with the first full run of any writer and ended with the last writer: a disk that is given the next
//! run before it has said that the last one is done need not wait between them. A file that comes in a dozen ranges at once has as many
//! writers; with threads for each of them, three dozen stood before the lock of one file, and waited for it on the processor. A run
//! that is handed over is hashed and right; what a thread cannot write is accounted for and told with a later
//! run or at the end. Blocks count as pending only once their bytes are written, in whatever order, so a commit in
//! between takes exactly what is there.

use crate::aligned::AlignedBuffer;
use crate::entity::Shared;
use crate::fault::WriteError;
use crate::ledger::{Account, Source, Waste};
use crate::mirror::Mirror;
use eddy_content::BlockHash;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads that write, and so runs that are on their way to the disk at once.
const THREADS: usize = 3;
/// Runs of one writer that are handed over and not written yet, at most: those on their way, and one that follows at once.
const IN_FLIGHT: usize = THREADS + 1;
/// Runs of all writers that wait for a thread.
const WAITING: usize = 1;

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

/// A run on its way, and where to say how it went.
struct Order {
    target: Target,
    run: Run,
    written: SyncSender<Result<(), WriteError>>,
}

/// The threads that write the runs of all writers of one mirror.
pub(crate) struct WriteThreads {
    orders: Option<SyncSender<Order>>,
    threads: Vec<JoinHandle<()>>,
    spare: Arc<Spare>,
}

/// Buffers whose runs are written.
#[derive(Default)]
struct Spare(Mutex<Vec<AlignedBuffer>>);

impl Spare {
    fn list(&self) -> MutexGuard<'_, Vec<AlignedBuffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, mut buffer: AlignedBuffer) {
        buffer.clear();
        let mut list = self.list();
        if list.len() < IN_FLIGHT {
            list.push(buffer);
        }
    }
}

impl WriteThreads {
    /// Starts the threads, one at least; `None` when the system has none to give.
    pub(crate) fn start() -> Option<Arc<Self>> {
        let (orders, runs) = sync_channel(WAITING);
        let (runs, spare) = (Arc::new(Mutex::new(runs)), Arc::<Spare>::default());
        let start = || {
            let (runs, spare) = (Arc::clone(&runs), Arc::clone(&spare));
            let thread = std::thread::Builder::new().name("store write".to_owned());
            thread.spawn(move || write_all(&runs, &spare)).ok()
        };
        let threads: Vec<_> = (0..THREADS).map_while(|_| start()).collect();
        let orders = Some(orders);
        (!threads.is_empty()).then(|| Arc::new(Self { orders, threads, spare }))
    }

    /// Waits while too many runs are before this one. `false` where the threads died, and the run is nowhere.
    fn order(&self, order: Order) -> bool {
        self.orders.as_ref().is_some_and(|orders| orders.send(order).is_ok())
    }
}

impl Drop for WriteThreads {
    fn drop(&mut self) {
        drop(self.orders.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that writes into the cache died");
            }
        }
    }
}

/// What each thread does: takes the next run and writes it, until there are no more writers.
fn write_all(runs: &Mutex<Receiver<Order>>, spare: &Spare) {
    loop {
        let next = runs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { target, run, written }) = next else { return };
        let outcome = target.write(run.first, &run.hashes, &run.bytes);
        spare.give_back(run.bytes);
        // Whoever hears of the run may be the last who needs the entity.
        drop(target);
        // A writer that is gone has not waited: nobody is left to be told.
        let _ = written.send(outcome);
    }
}

/// What one writer has handed over.
pub(crate) struct WriteBehind {
    threads: Arc<WriteThreads>,
    /// Of each run on its way how it went, the oldest first.
    outcomes: VecDeque<Receiver<Result<(), WriteError>>>,
}

impl WriteBehind {
    /// For a writer with a mirror; `None` where there is none, or no thread.
    pub(crate) fn of(target: &Target) -> Option<Self> {
        Some(Self { threads: target.mirror.as_ref()?.threads()?, outcomes: VecDeque::new() })
    }

    /// Hands a run over and gives an empty buffer for the next one; waits while too many are on their way. An error is one of an
    /// earlier run.
    pub(crate) fn hand_over(&mut self, target: &Target, run: Run) -> (Result<(), WriteError>, AlignedBuffer) {
        let mut outcome = if self.outcomes.len() < IN_FLIGHT { Ok(()) } else { self.await_one() };
        let (written, how) = sync_channel(1);
        if self.threads.order(Order { target: target.clone(), run, written }) {
            self.outcomes.push_back(how);
        } else {
            // The run is nowhere, and nobody may think otherwise.
            outcome = outcome.and(Err(WriteError::Spent));
        }
        let spare = self.threads.spare.list().pop();
        (outcome, spare.unwrap_or_default())
    }

    /// Waits until everything is written; the first error of what was.
    pub(crate) fn drain(&mut self) -> Result<(), WriteError> {
        let mut outcome = Ok(());
        while !self.outcomes.is_empty() {
            outcome = outcome.and(self.await_one());
        }
        outcome
    }

    /// Waits for the oldest run; one whose thread died is not written.
    fn await_one(&mut self) -> Result<(), WriteError> {
        self.outcomes.pop_front().map_or(Ok(()), |how| how.recv().unwrap_or(Err(WriteError::Spent)))
    }
}
