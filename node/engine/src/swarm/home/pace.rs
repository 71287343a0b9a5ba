//! How many leases there are: few, because every one more only divides the line; more, where an origin slows each down.

use super::enter::Succession;
use crate::swarm::constants::{
    HOME_WORTH_STREAM, LEASE_LONG, LEASE_ROUND_TRIPS, LEASE_SEGMENTS, LEASE_SHORT, LEASES, LEASES_BY_RATE, LEASES_MOST,
    SKIP_PACE, TRIAL, TRIAL_HOLD,
};
use std::time::Duration;

/// The line counts as unused when less than this share of a member's line comes from the origin.
const UNUSED: f64 = 0.4;
/// Seconds of a trial that count: readers tell their progress twice in a second, so that one second may be a tenth wrong.
const TRIAL_SECONDS: u32 = 3;
/// A trial must bring this factor: twice as many leases bring much more where an origin slows each down, and what was measured before
/// may be a tenth too low.
const WORTH_IT: f64 = 1.2;

/// What is known of the line to the origin.
#[derive(Debug)]
pub(super) struct Pace {
    leases: u32,
    trial: Trial,
    /// Whether as many as there may be were held against half of them.
    is_checked: bool,
    /// Bytes since `since`.
    bytes: u64,
    since: Duration,
    /// Bytes per second, smoothed; `None` before the first second is over.
    rate: Option<f64>,
    /// The most that it ever was, by the words of those who read.
    peak: f64,
    /// The most by the words of those who take it from them.
    seen: f64,
    round_trip: Duration,
    /// The shortest that it ever was: the others waited in line as well.
    least: Option<Duration>,
    /// Segments of a lease that is worth what it costs, as far as is known.
    extent: u32,
}

#[derive(Debug, Clone, Copy)]
enum Trial {
    /// Nothing is tried before.
    Not { before: Duration },
    /// Twice as many leases, or half as many: their first second does not count.
    Settles { old: u32, rate: f64, until: Duration },
    /// The seconds that count: what they brought, and how many there were.
    Measures { old: u32, rate: f64, brought: f64, seconds: u32 },
}

impl Pace {
    /// Who follows another home finds as many leases as that one gave, and adopts them: what it tried is not tried again at once, while
    /// they end.
    pub(super) fn new(now: Duration, succession: Succession) -> Self {
        let pause = match succession {
            Succession::First => TRIAL * 4,
            Succession::AfterAnother => TRIAL * 8,
        };
        let trial = Trial::Not { before: now + pause };
        Self {
            leases: LEASES,
            trial,
            is_checked: false,
            bytes: 0,
            since: now,
            rate: None,
            peak: 0.0,
            seen: 0.0,
            round_trip: Duration::ZERO,
            least: None,
            extent: 1,
        }
    }

    pub(super) fn leases(&self) -> u32 {
        self.leases
    }

    pub(super) fn on_bytes(&mut self, _now: Duration, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn on_round_trip(&mut self, round_trip: Duration) {
        self.least = Some(self.least.map_or(round_trip, |known| known.min(round_trip)));
        let is_first = self.round_trip.is_zero();
        self.round_trip = if is_first { round_trip } else { (self.round_trip * 3 + round_trip) / 4 };
    }

    /// A lease of so many segments is over after so long, or will be: short ones cost more than they bring.
    pub(super) fn on_lease(&mut self, segments: u32, took: Duration) {
        let round_trip = self.least.unwrap_or_default();
        let short = LEASE_SHORT.max(round_trip * (1 + LEASE_ROUND_TRIPS));
        if took < short {
            self.extent = self.extent.max(segments * 2).min(LEASE_SEGMENTS);
        } else if took > short * LEASE_LONG {
            self.extent = self.extent.min((segments / 2).max(1));
        }
    }

    /// Segments of a lease, where round trips do not ask for more.
    pub(super) fn extent(&self) -> u32 {
        self.extent
    }

    pub(super) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Bits per second of one lease; 0 when unknown.
    pub(super) fn rate_of_lease(&self) -> u64 {
        self.rate.map_or(0, |rate| (rate * 8.0 / f64::from(self.leases)) as u64)
    }

    /// Bytes that one lease brings in this time.
    pub(super) fn bytes_in(&self, time: Duration) -> u64 {
        self.rate.map_or(0, |rate| (rate / f64::from(self.leases) * time.as_secs_f64()) as u64)
    }

    /// How long one lease takes for this; `None` when unknown.
    pub(super) fn time_for(&self, bytes: u64) -> Option<Duration> {
        let rate = self.rate.filter(|rate| *rate > 1.0)?;
        Duration::try_from_secs_f64(bytes as f64 * f64::from(self.leases) / rate).ok()
    }

    /// Somebody got so many bytes per second of what another one reads.
    pub(super) fn on_seen(&mut self, rate: f64) {
        self.seen = self.seen.max(rate);
    }

    /// How long a reader may take to pass over so much: half as quick as the line was at its best, and no longer than the others bear. That
    /// it was so quick takes the word of a reader and of one who did not read: one that lies would leave the next one no time.
    pub(super) fn time_to_skip(&self, bytes: u64) -> Duration {
        let peak = self.peak.min(self.seen);
        let pace = if peak > 1.0 { peak / 2.0 } else { SKIP_PACE as f64 };
        Duration::try_from_secs_f64(bytes as f64 / pace).map_or(HOME_WORTH_STREAM, |time| time.min(HOME_WORTH_STREAM))
    }

    /// Looks at the last second. `line` is what a member's line carries, in bits per second.
    pub(super) fn look(&mut self, now: Duration, line: u64) {
        let elapsed = now.saturating_sub(self.since);
        if elapsed < TRIAL {
            return;
        }
        let rate = self.bytes as f64 / elapsed.as_secs_f64();
        (self.bytes, self.since) = (0, now);
        self.rate = Some(self.rate.map_or(rate, |known| (known + rate) / 2.0));
        let line = line as f64 / 8.0;
        let smoothed = self.rate.unwrap_or(rate);
        self.peak = self.peak.max(smoothed);
        match self.trial {
            Trial::Not { before } if now >= before && rate > 0.0 => self.think(now, smoothed, line),
            Trial::Not { .. } => {}
            Trial::Settles { old, rate, until } if now >= until => {
                self.trial = Trial::Measures { old, rate, brought: 0.0, seconds: 0 };
            }
            Trial::Measures { old, rate: before, brought, seconds } => {
                let (brought, seconds) = (brought + rate, seconds + 1);
                self.trial = Trial::Measures { old, rate: before, brought, seconds };
                // Of too few leases one second is enough.
                if seconds == TRIAL_SECONDS || self.leases < old {
                    self.judge(now, old, before, brought / f64::from(seconds));
                }
            }
            Trial::Settles { .. } => {}
        }
    }

    fn think(&mut self, now: Duration, rate: f64, line: f64) {
        if line > 0.0 && rate >= UNUSED * line {
            let by_rate = (8.0 * rate / line).ceil() as u32;
            self.leases = by_rate.clamp(LEASES, LEASES_BY_RATE).max(self.leases);
        } else if self.leases < LEASES_MOST {
            self.begin_trial(now, rate, (self.leases * 2).min(LEASES_MOST));
        } else if !self.is_checked {
            // A line that grew by itself meanwhile looks like one that more leases made quicker.
            self.is_checked = true;
            self.begin_trial(now, rate, self.leases / 2);
        }
    }

    fn begin_trial(&mut self, now: Duration, rate: f64, leases: u32) {
        self.trial = Trial::Settles { old: self.leases, rate, until: now + TRIAL };
        self.leases = leases;
    }

    fn judge(&mut self, now: Duration, old: u32, before: f64, rate: f64) {
        let is_more = self.leases > old;
        let is_kept = if is_more { rate >= before * WORTH_IT } else { rate * WORTH_IT > before };
        if !is_kept {
            self.leases = old;
        }
        let is_most = self.leases == LEASES_MOST;
        self.is_checked &= !(is_more && is_kept && is_most);
        let pause = match (is_more, is_kept) {
            (true, true) if is_most => TRIAL * TRIAL_SECONDS,
            (true, true) => TRIAL,
            _ => TRIAL_HOLD,
        };
        self.trial = Trial::Not { before: now + pause };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many leases there are in each second, of a line that brings so much with so many at that time.
    fn leases(seconds: u64, brings: impl Fn(u64, u32) -> f64) -> Vec<u32> {
        by_second(Succession::First, seconds, brings)
    }

    fn by_second(succession: Succession, seconds: u64, brings: impl Fn(u64, u32) -> f64) -> Vec<u32> {
        let mut pace = Pace::new(Duration::ZERO, succession);
        let by_second = (1..=seconds).map(|second| {
            let now = Duration::from_secs(second);
            pace.on_bytes(now, (brings(second, pace.leases()) * 1e6) as u64);
            pace.look(now, 0);
            pace.leases()
        });
        by_second.collect()
    }

    #[test]
    fn an_origin_that_slows_each_connection_down_gets_as_many_as_there_may_be_and_keeps_them() {
        let seen = leases(120, |_, leases| f64::from(leases));
        let most = seen.iter().position(|leases| *leases == LEASES_MOST).unwrap();
        assert!(most < 20, "{seen:?}");
        let fewer = seen[most..].iter().filter(|leases| **leases < LEASES_MOST).count();
        assert!((1..=2).contains(&fewer) && seen.last() == Some(&LEASES_MOST), "tried once, and briefly: {seen:?}");
    }

    #[test]
    fn a_line_that_more_leases_only_divide_has_few() {
        let seen = leases(120, |_, _| 10.0);
        let few = seen.iter().filter(|leases| **leases == LEASES).count();
        assert!(few * 3 > seen.len() * 2 && seen.iter().all(|leases| *leases <= LEASES_BY_RATE), "{seen:?}");
    }

    #[test]
    fn who_follows_another_home_tries_more_leases_later() {
        let first = |succession| {
            by_second(succession, 60, |_, _| 10.0).iter().position(|leases| *leases > LEASES).unwrap() as u64
        };
        assert_eq!(first(Succession::First), 3, "the first second is the one with number 0");
        assert_eq!(first(Succession::AfterAnother), 7);
    }

    #[test]
    fn a_line_that_grew_by_itself_does_not_keep_as_many_as_there_may_be() {
        let seen = leases(60, |second, _| {
            if second < 5 {
                1.0
            } else if second < 10 {
                2.0
            } else {
                4.0
            }
        });
        let stretches: Vec<usize> = seen
            .chunk_by(|one, next| one == next)
            .filter(|stretch| stretch[0] == LEASES_MOST)
            .map(<[u32]>::len)
            .collect();
        // The first one it believed for a while; the later ones are trials.
        let (first, later) = stretches.split_first().unwrap();
        assert!(*first < 8 && later.iter().all(|stretch| *stretch == 1 + TRIAL_SECONDS as usize), "{seen:?}");
        assert_eq!(seen.last(), Some(&LEASES_BY_RATE));
    }
}
