//! The front door of the peer room.

use super::accept;
use super::ask::{self, AskError};
use super::badge::{Badge, BadgeError};
use super::belief::Believer;
use super::belief::archive::Archive;
use super::belief::judge::Judge;
use super::close::{Parting, address_of, code};
use super::conduct::{Conduct, MissBounds};
use super::config::PeersConfig;
use super::core::{Core, PeerEvent};
use super::dial::{self, ConnectError};
use super::enrol::Porch;
use super::gate::FromMember;
use super::membership::{self, Keeper};
use super::read::{self, PeerRead, ReadFailure};
use super::serve::{Server, Shared, pool::Pool, sign::Signer, upload::Upload, warm::Warm};
use super::socket::{self, Inbound};
use super::table::{Initiator, Table};
use super::talk::Talk;
use super::tls::{Applicants, Tls, TlsError};
use super::transport;
use crate::group::{Group, Standing};
use crate::identity::Identity;
use eddy_cache::Store;
use eddy_content::{BlockSet, Entity, LookupKey};
use eddy_wire::NodeId;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Events that may wait for the driver: every peer may come and go once while it is busy.
const EVENTS: usize = 512;
/// How long a stop waits for goodbyes to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// The members that this node talks to. Clones share everything.
#[derive(Clone)]
pub struct Peers {
    core: Arc<Core>,
    port: u16,
}

/// Why there are no peers at all.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The address cannot be listened on. Another port helps.
    #[error("cannot listen for peers on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// This node cannot show itself to be a member.
    #[error(transparent)]
    Badge(#[from] BadgeError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A connected member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSummary {
    /// Who.
    pub node: NodeId,
    /// Where.
    pub address: SocketAddr,
    /// Since when.
    pub since: SystemTime,
    /// Who began.
    pub initiator: Initiator,
    /// Connections, with those that are about to go because both ends dialled.
    pub connections: usize,
    /// Bytes of UDP payload sent on the connection in use.
    pub sent: u64,
    /// Bytes of UDP payload received on the connection in use.
    pub received: u64,
    /// The measured round trip.
    pub round_trip: Duration,
}

impl Peers {
    /// Listens, serves the store's shareable entities to members of the group, and tells of members that come and go.
    ///
    /// The receiver must be read: while its queue is full, no peer comes or goes. Ends when `stop` is cancelled.
    pub async fn start(
        config: PeersConfig,
        identity: &Identity,
        group: &Group,
        store: Store,
        stop: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<PeerEvent>), PeersError> {
        let address = config.listen;
        let listen = |error| PeersError::Listen { address, error };
        let group = Arc::new(group.clone());
        let badge = Arc::new(Badge::new(&group, identity.clone())?);
        let tls = Tls::new(Arc::clone(&group), Arc::clone(&badge));
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls.server(Applicants::Refused)?));
        transport::bound_incoming(&mut server, &config.limits);
        let socket = socket::bind(address).map_err(listen)?;
        let port = socket.local_addr().map_err(listen)?.port();
        let inbound = Arc::new(Inbound::default());
        let endpoint = socket::endpoint(transport::endpoint(), Some(server), socket, Arc::clone(&inbound));
        let endpoint = endpoint.map_err(listen)?;
        let (events, told) = mpsc::channel(EVENTS);
        let conduct = Arc::new(Mutex::new(Conduct::new(MissBounds::of(&config.limits))));
        let believer = Arc::new(Believer::new(Arc::clone(&group), Arc::clone(&conduct)));
        let archive = config.records.as_deref().map(Archive::of);
        let judge = Judge::new(
            (Arc::clone(&group), Arc::clone(&badge)),
            (Arc::clone(&believer), Arc::clone(&conduct)),
            archive,
            config.trust.clone(),
        );
        let warm = Warm::of(&store);
        let shared = Shared {
            store,
            group: group.id(),
            signer: Signer::new(group.id(), Arc::clone(&badge)),
            believer: Arc::clone(&believer),
            pool: Pool::default(),
            warm,
            serving: config.limits.serving,
            swarms: config.limits.swarms,
        };
        let keeper = Arc::new(Keeper::new(Arc::clone(&group), badge));
        let tasks = TaskTracker::new();
        let limits = &config.limits;
        let upload = Upload::start(limits.upload, limits.reads, &tasks, &stop);
        let server = (limits, upload);
        let server = Server::new(shared, Arc::clone(&keeper), Arc::clone(&conduct), server, config.patience.clone());
        let core = Arc::new(Core {
            me: identity.node_id(),
            secret: group.lookup_secret(),
            group,
            keeper,
            porch: Porch::new(),
            told: Mutex::default(),
            endpoint,
            inbound,
            tls,
            believer,
            judge: Arc::new(judge),
            server,
            table: Mutex::new(Table::new(identity.node_id(), config.limits.peers)),
            conduct,
            events: tokio::sync::Mutex::new(events),
            tasks,
            stop,
            config,
        });
        core.tasks.spawn(accept::run(Arc::clone(&core)));
        core.tasks.spawn(close_when_stopped(Arc::clone(&core)));
        membership::start(&core);
        Ok((Self { core, port }, told))
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// The UDP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// This node's own name.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.core.me
    }

    /// How this node stands in its group.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.core.group.standing(&self.core.me)
    }

    /// What a member last said when it turned this node away for its membership's sake.
    #[must_use]
    pub fn told(&self) -> Option<Parting> {
        *self.core.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects to the member at an address, or finds the connection that exists; with `expected`, to that one only.
    ///
    /// Returns once the connection is in use and [`PeerEvent::Up`] is queued: call it beside the task that reads the
    /// events. Cancelled, the connection may still come about.
    pub async fn connect(&self, address: SocketAddr, expected: Option<NodeId>) -> Result<NodeId, ConnectError> {
        dial::connect(Arc::clone(&self.core), address, expected).await
    }

    /// The connected members, by name.
    #[must_use]
    pub fn connected(&self) -> Vec<PeerSummary> {
        let table = self.core.table();
        let mut peers: Vec<_> = table
            .iter()
            .map(|(node, link, connections)| {
                let live = &link.connection;
                let stats = live.connection.stats();
                PeerSummary {
                    node,
                    address: address_of(&live.connection),
                    since: live.since,
                    initiator: link.initiator,
                    connections,
                    sent: stats.udp_tx.bytes,
                    received: stats.udp_rx.bytes,
                    round_trip: live.connection.rtt(),
                }
            })
            .collect();
        drop(table);
        peers.sort_by_key(|peer| peer.node);
        peers
    }

    /// The name of an entity among the members.
    #[must_use]
    pub fn lookup_key(&self, entity: &Entity) -> LookupKey {
        entity.lookup_key(&self.core.secret)
    }

    /// Asks a connected member about an entity: its length and the blocks that it offers, `None` when it has nothing
    /// for us. Cancel safe.
    pub async fn ask(&self, node: NodeId, key: LookupKey) -> Result<Option<(u64, BlockSet)>, AskError> {
        ask::ask(&self.core, node, key).await
    }

    /// Reads at most 256 blocks of an entity from a connected member. Cancel safe; dropping the read ends it.
    pub async fn read(&self, node: NodeId, entity: &Entity, blocks: Range<u32>) -> Result<PeerRead, ReadFailure> {
        read::read(Arc::clone(&self.core), node, entity, blocks).await
    }

    /// As [`Self::read`], of blocks of one segment that the member may still be receiving: they come as it gets them, after a wait of any
    /// length up to [`read::FOLLOW_STALL`].
    pub async fn follow(&self, node: NodeId, entity: &Entity, blocks: Range<u32>) -> Result<PeerRead, ReadFailure> {
        read::follow(Arc::clone(&self.core), node, entity, blocks).await
    }

    /// Names the room that hears what members say in swarms; before, they are not heard. The second one is none.
    pub fn attach(&self, room: mpsc::Sender<FromMember>) {
        let _ = self.core.server.gate.set(room);
    }

    /// Begins to tell a connected member messages of swarms.
    pub async fn talk(&self, node: NodeId) -> Result<Talk, AskError> {
        Talk::open(&self.core, node).await
    }

    /// Where a connected member is.
    #[must_use]
    pub fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.core.used(node).map(|connection| address_of(&connection))
    }

    /// A member says where another one is: discovery judges that like what anybody announces, and dials at its own rate. Lost if the
    /// driver is busy, since nothing waits for the word of a member.
    pub fn hint(&self, node: NodeId, address: SocketAddr) {
        if node != self.core.me
            && self.core.used(node).is_none()
            && let Ok(events) = self.core.events.try_lock()
        {
            let _ = events.try_send(PeerEvent::Told { node, address });
        }
    }

    /// Packets that have come by the connection that is used for a member; nothing when there is none.
    #[must_use]
    pub fn packets_from(&self, node: NodeId) -> Option<u64> {
        self.core.used(node).map(|connection| connection.stats().udp_rx.datagrams)
    }

    /// Whether a talk goes by the connection that is used for the member.
    #[must_use]
    pub fn is_current(&self, talk: &Talk, node: NodeId) -> bool {
        talk.is_current(&self.core, node)
    }

    /// Notes a proof that a member sent something wrong: `what` names the entity and the block.
    ///
    /// The second proof within a day blocks the member for a day (T-01).
    pub fn blame(&self, node: NodeId, what: &str) {
        let is_blocked = self.core.conduct().count_proof(node, Instant::now());
        tracing::warn!(%node, what, "a peer sent something that is provably wrong");
        if is_blocked {
            tracing::warn!(%node, "two proofs of wrong blocks: the peer is blocked for 24 hours");
            self.core.close_all(node, code::BLOCKED);
        }
    }

    /// Says goodbye to all members and ends every task of the room.
    pub async fn close(self) {
        self.core.stop.cancel();
        self.core.tasks.close();
        if timeout(FAREWELL, self.core.tasks.wait()).await.is_err() {
            tracing::warn!("some questions of peers did not end in time");
        }
    }
}

async fn close_when_stopped(core: Arc<Core>) {
    core.stop.cancelled().await;
    core.endpoint.close(code::BYE, b"");
    // Peers that do not acknowledge the goodbye find out by their own idle timeout.
    let _ = timeout(FAREWELL / 2, core.endpoint.wait_idle()).await;
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("node", &self.core.me).field("port", &self.port).finish_non_exhaustive()
    }
}
