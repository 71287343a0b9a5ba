//! A token bucket in virtual time: how much may pass by now, and when the next may.
//!
//! It keeps one instant instead of a level (the "virtual scheduling" form of GCRA, ITU-T I.371 annex A), so nothing has to
//! be topped up while time goes by, and nothing is lost to rounding but less than a nanosecond for each take.

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// So much a second, and at most `burst` at once.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    /// When it will be full again; full since then when that is past.
    full_at: Duration,
}

impl Bucket {
    /// A full bucket that fills at `rate` a second. Neither number is zero: zeros count as one.
    #[must_use]
    pub fn new(rate: u64, burst: u64) -> Self {
        Self { rate: rate.max(1), burst: burst.max(1), full_at: Duration::ZERO }
    }

    /// When `amount` may pass, if nothing else does before it; more than fits into the bucket may when it is full.
    #[must_use]
    pub fn ready_at(&self, now: Duration, amount: u64) -> Duration {
        let full_at = self.full_at.max(now) + self.time_of(amount.min(self.burst));
        full_at.saturating_sub(self.time_of(self.burst)).max(now)
    }

    /// Takes `amount`, whether it is there or not: what is missing is waited for by the next.
    pub fn take(&mut self, now: Duration, amount: u64) {
        self.full_at = self.full_at.max(now) + self.time_of(amount);
    }

    /// Takes `amount` if it is there.
    pub fn try_take(&mut self, now: Duration, amount: u64) -> bool {
        let is_there = self.ready_at(now, amount) <= now;
        if is_there {
            self.take(now, amount);
        }
        is_there
    }

    /// Whether nothing was taken that has not come back.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }

    /// The time in which `amount` comes, rounded up.
    fn time_of(&self, amount: u64) -> Duration {
        let nanos = (u128::from(amount) * NANOS).div_ceil(u128::from(self.rate));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate_holds() {
        let mut bucket = Bucket::new(10, 5);
        assert!((0..5).all(|_| bucket.try_take(SECOND, 1)));
        assert!(!bucket.try_take(SECOND, 1));
        assert_eq!(bucket.ready_at(SECOND, 1), SECOND + Duration::from_millis(100));
        assert!(!bucket.is_full(SECOND) && bucket.is_full(SECOND + SECOND / 2));
    }

    #[test]
    fn more_than_fits_waits_for_a_full_bucket_and_is_paid_for_afterwards() {
        let mut bucket = Bucket::new(10, 5);
        assert!(bucket.try_take(SECOND, 50));
        assert_eq!(bucket.ready_at(SECOND, 5), SECOND * 6);
    }

    proptest! {
        /// In no span of time passes more than its share and one burst.
        #[test]
        fn no_span_of_time_sees_more_than_its_share(
            rate in 1u64..1_000_000, burst in 1u64..1_000_000,
            takes in proptest::collection::vec((0u64..2_000, 1u64..10_000), 1..200),
        ) {
            let mut bucket = Bucket::new(rate, burst);
            let (mut now, mut passed) = (Duration::ZERO, Vec::new());
            for (pause, amount) in takes {
                now += Duration::from_micros(pause);
                if amount <= burst && bucket.try_take(now, amount) {
                    passed.push((now, amount));
                }
            }
            for first in 0..passed.len() {
                let mut sum = 0;
                for (at, amount) in &passed[first..] {
                    sum += amount;
                    let share = (*at - passed[first].0).as_nanos() * u128::from(rate) / NANOS;
                    prop_assert!(u128::from(sum) <= share + u128::from(burst) + 1, "{sum} of {share}");
                }
            }
        }
    }
}
