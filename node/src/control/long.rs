//! Work that takes longer than a call may: verification as events, packages piece by piece.

use super::face::{ExportPiece, VerifyNews};
use axum::body::{Body, BodyDataStream};
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use eddy_wire::api::ExportEnd;
use futures::stream::{self, Stream, StreamExt};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc;

/// Silence after which a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Longest silence of somebody who sends a package.
const IDLE: Duration = Duration::from_secs(60);

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

/// The body of an export: pieces behind their length, at the end a length of zero, and the end as JSON behind its length; all
/// lengths are 32 bits, little-endian.
pub(super) fn pieces(pieces: mpsc::Receiver<ExportPiece>) -> Body {
    Body::from_stream(stream::unfold(pieces, async |mut pieces| {
        let bytes = match pieces.recv().await? {
            ExportPiece::Bytes(bytes) => behind_length(&bytes),
            ExportPiece::End(end) => ending(&end),
        };
        Some((Ok::<_, Infallible>(bytes), pieces))
    }))
}

fn ending(end: &ExportEnd) -> Bytes {
    let text = serde_json::to_vec(end).unwrap_or_default();
    [&0_u32.to_le_bytes(), &behind_length(&text)[..]].concat().into()
}

fn behind_length(bytes: &[u8]) -> Bytes {
    // Pieces are bounded by MAX_PIECE, ends by the length of a problem.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), bytes].concat().into()
}

/// Hands the body of an import on. When nobody wants it any more it is still read to its end: whoever sends does not listen
/// before.
pub(super) async fn receive(mut body: BodyDataStream, pieces: mpsc::Sender<Bytes>) {
    // A silence of the sender, or a broken body, ends the package early; its reader notices.
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(IDLE, body.next()).await {
        let _ = pieces.send(bytes).await;
    }
}
