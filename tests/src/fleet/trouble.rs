//! Crashes, stalls, splits and outages, and when others notice.

use super::clock::Moment;
use super::world::{Event, World};
use rand::RngExt;
use rand::seq::SliceRandom;

const SECOND: Moment = 1_000_000_000;

/// Something goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trouble {
    /// A machine is gone.
    Crash(usize),
    /// Whoever is home is gone.
    HomeCrash,
    /// A machine sends nothing until then.
    Stall(usize, Moment),
    /// It sends again.
    Recovered(usize),
    /// The origin refuses everything until then.
    Outage(Moment),
    /// The two halves hear nothing of each other until then.
    Split(Moment),
    /// They hear of each other again.
    Healed,
    /// A machine goes politely.
    Leave(usize),
    /// The origin has another version.
    Changes,
}

impl World {
    /// Puts the site's faults at random moments of the transfer.
    pub(super) fn plan_trouble(&mut self) {
        let faults = self.site.faults.clone();
        let span = ((self.site.bound() + self.site.stagger.as_secs_f64()) * 1e9) as u64 + 1;
        let mut hosts: Vec<usize> = (self.site.holders()..self.site.nodes).collect();
        hosts.shuffle(&mut self.rng);
        // One machine is spared, so that there is somebody to hang.
        let spared = hosts.pop();
        let mut others = hosts.into_iter();
        let crashes = (self.site.nodes as f64 * faults.crashes).round() as usize;
        let mut plan = Vec::new();
        plan.extend(others.by_ref().take(crashes).map(Trouble::Crash));
        plan.extend(others.by_ref().take(faults.leaves).map(Trouble::Leave));
        for n in others.by_ref().take(faults.takers) {
            self.hosts[n].is_taker = true;
        }
        if faults.home_crashes {
            plan.push(Trouble::HomeCrash);
        }
        for _ in 0..faults.stalls {
            let n = spared.filter(|_| self.rng.random_bool(0.2)).unwrap_or(self.rng.random_range(0..self.site.nodes));
            plan.push(Trouble::Stall(n, self.rng.random_range(SECOND / 10..6 * SECOND)));
        }
        if !faults.outage.is_zero() {
            plan.push(Trouble::Outage(faults.outage.as_nanos() as u64));
        }
        if !faults.split.is_zero() {
            plan.push(Trouble::Split(faults.split.as_nanos() as u64));
        }
        if faults.changes {
            plan.push(Trouble::Changes);
        }
        for trouble in plan {
            let at = self.rng.random_range(0..span);
            self.clock.at(at, Event::Trouble(trouble));
        }
        let all = self.site.size * self.site.files as u64;
        self.origin.cuts = (0..faults.cuts).map(|_| self.rng.random_range(0..all)).collect();
        self.origin.cuts.sort_unstable_by(|a, b| b.cmp(a));
    }

    pub(super) fn on_trouble(&mut self, trouble: Trouble) {
        if self.site.tells {
            self.tell(0, &format!("trouble: {trouble:?}"));
        }
        match trouble {
            Trouble::Crash(n) => self.crash(n),
            Trouble::HomeCrash => {
                let homes =
                    self.hosts.iter().filter(|host| host.is_alive).filter_map(|h| h.swarm.home(self.origin_key));
                let Some(home) = homes.map(|peer| self.by_peer[&peer]).next() else { return };
                let living = self.hosts.iter().filter(|host| host.is_alive).count();
                if living > 1 && home >= self.site.warm {
                    self.crash(home);
                }
            }
            Trouble::Stall(n, time) => {
                let until = self.now + time;
                self.hosts[n].stalled_until = until;
                self.clock.at(until, Event::Trouble(Trouble::Recovered(n)));
            }
            Trouble::Recovered(n) => self.send_next(n),
            Trouble::Outage(time) => {
                self.origin.down_until = self.now + time;
                self.break_all(false);
            }
            Trouble::Split(time) => {
                self.split_until = self.now + time;
                self.for_pairs_apart(|world, a, b| {
                    if world.connected.remove(&(a.min(b), a.max(b))) {
                        world.notice(a, b);
                        world.notice(b, a);
                    }
                });
                self.clock.at(self.split_until, Event::Trouble(Trouble::Healed));
            }
            Trouble::Healed => self.for_pairs_apart(|world, a, b| {
                let at = world.now + world.rng.random_range(SECOND..3 * SECOND);
                world.clock.at(at, Event::Up { host: a, peer: b });
                world.clock.at(at, Event::Up { host: b, peer: a });
            }),
            Trouble::Leave(n) => {
                if self.hosts[n].is_alive && self.hosts[n].has_started {
                    for file in 0..self.site.files {
                        let (tag, now) = (self.contents[file].tag(), self.time());
                        self.hosts[n].swarm.leave(now, tag);
                        self.after(n);
                        self.settle_file(n, file);
                    }
                }
            }
            Trouble::Changes => {
                self.origin.is_changed = true;
                self.break_all(true);
            }
        }
    }

    fn break_all(&mut self, is_changed: bool) {
        let broken: Vec<_> = self.origin.connections.iter().flatten().map(|c| (c.host, c.file, c.lease)).collect();
        self.close_where(|_| true);
        for (host, file, lease) in broken {
            self.clock.at(self.now, Event::Fault { host, file, lease, is_changed });
        }
    }

    fn crash(&mut self, n: usize) {
        if !self.hosts[n].is_alive {
            return;
        }
        self.hosts[n].is_alive = false;
        self.figures.crashed += 1;
        self.close_where(|c| c.host == n);
        for file in 0..self.site.files {
            self.settle_file(n, file);
        }
        for other in (0..self.hosts.len()).filter(|other| *other != n) {
            if self.connected.contains(&(n.min(other), n.max(other))) {
                self.notice(other, n);
            } else {
                // Its announcement runs out.
                let at = self.now + self.rng.random_range(15 * SECOND..45 * SECOND);
                self.clock.at(at, Event::Down { host: other, peer: n });
            }
        }
    }

    /// Probes find out that somebody is gone.
    fn notice(&mut self, host: usize, peer: usize) {
        let silence = self.site.silence.as_nanos() as u64;
        let at = self.now + self.rng.random_range(silence..silence * 11 / 8);
        self.clock.at(at, Event::Look { host, peer, since: Some(self.now) });
    }

    /// Only who matters is probed; of others the transport finds out, when it likes.
    pub(super) fn look_at(&mut self, host: usize, peer: usize, since: Option<Moment>) {
        let matters = self.hosts[host].swarm.companions().contains(&self.hosts[peer].peer);
        let is_silent = since.is_some_and(|since| self.now >= since + self.site.silence.as_nanos() as u64);
        if matters && is_silent {
            return self.on_down(host, peer);
        }
        let since = if matters { since.or(Some(self.now)) } else { None };
        self.clock.at(self.now + SECOND / 4, Event::Look { host, peer, since });
    }

    pub(super) fn on_down(&mut self, n: usize, peer: usize) {
        if !self.hosts[n].is_alive || (self.hosts[peer].is_alive && !self.is_apart(n, peer)) {
            return;
        }
        self.hosts[n].asked.retain(|(from, _, _), _| *from != peer);
        for place in 0..self.hosts[n].serves.len() {
            if self.hosts[n].serves[place].as_ref().is_some_and(|serve| serve.to == peer) {
                self.hosts[n].drop_serve(place);
            }
        }
        self.hosts[n].subscriptions.retain(|_, (from, _)| *from != peer);
        if self.site.tells {
            self.tell(n, &format!("finds #{peer} gone"));
        }
        let (peer, now) = (self.hosts[peer].peer, self.time());
        self.hosts[n].swarm.handle_peer_down(now, peer);
        self.after(n);
    }

    /// Whether two machines hear nothing of each other.
    pub(super) fn is_apart(&self, a: usize, b: usize) -> bool {
        self.now < self.split_until && self.hosts[a].half != self.hosts[b].half
    }

    fn for_pairs_apart(&mut self, mut act: impl FnMut(&mut Self, usize, usize)) {
        for a in 0..self.hosts.len() {
            for b in a + 1..self.hosts.len() {
                if self.hosts[a].half != self.hosts[b].half {
                    act(self, a, b);
                }
            }
        }
    }
}
