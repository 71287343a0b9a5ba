//! Path and method to [`Face`]: each handler reads its input, asks the node and writes the answer.

use super::access::Asker;
use super::audit::{Guard, Shown};
use super::events;
use super::face::Face;
use super::long;
use super::openapi;
use super::refusal::{Asked, Body, Id, Key, LastEvent, Refusal};
use super::socket::Caller;
use axum::extract::{ConnectInfo, DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Extension, Json, Router};
use eddy_wire::api::{
    BatchView, CacheView, EntityDetail, EntityQuery, EntityView, EventView, ExportEnd, ExportOrder, FileQuery,
    FilledView, GatewayView, HeadView, ImportQuery, ImportView, JobAction, JobBatch, JobChange, JobSpec, JobState,
    JobView, LimitsChange, LimitsOutcome, MAX_BODY, MAX_WAIT, MoreFiles, Page, PageQuery, PeerDetail, PeersView,
    PinChange, PlanView, Problem, RangeOrder, RemovalOrder, Removed, ReportView, StatusView, VerifiedView, WaitQuery,
};
use eddy_wire::catalogue::ErrorCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longest time from a request's head to its answer's head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Pieces of a package that wait for the store.
const PIECES: usize = 16;

/// What every handler may use.
pub(super) struct Room<F> {
    face: Arc<F>,
    /// Ends the event streams when the node stops; they would never end by themselves.
    stop: CancellationToken,
}

impl<F> Clone for Room<F> {
    fn clone(&self) -> Self {
        Self { face: Arc::clone(&self.face), stop: self.stop.clone() }
    }
}

type Answer<T> = Result<Json<T>, Refusal>;
type OneJob = Result<(Extension<Shown>, Json<JobView>), Refusal>;

/// As whom, and how far: what [`admitted`] found.
type As = Extension<Asker>;

/// All paths of the API.
pub(super) fn router<F: Face>(face: Arc<F>, guard: Guard, stop: CancellationToken) -> Router {
    let mut routes = Router::new()
        .route("/v1/status", get(status::<F>))
        .route("/v1/shutdown", post(shutdown::<F>))
        .route("/v1/jobs", get(jobs::<F>).post(create_job::<F>))
        .route("/v1/jobs/batch", post(create_jobs::<F>))
        .route("/v1/jobs/{id}", get(job::<F>).patch(change_job::<F>))
        .route("/v1/jobs/{id}/files", post(add_files::<F>))
        .route("/v1/jobs/{id}/headers", get(heads::<F>))
        .route("/v1/jobs/{id}/ranges", get(filled::<F>).post(order_ranges::<F>))
        .route("/v1/jobs/{id}/watch", get(watch_job::<F>))
        .route("/v1/jobs/{id}/wait", get(wait_job::<F>))
        .route("/v1/events", get(list_events::<F>))
        .route("/v1/events/follow", get(follow_events::<F>))
        .route("/v1/cache", get(cache::<F>))
        .route("/v1/cache/entities", get(entities::<F>))
        .route("/v1/cache/entities/{id}", get(entity::<F>))
        .route("/v1/cache/entities/{id}/pin", put(pin::<F>).delete(unpin::<F>))
        .route("/v1/cache/entities/{id}/verify", post(verify::<F>))
        .route("/v1/cache/export", post(export::<F>))
        .route("/v1/cache/limits", put(set_limits::<F>))
        .route("/v1/cache/plan", post(plan_removal::<F>))
        .route("/v1/cache/remove", post(remove::<F>))
        .route("/v1/peers", get(peers::<F>))
        .route("/v1/peers/{id}", get(peer::<F>))
        .route("/v1/report", get(report::<F>))
        .route("/v1/gateway", get(gateway::<F>))
        .route("/v1/metrics", get(metrics::<F>))
        .route("/v1/openapi.json", get(document));
    for action in JobAction::ALL {
        let act = move |State(room): State<Room<F>>, Extension(asker): As, Id(id): Id| act(room, asker, id, action);
        routes = routes.route(&format!("/v1/jobs/{{id}}/{}", action.path()), post(act));
    }
    routes
        .fallback(async || Refusal::from(ErrorCode::NoSuchEndpoint))
        .method_not_allowed_fallback(async || Refusal::from(ErrorCode::MethodNotAllowed))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(within_time))
        // A package may be as long as the cache is large, and takes its time.
        .route("/v1/cache/import", post(import::<F>).layer(DefaultBodyLimit::disable()))
        .layer(middleware::from_fn_with_state(guard, admitted))
        .with_state(Room { face, stop })
}

/// The one place where it is asked who may do what: lets a call in as somebody, or refuses it, and has written down what must be.
async fn admitted(
    State(guard): State<Guard>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method().as_str().to_owned();
    let matched = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let Some(asker) = guard.admit(caller, &method, matched.as_deref()).await else {
        tracing::warn!(uid = ?caller.uid, %method, path = matched.as_deref(), "refused a control call");
        guard
            .record(caller, None, request.uri().path(), (&method, matched.as_deref()), StatusCode::FORBIDDEN, None)
            .await;
        return Refusal::from(ErrorCode::NotPermitted).into_response();
    };
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(asker);
    let response = next.run(request).await;
    let shown = response.extensions().get::<Shown>().cloned();
    guard.record(caller, Some(asker), &path, (&method, matched.as_deref()), response.status(), shown).await;
    response
}

/// Bounds the time to the head of the answer; the events of a watch come after it.
async fn within_time(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_TIMEOUT, next.run(request))
        .await
        .unwrap_or_else(|_| Refusal::from(ErrorCode::TooSlow).into_response())
}

/// How the node is.
#[utoipa::path(get, path = "/v1/status", tag = "node", operation_id = "status", responses(
    (status = 200, body = StatusView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn status<F: Face>(State(room): State<Room<F>>) -> Answer<StatusView> {
    Ok(Json(room.face.status().await?))
}

/// Stops the node; its jobs go on when it runs again.
#[utoipa::path(post, path = "/v1/shutdown", tag = "node", operation_id = "shutdown", responses(
    (status = 202, description = "It stops."),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn shutdown<F: Face>(State(room): State<Room<F>>) -> Result<StatusCode, Refusal> {
    room.face.shutdown().await?;
    Ok(StatusCode::ACCEPTED)
}

/// The jobs, in the order in which they were made.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", operation_id = "jobs", params(PageQuery), responses(
    (status = 200, body = Page<JobView>),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn jobs<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Asked(query): Asked<PageQuery>,
) -> Answer<Page<JobView>> {
    Ok(Json(room.face.jobs(asker, query).await?))
}

/// Makes a job. When the answer comes, the job survives a crash. A request that is repeated with the same idempotency key
/// makes no second job, as long as the first is known.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs", operation_id = "create_job", request_body = JobSpec, params(
    ("Idempotency-Key" = Option<String>, Header, description = "Any text of 1 to 255 visible characters.", min_length = 1, max_length = 255)
), responses(
    (status = 201, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn create_job<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Key(key): Key,
    Body(spec): Body<JobSpec>,
) -> Result<Response, Refusal> {
    spec.check()?;
    let job = room.face.create_job(asker, spec, key.as_deref()).await?;
    let location = format!("/v1/jobs/{}", job.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], shown(job)).into_response())
}

/// Makes many jobs, each by itself: what is wrong with one concerns no other. When the answer comes, those that have an id survive a
/// crash. A batch that is repeated with the same idempotency key finds the jobs that it made.
#[utoipa::path(post, path = "/v1/jobs/batch", tag = "jobs", operation_id = "create_jobs", request_body = JobBatch, params(
    ("Idempotency-Key" = Option<String>, Header, description = "Any text of 1 to 255 visible characters.", min_length = 1, max_length = 255)
), responses(
    (status = 200, body = BatchView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn create_jobs<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Key(key): Key,
    Body(batch): Body<JobBatch>,
) -> Result<(Extension<Shown>, Json<BatchView>), Refusal> {
    batch.check()?;
    let shown = Shown::of_batch(asker, &batch);
    Ok((Extension(shown), Json(room.face.create_jobs(asker, batch, key.as_deref()).await?)))
}

/// One job.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "job", params(("id" = String, Path, description = "The job's id.")), responses(
    (status = 200, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn job<F: Face>(State(room): State<Room<F>>, Extension(asker): As, Id(id): Id) -> OneJob {
    Ok(shown(room.face.job(asker, &id).await?))
}

/// Changes a job that has not ended: what is named, and nothing else. Transfers begin anew where they would go another way.
#[utoipa::path(patch, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "change_job", params(("id" = String, Path, description = "The job's id.")), request_body = JobChange, responses(
    (status = 200, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn change_job<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Body(change): Body<JobChange>,
) -> OneJob {
    change.check()?;
    Ok(shown(room.face.change_job(asker, &id, change).await?))
}

/// Gives a job that has not ended more files; one that was whole goes on with them.
#[utoipa::path(post, path = "/v1/jobs/{id}/files", tag = "jobs", operation_id = "add_files", params(("id" = String, Path, description = "The job's id.")), request_body = MoreFiles, responses(
    (status = 200, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn add_files<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Body(more): Body<MoreFiles>,
) -> OneJob {
    more.check()?;
    Ok(shown(room.face.add_files(asker, &id, more).await?))
}

/// Asks for more of a file that is fetched on demand, moves the place at which is begun, and lets the job run. When all that was asked
/// for is here, the job rests, and the event `ranges_transferred` tells of it; when all of its files are whole, it goes on as others do.
#[utoipa::path(post, path = "/v1/jobs/{id}/ranges", tag = "jobs", operation_id = "order_ranges", params(("id" = String, Path, description = "The job's id.")), request_body = RangeOrder, responses(
    (status = 200, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn order_ranges<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Body(order): Body<RangeOrder>,
) -> OneJob {
    order.check()?;
    Ok(shown(room.face.order_ranges(asker, &id, order).await?))
}

/// What of a job's file is here and checked.
#[utoipa::path(get, path = "/v1/jobs/{id}/ranges", tag = "jobs", operation_id = "filled", params(("id" = String, Path, description = "The job's id."), FileQuery), responses(
    (status = 200, body = FilledView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn filled<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Asked(query): Asked<FileQuery>,
) -> Answer<FilledView> {
    Ok(Json(room.face.filled(asker, &id, query).await?))
}

async fn act<F: Face>(room: Room<F>, asker: Asker, id: String, action: JobAction) -> OneJob {
    Ok(shown(room.face.act(asker, &id, action).await?))
}

/// A job's view, and for the audit log, whose job it is.
fn shown(job: JobView) -> (Extension<Shown>, Json<JobView>) {
    (Extension(Shown::of(&job)), Json(job))
}

/// What origins answered last about the files of a job, in their order: also of one of the last 256 jobs that have ended, by its whole
/// id. The cursor is a file's place in the job; a page may be short and yet have one. To anybody but the job's owner only the
/// values of fields are shown that hold no secret.
#[utoipa::path(get, path = "/v1/jobs/{id}/headers", tag = "jobs", operation_id = "job_headers", params(("id" = String, Path, description = "The job's id."), PageQuery), responses(
    (status = 200, body = Page<HeadView>), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn heads<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Asked(query): Asked<PageQuery>,
) -> Result<(Extension<Shown>, Json<Page<HeadView>>), Refusal> {
    let (owner, page) = room.face.heads(asker, &id, query).await?;
    Ok((Extension(Shown::of_owner(owner)), Json(page)))
}

/// Follows a job with server-sent events named `job`, whose data is a JobView: a change of state at once, progress at
/// most ten times a second. The stream ends with the job.
#[utoipa::path(get, path = "/v1/jobs/{id}/watch", tag = "jobs", operation_id = "watch_job", params(("id" = String, Path, description = "The job's id.")), responses(
    (status = 200, body = JobView, content_type = "text/event-stream"),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn watch_job<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
) -> Result<impl IntoResponse, Refusal> {
    let views = room.face.watch(asker, &id).await?;
    Ok(events::answer(views, room.stop))
}

/// Waits until a job has come to rest: ended, failed, paused or whole; at most for the seconds of the query. Then as it stands.
#[utoipa::path(get, path = "/v1/jobs/{id}/wait", tag = "jobs", operation_id = "wait_job", params(("id" = String, Path, description = "The job's id."), WaitQuery), responses(
    (status = 200, body = JobView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn wait_job<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Id(id): Id,
    Asked(query): Asked<WaitQuery>,
) -> Answer<JobView> {
    let seconds = query.seconds.unwrap_or(MAX_WAIT).min(MAX_WAIT);
    let mut views = room.face.watch(asker, &id).await?;
    let rests = |view: &JobView| {
        let is_stopped = matches!(view.state, JobState::Suspended | JobState::Error | JobState::Transferred);
        view.state.is_final() || is_stopped
    };
    // However it ends, the last view is the answer.
    let _ = tokio::time::timeout(Duration::from_secs(seconds), views.wait_for(rests)).await;
    let view = views.borrow().clone();
    Ok(Json(view))
}

/// What happened to jobs, oldest first; the newest 10,000 events are kept. The cursor is an event's id.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "events", params(PageQuery), responses(
    (status = 200, body = Page<EventView>), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn list_events<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Asked(query): Asked<PageQuery>,
) -> Answer<Page<EventView>> {
    Ok(Json(room.face.events(asker, query).await?))
}

/// Follows what happens to jobs with server-sent events named `event`, whose data is an EventView and whose id is the cursor: a stream that
/// broke goes on behind `Last-Event-ID`. It begins behind the cursor of the query, or with what happens next.
#[utoipa::path(get, path = "/v1/events/follow", tag = "events", operation_id = "follow_events", params(PageQuery), responses(
    (status = 200, body = EventView, content_type = "text/event-stream"),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn follow_events<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    LastEvent(last): LastEvent,
    Asked(query): Asked<PageQuery>,
) -> Result<impl IntoResponse, Refusal> {
    let mut news = room.face.event_news();
    let newest = *news.borrow_and_update();
    let after = match last.or(query.after) {
        Some(text) => text.parse().map_err(|_| Problem::new(ErrorCode::BadRequest, "a cursor is an event's id"))?,
        None => newest,
    };
    Ok(events::log((room.face, asker), news, after, room.stop))
}

/// The store as a whole.
#[utoipa::path(get, path = "/v1/cache", tag = "cache", operation_id = "cache", responses(
    (status = 200, body = CacheView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn cache<F: Face>(State(room): State<Room<F>>) -> Answer<CacheView> {
    Ok(Json(room.face.cache().await?))
}

/// What the store holds and the query admits, in the order of the ids. A page may be short and yet have a cursor, because
/// a call looks at so many rows only.
#[utoipa::path(get, path = "/v1/cache/entities", tag = "cache", operation_id = "entities", params(EntityQuery), responses(
    (status = 200, body = Page<EntityView>),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn entities<F: Face>(State(room): State<Room<F>>, Asked(query): Asked<EntityQuery>) -> Answer<Page<EntityView>> {
    query.check()?;
    Ok(Json(room.face.entities(query).await?))
}

/// One entity in full, by its whole id.
#[utoipa::path(get, path = "/v1/cache/entities/{id}", tag = "cache", operation_id = "entity", params(("id" = String, Path, description = "The entity's id.")), responses(
    (status = 200, body = EntityDetail), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn entity<F: Face>(State(room): State<Room<F>>, Id(id): Id) -> Answer<EntityDetail> {
    Ok(Json(room.face.entity(&id).await?))
}

/// Pins an entity, by its whole id, so that it is never evicted. Twice is as good as once.
#[utoipa::path(put, path = "/v1/cache/entities/{id}/pin", tag = "cache", operation_id = "pin", params(("id" = String, Path, description = "The entity's id.")), responses(
    (status = 200, body = PinChange), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn pin<F: Face>(State(room): State<Room<F>>, Id(id): Id) -> Answer<PinChange> {
    Ok(Json(room.face.pin(&id).await?))
}

/// Lets an entity go that was pinned. Twice is as good as once.
#[utoipa::path(delete, path = "/v1/cache/entities/{id}/pin", tag = "cache", operation_id = "unpin", params(("id" = String, Path, description = "The entity's id.")), responses(
    (status = 200, body = PinChange), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn unpin<F: Face>(State(room): State<Room<F>>, Id(id): Id) -> Answer<PinChange> {
    Ok(Json(room.face.unpin(&id).await?))
}

/// Changes the limits of the store in the configuration file and in the running store, or says what that would do.
#[utoipa::path(put, path = "/v1/cache/limits", tag = "cache", operation_id = "set_limits", request_body = LimitsChange, responses(
    (status = 200, body = LimitsOutcome), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn set_limits<F: Face>(State(room): State<Room<F>>, Body(change): Body<LimitsChange>) -> Answer<LimitsOutcome> {
    Ok(Json(room.face.set_limits(change).await?))
}

/// Hashes what is held of an entity, by its whole id. Server-sent events: `progress` with a VerifyProgress, at the end `done`
/// with a VerifiedView or `failed` with a Problem.
#[utoipa::path(post, path = "/v1/cache/entities/{id}/verify", tag = "cache", operation_id = "verify", params(("id" = String, Path, description = "The entity's id.")), responses(
    (status = 200, body = VerifiedView, content_type = "text/event-stream"),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn verify<F: Face>(State(room): State<Room<F>>, Id(id): Id) -> Result<impl IntoResponse, Refusal> {
    Ok(long::events(room.face.verify(&id).await?))
}

/// Packs entities. The answer is the package in pieces, each behind its length; behind the last one stand a length of zero, and
/// an ExportEnd behind its length. Lengths are 32 bits, little-endian.
#[utoipa::path(post, path = "/v1/cache/export", tag = "cache", operation_id = "export", request_body = ExportOrder, responses(
    (status = 200, body = ExportEnd, content_type = "application/octet-stream"),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn export<F: Face>(State(room): State<Room<F>>, Body(order): Body<ExportOrder>) -> Result<Response, Refusal> {
    let pieces = room.face.export(order).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], long::pieces(pieces)).into_response())
}

/// Takes a package in, or says what it has. The body is the package.
#[utoipa::path(post, path = "/v1/cache/import", tag = "cache", operation_id = "import", params(ImportQuery), request_body(content = Vec<u8>, content_type = "application/octet-stream"), responses(
    (status = 200, body = ImportView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn import<F: Face>(
    State(room): State<Room<F>>,
    Asked(query): Asked<ImportQuery>,
    request: Request,
) -> Answer<ImportView> {
    let (sender, pieces) = mpsc::channel(PIECES);
    let receive = long::receive(request.into_body().into_data_stream(), sender);
    let (outcome, ()) = tokio::join!(room.face.import(query, pieces), receive);
    Ok(Json(outcome?))
}

/// Says what an order to remove would do. Nothing is done.
#[utoipa::path(post, path = "/v1/cache/plan", tag = "cache", operation_id = "plan_removal", request_body = RemovalOrder, responses(
    (status = 200, body = PlanView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn plan_removal<F: Face>(State(room): State<Room<F>>, Body(order): Body<RemovalOrder>) -> Answer<PlanView> {
    Ok(Json(room.face.plan_removal(order).await?))
}

/// Removes what an order names, but for what is in use, or pinned if the order says so.
#[utoipa::path(post, path = "/v1/cache/remove", tag = "cache", operation_id = "remove", request_body = RemovalOrder, responses(
    (status = 200, body = Removed), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn remove<F: Face>(State(room): State<Room<F>>, Body(order): Body<RemovalOrder>) -> Answer<Removed> {
    Ok(Json(room.face.remove(order).await?))
}

/// The peers, and why there are none if there are none.
#[utoipa::path(get, path = "/v1/peers", tag = "peers", operation_id = "peers", responses(
    (status = 200, body = PeersView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn peers<F: Face>(State(room): State<Room<F>>, asker: As) -> Answer<PeersView> {
    Ok(Json(asker.0.shown(room.face.peers().await?)))
}

/// One member, and what is held against it.
#[utoipa::path(get, path = "/v1/peers/{id}", tag = "peers", operation_id = "peer",
    params(("id" = String, Path, description = "The node id.")), responses(
    (status = 200, body = PeerDetail), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn peer<F: Face>(State(room): State<Room<F>>, Id(node): Id) -> Answer<PeerDetail> {
    Ok(Json(room.face.peer(&node).await?))
}

/// The account of bytes.
#[utoipa::path(get, path = "/v1/report", tag = "report", operation_id = "report", params(PageQuery), responses(
    (status = 200, body = ReportView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn report<F: Face>(
    State(room): State<Room<F>>,
    Extension(asker): As,
    Asked(query): Asked<PageQuery>,
) -> Answer<ReportView> {
    Ok(Json(room.face.report(asker, query).await?))
}

/// What the gateway has done since the node started, by mount.
#[utoipa::path(get, path = "/v1/gateway", tag = "report", operation_id = "gateway", responses(
    (status = 200, body = GatewayView), (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn gateway<F: Face>(State(room): State<Room<F>>) -> Answer<GatewayView> {
    Ok(Json(room.face.gateway().await?))
}

/// Counters and gauges for a monitoring system.
#[utoipa::path(get, path = "/v1/metrics", tag = "report", operation_id = "metrics", responses(
    (status = 200, description = "Prometheus exposition format, version 0.0.4.", body = String, content_type = "text/plain"),
    (status = "default", body = Problem, content_type = "application/problem+json")
))]
async fn metrics<F: Face>(State(room): State<Room<F>>) -> Result<Response, Refusal> {
    let text = room.face.metrics().await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// This document.
async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], openapi::text()).into_response()
}
