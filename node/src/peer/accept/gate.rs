//! Which handshakes are begun: they cost signatures, and until one is done, the address may be forged (T-07).
//!
//! An address that nobody has proven costs a forger nothing, so whatever is too much of those is sent back to prove itself,
//! never dropped: an honest newcomer pays one round trip. Only a proven address answers for itself.

use crate::peer::bounded::Bounded;
use eddy_engine::bucket::Bucket;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// Handshakes a second with unproven addresses, in all.
const UNPROVEN: u64 = 50;
/// Of those, from one network: a /24, or a /64 of IPv6.
const UNPROVEN_PER_NETWORK: u64 = 25;
/// Handshakes a second with one proven address (of IPv6: one /64), and how many at once. An eddy dials five a second.
const PROVEN_PER_ADDRESS: u64 = 20;
const PROVEN_AT_ONCE: u64 = 100;
/// Networks, and addresses, that are remembered. Forged ones fill the first list only.
const REMEMBERED: usize = 1024;

/// Whether the other end has shown that it gets what is sent to its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    /// It has.
    Proven,
    /// Not yet, and it may be asked to.
    Unproven,
}

/// What is done with somebody who knocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Begin the handshake.
    Begin,
    /// Ask for a proof of the address (Retry, RFC 9000 section 8.1.2): less is sent than came, and nothing is kept.
    Prove,
    /// Say nothing.
    Ignore,
}

/// Rates of handshakes.
#[derive(Debug)]
pub(super) struct Gate {
    unproven: Bucket,
    networks: Bounded<IpAddr, Bucket>,
    addresses: Bounded<IpAddr, Bucket>,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            unproven: Bucket::new(UNPROVEN, UNPROVEN),
            networks: Bounded::new(REMEMBERED),
            addresses: Bounded::new(REMEMBERED),
        }
    }

    /// Judges one that came from `ip`, as far as rates go.
    pub(super) fn judge(&mut self, now: Duration, ip: IpAddr, address: Address) -> Entry {
        match address {
            Address::Proven => {
                let bucket = || Bucket::new(PROVEN_PER_ADDRESS, PROVEN_AT_ONCE);
                let may = self.addresses.entry(of_one_host(ip), bucket).try_take(now, 1);
                if may { Entry::Begin } else { Entry::Ignore }
            }
            Address::Unproven => {
                let bucket = || Bucket::new(UNPROVEN_PER_NETWORK, UNPROVEN_PER_NETWORK);
                let may = self.unproven.ready_at(now, 1) <= now
                    && self.networks.entry(network(ip), bucket).try_take(now, 1)
                    && self.unproven.try_take(now, 1);
                if may { Entry::Begin } else { Entry::Prove }
            }
        }
    }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & !0xff).into(),
        IpAddr::V6(ip) => of_one_host(ip.into()),
    }
}

/// A host has one address of IPv4, and as many of IPv6 as it likes within its /64.
fn of_one_host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HONEST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn a_flood_of_forged_addresses_begins_fifty_a_second_and_keeps_nobody_out() {
        let mut gate = Gate::new();
        let (mut begun, mut ignored) = (0, 0);
        for number in 0..100_000u32 {
            let now = Duration::from_micros(u64::from(number) * 100);
            // Every network in turn, so that only the common rate holds.
            match gate.judge(now, Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)).into(), Address::Unproven) {
                Entry::Begin => begun += 1,
                Entry::Prove => {}
                Entry::Ignore => ignored += 1,
            }
        }
        assert!((500..=560).contains(&begun), "{begun} in 10 s");
        assert_eq!(ignored, 0);
        let now = Duration::from_micros(9_999_900);
        assert_eq!(gate.judge(now, HONEST, Address::Unproven), Entry::Prove);
        assert_eq!(gate.judge(now, HONEST, Address::Proven), Entry::Begin);
        assert!(gate.addresses.at(&HONEST).is_some());
    }

    #[test]
    fn one_network_gets_half_of_what_all_get() {
        let mut gate = Gate::new();
        let begun = |gate: &mut Gate, third: u8| {
            let ips = (0..=255).map(|last| IpAddr::from([10, 0, third, last]));
            ips.filter(|ip| gate.judge(Duration::ZERO, *ip, Address::Unproven) == Entry::Begin).count()
        };
        assert_eq!(begun(&mut gate, 1), 25);
        assert_eq!(begun(&mut gate, 2), 25);
        assert_eq!(begun(&mut gate, 3), 0);
    }

    #[test]
    fn a_proven_address_has_a_rate_of_its_own_whatever_it_writes_into_its_lower_half() {
        let mut gate = Gate::new();
        let from_one_host = (0..1000u16).map(|last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]));
        let begun = from_one_host.filter(|ip| gate.judge(Duration::ZERO, *ip, Address::Proven) == Entry::Begin).count();
        assert_eq!(begun, 100);
        assert_eq!(gate.judge(Duration::ZERO, HONEST, Address::Proven), Entry::Begin, "another host");
        let later = Duration::from_secs(1);
        let again = (0..100)
            .filter(|_| gate.judge(later, [0x2001, 0xdb8, 0, 0, 1, 1, 1, 1].into(), Address::Proven) == Entry::Begin);
        assert_eq!(again.count(), 20);
    }
}
