//! Runs a site: one event after the other until every machine that lives has what it wants.

use super::clock::{Clock, Moment};
use super::figures::{Figures, Sample};
use super::host::Host;
use super::site::Site;
use super::source::Origin;
use super::trouble::Trouble;
use eddy_content::{Geometry, LookupKey};
use eddy_engine::Peer;
use eddy_engine::swarm::{
    Bits, Content, FlowFault, LeaseId, Link, Medium, Message, Order, OriginKey, Patience, PeerTag, Reading, Swarm,
    Weight,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

/// A site under way.
#[derive(Debug)]
pub struct World {
    pub(super) site: Site,
    pub(super) now: Moment,
    pub(super) clock: Clock<Event>,
    pub(super) rng: SmallRng,
    pub(super) hosts: Vec<Host>,
    pub(super) by_peer: HashMap<Peer, usize>,
    pub(super) origin: Origin,
    pub(super) origin_key: OriginKey,
    pub(super) contents: Vec<Content>,
    pub(super) geometry: Geometry,
    /// Pairs that have a connection, and when the last message of each direction arrives.
    pub(super) connected: HashSet<(usize, usize)>,
    pub(super) last_delivery: HashMap<(usize, usize), Moment>,
    /// Pairs that do not know each other yet, and have no connection.
    pub(super) unmet: HashSet<(usize, usize)>,
    /// By subnet: when its line to the others, and its air, are free.
    pub(super) between_free: Vec<Moment>,
    pub(super) air_free: Vec<Moment>,
    pub(super) split_until: Moment,
    pub(super) serial: u64,
    pub(super) left: usize,
    pub(super) begun: Option<Moment>,
    pub(super) figures: Figures,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    Start(usize),
    Timer(usize, Moment),
    Message {
        to: usize,
        from: usize,
        message: Box<Message>,
    },
    Subscribe {
        to: usize,
        from: usize,
        file: usize,
        segment: u32,
        block: u32,
        subscription: u64,
    },
    Unsubscribe {
        to: usize,
        from: usize,
        file: usize,
        segment: u32,
        subscription: u64,
    },
    /// A machine takes part in no swarm.
    Plain {
        host: usize,
        peer: usize,
    },
    /// The answer about what a machine holds that takes part in no swarm.
    LookedUp {
        host: usize,
        peer: usize,
        file: usize,
    },
    Refused {
        to: usize,
        from: usize,
        file: usize,
        segment: u32,
        subscription: u64,
    },
    Sent {
        host: usize,
    },
    Arrived {
        host: usize,
        from: usize,
        place: usize,
        subscription: u64,
        file: usize,
        segment: u32,
        upto: u32,
    },
    OriginReady {
        place: usize,
        serial: u64,
    },
    OriginSent,
    OriginArrived {
        place: usize,
        serial: u64,
        from: u32,
        upto: u32,
    },
    Fault {
        host: usize,
        file: usize,
        lease: LeaseId,
        is_changed: bool,
    },
    Down {
        host: usize,
        peer: usize,
    },
    /// A look at somebody from whom nothing comes any more; `since` when that mattered.
    Look {
        host: usize,
        peer: usize,
        since: Option<Moment>,
    },
    Busy(usize),
    Up {
        host: usize,
        peer: usize,
    },
    /// Two machines have a connection.
    Met(usize, usize),
    Trouble(Trouble),
    Sample,
}

impl Event {
    /// The machine whose processors it needs.
    fn host(&self) -> Option<usize> {
        match self {
            Self::Start(n) | Self::Timer(n, _) => Some(*n),
            Self::Message { to, .. }
            | Self::Subscribe { to, .. }
            | Self::Unsubscribe { to, .. }
            | Self::Refused { to, .. } => Some(*to),
            Self::Plain { host, .. }
            | Self::LookedUp { host, .. }
            | Self::Arrived { host, .. }
            | Self::Fault { host, .. } => Some(*host),
            Self::Down { host, .. } | Self::Up { host, .. } | Self::Look { host, .. } => Some(*host),
            Self::Sent { .. }
            | Self::OriginReady { .. }
            | Self::OriginSent
            | Self::OriginArrived { .. }
            | Self::Busy(_)
            | Self::Met(..)
            | Self::Trouble(_)
            | Self::Sample => None,
        }
    }
}

/// Somebody who watches a run.
pub trait Watch {
    /// So much of everything is there.
    fn on_progress(&mut self, share: f64);
}

impl Watch for () {
    fn on_progress(&mut self, _share: f64) {}
}

/// Events after which a run counts as hanging, for each chunk that must arrive.
const EVENTS_PER_CHUNK: u64 = 60;

impl World {
    /// A site in which nothing has happened yet.
    #[must_use]
    pub fn new(site: Site) -> Self {
        let mut rng = SmallRng::seed_from_u64(site.seed);
        let geometry = Geometry::new(site.size).unwrap_or_else(|| panic!("no entity has {} bytes", site.size));
        let reading = match (site.says_so, site.has_ranges) {
            (false, _) => Reading::Unknown,
            (true, true) => Reading::Ranges,
            (true, false) => Reading::Stream,
        };
        let contents: Vec<Content> = (0..site.files)
            .map(|file| {
                let key = LookupKey(*blake3::hash(format!("{} {file}", site.seed).as_bytes()).as_bytes());
                Content { key, length: site.size, reading }
            })
            .collect();
        let known: BTreeMap<_, _> = contents.iter().enumerate().map(|(file, content)| (content.tag(), file)).collect();
        let mut hosts: Vec<Host> = Vec::new();
        for n in 0..site.nodes {
            let peer = Peer(*blake3::hash(format!("host {n} of {}", site.seed).as_bytes()).as_bytes());
            let is_air = rng.random_bool(site.wireless);
            let (rate, medium) = if is_air { (site.air, Medium::Wireless) } else { (site.lan, Medium::Wired) };
            let link = Link { up: rate, down: rate, medium, subnet: (n * site.subnets / site.nodes) as u32 };
            let told = if site.lines_known { link } else { Link { up: 0, down: 0, ..link } };
            let weight = if is_air { Weight::LIGHT } else { Weight::STEADY };
            hosts.push(Host {
                peer,
                swarm: Swarm::new(peer, told, weight, rng.random()),
                link,
                is_alive: true,
                is_plain: (site.warm..site.holders()).contains(&n),
                is_taker: false,
                has_started: false,
                half: rng.random_bool(0.5),
                stores: vec![vec![0; geometry.segment_count() as usize]; site.files],
                whole: vec![None; site.files],
                segments_left: vec![geometry.segment_count(); site.files],
                subscriptions: BTreeMap::new(),
                behind: BTreeMap::new(),
                asked: BTreeMap::new(),
                serves: Vec::new(),
                free_serves: Vec::new(),
                by_segment: BTreeMap::new(),
                ready: VecDeque::new(),
                is_sending: false,
                stalled_until: 0,
                busy_until: 0,
                down_free: 0,
                timer: None,
                sent: 0,
                messages: 0,
                message_bytes: 0,
                known: known.clone(),
            });
        }
        let by_peer = hosts.iter().enumerate().map(|(n, host)| (host.peer, n)).collect();
        let mut world = Self {
            left: (site.nodes - site.holders()) * site.files,
            begun: None,
            between_free: vec![0; site.subnets],
            air_free: vec![0; site.subnets],
            figures: Figures::default(),
            now: 0,
            clock: Clock::new(),
            rng,
            hosts,
            by_peer,
            origin: Origin::default(),
            origin_key: OriginKey::of("https", "origin.example", 443),
            contents,
            geometry,
            connected: HashSet::new(),
            last_delivery: HashMap::new(),
            unmet: HashSet::new(),
            split_until: 0,
            serial: 0,
            site,
        };
        world.meet();
        world.plan();
        world
    }

    /// Puts what is going to happen into the clock.
    fn plan(&mut self) {
        let stagger = self.site.stagger.as_nanos() as u64;
        for n in 0..self.site.nodes {
            let at = if n < self.site.holders() || stagger == 0 { 0 } else { self.rng.random_range(0..stagger) };
            self.clock.at(at, Event::Start(n));
        }
        self.clock.at(0, Event::Sample);
        self.plan_trouble();
        if !self.site.busy.is_zero() {
            (0..self.site.nodes).for_each(|n| self.clock.at(0, Event::Busy(n)));
        }
    }

    /// Runs until everybody who lives has everything.
    pub fn run(mut self, watch: &mut dyn Watch) -> Figures {
        let all = self.left.max(1);
        let chunks =
            u64::from(self.site.parts * self.geometry.block_count() / self.site.chunk + self.geometry.segment_count())
                + 1;
        let most = 200_000 + EVENTS_PER_CHUNK * chunks * (self.site.nodes * self.site.files) as u64;
        let deadline = (self.site.bound() * 20.0 + 240.0) * 1e9;
        while self.left > 0 {
            let Some((at, event)) = self.clock.next() else { break };
            self.now = at;
            if at as f64 > deadline || self.clock.made() > most {
                break;
            }
            if matches!(event, Event::Sample) {
                watch.on_progress(1.0 - self.left as f64 / all as f64);
            }
            self.happen(event);
        }
        if self.site.tells {
            for n in (0..self.hosts.len()).filter(|n| self.hosts[*n].whole.contains(&None) && self.hosts[*n].is_alive) {
                self.tell(n, &format!("is not finished: {:?}", self.hosts[n].swarm));
            }
        }
        self.finish()
    }

    fn happen(&mut self, event: Event) {
        let waits = event.host().map(|n| self.hosts[n].busy_until).filter(|until| *until > self.now);
        if let Some(until) = waits {
            return self.clock.at(until, event);
        }
        match event {
            Event::Start(n) => self.start(n),
            Event::Timer(n, at) => {
                if self.hosts[n].timer == Some(at) && self.hosts[n].is_alive {
                    self.hosts[n].timer = None;
                    let now = self.time();
                    self.hosts[n].swarm.handle_timeout(now);
                    self.after(n);
                }
            }
            Event::Message { to, from, message } => self.on_message(to, from, *message),
            Event::Subscribe { to, from, file, segment, block, subscription } => {
                if self.hosts[to].is_plain {
                    self.give_beside(to, from, (file, segment), (subscription, block));
                } else if self.hosts[to].is_alive {
                    self.hosts[to].asked.insert((from, file, segment), (subscription, block));
                    let (peer, tag, now) = (self.hosts[from].peer, self.contents[file].tag(), self.time());
                    self.hosts[to].swarm.handle_subscribe(now, peer, tag, segment, block);
                    self.after(to);
                }
            }
            Event::Plain { host, peer } => {
                let (peer, now) = (self.hosts[peer].peer, self.time());
                self.hosts[host].swarm.handle_plain(now, peer);
                self.after(host);
            }
            Event::LookedUp { host, peer, file } => self.on_looked_up(host, peer, file),
            Event::Unsubscribe { to, from, file, segment, subscription } => {
                self.on_unsubscribe(to, from, file, segment, subscription);
            }
            Event::Refused { to, from, file, segment, subscription } => {
                let is_current = self.hosts[to].subscriptions.get(&(file, segment)) == Some(&(from, subscription));
                if self.hosts[to].is_alive && is_current {
                    self.hosts[to].subscriptions.remove(&(file, segment));
                    let (peer, tag, now) = (self.hosts[from].peer, self.contents[file].tag(), self.time());
                    self.hosts[to].swarm.handle_flow_fault(now, peer, tag, segment, FlowFault::Refused);
                    self.after(to);
                }
            }
            Event::Sent { host } => {
                self.hosts[host].is_sending = false;
                self.send_next(host);
            }
            Event::Arrived { host, from, place, subscription, file, segment, upto } => {
                self.on_arrived(host, from, place, (subscription, file, segment, upto));
            }
            Event::OriginReady { place, serial } => self.on_origin_ready(place, serial),
            Event::OriginSent => {
                self.origin.is_sending = false;
                self.origin_send_next();
            }
            Event::OriginArrived { place, serial, from, upto } => self.on_origin_arrived(place, serial, from, upto),
            Event::Fault { host, file, lease, is_changed } => self.on_read_fault(host, file, lease, is_changed),
            Event::Down { host, peer } => self.on_down(host, peer),
            Event::Look { host, peer, since } => self.look_at(host, peer, since),
            Event::Busy(n) => {
                let most = self.site.busy.as_nanos() as u64;
                self.hosts[n].busy_until = self.now + self.rng.random_range(0..most);
                let next = self.hosts[n].busy_until + self.rng.random_range(0..20 * most);
                self.clock.at(next, Event::Busy(n));
            }
            Event::Up { host, peer } => {
                if self.hosts[host].is_alive && self.hosts[peer].is_alive {
                    self.introduce(host, peer);
                    self.after(host);
                }
            }
            Event::Met(a, b) => self.on_met(a, b),
            Event::Trouble(trouble) => self.on_trouble(trouble),
            Event::Sample => self.sample(),
        }
    }

    fn start(&mut self, n: usize) {
        if !self.hosts[n].is_alive || self.hosts[n].has_started {
            return;
        }
        self.hosts[n].has_started = true;
        if self.hosts[n].is_plain {
            return self.hold_beside(n);
        }
        let is_warm = n < self.site.warm;
        if !is_warm {
            self.begun.get_or_insert(self.now);
        }
        let (count, now) = (self.geometry.segment_count(), self.time());
        for file in 0..self.site.files {
            let (have, wants) = if is_warm {
                for segment in 0..count {
                    self.hosts[n].stores[file][segment as usize] = self.blocks_of(segment);
                }
                (self.hosts[n].whole[file], self.hosts[n].segments_left[file]) = (Some(self.now), 0);
                (Bits::all(count), None)
            } else {
                (Bits::none(count), Some((Order::Rarest, Patience::Foreground)))
            };
            let content = self.contents[file];
            self.hosts[n].swarm.start(now, self.origin_key, content, have, wants);
        }
        self.after(n);
    }

    /// A machine that takes part in no swarm holds its share.
    fn hold_beside(&mut self, n: usize) {
        for file in 0..self.site.files {
            for segment in 0..self.geometry.segment_count() {
                if self.site.plain_share >= 1.0 || self.rng.random_bool(self.site.plain_share) {
                    self.hosts[n].stores[file][segment as usize] = self.blocks_of(segment);
                }
            }
            (self.hosts[n].whole[file], self.hosts[n].segments_left[file]) = (Some(self.now), 0);
        }
    }

    fn on_message(&mut self, to: usize, from: usize, message: Message) {
        if !self.hosts[to].is_alive {
            return;
        }
        if self.hosts[to].is_plain {
            // It says so: whoever was told of it by another one did not know.
            return self.deliver(to, from, Event::Plain { host: from, peer: to });
        }
        // Who writes is a member: its certificate said so.
        if self.hosts[from].is_alive {
            self.introduce(to, from);
        }
        let (peer, now) = (self.hosts[from].peer, self.time());
        self.hosts[to].swarm.handle_message(now, peer, message);
        self.after(to);
    }

    /// Carries out what a machine wants, and sets its alarm.
    pub(super) fn after(&mut self, n: usize) {
        while let Some(effect) = self.hosts[n].swarm.poll_effect() {
            self.carry_out(n, effect);
        }
        let due = self.hosts[n].swarm.poll_timeout().map(|at| (at.as_nanos() as u64).max(self.now));
        if let Some(at) = due.filter(|at| self.hosts[n].timer.is_none_or(|known| *at < known)) {
            self.hosts[n].timer = Some(at);
            self.clock.at(at, Event::Timer(n, at));
        }
    }

    /// Says what a machine does, with the numbers of machines in place of their keys.
    pub(super) fn tell(&self, n: usize, what: &str) {
        let mut text = what.to_owned();
        for (other, host) in self.hosts.iter().enumerate() {
            text = text.replace(&format!("{:?}", host.peer), &format!("#{other}"));
            text = text.replace(&format!("{:?}", PeerTag::of(&host.peer)), &format!("#{other}"));
        }
        eprintln!("{:9.4} #{n} {text}", self.now as f64 / 1e9);
    }

    pub(super) fn time(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    pub(super) fn blocks_of(&self, segment: u32) -> u32 {
        let blocks = self.geometry.blocks_of_segment(segment);
        blocks.end - blocks.start
    }

    /// Bytes of some blocks of one segment.
    pub(super) fn bytes_of(&self, segment: u32, from: u32, upto: u32) -> u64 {
        let first = self.geometry.blocks_of_segment(segment).start;
        let bytes = self.geometry.bytes_of(first + from..first + upto);
        bytes.end - bytes.start
    }

    fn sample(&mut self) {
        let all = u64::from(self.geometry.block_count()) * self.site.files as u64;
        let share = |host: &Host| host.stores.iter().flatten().map(|blocks| u64::from(*blocks)).sum::<u64>() as f64;
        let shares: Vec<f64> = self.hosts.iter().filter(|host| host.is_alive).map(|h| share(h) / all as f64).collect();
        let sum: f64 = shares.iter().sum();
        self.figures.samples.push(Sample {
            seconds: self.now as f64 / 1e9,
            origin: self.origin.sent as f64 / (self.site.size * self.site.files as u64) as f64,
            mean: sum / shares.len().max(1) as f64,
            least: shares.iter().copied().fold(1.0, f64::min),
            connections: self.origin.open,
        });
        let step = (self.site.bound() * 1e9 / 150.0) as u64;
        self.clock.at(self.now + step.max(1_000_000), Event::Sample);
    }
}
