//! A segment on its way to a member while it is still on its way to this node: each run leaves as soon as it is verified.
//!
//! What this node reads from the origin it signs in runs of 256 KiB at the same places for everybody, so that each member can pass
//! a run on when it has it, with the statement that came with it.

use super::ask::find;
use super::guest::Guest;
use super::offer::{Portion, Proof};
use super::pace::{Pace, STEP};
use super::read::{header, relayable};
use super::{Abandon, Server, Shared};
use crate::peer::conduct::Asked;
use crate::peer::gate::FromMember;
use crate::transfer::open::Arrivals;
use bytes::Bytes;
use eddy_cache::EntityHandle;
use eddy_content::{BlockSet, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply};
use quinn::SendStream;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Blocks of one own statement: what a member must have before it can pass any of it on.
const RUN: u32 = 4;
/// How often it is looked for blocks that nobody told of: their job may have changed hands.
const LOOK: Duration = Duration::from_millis(250);

/// What can be sent next.
enum Next {
    /// A run of blocks with its header.
    Run { header: Bytes, bytes: Bytes, end: u32 },
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
        let outcome = self.send_as_it_comes(node, (&handle, key, &arrivals), (blocks, whole), send).await;
        tell_served(gate, FromMember::Served { node, key, segment }).await;
        outcome
    }

    async fn send_as_it_comes(
        &self,
        node: NodeId,
        (handle, key, arrivals): (&EntityHandle, LookupKey, &Arrivals),
        (blocks, whole): (Range<u32>, Range<u32>),
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
                let (handle, rest, whole) = (handle.clone(), at..blocks.end, whole.clone());
                self.blocking(move |shared| next(shared, &handle, key, rest, whole)).await??
            };
            match next {
                Next::Run { header, bytes, end } => {
                    for mut part in [header, bytes] {
                        while !part.is_empty() {
                            let step = part.split_to(part.len().min(STEP));
                            self.upload.turn(node, step.len()).await?;
                            pace.wait(step.len(), send.write_chunk(step)).await??;
                        }
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
}

/// The room that hears of it is gone only when the node stops.
async fn tell_served(gate: &mpsc::Sender<FromMember>, served: FromMember) {
    let _ = gate.send(served).await;
}

/// What can be sent of `rest`, which lies in the segment of the blocks `whole`.
fn next(
    shared: &Shared,
    handle: &EntityHandle,
    key: LookupKey,
    rest: Range<u32>,
    whole: Range<u32>,
) -> Result<Next, Abandon> {
    let (readable, here) = handle.readable();
    if !readable.contains(rest.start) {
        return Ok(Next::Coming);
    }
    let fault = |error: eddy_cache::ReadError| Abandon::Fault(error.to_string());
    let (portion, statements) = if here.contains(rest.start) {
        match own(&readable, &here, rest, &whole) {
            Some(send) => (Portion { send, proof: Proof::Own }, Vec::new()),
            None => return Ok(Next::Coming),
        }
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
    let mut bytes = Vec::new();
    handle.read_as(told.first, &told.hashes, &mut bytes).map_err(fault)?;
    Ok(Next::Run { header, bytes: Bytes::from(bytes), end: portion.send.end })
}

/// The blocks that this node signs for next; none while the run of them that everybody gets is not complete.
fn own(readable: &BlockSet, here: &BlockSet, rest: Range<u32>, whole: &Range<u32>) -> Option<Range<u32>> {
    let begun = (rest.start - whole.start) / RUN;
    let full = (whole.start + (begun + 1) * RUN).min(rest.end);
    let end = (rest.start..full).find(|block| !here.contains(*block)).unwrap_or(full);
    // A run whose rest came from somebody else ends early.
    (end == full || readable.contains(end)).then_some(rest.start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_runs_lie_at_the_same_places_for_everybody() {
        let all = BlockSet::from_run(0..64);
        let whole = 16..32;
        assert_eq!(own(&all, &all, 16..32, &whole), Some(16..20));
        assert_eq!(own(&all, &all, 17..32, &whole), Some(17..20));
        assert_eq!(own(&all, &all, 28..31, &(16..31)), Some(28..31), "the last one ends with its segment");
    }

    #[test]
    fn a_run_waits_for_its_rest_unless_that_came_from_somebody_else() {
        let (three, four) = (BlockSet::from_run(0..3), BlockSet::from_run(0..4));
        assert_eq!(own(&three, &three, 0..16, &(0..16)), None);
        assert_eq!(own(&four, &three, 0..16, &(0..16)), Some(0..3));
    }
}
