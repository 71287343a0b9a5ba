//! Blocks on their way to a member: for each portion a header with hashes and statements, then the bytes.
//!
//! Disk and hash work runs on blocking threads, one chunk ahead of what the connection takes.

use super::ask::find;
use super::offer::{Holdings, Portion, Proof};
use super::{Abandon, Server, Shared};
use crate::peer::belief::unix_now;
use crate::peer::config::CHUNK_BLOCKS;
use bytes::Bytes;
use eddy_cache::{EntityHandle, ReadError};
use eddy_content::{BLOCK_SIZE, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply, RunHeader, encode_frame};
use eddy_wire::statement::{EndorsedStatement, Expected};
use quinn::SendStream;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A reader has to take this much within [`crate::peer::config::Patience::reader`].
const STEP: usize = 64 * 1024;
/// Bytes a second that a reader has to take on average (T-05).
const SLOWEST: u64 = 16 * 1024;
/// Time in which the average is not looked at.
const GRACE: Duration = Duration::from_secs(5);

/// What is sent, in order.
struct Chunk {
    /// The frame that goes before it.
    header: Option<Bytes>,
    blocks: Range<u32>,
}

/// A chunk on its way from the disk.
struct Coming {
    header: Option<Bytes>,
    bytes: JoinHandle<Result<Bytes, ReadError>>,
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
        key: LookupKey,
        blocks: Range<u32>,
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        let plan = self.blocking(move |shared| plan(shared, key, blocks)).await?;
        let told_nothing = self.asks_too_much(node, usize::from(plan.is_none()));
        let Some(mut plan) = plan.filter(|_| !told_nothing) else {
            return self.say(send, &ReadReply::Refused(ReadRefusal::NotHere)).await;
        };
        let began = Instant::now();
        let mut sent = 0;
        let mut ahead = self.prepare(&mut plan);
        while let Some(Coming { header, bytes }) = ahead {
            let bytes = bytes.await.map_err(|error| Abandon::Fault(error.to_string()))?;
            let bytes = bytes.map_err(|error| Abandon::Fault(error.to_string()))?;
            ahead = self.prepare(&mut plan);
            for part in header.into_iter().chain([bytes]) {
                sent += part.len() as u64;
                self.hand_over(send, part).await?;
            }
            let counted = began.elapsed().saturating_sub(GRACE).as_secs();
            if sent < counted.saturating_mul(SLOWEST) {
                return Err(Abandon::Slow);
            }
        }
        self.say(send, &ReadReply::End).await
    }

    /// Begins to read the next chunk.
    fn prepare(&self, plan: &mut Plan) -> Option<Coming> {
        let chunk = plan.chunks.pop_front()?;
        let (shared, handle) = (Arc::clone(&self.shared), plan.handle.clone());
        let bytes = tokio::task::spawn_blocking(move || {
            let mut buffer = shared.pool.take();
            handle.read_run(chunk.blocks, &mut buffer)?;
            Ok(shared.pool.lend(buffer))
        });
        Some(Coming { header: chunk.header, bytes })
    }

    /// Gives bytes to the connection in steps, so that a reader which takes nothing is noticed.
    async fn hand_over(&self, send: &mut SendStream, mut bytes: Bytes) -> Result<(), Abandon> {
        while !bytes.is_empty() {
            let step = bytes.split_to(bytes.len().min(STEP));
            timeout(self.patience.reader, send.write_chunk(step)).await.map_err(|_| Abandon::Slow)??;
        }
        Ok(())
    }
}

/// Finds what can be served of a read; `None` when that is nothing.
fn plan(shared: &Shared, key: LookupKey, blocks: Range<u32>) -> Option<Plan> {
    let handle = find(shared, &key)?;
    let statements = relayable(shared, &handle, blocks.clone());
    let runs: Vec<_> = statements.iter().map(|endorsed| endorsed.signed.statement.blocks()).collect();
    let portions = Holdings {
        geometry: &handle.geometry(),
        held: &handle.held(),
        fetched_here: &handle.fetched_here(),
        statements: &runs,
    }
    .portions(blocks);
    let mut chunks = VecDeque::new();
    for portion in portions {
        let Some(header) = header(shared, &handle, key, &portion, &statements) else { continue };
        let mut header = Some(header);
        for start in portion.send.clone().step_by(CHUNK_BLOCKS as usize) {
            let end = start.saturating_add(CHUNK_BLOCKS).min(portion.send.end);
            chunks.push_back(Chunk { header: header.take(), blocks: start..end });
        }
    }
    handle.touch();
    (!chunks.is_empty()).then_some(Plan { handle, chunks })
}

/// The statements of others about any of `blocks`, without those of removed members.
fn relayable(shared: &Shared, handle: &EntityHandle, blocks: Range<u32>) -> Vec<EndorsedStatement> {
    let kept = handle.statements(blocks);
    let decoded = kept.iter().filter_map(|kept| EndorsedStatement::decode(&kept.bytes).ok());
    decoded.filter(|endorsed| !shared.believer.is_removed(&endorsed.signed.statement.signer)).collect()
}

/// The header of a portion; `None` when no member would believe it, so the portion is not sent.
fn header(
    shared: &Shared,
    handle: &EntityHandle,
    key: LookupKey,
    portion: &Portion,
    statements: &[EndorsedStatement],
) -> Option<Bytes> {
    let entity = handle.entity();
    let (endorsed, hashes) = match portion.proof {
        Proof::Own => {
            let hashes = handle.block_hashes(portion.send.clone()).ok()?;
            (shared.signer.statement(entity, key, portion.send.start, &hashes), hashes)
        }
        Proof::Relayed(place) => {
            let endorsed = statements.get(place)?.clone();
            let hashes = handle.block_hashes(endorsed.signed.statement.blocks()).ok()?;
            // Of another group, expired, or about bytes that were fetched again since and differ: not passed on, since
            // the reader would rightly take it for a lie of ours.
            let expected = Expected { group: shared.group, key, length: entity.length };
            let believed = shared.believer.believe(&endorsed, &expected, &hashes, unix_now());
            believed.inspect_err(|why| tracing::debug!(%why, "a statement is not passed on")).ok()?;
            (endorsed, hashes)
        }
    };
    let hashes_from = endorsed.signed.statement.first_block;
    let run = RunHeader { hashes_from, hashes, send: portion.send.clone(), statements: vec![endorsed] };
    encode_frame(&ReadReply::Run(run)).ok().map(Bytes::from)
}

const _: () = assert!(STEP as u64 == BLOCK_SIZE, "a reader is looked at once a block");
