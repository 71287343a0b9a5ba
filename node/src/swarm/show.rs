//! What people see of a node's part in swarms: who is home, who reads, from whom it takes, whom it gives.

use eddy_engine::Peer;
use eddy_engine::swarm::{Glance, Reads};
use eddy_wire::NodeId;
use eddy_wire::api::{SwarmRead, SwarmShare, SwarmView};

/// One content, by the URL that a file of this node wanted it under.
pub(super) fn view(me: Peer, url: &str, glance: Glance) -> SwarmView {
    let share =
        |node: Option<Peer>, segments| SwarmShare { node: node.map(|peer| NodeId(peer.0).to_string()), segments };
    let read = |Reads { peer, bytes, received }| SwarmRead {
        node: NodeId(peer.0).to_string(),
        start: bytes.start,
        end: bytes.end,
        received,
    };
    SwarmView {
        url: url.to_owned(),
        is_home: glance.home == Some(me),
        home: glance.home.map(|peer| NodeId(peer.0).to_string()),
        held: glance.have,
        segments: glance.segments,
        others: glance.others,
        given: glance.gives,
        sources: glance.sources.into_iter().map(|(peer, segments)| share(peer, segments)).collect(),
        readers: glance.reads.into_iter().map(read).collect(),
        depth: glance.depth,
    }
}
