//! The one task of discovery: it hands hints to the pure [`Neighbours`] and its events to the node.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use std::net::SocketAddr;

use futures::StreamExt;
use if_watch::tokio::IfWatcher;
use ipnet::IpNet;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::NodeKey;
use crate::mdns::{self, Batch, Figures, MdnsFigures};
use crate::neighbours::{Counts, DiscoveryEvent, Neighbours};
use crate::static_peers::{Answer, RESOLVE_EVERY, StaticPeer, StaticPeerError};

/// Events that may wait for the node; while it is busy no more dials are chosen.
const MAX_WAITING_EVENTS: usize = 32;
/// What static entries mean, waiting for the service: of each entry up to 16 addresses.
const MAX_WAITING_ANSWERS: usize = 16;
/// The task sleeps at most so long when nothing is due.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Whether this node announces itself and listens on the local networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mdns {
    /// Announce and listen, on every interface but loopback.
    #[default]
    On,
    /// Neither; only the static list is used.
    Off,
}

/// What discovery needs to know.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// This node's Ed25519 public key.
    pub key: NodeKey,
    /// The UDP port of this node's QUIC endpoint.
    pub quic_port: u16,
    /// Multicast on the local networks.
    pub mdns: Mdns,
    /// Peers by `address:port` or `name:port`.
    pub static_peers: Vec<String>,
}

/// Why discovery does not start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The key is not a point of the curve. Our fault; no retry helps.
    #[error("the node's key is not an Ed25519 public key")]
    Key,
    /// The port is zero: nothing to announce. Our fault; bind the endpoint first.
    #[error("the QUIC port is 0; bind the endpoint before announcing it")]
    Port,
    /// An entry of the static list. The user's fault.
    #[error(transparent)]
    StaticPeer(#[from] StaticPeerError),
    /// The system does not tell its network interfaces. Retry may help.
    #[error("cannot watch the network interfaces")]
    Interfaces(#[source] io::Error),
    /// The mDNS thread cannot be started. Retry may help.
    #[error("cannot start the mDNS thread")]
    Thread(#[source] io::Error),
}

/// Figures for `eddy peers`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Neighbours by kind, refusals by reason.
    pub neighbours: Counts,
    /// What mDNS has done; all zero when it is off.
    pub mdns: MdnsFigures,
}

/// Discovery at work. Dropping it ends the task and the thread.
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

/// The state is shared rather than sent to the task: what the node reports must not be lost, nor wait in a queue. The
/// lock is held for microseconds and never across an await.
#[derive(Debug)]
struct Shared {
    neighbours: Mutex<Neighbours>,
    changed: Notify,
    figures: Arc<Figures>,
    clock: Instant,
}

impl Discovery {
    /// Starts discovery on the current tokio runtime.
    ///
    /// Returns the handle for answers, and the events. Dials come at most five per second; each is to be answered with
    /// [`Discovery::on_proven`] or [`Discovery::on_failed`], within 15 s.
    ///
    /// # Errors
    /// See [`DiscoveryError`].
    ///
    /// # Panics
    /// When called outside a tokio runtime.
    pub fn start(config: DiscoveryConfig) -> Result<(Self, mpsc::Receiver<DiscoveryEvent>), DiscoveryError> {
        let peer = mdns::peer_id(&config.key).ok_or(DiscoveryError::Key)?;
        if config.quic_port == 0 {
            return Err(DiscoveryError::Port);
        }
        let static_peers =
            config.static_peers.iter().map(|entry| StaticPeer::parse(entry)).collect::<Result<Vec<_>, _>>()?;
        let interfaces = IfWatcher::new().map_err(DiscoveryError::Interfaces)?;

        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            neighbours: Mutex::new(Neighbours::new(config.key, config.quic_port)),
            changed: Notify::new(),
            figures: Arc::default(),
            clock: Instant::now(),
        });
        let (networks, watched) = watch::channel(Vec::new());
        let (batch_in, batches) = mpsc::channel(mdns::MAX_WAITING_BATCHES);
        let (answer_in, answers) = mpsc::channel(MAX_WAITING_ANSWERS);
        let (event_out, events) = mpsc::channel(MAX_WAITING_EVENTS);
        if config.mdns == Mdns::On {
            let setup = mdns::Setup {
                peer,
                port: config.quic_port,
                networks: watched,
                batches: batch_in,
                figures: Arc::clone(&shared.figures),
                stop: stop.clone(),
            };
            mdns::start(setup).map_err(DiscoveryError::Thread)?;
        }
        tokio::spawn(stop.clone().run_until_cancelled_owned(resolve(static_peers, answer_in)));
        let inputs = Inputs { interfaces, networks, batches, answers };
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(Arc::clone(&shared), inputs, event_out)));
        Ok((Self { shared, stop }, events))
    }

    /// The node at `address` has proved to be `key` and is connected, whoever dialled. Also for our own key, when an
    /// address turned out to be this node.
    pub fn on_proven(&self, key: NodeKey, address: SocketAddr) {
        self.shared.with(|neighbours, now| neighbours.handle_proven(now, key, address));
        self.shared.changed.notify_one();
    }

    /// A member says that `key` is at `address`: judged like an announcement, and dialled without a head start for the other one, which
    /// may not know of us.
    pub fn on_told(&self, key: NodeKey, address: SocketAddr) {
        // Why it is of no use is counted, and of no interest to who told it.
        let _ = self.shared.with(|neighbours, now| neighbours.handle_told(now, key, address));
        self.shared.changed.notify_one();
    }

    /// The dial to `address` failed, for whatever reason.
    pub fn on_failed(&self, address: SocketAddr) {
        self.shared.with(|neighbours, now| neighbours.handle_failed(now, address));
        self.shared.changed.notify_one();
    }

    /// The last connection with `key` has ended.
    pub fn on_lost(&self, key: NodeKey) {
        self.shared.with(|neighbours, now| neighbours.handle_lost(now, key));
        self.shared.changed.notify_one();
    }

    /// Figures as they are now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let neighbours = self.shared.with(|neighbours, _| neighbours.counts());
        Summary { neighbours, mdns: self.shared.figures.now() }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Neighbours, Duration) -> T) -> T {
        let mut neighbours: MutexGuard<'_, Neighbours> = self.neighbours.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut neighbours, self.clock.elapsed())
    }
}

struct Inputs {
    interfaces: IfWatcher,
    networks: watch::Sender<Vec<IpNet>>,
    batches: mpsc::Receiver<Batch>,
    answers: mpsc::Receiver<(usize, Answer)>,
}

/// Resolves the static list again and again.
async fn resolve(peers: Vec<StaticPeer>, answers: mpsc::Sender<(usize, Answer)>) {
    loop {
        for (entry, peer) in peers.iter().enumerate() {
            if answers.send((entry, peer.resolve().await)).await.is_err() {
                return;
            }
        }
        if peers.iter().all(|peer| matches!(peer, StaticPeer::Address(_))) {
            return;
        }
        tokio::time::sleep(RESOLVE_EVERY).await;
    }
}

/// The service's loop. Ends when the node drops the events.
async fn serve(shared: Arc<Shared>, mut inputs: Inputs, events: mpsc::Sender<DiscoveryEvent>) {
    loop {
        while let Ok(place) = events.try_reserve() {
            let Some(event) = shared.with(Neighbours::poll_event) else { break };
            place.send(event);
        }
        // With no place left, the node taking an event is what to wait for, not the clock.
        let timeout = shared.with(|neighbours, now| neighbours.poll_timeout(now).map(|at| at.saturating_sub(now)));
        let wake = TokioInstant::now() + timeout.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        let has_place = events.capacity() > 0;
        tokio::select! {
            () = events.closed() => return,
            () = shared.changed.notified() => {}
            interface = inputs.interfaces.select_next_some() => {
                if let Err(error) = interface {
                    tracing::warn!(%error, "network interfaces are not watched any more");
                    inputs.interfaces = match IfWatcher::new() {
                        Ok(anew) => anew,
                        Err(_) => return,
                    };
                }
                let mut up: Vec<IpNet> =
                    inputs.interfaces.iter().filter(|network| !network.addr().is_loopback()).copied().collect();
                up.sort_unstable();
                // First the judge, then those who ask: no answer may meet a judge who does not know the network.
                shared.with(|neighbours, _| neighbours.handle_networks(up.clone()));
                inputs.networks.send_if_modified(|known| {
                    let is_changed = *known != up;
                    *known = up;
                    is_changed
                });
            }
            Some(batch) = inputs.batches.recv() => shared.with(|neighbours, now| {
                take(neighbours, now, batch);
                // What else has come by now: at most the queue's length.
                for _ in 0..mdns::MAX_WAITING_BATCHES {
                    let Ok(batch) = inputs.batches.try_recv() else { break };
                    take(neighbours, now, batch);
                }
            }),
            Some((entry, answer)) = inputs.answers.recv() => {
                for address in shared.with(|neighbours, now| configure(neighbours, now, entry, answer)) {
                    tracing::warn!(%address, "too many configured peers; this one is not used");
                }
            }
            place = events.reserve(), if !has_place => {
                if place.is_err() {
                    return;
                }
            }
            () = sleep_until(wake), if has_place => {}
        }
    }
}

/// Hands in what an entry of the static list means now; returns the addresses for which there is no place.
fn configure(neighbours: &mut Neighbours, now: Duration, entry: usize, answer: Answer) -> Vec<SocketAddr> {
    match answer {
        Answer::Literal(address) if neighbours.handle_configured(now, address) => Vec::new(),
        Answer::Literal(address) => vec![address],
        Answer::Addresses(addresses) => neighbours.handle_resolved(now, entry, &addresses),
        Answer::None => {
            neighbours.handle_unresolved(entry);
            Vec::new()
        }
    }
}

fn take(neighbours: &mut Neighbours, now: Duration, batch: Batch) {
    match batch {
        Batch::Heard(hints) => {
            for (key, address) in hints {
                if let Err(why) = neighbours.handle_heard(now, key, address) {
                    tracing::debug!(%address, reason = why.name(), "announcement refused");
                }
            }
        }
        Batch::Unheard(addresses) => addresses.into_iter().for_each(|address| neighbours.handle_unheard(address)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(static_peers: &[&str]) -> DiscoveryConfig {
        let static_peers = static_peers.iter().map(|entry| (*entry).to_owned()).collect();
        // The base point of the curve (RFC 8032 section 5.1) is a valid key that nobody holds.
        let mut key = [0x66; 32];
        key[0] = 0x58;
        DiscoveryConfig { key, quic_port: 4_040, mdns: Mdns::Off, static_peers }
    }

    #[tokio::test]
    async fn configured_peers_are_dialled_by_address_and_by_name() {
        let (discovery, mut events) = Discovery::start(config(&["192.0.2.7:4041", "localhost:4042"])).unwrap();
        let mut dialled = Vec::new();
        while dialled.len() < 2 {
            match events.recv().await.expect("discovery goes on") {
                DiscoveryEvent::Dial { candidate: None, address } if !dialled.contains(&address.port()) => {
                    dialled.push(address.port());
                }
                DiscoveryEvent::Dial { candidate: None, .. } => {} // localhost has two addresses
                other => panic!("{other:?}"),
            }
        }
        dialled.sort_unstable();
        assert_eq!(dialled, [4_041, 4_042]);
        discovery.on_proven([7; 32], "192.0.2.7:4041".parse().unwrap());
        assert_eq!(discovery.summary().neighbours.connected, 1);
        assert_eq!(discovery.summary().mdns, MdnsFigures::default());
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_at_the_start() {
        let refused = |config| Discovery::start(config).err().map(|error| error.to_string());
        let port = DiscoveryConfig { quic_port: 0, ..config(&[]) };
        assert_eq!(refused(port).unwrap(), "the QUIC port is 0; bind the endpoint before announcing it");
        let peer = "peer \"nowhere\" has no usable port; write it as host:port or [v6]:port";
        assert_eq!(refused(config(&["nowhere"])).unwrap(), peer);
        // 2 is no y of any point (RFC 8032 section 5.1.3).
        let mut key = [0; 32];
        key[0] = 2;
        assert_eq!(
            refused(DiscoveryConfig { key, ..config(&[]) }).unwrap(),
            "the node's key is not an Ed25519 public key"
        );
    }

    #[tokio::test]
    async fn dropping_discovery_ends_its_events() {
        let (discovery, mut events) = Discovery::start(config(&[])).unwrap();
        drop(discovery);
        assert_eq!(events.recv().await, None);
    }
}
