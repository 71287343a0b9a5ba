//! QUIC's own settings: windows, streams, timers. The numbers bound what one member can pin here (T-05, T-06).

use super::config::Limits;
use quinn::{
    AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, ServerConfig, TransportConfig, VarInt,
};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that one stream may have in flight: four reads of a file fill 1 Gbit/s at 30 ms.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes that one connection may have in flight. A hostile member pins at most two and a half times as much in gaps: that is
/// where quinn begins to copy what lies between them together.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// Bytes that one connection may hold here unsent or unacknowledged.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// Streams that the other end may have open: the reads and the segments that it may have under way, and as many for its other
/// questions as for reads.
const STREAMS: u32 = 32;
/// Bytes of a handshake that may arrive out of order.
const CRYPTO_BUFFER: usize = 16 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(15);
/// Packets that are acknowledged together: bulk does not need an answer to every other one (RFC 9000 section 13.2.2).
const PACKETS_PER_ACK: u32 = 10;
/// What fits an IPv4 packet of 1,500 bytes. Found by probing; where it does not fit, the probe just is not answered.
const MTU: u16 = 1472;
/// A neighbour answers within this; it only spaces the first packets, the real time is measured.
const INITIAL_RTT: Duration = Duration::from_millis(50);

/// The settings of every connection, in both directions.
#[must_use]
pub fn transport() -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU);
    let mut acknowledging = AckFrequencyConfig::default();
    acknowledging.ack_eliciting_threshold(VarInt::from_u32(PACKETS_PER_ACK));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .crypto_buffer_size(CRYPTO_BUFFER)
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .mtu_discovery_config(Some(discovery))
        .initial_rtt(INITIAL_RTT)
        .ack_frequency_config(Some(acknowledging))
        // Streams take turns: members follow a segment while it comes, and one that waited behind others would keep all of them waiting.
        .send_fairness(true);
    transport
}

/// The endpoint's settings.
pub(crate) fn endpoint() -> EndpointConfig {
    EndpointConfig::default()
}

/// Sets the bounds of connections that are not accepted yet (T-07).
pub(crate) fn bound_incoming(server: &mut ServerConfig, limits: &Limits) {
    server
        .transport_config(Arc::new(transport()))
        // On a local network nobody changes address in the middle of a transfer but an attacker.
        .migration(false)
        .max_incoming(limits.handshakes)
        .incoming_buffer_size(64 * 1024)
        .incoming_buffer_size_total(4 * 1024 * 1024);
}
