//! Which connections lead to which member, and which one of a pair is used.
//!
//! Two members that find each other at the same time dial each other; both ends then keep the connection that the
//! smaller node id began, so they agree without a word. The other one is *retired*: new questions avoid it, it lingers
//! for what is under way on it, and it takes over again should the kept one turn out to be dead.
//!
//! Nobody dials a member to which it has a connection. So a new one that comes long after the other two dials could have crossed says that the
//! member has lost the older one, by a restart that nobody could announce: whoever began it, the older one leads nowhere, though it is
//! noticed only when it has been idle for too long.

use eddy_wire::NodeId;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Dials that end further apart than this did not cross: one between neighbours takes milliseconds, on machines that are very busy some
/// hundreds of them. Both ends see the same two ends, but for one way through the network.
const CROSSING: Duration = Duration::from_secs(1);

/// Connections of one member that are kept at a time, the retired included.
const LINKS_PER_PEER: usize = 4;

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initiator {
    /// This node.
    Here,
    /// The other one.
    There,
}

/// One connection; `C` is the connection itself, told apart by `id`.
#[derive(Debug)]
pub(crate) struct Link<C> {
    pub(crate) id: usize,
    pub(crate) initiator: Initiator,
    /// When it was taken in.
    pub(crate) since: Instant,
    pub(crate) connection: C,
}

/// What became of a new connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is the first of its peer.
    First,
    /// It is used from now on; the other one, by its id, is retired.
    Replaces(usize),
    /// It is retired from the beginning.
    Spare,
    /// There is no room for the peer, or for another connection of it.
    Full,
}

/// The connections of this node.
#[derive(Debug)]
pub(crate) struct Table<C> {
    me: NodeId,
    bound: usize,
    /// Never an empty list; the last one is in use, the others are retired.
    peers: HashMap<NodeId, Vec<Link<C>>>,
}

impl<C> Table<C> {
    pub(crate) fn new(me: NodeId, bound: usize) -> Self {
        Self { me, bound, peers: HashMap::new() }
    }

    /// Takes a new connection in, unless it is refused as [`Admission::Full`].
    pub(crate) fn admit(&mut self, node: NodeId, link: Link<C>) -> Admission {
        let is_full = self.peers.len() >= self.bound;
        let Some(links) = self.peers.get_mut(&node) else {
            if is_full {
                return Admission::Full;
            }
            self.peers.insert(node, vec![link]);
            return Admission::First;
        };
        if links.len() >= LINKS_PER_PEER {
            return Admission::Full;
        }
        let kept = if self.me < node { Initiator::Here } else { Initiator::There };
        match links.last().map(|used| (used.id, used.initiator, used.since)) {
            // Of two that the same end began the newer one is used: the older one may be a ghost. Of two that did not cross it is one.
            Some((id, initiator, since))
                if link.initiator == kept
                    || initiator != kept
                    || link.since.saturating_duration_since(since) >= CROSSING =>
            {
                links.push(link);
                Admission::Replaces(id)
            }
            _ => {
                links.insert(0, link);
                Admission::Spare
            }
        }
    }

    /// Takes a connection out; says whether it was the last one of its peer.
    pub(crate) fn remove(&mut self, node: NodeId, id: usize) -> bool {
        let Some(links) = self.peers.get_mut(&node) else { return false };
        links.retain(|link| link.id != id);
        let is_last = links.is_empty();
        if is_last {
            self.peers.remove(&node);
        }
        is_last
    }

    /// The connection to use.
    pub(crate) fn used(&self, node: NodeId) -> Option<&Link<C>> {
        self.peers.get(&node)?.last()
    }

    /// Whether the connection is there and not the one in use.
    pub(crate) fn is_retired(&self, node: NodeId, id: usize) -> bool {
        self.peers.get(&node).is_some_and(|links| links.iter().rev().skip(1).any(|link| link.id == id))
    }

    /// All connections of a peer.
    pub(crate) fn links(&self, node: NodeId) -> &[Link<C>] {
        self.peers.get(&node).map_or(&[], Vec::as_slice)
    }

    /// Every peer with the connection in use, and the number of all of its connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Link<C>, usize)> {
        self.peers.iter().filter_map(|(node, links)| Some((*node, links.last()?, links.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: NodeId = NodeId([1; 32]);
    const LARGE: NodeId = NodeId([2; 32]);

    fn link(id: usize, initiator: Initiator) -> Link<()> {
        Link { id, initiator, since: Instant::now(), connection: () }
    }

    fn later(link: Link<()>, by: Duration) -> Link<()> {
        Link { since: link.since + by, ..link }
    }

    #[test]
    fn both_ends_keep_what_the_smaller_began_whatever_came_first() {
        for first_by_small in [true, false] {
            let (mut small, mut large) = (Table::new(SMALL, 8), Table::new(LARGE, 8));
            // Connection 1 was begun by the smaller node, connection 2 by the larger one.
            let at_small = [link(1, Initiator::Here), link(2, Initiator::There)];
            let at_large = [link(1, Initiator::There), link(2, Initiator::Here)];
            for (table, other, links) in [(&mut small, LARGE, at_small), (&mut large, SMALL, at_large)] {
                let mut links = Vec::from(links);
                if !first_by_small {
                    links.reverse();
                }
                for link in links {
                    table.admit(other, link);
                }
                assert_eq!(table.used(other).map(|link| link.id), Some(1));
                assert!(table.is_retired(other, 2) && !table.is_retired(other, 1));
            }
        }
    }

    #[test]
    fn a_retired_connection_takes_over_when_the_kept_one_dies() {
        let mut table = Table::new(SMALL, 8);
        assert_eq!(table.admit(LARGE, link(1, Initiator::Here)), Admission::First);
        assert_eq!(table.admit(LARGE, link(2, Initiator::There)), Admission::Spare);
        assert!(!table.remove(LARGE, 1));
        assert_eq!(table.used(LARGE).map(|link| link.id), Some(2));
        assert!(table.remove(LARGE, 2) && table.used(LARGE).is_none());
        assert!(!table.remove(LARGE, 2), "gone only once");
    }

    #[test]
    fn the_newer_of_two_begun_by_one_end_is_used() {
        let mut table = Table::new(SMALL, 8);
        table.admit(LARGE, link(1, Initiator::There));
        assert_eq!(table.admit(LARGE, link(2, Initiator::There)), Admission::Replaces(1));
        assert_eq!(table.admit(LARGE, link(3, Initiator::Here)), Admission::Replaces(2));
        assert_eq!(table.admit(LARGE, link(4, Initiator::Here)), Admission::Replaces(3));
        assert_eq!(table.admit(LARGE, link(5, Initiator::Here)), Admission::Full);
    }

    #[test]
    fn a_member_that_dials_long_after_is_used_by_its_new_connection_whoever_began_the_old_one() {
        for (me, other) in [(SMALL, LARGE), (LARGE, SMALL)] {
            let mut table = Table::new(me, 8);
            table.admit(other, link(1, Initiator::Here));
            let restarted = later(link(2, Initiator::There), CROSSING);
            assert_eq!(table.admit(other, restarted), Admission::Replaces(1), "it has lost the first one");
        }
        let mut table = Table::new(SMALL, 8);
        table.admit(LARGE, link(1, Initiator::Here));
        assert_eq!(table.admit(LARGE, later(link(2, Initiator::There), CROSSING / 2)), Admission::Spare);
    }

    #[test]
    fn one_peer_too_many_is_refused() {
        let mut table = Table::new(SMALL, 1);
        table.admit(LARGE, link(1, Initiator::Here));
        assert_eq!(table.admit(NodeId([3; 32]), link(2, Initiator::Here)), Admission::Full);
    }
}
