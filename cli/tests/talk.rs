//! The real binary in front of a node whose jobs do what each test says, over the real socket.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use eddy_node::control::face::{ExportPiece, VerifyNews};
use eddy_node::control::{Asker, Bytes, ControlListener, Face, Guard, Reach, serve, socket_of};
use eddy_wire::api::{
    Account, BatchView, CacheView, DigestCheck, EntityDetail, EntityQuery, EntityView, EventKind, EventView, ExportEnd,
    ExportOrder, ExportView, FileState, FileView, Finding, GatewayView, ImportQuery, ImportView, JobAction, JobBatch,
    JobChange, JobSpec, JobState, JobView, Kept, KeptReason, LimitView, LimitsChange, LimitsOutcome, LimitsView,
    MadeJob, Mode, MoreFiles, MountView, PackedView, Page, PageQuery, PeerDetail, PeersView, PinChange, PinnedToo,
    Place, PlanView, Planned, Problem, Received, RemovalOrder, Removed, ReportRow, ReportView, Severity, Sources,
    StatusView, TermsView, VerifiedView, VerifyProgress, Wasted,
};
use eddy_wire::catalogue::ErrorCode;
use rustix::process::{Pid, Signal};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A change of a job.
type Step = fn(&mut JobView);

/// A node whose jobs begin as the test says and change when it says so, and that remembers what it was asked to do.
struct Scripted {
    begin: Step,
    jobs: Mutex<Vec<watch::Sender<JobView>>>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }

    fn with_job<T>(&self, id: &str, f: impl FnOnce(&watch::Sender<JobView>) -> T) -> Result<T, Problem> {
        let jobs = self.jobs.lock().unwrap();
        jobs.iter().find(|job| job.borrow().id == id).map(f).ok_or(ErrorCode::JobNotFound.into())
    }
}

fn view(id: usize, spec: &JobSpec) -> JobView {
    let file = |file: &eddy_wire::api::FileSpec| FileView {
        url: file.redacted_url(),
        destination: file.destination.clone(),
        state: FileState::Waiting,
        length: None,
        done: 0,
        sources: Sources::default(),
        wasted: 0,
        blake3: None,
        digest: DigestCheck::None,
        audited: 0,
        rung: None,
        witnesses: None,
        trust: None,
        origin_reason: None,
        held_reason: None,
    };
    JobView {
        id: format!("job{id}"),
        name: spec.name.clone().unwrap_or_else(|| "a job".into()),
        state: JobState::Queued,
        priority: spec.priority,
        finish: spec.finish,
        peers: spec.peers,
        owner: 1000,
        terms: TermsView::default(),
        created_unix_ms: 1_700_000_000_000,
        changed_unix_ms: 1_700_000_000_000,
        transferred_unix_ms: None,
        faults: 0,
        waiting: None,
        files: spec.files.iter().map(file).collect(),
        rate: 0,
        eta_seconds: None,
        error: None,
        next_attempt_unix_ms: None,
    }
}

impl Scripted {
    /// The job that an earlier command with the same destination left, as a node would find it.
    fn left_by(&self, spec: &JobSpec) -> Option<String> {
        let jobs = self.jobs.lock().unwrap();
        let left = jobs.iter().map(|job| job.borrow().clone());
        let same = |job: &JobView| !job.state.is_final() && job.files[0].destination == spec.files[0].destination;
        left.filter(same).map(|job| job.id).next()
    }
}

fn limits() -> LimitsView {
    let limit = |value: &str| LimitView { value: value.into(), set_by: "default".into() };
    LimitsView { quota: limit("1 GiB"), reserve: limit("0 B"), max_age: limit("none") }
}

/// What the node's cache holds.
fn stored() -> Vec<EntityView> {
    let entity = |id: &str, url: &str, length: u64, used_unix_ms: u64| EntityView {
        id: id.repeat(16),
        url: url.into(),
        validator: "\"v1\"".into(),
        length,
        held: length,
        shareable: true,
        pinned: false,
        created_unix_ms: 1_700_000_000_000,
        used_unix_ms,
        in_use: false,
    };
    vec![
        entity("aaaa", "https://h/a.iso", 3 << 20, 1_700_000_100_000),
        EntityView { pinned: true, ..entity("aabb", "https://h/b\u{1b}[2J.iso", 5 << 30, 1_700_000_300_000) },
        EntityView {
            shareable: false,
            held: 1 << 20,
            ..entity("bbbb", "https://p:81/c?...", 2 << 20, 1_700_000_200_000)
        },
    ]
}

/// A user in their own node.
fn own() -> Asker {
    Asker { uid: 0, reach: Reach::All }
}

impl Face for Scripted {
    async fn status(&self) -> Result<StatusView, Problem> {
        Ok(StatusView {
            version: "0".into(),
            pid: 1,
            node: "n".into(),
            home: "/h".into(),
            group: Some("the \u{1b}]0;lab\u{7}".into()),
            listen: Vec::new(),
            mode: Mode::Daemon,
            uptime_seconds: 65,
            jobs: 0,
            peers: 0,
            activity: "rests".into(),
        })
    }

    async fn create_jobs(&self, asker: Asker, batch: JobBatch, key: Option<&str>) -> Result<BatchView, Problem> {
        let mut jobs = Vec::new();
        for spec in batch.jobs {
            jobs.push(MadeJob { id: Some(self.create_job(asker, spec, key).await?.id), error: None });
        }
        Ok(BatchView { jobs })
    }

    async fn create_job(&self, asker: Asker, spec: JobSpec, _key: Option<&str>) -> Result<JobView, Problem> {
        if spec.adopt
            && let Some(left) = self.left_by(&spec)
        {
            return self.act(asker, &left, JobAction::Resume).await;
        }
        self.note("create");
        let mut jobs = self.jobs.lock().unwrap();
        let mut view = view(jobs.len(), &spec);
        (self.begin)(&mut view);
        jobs.push(watch::Sender::new(view.clone()));
        Ok(view)
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

    async fn job(&self, _asker: Asker, id: &str) -> Result<JobView, Problem> {
        self.with_job(id, |job| job.borrow().clone())
    }

    async fn jobs(&self, _asker: Asker, _query: PageQuery) -> Result<Page<JobView>, Problem> {
        let items = self.jobs.lock().unwrap().iter().map(|job| job.borrow().clone()).collect();
        Ok(Page { items, next: None })
    }

    async fn act(&self, _asker: Asker, id: &str, action: JobAction) -> Result<JobView, Problem> {
        self.note(format!("{} {id}", action.path()));
        let job = self.with_job(id, watch::Sender::clone)?;
        match action {
            JobAction::Resume => job.send_modify(|view| view.state = JobState::Queued),
            JobAction::Pause => job.send_modify(|view| view.state = JobState::Suspended),
            JobAction::Cancel => job.send_modify(|view| view.state = JobState::Cancelled),
            JobAction::Finish => job.send_modify(|view| view.state = JobState::Acknowledged),
            JobAction::Take => job.send_modify(|view| view.owner = 1),
        }
        let view = job.borrow().clone();
        Ok(view)
    }

    async fn watch(&self, _asker: Asker, id: &str) -> Result<watch::Receiver<JobView>, Problem> {
        self.with_job(id, watch::Sender::subscribe)
    }

    async fn cache(&self) -> Result<CacheView, Problem> {
        let finding = Finding {
            object: "index".into(),
            severity: Severity::Warning,
            what: "was damaged\u{1b}".into(),
            remedy: "Look.".into(),
            mended: true,
        };
        Ok(CacheView {
            directory: "/c".into(),
            entities: 3,
            used: 1 << 20,
            quota: 1 << 30,
            reserve: 0,
            free: 1 << 31,
            available: 1 << 29,
            pinned: 1 << 19,
            limits: limits(),
            scrubbed_unix_ms: Some(1_700_000_000_000),
            corrupt_blocks: 2,
            findings: vec![finding],
        })
    }

    async fn entities(&self, query: EntityQuery) -> Result<Page<EntityView>, Problem> {
        self.note(format!("entities {}", serde_json::to_string(&query).unwrap()));
        // Pages of one, to see that a command reads on.
        let after = query.after.clone().unwrap_or_default();
        let named = |entity: &EntityView| query.named.as_ref().is_none_or(|name| entity.id.starts_with(name));
        let mut found = stored().into_iter().filter(|entity| named(entity) && query.admits(entity, u64::MAX));
        let items: Vec<_> = found.find(|entity| entity.id > after).into_iter().collect();
        let next = items.first().map(|entity| entity.id.clone());
        Ok(Page { items, next })
    }

    async fn entity(&self, id: &str) -> Result<EntityDetail, Problem> {
        let entity = stored().into_iter().find(|entity| entity.id == id).ok_or(ErrorCode::EntityNotFound)?;
        Ok(EntityDetail {
            requested_url: "https://h/latest".into(),
            blake3: Some("cd".repeat(32)),
            fresh_until_unix_ms: Some(1_700_003_600_000),
            not_fresh: None,
            digests: vec![format!("sha256:{}", "ef".repeat(32))],
            modified_unix_ms: Some(1_600_000_000_000),
            from_origin: 1 << 20,
            from_peers: entity.held - (1 << 20),
            rung: None,
            witnesses: None,
            statements: 2,
            place: Place::File("/c/entities/aa/x.data".into()),
            entity,
        })
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
        let plan = self.plan_removal(RemovalOrder { ids: vec!["aaaa".repeat(16)], ..RemovalOrder::default() }).await?;
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
        let mut plan = PlanView::default();
        for entity in stored().into_iter().filter(|entity| order.ids.contains(&entity.id)) {
            if entity.pinned && order.pinned == PinnedToo::Keep {
                plan.kept.push(Kept { id: entity.id, reason: KeptReason::Pinned });
                continue;
            }
            plan.count += 1;
            plan.bytes += entity.length;
            plan.victims.push(Planned {
                id: entity.id,
                url: entity.url,
                bytes: entity.length,
                used_unix_ms: entity.used_unix_ms,
                reason: "chosen".into(),
            });
        }
        Ok(plan)
    }

    async fn remove(&self, order: RemovalOrder) -> Result<Removed, Problem> {
        self.note(format!("remove {}", order.ids.len()));
        let plan = self.plan_removal(order).await?;
        let removed = plan.victims.into_iter().map(|victim| victim.id).collect();
        Ok(Removed { removed, kept: plan.kept, freed: plan.bytes })
    }

    async fn peers(&self) -> Result<PeersView, Problem> {
        Ok(PeersView { group: None, reason: Some("this node is in no group".into()), peers: Vec::new() })
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

    async fn gateway(&self) -> Result<GatewayView, Problem> {
        let mount = MountView {
            path: "/debian/".into(),
            origin: Some("https://example.org/debian".into()),
            requests: 12,
            hits: 6,
            validated: 3,
            refused: 1,
            sent: 6 << 20,
            sent_held: 4 << 20,
            came: Sources { origin: 1 << 20, peers: 1 << 20, cache: 0 },
        };
        Ok(GatewayView { listens: Some("http://127.0.0.1:7718".into()), mounts: vec![mount] })
    }

    async fn report(&self, _asker: Asker, _query: PageQuery) -> Result<ReportView, Problem> {
        let account = Account {
            delivered: 3 << 20,
            used: Sources { origin: 1 << 20, peers: 2 << 20, cache: 0 },
            received: Received { origin: 1 << 20, peers: (2 << 20) + 1024 },
            wasted: Wasted { corrupt: 1024, ..Wasted::default() },
            audited: 0,
        };
        let row = ReportRow {
            job: "job0".into(),
            file: 0,
            url: Some("https://h/a".into()),
            destination: Some("/d/a".into()),
            account,
        };
        Ok(ReportView { rows: vec![row], totals: account, next: None })
    }

    async fn shutdown(&self) -> Result<(), Problem> {
        Ok(())
    }
}

/// A served node in a home of its own, and what it remembers.
struct Stage {
    home: tempfile::TempDir,
    node: Arc<Scripted>,
    stop: CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    fn new(begin: Step) -> Self {
        let home = tempfile::tempdir().unwrap();
        let node = Arc::new(Scripted { begin, jobs: Mutex::default(), asked: Mutex::default() });
        let stop = CancellationToken::new();
        let listener = ControlListener::bind(&socket_of(home.path())).unwrap();
        tokio::spawn(serve(listener, Arc::clone(&node), Guard::default(), stop.clone()));
        Self { home, node, stop }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_eddy"));
        command.args(args).env_clear().env("EDDY_HOME", self.home.path()).current_dir(self.home.path());
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        Running { child, errors }
    }

    fn change(&self, step: Step) {
        self.node.with_job("job0", |job| job.send_modify(step)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.home.path()).canonicalize().unwrap().join(name)
    }

    fn asked(&self) -> Vec<String> {
        self.node.asked.lock().unwrap().clone()
    }
}

/// A command on its way, whose standard error is read line by line: so a test knows what it has seen.
struct Running {
    child: Child,
    errors: BufReader<ChildStderr>,
}

impl Running {
    /// Waits for the line that begins so.
    fn expect(&mut self, beginning: &str) -> String {
        let mut line = String::new();
        self.errors.read_line(&mut line).unwrap();
        assert!(line.starts_with(beginning), "expected `{beginning}...`, heard `{line}`");
        line
    }

    fn interrupt(&self) {
        rustix::process::kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for the end: exit status, standard output and the rest of standard error.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut rest = String::new();
        self.errors.read_to_string(&mut rest).unwrap();
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), text(&output.stdout), rest)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn queued(_job: &mut JobView) {}

fn half(job: &mut JobView) {
    job.state = JobState::Transferring;
    job.rate = 1 << 20;
    job.eta_seconds = Some(1);
    job.files[0].length = Some(2 << 20);
    job.files[0].done = 1 << 20;
    job.files[0].sources.origin = 1 << 20;
}

fn whole(job: &mut JobView) {
    job.state = JobState::Acknowledged;
    job.files[0].done = 2 << 20;
    job.files[0].sources.peers = 1 << 20;
    job.files[0].blake3 = Some("ab".repeat(32));
}

fn unresolved(job: &mut JobView) {
    job.state = JobState::TransientError;
    job.error = Some(Problem::new(ErrorCode::NameNotResolved, "no-such-host"));
}

fn missing(job: &mut JobView) {
    job.state = JobState::Error;
    job.error = Some(Problem::new(ErrorCode::HttpNotFound, "404"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_file_is_one_line_on_standard_output() {
    let stage = Stage::new(queued);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("queued\n");
    stage.change(half);
    get.expect("transferring, 1.0 MiB of 2.0 MiB, 1.0 MiB/s  1 s left\n");
    stage.change(|job| job.state = JobState::Transferred);
    get.expect("ready to finish, 1.0 MiB of 2.0 MiB");
    stage.change(whole);
    let summary = get.expect("2.0 MiB in ");
    assert!(summary.ends_with(": origin 1.0 MiB, peers 1.0 MiB\n"), "{summary}");
    let line = format!("blake3 {}  {}\n", "ab".repeat(32), stage.path("a").display());
    assert_eq!(get.end(), (Some(0), line, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_and_json_are_for_programs() {
    let stage = Stage::new(whole);
    let quiet = stage.run(&["-q", "get", "https://h/a"]).await;
    assert_eq!((quiet.status.code(), quiet.stdout, quiet.stderr), (Some(0), Vec::new(), Vec::new()));
    let json = stage.run(&["--json", "get", "https://h/b"]).await;
    let job: JobView = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((job.state, json.stderr), (JobState::Acknowledged, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_before_the_first_byte_ends_the_command_and_leaves_no_job() {
    for (begin, exit, code) in [(unresolved as Step, 4, "name-not-resolved"), (missing, 3, "http-not-found")] {
        let stage = Stage::new(begin);
        let output = stage.run(&["get", "https://h/a"]).await;
        assert_eq!(output.status.code(), Some(exit));
        assert!(text(&output.stderr).contains(&format!("error[{code}]: ")), "{}", text(&output.stderr));
        assert_eq!(stage.asked(), ["create", "cancel job0"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_later_is_tried_again() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    stage.change(unresolved);
    get.expect("waiting to retry: the name of the host cannot be resolved: no-such-host");
    stage.change(half);
    get.expect("transferring");
    stage.change(whole);
    assert_eq!((get.end().0, stage.asked()), (Some(0), vec!["create".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_pauses_the_job_and_the_same_command_goes_on() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    get.interrupt();
    let advice = "what was fetched is kept; go on with the same command, or: eddy job resume job0";
    assert_eq!(get.end(), (Some(130), String::new(), format!("interrupted: {advice}\n")));

    let mut again = stage.start(&["get", "https://h/a"]);
    again.expect("queued");
    stage.change(whole);
    assert_eq!(again.end().0, Some(0));
    assert_eq!(stage.asked(), ["create", "pause job0", "resume job0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_somebody_else_stops_is_not_done() {
    for (action, exit) in [(JobAction::Pause, 14), (JobAction::Cancel, 14)] {
        let stage = Stage::new(half);
        let mut get = stage.start(&["get", "https://h/a"]);
        get.expect("transferring");
        stage.node.act(own(), "job0", action).await.unwrap();
        assert_eq!(get.end().0, Some(exit));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_says_so() {
    let stage = Stage::new(half);
    let mut get = stage.start(&["get", "https://h/a"]);
    get.expect("transferring");
    stage.stop.cancel();
    get.expect("error[shutting-down]: ");
    assert_eq!(get.end().0, Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_in_the_background_is_its_id() {
    let stage = Stage::new(half);
    let output = stage.run(&["get", "--background", "https://h/a"]).await;
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "job0\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_from_outside_moves_no_terminal() {
    let stage = Stage::new(half);
    stage.run(&["get", "--background", "https://h/a"]).await;
    stage.change(|job| job.name = "a\u{1b}[2J\u{9b}\u{202e}b".into());
    for args in [["status"].as_slice(), &["job", "ls"], &["job", "show", "job0"], &["job", "show", "job0", "--json"]] {
        let shown = text(&stage.run(args).await.stdout);
        assert!(!shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{args:?}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_as_reviewed() {
    let stage = Stage::new(half);
    stage.run(&["get", "--background", "https://h/a"]).await;
    for args in [
        ["job", "ls"].as_slice(),
        &["cache", "info"],
        &["cache", "ls"],
        &["cache", "ls", "--sort", "size", "--limit", "2", "--bytes"],
        &["cache", "ls", "--private", "--url", "nowhere"],
        &["cache", "show", "aaaa"],
        &["cache", "verify", "aaaa"],
        &["cache", "pin", "aaaa"],
        &["cache", "unpin", "aaaa"],
        &["cache", "set", "quota=2GiB"],
        &["cache", "set", "quota=2GiB", "--dry-run"],
        &["cache", "clear", "--dry-run"],
        &["cache", "clear", "--yes"],
        &["cache", "clear", "--yes", "--also-pinned"],
        &["cache", "rm", "bbbb", "aaaa", "aaaa"],
        &["peers", "ls"],
        &["report"],
        &["report", "--bytes"],
        &["report", "--by", "mount"],
        &["status"],
    ] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        insta::assert_snapshot!(args.join("_").replace("--", ""), text(&output.stdout));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_by_condition_must_be_confirmed() {
    let stage = Stage::new(half);
    for args in [["cache", "clear"].as_slice(), &["cache", "rm", "--larger", "1MiB"], &["cache", "clear", "--json"]] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains("not-confirmed"), "{}", text(&output.stderr));
    }
    assert!(stage.asked().iter().all(|asked| !asked.starts_with("remove")), "{:?}", stage.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_reach_the_node_as_they_were_meant() {
    let stage = Stage::new(half);
    let args =
        "cache ls --url *.iso --host h --larger 1MiB --smaller 2GB --unused-for 30d --complete --pinned --private";
    assert_eq!(stage.run(&args.split(' ').collect::<Vec<_>>()).await.status.code(), Some(0));
    let expected = r#"entities {"url":"*.iso","host":"h","larger":1048576,"smaller":2000000000,"unused_seconds":2592000,"held":"complete","pinned":true,"shareable":false,"limit":1000}"#;
    assert_eq!(stage.asked(), [expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_for_programs_is_one_array_in_any_order() {
    let stage = Stage::new(half);
    for (order, first) in [("id", "aaaa"), ("used", "aabb"), ("url", "aaaa"), ("size", "aabb")] {
        let output = stage.run(&["cache", "ls", "--json", "--sort", order]).await;
        let entities: Vec<EntityView> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(entities.len(), 3);
        assert!(entities[0].id.starts_with(first), "{order}");
    }
    let output = stage.run(&["cache", "ls", "--json", "--sort", "id", "--limit", "2"]).await;
    assert_eq!(serde_json::from_slice::<Vec<EntityView>>(&output.stdout).unwrap().len(), 2);
    assert_eq!(stage.run(&["cache", "ls", "--json", "--url", "nowhere"]).await.stdout, b"[]\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_content_is_named_and_ends_with_6() {
    let stage = Stage::new(half);
    let output = stage.run(&["cache", "verify", "--all"]).await;
    assert_eq!(output.status.code(), Some(6));
    insta::assert_snapshot!("cache_verify_corrupt", format!("{}{}", text(&output.stdout), text(&output.stderr)));
    let json = stage.run(&["cache", "verify", "--all", "--json"]).await;
    let verified: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&verified["entities"], &verified["corrupt"][0]["corrupt"]), (&3.into(), &65_536.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_written_whole_or_not_at_all() {
    let stage = Stage::new(half);
    let made = stage.run(&["cache", "export", "p", "aaaa"]).await;
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    insta::assert_snapshot!("cache_export", text(&made.stdout));
    assert_eq!(std::fs::read(stage.path("p")).unwrap(), b"a package of 1");
    for (args, exit, code) in [
        (["cache", "export", "p", "aaaa"], 7, "destination-exists"),
        (["cache", "export", "missing/p", "aaaa"], 7, "destination-no-parent"),
        (["cache", "export", "q", "--all"], 8, "store-unusable"),
        (["cache", "export", "q", "cccc"], 11, "entity-not-found"),
    ] {
        let output = stage.run(&args).await;
        assert_eq!(output.status.code(), Some(exit), "{args:?}");
        assert!(text(&output.stderr).starts_with(&format!("error[{code}]")), "{}", text(&output.stderr));
    }
    let names: Vec<_> = std::fs::read_dir(stage.home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("part") || name == "q"), "{names:?}");
    let piped = stage.run(&["cache", "export", "-", "aaaa"]).await;
    assert_eq!((piped.stdout.as_slice(), piped.status.code()), (&b"a package of 1"[..], Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_taken_in_or_refused_with_the_reason() {
    let stage = Stage::new(half);
    for (name, content) in [("good", "a package of 1"), ("cut", "a package"), ("foreign", "\u{7f}ELF")] {
        std::fs::write(stage.path(name), content).unwrap();
    }
    let taken = stage.run(&["cache", "import", "good"]).await;
    let looked = stage.run(&["cache", "import", "good", "--dry-run"]).await;
    insta::assert_snapshot!("cache_import", text(&taken.stdout));
    insta::assert_snapshot!("cache_import_dry-run", text(&looked.stdout));
    for (args, exit, code) in [
        (["cache", "import", "cut"].as_slice(), 6, "package-damaged"),
        (&["cache", "import", "foreign"], 2, "not-a-package"),
        (&["cache", "import", "missing"], 2, "package-unreadable"),
        (&["cache", "import", "."], 2, "package-unreadable"),
        (&["cache", "import", "good", "--signer", "12D3KooWother"], 6, "package-untrusted"),
    ] {
        let output = stage.run(args).await;
        assert_eq!(output.status.code(), Some(exit), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).starts_with(&format!("error[{code}]")), "{}", text(&output.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_the_node_end_the_command() {
    let stage = Stage::new(half);
    for (args, exit) in [
        (["job", "show", "none"], 11),
        (["job", "pause", "none"], 11),
        (["cache", "rm", "aabb"], 12),
        (["cache", "rm", "cccc"], 11),
        (["cache", "show", "cccc"], 11),
        (["cache", "show", "aa"], 2),
    ] {
        assert_eq!(stage.run(&args).await.status.code(), Some(exit), "{args:?}");
    }
}
