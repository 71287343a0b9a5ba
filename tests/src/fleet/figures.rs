//! What came of a run.

use super::world::World;
use eddy_engine::swarm::{Medium, Message, Say};
use serde::Serialize;
use std::collections::BTreeMap;

/// What came of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Whether every machine that lives has everything.
    pub is_whole: bool,
    /// Machines that do not.
    pub unfinished: Vec<usize>,
    /// Bytes that the origin sent, over the bytes that there are.
    pub copies: f64,
    /// Seconds from the first start until the last one was finished.
    pub makespan: f64,
    /// Seconds that nothing can beat.
    pub bound: f64,
    /// `makespan`, from the first start on, over `bound`.
    pub over_bound: f64,
    /// Half of the machines took at most so many seconds.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// Control messages of an ordinary machine, sent and received, in a second: the median.
    pub messages: f64,
    /// Bytes of them.
    pub message_bytes: f64,
    /// The same at the machine that has most: the home.
    pub home_messages: f64,
    /// Bytes of them.
    pub home_bytes: f64,
    /// Requests for segments of an ordinary machine in a second.
    pub subscriptions_per_second: f64,
    /// What the busiest wired machine sent, over the mean of them.
    pub fairness: f64,
    /// Origin connections at once, at most.
    pub connections: usize,
    /// The same in half of the time.
    pub steady_connections: usize,
    /// Requests to the origin.
    pub requests: u64,
    /// Bytes that went from one subnet to another, over the bytes that there are.
    pub crossings: f64,
    /// Machines that crashed.
    pub crashed: usize,
    /// Machines that took themselves for the home in the end, dead ones apart.
    pub homes: usize,
    /// Bytes that the origin sent of what it had sent before, by why.
    pub again: BTreeMap<&'static str, u64>,
    /// Messages to machines with which their sender has no connection.
    pub astray: u64,
    /// Messages by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// Failures told, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Events of the simulation.
    pub events: u64,
    /// Over time.
    #[serde(skip)]
    pub samples: Vec<Sample>,
    #[serde(skip)]
    pub(super) subscriptions: u64,
    /// Subscriptions that were refused.
    pub refusals: u64,
    /// Questions to machines that take part in no swarm.
    pub lookups: u64,
    /// Chunks that came although nobody wanted them any more.
    pub unwanted: u64,
    /// Connections that the origin broke.
    pub cuts: u64,
    /// Files that ended because the origin has another version.
    pub changed: u64,
    /// Bytes from the origin that their reader had.
    pub skipped: u64,
    #[serde(skip)]
    pub(super) between: u64,
}

/// One moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Since the beginning.
    pub seconds: f64,
    /// Copies that the origin has sent.
    pub origin: f64,
    /// What the machines have, on average.
    pub mean: f64,
    /// What the slowest has.
    pub least: f64,
    /// Connections at the origin.
    pub connections: usize,
}

impl Figures {
    pub(super) fn count(&mut self, message: &Message) {
        *self.kinds.entry(kind(&message.say)).or_default() += 1;
        if let Say::Fail { reason, .. } = &message.say {
            *self.failures.entry(format!("{reason:?}")).or_default() += 1;
        }
    }
}

fn kind(say: &Say) -> &'static str {
    match say {
        Say::Join(_) => "join",
        Say::Note { .. } => "note",
        Say::Query { .. } => "query",
        Say::Seek { .. } => "seek",
        Say::HaveAny { .. } => "have-any",
        Say::Assign { .. } => "assign",
        Say::Watch { .. } => "watch",
        Say::Alarm { .. } => "alarm",
        Say::Alive => "alive",
        Say::At { .. } => "at",
        Say::WhoIs { .. } => "who-is",
        Say::Introduce { .. } => "introduce",
        Say::Waiting { .. } => "waiting",
        Say::Tail { .. } => "tail",
        Say::Progress { .. } => "progress",
        Say::Offers { .. } => "offers",
        Say::Done { .. } => "done",
        Say::Fail { .. } => "fail",
        Say::Redirect { .. } => "redirect",
        Say::NotHome => "not-home",
        Say::Reached { .. } => "reached",
        Say::Changed { .. } => "changed",
        Say::Leave { .. } => "leave",
        Say::Return { .. } => "return",
    }
}

/// The value below which this share of the sorted ones lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

impl World {
    pub(super) fn finish(self) -> Figures {
        let mut figures = self.figures;
        let all = (self.site.size * self.site.files as u64) as f64;
        let living = || self.hosts.iter().enumerate().filter(|(_, host)| host.is_alive);
        let is_whole = |host: &super::host::Host| host.whole.iter().all(Option::is_some);
        figures.unfinished = living().filter(|(_, host)| !is_whole(host)).map(|(n, _)| n).collect();
        figures.is_whole = figures.unfinished.is_empty();
        figures.copies = self.origin.sent as f64 / all;
        figures.bound = self.site.bound();
        let cold = living().filter(|(n, _)| *n >= self.site.holders());
        let ends =
            sorted(cold.filter_map(|(_, host)| host.whole.iter().max().copied().flatten()).map(|at| at as f64 / 1e9));
        let begun = self.begun.unwrap_or(0) as f64 / 1e9;
        figures.makespan = ends.last().map_or(0.0, |end| end - begun);
        figures.over_bound = figures.makespan / figures.bound;
        (figures.p50, figures.p99) = (quantile(&ends, 0.5) - begun, quantile(&ends, 0.99) - begun);
        let seconds = figures.makespan.max(1e-9);
        let messages = sorted(living().map(|(_, host)| host.messages as f64 / seconds));
        let bytes = sorted(living().map(|(_, host)| host.message_bytes as f64 / seconds));
        (figures.messages, figures.home_messages) = (quantile(&messages, 0.5), quantile(&messages, 1.0));
        (figures.message_bytes, figures.home_bytes) = (quantile(&bytes, 0.5), quantile(&bytes, 1.0));
        figures.subscriptions_per_second = figures.subscriptions as f64 / seconds / self.hosts.len() as f64;
        let wired = self.hosts.iter().filter(|host| host.is_alive && host.link.medium == Medium::Wired);
        let sent = sorted(wired.map(|host| host.sent as f64));
        let mean = sent.iter().sum::<f64>() / sent.len().max(1) as f64;
        figures.fairness = if mean > 0.0 { quantile(&sent, 1.0) / mean } else { 1.0 };
        figures.connections = self.origin.most;
        let open = sorted(figures.samples.iter().map(|sample| sample.connections as f64));
        figures.steady_connections = quantile(&open, 0.5) as usize;
        figures.requests = self.origin.requests;
        figures.homes = living().filter(|(_, host)| host.swarm.home(self.origin_key) == Some(host.peer)).count();
        figures.crossings = figures.between as f64 / all;
        figures.events = self.clock.made();
        figures
    }
}
