//! Work that takes longer than a call may: verification as events.

use super::face::VerifyNews;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::stream::{self, Stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// Silence after which a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The events of a verification: `progress` as often as there is any, then `done` or `failed`.
pub(super) fn events(news: mpsc::Receiver<VerifyNews>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let events = stream::unfold(news, async |mut news| {
        // Views are plain data with string keys; JSON takes all of them.
        let event = match news.recv().await? {
            VerifyNews::Progress(progress) => Event::default().event("progress").json_data(progress),
            VerifyNews::Done(view) => Event::default().event("done").json_data(view),
            VerifyNews::Failed(problem) => Event::default().event("failed").json_data(problem),
        };
        Some((Ok(event.ok()?), news))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
