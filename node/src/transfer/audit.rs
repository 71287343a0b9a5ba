//! A second fetch: held blocks from the origin once more, to be held against what a member signed for.
//!
//! Its bytes are stored nowhere and delivered to nobody; the ledger counts them apart.

use crate::driver::ways::Dress;
use crate::origin::{Opened, Origin, OriginBody, OriginRequest};
use crate::peer::Peers;
use crate::swarm::{News, SwarmHandle};
use crate::transfer::failure;
use crate::transfer::open::OpenEntity;
use eddy_cache::LedgerEntry;
use eddy_content::http::{Asked, Known, Precondition};
use eddy_content::{BlockHash, BlockSet, Geometry, tree};
use eddy_engine::port::FetchOutcome;
use eddy_engine::{Failure, Input};
use std::ops::Range;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a second fetch is told.
#[derive(Debug)]
pub(crate) struct AuditOrder {
    /// The blocks to look at.
    pub(crate) blocks: Range<u32>,
    /// What the question shows of the job.
    pub(crate) dress: Dress,
    /// Who is told of a lie.
    pub(crate) swarm: Option<SwarmHandle>,
}

/// Looks at blocks of the open entity a second time. What turns out wrong is put aside, and told before this ends.
pub(crate) async fn audit(
    (origin, peers): (&Origin, &Peers),
    open: &OpenEntity,
    order: AuditOrder,
    inputs: &mpsc::Sender<Input>,
    cancel: &CancellationToken,
) -> FetchOutcome {
    let entity = open.entity.entity();
    let bytes = open.entity.geometry().bytes_of(order.blocks.clone());
    let asked = Asked::Range { first: bytes.start, last: Some(bytes.end.saturating_sub(1)) };
    let mut request = OriginRequest::new(entity.url.clone(), asked).about(Known::of(entity), Precondition::IfRange);
    order.dress.put_on(&mut request);
    let opened = tokio::select! {
        biased;
        () = cancel.cancelled() => return FetchOutcome::Aborted,
        opened = origin.open(&request) => opened,
    };
    let body = match opened {
        Ok(Opened::Body { span, body, .. }) if span.start == bytes.start => body,
        Ok(Opened::Body { .. }) => return FetchOutcome::NoRanges,
        Ok(Opened::Changed(_) | Opened::Unsatisfiable { .. }) => return FetchOutcome::Changed,
        Ok(Opened::Described { .. } | Opened::NotModified { .. }) => {
            let detail = "the server answered a range without a body";
            return FetchOutcome::Failed(Failure::transient("origin-protocol", detail));
        }
        Err(error) => return FetchOutcome::Failed(failure::of_origin(&error)),
    };
    let mut look =
        Look { geometry: open.entity.geometry(), blocks: order.blocks.clone(), truth: Vec::new(), received: 0 };
    let outcome = tokio::select! {
        biased;
        () = cancel.cancelled() => FetchOutcome::Aborted,
        outcome = look.take(body) => outcome,
    };
    book(open, LedgerEntry::Audited { account: open.account(), bytes: look.received }).await;
    if !look.truth.is_empty() {
        let wrong = first_wrong(open, order.blocks.start, look.truth.clone()).await;
        let doubted = peers.refute(&open.entity, order.blocks.start, look.truth).await;
        if let (Some(swarm), Some(block)) = (&order.swarm, wrong.filter(|block| doubted.contains(*block))) {
            swarm.tell(News::Lie { file: open.file, block }).await;
        }
        put_aside(open, doubted, inputs).await;
    }
    outcome
}

/// The first block that the origin gives otherwise than it is held.
async fn first_wrong(open: &OpenEntity, start: u32, truth: Vec<BlockHash>) -> Option<u32> {
    let handle = open.entity.clone();
    let compare = move || {
        let held = handle.block_hashes(start..start + truth.len() as u32).ok()?;
        (start..).zip(held.iter().zip(&truth)).find(|(_, (held, truth))| held != truth).map(|(block, _)| block)
    };
    tokio::task::spawn_blocking(compare).await.ok()?
}

/// The hashes of what the origin gives the second time.
struct Look {
    geometry: Geometry,
    blocks: Range<u32>,
    truth: Vec<BlockHash>,
    received: u64,
}

impl Look {
    async fn take(&mut self, mut body: OriginBody) -> FetchOutcome {
        let mut block = Vec::new();
        while self.truth.len() < self.blocks.len() {
            let mut piece = match body.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return FetchOutcome::Done,
                Err(error) => return FetchOutcome::Failed(failure::of_origin(&error)),
            };
            self.received += piece.len() as u64;
            while !piece.is_empty() && self.truth.len() < self.blocks.len() {
                let number = self.blocks.start + self.truth.len() as u32;
                let length = self.geometry.block_len(number);
                block.extend_from_slice(&piece.split_to(piece.len().min(length - block.len())));
                if block.len() == length {
                    let (geometry, whole) = (self.geometry, std::mem::take(&mut block));
                    let hashed = tokio::task::spawn_blocking(move || tree::hash_block(&geometry, number, &whole));
                    let Ok(hash) = hashed.await else {
                        return FetchOutcome::Failed(Failure::fatal("internal", "hashing a second fetch died"));
                    };
                    self.truth.push(hash);
                }
            }
        }
        FetchOutcome::Done
    }
}

/// Blocks of an open entity are not to be believed any more: puts them aside durably, then tells the engine.
pub async fn put_aside(open: &OpenEntity, doubted: BlockSet, inputs: &mpsc::Sender<Input>) {
    if doubted.is_empty() {
        return;
    }
    let (handle, blocks, account, room) = (open.entity.clone(), doubted.clone(), open.account(), open.room.clone());
    let aside = move || {
        let held = blocks.intersection(&handle.held());
        let bytes = held.runs().map(|run| handle.geometry().bytes_of(run)).map(|bytes| bytes.end - bytes.start).sum();
        handle.set_aside(&held);
        room.store.record(&[LedgerEntry::Doubted { account, bytes }])
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(aside).await {
        tracing::error!(%error, "the ledger does not know of blocks that were put aside");
    }
    let input = Input::Doubted { file: open.file, entity: open.entity.id(), blocks: doubted };
    // The driver is gone only when the node stops.
    let _ = inputs.send(input).await;
}

async fn book(open: &OpenEntity, entry: LedgerEntry) {
    let store = open.room.store.clone();
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.record(&[entry])).await {
        tracing::error!(%error, "the ledger does not know of a second fetch");
    }
}
