//! Every half second: counts afresh, looks after everybody, and rescues who has nothing left to hope for.

use super::Home;
use super::board::From;
use crate::swarm::constants::{CONTENT_LIFE, DEPTH, RESCUE, SAFETY_PASS, TAKE_OVER_GRACE};
use std::collections::BTreeSet;
use std::time::Duration;

impl Home {
    /// One pass.
    pub(super) fn pass(&mut self, now: Duration) {
        self.pass_at = now + SAFETY_PASS;
        self.drop_never_joined(now);
        self.forgive(now);
        self.recount(now);
        self.revoke_late(now);
        let line = self.seats.iter().filter(|seat| seat.is_alive).map(|seat| seat.link.down).max().unwrap_or(0);
        self.pace.look(now, line);
        for b in 0..self.boards.len() as u32 {
            if self.boards[b as usize].is_retired {
                continue;
            }
            self.free_rootless(now, b);
            self.boards[b as usize].count_unread();
            self.look_at_tempo(now, b);
            self.tell_watches(b);
            self.fill_all(now, b);
            self.rescue(now, b);
            let board = &self.boards[b as usize];
            if now >= board.touched + CONTENT_LIFE && board.wanting().next().is_none() {
                self.retire(b);
            }
        }
        self.waiting.clear();
        let stakes = self.boards.iter_mut().flat_map(|board| board.stakes.iter_mut().flatten());
        stakes.for_each(|stake| stake.is_waiting = false);
        if self.is_quiet() {
            // Whoever wants something again is looked after again; until then the next thing to do is to forget.
            let kept = self.boards.iter().filter(|board| !board.is_retired).map(|board| board.touched + CONTENT_LIFE);
            self.pass_at = kept.min().unwrap_or(self.pass_at).max(self.pass_at);
        }
    }

    /// Counts afresh what is kept by adding and subtracting: it drifts in a take-over, whatever the order (trap 8).
    fn recount(&mut self, now: Duration) {
        for seat in &mut self.seats {
            (seat.children, seat.committed, seat.leases) = (0, 0, 0);
        }
        for lease in self.leases.values() {
            self.seats[lease.slot as usize].leases += 1;
        }
        for board in self.boards.iter_mut().filter(|board| !board.is_retired) {
            let mut flows = vec![0; board.stakes.len()];
            for (s, segment) in board.segments.iter_mut().enumerate() {
                let is_holder = |n: &&u32| {
                    let stake = board.stakes.get(**n as usize).and_then(Option::as_ref);
                    stake.is_some_and(|stake| self.seats[**n as usize].is_source(now) && stake.have.has(s as u32))
                };
                segment.holders = segment.sources.iter().filter(is_holder).count() as u32;
                for (n, link) in segment.linked() {
                    if let From::Member(p) = link.from {
                        flows[n as usize] += 1;
                        let source = &mut self.seats[p as usize];
                        source.children += link.children();
                        source.committed = source.committed.saturating_add(link.rate);
                    }
                }
            }
            for (stake, flows) in board.stakes.iter_mut().zip(flows) {
                if let Some(stake) = stake {
                    stake.flows = flows;
                }
            }
        }
    }

    /// Somebody was named as a source and never spoke: it is not there.
    fn drop_never_joined(&mut self, now: Duration) {
        let silent = self
            .seats
            .iter()
            .filter(|seat| seat.is_alive && !seat.is_joined && now >= seat.named + TAKE_OVER_GRACE + SAFETY_PASS);
        for peer in silent.map(|seat| seat.peer).collect::<Vec<_>>() {
            self.on_peer_down(now, peer);
        }
    }

    /// Who was struck long ago is a source again.
    fn forgive(&mut self, now: Duration) {
        for b in 0..self.boards.len() as u32 {
            let stakes = &self.boards[b as usize].stakes;
            let is_forgiven = |n: usize| self.seats[n].is_forgiven(now);
            let back: Vec<u32> = (0..stakes.len()).filter(|n| is_forgiven(*n)).map(|n| n as u32).collect();
            for n in back {
                let Some(stake) = self.boards[b as usize].stake(n) else { continue };
                let held: Vec<u32> = stake.have.iter().collect();
                held.into_iter().for_each(|s| self.add_holder(b, s, n));
            }
        }
        self.seats.iter_mut().for_each(|seat| seat.forget_old_strike(now));
    }

    /// Branches that lead nowhere: "somebody receives it" must not be believed of orphans (trap 4).
    fn free_rootless(&mut self, now: Duration, b: u32) {
        for s in 0..self.boards[b as usize].segments.len() as u32 {
            let board = &self.boards[b as usize];
            let segment = &board.segments[s as usize];
            if segment.under_way == 0 || board.is_held_back(now, s) {
                continue;
            }
            let has_root = segment.holders > 0 || segment.lease.is_some();
            // Where there is a root, those hang on nobody whose branch ends at one that has lost its own source.
            let is_orphan =
                |n: &u32| if has_root { self.hangs_on_nobody(b, s, *n) } else { !self.leads(now, b, s, *n) };
            let orphans: Vec<u32> = segment.linked().map(|(n, _)| n).filter(is_orphan).collect();
            orphans.into_iter().for_each(|n| self.unlink(b, s, n));
        }
    }

    /// Whether a branch ends at a member that takes the segment from nobody, or nowhere. Of one that has not said what it does it is not
    /// known.
    fn hangs_on_nobody(&self, b: u32, s: u32, n: u32) -> bool {
        let board = &self.boards[b as usize];
        let mut at = n;
        for _ in 0..DEPTH {
            match board.segments[s as usize].link(at).from {
                From::Origin => return false,
                From::Nowhere => return board.stake(at).is_some_and(|stake| stake.lacks(s)),
                From::Member(parent) => at = parent,
            }
        }
        true
    }

    /// A member that has nothing under way because it refused all that hold what it lacks reads one segment itself. Only then: not
    /// when they are busy, nor when the line is slow (trap 10).
    fn rescue(&mut self, now: Duration, b: u32) {
        let board = &self.boards[b as usize];
        let idle = board.wanting().filter(|(_, stake)| stake.under_way.is_empty() && now >= stake.busy + RESCUE);
        let mut taken = BTreeSet::new();
        let mut lost = Vec::new();
        for (n, stake) in idle {
            // Of one that receives it and whose branch leads nowhere nothing is to be hoped either: it may have gone to another home.
            let is_lost = |s: u32, p: u32| {
                let is_holder = board.stake(p).is_some_and(|stake| stake.have.has(s));
                stake.is_refused(now, p) || (!is_holder && self.branch(now, b, s, n, p).is_none())
            };
            let is_refused = |s: &u32| {
                let segment = &board.segments[*s as usize];
                segment.holders > 0 && segment.sources.iter().all(|p| is_lost(*s, *p))
            };
            let mut refused = (0..stake.have.len()).filter(|s| stake.lacks(*s)).filter(is_refused);
            // Each another one: they take the others' from each other.
            let first = refused.clone().next();
            if let Some(s) = refused.find(|s| !taken.contains(s)).or(first) {
                taken.insert(s);
                lost.push((n, s));
            }
        }
        for (n, s) in lost {
            if self.leases.len() < crate::swarm::constants::LEASES_MOST as usize {
                self.grant_alone(now, b, s, n);
            }
        }
    }
}
