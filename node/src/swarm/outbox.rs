//! Messages to members: in order, on one stream for each member, and never waited for.
//!
//! A message that does not get through is lost, as one to a machine that has just died; the machines bear that.

use crate::peer::{Peers, Talk, TalkEnd};
use bytes::Bytes;
use eddy_engine::Peer;
use eddy_engine::swarm::{Message, Say};
use eddy_wire::NodeId;
use eddy_wire::frame::encode_frame;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Messages that may wait for one member: more than a home says to one in a second.
const WAITING: usize = 256;

/// The ways to the members.
pub(super) struct Outbox {
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
    ways: HashMap<Peer, mpsc::Sender<Bytes>>,
    /// Told of members that take part in no swarm.
    deaf: mpsc::Sender<Peer>,
}

impl Outbox {
    pub(super) fn new(peers: Peers, tasks: TaskTracker, stop: CancellationToken, deaf: mpsc::Sender<Peer>) -> Self {
        Self { peers, tasks, stop, ways: HashMap::new(), deaf }
    }

    /// Sends a message, or loses it. Before one that names somebody goes where that one is: its hearer may not know.
    pub(super) fn send(&mut self, to: Peer, message: &Message) {
        if let Say::Note { home: peer } | Say::Redirect { home: peer } | Say::Introduce { peer } = message.say
            && peer != to
            && let Some(address) = self.peers.address_of(NodeId(peer.0))
        {
            self.put(to, &Message { origin: message.origin, say: Say::At { peer, address } });
        }
        self.put(to, message);
    }

    fn put(&mut self, to: Peer, message: &Message) {
        let bytes = match encode_frame(message) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => return tracing::error!(%error, "a message of a swarm cannot be sent"),
        };
        tracing::trace!(to = %NodeId(to.0), ?message, "said in a swarm");
        let way = self.ways.entry(to).or_insert_with(|| {
            let (way, waiting) = mpsc::channel(WAITING);
            let carrying = carry(self.peers.clone(), to, waiting, self.deaf.clone());
            let carrying = self.stop.clone().run_until_cancelled_owned(carrying);
            self.tasks.spawn(async move { carrying.await.unwrap_or_default() });
            way
        });
        if way.try_send(bytes).is_err() {
            tracing::debug!(to = %NodeId(to.0), "a member does not take what it is told: a message is lost");
        }
    }

    /// A member is gone, and with it what waits for it.
    pub(super) fn forget(&mut self, peer: &Peer) {
        self.ways.remove(peer);
    }
}

/// Carries messages to a member until it is forgotten, or has said that it hears none.
async fn carry(peers: Peers, to: Peer, mut waiting: mpsc::Receiver<Bytes>, deaf: mpsc::Sender<Peer>) {
    let node = NodeId(to.0);
    let mut open: Option<Talk> = None;
    loop {
        let next = tokio::select! {
            biased;
            end = end_of(open.as_ref()) => {
                if end == TalkEnd::Deaf {
                    tracing::debug!(%node, "a member takes part in no swarm");
                    // The room is gone only when the node stops.
                    let _ = deaf.send(to).await;
                    return;
                }
                // Noticed now, and not by the next message, which would be lost.
                open = None;
                continue;
            }
            next = waiting.recv() => next,
        };
        let Some(bytes) = next else { return };
        if open.as_ref().is_none_or(|talk| !peers.is_current(talk, node)) {
            open = peers.talk(node).await.inspect_err(|error| tracing::debug!(%node, %error, "no talk")).ok();
        }
        if let Some(talk) = &mut open
            && let Err(error) = talk.say(bytes).await
        {
            tracing::debug!(%node, %error, "a message of a swarm is lost");
            open = None;
        }
    }
}

async fn end_of(open: Option<&Talk>) -> TalkEnd {
    match open {
        Some(talk) => talk.end().await,
        None => std::future::pending().await,
    }
}
