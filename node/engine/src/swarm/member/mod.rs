//! The member: takes its segments from where the home says, feeds others, and says what came of it.
//!
//! | module | what it does |
//! |---|---|
//! | this one | what a member knows, its assignments and reports |
//! | [`flow`] | one segment on its way in: how far, and whether its silence is too long |
//! | [`read`] | one lease: progress, tail, what is left of it |
//! | [`gate`] | what others say that were asked, before a first lease begins |
//! | [`give`] | who is given what, and who has to wait |
//! | [`watch`] | looks at all of it every quarter of a second |

mod flow;
mod gate;
mod give;
mod read;
mod watch;

use super::bits::Bits;
use super::constants::{
    ALARMS, ALARMS_EACH, COLLECT_DONE, DONE_SEGMENTS, FLOWS_MOST, JOIN_FLOWS, REFUSAL, RUN_BYTES, RUN_SEGMENTS, UPLOADS,
};
use super::effect::{Effect, FlowFault, ReadFault};
use super::message::{FailReason, Holdings, Item, Join, JoinFlow, JoinSource, Say};
use super::name::{Content, ContentTag, LeaseId, Link, Order, PeerTag};
use super::node::{Glance, Tally};
use crate::port::Peer;
use eddy_content::{BLOCK_SIZE, Geometry};
use flow::Flow;
use gate::Gate;
use give::{Gift, Subscriber};
use read::Read;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

/// What a member wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Tell its home.
    Home(Say),
    /// Tell somebody else.
    Peer(Peer, Say),
    /// Have the shell do something.
    Shell(Effect),
    /// Tell the home again of a content: nothing of it comes.
    Rejoin(ContentTag),
    /// Tell it again of everything: nothing comes at all.
    RejoinAll,
    /// The home is worth nothing.
    Forsake,
}

/// A member's part in the contents of one origin.
#[derive(Debug)]
pub(super) struct Member {
    link: Link,
    jobs: BTreeMap<ContentTag, Job>,
    reads: BTreeMap<LeaseId, Read>,
    /// Sources that failed it: why, and until when it does not go there again, whoever is home.
    refused: BTreeMap<Peer, (FailReason, Duration)>,
    acts: VecDeque<Act>,
    watch_at: Duration,
    /// When the home was last told how much of a stream is here.
    reached_told: Duration,
    /// Blocks that came under leases.
    read_blocks: u64,
}

/// One content.
#[derive(Debug)]
struct Job {
    content: Content,
    geometry: Geometry,
    wants: Option<Order>,
    silence_allowed: Duration,
    have: Bits,
    flows: BTreeMap<u32, Flow>,
    /// Verified blocks of segments that are neither whole nor on their way.
    prefixes: BTreeMap<u32, u32>,
    done: Vec<u32>,
    done_at: Option<Duration>,
    collect: Duration,
    gifts: BTreeMap<(u32, Peer), Gift>,
    subscribers: Vec<Subscriber>,
    /// Who has told of a lie; this node itself is `None`.
    alarms: Vec<Option<Peer>>,
    last_byte: Duration,
    /// When the home was last told again, and how often while others came and this one did not.
    rejoined: Duration,
    rejoins: u32,
    /// While others are asked that this member asks itself.
    gate: Option<Gate>,
    /// Whether a home has heard of it.
    has_joined: bool,
}

impl Job {
    fn blocks_of(&self, segment: u32) -> u32 {
        let blocks = self.geometry.blocks_of_segment(segment);
        blocks.end - blocks.start
    }

    fn prefix(&self, segment: u32) -> u32 {
        let under_way = self.flows.get(&segment).map(|flow| flow.prefix);
        under_way.or_else(|| self.prefixes.get(&segment).copied()).unwrap_or(0)
    }

    fn keep_prefix(&mut self, segment: u32, prefix: u32) {
        if prefix > 0 {
            self.prefixes.insert(segment, prefix);
        }
    }

    fn is_wanting(&self) -> bool {
        self.wants.is_some() && !self.have.is_full()
    }

    /// Segments of the longest request to a member.
    fn longest_run(&self) -> u32 {
        ((RUN_BYTES / self.geometry.segment_size()) as u32).clamp(1, RUN_SEGMENTS)
    }

    /// Blocks that are verified.
    fn reached(&self) -> u32 {
        let whole = self.have.iter().map(|segment| self.blocks_of(segment)).sum::<u32>();
        let flows = self.flows.values().map(|flow| flow.prefix).sum::<u32>();
        whole + flows + self.prefixes.values().sum::<u32>()
    }

    /// What is on its way, and what has come of segments that are not: a home that knows of a part has the rest read only.
    fn flows_to_tell(&self) -> Vec<JoinFlow> {
        let flows = self.flows.iter().filter_map(|(segment, flow)| {
            Some(JoinFlow { segment: *segment, source: flow.join_source()?, prefix: flow.prefix })
        });
        let parts = self.prefixes.iter().map(|(segment, prefix)| JoinFlow {
            segment: *segment,
            source: JoinSource::Nobody,
            prefix: *prefix,
        });
        flows.chain(parts).take(JOIN_FLOWS).collect()
    }
}

impl Member {
    pub(super) fn new(now: Duration, link: Link) -> Self {
        let (jobs, reads, acts) = (BTreeMap::new(), BTreeMap::new(), VecDeque::new());
        let refused = BTreeMap::new();
        let reached_told = now;
        Self { link, jobs, reads, refused, acts, watch_at: now, reached_told, read_blocks: 0 }
    }

    /// Takes part in a content. `wants` is `None` for one that only gives.
    pub(super) fn start(
        &mut self,
        now: Duration,
        content: Content,
        have: Bits,
        wants: Option<Order>,
        silence_allowed: Duration,
    ) {
        let Some(geometry) = content.geometry() else { return };
        // What it took before, for somebody else here, ends.
        self.stop_all(content.tag());
        let job = Job {
            content,
            geometry,
            wants,
            silence_allowed,
            have,
            flows: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            done: Vec::new(),
            done_at: None,
            collect: COLLECT_DONE,
            gifts: BTreeMap::new(),
            subscribers: Vec::new(),
            alarms: Vec::new(),
            last_byte: now,
            rejoined: now,
            rejoins: 0,
            gate: None,
            has_joined: false,
        };
        self.jobs.insert(content.tag(), job);
    }

    /// Ends its part in a content, politely.
    pub(super) fn leave(&mut self, content: ContentTag) {
        if self.jobs.contains_key(&content) {
            self.stop_all(content);
            self.jobs.remove(&content);
            self.acts.push_back(Act::Home(Say::Leave { content }));
        }
    }

    pub(super) fn poll_act(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    pub(super) fn contents(&self) -> impl Iterator<Item = ContentTag> + '_ {
        self.jobs.keys().copied()
    }

    pub(super) fn is_wanting(&self) -> bool {
        self.jobs.values().any(Job::is_wanting)
    }

    /// Whether it wants something of a content that it has not.
    pub(super) fn lacks_some(&self, content: ContentTag) -> bool {
        self.jobs.get(&content).is_some_and(Job::is_wanting)
    }

    /// Whom it takes something from.
    pub(super) fn sources(&self) -> impl Iterator<Item = Peer> + '_ {
        self.jobs.values().flat_map(|job| job.flows.values()).filter_map(|flow| flow.source)
    }

    /// Bytes that it has read from the origin, in whole blocks.
    pub(super) fn read_bytes(&self) -> u64 {
        self.read_blocks * BLOCK_SIZE
    }

    /// Adds its part to the node's.
    pub(super) fn count(&self, tally: &mut Tally) {
        tally.taking += self.jobs.values().filter(|job| job.is_wanting()).count() as u64;
        tally.giving += u64::from(self.uploads());
        tally.read += self.read_bytes();
    }

    /// Whether it has anything to do with a content.
    pub(super) fn takes_part(&self, content: ContentTag) -> bool {
        self.jobs.contains_key(&content)
    }

    /// How it stands with a content: segments that it has, from whom it takes others (`None` the origin), flows that it gives.
    pub(super) fn glance(&self, me: Peer, content: ContentTag) -> Option<Glance> {
        let job = self.jobs.get(&content)?;
        let mut sources = BTreeMap::new();
        for flow in job.flows.values() {
            *sources.entry(flow.source).or_default() += 1;
        }
        Some(Glance {
            have: job.have.iter().count() as u32,
            segments: job.have.len(),
            gives: job.gifts.len() as u32,
            sources,
            reads: self.reads.values().filter(|read| read.is_of(content)).map(|read| read.show(me, job)).collect(),
            ..Glance::default()
        })
    }

    /// What it holds and receives of a content, if it takes part.
    pub(super) fn holdings(&self, content: ContentTag) -> Option<Holdings> {
        let job = self.jobs.get(&content)?;
        let flows = job.flows_to_tell();
        let has_some = !job.have.is_empty() || !flows.is_empty();
        has_some.then(|| Holdings { link: self.link, have: job.have.clone(), flows })
    }

    /// Its whole state of one content.
    pub(super) fn join(&self, content: ContentTag) -> Option<Join> {
        let job = self.jobs.get(&content)?;
        let wants = job.wants.filter(|_| !job.have.is_full());
        let (have, flows, lost, asked) = (job.have.clone(), job.flows_to_tell(), Vec::new(), 0);
        Some(Join { content: job.content, link: self.link, wants, have, flows, lost, asked })
    }

    /// The home says what to take from where; `know` finds the member behind a tag.
    pub(super) fn on_assign(
        &mut self,
        now: Duration,
        content: ContentTag,
        collect: Duration,
        items: Vec<Item>,
        know: impl Fn(PeerTag) -> Option<Peer>,
    ) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        job.collect = collect;
        for item in items {
            match item {
                Item::Lease { lease, segments } => self.on_lease(now, content, lease, segments),
                Item::Held { segments, source } => match know(source) {
                    Some(peer) => self.on_held(now, content, segments, peer),
                    None => segments.for_each(|segment| self.on_stranger(now, content, segment, source)),
                },
                Item::From { segment, source } => match know(source) {
                    Some(peer) => self.on_source(now, content, segment, peer),
                    None => self.on_stranger(now, content, segment, source),
                },
            }
        }
        self.look_at_gate(now, content);
    }

    fn on_source(&mut self, now: Duration, content: ContentTag, segment: u32, source: Peer) {
        if let Some(from) = self.begin_flow(now, content, segment, source) {
            self.shell(Effect::Subscribe { source, content, segment, from });
        }
    }

    /// Segments that somebody holds come by one request; of a longer run than one may be for, the beginning.
    fn on_held(&mut self, now: Duration, content: ContentTag, segments: Range<u32>, source: Peer) {
        let Some(job) = self.jobs.get(&content) else { return };
        let end = segments.end.min(segments.start.saturating_add(job.longest_run())).min(job.have.len());
        let mut run: Option<(Range<u32>, u32)> = None;
        for segment in segments.start..end {
            let begun = self.begin_flow(now, content, segment, source);
            run = match (run.take(), begun) {
                (Some((run, from)), Some(_)) => Some((run.start..segment + 1, from)),
                (before, begun) => {
                    self.fetch(content, source, before);
                    begun.map(|from| (segment..segment + 1, from))
                }
            };
        }
        self.fetch(content, source, run);
    }

    fn fetch(&mut self, content: ContentTag, source: Peer, run: Option<(Range<u32>, u32)>) {
        let Some((segments, from)) = run else { return };
        if let Some(job) = self.jobs.get_mut(&content) {
            let flows = job.flows.range_mut(segments.clone());
            flows.for_each(|(_, flow)| flow.run = Some(segments.start));
        }
        self.shell(Effect::Fetch { source, content, segments, from });
    }

    /// Enters a flow from a member; the first block that it has to bring, unless there is none to begin.
    fn begin_flow(&mut self, now: Duration, content: ContentTag, segment: u32, source: Peer) -> Option<u32> {
        let job = self.jobs.get_mut(&content)?;
        if segment >= job.have.len() || job.wants.is_none() {
            return None;
        }
        if job.have.has(segment) {
            self.report(now, content, segment);
            return None;
        }
        job.gate.iter_mut().for_each(|gate| gate.forget(segment));
        if job.flows.len() >= FLOWS_MOST && !job.flows.contains_key(&segment) {
            let (source, prefix) = (Some(PeerTag::of(&source)), job.prefix(segment));
            let fail = Say::Fail { content, segment, source, reason: FailReason::Refused, prefix };
            self.acts.push_back(Act::Home(fail));
            return None;
        }
        let from = job.prefix(segment);
        self.drop_flow(content, segment);
        let job = self.jobs.get_mut(&content)?;
        job.prefixes.remove(&segment);
        if let Some((reason, _)) = self.refused.get(&source).copied().filter(|(_, until)| now < *until) {
            let fail = Say::Fail { content, segment, source: Some(PeerTag::of(&source)), reason, prefix: from };
            job.keep_prefix(segment, from);
            self.acts.push_back(Act::Home(fail));
            return None;
        }
        job.flows.insert(segment, Flow::new(now, Some(source), None, from));
        Some(from)
    }

    /// An assignment names somebody whom this member has not met: the home introduces it.
    fn on_stranger(&mut self, now: Duration, content: ContentTag, segment: u32, stranger: PeerTag) {
        let Some(job) = self.jobs.get(&content) else { return };
        if segment >= job.have.len() || job.have.has(segment) || job.wants.is_none() {
            return;
        }
        if job.flows.len() >= FLOWS_MOST && !job.flows.contains_key(&segment) {
            return;
        }
        let prefix = job.prefix(segment);
        self.drop_flow(content, segment);
        if let Some(job) = self.jobs.get_mut(&content) {
            job.flows.insert(segment, Flow::of_stranger(now, stranger, prefix));
            self.acts.push_back(Act::Home(Say::WhoIs { peer: stranger }));
        }
    }

    /// The home says who somebody is: flows that waited for it begin. Whether there were any.
    pub(super) fn on_introduced(&mut self, now: Duration, peer: Peer) -> bool {
        let tag = PeerTag::of(&peer);
        let mut is_awaited = false;
        for content in self.contents().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get(&content) else { continue };
            let waiting = job.flows.iter().filter(|(_, flow)| flow.stranger == Some(tag)).map(|(segment, _)| *segment);
            for segment in waiting.collect::<Vec<_>>() {
                is_awaited = true;
                self.on_source(now, content, segment, peer);
            }
        }
        is_awaited
    }

    /// Ends a flow, whatever its source; what has arrived is kept.
    fn drop_flow(&mut self, content: ContentTag, segment: u32) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let Some(flow) = job.flows.remove(&segment) else { return };
        job.keep_prefix(segment, flow.prefix);
        match (flow.source, flow.lease) {
            (Some(source), _) => self.shell(Effect::Unsubscribe { source, content, segment }),
            (None, Some(lease)) => self.give_lease_back(lease),
            (None, None) => {}
        }
    }

    fn stop_all(&mut self, content: ContentTag) {
        let segments: Vec<u32> =
            self.jobs.get(&content).map(|job| job.flows.keys().copied().collect()).unwrap_or_default();
        for segment in segments {
            self.drop_flow(content, segment);
        }
    }

    /// More of a segment is verified: `prefix` blocks of it in all.
    pub(super) fn on_blocks(&mut self, now: Duration, content: ContentTag, segment: u32, prefix: u32) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        if segment >= job.have.len() || job.have.has(segment) {
            return;
        }
        (job.last_byte, job.rejoins) = (now, 0);
        let total = job.blocks_of(segment);
        let Some(flow) = job.flows.get_mut(&segment) else {
            // A last piece of a flow that was dropped meanwhile.
            let known = job.prefixes.entry(segment).or_default();
            *known = prefix.max(*known);
            if *known >= total {
                self.complete(now, content, segment);
            }
            return;
        };
        let gained = prefix.saturating_sub(flow.prefix);
        flow.on_blocks(now, prefix);
        let (lease, run, gap) = (flow.lease, flow.run, flow.gap);
        if run.is_some() {
            job.flows.values_mut().filter(|flow| flow.run == run).for_each(|flow| flow.on_run(now, gap));
        }
        if let Some(lease) = lease {
            self.on_read(now, lease, gained);
        }
        if prefix >= total {
            self.complete(now, content, segment);
        }
    }

    fn complete(&mut self, now: Duration, content: ContentTag, segment: u32) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        job.prefixes.remove(&segment);
        job.have.insert(segment);
        let lease = job.flows.remove(&segment).and_then(|flow| flow.lease);
        job.gifts.values_mut().for_each(|gift| gift.told = now);
        self.report(now, content, segment);
        if let Some(lease) = lease {
            self.flush(content);
            self.on_segment_read(lease, segment);
        }
        self.answer_subscribers(now, content);
    }

    /// A segment is whole: told when some have come together.
    fn report(&mut self, now: Duration, content: ContentTag, segment: u32) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        job.done.push(segment);
        // The last of all is told at once: somebody may wait for nothing else.
        let collect = if job.have.is_full() { Duration::ZERO } else { job.collect };
        let at = now + collect;
        job.done_at = Some(job.done_at.map_or(at, |known| known.min(at)));
    }

    fn flush(&mut self, content: ContentTag) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        job.done_at = None;
        let segments = std::mem::take(&mut job.done);
        for segments in segments.chunks(DONE_SEGMENTS) {
            self.acts.push_back(Act::Home(Say::Done { content, segments: segments.to_vec() }));
        }
    }

    /// A flow ended without being whole.
    pub(super) fn on_flow_fault(
        &mut self,
        now: Duration,
        content: ContentTag,
        segment: u32,
        source: Peer,
        fault: FlowFault,
    ) {
        let reason = match fault {
            FlowFault::Refused => FailReason::Refused,
            FlowFault::Lacking => FailReason::Lacking,
            FlowFault::Corrupt => FailReason::Corrupt,
        };
        let is_current = |job: &Job| job.flows.get(&segment).is_some_and(|flow| flow.source == Some(source));
        if self.jobs.get(&content).is_some_and(is_current) {
            self.fail(now, content, segment, reason);
        }
    }

    /// Tells the home that a flow is over, and ends it; one that only starves goes on.
    fn fail(&mut self, now: Duration, content: ContentTag, segment: u32, reason: FailReason) {
        let Some(job) = self.jobs.get_mut(&content) else { return };
        let prefix = job.prefix(segment);
        let Some(flow) = job.flows.get(&segment) else { return };
        let source = flow.source_tag();
        if let (FailReason::Stalled | FailReason::Corrupt, Some(peer)) = (reason, flow.source) {
            self.refused.retain(|_, (_, until)| now < *until);
            self.refused.insert(peer, (reason, now + REFUSAL));
        }
        if reason != FailReason::Starved {
            self.drop_flow(content, segment);
        }
        self.acts.push_back(Act::Home(Say::Fail { content, segment, source, reason, prefix }));
    }

    /// Somebody is gone: what came from it is failed, what went to it forgotten.
    pub(super) fn on_peer_down(&mut self, now: Duration, peer: Peer) {
        let contents: Vec<ContentTag> = self.contents().collect();
        for content in contents {
            self.on_not_sought(now, peer, content);
            let Some(job) = self.jobs.get_mut(&content) else { continue };
            job.gifts.retain(|(_, to), _| *to != peer);
            job.subscribers.retain(|subscriber| subscriber.peer != peer);
            let lost = job.flows.iter().filter(|(_, flow)| flow.source == Some(peer)).map(|(segment, _)| *segment);
            for segment in lost.collect::<Vec<_>>() {
                self.fail(now, content, segment, FailReason::Dead);
            }
        }
    }

    /// Somebody found a lie about a block, or this node did (`None`). Whether that is to be acted on: one who only wants others to ask
    /// the origin is not heard for long.
    pub(super) fn on_alarm(&mut self, content: ContentTag, block: u32, teller: Option<Peer>) -> bool {
        let Some(job) = self.jobs.get_mut(&content) else { return false };
        let told = job.alarms.iter().filter(|known| **known == teller).count();
        if block >= job.geometry.block_count() || told >= ALARMS_EACH || job.alarms.len() >= ALARMS {
            return false;
        }
        job.alarms.push(teller);
        true
    }

    /// No home has a place for it: its part in the content ends.
    pub(super) fn give_up(&mut self, content: ContentTag) {
        if self.jobs.contains_key(&content) {
            self.stop_all(content);
            self.jobs.remove(&content);
            self.shell(Effect::Over { content });
        }
    }

    /// The origin has another version: everything of this one ends.
    pub(super) fn on_changed(&mut self, content: ContentTag) {
        if self.jobs.contains_key(&content) {
            self.stop_all(content);
            self.jobs.remove(&content);
            self.shell(Effect::Changed { content });
        }
    }

    /// Flows that it gives now, of all contents.
    fn uploads(&self) -> u32 {
        self.jobs.values().map(|job| job.gifts.len() as u32).sum()
    }

    fn has_upload_room(&self) -> bool {
        self.uploads() < UPLOADS
    }

    fn shell(&mut self, effect: Effect) {
        self.acts.push_back(Act::Shell(effect));
    }
}
