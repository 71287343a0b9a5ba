//! The origin's part of the plan: which runs of blocks it is asked for.

use super::{Order, Planner, Source, run_from};
use crate::port::FetchId;
use eddy_content::http::RangeSupport;
use eddy_content::{BLOCK_SIZE, BlockSet};
use std::ops::Range;
use std::time::Duration;

/// Requests under way to the origin for one file.
pub(super) const ORIGIN_FLIGHTS: usize = 4;
/// Waits for a first byte that a request may still last when the one behind it is sent, so that the line does not rest between the two: one
/// for the answer, and one for a handshake where no connection is idle.
const TAIL_WAITS: u32 = 2;
/// Bytes of the smallest request to the origin (T-29).
const ORIGIN_RUN_MIN: u64 = 1024 * 1024;
/// Bytes of the largest request to the origin: what is lost of parallelism when one connection is slow.
const ORIGIN_RUN_MAX: u64 = 64 * 1024 * 1024;

impl Planner {
    /// Whether the origin is fetching some of these blocks.
    #[must_use]
    pub fn is_origin_fetching(&self, blocks: &BlockSet) -> bool {
        let from_origin = self.flights.values().filter(|flight| flight.source == Source::Origin);
        from_origin
            .into_iter()
            .any(|flight| !blocks.intersection(&BlockSet::from_run(flight.blocks.clone())).is_empty())
    }

    /// Whether a fetch from the origin is under way that nobody has ended.
    #[must_use]
    pub(crate) fn reads_origin(&self) -> bool {
        self.flights.values().any(|flight| flight.source == Source::Origin && !flight.is_aborting)
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

    pub(super) fn plan_origin(
        &mut self,
        now: Duration,
        mut free: BlockSet,
        elsewhere: &BlockSet,
        orders: &mut Vec<Order>,
    ) {
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
            let places = ORIGIN_FLIGHTS + self.ending(now).min(ORIGIN_FLIGHTS);
            (places.saturating_sub(under_way), self.origin_run(free.len()))
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

    /// Requests to the origin that will be over when another one, sent now, gets its first byte. Those that began together end together,
    /// and the line would rest while all of the next ones wait.
    fn ending(&self, now: Duration) -> usize {
        let of_origin = self.flights.values().filter(|flight| flight.source == Source::Origin);
        let going =
            of_origin.filter_map(|flight| Some((flight.left(self.geometry), flight.going(now, self.geometry)?)));
        going.filter(|(left, going)| self.origin_line.is_over_by(*left, *going, TAIL_WAITS)).count()
    }

    /// The end of a request that starts at `start` and has about `longest` blocks: a segment's end.
    fn segment_end(&self, start: u32, longest: u32) -> u32 {
        let last = start.saturating_add(longest.max(1)) - 1;
        self.geometry.blocks_of_segment(self.geometry.segment_of(last.min(self.geometry.block_count() - 1))).end
    }
}
