//! Which candidate to dial next, and how often: a flood of announcements must not turn this node into a gun (T-09).
//!
//! At most one dial per [`DIAL_SPACING`]; friends that may be expected back first, then configured addresses, then whatever was heard, the
//! IP addresses taking turns so that loud hosts cannot starve a quiet one.

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
/// Failed dials in a row after which a friend is not expected back, about a minute: it is hearsay again, or what the configuration names.
/// Else those who are gone for good would come before everybody else for a day.
pub const FORSAKEN_AFTER: u32 = 5;
/// IP addresses whose dials are remembered.
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
    turns: HashMap<IpAddr, Turn>,
}

/// What dials to one IP address have come to.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    last: Option<Duration>,
    /// Failed dials since somebody there proved membership.
    failures: u32,
    /// Whether somebody there ever did.
    has_proved: bool,
}

/// Who is dialled first; smaller is sooner.
///
/// Friends that have not failed [`FORSAKEN_AFTER`] times, configured addresses, then hearsay. Of hearsay, hosts that have kept every
/// promise so far, hosts never dialled, then the others by broken promises; those equal in that take turns, the one that was heard the
/// longest ago first: who floods the network renews itself all the time, who has just arrived speaks once.
type Rank = (Class, u32, Option<Duration>, u64, SocketAddr);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Friend,
    Configured,
    Neighbour,
    Hearsay,
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
        self.turn(chosen.ip()).last = Some(now);
        Some(chosen)
    }

    /// A dial to `ip` failed.
    pub fn handle_failed(&mut self, ip: IpAddr) {
        let turn = self.turn(ip);
        turn.failures = turn.failures.saturating_add(1);
    }

    /// Somebody at `ip` proved membership.
    pub fn handle_proven(&mut self, ip: IpAddr) {
        let turn = self.turn(ip);
        (turn.failures, turn.has_proved) = (0, true);
    }

    fn rank(&self, address: &SocketAddr, candidate: &Candidate) -> Rank {
        let turn = self.turns.get(&address.ip()).copied().unwrap_or_default();
        let is_forsaken = candidate.failures >= FORSAKEN_AFTER;
        let class = match (candidate.proven, candidate.found) {
            (Some(_), _) if !is_forsaken => Class::Friend,
            (_, Found::Configured) => Class::Configured,
            (None, Found::OnLink) if turn.has_proved && turn.failures == 0 => Class::Neighbour,
            (_, Found::OnLink) => Class::Hearsay,
        };
        (class, turn.failures, turn.last, candidate.age_rank(), *address)
    }

    /// The turn of `ip`, made when it is new; the oldest gives way.
    fn turn(&mut self, ip: IpAddr) -> &mut Turn {
        if self.turns.len() >= MAX_TURNS && !self.turns.contains_key(&ip) {
            let oldest = self.turns.iter().min_by_key(|(_, turn)| (turn.has_proved, turn.last)).map(|(ip, _)| *ip);
            oldest.and_then(|ip| self.turns.remove(&ip));
        }
        self.turns.entry(ip).or_default()
    }
}
