//! Hooks: programs that the administrator has registered, told of the end of jobs that name them (F-40, F-43, T-42).
//!
//! The event log is the queue: an event that a hook is to be told of carries its name, and is with the system before anything forgets the
//! job. A cursor beside the log says up to where everything has been told; it moves only when a hook has ended, so whatever the process dies
//! of, an event is told again rather than not at all. Its number is the same each time: who must not act twice looks at it.
//!
//! A hook runs as the owner of the job, never as the service: see [`run`]. Each owner has one at a time, so nobody's slow one holds up
//! another's. One that fails is told again a few times, then it is given up and that is written into the audit log.

mod run;

use crate::config::hooks::HookSettings;
use crate::control::AuditLog;
use crate::control::audit::AuditLine;
use crate::driver::log::EventLog;
use eddy_wire::api::{EventKind, EventView};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Hooks that run at once.
const AT_ONCE: usize = 8;
/// How often one is told of an event that it does not take.
const TRIES: u32 = 5;
/// The pause before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(5);
/// Events that are looked at in one go.
const PAGE: usize = 1024;

/// Whether hooks are told of this.
#[must_use]
pub fn is_told(kind: EventKind) -> bool {
    matches!(kind, EventKind::Transferred | EventKind::Finished | EventKind::Failed | EventKind::Cancelled)
}

/// What tells hooks.
pub(crate) struct Hooks {
    settings: Arc<BTreeMap<String, HookSettings>>,
    log: EventLog,
    audit: AuditLog,
    cursor: Cursor,
}

impl Hooks {
    /// The hooks of a home.
    pub(crate) fn new(settings: BTreeMap<String, HookSettings>, log: EventLog, audit: AuditLog, home: &Path) -> Self {
        let cursor = Cursor::open(home, *log.news().borrow());
        Self { settings: Arc::new(settings), log, audit, cursor }
    }

    /// Tells them until the node stops. What runs then is told again at the next start.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut news = self.log.news();
        let mut running: JoinSet<(u64, u32)> = JoinSet::new();
        let (mut busy, mut done) = (HashSet::new(), BTreeSet::new());
        loop {
            news.mark_unchanged();
            self.start(&mut running, &mut busy, &mut done, &stop).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(told) = running.join_next(), if !running.is_empty() => {
                    // One that panicked is told again at the next start.
                    let Ok((event, owner)) = told else { continue };
                    busy.remove(&owner);
                    done.insert(event);
                }
                changed = news.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Starts what can be, and moves the cursor behind everything that has been told.
    async fn start(
        &mut self,
        running: &mut JoinSet<(u64, u32)>,
        busy: &mut HashSet<u32>,
        done: &mut BTreeSet<u64>,
        stop: &CancellationToken,
    ) {
        let (mut at, mut told_all_to, mut is_gapless) = (self.cursor.at, self.cursor.at, true);
        let mut passed = HashSet::new();
        loop {
            let events = self.log.after(at, PAGE, |_| true);
            let Some(last) = events.last() else { break };
            if events.first().is_some_and(|first| at > 0 && number(first) > at + 1) {
                tracing::error!(after = at, "hooks were so slow that events were dropped before they were told");
            }
            at = number(last);
            for event in events {
                let id = number(&event);
                let hook = event.hook.as_ref().and_then(|name| self.settings.get(name));
                let Some(hook) = hook.filter(|hook| hook.on.contains(&event.kind) && !done.contains(&id)) else {
                    if is_gapless {
                        told_all_to = id;
                    }
                    continue;
                };
                is_gapless = false;
                // In order for each owner: behind one that waits, the next waits as well.
                if running.len() < AT_ONCE && !busy.contains(&event.owner) && passed.insert(event.owner) {
                    busy.insert(event.owner);
                    running.spawn(tell(hook.clone(), event, self.audit.clone(), stop.clone()));
                } else {
                    passed.insert(event.owner);
                }
            }
        }
        if told_all_to > self.cursor.at {
            done.retain(|id| *id > told_all_to);
            self.cursor.move_to(told_all_to).await;
        }
    }
}

/// Tells a hook of an event until it takes it, or for the last time.
async fn tell(hook: HookSettings, event: EventView, audit: AuditLog, stop: CancellationToken) -> (u64, u32) {
    let (id, owner) = (number(&event), event.owner);
    let event = Arc::new(event);
    let mut pause = PAUSE;
    for attempt in 1..=TRIES {
        let (hook, told, audit) = (hook.clone(), Arc::clone(&event), audit.clone());
        let outcome = tokio::task::spawn_blocking(move || {
            let outcome = run::run(&hook, &told);
            audit.append(AuditLine {
                at_unix_ms: 0,
                uid: Some(told.owner),
                verb: format!("hook {}", told.hook.as_deref().unwrap_or_default()),
                subject: format!("event {} of job {}, attempt {attempt}", told.id, told.job),
                owner: Some(told.owner),
                hosts: Vec::new(),
                outcome: outcome.status(),
            });
            outcome
        });
        match outcome.await {
            Ok(outcome) if outcome.status() == 0 => return (id, owner),
            Ok(outcome) => tracing::warn!(event = id, owner, attempt, ?outcome, "a hook did not take its event"),
            Err(error) => tracing::error!(event = id, owner, %error, "a hook could not be told"),
        }
        if attempt < TRIES {
            tokio::select! {
                () = stop.cancelled() => std::future::pending().await,
                () = tokio::time::sleep(pause) => pause *= 2,
            }
        }
    }
    (id, owner)
}

fn number(event: &EventView) -> u64 {
    event.id.parse().unwrap_or_default()
}

/// Up to where everything has been told: a number in a file of the home.
struct Cursor {
    path: PathBuf,
    at: u64,
}

impl Cursor {
    /// A home without one begins with what happens next.
    fn open(home: &Path, newest: u64) -> Self {
        let path = home.join("hooks.cursor");
        let at = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let cursor = Self { path, at: at.unwrap_or(newest) };
        if at.is_none()
            && let Err(error) = write(&cursor.path, newest)
        {
            tracing::warn!(%error, "it cannot be written down which hooks have been told");
        }
        cursor
    }

    /// Moves forward. Where the disk refuses, hooks are told again after the next start.
    async fn move_to(&mut self, at: u64) {
        self.at = at;
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || write(&path, at)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "it cannot be written down which hooks have been told"),
            Err(_) => {}
        }
    }
}

/// Replaces the file. Without a sync: an older number only has hooks told again.
fn write(path: &Path, at: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{at}\n"))?;
    std::fs::rename(&new, path)
}
