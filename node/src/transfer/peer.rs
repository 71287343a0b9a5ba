//! The verified runs of a peer into the store.
//!
//! The peer room has checked who signed the hashes; the store's writer holds every block against them before a byte of it is
//! written. What fails here costs the peer its place and nothing else.

use super::failure;
use super::open::OpenEntity;
use super::progress::Progress;
use super::sink::Sink;
use crate::peer::{AskError, Peers, Piece, ReadFailure};
use eddy_cache::Source;
use eddy_content::{BlockSet, Entity};
use eddy_engine::Peer;
use eddy_engine::port::{FetchOutcome, PeerFault};
use eddy_wire::node_id::NodeId;
use std::ops::Range;
use tokio_util::sync::CancellationToken;

/// What a fetch from a peer is told.
#[derive(Debug)]
pub struct PeerFetch {
    /// From whom.
    pub peer: Peer,
    /// The blocks to bring.
    pub blocks: Range<u32>,
}

/// Asks a peer which blocks it holds; none when it has none, will not say, or says what cannot be.
pub async fn ask(peers: &Peers, peer: Peer, entity: &Entity) -> BlockSet {
    match peers.ask(NodeId(peer.0), peers.lookup_key(entity)).await {
        Ok(Some((length, blocks))) if length == entity.length => blocks,
        Ok(_) => BlockSet::new(),
        Err(error) => {
            tracing::debug!(peer = %NodeId(peer.0), %error, "a peer did not answer");
            if let AskError::Lied(lie) = &error {
                peers.blame(NodeId(peer.0), &format!("{lie}, of {}", entity.url));
            }
            BlockSet::new()
        }
    }
}

/// Reads blocks of the open entity from a peer and stores them.
pub async fn fetch(
    peers: &Peers,
    open: &OpenEntity,
    fetch: PeerFetch,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> FetchOutcome {
    let node = NodeId(fetch.peer.0);
    let reading = tokio::select! {
        biased;
        () = cancel.cancelled() => return FetchOutcome::Aborted,
        reading = peers.read(node, open.entity.entity(), fetch.blocks.clone()) => reading,
    };
    let mut reading = match reading {
        Ok(reading) => reading,
        Err(failure) => return judge(peers, node, open, &failure),
    };
    let sink = Sink::start(open, Source::Peer { node: fetch.peer.0 });
    let outcome = loop {
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => break FetchOutcome::Aborted,
            next = reading.next() => next,
        };
        let is_taken = match next {
            Ok(Some(Piece::Run { first_block, hashes, statements })) => {
                sink.begin_verified(first_block, hashes, statements).await
            }
            Ok(Some(Piece::Bytes(bytes))) => {
                progress.count(bytes.iter().map(|chunk| chunk.len() as u64).sum()).await;
                sink.push_all(bytes).await
            }
            Ok(None) => break FetchOutcome::Done,
            Err(failure) => break judge(peers, node, open, &failure),
        };
        if !is_taken {
            // The writing thread says why when it is asked for its end.
            break FetchOutcome::Done;
        }
    };
    drop(reading);
    progress.flush().await;
    let written = sink.finish().await;
    let committed = open.commit().await;
    match (written, committed) {
        (Err(fault), _) => {
            let outcome = failure::of_sink(&fault, true);
            if outcome == FetchOutcome::PeerFailed(PeerFault::Lied) {
                peers.blame(node, &format!("{fault}, of {}", open.entity.entity().url));
            }
            outcome
        }
        (Ok(()), Err(failure)) => FetchOutcome::Failed(failure),
        (Ok(()), Ok(())) => outcome,
    }
}

/// How a read that failed has ended; a proven lie is held against its teller (T-01).
fn judge(peers: &Peers, node: NodeId, open: &OpenEntity, failure: &ReadFailure) -> FetchOutcome {
    tracing::debug!(peer = %node, %failure, "a read from a peer failed");
    if let ReadFailure::Lied(lie) = failure {
        peers.blame(node, &format!("{lie}, of {}", open.entity.entity().url));
    }
    FetchOutcome::PeerFailed(match failure {
        ReadFailure::Lied(_) => PeerFault::Lied,
        ReadFailure::Busy => PeerFault::Busy,
        ReadFailure::NotHere => PeerFault::NotHere,
        ReadFailure::Stalled => PeerFault::Stalled,
        ReadFailure::Gone(_) | ReadFailure::Local(_) => PeerFault::Gone,
    })
}
