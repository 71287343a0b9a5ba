//! A running average of the rate, and what it says about the time that is left.

use std::time::Duration;

/// Time constant of the average: long enough to be calm, short enough to follow.
const WINDOW: Duration = Duration::from_secs(3);

/// An exponentially weighted average rate of bytes.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    started: Option<Duration>,
    last: Duration,
    pending: u64,
    rate: f64,
    total: u64,
}

impl Meter {
    /// Counts `bytes` that arrived by `now`.
    pub fn count(&mut self, now: Duration, bytes: u64) {
        self.total += bytes;
        if self.started.is_none() {
            // The first bytes open the first interval; they did not arrive during it.
            self.started = Some(now);
            self.last = now;
            return;
        }
        self.pending += bytes;
        let elapsed = now.saturating_sub(self.last).as_secs_f64();
        if elapsed >= 0.05 {
            let weight = 1.0 - (-elapsed / WINDOW.as_secs_f64()).exp();
            let sample = self.pending as f64 / elapsed;
            // The first sample stands for itself; an average from zero would lie for three windows.
            self.rate = if self.rate == 0.0 { sample } else { self.rate + weight * (sample - self.rate) };
            self.pending = 0;
            self.last = now;
        }
    }

    /// Bytes per second; sinks towards zero while nothing comes.
    #[must_use]
    pub fn rate(&self, now: Duration) -> f64 {
        let silence = now.saturating_sub(self.last).as_secs_f64();
        if silence > 1.0 { self.rate * (-(silence - 1.0) / WINDOW.as_secs_f64()).exp() } else { self.rate }
    }

    /// Bytes counted in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How long `remaining` bytes will take at the present rate, or `None` when nothing moves.
    #[must_use]
    pub fn eta(&self, now: Duration, remaining: u64) -> Option<Duration> {
        let rate = self.rate(now);
        (rate >= 1.0).then(|| Duration::try_from_secs_f64(remaining as f64 / rate).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_is_measured_as_it_is() {
        let mut meter = Meter::default();
        for tick in 0..200u64 {
            meter.count(Duration::from_millis(tick * 100), 100_000);
        }
        let now = Duration::from_millis(19_900);
        assert!((meter.rate(now) - 1e6).abs() < 2e4, "{}", meter.rate(now));
        assert_eq!(meter.eta(now, 10_000_000).map(|d| d.as_secs()), Some(10));
        assert_eq!(meter.total(), 20_000_000);
    }

    #[test]
    fn silence_ends_the_forecast() {
        let mut meter = Meter::default();
        meter.count(Duration::ZERO, 0);
        meter.count(Duration::from_secs(1), 1000);
        assert_eq!(meter.eta(Duration::from_secs(120), 1), None);
        assert_eq!(Meter::default().eta(Duration::ZERO, 5), None);
    }
}
