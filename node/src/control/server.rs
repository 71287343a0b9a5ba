//! Serves control connections until it is told to stop.

use super::audit::Guard;
use super::face::Face;
use super::routes;
use super::socket::{Caller, ControlListener};
use std::future::IntoFuture;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Time that running calls get to end after the stop; then they are dropped.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the API on `listener`, to whom `guard` lets in, until `stop` is cancelled, then lets running calls end, for at most five seconds.
///
/// Not cancel safe in the sense that a dropped future drops running calls; the socket's file is removed either way.
pub async fn serve<F: Face>(
    listener: ControlListener,
    face: Arc<F>,
    guard: Guard,
    stop: CancellationToken,
) -> io::Result<()> {
    let service = routes::router(face, guard, stop.clone()).into_make_service_with_connect_info::<Caller>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stop.clone().cancelled_owned()).into_future();
    tokio::select! {
        served = serving => served,
        () = async { stop.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}
