//! Which candidate to dial next, and how often: a flood of announcements must not turn this node into a gun (T-09).
//!
//! At most one dial per [`DIAL_SPACING`]; known friends first, then configured addresses, then whatever was heard, the
//! IP addresses taking turns so that one loud host cannot starve a quiet one.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::table::{Candidate, Found, Standing};

/// Least time between two dials: five per second (T-09).
pub const DIAL_SPACING: Duration = Duration::from_millis(200);
/// A dial that the node has not answered for after this time has failed.
pub const DIAL_PATIENCE: Duration = Duration::from_secs(15);
/// Lowest port that an announcement may send us to (T-09: no well-known service is ever poked).
pub const LOWEST_PORT: u16 = 1_024;
/// First wait after a failed dial; doubles with each failure.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(2);
/// Longest wait for an address that was only heard of; well within its life in the table.
pub const LONGEST_BACKOFF: Duration = Duration::from_secs(5 * 60);
/// Longest wait for a configured or once proven address: the user expects it back soon.
pub const LONGEST_BACKOFF_TRUSTED: Duration = Duration::from_secs(60);
/// Addresses whose last dial is remembered, for the turns.
const MAX_TURNS: usize = 1_024;

/// Why an announced address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// It is not in any network that this host is attached to (T-09).
    OffLink,
    /// It is a broadcast, multicast or unspecified address.
    NotAHost,
    /// Its port is below [`LOWEST_PORT`] (T-09).
    LowPort,
    /// It is this node.
    Ourselves,
    /// The table had no place for it (T-08).
    NoPlace,
}

impl Refusal {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Refusal; 5] =
        [Refusal::OffLink, Refusal::NotAHost, Refusal::LowPort, Refusal::Ourselves, Refusal::NoPlace];

    /// A short stable name for output and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Refusal::OffLink => "off-link",
            Refusal::NotAHost => "not-a-host",
            Refusal::LowPort => "low-port",
            Refusal::Ourselves => "ourselves",
            Refusal::NoPlace => "no-place",
        }
    }
}

/// Judges an address that somebody announced; `networks` are this host's own addresses with their prefixes.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn judge_announced(address: SocketAddr, networks: &[IpNet], own_port: u16) -> Result<(), Refusal> {
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() {
        return Err(Refusal::NotAHost);
    }
    if address.port() < LOWEST_PORT {
        return Err(Refusal::LowPort);
    }
    if networks.iter().any(|own| own.addr() == ip) && address.port() == own_port {
        return Err(Refusal::Ourselves);
    }
    let Some(link) = networks.iter().find(|own| own.contains(&ip)) else {
        return Err(Refusal::OffLink);
    };
    // Point-to-point links (/31, /32) have no network or broadcast address.
    let has_broadcast = ip.is_ipv4() && link.prefix_len() < 31;
    if has_broadcast && (link.network() == ip || link.broadcast() == ip) {
        return Err(Refusal::NotAHost);
    }
    Ok(())
}

/// The wait after `failures` failed dials in a row.
#[must_use]
pub fn backoff(candidate: &Candidate) -> Duration {
    let trusted = candidate.proven.is_some() || candidate.found == Found::Configured;
    let longest = if trusted { LONGEST_BACKOFF_TRUSTED } else { LONGEST_BACKOFF };
    FIRST_BACKOFF.saturating_mul(1 << candidate.failures.saturating_sub(1).min(16)).min(longest)
}

/// The dial rate and the turns of the IP addresses. Pure: time is an argument.
#[derive(Debug, Default)]
pub struct DialBudget {
    next_dial: Duration,
    last_turn: HashMap<IpAddr, Duration>,
}

impl DialBudget {
    /// The time from which the next dial is allowed.
    #[must_use]
    pub fn next_dial(&self) -> Duration {
        self.next_dial
    }

    /// Chooses the candidate to dial at `now`, if one is due and the rate allows it, and spends the budget.
    pub fn choose<'t>(
        &mut self,
        now: Duration,
        candidates: impl Iterator<Item = (&'t SocketAddr, &'t Candidate)>,
    ) -> Option<SocketAddr> {
        if now < self.next_dial {
            return None;
        }
        let due =
            candidates.filter(|(_, c)| matches!(c.standing, Standing::Waiting { not_before } if not_before <= now));
        let chosen = due.min_by_key(|(address, c)| self.rank(address, c)).map(|(address, _)| *address)?;
        self.next_dial = now.saturating_add(DIAL_SPACING);
        self.take_turn(now, chosen.ip());
        Some(chosen)
    }

    /// Smaller is sooner: friends, configured, heard; then the IP that waited longest; then fewest failures.
    fn rank(&self, address: &SocketAddr, candidate: &Candidate) -> (u8, Option<Duration>, u32, SocketAddr) {
        let class = match (candidate.proven, candidate.found) {
            (Some(_), _) => 0,
            (None, Found::Configured) => 1,
            (None, Found::OnLink) => 2,
        };
        (class, self.last_turn.get(&address.ip()).copied(), candidate.failures, *address)
    }

    fn take_turn(&mut self, now: Duration, ip: IpAddr) {
        self.last_turn.insert(ip, now);
        if self.last_turn.len() > MAX_TURNS {
            let oldest = self.last_turn.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip);
            oldest.and_then(|ip| self.last_turn.remove(&ip));
        }
    }
}
