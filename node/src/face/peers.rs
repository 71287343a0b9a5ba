//! The peers, and why there are none if there are none.

use super::{NodeFace, unix_ms};
use crate::group::Group;
use crate::neighbourhood::NeighbourhoodView;
use crate::peer::Initiator;
use eddy_wire::api::{PeerState, PeerView, PeersView, Problem};

impl NodeFace {
    pub(super) async fn view_peers(&self) -> Result<PeersView, Problem> {
        let reason = match (&self.group, &self.neighbours) {
            (None, _) => {
                Some("this node is in no group; `eddy group init` or `eddy group join` changes that".to_owned())
            }
            (Some(_), None) => Some("this node does not touch the network".to_owned()),
            (Some(_), Some(neighbours)) => neighbours.reason(),
        };
        let connected = self.neighbours.as_ref().map(NeighbourhoodView::connected).unwrap_or_default();
        let peers = connected
            .into_iter()
            .map(|peer| PeerView {
                node: Some(peer.node.to_string()),
                address: peer.address.to_string(),
                state: PeerState::Connected,
                found_by: match peer.initiator {
                    Initiator::Here => "discovery",
                    Initiator::There => "incoming",
                }
                .to_owned(),
                connected_unix_ms: Some(unix_ms(peer.since)),
                received: peer.received,
                sent: peer.sent,
                reason: None,
            })
            .collect();
        Ok(PeersView { group: self.group.as_ref().map(Group::name), reason, peers })
    }
}
