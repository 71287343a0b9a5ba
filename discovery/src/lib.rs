//! Neighbours: who else on this network runs eddy, found by mDNS and by a static list, bounded against floods.
//!
//! Discovery only ever produces *hints*: addresses that may be worth a dial. Trust comes from the handshake that follows
//! in the peer room of the node, whose result comes back here as proven, failed or lost.
//!
//! ```text
//!   mdns (a thread that can be starved and thrown away)  ─┐
//!   static_peers (names resolved again and again)         ├─▶ neighbours (pure) ─▶ DiscoveryEvent::Dial, Gone
//!   on_proven / on_failed / on_lost from the node        ─┘      table + dial + named
//! ```
//!
//! | module | its one idea |
//! |---|---|
//! | [`table`] | a bounded set of candidate addresses; the proven cannot be pushed out (pure) |
//! | [`dial`] | on-link addresses only, five dials a second, IP addresses in turn (pure) |
//! | [`named`] | which configured names speak for which addresses still (pure) |
//! | [`neighbours`] | the three together as a state machine (pure) |
//! | `mdns` | libp2p's mDNS behaviour in a box with a budget of CPU and memory |
//! | `static_peers` | configured `host:port` entries, parsed and resolved |
//! | `service` | the one task that carries events between them |

pub mod dial;
mod mdns;
pub mod named;
pub mod neighbours;
mod service;
mod static_peers;
pub mod table;

pub use dial::Refusal;
pub use mdns::MdnsFigures;
pub use neighbours::{Counts, DiscoveryEvent};
pub use service::{Discovery, DiscoveryConfig, DiscoveryError, Mdns, Summary};
pub use static_peers::StaticPeerError;

/// An Ed25519 public key: what a node is known by.
pub type NodeKey = [u8; 32];
