//! The request streams that the policies are held against: what a site's nodes ask for, in the order of time.

use crate::random::{Random, Zipf};
use std::collections::HashMap;

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// Seconds.
    pub(crate) at: i64,
    /// Which version of which file.
    pub(crate) object: u32,
    /// Its size.
    pub(crate) bytes: u64,
    /// The version that the origin named before under the same URL, if there was one.
    pub(crate) supersedes: Option<u32>,
}

/// A named stream.
pub(crate) struct Trace {
    pub(crate) name: &'static str,
    pub(crate) requests: Vec<Request>,
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Collects requests and gives objects their numbers.
struct Stream {
    name: &'static str,
    random: Random,
    requests: Vec<Request>,
    objects: u32,
}

impl Stream {
    fn new(name: &'static str, seed: u64) -> Self {
        Self { name, random: Random::seeded(seed), requests: Vec::new(), objects: 0 }
    }

    fn object(&mut self) -> u32 {
        self.objects += 1;
        self.objects - 1
    }

    fn ask(&mut self, at: i64, object: u32, bytes: u64) {
        self.requests.push(Request { at, object, bytes, supersedes: None });
    }

    /// A moment of working day `day`: most between 8 and 18 o'clock, some at night, few at weekends.
    fn moment(&mut self, day: i64) -> i64 {
        let day = if day % 7 >= 5 && self.random.below(4) > 0 { day - day % 7 + 7 } else { day };
        let hour = if self.random.below(5) == 0 { 0.0 } else { 8.0 };
        let span = if hour == 0.0 { 24.0 } else { 10.0 };
        day * DAY + ((hour + self.random.fraction() * span) * HOUR as f64) as i64
    }

    fn done(mut self, supersession: &HashMap<u32, u32>) -> Trace {
        self.requests.sort_by_key(|request| request.at);
        let mut seen = vec![false; self.objects as usize];
        for request in &mut self.requests {
            if !std::mem::replace(&mut seen[request.object as usize], true) {
                request.supersedes = supersession.get(&request.object).copied();
            }
        }
        Trace { name: self.name, requests: self.requests }
    }
}

/// Every trace, seeded.
pub(crate) fn all(seed: u64) -> Vec<Trace> {
    vec![updates(seed), wonders(seed + 1), scans(seed + 2), fleet(seed + 3), packages(seed + 4)]
}

/// Updates: products of Zipf popularity release every one to four weeks, a third of them under the same URL; machines follow
/// within days, a few weeks late or fresh installed; each product has a small catalogue that changes daily.
fn updates(seed: u64) -> Trace {
    let mut stream = Stream::new("updates", seed);
    let mut supersession = HashMap::new();
    let (days, products) = (180_i64, 400_usize);
    for rank in 0..products {
        let users = (300.0 * ((rank + 1) as f64).powf(-0.8)).ceil() as u64;
        let size = stream.random.size(64 * KIB, 4 * GIB);
        let every = 7 * (1 + stream.random.below(4) as i64);
        let same_url = stream.random.below(3) == 0;
        let mut previous: Option<u32> = None;
        let mut day = stream.random.below(every as u64) as i64;
        while day < days {
            let release = stream.object();
            let bytes = size + stream.random.below(size / 10 + 1);
            if let Some(previous) = previous.filter(|_| same_url) {
                supersession.insert(release, previous);
            }
            for _ in 0..users {
                let lag = if stream.random.below(10) == 0 { 14.0 } else { 1.5 };
                let lag = stream.random.exponential(lag);
                // Who comes after the next release takes that one.
                if lag < every {
                    let at = stream.moment(day + lag);
                    stream.ask(at, release, bytes);
                }
            }
            previous = Some(release);
            day += every;
        }
    }
    let catalogues = 40;
    for _ in 0..catalogues {
        let size = stream.random.size(4 * KIB, 20 * MIB);
        let mut previous: Option<u32> = None;
        for day in 0..days {
            let catalogue = stream.object();
            supersession.extend(previous.map(|previous| (catalogue, previous)));
            for _ in 0..15 {
                let at = day * DAY + stream.random.below(DAY as u64) as i64;
                stream.ask(at, catalogue, size);
            }
            previous = Some(catalogue);
        }
    }
    stream.done(&supersession)
}

/// One-hit wonders: two requests of three are for something that nobody ever asks for again.
fn wonders(seed: u64) -> Trace {
    let mut stream = Stream::new("one-hit wonders", seed);
    let popular = Zipf::new(4000, 0.9);
    let known: Vec<_> = (0..4000).map(|_| (stream.object(), stream.random.size(16 * KIB, GIB))).collect();
    for day in 0..120 {
        for _ in 0..1000 {
            let at = stream.moment(day);
            if stream.random.below(3) == 0 {
                let (object, bytes) = known[popular.draw(&mut stream.random)];
                stream.ask(at, object, bytes);
            } else {
                let (object, bytes) = (stream.object(), stream.random.size(16 * KIB, GIB));
                stream.ask(at, object, bytes);
            }
        }
    }
    stream.done(&HashMap::new())
}

/// Scans: a working set of Zipf popularity, and every week somebody reads a whole archive of 3,000 files from end to end
/// within six hours: half of the times the same archive, half of the times another one.
fn scans(seed: u64) -> Trace {
    let mut stream = Stream::new("large scans", seed);
    let popular = Zipf::new(3000, 0.8);
    let known: Vec<_> = (0..3000).map(|_| (stream.object(), stream.random.size(64 * KIB, 512 * MIB))).collect();
    let archive: Vec<_> = (0..3000).map(|_| (stream.object(), stream.random.size(MIB, 512 * MIB))).collect();
    for day in 0..120 {
        for _ in 0..500 {
            let at = stream.moment(day);
            let (object, bytes) = known[popular.draw(&mut stream.random)];
            stream.ask(at, object, bytes);
        }
        if day % 7 == 6 {
            let is_same = (day / 7) % 2 == 0;
            for (place, same) in archive.iter().enumerate() {
                let other = (stream.object(), stream.random.size(MIB, 512 * MIB));
                let (object, bytes) = if is_same { *same } else { other };
                stream.ask(day * DAY + 20 * HOUR + place as i64 * 7, object, bytes);
            }
        }
    }
    stream.done(&HashMap::new())
}

/// A CI fleet: base layers that everybody pulls for months, layers of dependencies that change weekly, layers of each
/// commit that 3 to 20 runners pull within the hour and nobody after.
fn fleet(seed: u64) -> Trace {
    let mut stream = Stream::new("CI fleet", seed);
    let projects = 60;
    let popular = Zipf::new(projects, 0.7);
    let bases: Vec<_> = (0..12).map(|_| (stream.object(), stream.random.size(20 * MIB, 2 * GIB))).collect();
    let mut dependencies = vec![(0, 0); projects];
    for day in 0..90_i64 {
        for (project, layer) in dependencies.iter_mut().enumerate() {
            if day == 0 || day % 7 == project as i64 % 7 {
                *layer = (stream.object(), stream.random.size(10 * MIB, GIB));
            }
        }
        let commits = if day % 7 >= 5 { 10 } else { 60 };
        for _ in 0..commits {
            let project = popular.draw(&mut stream.random);
            let (built, bytes) = (stream.object(), stream.random.size(MIB, 300 * MIB));
            let at = stream.moment(day);
            for _ in 0..3 + stream.random.below(18) {
                let at = at + stream.random.exponential(900.0);
                // Runners keep what they pulled lately; two of three start empty.
                if stream.random.below(3) > 0 {
                    let (base, base_bytes) = bases[project % bases.len()];
                    stream.ask(at, base, base_bytes);
                    let (layer, layer_bytes) = dependencies[project];
                    stream.ask(at + 5, layer, layer_bytes);
                }
                stream.ask(at + 10, built, bytes);
            }
        }
    }
    stream.done(&HashMap::new())
}

/// Packages of a distribution. Recorded: the sizes, the dependencies and which packages had a security update, of a
/// real release (`packages.txt`: line n is package n: KiB, KiB of its update, what it pulls in, relative to n). Made up:
/// who installs what when. Machines come up over half a year, install the base and programs of Zipf popularity with all that
/// they pull in and that is missing, some daily; updates come out over the time, and all machines that have the package
/// take it within days.
fn packages(seed: u64) -> Trace {
    let mut stream = Stream::new("packages", seed);
    let catalogue = Catalogue::read();
    let count = catalogue.packages.len();
    let versions: Vec<_> = (0..2 * count).map(|_| stream.object()).collect();
    let (days, machines) = (180_i64, 60);
    let published: Vec<_> = (0..count).map(|_| stream.random.below(days as u64) as i64).collect();
    let popular = Zipf::new(catalogue.roots.len(), 0.9);
    for machine in 0..machines {
        let mut has = vec![false; count];
        let start = if machine < 10 { 0 } else { stream.random.below(days as u64) as i64 };
        for day in start..days {
            let installs = if day == start { 4 } else { u64::from(stream.random.below(10) == 0) };
            let at = stream.moment(day);
            let mut wanted = Vec::new();
            if day == start {
                wanted.extend(0..catalogue.base);
            }
            wanted.extend((0..installs).map(|_| catalogue.roots[popular.draw(&mut stream.random)]));
            let mut seconds = 0;
            while let Some(package) = wanted.pop() {
                if std::mem::replace(&mut has[package], true) {
                    continue;
                }
                let (bytes, update, needs) = &catalogue.packages[package];
                let is_updated = update.is_some() && published[package] <= day;
                let version = versions[package + if is_updated { count } else { 0 }];
                stream.ask(at + seconds, version, if is_updated { update.unwrap_or(*bytes) } else { *bytes });
                seconds += 1;
                wanted.extend(needs);
            }
        }
        for package in (0..count).filter(|package| has[*package] && published[*package] > start) {
            if let Some(bytes) = catalogue.packages[package].1 {
                let lag = stream.random.exponential(1.5);
                let at = stream.moment(published[package] + lag);
                stream.ask(at, versions[package + count], bytes);
            }
        }
    }
    stream.done(&HashMap::new())
}

/// The recorded catalogue.
struct Catalogue {
    /// The first so many are on every machine.
    base: usize,
    /// What people install by name.
    roots: Vec<usize>,
    /// Bytes, bytes of the update, what it pulls in.
    packages: Vec<(u64, Option<u64>, Vec<usize>)>,
}

impl Catalogue {
    fn read() -> Self {
        let mut lines = include_str!("packages.txt").lines();
        let mut head = |key: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(key)).expect("the head of packages.txt");
            line.split_whitespace().map(|n| n.parse().expect("a number")).collect::<Vec<usize>>()
        };
        let base = head("# base")[0];
        let roots = head("# roots");
        let packages = lines.enumerate().map(|(at, line)| Self::package(at, line)).collect();
        Self { base, roots, packages }
    }

    fn package(at: usize, line: &str) -> (u64, Option<u64>, Vec<usize>) {
        let (sizes, needs) = line.split_once(':').unwrap_or((line, ""));
        let kib = |text: &str| text.parse::<u64>().expect("a size") * KIB;
        let (first, update) = sizes.split_once('+').map_or((sizes, None), |(first, update)| (first, Some(kib(update))));
        let needs = needs.split_whitespace().map(|offset| {
            let offset: isize = offset.parse().expect("an offset");
            at.checked_add_signed(offset).expect("a package")
        });
        (kib(first), update, needs.collect())
    }
}
