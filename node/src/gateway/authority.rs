//! By which names and addresses clients call the gateway, and which of them stands in its pages.

use crate::config::gateway::GatewayPlan;
use http::uri::Authority;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The port of an http URL that names none.
const DEFAULT_PORT: u16 = 80;

/// What the gateway is called.
#[derive(Debug)]
pub(super) struct Authorities {
    names: Vec<String>,
    base: Base,
}

/// What its pages call it.
#[derive(Debug)]
enum Base {
    Always(Arc<str>),
    /// It listens at every address of the machine and has no name: what the client has called it.
    AsCalled,
}

impl Authorities {
    /// Those of a gateway that listens at this address.
    pub(super) fn of(plan: &GatewayPlan, address: SocketAddr) -> Self {
        let base = match plan.names.first() {
            Some(name) if !address.ip().is_loopback() => {
                Base::Always(format!("http://{name}:{}", address.port()).into())
            }
            _ if address.ip().is_unspecified() => Base::AsCalled,
            _ => Base::Always(base(address)),
        };
        Self { names: plan.names.clone(), base }
    }

    /// Whether this machine may be called so (T-45): a name must be one of its own. No name leads an address elsewhere.
    pub(super) fn admit(&self, host: &str) -> bool {
        literal(host).is_some() || self.has_name(host)
    }

    /// Whether an http URL with this authority is the gateway's own, for a client that has connected to this address.
    pub(super) fn own(&self, authority: &Authority, at: SocketAddr) -> bool {
        let is_plain = !authority.as_str().contains('@') && authority.port_u16().unwrap_or(DEFAULT_PORT) == at.port();
        is_plain
            && match literal(authority.host()) {
                Some(address) => address == at.ip().to_canonical(),
                None => self.has_name(authority.host()),
            }
    }

    /// The gateway's URL for the pages of a client that has connected to this address, without a slash at the end; with the address, where
    /// others are told another one.
    pub(super) fn base(&self, at: SocketAddr) -> (Arc<str>, Option<IpAddr>) {
        match &self.base {
            Base::Always(base) => (base.clone(), None),
            Base::AsCalled => {
                let address = at.ip().to_canonical();
                (base(SocketAddr::new(address, at.port())), Some(address))
            }
        }
    }

    fn has_name(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        host == "localhost" || self.names.contains(&host)
    }
}

fn base(address: SocketAddr) -> Arc<str> {
    format!("http://{address}").into()
}

/// The address that a host is, if it is one.
fn literal(host: &str) -> Option<IpAddr> {
    let address: IpAddr = host.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateway::GatewaySettings;

    fn authorities(listen: &str, names: &[&str]) -> Authorities {
        let settings = GatewaySettings {
            allow: vec!["10.0.0.0/8".parse().expect("a net")],
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            proxy: true,
            ..GatewaySettings::default()
        };
        Authorities::of(&settings.plan().expect("good").expect("wanted"), listen.parse().expect("an address"))
    }

    #[test]
    fn pages_name_what_their_clients_reach() {
        let base = |listen, names: &[&str], at: &str| {
            let (base, called) = authorities(listen, names).base(at.parse().expect("an address"));
            (base.to_string(), called.map(|address| address.to_string()))
        };
        let always = |url: &str| (url.to_owned(), None);
        assert_eq!(base("127.0.0.1:7", &["cache.lan"], "127.0.0.1:7"), always("http://127.0.0.1:7"));
        assert_eq!(base("10.0.0.1:7", &[], "10.0.0.1:7"), always("http://10.0.0.1:7"));
        assert_eq!(base("0.0.0.0:7", &["cache.lan"], "10.0.0.1:7"), always("http://cache.lan:7"));
        let called = |host: &str, address: &str| (format!("http://{host}:7"), Some(address.to_owned()));
        assert_eq!(base("0.0.0.0:7", &[], "10.0.0.1:7"), called("10.0.0.1", "10.0.0.1"));
        assert_eq!(base("[::]:7", &[], "[::ffff:10.0.0.1]:7"), called("10.0.0.1", "10.0.0.1"));
        assert_eq!(base("[::]:7", &[], "[fd00::1]:7"), called("[fd00::1]", "fd00::1"));
    }

    #[test]
    fn a_url_is_the_gateways_own_where_its_client_has_connected_to_just_that() {
        let authorities = authorities("0.0.0.0:7", &["Cache.lan"]);
        let own = |authority: &str, at: &str| {
            authorities.own(&authority.parse().expect("an authority"), at.parse().expect("an address"))
        };
        for authority in ["10.0.0.1:7", "localhost:7", "cache.LAN:7", "cache.lan.:7"] {
            assert!(own(authority, "10.0.0.1:7") && own(authority, "[::ffff:10.0.0.1]:7"), "{authority}");
        }
        assert!(own("[fd00::1]:7", "[fd00::1]:7") && own("10.0.0.1", "10.0.0.1:80"));
        for authority in
            ["10.0.0.1", "10.0.0.1:8", "10.0.0.2:7", "127.0.0.1:7", "other.lan:7", "a@10.0.0.1:7", "a@localhost:7"]
        {
            assert!(!own(authority, "10.0.0.1:7"), "{authority}");
        }
        assert!(authorities.admit("8.8.8.8") && authorities.admit("[::1]") && authorities.admit("CACHE.lan."));
        assert!(!authorities.admit("cache.lan.evil") && !authorities.admit("1.2.3.4.evil"));
    }
}
