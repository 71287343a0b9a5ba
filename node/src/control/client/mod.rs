//! The other end of the control API, typed: for the command line, and for any program in Rust.
//!
//! ```no_run
//! use eddy_node::control::{Client, socket_of};
//! use eddy_wire::api::{JobSpec, Problem};
//! use std::path::Path;
//!
//! # async fn fetch() -> Result<(), Problem> {
//! let client = Client::new(&socket_of(Path::new("/home/anna/.local/share/eddy")))?;
//! let wish = r#"{"files": [{"url": "https://example.org/file.iso", "destination": "/home/anna/file.iso"}]}"#;
//! let spec: JobSpec = serde_json::from_str(wish).expect("a job");
//! // Asked again with the same key, it is the same job.
//! let job = client.create_job_once(&spec, "file.iso of today").await?;
//! let mut watch = client.watch(&job.id).await?;
//! while let Some(view) = watch.next().await? {
//!     println!("{}: {} of {:?} bytes", view.state.word(), view.done(), view.length());
//!     if let Some(problem) = view.error {
//!         eprintln!("{} [{}]: {}", problem.title, problem.code, problem.remedy);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What goes over the line are the types of `eddy_wire::api`; every failure is a [`Problem`] of the catalogue. Programs in other languages
//! speak to the same socket by `node/openapi.json`.

mod events;
mod package;

pub use events::{EventNews, Verification, VerificationNews, Watch};
pub use package::ExportFailure;

use eddy_wire::api::{
    BatchView, CacheView, EntityDetail, EntityQuery, EntityView, EventView, FileQuery, FilledView, GatewayView,
    HeadView, JobAction, JobBatch, JobChange, JobSpec, JobView, LimitsChange, LimitsOutcome, MAX_WAIT, MoreFiles, Page,
    PageQuery, PeerDetail, PeersView, PinChange, PlanView, Problem, RangeOrder, RemovalOrder, Removed, ReportView,
    StatusView,
};
use eddy_wire::catalogue::ErrorCode;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of the longest answer and of the longest event: a page of jobs with very many files.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Longest wait for an answer; the node itself gives up after 30 s.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A way to the node behind a control socket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client for the node that serves `socket`; nothing is sent yet.
    pub fn new(socket: &Path) -> Result<Self, Problem> {
        // No trust anchors are loaded: nothing but the socket is ever talked to, and it is faster without.
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            .tls_certs_only([])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Problem::new(ErrorCode::Internal, chain(&error)))?;
        Ok(Self { http, socket: socket.to_owned() })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// How the node is.
    pub async fn status(&self) -> Result<StatusView, Problem> {
        self.ask(Method::GET, &["status"]).await
    }

    /// Stops the node.
    pub async fn shutdown(&self) -> Result<(), Problem> {
        self.send(self.request(Method::POST, &["shutdown"])?).await.map(|_| ())
    }

    /// Makes a job.
    pub async fn create_job(&self, spec: &JobSpec) -> Result<JobView, Problem> {
        self.tell(Method::POST, &["jobs"], spec).await
    }

    /// Makes many jobs, each by itself.
    pub async fn create_jobs(&self, batch: &JobBatch) -> Result<BatchView, Problem> {
        self.tell(Method::POST, &["jobs", "batch"], batch).await
    }

    /// Makes many jobs, or finds those that the same key made.
    pub async fn create_jobs_once(&self, batch: &JobBatch, key: &str) -> Result<BatchView, Problem> {
        let request = self.request(Method::POST, &["jobs", "batch"])?.header("idempotency-key", key);
        read(self.send(request.json(batch)).await?).await
    }

    /// Makes a job, or finds the one that the same key made.
    pub async fn create_job_once(&self, spec: &JobSpec, key: &str) -> Result<JobView, Problem> {
        read(self.send(self.request(Method::POST, &["jobs"])?.header("idempotency-key", key).json(spec)).await?).await
    }

    /// Changes a job.
    pub async fn change_job(&self, id: &str, change: &JobChange) -> Result<JobView, Problem> {
        self.tell(Method::PATCH, &["jobs", id], change).await
    }

    /// Gives a job more files.
    pub async fn add_files(&self, id: &str, more: &MoreFiles) -> Result<JobView, Problem> {
        self.tell(Method::POST, &["jobs", id, "files"], more).await
    }

    /// Asks for ranges of a file on demand.
    pub async fn order_ranges(&self, id: &str, order: &RangeOrder) -> Result<JobView, Problem> {
        self.tell(Method::POST, &["jobs", id, "ranges"], order).await
    }

    /// What of a job's file is here.
    pub async fn filled(&self, id: &str, query: &FileQuery) -> Result<FilledView, Problem> {
        self.page(&["jobs", id, "ranges"], query).await
    }

    /// One job.
    pub async fn job(&self, id: &str) -> Result<JobView, Problem> {
        self.ask(Method::GET, &["jobs", id]).await
    }

    /// A page of what origins answered last about the files of a job.
    pub async fn heads(&self, id: &str, query: &PageQuery) -> Result<Page<HeadView>, Problem> {
        self.page(&["jobs", id, "headers"], query).await
    }

    /// A page of the jobs.
    pub async fn jobs(&self, query: &PageQuery) -> Result<Page<JobView>, Problem> {
        self.page(&["jobs"], query).await
    }

    /// Does something to a job.
    pub async fn act(&self, id: &str, action: JobAction) -> Result<JobView, Problem> {
        self.ask(Method::POST, &["jobs", id, action.path()]).await
    }

    /// Follows a job.
    pub async fn watch(&self, id: &str) -> Result<Watch, Problem> {
        // Silence is no error here: the node sends a comment every 15 s, and a dead node closes the connection.
        let request = self.request(Method::GET, &["jobs", id, "watch"])?.timeout(Duration::MAX);
        Ok(Watch::new(self.send(request).await?))
    }

    /// Waits until a job has come to rest, for at most 25 seconds; then as it stands.
    pub async fn wait(&self, id: &str) -> Result<JobView, Problem> {
        let request =
            self.request(Method::GET, &["jobs", id, "wait"])?.timeout(TIMEOUT + Duration::from_secs(MAX_WAIT));
        read(self.send(request).await?).await
    }

    /// A page of what happened to jobs.
    pub async fn events(&self, query: &PageQuery) -> Result<Page<EventView>, Problem> {
        self.page(&["events"], query).await
    }

    /// Follows what happens to jobs, from behind a cursor, or from now on.
    pub async fn follow_events(&self, after: Option<&str>) -> Result<EventNews, Problem> {
        let mut url = address(&["events", "follow"])?;
        append_query(&mut url, &PageQuery { after: after.map(str::to_owned), limit: None })?;
        Ok(EventNews::new(self.send(self.http.get(url).timeout(Duration::MAX)).await?))
    }

    /// The store as a whole.
    pub async fn cache(&self) -> Result<CacheView, Problem> {
        self.ask(Method::GET, &["cache"]).await
    }

    /// A page of what the store holds and the query admits; it may be short and yet have a cursor.
    pub async fn entities(&self, query: &EntityQuery) -> Result<Page<EntityView>, Problem> {
        self.page(&["cache", "entities"], query).await
    }

    /// One entity in full, by its whole id.
    pub async fn entity(&self, id: &str) -> Result<EntityDetail, Problem> {
        self.ask(Method::GET, &["cache", "entities", id]).await
    }

    /// Pins an entity, by its whole id.
    pub async fn pin(&self, id: &str) -> Result<PinChange, Problem> {
        self.ask(Method::PUT, &["cache", "entities", id, "pin"]).await
    }

    /// Lets an entity go that was pinned.
    pub async fn unpin(&self, id: &str) -> Result<PinChange, Problem> {
        self.ask(Method::DELETE, &["cache", "entities", id, "pin"]).await
    }

    /// Verifies what is held of an entity.
    pub async fn verify(&self, id: &str) -> Result<Verification, Problem> {
        let request = self.request(Method::POST, &["cache", "entities", id, "verify"])?.timeout(Duration::MAX);
        Ok(Verification::new(self.send(request).await?))
    }

    /// Changes the limits of the store, or asks what that would do.
    pub async fn set_limits(&self, change: &LimitsChange) -> Result<LimitsOutcome, Problem> {
        self.tell(Method::PUT, &["cache", "limits"], change).await
    }

    /// What an order to remove would do.
    pub async fn plan_removal(&self, order: &RemovalOrder) -> Result<PlanView, Problem> {
        self.tell(Method::POST, &["cache", "plan"], order).await
    }

    /// Removes what an order names.
    pub async fn remove(&self, order: &RemovalOrder) -> Result<Removed, Problem> {
        self.tell(Method::POST, &["cache", "remove"], order).await
    }

    /// One member, by its whole node id.
    pub async fn peer(&self, node: &str) -> Result<PeerDetail, Problem> {
        self.ask(Method::GET, &["peers", node]).await
    }

    /// The peers.
    pub async fn peers(&self) -> Result<PeersView, Problem> {
        self.ask(Method::GET, &["peers"]).await
    }

    /// A page of the account of bytes.
    pub async fn report(&self, query: &PageQuery) -> Result<ReportView, Problem> {
        self.page(&["report"], query).await
    }

    /// What the gateway has done, by mount.
    pub async fn gateway(&self) -> Result<GatewayView, Problem> {
        self.ask(Method::GET, &["gateway"]).await
    }

    /// What is counted, as text for a monitoring system.
    pub async fn metrics(&self) -> Result<String, Problem> {
        let text = body(self.send(self.request(Method::GET, &["metrics"])?).await?).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &[&str]) -> Result<T, Problem> {
        read(self.send(self.request(method, path)?).await?).await
    }

    /// Asks with a body.
    async fn tell<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, Problem> {
        read(self.send(self.request(method, path)?.json(body)).await?).await
    }

    /// Asks with a query string: the fields of `query` that are there.
    async fn page<T: DeserializeOwned>(&self, path: &[&str], query: &impl Serialize) -> Result<T, Problem> {
        let mut url = address(path)?;
        append_query(&mut url, query)?;
        read(self.send(self.http.get(url).timeout(TIMEOUT)).await?).await
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, Problem> {
        Ok(self.http.request(method, address(path)?).timeout(TIMEOUT))
    }

    /// Sends, and makes a problem of every answer that is not a success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let incompatible = || Problem::new(ErrorCode::DaemonIncompatible, format!("it answered with status {status}"));
        Err(serde_json::from_slice(&body(response).await?).unwrap_or_else(|_| incompatible()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Problem {
        let code = if error.is_timeout() { ErrorCode::TooSlow } else { ErrorCode::DaemonUnreachable };
        Problem::new(code, format!("{}: {}", self.socket.display(), cause(error)))
    }
}

fn address(path: &[&str]) -> Result<Url, Problem> {
    // The host is never looked up; the node does not read it either.
    let internal = || Problem::from(ErrorCode::Internal);
    let mut url = Url::parse("http://eddy/v1").map_err(|_| internal())?;
    // Each part becomes one escaped segment, but these would vanish and so name something else.
    if path.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(Problem::new(ErrorCode::BadRequest, "an id is neither empty nor a dot"));
    }
    url.path_segments_mut().map_err(|()| internal())?.extend(path);
    Ok(url)
}

/// Writes the fields that are there into the query string.
fn append_query(url: &mut Url, query: &impl Serialize) -> Result<(), Problem> {
    let fields = serde_json::to_value(query).map_err(|error| Problem::new(ErrorCode::Internal, error.to_string()))?;
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            Value::Null => {}
            Value::String(text) => drop(url.query_pairs_mut().append_pair(name, text)),
            other => drop(url.query_pairs_mut().append_pair(name, &other.to_string())),
        }
    }
    Ok(())
}

async fn read<T: DeserializeOwned>(response: Response) -> Result<T, Problem> {
    parse(&body(response).await?)
}

async fn body(mut response: Response) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    let failed = |error: reqwest::Error| Problem::new(ErrorCode::DaemonUnreachable, cause(&error));
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Problem::new(ErrorCode::DaemonIncompatible, "the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(bytes).map_err(|error| Problem::new(ErrorCode::DaemonIncompatible, error.to_string()))
}

/// What the system said: the innermost cause.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The whole chain of causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_segment_whatever_it_contains() {
        let url = address(&["jobs", "../a b/?#", "watch"]).expect("an address");
        assert_eq!(url.path(), "/v1/jobs/..%2Fa%20b%2F%3F%23/watch");
        for vanishing in ["", ".", ".."] {
            assert_eq!(address(&["jobs", vanishing]).expect_err("no id").code, "bad-request");
        }
    }
}
