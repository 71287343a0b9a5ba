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
use eddy_engine::job::portion::Stretches;
use eddy_engine::port::{FetchOutcome, StagedFile};
use eddy_wire::catalogue::ErrorCode;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Pieces between the reactor and the disk.
const QUEUE: usize = 16;

/// Bytes that are read at a time of what was written.
const PIECE: usize = 256 << 10;

/// Bytes that the cache is asked for when the disk fills up under a stream, whose end is not known.
const WAY: u64 = 64 << 20;

/// Where a body goes.
#[derive(Debug)]
pub struct StreamOrder {
    /// Where the file is to stand.
    pub destination: Destination,
    /// The place of the body's first byte.
    pub start: u64,
    /// What of it is wanted, if not all.
    pub stretches: Option<Stretches>,
    /// Digests that the bytes must have.
    pub digests: Vec<ExpectedDigest>,
    /// The file's time.
    pub last_modified: Option<i64>,
    /// The cache, which gives way.
    pub room: CacheRoom,
}

/// Streams a body to the staged file: all of it, or what is wanted.
pub async fn stream(
    mut body: OriginBody,
    order: StreamOrder,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> Result<StagedFile, FetchOutcome> {
    let (pieces, queue) = mpsc::channel(QUEUE);
    let cleanup = order.destination.clone();
    let (mut at, stretches) = (order.start, order.stretches.clone());
    let is_enough = |at: u64| stretches.as_ref().is_some_and(|stretches| at >= stretches.end());
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
                let piece = at..at + bytes.len() as u64;
                at = piece.end;
                progress.count(useful(stretches.as_ref(), &piece)).await;
                if pieces.send(bytes).await.is_err() || is_enough(at) {
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
    let file = destination.create_part()?;
    let mut check = DigestCheck::beside_root(&order.digests);
    let mut plain = blake3::Hasher::new();
    let (mut at, mut length) = (order.start, 0);
    while let Some(bytes) = queue.blocking_recv() {
        let piece = at..at + bytes.len() as u64;
        at = piece.end;
        length += useful(order.stretches.as_ref(), &piece);
        let written = match &order.stretches {
            None => {
                check.update(&bytes);
                plain.update(&bytes);
                write_all(&file, &bytes, piece.start, order)
            }
            Some(stretches) => stretches.placed(piece.clone()).try_for_each(|(part, place)| {
                let part = (part.start - piece.start) as usize..(part.end - piece.start) as usize;
                write_all(&file, &bytes[part], place, order)
            }),
        };
        written.map_err(|e| destination.disk_failure("write", &e))?;
    }
    if ended.blocking_recv().is_err() {
        return Err(Failure::transient("connection-lost", "the body ended early"));
    }
    if let Some(stretches) = &order.stretches {
        if !stretches.iter().all(|stretch| at > stretch.start && (at >= stretch.end || stretch.end == u64::MAX)) {
            let detail = format!("the file has {at} bytes, and a range lies outside of it");
            return Err(refusal(ErrorCode::RangeOutside, detail));
        }
        // They came in the order of the file and not in that of the job.
        read_again(&file, |bytes| {
            check.update(bytes);
            plain.update(bytes);
        })
        .map_err(|e| destination.disk_failure("read", &e))?;
    }
    let root = Root(*plain.finalize().as_bytes());
    check.verify_with_root(root).map_err(|e| refusal(ErrorCode::DigestMismatch, e.to_string()))?;
    destination.seal(&file, order.last_modified)?;
    let wasted = (at - order.start).saturating_sub(length);
    Ok(StagedFile { length, root, origin: length, peers: 0, wasted, audited: 0, witnesses: None })
}

/// How many bytes of a piece are wanted.
fn useful(stretches: Option<&Stretches>, piece: &Range<u64>) -> u64 {
    match stretches {
        None => piece.end - piece.start,
        Some(stretches) => stretches.placed(piece.clone()).map(|(bytes, _)| bytes.end - bytes.start).sum(),
    }
}

/// Shows all of a file from its beginning.
fn read_again(mut file: &File, mut show: impl FnMut(&[u8])) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => show(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes all bytes at their place; on a full disk the cache gives way as long as it can.
fn write_all(file: &File, mut bytes: &[u8], mut at: u64, order: &StreamOrder) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => (bytes, at) = (&bytes[count..], at + count as u64),
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
