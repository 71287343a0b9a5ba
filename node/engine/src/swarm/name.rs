//! The names by which homes and members speak of origins, contents, each other and leases.
//!
//! In messages a content and a source are named by the first eight bytes of their keys. Both keys are hashes or public keys of a
//! group's own members; a confusion, should anybody forge one, costs a delay, because every byte is verified under the full name.

use crate::port::Peer;
use eddy_content::{Geometry, LookupKey};

/// What shares one home and one budget of origin requests: scheme, host and port of the URL (trap 17: a home for each file
/// multiplies the budget).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OriginKey(pub u64);

/// A content in messages: the first bytes of its lookup key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentTag(pub u64);

/// A member in messages: the first bytes of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerTag(pub u64);

/// The right to read some segments from the origin, as one home gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub u64);

/// Whether the origin serves ranges of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// Any segment can be read.
    Ranges,
    /// One stream from the first byte, and nothing else.
    Stream,
    /// It has not said: who reads first finds out.
    Unknown,
}

impl Reading {
    /// What is known when somebody says this as well. That a range was answered with everything outweighs what was announced.
    #[must_use]
    pub fn learn(self, said: Self) -> Self {
        match (self, said) {
            (Self::Stream, _) | (_, Self::Stream) => Self::Stream,
            (Self::Ranges, _) | (_, Self::Ranges) => Self::Ranges,
            (Self::Unknown, Self::Unknown) => Self::Unknown,
        }
    }
}

/// One version of one resource, as members name it to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Content {
    /// URL, validator and length, hashed under the group's secret.
    pub key: LookupKey,
    /// Bytes.
    pub length: u64,
    /// How the origin serves it, as far as whoever names it knows.
    pub reading: Reading,
}

/// How a member is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Bits per second that it can send.
    pub up: u64,
    /// Bits per second that it can receive.
    pub down: u64,
    /// Cable or air.
    pub medium: Medium,
    /// A number that members of one subnet share.
    pub subnet: u32,
}

/// Cable or air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Cable.
    Wired,
    /// Air: what it forwards costs air time twice (trap 19).
    Wireless,
}

/// The order in which a member wants its segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    /// The rarest first, so that members soon have different ones to give.
    Rarest,
    /// The lowest first: somebody reads along.
    Deadline,
}

impl OriginKey {
    /// The key of an origin.
    #[must_use]
    pub fn of(scheme: &str, host: &str, port: u16) -> Self {
        let text = format!("eddy-home-1\0{scheme}\0{host}\0{port}");
        Self(first_bytes(blake3::hash(text.as_bytes()).as_bytes()))
    }
}

impl PeerTag {
    /// The tag of a member.
    #[must_use]
    pub fn of(peer: &Peer) -> Self {
        Self(first_bytes(&peer.0))
    }
}

impl Content {
    /// The name in messages.
    #[must_use]
    pub fn tag(&self) -> ContentTag {
        ContentTag(first_bytes(&self.key.0))
    }

    /// Where blocks and segments lie; `None` of a length that no entity has.
    #[must_use]
    pub fn geometry(&self) -> Option<Geometry> {
        Geometry::new(self.length).filter(|geometry| geometry.segment_count() <= super::constants::SEGMENTS)
    }
}

/// The first eight bytes, as a number.
pub(super) fn first_bytes(bytes: &[u8; 32]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *bytes;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}
