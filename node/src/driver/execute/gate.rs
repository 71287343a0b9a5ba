//! On how many words held blocks must stand, and do.

use super::Executor;
use crate::peer::Peers;
use eddy_cache::EntityHandle;
use eddy_content::digest::ExpectedDigest;
use eddy_content::{BlockSet, ResourceUrl};
use eddy_engine::trust::{Demand, Digest, Line};

/// Looks whether held blocks of an entity still stand on enough words.
pub(super) struct Gate {
    peers: Peers,
    needed: u8,
}

impl Gate {
    /// Puts aside what does not, and says what that was. Blocks on the disk.
    pub(super) fn close(self, entity: &EntityHandle) -> Option<BlockSet> {
        let weak = self.peers.weak(entity, self.needed);
        if weak.is_empty() {
            return None;
        }
        entity.set_aside(&weak);
        Some(weak)
    }
}

impl Executor {
    /// What decides whether what is held of a file still stands; nothing where a digest decides, or no member ever gave a byte.
    pub(super) fn gate(&self, url: &ResourceUrl, digests: &[ExpectedDigest]) -> Option<Gate> {
        let peers = self.peers.clone().filter(|_| digests.is_empty())?;
        let line = if url.is_https() { Line::Tls } else { Line::Plain };
        let needed = match peers.policy().demand(line, Digest::Unknown) {
            Demand::Statements(needed) => needed,
            Demand::NoPeers(_) => u8::MAX,
        };
        Some(Gate { peers, needed })
    }
}

/// How many members vouch for what this node did not fetch itself, at least.
pub(super) fn witnesses(peers: Option<&Peers>, entity: &EntityHandle) -> Option<u8> {
    match peers {
        Some(peers) => peers.witnesses(entity),
        // It was believed while this node was in a group.
        None if entity.held().difference(&entity.fetched_here()).is_empty() => None,
        None => Some(1),
    }
}
