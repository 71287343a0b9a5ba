//! What one peer is worth to one file.
//!
//! A peer may be slow, busy, wrong or gone; each costs it the file's trust for a time that is bounded on both sides: long
//! enough that it cannot hold the file up again and again, short enough that a good peer with a bad moment comes back.

use super::PEER_RUN;
use crate::port::PeerFault;
use eddy_content::BlockSet;
use std::time::Duration;

/// How often peers that lack something are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Doublings of that for a peer that holds nothing: who keeps asking in vain is taken for a prober (T-12).
const ASK_DOUBLINGS: u32 = 5;
/// A peer that has too much to do is left alone for this long.
const BUSY_PAUSE: Duration = Duration::from_millis(500);
/// Doublings of that for one that stays busy: else a few busy peers, asked in turn, would keep a block from the origin for ever.
const BUSY_DOUBLINGS: u32 = 7;
/// What a busy peer holds is kept for it for this long; then the origin may be asked.
pub(super) const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// Stalls of one peer after which this file no longer uses it for a while.
const STALLS: u32 = 2;
/// A peer out of use may be tried again after this.
const BAR: Duration = Duration::from_secs(60);

/// Bytes of one request to a peer of which nothing is known, and of the smallest to a slow one: a segment.
const FIRST_RUN: u64 = 2 * 1024 * 1024;
const SHORTEST_RUN: u64 = 1024 * 1024;
/// A request should take about this long: long enough that what it costs does not matter, short enough that little is lost
/// with it and that the next one in the peer's line does not wait for long.
const RUN_TIME_MS: u128 = 250;

/// What a peer has brought on all its flights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) bytes: u64,
    pub(super) last_byte: Duration,
}

/// What is known of one peer in the matter of this file.
#[derive(Debug, Clone, Default)]
pub(super) struct Neighbour {
    pub(super) line: Line,
    /// Bytes of the next request, once one has ended; and the line when it had arrived.
    run: Option<u64>,
    last_served: Line,
    pub(super) holds: BlockSet,
    pub(super) asked: Option<Duration>,
    is_answered: bool,
    stalls: u32,
    barred_until: Option<Duration>,
    pub(super) busy_since: Option<Duration>,
    /// Requests in a row that it was too busy for.
    busy_answers: u32,
    /// Answers in a row that named no block.
    empty_answers: u32,
}

impl Neighbour {
    pub(super) fn is_usable(&self, now: Duration) -> bool {
        self.barred_until.is_none_or(|until| now >= until)
    }

    /// When to ask again; `None` before the first time.
    pub(super) fn next_ask(&self) -> Option<Duration> {
        let pause = ASK_AGAIN * (1 << self.empty_answers.min(ASK_DOUBLINGS));
        self.asked.map(|asked| asked + pause)
    }

    /// Usable, or busy since a moment ago.
    pub(super) fn may_soon_serve(&self, now: Duration) -> bool {
        let is_briefly_busy = self.busy_since.is_some_and(|since| now.saturating_sub(since) < BUSY_PATIENCE);
        match self.busy_since {
            Some(_) => is_briefly_busy,
            None => self.is_usable(now),
        }
    }

    /// A short pause does not end a long one: several requests may fail together.
    fn leave_alone_until(&mut self, until: Duration) {
        self.barred_until = self.barred_until.max(Some(until));
    }

    fn bar(&mut self, now: Duration) {
        self.stalls = 0;
        self.leave_alone_until(now + BAR);
        self.forget_answer();
    }

    fn forget_answer(&mut self) {
        self.holds = BlockSet::new();
        self.is_answered = true;
    }

    /// It failed this file.
    pub(super) fn on_fault(&mut self, now: Duration, fault: PeerFault) {
        match fault {
            PeerFault::Busy => {
                self.busy_since.get_or_insert(now);
                self.leave_alone_until(now + BUSY_PAUSE * (1 << self.busy_answers.min(BUSY_DOUBLINGS)));
                self.busy_answers = self.busy_answers.saturating_add(1);
            }
            PeerFault::Lied => self.bar(now),
            // Says that it has the blocks and then does not give them: whatever the reason, not for ever.
            PeerFault::Gone | PeerFault::NotHere | PeerFault::Stalled => {
                self.stalls += 1;
                self.leave_alone_until(now + BUSY_PAUSE);
                if self.stalls >= STALLS {
                    self.bar(now);
                }
            }
        }
    }

    /// Bytes of the next request to it.
    pub(super) fn run(&self) -> u64 {
        self.run.unwrap_or(FIRST_RUN)
    }

    /// It gave everything of a request that began when its line was `begun`. The next ones are as long as it gives in
    /// [`RUN_TIME_MS`], and at most twice as long as the last.
    pub(super) fn on_served(&mut self, begun: Line) {
        let since = if begun.last_byte > self.last_served.last_byte { begun } else { self.last_served };
        let took = (self.line.last_byte - since.last_byte).as_millis();
        let brought = self.line.bytes - since.bytes;
        let doubled = (self.run() * 2).min(PEER_RUN);
        let paced =
            (u128::from(brought) * RUN_TIME_MS).checked_div(took).map_or(doubled, |run| doubled.min(run as u64));
        self.run = Some((paced - paced % SHORTEST_RUN).max(SHORTEST_RUN));
        self.last_served = self.line;
    }

    /// It gave bytes.
    pub(super) fn on_bytes(&mut self, now: Duration, bytes: u64) {
        self.line.bytes += bytes;
        self.line.last_byte = now;
        self.busy_since = None;
        self.busy_answers = 0;
    }

    /// It was read from without being asked: what became of that is its answer.
    pub(super) fn on_read_unasked(&mut self) {
        self.is_answered = true;
    }

    /// It said what it holds.
    pub(super) fn on_holds(&mut self, blocks: BlockSet) {
        self.is_answered = true;
        self.empty_answers = if blocks.is_empty() { self.empty_answers.saturating_add(1) } else { 0 };
        self.holds = blocks;
    }

    /// Whether an answer is still to come.
    pub(super) fn owes_answer(&self) -> bool {
        self.asked.is_some() && !self.is_answered
    }

    /// When another decision about it may be due.
    pub(super) fn timeouts(&self) -> impl Iterator<Item = Duration> {
        let patience = self.busy_since.map(|since| since + BUSY_PATIENCE);
        [self.barred_until, patience, self.next_ask()].into_iter().flatten()
    }
}
