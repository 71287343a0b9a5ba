//! One content at its home: who wants and has which segment, and who takes it from whom.

use super::Home;
use super::tempo::Tempo;
use crate::port::Peer;
use crate::swarm::bits::Bits;
use crate::swarm::constants::{FIRST_COPIES, REFUSAL, REFUSAL_DOUBLINGS, RESCUE, RUN_SEGMENTS};
use crate::swarm::name::{Content, LeaseId, Order, Reading};
use crate::trust::Sharing;
use eddy_content::Geometry;
use std::collections::BTreeSet;
use std::time::Duration;

/// Words of 8 bytes that a segment takes, without who takes it from whom.
const SEGMENT_WORDS: u64 = 20;
/// Words that a member's part in a content takes, without its bits.
const STAKE_WORDS: u64 = 64;

/// One content.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) content: Content,
    pub(super) geometry: Geometry,
    /// How the origin serves it, as the answers to its readers show.
    pub(super) shown: Reading,
    /// By slot.
    pub(super) stakes: Vec<Option<Stake>>,
    pub(super) segments: Vec<Segment>,
    /// Segments that somebody can be sent to somebody for.
    pub(super) available: Bits,
    /// Whose answers to the query about holdings are still to come.
    pub(super) awaited: BTreeSet<Peer>,
    /// Sources are given from then on, or when all have answered.
    opens: Duration,
    /// Leases are.
    reads_from: Duration,
    next_opening: Option<Duration>,
    /// What members are receiving who have not joined yet.
    expected: Vec<Expected>,
    pub(super) touched: Duration,
    pub(super) is_retired: bool,
    /// Segments that nobody held or read when it was last counted.
    pub(super) unread: u32,
    /// Who looks at one block for sure.
    pub(super) watcher: Watcher,
    /// Of how many it was drawn.
    pub(super) drawn_among: u32,
    /// Requests to the only holder of what they bring, when somebody was last given something.
    pub(super) first_copies: u32,
    /// How many of them one member may have.
    first_copies_each: u32,
    /// Whether somebody alone has a segment that nobody takes.
    pub(super) has_unbegun: bool,
    /// Slots of those of whom one that was alone said that they lack what they hold.
    pub(super) doubted: BTreeSet<u32>,
    /// Slots of readers that say that the origin has another version.
    pub(super) changed: BTreeSet<u32>,
    /// Times that a reader of the stream lost it because it did not get on.
    pub(super) streams_lost: u32,
    pub(super) tempo: Tempo,
}

/// What somebody is receiving who has not joined yet.
#[derive(Debug)]
struct Expected {
    slot: u32,
    segments: Bits,
    until: Duration,
}

/// Who of those that take a content looks at one block of it for sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watcher {
    /// Nobody yet.
    Nobody,
    /// This slot.
    Slot(u32),
    /// One that has all of it and so has looked.
    Done,
}

/// What one member has to do with a content.
#[derive(Debug)]
pub(super) struct Stake {
    /// The order in which it wants what it lacks; `None` of one that only gives.
    pub(super) wants: Option<Order>,
    pub(super) have: Bits,
    pub(super) under_way: Bits,
    /// Flows from members.
    pub(super) flows: u32,
    /// Sources that failed it.
    refused: Vec<Refusal>,
    /// When something was last under way for it.
    pub(super) busy: Duration,
    /// Whether it stands in the queue for a free source.
    pub(super) is_waiting: bool,
    /// Whether something of it came from a member, so that there is something to look at twice.
    pub(super) believes: bool,
    /// How it was told to share second fetches.
    pub(super) told: Option<Sharing>,
}

/// A source that failed a member.
#[derive(Debug, Clone, Copy)]
struct Refusal {
    source: u32,
    /// Until when it is not sent there.
    until: Duration,
    /// Times that it gave nothing, since it last gave something.
    in_a_row: u32,
}

/// One segment.
#[derive(Debug, Default)]
pub(super) struct Segment {
    /// Members that have it and may be sources.
    pub(super) holders: u32,
    pub(super) lease: Option<LeaseId>,
    /// Of a lease of several segments only what is being read is open to children.
    pub(super) is_open: bool,
    /// No lease before: a child of the dead reader may have a part of it.
    pub(super) hold_until: Duration,
    /// The member with the longest part of it, and how long that is.
    pub(super) best: Option<(u32, u32)>,
    /// Who has it or receives it.
    pub(super) sources: Vec<u32>,
    /// Who takes it from whom, by slot; only those who do, since members can make a home know many others.
    links: Vec<(u32, Link)>,
    pub(super) under_way: u32,
}

/// Where a member takes a segment from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum From {
    /// Nowhere.
    #[default]
    Nowhere,
    /// The origin.
    Origin,
    /// A member.
    Member(u32),
}

/// One flow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Link {
    pub(super) from: From,
    /// Bits per second that were set aside for it.
    pub(super) rate: u64,
    pub(super) lane: Lane,
    /// When it was given.
    pub(super) since: Duration,
    /// When it was first said to starve though its source has the segment.
    pub(super) starves: Option<Duration>,
}

/// Whether a flow is a request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lane {
    /// It is.
    #[default]
    Own,
    /// It comes behind another one, by the same request.
    Shared,
}

impl Link {
    pub(super) fn new(from: From, rate: u64) -> Self {
        Self { from, rate, lane: Lane::Own, since: Duration::ZERO, starves: None }
    }

    /// Flows that it counts for at its source.
    pub(super) fn children(self) -> u32 {
        u32::from(self.lane == Lane::Own)
    }
}

impl Segment {
    pub(super) fn link(&self, slot: u32) -> Link {
        self.place(slot).map(|place| self.links[place].1).unwrap_or_default()
    }

    /// Who takes it from somebody, ascending.
    pub(super) fn linked(&self) -> impl Iterator<Item = (u32, Link)> + '_ {
        self.links.iter().copied()
    }

    /// Whether it only waits behind others in a run that somebody began alone: nothing of it comes yet, and the one that has it need not give it
    /// to two.
    pub(super) fn is_behind(&self) -> bool {
        self.holders == 1 && !self.links.is_empty() && self.links.iter().all(|(_, link)| link.lane == Lane::Shared)
    }

    /// Somebody starves behind one that has it. Since when that is known; the first word may have crossed what the source sent.
    pub(super) fn starves(&mut self, now: Duration, slot: u32) -> Duration {
        let place = self.place(slot).ok();
        place.map_or(now, |place| *self.links[place].1.starves.get_or_insert(now))
    }

    fn place(&self, slot: u32) -> Result<usize, usize> {
        self.links.binary_search_by_key(&slot, |(known, _)| *known)
    }

    fn set(&mut self, slot: u32, link: Link) {
        match self.place(slot) {
            Ok(place) if link.from == From::Nowhere => {
                self.links.remove(place);
            }
            Ok(place) => self.links[place].1 = link,
            Err(place) if link.from != From::Nowhere => self.links.insert(place, (slot, link)),
            Err(_) => {}
        }
    }

    fn drop_source(&mut self, slot: u32) {
        if let Some(place) = self.sources.iter().position(|source| *source == slot) {
            self.sources.swap_remove(place);
        }
    }
}

impl Board {
    pub(super) fn new(now: Duration, content: Content, geometry: Geometry) -> Self {
        let count = geometry.segment_count();
        Self {
            content,
            geometry,
            shown: Reading::Unknown,
            stakes: Vec::new(),
            segments: (0..count).map(|_| Segment::default()).collect(),
            available: Bits::none(count),
            awaited: BTreeSet::new(),
            opens: now,
            reads_from: now,
            next_opening: None,
            expected: Vec::new(),
            touched: now,
            is_retired: false,
            unread: count,
            watcher: Watcher::Nobody,
            drawn_among: 0,
            first_copies: 0,
            first_copies_each: FIRST_COPIES,
            has_unbegun: false,
            doubted: BTreeSet::new(),
            changed: BTreeSet::new(),
            streams_lost: 0,
            tempo: Tempo::new(now),
        }
    }

    /// Whether sources are given.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        self.awaited.is_empty() || now >= self.opens
    }

    /// Whether leases are.
    pub(super) fn is_readable(&self, now: Duration) -> bool {
        self.awaited.is_empty() || now >= self.reads_from
    }

    /// When more is given though somebody does not answer.
    pub(super) fn opening(&self) -> Option<Duration> {
        self.next_opening.filter(|_| !self.awaited.is_empty())
    }

    /// Waits for the answers of these, with sources and with leases so long.
    pub(super) fn wait(&mut self, others: BTreeSet<Peer>, opens: Duration, reads_from: Duration) {
        (self.awaited, self.opens, self.reads_from) = (others, opens, reads_from);
        self.next_opening = Some(opens);
    }

    /// Somebody has said what it holds, or never will. Whether it was the last one that was waited for.
    pub(super) fn has_answered(&mut self, peer: &Peer) -> bool {
        self.awaited.remove(peer) && self.awaited.is_empty()
    }

    /// Whether it is time to give more, though somebody does not answer.
    pub(super) fn look_at_opening(&mut self, now: Duration) -> bool {
        if self.opening().is_none_or(|at| now < at) {
            return false;
        }
        if now >= self.reads_from {
            (self.awaited, self.next_opening) = (BTreeSet::new(), None);
        } else {
            self.next_opening = Some(self.reads_from);
        }
        true
    }

    /// Somebody receives these and has not joined yet.
    pub(super) fn expect(&mut self, slot: u32, segments: Bits, until: Duration) {
        self.unexpect(slot);
        self.expected.push(Expected { slot, segments, until });
    }

    /// It has joined, or is gone.
    pub(super) fn unexpect(&mut self, slot: u32) {
        self.expected.retain(|expected| expected.slot != slot);
    }

    /// Whether a segment is read by nobody for now: a child of its reader, who is gone, may have a part, or somebody receives it who is
    /// still to join.
    pub(super) fn is_held_back(&self, now: Duration, segment: u32) -> bool {
        let is_it = |expected: &Expected| now < expected.until && expected.segments.has(segment);
        now < self.segments[segment as usize].hold_until || self.expected.iter().any(is_it)
    }

    pub(super) fn stake(&self, slot: u32) -> Option<&Stake> {
        self.stakes.get(slot as usize).and_then(Option::as_ref)
    }

    pub(super) fn stake_mut(&mut self, slot: u32) -> Option<&mut Stake> {
        self.stakes.get_mut(slot as usize).and_then(Option::as_mut)
    }

    pub(super) fn seat(&mut self, slot: u32, stake: Stake) {
        if self.stakes.len() <= slot as usize {
            self.stakes.resize_with(slot as usize + 1, || None);
        }
        self.stakes[slot as usize] = Some(stake);
    }

    /// Members that want something of it.
    pub(super) fn wanting(&self) -> impl Iterator<Item = (u32, &Stake)> + '_ {
        let stakes = self.stakes.iter().enumerate().filter_map(|(slot, stake)| Some((slot as u32, stake.as_ref()?)));
        stakes.filter(|(_, stake)| stake.wants.is_some() && !stake.have.is_full())
    }

    /// A member says how the origin serves it. That fills a gap and overturns nothing: whoever knows better finds it out with its first
    /// lease, and says so then.
    pub(super) fn hear(&mut self, said: Reading) {
        if self.content.reading == Reading::Unknown {
            self.content.reading = said;
        }
    }

    /// Counts the segments that nobody holds or reads; of a stream those that nobody holds.
    pub(super) fn count_unread(&mut self) {
        let is_stream = self.content.reading == Reading::Stream;
        let is_unread = |segment: &&Segment| segment.holders == 0 && (is_stream || segment.lease.is_none());
        let unread = self.segments.iter().filter(is_unread);
        self.unread = unread.count() as u32;
    }

    /// Counts the requests to the only holder of what they bring, and by how many members they are shared.
    pub(super) fn count_first_copies(&mut self) {
        let begun = (0..self.segments.len() as u32).filter(|s| self.first_taker(*s).is_some());
        self.first_copies = begun.count() as u32;
        self.first_copies_each = FIRST_COPIES.div_ceil((self.wanting().count() as u32).max(1));
        self.has_unbegun = self.segments.iter().any(|segment| segment.holders == 1 && segment.sources.len() == 1);
    }

    /// Of those, how many are counted for `n`.
    pub(super) fn first_copies_of(&self, n: u32) -> u32 {
        let Some(stake) = self.stake(n) else { return 0 };
        stake.under_way.iter().filter(|s| self.first_taker(*s) == Some(n)).count() as u32
    }

    /// Who takes by a request of its own from the only holder; of several that do, one.
    fn first_taker(&self, s: u32) -> Option<u32> {
        let segment = &self.segments[s as usize];
        if segment.holders != 1 {
            return None;
        }
        let is_from_holder = |link: &Link| match link.from {
            From::Member(p) => link.lane == Lane::Own && self.stake(p).is_some_and(|stake| stake.have.has(s)),
            From::Nowhere | From::Origin => false,
        };
        segment.linked().find(|(_, link)| is_from_holder(link)).map(|(n, _)| n)
    }

    /// How many segments that one alone has `n` may be given at once where others may still come: one more than it has, as a window grows. Whoever
    /// comes first would otherwise take what all are waiting for, and its line alone would carry it on.
    pub(super) fn start(&self, n: u32) -> u32 {
        self.stake(n).map_or(0, |stake| stake.have.count()) + 1
    }

    /// Whether `n` has as many first copies as one may have: they are spread over all, since the line of the one that takes it carries it on.
    pub(super) fn has_its_share(&self, n: u32) -> bool {
        let is_shared = self.first_copies_each < FIRST_COPIES;
        let most = if is_shared { self.first_copies_each.min(self.start(n) + 1) } else { FIRST_COPIES };
        self.first_copies_of(n) >= most
    }

    /// Whether `n` may begin no segment that one member alone has. Never one that has nothing under way: the others may be slow, or never end.
    pub(super) fn is_capped(&self, n: u32) -> bool {
        let is_idle = self.stake(n).is_none_or(|stake| stake.flows == 0);
        !is_idle && (self.first_copies >= FIRST_COPIES || self.has_its_share(n))
    }

    /// About how many words of memory it takes.
    pub(super) fn words(&self) -> u64 {
        let segments = self.segments.len() as u64;
        let stakes = self.stakes.iter().flatten().count() as u64;
        segments * SEGMENT_WORDS + stakes * (STAKE_WORDS + segments / 16) + 4 * self.awaited.len() as u64
    }

    /// Gives back what it takes.
    pub(super) fn clear(&mut self) {
        (self.segments, self.stakes, self.available) = (Vec::new(), Vec::new(), Bits::none(0));
        (self.is_retired, self.awaited, self.expected) = (true, BTreeSet::new(), Vec::new());
        self.doubted = BTreeSet::new();
    }

    fn refresh(&mut self, segment: u32) {
        let state = &self.segments[segment as usize];
        if !state.sources.is_empty() && (state.holders > 0 || state.is_open || state.lease.is_none()) {
            self.available.insert(segment);
        } else {
            self.available.remove(segment);
        }
    }

    /// Opens the next segments of a lease to children.
    pub(super) fn open(&mut self, segment: u32) {
        self.segments[segment as usize].is_open = true;
        self.refresh(segment);
    }
}

impl Stake {
    pub(super) fn new(now: Duration, wants: Option<Order>, have: Bits) -> Self {
        let under_way = Bits::none(have.len());
        let (refused, told) = (Vec::new(), None);
        Self { wants, have, under_way, flows: 0, refused, busy: now, is_waiting: false, believes: false, told }
    }

    pub(super) fn lacks(&self, segment: u32) -> bool {
        self.wants.is_some() && !self.have.has(segment)
    }

    pub(super) fn is_refused(&self, now: Duration, source: u32) -> bool {
        self.refused.iter().any(|refusal| refusal.source == source && now < refusal.until)
    }

    /// What an earlier stake of the same member knows of its sources.
    pub(super) fn keep_sources(&mut self, before: &mut Self) {
        self.refused = std::mem::take(&mut before.refused);
        self.believes = before.believes;
    }

    /// A source gave something.
    pub(super) fn is_given_by(&mut self, source: u32) {
        self.believes = true;
        self.refused.retain(|refusal| refusal.source != source);
    }

    /// A source would give nothing: it is asked again after a moment, and later each time. Were that as long as one bears that has nothing
    /// else to hope for ([`RESCUE`]), it would be sent there again and again.
    pub(super) fn refuse_for_now(&mut self, now: Duration, source: u32) {
        let before = self.refused.iter().find(|refusal| refusal.source == source).map_or(0, |refusal| refusal.in_a_row);
        self.refuse(now, source, now + (RESCUE * (1 << before.min(REFUSAL_DOUBLINGS))).min(REFUSAL));
        if let Some(refusal) = self.refused.last_mut() {
            refusal.in_a_row = before + 1;
        }
    }

    /// It is not sent to this source before then.
    pub(super) fn refuse(&mut self, now: Duration, source: u32, until: Duration) {
        // What is over is remembered for as long as it may count.
        self.refused.retain(|refusal| refusal.source != source && now < refusal.until + REFUSAL);
        self.refused.push(Refusal { source, until, in_a_row: 0 });
    }
}

impl Home {
    /// Enters a flow of somebody who has none of that segment.
    pub(super) fn link(&mut self, now: Duration, b: u32, s: u32, n: u32, link: Link) {
        self.unlink(b, s, n);
        let board = &mut self.boards[b as usize];
        let Some(stake) = board.stake_mut(n) else { return };
        stake.under_way.insert(s);
        stake.busy = now;
        if let From::Member(p) = link.from {
            stake.flows += 1;
            let source = &mut self.seats[p as usize];
            source.children += link.children();
            source.given += 1;
            self.given += 1;
            source.committed = source.committed.saturating_add(link.rate);
        }
        let segment = &mut board.segments[s as usize];
        segment.set(n, Link { since: now, ..link });
        segment.under_way += 1;
        segment.sources.push(n);
        board.refresh(s);
    }

    /// Takes a flow out.
    pub(super) fn unlink(&mut self, b: u32, s: u32, n: u32) {
        let board = &mut self.boards[b as usize];
        let segment = &mut board.segments[s as usize];
        let link = segment.link(n);
        if link.from == From::Nowhere {
            return;
        }
        segment.set(n, Link::default());
        self.seats[n as usize].withdraw(b, s);
        segment.under_way -= 1;
        segment.drop_source(n);
        if segment.under_way == 0 {
            segment.links = Vec::new();
        }
        board.refresh(s);
        if let Some(stake) = board.stake_mut(n) {
            stake.under_way.remove(s);
            stake.flows -= u32::from(matches!(link.from, From::Member(_)));
        }
        if let From::Member(p) = link.from {
            let source = &mut self.seats[p as usize];
            source.children = source.children.saturating_sub(link.children());
            source.committed = source.committed.saturating_sub(link.rate);
            if link.lane == Lane::Own {
                self.promote(b, s, (n, p));
            }
        }
    }

    /// The request goes on behind its first segment: the next one of the run stands for it at its source.
    fn promote(&mut self, b: u32, s: u32, (n, p): (u32, u32)) {
        let segments = &mut self.boards[b as usize].segments;
        let end = segments.len().min((s + RUN_SEGMENTS) as usize);
        let of_source = (s as usize + 1..end).find(|next| segments[*next].link(n).from == From::Member(p));
        let Some(next) = of_source.filter(|next| segments[*next].link(n).lane == Lane::Shared) else { return };
        let link = Link { lane: Lane::Own, ..segments[next].link(n) };
        segments[next].set(n, link);
        self.seats[p as usize].children += link.children();
    }

    /// A member that may be a source has a segment.
    pub(super) fn add_holder(&mut self, b: u32, s: u32, n: u32) {
        let board = &mut self.boards[b as usize];
        let segment = &mut board.segments[s as usize];
        if !segment.sources.contains(&n) {
            segment.sources.push(n);
            segment.holders += 1;
        }
        board.refresh(s);
    }

    /// What a member has counts no more.
    pub(super) fn drop_holder(&mut self, b: u32, s: u32, n: u32) {
        let board = &mut self.boards[b as usize];
        let segment = &mut board.segments[s as usize];
        if segment.sources.contains(&n) {
            segment.drop_source(n);
            segment.holders = segment.holders.saturating_sub(1);
        }
        board.refresh(s);
    }
}
