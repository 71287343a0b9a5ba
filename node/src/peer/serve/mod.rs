//! The serving side: what members may ask of this node, and what they get.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`offer`] | which blocks may be offered at all, and who signs for them? |
//! | [`ask`] | which of these entities are here? |
//! | [`vouch`] | who signed for these blocks? |
//! | [`hear`] | what do members say to each other in swarms? |
//! | [`follow`] | how does a segment leave that is still on its way here? |
//! | [`flow`] | how much of such segments is in memory? |
//! | [`read`] | how do blocks leave, with hashes and statements before them? |
//! | [`places`], [`guest`], [`pace`] | how much is served at a time, and who is too slow? |
//! | [`upload`] | when may the next bytes leave, if the administrator limits them? |
//! | [`sign`] | this node's own word about what it fetched from the origin |
//! | [`pool`] | the buffers that blocks are read into |
//! | [`warm`], [`asked`] | the entities that were read, or told of, a moment ago, still open |

pub(super) mod ask;
mod asked;
mod flow;
mod follow;
pub(super) mod guest;
mod hear;
pub(super) mod offer;
pub(super) mod pace;
pub(super) mod places;
pub(super) mod pool;
pub(super) mod read;
pub(super) mod sign;
pub(super) mod upload;
pub(super) mod vouch;
pub(super) mod warm;

use self::guest::Guest;
use self::places::Places;
use self::pool::Pool;
use self::sign::Signer;
use self::upload::Upload;
use self::warm::Warm;
use super::belief::Believer;
use super::close::{abort, code};
use super::conduct::{Asked, Conduct, Curiosity};
use super::config::{Limits, Patience, Serving};
use super::gate::FromMember;
use super::membership::Keeper;
use super::stream::{Input, InputError};
use eddy_cache::Store;
use eddy_engine::engine::Swarms;
use eddy_wire::NodeId;
use eddy_wire::frame::{Frame, ReadRefusal, ReadReply, Request, StreamKind, encode_frame};
use eddy_wire::membership::MembershipQuestion;
use eddy_wire::statement::GroupId;
use quinn::{Connection, SendStream, VarInt};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Lookups of all peers that wait for the disk at a time.
const LOOKUPS: usize = 16;
/// Chunks of all peers that are read at a time (T-14): a disk does not serve the peers faster with more, but its own node
/// slower. Chunks in the page cache are not told apart and need a thread for a moment, so a little more than a disk wants.
const DISK_READS: usize = 4;

/// Serves the members.
pub(crate) struct Server {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
    conduct: Arc<Mutex<Conduct>>,
    patience: Patience,
    /// The reads of all peers.
    places: Arc<Places>,
    /// Turns at the disk, in the order of asking.
    disk: Arc<Semaphore>,
    /// What the segments that are followed have in memory beside a block of each.
    flowing: flow::Shared,
    lookups: Semaphore,
    upload: Upload,
    /// The way to the room of swarms, once there is one.
    pub(super) gate: OnceLock<mpsc::Sender<FromMember>>,
}

/// What goes along to blocking threads.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) group: GroupId,
    pub(crate) signer: Signer,
    pub(crate) believer: Arc<Believer>,
    pub(crate) pool: Pool,
    pub(crate) warm: Warm,
    pub(crate) serving: Serving,
    pub(crate) swarms: Swarms,
}

/// Why a stream is given up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Abandon {
    /// The asker broke the protocol.
    #[error("not eddy's protocol: {0}")]
    Malformed(String),
    /// The asker did not say or take in time what it should.
    #[error("too slow")]
    Slow,
    /// The asker does not want it any more, or is gone.
    #[error("the peer gave up")]
    Unwanted,
    /// This node takes part in no swarm, so that nobody waits for its answers.
    #[error("this node takes part in no swarm")]
    Deaf,
    /// Something here failed; the log says what.
    #[error("a fault of this node: {0}")]
    Fault(String),
}

impl Abandon {
    fn code(&self) -> VarInt {
        match self {
            Self::Malformed(_) => code::MALFORMED,
            Self::Slow => code::SLOW,
            Self::Deaf => code::DEAF,
            Self::Unwanted | Self::Fault(_) => code::ABORTED,
        }
    }
}

impl Server {
    pub(crate) fn new(
        shared: Shared,
        keeper: Arc<Keeper>,
        conduct: Arc<Mutex<Conduct>>,
        (limits, upload): (&Limits, Upload),
        patience: Patience,
    ) -> Self {
        Self {
            shared: Arc::new(shared),
            keeper,
            conduct,
            patience,
            places: Places::new(upload::reads_within(limits.upload.all, limits.reads)),
            disk: Arc::new(Semaphore::new(DISK_READS)),
            flowing: flow::of_all(),
            lookups: Semaphore::new(LOOKUPS),
            upload,
            gate: OnceLock::new(),
        }
    }

    /// Answers one stream of a member.
    pub(crate) async fn handle(
        &self,
        node: NodeId,
        connection: &Connection,
        guest: &Guest,
        (mut send, receive): (SendStream, quinn::RecvStream),
    ) {
        let mut input = Input::new(receive);
        let outcome = self.answer((node, connection), guest, &mut input, &mut send).await;
        let Err(reason) = outcome else { return };
        abort(&mut send, &mut input.receive, reason.code());
        match &reason {
            Abandon::Malformed(_) => {
                tracing::warn!(%node, %reason, "a member does not speak the protocol: disconnected");
                connection.close(code::MALFORMED, b"");
            }
            Abandon::Fault(_) => tracing::warn!(%node, %reason, "a question of a peer was given up"),
            Abandon::Slow | Abandon::Unwanted | Abandon::Deaf => {
                tracing::debug!(%node, %reason, "a question of a peer was given up")
            }
        }
    }

    async fn answer(
        &self,
        (node, connection): (NodeId, &Connection),
        guest: &Guest,
        input: &mut Input,
        send: &mut SendStream,
    ) -> Result<(), Abandon> {
        match timeout(self.patience.answer, question(input)).await.map_err(|_| Abandon::Slow)?? {
            Question::Membership(question) => {
                let answer = self.keeper.answer(connection, question).await?;
                self.say(send, &answer).await?;
            }
            Question::Swarm => return self.hear(node, input).await,
            Question::Content(Request::Follow { key, blocks }) => {
                self.follow(node, guest, (key, blocks), send).await?;
            }
            Question::Content(Request::Ask { keys }) => {
                let answers = self.ask(node, keys).await?;
                self.say(send, &answers).await?;
            }
            Question::Content(Request::Vouch { key, blocks }) => {
                let vouched = self.vouch(node, key, blocks).await?;
                self.say(send, &vouched).await?;
            }
            Question::Content(Request::Read { key, blocks }) => {
                // Many short reads come at once and are over at once; a long one is worth another peer.
                let mine = timeout(self.patience.turn, guest.reads.acquire()).await.ok().and_then(Result::ok);
                let Some((place, _mine)) = mine.and_then(|mine| Some((self.places.enter(node)?, mine))) else {
                    self.say(send, &ReadReply::Refused(ReadRefusal::Busy)).await?;
                    return self.finish(send).await;
                };
                // The place is held until the peer has it all: what lies unsent is memory of this node.
                let serving = async {
                    self.read(node, (guest, &place), (key, blocks), send).await?;
                    place.waiting(self.finish(send)).await
                };
                return tokio::select! {
                    outcome = serving => outcome,
                    () = place.lost() => Err(Abandon::Slow),
                };
            }
        }
        self.finish(send).await
    }

    /// Sends one frame.
    async fn say<T: Frame>(&self, send: &mut SendStream, frame: &T) -> Result<(), Abandon> {
        let bytes = encode_frame(frame).map_err(|error| Abandon::Fault(error.to_string()))?;
        timeout(self.patience.answer, send.write_chunk(bytes.into())).await.map_err(|_| Abandon::Slow)??;
        Ok(())
    }

    /// Ends the stream, and waits until the other end has it all.
    async fn finish(&self, send: &mut SendStream) -> Result<(), Abandon> {
        send.finish().map_err(|_| Abandon::Unwanted)?;
        // Bounded by the send window, at the pace that readers are held to.
        match timeout(self.patience.reader * 4, send.stopped()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Abandon::Unwanted),
            Err(_) => Err(Abandon::Slow),
        }
    }

    /// Counts keys that were asked for in vain; true when the peer may not learn anything any more (T-12).
    fn asks_too_much(&self, node: NodeId, asked: Asked, misses: usize) -> bool {
        let misses = u32::try_from(misses).unwrap_or(u32::MAX);
        let mut conduct = self.conduct.lock().unwrap_or_else(PoisonError::into_inner);
        match conduct.count_misses(node, asked, misses, Instant::now()) {
            Curiosity::Normal => false,
            Curiosity::JustTooMuch => {
                tracing::warn!(%node, ?asked, "a peer asks for much that is not here: it hears nothing for a minute");
                true
            }
            Curiosity::TooMuch => true,
        }
    }

    /// Runs work that blocks, beside the reactor.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, Abandon> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared)).await.map_err(|error| Abandon::Fault(error.to_string()))
    }
}

/// What a member may ask.
enum Question {
    Content(Request),
    Membership(MembershipQuestion),
    /// No question: messages follow.
    Swarm,
}

async fn question(input: &mut Input) -> Result<Question, Abandon> {
    let kind = input.kind().await?;
    match StreamKind::from_byte(kind) {
        Some(StreamKind::Request) => Ok(Question::Content(input.frame().await?)),
        Some(StreamKind::Membership) => Ok(Question::Membership(input.frame().await?)),
        Some(StreamKind::Swarm) => Ok(Question::Swarm),
        None => Err(Abandon::Malformed(format!("unknown kind of stream {kind}"))),
    }
}

impl From<InputError> for Abandon {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Frame(error) => Self::Malformed(error.to_string()),
            InputError::Ended => Self::Malformed("a question without an end".to_owned()),
            InputError::Reset(_) | InputError::Lost(_) => Self::Unwanted,
        }
    }
}

impl From<quinn::WriteError> for Abandon {
    fn from(_: quinn::WriteError) -> Self {
        Self::Unwanted
    }
}
