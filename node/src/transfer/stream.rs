//! A body that cannot be kept under a version goes straight beside the destination.
//!
//! Counted in the ledger as the origin's; neither resumed nor shared; whole only by its declared length or its proper end.

use super::failure;
use super::progress::Progress;
use crate::deliver::{Destination, refusal};
use crate::origin::OriginBody;
use bytes::Bytes;
use eddy_content::Root;
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use eddy_engine::Failure;
use eddy_engine::port::{FetchOutcome, StagedFile};
use eddy_wire::catalogue::ErrorCode;
use std::io::Write;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces between the reactor and the disk.
const QUEUE: usize = 16;

/// Streams a whole body to the staged file.
pub async fn stream(
    mut body: OriginBody,
    destination: Destination,
    digests: Vec<ExpectedDigest>,
    last_modified: Option<i64>,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> Result<StagedFile, FetchOutcome> {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let cleanup = destination.clone();
    let (end, ended) = tokio::sync::oneshot::channel();
    let thread = tokio::task::spawn_blocking(move || write(&destination, &digests, last_modified, queue, ended));
    let outcome = loop {
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => break Err(FetchOutcome::Aborted),
            next = body.next() => next,
        };
        match next {
            Ok(Some(bytes)) => {
                progress.count(bytes.len() as u64).await;
                if pieces.send(bytes).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(FetchOutcome::Failed(failure::of_origin(&error))),
        }
    };
    progress.flush().await;
    if outcome.is_ok() {
        let _ = end.send(());
    } else {
        drop(end);
    }
    drop(pieces);
    let written = thread.await.unwrap_or_else(|_| Err(Failure::fatal("internal", "the writing thread died")));
    let result = outcome.and_then(|()| written.map_err(FetchOutcome::Failed));
    if result.is_err() {
        let _ = tokio::task::spawn_blocking(move || cleanup.discard()).await;
    }
    result
}

fn write(
    destination: &Destination,
    digests: &[ExpectedDigest],
    last_modified: Option<i64>,
    mut queue: mpsc::Receiver<Bytes>,
    ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<StagedFile, Failure> {
    let mut file = destination.create_part()?;
    let mut check = DigestCheck::beside_root(digests);
    let mut plain = blake3::Hasher::new();
    let mut length = 0;
    while let Some(bytes) = queue.blocking_recv() {
        check.update(&bytes);
        plain.update(&bytes);
        length += bytes.len() as u64;
        file.write_all(&bytes).map_err(|e| destination.disk_failure("write", &e))?;
    }
    if ended.blocking_recv().is_err() {
        return Err(Failure::transient("connection-lost", "the body ended early"));
    }
    let root = Root(*plain.finalize().as_bytes());
    check.verify_with_root(root).map_err(|e| refusal(ErrorCode::DigestMismatch, e.to_string()))?;
    destination.seal(&file, last_modified)?;
    Ok(StagedFile { length, root, origin: length, peers: 0, wasted: 0 })
}
