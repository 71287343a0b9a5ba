//! A segment on its way to a member while it is still on its way to this node: each run leaves as soon as it is verified.
//!
//! What this node reads from the origin it signs block by block, so that each member can pass a block on when it has it, with the statement
//! that came with it. Statements over more would be fewer, but each member on the way waits for all that one speaks of: where a line of
//! 50 Mbit/s carries ten segments, 256 KiB take half a second at each. Of a content beyond 2 GiB runs are longer all the same
//! ([`signed_together`]): each member keeps all statements, and has nothing to show for blocks whose statement found no room.

use super::ask::find;
use super::guest::Guest;
use super::offer::{Portion, Proof, signed_together};
use super::pace::{Pace, STEP};
use super::read::{Told, header, relayable};
use super::{Abandon, Server, Shared};
use crate::peer::conduct::Asked;
use crate::peer::config::CHUNK_BLOCKS;
use crate::peer::gate::FromMember;
use crate::transfer::open::Arrivals;
use bytes::Bytes;
use eddy_cache::EntityHandle;
use eddy_content::LookupKey;
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply};
use quinn::SendStream;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often it is looked for blocks that nobody told of: their job may have changed hands.
const LOOK: Duration = Duration::from_millis(250);

/// What can be sent next.
enum Next {
    /// A run of blocks with its header. Of a long one the first bytes; the rest is read when it is their turn.
    Run { header: Bytes, bytes: Bytes, rest: Vec<Told>, end: u32 },
    /// It is still on its way.
    Coming,
    /// It is here, and nobody signs for it.
    Unsigned,
}

impl Server {
    /// Serves a segment from a block on.
    pub(super) async fn follow(
        &self,
        node: NodeId,
        guest: &Guest,
        (key, blocks): (LookupKey, Range<u32>),
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        let (Some(gate), Ok(_mine)) = (self.gate.get(), guest.follows.try_acquire()) else {
            return self.say(send, &ReadReply::Refused(ReadRefusal::Busy)).await;
        };
        let found = self.blocking(move |shared| find(shared, &key)).await?;
        let Some(handle) = found.filter(|handle| blocks.start < handle.geometry().block_count()) else {
            gate.send(FromMember::Missing { key }).await.map_err(|_| Abandon::Unwanted)?;
            self.asks_too_much(node, Asked::Swarm, 1);
            return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await;
        };
        let geometry = handle.geometry();
        let segment = geometry.segment_of(blocks.start);
        let whole = geometry.blocks_of_segment(segment);
        if blocks.end > whole.end {
            return Err(Abandon::Malformed("a wish for more than one segment".to_owned()));
        }
        let (answer, answered) = oneshot::channel();
        let wish = FromMember::Wish { node, key, segment, from: blocks.start - whole.start, answer };
        gate.send(wish).await.map_err(|_| Abandon::Unwanted)?;
        let Ok(Some(arrivals)) = answered.await else {
            return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await;
        };
        let outcome = self.send_as_it_comes(node, (&handle, key, &arrivals), blocks, send).await;
        tell_served(gate, FromMember::Served { node, key, segment }).await;
        outcome
    }

    async fn send_as_it_comes(
        &self,
        node: NodeId,
        (handle, key, arrivals): (&EntityHandle, LookupKey, &Arrivals),
        blocks: Range<u32>,
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        let mut pace = Pace::new(&self.patience);
        let mut stopped = pin!(send.stopped());
        let mut at = blocks.start;
        while at < blocks.end {
            let mut arrival = pin!(arrivals.next());
            arrival.as_mut().enable();
            let next = {
                let _turn = self.disk.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
                let (handle, rest) = (handle.clone(), at..blocks.end);
                self.blocking(move |shared| next(shared, &handle, key, rest)).await??
            };
            match next {
                Next::Run { header, bytes, rest, end } => {
                    for part in [header, bytes] {
                        self.pass_on((node, &mut pace), part, send).await?;
                    }
                    for told in rest {
                        let bytes = {
                            let _turn = self.disk.acquire().await.map_err(|error| Abandon::Fault(error.to_string()))?;
                            let handle = handle.clone();
                            self.blocking(move |_| bytes_of(&handle, &told)).await??
                        };
                        self.pass_on((node, &mut pace), bytes, send).await?;
                    }
                    at = end;
                }
                Next::Coming => tokio::select! {
                    biased;
                    _ = &mut stopped => return Err(Abandon::Unwanted),
                    () = arrival => {}
                    () = tokio::time::sleep(LOOK) => {}
                },
                Next::Unsigned => return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await,
            }
        }
        self.say(send, &ReadReply::End).await
    }

    /// Gives bytes to the connection in steps, each when its turn has come.
    async fn pass_on(
        &self,
        (node, pace): (NodeId, &mut Pace),
        mut bytes: Bytes,
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP));
            self.upload.turn(node, step.len()).await?;
            pace.wait(step.len(), send.write_chunk(step)).await??;
        }
        Ok(())
    }
}

/// The room that hears of it is gone only when the node stops.
async fn tell_served(gate: &mpsc::Sender<FromMember>, served: FromMember) {
    let _ = gate.send(served).await;
}

/// What can be sent of `rest`, which lies in one segment.
fn next(shared: &Shared, handle: &EntityHandle, key: LookupKey, rest: Range<u32>) -> Result<Next, Abandon> {
    let (readable, here) = handle.readable();
    if !readable.contains(rest.start) {
        return Ok(Next::Coming);
    }
    let (portion, statements) = if here.contains(rest.start) {
        let mut run = signed_together(&handle.geometry(), rest.start);
        run.end = run.end.min(rest.end);
        // What comes from elsewhere meanwhile others have signed.
        if let Some(other) = run.clone().find(|block| !here.contains(*block)) {
            if !readable.contains(other) {
                return Ok(Next::Coming);
            }
            run.end = other;
        }
        (Portion { send: run, proof: Proof::Own }, Vec::new())
    } else {
        let statements = relayable(shared, handle, rest.start..rest.start + 1);
        let runs = statements.iter().map(|endorsed| endorsed.signed.statement.blocks()).enumerate();
        let mut is_signed = false;
        let mut best: Option<(usize, u32)> = None;
        for (place, run) in runs.filter(|(_, run)| run.contains(&rest.start)) {
            is_signed = true;
            if readable.contains_run(run.clone()) && best.is_none_or(|(_, end)| run.end > end) {
                best = Some((place, run.end));
            }
        }
        match best {
            Some((place, end)) => {
                (Portion { send: rest.start..end.min(rest.end), proof: Proof::Relayed(place) }, statements)
            }
            None if is_signed => return Ok(Next::Coming),
            None => return Ok(Next::Unsigned),
        }
    };
    let Some((header, told)) = header(shared, handle, key, &portion, &statements) else { return Ok(Next::Unsigned) };
    let firsts = (told.first..).step_by(CHUNK_BLOCKS as usize);
    let chunks = firsts.zip(told.hashes.chunks(CHUNK_BLOCKS as usize));
    let mut chunks = chunks.map(|(first, hashes)| Told { first, hashes: hashes.to_vec() });
    let bytes = chunks.next().map(|told| bytes_of(handle, &told)).transpose()?.unwrap_or_default();
    Ok(Next::Run { header, bytes, rest: chunks.collect(), end: portion.send.end })
}

/// The bytes of blocks, each held against the hash that the header says of it.
fn bytes_of(handle: &EntityHandle, told: &Told) -> Result<Bytes, Abandon> {
    let mut bytes = Vec::new();
    let read = handle.read_as(told.first, &told.hashes, &mut bytes);
    read.map_err(|error| Abandon::Fault(error.to_string()))?;
    Ok(Bytes::from(bytes))
}
