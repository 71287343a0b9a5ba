//! The peers, why there are none if there are none, and what is held against a member.

use super::{NodeFace, unix_ms};
use crate::group::Group;
use crate::neighbourhood::NeighbourhoodView;
use crate::peer::{Archive, Initiator, PeerSummary, Standing};
use eddy_engine::Peer;
use eddy_wire::NodeId;
use eddy_wire::api::{PeerDetail, PeerState, PeerView, PeersView, Problem};
use eddy_wire::catalogue::ErrorCode;

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
        let suspects = self.neighbours.as_ref().map(|view| view.peers().suspects()).unwrap_or_default();
        let is_connected = |node: &NodeId| connected.iter().any(|peer| peer.node == *node);
        let left =
            suspects.iter().filter(|(node, _)| !is_connected(node)).map(|(node, standing)| blocked(*node, standing));
        let left: Vec<PeerView> = left.collect();
        let note = |node| suspects.iter().find(|(suspect, _)| *suspect == node).map(|(_, standing)| reproach(standing));
        let peers = connected.into_iter().map(|peer| view(note(peer.node), peer)).chain(left).collect();
        let swarms = match &self.swarm {
            Some(swarm) => swarm.look().await,
            None => Vec::new(),
        };
        Ok(PeersView { group: self.group.as_ref().map(Group::name), reason, peers, swarms })
    }

    pub(super) async fn view_peer(&self, node: &str) -> Result<PeerDetail, Problem> {
        let node: NodeId = node.parse().map_err(|_| Problem::new(ErrorCode::MemberNotFound, node.to_owned()))?;
        let archive = Archive::of(&self.home);
        let kept = tokio::task::spawn_blocking(move || archive.list()).await;
        let evidence = kept.map_err(|_| Problem::new(ErrorCode::Internal, "looking at the evidence failed"))?;
        let peers = self.neighbours.as_ref().map(NeighbourhoodView::peers);
        let standing = peers.and_then(|peers| peers.standing_of(node));
        let connected = self.neighbours.as_ref().map(NeighbourhoodView::connected).unwrap_or_default();
        let peer = connected.into_iter().find(|peer| peer.node == node);
        let name = node.to_string();
        let seconds = |left: Option<std::time::Duration>| left.map(|left| left.as_secs());
        Ok(PeerDetail {
            peer: peer.map(|peer| view(standing.as_ref().map(reproach), peer)),
            anchor: self
                .settings
                .lock()
                .await
                .group
                .policy()
                .is_ok_and(|policy| policy.anchors.contains(&Peer(node.0))),
            proofs: standing.map_or(0, |standing| standing.proofs),
            blocked_seconds: seconds(standing.and_then(|standing| standing.blocked_for)),
            discredited_seconds: seconds(standing.and_then(|standing| standing.discredited_for)),
            removed: self.group.as_ref().and_then(Group::denied).is_some_and(|denied| denied.known().is_removed(&node)),
            evidence: evidence.into_iter().filter(|view| view.accused.signer == name).collect(),
            node: name,
        })
    }
}

fn view(reason: Option<String>, peer: PeerSummary) -> PeerView {
    PeerView {
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
        reason,
    }
}

/// A member that is not connected, and stands badly.
fn blocked(node: NodeId, standing: &Standing) -> PeerView {
    PeerView {
        node: Some(node.to_string()),
        address: "-".to_owned(),
        state: if standing.blocked_for.is_some() { PeerState::Blocked } else { PeerState::Unreachable },
        found_by: "-".to_owned(),
        connected_unix_ms: None,
        received: 0,
        sent: 0,
        reason: Some(reproach(standing)),
    }
}

/// What is held against a member, in a few words.
fn reproach(standing: &Standing) -> String {
    match standing {
        Standing { blocked_for: Some(left), .. } => {
            format!("not spoken to for {} h: it gave wrong bytes", hours(*left))
        }
        Standing { discredited_for: Some(left), .. } => {
            format!("its word counts for nothing for {} h: it signed what is not true", hours(*left))
        }
        Standing { proofs, .. } => format!("gave wrong bytes {proofs} times within a day"),
    }
}

fn hours(left: std::time::Duration) -> u64 {
    left.as_secs().div_ceil(3600)
}
