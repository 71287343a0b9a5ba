//! The control API over a real socket: the typed client, raw requests and refusals, in front of a scripted node.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod scripted;

use eddy_node::control::client::{ExportFailure, VerificationNews};
use eddy_node::control::{Bytes, Client, ControlListener, Guard, serve};
use eddy_wire::api::{
    EntityQuery, ExportOrder, FileSpec, Finish, ImportQuery, JobAction, JobSpec, JobState, LimitsChange, PageQuery,
    PeerUse, Priority, Problem, RemovalOrder, Terms, VerifyProgress,
};
use eddy_wire::catalogue::ErrorCode;
use scripted::Scripted;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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
    let stop = CancellationToken::new();
    let node = Arc::new(Scripted::new(|job| job.state = JobState::Suspended, stop.clone()));
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
    assert_eq!(api.client.status().await.unwrap().pid, 1);
    assert_eq!(api.client.cache().await.unwrap().quota, 1 << 30);
    let held = "aaaa".repeat(16);
    assert_eq!(api.client.entities(&EntityQuery::default()).await.unwrap().items[0].id, held);
    assert_eq!(api.client.entity(&held).await.unwrap().entity.id, held);
    assert_eq!(api.client.entity("ab/c").await.unwrap_err().detail.as_deref(), Some("ab/c"));
    let order = RemovalOrder { ids: vec![held], ..RemovalOrder::default() };
    assert!(api.client.pin("abc").await.unwrap().pinned && !api.client.unpin("abc").await.unwrap().pinned);
    let change = LimitsChange { quota: Some("9 B".into()), ..LimitsChange::default() };
    assert_eq!(api.client.set_limits(&change).await.unwrap().new.quota.value, "9 B");
    assert_eq!(api.client.plan_removal(&order).await.unwrap().count, 1);
    assert_eq!(api.client.remove(&order).await.unwrap().freed, 3 << 20);
    assert!(api.client.peers().await.unwrap().reason.is_some());
    let report = api.client.report(&PageQuery::default()).await.unwrap();
    let earlier: Vec<_> = report.rows.iter().map(|row| row.ended_earlier).collect();
    assert_eq!((report.totals.delivered, earlier), (6 << 20, vec![false, true]));
    assert_eq!(api.client.gateway().await.unwrap().listens.as_deref(), Some("http://127.0.0.1:7718"));
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
    assert_eq!(seen, ["job0", "job1", "job2", "job3", "job4"]);
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
