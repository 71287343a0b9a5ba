//! What members say and wish in the matter of swarms, on its way to the room that answers (`crate::swarm`).

use crate::transfer::open::Arrivals;
use eddy_content::{LookupKey, ResourceUrl};
use eddy_engine::swarm::{Bits, Content, Message, OriginKey};
use eddy_wire::NodeId;
use tokio::sync::oneshot;

/// Something that a member wants of this node's part in swarms.
#[derive(Debug)]
pub enum FromMember {
    /// It says this.
    Message {
        /// Who.
        node: NodeId,
        /// What.
        message: Box<Message>,
        /// What this node's store offers of the content that the message is about.
        here: Option<Box<Here>>,
    },
    /// It wants a segment, whose blocks may still be on their way.
    Wish {
        /// Who.
        node: NodeId,
        /// The content.
        key: LookupKey,
        /// The segment.
        segment: u32,
        /// First block that it lacks, counted in the segment.
        from: u32,
        /// Told what tells of blocks that come; nothing when it gets none.
        answer: oneshot::Sender<Option<Arrivals>>,
    },
    /// It has a segment, or wants no more of it.
    Served {
        /// Who.
        node: NodeId,
        /// The content.
        key: LookupKey,
        /// The segment.
        segment: u32,
    },
    /// A content that it wished for is not in the store.
    Missing {
        /// The content.
        key: LookupKey,
    },
}

/// What a store offers of a content.
#[derive(Debug)]
pub struct Here {
    /// Where it is from.
    pub origin: OriginKey,
    /// The content.
    pub content: Content,
    /// Whole segments that a member's signature can be shown for.
    pub have: Bits,
}

/// The key of a URL's origin among the members.
#[must_use]
pub fn origin_of(url: &ResourceUrl) -> OriginKey {
    let url = url.as_url();
    OriginKey::of(url.scheme(), url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}
