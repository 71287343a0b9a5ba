//! A segment on its way to a member while it is still on its way to this node: each run leaves as soon as it is verified.
//!
//! What this node reads from the origin it signs block by block, so that each member can pass a block on when it has it, with the statement
//! that came with it. Statements over more would be fewer, but each member on the way waits for all that one speaks of: where a line of
//! 50 Mbit/s carries ten segments, 256 KiB take half a second at each. Of a content beyond 2 GiB runs are longer all the same
//! ([`signed_together`]): each member keeps all statements, and has nothing to show for blocks whose statement found no room.

use super::ask::find;
use super::flow::{Flow, Room};
use super::guest::Guest;
use super::offer::{Portion, Proof, signed_together};
use super::pace::{Pace, STEP};
use super::read::{Told, fault, header, relayable};
use super::{Abandon, Server, Shared};
use crate::peer::conduct::Asked;
use crate::peer::gate::FromMember;
use crate::transfer::open::Arrivals;
use bytes::Bytes;
use eddy_cache::EntityHandle;
use eddy_content::{BlockSet, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply};
use eddy_wire::statement::EndorsedStatement;
use quinn::SendStream;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How often it is looked for blocks that nobody told of: their job may have changed hands.
const LOOK: Duration = Duration::from_millis(250);

/// What can be sent next.
enum Next {
    /// A run of blocks: its header, the first block, and what the header said of the others.
    Run { header: Bytes, first: Bytes, others: Told },
    /// It is still on its way: at least until this block is here.
    Coming { lacks: u32 },
    /// It is here, and nobody signs for it.
    Unsigned,
}

/// What can be passed on of a block that others signed.
#[derive(Debug, PartialEq, Eq)]
enum Relayed {
    By(Portion),
    /// A statement speaks of this block as well, which is not here yet.
    Lacking(u32),
    ByNobody,
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
        // Who asked for much in vain hears of nothing, also not of what is here (T-12).
        let told_nothing = self.asks_too_much(node, Asked::Swarm, usize::from(found.is_none()));
        if found.is_none() {
            gate.send(FromMember::Missing { key }).await.map_err(|_| Abandon::Unwanted)?;
        }
        let Some(handle) = found.filter(|_| !told_nothing) else {
            return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await;
        };
        let geometry = handle.geometry();
        if blocks.start >= geometry.block_count() {
            return Err(Abandon::Malformed("a wish for blocks behind the end".to_owned()));
        }
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
        let (flow, pace) = (Flow::new(&guest.flowing, &self.flowing), Pace::new(&self.patience));
        let taker = Taker { node, guest, flow, pace, send };
        let outcome = self.send_as_it_comes(taker, (&handle, key, &arrivals), blocks).await;
        tell_served(gate, FromMember::Served { node, key, segment }).await;
        outcome
    }

    async fn send_as_it_comes(
        &self,
        mut taker: Taker<'_>,
        (handle, key, arrivals): (&EntityHandle, LookupKey, &Arrivals),
        blocks: Range<u32>,
    ) -> Result<(), Abandon> {
        let mut stopped = pin!(taker.send.stopped());
        let mut at = blocks.start;
        // What has to come before it is worth a turn at the disk to look further: each arrival wakes all who follow.
        let mut lacks = at;
        while at < blocks.end {
            let mut arrival = pin!(arrivals.next());
            arrival.as_mut().enable();
            if !handle.is_readable(lacks) {
                lacks = tokio::select! {
                    biased;
                    _ = &mut stopped => return Err(Abandon::Unwanted),
                    () = arrival => lacks,
                    () = tokio::time::sleep(LOOK) => at,
                };
                continue;
            }
            let room = taker.room(1).await?;
            // What came a moment ago lies in memory.
            let next = match next_at_hand(&self.shared, (handle, key), at..blocks.end, room) {
                Ok(next) => next,
                Err(room) => {
                    let turns = taker.guest.wait_for_disk(&self.disk).await.map_err(fault)?;
                    let (entity, rest) = (handle.clone(), at..blocks.end);
                    let next = self.blocking(move |shared| {
                        let _turns = turns;
                        next(shared, (&entity, key), rest, room)
                    });
                    next.await??
                }
            };
            match next {
                Next::Run { header, first, others } => {
                    (at, lacks) = (others.end(), others.end());
                    self.give_together(&mut taker, [header, first]).await?;
                    self.give_others(&mut taker, handle, others).await?;
                }
                Next::Coming { lacks: block } if block != at => lacks = block,
                // It was put aside in this moment, or is read when it is durable.
                Next::Coming { .. } => tokio::select! {
                    biased;
                    _ = &mut stopped => return Err(Abandon::Unwanted),
                    () = arrival => {}
                    () = tokio::time::sleep(LOOK) => {}
                },
                Next::Unsigned => return self.say(taker.send, &ReadReply::Refused(ReadRefusal::NotHere)).await,
            }
        }
        self.say(taker.send, &ReadReply::End).await
    }

    /// Gives the blocks of a run whose header has left, as many at a time as there is room for.
    async fn give_others(&self, taker: &mut Taker<'_>, handle: &EntityHandle, mut others: Told) -> Result<(), Abandon> {
        while !others.hashes.is_empty() {
            let room = taker.room(others.end() - others.first).await?;
            let turns = taker.guest.wait_for_disk(&self.disk).await.map_err(fault)?;
            let later = others.split_off(room.blocks());
            let (entity, blocks) = (handle.clone(), std::mem::replace(&mut others, later));
            let load = self.blocking(move |_| {
                let _turns = turns;
                load(&entity, &blocks, room)
            });
            let bytes = load.await??;
            self.give(taker, bytes).await?;
        }
        Ok(())
    }

    /// Gives the connection a header and the block behind it: each write apart is a wake-up and, in the worst case, a packet.
    async fn give_together(&self, taker: &mut Taker<'_>, mut parts: [Bytes; 2]) -> Result<(), Abandon> {
        let length = parts.iter().map(Bytes::len).sum();
        self.upload.turn(taker.node, length).await?;
        taker.pace.wait(length, taker.send.write_all_chunks(&mut parts)).await??;
        Ok(())
    }

    /// Gives bytes to the connection in steps, each when its turn has come.
    async fn give(&self, taker: &mut Taker<'_>, mut bytes: Bytes) -> Result<(), Abandon> {
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP));
            self.upload.turn(taker.node, step.len()).await?;
            taker.pace.wait(step.len(), taker.send.write_chunk(step)).await??;
        }
        Ok(())
    }
}

/// Who follows a segment, and how it gets on.
struct Taker<'a> {
    node: NodeId,
    guest: &'a Guest,
    flow: Flow,
    pace: Pace,
    send: &'a mut SendStream,
}

impl Taker<'_> {
    /// Room for the next blocks: where there is none, what it has not acknowledged is waited for.
    async fn room(&mut self, most: u32) -> Result<Room, Abandon> {
        let stopped = self.send.stopped();
        tokio::select! {
            biased;
            // What it has not acknowledged stays where it is then, for as long as this one has the stream.
            _ = stopped => Err(Abandon::Unwanted),
            room = self.pace.wait(0, self.flow.room(most)) => room?.map_err(fault),
        }
    }
}

/// The room that hears of it is gone only when the node stops.
async fn tell_served(gate: &mpsc::Sender<FromMember>, served: FromMember) {
    let _ = gate.send(served).await;
}

/// What can be sent of `rest`, which lies in one segment, with its first block.
fn next(
    shared: &Shared,
    (handle, key): (&EntityHandle, LookupKey),
    rest: Range<u32>,
    room: Room,
) -> Result<Next, Abandon> {
    let (portion, statements) = match portion(shared, handle, &rest) {
        Ok(found) => found,
        Err(next) => return Ok(next),
    };
    let hashes_of = |run| handle.readable_hashes(run).ok();
    let Some((header, mut told)) = header(shared, (handle, key), &portion, &statements, hashes_of) else {
        return Ok(Next::Unsigned);
    };
    let others = told.split_off(1);
    Ok(Next::Run { header, first: load(handle, &told, room)?, others })
}

/// The same where it can be told without waiting for the disk, and so without a change of threads, which would take longer than the rest.
/// Else the room comes back.
fn next_at_hand(
    shared: &Shared,
    (handle, key): (&EntityHandle, LookupKey),
    rest: Range<u32>,
    room: Room,
) -> Result<Next, Room> {
    let (portion, statements) = match portion(shared, handle, &rest) {
        Ok(found) => found,
        Err(next) => return Ok(next),
    };
    let hashes_of = |run| handle.readable_hashes_at_hand(run);
    let run = header(shared, (handle, key), &portion, &statements, hashes_of).and_then(|(header, mut told)| {
        let (others, mut bytes) = (told.split_off(1), Vec::new());
        handle.read_at_hand(told.first, *told.hashes.first()?, &mut bytes)?;
        Some((header, bytes, others))
    });
    match run {
        Some((header, bytes, others)) => Ok(Next::Run { header, first: room.lend(bytes), others }),
        None => Err(room),
    }
}

/// What can be sent of `rest` next, with the statements of others of which one may be its proof; or why nothing can.
fn portion(
    shared: &Shared,
    handle: &EntityHandle,
    rest: &Range<u32>,
) -> Result<(Portion, Vec<EndorsedStatement>), Next> {
    let geometry = handle.geometry();
    let (readable, here) = handle.readable_of(geometry.blocks_of_segment(geometry.segment_of(rest.start)));
    if !readable.contains(rest.start) {
        return Err(Next::Coming { lacks: rest.start });
    }
    if here.contains(rest.start) {
        let mut run = signed_together(&geometry, rest.start);
        run.end = run.end.min(rest.end);
        // What comes from elsewhere meanwhile others have signed.
        if let Some(other) = run.clone().find(|block| !here.contains(*block)) {
            if !readable.contains(other) {
                return Err(Next::Coming { lacks: other });
            }
            run.end = other;
        }
        return Ok((Portion { send: run, proof: Proof::Own }, Vec::new()));
    }
    let statements = relayable(shared, handle, rest.start..rest.start + 1);
    let runs: Vec<_> = statements.iter().map(|endorsed| endorsed.signed.statement.blocks()).collect();
    // Some may speak of more than the segment.
    let first = runs.iter().map(|run| run.start).min().unwrap_or(rest.start);
    let end = runs.iter().map(|run| run.end).max().unwrap_or(rest.end);
    let (readable, _) = handle.readable_of(first..end);
    match relayed(&readable, &runs, rest) {
        Relayed::By(portion) => Ok((portion, statements)),
        Relayed::Lacking(block) => Err(Next::Coming { lacks: block }),
        Relayed::ByNobody => Err(Next::Unsigned),
    }
}

/// What of `rest` can be sent on the word of others, by the runs that they signed.
fn relayed(readable: &BlockSet, runs: &[Range<u32>], rest: &Range<u32>) -> Relayed {
    let (mut best, mut soonest) = (None, None::<(u32, u32)>);
    for (place, run) in runs.iter().enumerate().filter(|(_, run)| run.contains(&rest.start)) {
        let lacking = BlockSet::from_run(run.clone()).difference(readable);
        match lacking.first_run() {
            None if best.is_none_or(|(_, end)| run.end > end) => best = Some((place, run.end)),
            // The one that is whole the soonest, as far as one can tell.
            Some(first) if soonest.is_none_or(|(count, _)| lacking.len() < count) => {
                soonest = Some((lacking.len(), first.start));
            }
            _ => {}
        }
    }
    match (best, soonest) {
        (Some((place, end)), _) => {
            Relayed::By(Portion { send: rest.start..end.min(rest.end), proof: Proof::Relayed(place) })
        }
        (None, Some((_, block))) => Relayed::Lacking(block),
        (None, None) => Relayed::ByNobody,
    }
}

/// Reads blocks, each held against the hash that its header says.
fn load(handle: &EntityHandle, blocks: &Told, room: Room) -> Result<Bytes, Abandon> {
    let mut bytes = Vec::new();
    handle.read_as(blocks.first, &blocks.hashes, &mut bytes).map_err(fault)?;
    Ok(room.lend(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_that_is_whole_is_passed_on_and_else_one_block_of_the_shortest_is_waited_for() {
        let readable: BlockSet = [4..8, 9..16].into_iter().collect();
        let by = |place, send| Relayed::By(Portion { send, proof: Proof::Relayed(place) });
        assert_eq!(relayed(&readable, &[4..6, 2..9, 5..8, 9..12], &(5..16)), by(2, 5..8));
        let one = |run: Range<u32>, rest| relayed(&readable, std::slice::from_ref(&run), &rest);
        assert_eq!(one(9..16, 10..14), by(0, 10..14), "as far as it is wished for");
        assert_eq!(relayed(&readable, &[0..9, 4..10], &(5..16)), Relayed::Lacking(8));
        assert_eq!(one(9..12, 5..16), Relayed::ByNobody);
    }
}
