//! What happened outside.

#[cfg(doc)]
use super::Effect;
use super::{Failure, FetchId, FileRef, Peer, Reach, TakeId};
use crate::job::spec::JobId;
use crate::planner::Source;
use crate::sessions::Sessions;
use crate::trust::Sharing;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::Decision;
use eddy_content::http::{Freshness, RangeSupport};
use eddy_content::{BlockSet, EntityId, ResourceUrl, Root, Validator};
use std::ops::Range;
use std::time::Duration;

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
    /// Bytes of a body arrived, for a second or more without a block that is wanted: they come before it, or the line is slow.
    Moves {
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
        /// Of a member: whether it may still be receiving them.
        reach: Reach,
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
    /// The swarm of the file's version has ended, because the origin is said to have another one: the file asks it.
    SwarmChanged {
        /// The file.
        file: FileRef,
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
    /// A connected member takes part in no swarm.
    PeerPlain(Peer),
    /// This machine has a way to the outside that it had not before.
    NetworkUp,
    /// Who is logged on; asked for by [`Effect::WatchSessions`].
    Sessions(Sessions),
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
