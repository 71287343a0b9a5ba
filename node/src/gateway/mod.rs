//! The gateway: unmodified tools that speak plain HTTP to this machine get the cache, the peers, and verified https to the origin.
//!
//! It is a shared cache in the sense of RFC 9111 whose every decision is made by [`eddy_content::http::serve`]. A request finds its
//! resource (`listen`); what is on the shelf answers it if it may (`serve`, `answer`); else one flight for all who want the same asks the
//! origin (`flight`), and puts the body where everybody can read it: small ones in memory (`growing`), large ones in the store, filled by
//! the engine in ranges and from peers (`filling`). What cannot be shared is passed on as it is.
//!
//! | module | idea |
//! |---|---|
//! | `listen` | who may connect, and which resource a request means |
//! | `serve` | one request: from what is stored, by a flight, or passed on |
//! | `fields` | which fields of a request the origin gets |
//! | `flight` | one question to an origin for all who want the same |
//! | `shelf` | what is stored of answers |
//! | `growing` | a body in memory that grows while it is read |
//! | `parts` | parts of a body in memory, and what they make together |
//! | `pass` | what goes to one client, and what is kept of it |
//! | `filling` | an entity of the store that is read while the engine fills it |
//! | `saver` | small bodies into the store, behind everything else |
//! | `answer` | a stored answer, made into the answer to a request |
//! | `body` | the content on its way to a client |
//! | `links` | indexes whose files lie elsewhere lead through the gateway |
//! | `tunnel` | CONNECT |
//! | `refusal` | the gateway's own answers |
//! | `tally` | what was asked and answered, by mount |

mod answer;
mod body;
mod fields;
mod filling;
mod flight;
mod growing;
mod links;
mod listen;
mod parts;
mod pass;
mod refusal;
mod saver;
mod serve;
mod shelf;
mod tally;
mod tunnel;

pub use tally::Tallies;

use crate::config::gateway::GatewayPlan;
use crate::driver::DriverHandle;
use crate::origin::{ConfigError, Origin, OriginConfig, PrivateAddresses};
use crate::peer::Peers;
use eddy_cache::{RemoveOutcome, Store};
use eddy_content::EntityId;
use flight::Flights;
use http::HeaderValue;
use saver::Saver;
use shelf::Shelf;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// KiB of small bodies in memory, on the shelf or on their way.
const ROOM_KIB: usize = 192 << 10;
/// Bytes of the longest content of a request that is forwarded.
const MAX_CONTENT: usize = 16 << 20;
/// How often an entity with false bytes is tried to be removed while somebody reads it.
const DISCARD_TRIES: u32 = 100;
/// The pause between.
const DISCARD_PAUSE: Duration = Duration::from_millis(100);
/// Requests that one origin sees from the gateway at a time.
const REQUESTS_PER_ORIGIN: usize = 64;

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address cannot be listened at: somebody else's fault, or the administrator's.
    #[error("the gateway cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The way to origins cannot be set up.
    #[error(transparent)]
    Origin(#[from] ConfigError),
}

/// What a gateway works with.
pub struct Parts {
    /// The store.
    pub store: Store,
    /// The driver.
    pub driver: DriverHandle,
    /// The peers, in a group.
    pub peers: Option<Peers>,
    /// The way to origins.
    pub origin: OriginConfig,
}

/// What all of its tasks share.
struct Gateway {
    plan: GatewayPlan,
    store: Store,
    driver: DriverHandle,
    peers: Option<Peers>,
    /// The way to what the administrator has mounted.
    named: Origin,
    /// The way to what a proxy's client names: public addresses alone (T-20).
    public: Origin,
    shelf: Shelf,
    flights: Flights,
    saver: Saver,
    room: Arc<Semaphore>,
    tallies: Tallies,
    /// Its own URL, without a slash at the end.
    base: String,
    /// What it calls itself in `Via`, so that it knows its own requests again.
    pseudonym: String,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A running gateway.
#[derive(Debug)]
pub struct RunningGateway {
    address: SocketAddr,
    tallies: Tallies,
    tasks: TaskTracker,
}

/// Starts a gateway; it ends with `stop`.
pub async fn start(plan: GatewayPlan, parts: Parts, stop: CancellationToken) -> Result<RunningGateway, GatewayError> {
    let failed = |source| GatewayError::Listen { address: plan.listen, source };
    let listener = TcpListener::bind(plan.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let named = OriginConfig { requests_per_origin: REQUESTS_PER_ORIGIN, ..parts.origin };
    let public = OriginConfig { private_addresses: PrivateAddresses::Refused, ..named.clone() };
    let tasks = TaskTracker::new();
    let (saver, saving) = Saver::start(parts.store.clone(), stop.clone());
    tasks.spawn(saving);
    let tallies = Tallies::of(&plan, address);
    let gateway = Arc::new(Gateway {
        base: base_of(&plan, address),
        plan,
        store: parts.store,
        driver: parts.driver,
        peers: parts.peers,
        named: Origin::new(named)?,
        public: Origin::new(public)?,
        shelf: Shelf::default(),
        flights: Flights::default(),
        saver,
        room: Arc::new(Semaphore::new(ROOM_KIB)),
        tallies: tallies.clone(),
        pseudonym: format!("eddy-{}", data_encoding::HEXLOWER.encode(&rand::random::<[u8; 6]>())),
        tasks: tasks.clone(),
        stop,
    });
    tasks.spawn(gateway.listen(listener));
    tasks.close();
    tracing::info!(%address, "the gateway listens");
    Ok(RunningGateway { address, tallies, tasks })
}

/// What its clients call it.
fn base_of(plan: &GatewayPlan, address: SocketAddr) -> String {
    match plan.names.first() {
        Some(name) if !address.ip().is_loopback() => format!("http://{name}:{}", address.port()),
        _ if address.ip().is_unspecified() => format!("http://localhost:{}", address.port()),
        _ => format!("http://{address}"),
    }
}

impl RunningGateway {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    #[must_use]
    pub fn tallies(&self) -> Tallies {
        self.tallies.clone()
    }

    /// Waits for its tasks, which end with the stop.
    pub async fn close(self) {
        self.tasks.wait().await;
    }
}

impl Gateway {
    /// Memory for a body of so many bytes; `None` when others have it all.
    fn room(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1024)).ok()?;
        self.room.clone().try_acquire_many_owned(kib).ok()
    }

    /// Takes an entity out of the store that is not what was promised, as soon as its readers let go of it.
    async fn discard(&self, id: EntityId) {
        for _ in 0..DISCARD_TRIES {
            let store = self.store.clone();
            match tokio::task::spawn_blocking(move || store.remove(&id)).await {
                Ok(Ok(RemoveOutcome::InUse)) => tokio::time::sleep(DISCARD_PAUSE).await,
                Ok(Ok(RemoveOutcome::Removed { .. } | RemoveOutcome::NotFound)) => return,
                _ => break,
            }
        }
        tracing::warn!(entity = %id, "an entity that is not what its name promises could not be removed");
    }

    fn via(&self) -> HeaderValue {
        HeaderValue::from_str(&format!("1.1 {}", self.pseudonym))
            .unwrap_or_else(|_| HeaderValue::from_static("1.1 eddy"))
    }
}
