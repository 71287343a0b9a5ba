//! Blocks on their way to a member: for each portion a header with hashes and statements, then the bytes.
//!
//! Disk and hash work runs on blocking threads, two chunks ahead of what the connection takes. What a read has in memory,
//! prepared or unacknowledged, is its place's window ([`Place::window`]).

use super::ask::find;
use super::guest::{DiskTurns, Guest};
use super::offer::{Holdings, Portion, Proof};
use super::pace::{Pace, STEP};
use super::places::Place;
use super::pool::Room;
use super::{Abandon, Server, Shared};
use crate::peer::belief::unix_now;
use crate::peer::conduct::Asked;
use crate::peer::config::CHUNK_BLOCKS;
use bytes::Bytes;
use eddy_cache::EntityHandle;
use eddy_content::{BLOCK_SIZE, BlockHash, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply, RunHeader, encode_frame};
use eddy_wire::statement::{EndorsedStatement, Expected};
use quinn::SendStream;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

/// Chunks that are read before the connection takes them.
const PREPARED: usize = 2;

/// What is sent, in order.
struct Chunk {
    /// The frame that goes before it.
    header: Option<Bytes>,
    blocks: Told,
}

/// Blocks of which a header has said, or will say, what they are. What follows it has to be that, whatever becomes of them meanwhile.
pub(super) struct Told {
    pub(super) first: u32,
    pub(super) hashes: Vec<BlockHash>,
}

impl Told {
    /// The block behind the last one.
    pub(super) fn end(&self) -> u32 {
        self.first.saturating_add(u32::try_from(self.hashes.len()).unwrap_or(u32::MAX))
    }

    /// Cuts off what lies behind so many blocks.
    pub(super) fn split_off(&mut self, blocks: u32) -> Self {
        let at = self.hashes.len().min(blocks as usize);
        let hashes = self.hashes.split_off(at);
        Self { first: self.end(), hashes }
    }
}

/// A chunk that is read, or on its way from the disk.
enum Coming {
    Read(Result<Bytes, Abandon>),
    Reading(AbortOnDropHandle<Result<Bytes, Abandon>>),
}

impl Coming {
    async fn bytes(self) -> Result<Bytes, Abandon> {
        match self {
            Self::Read(read) => read,
            Self::Reading(reading) => reading.await.map_err(fault)?,
        }
    }
}

/// A read of one block that can be served without a change of threads.
struct AtHand {
    handle: EntityHandle,
    block: Told,
    /// It leaves before the block.
    header: Bytes,
}

/// A read that can be served.
struct Plan {
    handle: EntityHandle,
    chunks: VecDeque<Chunk>,
}

impl Server {
    /// Serves one read.
    pub(super) async fn read(
        &self,
        node: NodeId,
        (guest, place): (&Guest, &Place),
        (key, blocks): (LookupKey, Range<u32>),
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        let window = Arc::new(Semaphore::new(place.window()));
        if !self.asks_too_much(node, Asked::Question, 0)
            && let Some(at_hand) = self.at_hand(key, &blocks)
        {
            return self.give_at_hand((node, guest, place), &window, at_hand, send).await;
        }
        let mut coming = VecDeque::with_capacity(PREPARED);
        // A short read is planned and read in one go: each change of threads costs it more than its disk and hash work. So one of a
        // single block waits for its turn first.
        let turns = match guest.disk_turns(&self.disk) {
            None if blocks.end - blocks.start == 1 => Some(guest.wait_for_disk(&self.disk).await.map_err(fault)?),
            turns => turns,
        };
        let room = Arc::clone(&window).try_acquire_owned().ok().map(|room| (place.seat(), room));
        let planned = self.blocking(move |shared| {
            let mut plan = plan(shared, key, blocks)?;
            let first = turns.zip(room).and_then(|(turns, room)| {
                let mut chunk = plan.chunks.pop_front()?;
                Some((chunk.header.take(), load(shared, &plan.handle, &chunk.blocks, turns, room)))
            });
            Some((plan, first))
        });
        let planned = planned.await?;
        let told_nothing = self.asks_too_much(node, Asked::Question, usize::from(planned.is_none()));
        let Some((mut plan, first)) = planned.filter(|_| !told_nothing) else {
            return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await;
        };
        coming.extend(first.map(|(header, read)| (header, Coming::Read(read))));
        let mut pace = Pace::new(&self.patience);
        loop {
            while coming.len() < PREPARED && !plan.chunks.is_empty() {
                let room = match Arc::clone(&window).try_acquire_owned() {
                    Ok(room) => room,
                    Err(_) if !coming.is_empty() => break,
                    Err(_) => pace.wait(0, place.waiting(room_in(&window))).await??,
                };
                coming.extend(self.prepare(guest, &mut plan, (place.seat(), room)));
            }
            let Some((header, bytes)) = coming.pop_front() else { break };
            let bytes = bytes.bytes().await?;
            if coming.is_empty() && plan.chunks.is_empty() && bytes.len() <= STEP {
                let parts = [header.unwrap_or_default(), bytes, end()?];
                return self.hand_over_together((node, &mut pace), place, send, parts).await;
            }
            for part in header.into_iter().chain([bytes]) {
                self.hand_over((node, &mut pace), place, send, part).await?;
            }
        }
        self.say(send, &ReadReply::End).await
    }

    /// What a read of one block begins with, where that can be told without a change of threads, which would take longer than the
    /// rest: the entity was read a moment ago, and the hash lies in memory.
    fn at_hand(&self, key: LookupKey, blocks: &Range<u32>) -> Option<AtHand> {
        if blocks.end - blocks.start != 1 {
            return None;
        }
        let shared = &*self.shared;
        let handle = shared.warm.at_hand(&key)?;
        let (portions, statements) = portions(shared, &handle, blocks.clone());
        let [portion] = portions.as_slice() else { return None };
        let run = run_of(shared, (&handle, key), portion, &statements, |run| handle.hashes_at_hand(run))?;
        let hashes = run.hashes_of(blocks.clone())?.to_vec();
        Some(AtHand { handle, block: Told { first: blocks.start, hashes }, header: frame_of(run)? })
    }

    /// Gives one block behind its header, in one write: what leaves by itself is one packet, one acknowledgement and one wake-up more at
    /// each end, and the reader has the header with the first packets either way.
    async fn give_at_hand(
        &self,
        (node, guest, place): (NodeId, &Guest, &Place),
        window: &Arc<Semaphore>,
        AtHand { handle, block, header }: AtHand,
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        let mut pace = Pace::new(&self.patience);
        let room = (place.seat(), room_in(window).await?);
        let at_hand = |buffer: &mut Vec<u8>| handle.read_at_hand(block.first, *block.hashes.first()?, buffer);
        let bytes = match self.shared.pool.fill(room, at_hand) {
            Ok(bytes) => bytes,
            Err(room) => {
                let turns = guest.wait_for_disk(&self.disk).await.map_err(fault)?;
                self.blocking(move |shared| load(shared, &handle, &block, turns, room)).await??
            }
        };
        self.hand_over_together((node, &mut pace), place, send, [header, bytes, end()?]).await
    }

    /// Gives the connection what is short, with its end: each write apart is a wake-up and, in the worst case, a packet.
    async fn hand_over_together(
        &self,
        (node, pace): (NodeId, &mut Pace),
        place: &Place,
        send: &mut SendStream,
        mut parts: [Bytes; 3],
    ) -> Result<(), Abandon> {
        let length = parts.iter().map(Bytes::len).sum();
        self.upload.turn(node, length).await?;
        pace.wait(length, place.waiting(send.write_all_chunks(&mut parts))).await??;
        Ok(())
    }

    /// Begins to read the next chunk; it waits for its turn at the disk.
    fn prepare(&self, guest: &Guest, plan: &mut Plan, room: Room) -> Option<(Option<Bytes>, Coming)> {
        let Chunk { header, blocks } = plan.chunks.pop_front()?;
        let (shared, handle) = (Arc::clone(&self.shared), plan.handle.clone());
        let reading = match guest.disk_turns(&self.disk) {
            Some(turns) => tokio::task::spawn_blocking(move || load(&shared, &handle, &blocks, turns, room)),
            None => {
                let turns = guest.wait_for_disk(&self.disk);
                tokio::spawn(async move {
                    let turns = turns.await.map_err(fault)?;
                    let load = tokio::task::spawn_blocking(move || load(&shared, &handle, &blocks, turns, room));
                    load.await.map_err(fault)?
                })
            }
        };
        Some((header, Coming::Reading(AbortOnDropHandle::new(reading))))
    }

    /// Gives bytes to the connection in steps, each when its turn has come, so that a reader which takes nothing is noticed.
    async fn hand_over(
        &self,
        (node, pace): (NodeId, &mut Pace),
        place: &Place,
        send: &mut SendStream,
        mut bytes: Bytes,
    ) -> Result<(), Abandon> {
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP));
            self.upload.turn(node, step.len()).await?;
            pace.wait(step.len(), place.waiting(send.write_chunk(step))).await??;
        }
        Ok(())
    }
}

/// Reads a chunk, each block held against the hash that its header says.
fn load(
    shared: &Shared,
    handle: &EntityHandle,
    blocks: &Told,
    _turns: DiskTurns,
    room: Room,
) -> Result<Bytes, Abandon> {
    let mut buffer = shared.pool.take();
    handle.read_as(blocks.first, &blocks.hashes, &mut buffer).map_err(fault)?;
    Ok(shared.pool.lend(buffer, room))
}

/// Waits until the reader has acknowledged a chunk.
async fn room_in(window: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Abandon> {
    Arc::clone(window).acquire_owned().await.map_err(fault)
}

pub(super) fn fault(error: impl std::fmt::Display) -> Abandon {
    Abandon::Fault(error.to_string())
}

/// Finds what can be served of a read; `None` when that is nothing.
fn plan(shared: &Shared, key: LookupKey, blocks: Range<u32>) -> Option<Plan> {
    let handle = find(shared, &key)?;
    let (portions, statements) = portions(shared, &handle, blocks);
    let mut chunks = VecDeque::new();
    for portion in portions {
        let hashes_of = |run| handle.readable_hashes(run).ok();
        let Some((header, told)) = header(shared, (&handle, key), &portion, &statements, hashes_of) else { continue };
        let mut header = Some(header);
        for (first, hashes) in
            (told.first..).step_by(CHUNK_BLOCKS as usize).zip(told.hashes.chunks(CHUNK_BLOCKS as usize))
        {
            let blocks = Told { first, hashes: hashes.to_vec() };
            chunks.push_back(Chunk { header: header.take(), blocks });
        }
    }
    handle.touch();
    shared.warm.keep(key, &handle);
    (!chunks.is_empty()).then_some(Plan { handle, chunks })
}

/// What can be sent of a read, and the statements of others that may prove it.
fn portions(shared: &Shared, handle: &EntityHandle, blocks: Range<u32>) -> (Vec<Portion>, Vec<EndorsedStatement>) {
    let statements = relayable(shared, handle, blocks.clone());
    let runs: Vec<_> = statements.iter().map(|endorsed| endorsed.signed.statement.blocks()).collect();
    let holdings = Holdings {
        geometry: &handle.geometry(),
        held: &handle.held(),
        fetched_here: &handle.fetched_here(),
        statements: &runs,
    };
    (holdings.portions(blocks), statements)
}

/// The frame behind the last block.
fn end() -> Result<Bytes, Abandon> {
    encode_frame(&ReadReply::End).map(Bytes::from).map_err(fault)
}

/// The statements of others about any of `blocks`, without those of removed members.
pub(super) fn relayable(shared: &Shared, handle: &EntityHandle, blocks: Range<u32>) -> Vec<EndorsedStatement> {
    let kept = handle.statements(blocks);
    let decoded = kept.iter().filter_map(|kept| EndorsedStatement::decode(&kept.bytes).ok());
    decoded.filter(|endorsed| !shared.believer.is_removed(&endorsed.signed.statement.signer)).collect()
}

/// The header of a portion, and what it says of the blocks; `None` when no member would believe it, so the portion is not sent, or when
/// there is no way to the hashes.
pub(super) fn header(
    shared: &Shared,
    (handle, key): (&EntityHandle, LookupKey),
    portion: &Portion,
    statements: &[EndorsedStatement],
    hashes_of: impl Fn(Range<u32>) -> Option<Vec<BlockHash>>,
) -> Option<(Bytes, Told)> {
    let run = run_of(shared, (handle, key), portion, statements, hashes_of)?;
    let hashes = run.hashes_of(portion.send.clone())?.to_vec();
    Some((frame_of(run)?, Told { first: portion.send.start, hashes }))
}

fn frame_of(run: RunHeader) -> Option<Bytes> {
    encode_frame(&ReadReply::Run(run)).ok().map(Bytes::from)
}

/// What a portion's header says, with a way to the hashes.
fn run_of(
    shared: &Shared,
    (handle, key): (&EntityHandle, LookupKey),
    portion: &Portion,
    statements: &[EndorsedStatement],
    hashes_of: impl Fn(Range<u32>) -> Option<Vec<BlockHash>>,
) -> Option<RunHeader> {
    let entity = handle.entity();
    let (endorsed, hashes) = match portion.proof {
        Proof::Own => {
            let hashes = hashes_of(portion.send.clone())?;
            (shared.signer.statement(entity, key, portion.send.start, &hashes), hashes)
        }
        Proof::Relayed(place) => {
            let endorsed = statements.get(place)?.clone();
            let hashes = hashes_of(endorsed.signed.statement.blocks())?;
            // Of another group, expired, or about bytes that were fetched again since and differ: not passed on, since
            // the reader would rightly take it for a lie of ours.
            let expected = Expected { group: shared.group, key, length: entity.length };
            let believed = shared.believer.believe(&endorsed, &expected, &hashes, unix_now());
            believed.inspect_err(|why| tracing::debug!(%why, "a statement is not passed on")).ok()?;
            (endorsed, hashes)
        }
    };
    let hashes_from = endorsed.signed.statement.first_block;
    Some(RunHeader { hashes_from, hashes, send: portion.send.clone(), statements: vec![endorsed] })
}

const _: () = assert!(STEP as u64 == BLOCK_SIZE, "a reader is looked at once a block");
