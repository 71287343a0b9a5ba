//! Looks through the store for rot, slowly, while nobody else wants the disk (C-30).
//!
//! How fast is decided by `eddy_engine::scrub`; what is looked at, and where it stopped, is known to the store, also over a
//! restart. Blocks that rotted are struck off and nothing more: whoever wants the file next, a job here or a peer, has them
//! fetched anew, and what nobody wants is not worth a byte of somebody's line.

use crate::driver::DriverHandle;
use eddy_cache::{ScrubRecord, Store, StoreError};
use eddy_engine::scrub::{Facts, Pace, pace};
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// The pause after a step that failed: the disk is not well, or the store is closing.
const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// The first pause: a node that has just started has better things to do.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// Scrubs until the node stops.
pub(crate) async fn run(store: Store, driver: DriverHandle, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = match next(&store, &driver).await {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(%error, "the scrub cannot go on now");
                FAILED_PAUSE
            }
        };
    }
}

/// One step, if it is time for one; the pause after it.
async fn next(store: &Store, driver: &DriverHandle) -> Result<Duration, StoreError> {
    let ScrubRecord { last_full_pass, pass_began, .. } = blocking(store, Store::scrubbed).await?;
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = wall.as_secs().cast_signed();
    // A node that does not answer is stopping; the next turn of the loop sees that.
    let is_busy = driver.is_busy().await.unwrap_or(true);
    let (bytes, pause) = match pace(Facts { now, last_pass: last_full_pass, pass_began, is_busy }) {
        Pace::Step(bytes, pause) => (bytes, pause),
        Pace::Wait(pause) => return Ok(pause),
    };
    let step = blocking(store, move |store| store.scrub_step(bytes)).await?;
    if step.corrupt > 0 {
        tracing::error!(
            blocks = step.corrupt,
            "cached blocks had rotted: they are fetched again when somebody wants them"
        );
    }
    if step.is_pass_complete {
        tracing::info!("the cache was looked through for rot");
    }
    Ok(pause)
}

async fn blocking<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = store.clone();
    tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or(Err(StoreError::Closing))
}
