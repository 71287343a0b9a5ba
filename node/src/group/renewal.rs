//! When a certificate is renewed: at half of its life, at a moment of each node's own, again and again while nobody answers.
//!
//! Pure: seconds are arguments, so a week passes in a test in no time.

use std::ops::Range;
use std::time::Duration;

/// What to do about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing for so long.
    Wait(Duration),
    /// Ask an issuer.
    Renew,
    /// It is over: only a new invitation helps.
    Expired,
}

/// First pause after an attempt that failed; each one is twice as long as the one before.
const FIRST_PAUSE: i64 = 30;
/// Longest pause between attempts.
const LONGEST_PAUSE: i64 = 60 * 60;
/// Longest time that is waited without looking again: clocks are put right, files are replaced.
const LONGEST_WAIT: i64 = 60 * 60;
/// What part of the life the moments of all nodes are spread over, after its half.
const SPREAD: i64 = 16;

/// The attempts of one node to renew.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// 0 to 255: this node's place in the spread, so that a fleet that was enrolled at once does not ask at once.
    jitter: u8,
    failures: u32,
    not_before: i64,
}

impl Renewal {
    /// No attempt yet; `jitter` is any byte that differs from node to node.
    #[must_use]
    pub fn new(jitter: u8) -> Self {
        Self { jitter, failures: 0, not_before: i64::MIN }
    }

    /// What to do at `now` about a certificate with this life.
    #[must_use]
    pub fn step(&self, now: i64, life: &Range<i64>) -> Step {
        if now >= life.end {
            return Step::Expired;
        }
        let length = life.end.saturating_sub(life.start);
        let spread = (length / SPREAD).saturating_mul(i64::from(self.jitter)) / 256;
        let due = life.start.saturating_add(length / 2).saturating_add(spread).max(self.not_before);
        match due.saturating_sub(now) {
            ..=0 => Step::Renew,
            wait => Step::Wait(Duration::from_secs(wait.min(LONGEST_WAIT).unsigned_abs())),
        }
    }

    /// Whether the pause after the last attempt is over at `now`.
    #[must_use]
    pub fn may_try(&self, now: i64) -> bool {
        now >= self.not_before
    }

    /// Notes that nobody renewed it at `now`.
    pub fn on_failed(&mut self, now: i64) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        // Between three and five quarters of the pause.
        let pause = pause * 3 / 4 + pause / 2 * i64::from(self.jitter) / 256;
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(pause);
    }

    /// Notes that it was renewed.
    pub fn on_renewed(&mut self) {
        (self.failures, self.not_before) = (0, i64::MIN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: i64 = 24 * 60 * 60;
    const WEEK: Range<i64> = 1_795_132_800..1_795_132_800 + 7 * DAY;

    /// Lives from `start` on and gives the times of attempts, all of which fail, and the time of the end.
    fn attempts(renewal: &mut Renewal, start: i64) -> (Vec<i64>, i64) {
        let (mut now, mut tried) = (start, Vec::new());
        loop {
            match renewal.step(now, &WEEK) {
                Step::Wait(wait) => now += i64::try_from(wait.as_secs()).expect("fits"),
                Step::Renew => {
                    tried.push(now);
                    renewal.on_failed(now);
                }
                Step::Expired => return (tried, now),
            }
        }
    }

    #[test]
    fn nobody_asks_before_half_of_the_life_and_all_have_asked_soon_after() {
        for jitter in [0, 128, 255] {
            let (tried, _) = attempts(&mut Renewal::new(jitter), WEEK.start);
            let first = tried[0] - WEEK.start;
            assert!((7 * DAY / 2..4 * DAY).contains(&first), "{first}");
        }
    }

    #[test]
    fn a_fleet_that_was_enrolled_at_once_is_spread_over_hours() {
        let first = |jitter| attempts(&mut Renewal::new(jitter), WEEK.start).0[0];
        assert!(first(255) - first(0) > 9 * 60 * 60);
    }

    #[test]
    fn pauses_grow_to_an_hour_and_the_attempts_end_with_the_certificate() {
        let (tried, end) = attempts(&mut Renewal::new(0), WEEK.start);
        let pauses: Vec<i64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses[..4], [22, 45, 90, 180]);
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]) && pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(tried.len() > 80, "an issuer that comes back for an hour is met: {}", tried.len());
        assert!((WEEK.end..WEEK.end + LONGEST_PAUSE).contains(&end));
    }

    #[test]
    fn a_renewed_certificate_begins_anew() {
        let mut renewal = Renewal::new(0);
        let half = WEEK.start + 7 * DAY / 2;
        renewal.on_failed(half);
        assert_ne!(renewal.step(half, &WEEK), Step::Renew);
        renewal.on_renewed();
        assert_eq!(renewal.step(half, &WEEK), Step::Renew);
        assert!(matches!(renewal.step(half, &(half..half + 7 * DAY)), Step::Wait(_)));
    }

    proptest! {
        #[test]
        fn no_dates_panic(now in any::<i64>(), start in any::<i64>(), end in any::<i64>(), jitter in any::<u8>()) {
            let mut renewal = Renewal::new(jitter);
            let _ = renewal.step(now, &(start..end));
            renewal.on_failed(now);
            let _ = renewal.step(now, &(start..end));
        }
    }
}
