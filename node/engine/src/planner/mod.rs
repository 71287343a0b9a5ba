//! Which block comes from which source.
//!
//! Peers first, because they spare the origin; the origin for what no usable peer holds. A source that stalls, lies or leaves
//! loses its blocks at once to another one, at the latest the origin, so a peer can cost a bounded delay and nothing more
//! (promise 5). Nothing here is random but the order in which several peers are read.

mod flight;
mod line;
mod neighbour;
mod reserve;

use crate::port::{FetchId, Peer, PeerFault};
use eddy_content::http::RangeSupport;
use eddy_content::{BLOCK_SIZE, BlockSet, Geometry};
use rand::RngExt;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

#[cfg(test)]
use flight::ABORT_GRACE;
use flight::Flight;
pub use flight::{PEER_STALL, Source};
use line::OriginLine;
use neighbour::{Line, Neighbour};
use reserve::Reserve;

/// How long answers of peers are waited for before the origin is used.
pub const ANSWER_WAIT: Duration = Duration::from_millis(300);
/// Bytes of the largest request to a peer; see [`Neighbour::run`].
const PEER_RUN: u64 = 16 * 1024 * 1024;
/// Requests under way to one peer for one file.
const FLIGHTS_PER_PEER: usize = 3;
/// Peers that are asked for their word about one run of blocks: each answer costs milliseconds of signature checks.
const MOST_VOUCHERS: usize = 8;
/// Requests under way to the origin for one file.
const ORIGIN_FLIGHTS: usize = 4;
/// Bytes of the smallest request to the origin (T-29).
const ORIGIN_RUN_MIN: u64 = 1024 * 1024;
/// Bytes of the largest request to the origin: what is lost of parallelism when one connection is slow.
const ORIGIN_RUN_MAX: u64 = 64 * 1024 * 1024;

/// The planner of one file.
#[derive(Debug)]
pub struct Planner {
    geometry: Geometry,
    /// What is to be there in the end.
    wanted: BlockSet,
    /// The block that comes first where that is said; those before it come last.
    position: u32,
    held: BlockSet,
    flights: BTreeMap<FetchId, Flight>,
    neighbours: BTreeMap<Peer, Neighbour>,
    ranges: RangeSupport,
    origin_line: OriginLine,
    /// Whether somebody reads it from its beginning while it comes.
    is_read_along: bool,
    /// Whose word is needed.
    words: Words,
    /// Blocks for which the word of the peers is not enough.
    reserve: Reserve,
    origin_not_before: Duration,
    /// When the first peers were asked: the origin waits for answers once, not whenever somebody new turns up.
    first_asked: Option<Duration>,
    /// When it was last thought about.
    seen: Duration,
}

/// How many members' word is needed for what a peer gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// That of one.
    One,
    /// That of several, which are asked before anything is read.
    Several,
}

/// One thing that the plan wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Begin a fetch.
    Fetch {
        /// From where.
        source: Source,
        /// Which blocks.
        blocks: Range<u32>,
    },
    /// End a fetch whose source has stalled.
    Abort {
        /// Which.
        fetch: FetchId,
    },
    /// Ask these peers what they hold.
    Ask {
        /// Whom.
        peers: Vec<Peer>,
    },
}

impl Planner {
    /// The planner of an entity of which `held` is there already.
    #[must_use]
    pub fn new(geometry: Geometry, held: BlockSet, ranges: RangeSupport) -> Self {
        Self {
            geometry,
            wanted: BlockSet::from_run(geometry.all_blocks()),
            position: 0,
            held,
            flights: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            ranges,
            origin_line: OriginLine::default(),
            is_read_along: false,
            words: Words::One,
            reserve: Reserve::default(),
            origin_not_before: Duration::ZERO,
            first_asked: None,
            seen: Duration::ZERO,
        }
    }

    /// The same when no more than these blocks is wanted, that one first.
    #[must_use]
    pub fn wanting(self, wanted: BlockSet, position: u32) -> Self {
        Self { wanted, position, ..self }
    }

    /// The same for a file that somebody reads from its beginning while it comes.
    #[must_use]
    pub fn read_along(self) -> Self {
        Self { is_read_along: true, ..self }
    }

    /// Something else is wanted from now on, and begun with that block.
    pub fn want(&mut self, wanted: BlockSet, position: u32) {
        (self.wanted, self.position) = (wanted, position);
    }

    /// The block that comes first.
    #[must_use]
    pub fn position(&self) -> u32 {
        self.position
    }

    /// Whether every block of the entity is durable, wanted or not.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.held.contains_run(self.geometry.all_blocks())
    }

    /// The blocks that are to be there in the end.
    #[must_use]
    pub fn wanted(&self) -> &BlockSet {
        &self.wanted
    }

    /// The block behind the last that is wanted.
    #[must_use]
    pub fn wanted_end(&self) -> u32 {
        self.wanted.runs().last().map_or(0, |run| run.end)
    }

    /// The blocks that are durable.
    #[must_use]
    pub fn held(&self) -> &BlockSet {
        &self.held
    }

    /// The geometry of the entity.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Whether the origin serves ranges, as far as is known.
    #[must_use]
    pub fn ranges(&self) -> RangeSupport {
        self.ranges
    }

    /// Whether a range of the origin's body can be asked for, as far as is known.
    #[must_use]
    pub fn serves_ranges(&self) -> bool {
        self.ranges != RangeSupport::No
    }

    /// Whether some of these blocks are kept for the origin.
    #[must_use]
    pub fn is_reserved(&self, now: Duration, blocks: &Range<u32>) -> bool {
        !self.reserve.blocks(now).intersection(&BlockSet::from_run(blocks.clone())).is_empty()
    }

    /// Whether every wanted block is durable.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        has_all(&self.held, &self.wanted)
    }

    /// Whether a fetch is still under way.
    #[must_use]
    pub fn has_flights(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Whether a fetch from a peer is still under way.
    #[must_use]
    pub fn has_peer_flights(&self) -> bool {
        self.flights.values().any(|flight| matches!(flight.source, Source::Peer(_)) && !flight.is_aborting)
    }

    /// Those of the blocks that a fetch of this planner was to bring.
    #[must_use]
    pub fn own(&self, blocks: &BlockSet) -> BlockSet {
        let mut own = BlockSet::new();
        for flight in self.flights.values() {
            own.insert(flight.blocks.clone());
        }
        own.intersection(blocks)
    }

    /// Whether the origin is fetching some of these blocks.
    #[must_use]
    pub fn is_origin_fetching(&self, blocks: &BlockSet) -> bool {
        let from_origin = self.flights.values().filter(|flight| flight.source == Source::Origin);
        from_origin
            .into_iter()
            .any(|flight| !blocks.intersection(&BlockSet::from_run(flight.blocks.clone())).is_empty())
    }

    /// The fetches under way.
    pub fn fetches(&self) -> impl Iterator<Item = FetchId> + '_ {
        self.flights.keys().copied()
    }

    /// Where a fetch comes from, if it is this planner's.
    #[must_use]
    pub fn source_of(&self, fetch: FetchId) -> Option<Source> {
        self.flights.get(&fetch).map(|flight| flight.source)
    }

    /// Number of peers that hold something that is of use now.
    #[must_use]
    pub fn useful_peers(&self, now: Duration) -> usize {
        self.neighbours.values().filter(|n| n.is_usable(now) && !n.holds.is_empty()).count()
    }

    /// Enters a fetch that was begun.
    pub fn begin(&mut self, now: Duration, fetch: FetchId, source: Source, blocks: Range<u32>) {
        let line = self.line_of(source);
        let mut flight = Flight::new(now, source, blocks, line);
        if let Source::Peer(peer) = source
            && self.neighbours.get(&peer).is_some_and(Neighbour::owes_answer)
        {
            flight.is_question = true;
        }
        self.flights.insert(fetch, flight);
    }

    /// Enters the body that came with the origin's first answer, `waited` after the question.
    pub fn begin_answered(&mut self, now: Duration, fetch: FetchId, blocks: Range<u32>, waited: Option<Duration>) {
        self.flights.insert(fetch, Flight::answered(now, blocks));
        if let Some(waited) = waited {
            self.origin_line.on_first_byte(waited);
        }
    }

    /// What a source that is a peer has brought on all flights.
    fn line_of(&self, source: Source) -> Line {
        let Source::Peer(peer) = source else { return Line::default() };
        self.neighbours.get(&peer).map(|neighbour| neighbour.line).unwrap_or_default()
    }

    /// Bytes of a fetch arrived.
    pub fn on_bytes(&mut self, now: Duration, fetch: FetchId, bytes: u64) {
        let Some(flight) = self.flights.get_mut(&fetch) else { return };
        let mut line = Line::default();
        if let Source::Peer(peer) = flight.source
            && let Some(neighbour) = self.neighbours.get_mut(&peer)
        {
            neighbour.on_bytes(now, bytes);
            line = neighbour.line;
        }
        if flight.source == Source::Origin
            && let Some(waited) = flight.waits_since(now)
        {
            self.origin_line.on_first_byte(waited);
        }
        flight.on_bytes(now, bytes, line);
    }

    /// Blocks are durable; those of them that were not before.
    pub fn on_committed(&mut self, blocks: &BlockSet) -> BlockSet {
        let blocks = blocks.intersection(&BlockSet::from_run(self.geometry.all_blocks()));
        let gain = blocks.difference(&self.held);
        self.held.union_with(&gain);
        for flight in self.flights.values_mut().filter(|flight| !flight.has_brought) {
            flight.has_brought = !gain.intersection(&BlockSet::from_run(flight.blocks.clone())).is_empty();
        }
        gain
    }

    /// Blocks are no longer held.
    pub fn on_damaged(&mut self, blocks: &BlockSet) {
        self.held.difference_with(blocks);
    }

    /// Those of the blocks that fetches from peers bring.
    #[must_use]
    pub fn from_peers(&self, blocks: &BlockSet) -> BlockSet {
        let of_peers = self.flights.values().filter(|flight| matches!(flight.source, Source::Peer(_)));
        let brought: BlockSet = of_peers.map(|flight| flight.blocks.clone()).collect();
        brought.intersection(blocks)
    }

    /// Whom to ask for their word about `blocks` that are read from `peer`: it first, then others that hold some of them or have
    /// not said.
    #[must_use]
    pub fn vouchers(&self, now: Duration, peer: Peer, blocks: &Range<u32>) -> Vec<Peer> {
        let blocks = BlockSet::from_run(blocks.clone());
        let holds = |n: &Neighbour| n.is_usable(now) && (n.owes_answer() || !n.holds.intersection(&blocks).is_empty());
        let others = self.neighbours.iter().filter(|(other, n)| **other != peer && holds(n)).map(|(other, _)| *other);
        std::iter::once(peer).chain(others).take(MOST_VOUCHERS).collect()
    }

    /// Too few members vouch for these blocks for now: the origin gives them.
    pub fn on_unwitnessed(&mut self, now: Duration, blocks: &BlockSet) {
        self.reserve.for_a_while(now, blocks);
    }

    /// What was believed about these blocks is doubtful: they are held no more, and only the origin gives them.
    pub fn on_doubted(&mut self, blocks: &BlockSet) {
        self.held.difference_with(blocks);
        self.reserve.for_good(blocks);
    }

    /// Those of the blocks that are not held.
    pub(crate) fn lacking(&self, blocks: Range<u32>) -> Vec<Range<u32>> {
        let blocks = blocks.start..blocks.end.min(self.geometry.block_count());
        BlockSet::from_run(blocks).difference(&self.held).runs().collect()
    }

    /// A fetch is told to end.
    pub(crate) fn abort(&mut self, now: Duration, fetch: FetchId) {
        if let Some(flight) = self.flights.get_mut(&fetch) {
            flight.abort(now);
        }
    }

    /// Every fetch that is not told yet is told to end; those that were not.
    pub(crate) fn abort_all(&mut self, now: Duration) -> Vec<FetchId> {
        let under_way = self.flights.iter_mut().filter(|(_, flight)| !flight.is_aborting);
        under_way.map(|(fetch, flight)| (*fetch, flight.abort(now)).0).collect()
    }

    /// A fetch is over: its blocks that are not held are free for another source. Whether it was good for anything.
    pub fn on_ended(&mut self, fetch: FetchId) -> bool {
        let Some(flight) = self.flights.remove(&fetch) else { return false };
        if let Source::Peer(peer) = flight.source
            && let Some(neighbour) = self.neighbours.get_mut(&peer)
        {
            if flight.is_question {
                neighbour.on_read_unasked();
            }
            if flight.has_arrived(self.geometry) {
                neighbour.on_served(flight.begun());
            }
        }
        if flight.source == Source::Origin
            && let Some(brought_in) = flight.brought_in()
        {
            self.origin_line.on_ended(flight.bytes, brought_in);
        }
        flight.has_brought || self.held.contains_run(flight.blocks)
    }

    /// Ends what would bring only blocks that are held or not wanted; what has arrived whole ends by itself.
    pub fn abort_superfluous(&mut self) -> Vec<FetchId> {
        let mut superfluous = Vec::new();
        for (fetch, flight) in self.flights.iter_mut().filter(|(_, flight)| !flight.is_aborting) {
            let bytes = self.geometry.bytes_of(flight.blocks.clone());
            let brings = BlockSet::from_run(flight.blocks.clone()).intersection(&self.wanted);
            if flight.bytes < bytes.end - bytes.start && has_all(&self.held, &brings) {
                flight.is_aborting = true;
                superfluous.push(*fetch);
            }
        }
        superfluous
    }

    /// A peer failed this file.
    pub fn on_peer_fault(&mut self, now: Duration, peer: Peer, fault: PeerFault) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        match fault {
            // It was read from without being asked, and this is its answer.
            PeerFault::NotHere if neighbour.holds.is_empty() => neighbour.on_holds(BlockSet::new()),
            PeerFault::Busy if neighbour.holds.is_empty() => {
                neighbour.on_holds(BlockSet::from_run(self.geometry.all_blocks()));
                neighbour.on_fault(now, fault);
            }
            fault => neighbour.on_fault(now, fault),
        }
    }

    /// How many members' word is needed for what a peer gives.
    pub fn need(&mut self, words: Words) {
        self.words = words;
    }

    /// A peer said what it holds. One that was not asked, or left, has no say.
    pub fn on_holds(&mut self, peer: Peer, blocks: BlockSet) {
        let Some(neighbour) = self.neighbours.get_mut(&peer) else { return };
        neighbour.on_holds(blocks.intersection(&BlockSet::from_run(self.geometry.all_blocks())));
    }

    /// A peer left: its blocks are free for others with the next plan.
    pub fn on_peer_down(&mut self, peer: Peer) {
        self.neighbours.remove(&peer);
    }

    /// The origin is left alone until then.
    pub fn hold_origin_until(&mut self, until: Duration) {
        self.origin_not_before = until;
    }

    /// The origin turned out not to serve ranges.
    pub fn on_no_ranges(&mut self) {
        self.ranges = RangeSupport::No;
    }

    /// The origin's answer to a fetch shows whether it serves ranges; where it does not, the fetch brings all up to a block.
    pub(crate) fn on_answered(&mut self, fetch: FetchId, ranges: RangeSupport, through: u32) -> Option<Range<u32>> {
        self.ranges = ranges;
        let flight = self.flights.get_mut(&fetch).filter(|_| ranges == RangeSupport::No)?;
        flight.blocks.end = flight.blocks.end.max(through.min(self.geometry.block_count()));
        Some(flight.blocks.clone())
    }

    /// Whether a fetch from the origin is under way that nobody has ended.
    #[must_use]
    pub(crate) fn reads_origin(&self) -> bool {
        self.flights.values().any(|flight| flight.source == Source::Origin && !flight.is_aborting)
    }

    /// Takes note of the time: what is due by now has been thought of.
    pub fn see(&mut self, now: Duration) {
        self.seen = now;
    }

    /// Decides what to do now, with `peers` connected and the blocks of `elsewhere` on their way for another file.
    pub fn plan(&mut self, now: Duration, peers: &[Peer], elsewhere: &BlockSet, rng: &mut SmallRng) -> Vec<Order> {
        self.see(now);
        let mut orders = self.stalled(now);
        if self.is_complete() {
            return orders;
        }
        let mut free = self.free_blocks(now);
        free.difference_with(elsewhere);
        let mut asked = self.due_questions(now, peers);
        if let Some(peer) = self.read_at_once(now, &free, &mut asked, rng) {
            orders.push(Order::Fetch { source: Source::Peer(peer), blocks: self.geometry.all_blocks() });
            free = BlockSet::new();
        }
        if !asked.is_empty() {
            orders.push(Order::Ask { peers: asked });
        }
        self.plan_peers(now, &mut free, &mut orders, rng);
        self.plan_origin(now, free, elsewhere, &mut orders);
        orders
    }

    /// When [`Self::plan`] may decide otherwise than it did last, though nothing happens.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let stalls = self.flights.values().filter(|flight| {
            matches!(flight.source, Source::Peer(_)) && !flight.is_aborting && !flight.has_arrived(self.geometry)
        });
        let stalls = stalls.map(|flight| flight.stalls_at(self.line_of(flight.source)));
        let answers = self.first_asked.map(|asked| asked + ANSWER_WAIT);
        let neighbours = self.neighbours.values().flat_map(Neighbour::timeouts);
        let reserve = self.reserve.timeout();
        let origin = Some(self.origin_not_before).filter(|at| *at < Duration::MAX);
        let freed = self.flights.values().filter_map(Flight::frees_at);
        let all = stalls.chain(freed).chain(answers).chain(neighbours).chain(origin).chain(reserve);
        all.filter(|at| *at > self.seen).min()
    }

    /// Ends the fetches of peers that stalled or left.
    fn stalled(&mut self, now: Duration) -> Vec<Order> {
        let mut stalled = Vec::new();
        for (fetch, flight) in &mut self.flights {
            let Source::Peer(peer) = flight.source else { continue };
            let line = self.neighbours.get(&peer).map(|neighbour| neighbour.line);
            let is_under_way = !flight.is_aborting && !flight.has_arrived(self.geometry);
            if is_under_way && line.is_none_or(|line| now >= flight.stalls_at(line)) {
                flight.abort(now);
                stalled.push((*fetch, peer));
            }
        }
        for (_, peer) in &stalled {
            self.on_peer_fault(now, *peer, PeerFault::Stalled);
        }
        stalled.into_iter().map(|(fetch, _)| Order::Abort { fetch }).collect()
    }

    /// Those of the peers whose turn it is to be asked what they hold, and are.
    fn due_questions(&mut self, now: Duration, peers: &[Peer]) -> Vec<Peer> {
        let mut asked = Vec::new();
        for peer in peers {
            let neighbour = self.neighbours.entry(*peer).or_default();
            let holds_all = has_all(&neighbour.holds, &self.wanted);
            let is_due = neighbour.next_ask().is_none_or(|at| now >= at && !holds_all);
            if is_due && neighbour.is_usable(now) {
                neighbour.asked = Some(now);
                self.first_asked.get_or_insert(now);
                asked.push(*peer);
            }
        }
        asked
    }

    /// One of the peers that are asked about a single block, to be read from without asking: that it does not hold the block is as short an
    /// answer to the one as to the other. Not where somebody is known to hold it, or where one member's word is not enough.
    fn read_at_once(&self, now: Duration, free: &BlockSet, asked: &mut Vec<Peer>, rng: &mut SmallRng) -> Option<Peer> {
        let is_single = self.geometry.block_count() == 1 && !free.is_empty();
        let is_held_by = |neighbour: &Neighbour| !neighbour.holds.is_empty() && neighbour.may_soon_serve(now);
        if !is_single
            || asked.is_empty()
            || self.words != Words::One
            || !self.reserve.blocks(now).is_empty()
            || self.neighbours.values().any(is_held_by)
        {
            return None;
        }
        let chosen = if asked.len() == 1 { 0 } else { rng.random_range(0..asked.len()) };
        Some(asked.remove(chosen))
    }

    /// Blocks that nobody is fetching. What has not arrived of a flight that is being ended is free with its end, or a moment
    /// later: then a second copy of a block that still comes is counted as waste by the store, a delay would be felt by the
    /// user. What has arrived of it is on its way to the disk, and free when the flight has ended without it.
    fn free_blocks(&self, now: Duration) -> BlockSet {
        let mut free = self.wanted.clone();
        free.difference_with(&self.held);
        for flight in self.flights.values() {
            free.remove(flight.keeps(now));
        }
        free
    }

    fn plan_peers(&mut self, now: Duration, free: &mut BlockSet, orders: &mut Vec<Order>, rng: &mut SmallRng) {
        let mut places: Vec<(Peer, usize)> = self
            .neighbours
            .iter()
            .filter(|(_, n)| n.is_usable(now) && !n.holds.is_empty())
            .map(|(peer, _)| (*peer, FLIGHTS_PER_PEER.saturating_sub(self.flights_of(Source::Peer(*peer)))))
            .collect();
        let in_order = places.len() == 1 || self.position > 0;
        let reserved = self.reserve.blocks(now).intersection(free);
        free.difference_with(&reserved);
        while !free.is_empty() {
            let mut is_progress = false;
            for (peer, left) in &mut places {
                if *left == 0 {
                    continue;
                }
                let neighbour = &self.neighbours[peer];
                let (offered, longest) = (neighbour.holds.intersection(free), neighbour.run() / BLOCK_SIZE);
                let Some(run) = choose_run(&offered, longest as u32, (in_order, self.position), rng) else { continue };
                free.remove(run.clone());
                orders.push(Order::Fetch { source: Source::Peer(*peer), blocks: run });
                *left -= 1;
                is_progress = true;
            }
            if !is_progress {
                break;
            }
        }
        free.union_with(&reserved);
    }

    fn plan_origin(&mut self, now: Duration, mut free: BlockSet, elsewhere: &BlockSet, orders: &mut Vec<Order>) {
        if now < self.origin_not_before || self.awaits_answers(now) {
            return;
        }
        // What a usable peer holds is left to it, even if it is occupied now; not where its word is not enough.
        let reserved = self.reserve.blocks(now);
        for neighbour in self.neighbours.values().filter(|n| n.may_soon_serve(now)) {
            free.difference_with(&neighbour.holds.difference(&reserved));
        }
        let under_way = self.flights_of(Source::Origin);
        if self.ranges == RangeSupport::No {
            // One stream from the first byte; a second would cost a second copy, for whomever it is.
            if let (0, true, Some(run)) = (under_way, elsewhere.is_empty(), free.first_run()) {
                orders.push(Order::Fetch { source: Source::Origin, blocks: run.start..self.wanted_end() });
            }
            return;
        }
        let of_origin = self.flights.values().filter(|flight| flight.source == Source::Origin);
        for (bytes, since) in of_origin.filter_map(|flight| flight.going(now, self.geometry)) {
            self.origin_line.on_going(bytes, since);
        }
        let (places, longest) = if self.is_read_along && self.origin_line.is_one_enough() {
            // Whoever reads along has no use yet for what is further on: by the time it gets there, that is in memory no more.
            let longest = if self.origin_line.is_wide() { ORIGIN_RUN_MAX } else { self.equal_share(free.len()) };
            (1_usize.saturating_sub(self.arriving()), longest)
        } else {
            (ORIGIN_FLIGHTS.saturating_sub(under_way), self.origin_run(free.len()))
        };
        let longest = (longest.clamp(ORIGIN_RUN_MIN, ORIGIN_RUN_MAX) / BLOCK_SIZE) as u32;
        for _ in 0..places {
            let Some(run) = run_from(&free, self.position) else { break };
            let run = run.start..self.segment_end(run.start, longest).min(run.end);
            free.remove(run.clone());
            orders.push(Order::Fetch { source: Source::Origin, blocks: run });
        }
    }

    /// Bytes of one origin request: the free ones over twice the flights, so that all end together though one is slower; where each
    /// request waits for its first byte, more, up to an equal share of all that is to come.
    fn origin_run(&self, free: u32) -> u64 {
        let share = u64::from(free) * BLOCK_SIZE / (2 * ORIGIN_FLIGHTS as u64);
        share.max(self.equal_share(free).min(self.origin_line.worth_a_wait()))
    }

    /// Bytes of an equal share, for each of several connections, of the free blocks and of what is still to come from the origin.
    fn equal_share(&self, free: u32) -> u64 {
        let coming = self.flights.values().filter(|f| f.source == Source::Origin).map(|f| f.left(self.geometry));
        (u64::from(free) * BLOCK_SIZE + coming.sum::<u64>()) / ORIGIN_FLIGHTS as u64
    }

    /// Requests to the origin of which bytes are still to come, but the first one: its body may have been read before it was planned.
    fn arriving(&self) -> usize {
        let later = self.flights.values().filter(|f| f.source == Source::Origin && !f.is_first_answer);
        later.filter(|flight| !flight.has_arrived(self.geometry)).count()
    }

    /// The end of a request that starts at `start` and has about `longest` blocks: a segment's end.
    fn segment_end(&self, start: u32, longest: u32) -> u32 {
        let last = start.saturating_add(longest.max(1)) - 1;
        self.geometry.blocks_of_segment(self.geometry.segment_of(last.min(self.geometry.block_count() - 1))).end
    }

    /// Whether answers of the first peers are still waited for.
    fn awaits_answers(&self, now: Duration) -> bool {
        let is_time = self.first_asked.is_some_and(|asked| now < asked + ANSWER_WAIT);
        is_time && self.neighbours.values().any(Neighbour::owes_answer)
    }

    fn flights_of(&self, source: Source) -> usize {
        self.flights.values().filter(|flight| flight.source == source).count()
    }
}

/// The first run at or behind a block; where there is none, the first of all.
fn run_from(blocks: &BlockSet, position: u32) -> Option<Range<u32>> {
    match position {
        0 => blocks.first_run(),
        _ => blocks.intersection(&BlockSet::from_run(position..u32::MAX)).first_run().or_else(|| blocks.first_run()),
    }
}

/// Whether all of these blocks are there.
fn has_all(there: &BlockSet, blocks: &BlockSet) -> bool {
    blocks.runs().all(|run| there.contains_run(run))
}

/// At most `longest` blocks: the lowest run when there is one peer; a random place when there are several, so that they are
/// read side by side and neighbours that start together soon have different blocks to give.
fn choose_run(
    offered: &BlockSet,
    longest: u32,
    (in_order, position): (bool, u32),
    rng: &mut SmallRng,
) -> Option<Range<u32>> {
    let runs = offered.run_count();
    if runs == 0 {
        return None;
    }
    if in_order {
        let run = run_from(offered, position)?;
        return Some(run.start..run.end.min(run.start + longest));
    }
    let run = offered.runs().nth(rng.random_range(0..runs))?;
    let pieces = (run.end - run.start).div_ceil(longest);
    let start = run.start + rng.random_range(0..pieces) * longest;
    Some(start..run.end.min(start + longest))
}

#[cfg(test)]
mod tests;
