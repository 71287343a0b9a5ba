//! Carries the engine's effects out: in order, and the durable ones before anything that follows.

mod asking;

use super::account::{Owed, settle_account};
use super::command::Holding;
use super::contact::{AheadBody, asked};
use super::heads::{Heads, Keeping, Wanting};
use super::publish::Publishing;
use super::seal::JobSeal;
use super::ways::Ways;
use super::{DriverParts, held};
use crate::deliver::{Destination, Part, StageError, StageOrder, refusal};
use crate::network::{Losses, Outage};
use crate::origin::{Origin, OriginRequest, Pace, Span};
use crate::peer::Peers;
use crate::sessions;
use crate::swarm::{self, News, SwarmHandle};
use crate::transfer::audit::AuditOrder;
use crate::transfer::open::OpenEntity;
use crate::transfer::origin::OriginFetch;
use crate::transfer::peer::PeerFetch;
use crate::transfer::progress::Progress;
use crate::transfer::recent::Recent;
use crate::transfer::room::CacheRoom;
use crate::transfer::{self, failure};
use asking::is_asked_once;
use eddy_cache::{Account, EntityHandle, LedgerEntry, NewEntity, Privacy, RemoveOutcome, Store};
use eddy_content::digest::ExpectedDigest;
use eddy_content::{BlockSet, EntityId, ResourceUrl};
use eddy_engine::engine::Swarms;
use eddy_engine::job::portion::Stretches;
use eddy_engine::port::{Contacted, FetchOutcome, StagedFile};
use eddy_engine::trust::{Demand, Digest, Line};
use eddy_engine::{
    Effect, Engine, Failure, FailureClass, FetchId, FileRef, FileSpec, Goal, Held, Input, JobId, Portion,
};
use eddy_wire::catalogue::ErrorCode;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a peer may take to say what it holds; the planner gives up waiting sooner.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an entity that is not to be trusted is tried to be removed while something still holds it.
const DISTRUST_TRIES: u32 = 20;
/// The pause between two tries.
const DISTRUST_PAUSE: Duration = Duration::from_millis(50);

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
}

/// Who waits for the entity of a job that only holds.
pub(super) struct Holder {
    pub(super) answer: oneshot::Sender<Holding>,
    /// Where bytes from the origin are shown before they are written.
    pub(super) recent: Option<Recent>,
}

/// A fetch into an open entity.
enum Work {
    Origin(Origin, OriginFetch, Option<Keeping>),
    Audit(Origin, Peers, AuditOrder),
    Peer(Peers, PeerFetch),
}

/// An entity that a task has opened for a file.
pub(super) struct OpenedFile {
    file: FileRef,
    result: Result<OpenEntity, Failure>,
}

pub(super) struct Executor {
    pub(super) store: Store,
    pub(super) room: CacheRoom,
    pub(super) seal: JobSeal,
    pub(super) heads: Heads,
    pub(super) wanting: Wanting,
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
    /// Answers that are here before the engine asks, and who waits for the entity; of jobs that only hold.
    given: HashMap<JobId, Given>,
    holders: HashMap<JobId, Holder>,
    /// The ways to origins that jobs are bound to.
    bound: HashMap<JobId, Origin>,
    /// Jobs whose newest state is not on the disk, and why.
    pub(super) unsaved: HashMap<JobId, Failure>,
    /// Deliveries that are not in the ledger.
    pub(super) owed: Owed,
    /// Files that become visible together, gathered.
    pub(super) publishing: Vec<Publishing>,
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
        }
    }

    /// The first question of a job that only holds is answered already, and somebody waits for its entity.
    pub(super) fn expect(&mut self, job: JobId, given: Given, origin: Origin, holder: Holder) {
        self.given.insert(job, given);
        self.bound.insert(job, origin);
        self.holders.insert(job, holder);
    }

    /// Ends every fetch and lets every entity go.
    pub(super) fn stop(&mut self) {
        self.fetches.values().for_each(CancellationToken::cancel);
        self.parked.clear();
        self.open.clear();
    }

    /// Enters an entity that was opened; what to tell the engine.
    pub(super) fn on_opened(&mut self, opened: OpenedFile) -> Input {
        let OpenedFile { file, result } = opened;
        let result = result.map(|open| {
            let held = open.entity.held();
            if let Some(Holder { answer, recent }) = self.holders.remove(&file.job) {
                match recent {
                    Some(recent) => open.follow_closely(recent),
                    None => open.follow(),
                }
                let (entity, arrivals) = (open.entity.clone(), open.arrivals());
                // Who waited may be gone; then nobody ends the job, and it ends by itself when all is held.
                let _ = answer.send(Holding { job: file.job, entity, arrivals });
            }
            self.open.insert(file, open);
            held
        });
        Input::Opened { file, result }
    }

    pub(super) async fn execute(&mut self, engine: &Engine, effect: Effect) {
        if !matches!(effect, Effect::Publish { .. }) {
            self.publish_gathered();
        }
        match effect {
            Effect::Persist(record) => self.persist(vec![*record]).await,
            Effect::Erase(job) => {
                self.given.remove(&job);
                self.holders.remove(&job);
                self.bound.remove(&job);
                self.paces.remove(&job);
                self.forget_destinations(job);
                if engine.job(job).is_none_or(|job| job.goal() != Goal::Hold) {
                    self.erase(job).await;
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
                self.open_entity(file, new, (destination, gate));
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
            Effect::TakeSkips { take } => self.tell_swarm(News::Skips(take)).await,
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
            Effect::Discard { file } => {
                if let Some(destination) = self.destination(engine, file) {
                    let _ = tokio::task::spawn_blocking(move || destination.discard()).await;
                }
            }
            Effect::Outdated { file } => self.outdated(file).await,
            Effect::Distrust { entity } => self.distrust(entity).await,
            Effect::Release { file } => {
                self.tell_swarm(News::Part(file)).await;
                self.open.remove(&file);
                // A descriptor for each file that waits for the others of its job would be many.
                if let Some(destination) = self.destinations.get_mut(&file) {
                    *destination = destination.closed();
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

    /// Removes an entity as soon as its last commit lets go of it.
    async fn distrust(&self, entity: EntityId) {
        for _ in 0..DISTRUST_TRIES {
            let store = self.store.clone();
            match tokio::task::spawn_blocking(move || store.remove(&entity)).await {
                Ok(Ok(RemoveOutcome::InUse)) => tokio::time::sleep(DISTRUST_PAUSE).await,
                Ok(Ok(RemoveOutcome::Removed { .. } | RemoveOutcome::NotFound)) => return,
                _ => break,
            }
        }
        tracing::warn!(%entity, "an entity with wrong bytes is in use and could not be removed");
    }

    /// Where the file goes: the same directory from its first look on.
    pub(super) fn destination(&mut self, engine: &Engine, file: FileRef) -> Option<Destination> {
        let spec = spec(engine, file)?;
        let path = &spec.destination;
        if spec.goal() == Goal::Hold {
            return None;
        }
        let owner = engine.job(file.job)?.owner();
        Some(self.destinations.entry(file).or_insert_with(|| Destination::new(file, path, owner)).clone())
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

    /// What decides whether what is held of a file still stands; nothing where a digest decides, or no member ever gave a byte.
    fn gate(&self, url: &ResourceUrl, digests: &[ExpectedDigest]) -> Option<Gate> {
        let peers = self.peers.clone().filter(|_| digests.is_empty())?;
        let line = if url.is_https() { Line::Tls } else { Line::Plain };
        let needed = match peers.policy().demand(line, Digest::Unknown) {
            Demand::Statements(needed) => needed,
            Demand::NoPeers(_) => u8::MAX,
        };
        Some(Gate { peers, needed })
    }

    fn open_entity(&self, file: FileRef, new: NewEntity, (destination, gate): (Option<Destination>, Option<Gate>)) {
        let (room, opened, inputs, tasks) =
            (self.room.clone(), self.opened.clone(), self.inputs.clone(), self.tasks.clone());
        let last_modified = new.last_modified;
        self.tasks.spawn_blocking(move || {
            let opening = AssertUnwindSafe(|| -> Result<_, Failure> {
                let entity = admit(&room, new, destination.as_ref())?;
                let doubted = gate.and_then(|gate| gate.close(&entity.0));
                Ok((entity, doubted))
            });
            // The engine awaits an answer to everything that it asks for.
            let begun =
                catch_unwind(opening).unwrap_or_else(|_| Err(Failure::fatal("internal", "opening the entity died")));
            let result = match begun {
                Ok((entity, doubted)) => {
                    if let Some(blocks) = doubted {
                        // Another job may count on them.
                        let _ = inputs.blocking_send(Input::Doubted { file, entity: entity.0.id(), blocks });
                    }
                    Ok(OpenEntity::start((file, room), entity, last_modified, inputs, &tasks))
                }
                Err(failure) => {
                    tracing::warn!(detail = %failure.detail, "the cache does not take the file in");
                    Err(failure)
                }
            };
            let _ = opened.blocking_send(OpenedFile { file, result });
        });
    }

    fn ask(&self, file: FileRef, asked: Vec<eddy_engine::Peer>) {
        let (Some(peers), Some(open)) = (&self.peers, self.open.get(&file)) else { return };
        for peer in asked {
            let (peers, inputs, entity) = (peers.clone(), self.inputs.clone(), open.entity.entity().clone());
            self.tasks.spawn(async move {
                let asked = tokio::time::timeout(ASK_TIMEOUT, transfer::peer::ask(&peers, peer, &entity)).await;
                let blocks = asked.unwrap_or_else(|_| BlockSet::new());
                let _ = inputs.send(Input::Holds { file, entity: entity.id(), peer, blocks }).await;
            });
        }
    }

    /// Spawns a fetch for an open file; it reports its end whatever happens.
    fn fetch(&mut self, fetch: FetchId, file: FileRef, work: Work) {
        let Some(open) = self.open.get(&file).cloned() else {
            self.answer(move || Input::Ended { fetch, outcome: FetchOutcome::Failed(not_open()) });
            return;
        };
        let (cancel, inputs, judges) = (self.token(fetch), self.inputs.clone(), self.peers.clone());
        let mut losses = self.losses.for_resource(&open.entity.entity().url);
        self.tasks.spawn(async move {
            let _done = cancel.clone().drop_guard();
            let mut progress = Progress::new(fetch, inputs.clone());
            let outcome = match work {
                Work::Origin(origin, order, keeping) => {
                    let fetching = transfer::origin::fetch(&origin, &open, order, &mut progress, &cancel);
                    let fetched = losses.during(&cancel, fetching).await;
                    let outcome = lost(fetched, &losses).await;
                    settle(judges, &open).await;
                    if let Some(keeping) = keeping {
                        keeping.keep().await;
                    }
                    outcome
                }
                Work::Audit(origin, peers, order) => {
                    transfer::audit::audit((&origin, &peers), &open, order, &inputs, &cancel).await
                }
                Work::Peer(peers, order) => {
                    transfer::peer::fetch(&peers, &open, order, (&mut progress, &inputs), &cancel).await
                }
            };
            tracing::debug!(fetch = fetch.0, ?outcome, "fetch ended");
            let _ = inputs.send(Input::Ended { fetch, outcome }).await;
        });
    }

    fn stage(&mut self, engine: &Engine, file: FileRef, stretches: Option<Stretches>, digests: Vec<ExpectedDigest>) {
        let (Some(open), Some(destination)) = (self.open.get(&file).cloned(), self.destination(engine, file)) else {
            // The engine awaits an answer to everything that it asks for.
            self.answer(move || Input::Staged { file, result: Err(not_open()) });
            return;
        };
        // What is delivered may be the digest's; what else is in its blocks is not.
        let of_whole = if stretches.is_none() { digests.as_slice() } else { &[] };
        let (store, gate) = (self.store.clone(), self.gate(&open.entity.entity().url, of_whole));
        let judges = self.peers.clone();
        self.answer(move || {
            if let Some(blocks) = gate.and_then(|gate| gate.close(&open.entity)) {
                return Input::Damaged { file, blocks };
            }
            let order = StageOrder { digests: &digests, last_modified: open.last_modified, room: &open.room };
            let (staged, length) = match &stretches {
                None => (destination.stage(&open.entity, open.take_part(), &order), open.entity.geometry().length()),
                Some(stretches) => (destination.stage_ranges(&open.entity, stretches, &order), stretches.length()),
            };
            match staged {
                Ok(root) => {
                    let balance = settle_account(&store, open.account(), length);
                    let wasted = balance.origin.wasted.total() + balance.peers.wasted.total();
                    let (origin, peers) = (balance.origin.used, balance.peers.used);
                    let audited = balance.audited;
                    let witnesses = witnesses(judges.as_ref(), &open.entity);
                    let staged = StagedFile { length, root, origin, peers, wasted, audited, witnesses };
                    Input::Staged { file, result: Ok(staged) }
                }
                Err(StageError::Damaged(blocks)) => Input::Damaged { file, blocks },
                Err(StageError::Failed(failure)) => Input::Staged { file, result: Err(failure) },
            }
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

/// Looks whether held blocks of an entity still stand on enough words.
struct Gate {
    peers: Peers,
    needed: u8,
}

impl Gate {
    /// Puts aside what does not, and says what that was. Blocks on the disk.
    fn close(self, entity: &EntityHandle) -> Option<BlockSet> {
        let weak = self.peers.weak(entity, self.needed);
        if weak.is_empty() {
            return None;
        }
        entity.set_aside(&weak);
        Some(weak)
    }
}

/// Blocks came from the origin: what members signed about them is right or wrong from now on.
async fn settle(peers: Option<Peers>, open: &OpenEntity) {
    if let Some(peers) = peers {
        peers.settle(&open.entity).await;
    }
}

/// How many members vouch for what this node did not fetch itself, at least.
fn witnesses(peers: Option<&Peers>, entity: &EntityHandle) -> Option<u8> {
    match peers {
        Some(peers) => peers.witnesses(entity),
        // It was believed while this node was in a group.
        None if entity.held().difference(&entity.fetched_here()).is_empty() => None,
        None => Some(1),
    }
}

/// Lets an entity in, with the file that will be the user's beside it: where the disk has no room for both, the cache goes
/// without.
fn admit(
    room: &CacheRoom,
    new: NewEntity,
    destination: Option<&Destination>,
) -> Result<(EntityHandle, Option<Part>), Failure> {
    let entity = room.store.begin(new).map_err(|error| failure::of_admission(&error, &room.directory))?;
    let Some(destination) = destination else { return Ok((entity, None)) };
    destination.mirror(&entity, room).map(|part| (entity.clone(), part)).map_err(|failure| {
        let id = entity.id();
        drop(entity);
        // Another job may have it open; then it stays.
        let _ = room.store.remove(&id);
        let detail = format!("the disk has no room for the file and its copy in the cache: {}", failure.detail);
        Failure { class: FailureClass::Disk, ..refusal(ErrorCode::CacheTooSmall, detail) }
    })
}

/// Why there is no way to a host: because there is none to anywhere, if that is so.
async fn explained(failure: Failure, losses: &Losses) -> Failure {
    let is_lost = failure.class == FailureClass::Unreachable && losses.is_gone().await;
    if is_lost { failure::network_lost() } else { failure }
}

/// What became of a transfer: one that was ended because the network went has failed.
async fn lost((outcome, outage): (FetchOutcome, Outage), losses: &Losses) -> FetchOutcome {
    match (outcome, outage) {
        (FetchOutcome::Aborted, Outage::Met) => FetchOutcome::Failed(failure::network_lost()),
        (FetchOutcome::Failed(failure), _) => FetchOutcome::Failed(explained(failure, losses).await),
        (outcome, _) => outcome,
    }
}

/// Why something that needs the file's entity cannot be done.
fn not_open() -> Failure {
    Failure::transient("internal", "the file's entity is not open")
}

pub(super) fn spec(engine: &Engine, file: FileRef) -> Option<&FileSpec> {
    Some(engine.job(file.job)?.files().get(file.file as usize)?.spec())
}
