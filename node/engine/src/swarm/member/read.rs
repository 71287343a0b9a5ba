//! One lease: what is read, how far it is, and when the next one may begin.

use super::flow::Flow;
use super::{Act, Effect, Job, Member, ReadFault};
use crate::port::Peer;
use crate::swarm::constants::{LEASES_MOST, ORIGIN_SILENCE, PROGRESS, TAIL_ROUND_TRIPS};
use crate::swarm::message::{FailReason, Say};
use crate::swarm::name::{ContentTag, LeaseId, Reading};
use crate::swarm::node::Reads;
use eddy_content::BLOCK_SIZE;
use std::ops::Range;
use std::time::Duration;

/// A lease in use.
#[derive(Debug, Clone)]
pub(super) struct Read {
    content: ContentTag,
    segments: Range<u32>,
    begun: Duration,
    first_byte: Option<Duration>,
    last: Duration,
    /// Blocks that are still to come.
    left: u32,
    blocks: u64,
    is_tail_told: bool,
    told: Duration,
    /// Bytes came since then of which no block is whole that is lacking.
    is_moving: bool,
}

impl Member {
    /// The home lets this member read.
    pub(super) fn on_lease(&mut self, now: Duration, content: ContentTag, lease: LeaseId, segments: Range<u32>) {
        let Some(job) = self.jobs.get_mut(&content) else {
            return self.acts.push_back(Act::Home(Say::Return { lease, prefix: 0 }));
        };
        if let Some(gate) = &mut job.gate
            && gate.keep(lease, &segments)
        {
            return;
        }
        // A home that lets one member read more at once than it may let all is not listened to.
        if self.reads.len() >= LEASES_MOST as usize {
            return self.acts.push_back(Act::Home(Say::Return { lease, prefix: 0 }));
        }
        let end = segments.end.min(job.have.len());
        let lacking: Vec<u32> = (segments.start..end).filter(|segment| !job.have.has(*segment)).collect();
        let (Some(first), Some(last)) = (lacking.first().copied(), lacking.last().copied()) else {
            segments.for_each(|segment| self.report(now, content, segment));
            self.flush(content);
            return self.acts.push_back(Act::Home(Say::Return { lease, prefix: 0 }));
        };
        let mut left = 0;
        for segment in &lacking {
            self.drop_flow(content, *segment);
            let Some(job) = self.jobs.get_mut(&content) else { return };
            let prefix = job.prefixes.remove(segment).unwrap_or(0);
            left += job.blocks_of(*segment) - prefix;
            job.flows.insert(*segment, Flow::new(now, None, Some(lease), prefix));
        }
        let segments = first..last + 1;
        let Some(job) = self.jobs.get(&content) else { return };
        let (from, reading) = (job.prefix(first), job.content.reading);
        let read = Read {
            content,
            segments: segments.clone(),
            begun: now,
            first_byte: None,
            last: now,
            left,
            blocks: 0,
            is_tail_told: false,
            told: now,
            is_moving: false,
        };
        self.reads.insert(lease, read);
        self.shell(Effect::Read { lease, content, segments, from, reading });
    }

    /// The origin's answer shows how it serves the content.
    pub(in crate::swarm) fn on_reading(
        &mut self,
        now: Duration,
        content: ContentTag,
        lease: LeaseId,
        reading: Reading,
    ) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        job.content.reading = job.content.reading.learn(reading);
        if reading == Reading::Stream {
            self.read_on(now, lease);
        }
        self.acts.push_back(Act::Home(Say::Offers { content, lease, reading }));
    }

    /// The origin sends everything: what is lacking behind the lease comes as well.
    fn read_on(&mut self, now: Duration, lease: LeaseId) {
        let Some(read) = self.reads.get_mut(&lease) else { return };
        let Some(job) = self.jobs.get_mut(&read.content) else { return };
        for segment in read.segments.end..job.have.len() {
            if job.have.has(segment) || job.flows.contains_key(&segment) {
                continue;
            }
            let prefix = job.prefixes.remove(&segment).unwrap_or(0);
            read.left += job.blocks_of(segment) - prefix;
            (read.segments.end, read.is_tail_told) = (segment + 1, false);
            job.flows.insert(segment, Flow::new(now, None, Some(lease), prefix));
        }
    }

    /// Blocks of a lease arrived.
    pub(super) fn on_read(&mut self, now: Duration, lease: LeaseId, blocks: u32) {
        self.read_blocks += u64::from(blocks);
        let Some(read) = self.reads.get_mut(&lease) else { return };
        read.last = now;
        let first_byte = *read.first_byte.get_or_insert(now);
        read.left = read.left.saturating_sub(blocks);
        read.blocks += u64::from(blocks);
        let delay = first_byte.saturating_sub(read.begun);
        if !read.is_tail_told && read.left > 0 && read.needs_less_than(now, delay * TAIL_ROUND_TRIPS) {
            read.is_tail_told = true;
            self.acts.push_back(Act::Home(Say::Tail { lease, first_byte: delay }));
        }
    }

    /// A segment of a lease is whole.
    pub(super) fn on_segment_read(&mut self, lease: LeaseId, segment: u32) {
        let is_over = |read: &mut Read| segment + 1 == read.segments.end;
        if self.reads.get_mut(&lease).is_some_and(is_over) {
            self.reads.remove(&lease);
        }
    }

    /// Says how far its leases are.
    pub(super) fn tell_progress(&mut self, now: Duration) {
        for (lease, read) in &mut self.reads {
            if now >= read.told + PROGRESS {
                read.told = now;
                let bytes = read.blocks * BLOCK_SIZE;
                self.acts.push_back(Act::Home(Say::Progress { lease: *lease, bytes }));
                let is_moving = std::mem::take(&mut read.is_moving);
                let reading = self.jobs.get(&read.content).map(|job| job.content.reading);
                if let Some(reading) = reading.filter(|reading| is_moving && *reading == Reading::Stream) {
                    let (content, lease) = (read.content, *lease);
                    self.acts.push_back(Act::Home(Say::Offers { content, lease, reading }));
                }
            }
        }
    }

    /// A lease is of no more use: somebody else gives what it was to bring.
    pub(super) fn give_lease_back(&mut self, lease: LeaseId) {
        let Some(read) = self.reads.remove(&lease) else { return };
        let prefix = self.forget_flows_of(lease, &read);
        self.shell(Effect::StopReading { lease, content: read.content });
        self.acts.push_back(Act::Home(Say::Return { lease, prefix }));
    }

    /// Reading ended before everything was there.
    pub(in crate::swarm) fn on_read_fault(&mut self, lease: LeaseId, fault: ReadFault) {
        let Some(read) = self.reads.remove(&lease) else { return };
        let Some(segment) = self.first_open(lease, &read) else { return };
        let prefix = self.forget_flows_of(lease, &read);
        match fault {
            ReadFault::Failed => {
                let reason = FailReason::OriginError;
                let content = read.content;
                self.acts.push_back(Act::Home(Say::Fail { content, segment, source: None, reason, prefix }));
            }
            ReadFault::NoRanges => {
                let (content, reading) = (read.content, Reading::Stream);
                if let Some(job) = self.jobs.get_mut(&content) {
                    job.content.reading = reading;
                }
                self.acts.push_back(Act::Home(Say::Offers { content, lease, reading }));
                self.acts.push_back(Act::Home(Say::Return { lease, prefix }));
            }
            ReadFault::Changed => {
                self.acts.push_back(Act::Home(Say::Changed { content: read.content }));
                self.on_changed(read.content);
            }
        }
    }

    /// Bytes of a lease came, and no block: a stream begins at the first byte (trap 13), and one of many reads on a slow line takes longer
    /// than [`ORIGIN_SILENCE`] for a block. Given up, it would begin the block anew each time.
    pub(in crate::swarm) fn on_moves(&mut self, now: Duration, lease: LeaseId) {
        let Some(read) = self.reads.get_mut(&lease) else { return };
        (read.last, read.is_moving) = (now, true);
        if let Some(job) = self.jobs.get_mut(&read.content) {
            job.last_byte = now;
        }
    }

    /// Gives up what the origin has been silent about for too long.
    pub(super) fn watch_reads(&mut self, now: Duration) {
        let silent = self.reads.iter().filter(|(_, read)| now >= read.last + ORIGIN_SILENCE);
        for (lease, content) in silent.map(|(lease, read)| (*lease, read.content)).collect::<Vec<_>>() {
            self.shell(Effect::StopReading { lease, content });
            self.on_read_fault(lease, ReadFault::Failed);
        }
    }

    fn first_open(&self, lease: LeaseId, read: &Read) -> Option<u32> {
        let job = self.jobs.get(&read.content)?;
        read.segments.clone().find(|segment| job.flows.get(segment).is_some_and(|flow| flow.lease == Some(lease)))
    }

    /// Takes the flows of a lease away, keeps what has arrived, and says how much that is of the first open segment.
    fn forget_flows_of(&mut self, lease: LeaseId, read: &Read) -> u32 {
        let Some(job) = self.jobs.get_mut(&read.content) else { return 0 };
        let mut first = None;
        for segment in read.segments.clone() {
            if job.flows.get(&segment).is_some_and(|flow| flow.lease == Some(lease)) {
                let prefix = job.flows.remove(&segment).map_or(0, |flow| flow.prefix);
                job.keep_prefix(segment, prefix);
                first.get_or_insert(prefix);
            }
        }
        first.or_else(|| job.prefixes.get(&read.segments.start).copied()).unwrap_or(0)
    }
}

impl Read {
    pub(super) fn is_of(&self, content: ContentTag) -> bool {
        self.content == content
    }

    /// For people to look at.
    pub(super) fn show(&self, me: Peer, job: &Job) -> Reads {
        Reads::of(me, &job.geometry, &self.segments, self.blocks * BLOCK_SIZE)
    }

    /// Whether what is left comes within `time`, at the pace so far.
    fn needs_less_than(&self, now: Duration, time: Duration) -> bool {
        let since = self.first_byte.map_or(Duration::ZERO, |first| now.saturating_sub(first));
        // left / (blocks / since) < time
        self.blocks > 1 && u128::from(self.left) * since.as_micros() < u128::from(self.blocks) * time.as_micros()
    }
}
