//! Carries the engine's effects out: in order, and the durable ones before anything that follows.
//!
//! | module | idea |
//! |---|---|
//! | `asking` | how the origin of a job's file is asked |
//! | `opening` | an entity is opened for a file |
//! | `gate` | on how many words held blocks must stand, and do |
//! | `fetching` | blocks are fetched into an open entity |
//! | `staging` | what is held is staged beside its destination |

mod asking;
mod fetching;
mod gate;
mod opening;
mod staging;
#[cfg(test)]
mod tests;

use super::account::Owed;
use super::command::{Holding, Naming, Refusal};
use super::contact::{AheadBody, asked};
use super::discard::Discards;
use super::heads::{Heads, Keeping, Unkept, Wanting};
use super::led::Led;
use super::publish::Publishing;
use super::seal::JobSeal;
use super::ways::Ways;
use super::{DriverParts, held};
use crate::deliver::Destination;
use crate::network::Losses;
use crate::origin::{Origin, OriginRequest, Pace, Span};
use crate::peer::Peers;
use crate::sessions;
use crate::swarm::{self, News, SwarmHandle};
use crate::transfer::audit::AuditOrder;
use crate::transfer::open::{Arrivals, OpenEntity};
use crate::transfer::origin::OriginFetch;
use crate::transfer::peer::PeerFetch;
use crate::transfer::recent::Recent;
use crate::transfer::room::CacheRoom;
use asking::is_asked_once;
use eddy_cache::{Account, LedgerEntry, NewEntity, Privacy, Store, StoreError};
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::AddressClass;
use eddy_content::{BlockSet, EntityId};
use eddy_engine::engine::Swarms;
use eddy_engine::file::File;
use eddy_engine::job::portion::Stretches;
use eddy_engine::port::{Contacted, Doubted, FetchOutcome};
use eddy_engine::{
    Effect, Engine, Failure, FailureClass, FetchId, FileRef, FileSpec, Goal, Held, Input, JobId, Portion,
};
use fetching::Work;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use opening::OpenedFile;

/// What is to become of a parked body.
enum Parked {
    Pump { open: OpenEntity, blocks: Range<u32> },
    Stream { destination: Destination, stretches: Option<Stretches>, digests: Vec<ExpectedDigest>, room: CacheRoom },
}

/// The origin's answer to a first question that somebody else has asked.
#[derive(Debug)]
pub struct Given {
    /// What it says.
    pub facts: Contacted,
    /// The body that came with it, and which bytes it has.
    pub body: Option<(Span, AheadBody)>,
    /// Who has led to where it came from, from another origin (T-20).
    pub led_by: Option<AddressClass>,
}

/// Who waits for the entity of a job that only holds.
pub(super) type Holder = oneshot::Sender<Result<Holding, Refusal>>;

/// What a job that only holds is bound to, however often it has a turn.
pub(super) struct Bound {
    /// The way to the origin.
    pub(super) origin: Origin,
    /// By which URL its content is known.
    pub(super) naming: Naming,
    /// Where bytes from the origin are shown before they are written.
    pub(super) recent: Option<Recent>,
    /// Who is told of what has been written.
    pub(super) arrivals: Arrivals,
}

pub(super) struct Executor {
    pub(super) store: Store,
    pub(super) room: CacheRoom,
    pub(super) seal: JobSeal,
    pub(super) heads: Heads,
    pub(super) wanting: Wanting,
    /// Answers that are not kept yet, and those of them that the engine was just told of.
    unkept: Unkept,
    answered: HashMap<FileRef, Keeping>,
    led: Led,
    /// Of jobs with transfers under way, or that are ahead of their limit.
    paces: HashMap<JobId, Pace>,
    ways: Ways,
    losses: Losses,
    peers: Option<Peers>,
    swarm: Option<SwarmHandle>,
    pub(super) inputs: mpsc::Sender<Input>,
    opened: mpsc::Sender<OpenedFile>,
    pub(super) tasks: TaskTracker,
    shutdown: CancellationToken,
    open: HashMap<FileRef, OpenEntity>,
    destinations: BTreeMap<FileRef, Destination>,
    fetches: HashMap<FetchId, CancellationToken>,
    parked: HashMap<FetchId, oneshot::Sender<Parked>>,
    /// Answers that are here before the engine asks, who waits for the entity, and what they are bound to; of jobs that only hold.
    given: HashMap<JobId, Given>,
    holders: HashMap<JobId, Holder>,
    bound: HashMap<JobId, Bound>,
    /// Jobs whose newest state is not on the disk, and why.
    pub(super) unsaved: HashMap<JobId, Failure>,
    /// Deliveries that are not in the ledger.
    pub(super) owed: Owed,
    /// Files that become visible together, gathered.
    pub(super) publishing: Vec<Publishing>,
    /// Staged files that are taken away.
    pub(super) discards: Discards,
}

impl Executor {
    pub(super) fn new(
        parts: DriverParts,
        inputs: mpsc::Sender<Input>,
        opened: mpsc::Sender<OpenedFile>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    ) -> Self {
        let DriverParts { store, directory, origin, ways: config, losses, seal, heads, peers, swarms, .. } = parts;
        let swarm = peers.clone().filter(|_| swarms == Swarms::On);
        let swarm = swarm.map(|peers| swarm::start(peers, inputs.clone(), &tasks, shutdown.clone()));
        let ways = Ways::new(origin, config);
        let room = CacheRoom { store: store.clone(), directory };
        let (open, fetches, parked) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (unsaved, owed, destinations) = (HashMap::new(), Owed::default(), BTreeMap::new());
        Self {
            store,
            room,
            seal,
            heads,
            wanting: Wanting::default(),
            led: Led::default(),
            unkept: Unkept::default(),
            answered: HashMap::new(),
            paces: HashMap::new(),
            ways,
            losses,
            peers,
            swarm,
            inputs,
            opened,
            tasks,
            shutdown,
            open,
            destinations,
            fetches,
            parked,
            given: HashMap::new(),
            holders: HashMap::new(),
            bound: HashMap::new(),
            unsaved,
            owed,
            publishing: Vec::new(),
            discards: Discards::default(),
        }
    }

    /// The first question of a job that only holds is answered already, and somebody waits for its entity.
    pub(super) fn expect(&mut self, job: JobId, given: Given, bound: Bound, holder: Holder) {
        self.led.note(FileRef { job, file: 0 }, given.led_by);
        self.given.insert(job, given);
        self.bound.insert(job, bound);
        self.holders.insert(job, holder);
    }

    /// Ends every fetch and lets every entity go.
    pub(super) fn stop(&mut self) {
        self.fetches.values().for_each(CancellationToken::cancel);
        self.parked.clear();
        let open = std::mem::take(&mut self.open);
        open.into_values().for_each(|open| self.let_go(open));
    }

    /// Lets go of an open file. The last one who has a small one writes what is not in the index, and may evict; of a large one, what is
    /// staged goes: not on this task.
    fn let_go(&mut self, open: OpenEntity) {
        if open.has_part() {
            self.discards.let_go(open.file, open);
        } else if !open.entity.ends_quietly() {
            drop(self.tasks.spawn_blocking(move || drop(open)));
        }
    }

    /// The engine is about to be told of an answer. Without a body nothing more is ordered of its task.
    pub(super) fn on_contacted(&mut self, fetch: FetchId, has_body: bool) {
        if !has_body {
            self.parked.remove(&fetch);
        }
        if let Some(keeping) = self.unkept.take(fetch) {
            self.answered.insert(keeping.file, keeping);
        }
    }

    /// Keeps the answers that nothing was made of.
    pub(super) fn keep_answers(&mut self) {
        for (_, keeping) in self.answered.drain() {
            drop(self.tasks.spawn_blocking(move || keeping.keep_here()));
        }
    }

    pub(super) async fn execute(&mut self, engine: &Engine, effect: Effect) {
        if !matches!(effect, Effect::Publish { .. }) {
            self.publish_gathered();
        }
        if !matches!(effect, Effect::Discard { .. }) {
            self.discard_gathered(engine);
        }
        match effect {
            Effect::Persist(record) => self.persist(vec![*record]).await,
            Effect::Erase(job) => {
                self.given.remove(&job);
                self.holders.remove(&job);
                self.bound.remove(&job);
                self.paces.remove(&job);
                self.led.forget(job);
                self.forget_destinations(job);
                if engine.job(job).is_none_or(|job| job.goal() != Goal::Hold) {
                    if !self.discards.puts_off(job, Instant::now()) {
                        self.erase(job).await;
                    }
                    self.end_heads(engine, job);
                }
            }
            Effect::Prepare { file } => self.prepare(engine, file),
            Effect::Probe { file, class } => self.probe(engine, file, class),
            Effect::Contact { fetch, file, url, credentials: _, method } => {
                if let Some(failure) = self.unsaved(file.job).filter(|_| is_asked_once(engine, file.job)).cloned() {
                    // After a crash it would be asked again.
                    return self.answer(move || Input::Contacted { fetch, result: Err(failure) });
                }
                let mut request = OriginRequest::new(url, asked(method));
                let keeping = self.keeping(engine, file);
                self.dress(engine, file, &request.url).leaving(keeping.as_ref()).put_on(&mut request);
                self.contact(engine, fetch, file, request, keeping);
            }
            Effect::Open { file, entity, requested_url, shareable, last_modified, digests, freshness } => {
                let privacy = if shareable { Privacy::Shareable } else { Privacy::Private };
                let freshness = freshness.map(|freshness| *freshness);
                let new = NewEntity { entity, requested_url, privacy, last_modified, digests, freshness };
                let is_whole = spec(engine, file).is_none_or(|spec| spec.portion == Portion::Whole);
                // Ranges are copied when all are there: blocks do not stand where they are written.
                let destination = self.destination(engine, file).filter(|_| is_whole);
                let of_job = spec(engine, file).map(|spec| spec.digests.as_slice()).unwrap_or_default();
                let gate = match (is_whole, of_job.is_empty()) {
                    (true, true) => self.gate(&new.entity.url, &new.digests),
                    (true, false) => self.gate(&new.entity.url, of_job),
                    // No digest speaks for all of the blocks.
                    (false, _) => self.gate(&new.entity.url, &[]),
                };
                let keeping = self.answered.remove(&file);
                self.open_entity(file, (new, keeping), (destination, gate));
            }
            Effect::Ask { file, peers } => self.ask(file, peers),
            Effect::Pump { fetch, file, blocks } => {
                if let (Some(parked), Some(open)) = (self.parked.remove(&fetch), self.open.get(&file)) {
                    // The contact's task is gone when its body broke meanwhile; it has said so.
                    let _ = parked.send(Parked::Pump { open: open.clone(), blocks });
                }
            }
            Effect::Stream { fetch, file, stretches, digests } => {
                if let (Some(parked), Some(destination)) = (self.parked.remove(&fetch), self.destination(engine, file))
                {
                    let room = self.room.clone();
                    let _ = parked.send(Parked::Stream { destination, stretches, digests, room });
                }
            }
            Effect::FetchOrigin { fetch, file, credentials: _, blocks, ranges, through } => {
                let at = self.open.get(&file).map(|open| open.entity.entity().url.clone());
                let keeping = self.keeping(engine, file);
                let dress = at.as_ref().map(|at| self.dress(engine, file, at)).unwrap_or_default();
                let order = OriginFetch { blocks, ranges, dress: dress.leaving(keeping.as_ref()), through };
                match self.way(engine, file, at.as_ref()) {
                    Ok(origin) => self.fetch(fetch, file, Work::Origin(origin, order, keeping)),
                    Err(failure) => self.answer(move || Input::Ended { fetch, outcome: FetchOutcome::Failed(failure) }),
                }
            }
            Effect::FetchPeer { fetch, file, peer, blocks, proof, reach } => {
                if let Some(peers) = self.peers.clone() {
                    self.fetch(fetch, file, Work::Peer(peers, PeerFetch { peer, blocks, proof, reach }));
                }
            }
            Effect::JoinSwarm { file, order, patience, ranges } => match (&self.swarm, self.open.get(&file)) {
                (Some(swarm), Some(open)) => {
                    swarm.tell(News::Join { file, open: Box::new(open.clone()), order, patience, ranges }).await;
                }
                _ => self.answer(move || Input::SwarmOver { file }),
            },
            Effect::WatchSessions => {
                drop(self.tasks.spawn(sessions::run(self.inputs.clone(), self.shutdown.clone())));
            }
            Effect::LeaveSwarm { file } => self.tell_swarm(News::Part(file)).await,
            Effect::TakeEnded { take, end, .. } => self.tell_swarm(News::Ended { take, end }).await,
            Effect::TakeAnswered { take, ranges } => self.tell_swarm(News::Answered { take, ranges }).await,
            Effect::TakeMoves { take } => self.tell_swarm(News::Moves(take)).await,
            Effect::Audit { fetch, file, credentials: _, blocks } => {
                let at = self.open.get(&file).map(|open| open.entity.entity().url.clone());
                let dress = at.as_ref().map(|at| self.dress(engine, file, at)).unwrap_or_default();
                match self.way(engine, file, at.as_ref()).ok().zip(self.peers.clone()) {
                    Some((origin, peers)) => {
                        let order = AuditOrder { blocks, dress, swarm: self.swarm.clone() };
                        self.fetch(fetch, file, Work::Audit(origin, peers, order));
                    }
                    None => self.answer(move || Input::Ended { fetch, outcome: FetchOutcome::Done }),
                }
            }
            Effect::Abort { fetch } => {
                self.parked.remove(&fetch);
                if let Some(cancel) = self.fetches.remove(&fetch) {
                    cancel.cancel();
                }
            }
            Effect::Stage { file, stretches, digests } => self.stage(engine, file, stretches, digests),
            Effect::Publish { file } => self.publish(engine, file),
            Effect::Discard { file } => self.discard(engine, file),
            Effect::Outdated { file } => self.outdated(file).await,
            Effect::Distrust { file, entity, doubted } => self.distrust(file, entity, doubted).await,
            Effect::Release { file } => {
                self.tell_swarm(News::Part(file)).await;
                if let Some(open) = self.open.remove(&file) {
                    self.let_go(open);
                }
            }
        }
    }

    /// The way to the room of swarms, if there is one.
    pub(super) fn swarm(&self) -> Option<SwarmHandle> {
        self.swarm.clone()
    }

    /// Tells the room of swarms, if there is one.
    pub(super) async fn tell_swarm(&self, news: News) {
        if let Some(swarm) = &self.swarm {
            swarm.tell(news).await;
        }
    }

    /// Looks whether what stopped a file's job still stands in its way.
    fn probe(&mut self, engine: &Engine, file: FileRef, class: FailureClass) {
        let job = file.job;
        self.destinations.remove(&file);
        let Some(destination) = self.destination(engine, file) else {
            self.answer(move || Input::Probed { job, result: Ok(()) });
            return;
        };
        let wanted = engine.job(job).and_then(|job| job.files().get(file.file as usize));
        let need = wanted.filter(|file| !file.is_staged()).and_then(|file| file.length()).unwrap_or_default();
        let room = self.room.clone();
        self.answer(move || {
            let result = match class {
                FailureClass::Destination => destination.probe(need, &room),
                _ => room.probe(),
            };
            Input::Probed { job, result }
        });
    }

    /// What the account has used is of no use any more.
    async fn outdated(&self, file: FileRef) {
        let account = Account { job: file.job.0, file: file.file };
        let store = self.store.clone();
        let entry = LedgerEntry::Outdated { account, except: 0 };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.record(&[entry])).await {
            tracing::error!(%error, "the ledger does not know of bytes that became outdated");
        }
    }

    /// Puts the doubted blocks of an entity aside; what is pinned stays pinned, and is fetched again in its place.
    async fn distrust(&self, file: FileRef, entity: EntityId, doubted: Doubted) {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || put_aside(&store, &entity, doubted)).await {
            // Another job may count on them.
            Ok(Ok(blocks)) if !blocks.is_empty() => self.tell(Input::Doubted { file, entity, blocks }),
            Ok(Ok(_)) => {}
            _ => tracing::warn!(%entity, "an entity with wrong bytes could not be looked at"),
        }
    }

    /// Where the file goes: the same directory from its first look on. Whoever gets it opens the directory, and closes it when done: one
    /// descriptor for each file that waits, or has failed, would be many.
    pub(super) fn destination(&mut self, engine: &Engine, file: FileRef) -> Option<Destination> {
        let spec = spec(engine, file)?;
        let path = &spec.destination;
        if spec.goal() == Goal::Hold {
            return None;
        }
        let owner = engine.job(file.job)?.owner();
        let destination = self.destinations.entry(file).or_insert_with(|| Destination::new(file, path, owner)).closed();
        Some(match self.discards.before(file) {
            Some(before) => destination.after(before),
            None => destination,
        })
    }

    /// Takes a staged file away with those of its job that follow it; [`Self::discard_gathered`] comes after the last.
    fn discard(&mut self, engine: &Engine, file: FileRef) {
        let Some(destination) = self.destination(engine, file) else { return };
        if !self.discards.gather(file, destination.clone()) {
            self.discard_gathered(engine);
            self.discards.gather(file, destination);
        }
    }

    /// Begins to take away what was gathered.
    pub(super) fn discard_gathered(&mut self, engine: &Engine) {
        if let Some(job) = self.discards.gathered_of() {
            let has_ended = engine.job(job).is_none_or(|job| job.state().is_final());
            self.discards.begin(has_ended);
            if has_ended {
                // Nobody forgets them later: what was still being written is taken away behind the end of its job.
                self.forget_destinations(job);
            }
        }
    }

    /// Files of a job are gone.
    pub(super) async fn on_discarded(&mut self, job: JobId) {
        if let Some(told) = self.discards.end(job) {
            self.erase(job).await;
            told.into_iter().for_each(|told| told());
        }
    }

    /// Forgets jobs whose staged files do not go.
    pub(super) async fn erase_overdue(&mut self) {
        for (job, told) in self.discards.overdue(Instant::now()) {
            tracing::warn!(%job, "the folder of a file does not answer; what is staged there for a job that has ended may stay");
            self.erase(job).await;
            told.into_iter().for_each(|told| told());
        }
    }

    /// Forgets where a file goes that nothing was written of.
    pub(super) fn forget_destination(&mut self, file: FileRef) {
        self.destinations.remove(&file);
    }

    /// Forgets where the files of a job go, and whose they are to be.
    pub(super) fn forget_destinations(&mut self, job: JobId) {
        while let Some((file, _)) =
            self.destinations.range(FileRef { job, file: 0 }..).next().map(|(file, _)| (*file, ()))
            && file.job == job
        {
            self.destinations.remove(&file);
        }
    }

    fn prepare(&mut self, engine: &Engine, file: FileRef) {
        // A turn begins: the place may have been mended, by another file system too.
        self.destinations.remove(&file);
        let Some(spec) = spec(engine, file) else { return };
        let Some(destination) = self.destination(engine, file) else {
            self.tell(Input::Prepared { file, result: Ok(Held::Nothing) });
            return;
        };
        let dress = self.dress(engine, file, &spec.url);
        let (store, spec) = (self.store.clone(), spec.clone());
        self.answer(move || Input::Prepared {
            file,
            result: destination.check(spec.overwrite).map(|()| held::look(&store, &spec, dress)),
        });
    }

    /// Hands in what is known already.
    fn tell(&self, input: Input) {
        let inputs = self.inputs.clone();
        self.tasks.spawn(async move { inputs.send(input).await });
    }

    /// Runs blocking work and hands its answer in, from its own thread: each change of threads costs a small file more than the work.
    fn answer(&self, work: impl FnOnce() -> Input + Send + 'static) {
        let inputs = self.inputs.clone();
        self.tasks.spawn_blocking(move || {
            // Taken until the driver ends, however many wait; after that nobody wants to know.
            let _ = inputs.blocking_send(work());
        });
    }

    fn token(&mut self, fetch: FetchId) -> CancellationToken {
        let token = self.shutdown.child_token();
        self.fetches.retain(|_, known| !known.is_cancelled());
        self.fetches.insert(fetch, token.clone());
        token
    }
}

/// Puts the doubted blocks of an entity aside, and says which that were.
fn put_aside(store: &Store, entity: &EntityId, doubted: Doubted) -> Result<BlockSet, StoreError> {
    let Some(entity) = store.find(entity)? else { return Ok(BlockSet::new()) };
    let held = entity.held();
    let blocks = match doubted {
        Doubted::All => held,
        Doubted::Given => held.difference(&entity.fetched_here()),
    };
    if !blocks.is_empty() {
        entity.set_aside(&blocks);
    }
    Ok(blocks)
}

/// Why something that needs the file's entity cannot be done.
fn not_open() -> Failure {
    Failure::transient("internal", "the file's entity is not open")
}

fn job_file(engine: &Engine, file: FileRef) -> Option<&File> {
    engine.job(file.job)?.files().get(file.file as usize)
}

pub(super) fn spec(engine: &Engine, file: FileRef) -> Option<&FileSpec> {
    job_file(engine, file).map(File::spec)
}
