//! The gateway: unmodified tools that speak plain HTTP to this machine get the cache, the peers, and verified https to the origin.
//!
//! It is a shared cache in the sense of RFC 9111 whose every decision is made by [`eddy_content::http::serve`]. A request finds its
//! resource (`listen`); what is on the shelf answers it if it may (`serve`, `answer`); else one flight for all who want the same asks the
//! origin (`flight`), and puts the body where everybody can read it: small ones in memory (`growing`), large ones in the store, filled by
//! the engine in ranges and from peers (`filling`). What cannot be shared is passed on as it is.
//!
//! | module | idea |
//! |---|---|
//! | `gate` | the gateway as its settings want it |
//! | `mounts` | what is mounted |
//! | `terms` | under which terms something is asked for and kept |
//! | `authority` | by which name or address a client calls the gateway |
//! | `reactors` | the threads that serve clients |
//! | `listen` | who may connect, and which resource a request means |
//! | `line` | the line to a client, which may end with a reset |
//! | `serve` | one request: from what is stored, by a flight, or passed on |
//! | `content` | the content of a request that is forwarded |
//! | `fields` | which fields of a request the origin gets |
//! | `flight` | one question to an origin for all who want the same |
//! | `shelf` | what is stored of answers |
//! | `gathered` | a body that is read to its end before anything of it goes out |
//! | `growing` | a body in memory that grows while it is read |
//! | `leave` | what a client that proves who it is asks for by its digest |
//! | `parts` | parts of a body in memory, and what they make together |
//! | `pass` | what goes to one client, and what is kept of it |
//! | `found` | what is found in the store, for who wants it now |
//! | `filling` | an entity of the store that is read while the engine fills it |
//! | `alone` | a reader that goes on at the origin for itself |
//! | `saver` | small bodies into the store, behind everything else |
//! | `answer` | a stored answer, made into the answer to a request |
//! | `body` | the content on its way to a client |
//! | `links` | indexes whose files lie elsewhere lead through the gateway |
//! | `promised` | what the whole of an answer must keep, and a body that is held against that on its way |
//! | `promises` | digests that an index names for the files it lists |
//! | `distrusted` | files that broke the word of an index a moment ago |
//! | `tunnel` | CONNECT |
//! | `refusal` | the gateway's own answers |
//! | `tally` | what was asked and answered, by mount |

mod alone;
mod answer;
mod authority;
mod body;
mod content;
mod distrusted;
mod fields;
mod filling;
mod flight;
mod found;
mod gate;
mod gathered;
mod growing;
mod leave;
mod line;
mod links;
mod listen;
mod mounts;
mod parts;
mod pass;
mod promised;
mod promises;
mod reactors;
mod refusal;
mod saver;
mod serve;
mod shelf;
mod tally;
mod terms;
mod tunnel;

pub use gate::{Current, Files, Gate};

use crate::config::gateway::GatewayPlan;
use crate::driver::DriverHandle;
use crate::origin::{ConfigError, Origin, OriginConfig, PrivateAddresses};
use crate::peer::Peers;
use authority::Authorities;
use distrusted::Distrusted;
use eddy_cache::{RemoveOutcome, Store};
use eddy_content::EntityId;
use flight::Flights;
use http::HeaderValue;
use listen::CONNECTIONS;
use mounts::Mounts;
use promises::Promises;
use reactors::Reactors;
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
#[derive(Clone)]
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
    shelf: Arc<Shelf>,
    flights: Flights,
    promises: Promises,
    distrusted: Distrusted,
    saver: Saver,
    room: Arc<Semaphore>,
    /// For connections.
    places: Arc<Semaphore>,
    mounts: Mounts,
    /// What its clients call it.
    authorities: Authorities,
    /// What it calls itself in `Via`, so that it knows its own requests again.
    pseudonym: String,
    /// The field that says so.
    via: HeaderValue,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A running gateway.
#[derive(Debug)]
pub struct RunningGateway {
    address: SocketAddr,
    mounts: Mounts,
    shelf: Arc<Shelf>,
    tasks: TaskTracker,
    reactors: Reactors,
}

/// Starts a gateway; it ends with `stop`.
async fn start(plan: GatewayPlan, parts: Parts, stop: CancellationToken) -> Result<RunningGateway, GatewayError> {
    let wanted = plan.listen;
    let failed = |source| GatewayError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listener = listener.into_std().map_err(failed)?;
    let named = OriginConfig { requests_per_origin: REQUESTS_PER_ORIGIN, ..parts.origin };
    let public = OriginConfig { private_addresses: PrivateAddresses::Refused, ..named.clone() };
    let tasks = TaskTracker::new();
    let (saver, saving) = Saver::start(parts.store.clone(), tasks.clone(), stop.clone());
    tasks.spawn(saving);
    let (mounts, shelf) = (Mounts::of(&plan, address), Arc::new(Shelf::default()));
    let pseudonym = format!("eddy-{}", data_encoding::HEXLOWER.encode(&rand::random::<[u8; 6]>()));
    let via = format!("1.1 {pseudonym}");
    let authorities = Authorities::of(&plan, address);
    let gateway = Arc::new(Gateway {
        plan,
        store: parts.store,
        driver: parts.driver,
        peers: parts.peers,
        named: Origin::new(named)?,
        public: Origin::new(public)?,
        shelf: shelf.clone(),
        flights: Flights::default(),
        promises: Promises::default(),
        distrusted: Distrusted::default(),
        saver,
        room: Arc::new(Semaphore::new(ROOM_KIB)),
        places: Arc::new(Semaphore::new(CONNECTIONS)),
        mounts: mounts.clone(),
        authorities,
        via: HeaderValue::from_str(&via).unwrap_or_else(|_| HeaderValue::from_static("1.1 eddy")),
        pseudonym,
        tasks: tasks.clone(),
        stop,
    });
    let store = gateway.store.clone();
    tasks.spawn_blocking(move || {
        if let Err(error) = store.remember_names() {
            tracing::warn!(%error, "each question about what is not held will look into the store");
        }
    });
    tasks.close();
    let reactors = Reactors::start(&gateway, &listener).map_err(failed)?;
    tracing::info!(%address, "the gateway listens");
    Ok(RunningGateway { address, mounts, shelf, tasks, reactors })
}

impl RunningGateway {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for its tasks and threads, which end with the stop.
    pub async fn close(self) {
        self.tasks.wait().await;
        let reactors = self.reactors;
        let _ = tokio::task::spawn_blocking(move || reactors.join()).await;
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
}
