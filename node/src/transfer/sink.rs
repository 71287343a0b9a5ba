//! The blocking half of a fetch: hash, verify, write.
//!
//! The block itself is verified in `eddy_cache::RunWriter`, before a byte of it is written; this is the thread around it.

use super::open::OpenEntity;
use bytes::Bytes;
use eddy_cache::{RunWriter, Source, StoredStatement, WriteError};
use eddy_content::BlockHash;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Pieces between the reactor and the disk: enough to ride out one slow write, little enough to hold in memory.
const QUEUE: usize = 16;

/// One thing for the writing thread.
#[derive(Debug)]
enum Piece {
    /// A run begins; from a peer with the hashes that its blocks must have.
    Run { first_block: u32, hashes: Option<Vec<BlockHash>>, statements: Vec<StoredStatement> },
    /// Bytes of the run, in order.
    Bytes(Bytes),
    /// The same, in many parts.
    Chunks(Vec<Bytes>),
}

/// Why the writing thread takes nothing more.
#[derive(Debug, thiserror::Error)]
pub enum SinkFault {
    /// A block was not what was promised, or the disk refused.
    #[error(transparent)]
    Write(WriteError),
    /// Bytes came before any run.
    #[error("bytes came before any run of blocks")]
    NoRun,
    /// The thread died.
    #[error("the writing thread died")]
    Died,
}

/// The reactor's end of a writing thread.
#[derive(Debug)]
pub struct Sink {
    pieces: mpsc::Sender<Piece>,
    thread: JoinHandle<Result<(), SinkFault>>,
}

impl Sink {
    /// Starts a writing thread for one fetch of the open file.
    #[must_use]
    pub fn start(open: &OpenEntity, source: Source) -> Self {
        let (pieces, queue) = mpsc::channel(QUEUE);
        let open = open.clone();
        let thread = tokio::task::spawn_blocking(move || write_all(&open, source, queue));
        Self { pieces, thread }
    }

    /// Begins a run of blocks from the origin.
    pub async fn begin(&self, first_block: u32) -> bool {
        self.pieces.send(Piece::Run { first_block, hashes: None, statements: Vec::new() }).await.is_ok()
    }

    /// Begins a run of blocks that must have these hashes; the statements are kept beside them.
    pub async fn begin_verified(
        &self,
        first_block: u32,
        hashes: Vec<BlockHash>,
        statements: Vec<StoredStatement>,
    ) -> bool {
        self.pieces.send(Piece::Run { first_block, hashes: Some(hashes), statements }).await.is_ok()
    }

    /// Hands bytes over; false when the thread takes nothing more, and [`Self::finish`] says why.
    ///
    /// Waits while the disk is behind. Not cancel safe: the bytes may be handed over or not.
    pub async fn push(&self, bytes: Bytes) -> bool {
        self.pieces.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// Hands over bytes that came in parts; otherwise as [`Self::push`].
    pub async fn push_all(&self, chunks: Vec<Bytes>) -> bool {
        self.pieces.send(Piece::Chunks(chunks)).await.is_ok()
    }

    /// Whether the next push waits for the disk.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.pieces.capacity() == 0
    }

    /// Ends the thread, keeping the whole blocks that were written.
    pub async fn finish(self) -> Result<(), SinkFault> {
        drop(self.pieces);
        self.thread.await.unwrap_or(Err(SinkFault::Died))
    }
}

fn write_all(open: &OpenEntity, source: Source, mut queue: mpsc::Receiver<Piece>) -> Result<(), SinkFault> {
    let mut writer: Option<RunWriter> = None;
    while let Some(piece) = queue.blocking_recv() {
        match piece {
            Piece::Run { first_block, hashes, statements } => {
                finish(open, writer.take())?;
                if !statements.is_empty() {
                    open.entity.put_statements(&statements);
                }
                let run = open.entity.writer(first_block, source, open.account());
                let run = match hashes {
                    Some(hashes) => run.expect(hashes),
                    None => run,
                };
                let run = match open.mirror() {
                    Some(mirror) => run.mirror(mirror),
                    None => run,
                };
                writer = Some(if open.is_followed() { run.promptly() } else { run });
            }
            Piece::Bytes(bytes) => {
                let writer = writer.as_mut().ok_or(SinkFault::NoRun)?;
                writer.push(&bytes).map_err(SinkFault::Write)?;
                open.on_written(bytes.len() as u64);
            }
            Piece::Chunks(chunks) => {
                let writer = writer.as_mut().ok_or(SinkFault::NoRun)?;
                for chunk in &chunks {
                    writer.push(chunk).map_err(SinkFault::Write)?;
                }
                open.on_written(chunks.iter().map(|chunk| chunk.len() as u64).sum());
            }
        }
    }
    finish(open, writer)
}

fn finish(open: &OpenEntity, writer: Option<RunWriter>) -> Result<(), SinkFault> {
    let Some(writer) = writer else { return Ok(()) };
    writer.finish().map_err(SinkFault::Write)?;
    // The last blocks are written only now.
    open.on_written(0);
    Ok(())
}
