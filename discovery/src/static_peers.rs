//! Peers that the configuration names: the second way, where multicast does not reach.
//!
//! An entry is `address:port` or `name:port`. Names are resolved again every [`RESOLVE_EVERY`], so that a peer may move; what becomes of
//! addresses that they no longer resolve to is decided in [`crate::named`].

use std::net::SocketAddr;
use std::time::Duration;

/// How often names are resolved anew.
pub(crate) const RESOLVE_EVERY: Duration = Duration::from_secs(60);
/// Longest wait for one name.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(10);
/// Addresses taken of one name.
const MAX_ADDRESSES_OF_NAME: usize = 16;

/// Why an entry of the static list cannot be used: a fault of the configuration, no retry helps.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StaticPeerError {
    /// No `:port` at the end, or not a number between 1 and 65535.
    #[error("peer \"{entry}\" has no usable port; write it as host:port or [v6]:port")]
    Port {
        /// The entry as configured.
        entry: String,
    },
    /// Nothing before the port.
    #[error("peer \"{entry}\" has no host; write it as host:port")]
    Host {
        /// The entry as configured.
        entry: String,
    },
}

/// What an entry means at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is an address.
    Literal(SocketAddr),
    /// It is a name, and resolves to these.
    Addresses(Vec<SocketAddr>),
    /// It is a name, and does not resolve.
    None,
}

/// One parsed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StaticPeer {
    Address(SocketAddr),
    Name { host: String, port: u16 },
}

impl StaticPeer {
    pub(crate) fn parse(entry: &str) -> Result<Self, StaticPeerError> {
        let entry = entry.trim();
        let no_port = || StaticPeerError::Port { entry: entry.to_owned() };
        if let Ok(address) = entry.parse::<SocketAddr>() {
            return if address.port() == 0 { Err(no_port()) } else { Ok(Self::Address(address)) };
        }
        let (host, port) = entry.rsplit_once(':').ok_or_else(no_port)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(no_port)?;
        // A second colon means an IPv6 address without brackets: which part is the port cannot be told.
        if host.contains(':') {
            return Err(no_port());
        }
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(StaticPeerError::Host { entry: entry.to_owned() });
        }
        Ok(Self::Name { host: host.to_owned(), port })
    }

    /// What this entry means now, with a log line when its name does not resolve. Cancel safe.
    pub(crate) async fn resolve(&self) -> Answer {
        let (host, port) = match self {
            Self::Address(address) => return Answer::Literal(*address),
            Self::Name { host, port } => (host, port),
        };
        let looked_up = tokio::time::timeout(RESOLVE_PATIENCE, tokio::net::lookup_host((host.as_str(), *port)));
        match looked_up.await {
            Ok(Ok(found)) => {
                let found: Vec<_> = found.take(MAX_ADDRESSES_OF_NAME).collect();
                if found.is_empty() { Answer::None } else { Answer::Addresses(found) }
            }
            Ok(Err(error)) => {
                tracing::warn!(peer = %host, %error, "configured peer does not resolve");
                Answer::None
            }
            Err(_) => {
                tracing::warn!(peer = %host, "configured peer does not resolve in time");
                Answer::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_name_with_a_port_is_an_entry() {
        assert_eq!(StaticPeer::parse(" 10.0.0.7:4040 "), Ok(StaticPeer::Address("10.0.0.7:4040".parse().unwrap())));
        assert_eq!(StaticPeer::parse("[fd00::7]:4040"), Ok(StaticPeer::Address("[fd00::7]:4040".parse().unwrap())));
        let named = StaticPeer::Name { host: "build-7.lan".into(), port: 4040 };
        assert_eq!(StaticPeer::parse("build-7.lan:4040"), Ok(named));
    }

    #[test]
    fn an_entry_without_port_or_host_is_refused_with_the_way_to_write_it() {
        for entry in ["10.0.0.7", "10.0.0.7:0", "host:70000", "fd00::7:4040", "host:"] {
            assert_eq!(StaticPeer::parse(entry), Err(StaticPeerError::Port { entry: entry.into() }));
        }
        assert_eq!(StaticPeer::parse(":4040"), Err(StaticPeerError::Host { entry: ":4040".into() }));
    }
}
