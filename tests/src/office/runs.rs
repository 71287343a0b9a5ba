//! Whole runs of an office, each with a lab of its own: cold, warm, with kills, without ranges, with views that lack some, many requests.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::{Fleet, Office, Outcome, PATIENCE, SETTINGS, is_of_later_part, sent, tell_again};
use crate::lab::Lab;
use crate::process::{Nginx, NginxSpec, Running, body_bytes, hash_of, write_sample};

/// Where the machines listen that are named to each other.
const PORT: u16 = 4747;
/// How often the origin's connections are counted. The kernel's table is one for all namespaces and takes 5 ms to read: every 50 ms that was a
/// twentieth of the two cores that stand for all machines. A connection that reads a lease lasts longer than this.
const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Fleet {
    /// All start at once, and nobody has it.
    ///
    /// # Errors
    /// When a machine fails, or what it has is not what the origin has.
    pub fn run_cold(&self, seed: u64) -> Result<Outcome> {
        let lab = self.lab()?;
        let origin = Nginx::on(lab.origin(), &NginxSpec::default())?;
        let hash = write_sample(&origin.files().join("big.img"), seed, self.length)?;
        let office = Office::open(&lab, self.machines)?;
        let url = origin.url("big.img");
        let (took, counts) = origin.counting(|| office.fetch_together(0..self.machines, &url, hash))?;
        let sent = sent(&origin, &office, self)?;
        let log = origin.access()?;
        let reads = log.iter().filter(|access| access.body_bytes > 0).count();
        let audited = office.audited()?;
        println!("{audited} bytes looked at twice; {reads} answers with a body; connections of the origin: {counts}");
        tell_again(&log);
        Ok(self.outcome(sent, took?).tell("cold"))
    }

    /// One has it, all others start at once; copies are what the origin sent since.
    ///
    /// # Errors
    /// As [`Self::run_cold`].
    pub fn run_warm(&self, seed: u64, settings: impl Fn(usize) -> String) -> Result<Outcome> {
        let lab = self.lab()?;
        let origin = Nginx::on(lab.origin(), &NginxSpec::default())?;
        let hash = write_sample(&origin.files().join("big.img"), seed, self.length)?;
        let office = Office::found(&lab, self.machines, |_, n| settings(n))?;
        for node in &office.nodes {
            node.wait_peers(self.machines - 1, PATIENCE)?;
        }
        office.fetch_together(0..1, &origin.url("big.img"), hash)?;
        let before = sent(&origin, &office, self)?;
        let took = office.fetch_together(1..self.machines, &origin.url("big.img"), hash)?;
        Ok(self.outcome(sent(&origin, &office, self)? - before, took).tell("one has it"))
    }

    /// The origin has no ranges, and does not say so beforehand either. A second look asks for a block or a segment and takes nothing of an
    /// answer that is everything; what lay in sockets then is counted apart, as all second looks are.
    ///
    /// # Errors
    /// As [`Self::run_cold`].
    pub fn run_without_ranges(&self, seed: u64) -> Result<Outcome> {
        let lab = self.lab()?;
        let spec = NginxSpec { directives: "max_ranges 0;".to_owned(), ..NginxSpec::default() };
        let origin = Nginx::on(lab.origin(), &spec)?;
        let hash = write_sample(&origin.files().join("big.img"), seed, self.length)?;
        let office = Office::open(&lab, self.machines)?;
        let took = office.fetch_together(0..self.machines, &origin.url("big.img"), hash)?;
        let log = origin.wait_access(PATIENCE, |log| body_bytes(log) >= self.length)?;
        let (looks, reads): (Vec<_>, Vec<_>) = log.into_iter().partition(is_of_later_part);
        println!("second looks that were given up: {:?}", looks.iter().map(|look| look.body_bytes).collect::<Vec<_>>());
        let longest = looks.iter().map(|look| look.body_bytes).max().unwrap_or(0);
        ensure!(longest <= self.length / 4, "a second reader: {looks:?}");
        Ok(self.outcome(body_bytes(&reads), took).tell("no ranges, and nothing said of them"))
    }

    /// Each knows of the others those only who are no strangers to it, by name, and nobody is found.
    ///
    /// # Errors
    /// As [`Self::run_cold`].
    pub fn run_with_views(&self, seed: u64, are_strangers: impl Fn(usize, usize) -> bool) -> Result<Outcome> {
        let lab = self.lab()?;
        let origin = Nginx::on(lab.origin(), &NginxSpec::default())?;
        let hash = write_sample(&origin.files().join("big.img"), seed, self.length)?;
        let known = |n: usize| {
            let others = (0..self.machines).filter(move |other| *other != n);
            others.filter(|other| !are_strangers(n.min(*other), n.max(*other))).collect::<Vec<_>>()
        };
        let settings = |lab: &Lab, n: usize| {
            let known: Vec<_> =
                known(n).into_iter().map(|other| format!("\"{}:{PORT}\"", lab.host(other).address())).collect();
            format!("{SETTINGS}mdns = false\nlisten = \"0.0.0.0:{PORT}\"\nknown = [{}]\n", known.join(", "))
        };
        let office = Office::found(&lab, self.machines, settings)?;
        for (n, node) in office.nodes.iter().enumerate() {
            node.wait_peers(known(n).len(), PATIENCE)?;
        }
        let took = office.fetch_together(0..self.machines, &origin.url("big.img"), hash)?;
        let sent = sent(&origin, &office, self)?;
        tell_again(&origin.access()?);
        Ok(self.outcome(sent, took).tell("views lack some"))
    }

    /// The home, one that reads from the origin just then, and others are killed at random instants. What is killed is not asked how it ended.
    ///
    /// # Errors
    /// As [`Self::run_cold`], for those that live.
    pub fn run_killed(&self, seed: u64, others: usize) -> Result<Outcome> {
        let lab = self.lab()?;
        let origin = Nginx::on(lab.origin(), &NginxSpec::default())?;
        let hash = write_sample(&origin.files().join("big.img"), seed, self.length)?;
        let mut office = Office::open(&lab, self.machines)?;
        let mut rng = SmallRng::seed_from_u64(seed);
        let home = office.home_of(&lab.origin().address().to_string())?;
        // Asked beforehand: when somebody is to be killed who reads just then, there is no time.
        let ids = office.nodes.iter().map(|node| Ok(node.status()?.node)).collect::<Result<Vec<_>>>()?;
        let mut doomed: Vec<usize> = (0..self.machines).filter(|n| *n != home).collect();
        doomed.shuffle(&mut rng);
        doomed.truncate(others);
        let mut victims: Vec<Victim> = doomed.iter().copied().map(Victim::Machine).collect();
        victims.extend([Victim::Machine(home), Victim::Reader]);
        victims.shuffle(&mut rng);
        let mut instants: Vec<u64> =
            victims.iter().map(|_| rng.random_range(self.length / 8..self.length * 3 / 4)).collect();
        instants.sort_unstable();
        doomed.push(home);
        let mut daemons = std::mem::take(&mut office.daemons);
        let url = origin.url("big.img");
        let (ends, killed) = thread::scope(|scope| {
            let fetching = scope.spawn(|| office.fetch_each(0..self.machines, &url, hash));
            let killed = kill((&office, &ids), &mut daemons, &lab, (&victims, &instants), &doomed);
            (fetching.join(), killed)
        });
        let (ends, killed) = (ends.map_err(|_| anyhow::anyhow!("a thread panicked"))?, killed?);
        office.daemons = daemons;
        let mut last = Duration::ZERO;
        for (n, end) in ends.into_iter().enumerate().filter(|(n, _)| !killed.contains(n)) {
            last = last.max(end.with_context(|| format!("machine {n}"))?);
        }
        let sent = sent(&origin, &office, self)?;
        println!("killed: {killed:?}, of which {home} was the home, at {instants:?} bytes of the origin");
        tell_again(&origin.access()?);
        Ok(self.outcome(sent, last).tell("home, a reader and others killed"))
    }

    /// So many requests for one small file at once, spread over the machines, which run with these settings.
    ///
    /// # Errors
    /// As [`Self::run_cold`].
    pub fn run_requests(&self, seed: u64, requests: usize, settings: &str) -> Result<Outcome> {
        let lab = self.lab()?;
        let origin = Nginx::on(lab.origin(), &NginxSpec::default())?;
        let hash = write_sample(&origin.files().join("small"), seed, self.length)?;
        let office = Office::found(&lab, self.machines, |_, _| settings.to_owned())?;
        for node in &office.nodes {
            node.wait_peers(self.machines - 1, PATIENCE)?;
        }
        let destination =
            |request: usize| office.nodes[request % self.machines].home().join(format!("fetched-{request}"));
        let asked: Vec<_> = (0..requests).map(|request| (request % self.machines, destination(request))).collect();
        let ends = office.fetch_by_socket(&asked, &origin.url("small")).into_iter().collect::<Result<Vec<_>>>()?;
        let took = ends.into_iter().max().unwrap_or_default();
        for request in 0..requests {
            ensure!(hash_of(&destination(request))? == hash, "request {request} brought other bytes");
        }
        Ok(self.outcome(sent(&origin, &office, self)?, took).tell(&format!("{requests} requests")))
    }
}

/// Who is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Machine(usize),
    /// Whoever reads from the origin when its time has come.
    Reader,
}

/// Kills each when the origin has sent so much; who was killed.
fn kill(
    (office, ids): (&Office<'_>, &[String]),
    daemons: &mut [Option<Running>],
    lab: &Lab,
    (victims, instants): (&[Victim], &[u64]),
    doomed: &[usize],
) -> Result<Vec<usize>> {
    let mut killed = Vec::new();
    for (victim, at) in victims.iter().zip(instants) {
        origin_has_sent(lab, *at)?;
        let n = match victim {
            Victim::Machine(n) => *n,
            Victim::Reader => reader((office, ids), daemons, doomed)?,
        };
        drop(daemons[n].take());
        killed.push(n);
    }
    Ok(killed)
}

/// One that reads from the origin, as the acting home says, and that is not doomed otherwise.
fn reader((office, ids): (&Office<'_>, &[String]), daemons: &[Option<Running>], doomed: &[usize]) -> Result<usize> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        for (node, _) in office.nodes.iter().zip(daemons).filter(|(_, daemon)| daemon.is_some()) {
            let view = node.wait_peers_view(PATIENCE, |_| true)?;
            let reads = view.swarms.iter().filter(|swarm| swarm.is_home).flat_map(|swarm| &swarm.readers);
            let is_left = |n: &usize| !doomed.contains(n) && daemons[*n].is_some();
            let mut left = reads.filter_map(|read| ids.iter().position(|id| *id == read.node)).filter(is_left);
            if let Some(n) = left.next() {
                return Ok(n);
            }
        }
    }
    bail!("nobody reads")
}

/// Waits until so much has passed the line to the origin.
fn origin_has_sent(lab: &Lab, bytes: u64) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while lab.wan_bytes()?.sent < bytes {
        ensure!(Instant::now() < deadline, "the origin does not send {bytes} bytes");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// How many connections an origin had, look by look.
#[derive(Debug)]
pub struct Connections {
    all: Vec<usize>,
    sending: Vec<usize>,
}

impl std::fmt::Display for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |counts: &[usize]| {
            let mut counts = counts.to_vec();
            counts.sort_unstable();
            let at = |n: usize| counts.get(n).copied().unwrap_or_default();
            [at(counts.len() / 2), at(counts.len() * 9 / 10), at(counts.len().saturating_sub(1))]
        };
        let ([middle, tenth, most], all) = (of(&self.sending), of(&self.all));
        write!(f, "{middle} send in the middle, {tenth} at most in nine tenths of the time, {most} ever; open {all:?}")
    }
}

impl Nginx {
    /// Does something, and counts the connections of the server meanwhile.
    ///
    /// # Errors
    /// When they cannot be counted.
    fn counting<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<(T, Connections)> {
        thread::scope(|scope| {
            let working = scope.spawn(work);
            let mut counts = Connections { all: Vec::new(), sending: Vec::new() };
            while !working.is_finished() {
                let (open, sending) = self.connections()?;
                counts.all.push(open);
                counts.sending.push(sending);
                thread::sleep(LOOK_EVERY);
            }
            Ok((working.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?, counts))
        })
    }
}
