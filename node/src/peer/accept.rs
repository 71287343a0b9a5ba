//! Lets connections in, at a bounded rate of work: handshakes cost signatures, and addresses may be forged (T-07).

use super::core::Core;
use super::link;
use super::table::Initiator;
use quinn::Incoming;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Accepts until the endpoint closes.
pub(crate) async fn run(core: Arc<Core>) {
    let limits = &core.config.limits;
    let all = Arc::new(Semaphore::new(limits.handshakes));
    let unproven = Arc::new(Semaphore::new(limits.unproven_handshakes));
    while let Some(incoming) = core.endpoint.accept().await {
        let Ok(slot) = Arc::clone(&all).try_acquire_owned() else {
            // No answer at all: an honest node tries again, and a flood costs nothing more.
            incoming.ignore();
            continue;
        };
        let guess = match guess_slot(&incoming, &unproven) {
            Ok(guess) => guess,
            Err(NoSlot) => {
                // Retry answers with less than it got and keeps no state.
                let _ = incoming.retry();
                continue;
            }
        };
        let core = Arc::clone(&core);
        let tasks = core.tasks.clone();
        tasks.spawn(async move {
            let connection = shake_hands(&core, incoming).await;
            drop((slot, guess));
            if let Some(connection) = connection {
                link::live(core, connection, Initiator::There, None).await;
            }
        });
    }
}

/// All slots of handshakes with unproven addresses are taken.
struct NoSlot;

/// A slot for a handshake whose address may be forged; a proven address needs none.
fn guess_slot(
    incoming: &Incoming,
    unproven: &Arc<Semaphore>,
) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, NoSlot> {
    if incoming.remote_address_validated() {
        return Ok(None);
    }
    match Arc::clone(unproven).try_acquire_owned() {
        Ok(permit) => Ok(Some(permit)),
        Err(_) if incoming.may_retry() => Err(NoSlot),
        Err(_) => Ok(None),
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
