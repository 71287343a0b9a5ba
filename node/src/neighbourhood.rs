//! Discovery and peers together: hints become dials, dials become peers, peers become inputs of the engine.

use crate::config::PeerSettings;
use crate::group::{EXPIRED, Group, REMOVED, Standing};
use crate::identity::Identity;
use crate::peer::belief;
use crate::peer::{PeerEvent, PeerSummary, Peers, PeersConfig, PeersError, Serving};
use eddy_cache::{EntityHandle, Store};
use eddy_discovery::{Discovery, DiscoveryConfig, DiscoveryError, DiscoveryEvent, Mdns, Summary};
use eddy_engine::trust::Policy;
use eddy_engine::upload::UploadLimits;
use eddy_engine::{Input, Peer};
use eddy_wire::node_id::NodeId;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a dial may take before the neighbour counts as unreachable.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the node has no way to peers though it has a group.
#[derive(Debug, thiserror::Error)]
pub enum NeighbourhoodError {
    /// The QUIC endpoint.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The store cannot be made to know the group's names of what it holds.
    #[error("cannot name the cache's entities for the group")]
    Lookup(#[source] eddy_cache::StoreError),
    /// Discovery.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
}

/// What a neighbourhood is made of.
pub struct Parts<'a> {
    /// Who this node is.
    pub identity: &'a Identity,
    /// Who its peers are.
    pub group: &'a Group,
    /// What it serves them from.
    pub store: &'a Store,
    /// What the administrator set.
    pub settings: &'a PeerSettings,
    /// The same about uploads, read.
    pub uploads: UploadLimits,
    /// Whose word is enough.
    pub trust: Policy,
    /// Where evidence against members is kept.
    pub home: &'a Path,
}

/// The peers of this node, found and connected by themselves.
pub struct Neighbourhood {
    peers: Peers,
    discovery: Arc<Discovery>,
    has_sources: bool,
    fetching: Fetching,
    inputs: Option<oneshot::Sender<mpsc::Sender<Input>>>,
    tasks: TaskTracker,
}

/// What can be seen of the neighbourhood.
#[derive(Clone)]
pub struct NeighbourhoodView {
    peers: Peers,
    discovery: Arc<Discovery>,
    mdns: Mdns,
}

/// Starts the endpoint and discovery.
pub async fn start(parts: Parts<'_>, stop: CancellationToken) -> Result<Neighbourhood, NeighbourhoodError> {
    let (store, secret) = (parts.store.clone(), parts.group.lookup_secret());
    let named = tokio::task::spawn_blocking(move || store.set_lookup_secret(Some(secret))).await;
    named.unwrap_or(Err(eddy_cache::StoreError::Closing)).map_err(NeighbourhoodError::Lookup)?;
    let listen = parts.settings.listen.unwrap_or(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let records = Some(parts.home.to_path_buf());
    let tasks = TaskTracker::new();
    let mut config = PeersConfig { listen, trust: parts.trust, records, ..PeersConfig::default() };
    config.limits.upload = parts.uploads;
    config.limits.serving = if parts.settings.may_serve() { Serving::Members } else { Serving::Nobody };
    config.limits.swarms = parts.settings.swarms();
    let (peers, peer_events) =
        Peers::start(config, parts.identity, parts.group, parts.store.clone(), stop.clone()).await?;
    if let Some(denied) = parts.group.denied() {
        let kept = parts.store.epoch(&denied.group().0).map_err(NeighbourhoodError::Lookup)?;
        denied.guard(kept);
        tasks.spawn(belief::sweep::run(peers.clone(), parts.store.clone(), denied.clone(), stop.clone()));
    }
    let mdns = if parts.settings.mdns.unwrap_or(true) { Mdns::On } else { Mdns::Off };
    let (discovery, hints) = Discovery::start(DiscoveryConfig {
        key: parts.identity.node_id().0,
        quic_port: peers.port(),
        mdns,
        static_peers: parts.settings.known.clone(),
    })?;
    let discovery = Arc::new(discovery);
    let fetching = if parts.settings.may_fetch() { Fetching::FromPeers } else { Fetching::NotFromPeers };
    let has_sources = mdns == Mdns::On || !parts.settings.known.is_empty();
    let (inputs, awaited) = oneshot::channel();
    let dialler =
        Dialler { peers: peers.clone(), discovery: discovery.clone(), tasks: tasks.clone(), stop: stop.clone() };
    tasks.spawn(stop.clone().run_until_cancelled_owned(dialler.run(hints)));
    tasks.spawn(stop.run_until_cancelled_owned(report((peer_events, fetching), discovery.clone(), awaited)));
    tracing::info!(port = peers.port(), "peers are served");
    Ok(Neighbourhood { peers, discovery, has_sources, fetching, inputs: Some(inputs), tasks })
}

impl Neighbourhood {
    /// The peers.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Whether discovery may find any from which bytes may come.
    #[must_use]
    pub fn may_find_peers(&self) -> bool {
        self.has_sources && self.fetching == Fetching::FromPeers
    }

    /// Names the engine's inputs, to which peers are reported from now on, those before included.
    pub fn report_to(&mut self, inputs: mpsc::Sender<Input>) {
        if let Some(awaiting) = self.inputs.take() {
            let _ = awaiting.send(inputs);
        }
    }

    /// What can be seen.
    #[must_use]
    pub fn view(&self) -> NeighbourhoodView {
        let mdns = if self.has_sources { Mdns::On } else { Mdns::Off };
        NeighbourhoodView { peers: self.peers.clone(), discovery: self.discovery.clone(), mdns }
    }

    /// Says goodbye to every peer.
    pub async fn close(self) {
        self.peers.close().await;
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl NeighbourhoodView {
    /// The peers that are connected.
    #[must_use]
    pub fn connected(&self) -> Vec<PeerSummary> {
        self.peers.connected()
    }

    /// The UDP port at which this node serves.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.peers.port()
    }

    /// The figures of discovery.
    #[must_use]
    pub fn discovery(&self) -> Summary {
        self.discovery.summary()
    }

    /// How many members vouch for each held block of an entity that this node did not fetch itself. Blocks on the disk.
    #[must_use]
    pub fn witnesses(&self, handle: &EntityHandle) -> Option<u8> {
        self.peers.witnesses(handle)
    }

    /// The peers.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Why there is no peer, if there is none.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        if !self.connected().is_empty() {
            return None;
        }
        match self.peers.standing() {
            Standing::Expired(_) => return Some(EXPIRED.to_owned()),
            Standing::Removed => return Some(REMOVED.to_owned()),
            Standing::Unlimited | Standing::Until(_) => {}
        }
        if let Some(parting) = self.peers.told() {
            return Some(format!(
                "a member turned this node away: {parting}; `eddy group join CODE` with a new code may help"
            ));
        }
        let counts = self.discovery().neighbours;
        let found = counts.lost + counts.dialling + counts.waiting;
        Some(match (self.mdns, found) {
            (Mdns::Off, 0) => "multicast is off and no peer is named in the configuration".to_owned(),
            (Mdns::On, 0) => "no neighbour has been heard of on this network yet".to_owned(),
            (_, found) => format!("{found} neighbours were heard of, none has proved to be in the group yet"),
        })
    }
}

/// Turns hints into dials.
struct Dialler {
    peers: Peers,
    discovery: Arc<Discovery>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Dialler {
    async fn run(self, mut hints: mpsc::Receiver<DiscoveryEvent>) {
        while let Some(hint) = hints.recv().await {
            let DiscoveryEvent::Dial { candidate, address } = hint else { continue };
            let (peers, discovery) = (self.peers.clone(), self.discovery.clone());
            // Bounded by discovery itself: five dials a second, each at most ten seconds.
            self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
                let dial = peers.connect(address, candidate.map(NodeId));
                match tokio::time::timeout(DIAL_TIMEOUT, dial).await {
                    Ok(Ok(node)) => discovery.on_proven(node.0, address),
                    Ok(Err(error)) => {
                        tracing::debug!(%address, %error, "a neighbour is no peer");
                        discovery.on_failed(address);
                    }
                    Err(_) => discovery.on_failed(address),
                }
            }));
        }
    }
}

/// Whether the engine hears of peers: it asks those of which it knows, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetching {
    FromPeers,
    NotFromPeers,
}

/// Tells the engine and discovery who comes and goes.
async fn report(
    (mut events, fetching): (mpsc::Receiver<PeerEvent>, Fetching),
    discovery: Arc<Discovery>,
    inputs: oneshot::Receiver<mpsc::Sender<Input>>,
) {
    let Ok(inputs) = inputs.await else { return };
    while let Some(event) = events.recv().await {
        let input = match event {
            PeerEvent::Up { node, address } => {
                discovery.on_proven(node.0, address);
                tracing::info!(peer = %node, %address, "peer connected");
                Input::PeerUp(Peer(node.0))
            }
            PeerEvent::Told { node, address } => {
                discovery.on_told(node.0, address);
                continue;
            }
            PeerEvent::Down { node, reason } => {
                discovery.on_lost(node.0);
                tracing::info!(peer = %node, %reason, "peer gone");
                Input::PeerDown(Peer(node.0))
            }
        };
        if fetching == Fetching::FromPeers && inputs.send(input).await.is_err() {
            return;
        }
    }
}
