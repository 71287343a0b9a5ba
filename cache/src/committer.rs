//! The one thread that writes the index: it gathers what waits and commits it in one transaction (group commit).
//!
//! A durable commit costs two or three fsyncs however many changes it carries, so entities that commit at the same time
//! share one. The queue is bounded; who finds it full waits. Changes of jobs are in the journal, too, before they are
//! acknowledged (C-22).

use crate::fault::StoreError;
use crate::index::{Change, Index};
use crate::journal::{JobChange, Journal};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Requests that may wait for the thread.
const QUEUE: usize = 256;
/// Requests that share one transaction at most, so that no commit grows without bound (C-01).
const GROUP: usize = 128;

/// Changes that want to be durable, and who waits for the answer.
struct Request {
    changes: Vec<Change>,
    has_job: bool,
    answer: SyncSender<Result<(), StoreError>>,
}

/// The handle on the committing thread.
pub(crate) struct Committer {
    queue: Mutex<Option<SyncSender<Request>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread.
    pub(crate) fn start(index: Arc<Index>, mut journal: Journal, last_transaction: u64) -> std::io::Result<Self> {
        let (queue, requests) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store commit".to_owned())
            .spawn(move || run(&index, &mut journal, last_transaction, &requests))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Makes the changes durable, all or none, and waits for that.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (answer, answered) = sync_channel(1);
        queue
            .ok_or(StoreError::Closing)?
            .send(Request { changes, has_job: false, answer })
            .map_err(|_| StoreError::Closing)?;
        answered.recv().map_err(|_| StoreError::Closing)?
    }

    /// Commits what is queued and ends the thread.
    pub(crate) fn stop(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that commits the cache index died");
        }
    }
}

fn run(index: &Index, journal: &mut Journal, mut number: u64, requests: &Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut group = vec![first];
        group.extend(requests.try_iter().take(GROUP - 1));
        let turn = index.take_turn(journal);
        number = number.max(index.highest_number()) + 1;
        let outcome = commit(index, journal, number, &mut group);
        drop(turn);
        for request in group {
            // Who no longer waits does not want to know.
            let _ = request.answer.send(outcome.clone());
        }
    }
}

/// Commits the group's changes, then brings those of jobs into the journal; requests whose changes it refuses leave the
/// group with the reason.
fn commit(index: &Index, journal: &mut Journal, number: u64, group: &mut Vec<Request>) -> Result<(), StoreError> {
    let mut changes = Vec::new();
    for request in group.iter_mut() {
        request.has_job = request.changes.iter().any(|change| job_change(change).is_some());
        changes.append(&mut request.changes);
    }
    let count = changes.iter().filter_map(job_change).count();
    if count == 0 {
        return Ok(index.apply(number, &changes)?);
    }
    let (first, last) = journal.number(count);
    changes.push(Change::JobsSequence(last));
    if let Err(fault) = index.apply(number, &changes) {
        // Asked once more: what is known is said, and what is not is not guessed (C-08).
        match index.last_transaction() {
            Ok(last) if last == number => {}
            Ok(_) => return Err(fault.into()),
            Err(_) => {
                journal.follow_the_index();
                return Err(fault.into());
            }
        }
    }
    let jobs: Vec<JobChange<'_>> = changes.iter().filter_map(job_change).collect();
    if let Err(fault) = journal.append(first, &jobs, index) {
        group.retain(|request| {
            if request.has_job {
                let _ = request.answer.send(Err(fault.clone().into()));
            }
            !request.has_job
        });
    }
    Ok(())
}

fn job_change(change: &Change) -> Option<JobChange<'_>> {
    match change {
        Change::Job(id, row) => Some((*id, row.as_deref())),
        _ => None,
    }
}
