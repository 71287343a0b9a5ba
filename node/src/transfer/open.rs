//! An open entity of a job's file, and the task that makes its blocks durable.
//!
//! Commits of one entity are made by one task: fetches that end together share a commit, and the disk's flush never stalls
//! a writer. Of a small object, which whoever wrote it commits as well, the task is started when somebody needs it.

use super::recent::Recent;
use super::room::CacheRoom;
use crate::deliver::Part;
use eddy_cache::{Account, EntityHandle, Mirror};
use eddy_content::BlockSet;
use eddy_engine::{Failure, FileRef, Input};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// How much is written before it is made durable without being asked (C-01).
const COMMIT_EVERY_BYTES: u64 = 64 * 1024 * 1024;
/// How long something written waits to be made durable (C-01).
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Fetches that may wait for a commit.
const WAITING: usize = 64;

/// Tells readers of an entity that blocks of it were written, or are held.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Notify>);

impl Arrivals {
    /// Waits for the next arrival. Enable the future before looking at what is there, so that none is missed. Cancel safe.
    pub fn next(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.notified()
    }

    fn tell(&self) {
        self.0.notify_waiters();
    }
}

/// Where fetches of one file bring their blocks.
#[derive(Debug, Clone)]
pub struct OpenEntity {
    /// The file.
    pub file: FileRef,
    /// The cache that it lies in.
    pub room: CacheRoom,
    /// The entity in the store.
    pub entity: EntityHandle,
    /// For the delivered file's time.
    pub last_modified: Option<i64>,
    /// The file beside the destination that gets each block as it comes, until it is staged.
    part: Arc<Mutex<Option<Part>>>,
    written: Arc<AtomicU64>,
    /// Whether others here read what comes as soon as it is written.
    is_followed: Arc<AtomicBool>,
    /// Whether members do.
    is_passed_on: Arc<AtomicBool>,
    /// The newest bytes from the origin, for who follows.
    recent: Arc<OnceLock<Recent>>,
    wake: Arc<Notify>,
    arrivals: Arrivals,
    inputs: mpsc::Sender<Input>,
    tasks: TaskTracker,
    commits: Arc<OnceLock<Commits>>,
}

/// The way to the committing task.
type Commits = mpsc::Sender<oneshot::Sender<Result<(), Failure>>>;

impl OpenEntity {
    /// Opens a file's entity and starts its committing task, which ends when the last clone is dropped.
    pub fn start(
        (file, room): (FileRef, CacheRoom),
        (entity, part, arrivals): (EntityHandle, Option<Part>, Arrivals),
        last_modified: Option<i64>,
        inputs: mpsc::Sender<Input>,
        tasks: &TaskTracker,
    ) -> Self {
        let open = Self {
            file,
            room,
            entity,
            last_modified,
            part: Arc::new(Mutex::new(part)),
            written: Arc::default(),
            is_followed: Arc::default(),
            is_passed_on: Arc::default(),
            recent: Arc::default(),
            wake: Arc::default(),
            arrivals,
            inputs,
            tasks: tasks.clone(),
            commits: Arc::default(),
        };
        if !open.entity.is_in_index() {
            open.commits();
        }
        open
    }

    /// The way to the committing task, which is started by the first who wants it.
    fn commits(&self) -> &Commits {
        self.commits.get_or_init(|| {
            let (commits, requests) = mpsc::channel(WAITING);
            let told = (self.written.clone(), self.wake.clone(), self.arrivals.clone());
            let (place, entity, inputs) = ((self.file, self.room.clone()), self.entity.clone(), self.inputs.clone());
            self.tasks.spawn(commit_loop(place, entity, requests, inputs, told));
            commits
        })
    }

    /// Tells whoever reads the entity while it comes.
    #[must_use]
    pub fn arrivals(&self) -> Arrivals {
        self.arrivals.clone()
    }

    /// Others here read what comes, as soon as it is written: fetches that begin from now on write small runs.
    pub fn follow(&self) {
        self.is_followed.store(true, Ordering::Relaxed);
    }

    /// The same, and what comes from the origin is shown to them at once.
    pub fn follow_closely(&self, recent: Recent) {
        self.follow();
        // Whoever was first goes on.
        let _ = self.recent.set(recent);
    }

    /// Where those who follow closely see what comes from the origin.
    #[must_use]
    pub fn recent(&self) -> Option<&Recent> {
        self.recent.get()
    }

    /// What comes is passed on to members as soon as it is written: so do fetches of what nobody has whole.
    pub fn pass_on(&self) {
        self.is_passed_on.store(true, Ordering::Relaxed);
    }

    /// Whether what comes is passed on to members.
    #[must_use]
    pub fn is_passed_on(&self) -> bool {
        self.is_passed_on.load(Ordering::Relaxed)
    }

    /// Whether others here read what comes.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.is_followed.load(Ordering::Relaxed)
    }

    /// The ledger's name of the file.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { job: self.file.job.0, file: self.file.file }
    }

    /// Where new blocks are to be written besides the store.
    #[must_use]
    pub fn mirror(&self) -> Option<Arc<Mirror>> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Part::mirror)
    }

    /// Takes the file beside the destination for staging; blocks that come later are not in it.
    #[must_use]
    pub fn take_part(&self) -> Option<Part> {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether there is one, which the last who lets go takes away: in a directory of the user's.
    #[must_use]
    pub fn has_part(&self) -> bool {
        self.part.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Bytes were written and wait to be made durable.
    pub fn on_written(&self, bytes: u64) {
        self.arrivals.tell();
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before < COMMIT_EVERY_BYTES && before + bytes >= COMMIT_EVERY_BYTES {
            self.wake.notify_one();
        }
    }

    /// Makes everything that was written durable and tells the engine. Cancel safe: the commit goes on.
    pub async fn commit(&self) -> Result<(), Failure> {
        if self.entity.is_settled() {
            // Whoever wrote a small object has committed it as well.
            self.arrivals.tell();
            report(self.file, &self.entity, &self.inputs).await;
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let stopped = || Failure::transient("shutting-down", "the node is stopping");
        self.commits().send(answer).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn commit_loop(
    (file, room): (FileRef, CacheRoom),
    entity: EntityHandle,
    mut requests: mpsc::Receiver<oneshot::Sender<Result<(), Failure>>>,
    inputs: mpsc::Sender<Input>,
    (written, wake, arrivals): (Arc<AtomicU64>, Arc<Notify>, Arrivals),
) {
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(request) => waiting.push(request),
                None => break,
            },
            () = wake.notified() => {}
            () = tokio::time::sleep(COMMIT_EVERY) => {}
        }
        while let Ok(request) = requests.try_recv() {
            waiting.push(request);
        }
        if written.swap(0, Ordering::Relaxed) == 0 && waiting.is_empty() {
            continue;
        }
        let outcome = commit_once(file, &room, &entity, &inputs).await;
        arrivals.tell();
        for request in waiting.drain(..) {
            // A fetch that was aborted no longer waits.
            let _ = request.send(outcome.clone());
        }
    }
    // The last word: what was written is not thrown away because nobody asked.
    if !entity.is_settled() {
        let _ = commit_once(file, &room, &entity, &inputs).await;
    }
    arrivals.tell();
}

async fn commit_once(
    file: FileRef,
    room: &CacheRoom,
    entity: &EntityHandle,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), Failure> {
    if !entity.is_settled() {
        let committing = entity.clone();
        match tokio::task::spawn_blocking(move || committing.commit()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(super::failure::of_commit(&error, &room.directory)),
            Err(_) => return Err(Failure::fatal("internal", "the commit of a transfer died")),
        }
    }
    report(file, entity, inputs).await;
    Ok(())
}

/// Tells the engine what is held.
async fn report(file: FileRef, entity: &EntityHandle, inputs: &mpsc::Sender<Input>) {
    let held: BlockSet = entity.held();
    // All held blocks, not only the new ones: another job may be filling the same entity.
    let _ = inputs.send(Input::Committed { file, entity: entity.id(), blocks: held }).await;
}
