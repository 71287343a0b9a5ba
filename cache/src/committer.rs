//! The one thread that writes the index: it gathers what waits and commits it in one transaction (group commit).
//!
//! A durable commit costs two or three fsyncs however many changes it carries, so entities that commit at the same time
//! share one. The queue is bounded; who finds it full waits. Changes of jobs are in the journal before the transaction
//! begins (C-22).

use crate::fault::StoreError;
use crate::index::{Change, Index};
use crate::journal::{Appended, JobChange, Journal};
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
        queue.ok_or(StoreError::Closing)?.send(Request { changes, answer }).map_err(|_| StoreError::Closing)?;
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
        let appended = write_down(journal, index, &mut group);
        let (mut changes, mut waiting) = (Vec::new(), Vec::new());
        for request in group {
            changes.extend(request.changes);
            waiting.push(request.answer);
        }
        changes.extend(appended.as_ref().map(|appended| Change::JobsSequence(appended.sequence)));
        if changes.is_empty() {
            continue;
        }
        number += 1;
        let outcome = index.apply(number, &changes).map_err(StoreError::Index);
        if let (Err(_), Some(appended)) = (&outcome, appended) {
            journal.take_back(appended);
        }
        for answer in waiting {
            // Who no longer waits does not want to know.
            let _ = answer.send(outcome.clone());
        }
    }
}

/// Brings the group's changes of jobs into the journal; requests whose changes it refuses leave the group with the reason.
fn write_down(journal: &mut Journal, index: &Index, group: &mut Vec<Request>) -> Option<Appended> {
    let jobs: Vec<JobChange<'_>> = group.iter().flat_map(|request| &request.changes).filter_map(job_change).collect();
    if jobs.is_empty() {
        return None;
    }
    let fault = match journal.append(&jobs, index) {
        Ok(appended) => return Some(appended),
        Err(fault) => fault,
    };
    group.retain(|request| {
        let has_job = request.changes.iter().any(|change| job_change(change).is_some());
        if has_job {
            let _ = request.answer.send(Err(fault.clone().into()));
        }
        !has_job
    });
    None
}

fn job_change(change: &Change) -> Option<JobChange<'_>> {
    match change {
        Change::Job(id, row) => Some((*id, row.as_deref())),
        _ => None,
    }
}
