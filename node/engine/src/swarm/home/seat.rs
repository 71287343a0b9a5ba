//! One member as its home knows it: its line, its load, its conduct.

use crate::port::Peer;
use crate::swarm::constants::{
    PAUSED, READ_PAUSE, SAFETY_PASS, STRIKES, STRUCK_STALLED, WINDOW, WINDOW_LEAST, WINDOW_MOST, WINDOW_TIME,
};
use crate::swarm::message::Item;
use crate::swarm::name::{Link, Medium};
use std::time::Duration;

/// Doublings of the pause after failures of the origin.
const READ_DOUBLINGS: u32 = 5;

/// One member.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) peer: Peer,
    pub(super) link: Link,
    pub(super) is_alive: bool,
    /// Whether it has said itself what it has; else somebody named it as a source.
    pub(super) is_joined: bool,
    /// Whether it has joined: who only says what it holds may follow another home.
    pub(super) follows: bool,
    pub(super) named: Duration,
    /// Not asked before then what it holds, though it does not give it.
    pub(super) asked_again_at: Duration,
    /// Flows that it gives.
    pub(super) children: u32,
    /// Bits per second that it gives, as assigned.
    pub(super) committed: u64,
    /// Flows that it was ever given to serve.
    pub(super) given: u32,
    pub(super) leases: u32,
    pub(super) has_read: bool,
    /// Until when the leases of another home count that it first brought along.
    pub(super) brings_reads_until: Option<Duration>,
    accusers: Vec<u32>,
    struck_until: Duration,
    /// Until when nobody else reads what only it has, though it is no source. Zero before it has stalled for the first time.
    paused_until: Duration,
    read_faults: u32,
    pub(super) no_reading_before: Duration,
    /// Assignments to be sent at once.
    pub(super) urgent: Vec<(u32, Item)>,
    /// Assignments that are being collected.
    pub(super) pending: Vec<(u32, Item)>,
}

/// Whether something is to be taken of a member that has this segment in it.
fn is_of(item: &Item, segment: u32) -> bool {
    match item {
        Item::From { segment: of, .. } => *of == segment,
        Item::Held { segments, .. } => segments.contains(&segment),
        Item::Lease { .. } => false,
    }
}

/// What is left of an assignment without a segment.
fn without(item: Item, segment: u32) -> Vec<Item> {
    match item {
        item if !is_of(&item, segment) => vec![item],
        Item::Held { segments, source } => {
            let parts = [segments.start..segment, segment + 1..segments.end];
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            parts.map(|segments| Item::Held { segments, source }).collect()
        }
        Item::From { .. } | Item::Lease { .. } => Vec::new(),
    }
}

/// Flows of segments of this size that a line has at once: what it carries in half a second.
fn window_of(rate: u64, segment_size: u64) -> u32 {
    if rate == 0 {
        return WINDOW;
    }
    let bits = u128::from(rate) * WINDOW_TIME.as_millis() / 1000;
    let segments = bits.div_ceil(u128::from(segment_size) * 8);
    (segments.min(u128::from(WINDOW_MOST)) as u32).max(WINDOW_LEAST)
}

impl Seat {
    pub(super) fn new(now: Duration, peer: Peer) -> Self {
        Self {
            peer,
            link: Link { up: 0, down: 0, medium: Medium::Wired, subnet: 0 },
            is_alive: true,
            is_joined: false,
            follows: false,
            named: now,
            asked_again_at: now,
            children: 0,
            committed: 0,
            given: 0,
            leases: 0,
            has_read: false,
            brings_reads_until: None,
            accusers: Vec::new(),
            struck_until: Duration::ZERO,
            paused_until: Duration::ZERO,
            read_faults: 0,
            no_reading_before: Duration::ZERO,
            urgent: Vec::new(),
            pending: Vec::new(),
        }
    }

    /// An assignment that is not sent yet is void: sent later, it would replace a better one.
    pub(super) fn withdraw(&mut self, board: u32, segment: u32) {
        for items in [&mut self.pending, &mut self.urgent] {
            if items.iter().any(|(b, item)| *b == board && is_of(item, segment)) {
                let all = std::mem::take(items).into_iter();
                let rest = |b: u32, item: Item| if b == board { without(item, segment) } else { vec![item] };
                *items = all.flat_map(|(b, item)| rest(b, item).into_iter().map(move |item| (b, item))).collect();
            }
        }
    }

    /// Whether others may be sent to it.
    pub(super) fn is_source(&self, now: Duration) -> bool {
        self.is_alive && !self.is_struck(now)
    }

    pub(super) fn is_struck(&self, now: Duration) -> bool {
        now < self.struck_until
    }

    /// Somebody says that it stalls or lies. Whether that makes it no source, for `time`.
    pub(super) fn strike(&mut self, now: Duration, accuser: u32, time: Duration) -> bool {
        if self.is_struck(now) || self.accusers.contains(&accuser) {
            return false;
        }
        self.accusers.push(accuser);
        let is_out = self.accusers.len() >= STRIKES;
        if is_out {
            self.accusers.clear();
            self.struck_until = now + time;
        }
        is_out
    }

    /// For how long it is no source when it stalls now.
    pub(super) fn stall_time(&self) -> Duration {
        if self.paused_until.is_zero() { PAUSED } else { STRUCK_STALLED }
    }

    /// What only it has is left to it until it is a source again.
    pub(super) fn pause(&mut self) -> Duration {
        // It counts as a source with the pass that follows.
        self.paused_until = self.struck_until + SAFETY_PASS * 2;
        self.paused_until
    }

    /// Until when what only it has is left to it.
    pub(super) fn pause_ends(&self, now: Duration) -> Option<Duration> {
        Some(self.paused_until).filter(|until| now < *until)
    }

    /// The origin failed it. One that got something first may go on at once.
    pub(super) fn on_read_fault(&mut self, now: Duration, got_something: bool) {
        if got_something {
            self.read_faults = 0;
            return;
        }
        self.no_reading_before = now + READ_PAUSE * (1 << self.read_faults.min(READ_DOUBLINGS));
        self.read_faults += 1;
    }

    /// Whether the time of its exclusion has just run out.
    pub(super) fn is_forgiven(&self, now: Duration) -> bool {
        !self.struck_until.is_zero() && !self.is_struck(now)
    }

    pub(super) fn forget_old_strike(&mut self, now: Duration) {
        if self.is_forgiven(now) {
            self.struck_until = Duration::ZERO;
        }
    }

    /// Share of its line that it gives: by the rates that were set aside, or by the flows, as many as a line like its own takes at once being
    /// all of it; whichever is more. Where lines are not known the flows alone say it, and that of a slow one has them longer.
    pub(super) fn load(&self, segment_size: u64) -> f64 {
        let by_flows = f64::from(self.children) / f64::from(window_of(self.link.up, segment_size));
        let by_rate = if self.link.up == 0 { 0.0 } else { self.committed as f64 / self.link.up as f64 };
        by_flows.max(by_rate)
    }

    /// Bits per second that it could still give; of an unknown line, any number.
    pub(super) fn free(&self) -> u64 {
        if self.link.up == 0 { u64::MAX } else { self.link.up.saturating_sub(self.committed) }
    }

    /// Flows of segments of this size that it has at once.
    pub(super) fn window(&self, segment_size: u64) -> u32 {
        window_of(self.link.down, segment_size)
    }

    /// Bits per second that one of its flows needs.
    pub(super) fn need(&self, segment_size: u64) -> u64 {
        self.link.down / u64::from(self.window(segment_size))
    }
}
