//! Reading blocks from a member: believed hashes first, then the bytes for the caller to hold against them.

use super::ask::Question;
use super::belief::{Believed, Lie};
use super::config::MAX_READ_BLOCKS;
use super::core::Core;
use super::gathered::Gathered;
use super::stream::InputError;
use bytes::Bytes;
use eddy_cache::StoredStatement;
use eddy_content::{BlockHash, Entity, Geometry, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{ReadRefusal, ReadReply, Request, StreamKind};
use eddy_wire::statement::{Claim, Expected};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Bytes that are handed on at once: few enough to lie in a second-level cache until they are hashed.
const PIECE: usize = 256 * 1024;

/// Why a read ended early. What came before it is still true.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// The peer is at fault, provably: [`super::Peers::blame`] it, and read elsewhere.
    #[error("the peer lies: {0}")]
    Lied(#[from] Lie),
    /// The peer or its connection is gone, or it gave up. Elsewhere at once.
    #[error("the peer is gone: {0}")]
    Gone(String),
    /// It serves others. Elsewhere, or later.
    #[error("the peer is busy")]
    Busy,
    /// It does not hold these blocks (any more), or does not give them to us.
    #[error("the peer does not hold these blocks")]
    NotHere,
    /// Nothing came in time. Elsewhere.
    #[error("the peer stalled")]
    Stalled,
    /// The question could not be put: a fault of this node.
    #[error("{0}")]
    Local(String),
}

/// What a read gives, in turn: a run's hashes, then its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A run begins.
    Run {
        /// Its first block.
        first_block: u32,
        /// The hashes that members signed, of exactly the blocks whose bytes follow.
        hashes: Vec<BlockHash>,
        /// Their statements, checked: to be kept with the blocks and passed on.
        statements: Vec<StoredStatement>,
        /// The same, hash by hash; they may speak of more blocks than follow.
        claims: Vec<Claim>,
    },
    /// Bytes of the run, in order, as packets brought them: the one copy on the way in is the store's, which gathers and
    /// hashes block by block. Nobody has held them against the hashes yet.
    Bytes(Vec<Bytes>),
}

/// A read that is under way. Dropped, it tells the peer to stop.
pub struct PeerRead {
    core: Arc<Core>,
    node: NodeId,
    address: SocketAddr,
    question: Question,
    expected: Expected,
    geometry: Geometry,
    /// Blocks that may still be announced.
    open: Range<u32>,
    /// Bytes of the announced run that have not arrived.
    missing: u64,
    /// Bytes that arrived and are not handed on.
    gathered: Gathered,
    first: Option<ReadReply>,
    /// When something last came from the peer.
    heard: Instant,
    stall: Duration,
    is_done: bool,
}

/// Silence of a member whose blocks are still on their way to it: whether it is to blame is judged by the swarm, much sooner.
pub const FOLLOW_STALL: Duration = Duration::from_secs(60);

/// Puts the question and waits for the beginning of the answer. Cancel safe.
pub(crate) async fn read(
    core: Arc<Core>,
    node: NodeId,
    entity: &Entity,
    blocks: Range<u32>,
) -> Result<PeerRead, ReadFailure> {
    let key = entity.lookup_key(&core.secret);
    let stall = core.config.patience.stall;
    let request = Request::Read { key, blocks: blocks.clone() };
    put(core, node, (entity, key, blocks), request, stall).await
}

/// The same about blocks that the member may still be receiving.
pub(crate) async fn follow(
    core: Arc<Core>,
    node: NodeId,
    entity: &Entity,
    blocks: Range<u32>,
) -> Result<PeerRead, ReadFailure> {
    let key = entity.lookup_key(&core.secret);
    let request = Request::Follow { key, blocks: blocks.clone() };
    put(core, node, (entity, key, blocks), request, FOLLOW_STALL).await
}

async fn put(
    core: Arc<Core>,
    node: NodeId,
    (entity, key, blocks): (&Entity, LookupKey, Range<u32>),
    request: Request,
    stall: Duration,
) -> Result<PeerRead, ReadFailure> {
    let geometry = Geometry::new(entity.length).ok_or_else(|| local("the entity is too long"))?;
    let is_readable = blocks.start < blocks.end && blocks.end <= geometry.block_count();
    if !is_readable || blocks.end - blocks.start > MAX_READ_BLOCKS {
        return Err(local("a read is of 1 to 256 blocks of the entity"));
    }
    let connection = core.used(node).ok_or_else(|| ReadFailure::Gone("not connected".to_owned()))?;
    let begin = Instant::now();
    let asked = timeout_at(begin + stall, async {
        let mut question = Question::put(&connection, StreamKind::Request, &request).await?;
        let first = question.input.frame::<ReadReply>().await?;
        Ok::<_, InputError>((question, first))
    });
    let (question, first) = asked.await.map_err(|_| ReadFailure::Stalled)??;
    if let ReadReply::Refused(refusal) = first {
        return Err(refused(refusal));
    }
    Ok(PeerRead {
        node,
        address: connection.remote_address(),
        question,
        expected: Expected { group: core.group.id(), key, length: entity.length },
        geometry,
        open: blocks,
        missing: 0,
        gathered: Gathered::default(),
        first: Some(first),
        heard: Instant::now(),
        stall,
        is_done: false,
        core,
    })
}

impl PeerRead {
    /// Who is read from.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Whether every byte of what was asked for has come and is handed on.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.open.is_empty() && self.missing == 0
    }

    /// The next piece, `None` after the last one. Cancel safe: a later call goes on where this one was.
    ///
    /// A peer may send less than was asked for. After an error there is nothing more.
    pub async fn next(&mut self) -> Result<Option<Piece>, ReadFailure> {
        if self.is_done {
            return Ok(None);
        }
        let piece = self.advance().await;
        self.is_done = !matches!(piece, Ok(Some(_)));
        piece
    }

    async fn advance(&mut self) -> Result<Option<Piece>, ReadFailure> {
        if self.missing > 0 {
            return self.bytes().await.map(|bytes| Some(Piece::Bytes(bytes)));
        }
        let reply = match self.first.take() {
            Some(reply) => reply,
            None => {
                let reply = timeout_at(self.heard + self.stall, self.question.input.frame::<ReadReply>()).await;
                reply.map_err(|_| ReadFailure::Stalled)??
            }
        };
        self.heard = Instant::now();
        match reply {
            ReadReply::End => Ok(None),
            ReadReply::Refused(refusal) => Err(refused(refusal)),
            ReadReply::Run(header) => {
                let checked = self.core.believer.check(&header, &self.open, &self.expected, self.core.group.now());
                let believed = match checked {
                    // This node has heard of a removal, the one that passes the statement on has not yet.
                    Err(Lie::Removed { .. }) => return Err(ReadFailure::NotHere),
                    checked => checked?,
                };
                self.open.start = believed.blocks.end;
                let bytes = self.geometry.bytes_of(believed.blocks.clone());
                self.missing = bytes.end - bytes.start;
                let first_block = believed.blocks.start;
                let Believed { hashes, statements, claims, .. } = believed;
                self.core.judge.hear(&claims);
                Ok(Some(Piece::Run { first_block, hashes, statements, claims }))
            }
        }
    }

    /// Gathers a piece of full size, or the rest of the run.
    async fn bytes(&mut self) -> Result<Vec<Bytes>, ReadFailure> {
        let whole = usize::try_from(self.missing).unwrap_or(PIECE).min(PIECE);
        while self.gathered.len() < whole {
            let most = whole - self.gathered.len();
            let arrived =
                timeout_at(self.heard + self.stall, self.question.input.gather(&mut self.gathered, most)).await;
            arrived.map_err(|_| ReadFailure::Stalled)??;
            self.heard = Instant::now();
        }
        self.core.inbound.used(self.address, whole as u64);
        self.missing -= whole as u64;
        Ok(self.gathered.take())
    }
}

impl fmt::Debug for PeerRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRead")
            .field("node", &self.node)
            .field("open", &self.open)
            .field("missing", &self.missing)
            .finish_non_exhaustive()
    }
}

fn local(what: &str) -> ReadFailure {
    ReadFailure::Local(what.to_owned())
}

fn refused(refusal: ReadRefusal) -> ReadFailure {
    match refusal {
        ReadRefusal::Busy => ReadFailure::Busy,
        ReadRefusal::NotHere | ReadRefusal::TooMuch => ReadFailure::NotHere,
    }
}

impl From<InputError> for ReadFailure {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Frame(error) => Self::Lied(Lie::Protocol(error.to_string())),
            other => Self::Gone(other.to_string()),
        }
    }
}
