//! CONNECT: bytes both ways, which nobody here looks into. Off unless it is asked for, and to public addresses alone (T-20).

use super::Gateway;
use super::body::AnswerBody;
use super::refusal::Refusal;
use eddy_content::http::{AddressClass, may_connect};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// The port that a tunnel may lead to: TLS.
const PORT: u16 = 443;
/// How long the connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Opens a tunnel.
pub(super) async fn open(gateway: &Arc<Gateway>, request: Request<Incoming>) -> Response<AnswerBody> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Refusal::new(StatusCode::BAD_REQUEST, "a tunnel leads to host:port").answer();
    };
    if authority.port_u16() != Some(PORT) {
        return Refusal::new(StatusCode::FORBIDDEN, "tunnels lead to port 443 alone").answer();
    }
    let mut origin = match connect(authority.host()).await {
        Ok(origin) => origin,
        Err(refusal) => return refusal.answer(),
    };
    let stop = gateway.stop.clone();
    gateway.tasks.spawn(async move {
        let Ok(client) = hyper::upgrade::on(request).await else { return };
        let mut client = TokioIo::new(client);
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut origin) => {}
            () = stop.cancelled() => {}
        }
    });
    Response::new(AnswerBody::Empty)
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
