//! Hooks: programs that the administrator has registered, told of the end of jobs that name them (F-40, F-43, T-42).
//!
//! The event log is the queue: an event that a hook is to be told of carries its name, is on the disk before anything forgets the
//! job, and stays in memory until it is told, however much happens to others. Over a restart it stays as long as the files of the log reach. A cursor beside the log says up to where everything has been told; it moves only when a hook has ended, so whatever the process or the
//! machine dies of, an event is told again rather than not at all. Its number is the same each time, and no other event's: who must not act
//! twice looks at it. A node without hooks has no cursor; one whose hooks are taken away for a while tells what is still kept of what
//! they missed.
//!
//! A hook runs as the owner of the job, never as the service: see [`run`]. Each owner has one at a time, so nobody's slow one holds up
//! another's. One that fails is told again a few times, then it is given up and that is written into the audit log.

mod run;

use crate::config::hooks::HookSettings;
use crate::control::AuditLog;
use crate::control::audit::{AuditLine, Rights};
use crate::driver::log::EventLog;
use eddy_wire::api::{EventKind, EventView};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, Write as _};
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
    /// The hooks of a home; `None` where there are none.
    pub(crate) fn new(
        settings: BTreeMap<String, HookSettings>,
        log: EventLog,
        audit: AuditLog,
        home: &Path,
    ) -> Option<Self> {
        if settings.is_empty() {
            return None;
        }
        let cursor = Cursor::open(home, *log.news().borrow());
        log.tell_to(cursor.at);
        Some(Self { settings: Arc::new(settings), log, audit, cursor })
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
            let events = self.log.for_hooks(at, PAGE);
            let Some(last) = events.last() else { break };
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
            let was_told = done.first().is_some_and(|first| *first <= told_all_to);
            done.retain(|id| *id > told_all_to);
            self.cursor.move_to(told_all_to, was_told).await;
            self.log.tell_to(told_all_to);
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
            audit.append(
                Rights::Own,
                AuditLine {
                    at_unix_ms: 0,
                    uid: Some(told.owner),
                    verb: format!("hook {}", told.hook.as_deref().unwrap_or_default()),
                    subject: format!("event {} of job {}, attempt {attempt}", told.id, told.job),
                    owner: Some(told.owner),
                    hosts: Vec::new(),
                    outcome: outcome.status(),
                },
            );
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

/// Up to where everything has been told in a home; 0 where no hook was ever told, or it cannot be read.
pub(crate) fn told_to(home: &Path) -> u64 {
    read(&home.join(CURSOR)).ok().flatten().unwrap_or_default()
}

/// Up to where everything has been told: a number in a file of the home.
struct Cursor {
    path: PathBuf,
    at: u64,
    /// The number in the file.
    written: u64,
}

impl Cursor {
    /// A home without one begins with what happens next. Where it cannot be read, all that is kept is told again. `newest` is not before it:
    /// the log goes on behind it.
    fn open(home: &Path, newest: u64) -> Self {
        let path = home.join(CURSOR);
        let found = read(&path);
        if let Err(error) = &found {
            tracing::warn!(%error, "it cannot be read which hooks have been told");
        }
        let at = match &found {
            Ok(found) => found.unwrap_or(newest).min(newest),
            Err(_) => 0,
        };
        let cursor = Self { path, at, written: at };
        if !matches!(found, Ok(Some(known)) if known == at)
            && let Err(error) = write(&cursor.path, at)
        {
            tracing::warn!(%error, "it cannot be written down which hooks have been told");
        }
        cursor
    }

    /// Moves forward. It is written down once a hook was told, and else now and then, so that it stays among what the log keeps. Where
    /// the disk refuses, hooks are told again after the next start.
    async fn move_to(&mut self, at: u64, was_told: bool) {
        self.at = at;
        if !was_told && at.saturating_sub(self.written) < PAGE as u64 {
            return;
        }
        self.written = at;
        let path = self.path.clone();
        match tokio::task::spawn_blocking(move || write(&path, at)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "it cannot be written down which hooks have been told"),
            Err(_) => {}
        }
    }
}

/// The number in the file; `None` where there is no file.
fn read(path: &Path) -> io::Result<Option<u64>> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the file. Its bytes are on the disk before its name, so that a machine that stops leaves one of the two numbers; the older only
/// has hooks told again.
fn write(path: &Path, at: u64) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{at}")?;
    file.sync_data()?;
    std::fs::rename(&new, path)
}

/// The cursor's file in a home.
const CURSOR: &str = "hooks.cursor";

#[cfg(test)]
mod tests {
    use super::*;

    fn hooks(home: &Path, names: &[&str]) -> Option<Hooks> {
        let of = |name: &&str| {
            let settings = toml::from_str("command = [\"/bin/true\"]").expect("a hook");
            ((*name).to_owned(), settings)
        };
        Hooks::new(names.iter().map(of).collect(), EventLog::open(home), AuditLog::default(), home)
    }

    #[test]
    fn without_hooks_nothing_is_written_down_about_them() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(hooks(home.path(), &[]).is_none());
        assert_eq!(std::fs::read_dir(home.path()).expect("lists").count(), 0);
        assert!(hooks(home.path(), &["note"]).is_some());
        assert_eq!(told_to(home.path()), 0);
    }

    #[tokio::test]
    async fn the_cursor_is_written_down_when_a_hook_was_told_and_else_seldom() {
        let home = tempfile::tempdir().expect("a directory");
        let mut cursor = Cursor::open(home.path(), 3);
        cursor.move_to(4, false).await;
        assert_eq!(told_to(home.path()), 3);
        cursor.move_to(5, true).await;
        assert_eq!(told_to(home.path()), 5);
        cursor.move_to(5 + PAGE as u64, false).await;
        assert_eq!(told_to(home.path()), 5 + PAGE as u64);
    }

    #[test]
    fn a_cursor_never_stands_behind_what_has_happened_and_a_broken_one_tells_all_again() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join(CURSOR), "9\n").expect("writes");
        assert_eq!(Cursor::open(home.path(), 4).at, 4);
        std::fs::write(home.path().join(CURSOR), "").expect("writes");
        assert_eq!(Cursor::open(home.path(), 4).at, 0);
    }
}
