//! What members hold that take part in no swarm: asked of them as where there is no swarm, and answered to the room whatever comes of it.

use super::contents::bits;
use crate::peer::Peers;
use crate::transfer::peer::ask_about;
use eddy_engine::Peer;
use eddy_engine::swarm::{Bits, Content, ContentTag};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Questions under way at a time; others wait for their turn.
const MOST: usize = 64;

/// An answer.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) peer: Peer,
    pub(super) content: ContentTag,
    /// Whole segments that it offers.
    pub(super) have: Option<Bits>,
}

/// The way to ask.
pub(super) struct Lookups {
    peers: Peers,
    tasks: TaskTracker,
    stop: CancellationToken,
    places: Arc<Semaphore>,
    found: mpsc::Sender<Found>,
}

impl Lookups {
    pub(super) fn new(peers: Peers, tasks: TaskTracker, stop: CancellationToken) -> (Self, mpsc::Receiver<Found>) {
        let (found, answers) = mpsc::channel(MOST);
        (Self { peers, tasks, stop, places: Arc::new(Semaphore::new(MOST)), found }, answers)
    }

    /// Asks a member.
    pub(super) fn begin(&self, peer: Peer, content: Content) {
        let (peers, places, found) = (self.peers.clone(), Arc::clone(&self.places), self.found.clone());
        let asking = async move {
            let Ok(_place) = places.acquire_owned().await else { return };
            let have = offered(&peers, peer, content).await;
            // The room is gone only when the node stops.
            let _ = found.send(Found { peer, content: content.tag(), have }).await;
        };
        let asking = self.stop.clone().run_until_cancelled_owned(asking);
        self.tasks.spawn(async move { asking.await.unwrap_or_default() });
    }
}

/// The whole segments that a member offers.
async fn offered(peers: &Peers, peer: Peer, content: Content) -> Option<Bits> {
    let geometry = content.geometry()?;
    let blocks = ask_about(peers, peer, (content.key, content.length), &"what others want too").await;
    Some(bits(&geometry, &blocks))
}
