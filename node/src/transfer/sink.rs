//! The blocking half of a fetch: hash, verify, write.
//!
//! The block itself is verified in `eddy_cache::RunWriter`, before a byte of it is written; this is the thread around it. What is
//! less than a block waits for the fetch's end, or for more: a thread that is woken for each piece of a small object costs more than
//! the object. A small object that the store keeps in its index has no thread at all: writing it is a copy and a hash.

use super::failure;
use super::open::OpenEntity;
use bytes::Bytes;
use eddy_cache::{EntityHandle, RunWriter, Source, StoredStatement, WriteError};
use eddy_content::{BLOCK_SIZE, BlockHash};
use eddy_engine::Failure;
use eddy_engine::port::Reach;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Pieces between the reactor and the disk.
const QUEUE: usize = 16;

/// Bytes of them: pieces are as large as whoever sends makes them. What rides out a slow write is in the writer and in the kernel.
const MOST_QUEUED: usize = 1024 * 1024;

/// Room in the queue below which whoever comes next may have to wait: a piece of the usual size.
const USUAL: usize = 256 * 1024;

/// Bytes that wait without a thread, at most: those of a block that is not whole.
const LITTLE: usize = BLOCK_SIZE as usize;

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

impl Piece {
    fn parts(&self) -> &[Bytes] {
        match self {
            Self::Run { .. } => &[],
            Self::Bytes(bytes) => std::slice::from_ref(bytes),
            Self::Chunks(chunks) => chunks,
        }
    }

    fn length(&self) -> usize {
        self.parts().iter().map(Bytes::len).sum()
    }
}

/// A piece in the queue, and its room there.
type Queued = (Piece, OwnedSemaphorePermit);

/// What has come while that is little.
#[derive(Debug, Default)]
struct Little {
    /// Runs, each with the bytes that follow it: copied, so that a sender which cuts them small pins none of its packets.
    pieces: Vec<(Piece, Vec<u8>)>,
    length: usize,
}

impl Little {
    /// Takes a piece; false when that made it much.
    fn take(&mut self, piece: Piece) -> bool {
        self.length += piece.length();
        let is_little = self.length < LITTLE;
        match self.pieces.last_mut() {
            // What is much is not kept: it goes as it came, and is copied once, by the writer.
            Some((_, bytes)) if is_little && !matches!(piece, Piece::Run { .. }) => {
                piece.parts().iter().for_each(|part| bytes.extend_from_slice(part));
            }
            _ => self.pieces.push((piece, Vec::new())),
        }
        is_little && self.pieces.len() < QUEUE
    }

    fn into_pieces(self) -> impl Iterator<Item = Piece> {
        self.pieces.into_iter().flat_map(|(piece, bytes)| {
            let bytes = (!bytes.is_empty()).then(|| Piece::Bytes(bytes.into()));
            [Some(piece), bytes].into_iter().flatten()
        })
    }
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
    /// A statement about blocks from a peer found no room beside the others of the entity. Kept without it, they would look as if nobody
    /// had to be believed for them.
    #[error("no statement about blocks {} to {} can be kept any more", .blocks.start, .blocks.end)]
    Unkept {
        /// The blocks.
        blocks: Range<u32>,
    },
    /// What was written could not be made durable.
    #[error("{}", .0.detail)]
    Commit(Failure),
    /// The thread died.
    #[error("the writing thread died")]
    Died,
}

/// The reactor's end of a writing thread.
#[derive(Debug)]
pub struct Sink {
    open: OpenEntity,
    source: Source,
    /// Of a member: whether it may still be receiving what it gives.
    reach: Reach,
    state: State,
}

#[derive(Debug)]
enum State {
    /// There is no thread yet.
    Waiting(Little),
    Writing {
        pieces: mpsc::Sender<Queued>,
        room: Arc<Semaphore>,
        thread: JoinHandle<Result<(), SinkFault>>,
    },
}

impl Sink {
    /// The end of one fetch of the open file.
    #[must_use]
    pub fn start(open: &OpenEntity, source: Source) -> Self {
        Self { open: open.clone(), source, reach: Reach::Coming, state: State::Waiting(Little::default()) }
    }

    /// The same of what a member holds: whoever waits for that can have it from there, and is no reason to hurry.
    #[must_use]
    pub fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Begins a run of blocks from the origin.
    pub async fn begin(&mut self, first_block: u32) -> bool {
        self.hand_over(Piece::Run { first_block, hashes: None, statements: Vec::new() }).await
    }

    /// Begins a run of blocks that must have these hashes; the statements are kept beside them.
    pub async fn begin_verified(
        &mut self,
        first_block: u32,
        hashes: Vec<BlockHash>,
        statements: Vec<StoredStatement>,
    ) -> bool {
        self.hand_over(Piece::Run { first_block, hashes: Some(hashes), statements }).await
    }

    /// Hands bytes over; false when the thread takes nothing more, and [`Self::finish`] says why.
    ///
    /// Waits while the disk is behind. Not cancel safe: the bytes may be handed over or not.
    pub async fn push(&mut self, bytes: Bytes) -> bool {
        self.hand_over(Piece::Bytes(bytes)).await
    }

    /// Hands over bytes that came in parts; otherwise as [`Self::push`].
    pub async fn push_all(&mut self, chunks: Vec<Bytes>) -> bool {
        self.hand_over(Piece::Chunks(chunks)).await
    }

    async fn hand_over(&mut self, piece: Piece) -> bool {
        match &mut self.state {
            State::Writing { pieces, room, .. } => {
                let length = u32::try_from(piece.length().min(MOST_QUEUED)).unwrap_or(u32::MAX);
                // A thread that has ended gives its room back, and takes nothing more.
                let Ok(room) = Arc::clone(room).acquire_many_owned(length).await else { return false };
                pieces.send((piece, room)).await.is_ok()
            }
            State::Waiting(little) => {
                if !little.take(piece) {
                    let little = std::mem::take(little);
                    let (pieces, queue) = mpsc::channel(QUEUE);
                    let (room, thread) = (Arc::new(Semaphore::new(MOST_QUEUED)), self.write(little, Some(queue)));
                    self.state = State::Writing { pieces, room, thread };
                }
                true
            }
        }
    }

    /// Writes what has come, and then what comes. When nothing does, it is committed as well: the thread is at hand.
    fn write(&self, little: Little, queue: Option<mpsc::Receiver<Queued>>) -> JoinHandle<Result<(), SinkFault>> {
        let (open, source, reach) = (self.open.clone(), self.source, self.reach);
        tokio::task::spawn_blocking(move || {
            let is_all = queue.is_none();
            let coming = queue.into_iter().flat_map(|mut queue| std::iter::from_fn(move || queue.blocking_recv()));
            let coming = coming.map(|(piece, _room)| piece);
            write_all(&open, (source, reach), little.into_pieces().chain(coming))?;
            if is_all {
                let committed = open.entity.commit();
                committed.map_err(|error| SinkFault::Commit(failure::of_commit(&error, &open.room.directory)))?;
            }
            Ok(())
        })
    }

    /// Writes a small object, which goes to memory, and commits it: no thread waits for that but the store's own.
    async fn keep(&self, little: Little) -> Result<(), SinkFault> {
        write_all(&self.open, (self.source, self.reach), little.into_pieces())?;
        let (tell, told) = oneshot::channel();
        let entity = self.open.entity.clone();
        let committed = match entity.begin_commit(move |answer| drop(tell.send(answer))) {
            // A task of its own: it goes on when nobody waits for it any more.
            Some(pending) if pending.is_under_way() => tokio::spawn(async move { pending.end(told.await.ok()) }).await,
            Some(pending) => tokio::task::spawn_blocking(move || pending.wait()).await,
            None => tokio::task::spawn_blocking(move || entity.commit()).await,
        };
        match committed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(SinkFault::Commit(failure::of_commit(&error, &self.open.room.directory))),
            Err(_) => Err(SinkFault::Died),
        }
    }

    /// Whether the next push waits for the disk.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        match &self.state {
            State::Waiting(_) => false,
            State::Writing { pieces, room, .. } => pieces.capacity() == 0 || room.available_permits() < USUAL,
        }
    }

    /// Ends the thread, keeping the whole blocks that were written.
    pub async fn finish(mut self) -> Result<(), SinkFault> {
        let state = std::mem::replace(&mut self.state, State::Waiting(Little::default()));
        let thread = match state {
            State::Waiting(little) if little.pieces.is_empty() => return Ok(()),
            State::Waiting(little) if self.open.entity.is_in_index() => return self.keep(little).await,
            State::Waiting(little) => self.write(little, None),
            State::Writing { pieces, thread, .. } => {
                // Nothing more comes.
                drop(pieces);
                thread
            }
        };
        thread.await.unwrap_or(Err(SinkFault::Died))
    }
}

fn write_all(
    open: &OpenEntity,
    (source, reach): (Source, Reach),
    pieces: impl Iterator<Item = Piece>,
) -> Result<(), SinkFault> {
    let mut writer: Option<RunWriter> = None;
    for piece in pieces {
        if let Piece::Run { first_block, hashes, statements } = piece {
            finish(open, writer.take())?;
            if let Some(hashes) = &hashes {
                keep(&open.entity, first_block..first_block.saturating_add(hashes.len() as u32), &statements)?;
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
            writer = Some(if open.is_passed_on() && reach == Reach::Coming {
                run.instantly()
            } else if open.is_followed() {
                run.promptly()
            } else {
                run
            });
            continue;
        }
        let writer = writer.as_mut().ok_or(SinkFault::NoRun)?;
        for part in piece.parts() {
            writer.push(part).map_err(SinkFault::Write)?;
        }
        open.on_written(piece.length() as u64);
    }
    finish(open, writer)
}

/// Keeps the statements on which blocks will stand: those blocks are written that somebody can be held to, now and later.
fn keep(entity: &EntityHandle, blocks: Range<u32>, statements: &[StoredStatement]) -> Result<(), SinkFault> {
    entity.put_statements(statements);
    if statements.iter().all(|statement| entity.has_statement(statement)) {
        Ok(())
    } else {
        Err(SinkFault::Unkept { blocks })
    }
}

fn finish(open: &OpenEntity, writer: Option<RunWriter>) -> Result<(), SinkFault> {
    let Some(writer) = writer else { return Ok(()) };
    writer.finish().map_err(SinkFault::Write)?;
    // The last blocks are written only now.
    open.on_written(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_cache::{NewEntity, Privacy, Quota, Reserve, Store, StoreConfig};
    use eddy_content::{Entity, ResourceUrl, Validator};

    fn run(first_block: u32) -> Piece {
        Piece::Run { first_block, hashes: None, statements: Vec::new() }
    }

    /// The pieces as a thread gets them: the beginning of a run, or a number of bytes.
    fn told(little: Little) -> Vec<Result<u32, usize>> {
        let told = |piece: Piece| match &piece {
            Piece::Run { first_block, .. } => Ok(*first_block),
            bytes => Err(bytes.length()),
        };
        little.into_pieces().map(told).collect()
    }

    #[test]
    fn little_waits_run_by_run_until_it_is_a_block() {
        let mut little = Little::default();
        assert!(little.take(run(3)) && little.take(Piece::Bytes(Bytes::from_static(b"ab"))));
        assert!(little.take(Piece::Chunks(vec![Bytes::from_static(b"c"), Bytes::from_static(b"de")])));
        assert!(little.take(run(9)) && little.take(Piece::Bytes(Bytes::from(vec![0; LITTLE - 6]))));
        assert!(!little.take(Piece::Bytes(Bytes::from_static(b"x"))), "a whole block is not little");
        assert_eq!(told(little), [Ok(3), Err(5), Ok(9), Err(LITTLE - 6), Err(1)]);
    }

    #[test]
    fn a_run_whose_statement_finds_no_room_is_not_taken() {
        let home = tempfile::tempdir().expect("a directory");
        let mut config = StoreConfig::new(home.path().to_path_buf());
        (config.quota, config.reserve) = (Quota::Bytes(1 << 30), Reserve::Bytes(0));
        let store = Store::open(config).expect("a store");
        let url = ResourceUrl::parse("https://origin.example/a").expect("parses");
        let validator = Validator::StrongEtag("\"1\"".into());
        let entity = store.begin(NewEntity {
            entity: Entity { url: url.clone(), validator, length: 10 * BLOCK_SIZE },
            requested_url: url,
            privacy: Privacy::Shareable,
            last_modified: None,
            digests: Vec::new(),
            freshness: None,
        });
        let entity = entity.expect("room");
        let said = |number: u32| StoredStatement { first_block: 3, count: 1, bytes: number.to_le_bytes().to_vec() };
        let all: Vec<_> = (0..200).map(said).collect();
        let kept = entity.put_statements(&all);
        assert!((20..200).contains(&kept), "{kept}");
        assert!(keep(&entity, 3..4, &all[..2]).is_ok(), "these are known");
        let refused = keep(&entity, 3..4, &all[kept - 1..=kept]);
        assert!(matches!(refused, Err(SinkFault::Unkept { ref blocks }) if *blocks == (3..4)), "{refused:?}");
    }

    #[test]
    fn many_runs_are_not_little_and_bytes_without_a_run_stay_without_one() {
        let mut little = Little::default();
        assert!(little.take(Piece::Bytes(Bytes::from_static(b"a"))));
        let taken = (0..QUEUE as u32).filter(|number| little.take(run(*number))).count();
        assert_eq!(taken, QUEUE - 2);
        assert_eq!(told(little).first(), Some(&Err(1)));
    }
}
