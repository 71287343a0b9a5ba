//! The node as its control API sees it: commands become the driver's, facts become views.

use crate::config::{Network, RunsAs};
use crate::control::Face;
use crate::driver::DriverHandle;
use crate::driver::command::{Act, Refusal, Start};
use crate::neighbourhood::NeighbourhoodView;
use crate::peer::Initiator;
use eddy_cache::{Account, EntityRecord, LedgerRow, Privacy, RemoveOutcome, Store, StoreError};
use eddy_content::digest;
use eddy_content::url::{TypedUrl, UrlError};
use eddy_content::{EntityId, Geometry};
use eddy_engine::engine::CommandError;
use eddy_engine::job::spec::Credentials;
use eddy_engine::{FileSpec, Finish, JobId, JobSpec, Patience, PeerUse, Priority};
use eddy_wire::api::{
    self, CacheView, Cleared, EntityView, JobAction, JobView, Mode, Page, PageQuery, PeerState, PeerView, PeersView,
    Problem, Received, Removed, ReportRow, ReportView, Sources, StatusView, Wasted,
};
use eddy_wire::catalogue::ErrorCode;
use eddy_wire::node_id::NodeId;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Digits of an entity's id that are enough to name it.
const SHORTEST_ID: usize = 4;
/// Bytes of the largest job that is taken: it is one row of the store (C-09).
const MAX_JOB_ROW: usize = 512 * 1024;
/// Entities read in one go while an abbreviated id is looked for.
const SCAN: usize = 1024;

/// What the face looks at.
pub struct NodeFace {
    /// The way to the driver.
    pub driver: DriverHandle,
    /// The store.
    pub store: Store,
    /// Who this node is.
    pub node: NodeId,
    /// Where it lives.
    pub home: PathBuf,
    /// The group's name.
    pub group: Option<String>,
    /// The peers.
    pub neighbours: Option<NeighbourhoodView>,
    /// What kind of process this is.
    pub runs_as: RunsAs,
    /// Whether it talks to anybody.
    pub network: Network,
    /// When it started.
    pub started: Instant,
    /// Stops the node.
    pub shutdown: CancellationToken,
}

impl Face for NodeFace {
    async fn status(&self) -> Result<StatusView, Problem> {
        let jobs = self.driver.list().await.map_err(of_refusal)?;
        let open = jobs.iter().filter(|job| !job.state.is_final()).count();
        let moving = jobs.iter().filter(|job| job.state == api::JobState::Transferring).count();
        let peers = self.neighbours.as_ref().map_or(0, |n| n.connected().len());
        let activity = match (self.network, moving, open) {
            (Network::Off, ..) => "looks at the store and the jobs without touching the network".to_owned(),
            (_, 0, 0) => "waits for jobs and serves what it holds".to_owned(),
            (_, 0, open) => format!("has {open} jobs, none of which is moving"),
            (_, moving, open) => format!("moves {moving} of {open} jobs"),
        };
        Ok(StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: self.node.to_string(),
            home: self.home.display().to_string(),
            group: self.group.clone(),
            listen: self.neighbours.iter().map(|n| format!("udp port {}", n.port())).collect(),
            mode: match self.runs_as {
                RunsAs::Daemon => Mode::Daemon,
                RunsAs::Inside => Mode::Inside,
            },
            uptime_seconds: self.started.elapsed().as_secs(),
            jobs: open as u64,
            peers: peers as u64,
            activity,
        })
    }

    async fn create_job(&self, spec: api::JobSpec) -> Result<JobView, Problem> {
        if self.network == Network::Off {
            return Err(Problem::new(ErrorCode::WrongState, "this node only looks at the store"));
        }
        let start = Start { is_running: spec.start, is_adopting: spec.adopt };
        let spec = parse_job(spec)?;
        let size = postcard::to_stdvec(&spec).map_or(usize::MAX, |row| row.len() * 2);
        if size > MAX_JOB_ROW {
            return Err(Problem::new(ErrorCode::TooManyFiles, "the job's files and URLs together are too long"));
        }
        self.driver.create(spec, start).await.map_err(of_refusal)
    }

    async fn job(&self, id: &str) -> Result<JobView, Problem> {
        self.driver.view(self.job_id(id).await?).await.map_err(of_refusal)
    }

    async fn jobs(&self, query: PageQuery) -> Result<Page<JobView>, Problem> {
        let mut jobs = self.driver.list().await.map_err(of_refusal)?;
        if let Some(after) = &query.after {
            let seen = jobs.iter().position(|job| &job.id == after).map_or(0, |at| at + 1);
            jobs.drain(..seen);
        }
        let is_more = jobs.len() > query.size();
        jobs.truncate(query.size());
        let next = if is_more { jobs.last().map(|job| job.id.clone()) } else { None };
        Ok(Page { items: jobs, next })
    }

    async fn act(&self, id: &str, action: JobAction) -> Result<JobView, Problem> {
        let act = match action {
            JobAction::Resume => Act::Resume,
            JobAction::Pause => Act::Suspend,
            JobAction::Cancel => Act::Cancel,
            JobAction::Finish => Act::Complete,
        };
        self.driver.act(self.job_id(id).await?, act).await.map_err(of_refusal)
    }

    async fn watch(&self, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.driver.watch(self.job_id(id).await?).await.map_err(of_refusal)
    }

    async fn cache(&self) -> Result<CacheView, Problem> {
        let directory = self.home.join("cache").display().to_string();
        let usage = self.with_store(|store| store.usage()).await?;
        Ok(CacheView {
            directory,
            entities: usage.entities,
            used: usage.used,
            quota: usage.quota,
            reserve: usage.reserve,
            free: usage.available,
        })
    }

    async fn entities(&self, query: PageQuery) -> Result<Page<EntityView>, Problem> {
        let after = query.after.as_deref().map(str::parse::<EntityId>).transpose();
        let after = after.map_err(|e| Problem::new(ErrorCode::BadRequest, e.to_string()))?;
        let size = query.size();
        self.with_store(move |store| {
            let records = store.list(after, size)?;
            let next = if records.len() == size { records.last().map(|r| r.id().to_string()) } else { None };
            let items = records.iter().map(|record| entity_view(store, record)).collect();
            Ok(Page { items, next })
        })
        .await
    }

    async fn entity(&self, id: &str) -> Result<EntityView, Problem> {
        let id = self.entity_id(id).await?;
        let found = self
            .with_store(move |store| {
                let Some(handle) = store.find(&id)? else { return Ok(None) };
                let mut record = handle.record().clone();
                record.held_blocks = handle.held().len();
                drop(handle);
                Ok(Some(entity_view(store, &record)))
            })
            .await?;
        found.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id.to_string()))
    }

    async fn remove_entity(&self, id: &str) -> Result<Removed, Problem> {
        let id = self.entity_id(id).await?;
        match self.with_store(move |store| store.remove(&id)).await? {
            RemoveOutcome::Removed { bytes } => Ok(Removed { freed: bytes }),
            RemoveOutcome::InUse => Err(Problem::new(ErrorCode::EntityInUse, id.to_string())),
            RemoveOutcome::NotFound => Err(Problem::new(ErrorCode::EntityNotFound, id.to_string())),
        }
    }

    async fn clear_cache(&self) -> Result<Cleared, Problem> {
        let cleared = self.with_store(|store| store.clear()).await?;
        Ok(Cleared { removed: cleared.removed, kept: cleared.in_use, freed: cleared.bytes })
    }

    async fn peers(&self) -> Result<PeersView, Problem> {
        let reason = match (&self.group, &self.neighbours) {
            (None, _) => {
                Some("this node is in no group; `eddy group init` or `eddy group join` changes that".to_owned())
            }
            (Some(_), None) => Some("this node does not touch the network".to_owned()),
            (Some(_), Some(neighbours)) => neighbours.reason(),
        };
        let connected = self.neighbours.as_ref().map(NeighbourhoodView::connected).unwrap_or_default();
        let peers = connected
            .into_iter()
            .map(|peer| PeerView {
                node: Some(peer.node.to_string()),
                address: peer.address.to_string(),
                state: PeerState::Connected,
                found_by: match peer.initiator {
                    Initiator::Here => "discovery",
                    Initiator::There => "incoming",
                }
                .to_owned(),
                connected_unix_ms: Some(unix_ms(peer.since)),
                received: peer.received,
                sent: peer.sent,
                reason: None,
            })
            .collect();
        Ok(PeersView { group: self.group.clone(), reason, peers })
    }

    async fn report(&self, query: PageQuery) -> Result<ReportView, Problem> {
        let jobs = self.driver.list().await.map_err(of_refusal)?;
        let rows = self.with_store(|store| store.ledger()).await?;
        Ok(report(&rows, &jobs, &query))
    }

    async fn shutdown(&self) -> Result<(), Problem> {
        self.shutdown.cancel();
        Ok(())
    }
}

impl NodeFace {
    /// A job by its id or an unambiguous beginning of it.
    async fn job_id(&self, text: &str) -> Result<JobId, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let jobs = self.driver.list().await.map_err(of_refusal)?;
        let mut found = jobs.iter().filter(|job| text.len() >= SHORTEST_ID && job.id.starts_with(text));
        match (found.next().and_then(|job| job.id.parse().ok()), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(Problem::new(ErrorCode::BadRequest, "more than one job's id begins like that")),
            (None, _) => Err(Problem::new(ErrorCode::JobNotFound, text.chars().take(64).collect::<String>())),
        }
    }

    /// An entity by its id or an unambiguous beginning of it.
    async fn entity_id(&self, text: &str) -> Result<EntityId, Problem> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let shown: String = text.chars().take(64).collect();
        if text.len() < SHORTEST_ID {
            return Err(Problem::new(ErrorCode::EntityNotFound, shown));
        }
        let beginning = text.to_owned();
        let found = self
            .with_store(move |store| {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let records = store.list(after, SCAN)?;
                    found.extend(
                        records.iter().map(EntityRecord::id).filter(|id| id.to_string().starts_with(&beginning)),
                    );
                    after = records.last().map(EntityRecord::id);
                    if records.len() < SCAN || found.len() > 1 {
                        return Ok(found);
                    }
                }
            })
            .await?;
        match found[..] {
            [id] => Ok(id),
            [] => Err(Problem::new(ErrorCode::EntityNotFound, shown)),
            _ => Err(Problem::new(ErrorCode::BadRequest, "more than one entity's id begins like that")),
        }
    }

    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        let store = self.store.clone();
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => done.map_err(|error| Problem::new(ErrorCode::StoreUnusable, error.to_string())),
            Err(_) => Err(Problem::new(ErrorCode::Internal, "looking at the store failed")),
        }
    }
}

/// A caller's wish, parsed: what is left is valid.
fn parse_job(spec: api::JobSpec) -> Result<JobSpec, Problem> {
    if spec.files.is_empty() {
        return Err(Problem::from(ErrorCode::EmptyJob));
    }
    let mut destinations = HashSet::new();
    let mut files = Vec::with_capacity(spec.files.len());
    for file in &spec.files {
        if !destinations.insert(&file.destination) {
            return Err(Problem::new(ErrorCode::DestinationTwice, file.destination.clone()));
        }
        files.push(parse_file(file)?);
    }
    let first_name = || spec.files[0].destination.rsplit('/').next().unwrap_or_default().to_owned();
    let priority = match spec.priority {
        api::Priority::Foreground => Priority::Foreground,
        api::Priority::High => Priority::High,
        api::Priority::Normal => Priority::Normal,
        api::Priority::Low => Priority::Low,
    };
    Ok(JobSpec {
        name: spec.name.clone().unwrap_or_else(first_name),
        priority,
        finish: match spec.finish {
            api::Finish::Auto => Finish::Auto,
            api::Finish::Manual => Finish::Manual,
        },
        // Who asks for the foreground watches.
        patience: if priority == Priority::Foreground { Patience::Watching } else { Patience::Background },
        peers: PeerUse { fetch: spec.peers.fetch, share: spec.peers.share },
        files,
    })
}

fn parse_file(file: &api::FileSpec) -> Result<FileSpec, Problem> {
    let typed = TypedUrl::parse(&file.url).map_err(|error| {
        let row = if matches!(error, UrlError::Scheme(_)) { ErrorCode::UnknownScheme } else { ErrorCode::BadUrl };
        Problem::new(row, error.to_string())
    })?;
    let path = Path::new(&file.destination);
    if !path.is_absolute() || path.file_name().is_none() || file.destination.contains('\0') {
        return Err(Problem::new(ErrorCode::BadDestination, file.destination.clone()));
    }
    let mut digests = Vec::new();
    if let Some(text) = &file.digest {
        digests.push(digest::parse(text).map_err(|e| Problem::new(ErrorCode::BadDigest, e.to_string()))?);
    }
    if let Some(fragment) = &typed.fragment {
        // A fragment that is no digest is an anchor of a page; one that is a broken digest is the user's mistake.
        digests.extend(digest::from_fragment(fragment).map_err(|e| Problem::new(ErrorCode::BadDigest, e.to_string()))?);
    }
    Ok(FileSpec {
        url: typed.resource,
        destination: file.destination.clone(),
        digests,
        overwrite: file.overwrite,
        credentials: typed.userinfo.map(|info| Credentials { user: info.user, password: info.password }),
    })
}

fn of_refusal(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotDurable => Problem::new(ErrorCode::StoreUnusable, refusal.to_string()),
        Refusal::Stopping => Problem::from(ErrorCode::ShuttingDown),
        Refusal::Command(CommandError::NoSuchJob) => Problem::from(ErrorCode::JobNotFound),
        Refusal::Command(CommandError::NoFiles) => Problem::from(ErrorCode::EmptyJob),
        Refusal::Command(CommandError::WrongState(illegal)) => Problem::new(ErrorCode::WrongState, illegal.to_string()),
    }
}

fn entity_view(store: &Store, record: &EntityRecord) -> EntityView {
    let id = record.id();
    let length = record.entity.length;
    let is_whole = Geometry::new(length).is_some_and(|geometry| geometry.block_count() == record.held_blocks);
    let root = is_whole.then(|| store.find(&id).ok().flatten()).flatten().and_then(|handle| handle.root());
    EntityView {
        id: id.to_string(),
        url: record.entity.url.redacted(),
        validator: record.entity.validator.to_string(),
        length,
        held: (u64::from(record.held_blocks) * eddy_content::BLOCK_SIZE).min(length),
        shareable: record.privacy == Privacy::Shareable,
        blake3: root.map(|root| root.to_hex()),
        created_unix_ms: seconds_to_ms(record.admitted),
        used_unix_ms: seconds_to_ms(record.last_used),
        in_use: store.is_in_use(&id),
    }
}

fn report(rows: &[LedgerRow], jobs: &[JobView], query: &PageQuery) -> ReportView {
    let mut totals = api::Account::default();
    let mut shown = Vec::new();
    for row in rows {
        let LedgerRow::File { account, balance, name } = row else { continue };
        let account_view = api::Account {
            delivered: balance.delivered.total(),
            used: Sources { origin: balance.origin.used, peers: balance.peers.used, cache: balance.delivered.cache },
            received: Received { origin: balance.origin.received, peers: balance.peers.received },
            wasted: Wasted {
                corrupt: balance.origin.wasted.corrupt + balance.peers.wasted.corrupt,
                duplicate: balance.origin.wasted.duplicate + balance.peers.wasted.duplicate,
                aborted: balance.origin.wasted.aborted + balance.peers.wasted.aborted,
                stale: balance.origin.wasted.stale + balance.peers.wasted.stale,
            },
        };
        totals = totals.plus(account_view);
        shown.push(report_row(*account, account_view, name.clone(), jobs));
    }
    let cursor = |row: &ReportRow| format!("{}-{}", row.job, row.file);
    if let Some(after) = &query.after {
        let seen = shown.iter().position(|row| &cursor(row) == after).map_or(0, |at| at + 1);
        shown.drain(..seen);
    }
    let is_more = shown.len() > query.size();
    shown.truncate(query.size());
    let next = if is_more { shown.last().map(cursor) } else { None };
    ReportView { rows: shown, totals, next }
}

fn report_row(account: Account, view: api::Account, name: Option<String>, jobs: &[JobView]) -> ReportRow {
    let job = JobId(account.job).to_string();
    let file = jobs.iter().find(|known| known.id == job).and_then(|known| known.files.get(account.file as usize));
    ReportRow {
        job,
        file: account.file,
        url: file.map(|file| file.url.clone()).or(name),
        destination: file.map(|file| file.destination.clone()),
        account: view,
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

fn seconds_to_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default().saturating_mul(1000)
}
