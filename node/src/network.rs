//! Which ways out this machine has: what comes up wakes the jobs that wait (F-27), what goes ends at once what can only fail now.
//!
//! The kernel's messages about links, addresses and routes (rtnetlink(7)) say when to look, and nothing of them is read: what counts is
//! what there is afterwards. A way out is an address that is neither loopback nor link-local on an interface that runs, or a default route.
//! The network is gone when the last address or the last default route is; without a default route what is on the link can be reached all
//! the same, so each transfer asks whether there is still a way to its own host.

use eddy_content::ResourceUrl;
use eddy_engine::Input;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Links, IPv4 and IPv6 addresses, IPv4 and IPv6 routes: the groups of `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400;

/// How long the machine may take to exchange one way for another before the network counts as gone.
const SETTLING: Duration = Duration::from_millis(200);

/// How long the name of a host may take to be resolved when the network has changed.
const NAMING: Duration = Duration::from_secs(1);

/// Messages that are drained at once.
const DRAINED: usize = 1024;

/// The ways out that there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Ways {
    addresses: BTreeSet<(String, IpAddr)>,
    /// Interfaces of default routes.
    defaults: BTreeSet<String>,
}

impl Ways {
    fn look() -> Self {
        Self { addresses: addresses(), defaults: defaults() }
    }

    /// Whether there is a way that was not there before.
    fn gains(&self, before: &Self) -> bool {
        !self.addresses.is_subset(&before.addresses) || !self.defaults.is_subset(&before.defaults)
    }

    /// Whether the last way of a kind has gone.
    fn loses(&self, before: &Self) -> bool {
        (self.addresses.is_empty() && !before.addresses.is_empty())
            || (self.defaults.is_empty() && !before.defaults.is_empty())
    }
}

fn addresses() -> BTreeSet<(String, IpAddr)> {
    let Ok(found) = getifaddrs() else { return BTreeSet::new() };
    let usable = found.filter_map(|entry| {
        let runs = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let address = entry.address?;
        let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => return None,
        };
        (runs && leads_out(address)).then_some((entry.interface_name, address))
    });
    usable.collect()
}

fn leads_out(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !is_link_local(v6) && !v6.is_unspecified(),
    }
}

fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// The interfaces of default routes, from what the kernel prints of its tables (proc(5)).
fn defaults() -> BTreeSet<String> {
    let v4 = std::fs::read_to_string("/proc/self/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/self/net/ipv6_route").unwrap_or_default();
    defaults_of(&v4, &v6)
}

fn defaults_of(v4: &str, v6: &str) -> BTreeSet<String> {
    let v4 = v4.lines().skip(1).filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (*words.get(1)? == "00000000" && *words.get(7)? == "00000000").then(|| words[0].to_owned())
    });
    let nowhere = "0".repeat(32);
    let v6 = v6.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let is_default = *words.first()? == nowhere && *words.get(1)? == "00";
        let device = words.get(9).filter(|device| **device != "lo")?;
        is_default.then(|| (*device).to_owned())
    });
    v4.chain(v6).collect()
}

/// Watches until the node stops: tells the engine of what comes up, and whoever listens how often the network has gone.
/// A system that does not tell of its network costs nothing but that.
pub(crate) async fn run(inputs: mpsc::Sender<Input>, outlook: watch::Sender<Outlook>, stop: CancellationToken) {
    let news = match listen() {
        Ok(news) => news,
        Err(error) => {
            tracing::warn!(%error, "the system does not tell when its network changes: jobs wait out their pauses");
            return;
        }
    };
    let mut before = Ways::look();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            told = told(&news) => if told.is_err() { return },
        }
        let mut ways = Ways::look();
        if ways.loses(&before) {
            tokio::time::sleep(SETTLING).await;
            ways = Ways::look();
        }
        if ways.loses(&before) {
            tracing::info!("the network has gone");
            outlook.send_modify(|now| *now = Outlook { losses: now.losses + 1, is_gone: true });
        }
        if ways.gains(&before) {
            tracing::info!("the network has come up");
            outlook.send_modify(|now| now.is_gone = false);
            if inputs.send(Input::NetworkUp).await.is_err() {
                return;
            }
        }
        before = ways;
    }
}

/// A socket on which the kernel tells of links, addresses and routes. For the runtime it is a socket of datagrams like any other.
fn listen() -> io::Result<UnixDatagram> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 of netlink is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    UnixDatagram::from_std(socket.into())
}

/// Waits for messages and takes what is there; that some were lost for want of room is news as well. Cancel safe.
async fn told(news: &UnixDatagram) -> io::Result<()> {
    news.readable().await?;
    let mut message = [0_u8; 4096];
    for _ in 0..DRAINED {
        let take = || Ok(recv(news, &mut message[..], RecvFlags::DONTWAIT | RecvFlags::TRUNC).map(|_| ())?);
        match news.try_io(Interest::READABLE, take) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {}
            other => other?,
        }
    }
    Ok(())
}

/// How it stands with the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outlook {
    /// How often it has gone.
    losses: u64,
    /// Whether nothing has come up since.
    is_gone: bool,
}

/// Tells when the network goes.
#[derive(Debug, Clone)]
pub struct Losses {
    outlook: Option<watch::Receiver<Outlook>>,
    /// Losses that are no news.
    known: u64,
    /// To whom there must be a way.
    host: Option<(String, u16)>,
}

impl Losses {
    /// The losses that a watcher counts.
    #[must_use]
    pub fn of(outlook: &watch::Sender<Outlook>) -> Self {
        Self { known: outlook.borrow().losses, outlook: Some(outlook.subscribe()), host: None }
    }

    /// Those from now on that concern a resource: one of this very machine outlives its network.
    pub(crate) fn for_resource(&self, url: &ResourceUrl) -> Self {
        let host = url.host().trim_start_matches('[').trim_end_matches(']');
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let outlook = self.outlook.clone().filter(|_| !is_here);
        let known = outlook.as_ref().map_or(0, |outlook| outlook.borrow().losses);
        Self { outlook, known, host: Some((host.to_owned(), url.port())) }
    }

    /// Waits for the next one. Cancel safe, but that one which is being looked at is not told again.
    pub(crate) async fn next(&mut self) {
        loop {
            let Some(outlook) = &mut self.outlook else { return std::future::pending().await };
            let known = self.known;
            let losses = outlook.wait_for(|now| now.losses > known).await.map(|now| now.losses);
            let Ok(losses) = losses else { return std::future::pending().await };
            self.known = losses;
            match &self.host {
                Some(host) if has_way(host).await => {}
                _ => return,
            }
        }
    }

    /// Whether there is no way to the resource because there is none to anywhere: known already, or not told yet.
    pub(crate) async fn is_gone(&self) -> bool {
        let is_gone = self.outlook.as_ref().is_some_and(|outlook| outlook.borrow().is_gone || addresses().is_empty());
        match &self.host {
            Some(host) => is_gone && !has_way(host).await,
            None => is_gone,
        }
    }

    /// Does the work to its end; ends it early, by `cancel`, when the network goes. Whether that happened.
    pub(crate) async fn during<T>(&mut self, cancel: &CancellationToken, work: impl Future<Output = T>) -> (T, Outage) {
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return (done, Outage::None),
            () = self.next() => cancel.cancel(),
        }
        (work.await, Outage::Met)
    }
}

/// Whether the kernel knows a way to the host, or to one of its addresses. A name that nobody resolves any more has none.
async fn has_way((host, port): &(String, u16)) -> bool {
    let found = tokio::time::timeout(NAMING, tokio::net::lookup_host((host.as_str(), *port))).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.any(leads_to)))
}

/// Whether there is a route. To connect a socket of datagrams sends nothing: the kernel looks for the way, and that is all (udp(7)).
fn leads_to(address: SocketAddr) -> bool {
    let unspecified = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    UdpSocket::bind((unspecified, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

/// Whether the network went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// It did not.
    None,
    /// It did, and what was under way was told to end.
    Met,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(addresses: &[&str], defaults: &[&str]) -> Ways {
        let addresses = addresses.iter().map(|text| ("eth0".to_owned(), text.parse().expect("an address"))).collect();
        Ways { addresses, defaults: defaults.iter().map(|&name| name.to_owned()).collect() }
    }

    #[test]
    fn any_new_way_is_a_gain_and_only_the_last_of_a_kind_a_loss() {
        let (none, one) = (ways(&[], &[]), ways(&["192.0.2.1"], &["eth0"]));
        assert!(one.gains(&none) && !one.loses(&none));
        assert!(none.loses(&one) && !none.gains(&one));
        let two = ways(&["192.0.2.1", "2001:db8::1"], &["eth0", "wlan0"]);
        assert!(two.gains(&one) && !one.loses(&two));
        let routeless = ways(&["192.0.2.1"], &[]);
        assert!(routeless.loses(&one) && one.gains(&routeless));
        let moved = ways(&["198.51.100.1"], &["wlan0"]);
        assert!(moved.gains(&one) && !moved.loses(&one), "another way is a way");
    }

    #[test]
    fn loopback_and_link_local_addresses_lead_nowhere() {
        for (text, leads) in
            [("127.0.0.1", false), ("::1", false), ("169.254.1.1", false), ("fe80::1", false), ("10.0.0.1", true)]
        {
            assert_eq!(leads_out(text.parse().expect("an address")), leads, "{text}");
        }
    }

    #[test]
    fn default_routes_are_read_from_the_kernels_tables() {
        let v4 = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
                  eth0 00000000 0100A8C0 0003 0 0 100 00000000 0 0 0\n\
                  eth1 0000A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0\n";
        let zero = "0".repeat(32);
        let v6 = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 1 0 00000003 wlan0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200 lo\nbroken\n"
        );
        let found = defaults_of(v4, &v6);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["eth0", "wlan0"]);
    }

    #[tokio::test]
    async fn work_ends_with_the_network_and_only_a_loss_from_then_on_counts() {
        let outlook = watch::Sender::new(Outlook::default());
        let go = || outlook.send_modify(|now| *now = Outlook { losses: now.losses + 1, is_gone: true });
        let losses = Losses::of(&outlook);
        go();
        let url = |text: &str| ResourceUrl::parse(text).expect("a URL");
        let cancel = CancellationToken::new();
        let mut mine = losses.for_resource(&url("http://origin.invalid/a"));
        assert_eq!(mine.during(&cancel, async { 7 }).await, (7, Outage::None), "what was before it is no matter");
        let mut here = losses.for_resource(&url("http://127.0.0.1:8080/a"));
        go();
        assert_eq!(mine.during(&cancel, cancel.cancelled()).await, ((), Outage::Met));
        let first = tokio::select! { biased; () = here.next() => "told", () = std::future::ready(()) => "not told" };
        assert_eq!(first, "not told", "this machine's own servers are still there");
    }
}
