//! Who follows which job, and when the next view is made for them: a change of state at once, progress at most ten times a second, and of
//! many files less often.
//!
//! A view names every file of its job. One for each input would cost a job of many files more than the files themselves, so
//! one that tells of progress only is owed until it is due, and shows what has become of the job by then. Made, sent and read, it
//! takes some microseconds for each file: of a hundred files or more it comes as seldom as keeps that below a hundredth of a core.

use eddy_engine::job::live::Job;
use eddy_engine::{Failure, JobId, JobState};
use eddy_wire::api::JobView;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;

/// Shortest time between two views that tell of progress only.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The same for each file of a job of many.
const INTERVAL_PER_FILE: Duration = Duration::from_millis(1);
/// However many files there are.
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);

/// Those who follow jobs.
#[derive(Debug, Default)]
pub(super) struct Watchers(HashMap<JobId, Watched>);

/// A job that somebody follows.
#[derive(Debug)]
struct Watched {
    views: watch::Sender<JobView>,
    /// When the last view was told, on the engine's clock.
    told: Duration,
    /// How long after that progress is told.
    interval: Duration,
    /// What is told of at once when it changes, as it was told.
    state: JobState,
    failure: Option<Failure>,
    /// Whether something has changed since.
    is_owed: bool,
}

impl Watched {
    fn is_due(&self, now: Duration) -> bool {
        self.is_owed && now >= self.due()
    }

    fn due(&self) -> Duration {
        self.told + self.interval
    }
}

impl Watchers {
    /// One more follower of a job, whose view as it stands is given.
    pub(super) fn follow(&mut self, now: Duration, job: &Job, view: JobView) -> watch::Receiver<JobView> {
        let watched = self.0.entry(job.id()).or_insert_with(|| Watched {
            views: watch::channel(view.clone()).0,
            told: now,
            interval: interval(job),
            state: job.state(),
            failure: job.failure().cloned(),
            is_owed: false,
        });
        if watched.is_owed {
            // Who comes now sees what is owed to those who were there before.
            watched.views.send_replace(view);
            (watched.told, watched.is_owed) = (now, false);
        }
        watched.views.subscribe()
    }

    /// Whether somebody has to be shown at once what became of a job; if not, its view is owed.
    pub(super) fn is_urgent(&mut self, now: Duration, job: &Job) -> bool {
        let Some(watched) = self.0.get_mut(&job.id()) else { return false };
        watched.is_owed = true;
        job.state() != watched.state || job.failure() != watched.failure.as_ref() || watched.is_due(now)
    }

    /// Shows a view to all who follow the job.
    pub(super) fn tell(&mut self, now: Duration, job: &Job, view: JobView) {
        let Some(watched) = self.0.get_mut(&job.id()) else { return };
        (watched.told, watched.is_owed) = (now, false);
        (watched.state, watched.failure) = (job.state(), job.failure().cloned());
        watched.interval = interval(job);
        watched.views.send_replace(view);
    }

    /// The jobs whose views were owed long enough.
    pub(super) fn due(&self, now: Duration) -> Vec<JobId> {
        self.0.iter().filter(|(_, watched)| watched.is_due(now)).map(|(id, _)| *id).collect()
    }

    /// When the next view is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.0.values().filter(|watched| watched.is_owed).map(Watched::due).min()
    }

    /// The job has ended: after its last view there is none.
    pub(super) fn end(&mut self, job: JobId) {
        self.0.remove(&job);
    }

    /// Forgets jobs that nobody follows any more.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|_, watched| watched.views.receiver_count() > 0);
    }
}

fn interval(job: &Job) -> Duration {
    let files = u32::try_from(job.files().len()).unwrap_or(u32::MAX);
    INTERVAL_PER_FILE.saturating_mul(files).clamp(PROGRESS_INTERVAL, LONGEST_INTERVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::view;
    use eddy_content::ResourceUrl;
    use eddy_engine::job::spec::FileSpec;
    use eddy_engine::job::terms::{Owner, Terms};
    use eddy_engine::{Asking, Engine, EngineConfig, Finish, JobSpec, Now, Patience, PeerUse, Portion, Priority};

    const ID: JobId = JobId([7; 16]);

    fn at(millis: u64) -> Now {
        Now { mono: Duration::from_millis(millis), wall: 0 }
    }

    fn engine(files: usize) -> Engine {
        let mut engine = Engine::new(EngineConfig::ordinary(1));
        let file = FileSpec {
            url: ResourceUrl::parse("https://origin.example/a").expect("a URL"),
            destination: "/nowhere/a".to_owned(),
            credentials: None,
            digests: Vec::new(),
            overwrite: false,
            portion: Portion::Whole,
        };
        let spec = JobSpec {
            name: "n".into(),
            priority: Priority::Normal,
            files: vec![file; files],
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::Always,
            terms: Terms::default(),
        };
        engine.create(at(0), ID, Owner(0), spec);
        engine
    }

    /// What the driver does when a job has changed; whether a view was made.
    fn changed(watchers: &mut Watchers, engine: &Engine, now: Now) -> bool {
        let job = engine.job(ID).expect("there");
        let is_urgent = watchers.is_urgent(now.mono, job);
        if is_urgent {
            watchers.tell(now.mono, job, view::job(job, view::Clock { now }));
        }
        is_urgent
    }

    #[test]
    fn progress_is_owed_until_it_is_due_and_a_change_of_state_is_told_at_once() {
        let (mut engine, mut watchers) = (engine(1), Watchers::default());
        assert!(!changed(&mut watchers, &engine, at(0)), "nobody follows it");
        let job = engine.job(ID).expect("there");
        let views = watchers.follow(Duration::ZERO, job, view::job(job, view::Clock { now: at(0) }));
        assert!(!changed(&mut watchers, &engine, at(1)) && !changed(&mut watchers, &engine, at(99)), "only progress");
        assert!(!views.has_changed().expect("lives") && watchers.due(Duration::from_millis(99)).is_empty());
        assert_eq!(watchers.timeout(), Some(PROGRESS_INTERVAL), "it is not forgotten");
        assert_eq!(watchers.due(PROGRESS_INTERVAL), [ID]);
        assert!(changed(&mut watchers, &engine, at(150)) && views.has_changed().expect("lives"));
        assert_eq!(watchers.timeout(), None, "nothing is owed");
        engine.resume(at(151), ID).expect("resumed");
        assert!(changed(&mut watchers, &engine, at(151)), "a change of state does not wait");
        drop(views);
        watchers.sweep();
        assert!(!changed(&mut watchers, &engine, at(1000)), "nobody follows it any more");
    }

    #[test]
    fn progress_of_many_files_is_owed_for_longer_and_never_for_more_than_a_second() {
        for (files, millis) in [(1, 100), (100, 100), (625, 625), (5000, 1000)] {
            let (engine, mut watchers) = (engine(files), Watchers::default());
            let job = engine.job(ID).expect("there");
            let _views = watchers.follow(Duration::ZERO, job, view::job(job, view::Clock { now: at(0) }));
            assert!(!changed(&mut watchers, &engine, at(1)));
            assert_eq!(watchers.timeout(), Some(Duration::from_millis(millis)), "{files} files");
        }
    }
}
