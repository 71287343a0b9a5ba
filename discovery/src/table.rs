//! Which addresses are worth knowing: a table that a flood can fill but not grow, nor empty of friends (T-08, T-10).
//!
//! A candidate is an *address*, not an identity. Whoever answers there proves who it is with a group certificate; an
//! announced identity is a hint that can be forged, so nothing is ever decided by it except who waits for whom
//! ([`crate::neighbours`]).

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::NodeKey;

/// Candidates that the table holds at most, apart from configured ones (T-08).
pub const MAX_CANDIDATES: usize = 1_024;
/// Unproven candidates at most per announced IP address; the announced address is the packet's source (T-08, T-09).
pub const MAX_PER_IP: usize = 16;
/// Places that unproven candidates can never take from proven ones (T-10).
pub const RESERVED_FOR_PROVEN: usize = 8;
/// Addresses on the link that are kept of one key: a machine has a few networks.
pub const MAX_PER_KEY: usize = 4;
/// Candidates at one IP address that proved a key once and do not answer: somebody who makes keys, or containers that come and go, would
/// else fill the table with dead friends.
pub const MAX_LOST_PER_IP: usize = 16;
/// Configured candidates at most, after resolving names.
pub const MAX_CONFIGURED: usize = 256;
/// Life of an unproven candidate since it was last heard, whatever its record claimed (T-08).
pub const UNPROVEN_LIFE: Duration = Duration::from_secs(10 * 60);
/// Life of a proven candidate that is no longer connected.
pub const PROVEN_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// How a candidate became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was announced on a local network, or it connected to us.
    OnLink,
    /// The configuration names it.
    Configured,
}

/// Where a candidate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// May be dialled from this time on.
    Waiting {
        /// The back-off's end.
        not_before: Duration,
    },
    /// The node was told to dial it and has not answered yet.
    Dialling {
        /// When it was told.
        since: Duration,
    },
    /// Authenticated and connected.
    Connected,
    /// It is this node.
    Ourselves,
}

/// One address that may be a neighbour.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The identity that the latest announcement claims, if any. A hint.
    pub announced: Option<NodeKey>,
    /// The identity that this address has proved.
    pub proven: Option<NodeKey>,
    /// How it became known.
    pub found: Found,
    /// Where it stands.
    pub standing: Standing,
    /// Failed dials since the last success.
    pub failures: u32,
    /// Whether the node was ever told of it.
    pub reported: bool,
    expires: Option<Duration>,
    age_rank: u64,
}

/// What hearing of an address did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// A new candidate.
    New,
    /// Known already; its life starts anew.
    Refreshed,
    /// A new candidate in the place of an older one, which is returned.
    Displaced(SocketAddr),
    /// No place: everything that could go is being dialled.
    NoPlace,
}

/// The bounded table of candidates. Pure: time is an argument.
#[derive(Debug, Default)]
pub struct Table {
    entries: HashMap<SocketAddr, Candidate>,
    /// Unproven candidates heard on the link, by address, for the cap per IP.
    unproven_by_ip: HashMap<IpAddr, Vec<SocketAddr>>,
    /// The same ones, oldest hearing first, for the cap of all.
    unproven_by_age: BTreeMap<u64, SocketAddr>,
    configured: usize,
    next_rank: u64,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All candidates, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&SocketAddr, &Candidate)> {
        self.entries.iter()
    }

    /// How many candidates are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no candidate is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The candidate at `address`.
    #[must_use]
    pub fn candidate(&self, address: &SocketAddr) -> Option<&Candidate> {
        self.entries.get(address)
    }

    /// Changes standing and counters of the candidate at `address`; identity and life have their own methods.
    pub fn candidate_mut(&mut self, address: &SocketAddr) -> Option<&mut Candidate> {
        self.entries.get_mut(address)
    }

    /// Notes that `address` was announced at `now`, and may be dialled from `not_before` on if it is new.
    pub fn hear(
        &mut self,
        now: Duration,
        address: SocketAddr,
        announced: Option<NodeKey>,
        not_before: Duration,
    ) -> Hearing {
        if let Some(known) = self.entries.get_mut(&address) {
            known.announced = announced.or(known.announced);
            if known.found == Found::OnLink && known.proven.is_none() {
                self.unproven_by_age.remove(&known.age_rank);
                known.age_rank = self.next_rank;
                self.unproven_by_age.insert(self.next_rank, address);
                self.next_rank += 1;
            }
            if known.expires.is_some() {
                let life = if known.proven.is_some() { PROVEN_LIFE } else { UNPROVEN_LIFE };
                known.expires = Some(now.saturating_add(life));
            }
            return Hearing::Refreshed;
        }
        let displaced = match self.make_room_for_unproven(address.ip()) {
            Room::Free => None,
            Room::Freed(gone) => Some(gone),
            Room::None => return Hearing::NoPlace,
        };
        self.insert_unproven(now, address, announced, not_before);
        displaced.map_or(Hearing::New, Hearing::Displaced)
    }

    /// Adds an address that the configuration names; `false` when [`MAX_CONFIGURED`] are known already.
    pub fn configure(&mut self, now: Duration, address: SocketAddr) -> bool {
        if self.entries.get(&address).is_some_and(|known| known.found == Found::Configured) {
            return true;
        }
        if self.configured == MAX_CONFIGURED {
            return false;
        }
        let before = self.remove(&address);
        self.configured += 1;
        let entry = Candidate {
            announced: None,
            proven: None,
            standing: Standing::Waiting { not_before: now },
            failures: 0,
            reported: false,
            age_rank: 0,
            ..before.unwrap_or(Candidate::EMPTY)
        };
        self.entries.insert(address, Candidate { found: Found::Configured, expires: None, ..entry });
        true
    }

    /// Marks `address` as proven to be `key` and connected. An address unknown so far is added (it dialled us).
    /// `false` when the table is full of connected neighbours and does not remember this one.
    pub fn prove(&mut self, now: Duration, address: SocketAddr, key: NodeKey) -> bool {
        let known = match self.remove(&address) {
            Some(known) => known,
            None if self.make_room_for_proven() => Candidate::EMPTY,
            None => return false,
        };
        let expires = (known.found == Found::OnLink).then(|| now.saturating_add(PROVEN_LIFE));
        self.configured += usize::from(known.found == Found::Configured);
        let entry = Candidate {
            proven: Some(key),
            standing: Standing::Connected,
            failures: 0,
            reported: true,
            expires,
            ..known
        };
        self.entries.insert(address, entry);
        true
    }

    /// Forgets addresses at which `key`, proven at `address` just now, is not any more: those at the same IP address, since it listens on one
    /// port, and the oldest beyond [`MAX_PER_KEY`]. Returns those the node was told of.
    pub fn forget_former(&mut self, key: NodeKey, address: SocketAddr) -> Vec<(SocketAddr, Candidate)> {
        let is_other =
            |a: &SocketAddr, c: &Candidate| *a != address && c.found == Found::OnLink && c.proven == Some(key);
        let others = self.entries.iter().filter(|(a, c)| is_other(a, c)).map(|(a, c)| (c.expires, *a));
        let (mut former, mut elsewhere): (Vec<_>, Vec<_>) = others.partition(|(_, other)| other.ip() == address.ip());
        elsewhere.sort_unstable_by(|a, b| b.cmp(a));
        former.extend(elsewhere.into_iter().skip(MAX_PER_KEY - 1));
        self.forget(former.into_iter().map(|(_, address)| address))
    }

    /// Forgets those at `ip` that proved a key once and fail now, beyond [`MAX_LOST_PER_IP`], who failed most first. Returns those the node
    /// was told of.
    pub fn forget_lost(&mut self, ip: IpAddr) -> Vec<(SocketAddr, Candidate)> {
        let is_lost = |a: &SocketAddr, c: &Candidate| {
            let is_friend = a.ip() == ip && c.found == Found::OnLink && c.proven.is_some();
            is_friend && c.failures > 0 && matches!(c.standing, Standing::Waiting { .. })
        };
        let lost = self.entries.iter().filter(|(a, c)| is_lost(a, c));
        let mut lost: Vec<_> = lost.map(|(a, c)| (c.failures, Reverse(c.expires), *a)).collect();
        lost.sort_unstable();
        self.forget(lost.into_iter().skip(MAX_LOST_PER_IP).map(|(.., address)| address))
    }

    fn forget(&mut self, addresses: impl Iterator<Item = SocketAddr>) -> Vec<(SocketAddr, Candidate)> {
        addresses.filter_map(|a| Some((a, self.remove(&a)?))).filter(|(_, c)| c.reported).collect()
    }

    /// Forgets `address`.
    pub fn remove(&mut self, address: &SocketAddr) -> Option<Candidate> {
        let gone = self.entries.remove(address)?;
        self.configured -= usize::from(gone.found == Found::Configured);
        if self.unproven_by_age.get(&gone.age_rank) == Some(address) {
            self.unproven_by_age.remove(&gone.age_rank);
        }
        if let Some(same_ip) = self.unproven_by_ip.get_mut(&address.ip()) {
            same_ip.retain(|other| other != address);
            if same_ip.is_empty() {
                self.unproven_by_ip.remove(&address.ip());
            }
        }
        Some(gone)
    }

    /// Forgets what has outlived its life and is not connected or being dialled; returns those the node was told of.
    pub fn expire(&mut self, now: Duration) -> Vec<(SocketAddr, Candidate)> {
        let over: Vec<SocketAddr> = self
            .entries
            .iter()
            .filter(|(_, c)| matches!(c.standing, Standing::Waiting { .. } | Standing::Ourselves))
            .filter(|(_, c)| c.expires.is_some_and(|at| at <= now))
            .map(|(address, _)| *address)
            .collect();
        self.forget(over.into_iter())
    }

    fn insert_unproven(
        &mut self,
        now: Duration,
        address: SocketAddr,
        announced: Option<NodeKey>,
        not_before: Duration,
    ) {
        let age_rank = self.next_rank;
        self.next_rank += 1;
        self.unproven_by_age.insert(age_rank, address);
        self.unproven_by_ip.entry(address.ip()).or_default().push(address);
        let expires = Some(now.saturating_add(UNPROVEN_LIFE));
        let standing = Standing::Waiting { not_before };
        self.entries.insert(address, Candidate { announced, standing, expires, age_rank, ..Candidate::EMPTY });
    }

    /// The cap per IP comes first: a flood from one address displaces only itself.
    fn make_room_for_unproven(&mut self, ip: IpAddr) -> Room {
        let same_ip = self.unproven_by_ip.get(&ip).map_or(&[][..], Vec::as_slice);
        let victim = if same_ip.len() >= MAX_PER_IP {
            // What failed goes first, then what was not heard for longest.
            let rank = |address: &&SocketAddr| {
                let entry = &self.entries[*address];
                (u32::MAX - entry.failures, entry.age_rank)
            };
            same_ip.iter().filter(|address| self.may_go(address)).min_by_key(rank).copied()
        } else if self.unproven_by_age.len() >= MAX_CANDIDATES - RESERVED_FOR_PROVEN
            || self.entries.len() - self.configured >= MAX_CANDIDATES
        {
            self.unproven_by_age.values().find(|address| self.may_go(address)).copied()
        } else {
            return Room::Free;
        };
        victim.map_or(Room::None, |address| {
            self.remove(&address);
            Room::Freed(address)
        })
    }

    fn make_room_for_proven(&mut self) -> bool {
        if self.entries.len() - self.configured < MAX_CANDIDATES {
            return true;
        }
        let unproven = self.unproven_by_age.values().find(|address| self.may_go(address)).copied();
        let victim = unproven.or_else(|| {
            let lost = self.entries.iter().filter(|(address, c)| c.found == Found::OnLink && self.may_go(address));
            lost.min_by_key(|(_, c)| c.expires).map(|(address, _)| *address)
        });
        victim.is_some_and(|address| self.remove(&address).is_some())
    }

    /// Whether the candidate at `address` is neither connected nor being dialled.
    pub(crate) fn may_go(&self, address: &SocketAddr) -> bool {
        self.entries.get(address).is_some_and(|c| matches!(c.standing, Standing::Waiting { .. } | Standing::Ourselves))
    }
}

enum Room {
    Free,
    Freed(SocketAddr),
    None,
}

impl Candidate {
    /// Grows with each hearing: the smaller, the longer ago this was last heard.
    pub(crate) fn age_rank(&self) -> u64 {
        self.age_rank
    }

    const EMPTY: Self = Self {
        announced: None,
        proven: None,
        found: Found::OnLink,
        standing: Standing::Waiting { not_before: Duration::ZERO },
        failures: 0,
        reported: false,
        expires: None,
        age_rank: u64::MAX,
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(host: u32, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4((0x0a00_0000 + host).into()), port)
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn unproven(table: &Table) -> usize {
        table.iter().filter(|(_, c)| c.proven.is_none() && c.found == Found::OnLink).count()
    }

    #[test]
    fn a_hundred_thousand_forged_records_leave_a_bounded_table_and_every_friend() {
        let mut table = Table::new();
        for friend in 1..=5 {
            assert!(table.prove(s(0), at(friend, 4040), [friend as u8; 32]));
            table.candidate_mut(&at(friend, 4040)).unwrap().standing = Standing::Waiting { not_before: s(1) };
        }
        for n in 0..100_000_u32 {
            table.hear(s(1), at(100 + n % 60_000, 1_024 + (n % 1_000) as u16), Some([7; 32]), s(1));
            assert!(table.len() <= MAX_CANDIDATES);
        }
        for friend in 1..=5 {
            assert!(table.candidate(&at(friend, 4040)).is_some());
        }
    }

    #[test]
    fn a_flood_from_one_address_displaces_only_itself() {
        let mut table = Table::new();
        table.hear(s(0), at(1, 4040), None, s(0));
        for port in 2_000..60_000 {
            table.hear(s(1), at(2, port), None, s(1));
        }
        assert_eq!(table.len(), 1 + MAX_PER_IP);
        assert!(table.candidate(&at(1, 4040)).is_some());
        assert!(table.candidate(&at(2, 59_999)).is_some(), "the newest stays");
    }

    #[test]
    fn places_are_reserved_for_the_proven() {
        let mut table = Table::new();
        for host in 0..5_000 {
            table.hear(s(0), at(host, 4040), None, s(0));
        }
        assert_eq!(table.len(), MAX_CANDIDATES - RESERVED_FOR_PROVEN);
    }

    #[test]
    fn an_unproven_candidate_lives_ten_minutes_after_it_was_last_heard() {
        let mut table = Table::new();
        table.hear(s(0), at(1, 4040), None, s(0));
        table.hear(s(500), at(1, 4040), None, s(500));
        table.expire(s(1_099));
        assert_eq!(table.len(), 1);
        table.expire(s(1_100));
        assert!(table.is_empty());
    }

    #[test]
    fn configured_addresses_have_places_of_their_own() {
        let mut table = Table::new();
        for host in 0..5_000 {
            table.hear(s(0), at(host, 4040), None, s(0));
        }
        for host in 0..MAX_CONFIGURED as u32 {
            assert!(table.configure(s(0), at(10_000 + host, 4040)));
        }
        assert!(!table.configure(s(0), at(20_000, 4040)), "one too many");
        assert!(table.configure(s(0), at(10_000, 4040)), "known already");
        table.expire(s(1_000_000));
        assert_eq!(table.len(), MAX_CONFIGURED);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn no_order_of_inputs_breaks_a_bound(
            steps in proptest::collection::vec((0_u8..6, 0_u32..90, 1_024_u16..1_050), 0..2_000)
        ) {
            let mut table = Table::new();
            for (n, (kind, host, port)) in steps.into_iter().enumerate() {
                let (now, address) = (s(n as u64), at(host, port));
                match kind {
                    0 => { table.prove(now, address, [host as u8; 32]); }
                    1 => { table.configure(now, address); }
                    2 => { table.remove(&address); }
                    3 => { table.expire(now); }
                    _ => { table.hear(now, address, None, now); }
                }
                let configured = table.iter().filter(|(_, c)| c.found == Found::Configured).count();
                prop_assert_eq!(configured, table.configured);
                prop_assert!(configured <= MAX_CONFIGURED);
                prop_assert!(table.len() - configured <= MAX_CANDIDATES);
                prop_assert_eq!(unproven(&table), table.unproven_by_age.len());
                prop_assert_eq!(unproven(&table), table.unproven_by_ip.values().map(Vec::len).sum::<usize>());
                prop_assert!(table.unproven_by_ip.values().all(|same| !same.is_empty() && same.len() <= MAX_PER_IP));
            }
        }
    }
}
