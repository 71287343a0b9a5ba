//! The verified runs of a peer into the store.
//!
//! The peer room has checked who signed the hashes; the store's writer holds every block against them before a byte of it is
//! written. What fails here costs the peer its place and nothing else.

use super::audit::put_aside;
use super::failure;
use super::open::OpenEntity;
use super::progress::Progress;
use super::sink::Sink;
use crate::peer::{AskError, PeerRead, Peers, Piece, ReadFailure, Vouching};
use eddy_cache::{Source, StoredStatement};
use eddy_content::{BlockHash, BlockSet, Entity, LookupKey};
use eddy_engine::port::{FetchOutcome, PeerFault, Proof, Reach};
use eddy_engine::{Input, Peer};
use eddy_wire::node_id::NodeId;
use eddy_wire::statement::Claim;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What a fetch from a peer is told.
#[derive(Debug)]
pub struct PeerFetch {
    /// From whom.
    pub peer: Peer,
    /// The blocks to bring.
    pub blocks: Range<u32>,
    /// Whose word they need.
    pub proof: Proof,
    /// Whether it may still be receiving them.
    pub reach: Reach,
}

/// Asks a peer which blocks it holds; none when it has none, will not say, or says what cannot be.
pub async fn ask(peers: &Peers, peer: Peer, entity: &Entity) -> BlockSet {
    ask_about(peers, peer, (peers.lookup_key(entity), entity.length), &entity.url).await
}

/// The same of what is known by its key and length; `name` is what people are told.
pub async fn ask_about(
    peers: &Peers,
    peer: Peer,
    (key, length): (LookupKey, u64),
    name: &(impl Display + Sync),
) -> BlockSet {
    match peers.ask(NodeId(peer.0), key).await {
        Ok(Some((said, blocks))) if said == length => blocks,
        Ok(_) => BlockSet::new(),
        Err(error) => {
            tracing::debug!(peer = %NodeId(peer.0), %error, "a peer did not answer");
            if let AskError::Lied(lie) = &error {
                peers.blame(NodeId(peer.0), &format!("{lie}, of {name}"));
            }
            BlockSet::new()
        }
    }
}

/// Reads blocks of the open entity from a peer and stores them; where one member's word is not enough, those of others are
/// asked for first.
pub async fn fetch(
    peers: &Peers,
    open: &OpenEntity,
    fetch: PeerFetch,
    (progress, inputs): (&mut Progress, &mpsc::Sender<Input>),
    cancel: &CancellationToken,
) -> FetchOutcome {
    let reader = Reader { peers, open, node: NodeId(fetch.peer.0), reach: fetch.reach, inputs, cancel };
    if fetch.proof.needed <= 1 {
        return reader.read(fetch.blocks, None, progress).await;
    }
    let vouching = tokio::select! {
        biased;
        () = cancel.cancelled() => return FetchOutcome::Aborted,
        vouching = peers.vouch(open.entity.entity(), fetch.blocks.clone(), &fetch.proof) => vouching,
    };
    let unmet = BlockSet::from_run(fetch.blocks).difference(&vouching.met);
    if !unmet.is_empty() {
        let speaks_of_it = |claim: &Claim| !unmet.intersection(&BlockSet::from_run(claim.blocks())).is_empty();
        peers.await_origin(open.entity.entity(), vouching.claims.iter().filter(|c| speaks_of_it(c)).cloned().collect());
    }
    // Those of others are kept with the blocks as well: they are what makes them stand on more than one word.
    keep(open, &vouching);
    for run in vouching.met.runs() {
        let outcome = reader.read(run, Some(&vouching.hashes), progress).await;
        if outcome != FetchOutcome::Done {
            return outcome;
        }
    }
    if unmet.is_empty() { FetchOutcome::Done } else { FetchOutcome::Unwitnessed(unmet) }
}

/// Keeps the statements that agree about the blocks that will be stored.
fn keep(open: &OpenEntity, vouching: &Vouching) {
    let agrees = |claim: &&Claim| {
        let met = vouching.met.intersection(&BlockSet::from_run(claim.blocks()));
        !met.is_empty()
            && met.runs().flatten().all(|block| claim.hash_of(block).as_ref() == vouching.hashes.get(&block))
    };
    let stored = |claim: &Claim| {
        let run = claim.blocks();
        let (first_block, count) = (run.start, run.end - run.start);
        StoredStatement { first_block, count, bytes: claim.endorsed.encode() }
    };
    let statements: Vec<_> = vouching.claims.iter().filter(agrees).map(stored).collect();
    open.entity.put_statements(&statements);
}

/// The hashes that enough members signed, where one is not enough.
type Vouched<'a> = Option<&'a BTreeMap<u32, BlockHash>>;

/// Reads from one member into one open file.
struct Reader<'a> {
    peers: &'a Peers,
    open: &'a OpenEntity,
    node: NodeId,
    reach: Reach,
    inputs: &'a mpsc::Sender<Input>,
    cancel: &'a CancellationToken,
}

impl Reader<'_> {
    /// Reads one run of at most 256 blocks.
    async fn read(&self, blocks: Range<u32>, vouched: Vouched<'_>, progress: &mut Progress) -> FetchOutcome {
        let (peers, open, node) = (self.peers, self.open, self.node);
        let entity = open.entity.entity();
        let reading = async {
            match self.reach {
                Reach::Held => peers.read(node, entity, blocks.clone()).await,
                Reach::Coming => peers.follow(node, entity, blocks.clone()).await,
            }
        };
        let reading = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return FetchOutcome::Aborted,
            reading = reading => reading,
        };
        let mut reading = match reading {
            Ok(reading) => reading,
            Err(failure) => return judge(peers, node, open, &failure),
        };
        let mut sink = Sink::start(open, Source::Peer { node: node.0 }).reaching(self.reach);
        let outcome = loop {
            let Some(next) = self.next(&mut reading, progress).await else { break FetchOutcome::Aborted };
            let is_taken = match next {
                Ok(Some(Piece::Run { first_block, hashes, statements, claims })) => {
                    if !self.may_take((first_block, &hashes), claims, vouched).await {
                        break FetchOutcome::Unwitnessed(BlockSet::from_run(first_block..blocks.end));
                    }
                    sink.begin_verified(first_block, hashes, statements).await
                }
                Ok(Some(Piece::Bytes(bytes))) => {
                    let length = bytes.iter().map(|chunk| chunk.len() as u64).sum();
                    if reading.has_all() {
                        progress.count_last(length);
                    } else {
                        progress.count(length).await;
                    }
                    if sink.is_behind() {
                        // While the disk is waited for, the engine should know what has come.
                        progress.flush().await;
                    }
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
        let written = progress.flush_with(sink.finish()).await;
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

    /// What comes next, `None` when the fetch is cancelled. A peer that goes silent is given up by the engine, which must know by
    /// then what it has brought.
    async fn next(
        &self,
        reading: &mut PeerRead,
        progress: &mut Progress,
    ) -> Option<Result<Option<Piece>, ReadFailure>> {
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                next = reading.next() => return Some(next),
                () = progress.due() => progress.flush().await,
            }
        }
    }

    /// Whether a run may be taken: enough members signed these hashes, and they contradict nothing that is held. If they do, the
    /// blocks about which only the origin can decide are put aside.
    async fn may_take(
        &self,
        (first_block, hashes): (u32, &[BlockHash]),
        claims: Vec<Claim>,
        vouched: Vouched<'_>,
    ) -> bool {
        let is_vouched = |vouched: &BTreeMap<u32, BlockHash>| {
            (first_block..).zip(hashes).all(|(block, hash)| vouched.get(&block) == Some(hash))
        };
        if !vouched.is_none_or(is_vouched) {
            self.peers.await_origin(self.open.entity.entity(), claims);
            return false;
        }
        let disputed = self.peers.dispute(&self.open.entity, claims).await;
        let is_agreed = disputed.is_empty();
        put_aside(self.open, disputed, self.inputs).await;
        is_agreed
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
