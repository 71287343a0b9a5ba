//! Which block comes from which source.
//!
//! Peers first, because they spare the origin; the origin for what no usable peer holds. A source that stalls, lies or leaves
//! loses its blocks at once to another one, at the latest the origin, so a peer can cost a bounded delay and nothing more
//! (promise 5). Nothing here is random but the order in which several peers are read.
//!
//! | module | idea |
//! |---|---|
//! | `origin` | which runs of blocks the origin is asked for |
//! | `line` | how long the origin's answers are waited for, and how fast they come |
//! | `peers` | which peers are asked, read from or left alone |
//! | `neighbour` | what one peer is worth to one file |
//! | `reserve` | blocks for which the word of the peers is not enough |
//! | `flight` | a fetch under way, and when its source has stalled |

mod flight;
mod line;
mod neighbour;
mod origin;
mod peers;
mod reserve;

use crate::port::{FetchId, Peer};
use eddy_content::http::RangeSupport;
use eddy_content::{BlockSet, Geometry};
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use flight::Flight;
pub(crate) use flight::{PACE_GRACE, PEER_PACE};
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

    /// Those of the blocks that a fetch of this planner was to bring.
    #[must_use]
    pub fn own(&self, blocks: &BlockSet) -> BlockSet {
        let mut own = BlockSet::new();
        for flight in self.flights.values() {
            own.insert(flight.blocks.clone());
        }
        own.intersection(blocks)
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

    /// How many members' word is needed for what a peer gives.
    pub fn need(&mut self, words: Words) {
        self.words = words;
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

#[cfg(test)]
mod tests;
