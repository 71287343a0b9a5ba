//! The decisions of discovery as one pure state machine: what was heard goes in, what is worth a dial comes out.
//!
//! Inputs are `handle_*(now, ..)`, outputs `poll_event(now)` and `poll_timeout(now)`; no socket, clock or task.
//!
//! # When both sides find each other at once
//! Both may dial. The rule is: *of two connections between the same two nodes, the one that the smaller key initiated
//! stays*; both ends know both proven keys, so both close the same one and nothing needs to be agreed. To spare the
//! second handshake, a node that hears of a smaller key gives that one a head start of [`HEAD_START`]. A forged key can
//! gain nothing more than that delay.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::NodeKey;
use crate::dial::{self, DIAL_PATIENCE, DialBudget, Refusal};
use crate::named::Names;
use crate::table::{Candidate, Found, Hearing, Standing, Table};

/// How long the larger key waits for the smaller one to dial.
pub const HEAD_START: Duration = Duration::from_millis(300);
/// Wait before a lost neighbour is dialled again.
pub const LOST_PAUSE: Duration = Duration::from_secs(1);

/// What discovery tells the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryEvent {
    /// Worth a dial now. Answer with `on_proven` or `on_failed`.
    Dial {
        /// The identity that the announcement claims, if it claims one. A hint: whoever answers must prove itself.
        candidate: Option<NodeKey>,
        /// Where to dial: QUIC over UDP.
        address: SocketAddr,
    },
    /// An address that was reported before is no longer announced. Connections live and die by themselves.
    Gone {
        /// The identity that it proved or claimed.
        candidate: Option<NodeKey>,
        /// Where it was.
        address: SocketAddr,
    },
}

/// Counts for people and metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that are connected.
    pub connected: usize,
    /// Addresses that were proven once and are not connected.
    pub lost: usize,
    /// Addresses being dialled.
    pub dialling: usize,
    /// Unproven addresses waiting for their turn.
    pub waiting: usize,
    /// Of all, those that the configuration names.
    pub configured: usize,
    /// Announcements accepted so far, repetitions included.
    pub heard: u64,
    /// Dials asked for so far.
    pub dials: u64,
    /// Candidates that had to give way to others (T-08).
    pub displaced: u64,
    refused: [u64; Refusal::ALL.len()],
}

impl Counts {
    /// Announcements refused so far, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.refused)
    }
}

/// What is known of the neighbourhood.
#[derive(Debug)]
pub struct Neighbours {
    own_key: NodeKey,
    own_port: u16,
    networks: Vec<IpNet>,
    table: Table,
    names: Names,
    budget: DialBudget,
    gone: Vec<DiscoveryEvent>,
    counts: Counts,
}

impl Neighbours {
    /// An empty neighbourhood of the node `own_key`, whose QUIC port is `own_port`.
    #[must_use]
    pub fn new(own_key: NodeKey, own_port: u16) -> Self {
        Self {
            own_key,
            own_port,
            networks: Vec::new(),
            table: Table::new(),
            names: Names::default(),
            budget: DialBudget::default(),
            gone: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// This host's addresses with their prefixes, after a change. What was only heard of in a network that this host
    /// has left is forgotten (T-09).
    pub fn handle_networks(&mut self, networks: Vec<IpNet>) {
        self.networks = networks;
        let on_link = |a: &SocketAddr| dial::judge_announced(*a, &self.networks, self.own_port).is_ok();
        let only_heard = |c: &Candidate| c.found == Found::OnLink && c.proven.is_none();
        let left: Vec<SocketAddr> =
            self.table.iter().filter(|(a, c)| only_heard(c) && !on_link(a)).map(|(a, _)| *a).collect();
        for address in left {
            if let Some(gone) = self.table.remove(&address) {
                self.report_gone(address, &gone);
            }
        }
    }

    /// Somebody announced `key` at `address`.
    ///
    /// # Errors
    /// Why the announcement is of no use; counted.
    pub fn handle_heard(&mut self, now: Duration, key: NodeKey, address: SocketAddr) -> Result<(), Refusal> {
        let not_before = if key < self.own_key { now.saturating_add(HEAD_START) } else { now };
        self.hear(now, key, address, not_before)
    }

    /// A member says that `key` is at `address`.
    ///
    /// # Errors
    /// As of an announcement.
    pub fn handle_told(&mut self, now: Duration, key: NodeKey, address: SocketAddr) -> Result<(), Refusal> {
        self.hear(now, key, address, now)
    }

    fn hear(&mut self, now: Duration, key: NodeKey, address: SocketAddr, not_before: Duration) -> Result<(), Refusal> {
        let judged = if key == self.own_key {
            Err(Refusal::Ourselves)
        } else {
            dial::judge_announced(address, &self.networks, self.own_port)
        };
        let outcome = judged.and_then(|()| match self.table.hear(now, address, Some(key), not_before) {
            Hearing::New | Hearing::Refreshed => Ok(()),
            Hearing::Displaced(_) => {
                self.counts.displaced += 1;
                Ok(())
            }
            Hearing::NoPlace => Err(Refusal::NoPlace),
        });
        match outcome {
            Ok(()) => self.counts.heard += 1,
            Err(why) => self.counts.refused[why as usize] += 1,
        }
        outcome
    }

    /// The announcement of `address` ran out. Only an unproven address is forgotten: proof outlives announcements.
    pub fn handle_unheard(&mut self, address: SocketAddr) {
        let forget = self.table.candidate(&address).is_some_and(|c| {
            c.found == Found::OnLink && c.proven.is_none() && matches!(c.standing, Standing::Waiting { .. })
        });
        if forget && let Some(gone) = self.table.remove(&address) {
            self.report_gone(address, &gone);
        }
    }

    /// The configuration names `address`. It may be anywhere: the user said so. `false` when there are too many.
    pub fn handle_configured(&mut self, now: Duration, address: SocketAddr) -> bool {
        let has_place = self.place(now, address);
        if has_place {
            self.names.handle_literal(address);
        }
        has_place
    }

    /// The configured name that is `entry` of the list resolves to these now, at least one. Those that it has not named for
    /// [`crate::named::MAX_MISSED_ANSWERS`] are forgotten unless they are connected. Returns those for which there is no place.
    pub fn handle_resolved(&mut self, now: Duration, entry: usize, answer: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut refused = Vec::new();
        for address in self.names.handle_answer(now, entry, answer) {
            match self.place(now, address) {
                true => self.names.add(now, entry, address),
                false => refused.push(address),
            }
        }
        for address in self.names.dropped_by(entry) {
            if self.table.may_go(&address) && self.names.withdraw(entry, &address) {
                self.forget(address);
            }
        }
        refused
    }

    /// The configured name that is `entry` of the list did not resolve: that says nothing about where its peer is.
    pub fn handle_unresolved(&mut self, entry: usize) {
        self.names.handle_failure(entry);
    }

    /// A place for a configured address, of one that its name does not stand by if need be.
    fn place(&mut self, now: Duration, address: SocketAddr) -> bool {
        if self.table.configure(now, address) {
            return true;
        }
        let victim = self.names.unconfirmed().into_iter().find(|address| self.table.may_go(address));
        victim.is_some_and(|victim| {
            self.forget(victim);
            self.table.configure(now, address)
        })
    }

    fn forget(&mut self, address: SocketAddr) {
        self.names.forget(&address);
        if let Some(gone) = self.table.remove(&address) {
            self.report_gone(address, &gone);
        }
    }

    /// The node at `address` proved to be `key` and is connected, whoever dialled. Other addresses that have proved the
    /// same key are left alone from now on, or forgotten where it cannot be any more.
    pub fn handle_proven(&mut self, now: Duration, key: NodeKey, address: SocketAddr) {
        if key == self.own_key {
            if let Some(candidate) = self.table.candidate_mut(&address) {
                candidate.standing = Standing::Ourselves;
            }
            return;
        }
        self.table.prove(now, address, key);
        for (former, candidate) in self.table.forget_former(key, address) {
            self.report_gone(former, &candidate);
        }
        self.budget.handle_proven(address.ip());
        self.set_standing_of(key, Standing::Connected);
    }

    /// The dial to `address` failed: nobody there, or not one of us.
    pub fn handle_failed(&mut self, now: Duration, address: SocketAddr) {
        if let Some(candidate) = self.table.candidate_mut(&address)
            && matches!(candidate.standing, Standing::Dialling { .. })
        {
            candidate.failures = candidate.failures.saturating_add(1);
            candidate.standing = Standing::Waiting { not_before: now.saturating_add(dial::backoff(candidate)) };
            self.budget.handle_failed(address.ip());
            for (lost, candidate) in self.table.forget_lost(address.ip()) {
                self.report_gone(lost, &candidate);
            }
        }
    }

    /// The last connection with `key` ended. Its addresses are dialled again after [`LOST_PAUSE`].
    pub fn handle_lost(&mut self, now: Duration, key: NodeKey) {
        self.set_standing_of(key, Standing::Waiting { not_before: now.saturating_add(LOST_PAUSE) });
    }

    /// The next thing to tell the node, if any.
    pub fn poll_event(&mut self, now: Duration) -> Option<DiscoveryEvent> {
        if let Some(gone) = self.gone.pop() {
            return Some(gone);
        }
        if now < self.budget.next_dial() {
            return None;
        }
        self.tidy(now);
        let address = self.budget.choose(now, self.table.iter())?;
        let candidate = self.table.candidate_mut(&address)?;
        candidate.standing = Standing::Dialling { since: now };
        candidate.reported = true;
        self.counts.dials += 1;
        Some(DiscoveryEvent::Dial { candidate: candidate.proven.or(candidate.announced), address })
    }

    /// When to poll again although nothing was handed in.
    #[must_use]
    pub fn poll_timeout(&self, now: Duration) -> Option<Duration> {
        if now < self.budget.next_dial() {
            // Between two dials nothing can be due: no need to look at every candidate for each packet of a flood.
            return Some(self.budget.next_dial());
        }
        let due = self.table.iter().filter_map(|(_, c)| match c.standing {
            Standing::Waiting { not_before } => Some(not_before),
            Standing::Dialling { since } => Some(since.saturating_add(DIAL_PATIENCE)),
            Standing::Connected | Standing::Ourselves => None,
        });
        due.min().map(|at| at.max(self.budget.next_dial()))
    }

    /// Counts by kind.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = self.counts;
        let mut connected: Vec<NodeKey> = Vec::new();
        for (_, candidate) in self.table.iter() {
            counts.configured += usize::from(candidate.found == Found::Configured);
            match candidate.standing {
                Standing::Connected => connected.extend(candidate.proven),
                Standing::Dialling { .. } => counts.dialling += 1,
                Standing::Waiting { .. } if candidate.proven.is_some() => counts.lost += 1,
                Standing::Waiting { .. } => counts.waiting += 1,
                Standing::Ourselves => {}
            }
        }
        connected.sort_unstable();
        connected.dedup();
        counts.connected = connected.len();
        counts
    }

    fn set_standing_of(&mut self, key: NodeKey, standing: Standing) {
        let of_key: Vec<SocketAddr> =
            self.table.iter().filter(|(_, c)| c.proven == Some(key)).map(|(address, _)| *address).collect();
        for address in of_key {
            if let Some(candidate) = self.table.candidate_mut(&address) {
                candidate.standing = standing;
            }
        }
    }

    fn tidy(&mut self, now: Duration) {
        let silent = |c: &Candidate| matches!(c.standing, Standing::Dialling { since } if since + DIAL_PATIENCE <= now);
        let overdue: Vec<SocketAddr> = self.table.iter().filter(|(_, c)| silent(c)).map(|(a, _)| *a).collect();
        for address in overdue {
            self.handle_failed(now, address);
        }
        for (address, candidate) in self.table.expire(now) {
            self.report_gone(address, &candidate);
        }
    }

    fn report_gone(&mut self, address: SocketAddr, gone: &Candidate) {
        if gone.reported {
            self.gone.push(DiscoveryEvent::Gone { candidate: gone.proven.or(gone.announced), address });
        }
    }
}

#[cfg(test)]
mod tests;
