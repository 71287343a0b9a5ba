//! The lab's wiring: hosts, bridge, router, origin, and the rates of the lines.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use super::host::{Host, LinkBytes, WIRE};
use super::ip::{self, Namespace};

/// The router's address on the LAN.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Length of the LAN's prefix: room for a host with many addresses.
const LAN_PREFIX: u8 = 16;
/// The router's and the origin's ends of the WAN line. Private ones: eddy rightly refuses to connect to those that are
/// reserved for documentation (RFC 5737), and real ones belong to somebody.
const WAN: [Ipv4Addr; 2] = [Ipv4Addr::new(172, 16, 77, 1), Ipv4Addr::new(172, 16, 77, 2)];
/// Most hosts of a lab.
const MAX_HOSTS: usize = 200;
/// Hosts of a lab that need not be told each other's hardware addresses. The kernel's table of those is one for all namespaces and
/// ends at 1024 entries that were asked for (`net.ipv4.neigh.default.gc_thresh3`): 32 hosts that all know each other fill it, and then
/// there is "no way to the host". Entries that are told do not count.
const STRANGERS: usize = 16;

/// A rate in megabits per second, as `tc` counts them (10^6 bits, framing included).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mbit(pub u32);

/// What to build.
#[derive(Debug, Clone, Copy)]
pub struct LabSpec {
    /// Hosts on the LAN.
    pub hosts: usize,
    /// Rate of each host's line, both ways; `None` is as fast as the machine.
    pub lan_rate: Option<Mbit>,
    /// Rate of the line to the origin, both ways.
    pub wan_rate: Option<Mbit>,
}

/// A LAN of hosts and an origin beyond a router.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
    origin: Host,
    /// Holds the bridge and the ends of all lines.
    _router: Namespace,
}

impl Lab {
    /// Builds the lab.
    ///
    /// # Errors
    /// When a command fails; what was built is removed.
    pub fn new(spec: LabSpec) -> Result<Self> {
        assert!(spec.hosts <= MAX_HOSTS, "at most {MAX_HOSTS} hosts");
        ip::sweep()?;
        let router = Namespace::new("router")?;
        // Of its own: a bridge without one takes that of a port, and changes it with the ports.
        router.ip(&["link", "add", "lan", "address", "02:00:00:00:00:01", "type", "bridge", "mcast_snooping", "0"])?;
        router.ip(&["address", "add", &format!("{GATEWAY}/{LAN_PREFIX}"), "dev", "lan"])?;
        router.ip(&["link", "set", "lan", "up"])?;
        let mut hosts = Vec::new();
        for number in 0..spec.hosts {
            hosts.push(add_host(&router, number, spec.lan_rate)?);
        }
        if spec.hosts > STRANGERS {
            let all: Vec<(Ipv4Addr, String)> = std::iter::once((GATEWAY, router.hardware_address("lan")?))
                .chain(hosts.iter().map(|(host, hardware)| (host.address(), hardware.clone())))
                .collect();
            router.introduce("lan", &all[1..])?;
            for (host, _) in &hosts {
                let others: Vec<_> = all.iter().filter(|(address, _)| *address != host.address()).cloned().collect();
                host.inside().introduce(WIRE, &others)?;
            }
        }
        let hosts = hosts.into_iter().map(|(host, _)| host).collect();
        let origin = add_origin(&router, spec.wan_rate)?;
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward";
        let status = router.command("sh").args(["-c", forward]).status().context("forwarding")?;
        anyhow::ensure!(status.success(), "the router cannot forward");
        Ok(Self { hosts, origin, _router: router })
    }

    /// The hosts on the LAN.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The host `number` on the LAN.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// The host beyond the WAN line.
    #[must_use]
    pub fn origin(&self) -> &Host {
        &self.origin
    }

    /// Bytes that crossed the WAN line since the lab was built, as the origin sees them: `sent` is what it sent to the
    /// LAN. Framing, handshakes and repetitions included.
    ///
    /// # Errors
    /// When the counters cannot be read.
    pub fn wan_bytes(&self) -> Result<LinkBytes> {
        self.origin.link_bytes()
    }
}

/// The host, and the hardware address of its end of the line.
fn add_host(router: &Namespace, number: usize, rate: Option<Mbit>) -> Result<(Host, String)> {
    let own = Namespace::new(&format!("h{number}"))?;
    let port = format!("p{number}");
    wire(&own, router, &port, rate)?;
    router.ip(&["link", "set", &port, "master", "lan"])?;
    // 10.77.1.1, 10.77.1.2, ...: far from the network and broadcast addresses.
    let address = Ipv4Addr::from(u32::from(GATEWAY) + 0x100 + u32::try_from(number)?);
    own.ip(&["address", "add", &format!("{address}/{LAN_PREFIX}"), "broadcast", "+", "dev", WIRE])?;
    own.ip(&["route", "add", "default", "via", &GATEWAY.to_string()])?;
    own.ip(&["route", "add", "224.0.0.0/4", "dev", WIRE])?;
    let hardware = own.hardware_address(WIRE)?;
    Ok((Host::new(own, address), hardware))
}

fn add_origin(router: &Namespace, rate: Option<Mbit>) -> Result<Host> {
    let own = Namespace::new("origin")?;
    wire(&own, router, "wan", rate)?;
    router.ip(&["address", "add", &format!("{}/30", WAN[0]), "dev", "wan"])?;
    own.ip(&["address", "add", &format!("{}/30", WAN[1]), "dev", WIRE])?;
    own.ip(&["route", "add", "default", "via", &WAN[0].to_string()])?;
    Ok(Host::new(own, WAN[1]))
}

/// Joins `own` (as [`WIRE`]) and the router (as `port`) by a line of the given rate.
fn wire(own: &Namespace, router: &Namespace, port: &str, rate: Option<Mbit>) -> Result<()> {
    own.ip(&["link", "add", WIRE, "type", "veth", "peer", "name", port, "netns", &router.name])?;
    if let Some(Mbit(rate)) = rate {
        // The bucket holds 10 ms of the line and at least one full offload packet; the queue 50 ms, as a home router's.
        let burst = (u64::from(rate) * 1_250).max(65_536).to_string();
        let shape = |dev| {
            let rate = format!("{rate}mbit");
            ["qdisc", "add", "dev", dev, "root", "tbf", "rate", &rate, "burst", &burst, "latency", "50ms"]
                .map(str::to_owned)
        };
        own.tc(&shape(WIRE).each_ref().map(String::as_str))?;
        router.tc(&shape(port).each_ref().map(String::as_str))?;
    }
    own.ip(&["link", "set", WIRE, "up"])?;
    router.ip(&["link", "set", port, "up"])?;
    Ok(())
}
