//! The audit log: what was done with more than a user's own rights, and which hosts jobs ask, with who did it (T-40, T-43).
//!
//! One line of JSON for each act: in `audit.log` of the home what was done with more than one's own rights, and in `audit-own.log` what
//! anybody may do as often as they like: jobs made, tries that were refused, hooks told. So nobody can push out what an administrator did. Two
//! files of 4 MiB bound each. A line is on the disk before its call is answered; where the disk refuses, the log of the process has it alone.

use super::access::{Admission, Asker, Audit, Reach, Users, audit_of};
use super::socket::Caller;
use crate::lines::Lines;
use axum::http::StatusCode;
use eddy_wire::api::{JobBatch, JobView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// Hosts of the jobs of a call that are named in its line, however many jobs there are: a line is short.
const MAX_HOSTS: usize = 16;
/// Characters of a subject that are kept.
const MAX_SUBJECT: usize = 300;

/// One act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLine {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// Who, as a number of the system.
    pub uid: Option<u32>,
    /// What: the method and path of a call, or a word for what the node does by itself.
    pub verb: String,
    /// To what: the call's path, or the object's name.
    pub subject: String,
    /// Whose job it was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// The hosts that the jobs ask, the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// How it was answered: an HTTP status, or an exit status.
    pub outcome: i32,
}

/// With whose rights something was done, which says where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// What anybody may do, or try.
    Own,
    /// More than that.
    More,
}

/// The log. Clones share it.
#[derive(Clone, Default)]
pub struct AuditLog(Option<Arc<Files>>);

/// Where it is written: each file by itself, so that many lines of one push no line of the other out.
struct Files {
    own: Mutex<Lines>,
    more: Mutex<Lines>,
}

impl AuditLog {
    /// The log of a home.
    #[must_use]
    pub fn open(home: &Path) -> Self {
        let lines = |name: &str| Mutex::new(Lines::at(home.join(name)));
        Self(Some(Arc::new(Files { own: lines("audit-own.log"), more: lines("audit.log") })))
    }

    /// Writes a line down. Blocks on the disk.
    pub fn append(&self, rights: Rights, mut line: AuditLine) {
        line.subject = line.subject.chars().take(MAX_SUBJECT).collect();
        line.at_unix_ms = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |age| age.as_millis() as u64);
        let AuditLine { uid, verb, subject, owner, outcome, .. } = &line;
        tracing::info!(target: "eddy_node::audit", ?uid, %verb, %subject, ?owner, %outcome, "audit");
        let Some(files) = &self.0 else { return };
        // Plain data with string keys; JSON takes all of it.
        let text = serde_json::to_string(&line).unwrap_or_default() + "\n";
        let lines = if rights == Rights::Own { &files.own } else { &files.more };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = lines.write(text.as_bytes()).and_then(|()| lines.sync()) {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}

/// Whose job an answer shows, and which hosts it asks.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    owner: u32,
    hosts: Vec<String>,
}

impl Shown {
    pub(super) fn of(job: &JobView) -> Self {
        Self { owner: job.owner, hosts: hosts(job.files.iter().map(|file| &file.url)) }
    }

    /// Of an answer that shows something else of a job.
    pub(super) fn of_owner(owner: u32) -> Self {
        Self { owner, hosts: Vec::new() }
    }

    /// The same of jobs that are to be made together.
    pub(super) fn of_batch(asker: Asker, batch: &JobBatch) -> Self {
        let urls = batch.jobs.iter().flat_map(|job| &job.files).map(|file| &file.url);
        Self { owner: asker.uid, hosts: hosts(urls) }
    }
}

/// The hosts of URLs, each once, as many as are named.
fn hosts<'u>(urls: impl Iterator<Item = &'u String>) -> Vec<String> {
    let host = |url: &String| url::Url::parse(url).ok()?.host_str().map(str::to_owned);
    urls.filter_map(host).collect::<BTreeSet<_>>().into_iter().take(MAX_HOSTS).collect()
}

/// Lets calls in, and writes down which of them reached beyond the caller's own.
#[derive(Clone)]
pub struct Guard {
    admission: Arc<Admission>,
    log: AuditLog,
    users: Users,
}

impl Guard {
    /// The guard of this process's node.
    #[must_use]
    pub fn new(users: Users, log: AuditLog) -> Self {
        Self { admission: Arc::new(Admission::new(users.clone())), log, users }
    }

    pub(super) async fn admit(&self, caller: Caller, method: &str, path: Option<&str>) -> Option<Asker> {
        if self.users == Users::Own {
            return self.admission.admit(caller, method, path);
        }
        let (admission, method, path) = (Arc::clone(&self.admission), method.to_owned(), path.map(str::to_owned));
        // The user database may be on the other side of a network.
        let admitted = tokio::task::spawn_blocking(move || admission.admit(caller, &method, path.as_deref())).await;
        admitted.ok().flatten()
    }

    /// Writes a call down, if it must be.
    pub(super) async fn record(
        &self,
        caller: Caller,
        asker: Option<Asker>,
        subject: &str,
        (method, path): (&str, Option<&str>),
        status: StatusCode,
        shown: Option<Shown>,
    ) {
        let is_own = shown.as_ref().is_some_and(|shown| Some(shown.owner) == caller.uid);
        let is_made = method == "POST" && matches!(path, Some("/v1/jobs" | "/v1/jobs/batch"));
        let is_needed = audit_of(method, path) == Audit::Kept
            && match asker {
                _ if is_made => self.users != Users::Own,
                // Somebody tried what they may not.
                None => true,
                Some(asker) if asker.reach == Reach::Own || is_own => false,
                // The node's own user in their own node is nobody's administrator.
                Some(_) => self.users != Users::Own || caller.uid != Some(rustix::process::geteuid().as_raw()),
            };
        if !is_needed {
            return;
        }
        let (owner, hosts) = shown.map_or((None, Vec::new()), |shown| (Some(shown.owner), shown.hosts));
        let line = AuditLine {
            at_unix_ms: 0,
            uid: caller.uid,
            verb: format!("{method} {}", path.unwrap_or("-")),
            subject: subject.to_owned(),
            owner,
            hosts: if is_made { hosts } else { Vec::new() },
            outcome: status.as_u16().into(),
        };
        // Whoever was not let in, or made a job, did no more than anybody may.
        let rights = if is_made || asker.is_none() { Rights::Own } else { Rights::More };
        let log = self.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.append(rights, line)).await;
    }
}

impl Default for Guard {
    /// Of a node of one user, and without a file.
    fn default() -> Self {
        Self::new(Users::Own, AuditLog::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whatever_makes_jobs_is_written_down_with_its_hosts_where_there_are_several_users() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::new(Users::Several { administrators: None }, AuditLog::open(home.path()));
        let job = |url| serde_json::json!({ "files": [{ "url": url, "destination": "/tmp/x" }] });
        let jobs = serde_json::json!({ "jobs": [job("https://b.example/x?secret"), job("https://a.example/y")] });
        let batch: JobBatch = serde_json::from_value(jobs).unwrap();
        let (caller, asker) = (Caller { uid: Some(1000) }, Asker { uid: 1000, reach: Reach::Own });
        for path in ["/v1/jobs", "/v1/jobs/batch"] {
            let shown = Some(Shown::of_batch(asker, &batch));
            guard.record(caller, Some(asker), path, ("POST", Some(path)), StatusCode::CREATED, shown).await;
        }
        let text = std::fs::read_to_string(home.path().join("audit-own.log")).unwrap();
        let lines: Vec<AuditLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            assert_eq!((line.uid, line.hosts.join(" ").as_str()), (Some(1000), "a.example b.example"), "{}", line.verb);
        }
        assert!(!text.contains("secret"));
    }

    #[tokio::test]
    async fn what_an_administrator_did_stays_whatever_others_make_and_try() {
        let home = tempfile::tempdir().unwrap();
        let guard = Guard::new(Users::Several { administrators: None }, AuditLog::open(home.path()));
        let (root, steers) = (Caller { uid: Some(0) }, Asker { uid: 0, reach: Reach::All });
        let (verb, shown) = (("POST", Some("/v1/jobs/{id}/cancel")), Some(Shown::of_owner(1000)));
        guard.record(root, Some(steers), "/v1/jobs/1/cancel", verb, StatusCode::OK, shown).await;
        let job = |number: usize| {
            let url = |at: usize| format!("https://{}.{number}-{at}.example/x", vec!["x".repeat(60); 3].join("."));
            let file = |at| serde_json::json!({"url": url(at), "destination": format!("/tmp/{at}")});
            serde_json::json!({ "files": (0..16).map(file).collect::<Vec<_>>() })
        };
        let jobs = serde_json::json!({ "jobs": (0..1000).map(job).collect::<Vec<_>>() });
        let batch: JobBatch = serde_json::from_value(jobs).unwrap();
        let (caller, asker) = (Caller { uid: Some(1000) }, Asker { uid: 1000, reach: Reach::Own });
        let verb = ("POST", Some("/v1/jobs/batch"));
        for _ in 0..5 {
            let shown = Some(Shown::of_batch(asker, &batch));
            guard.record(caller, Some(asker), "/v1/jobs/batch", verb, StatusCode::OK, shown).await;
        }
        let verb = ("POST", Some("/v1/shutdown"));
        guard.record(caller, None, "/v1/shutdown", verb, StatusCode::FORBIDDEN, None).await;
        let read = |name| std::fs::read_to_string(home.path().join(name)).unwrap();
        assert_eq!(read("audit.log").lines().count(), 1);
        assert!(read("audit.log").contains("/v1/jobs/1/cancel"));
        let own = read("audit-own.log");
        assert_eq!(own.lines().count(), 6);
        assert!(own.len() < 6 * 5000, "a line is short: {} bytes", own.len());
    }
}
