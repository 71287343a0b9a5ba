//! libp2p's mDNS behaviour in a box: one thread with one small runtime, run in slices and thrown away when it costs too
//! much.
//!
//! The behaviour owns its sockets and spawns its own tasks, so nothing can be put in front of it; but its tasks only run
//! while somebody runs their runtime. That runtime is ours: not running it makes the kernel drop packets, and dropping it
//! frees every socket, task and queue (T-08). What comes out are hints, bounded and parsed.

mod advertise;
mod guard;
mod hint;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures::StreamExt;
use ipnet::IpNet;
use libp2p::core::transport::Transport;
use libp2p::swarm::{Config as SwarmConfig, SwarmEvent};
use libp2p::{PeerId, Swarm, mdns};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as TokioInstant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::advertise::Advertise;
use self::guard::{Guard, Next};
use crate::NodeKey;

/// Batches of hints that may wait for the service; more are dropped and counted.
pub(crate) const MAX_WAITING_BATCHES: usize = 64;
/// Life of our own records: a node that has gone is forgotten soon, and two questions fit into it.
const RECORD_LIFE: Duration = Duration::from_secs(75);
/// How often the network is asked when nobody else does.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Wait before trying again when no box can be built (no netlink, no descriptors).
const REBUILD_PAUSE: Duration = Duration::from_secs(5);
/// Longest time that the thread sleeps without looking for the stop sign.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Hints of one packet or a few.
#[derive(Debug)]
pub(crate) enum Batch {
    /// These were announced.
    Heard(Vec<(NodeKey, SocketAddr)>),
    /// The announcements of these ran out.
    Unheard(Vec<SocketAddr>),
}

/// What the box has done so far, for people and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MdnsFigures {
    /// Records reported by the behaviour, ours or of other programs.
    pub records: u64,
    /// Records that are not announcements of eddy.
    pub foreign: u64,
    /// Records dropped because the service was busy.
    pub overflowed: u64,
    /// How often the behaviour was built, the first time included.
    pub built: u64,
    /// Time spent not listening because the CPU budget was used up.
    pub rested: Duration,
    /// Thread time used.
    pub cpu: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Figures {
    records: AtomicU64,
    foreign: AtomicU64,
    overflowed: AtomicU64,
    built: AtomicU64,
    rested_us: AtomicU64,
    cpu_us: AtomicU64,
}

impl Figures {
    pub(crate) fn now(&self) -> MdnsFigures {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        MdnsFigures {
            records: of(&self.records),
            foreign: of(&self.foreign),
            overflowed: of(&self.overflowed),
            built: of(&self.built),
            rested: Duration::from_micros(of(&self.rested_us)),
            cpu: Duration::from_micros(of(&self.cpu_us)),
        }
    }

    fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }

    fn add_time(count: &AtomicU64, more: Duration) {
        count.fetch_add(u64::try_from(more.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// What the thread works with.
pub(crate) struct Setup {
    pub(crate) peer: PeerId,
    pub(crate) port: u16,
    pub(crate) networks: watch::Receiver<Vec<IpNet>>,
    pub(crate) batches: mpsc::Sender<Batch>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) stop: CancellationToken,
}

/// The peer id that stands for `key`, or `None` when it is no Ed25519 key.
pub(crate) fn peer_id(key: &NodeKey) -> Option<PeerId> {
    hint::peer_id(key)
}

/// Starts the thread; it ends soon after `stop` is cancelled.
pub(crate) fn start(setup: Setup) -> io::Result<()> {
    thread::Builder::new().name("eddy-mdns".into()).spawn(move || run(&setup)).map(drop)
}

fn run(setup: &Setup) {
    let clock = Instant::now();
    let mut guard = Guard::new(clock.elapsed());
    while !setup.stop.is_cancelled() {
        let before = thread_cpu();
        match Hearing::build(setup) {
            Ok(hearing) => {
                guard.handle_built(clock.elapsed());
                hear(setup, hearing, &mut guard, clock, before);
            }
            Err(error) => {
                tracing::warn!(%error, "mDNS cannot start; trying again");
                rest(setup, REBUILD_PAUSE);
            }
        }
    }
}

/// Runs one box until it is to be rebuilt or all is to stop. `before`: thread time when its building began.
fn hear(setup: &Setup, mut hearing: Hearing, guard: &mut Guard, clock: Instant, mut before: Duration) {
    let mut next = Next::Run(guard.first_slice());
    while !setup.stop.is_cancelled() {
        match next {
            Next::Run(slice) => {
                let ended = hearing.run(setup, slice, guard.slice_cpu());
                let after = thread_cpu();
                let used = after.saturating_sub(before);
                before = after;
                Figures::add_time(&setup.figures.cpu_us, used);
                next = match ended {
                    Ended::Due => guard.after_slice(clock.elapsed(), used, hearing.records()),
                    Ended::NetworksChanged => guard.after_change(clock.elapsed(), used),
                };
            }
            Next::Rest(pause) => {
                rest(setup, pause);
                next = guard.after_rest(clock.elapsed(), hearing.records());
            }
            Next::Rebuild => {
                tracing::debug!(records = hearing.records(), "mDNS is built anew");
                return;
            }
        }
    }
}

fn rest(setup: &Setup, pause: Duration) {
    Figures::add_time(&setup.figures.rested_us, pause);
    let until = Instant::now() + pause;
    while let Some(left) = until.checked_duration_since(Instant::now())
        && !setup.stop.is_cancelled()
        && !left.is_zero()
    {
        thread::sleep(left.min(LONGEST_SLEEP));
    }
}

/// CPU time of this thread so far.
#[cfg(unix)]
fn thread_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Where threads have no CPU clock, the budget is not enforced; the bound on records still is.
#[cfg(not(unix))]
fn thread_cpu() -> Duration {
    Duration::ZERO
}

/// Why a slice has ended.
enum Ended {
    Due,
    NetworksChanged,
}

/// The box: a runtime, and the swarm whose tasks live in it.
struct Hearing {
    /// Dropped first, with its sockets.
    swarm: Swarm<mdns::tokio::Behaviour>,
    runtime: Runtime,
    networks: watch::Receiver<Vec<IpNet>>,
}

impl Hearing {
    /// Builds the box once this host has a network; it announces what is up now.
    fn build(setup: &Setup) -> io::Result<Self> {
        // The driver is looked at after every task, so that no task can keep the slice's timer from firing.
        let runtime = Builder::new_current_thread().enable_all().event_interval(1).build()?;
        let mut networks = setup.networks.clone();
        let some_network = async {
            let up = networks.wait_for(|up| !up.is_empty()).await;
            // An error means that everything is ending.
            up.map(|up| up.iter().map(IpNet::addr).collect()).unwrap_or_default()
        };
        let up: Vec<IpAddr> = runtime.block_on(setup.stop.run_until_cancelled(some_network)).unwrap_or_default();
        let config = mdns::Config { ttl: RECORD_LIFE, query_interval: ASK_EVERY, enable_ipv6: false };
        let inside = runtime.enter();
        let behaviour = mdns::tokio::Behaviour::new(config, setup.peer)?;
        drop(inside);
        let transport = Advertise::default().boxed();
        let mut swarm = Swarm::new(transport, behaviour, setup.peer, SwarmConfig::with_tokio_executor());
        for ip in up {
            if let Err(error) = swarm.listen_on(hint::announcement(ip, setup.port)) {
                tracing::warn!(%ip, %error, "address cannot be announced");
            }
        }
        Figures::add(&setup.figures.built, 1);
        Ok(Self { swarm, runtime, networks })
    }

    /// Records that the behaviour remembers.
    fn records(&self) -> usize {
        self.swarm.behaviour().discovered_nodes().len()
    }

    /// Runs the box for at most `slice`, or until it has used `cpu` of thread time.
    fn run(&mut self, setup: &Setup, slice: Duration, cpu: Duration) -> Ended {
        let Self { swarm, runtime, networks } = self;
        let began = thread_cpu();
        runtime.block_on(async {
            let deadline = sleep_until(TokioInstant::now() + slice);
            tokio::pin!(deadline);
            loop {
                tokio::select! {
                    biased;
                    () = setup.stop.cancelled() => return Ended::Due,
                    () = &mut deadline => return Ended::Due,
                    Ok(()) = networks.changed() => return Ended::NetworksChanged,
                    event = swarm.select_next_some() => {
                        if let SwarmEvent::Behaviour(event) = event {
                            pass_on(setup, event);
                        }
                        if thread_cpu().saturating_sub(began) >= cpu {
                            return Ended::Due;
                        }
                    }
                }
            }
        })
    }
}

/// Hands the hints of one event to the service, without ever waiting for it.
fn pass_on(setup: &Setup, event: mdns::Event) {
    let (records, is_new) = match event {
        mdns::Event::Discovered(records) => (records, true),
        mdns::Event::Expired(records) => (records, false),
    };
    let hints: Vec<_> = records.iter().filter_map(|(peer, address)| hint::read(peer, address)).collect();
    if is_new {
        Figures::add(&setup.figures.records, records.len());
        Figures::add(&setup.figures.foreign, records.len() - hints.len());
    }
    if hints.is_empty() {
        return;
    }
    let count = hints.len();
    let batch = if is_new {
        Batch::Heard(hints)
    } else {
        Batch::Unheard(hints.into_iter().map(|(_, address)| address).collect())
    };
    if setup.batches.try_send(batch).is_err() {
        Figures::add(&setup.figures.overflowed, count);
    }
}
