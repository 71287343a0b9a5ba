//! What people see of a node's part in swarms: who is home, who reads, from whom it takes, whom it gives.

use eddy_engine::Peer;
use eddy_engine::swarm::Glance;
use eddy_wire::NodeId;
use eddy_wire::api::{SwarmShare, SwarmView};

/// One content, by the URL that a file of this node wanted it under.
pub(super) fn view(me: Peer, url: &str, glance: Glance) -> SwarmView {
    let share =
        |node: Option<Peer>, segments| SwarmShare { node: node.map(|peer| NodeId(peer.0).to_string()), segments };
    SwarmView {
        url: url.to_owned(),
        is_home: glance.home == Some(me),
        home: glance.home.map(|peer| NodeId(peer.0).to_string()),
        held: glance.have,
        segments: glance.segments,
        others: glance.others,
        given: glance.gives,
        sources: glance.sources.into_iter().map(|(peer, segments)| share(peer, segments)).collect(),
        readers: glance.leases.into_iter().map(|(peer, segments)| share(Some(peer), segments)).collect(),
        depth: glance.depth,
    }
}
