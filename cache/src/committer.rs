//! The one thread that writes the index: it gathers what waits and commits it in one transaction (group commit).
//!
//! A durable commit costs two or three fsyncs however many changes it carries, and some hundred microseconds of bookkeeping, so entities
//! that commit at the same time share one, whether a thread waits for each of them or not. Threads that wait are let in up to a
//! bound; the others are one for each open small entity at most.
//! Changes of jobs are in the journal, too, before they are acknowledged (C-22).

use crate::fault::StoreError;
use crate::index::{Change, Index};
use crate::journal::{JobChange, Journal};
use std::mem;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Requests that may wait for the thread when one comes that a thread waits for.
const QUEUE: usize = 256;
/// Requests that share one transaction at most, so that no commit grows without bound (C-01).
const GROUP: usize = 128;

/// Changes that want to be durable, and who waits for the answer.
struct Request {
    changes: Vec<Change>,
    has_job: bool,
    answer: Answer,
}

/// Where an answer goes.
enum Answer {
    /// To a thread that waits for it.
    Thread(SyncSender<Result<(), StoreError>>),
    /// To whoever is told by this, on the committing thread: it must not wait, and not be the last to have the store open.
    Told(Told),
}

/// Takes what became of changes; dropped without that, they went nowhere.
pub(crate) type Told = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

impl Answer {
    fn give(self, outcome: Result<(), StoreError>) {
        match self {
            // Who no longer waits does not want to know.
            Self::Thread(thread) => drop(thread.send(outcome)),
            Self::Told(told) => told(outcome),
        }
    }
}

/// What waits for the thread.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something came.
    came: Condvar,
    /// There is room again.
    taken: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: Vec<Request>,
    is_closed: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request behind the others, when there is room.
    fn put_and_wait(&self, request: Request) -> Result<(), StoreError> {
        let waiting = self.waiting();
        let is_full = |waiting: &mut Waiting| waiting.requests.len() >= QUEUE && !waiting.is_closed;
        let mut waiting = self.taken.wait_while(waiting, is_full).unwrap_or_else(PoisonError::into_inner);
        if waiting.is_closed {
            return Err(StoreError::Closing);
        }
        waiting.requests.push(request);
        drop(waiting);
        self.came.notify_one();
        Ok(())
    }

    /// Puts a request behind the others, however many they are: whoever waited for room would have the turn of an entity meanwhile, and
    /// others wait for that with locks in their hands. There is one for each open small entity at most.
    fn put(&self, request: Request) -> Result<(), Request> {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return Err(request);
        }
        waiting.requests.push(request);
        drop(waiting);
        self.came.notify_one();
        Ok(())
    }

    /// Waits for the next group; none when the queue is closed and empty.
    fn next(&self) -> Option<Vec<Request>> {
        let nothing = |waiting: &mut Waiting| waiting.requests.is_empty() && !waiting.is_closed;
        let mut waiting = self.came.wait_while(self.waiting(), nothing).unwrap_or_else(PoisonError::into_inner);
        let length = waiting.requests.len().min(GROUP);
        let later = waiting.requests.split_off(length);
        let group = mem::replace(&mut waiting.requests, later);
        drop(waiting);
        self.taken.notify_all();
        (!group.is_empty()).then_some(group)
    }

    fn close(&self) {
        self.waiting().is_closed = true;
        self.came.notify_one();
        self.taken.notify_all();
    }
}

/// The handle on the committing thread.
pub(crate) struct Committer {
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Committer {
    /// Starts the thread.
    pub(crate) fn start(index: Arc<Index>, mut journal: Journal, last_transaction: u64) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let requests = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name("store commit".to_owned()).spawn(move || {
            let _closed = ClosedAtLast(&requests);
            run(&index, &mut journal, last_transaction, &requests);
        })?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Makes the changes durable, all or none, and waits for that.
    pub(crate) fn commit(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let (answer, answered) = sync_channel(1);
        self.queue.put_and_wait(Request { changes, has_job: false, answer: Answer::Thread(answer) })?;
        answered.recv().map_err(|_| StoreError::Closing)?
    }

    /// The same without waiting for it: `told` hears what became of them. The changes come back where the queue is closed.
    pub(crate) fn commit_then(&self, changes: Vec<Change>, told: Told) -> Result<(), Vec<Change>> {
        let request = Request { changes, has_job: false, answer: Answer::Told(told) };
        self.queue.put(request).map_err(|refused| refused.changes)
    }

    /// Commits what is queued and ends the thread.
    pub(crate) fn stop(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that commits the cache index died");
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Refuses what comes when the thread is gone, however it went, and drops what waits: nobody waits for an answer for ever.
struct ClosedAtLast<'q>(&'q Queue);

impl Drop for ClosedAtLast<'_> {
    fn drop(&mut self) {
        self.0.close();
        drop(mem::take(&mut self.0.waiting().requests));
    }
}

fn run(index: &Index, journal: &mut Journal, mut number: u64, requests: &Queue) {
    while let Some(mut group) = requests.next() {
        let turn = index.take_turn(journal);
        number = number.max(index.highest_number()) + 1;
        let outcome = commit(index, journal, number, &mut group);
        drop(turn);
        for request in group {
            request.answer.give(outcome.clone());
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
        for request in group.extract_if(.., |request| request.has_job) {
            request.answer.give(Err(fault.clone().into()));
        }
    }
    Ok(())
}

fn job_change(change: &Change) -> Option<JobChange<'_>> {
    match change {
        Change::Job(id, row) => Some((*id, row.as_deref())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::Receiver;

    /// A request, and where its answer comes.
    fn request() -> (Request, Receiver<Result<(), StoreError>>) {
        let (answer, answered) = sync_channel(1);
        let told = move |outcome| answer.send(outcome).expect("heard");
        (
            Request { changes: vec![Change::Running(true)], has_job: false, answer: Answer::Told(Box::new(told)) },
            answered,
        )
    }

    #[test]
    fn a_group_has_its_bound_and_what_is_left_is_in_the_next() {
        let queue = Queue::default();
        for _ in 0..=QUEUE {
            assert!(queue.put(request().0).is_ok(), "who has no thread waiting waits for no room");
        }
        for _ in 0..QUEUE / GROUP {
            assert_eq!(queue.next().expect("a group").len(), GROUP);
        }
        queue.close();
        assert_eq!(queue.next().expect("what was there").len(), 1);
        assert!(queue.next().is_none());
        let refused = queue.put(request().0).expect_err("it is closed");
        assert_eq!(refused.changes.len(), 1, "what is refused comes back");
    }

    #[test]
    fn whoever_waits_finds_room_when_a_group_is_taken() {
        let queue = Arc::new(Queue::default());
        for _ in 0..QUEUE {
            assert!(queue.put(request().0).is_ok());
        }
        let waiting = {
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || queue.put_and_wait(request().0))
        };
        let mut taken = 0;
        while taken <= QUEUE {
            taken += queue.next().expect("a group").len();
        }
        assert!(waiting.join().expect("a thread").is_ok() && taken == QUEUE + 1);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_is_gone() {
        let queue = Queue::default();
        let (request, answered) = request();
        assert!(queue.put(request).is_ok());
        drop(ClosedAtLast(&queue));
        assert!(answered.recv().is_err(), "it hears nothing, and knows it");
        assert!(matches!(queue.put_and_wait(self::request().0), Err(StoreError::Closing)));
    }
}
