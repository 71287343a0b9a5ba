//! Which addresses a request may connect to (T-20).
//!
//! The address that is checked is the address that is connected to: the check sits in the resolver of the HTTP client, so
//! an answer that changes between check and connect (DNS rebinding) finds no gap. Addresses written literally in a URL
//! never reach a resolver and are checked by [`literal_class`].

use eddy_content::ResourceUrl;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Reachable from everywhere.
    Public,
    /// This machine.
    Loopback,
    /// Private, shared (RFC 6598) or unique local: somebody's own network.
    Private,
    /// One link only; cloud metadata services live here.
    LinkLocal,
    /// Multicast, unspecified, documentation, reserved: no origin has one.
    Special,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "a public address",
            Self::Loopback => "an address of this machine",
            Self::Private => "an address of a private network",
            Self::LinkLocal => "a link-local address",
            Self::Special => "a reserved address",
        })
    }
}

/// Says what kind of place `address` is; an IPv4 address inside an IPv6 one counts as the IPv4 address.
#[must_use]
pub fn classify_address(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| classify_v6(v6), classify_v4),
    }
}

/// The class of a host that is written as an address; names give `None`, except those that RFC 6761 ties to this machine.
pub(super) fn literal_class(url: &ResourceUrl) -> Option<AddressClass> {
    match url.as_url().host()? {
        url::Host::Ipv4(v4) => Some(classify_address(IpAddr::V4(v4))),
        url::Host::Ipv6(v6) => Some(classify_address(IpAddr::V6(v6))),
        url::Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            (name == "localhost" || name.ends_with(".localhost")).then_some(AddressClass::Loopback)
        }
    }
}

fn classify_v4(v4: Ipv4Addr) -> AddressClass {
    let [a, b, c, _] = v4.octets();
    if v4.is_loopback() {
        AddressClass::Loopback
    } else if v4.is_link_local() {
        AddressClass::LinkLocal
    } else if v4.is_private() || (a == 100 && b & 0xc0 == 64) {
        AddressClass::Private
    } else if a == 0 || a >= 224 || v4.is_documentation() || (a, b, c) == (192, 0, 0) || (a == 198 && b & 0xfe == 18) {
        AddressClass::Special
    } else {
        AddressClass::Public
    }
}

fn classify_v6(v6: Ipv6Addr) -> AddressClass {
    let first = v6.segments()[0];
    if v6.is_loopback() {
        AddressClass::Loopback
    } else if first & 0xffc0 == 0xfe80 {
        AddressClass::LinkLocal
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        AddressClass::Private
    } else if first & 0xe000 != 0x2000 || (first == 0x2001 && v6.segments()[1] == 0xdb8) {
        // Only 2000::/3 is given out to anybody.
        AddressClass::Special
    } else {
        AddressClass::Public
    }
}

/// The IPv4 address that a mapped, compatible, NAT64 or 6to4 address leads to.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let tail = || Ipv4Addr::from((u32::from(s[6]) << 16) | u32::from(s[7]));
    match s {
        [0, 0, 0, 0, 0, 0xffff, ..] => Some(tail()),
        [0, 0, 0, 0, 0, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => Some(tail()),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(tail()),
        [0x2002, high, low, ..] => Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => None,
    }
}

/// Which addresses a client may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Any that an origin can have.
    Anywhere,
    /// Public ones alone.
    PublicOnly,
}

impl Reach {
    pub(super) fn allows(self, class: AddressClass) -> bool {
        match self {
            Self::Anywhere => true,
            Self::PublicOnly => class == AddressClass::Public,
        }
    }
}

/// Why a name gave no address to connect to; travels through the HTTP client's error chain.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("{0}")]
    Lookup(std::io::Error),
    #[error("every address of {host} is refused: {class}")]
    Refused { host: String, class: AddressClass },
}

/// The platform's resolver, whose answers pass the address rules before anybody connects to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckedResolver(pub(super) Reach);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::net::lookup_host((host.as_str(), 0)).await.map_err(ResolveError::Lookup)?;
            let all: Vec<SocketAddr> = found.take(MAX_ADDRESSES).collect();
            let refused = all.iter().map(|a| classify_address(a.ip())).find(|class| !reach.allows(*class));
            let allowed: Vec<SocketAddr> = all.into_iter().filter(|a| reach.allows(classify_address(a.ip()))).collect();
            match refused {
                Some(class) if allowed.is_empty() => Err(ResolveError::Refused { host, class }.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Addresses of one name that are tried; more would only prolong a failing connect.
const MAX_ADDRESSES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        classify_address(text.parse().expect("an address"))
    }

    #[test]
    fn t20_every_way_of_writing_a_local_address_is_recognised() {
        for local in
            ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"]
        {
            assert_eq!(class(local), AddressClass::Loopback, "{local}");
        }
        for private in ["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"] {
            assert_eq!(class(private), AddressClass::Private, "{private}");
        }
        for link in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
            assert_eq!(class(link), AddressClass::LinkLocal, "{link}");
        }
        for special in
            ["0.0.0.0", "255.255.255.255", "224.0.0.251", "::", "ff02::fb", "192.0.2.1", "2001:db8::1", "4000::1"]
        {
            assert_eq!(class(special), AddressClass::Special, "{special}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:101:101::"] {
            assert_eq!(class(public), AddressClass::Public, "{public}");
        }
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
