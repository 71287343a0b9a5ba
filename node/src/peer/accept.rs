//! Lets connections in, at a bounded rate of work (T-07): how many at a time is counted here, how many a second in [`gate`].

mod gate;

use self::gate::{Address, Entry, Gate};
use super::core::Core;
use super::link;
use super::table::Initiator;
use quinn::Incoming;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Accepts until the endpoint closes.
pub(crate) async fn run(core: Arc<Core>) {
    let mut door = Door::new(&core);
    while let Some(incoming) = core.endpoint.accept().await {
        let slots = match door.judge(&incoming) {
            Ok(slots) => slots,
            Err(Refused::Prove) => {
                // Fails only for one that has proven itself, and those are not asked again.
                let _ = incoming.retry();
                continue;
            }
            Err(Refused::Ignore) => {
                // No answer at all: an honest node tries again, and a flood costs nothing more.
                incoming.ignore();
                continue;
            }
        };
        let core = Arc::clone(&core);
        let tasks = core.tasks.clone();
        tasks.spawn(async move {
            let connection = shake_hands(&core, incoming).await;
            drop(slots);
            if let Some(connection) = connection {
                link::live(core, connection, Initiator::There, None).await;
            }
        });
    }
}

/// What is under way at the entrance.
struct Door {
    began: Instant,
    gate: Gate,
    /// Slots of all handshakes.
    all: Arc<Semaphore>,
    /// Slots of those with addresses that may be forged.
    unproven: Arc<Semaphore>,
}

/// The slots of a handshake that is under way.
type Slots = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

enum Refused {
    Prove,
    Ignore,
}

impl Door {
    fn new(core: &Core) -> Self {
        let limits = &core.config.limits;
        Self {
            began: Instant::now(),
            gate: Gate::new(),
            all: Arc::new(Semaphore::new(limits.handshakes)),
            unproven: Arc::new(Semaphore::new(limits.unproven_handshakes)),
        }
    }

    fn judge(&mut self, incoming: &Incoming) -> Result<Slots, Refused> {
        let address = if incoming.remote_address_validated() { Address::Proven } else { Address::Unproven };
        let slot = match address {
            Address::Proven => None,
            Address::Unproven => Some(Arc::clone(&self.unproven).try_acquire_owned().map_err(|_| Refused::Prove)?),
        };
        match self.gate.judge(self.began.elapsed(), incoming.remote_address().ip(), address) {
            Entry::Begin => {}
            Entry::Prove => return Err(Refused::Prove),
            Entry::Ignore => return Err(Refused::Ignore),
        }
        let of_all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Refused::Ignore)?;
        Ok((of_all, slot))
    }
}

async fn shake_hands(core: &Core, incoming: Incoming) -> Option<quinn::Connection> {
    let address = super::close::canonical(incoming.remote_address());
    let shaken = timeout(core.config.patience.handshake, async { incoming.accept()?.await }).await;
    match shaken {
        Ok(Ok(connection)) => Some(connection),
        Ok(Err(error)) => {
            tracing::debug!(%address, %error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%address, "a handshake took too long");
            None
        }
    }
}
