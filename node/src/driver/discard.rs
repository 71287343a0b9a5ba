//! Staged files are taken away without the driver: a directory may lie on a file system that does not answer.
//!
//! Two things wait for it. Who writes such a name again waits until it is free ([`Destination::after`]). The row of a job that has ended goes when
//! all its staged files are gone, since nobody else would look for them after a crash; but not for ever, since a job that its owner has
//! cancelled must not come back.
//!
//! [`Destination::after`]: crate::deliver::Destination::after

use crate::deliver::{Cleared, Clearing, Destination, discard};
use eddy_engine::{FileRef, JobId};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long the row of a job that has ended waits for its staged files to go: long for a file system that answers, and less
/// than a node that stops waits ([`DRAIN`](super::DRAIN)).
const PATIENCE: Duration = Duration::from_secs(3);
/// Jobs of one user that have ended whose files are taken away at a time: a file system that does not answer keeps a thread for each.
const JOBS_AT_ONCE: usize = 4;

/// Who waits for a job to be forgotten durably.
pub(super) type Told = Box<dyn FnOnce() + Send + Sync>;
/// Something that takes its time in directories of users.
type Work = Box<dyn FnOnce() + Send + Sync>;

/// Staged files that are taken away, and jobs that are forgotten after that.
#[derive(Default)]
pub(super) struct Discards {
    /// Files of one job, gathered.
    gathered: Vec<(FileRef, Destination)>,
    under_way: JoinSet<Done>,
    jobs: HashMap<JobId, Clearance>,
    /// By owner: how many jobs that have ended are under way, and those that wait.
    queues: HashMap<u32, Queue>,
}

/// What is over: a work of a job, and whose place it had.
struct Done {
    job: JobId,
    place: Option<u32>,
}

#[derive(Default)]
struct Queue {
    under_way: usize,
    waiting: VecDeque<(JobId, Work)>,
}

/// What is to be done for a job.
#[derive(Default)]
struct Clearance {
    /// Works that are not over.
    works: usize,
    cleared: HashMap<u32, Cleared>,
    erasing: Option<Erasing>,
}

/// A job that is to be forgotten.
struct Erasing {
    due: Instant,
    told: Vec<Told>,
}

impl Discards {
    /// Gathers a file that is to be taken away; false when another job's are gathered, and have to begin first.
    pub(super) fn gather(&mut self, file: FileRef, destination: Destination) -> bool {
        let is_same = self.gathered.first().is_none_or(|(first, _)| first.job == file.job);
        if is_same {
            self.gathered.push((file, destination));
        }
        is_same
    }

    /// Of which job files are gathered.
    pub(super) fn gathered_of(&self) -> Option<JobId> {
        self.gathered.first().map(|(file, _)| file.job)
    }

    /// Begins to take away what was gathered. Jobs that have ended wait for each other; those that go on do not, as they are few.
    pub(super) fn begin(&mut self, has_ended: bool) {
        let Some((FileRef { job, .. }, first)) = self.gathered.first() else { return };
        let (job, owner) = (*job, has_ended.then_some(first.owner()));
        let files = std::mem::take(&mut self.gathered);
        let files = files.into_iter().map(|(file, destination)| (destination, self.clearing(file))).collect();
        self.start(job, owner, Box::new(move || discard(files)));
    }

    /// Lets something go that may have a staged file.
    pub(super) fn let_go(&mut self, file: FileRef, held: impl Send + Sync + 'static) {
        let clearing = self.clearing(file);
        self.start(
            file.job,
            None,
            Box::new(move || {
                drop(held);
                drop(clearing);
            }),
        );
    }

    /// A name that is being cleared, after which it may be written again.
    fn clearing(&mut self, file: FileRef) -> Clearing {
        let clearing = Clearing::default();
        self.jobs.entry(file.job).or_default().cleared.insert(file.file, clearing.cleared());
        clearing
    }

    /// What the next who writes the file's staged name waits for.
    pub(super) fn before(&self, file: FileRef) -> Option<Cleared> {
        let cleared = self.jobs.get(&file.job)?.cleared.get(&file.file)?;
        (!cleared.is_over()).then(|| cleared.clone())
    }

    fn start(&mut self, job: JobId, owner: Option<u32>, work: Work) {
        self.jobs.entry(job).or_default().works += 1;
        let Some(owner) = owner else { return self.spawn(Done { job, place: None }, work) };
        let queue = self.queues.entry(owner).or_default();
        if queue.under_way < JOBS_AT_ONCE {
            queue.under_way += 1;
            self.spawn(Done { job, place: Some(owner) }, work);
        } else {
            queue.waiting.push_back((job, work));
        }
    }

    fn spawn(&mut self, done: Done, work: Work) {
        self.under_way.spawn_blocking(move || {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!(job = %done.job, "taking staged files away died");
            }
            done
        });
    }

    /// Waits until some files are gone; of which job. `None` when nothing is under way. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<JobId> {
        loop {
            let Ok(Done { job, place }) = self.under_way.join_next().await? else { continue };
            if let Some(owner) = place {
                self.give_place(owner);
            }
            return Some(job);
        }
    }

    /// A place of an owner is free.
    fn give_place(&mut self, owner: u32) {
        let Some(queue) = self.queues.get_mut(&owner) else { return };
        match queue.waiting.pop_front() {
            Some((job, work)) => self.spawn(Done { job, place: Some(owner) }, work),
            None => {
                queue.under_way -= 1;
                if queue.under_way == 0 {
                    self.queues.remove(&owner);
                }
            }
        }
    }

    /// A work of a job is over: who waits for the job to be forgotten, where that is its turn now.
    pub(super) fn end(&mut self, job: JobId) -> Option<Vec<Told>> {
        let clearance = self.jobs.get_mut(&job)?;
        clearance.works = clearance.works.saturating_sub(1);
        if clearance.works > 0 {
            return None;
        }
        Some(self.jobs.remove(&job)?.erasing?.told)
    }

    /// Whether a job is forgotten later, as files of it are being taken away.
    pub(super) fn puts_off(&mut self, job: JobId, now: Instant) -> bool {
        let Some(clearance) = self.jobs.get_mut(&job) else { return false };
        clearance.erasing.get_or_insert_with(|| Erasing { due: now + PATIENCE, told: Vec::new() });
        true
    }

    /// Tells somebody when a job is forgotten; at once when that does not wait.
    pub(super) fn once_erased(&mut self, job: JobId, told: Told) {
        match self.jobs.get_mut(&job).and_then(|clearance| clearance.erasing.as_mut()) {
            Some(erasing) => erasing.told.push(told),
            None => told(),
        }
    }

    /// A job of this name is written down anew: it is not to be forgotten.
    pub(super) fn keep(&mut self, job: JobId) {
        if let Some(erasing) = self.jobs.get_mut(&job).and_then(|clearance| clearance.erasing.take()) {
            erasing.told.into_iter().for_each(|told| told());
        }
    }

    /// How long until a job has waited enough.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let due = self.jobs.values().filter_map(|clearance| Some(clearance.erasing.as_ref()?.due)).min()?;
        Some(due.saturating_duration_since(now))
    }

    /// Jobs that have waited enough to be forgotten.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(JobId, Vec<Told>)> {
        let overdue = self.jobs.iter_mut().filter_map(|(job, clearance)| {
            let erasing = clearance.erasing.take_if(|erasing| erasing.due <= now)?;
            Some((*job, erasing.told))
        });
        overdue.collect()
    }

    /// Whether nothing is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.under_way.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_engine::Owner;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const OWNER: u32 = 7;

    fn job(number: u8) -> JobId {
        JobId([number; 16])
    }

    /// Work that ends when the sender is dropped.
    fn work() -> (SyncSender<()>, Work) {
        let (end, ended) = sync_channel::<()>(1);
        let ended = std::sync::Mutex::new(ended);
        let wait = move || drop(ended.lock().map(|ended: std::sync::MutexGuard<'_, Receiver<()>>| ended.recv()));
        (end, Box::new(wait))
    }

    fn told() -> (Receiver<()>, Told) {
        let (tell, told) = sync_channel(1);
        (told, Box::new(move || assert_eq!(tell.send(()), Ok(()))))
    }

    #[tokio::test]
    async fn a_job_is_forgotten_when_all_its_files_are_gone_and_who_waits_is_told_then() {
        let (mut discards, now) = (Discards::default(), Instant::now());
        assert!(!discards.puts_off(job(1), now), "nothing is to be waited for");
        let ((first, one), (second, other)) = (work(), work());
        discards.start(job(1), None, one);
        discards.start(job(1), Some(OWNER), other);
        assert!(discards.puts_off(job(1), now));
        let (told, tell) = told();
        discards.once_erased(job(1), tell);
        drop(first);
        assert_eq!(discards.next().await, Some(job(1)));
        assert!(discards.end(job(1)).is_none());
        drop(second);
        assert_eq!(discards.next().await, Some(job(1)));
        assert!(told.try_recv().is_err());
        let waiting = discards.end(job(1)).expect("its turn");
        waiting.into_iter().for_each(|tell| tell());
        assert!(told.try_recv().is_ok() && discards.is_at_rest() && discards.jobs.is_empty());
    }

    #[tokio::test]
    async fn a_directory_that_does_not_answer_holds_nobody_up_but_its_job_and_that_not_for_ever() {
        let (mut discards, now) = (Discards::default(), Instant::now());
        let hanging: Vec<_> = (0..JOBS_AT_ONCE).map(|_| work()).collect();
        let ends = (1..).zip(hanging).map(|(number, (end, work))| {
            discards.start(job(number), Some(OWNER), work);
            end
        });
        let ends: Vec<_> = ends.collect();
        assert!(discards.puts_off(job(1), now) && discards.left(now) == Some(PATIENCE));
        // Another job of the user waits for a thread; one of another user does not, nor one that goes on.
        for (number, owner) in [(50, Some(OWNER)), (60, Some(OWNER + 1)), (70, None)] {
            discards.start(job(number), owner, Box::new(|| ()));
        }
        let mut over = [discards.next().await, discards.next().await];
        over.sort();
        assert_eq!(over, [Some(job(60)), Some(job(70))]);
        assert!(discards.overdue(now).is_empty());
        let overdue: Vec<_> = discards.overdue(now + PATIENCE).into_iter().map(|(job, _)| job).collect();
        assert_eq!((overdue, discards.left(now)), (vec![job(1)], None));
        // It is not forgotten a second time when its directory answers after all.
        drop(ends);
        let mut over = Vec::new();
        while let Some(job) = discards.next().await {
            assert!(discards.end(job).is_none());
            over.push(job);
        }
        assert_eq!(over.len(), JOBS_AT_ONCE + 1, "also the one that waited");
        assert!(discards.queues.is_empty());
    }

    #[tokio::test]
    async fn a_staged_name_is_written_after_its_removal_also_in_a_later_turn() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = FileRef { job: job(1), file: 3 };
        let owner = Owner(rustix::process::geteuid().as_raw());
        let destination = Destination::new(file, &directory.path().join("image").to_string_lossy(), owner);
        std::fs::write(destination.part(), "old").expect("written");
        let mut discards = Discards::default();
        assert!(discards.gather(file, destination.clone()));
        assert!(!discards.gather(FileRef { job: job(2), file: 0 }, destination.clone()), "another job's");
        discards.begin(false);
        // It runs on another thread; whoever asks is told to wait until it has.
        let before = discards.before(file);
        assert!(before.is_none_or(|before| destination.after(before).create_part().is_ok()));
        assert_eq!(discards.next().await, Some(job(1)));
        assert!(discards.end(job(1)).is_none() && discards.before(file).is_none());
    }
}
