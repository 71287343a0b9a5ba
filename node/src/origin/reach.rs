//! Where a request may connect to (T-20): the pure rule of `eddy-content`, put into the resolver of the HTTP client.
//!
//! The address that is checked is the address that is connected to, so an answer of the name service that changes between
//! check and connect (DNS rebinding) finds no gap. Addresses written literally in a URL never reach a resolver and are
//! checked by [`literal_class`].

use eddy_content::ResourceUrl;
use eddy_content::http::{AddressClass, ConnectRefusal, may_connect};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

/// Where the next connection may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// Wherever a host can be: the job itself names it.
    Named,
    /// Where a hop may lead that somebody at an address of this class chose.
    From(AddressClass),
}

impl Reach {
    pub(super) fn check(self, class: AddressClass) -> Result<(), ConnectRefusal> {
        match self {
            Self::Named => may_connect(class, class),
            Self::From(chooser) => may_connect(chooser, class),
        }
    }
}

/// The class of a host that is written as an address; other names give `None`, except those that RFC 6761 ties to this machine.
pub(super) fn literal_class(url: &ResourceUrl) -> Option<AddressClass> {
    match url.as_url().host()? {
        url::Host::Ipv4(v4) => Some(AddressClass::of(IpAddr::V4(v4))),
        url::Host::Ipv6(v6) => Some(AddressClass::of(IpAddr::V6(v6))),
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            (name == "localhost" || name.ends_with(".localhost")).then_some(AddressClass::Loopback)
        }
    }
}

/// Why a name gave no address to connect to; travels through the HTTP client's error chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{0}")]
    Lookup(std::io::Error),
    #[error("no address of {host} may be connected to: {refusal}")]
    Refused { host: String, refusal: ConnectRefusal },
}

/// The platform's resolver, whose answers pass the rule before anybody connects to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckedResolver(pub(super) Reach);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map_err(ResolveError::Lookup)?;
            let allowed = allow(reach, found).map_err(|refusal| ResolveError::Refused { host, refusal })?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Those of the addresses that may be connected to; why not, when that leaves none of them.
fn allow(reach: Reach, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, ConnectRefusal> {
    let mut allowed = Vec::new();
    let mut refusal = None;
    for address in found.take(MAX_ADDRESSES) {
        match reach.check(AddressClass::of(address.ip())) {
            Ok(()) => allowed.push(address),
            Err(reason) => refusal = Some(reason),
        }
    }
    match refusal {
        Some(reason) if allowed.is_empty() => Err(reason),
        _ => Ok(allowed),
    }
}

/// Addresses of one name that are tried; more would only prolong a failing connect.
const MAX_ADDRESSES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 0)).collect()
    }

    #[test]
    fn t20_a_name_that_also_answers_local_addresses_keeps_only_its_public_ones() {
        let reach = Reach::From(AddressClass::Public);
        let mixed = addresses(&["127.0.0.1", "1.1.1.1", "10.0.0.1", "::ffff:169.254.169.254"]);
        assert_eq!(allow(reach, mixed.into_iter()), Ok(addresses(&["1.1.1.1"])));
    }

    #[test]
    fn t20_a_name_with_local_addresses_alone_is_refused_after_a_public_hop() {
        for local in ["127.0.0.1", "10.1.2.3", "169.254.169.254", "fe80::1", "::ffff:192.168.0.1", "64:ff9b::7f00:1"] {
            let found = addresses(&[local]);
            assert!(allow(Reach::From(AddressClass::Public), found.into_iter()).is_err(), "{local}");
        }
        let named = addresses(&["127.0.0.1"]);
        assert_eq!(allow(Reach::Named, named.clone().into_iter()), Ok(named), "a job may name a local origin");
    }

    #[test]
    fn t20_odd_spellings_of_addresses_in_urls_are_addresses() {
        for host in
            ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "localhost", "a.localhost.", "LOCALHOST"]
        {
            let url = ResourceUrl::parse(&format!("http://{host}/")).expect("parses");
            assert_eq!(literal_class(&url), Some(AddressClass::Loopback), "{host}");
        }
        let url = ResourceUrl::parse("http://example.org/").expect("parses");
        assert_eq!(literal_class(&url), None);
    }
}
