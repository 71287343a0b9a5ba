//! The control API over a real socket: the typed client, raw requests and refusals, in front of a node of plain data.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use eddy_node::control::client::{ExportFailure, VerificationNews};
use eddy_node::control::face::{ExportPiece, VerifyNews};
use eddy_node::control::{Asker, Bytes, Client, ControlListener, Face, Guard, serve};
use eddy_wire::api::{
    BatchView, CacheView, EntityDetail, EntityQuery, EntityView, EventKind, EventView, ExportEnd, ExportOrder,
    ExportView, FileQuery, FileSpec, FilledView, Finish, GatewayView, HeadView, HeaderView, ImportQuery, ImportView,
    JobAction, JobBatch, JobChange, JobSpec, JobState, JobView, LimitView, LimitsChange, LimitsOutcome, LimitsView,
    MadeJob, Mode, MoreFiles, PackedView, Page, PageQuery, PeerDetail, PeerUse, PeersView, PinChange, PlanView,
    Priority, Problem, RangeOrder, RemovalOrder, Removed, ReportView, StatusView, Terms, TermsView, VerifiedView,
    VerifyProgress,
};
use eddy_wire::catalogue::ErrorCode;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A node that holds its jobs in memory and fetches nothing.
#[derive(Default)]
struct Plain {
    jobs: Mutex<Vec<watch::Sender<JobView>>>,
    stop: CancellationToken,
}

impl Plain {
    fn with_job<T>(&self, id: &str, f: impl FnOnce(&watch::Sender<JobView>) -> T) -> Result<T, Problem> {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().find(|job| job.borrow().id == id).map(f).ok_or(ErrorCode::JobNotFound.into())
    }
}

fn view(id: usize, spec: &JobSpec) -> JobView {
    JobView {
        id: id.to_string(),
        name: spec.name.clone().unwrap_or_default(),
        state: if spec.start { JobState::Queued } else { JobState::Suspended },
        priority: spec.priority,
        finish: spec.finish,
        peers: spec.peers,
        owner: 1000,
        terms: TermsView::default(),
        created_unix_ms: 0,
        changed_unix_ms: 0,
        transferred_unix_ms: None,
        faults: 0,
        waiting: None,
        files: Vec::new(),
        rate: 0,
        eta_seconds: None,
        error: None,
        next_attempt_unix_ms: None,
    }
}

fn limits() -> LimitsView {
    let limit = |value: &str| LimitView { value: value.into(), set_by: "default".into() };
    LimitsView { quota: limit("3 B"), reserve: limit("4 B"), max_age: limit("none") }
}

impl Face for Plain {
    async fn status(&self) -> Result<StatusView, Problem> {
        Ok(StatusView {
            version: "0".into(),
            pid: std::process::id(),
            node: "n".into(),
            home: "/h".into(),
            group: None,
            listen: Vec::new(),
            mode: Mode::Daemon,
            uptime_seconds: 0,
            jobs: 0,
            peers: 0,
            activity: "rests".into(),
        })
    }

    async fn create_job(&self, _asker: Asker, spec: JobSpec, _key: Option<&str>) -> Result<JobView, Problem> {
        let mut jobs = self.jobs.lock().unwrap();
        let view = view(jobs.len(), &spec);
        jobs.push(watch::Sender::new(view.clone()));
        Ok(view)
    }

    async fn create_jobs(&self, asker: Asker, batch: JobBatch, key: Option<&str>) -> Result<BatchView, Problem> {
        let mut jobs = Vec::new();
        for spec in batch.jobs {
            jobs.push(MadeJob { id: Some(self.create_job(asker, spec, key).await?.id), error: None });
        }
        Ok(BatchView { jobs })
    }

    async fn events(&self, _asker: Asker, query: PageQuery) -> Result<Page<EventView>, Problem> {
        let job = self.jobs.lock().unwrap().first().map(|job| job.borrow().clone());
        let event = job.filter(|_| query.after.is_none() || query.after.as_deref() == Some("0")).map(|job| EventView {
            id: "1".into(),
            at_unix_ms: 1_700_000_000_000,
            kind: EventKind::Created,
            job: job.id,
            name: job.name,
            owner: job.owner,
            state: job.state,
            hook: None,
            code: None,
            detail: None,
        });
        Ok(Page { items: event.into_iter().collect(), next: None })
    }

    fn event_news(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    async fn change_job(&self, _asker: Asker, id: &str, change: JobChange) -> Result<JobView, Problem> {
        self.with_job(id, |job| {
            job.send_modify(|view| view.name = change.name.unwrap_or_else(|| view.name.clone()));
            job.borrow().clone()
        })
    }

    async fn add_files(&self, asker: Asker, id: &str, _more: MoreFiles) -> Result<JobView, Problem> {
        self.job(asker, id).await
    }

    async fn order_ranges(&self, asker: Asker, id: &str, _order: RangeOrder) -> Result<JobView, Problem> {
        self.job(asker, id).await
    }

    async fn filled(&self, _asker: Asker, _id: &str, query: FileQuery) -> Result<FilledView, Problem> {
        Ok(FilledView { file: query.file, length: None, filled: Vec::new() })
    }

    async fn job(&self, _asker: Asker, id: &str) -> Result<JobView, Problem> {
        self.with_job(id, |job| job.borrow().clone())
    }

    async fn heads(&self, _asker: Asker, id: &str, query: PageQuery) -> Result<(u32, Page<HeadView>), Problem> {
        let field = |name: &str, value: Option<&str>| HeaderView { name: name.into(), value: value.map(str::to_owned) };
        let head = |file: u32, url: &str| HeadView {
            file,
            url: url.to_owned(),
            destination: "/srv/a".to_owned(),
            received_unix_ms: 1_700_000_000_000,
            status: 200,
            fields: vec![field("content-type", Some("text/\u{1b}[2Jplain")), field("set-cookie", None)],
            is_cut: false,
        };
        let after = query.after.map_or(-1, |after| after.parse().unwrap());
        self.with_job(id, |job| {
            let job = job.borrow();
            let files = (0..).zip(&job.files).filter(|(file, _)| i64::from(*file) > after);
            let items = files.map(|(at, file)| head(at, &file.url)).collect();
            (0, Page { items, next: None })
        })
    }

    async fn jobs(&self, _asker: Asker, query: PageQuery) -> Result<Page<JobView>, Problem> {
        let jobs = self.jobs.lock().unwrap();
        let first = query.after.as_ref().map_or(0, |after| after.parse::<usize>().unwrap() + 1);
        let items: Vec<JobView> = jobs.iter().skip(first).take(query.size()).map(|job| job.borrow().clone()).collect();
        let next = (first + items.len() < jobs.len()).then(|| items.last().map(|job| job.id.clone())).flatten();
        Ok(Page { items, next })
    }

    async fn act(&self, _asker: Asker, id: &str, action: JobAction) -> Result<JobView, Problem> {
        let state = match action {
            JobAction::Resume => JobState::Queued,
            JobAction::Pause => JobState::Suspended,
            JobAction::Cancel => JobState::Cancelled,
            JobAction::Take => JobState::Suspended,
            JobAction::Finish => return Err(Problem::new(ErrorCode::WrongState, "it is not transferred")),
        };
        self.with_job(id, |job| {
            job.send_modify(|view| view.state = state);
            job.borrow().clone()
        })
    }

    async fn watch(&self, _asker: Asker, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.with_job(id, watch::Sender::subscribe)
    }

    async fn cache(&self) -> Result<CacheView, Problem> {
        Ok(CacheView {
            directory: "/c".into(),
            entities: 1,
            used: 2,
            quota: 3,
            reserve: 4,
            free: 5,
            available: 1,
            pinned: 0,
            limits: limits(),
            scrubbed_unix_ms: None,
            corrupt_blocks: 0,
            findings: Vec::new(),
        })
    }

    async fn entities(&self, _query: EntityQuery) -> Result<Page<EntityView>, Problem> {
        Ok(Page { items: Vec::new(), next: None })
    }

    async fn entity(&self, id: &str) -> Result<EntityDetail, Problem> {
        Err(Problem::new(ErrorCode::EntityNotFound, id))
    }

    async fn pin(&self, id: &str) -> Result<PinChange, Problem> {
        Ok(PinChange { id: id.into(), url: "https://h/a".into(), pinned: true, changed: true })
    }

    async fn unpin(&self, id: &str) -> Result<PinChange, Problem> {
        Ok(PinChange { id: id.into(), url: "https://h/a".into(), pinned: false, changed: false })
    }

    async fn set_limits(&self, change: LimitsChange) -> Result<LimitsOutcome, Problem> {
        let old = limits();
        let quota = LimitView { value: change.quota.unwrap_or_default(), set_by: "/h/eddy.toml".into() };
        let new = LimitsView { quota, ..limits() };
        let written_to = (!change.dry_run).then(|| "/h/eddy.toml".to_owned());
        let plan = self.plan_removal(RemovalOrder { ids: Vec::new(), ..RemovalOrder::default() }).await?;
        Ok(LimitsOutcome { old, new, written_to, plan })
    }

    async fn verify(&self, id: &str) -> Result<mpsc::Receiver<VerifyNews>, Problem> {
        if id.starts_with("cc") {
            return Err(ErrorCode::EntityNotFound.into());
        }
        let (sender, news) = mpsc::channel(2);
        sender.send(VerifyNews::Progress(VerifyProgress { done: 1, held: 2 })).await.unwrap();
        let corrupt = if id.starts_with("aabb") { 65_536 } else { 0 };
        let view = VerifiedView { id: id.into(), url: "https://h/a".into(), bytes: 1 << 20, corrupt };
        sender.send(VerifyNews::Done(view)).await.unwrap();
        Ok(news)
    }

    async fn export(&self, order: ExportOrder) -> Result<mpsc::Receiver<ExportPiece>, Problem> {
        let (sender, pieces) = mpsc::channel(4);
        for piece in ["a pack", "age of ", "1"] {
            sender.send(ExportPiece::Bytes(piece.into())).await.unwrap();
        }
        let view = ExportView {
            entities: order.ids.len() as u64,
            bytes: 3 << 20,
            signer: "12D3KooWme".into(),
            left_out: Vec::new(),
        };
        let is_bad = order.ids.iter().any(|id| id.starts_with("bbbb"));
        let end = if is_bad { ExportEnd::Failed(ErrorCode::StoreUnusable.into()) } else { ExportEnd::Done(view) };
        sender.send(ExportPiece::End(end)).await.unwrap();
        Ok(pieces)
    }

    async fn import(&self, query: ImportQuery, mut pieces: mpsc::Receiver<Bytes>) -> Result<ImportView, Problem> {
        let mut package = Vec::new();
        while let Some(piece) = pieces.recv().await {
            package.extend_from_slice(&piece);
            // A node knows from the first bytes that this is none.
            if !package.starts_with(b"a pack") {
                return Err(ErrorCode::NotAPackage.into());
            }
        }
        if package != b"a package of 1" {
            return Err(ErrorCode::PackageDamaged.into());
        }
        if query.signer.is_some_and(|signer| signer != "12D3KooWme") {
            return Err(ErrorCode::PackageUntrusted.into());
        }
        let entity = PackedView {
            id: "aaaa".repeat(16),
            url: "https://h/a.iso".into(),
            length: 4 << 20,
            packed: 3 << 20,
            shareable: true,
        };
        let bytes = if query.dry_run { 0 } else { 3 << 20 };
        Ok(ImportView { signer: "12D3KooWme".into(), entities: vec![entity], bytes, left_out: Vec::new() })
    }

    async fn plan_removal(&self, order: RemovalOrder) -> Result<PlanView, Problem> {
        Ok(PlanView { count: order.ids.len() as u64, ..PlanView::default() })
    }

    async fn remove(&self, order: RemovalOrder) -> Result<Removed, Problem> {
        Ok(Removed { removed: order.ids, kept: Vec::new(), freed: 7 })
    }

    async fn peers(&self) -> Result<PeersView, Problem> {
        Ok(PeersView {
            group: None,
            reason: Some("this node is in no group".into()),
            peers: Vec::new(),
            swarms: Vec::new(),
        })
    }

    async fn peer(&self, node: &str) -> Result<PeerDetail, Problem> {
        Ok(PeerDetail {
            node: node.to_owned(),
            peer: None,
            anchor: false,
            proofs: 0,
            blocked_seconds: None,
            discredited_seconds: None,
            removed: false,
            evidence: Vec::new(),
        })
    }

    async fn report(&self, _asker: Asker, _query: PageQuery) -> Result<ReportView, Problem> {
        Ok(ReportView { rows: Vec::new(), totals: eddy_wire::api::Account::default(), next: None })
    }

    async fn gateway(&self) -> Result<GatewayView, Problem> {
        Ok(GatewayView { listens: Some("http://127.0.0.1:1".into()), mounts: Vec::new() })
    }

    async fn metrics(&self) -> Result<String, Problem> {
        Ok("# TYPE eddy_uptime_seconds gauge\neddy_uptime_seconds 1\n".into())
    }

    async fn shutdown(&self) -> Result<(), Problem> {
        self.stop.cancel();
        Ok(())
    }
}

/// A running API.
struct Running {
    _home: tempfile::TempDir,
    socket: PathBuf,
    client: Client,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
}

fn start() -> Running {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("run/control.sock");
    let node = Arc::new(Plain::default());
    let stop = node.stop.clone();
    let serving = tokio::spawn(serve(ControlListener::bind(&socket).unwrap(), node, Guard::default(), stop.clone()));
    Running { _home: home, client: Client::new(&socket).unwrap(), socket, stop, serving }
}

fn spec() -> JobSpec {
    JobSpec {
        files: vec![FileSpec {
            url: "https://h/a".into(),
            destination: "/a".into(),
            digest: None,
            overwrite: false,
            ranges: Vec::new(),
            on_demand: false,
        }],
        name: Some("ä 1".into()),
        priority: Priority::High,
        peers: PeerUse::default(),
        start: false,
        finish: Finish::Manual,
        asking: None,
        adopt: false,
        followed: false,
        terms: Terms::default(),
    }
}

/// Sends the bytes and reads the answer to its end: status and body.
async fn raw(socket: &Path, request: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.contains("content-type: application/problem+json") {
        assert!(!head.starts_with("HTTP/1.1 2"), "{head}");
    }
    (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

async fn raw_call(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: eddy\r\nconnection: close\r\ncontent-length: {length}\r\n");
    raw(socket, &format!("{head}content-type: application/json\r\n\r\n{body}")).await
}

#[tokio::test]
async fn a_job_is_made_listed_followed_and_cancelled_through_the_client() {
    let api = start();
    let job = api.client.create_job(&spec()).await.unwrap();
    assert_eq!((job.name.as_str(), job.state, job.finish), ("ä 1", JobState::Suspended, Finish::Manual));
    assert_eq!(api.client.job(&job.id).await.unwrap(), job);

    let mut watch = api.client.watch(&job.id).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().state, JobState::Suspended);
    api.client.act(&job.id, JobAction::Resume).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().state, JobState::Queued);
    api.client.act(&job.id, JobAction::Cancel).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().state, JobState::Cancelled);
    assert_eq!(watch.next().await.unwrap(), None, "the stream ends with the job");
}

#[tokio::test]
async fn every_other_question_has_its_answer() {
    let api = start();
    assert_eq!(api.client.status().await.unwrap().pid, std::process::id());
    assert_eq!(api.client.cache().await.unwrap().quota, 3);
    assert!(api.client.entities(&EntityQuery::default()).await.unwrap().items.is_empty());
    assert_eq!(api.client.entity("ab/c").await.unwrap_err().detail.as_deref(), Some("ab/c"));
    let order = RemovalOrder { ids: vec!["abc".into()], ..RemovalOrder::default() };
    assert!(api.client.pin("abc").await.unwrap().pinned && !api.client.unpin("abc").await.unwrap().pinned);
    let change = LimitsChange { quota: Some("9 B".into()), ..LimitsChange::default() };
    assert_eq!(api.client.set_limits(&change).await.unwrap().new.quota.value, "9 B");
    assert_eq!(api.client.plan_removal(&order).await.unwrap().count, 1);
    assert_eq!(api.client.remove(&order).await.unwrap().freed, 7);
    assert!(api.client.peers().await.unwrap().reason.is_some());
    assert_eq!(api.client.report(&PageQuery::default()).await.unwrap().totals.delivered, 0);
    assert_eq!(api.client.gateway().await.unwrap().listens.as_deref(), Some("http://127.0.0.1:1"));
    assert!(api.client.metrics().await.unwrap().ends_with("\neddy_uptime_seconds 1\n"));
    let (status, document) = raw_call(&api.socket, "GET", "/v1/openapi.json", "").await;
    assert_eq!((status, &document["openapi"]), (200, &Value::from("3.1.0")));
}

#[tokio::test]
async fn a_verification_tells_how_far_it_is_and_how_it_ended() {
    let api = start();
    let mut verification = api.client.verify("aabb").await.unwrap();
    assert_eq!(verification.next().await, Ok(VerificationNews::Progress(VerifyProgress { done: 1, held: 2 })));
    let VerificationNews::Done(view) = verification.next().await.unwrap() else { panic!("it has not ended") };
    assert_eq!((view.id.as_str(), view.corrupt), ("aabb", 65_536));
    assert_eq!(api.client.verify("cc").await.unwrap_err().error_code(), Some(ErrorCode::EntityNotFound));
}

/// What a client reads and sends.
fn pieces(bytes: &[u8]) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, pieces) = mpsc::channel(1);
    let bytes: Vec<_> = bytes.chunks(1 << 16).map(<[u8]>::to_vec).collect();
    tokio::spawn(async move {
        for piece in bytes {
            let _ = sender.send(Ok(piece.into())).await;
        }
    });
    pieces
}

#[tokio::test]
async fn a_package_comes_whole_or_with_the_reason_why_not() {
    let api = start();
    let mut package = Vec::new();
    let order = ExportOrder { ids: vec!["aaaa".into()], ..ExportOrder::default() };
    assert_eq!(api.client.export(&order, &mut package, &mut |_| {}).await.unwrap().entities, 1);
    assert_eq!(package, b"a package of 1");
    let order = ExportOrder { ids: vec!["bbbb".into()], ..ExportOrder::default() };
    let failed = api.client.export(&order, &mut package, &mut |_| {}).await.unwrap_err();
    assert!(matches!(failed, ExportFailure::Problem(problem) if problem.code == "store-unusable"));

    let view = api.client.import(&ImportQuery::default(), pieces(b"a package of 1")).await.unwrap();
    assert_eq!((view.entities.len(), view.bytes), (1, 3 << 20));
    let code = |problem: Problem| problem.error_code();
    let query = ImportQuery { signer: Some("another".into()), ..ImportQuery::default() };
    let untrusted = api.client.import(&query, pieces(b"a package of 1")).await.unwrap_err();
    assert_eq!(code(untrusted), Some(ErrorCode::PackageUntrusted));
    let cut = api.client.import(&ImportQuery::default(), pieces(b"a pack")).await.unwrap_err();
    assert_eq!(code(cut), Some(ErrorCode::PackageDamaged));
}

#[tokio::test]
async fn a_long_file_that_is_no_package_is_refused_with_the_reason_and_not_with_a_broken_pipe() {
    let api = start();
    let refused = api.client.import(&ImportQuery::default(), pieces(&vec![7; 40 << 20])).await.unwrap_err();
    assert_eq!(refused.error_code(), Some(ErrorCode::NotAPackage), "{refused}");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let api = start();
    for _ in 0..5 {
        api.client.create_job(&spec()).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = api.client.jobs(&PageQuery { after, limit: Some(2) }).await.unwrap();
        seen.extend(page.items.into_iter().map(|job| job.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_refusal_of_the_node_arrives_whole() {
    let api = start();
    let job = api.client.create_job(&spec()).await.unwrap();
    let problem = api.client.act(&job.id, JobAction::Finish).await.unwrap_err();
    assert_eq!(problem, Problem::new(ErrorCode::WrongState, "it is not transferred"));
    assert_eq!(api.client.job("none").await.unwrap_err().error_code(), Some(ErrorCode::JobNotFound));
}

#[tokio::test]
async fn bad_input_is_refused_with_a_problem_of_the_catalogue() {
    let api = start();
    let many = format!("{{\"files\":[{}]}}", vec![r#"{"url":"u","destination":"/d"}"#; 10_001].join(","));
    for (method, path, body, status, code) in [
        ("GET", "/", "", 404, "no-such-endpoint"),
        ("GET", "/v2/status", "", 404, "no-such-endpoint"),
        ("DELETE", "/v1/status", "", 405, "method-not-allowed"),
        ("GET", "/v1/jobs/1/pause", "", 405, "method-not-allowed"),
        ("POST", "/v1/jobs", "{", 400, "bad-request"),
        ("POST", "/v1/jobs", "\u{1}", 400, "bad-request"),
        ("POST", "/v1/jobs", r#"{"files":[{"url":"u"}]}"#, 400, "bad-request"),
        ("POST", "/v1/jobs", r#"{"files":[]}"#, 400, "empty-job"),
        ("POST", "/v1/jobs", &many, 400, "too-many-files"),
        ("GET", "/v1/jobs?limit=-1", "", 400, "bad-request"),
        ("GET", "/v1/jobs?colour=red", "", 400, "bad-request"),
        ("GET", "/v1/cache/entities?colour=red", "", 400, "bad-request"),
        ("GET", "/v1/cache/entities?larger=big", "", 400, "bad-request"),
        ("GET", "/v1/cache/entities?held=half", "", 400, "bad-request"),
        ("GET", &format!("/v1/cache/entities?url={}", "*".repeat(1025)), "", 400, "too-long"),
        ("POST", "/v1/cache/plan", "{}", 400, "bad-request"),
        ("POST", "/v1/cache/remove", r#"{"ids":[],"pinned":"perhaps"}"#, 400, "bad-request"),
        ("PUT", "/v1/cache/limits", r#"{"colour":"red"}"#, 400, "bad-request"),
        ("DELETE", "/v1/cache/entities", "", 405, "method-not-allowed"),
        ("GET", "/v1/jobs/%ff", "", 400, "bad-request"),
        ("GET", &format!("/v1/jobs/{}", "7".repeat(129)), "", 400, "too-long"),
        ("GET", "/v1/jobs/none/watch", "", 404, "job-not-found"),
    ] {
        let (got, problem) = raw_call(&api.socket, method, path, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{method} {path}: {problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:eddy:error:{code}"));
        assert!(problem["remedy"].as_str().is_some_and(|text| !text.is_empty()));
    }
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_refused() {
    let api = start();
    let request = "POST /v1/jobs HTTP/1.1\r\nhost: eddy\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let (status, problem) = raw(&api.socket, request).await;
    assert_eq!((status, problem["code"].as_str()), (415, Some("unsupported-media-type")));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let api = start();
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: eddy\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let (status, problem) = raw(&api.socket, &format!("{head}content-length: 5000000\r\n\r\n")).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("request-too-large")));
}

#[tokio::test]
async fn a_stop_ends_watches_and_leaves_no_socket() {
    let api = start();
    let job = api.client.create_job(&spec()).await.unwrap();
    let mut watch = api.client.watch(&job.id).await.unwrap();
    assert!(watch.next().await.unwrap().is_some());
    api.client.shutdown().await.unwrap();
    assert!(api.stop.is_cancelled());
    assert_eq!(watch.next().await.unwrap(), None);
    drop(watch);
    api.serving.await.unwrap().unwrap();
    assert!(!api.socket.exists());
    let problem = api.client.status().await.unwrap_err();
    assert_eq!(problem.error_code(), Some(ErrorCode::DaemonUnreachable), "{problem}");
}

#[tokio::test]
async fn an_answer_of_something_else_is_called_incompatible() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("other.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
        }
    });
    let problem = Client::new(&socket).unwrap().status().await.unwrap_err();
    assert_eq!(problem.error_code(), Some(ErrorCode::DaemonIncompatible));
}
