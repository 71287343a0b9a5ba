//! What the control API asks of the node.
//!
//! The API knows nothing of the engine, the store or the peers: it calls a [`Face`]. The node implements it; so does
//! whatever a test puts behind the real socket. Every answer is one of the API's own views, every refusal a
//! [`Problem`] with a row of the catalogue.
//!
//! The methods are called from many connections at once and must not wait for each other. A call whose client has gone
//! is dropped at its next `.await`: what must happen whole belongs into the driver, not into the future.

use super::access::Asker;
use bytes::Bytes;
use eddy_wire::api::{
    BatchView, CacheView, EntityDetail, EntityQuery, EntityView, EventView, ExportEnd, ExportOrder, FileQuery,
    FilledView, GatewayView, HeadView, ImportQuery, ImportView, JobAction, JobBatch, JobChange, JobSpec, JobView,
    LimitsChange, LimitsOutcome, MoreFiles, Page, PageQuery, PeerDetail, PeersView, PinChange, PlanView, Problem,
    RangeOrder, RemovalOrder, Removed, ReportView, StatusView, VerifiedView, VerifyProgress,
};
use std::future::Future;
use tokio::sync::{mpsc, watch};

/// What a verification has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VerifyNews {
    /// How far it is.
    Progress(VerifyProgress),
    /// It has ended; nothing comes after this.
    Done(VerifiedView),
    /// It could not be brought to its end; nothing comes after this.
    Failed(Problem),
}

/// A piece of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportPiece {
    /// Bytes, at most [`MAX_PIECE`](eddy_wire::api::MAX_PIECE).
    Bytes(Bytes),
    /// How it ended; nothing comes after this.
    End(ExportEnd),
}

/// The node, as its control API sees it. Implementations may simply write `async fn`.
pub trait Face: Send + Sync + 'static {
    /// How the node is.
    fn status(&self) -> impl Future<Output = Result<StatusView, Problem>> + Send;

    /// Makes a job. When this returns, the job survives a crash (promise 7).
    ///
    /// `spec.check()` has passed: the URLs, digests and destinations can be read (`eddy_wire::api::check` does it).
    ///
    /// `key` is the request's idempotency key: with the same one the same job is meant, as long as it is known.
    fn create_job(
        &self,
        asker: Asker,
        spec: JobSpec,
        key: Option<&str>,
    ) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// Changes a job that has not ended; `change.check()` has passed.
    fn change_job(
        &self,
        asker: Asker,
        id: &str,
        change: JobChange,
    ) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// Makes jobs, each by itself; `batch.check()` has passed, and those of its jobs have not.
    fn create_jobs(
        &self,
        asker: Asker,
        batch: JobBatch,
        key: Option<&str>,
    ) -> impl Future<Output = Result<BatchView, Problem>> + Send;

    /// Gives a job that has not ended more files; `more.check()` has passed.
    fn add_files(
        &self,
        asker: Asker,
        id: &str,
        more: MoreFiles,
    ) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// Asks for ranges of a file on demand; `order.check()` has passed.
    fn order_ranges(
        &self,
        asker: Asker,
        id: &str,
        order: RangeOrder,
    ) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// What of a job's file is here.
    fn filled(
        &self,
        asker: Asker,
        id: &str,
        query: FileQuery,
    ) -> impl Future<Output = Result<FilledView, Problem>> + Send;

    /// One job, by its id as a text: what is no id is no job, and so is what the asker does not see.
    fn job(&self, asker: Asker, id: &str) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// What origins answered last about the files of a job, in their order, and whose job it is: of one that has ended, too, for a
    /// while. The cursor is a file's place in the job; a page may be short and yet have one.
    fn heads(
        &self,
        asker: Asker,
        id: &str,
        query: PageQuery,
    ) -> impl Future<Output = Result<(u32, Page<HeadView>), Problem>> + Send;

    /// The jobs in the order in which they were made; `query.size()` is within the bounds.
    fn jobs(&self, asker: Asker, query: PageQuery) -> impl Future<Output = Result<Page<JobView>, Problem>> + Send;

    /// Does something to a job, and says how it then stands.
    fn act(&self, asker: Asker, id: &str, action: JobAction) -> impl Future<Output = Result<JobView, Problem>> + Send;

    /// Follows a job: the newest view, whenever it changes. The sender is dropped when the job has ended, after the
    /// last view; a job that has just ended may still be watched for its last view.
    fn watch(&self, asker: Asker, id: &str) -> impl Future<Output = Result<watch::Receiver<JobView>, Problem>> + Send;

    /// What happened to jobs, oldest first, behind a cursor that is an event's id.
    fn events(&self, asker: Asker, query: PageQuery) -> impl Future<Output = Result<Page<EventView>, Problem>> + Send;

    /// The number of the newest event, whenever it changes.
    fn event_news(&self) -> watch::Receiver<u64>;

    /// The store as a whole.
    fn cache(&self) -> impl Future<Output = Result<CacheView, Problem>> + Send;

    /// What the store holds and the query admits, in the order of the ids. A page may have few or no entities and yet
    /// a cursor: a call looks at so many rows only.
    fn entities(&self, query: EntityQuery) -> impl Future<Output = Result<Page<EntityView>, Problem>> + Send;

    /// One entity, by its whole id.
    fn entity(&self, id: &str) -> impl Future<Output = Result<EntityDetail, Problem>> + Send;

    /// Pins an entity, by its whole id, so that it is never evicted. Twice is as good as once.
    fn pin(&self, id: &str) -> impl Future<Output = Result<PinChange, Problem>> + Send;

    /// Lets an entity go that was pinned. Twice is as good as once.
    fn unpin(&self, id: &str) -> impl Future<Output = Result<PinChange, Problem>> + Send;

    /// Changes the limits of the store in the configuration and in the store itself, or says what that would do.
    fn set_limits(&self, change: LimitsChange) -> impl Future<Output = Result<LimitsOutcome, Problem>> + Send;

    /// Hashes what is held of an entity, by its whole id. Who lets go of the news does not stop it.
    fn verify(&self, id: &str) -> impl Future<Output = Result<mpsc::Receiver<VerifyNews>, Problem>> + Send;

    /// Packs entities. Who lets go of the pieces stops it.
    fn export(&self, order: ExportOrder) -> impl Future<Output = Result<mpsc::Receiver<ExportPiece>, Problem>> + Send;

    /// Takes a package in, or says what it has; the package ends with the channel.
    fn import(
        &self,
        query: ImportQuery,
        pieces: mpsc::Receiver<Bytes>,
    ) -> impl Future<Output = Result<ImportView, Problem>> + Send;

    /// What an order to remove would do; nothing is done.
    fn plan_removal(&self, order: RemovalOrder) -> impl Future<Output = Result<PlanView, Problem>> + Send;

    /// Removes what the order names and nothing keeps.
    fn remove(&self, order: RemovalOrder) -> impl Future<Output = Result<Removed, Problem>> + Send;

    /// The peers, and why there are none if there are none.
    fn peers(&self) -> impl Future<Output = Result<PeersView, Problem>> + Send;

    /// One member, by its whole node id, and what is held against it; one of which nothing is known is no mistake.
    fn peer(&self, node: &str) -> impl Future<Output = Result<PeerDetail, Problem>> + Send;

    /// The account of bytes.
    fn report(&self, asker: Asker, query: PageQuery) -> impl Future<Output = Result<ReportView, Problem>> + Send;

    /// What the gateway has done, by mount.
    fn gateway(&self) -> impl Future<Output = Result<GatewayView, Problem>> + Send;

    /// What is counted, as text for a monitoring system.
    fn metrics(&self) -> impl Future<Output = Result<String, Problem>> + Send;

    /// Begins to stop the node. Returns at once; the node stops when the answer is out.
    fn shutdown(&self) -> impl Future<Output = Result<(), Problem>> + Send;
}
