//! A body that cannot be kept under a version goes straight beside the destination.
//!
//! Counted in the ledger as the origin's; neither resumed nor shared; whole only by its declared length or its proper end.

use super::failure;
use super::progress::Progress;
use super::room::CacheRoom;
use crate::deliver::{Destination, refusal};
use crate::origin::OriginBody;
use bytes::Bytes;
use eddy_content::Root;
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use eddy_engine::Failure;
use eddy_engine::port::{FetchOutcome, StagedFile};
use eddy_wire::catalogue::ErrorCode;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces between the reactor and the disk.
const QUEUE: usize = 16;

/// Bytes that the cache is asked for when the disk fills up under a stream, whose end is not known.
const WAY: u64 = 64 << 20;

/// Where a body goes.
#[derive(Debug)]
pub struct StreamOrder {
    /// Where the file is to stand.
    pub destination: Destination,
    /// Digests that the bytes must have.
    pub digests: Vec<ExpectedDigest>,
    /// The file's time.
    pub last_modified: Option<i64>,
    /// The cache, which gives way.
    pub room: CacheRoom,
}

/// Streams a whole body to the staged file.
pub async fn stream(
    mut body: OriginBody,
    order: StreamOrder,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> Result<StagedFile, FetchOutcome> {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let cleanup = order.destination.clone();
    let (end, ended) = tokio::sync::oneshot::channel();
    let thread = tokio::task::spawn_blocking(move || write(&order, queue, ended));
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
    order: &StreamOrder,
    mut queue: mpsc::Receiver<Bytes>,
    ended: tokio::sync::oneshot::Receiver<()>,
) -> Result<StagedFile, Failure> {
    let destination = &order.destination;
    let mut file = destination.create_part()?;
    let mut check = DigestCheck::beside_root(&order.digests);
    let mut plain = blake3::Hasher::new();
    let mut length = 0;
    while let Some(bytes) = queue.blocking_recv() {
        check.update(&bytes);
        plain.update(&bytes);
        length += bytes.len() as u64;
        write_all(&mut file, &bytes, order).map_err(|e| destination.disk_failure("write", &e))?;
    }
    if ended.blocking_recv().is_err() {
        return Err(Failure::transient("connection-lost", "the body ended early"));
    }
    let root = Root(*plain.finalize().as_bytes());
    check.verify_with_root(root).map_err(|e| refusal(ErrorCode::DigestMismatch, e.to_string()))?;
    destination.seal(&file, order.last_modified)?;
    Ok(StagedFile { length, root, origin: length, peers: 0, wasted: 0, audited: 0, witnesses: None })
}

/// Writes all bytes; on a full disk the cache gives way as long as it can.
fn write_all(file: &mut File, mut bytes: &[u8], order: &StreamOrder) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::StorageFull && order.make_way() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl StreamOrder {
    /// Whether the cache has removed something for this file.
    fn make_way(&self) -> bool {
        self.destination.free().is_some_and(|free| self.destination.gives_way(&self.room, free.saturating_add(WAY)))
    }
}
