//! What the engine wants done.

use super::{FailureClass, FetchId, FileRef, Peer, TakeId};
#[cfg(doc)]
use super::{FetchOutcome, Input};
use crate::job::portion::Stretches;
use crate::job::record::JobRecord;
use crate::job::spec::{Credentials, JobId};
use crate::swarm::{Order, Patience};
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::{Freshness, RangeSupport};
use eddy_content::{Entity, EntityId, ResourceUrl};
use std::ops::Range;

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
    /// Bytes of a take come, and no block for a second: a stream begins at the first byte, and lines are slow.
    TakeMoves {
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
    /// Put blocks of the stored entity aside: its bytes are not what somebody promised, though every block is what its source said.
    Distrust {
        /// The file that was promised others.
        file: FileRef,
        /// Which.
        entity: EntityId,
        /// Which of its blocks.
        doubted: Doubted,
    },
    /// Let go of the file's entity.
    Release {
        /// The file.
        file: FileRef,
    },
}

/// Which blocks of a version a digest speaks against that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubted {
    /// The digest is the job's word alone, which may be a mistake or a lie: those that this node has not fetched from the origin itself.
    Given,
    /// It is the origin's: all.
    All,
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

/// Which blocks a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those that it holds.
    Held,
    /// Those that it holds, and those that it is receiving, as they become verified.
    Coming,
}

/// Whose word the blocks of a fetch from a peer need, before a byte of them is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Agreeing statements of so many different members; at least one.
    pub needed: u8,
    /// Who may give one, when more than one is needed: it holds some of the blocks. The one that is read from comes first.
    pub ask: Vec<Peer>,
}

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
    /// The member does not hold what it was said to hold.
    Lacking,
}
