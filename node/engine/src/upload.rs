//! Who may send next when the administrator limits uploads: within the rate of all, within that of each peer, fair between
//! peers.
//!
//! Fair means bytes, not questions: of all peers that wait and may, the one that has had least goes first, however many reads
//! it has under way (start-time fair queuing). Who comes back from a pause starts where the others are: silence saves nothing up.

use crate::bucket::Bucket;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// The part of a second's bytes that may leave at once: short enough for a line not to notice.
const BURST_PART: u64 = 20;
/// A burst is at least this, so that what is asked for at once fits.
const LEAST_BURST: u64 = 64 * 1024;

/// Bytes a second; `None` is as fast as it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UploadLimits {
    /// To all peers together.
    pub all: Option<u64>,
    /// To each peer.
    pub each: Option<u64>,
}

impl UploadLimits {
    /// Whether anything is limited.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.all.is_some() || self.each.is_some()
    }
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn<T> {
    /// This one may send.
    Go(T),
    /// Nobody may before then.
    At(Duration),
    /// Nobody waits.
    Nobody,
}

/// Those who wait for their turn: `P` names a peer, `T` what it wants to send.
#[derive(Debug)]
pub struct Turns<P, T> {
    all: Option<Bucket>,
    each: Option<u64>,
    lanes: HashMap<P, Lane<T>>,
    /// What the peer that was served last had had before: where a newcomer starts.
    level: u64,
}

#[derive(Debug)]
struct Lane<T> {
    bucket: Option<Bucket>,
    /// Bytes that it has had, counted from a common beginning.
    had: u64,
    waiting: VecDeque<(u64, T)>,
}

impl<P: Clone + Eq + Hash + Ord, T> Turns<P, T> {
    /// Nobody waits yet.
    #[must_use]
    pub fn new(limits: UploadLimits) -> Self {
        Self { all: limits.all.map(bucket), each: limits.each, lanes: HashMap::new(), level: 0 }
    }

    /// A peer wants to send `bytes`. The caller bounds how many may wait.
    pub fn ask(&mut self, peer: P, bytes: u64, what: T) {
        let (each, level) = (self.each, self.level);
        let lane = self.lanes.entry(peer);
        let lane = lane.or_insert_with(|| Lane { bucket: each.map(bucket), had: level, waiting: VecDeque::new() });
        if lane.waiting.is_empty() {
            lane.had = lane.had.max(level);
        }
        lane.waiting.push_back((bytes, what));
    }

    /// Who may send now. To be called until it names a time, or nobody.
    pub fn poll(&mut self, now: Duration) -> Turn<T> {
        if self.lanes.values().all(|lane| lane.waiting.is_empty()) {
            // Nobody is behind anybody.
            self.level = self.lanes.values().map(|lane| lane.had).fold(self.level, u64::max);
        }
        // A peer that has gone is forgotten when the others have caught up, and its bucket would be full again.
        let level = self.level;
        self.lanes.retain(|_, lane| {
            let is_owing = lane.bucket.as_ref().is_some_and(|bucket| !bucket.is_full(now));
            !lane.waiting.is_empty() || lane.had > level || is_owing
        });
        let ready = |lane: &Lane<T>| lane.ready_at(self.all.as_ref(), now);
        let next = self.lanes.iter().filter_map(|(peer, lane)| Some((ready(lane)?.max(now), lane.had, peer)));
        let Some((at, had, peer)) = next.min() else { return Turn::Nobody };
        if at > now {
            return Turn::At(at);
        }
        let peer = peer.clone();
        let lane = self.lanes.get_mut(&peer);
        let Some((lane, (bytes, what))) = lane.and_then(|lane| lane.waiting.pop_front().map(|next| (lane, next)))
        else {
            return Turn::Nobody;
        };
        self.level = had;
        lane.had = lane.had.saturating_add(bytes);
        for bucket in self.all.iter_mut().chain(&mut lane.bucket) {
            bucket.take(now, bytes);
        }
        Turn::Go(what)
    }
}

impl<T> Lane<T> {
    /// When its first may go; `None` when none waits.
    fn ready_at(&self, all: Option<&Bucket>, now: Duration) -> Option<Duration> {
        let (bytes, _) = self.waiting.front()?;
        all.into_iter().chain(&self.bucket).map(|bucket| bucket.ready_at(now, *bytes)).max().or(Some(now))
    }
}

fn bucket(rate: u64) -> Bucket {
    Bucket::new(rate, burst(rate))
}

fn burst(rate: u64) -> u64 {
    (rate / BURST_PART).max(LEAST_BURST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STEP: u64 = 64 * 1024;
    const MIB: u64 = 1 << 20;

    /// Peers that always want more, each with so many reads under way; gives what each had in `span`.
    fn race(limits: UploadLimits, reads: &[usize], span: Duration) -> Vec<u64> {
        let mut turns = Turns::new(limits);
        for (peer, reads) in reads.iter().enumerate() {
            (0..*reads).for_each(|_| turns.ask(peer, STEP, peer));
        }
        let (mut now, mut had) = (Duration::ZERO, vec![0; reads.len()]);
        while now < span {
            match turns.poll(now) {
                Turn::Go(peer) => {
                    had[peer] += STEP;
                    turns.ask(peer, STEP, peer);
                }
                Turn::At(later) => {
                    assert!(later > now, "time stands still");
                    now = later;
                }
                Turn::Nobody => unreachable!("all want more"),
            }
        }
        had
    }

    #[test]
    fn peers_get_equal_shares_however_many_reads_they_have() {
        let limits = UploadLimits { all: Some(10 * MIB), each: None };
        let had = race(limits, &[1, 8, 3], Duration::from_secs(10));
        let sum: u64 = had.iter().sum();
        assert!((99 * MIB..=101 * MIB).contains(&sum), "{had:?}");
        assert!(had.iter().all(|had| had.abs_diff(sum / 3) <= 2 * STEP), "{had:?}");
    }

    #[test]
    fn who_asks_for_one_step_after_another_gets_no_more_than_who_asks_for_many() {
        let mut turns = Turns::new(UploadLimits { all: Some(MIB), each: None });
        (0..100).for_each(|_| turns.ask("many", STEP, "many"));
        let (mut now, mut order) = (Duration::ZERO, Vec::new());
        let mut is_away = true;
        while order.len() < 40 {
            if std::mem::replace(&mut is_away, false) {
                turns.ask("one", STEP, "one");
            }
            match turns.poll(now) {
                Turn::Go(who) => {
                    order.push(who);
                    // It hears of its turn later, when somebody has looked again.
                    is_away = who == "one";
                    if is_away && let Turn::At(later) = turns.poll(now) {
                        now = later;
                    }
                }
                Turn::At(later) => now = later,
                Turn::Nobody => unreachable!("both want more"),
            }
        }
        assert_eq!(order.iter().filter(|who| **who == "one").count(), 20, "{order:?}");
    }

    #[test]
    fn a_peer_alone_gets_its_own_limit_and_no_more() {
        let limits = UploadLimits { all: Some(100 * MIB), each: Some(2 * MIB) };
        let had = race(limits, &[8, 1], Duration::from_secs(10));
        assert!(had.iter().all(|had| (19 * MIB..=21 * MIB).contains(had)), "{had:?}");
    }

    #[test]
    fn what_one_may_not_have_goes_to_the_others() {
        let mut turns = Turns::new(UploadLimits { all: Some(10 * MIB), each: Some(MIB) });
        // Its own bucket is empty, so the one behind it goes.
        turns.ask(1, MIB, "much");
        turns.ask(1, STEP, "later");
        turns.ask(2, STEP, "other");
        let now = Duration::ZERO;
        assert_eq!(turns.poll(now), Turn::Go("much"));
        let Turn::At(at) = turns.poll(now) else { panic!("the common bucket is empty") };
        assert_eq!(turns.poll(at), Turn::Go("other"));
    }

    #[test]
    fn silence_saves_nothing_up() {
        let mut turns = Turns::new(UploadLimits { all: Some(MIB), each: None });
        turns.ask("early", STEP, "early");
        let mut now = Duration::ZERO;
        for _ in 0..1000 {
            match turns.poll(now) {
                Turn::Go(_) => turns.ask("early", STEP, "early"),
                Turn::At(later) => now = later,
                Turn::Nobody => unreachable!("it wants more"),
            }
        }
        (0..10).for_each(|_| turns.ask("late", STEP, "late"));
        let mut order = Vec::new();
        while order.len() < 4 {
            match turns.poll(now) {
                Turn::Go(who) => {
                    order.push(who);
                    turns.ask(who, STEP, who);
                }
                Turn::At(later) => now = later,
                Turn::Nobody => unreachable!("both want more"),
            }
        }
        assert_eq!(order.iter().filter(|who| **who == "late").count(), 2, "{order:?}");
    }

    #[test]
    fn peers_that_are_gone_are_forgotten() {
        let mut turns = Turns::new(UploadLimits { all: None, each: Some(MIB) });
        for peer in 0..1000 {
            turns.ask(peer, STEP, ());
            assert_eq!(turns.poll(Duration::from_secs(peer)), Turn::Go(()));
        }
        assert_eq!(turns.poll(Duration::from_secs(1001)), Turn::Nobody);
        assert!(turns.lanes.is_empty());
    }

    proptest! {
        /// Whatever is asked for: all of it goes, each peer's in its order, and never faster than the limits.
        #[test]
        fn all_goes_in_order_and_within_the_limits(
            all in proptest::option::of(STEP..100 * MIB), each in proptest::option::of(STEP..100 * MIB),
            asks in proptest::collection::vec((0u8..5, 1..=STEP, 0u64..50), 1..200),
        ) {
            let mut turns = Turns::new(UploadLimits { all, each });
            let (mut now, mut gone) = (Duration::ZERO, Vec::new());
            let run = |turns: &mut Turns<u8, (u8, usize, u64)>, now: Duration, gone: &mut Vec<_>| loop {
                match turns.poll(now) {
                    Turn::Go(what) => gone.push((now, what)),
                    other => return other,
                }
            };
            for (number, (peer, bytes, pause)) in asks.iter().enumerate() {
                turns.ask(*peer, *bytes, (*peer, number, *bytes));
                now += Duration::from_millis(*pause);
                run(&mut turns, now, &mut gone);
            }
            while let Turn::At(later) = run(&mut turns, now, &mut gone) {
                now = later;
            }
            prop_assert_eq!(gone.len(), asks.len());
            for peer in 0..5 {
                let own = |(_, (who, ..)): &&(Duration, (u8, usize, u64))| *who == peer;
                let order: Vec<_> = gone.iter().filter(own).map(|(_, (_, number, _))| *number).collect();
                prop_assert!(order.is_sorted(), "{:?}", order);
                if let Some(rate) = each {
                    let sum: u64 = gone.iter().filter(own).map(|(_, (.., bytes))| bytes).sum();
                    prop_assert!(sum as f64 <= now.as_secs_f64() * rate as f64 + burst(rate) as f64 + 1.0);
                }
            }
            if let Some(rate) = all {
                let sum: u64 = gone.iter().map(|(_, (.., bytes))| bytes).sum();
                prop_assert!(sum as f64 <= now.as_secs_f64() * rate as f64 + burst(rate) as f64 + 1.0);
            }
        }
    }
}
