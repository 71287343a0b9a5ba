//! CONNECT: bytes both ways, which nobody here looks into. Off unless it is asked for, and to public addresses alone (T-20).

use super::Gateway;
use super::body::AnswerBody;
use super::refusal::Refusal;
use eddy_content::http::{AddressClass, may_connect};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// The port that a tunnel may lead to: TLS.
const PORT: u16 = 443;
/// How long the connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long neither end may say anything: longer than the keep-alives of what is spoken in tunnels, as other proxies have it.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Opens a tunnel.
pub(super) async fn open(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    place: Arc<OwnedSemaphorePermit>,
) -> Response<AnswerBody> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Refusal::new(StatusCode::BAD_REQUEST, "a tunnel leads to host:port").answer();
    };
    if authority.port_u16() != Some(PORT) {
        return Refusal::new(StatusCode::FORBIDDEN, "tunnels lead to port 443 alone").answer();
    }
    let origin = match connect(authority.host()).await {
        Ok(origin) => origin,
        Err(refusal) => return refusal.answer(),
    };
    let stop = gateway.stop.clone();
    gateway.tasks.spawn(async move {
        let Ok(client) = hyper::upgrade::on(request).await else { return };
        tokio::select! {
            () = carry(TokioIo::new(client), origin, place) => {}
            () = stop.cancelled() => {}
        }
    });
    Response::new(AnswerBody::Empty)
}

/// Carries bytes both ways until one of them closes, or neither says anything. To HTTP the connection ends where a tunnel begins: its place among
/// the connections is held on to here.
async fn carry<C, O>(client: C, origin: O, place: Arc<OwnedSemaphorePermit>)
where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    let is_used = Arc::new(AtomicBool::default());
    let (mut client, mut origin) =
        (Heard { line: client, is_used: &is_used }, Heard { line: origin, is_used: &is_used });
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut origin) => {}
        () = silence(&is_used) => {}
    }
    drop(place);
}

/// Waits until nothing was heard for [`SILENCE`], and at most for twice that.
async fn silence(is_used: &AtomicBool) {
    loop {
        tokio::time::sleep(SILENCE).await;
        if !is_used.swap(false, Ordering::Relaxed) {
            return;
        }
    }
}

/// One end of a tunnel, which tells when it says something.
struct Heard<'a, S> {
    line: S,
    is_used: &'a AtomicBool,
}

impl<S: AsyncRead + Unpin> AsyncRead for Heard<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.line).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.is_used.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Heard<'_, S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(cx)
    }
}

/// Connects to the address that was checked.
async fn connect(host: &str) -> Result<TcpStream, Refusal> {
    let unreachable = || Refusal::new(StatusCode::BAD_GATEWAY, "the host cannot be reached");
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((name, PORT)).await.map_err(|_| unreachable())?;
    let is_public = |address: &SocketAddr| may_connect(AddressClass::Public, AddressClass::of(address.ip())).is_ok();
    let mut allowed = found.filter(is_public).peekable();
    if allowed.peek().is_none() {
        return Err(Refusal::new(StatusCode::FORBIDDEN, "the host has no public address"));
    }
    for address in allowed.take(4) {
        if let Ok(Ok(stream)) = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            return Ok(stream);
        }
    }
    Err(unreachable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_has_a_place_as_long_as_somebody_speaks_in_it() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::new(places.clone().try_acquire_owned().expect("it is free"));
        let ((mut client, near), (far, mut origin)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let began = Instant::now();
        let carrying = tokio::spawn(carry(near, far, place));
        let mut heard = [0];
        for _ in 0..3 {
            tokio::time::sleep(SILENCE - Duration::from_secs(1)).await;
            client.write_all(b"a").await.expect("it is open");
            origin.read_exact(&mut heard).await.expect("it comes through");
            tokio::time::sleep(SILENCE - Duration::from_secs(1)).await;
            origin.write_all(b"b").await.expect("it is open");
            client.read_exact(&mut heard).await.expect("it comes through");
            assert_eq!(places.available_permits(), 0);
        }
        let last = Instant::now();
        carrying.await.expect("no panic");
        assert!(last.elapsed() <= 2 * SILENCE && began.elapsed() > 6 * (SILENCE - Duration::from_secs(1)));
        assert_eq!(places.available_permits(), 1);
        assert_eq!(client.read(&mut heard).await.expect("it was closed"), 0);
    }
}
