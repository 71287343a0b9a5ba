//! What is simulated: hosts, lines, the origin, and what goes wrong.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;

/// A site and what is asked of it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Machines.
    pub nodes: usize,
    /// Bits per second of the line to the origin, which all share.
    pub wan: u64,
    /// Bits per second of a machine's line, each way.
    pub lan: u64,
    /// Whether the machines know what their lines carry, and say so; whole nodes do not.
    pub lines_known: bool,
    /// Bytes of each file.
    pub size: u64,
    /// Files of the same origin that every machine wants.
    pub files: usize,
    /// The origin's first byte comes after that.
    pub round_trip: Duration,
    /// Bits per second that the origin gives one connection; none: no limit.
    pub per_connection: Option<u64>,
    /// Whether the origin serves ranges.
    pub has_ranges: bool,
    /// Whether it says so before it is asked for one.
    pub says_so: bool,
    /// Subnets, into which the machines are divided.
    pub subnets: usize,
    /// Bits per second between a subnet and the others.
    pub between: u64,
    /// Share of the machines that is on air.
    pub wireless: f64,
    /// Bits per second of the air of one subnet.
    pub air: u64,
    /// The machines start within this time.
    pub stagger: Duration,
    /// Machines that hold everything from the beginning.
    pub warm: usize,
    /// Machines that take part in no swarm, and give what they hold from the beginning.
    pub plain: usize,
    /// Share of the segments that each of them holds.
    pub plain_share: f64,
    /// Share of the other machines that a machine does not know.
    pub missing: f64,
    /// Share of the pairs of machines that discovery never shows to each other: they have no connection until somebody says to one of them
    /// where the other one is.
    pub strangers: f64,
    /// By then discovery has shown the other pairs to each other.
    pub meeting: Duration,
    /// A dial takes up to so long.
    pub dial: Duration,
    /// Silence after which a machine takes another one for dead with which it has to do.
    pub silence: Duration,
    /// Every machine stands still now and then, for up to so long: others have its processors.
    pub busy: Duration,
    /// Bytes that lie in sockets on the way from the origin: it has sent them though nobody reads them when a connection ends.
    pub sockets: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Blocks of 64 KiB that travel as one.
    pub chunk: u32,
    /// Parts in which a chunk travels, each in turn with those of other flows.
    pub parts: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// Whether every message and effect is told on standard error: how a seed that fails is read.
    pub tells: bool,
}

/// What goes wrong.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Share of the machines that crash, at random moments.
    pub crashes: f64,
    /// Whether the home of the origin is among them.
    pub home_crashes: bool,
    /// Machines whose sending stops for some seconds.
    pub stalls: usize,
    /// Machines that never give anything though they say so.
    pub takers: usize,
    /// Connections that the origin breaks at random bytes.
    pub cuts: usize,
    /// Seconds for which the origin refuses everything, once.
    pub outage: Duration,
    /// The network falls into two halves for so long, once.
    pub split: Duration,
    /// Machines that leave politely before they are finished.
    pub leaves: usize,
    /// The origin has another version at some moment.
    pub changes: bool,
}

impl Site {
    /// N machines with a WAN of 100 Mbit/s, a LAN of 1 Gbit/s and 256 MiB: the reference of the design.
    #[must_use]
    pub fn reference(nodes: usize) -> Self {
        Self {
            nodes,
            wan: 100_000_000,
            lan: 1_000_000_000,
            lines_known: false,
            size: 256 << 20,
            files: 1,
            round_trip: Duration::from_millis(40),
            per_connection: None,
            has_ranges: true,
            says_so: true,
            subnets: 1,
            between: 1_000_000_000,
            wireless: 0.0,
            air: 200_000_000,
            stagger: Duration::from_millis(1000),
            warm: 0,
            plain: 0,
            plain_share: 1.0,
            missing: 0.0,
            strangers: 0.0,
            meeting: Duration::ZERO,
            dial: Duration::from_millis(20),
            silence: Duration::from_millis(400),
            busy: Duration::ZERO,
            sockets: 0,
            faults: Faults::default(),
            chunk: 1,
            parts: 1,
            seed: 1,
            tells: false,
        }
    }

    /// A small site with random faults: one of the many that must not hang.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let nodes = rng.random_range(2..14);
        let mut site = Self::reference(nodes);
        site.seed = seed;
        site.size = rng.random_range(1..(12 << 20));
        site.files = if rng.random_bool(0.2) { 3 } else { 1 };
        site.wan = [2_000_000, 10_000_000, 50_000_000, 500_000_000][rng.random_range(0..4)];
        site.lan = [20_000_000, 100_000_000, 1_000_000_000][rng.random_range(0..3)];
        site.round_trip = Duration::from_millis(rng.random_range(1..200));
        site.has_ranges = rng.random_bool(0.85);
        site.says_so = !seed.is_multiple_of(3);
        site.subnets = if rng.random_bool(0.2) { 2 } else { 1 };
        site.between = site.lan / 2;
        site.wireless = if rng.random_bool(0.2) { 0.3 } else { 0.0 };
        site.stagger = Duration::from_millis([0, 100, 1000, 5000][rng.random_range(0..4)]);
        site.warm = if rng.random_bool(0.2) { 1 } else { 0 };
        // Not drawn: what else a seed brings stays what it was.
        if seed.is_multiple_of(5) && nodes > 3 {
            (site.plain, site.plain_share) = (1 + nodes / 8, if seed.is_multiple_of(2) { 1.0 } else { 0.5 });
        }
        site.missing = [0.0, 0.0, 0.2, 0.5][rng.random_range(0..4)];
        // A dozen streams that take turns on the slowest line: with longer chunks each would seem silent for longer than anybody waits.
        site.chunk = if site.wan > 2_000_000 { 4 } else { 1 };
        let often = |rng: &mut SmallRng, most: usize| if rng.random_bool(0.4) { rng.random_range(0..=most) } else { 0 };
        site.faults = Faults {
            crashes: [0.0, 0.1, 0.3, 0.6][rng.random_range(0..4)],
            home_crashes: rng.random_bool(0.3),
            stalls: often(&mut rng, 3),
            takers: often(&mut rng, 2),
            cuts: often(&mut rng, 4),
            outage: Duration::from_secs(often(&mut rng, 3) as u64),
            split: Duration::from_millis(if rng.random_bool(0.15) { rng.random_range(200..4000) } else { 0 }),
            leaves: often(&mut rng, 2),
            changes: rng.random_bool(0.05),
        };
        site
    }

    /// Machines that have what they hold before anybody starts: those that are warm, then those that take part in no swarm.
    pub(super) fn holders(&self) -> usize {
        self.warm + self.plain
    }

    /// Seconds that nothing can beat: the first byte, and all bytes over the slower line.
    #[must_use]
    pub fn bound(&self) -> f64 {
        let bits = (self.size * self.files as u64 * 8) as f64;
        if self.warm > 0 || (self.plain > 0 && self.plain_share >= 1.0) {
            return bits / self.lan as f64;
        }
        let air = bits * self.nodes as f64 * self.wireless / self.subnets as f64 / self.air as f64;
        (bits / self.wan.min(self.lan) as f64 + self.round_trip.as_secs_f64()).max(air)
    }
}
