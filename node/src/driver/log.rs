//! The event log: what happened to jobs, for whoever asks later.
//!
//! The newest [`KEPT`] events are in memory, with those before them of which a hook is still to be told (`kept`), and in two files of the
//! home with one line of JSON for each: the newer is begun anew at 4 MiB, so both together are bounded. A line is with the system before anybody hears of its event, and on the disk a second later
//! ([`EventLog::keep_on_disk`]): a process that dies loses none, a machine at most the last second. An event that a hook is to be told of is on
//! the disk before anything follows from it, since its job may be forgotten then. Numbers go on behind every one that a hook may know,
//! whatever a machine that stopped has lost. A line that cannot be read is passed over.

mod kept;

use super::view;
use crate::hooks;
use crate::lines::{FILE, Lines};
use eddy_engine::job::live::Job;
use eddy_wire::api::{EventKind, EventView, JobState};
use kept::Kept;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use kept::KEPT;

/// Characters of a detail that are kept.
const MAX_DETAIL: usize = 500;
/// Longest time until lines are on the disk.
const SYNC: Duration = Duration::from_secs(1);

/// The log. Clones share it.
#[derive(Clone)]
pub struct EventLog(Arc<Shared>);

struct Shared {
    kept: Mutex<Kept>,
    newest: watch::Sender<u64>,
    /// `None` for a log that lives in memory alone.
    file: Option<Mutex<Lines>>,
}

impl EventLog {
    /// Opens the log of a home. A disk that refuses is no reason to do without: then it is kept in memory.
    #[must_use]
    pub fn open(home: &Path) -> Self {
        let path = home.join("events.log");
        let told = hooks::told_to(home);
        let (mut kept, mut oldest) = (Kept::told_to(told), None);
        for path in [path.with_extension("log.old"), path.clone()] {
            match load(&path, &mut kept) {
                Ok(first) => oldest = oldest.or(first),
                Err(error) => tracing::warn!(path = %path.display(), %error, "old events cannot be read"),
            }
        }
        if told > 0 && oldest.is_some_and(|oldest| oldest > told + 1) {
            tracing::error!(
                after = told,
                "hooks were so slow that the files of events begin behind what they were told"
            );
        }
        Self::with(kept, told, Some(Mutex::new(Lines::at(path))))
    }

    /// A log that ends with the process.
    #[must_use]
    pub fn fleeting() -> Self {
        Self::with(Kept::default(), 0, None)
    }

    /// `told` is the last number that a hook may know: its line may be lost, and no other event may have it.
    fn with(kept: Kept, told: u64, file: Option<Mutex<Lines>>) -> Self {
        let newest = kept.newest().back().map_or(0, number).max(told);
        Self(Arc::new(Shared { kept: Mutex::new(kept), newest: watch::Sender::new(newest), file }))
    }

    /// Adds events in order; they get their numbers. Blocks on the disk.
    pub fn append(&self, events: Vec<EventView>) {
        if events.is_empty() {
            return;
        }
        let mut last = *self.0.newest.borrow();
        let mut text = String::new();
        let mut numbered = Vec::with_capacity(events.len());
        for mut event in events {
            last += 1;
            event.id = last.to_string();
            event.detail = event.detail.map(|detail| detail.chars().take(MAX_DETAIL).collect());
            // Plain data with string keys; JSON takes all of it.
            text += &serde_json::to_string(&event).unwrap_or_default();
            text.push('\n');
            numbered.push(event);
        }
        if let Some(lines) = &self.0.file {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            let written = lines.write(text.as_bytes());
            // Its job may be erased next, and then this line is all that knows of it.
            let is_owed = numbered.iter().any(|event| event.hook.is_some());
            if let Err(error) = written.and_then(|()| if is_owed { lines.sync() } else { Ok(()) }) {
                tracing::warn!(%error, "events are kept in memory alone");
            }
        }
        let mut kept = self.kept();
        numbered.into_iter().for_each(|event| kept.push(event));
        drop(kept);
        self.0.newest.send_replace(last);
    }

    /// The wanted events behind a cursor, at most `most`; those that are no longer kept are passed over.
    #[must_use]
    pub fn after(&self, cursor: u64, most: usize, wanted: impl Fn(&EventView) -> bool) -> Vec<EventView> {
        self.kept().after(cursor).filter(|event| wanted(event)).take(most).cloned().collect()
    }

    /// The events behind a cursor of which hooks may have to be told, at most `most`: also those that nobody else is shown any more.
    pub(crate) fn for_hooks(&self, cursor: u64, most: usize) -> Vec<EventView> {
        self.kept().for_hooks(cursor).take(most).cloned().collect()
    }

    /// Hooks have been told of everything up to here: nothing is kept for them.
    pub(crate) fn tell_to(&self, told: u64) {
        self.kept().tell_to(told);
    }

    /// How each job stood when it was told of last, as far as that is kept.
    #[must_use]
    pub fn last_states(&self) -> HashMap<String, JobState> {
        self.kept().newest().iter().map(|event| (event.job.clone(), event.state)).collect()
    }

    /// The number of the newest event, whenever it changes.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Has each line on the disk a second after it was written, until the node stops. Who writes meanwhile does not wait for it.
    pub(crate) async fn keep_on_disk(self, stop: CancellationToken) {
        let mut news = self.news();
        // Events may have come before it began to look.
        news.mark_changed();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = news.changed() => if changed.is_err() { return },
            }
            tokio::select! {
                // What is left is synced when the log is closed.
                () = stop.cancelled() => return,
                () = tokio::time::sleep(SYNC) => {}
            }
            let log = self.clone();
            let synced = tokio::task::spawn_blocking(move || log.behind().map_or(Ok(()), |file| file.sync_data()));
            if let Ok(Err(error)) = synced.await {
                tracing::warn!(%error, "events cannot be had on the disk");
            }
        }
    }

    fn behind(&self) -> Option<Arc<File>> {
        self.0.file.as_ref().and_then(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).behind())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event of a job as it stands; its number comes when it is appended.
pub(super) fn event(kind: EventKind, job: &Job, at_unix_ms: u64) -> EventView {
    let error = view::problem_of(job);
    EventView {
        id: String::new(),
        at_unix_ms,
        kind,
        job: job.id().to_string(),
        name: job.name().to_owned(),
        owner: job.owner().0,
        state: view::state(job.state()),
        hook: job.hook().map(str::to_owned).filter(|_| hooks::is_told(kind)),
        code: error.as_ref().map(|error| error.code.clone()),
        detail: error.and_then(|error| error.detail),
    }
}

fn number(event: &EventView) -> u64 {
    event.id.parse().unwrap_or_default()
}

/// Reads the events of a file behind those that are there, and says which was the first.
fn load(path: &Path, kept: &mut Kept) -> io::Result<Option<u64>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut first = None;
    // A line that was being written when the machine stopped is no JSON.
    for line in BufReader::new(file.take(2 * FILE)).split(b'\n') {
        let Ok(event) = serde_json::from_slice::<EventView>(&line?) else { continue };
        if number(&event) > kept.newest().back().map_or(0, number) {
            first = first.or(Some(number(&event)));
            kept.push(event);
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_wire::api::EventKind;
    use std::fs;

    fn some(detail: &str) -> EventView {
        EventView {
            id: String::new(),
            at_unix_ms: 1,
            kind: EventKind::Created,
            job: "j".into(),
            name: "n".into(),
            owner: 0,
            state: JobState::Suspended,
            hook: None,
            code: None,
            detail: Some(detail.into()),
        }
    }

    fn all(_: &EventView) -> bool {
        true
    }

    fn details(events: &[EventView]) -> Vec<&str> {
        events.iter().filter_map(|event| event.detail.as_deref()).collect()
    }

    #[test]
    fn events_survive_the_process_and_a_cursor_goes_on_where_it_was() {
        let home = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(home.path());
        log.append(vec![some("a"), some("b")]);
        let cursor: u64 = log.after(0, 1, all)[0].id.parse().expect("a number");
        // Nothing is closed: the process dies.
        let again = EventLog::open(home.path());
        again.append(vec![some("c")]);
        assert_eq!(details(&again.after(cursor, 10, all)), ["b", "c"]);
        assert_eq!(*again.news().borrow(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_on_the_disk_a_second_later_also_when_none_follows() {
        let home = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(home.path());
        log.append(vec![some("a")]);
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(log.clone().keep_on_disk(stop.clone()));
        tokio::time::sleep(2 * SYNC).await;
        assert!(log.behind().is_none());
        log.append(vec![some("b")]);
        tokio::time::sleep(2 * SYNC).await;
        assert!(log.behind().is_none());
        stop.cancel();
        keeping.await.expect("ends");
    }

    #[test]
    fn what_a_hook_is_to_be_told_of_is_on_the_disk_before_its_job_is_forgotten() {
        let home = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(home.path());
        log.append(vec![some("a")]);
        assert!(log.behind().is_some(), "nothing is lost with it: nobody waits for the disk");
        let owed = EventView { hook: Some("note".into()), kind: EventKind::Finished, ..some("b") };
        log.append(vec![some("c"), owed]);
        assert!(log.behind().is_none());
    }

    #[test]
    fn what_a_hook_is_to_be_told_of_stays_until_it_is_told_however_much_happens_to_others() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("hooks.cursor"), "1\n").expect("writes");
        let log = EventLog::open(home.path());
        let owed = EventView { hook: Some("note".into()), kind: EventKind::Finished, owner: 1, ..some("owed") };
        log.append(vec![some("told"), owed.clone(), owed]);
        log.append(vec![EventView { owner: 2, ..some("another's") }; KEPT + 1]);
        let owed = |log: &EventLog| {
            let events = log.for_hooks(1, usize::MAX);
            events.iter().filter(|event| event.hook.is_some()).map(number).collect::<Vec<_>>()
        };
        assert_eq!(owed(&log), [3, 4]);
        assert_eq!(owed(&EventLog::open(home.path())), [3, 4], "also over a restart");
        assert_eq!(log.after(0, usize::MAX, all).len(), KEPT, "who looks at events is shown the newest");
        log.tell_to(3);
        assert_eq!(owed(&log), [4]);
        log.tell_to(4);
        assert_eq!(log.for_hooks(0, usize::MAX).len(), KEPT);
    }

    #[test]
    fn of_one_owner_no_more_than_a_thousand_older_events_wait_and_they_push_out_nobody_elses() {
        let log = EventLog::fleeting();
        let owed = |owner| EventView { hook: Some("note".into()), kind: EventKind::Finished, owner, ..some("owed") };
        log.append(vec![owed(2); 3 * KEPT]);
        log.append(vec![owed(1)]);
        log.append(vec![some("another's"); KEPT]);
        let waits = |owner| log.for_hooks(0, usize::MAX).iter().filter(|event| event.owner == owner).count();
        assert_eq!((waits(2), waits(1)), (1000, 1));
    }

    #[test]
    fn a_number_that_a_hook_knows_is_given_to_no_other_event() {
        let home = tempfile::tempdir().expect("a directory");
        EventLog::open(home.path()).append(vec![some("a"), some("b")]);
        // The machine stopped before the lines behind these were on the disk.
        fs::write(home.path().join("hooks.cursor"), "7\n").expect("writes");
        let log = EventLog::open(home.path());
        log.append(vec![some("c")]);
        assert_eq!(log.after(2, 10, all).iter().map(number).collect::<Vec<_>>(), [8]);
        assert_eq!(*EventLog::open(home.path()).news().borrow(), 8);
    }

    #[test]
    fn a_line_that_broke_off_costs_that_line_alone() {
        let home = tempfile::tempdir().expect("a directory");
        EventLog::open(home.path()).append(vec![some("a"), some("b")]);
        let path = home.path().join("events.log");
        let text = fs::read(&path).expect("reads");
        fs::write(&path, &text[..text.len() - 5]).expect("writes");
        EventLog::open(home.path()).append(vec![some("c")]);
        assert_eq!(details(&EventLog::open(home.path()).after(0, 10, all)), ["a", "c"]);
    }

    #[test]
    fn memory_and_files_are_bounded_and_numbers_go_on() {
        let home = tempfile::tempdir().expect("a directory");
        let log = EventLog::open(home.path());
        let long = "x".repeat(2 * MAX_DETAIL);
        for _ in 0..30 {
            log.append(vec![some(&long); 1000]);
        }
        assert_eq!(log.after(0, usize::MAX, all).len(), KEPT);
        let bytes: u64 =
            fs::read_dir(home.path()).expect("lists").map(|e| e.expect("one").metadata().expect("is").len()).sum();
        assert!(bytes < 3 * FILE, "{bytes}");
        let again = EventLog::open(home.path()).after(0, usize::MAX, all);
        assert_eq!(again.last().map(number), Some(30_000));
        assert!(again.len() > KEPT / 2, "{}", again.len());
    }
}
