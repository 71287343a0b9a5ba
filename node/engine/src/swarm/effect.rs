//! What the swarm wants done by its shell, and what the shell tells of the data plane.

use super::message::Message;
use super::name::{Content, ContentTag, LeaseId, Reading};
use crate::port::Peer;
use crate::trust::Sharing;
use std::ops::Range;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Say this to a member; a connection is opened if there is none.
    Send {
        /// To whom.
        to: Peer,
        /// What.
        message: Message,
    },
    /// Ask a member that takes part in no swarm what it holds of a content, and tell [`Swarm::handle_lookup`], whatever comes of it.
    ///
    /// [`Swarm::handle_lookup`]: super::Swarm::handle_lookup
    LookUp {
        /// Whom.
        peer: Peer,
        /// The content.
        content: Content,
    },
    /// Ask a member for a segment from this block on, and take what comes as it comes.
    Subscribe {
        /// Whom.
        source: Peer,
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
        /// First block that is lacking, counted in the segment.
        from: u32,
    },
    /// Ask a member for segments that it holds, all at once, from this block of the first one on.
    Fetch {
        /// Whom.
        source: Peer,
        /// The content.
        content: ContentTag,
        /// The segments, in this order.
        segments: Range<u32>,
        /// First block that is lacking, counted in the first segment.
        from: u32,
    },
    /// A segment that was asked for is no longer wanted.
    Unsubscribe {
        /// Whom it was asked of.
        source: Peer,
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
    },
    /// Read these segments from the origin, under the validator of the content. One that is not known to serve ranges is asked for
    /// them all the same; should it send everything, that is read on to the end, and [`Swarm::handle_reading`] told.
    ///
    /// [`Swarm::handle_reading`]: super::Swarm::handle_reading
    Read {
        /// The right to do so.
        lease: LeaseId,
        /// The content.
        content: ContentTag,
        /// The segments, in this order.
        segments: Range<u32>,
        /// First block of the first segment that is lacking.
        from: u32,
        /// How the origin serves it, as far as is known.
        reading: Reading,
    },
    /// Stop reading.
    StopReading {
        /// The lease.
        lease: LeaseId,
        /// Its content.
        content: ContentTag,
    },
    /// Give a member a segment from this block on, as it becomes verified.
    Serve {
        /// To whom.
        to: Peer,
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
        /// First block.
        from: u32,
    },
    /// Tell a member that it gets nothing.
    Refuse {
        /// Whom.
        to: Peer,
        /// The content.
        content: ContentTag,
        /// The segment.
        segment: u32,
    },
    /// So many members still take a content, and share what is looked at twice.
    Watch {
        /// The content.
        content: ContentTag,
        /// How.
        sharing: Sharing,
    },
    /// A member found a lie about a block: ask the origin about it.
    LookTwice {
        /// The content.
        content: ContentTag,
        /// The block.
        block: u32,
    },
    /// No home has a place for a content: who wants it goes on without a swarm.
    Over {
        /// The content.
        content: ContentTag,
    },
    /// The origin is said to have another version: who wants the content asks the origin.
    Changed {
        /// The content that is no more.
        content: ContentTag,
    },
}

/// How a read from the origin ended, other than whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReadFault {
    /// The origin failed, or the connection broke.
    Failed,
    /// The origin has another version.
    Changed,
    /// It serves no ranges, though it was said to; none of its answer was read.
    NoRanges,
}

/// How a flow from a member ended, other than whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlowFault {
    /// It does not have the segment yet, or will not give it.
    Refused,
    /// It was asked for what it holds, and does not hold it.
    Lacking,
    /// What it sent does not verify.
    Corrupt,
}
