//! Who knows whom: what discovery shows, and what one machine says of another.

use super::carry::LATENCY;
use super::world::{Event, World};
use eddy_engine::swarm::{Medium, Say, Weight};
use rand::RngExt;

impl World {
    /// Everybody learns of those whom discovery shows.
    pub(super) fn meet(&mut self) {
        if self.site.strangers > 0.0 || !self.site.meeting.is_zero() {
            return self.meet_in_pairs();
        }
        for a in 0..self.hosts.len() {
            for b in 0..self.hosts.len() {
                if a != b && !(self.site.missing > 0.0 && self.rng.random_bool(self.site.missing)) {
                    self.introduce(a, b);
                }
            }
        }
    }

    /// As whole nodes do: a connection shows both to each other, and without one nothing is said. The last machine is known to all, so that
    /// there is a way from each to each.
    fn meet_in_pairs(&mut self) {
        let meeting = self.site.meeting.as_nanos() as u64;
        for a in 0..self.hosts.len() {
            for b in a + 1..self.hosts.len() {
                self.unmet.insert((a, b));
                if b + 1 < self.hosts.len() && self.rng.random_bool(self.site.strangers) {
                    continue;
                }
                if meeting == 0 {
                    self.on_met(a, b);
                } else {
                    let at = self.rng.random_range(0..meeting);
                    self.clock.at(at, Event::Met(a, b));
                }
            }
        }
    }

    pub(super) fn on_met(&mut self, a: usize, b: usize) {
        if self.hosts[a].is_alive && self.hosts[b].is_alive && self.unmet.remove(&(a.min(b), a.max(b))) {
            self.connected.insert((a.min(b), a.max(b)));
            self.introduce(a, b);
            self.introduce(b, a);
            self.after(a);
            self.after(b);
        }
    }

    /// Whether two machines have never had a connection.
    pub(super) fn is_strange(&self, a: usize, b: usize) -> bool {
        self.unmet.contains(&(a.min(b), a.max(b)))
    }

    pub(super) fn introduce(&mut self, a: usize, b: usize) {
        let is_air = self.hosts[b].link.medium == Medium::Wireless;
        let (peer, weight) = (self.hosts[b].peer, if is_air { Weight::LIGHT } else { Weight::STEADY });
        let now = self.time();
        self.hosts[a].swarm.handle_peer_up(now, peer, weight);
        if self.hosts[b].is_plain {
            self.hosts[a].swarm.handle_plain(now, peer);
        }
    }

    /// Before a message that names somebody goes where that one is, if its sender knows; its hearer dials.
    pub(super) fn tell_where(&mut self, from: usize, to: usize, say: &Say) {
        let (Say::Note { home: peer } | Say::Redirect { home: peer } | Say::Introduce { peer }) = say else { return };
        let named = self.by_peer[peer];
        if named != to && named != from && !self.is_strange(from, named) && self.is_strange(to, named) {
            let dial = LATENCY + self.rng.random_range(0..=self.site.dial.as_nanos() as u64);
            self.clock.at(self.now + dial, Event::Met(to, named));
        }
    }
}
