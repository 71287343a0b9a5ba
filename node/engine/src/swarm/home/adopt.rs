//! What a joining member reads already: it goes on under the lease that it has, since a new one would only begin the request anew.
//!
//! That it reads is its own word, and keeps everybody else from reading the same. So it counts of leases that this home gave to that very
//! member, for what they were given for and as long as they would have lasted; and of those of another home where there was one: while
//! this one takes over, and once for each member that comes later, which may have followed a home of which this one never heard.

use super::Home;
use super::board::From;
use super::lease::{Ending, Lease};
use crate::swarm::constants::{EXPECTED, LEASE_SEGMENTS, LEASES_MOST};
use crate::swarm::message::{JoinFlow, JoinSource};
use crate::swarm::name::LeaseId;
use std::collections::BTreeMap;
use std::time::Duration;

impl Home {
    /// Takes the leases of a member that joins: it gets those again that it names.
    pub(super) fn take_leases_of(&mut self, now: Duration, b: u32, n: u32) -> BTreeMap<LeaseId, Lease> {
        let of_member = self.leases.iter().filter(|(_, lease)| (lease.board, lease.slot) == (b, n));
        let taken = of_member.map(|(id, lease)| (*id, lease.clone())).collect();
        self.end_leases_of(now, b, n, Ending::Kept);
        taken
    }

    /// A joining member reads already, but for what others read or have. `before` are the leases that it had here.
    pub(super) fn adopt_reads(
        &mut self,
        now: Duration,
        (b, n): (u32, u32),
        flows: &[JoinFlow],
        mut before: BTreeMap<LeaseId, Lease>,
    ) {
        let mut reads: BTreeMap<LeaseId, Vec<u32>> = BTreeMap::new();
        let count = self.boards[b as usize].segments.len() as u32;
        for flow in flows.iter().filter(|flow| flow.segment < count) {
            if let JoinSource::Origin(id) = flow.source {
                reads.entry(id).or_default().push(flow.segment);
            }
        }
        let is_believed = reads.keys().any(|id| self.is_foreign(*id)) && self.believes(now, n);
        for (id, named) in reads {
            let lease = match before.remove(&id) {
                Some(mut lease) => {
                    // That it is a stream it may have found out under it.
                    lease.segments.end = if self.is_stream(b) { count } else { lease.segments.end };
                    Some(lease)
                }
                None if is_believed && self.is_foreign(id) => self.foreign_lease(now, (b, n), &named),
                // Made up, or taken away.
                None => None,
            };
            let has_room = (self.leases.len() as u32) < LEASES_MOST && !self.leases.contains_key(&id);
            let lease = lease.filter(|_| has_room);
            let within = |s: &u32| lease.as_ref().is_some_and(|lease| lease.segments.contains(s));
            let mut read: Vec<u32> = named.iter().copied().filter(within).collect();
            read.sort_unstable();
            if let (Some(lease), Some(first)) = (&lease, read.first().copied()) {
                let segment = &self.boards[b as usize].segments[first as usize];
                let is_free = segment.lease.is_none() && segment.holders == 0;
                if is_free && self.is_stream(b) {
                    // All of it comes, also what a JOIN has no room to name.
                    self.enter_lease(now, id, lease.clone(), first..lease.segments.end);
                    self.allow_skipping(id);
                } else if is_free {
                    self.enter_lease(now, id, lease.clone(), read.iter().copied());
                }
            }
            let mut is_left = false;
            for s in named {
                if self.boards[b as usize].segments[s as usize].link(n).from == From::Nowhere {
                    is_left |= !self.source(now, b, s, n) && read.contains(&s);
                }
            }
            // It reads what nobody else gives it.
            if is_left && let Some(lease) = lease {
                self.enter_alone(now, id, lease, read);
            }
        }
    }

    /// Whether another home gave a lease; what this one gave, and to whom, it knows itself.
    fn is_foreign(&self, id: LeaseId) -> bool {
        id.0 >> 32 != self.next_lease >> 32
    }

    /// Whether a member may have followed another home until now.
    fn believes(&mut self, now: Duration, n: u32) -> bool {
        let seat = &mut self.seats[n as usize];
        let is_new = now < *seat.brings_reads_until.get_or_insert(now + EXPECTED);
        seat.peer == self.me || now < self.adopts_until || is_new
    }

    /// What a member reads under another home's lease: no more than one is given for, but of a stream all that is still to come.
    fn foreign_lease(&self, now: Duration, (b, n): (u32, u32), named: &[u32]) -> Option<Lease> {
        let first = named.iter().min().copied()?;
        let count = self.boards[b as usize].segments.len() as u32;
        let named = named.iter().copied().filter(|s| *s < first + LEASE_SEGMENTS);
        let end = if self.is_stream(b) { count } else { named.max()? + 1 };
        Some(Lease::new(now, b, n, first..end))
    }
}
