//! Jobs that wait for a turn: by urgency, owner and host, so that the next one is found without looking at all of them.
//!
//! A host has so many places for the background. One that does not answer is closed for a while; after that one job tries it
//! (a trial) and opens it for all, or closes it for longer. So nobody waits for a dead host but those who want it.

use crate::job::spec::{Goal, JobId, Priority};
use crate::job::terms::Owner;
use crate::schedule::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// A host, by its scheme, name and port. Two that collide share their places, which does no harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostKey(u64);

impl HostKey {
    /// The host with this name.
    #[must_use]
    pub fn of(origin: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        origin.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// A job's place among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) line: Line,
    pub(crate) host: HostKey,
    /// Its place in the order: smaller is earlier.
    pub(crate) number: u64,
    /// Since when it has waited.
    pub(crate) since: Duration,
}

/// Whose jobs wait behind each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) priority: Priority,
    pub(crate) goal: Goal,
    pub(crate) owner: Owner,
}

impl Line {
    fn class(self) -> Class {
        Class::of(self.priority, self.goal)
    }
}

/// Jobs of one owner with one priority and goal.
#[derive(Debug, Default)]
struct Group {
    by_host: BTreeMap<HostKey, BTreeMap<u64, (Duration, JobId)>>,
    /// The first job of each host that has a place for this priority.
    open: BTreeSet<(u64, HostKey)>,
    listed: BTreeMap<HostKey, u64>,
    /// When one of them got the turn last.
    served: Duration,
}

/// A host that somebody wants or has failed at.
#[derive(Debug, Default)]
struct Host {
    running: [usize; 4],
    /// Jobs in the foreground that only hold.
    held: usize,
    groups: BTreeSet<Line>,
    closure: Option<Closure>,
    /// Times in a row that it did not answer.
    failures: u32,
}

impl Host {
    /// How many run there that take the same places.
    fn taken(&mut self, class: Class, rank: Priority) -> &mut usize {
        if class == Class::Held { &mut self.held } else { &mut self.running[rank as usize] }
    }

    fn is_idle(&self) -> bool {
        self.running == [0; 4] && self.held == 0
    }
}

/// Why a host takes nobody, or one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closure {
    /// It did not answer, or asked for a pause.
    Until(Duration),
    /// One job may try it.
    Trial,
}

/// What is found of a job that might run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) id: JobId,
    pub(crate) priority: Priority,
    pub(crate) owner: Owner,
    pub(crate) host: HostKey,
    pub(crate) number: u64,
    /// Since when neither it nor another of the owner's jobs with this priority had a turn.
    pub(crate) since: Duration,
}

/// Jobs that wait, and the hosts that they wait for.
#[derive(Debug)]
pub(crate) struct Queue {
    per_host: usize,
    held_per_host: usize,
    groups: BTreeMap<Line, Group>,
    hosts: BTreeMap<HostKey, Host>,
    reopenings: BTreeSet<(Duration, HostKey)>,
    waiting: usize,
}

impl Queue {
    pub(crate) fn new(per_host: usize, held_per_host: usize) -> Self {
        let (groups, hosts, reopenings) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { per_host, held_per_host, groups, hosts, reopenings, waiting: 0 }
    }

    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Puts a job in.
    pub(crate) fn enter(&mut self, ticket: Ticket, id: JobId) {
        let key = ticket.line;
        let group = self.groups.entry(key).or_default();
        group.by_host.entry(ticket.host).or_default().insert(ticket.number, (ticket.since, id));
        self.hosts.entry(ticket.host).or_default().groups.insert(key);
        self.waiting += 1;
        self.refresh(ticket.host, key);
    }

    /// Takes a job out.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        let key = ticket.line;
        let Some(group) = self.groups.get_mut(&key) else { return };
        let Some(line) = group.by_host.get_mut(&ticket.host) else { return };
        if line.remove(&ticket.number).is_some() {
            self.waiting -= 1;
        }
        let is_empty = line.is_empty();
        if is_empty {
            group.by_host.remove(&ticket.host);
            if let Some(host) = self.hosts.get_mut(&ticket.host) {
                host.groups.remove(&key);
            }
        }
        self.refresh(ticket.host, key);
        if is_empty && self.groups.get(&key).is_some_and(|group| group.by_host.is_empty()) {
            self.groups.remove(&key);
        }
        self.forget(ticket.host);
    }

    /// One of those that wait in this line got the turn.
    pub(crate) fn serve(&mut self, line: Line, now: Duration) {
        if let Some(group) = self.groups.get_mut(&line) {
            group.served = now;
        }
    }

    /// A job at the host got the turn.
    pub(crate) fn begin(&mut self, host: HostKey, (class, rank): (Class, Priority)) {
        *self.hosts.entry(host).or_default().taken(class, rank) += 1;
        self.refresh_all(host);
    }

    /// Its turn is over.
    pub(crate) fn end(&mut self, host: HostKey, (class, rank): (Class, Priority)) {
        if let Some(taken) = self.hosts.get_mut(&host).map(|known| known.taken(class, rank)) {
            *taken = taken.saturating_sub(1);
        }
        self.refresh_all(host);
        self.forget(host);
    }

    /// The host did not answer, or asked for a pause; how often in a row.
    pub(crate) fn failures(&self, host: HostKey) -> u32 {
        self.hosts.get(&host).map_or(0, |host| host.failures)
    }

    /// Nobody but the foreground gets a turn for the host before `until`.
    pub(crate) fn close(&mut self, host: HostKey, until: Duration) {
        let known = self.hosts.entry(host).or_default();
        let until = match known.closure {
            Some(Closure::Until(other)) => {
                self.reopenings.remove(&(other, host));
                other.max(until)
            }
            _ => {
                known.failures = known.failures.saturating_add(1);
                until
            }
        };
        known.closure = Some(Closure::Until(until));
        self.reopenings.insert((until, host));
        self.refresh_all(host);
    }

    /// The host answers, or somebody says that it should.
    pub(crate) fn open(&mut self, host: HostKey) {
        let Some(known) = self.hosts.get_mut(&host) else { return };
        known.failures = 0;
        match known.closure.take() {
            None => return,
            Some(Closure::Until(until)) => drop(self.reopenings.remove(&(until, host))),
            Some(Closure::Trial) => {}
        }
        self.refresh_all(host);
        self.forget(host);
    }

    /// Opens every host: the network is another one.
    pub(crate) fn open_all(&mut self) {
        let closed: Vec<HostKey> =
            self.hosts.iter().filter(|(_, host)| host.closure.is_some()).map(|(key, _)| *key).collect();
        for host in closed {
            self.open(host);
        }
    }

    /// Lets one job try each host whose pause is over.
    pub(crate) fn pass_time(&mut self, now: Duration) {
        while let Some((at, host)) = self.reopenings.first().copied()
            && at <= now
        {
            self.reopenings.remove(&(at, host));
            if let Some(known) = self.hosts.get_mut(&host) {
                known.closure = Some(Closure::Trial);
            }
            self.refresh_all(host);
            self.forget(host);
        }
    }

    /// When the first host is to be tried again that somebody waits for.
    pub(crate) fn next_reopening(&self) -> Option<Duration> {
        let is_wanted = |host: &HostKey| self.hosts.get(host).is_some_and(|host| !host.groups.is_empty());
        self.reopenings.iter().find(|(_, host)| is_wanted(host)).map(|(at, _)| *at)
    }

    /// Until when the host is closed.
    pub(crate) fn closed_until(&self, host: HostKey) -> Option<Duration> {
        match self.hosts.get(&host)?.closure? {
            Closure::Until(until) => Some(until),
            Closure::Trial => None,
        }
    }

    /// Whether one job may try the host, which did not answer before.
    pub(crate) fn is_on_trial(&self, host: HostKey) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.closure == Some(Closure::Trial))
    }

    /// Whether every place of the host is taken.
    pub(crate) fn is_full(&self, host: HostKey) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.running.iter().skip(1).sum::<usize>() >= self.per_host)
    }

    /// The first job of each line of this class that could run, also at `spare`, as if it had a place. In a pause nobody in the background could
    /// use that.
    pub(crate) fn heads(&self, class: Class, spare: Option<HostKey>) -> impl Iterator<Item = Candidate> {
        let spare = spare.filter(|host| class != Class::Background || self.closed_until(*host).is_none());
        let groups = self.groups.iter().filter(move |(line, _)| line.class() == class);
        groups.filter_map(move |(&Line { priority, owner, .. }, group)| {
            let spared = spare.and_then(|host| Some((*group.by_host.get(&host)?.first_key_value()?.0, host)));
            let (number, host) = group.open.first().copied().into_iter().chain(spared).min()?;
            let (since, id) = *group.by_host.get(&host)?.get(&number)?;
            Some(Candidate { id, priority, owner, host, number, since: since.max(group.served) })
        })
    }

    fn refresh_all(&mut self, host: HostKey) {
        let groups: Vec<_> = self.hosts.get(&host).into_iter().flat_map(|host| host.groups.iter().copied()).collect();
        for group in groups {
            self.refresh(host, group);
        }
    }

    fn refresh(&mut self, host: HostKey, key: Line) {
        let is_open = self.is_open(host, key);
        let Some(group) = self.groups.get_mut(&key) else { return };
        let first = group.by_host.get(&host).and_then(|line| line.first_key_value()).map(|(number, _)| *number);
        let next = first.filter(|_| is_open);
        let last = match next {
            Some(number) => group.listed.insert(host, number),
            None => group.listed.remove(&host),
        };
        if last == next {
            return;
        }
        if let Some(number) = last {
            group.open.remove(&(number, host));
        }
        if let Some(number) = next {
            group.open.insert((number, host));
        }
    }

    /// Whether a job of this line may run at the host: those that are less urgent would make room.
    fn is_open(&self, host: HostKey, line: Line) -> bool {
        let Some(host) = self.hosts.get(&host) else { return true };
        match line.class() {
            Class::Foreground => return true,
            Class::Held => return host.held < self.held_per_host,
            Class::Background => {}
        }
        let running: usize = host.running[1..=line.priority as usize].iter().sum();
        match host.closure {
            Some(Closure::Until(_)) => false,
            // Those in the foreground ask whatever the host said: they are no trial, and may go on for long.
            Some(Closure::Trial) => host.running[1..] == [0; 3],
            None => running < self.per_host,
        }
    }

    fn forget(&mut self, host: HostKey) {
        if self.hosts.get(&host).is_some_and(|host| {
            host.groups.is_empty() && host.is_idle() && !matches!(host.closure, Some(Closure::Until(_)))
        }) {
            self.hosts.remove(&host);
        }
    }
}
