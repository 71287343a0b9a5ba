//! A job's views, and the event log, as server-sent events: a change of state at once, progress at most ten times a second.

use super::access::Asker;
use super::face::Face;
use axum::response::sse::{Event, KeepAlive, Sse};
use eddy_wire::api::{EventView, JobState, JobView, PageQuery, Problem};
use futures::stream::{self, Stream};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Shortest time between two events that tell of progress only.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Silence after which a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The answer to a watch: one `job` event for each view that is told, until the job has ended or the node stops.
///
/// The first event is the view as it stands, so a client that comes back has missed nothing that still holds. Events
/// are numbered from 1 in each stream.
pub(super) fn answer(
    views: watch::Receiver<JobView>,
    stop: CancellationToken,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold((Follower::new(views, stop), 0_u64), |(mut follower, number)| async move {
        let view = follower.next().await?;
        // A view is plain data with string keys; JSON takes all of it.
        let event = Event::default().event("job").id((number + 1).to_string()).json_data(&view).ok()?;
        Some((Ok(event), (follower, number + 1)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Events of one page of a stream.
const EVENTS_AT_ONCE: usize = 100;

/// What the asker may see of the log behind `after`, as they come, until the node stops.
pub(super) fn log<F: Face>(
    (face, asker): (Arc<F>, Asker),
    news: watch::Receiver<u64>,
    after: u64,
    stop: CancellationToken,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let state = (face, news, after, stop, VecDeque::new());
    let events = stream::unfold(state, move |(face, mut news, mut after, stop, mut waiting)| async move {
        while waiting.is_empty() {
            let query = PageQuery { after: Some(after.to_string()), limit: Some(EVENTS_AT_ONCE) };
            waiting.extend(face.events(asker, query).await.ok()?.items);
            if waiting.is_empty() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return None,
                    changed = news.changed() => changed.ok()?,
                }
            }
        }
        let event: EventView = waiting.pop_front()?;
        after = event.id.parse().ok()?;
        let told = Event::default().event("event").id(event.id.clone()).json_data(&event).ok()?;
        Some((Ok(told), (face, news, after, stop, waiting)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}

/// Decides which views are told, and when.
struct Follower {
    views: watch::Receiver<JobView>,
    stop: CancellationToken,
    told: Option<Told>,
}

/// What decides about the next view: of the last one, what is told of at once when it changes, and when it was told.
struct Told {
    state: JobState,
    error: Option<Problem>,
    at: Instant,
}

impl Follower {
    fn new(views: watch::Receiver<JobView>, stop: CancellationToken) -> Self {
        Self { views, stop, told: None }
    }

    /// The next view to tell; `None` when the job has ended, its watch was closed or the node stops.
    async fn next(&mut self) -> Option<JobView> {
        let Some(last) = self.told.take() else { return Some(self.tell()) };
        if last.state.is_final() {
            return None;
        }
        let urgent = |view: &JobView| view.state != last.state || view.error != last.error;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            changed = self.views.changed() => changed.ok()?,
        }
        // Only progress, and too early: it is told when it is due, unless something urgent comes before.
        let due = last.at + PROGRESS_INTERVAL;
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            _ = self.views.wait_for(urgent) => {}
            () = tokio::time::sleep_until(due) => {}
        }
        Some(self.tell())
    }

    fn tell(&mut self) -> JobView {
        let view = self.views.borrow_and_update().clone();
        self.told = Some(Told { state: view.state, error: view.error.clone(), at: Instant::now() });
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_wire::api::{Finish, PeerUse, Priority, TermsView};

    fn view(state: JobState, rate: u64) -> JobView {
        JobView {
            id: "1".into(),
            name: "a".into(),
            state,
            priority: Priority::Normal,
            finish: Finish::Auto,
            peers: PeerUse::default(),
            owner: 0,
            terms: TermsView::default(),
            created_unix_ms: 0,
            changed_unix_ms: 0,
            transferred_unix_ms: None,
            faults: 0,
            waiting: None,
            files: Vec::new(),
            rate,
            eta_seconds: None,
            error: None,
            next_attempt_unix_ms: None,
        }
    }

    fn follow(first: JobView) -> (watch::Sender<JobView>, Follower, CancellationToken) {
        let (sender, views) = watch::channel(first);
        let stop = CancellationToken::new();
        (sender, Follower::new(views, stop.clone()), stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_state_is_told_at_once_and_progress_when_it_is_due() {
        let (sender, mut follower, _stop) = follow(view(JobState::Queued, 0));
        let start = Instant::now();
        assert_eq!(follower.next().await.map(|v| v.state), Some(JobState::Queued));
        sender.send_replace(view(JobState::Transferring, 1));
        assert_eq!(follower.next().await.map(|v| v.state), Some(JobState::Transferring));
        assert_eq!(start.elapsed(), Duration::ZERO);
        sender.send_replace(view(JobState::Transferring, 2));
        assert_eq!(follower.next().await.map(|v| v.rate), Some(2));
        assert_eq!(start.elapsed(), PROGRESS_INTERVAL);
    }

    #[tokio::test(start_paused = true)]
    async fn of_much_progress_the_newest_is_told_ten_times_a_second() {
        let (sender, mut follower, _stop) = follow(view(JobState::Transferring, 0));
        let start = Instant::now();
        let writer = tokio::spawn(async move {
            for rate in 1..=1000 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                sender.send_replace(view(JobState::Transferring, rate));
            }
            sender.send_replace(view(JobState::Acknowledged, 1001));
        });
        let mut told = Vec::new();
        while let Some(view) = follower.next().await {
            told.push(view);
        }
        writer.await.expect("the writer ends");
        assert!(start.elapsed() <= Duration::from_millis(1001));
        assert!(told.len() <= 12, "{} events", told.len());
        assert_eq!(told.last().map(|v| v.rate), Some(1001), "the last view is never lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_job_with_its_watch_and_with_the_node() {
        let (_sender, mut ended, _stop) = follow(view(JobState::Cancelled, 0));
        assert!(ended.next().await.is_some() && ended.next().await.is_none());

        let (sender, mut closed, _stop) = follow(view(JobState::Queued, 0));
        assert!(closed.next().await.is_some());
        drop(sender);
        assert!(closed.next().await.is_none());

        let (_sender, mut stopped, stop) = follow(view(JobState::Queued, 0));
        assert!(stopped.next().await.is_some());
        stop.cancel();
        assert!(stopped.next().await.is_none());
    }
}
