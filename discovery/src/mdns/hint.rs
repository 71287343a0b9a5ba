//! What an mDNS announcement looks like: `/ip4/A/udp/PORT/quic-v1/p2p/ID`, no more (T-11).

use std::net::{IpAddr, SocketAddr};

use libp2p::PeerId;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::{Multiaddr, Protocol};

use crate::NodeKey;

/// Multihash code of a peer id that contains the key itself.
const IDENTITY: u64 = 0;
/// Protobuf header of a libp2p Ed25519 public key (type 1, 32 bytes of data).
const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The peer id that stands for `key`, or `None` when `key` is not a point of the curve.
pub(super) fn peer_id(key: &NodeKey) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(key).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The key in a peer id. Not checked to be on the curve: a flood may make us parse, not compute.
fn key_of(peer: &PeerId) -> Option<NodeKey> {
    let hash = peer.as_ref();
    let key = hash.digest().strip_prefix(&ED25519)?;
    (hash.code() == IDENTITY).then(|| key.try_into().ok())?
}

/// The address under which a QUIC endpoint is announced.
pub(super) fn announcement(ip: IpAddr, port: u16) -> Multiaddr {
    Multiaddr::empty().with(ip.into()).with(Protocol::Udp(port)).with(Protocol::QuicV1)
}

/// Reads an announcement; `None` for those of other libp2p programs.
pub(super) fn read(peer: &PeerId, address: &Multiaddr) -> Option<(NodeKey, SocketAddr)> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    let (Protocol::QuicV1, Protocol::P2p(named), None) = (parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    (named == *peer).then_some((key_of(peer)?, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: NodeKey = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
        0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ]; // RFC 8032 section 7.1, test 1

    #[test]
    fn our_own_announcement_reads_back() {
        let peer = peer_id(&KEY).unwrap();
        let address = announcement("10.1.2.3".parse().unwrap(), 4040).with(Protocol::P2p(peer));
        assert_eq!(read(&peer, &address), Some((KEY, "10.1.2.3:4040".parse().unwrap())));
    }

    #[test]
    fn announcements_of_other_programs_are_not_ours() {
        let peer = peer_id(&KEY).unwrap();
        for other in
            ["/ip4/10.0.0.1/tcp/4001", "/ip4/10.0.0.1/udp/4001/quic-v1/p2p-circuit", "/dns4/host/udp/1/quic-v1"]
        {
            let address: Multiaddr = other.parse().unwrap();
            assert_eq!(read(&peer, &address.with(Protocol::P2p(peer))), None, "{other}");
        }
    }
}
