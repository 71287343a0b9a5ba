//! The node as its control API sees it: commands become the driver's, facts become views.
//!
//! | module | answers about |
//! |---|---|
//! | `status` | the node itself |
//! | `heads` | what origins answered |
//! | `jobs`, `wish`, `change` | jobs; what a caller wishes, and wishes otherwise, parsed |
//! | `steering` | what may be changed about somebody else's job |
//! | `cache` | what the store holds |
//! | `peers` | who is there |
//! | `metrics` | what is counted, for a monitoring system |
//! | `report` | the account of bytes |

mod cache;
mod change;
mod heads;
mod jobs;
mod metrics;
mod peers;
mod report;
mod status;
mod steering;
mod wish;

use crate::config::{Network, RunsAs, Settings};
use crate::control::face::{ExportPiece, VerifyNews};
use crate::control::{Asker, Face, Reach};
use crate::driver::DriverHandle;
use crate::driver::command::{Refusal, Whose};
use crate::driver::heads::Heads;
use crate::driver::log::EventLog;
use crate::gateway;
use crate::group::Group;
use crate::identity::Identity;
use crate::neighbourhood::NeighbourhoodView;
use crate::swarm::SwarmHandle;
use bytes::Bytes;
use eddy_cache::{Pin, Store, StoreError};
use eddy_engine::engine::CommandError;
use eddy_engine::{Failure, Owner};
use eddy_wire::api::{
    BatchView, CacheView, EntityDetail, EntityQuery, EntityView, EventView, ExportOrder, FileQuery, FilledView,
    GatewayView, HeadView, ImportQuery, ImportView, JobAction, JobBatch, JobChange, JobSpec, JobView, LimitsChange,
    LimitsOutcome, MoreFiles, Page, PageQuery, PeerDetail, PeersView, PinChange, PlanView, Problem, RangeOrder,
    RemovalOrder, Removed, ReportView, StatusView,
};
use eddy_wire::catalogue::ErrorCode;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Digits of an id that are enough to name a job or an entity.
const SHORTEST_ID: usize = 4;

/// Works that take long at once: each has a thread and reads the disk without pause.
pub const MAX_LONG_WORK: usize = 2;

/// What the face looks at.
pub struct NodeFace {
    /// The way to the driver.
    pub driver: DriverHandle,
    /// What happened to jobs.
    pub events: EventLog,
    /// What origins answered.
    pub heads: Heads,
    /// The store.
    pub store: Store,
    /// Who this node is.
    pub identity: Identity,
    /// Where it lives.
    pub home: PathBuf,
    /// What the administrator set; held while it is changed.
    pub settings: tokio::sync::Mutex<Settings>,
    /// The configuration file, whether it is there or not.
    pub config: PathBuf,
    /// The group.
    pub group: Option<Group>,
    /// The peers.
    pub neighbours: Option<NeighbourhoodView>,
    /// The room of swarms, if there is one.
    pub swarm: Option<SwarmHandle>,
    /// The gateway, if there is one.
    pub gateway: gateway::Current,
    /// What kind of process this is.
    pub runs_as: RunsAs,
    /// Whether it talks to anybody.
    pub network: Network,
    /// Turns for work that takes long: verification, packages.
    pub long_work: Arc<Semaphore>,
    /// When it started.
    pub started: Instant,
    /// Why the node works without its own store, if it does.
    pub trouble: Option<Failure>,
    /// Stops the node.
    pub shutdown: CancellationToken,
}

impl Face for NodeFace {
    async fn status(&self) -> Result<StatusView, Problem> {
        self.view_status().await
    }

    async fn create_job(&self, asker: Asker, spec: JobSpec, key: Option<&str>) -> Result<JobView, Problem> {
        self.make_job(asker, spec, key).await
    }

    async fn create_jobs(&self, asker: Asker, batch: JobBatch, key: Option<&str>) -> Result<BatchView, Problem> {
        self.make_jobs(asker, batch, key).await
    }

    async fn change_job(&self, asker: Asker, id: &str, change: JobChange) -> Result<JobView, Problem> {
        self.change(asker, id, change).await
    }

    async fn add_files(&self, asker: Asker, id: &str, more: MoreFiles) -> Result<JobView, Problem> {
        self.add(asker, id, more).await
    }

    async fn order_ranges(&self, asker: Asker, id: &str, order: RangeOrder) -> Result<JobView, Problem> {
        self.demand(asker, id, order).await
    }

    async fn filled(&self, asker: Asker, id: &str, query: FileQuery) -> Result<FilledView, Problem> {
        self.look_at_filled(asker, id, query).await
    }

    async fn job(&self, asker: Asker, id: &str) -> Result<JobView, Problem> {
        self.view_job(asker, id).await
    }

    async fn heads(&self, asker: Asker, id: &str, query: PageQuery) -> Result<(u32, Page<HeadView>), Problem> {
        self.list_heads(asker, id, query).await
    }

    async fn jobs(&self, asker: Asker, query: PageQuery) -> Result<Page<JobView>, Problem> {
        self.list_jobs(asker, query).await
    }

    async fn act(&self, asker: Asker, id: &str, action: JobAction) -> Result<JobView, Problem> {
        self.act_on(asker, id, action).await
    }

    async fn watch(&self, asker: Asker, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.follow(asker, id).await
    }

    async fn events(&self, asker: Asker, query: PageQuery) -> Result<Page<EventView>, Problem> {
        let bad = |_| Problem::new(ErrorCode::BadRequest, "a cursor is an event's id");
        let after = query.after.as_deref().map_or(Ok(0), |text| text.parse().map_err(bad))?;
        let mut items = self.events.after(after, query.size() + 1, |event| asker.sees(event.owner));
        let is_more = items.len() > query.size();
        items.truncate(query.size());
        let next = items.last().filter(|_| is_more).map(|event| event.id.clone());
        Ok(Page { items, next })
    }

    fn event_news(&self) -> watch::Receiver<u64> {
        self.events.news()
    }

    async fn cache(&self) -> Result<CacheView, Problem> {
        self.view_cache().await
    }

    async fn entities(&self, query: EntityQuery) -> Result<Page<EntityView>, Problem> {
        self.list_entities(query).await
    }

    async fn entity(&self, id: &str) -> Result<EntityDetail, Problem> {
        self.view_entity(id).await
    }

    async fn pin(&self, id: &str) -> Result<PinChange, Problem> {
        self.set_pin(id, Pin::Pinned).await
    }

    async fn unpin(&self, id: &str) -> Result<PinChange, Problem> {
        self.set_pin(id, Pin::Free).await
    }

    async fn set_limits(&self, change: LimitsChange) -> Result<LimitsOutcome, Problem> {
        self.change_limits(change).await
    }

    async fn verify(&self, id: &str) -> Result<mpsc::Receiver<VerifyNews>, Problem> {
        self.start_verification(id).await
    }

    async fn export(&self, order: ExportOrder) -> Result<mpsc::Receiver<ExportPiece>, Problem> {
        self.pack(order).await
    }

    async fn import(&self, query: ImportQuery, pieces: mpsc::Receiver<Bytes>) -> Result<ImportView, Problem> {
        self.take_in(query, pieces).await
    }

    async fn plan_removal(&self, order: RemovalOrder) -> Result<PlanView, Problem> {
        self.plan_order(order).await
    }

    async fn remove(&self, order: RemovalOrder) -> Result<Removed, Problem> {
        self.carry_out(order).await
    }

    async fn peers(&self) -> Result<PeersView, Problem> {
        self.view_peers().await
    }

    async fn peer(&self, node: &str) -> Result<PeerDetail, Problem> {
        self.view_peer(node).await
    }

    async fn report(&self, asker: Asker, query: PageQuery) -> Result<ReportView, Problem> {
        self.view_report(asker, query).await
    }

    async fn gateway(&self) -> Result<GatewayView, Problem> {
        Ok(self.gateway.view())
    }

    async fn metrics(&self) -> Result<String, Problem> {
        self.count_all().await
    }

    async fn shutdown(&self) -> Result<(), Problem> {
        self.shutdown.cancel();
        Ok(())
    }
}

impl NodeFace {
    /// A turn for work that takes long, as long as it is held.
    fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = Arc::clone(&self.long_work).try_acquire_owned();
        turn.map_err(|_| Problem::new(ErrorCode::Busy, "it verifies, packs or takes in as much as it can at once"))
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

/// Whose jobs there are for an asker.
fn whose(asker: Asker) -> Whose {
    match asker.reach {
        Reach::All => Whose::Anybodys,
        Reach::Own => Whose::Only(Owner(asker.uid)),
    }
}

fn of_refusal(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotDurable(failure) => {
            let row = ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::StoreUnusable);
            Problem::new(row, format!("the job cannot be written down: {}", failure.detail))
        }
        Refusal::Unwritten(failure) => {
            let row = ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::StoreUnusable);
            let detail = format!(
                "the change is made, and forgotten if the node stops before it is written down: {}",
                failure.detail
            );
            Problem::new(row, detail)
        }
        Refusal::NotHeld(failure) => {
            let row = ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::StoreUnusable);
            Problem::new(row, failure.detail)
        }
        Refusal::Problem(problem) => *problem,
        Refusal::Stopping => Problem::from(ErrorCode::ShuttingDown),
        Refusal::Command(CommandError::NoSuchJob) => Problem::from(ErrorCode::JobNotFound),
        Refusal::Command(CommandError::NoSuchFile) => Problem::from(ErrorCode::FileNotInJob),
        Refusal::Command(CommandError::NotOnDemand) => Problem::from(ErrorCode::NotOnDemand),
        Refusal::Command(CommandError::NoFiles) => Problem::from(ErrorCode::EmptyJob),
        Refusal::Command(CommandError::WrongState(illegal)) => Problem::new(ErrorCode::WrongState, illegal.to_string()),
    }
}

fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

fn seconds_to_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or_default().saturating_mul(1000)
}
