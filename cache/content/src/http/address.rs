//! Which addresses a request may connect to: the pure half of the defence against redirects into the local network (T-20).
//!
//! The shell resolves names itself, classifies what it got, and connects to exactly the address that was classified.
//! Decimal, octal and hexadecimal spellings of IPv4 hosts are already resolved by the URL parser (WHATWG host parsing).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// The Internet.
    Public,
    /// A site's own network: RFC 1918, RFC 4193, RFC 6598 (carrier-grade NAT); also the ranges for documentation and
    /// benchmarks, which no host of the Internet has, but which labs, transparent proxies and their name services use inside.
    Private,
    /// This machine.
    Loopback,
    /// This link alone.
    LinkLocal,
    /// A cloud's metadata service: hands out credentials to whoever asks from inside.
    Metadata,
    /// Many machines at once, or all.
    Multicast,
    /// No host can have it: unspecified, reserved, discard.
    Reserved,
}

/// Why an address is not connected to. Who named it is at fault; a retry does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ConnectRefusal {
    /// No transfer ever goes there.
    #[error("the address is {0}: nothing can be fetched from there")]
    Never(AddressClass),
    /// A hop leads from a wider network into a narrower one.
    #[error("the server redirects from a {from} address to a {to} one")]
    Inward {
        /// The class of the first hop: what the user named.
        from: AddressClass,
        /// The class of the refused address.
        to: AddressClass,
    },
}

/// Whether a request whose first hop went to `first_hop` may connect to an address of `class`; for the first hop itself,
/// give its class twice.
///
/// What the user named himself may be anywhere (an office's own server is private, a test's is loopback), except where no
/// host is. From there, redirects and answers of the name service may lead outward or sideways, never inward.
pub fn may_connect(first_hop: AddressClass, class: AddressClass) -> Result<(), ConnectRefusal> {
    match class {
        AddressClass::Multicast | AddressClass::Reserved => Err(ConnectRefusal::Never(class)),
        AddressClass::Public => Ok(()),
        same if same == first_hop => Ok(()),
        // This machine's own user named loopback; its services may point to the site.
        AddressClass::Private if first_hop == AddressClass::Loopback => Ok(()),
        to => Err(ConnectRefusal::Inward { from: first_hop, to }),
    }
}

impl AddressClass {
    /// Classifies an address; IPv4 inside IPv6 (mapped, compatible, NAT64, 6to4, Teredo) counts as the IPv4 that it reaches.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| of_v6(v6), of_v4),
        }
    }

    /// The word for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata-service",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
        }
    }
}

impl std::fmt::Display for AddressClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// By the IANA IPv4 special-purpose address registry.
fn of_v4(address: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&address) {
        return AddressClass::Metadata;
    }
    match address.octets() {
        [127, ..] => AddressClass::Loopback,
        [169, 254, ..] => AddressClass::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => AddressClass::Private,
        // Documentation (RFC 5737), benchmarking (RFC 2544).
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [198, 18..=19, ..] => AddressClass::Private,
        [224..=239, ..] | [255, 255, 255, 255] => AddressClass::Multicast,
        [0, ..] | [192, 0, 0, _] | [192, 88, 99, _] | [240..=255, ..] => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

/// By the IANA IPv6 special-purpose address registry; only 2000::/3 is global unicast.
fn of_v6(address: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&address) {
        return AddressClass::Metadata;
    }
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressClass::Loopback,
        [0xff00..=0xffff, ..] => AddressClass::Multicast,
        [0xfe80..=0xfebf, ..] => AddressClass::LinkLocal,
        // Unique local, and the site-local that RFC 3879 retired.
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressClass::Private,
        // Documentation (RFC 3849, RFC 9637), benchmarking (RFC 5180).
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x2001, 2, 0, ..] => AddressClass::Private,
        // ORCHID and the rest of the protocol assignments.
        [0x2001, 0..=0x01ff, ..] => AddressClass::Reserved,
        [0x2000..=0x3fff, ..] => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

/// The IPv4 address that an IPv6 address stands for, if it does.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        // `::` and `::1` are their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // Mapped (RFC 4291 section 2.5.5.2), compatible (2.5.5.1), translated (RFC 2765), NAT64 (RFC 6052, RFC 8215).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(join(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => Some(join(high, low)),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => Some(join(high, low)),
        // Teredo (RFC 4380): the client's address is stored inverted.
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        _ => None,
    }
}

/// EC2 and most clouds; Amazon's container credentials; Alibaba; Oracle; Azure's wire server.
const METADATA_V4: [Ipv4Addr; 5] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// EC2 over IPv6; Amazon's pod identity agent; Google.
const METADATA_V6: [Ipv6Addr; 3] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ResourceUrl;
    use AddressClass::{LinkLocal, Loopback, Metadata, Multicast, Private, Public, Reserved};

    const SAMPLES: [(&str, AddressClass); 39] = [
        ("1.1.1.1", Public),
        ("172.15.255.255", Public),
        ("172.32.0.0", Public),
        ("100.128.0.1", Public),
        ("2606:4700::1111", Public),
        ("10.0.0.1", Private),
        ("172.16.0.1", Private),
        ("192.168.255.255", Private),
        ("100.64.0.1", Private),
        ("fd12:3456::1", Private),
        ("fec0::1", Private),
        ("127.0.0.1", Loopback),
        ("127.255.255.254", Loopback),
        ("::1", Loopback),
        ("169.254.1.1", LinkLocal),
        ("fe80::1", LinkLocal),
        ("169.254.169.254", Metadata),
        ("100.100.100.200", Metadata),
        ("fd00:ec2::254", Metadata),
        ("224.0.0.251", Multicast),
        ("255.255.255.255", Multicast),
        ("ff02::fb", Multicast),
        ("0.0.0.0", Reserved),
        ("240.0.0.1", Reserved),
        ("192.0.2.1", Private),
        ("198.18.0.1", Private),
        ("203.0.113.80", Private),
        ("::", Reserved),
        ("100::1", Reserved),
        ("2001:db8::1", Private),
        ("4000::1", Reserved),
        ("2001:20::1", Reserved),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("::ffff:169.254.169.254", Metadata),
        ("64:ff9b::a00:1", Private),
        ("2002:7f00:1::", Loopback),
        ("2001:0:1:2:3:4:80ff:fffe", Loopback),
        ("::ffff:1.1.1.1", Public),
    ];

    #[test]
    fn t20_every_class_is_known_in_every_form() {
        for (text, class) in SAMPLES {
            assert_eq!(AddressClass::of(text.parse().expect("an address")), class, "{text}");
        }
    }

    #[test]
    fn t20_odd_spellings_of_a_host_become_plain_addresses() {
        for host in ["2130706433", "0x7f000001", "017700000001", "127.1", "0177.0.0.1", "0x7f.1", "[::ffff:7f00:1]"] {
            let url = ResourceUrl::parse(&format!("http://{host}/")).expect("parses");
            let address = match url.as_url().host().expect("a host") {
                ::url::Host::Ipv4(v4) => IpAddr::V4(v4),
                ::url::Host::Ipv6(v6) => IpAddr::V6(v6),
                ::url::Host::Domain(name) => panic!("{name} is taken for a name"),
            };
            assert_eq!(AddressClass::of(address), Loopback, "{host}");
        }
    }

    #[test]
    fn t20_no_hop_leads_inward() {
        let all = [Public, Private, Loopback, LinkLocal, Metadata, Multicast, Reserved];
        let mut table = String::new();
        for from in all {
            let allowed: Vec<_> =
                all.into_iter().filter(|to| may_connect(from, *to).is_ok()).map(AddressClass::name).collect();
            table.push_str(&format!("{from} -> {}\n", allowed.join(", ")));
        }
        insta::assert_snapshot!(table.trim_end(), @r"
        public -> public
        private -> public, private
        loopback -> public, private, loopback
        link-local -> public, link-local
        metadata-service -> public, metadata-service
        multicast -> public
        reserved -> public
        ");
    }
}
