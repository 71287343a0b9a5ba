//! Why connections and streams end: the codes that travel, and the reasons that the driver hears.

use quinn::{Connection, ConnectionError, TransportErrorCode, VarInt};
use std::net::SocketAddr;

/// Codes of closed connections. They tell the other end whether to come back, and nothing else.
pub(crate) mod code {
    use quinn::VarInt;
    /// This node stops.
    pub(crate) const BYE: VarInt = VarInt::from_u32(0);
    /// Another connection of the two is kept.
    pub(crate) const SPARE: VarInt = VarInt::from_u32(1);
    /// No room.
    pub(crate) const FULL: VarInt = VarInt::from_u32(2);
    /// Blocked for wrong blocks.
    pub(crate) const BLOCKED: VarInt = VarInt::from_u32(3);
    /// Removed from the group.
    pub(crate) const REMOVED: VarInt = VarInt::from_u32(4);
    /// The membership has ended.
    pub(crate) const EXPIRED: VarInt = VarInt::from_u32(5);
    /// Of a stream: not understood.
    pub(crate) const MALFORMED: VarInt = VarInt::from_u32(16);
    /// Of a stream: given up here, for no fault of the other end.
    pub(crate) const ABORTED: VarInt = VarInt::from_u32(17);
    /// Of a stream: the other end was too slow.
    pub(crate) const SLOW: VarInt = VarInt::from_u32(18);
    /// Of a stream: nothing of this kind is heard here.
    pub(crate) const DEAF: VarInt = VarInt::from_u32(19);
}

/// The alert `certificate_revoked`.
const REVOKED: u8 = 44;
/// The alert `certificate_expired`.
const EXPIRED: u8 = 45;

/// Why the last connection of a peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Parting {
    /// The peer said goodbye.
    #[error("it left")]
    Left,
    /// The peer has no room, or another connection to us.
    #[error("it had no use for the connection")]
    Unwanted,
    /// The peer blocks this node.
    #[error("it blocks this node")]
    BlocksUs,
    /// The peer knows this node as removed from the group.
    #[error("it says that this node was removed from the group")]
    Removed,
    /// The peer knows this node's membership as ended.
    #[error("it says that this node's membership has ended")]
    Expired,
    /// Nothing was heard for the idle timeout.
    #[error("it fell silent")]
    Silent,
    /// This node closed it: blocked, spare or stopping.
    #[error("closed by this node")]
    ClosedHere,
    /// QUIC or TLS failed; in the first second this is how a group other than ours says no.
    #[error("the connection failed")]
    Failed,
}

impl Parting {
    pub(crate) fn of(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) if close.error_code == code::BYE => Self::Left,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::BLOCKED => Self::BlocksUs,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::REMOVED => Self::Removed,
            ConnectionError::ApplicationClosed(close) if close.error_code == code::EXPIRED => Self::Expired,
            ConnectionError::ApplicationClosed(_) => Self::Unwanted,
            // How a goodbye looks that comes before the handshake is done (RFC 9000 section 10.2.3).
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::APPLICATION_ERROR => {
                Self::Left
            }
            // TLS alerts (RFC 8446 section 6.2): the other end refused this node's certificate.
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(REVOKED) => {
                Self::Removed
            }
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(EXPIRED) => {
                Self::Expired
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::LocallyClosed => Self::ClosedHere,
            _ => Self::Failed,
        }
    }
}

/// Where the other end is; IPv4 is shown as IPv4 even on a socket for both.
pub(crate) fn address_of(connection: &Connection) -> SocketAddr {
    canonical(connection.remote_address())
}

/// The address without the IPv6 clothes of an IPv4 one.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Ends both halves of a stream as failed: a dropped send half would look like a clean end.
pub(crate) fn abort(send: &mut quinn::SendStream, receive: &mut quinn::RecvStream, code: VarInt) {
    // Both fail only when the half has ended already.
    let _ = send.reset(code);
    let _ = receive.stop(code);
}
