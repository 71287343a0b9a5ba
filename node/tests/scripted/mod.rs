//! A node whose jobs do what each test says: what stands behind the socket in the tests of the control API, and in those of the
//! command line, which take it from here.

use eddy_node::control::face::{ExportPiece, VerifyNews};
use eddy_node::control::{Asker, Bytes, Face};
use eddy_wire::api::{
    Account, BatchView, CacheView, DigestCheck, EntityDetail, EntityQuery, EntityView, EventKind, EventView, ExportEnd,
    ExportOrder, ExportView, FileQuery, FileState, FileView, FilledView, Finding, GatewayView, HeadView, HeaderView,
    ImportQuery, ImportView, JobAction, JobBatch, JobChange, JobSpec, JobState, JobView, Kept, KeptReason, LimitView,
    LimitsChange, LimitsOutcome, LimitsView, MadeJob, Mode, MoreFiles, MountView, PackedView, Page, PageQuery,
    PeerDetail, PeersView, PinChange, PinnedToo, Place, PlanView, Planned, Problem, RangeOrder, Received, RemovalOrder,
    Removed, ReportRow, ReportView, Severity, Sources, StatusView, SwarmRead, SwarmShare, SwarmView, TermsView,
    VerifiedView, VerifyProgress, Wasted,
};
use eddy_wire::catalogue::ErrorCode;
use std::sync::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A change of a job.
pub(crate) type Step = fn(&mut JobView);

/// A node whose jobs begin as the test says and change when it says so, and that remembers what it was asked to do.
pub(crate) struct Scripted {
    begin: Step,
    jobs: Mutex<Vec<watch::Sender<JobView>>>,
    pub(crate) asked: Mutex<Vec<String>>,
    /// Set when it is asked to stop.
    stop: CancellationToken,
}

impl Scripted {
    pub(crate) fn new(begin: Step, stop: CancellationToken) -> Self {
        Self { begin, jobs: Mutex::default(), asked: Mutex::default(), stop }
    }

    fn note(&self, what: impl Into<String>) {
        self.asked.lock().unwrap().push(what.into());
    }

    pub(crate) fn with_job<T>(&self, id: &str, f: impl FnOnce(&watch::Sender<JobView>) -> T) -> Result<T, Problem> {
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
        ranges: file.ranges.clone(),
        on_demand: file.on_demand,
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
        owner: rustix::process::getuid().as_raw(),
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
        let place = |id: &String| id.strip_prefix("job").unwrap().parse::<usize>().unwrap();
        let first = query.after.as_ref().map_or(0, |after| place(after) + 1);
        let items: Vec<JobView> = jobs.iter().skip(first).take(query.size()).map(|job| job.borrow().clone()).collect();
        let next = (first + items.len() < jobs.len()).then(|| items.last().map(|job| job.id.clone())).flatten();
        Ok(Page { items, next })
    }

    async fn act(&self, _asker: Asker, id: &str, action: JobAction) -> Result<JobView, Problem> {
        self.note(format!("{} {id}", action.path()));
        let job = self.with_job(id, watch::Sender::clone)?;
        match action {
            JobAction::Resume => job.send_modify(|view| view.state = JobState::Queued),
            JobAction::Pause => job.send_modify(|view| view.state = JobState::Suspended),
            JobAction::Cancel if job.borrow().name == "just ended" => return Err(ErrorCode::WrongState.into()),
            JobAction::Cancel => job.send_modify(|view| view.state = JobState::Cancelled),
            JobAction::Finish if job.borrow().state != JobState::Transferred => {
                return Err(Problem::new(ErrorCode::WrongState, "it is not transferred"));
            }
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
        let held = stored().into_iter().find(|entity| entity.id == id);
        let entity = held.ok_or_else(|| Problem::new(ErrorCode::EntityNotFound, id))?;
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
        Ok(PeersView {
            group: None,
            reason: Some("this node is in no group".into()),
            peers: Vec::new(),
            swarms: vec![swarm()],
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
        Ok(GatewayView { listens: Some("http://127.0.0.1:7718".into()), mounts: vec![mount], trouble: None })
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
            ended_earlier: false,
            gateway: false,
        };
        let earlier = ReportRow {
            job: "f".repeat(32),
            file: u32::MAX,
            url: None,
            destination: None,
            account,
            ended_earlier: true,
            gateway: false,
        };
        Ok(ReportView { rows: vec![row, earlier], totals: account.plus(account), next: None })
    }

    async fn metrics(&self) -> Result<String, Problem> {
        Ok("# TYPE eddy_uptime_seconds gauge\neddy_uptime_seconds 1\n".into())
    }

    async fn shutdown(&self) -> Result<(), Problem> {
        self.stop.cancel();
        Ok(())
    }
}

/// A file that this node fetches together with others, as their home.
fn swarm() -> SwarmView {
    let (one, other) = ("a".repeat(64), "b".repeat(64));
    SwarmView {
        url: "https://h/a".to_owned(),
        home: Some("c".repeat(64)),
        is_home: true,
        held: 3,
        segments: 8,
        others: Some(2),
        given: 4,
        sources: vec![SwarmShare { node: None, segments: 1 }, SwarmShare { node: Some(one.clone()), segments: 2 }],
        readers: vec![
            SwarmRead { node: one, start: 4 << 20, end: 5 << 20, received: 512 << 10 },
            SwarmRead { node: other, start: 5 << 20, end: 8 << 20, received: 0 },
        ],
        depth: 2,
    }
}
