//! Carries out what the machines want: messages, subscriptions, chunks, reads.

use super::clock::{Moment, time_of};
use super::host::Serve;
use super::source::{Connection, ORIGIN_WINDOW};
use super::world::{Event, World};
use eddy_engine::Peer;
use eddy_engine::swarm::{Bits, ContentTag, Effect, LeaseId, Medium, Message, ReadFault, Reading};
use rand::RngExt;
use std::ops::Range;

/// One way through a LAN, and what it varies.
pub(super) const LATENCY: Moment = 200_000;
const JITTER: Moment = 100_000;
/// A connection that is not there yet costs a round trip and two signatures.
const HANDSHAKE: Moment = 2_000_000;

impl World {
    pub(super) fn carry_out(&mut self, n: usize, effect: Effect) {
        if self.site.tells {
            self.tell(n, &format!("{effect:?}"));
        }
        match effect {
            Effect::Send { to, message } => self.send(n, self.by_peer[&to], message),
            Effect::LookUp { peer, content } => {
                self.figures.lookups += 1;
                let (peer, file) = (self.by_peer[&peer], self.file(content.tag()));
                let at = self.now + HANDSHAKE + 2 * LATENCY + self.rng.random_range(0..JITTER);
                self.clock.at(at, Event::LookedUp { host: n, peer, file });
            }
            Effect::Subscribe { source, content, segment, from } => {
                let file = self.file(content);
                self.hosts[n].behind.remove(&(file, segment));
                self.subscribe(n, source, (file, segment), from);
            }
            // One request, which is served in this order.
            Effect::Fetch { source, content, segments, from } => {
                let file = self.file(content);
                let starts = segments.clone().map(|segment| if segment == segments.start { from } else { 0 });
                for (segment, from) in segments.clone().zip(starts) {
                    self.hosts[n].behind.remove(&(file, segment));
                    if segment > segments.start {
                        self.hosts[n].behind.insert((file, segment), segment - 1);
                    }
                    self.subscribe(n, source, (file, segment), from);
                }
            }
            Effect::Unsubscribe { source, content, segment } => {
                let (to, file) = (self.by_peer[&source], self.file(content));
                if let Some((_, subscription)) = self.hosts[n].subscriptions.remove(&(file, segment)) {
                    self.deliver(n, to, Event::Unsubscribe { to, from: n, file, segment, subscription });
                }
            }
            Effect::Serve { to, content, segment, from } => {
                let (to, file) = (self.by_peer[&to], self.file(content));
                self.serve(n, to, file, segment, from);
            }
            Effect::Refuse { to, content, segment } => {
                let (to, file) = (self.by_peer[&to], self.file(content));
                if let Some((subscription, _)) = self.hosts[n].asked.remove(&(to, file, segment)) {
                    self.figures.refusals += 1;
                    self.deliver(n, to, Event::Refused { to, from: n, file, segment, subscription });
                }
            }
            Effect::Read { lease, content, segments, from, reading } => {
                let file = self.file(content);
                self.read(n, (file, lease, reading), segments, from);
            }
            Effect::StopReading { lease, content } => {
                let file = self.file(content);
                self.close_where(|c| (c.host, c.file, c.lease) == (n, file, lease));
            }
            // What is looked at twice is no part of the simulation.
            Effect::Watch { .. } | Effect::LookTwice { .. } => {}
            // A machine has a place for what it takes itself.
            Effect::Over { .. } => unreachable!("a home refused its own node"),
            Effect::Changed { content } => {
                let file = self.file(content);
                self.figures.changed += 1;
                self.settle_file(n, file);
            }
        }
    }

    fn subscribe(&mut self, n: usize, source: Peer, (file, segment): (usize, u32), block: u32) {
        let to = self.by_peer[&source];
        self.serial += 1;
        let subscription = self.serial;
        self.hosts[n].subscriptions.insert((file, segment), (to, subscription));
        self.figures.subscriptions += 1;
        if self.is_strange(n, to) {
            let refused = Event::Refused { to: n, from: to, file, segment, subscription };
            return self.clock.at(self.now + LATENCY, refused);
        }
        self.deliver(n, to, Event::Subscribe { to, from: n, file, segment, block, subscription });
    }

    /// One that takes part in no swarm says what it holds; who is gone or far says nothing.
    pub(super) fn on_looked_up(&mut self, n: usize, peer: usize, file: usize) {
        let is_there = self.hosts[peer].is_alive && !self.is_apart(n, peer) && !self.is_strange(n, peer);
        let (tag, now, of) = (self.contents[file].tag(), self.time(), self.hosts[peer].peer);
        let mut have = Bits::none(self.geometry.segment_count());
        let stored = &self.hosts[peer].stores[file];
        (0..have.len()).filter(|s| stored[*s as usize] == self.blocks_of(*s)).for_each(|s| have.insert(s));
        self.hosts[n].swarm.handle_lookup(now, of, tag, Some(have).filter(|_| is_there));
        self.after(n);
    }

    /// It gives what it holds, and nothing that is on its way.
    pub(super) fn give_beside(&mut self, n: usize, to: usize, (file, segment): (usize, u32), asked: (u64, u32)) {
        let is_held = self.hosts[n].stores[file][segment as usize] == self.blocks_of(segment);
        if is_held && self.hosts[n].is_alive {
            self.hosts[n].asked.insert((to, file, segment), asked);
            return self.serve(n, to, file, segment, asked.1);
        }
        let (to, subscription) = (to, asked.0);
        self.deliver(n, to, Event::Refused { to, from: n, file, segment, subscription });
    }

    fn file(&self, content: ContentTag) -> usize {
        self.hosts[0].known[&content]
    }

    fn send(&mut self, from: usize, to: usize, message: Message) {
        let bytes = eddy_wire::frame::encode_frame(&message).unwrap_or_else(|error| panic!("{error}: {message:?}"));
        let read = eddy_wire::frame::decode_frame::<Message>(&bytes);
        assert_eq!(read.as_ref(), Ok(&message), "what is sent is what is read");
        let length = bytes.len() as u64;
        for n in [from, to] {
            self.hosts[n].messages += 1;
            self.hosts[n].message_bytes += length;
        }
        self.figures.count(&message);
        if self.is_strange(from, to) {
            self.figures.astray += 1;
            return;
        }
        self.tell_where(from, to, &message.say);
        self.deliver(from, to, Event::Message { to, from, message: Box::new(message) });
    }

    /// What one machine sends another arrives in order, unless the other is gone.
    pub(super) fn deliver(&mut self, from: usize, to: usize, event: Event) {
        if self.is_apart(from, to) {
            return;
        }
        if !self.hosts[to].is_alive {
            // A dial that nobody answers.
            let at = self.now + 400_000_000;
            return self.clock.at(at, Event::Down { host: from, peer: to });
        }
        let mut at = self.now + LATENCY + self.rng.random_range(0..JITTER);
        if self.connected.insert((from.min(to), from.max(to))) {
            at += HANDSHAKE;
        }
        let last = self.last_delivery.entry((from, to)).or_default();
        at = at.max(*last + 1);
        *last = at;
        self.clock.at(at, event);
    }

    fn serve(&mut self, n: usize, to: usize, file: usize, segment: u32, from: u32) {
        let Some((subscription, _)) = self.hosts[n].asked.remove(&(to, file, segment)) else { return };
        if let Some(old) = self.hosts[n].find_serve(to, file, segment) {
            self.hosts[n].drop_serve(old);
        }
        let behind = self.hosts[to].behind.get(&(file, segment)).copied();
        let serve =
            Serve { to, file, segment, subscription, next: from, parts: 0, under_way: 0, is_queued: false, behind };
        let place = self.hosts[n].add_serve(serve);
        self.hosts[n].wake(place);
        self.send_next(n);
    }

    pub(super) fn on_unsubscribe(&mut self, n: usize, from: usize, file: usize, segment: u32, subscription: u64) {
        if self.hosts[n].asked.get(&(from, file, segment)).is_some_and(|(asked, _)| *asked == subscription) {
            self.hosts[n].asked.remove(&(from, file, segment));
        }
        let Some(place) = self.hosts[n].find_serve(from, file, segment) else {
            return self.given(n, from, file, segment);
        };
        if self.hosts[n].serves[place].as_ref().is_some_and(|serve| serve.subscription == subscription) {
            self.hosts[n].drop_serve(place);
            self.send_next(n);
            self.given(n, from, file, segment);
        }
    }

    fn given(&mut self, n: usize, to: usize, file: usize, segment: u32) {
        if self.hosts[n].is_alive {
            let (peer, tag, now) = (self.hosts[to].peer, self.contents[file].tag(), self.time());
            self.hosts[n].swarm.handle_given(now, peer, tag, segment);
            self.after(n);
        }
    }

    /// Sends the next chunk of a machine, if its line is free.
    pub(super) fn send_next(&mut self, n: usize) {
        let host = &mut self.hosts[n];
        if host.is_sending || !host.is_alive || host.stalled_until > self.now {
            return;
        }
        let Some(place) = host.ready.pop_front() else { return };
        let Some(serve) = host.serves[place].as_mut() else { return self.send_next(n) };
        serve.is_queued = false;
        let available = host.stores[serve.file][serve.segment as usize];
        let upto = available.min(serve.next + self.site.chunk);
        let (from, to, file, segment, subscription) =
            (serve.next, serve.to, serve.file, serve.segment, serve.subscription);
        serve.parts = (serve.parts + 1) % self.site.parts;
        let (upto, is_whole) = (upto, serve.parts == 0);
        serve.next = if is_whole { upto } else { from };
        serve.under_way += 1;
        host.is_sending = true;
        host.wake(place);
        let bytes = self.bytes_of(segment, from, upto) / u64::from(self.site.parts);
        let upto = if is_whole { upto } else { from };
        self.hosts[n].sent += bytes;
        let done = self.now + time_of(bytes, self.hosts[n].link.up);
        self.clock.at(done, Event::Sent { host: n });
        let at = self.arrival(n, to, done + LATENCY, bytes);
        self.clock.at(at, Event::Arrived { host: to, from: n, place, subscription, file, segment, upto });
    }

    /// When bytes that leave now have passed everything on their way.
    fn arrival(&mut self, from: usize, to: usize, mut at: Moment, bytes: u64) -> Moment {
        let (a, b) = (self.hosts[from].link, self.hosts[to].link);
        let pass = |free: &mut Moment, at: Moment, rate: u64| {
            *free = at.max(*free) + time_of(bytes, rate);
            *free
        };
        if a.medium == Medium::Wireless {
            at = pass(&mut self.air_free[a.subnet as usize], at, self.site.air);
        }
        if a.subnet != b.subnet {
            at = pass(&mut self.between_free[a.subnet as usize], at, self.site.between);
            self.figures.between += bytes;
        }
        if b.medium == Medium::Wireless {
            return pass(&mut self.air_free[b.subnet as usize], at, self.site.air);
        }
        // A chunk passes the receiver's line while it passes the sender's, unless others are before it.
        let host = &mut self.hosts[to];
        let time = time_of(bytes, b.down);
        host.down_free = at.max(host.down_free + time);
        host.down_free
    }

    pub(super) fn on_arrived(&mut self, n: usize, from: usize, place: usize, of: (u64, usize, u32, u32)) {
        let (subscription, file, segment, upto) = of;
        if let Some(Some(serve)) = self.hosts[from].serves.get_mut(place)
            && serve.subscription == subscription
        {
            serve.under_way -= 1;
            let is_over = serve.next >= self.geometry.blocks_of_segment(segment).len() as u32 && serve.under_way == 0;
            self.hosts[from].wake(place);
            self.send_next(from);
            if is_over {
                self.hosts[from].drop_serve(place);
                self.send_next(from);
                self.given(from, n, file, segment);
            }
        }
        let is_wanted = self.hosts[n].subscriptions.get(&(file, segment)) == Some(&(from, subscription));
        let is_lost = self.is_apart(from, n) || !self.hosts[n].is_alive;
        if is_wanted && !is_lost {
            self.gain(n, file, segment, upto);
        } else if !is_lost {
            self.figures.unwanted += 1;
        }
    }

    /// A machine has more of a segment: it is told, and feeds others.
    fn gain(&mut self, n: usize, file: usize, segment: u32, upto: u32) -> bool {
        let total = self.blocks_of(segment);
        let known = &mut self.hosts[n].stores[file][segment as usize];
        if upto <= *known {
            return false;
        }
        *known = upto;
        if upto == total {
            self.hosts[n].subscriptions.remove(&(file, segment));
            self.hosts[n].segments_left[file] -= 1;
            if self.hosts[n].segments_left[file] == 0 {
                self.settle_file(n, file);
            }
        }
        self.hosts[n].wake_segment(file, segment);
        self.send_next(n);
        let (tag, now) = (self.contents[file].tag(), self.time());
        self.hosts[n].swarm.handle_blocks(now, tag, segment, upto);
        self.after(n);
        true
    }

    /// A machine wants no more of a file: it has it, or it is no more.
    pub(super) fn settle_file(&mut self, n: usize, file: usize) {
        if self.hosts[n].whole[file].is_none() {
            self.hosts[n].whole[file] = Some(self.now);
            self.left -= 1;
        }
    }

    fn read(&mut self, n: usize, (file, lease, reading): (usize, LeaseId, Reading), segments: Range<u32>, from: u32) {
        self.origin.requests += 1;
        let first = self.geometry.blocks_of_segment(segments.start).start + from;
        let next = if self.site.has_ranges { first } else { 0 };
        let reads_on = reading == Reading::Unknown && !self.site.has_ranges;
        let end = if reads_on { self.geometry.segment_count() } else { segments.end };
        let end = self.geometry.blocks_of_segment(end - 1).end;
        self.serial += 1;
        let serial = self.serial;
        let not_before = self.now + self.site.round_trip.as_nanos() as u64;
        if self.origin.down_until > self.now || self.origin.is_changed {
            let is_changed = self.origin.is_changed;
            return self.clock.at(not_before, Event::Fault { host: n, file, lease, is_changed });
        }
        let cut = self.origin.cuts.pop_if(|at| *at <= self.origin.sent).map(|_| self.rng.random_range(next..end));
        let (under_way, is_queued) = (0, false);
        let connection = Connection {
            host: n,
            file,
            lease,
            next,
            end,
            under_way,
            is_queued,
            not_before,
            cut,
            serial,
            first: next,
            reading,
        };
        let free = self.origin.connections.iter().position(Option::is_none);
        let place = free.unwrap_or(self.origin.connections.len());
        if place == self.origin.connections.len() {
            self.origin.connections.push(None);
        }
        self.origin.connections[place] = Some(connection);
        self.origin.open += 1;
        self.origin.most = self.origin.most.max(self.origin.open);
        self.clock.at(not_before, Event::OriginReady { place, serial });
    }

    pub(super) fn on_origin_ready(&mut self, place: usize, serial: u64) {
        let Some(Some(connection)) = self.origin.connections.get_mut(place) else { return };
        let is_free =
            connection.under_way < (ORIGIN_WINDOW / self.site.chunk).max(2) && connection.next < connection.end;
        if connection.serial == serial && is_free && !connection.is_queued && connection.not_before <= self.now {
            connection.is_queued = true;
            self.origin.ready.push_back(place);
            self.origin_send_next();
        }
    }

    pub(super) fn origin_send_next(&mut self) {
        if self.origin.is_sending {
            return;
        }
        let Some(place) = self.origin.ready.pop_front() else { return };
        let Some(connection) = self.origin.connections[place].as_mut() else { return self.origin_send_next() };
        connection.is_queued = false;
        if connection.cut.is_some_and(|cut| connection.next >= cut) {
            let (host, file, lease, serial) = (connection.host, connection.file, connection.lease, connection.serial);
            self.close_where(|c| c.serial == serial);
            self.figures.cuts += 1;
            self.clock.at(self.now + LATENCY * 50, Event::Fault { host, file, lease, is_changed: false });
            return self.origin_send_next();
        }
        let segment = self.geometry.segment_of(connection.next);
        let blocks = self.geometry.blocks_of_segment(segment);
        let (from, serial, host, file) = (connection.next, connection.serial, connection.host, connection.file);
        let upto = (from + self.site.chunk).min(blocks.end);
        connection.next = upto;
        connection.under_way += 1;
        let bytes = self.bytes_of(segment, from - blocks.start, upto - blocks.start);
        if let (Some(rate), Some(connection)) = (self.site.per_connection, self.origin.connections[place].as_mut()) {
            connection.not_before = connection.not_before.max(self.now) + time_of(bytes, rate);
            self.clock.at(connection.not_before, Event::OriginReady { place, serial });
        }
        self.origin.sent += bytes;
        self.note_again((host, file), place, from..upto, bytes);
        self.origin.is_sending = true;
        let done = self.now + time_of(bytes, self.site.wan);
        self.clock.at(done, Event::OriginSent);
        let time = time_of(bytes, self.hosts[host].link.down);
        let receiver = &mut self.hosts[host];
        receiver.down_free = (done + LATENCY).max(receiver.down_free + time);
        self.clock.at(receiver.down_free, Event::OriginArrived { place, serial, from, upto });
        self.on_origin_ready(place, serial);
    }

    pub(super) fn on_origin_arrived(&mut self, place: usize, serial: u64, from: u32, upto: u32) {
        let Some(Some(connection)) = self.origin.connections.get_mut(place) else { return };
        if connection.serial != serial {
            return;
        }
        connection.under_way -= 1;
        let (n, file, lease) = (connection.host, connection.file, connection.lease);
        let shown = if self.site.has_ranges { Reading::Ranges } else { Reading::Stream };
        let is_shown = std::mem::replace(&mut connection.reading, shown) == Reading::Unknown;
        if connection.next >= connection.end && connection.under_way == 0 {
            self.origin.connections[place] = None;
            self.origin.open -= 1;
        } else {
            self.on_origin_ready(place, serial);
        }
        if !self.hosts[n].is_alive {
            return;
        }
        if is_shown {
            let (tag, now) = (self.contents[file].tag(), self.time());
            self.hosts[n].swarm.handle_reading(now, tag, lease, shown);
            self.after(n);
        }
        let segment = self.geometry.segment_of(from);
        let first = self.geometry.blocks_of_segment(segment).start;
        let is_next = from - first <= self.hosts[n].stores[file][segment as usize];
        if !is_next || !self.gain(n, file, segment, upto - first) {
            let (tag, now) = (self.contents[file].tag(), self.time());
            self.figures.skipped += self.bytes_of(segment, from - first, upto - first);
            self.hosts[n].swarm.handle_moves(now, tag, lease);
        }
    }

    pub(super) fn on_read_fault(&mut self, n: usize, file: usize, lease: LeaseId, is_changed: bool) {
        if self.hosts[n].is_alive {
            let fault = if is_changed { ReadFault::Changed } else { ReadFault::Failed };
            let (tag, now) = (self.contents[file].tag(), self.time());
            self.hosts[n].swarm.handle_read_fault(now, tag, lease, fault);
            self.after(n);
        }
    }

    /// Closes the connections for which this holds.
    pub(super) fn close_where(&mut self, mut is_it: impl FnMut(&Connection) -> bool) {
        for place in 0..self.origin.connections.len() {
            if self.origin.connections[place].as_ref().is_some_and(&mut is_it) {
                let closed = self.origin.connections[place].take();
                // Of one that has not begun nothing is on its way.
                let left = closed.filter(|c| c.not_before <= self.now).map_or(0, |c| u64::from(c.end - c.next) << 16);
                let in_sockets = left.min(self.site.sockets);
                self.origin.sent += in_sockets;
                if in_sockets > 0 {
                    *self.figures.again.entry("it lay in sockets").or_default() += in_sockets;
                }
                self.origin.open -= 1;
                self.origin.ready.retain(|other| *other != place);
            }
        }
    }
}
