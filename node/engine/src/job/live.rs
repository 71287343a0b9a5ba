//! A live job: what is known of it without looking at its files, its files, and the timers that belong to it. Those of its
//! files that move side by side are the matter of `movers`.

mod movers;

use super::body::{Body, file_terms};
use super::condition::Condition;
use super::parcel::{Head, likeness, way_to};
use super::record::{FileRecord, JobRecord};
use super::spec::{Finish, Goal, JobId, JobSpec, Priority};
use super::state::{IllegalTransition, JobEvent, JobState};
use super::terms::{Life, MAX_TRANSFER_TIME, Owner, Presence, SHORTEST_RETRY};
use crate::file::{CacheUse, File, SourceBytes};
use crate::meter::Meter;
use crate::port::{Failure, FileRef};
use crate::queue::HostKey;
use crate::{retry, schedule};
use std::time::Duration;

pub(crate) use movers::{Movers, News};

/// A job in the engine.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    state: JobState,
    created: i64,
    name: Box<str>,
    /// The hook that is told of its end.
    hook: Option<Box<str>>,
    /// Whether its owner has to be there.
    presence: Presence,
    priority: Priority,
    finish: Finish,
    goal: Goal,
    /// How many files it has.
    count: usize,
    /// Equal for jobs that want the same files.
    likeness: u64,
    /// What it wants and how far its files are, which is a lot.
    body: Body,
    /// Whether its record says that it waits for its turn, though it does not yet.
    is_to_run: bool,
    /// Whether its files are as the record has them, and nothing is known beside.
    is_fresh: bool,
    failure: Option<Box<Failure>>,
    life: Life,
    /// The host of the first file, for which the job waits and holds a place.
    host: HostKey,
    /// Its number in the queue, as long as it keeps its place there.
    pub(crate) number: Option<u64>,
    /// As how urgent it counts in this turn.
    rank: Priority,
    /// When this turn began.
    began: Duration,
    /// When the slice of this turn is over.
    pub(crate) slice_ends: Duration,
    /// When it is forgotten if nothing happens to it.
    pub(crate) forgotten_at: Option<Duration>,
    /// Since when it is in its state.
    since: Duration,
    meter: Meter,
    /// Turns in a row that ended in a fault without progress.
    pub(crate) attempts: u32,
    /// When a job that falters tries again.
    pub(crate) retry_at: Option<Duration>,
    /// Since when nothing has moved though it was tried.
    pub(crate) no_progress_since: Option<Duration>,
    /// The condition of this machine that a job that falters waits for.
    pub(crate) condition: Option<Condition>,
    /// Since when such conditions have kept it from moving.
    pub(crate) hindered_since: Option<Duration>,
    /// What this turn may do with the cache.
    pub(crate) cache_use: CacheUse,
    /// Steps forward so far: see [`Job::on_progress`].
    progress: u64,
    /// Steps that had been made when the turn began.
    progress_at_turn: u64,
    /// Whether the owner has asked for completion, which waits for the files to become visible.
    pub(crate) is_completing: bool,
    /// Whether completion was asked for and waits for a condition to end.
    pub(crate) is_delivery_owed: bool,
    /// Files of a completion whose answer is awaited.
    pub(crate) publishing: usize,
    /// Files that move now, in order.
    moving: Vec<u32>,
    /// Files that failed in this turn.
    failed: Vec<u32>,
    /// The first file that has not had its chance in this turn.
    next_file: usize,
    /// Files that were looked at.
    #[cfg(test)]
    pub(crate) looks: usize,
    /// Whether its last turn ended because what was asked for on demand is there.
    pub(crate) has_ranges: bool,
}

impl Job {
    /// A job as its record has it.
    #[must_use]
    pub fn from_record(record: JobRecord) -> Self {
        let JobRecord { id, state, created, failure, is_completing: _, life, parcel } = record;
        let Head { name, hook, presence, priority, finish, goal, count, likeness, host } = parcel.head();
        // A job without files has nothing to run with.
        let state = if count == 0 && !state.is_final() { JobState::Suspended } else { state.at_rest() };
        Self {
            id,
            life,
            host,
            rank: priority,
            number: None,
            began: Duration::ZERO,
            slice_ends: Duration::ZERO,
            forgotten_at: None,
            since: Duration::ZERO,
            state,
            created,
            name,
            hook,
            presence,
            priority,
            finish,
            goal,
            count,
            likeness,
            body: Body::of(id, parcel),
            is_to_run: false,
            is_fresh: true,
            failure: failure.map(Box::new),
            meter: Meter::default(),
            attempts: 0,
            retry_at: None,
            no_progress_since: None,
            condition: None,
            hindered_since: None,
            cache_use: CacheUse::Allowed,
            progress: 0,
            progress_at_turn: 0,
            is_completing: false,
            is_delivery_owed: false,
            publishing: 0,
            moving: Vec::new(),
            failed: Vec::new(),
            next_file: 0,
            #[cfg(test)]
            looks: 0,
            has_ranges: false,
        }
    }

    /// The durable form.
    #[must_use]
    pub fn record(&self) -> JobRecord {
        // After a crash nobody knows whether the question was asked.
        let is_asking = self.is_asked_once() && self.state.is_active();
        let state = if self.is_to_run { JobState::Queued } else { self.state.at_rest() };
        JobRecord {
            id: self.id,
            state: if is_asking { JobState::Error } else { state },
            created: self.created,
            failure: if is_asking { Some(retry::broken_off()) } else { self.failure.as_deref().cloned() },
            is_completing: self.is_completing || self.is_delivery_owed,
            life: self.life,
            parcel: self.body.parcel(),
        }
    }

    /// Whether its files are at hand, and take room.
    pub(crate) fn is_at_hand(&self) -> bool {
        self.body.is_at_hand()
    }

    /// Whether putting its files away forgets nothing that is known of them.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Whether nothing can happen to its files before something happens to it.
    pub(crate) fn is_at_rest(&self) -> bool {
        !(self.state.is_active() || self.is_completing || self.state.is_final())
    }

    /// Puts its files away; what is known of them and not written down is forgotten, as by a restart.
    pub(crate) fn fold(&mut self) {
        if !self.is_at_rest() {
            return;
        }
        self.body.fold();
        if !self.body.is_at_hand() {
            self.is_fresh = true;
            self.meter = Meter::default();
        }
    }

    /// The name.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &JobSpec {
        &self.body.at_hand().spec
    }

    /// The owner's name for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hook that is told of its end, by its name.
    #[must_use]
    pub fn hook(&self) -> Option<&str> {
        self.hook.as_deref()
    }

    /// Whether its owner has to be there.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.presence
    }

    /// How urgent it is.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// What happens at its end.
    #[must_use]
    pub fn finish(&self) -> Finish {
        self.finish
    }

    /// What it is for.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.goal
    }

    /// Whether there is something to run with.
    #[must_use]
    pub fn has_files(&self) -> bool {
        self.count > 0
    }

    /// Equal for jobs that want the same files, and seldom for others.
    pub(crate) fn likeness(&self) -> u64 {
        self.likeness
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.state
    }

    /// When it was created, in seconds since the Unix epoch.
    #[must_use]
    pub fn created(&self) -> i64 {
        self.created
    }

    /// To whom it belongs.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.life.owner
    }

    /// What it has lived through.
    #[must_use]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// Since when it is in its state, monotonic; zero since before the node started.
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// It is made now.
    pub(crate) fn begin_life(mut self, now: Duration) -> Self {
        self.since = now;
        self
    }

    /// It will be let run as soon as it is durable, and its record says so already.
    pub(crate) fn about_to_run(mut self) -> Self {
        self.is_to_run = self.count > 0;
        self
    }

    /// Its record says what it does again; whether it said more than that.
    pub(crate) fn settle_record(&mut self) -> bool {
        std::mem::take(&mut self.is_to_run)
    }

    /// Since when nothing has moved though it was tried, monotonic.
    #[must_use]
    pub fn no_progress_since(&self) -> Option<Duration> {
        self.no_progress_since
    }

    /// Without progress for this long it becomes an error.
    #[must_use]
    pub fn gives_up_after(&self) -> Duration {
        self.spec().terms.give_up_after.unwrap_or_else(|| retry::no_progress_timeout(self.spec().patience))
    }

    /// Whether it has never had a turn.
    #[must_use]
    pub fn is_untried(&self) -> bool {
        let Life { spent, faults, transferred, .. } = self.life;
        self.state == JobState::Suspended && spent.is_zero() && faults == 0 && transferred.is_none()
    }

    /// Whether its questions are asked once only (F-68).
    #[must_use]
    pub fn is_asked_once(&self) -> bool {
        // What is not at hand does nothing.
        self.body.is_at_hand() && self.spec().terms.method.is_some()
    }

    /// The first pause after a fault that may pass, if it has a wish.
    pub(crate) fn retry_delay(&self) -> Option<Duration> {
        self.spec().terms.retry_delay.map(|wish| wish.max(SHORTEST_RETRY))
    }

    /// Time of transfer that is left (F-24).
    pub(crate) fn time_left(&self) -> Duration {
        let most = self.spec().terms.max_transfer_time.unwrap_or(MAX_TRANSFER_TIME);
        most.saturating_sub(self.life.spent)
    }

    /// The host of one of its files.
    pub(crate) fn host_of(&self, file: u32) -> HostKey {
        self.spec().files.get(file as usize).map_or(self.host, |file| way_to(&file.url, &self.spec().terms.proxy))
    }

    pub(crate) fn host(&self) -> HostKey {
        self.host
    }

    pub(crate) fn rank(&self) -> Priority {
        self.rank
    }

    pub(crate) fn began(&self) -> Duration {
        self.began
    }

    pub(crate) fn life_mut(&mut self) -> &mut Life {
        &mut self.life
    }

    /// Asks for something else; whoever does has ended the turn, unless nothing changes that the files know.
    pub(crate) fn amend(&mut self, spec: JobSpec) {
        let (id, terms) = (self.id, file_terms(&spec));
        let at_hand = self.body.at_hand_mut();
        for (file, wanted) in at_hand.files.iter_mut().zip(&spec.files) {
            file.amend(wanted.clone(), terms);
        }
        for (wanted, index) in spec.files.iter().zip(0u32..).skip(at_hand.files.len()) {
            let at = FileRef { job: id, file: index };
            at_hand.files.push(File::new(at, wanted.clone(), terms, FileRecord::UNKNOWN));
        }
        self.host = spec.files.first().map_or(HostKey::of(""), |file| way_to(&file.url, &spec.terms.proxy));
        if self.rank != spec.priority && self.state.is_active() {
            self.rank = spec.priority;
        }
        (self.name, self.priority, self.finish) = (spec.name.as_str().into(), spec.priority, spec.finish);
        (self.count, self.likeness) = (spec.files.len(), likeness(&spec.files));
        self.hook = spec.terms.ties.hook.as_deref().map(Into::into);
        self.presence = spec.terms.ties.presence;
        at_hand.spec = spec;
    }

    /// It has held a place for so long.
    pub(crate) fn spend(&mut self, time: Duration) {
        self.life.spent += time;
    }

    /// Something about it that is written down changes.
    pub(crate) fn touch(&mut self, wall: i64, forgotten_at: Option<Duration>) {
        self.life.touched = wall;
        self.forgotten_at = forgotten_at;
    }

    /// The files, in the order of the specification.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.body.at_hand().files
    }

    /// The fault that stopped it, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// Whether what is whole is being delivered now.
    #[must_use]
    pub fn is_completing(&self) -> bool {
        self.is_completing
    }

    /// When it will try again by itself at the latest, monotonic.
    #[must_use]
    pub fn retry_at(&self) -> Option<Duration> {
        self.retry_at
    }

    /// When it wants to be woken: to try again, or to look after what it waits for.
    pub(crate) fn wakes_at(&self) -> Option<Duration> {
        let look = self.condition.and_then(|condition| condition.look_at);
        self.retry_at.into_iter().chain(look).min()
    }

    /// Forgets what it has waited for.
    pub(crate) fn wake(&mut self) {
        self.retry_at = None;
        self.condition = None;
    }

    /// Bytes so far, by source.
    #[must_use]
    pub fn bytes(&self) -> SourceBytes {
        self.files().iter().map(File::bytes).fold(SourceBytes::default(), |a, b| SourceBytes {
            origin: a.origin + b.origin,
            peers: a.peers + b.peers,
            cache: a.cache + b.cache,
        })
    }

    /// Bytes in all files, once every length is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.files().iter().map(File::length).sum()
    }

    /// Bytes that are there.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.files().iter().map(File::done).sum()
    }

    /// The running average of the rate.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    pub(crate) fn count(&mut self, now: Duration, bytes: u64) {
        self.meter.count(now, bytes);
    }

    /// Something is there that was not there before and will not have to be fetched again. Bytes alone are no progress: a
    /// server that breaks every body off would be asked for ever.
    pub(crate) fn on_progress(&mut self) {
        self.progress += 1;
        self.no_progress_since = None;
        self.hindered_since = None;
    }

    /// The turn begins.
    pub(crate) fn begin_turn(&mut self, now: Duration, rank: Priority) {
        self.progress_at_turn = self.progress;
        self.is_fresh = false;
        self.has_ranges = false;
        self.no_progress_since.get_or_insert(now);
        (self.rank, self.began, self.slice_ends) = (rank, now, now + schedule::SLICE);
    }

    /// Counts a turn that ended in a fault; one that made progress begins the count anew.
    pub(crate) fn count_fault(&mut self) {
        let has_moved = self.progress > self.progress_at_turn;
        self.attempts = if has_moved { 1 } else { self.attempts.saturating_add(1) };
        self.life.faults = self.life.faults.saturating_add(1);
    }

    /// Whether it rests because what was asked for on demand is there; not known after a restart.
    #[must_use]
    pub fn has_ranges(&self) -> bool {
        self.has_ranges && self.state == JobState::Suspended
    }

    pub(crate) fn files_mut(&mut self) -> &mut [File] {
        self.is_fresh = false;
        &mut self.body.at_hand_mut().files
    }

    pub(crate) fn file_mut(&mut self, file: u32) -> Option<&mut File> {
        self.files_mut().get_mut(file as usize)
    }

    pub(crate) fn set_failure(&mut self, failure: Option<Failure>) {
        self.failure = failure.map(Box::new);
    }

    /// Goes through the transition table, the only way by which a state changes.
    pub(crate) fn apply(&mut self, now: Duration, event: JobEvent) -> Result<bool, IllegalTransition> {
        let next = self.state.after(event)?;
        let is_changed = next != self.state;
        if is_changed {
            self.since = now;
        }
        // Whoever did not give way to a more urgent one waits behind those who wait already.
        if event != JobEvent::Preempt && !next.is_active() {
            self.number = None;
        }
        self.state = next;
        Ok(is_changed)
    }
}
