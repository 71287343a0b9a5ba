//! What homes and members say to each other. `eddy-wire` has the bytes.

use super::bits::Bits;
use super::name::{Content, ContentTag, LeaseId, Link, Order, OriginKey, PeerTag, Reading};
use crate::port::Peer;
use crate::trust::Sharing;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

/// One message, about one origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The origin.
    pub origin: OriginKey,
    /// What is said.
    pub say: Say,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Say {
    /// Member to home: I take part.
    Join(Box<Join>),
    /// Member to ranks two and three: this is whom I take for the home.
    Note {
        /// The home.
        home: Peer,
    },
    /// Home to every member: who acts, and who holds something of this?
    Query {
        /// The content.
        content: Content,
    },
    /// Joining member to all others but its home, where they are few: what do you hold or receive of this? They tell both.
    Seek {
        /// The content.
        content: Content,
        /// The home.
        home: Peer,
    },
    /// The answer.
    HaveAny {
        /// The content.
        content: ContentTag,
        /// Whether the answerer acts as home.
        role: Role,
        /// What it holds and would give, and what it is receiving.
        holdings: Option<Box<Holdings>>,
    },
    /// Home to member: take these from there. Without items: you are heard.
    Assign {
        /// The content.
        content: ContentTag,
        /// For how long the member should collect its reports.
        collect: Duration,
        /// What to take.
        items: Vec<Item>,
    },
    /// To a member: are you there? What carries it acknowledges it, and that is the answer.
    Alive,
    /// Home to member: so many still take this, and share what is looked at twice.
    Watch {
        /// The content.
        content: ContentTag,
        /// How it is shared.
        sharing: Sharing,
    },
    /// Member to every member: the origin gives something else for this block than what somebody signed for. Whoever takes the content
    /// asks the origin itself; nothing is believed because of it.
    Alarm {
        /// The content.
        content: ContentTag,
        /// The block.
        block: u32,
    },
    /// Member to home: who is that?
    WhoIs {
        /// The source that it does not know.
        peer: PeerTag,
    },
    /// Home to member: this is.
    Introduce {
        /// The source.
        peer: Peer,
    },
    /// To a member, before it hears of somebody: that one is there. The shell says it and hears it; a hint and no more, since who answers
    /// there must prove itself.
    At {
        /// Who.
        peer: Peer,
        /// Where.
        address: SocketAddr,
    },
    /// Source to child: I have no more than this myself (trap 6).
    Waiting {
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
        /// Verified blocks of it.
        prefix: u32,
    },
    /// Reader to home: my lease is nearly over.
    Tail {
        /// Which.
        lease: LeaseId,
        /// How long its first byte took.
        first_byte: Duration,
    },
    /// Reader to home: so many bytes so far.
    Progress {
        /// The lease.
        lease: LeaseId,
        /// Bytes.
        bytes: u64,
    },
    /// Reader to home: this is how the origin serves the content, as its answer shows. Said again while a stream brings what its reader
    /// does not lack, which no progress tells.
    Offers {
        /// The content.
        content: ContentTag,
        /// The lease under which it was asked. Of a stream everything behind it comes too.
        lease: LeaseId,
        /// How.
        reading: Reading,
    },
    /// Member to home: these are whole and verified.
    Done {
        /// The content.
        content: ContentTag,
        /// Segments.
        segments: Vec<u32>,
    },
    /// Member to home: this flow is over, or has nothing to give.
    Fail {
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
        /// The source; `None` for the origin.
        source: Option<PeerTag>,
        /// Why.
        reason: FailReason,
        /// Verified blocks that the member has of it.
        prefix: u32,
    },
    /// Anybody to a member: that one is the home.
    Redirect {
        /// The home.
        home: Peer,
    },
    /// To a member: I am not.
    NotHome,
    /// Reader to home: the origin has another version. Home to member: so it has; everybody asks the origin anew (trap 20).
    Changed {
        /// The content that is no more.
        content: ContentTag,
    },
    /// Member to home, of a stream that somebody else reads: so much of it is verified here. What the reader says of itself nobody can
    /// check; this is what others have of it.
    Reached {
        /// The content.
        content: ContentTag,
        /// Verified blocks.
        blocks: u32,
    },
    /// Member to home: I go, and give no more.
    Leave {
        /// The content.
        content: ContentTag,
    },
    /// Member to home: I give this lease back.
    Return {
        /// Which.
        lease: LeaseId,
        /// Verified blocks of its first segment that is not whole.
        prefix: u32,
    },
}

/// A member's whole state of one content: what makes a home that knows nothing know all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The content.
    pub content: Content,
    /// Its line.
    pub link: Link,
    /// The order in which it wants what it lacks; `None` if it wants nothing and only gives.
    pub wants: Option<Order>,
    /// What it holds.
    pub have: Bits,
    /// What it is receiving, and has parts of.
    pub flows: Vec<JoinFlow>,
    /// Homes that go before the one it joins and that it has lost, the best ranked first: at most [`LOST`].
    ///
    /// [`LOST`]: super::constants::LOST
    pub lost: Vec<Peer>,
    /// Members that it asks itself what they have. It begins no lease before they have answered, so that its home need not wait for them.
    pub asked: u8,
}

/// What a member has of a content, when a home asks that it does not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holdings {
    /// Its line.
    pub link: Link,
    /// What it holds.
    pub have: Bits,
    /// What it is receiving, and has parts of.
    pub flows: Vec<JoinFlow>,
}

/// One flow of a joining member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinFlow {
    /// The segment.
    pub segment: u32,
    /// The source.
    pub source: JoinSource,
    /// Verified blocks of it.
    pub prefix: u32,
}

/// Where a flow of a joining member comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinSource {
    /// The origin, under a lease that some home gave.
    Origin(LeaseId),
    /// A member.
    Member(Peer),
    /// Nobody any more: what came is kept.
    Nobody,
}

/// What to take from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// From a member.
    From {
        /// The segment.
        segment: u32,
        /// The source.
        source: PeerTag,
    },
    /// From a member that holds all of them, at once and in this order.
    Held {
        /// The segments.
        segments: Range<u32>,
        /// The source.
        source: PeerTag,
    },
    /// From the origin.
    Lease {
        /// The name of the right.
        lease: LeaseId,
        /// The segments, in this order.
        segments: Range<u32>,
    },
}

/// Whether somebody acts as home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It does.
    Acting,
    /// It does not.
    Plain,
}

/// Why a flow is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailReason {
    /// The source is gone.
    Dead,
    /// The source has more and sends nothing.
    Stalled,
    /// The source has no more itself; the flow stays.
    Starved,
    /// What it sent does not verify.
    Corrupt,
    /// It does not have it yet, or will not give it.
    Refused,
    /// The origin failed.
    OriginError,
    /// It was said to hold it, and does not.
    Lacking,
}
