//! A hostile host that begins QUIC handshakes and goes on with none (T-07), for tests inside a namespace.
//!
//! `initial-flood TARGET COUNT PER-SECOND SOURCE...`: sends COUNT datagrams to the address and port TARGET, from the given
//! source addresses in turn, each from several ports, and reads no answer. Of ten, eight are whole Initial packets of a
//! client that knows eddy's protocol, one is such a packet with a flipped bit, one is of an unknown version of QUIC. Prints
//! `flooding` when all of them are made, then `done COUNT BYTES`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use eddy_tests::member::handshake::Handshake;
use eddy_wire::frame::ALPN;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};

const PORTS_PER_SOURCE: usize = 16;
/// Most that is sent, so that a mistyped count does no harm.
const MOST: u32 = 200_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let target: SocketAddr = arguments.next().context("TARGET")?.parse()?;
    let count: u32 = arguments.next().context("COUNT")?.parse()?;
    let per_second: u32 = arguments.next().context("PER-SECOND")?.parse()?;
    ensure!(count <= MOST && per_second > 0, "at most {MOST}");
    let mut sockets = Vec::new();
    for source in arguments {
        let source: IpAddr = source.parse()?;
        for _ in 0..PORTS_PER_SOURCE {
            let socket = UdpSocket::bind(SocketAddr::new(source, 0))?;
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
    }
    ensure!(!sockets.is_empty(), "no SOURCE");
    let datagrams = (0..count).map(|number| datagram(number, target)).collect::<Result<Vec<_>>>()?;
    println!("flooding");
    let (began, mut bytes) = (Instant::now(), 0);
    for (number, datagram) in (0..).zip(&datagrams) {
        // A full queue is the network's business; a flood does not care.
        if let Ok(sent) = sockets[number as usize % sockets.len()].send_to(datagram, target) {
            bytes += sent;
        }
        let due = began + Duration::from_secs(1) * number / per_second;
        let ahead = due.saturating_duration_since(Instant::now());
        // A sleep is longer than asked for: short ones are saved up.
        if ahead > Duration::from_millis(1) {
            thread::sleep(ahead);
        }
    }
    println!("done {count} {bytes}");
    Ok(())
}

fn datagram(number: u32, target: SocketAddr) -> Result<Vec<u8>> {
    let mut provider = default_provider();
    // So that the client's words fit one packet, and the server has all of its work to do.
    provider.kx_groups = vec![kx_group::X25519];
    let mut tls = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut handshake = Handshake::begin(tls, target)?;
    let mut datagram = handshake.datagram().context("a client speaks first")?.to_vec();
    match number % 10 {
        8 => *datagram.last_mut().context("is not empty")? ^= 1,
        9 => datagram[1..5].copy_from_slice(&[0x1a, 0x2a, 0x3a, 0x4a]),
        _ => {}
    }
    Ok(datagram)
}
