//! The public key by which a node is known, shown as a libp2p PeerId.

use data_encoding::HEXLOWER;
use libp2p_identity::PeerId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A node's Ed25519 public key: its only name. A name claims nothing until a handshake or a signature proves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 32]);

/// The text is not the PeerId of an Ed25519 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a node is named by the PeerId of its Ed25519 key, which begins with 12D3KooW")]
pub struct NotANodeId;

/// What comes before the key in a PeerId: identity multihash of 36 bytes, protobuf key type Ed25519, 32 bytes
/// (libp2p specs, peer-ids).
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Characters of the longest text that is looked at: base58 costs the square of its length. A PeerId has 52.
const MAX_TEXT: usize = 64;

impl NodeId {
    /// The same name in libp2p's type.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        let mut bytes = [0; PREFIX.len() + 32];
        bytes[..PREFIX.len()].copy_from_slice(&PREFIX);
        bytes[PREFIX.len()..].copy_from_slice(&self.0);
        PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a PeerId")
    }
}

impl TryFrom<PeerId> for NodeId {
    type Error = NotANodeId;

    fn try_from(peer: PeerId) -> Result<Self, NotANodeId> {
        let bytes = peer.to_bytes();
        let key = bytes.strip_prefix(&PREFIX).ok_or(NotANodeId)?;
        Ok(Self(key.try_into().map_err(|_| NotANodeId)?))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer_id().fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({}..)", HEXLOWER.encode(&self.0[..6]))
    }
}

impl FromStr for NodeId {
    type Err = NotANodeId;

    fn from_str(text: &str) -> Result<Self, NotANodeId> {
        if text.len() > MAX_TEXT {
            return Err(NotANodeId);
        }
        text.parse::<PeerId>().map_err(|_| NotANodeId)?.try_into()
    }
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_real_key_is_shown_as_libp2p_shows_it() {
        let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key();
        let theirs = libp2p_identity::ed25519::PublicKey::try_from_bytes(key.as_bytes()).expect("a key");
        let node = NodeId(key.to_bytes());
        assert_eq!(node.to_string(), libp2p_identity::PublicKey::from(theirs).to_peer_id().to_string());
        assert!(node.to_string().starts_with("12D3KooW"));
    }

    #[test]
    fn the_name_of_another_kind_of_key_is_refused() {
        // A hashed (RSA) PeerId, from the libp2p specification.
        assert_eq!("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse::<NodeId>(), Err(NotANodeId));
        assert_eq!("1".repeat(100_000).parse::<NodeId>(), Err(NotANodeId));
        assert_eq!("".parse::<NodeId>(), Err(NotANodeId));
    }

    proptest! {
        #[test]
        fn every_name_survives_its_text_and_its_json(key in any::<[u8; 32]>()) {
            let node = NodeId(key);
            prop_assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
            let json = serde_json::to_string(&node).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<NodeId>(&json).expect("parses"), node);
        }

        #[test]
        fn no_text_panics(text in ".{0,80}") {
            let _ = text.parse::<NodeId>();
        }
    }
}
