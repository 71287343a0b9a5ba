//! What all tasks of the peer room share, and the few ways in which it changes.

use super::belief::Believer;
use super::belief::judge::Judge;
use super::close::{self, Parting};
use super::conduct::Conduct;
use super::config::PeersConfig;
use super::enrol::Porch;
use super::membership::Keeper;
use super::serve::Server;
use super::socket::Inbound;
use super::table::{Admission, Initiator, Link, Table};
use super::tls::Tls;
use crate::group::Group;
use eddy_content::LookupSecret;
use eddy_wire::NodeId;
use quinn::Connection;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the driver hears of peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerEvent {
    /// A member can be asked.
    Up {
        /// Who.
        node: NodeId,
        /// Where.
        address: SocketAddr,
    },
    /// A member says where another one is; it is not connected here.
    Told {
        /// Who.
        node: NodeId,
        /// Where it is said to be.
        address: SocketAddr,
    },
    /// Its last connection is gone.
    Down {
        /// Who.
        node: NodeId,
        /// Why.
        reason: Parting,
    },
}

/// A connection of the table.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) connection: Connection,
    pub(crate) since: SystemTime,
}

/// Why a connection that came about is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The other end is this node.
    #[error("that is this node itself")]
    Myself,
    /// Proofs of wrong blocks.
    #[error("the peer is blocked for wrong blocks")]
    Blocked,
    /// No room.
    #[error("there are as many peers as there may be")]
    Full,
    /// It ended before it was looked at.
    #[error("the connection ended at once")]
    Gone,
}

pub(crate) struct Core {
    pub(crate) me: NodeId,
    pub(crate) group: Arc<Group>,
    pub(crate) secret: LookupSecret,
    pub(crate) config: PeersConfig,
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) inbound: Arc<Inbound>,
    pub(crate) tls: Tls,
    pub(crate) believer: Arc<Believer>,
    pub(crate) judge: Arc<Judge>,
    pub(crate) server: Server,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) porch: Porch,
    /// What a member last said of this node's membership when it turned it away.
    pub(crate) told: Mutex<Option<Parting>>,
    pub(crate) table: Mutex<Table<Live>>,
    pub(crate) conduct: Arc<Mutex<Conduct>>,
    /// Locked while the table changes and the driver is told, so that it hears of changes in their order.
    pub(crate) events: tokio::sync::Mutex<mpsc::Sender<PeerEvent>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Core {
    pub(crate) fn table(&self) -> MutexGuard<'_, Table<Live>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_blocked(&self, node: NodeId) -> bool {
        self.conduct().is_blocked(node, Instant::now())
    }

    /// The connection to use for a peer.
    pub(crate) fn used(&self, node: NodeId) -> Option<Connection> {
        self.table().used(node).map(|link| link.connection.connection.clone())
    }

    /// Takes a connection of a proven member in and tells the driver of the first; gives the id of what it retires.
    pub(crate) async fn admit(&self, node: NodeId, initiator: Initiator, live: Live) -> Result<Option<usize>, Refusal> {
        if node == self.me {
            return Err(Refusal::Myself);
        }
        if self.is_blocked(node) {
            return Err(Refusal::Blocked);
        }
        // Refused over there, or given up: it was never up.
        if live.connection.close_reason().is_some() {
            return Err(Refusal::Gone);
        }
        let (id, address) = (live.connection.stable_id(), close::address_of(&live.connection));
        let events = self.events.lock().await;
        let admission = self.table().admit(node, Link { id, initiator, since: Instant::now(), connection: live });
        match admission {
            Admission::First => {
                tracing::info!(%node, %address, "peer up");
                self.tell(&events, PeerEvent::Up { node, address }).await;
                Ok(None)
            }
            Admission::Replaces(other) => Ok(Some(other)),
            Admission::Spare => Ok(Some(id)),
            Admission::Full => Err(Refusal::Full),
        }
    }

    /// Remembers why a member turned this node away, when that is a matter of membership. It is a member's word and no more:
    /// shown to people, acted on by nobody.
    pub(crate) fn hear(&self, error: &quinn::ConnectionError) {
        let parting = Parting::of(error);
        if matches!(parting, Parting::Removed | Parting::Expired) {
            tracing::info!(%parting, "turned away by a member");
            *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(parting);
        }
    }

    /// Takes a connection out, and tells the driver when it was the last.
    pub(crate) async fn depart(&self, node: NodeId, id: usize, reason: Parting) {
        let events = self.events.lock().await;
        if self.table().remove(node, id) {
            tracing::info!(%node, %reason, "peer down");
            self.tell(&events, PeerEvent::Down { node, reason }).await;
        }
    }

    async fn tell(&self, events: &mpsc::Sender<PeerEvent>, event: PeerEvent) {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            // Fails only when the driver is gone, which is the end of the node.
            _ = events.send(event) => {}
        }
    }

    /// Closes every connection of a peer.
    pub(crate) fn close_all(&self, node: NodeId, code: quinn::VarInt) {
        for link in self.table().links(node) {
            link.connection.connection.close(code, b"");
        }
    }
}
