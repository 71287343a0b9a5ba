//! The engine's jobs as the API shows them.

use eddy_content::http::freshness::Decision;
use eddy_engine::file::{File, HeldUse};
use eddy_engine::job::live::Job;
use eddy_engine::job::terms::{Authorization, HeaderField, Presence, ProxyUse, Redirects, Secrecy};
use eddy_engine::port::Failure;
use eddy_engine::retry::ASKED_ONCE;
use eddy_engine::{ByteRange, Finish, JobState, Now, Priority, Ranges};
use eddy_wire::api;
use eddy_wire::catalogue::ErrorCode;
use std::time::Duration;

/// The moment of a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Now,
}

impl Clock {
    /// A monotonic moment in milliseconds since the Unix epoch.
    pub(super) fn unix_ms(self, at: Duration) -> u64 {
        let wall = u64::try_from(self.now.wall).unwrap_or_default().saturating_mul(1000);
        let later = at.saturating_sub(self.now.mono).as_millis() as u64;
        wall.saturating_add(later).saturating_sub(self.now.mono.saturating_sub(at).as_millis() as u64)
    }
}

/// A job as it stands now.
pub(super) fn job(job: &Job, clock: Clock) -> api::JobView {
    let now = clock.now.mono;
    let remaining = job.length().map(|length| length.saturating_sub(job.done()));
    let is_moving = job.state() == JobState::Transferring;
    let wall_ms = |seconds: i64| u64::try_from(seconds).unwrap_or_default().saturating_mul(1000);
    api::JobView {
        id: job.id().to_string(),
        name: job.name().to_owned(),
        state: state(job.state()),
        priority: priority(job.priority()),
        finish: match job.finish() {
            Finish::Auto => api::Finish::Auto,
            Finish::Manual => api::Finish::Manual,
        },
        peers: api::PeerUse { fetch: job.spec().peers.fetch, share: job.spec().peers.share },
        owner: job.owner().0,
        terms: terms(job),
        created_unix_ms: wall_ms(job.created()),
        changed_unix_ms: wall_ms(job.life().touched),
        transferred_unix_ms: job.life().transferred.map(wall_ms),
        faults: job.life().faults,
        waiting: None,
        files: job.files().iter().map(file).collect(),
        rate: if is_moving { job.meter().rate(now) as u64 } else { 0 },
        eta_seconds: remaining
            .filter(|_| is_moving)
            .and_then(|left| job.meter().eta(now, left))
            .map(|eta| eta.as_secs()),
        error: problem_of(job),
        next_attempt_unix_ms: job.retry_at().map(|at| clock.unix_ms(at)),
    }
}

fn terms(job: &Job) -> api::TermsView {
    let terms = &job.spec().terms;
    let shown = |field: &HeaderField| api::HeaderView {
        name: field.name.clone(),
        value: (field.secrecy == Secrecy::Shown).then(|| field.value.clone()),
    };
    api::TermsView {
        hook: terms.ties.hook.clone(),
        client_certificate: terms.ties.certificate.clone(),
        while_logged_on: terms.ties.presence == Presence::WhileLoggedOn,
        method: terms.method.clone(),
        limit_bytes_per_second: terms.limit,
        description: terms.description.clone(),
        retry_delay_seconds: terms.retry_delay.map(|delay| delay.as_secs()),
        give_up_after_seconds: job.gives_up_after().as_secs(),
        max_transfer_seconds: terms.max_transfer_time.map(|most| most.as_secs()),
        headers: terms.headers.iter().map(shown).collect(),
        authorization: terms.authorization.as_ref().map(|proof| match proof {
            Authorization::Basic(_) => "basic".to_owned(),
            Authorization::Digest(_) => "digest".to_owned(),
            Authorization::Bearer(_) => "bearer".to_owned(),
        }),
        proxy: match &terms.proxy {
            ProxyUse::System => "system".to_owned(),
            ProxyUse::Direct => "direct".to_owned(),
            ProxyUse::Through { url, .. } => url.clone(),
        },
        redirects: match terms.redirects {
            Redirects::Follow => api::Redirects::Follow,
            Redirects::Report => api::Redirects::Report,
            Redirects::Refuse => api::Redirects::Refuse,
        },
    }
}

fn file(file: &File) -> api::FileView {
    let bytes = file.bytes();
    let is_failed = file.failure().is_some();
    let has_digest = !file.spec().digests.is_empty();
    // After a restart only where the bytes came from is known.
    let witnesses = file.witnesses().or((bytes.peers > 0).then_some(1));
    let rung = rung(file, has_digest, witnesses);
    api::FileView {
        url: file.spec().url.redacted(),
        destination: file.spec().destination.clone(),
        state: match () {
            () if file.is_published() => api::FileState::Delivered,
            () if is_failed => api::FileState::Failed,
            () if file.is_staged() => api::FileState::Transferred,
            () if bytes.total() > 0 || file.length().is_some() => api::FileState::Transferring,
            () => api::FileState::Waiting,
        },
        length: file.length(),
        ranges: ranges(file),
        on_demand: file.spec().portion.demand().is_some(),
        done: file.done(),
        sources: api::Sources { origin: bytes.origin, peers: bytes.peers, cache: bytes.cache },
        wasted: file.wasted(),
        blake3: file.root().map(|root| root.to_hex()),
        digest: match (has_digest, file.is_staged(), file.failure()) {
            (false, ..) => api::DigestCheck::None,
            (true, true, _) => api::DigestCheck::Holds,
            (true, false, Some(failure)) if failure.code == ErrorCode::DigestMismatch.entry().code => {
                api::DigestCheck::Differs
            }
            (true, false, _) => api::DigestCheck::Pending,
        },
        audited: file.audited(),
        rung,
        witnesses: witnesses.filter(|_| rung.is_some()),
        trust: rung.map(|rung| rung.sentence(witnesses)),
        origin_reason: file.origin_reason().map(str::to_owned),
        held_reason: file.held_use().map(held_reason),
    }
}

/// What is wanted of the file at the origin, if not all.
fn ranges(file: &File) -> Vec<api::ByteRange> {
    let ranges = file.spec().portion.ranges().map(Ranges::as_slice).unwrap_or_default();
    ranges.iter().map(|&ByteRange { offset, length }| api::ByteRange { offset, length }).collect()
}

/// Why the origin was asked about what is held, or was not.
fn held_reason(held: HeldUse) -> String {
    match held {
        HeldUse::Unasked { seconds } => format!("used without asking the origin: fresh for {seconds} s more"),
        HeldUse::Asked(Decision::Fresh { .. }) => "the origin was asked first: that is this job's policy".to_owned(),
        HeldUse::Asked(Decision::Stale(reason)) => format!("the origin was asked first: {reason}"),
        HeldUse::Asked(Decision::MustAsk(reason)) => format!("the origin was asked first: {reason}"),
    }
}

/// On whose word the bytes are the origin's: the weakest source that contributed.
fn rung(file: &File, has_digest: bool, witnesses: Option<u8>) -> Option<api::Rung> {
    if !file.is_staged() || (file.bytes().total() == 0 && !has_digest) {
        return None;
    }
    let digest = match (has_digest, file.has_origin_digest()) {
        (true, _) => Some(api::DigestBy::Job),
        (false, true) => Some(api::DigestBy::Origin),
        (false, false) => None,
    };
    Some(api::Rung::of(api::Grounds { https: file.spec().url.is_https(), witnesses, digest }))
}

/// Why a job does not go on, if it does not, and what to do about it.
pub(super) fn problem_of(job: &Job) -> Option<api::Problem> {
    let mut problem = problem(job.failure()?);
    if job.is_asked_once() && problem.code != ASKED_ONCE {
        // F-68: nothing goes on by itself.
        problem.remedy =
            "Look whether the question had an effect; `eddy job resume ID` asks again, from the start.".to_owned();
    }
    Some(problem)
}

pub(super) fn problem(failure: &Failure) -> api::Problem {
    let row = ErrorCode::parse(&failure.code).unwrap_or(ErrorCode::Internal);
    api::Problem::new(row, failure.detail.clone())
}

pub(super) fn state(state: JobState) -> api::JobState {
    match state {
        JobState::Queued => api::JobState::Queued,
        JobState::Connecting => api::JobState::Connecting,
        JobState::Transferring => api::JobState::Transferring,
        JobState::Suspended => api::JobState::Suspended,
        JobState::Error => api::JobState::Error,
        JobState::TransientError => api::JobState::TransientError,
        JobState::Transferred => api::JobState::Transferred,
        JobState::Acknowledged => api::JobState::Acknowledged,
        JobState::Cancelled => api::JobState::Cancelled,
    }
}

fn priority(priority: Priority) -> api::Priority {
    match priority {
        Priority::Foreground => api::Priority::Foreground,
        Priority::High => api::Priority::High,
        Priority::Normal => api::Priority::Normal,
        Priority::Low => api::Priority::Low,
    }
}
