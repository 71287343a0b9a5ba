//! The engine's ports: what goes in, what comes out.

use crate::job::portion::Stretches;
use crate::job::record::JobRecord;
use crate::job::spec::{Credentials, JobId};
use crate::planner::Source;
use crate::sessions::Sessions;
use crate::swarm::{Order, Patience};
use crate::trust::Sharing;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::Decision;
use eddy_content::http::{Freshness, RangeSupport};
use eddy_content::{BlockSet, Entity, EntityId, ResourceUrl, Root, Validator};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// The moment at which an input is handled: the only time that the engine knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time since the engine's shell started.
    pub mono: Duration,
    /// Wall clock in seconds since the Unix epoch; for records that people read.
    pub wall: i64,
}

/// A peer: a neighbour that has proved its membership. Its Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Peer(pub [u8; 32]);

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({:02x}{:02x}{:02x}{:02x}..)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// The name of one fetch, unique in the life of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// The name of what a swarm has ordered of one file: one segment of a member, or some of the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TakeId(pub u64);

/// How a take ended. Whether it brought all of its blocks is seen from the blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TakeEnd {
    /// Nothing was wrong that the file knows of.
    Over,
    /// The source failed, or did not give it.
    Failed,
    /// What the member sent does not verify.
    Corrupt,
    /// The origin has another version.
    Changed,
    /// It serves no ranges, and this take was of some.
    NoRanges,
}

/// Which blocks a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that it holds.
    Held,
    /// Those that it holds, and those that it is receiving, as they become verified.
    Coming,
}

/// One file of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileRef {
    /// The job.
    pub job: JobId,
    /// Its place in the job's specification.
    pub file: u32,
}

/// Why something did not work, in terms that the engine can act on and a person can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether a further attempt is worth it.
    pub class: FailureClass,
    /// The stable code of the error catalogue.
    pub code: String,
    /// What happened to which object, as a lower-case fragment without secrets.
    pub detail: String,
    /// The pause that the other side asked for.
    pub retry_after: Option<Duration>,
}

/// Whether a further attempt is worth it (F-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// Somebody must change something first.
    Fatal,
    /// May pass by itself.
    Transient,
    /// The origin could not be reached at all: may pass, but whoever watches wants to know at once.
    Unreachable,
    /// This node's own disk, or its open files, stand in the way: full, failing, read-only, without rights, too many. The job
    /// waits and looks after it (C-08, T-50, T-51).
    Disk,
    /// The same of the user's disk, where the file is to stand: the cache gives way first.
    Destination,
}

impl FailureClass {
    /// Whether a condition of this machine is to blame: it ends without the job, and the job notices that by itself.
    #[must_use]
    pub fn is_condition(self) -> bool {
        matches!(self, Self::Disk | Self::Destination)
    }
}

impl Failure {
    /// A failure that needs somebody's hand.
    #[must_use]
    pub fn fatal(code: &str, detail: impl Into<String>) -> Self {
        Self { class: FailureClass::Fatal, code: code.to_owned(), detail: detail.into(), retry_after: None }
    }

    /// A failure that may pass by itself.
    #[must_use]
    pub fn transient(code: &str, detail: impl Into<String>) -> Self {
        Self { class: FailureClass::Transient, code: code.to_owned(), detail: detail.into(), retry_after: None }
    }
}

/// How the origin is first asked about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContactMethod {
    /// HEAD: the body may come from the cache or from peers.
    Describe,
    /// A ranged GET: the first useful bytes in the first round trip; of a file of which ranges are wanted and that cannot be
    /// resumed, all of them and what lies between.
    Range {
        /// First byte asked for.
        first: u64,
        /// Last byte asked for; none for all up to the end.
        last: Option<u64>,
    },
    /// A plain GET: the origin gave no version under which ranges could be joined.
    Whole,
}

/// What the engine wants done. Carried out in order; [`Effect::Persist`] is durable before what follows it is begun.
///
/// [`Effect::Open`], [`Effect::Stage`], [`Effect::Stream`], [`Effect::Publish`] and [`Effect::Probe`] are answered exactly once, even when the
/// file has been given up meanwhile: the engine asks the same of a file again only after the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Write the job down.
    Persist(Box<JobRecord>),
    /// Forget the job durably.
    Erase(JobId),
    /// Look whether the destination can be written and whether a version of the resource is held.
    Prepare {
        /// The file.
        file: FileRef,
    },
    /// Look whether the condition that stopped the file's job still stands: cheap, and without the network.
    Probe {
        /// The file that met it.
        file: FileRef,
        /// Where it was met.
        class: FailureClass,
    },
    /// Ask the origin; a body that comes with the answer is parked for [`Effect::Pump`] or [`Effect::Stream`].
    Contact {
        /// The fetch's name.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// What to ask for.
        url: ResourceUrl,
        /// What to prove oneself with.
        credentials: Option<Credentials>,
        /// How.
        method: ContactMethod,
    },
    /// Open the entity in the store, making room for it.
    Open {
        /// The file.
        file: FileRef,
        /// The version.
        entity: Entity,
        /// The URL of the job, before redirects.
        requested_url: ResourceUrl,
        /// Whether peers may have it.
        shareable: bool,
        /// For the delivered file's time.
        last_modified: Option<i64>,
        /// What the origin and the job promise about the bytes.
        digests: Vec<ExpectedDigest>,
        /// How long the origin allows it to be used without being asked, if it was asked now.
        freshness: Option<Box<Freshness>>,
    },
    /// Ask peers which blocks they hold of the file's open entity.
    Ask {
        /// The file.
        file: FileRef,
        /// Whom.
        peers: Vec<Peer>,
    },
    /// Move the parked body of a contact into the store, these blocks of it, then drop it.
    Pump {
        /// The contact's fetch.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// The blocks to take.
        blocks: Range<u32>,
    },
    /// Fetch blocks from the origin.
    FetchOrigin {
        /// The fetch's name.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// What to prove oneself with.
        credentials: Option<Credentials>,
        /// The blocks.
        blocks: Range<u32>,
        /// Whether a range can be asked for; if not, the shell reads from byte 0 and skips.
        ranges: RangeSupport,
        /// Where the answer turns out to be the whole, it is read up to this block, and [`Input::Answered`] says what it was. None:
        /// then the fetch ends with [`FetchOutcome::NoRanges`].
        through: Option<u32>,
    },
    /// Fetch blocks from a peer.
    FetchPeer {
        /// The fetch's name.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// From whom.
        peer: Peer,
        /// The blocks.
        blocks: Range<u32>,
        /// Whose word they need.
        proof: Proof,
        /// Whether it may still be receiving them.
        reach: Reach,
    },
    /// Take part in the swarm of the file's open entity: what it lacks is ordered by [`Input::Take`]. [`Effect::Release`] ends that.
    JoinSwarm {
        /// The file.
        file: FileRef,
        /// The order in which it wants its blocks.
        order: Order,
        /// How long it bears a swarm in which nothing moves.
        patience: Patience,
        /// Whether the origin serves ranges, as far as is known.
        ranges: RangeSupport,
    },
    /// Find out who is logged on, and tell of it from now on by [`Input::Sessions`]. Wanted once at most.
    WatchSessions,
    /// Take part no more: the file plans by itself.
    LeaveSwarm {
        /// The file.
        file: FileRef,
    },
    /// A take is over that was not taken back.
    TakeEnded {
        /// The file.
        file: FileRef,
        /// Which.
        take: TakeId,
        /// How.
        end: TakeEnd,
    },
    /// The answer to what a take asks of the origin shows whether it serves ranges; one that does not is read on to the end.
    TakeAnswered {
        /// Which.
        take: TakeId,
        /// What it shows.
        ranges: RangeSupport,
    },
    /// Bytes of a take came that are not wanted: a stream begins at the first one.
    TakeSkips {
        /// Which.
        take: TakeId,
    },
    /// Fetch held blocks from the origin a second time and hold them against what is held; they count as delivered to nobody.
    Audit {
        /// The fetch's name.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// What to prove oneself with.
        credentials: Option<Credentials>,
        /// The blocks.
        blocks: Range<u32>,
    },
    /// Write the parked body of a contact straight to the staged file: content that cannot be resumed or shared.
    Stream {
        /// The contact's fetch.
        fetch: FetchId,
        /// The file.
        file: FileRef,
        /// What of it is wanted, if not all; the body ends no earlier.
        stretches: Option<Stretches>,
        /// Digests that the bytes must have.
        digests: Vec<ExpectedDigest>,
    },
    /// End a fetch; it still reports [`Input::Ended`].
    Abort {
        /// Which.
        fetch: FetchId,
    },
    /// Copy the verified entity to the temporary file beside the destination, checking every digest.
    Stage {
        /// The file.
        file: FileRef,
        /// What of it is wanted, if not all: copied one behind the other.
        stretches: Option<Stretches>,
        /// Digests that the bytes must have.
        digests: Vec<ExpectedDigest>,
    },
    /// Rename the staged file to its destination.
    Publish {
        /// The file.
        file: FileRef,
    },
    /// Delete the staged file, if there is one.
    Discard {
        /// The file.
        file: FileRef,
    },
    /// What the file's job has used so far belongs to a version that it no longer wants: account for it as wasted.
    Outdated {
        /// The file.
        file: FileRef,
    },
    /// Throw the stored entity away: its bytes are not what somebody promised, though every block is what its source said.
    Distrust {
        /// Which.
        entity: EntityId,
    },
    /// Let go of the file's entity.
    Release {
        /// The file.
        file: FileRef,
    },
}

/// Whose word the blocks of a fetch from a peer need, before a byte of them is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Agreeing statements of so many different members; at least one.
    pub needed: u8,
    /// Who may give one, when more than one is needed: it holds some of the blocks. The one that is read from comes first.
    pub ask: Vec<Peer>,
}

/// What the origin said about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contacted {
    /// The final URL, after redirects.
    pub url: ResourceUrl,
    /// The strong validator, if there is one.
    pub validator: Option<Validator>,
    /// The complete length, if known.
    pub length: Option<u64>,
    /// Whether ranges can be asked for.
    pub ranges: RangeSupport,
    /// Whether the bytes may be kept beyond the job.
    pub storable: bool,
    /// Whether peers may have them.
    pub shareable: bool,
    /// For the delivered file's time.
    pub last_modified: Option<i64>,
    /// Digests of the whole that the origin named.
    pub digests: Vec<ExpectedDigest>,
    /// How long the answer was waited for, if somebody looked.
    pub waited: Option<Duration>,
    /// The bytes that the parked body will carry; the end is unknown when the length is.
    pub body: Option<(u64, Option<u64>)>,
    /// How long it may be used without asking again; `None` when this is not the origin's answer but the store's.
    pub freshness: Option<Box<Freshness>>,
}

/// What is held of a resource before its origin is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// No byte of any version.
    Nothing,
    /// Some of a version, or a version of whose freshness nothing is known.
    Some,
    /// The newest version, whole.
    Whole {
        /// What the origin would say if it were still this one.
        facts: Box<Contacted>,
        /// Whether it may be used without asking.
        decision: Decision,
    },
}

/// How a fetch ended. Everything that it committed was reported before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchOutcome {
    /// All blocks were committed.
    Done,
    /// Ended because the engine said so.
    Aborted,
    /// The origin now names another version.
    Changed,
    /// The origin answered a range with the whole of the same version: it serves no ranges after all.
    NoRanges,
    /// The origin, or this node's disk, failed.
    Failed(Failure),
    /// The peer failed.
    PeerFailed(PeerFault),
    /// What else was ordered was brought; for these blocks too few members vouch, or their words differ.
    Unwitnessed(BlockSet),
}

/// What a peer did wrong, or could not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFault {
    /// Sent bytes, hashes or statements that do not verify.
    Lied,
    /// The connection is gone.
    Gone,
    /// Has too much to do.
    Busy,
    /// No longer holds the blocks.
    NotHere,
    /// Sent nothing for too long.
    Stalled,
}

/// A file that stands, whole and durable, beside its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedFile {
    /// Bytes.
    pub length: u64,
    /// BLAKE3 of the whole.
    pub root: Root,
    /// Used bytes from the origin, by the ledger.
    pub origin: u64,
    /// Used bytes from peers, by the ledger.
    pub peers: u64,
    /// Bytes that arrived for nothing, by the ledger.
    pub wasted: u64,
    /// Bytes that were fetched a second time to catch liars, by the ledger.
    pub audited: u64,
    /// Of the blocks that did not come from the origin itself, how many members vouch for each at least; none when all did.
    pub witnesses: Option<u8>,
}

/// What happened outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Answer to [`Effect::Prepare`].
    Prepared {
        /// The file.
        file: FileRef,
        /// What is held, or why the destination will not do.
        result: Result<Held, Failure>,
    },
    /// Answer to [`Effect::Contact`].
    Contacted {
        /// The fetch.
        fetch: FetchId,
        /// What the origin said.
        result: Result<Box<Contacted>, Failure>,
    },
    /// Answer to [`Effect::Open`]: the blocks that are held already.
    Opened {
        /// The file.
        file: FileRef,
        /// Held blocks.
        result: Result<BlockSet, Failure>,
    },
    /// One peer's answer to [`Effect::Ask`]; no blocks when it has none or will not say.
    Holds {
        /// The file.
        file: FileRef,
        /// The version that it was asked about.
        entity: EntityId,
        /// Who.
        peer: Peer,
        /// What it holds.
        blocks: BlockSet,
    },
    /// Bytes arrived that are not yet acknowledged by the store.
    Received {
        /// The fetch.
        fetch: FetchId,
        /// Bytes since the last report.
        bytes: u64,
    },
    /// The origin's answer to a fetch that named a block to read through shows whether it serves ranges.
    Answered {
        /// The fetch.
        fetch: FetchId,
        /// What it shows.
        ranges: RangeSupport,
    },
    /// Bytes arrived that come before what is wanted of a body.
    Skipped {
        /// The fetch.
        fetch: FetchId,
    },
    /// Blocks of an entity of the file are durable, whoever brought them. May come when the file has gone on to another
    /// version.
    Committed {
        /// The file.
        file: FileRef,
        /// The version.
        entity: EntityId,
        /// Which blocks.
        blocks: BlockSet,
    },
    /// A fetch is over.
    Ended {
        /// The fetch.
        fetch: FetchId,
        /// How.
        outcome: FetchOutcome,
    },
    /// Blocks of a version are held no more: whose word they were held by is doubtful. Only the origin is believed about them.
    Doubted {
        /// The file whose fetch found it out.
        file: FileRef,
        /// The version.
        entity: EntityId,
        /// Which blocks.
        blocks: BlockSet,
    },
    /// Answer to [`Effect::Stage`]: blocks that were held turned out to be damaged and are held no more.
    Damaged {
        /// The file.
        file: FileRef,
        /// Which blocks.
        blocks: BlockSet,
    },
    /// Answer to [`Effect::Stage`], and to an [`Effect::Stream`] that succeeded; one that did not ends as a fetch does.
    Staged {
        /// The file.
        file: FileRef,
        /// The staged file.
        result: Result<StagedFile, Failure>,
    },
    /// Answer to [`Effect::Publish`].
    Published {
        /// The file.
        file: FileRef,
        /// Whether it is visible.
        result: Result<(), Failure>,
    },
    /// Answer to [`Effect::Probe`]: whether the condition has ended, or what it is.
    Probed {
        /// The job that waits.
        job: JobId,
        /// Whether the way is free.
        result: Result<(), Failure>,
    },
    /// The swarm orders blocks of the file's open entity.
    Take {
        /// The file.
        file: FileRef,
        /// The name of the order.
        take: TakeId,
        /// From where.
        source: Source,
        /// Which blocks; those that are held are not asked for.
        blocks: Range<u32>,
        /// Of the origin: whether its answer may be the whole, and up to which block that is read.
        through: Option<u32>,
    },
    /// The swarm takes an order back.
    Untake {
        /// The file.
        file: FileRef,
        /// Which.
        take: TakeId,
    },
    /// So many members take the file's version from each other, and share what is looked at twice.
    Watch {
        /// The file.
        file: FileRef,
        /// How it is shared.
        sharing: Sharing,
    },
    /// Somebody found a lie about a block: this node asks the origin itself.
    LookTwice {
        /// The file.
        file: FileRef,
        /// The block.
        block: u32,
    },
    /// The swarm does nothing for the file any more: it plans by itself.
    SwarmOver {
        /// The file.
        file: FileRef,
    },
    /// A member of the group is connected.
    PeerUp(Peer),
    /// A member is no longer connected.
    PeerDown(Peer),
    /// This machine has a way to the outside that it had not before.
    NetworkUp,
    /// Who is logged on; asked for by [`Effect::WatchSessions`].
    Sessions(Sessions),
}

/// What others may want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Something about the job that people see has changed.
    JobChanged(JobId),
    /// The job has reached a final state.
    JobEnded(JobId),
}
