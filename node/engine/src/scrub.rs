//! How fast the scrub goes (C-30): every held byte is read once within 30 days, at most 5 MB in a second, when nobody else
//! wants the disk.
//!
//! A pass is due half of the time after the last one's end, so that a disk that is often busy has the other half for it. One that
//! is five days late goes on at a tenth of the rate also while jobs run.

use std::time::Duration;

/// Most bytes that are read in a second.
pub const MOST_PER_SECOND: u64 = 5_000_000;
/// The time in which everything is to be read once, in seconds.
const PERIOD: i64 = 30 * 24 * 3600;
/// How long a pass that is due waits for idle hours, in seconds.
const GRACE: i64 = 5 * 24 * 3600;
/// The pause after a step, and while jobs run. Each step costs a commit, so it is not one of a second's bytes.
const PAUSE: Duration = Duration::from_secs(4);
/// Bytes of one step.
const STEP: u64 = MOST_PER_SECOND * PAUSE.as_secs();
/// Bytes of one step of a late pass while jobs run.
const LATE_STEP: u64 = STEP / 10;
/// The longest pause between two looks whether a pass is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What the pace depends on. Times are seconds of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The present.
    pub now: i64,
    /// When the last pass ended.
    pub last_pass: Option<i64>,
    /// When the present pass began.
    pub pass_began: Option<i64>,
    /// Whether jobs run.
    pub is_busy: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Read so many bytes, then wait for that long.
    Step(u64, Duration),
    /// Wait for that long.
    Wait(Duration),
}

/// Decides what the scrub does next.
#[must_use]
pub fn pace(facts: Facts) -> Pace {
    let Facts { now, last_pass, pass_began, is_busy } = facts;
    // What was never looked through is due, and nobody knows since when.
    let due = last_pass.map_or(i64::MIN, |last| last.saturating_add(PERIOD / 2));
    let left = u64::try_from(due.saturating_sub(now)).unwrap_or(0);
    if pass_began.is_none() && left > 0 {
        return Pace::Wait(Duration::from_secs(left).min(LONGEST_PAUSE));
    }
    let is_late = now > due.max(pass_began.unwrap_or(i64::MIN)).saturating_add(GRACE);
    match (is_busy, is_late) {
        (false, _) => Pace::Step(STEP, PAUSE),
        (true, true) => Pace::Step(LATE_STEP, PAUSE),
        (true, false) => Pace::Wait(PAUSE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600;

    /// Scrubs `held` bytes for `days`, busy when `is_busy` says so; the ends of the passes and the most that was read in a second.
    fn run(held: u64, days: i64, is_busy: impl Fn(i64) -> bool) -> (Vec<i64>, u64) {
        let (mut now, mut last_pass, mut pass_began, mut done) = (0, None, None, 0);
        let (mut ends, mut most) = (Vec::new(), 0);
        while now < days * DAY {
            match pace(Facts { now, last_pass, pass_began, is_busy: is_busy(now) }) {
                Pace::Wait(pause) => now += pause.as_secs() as i64,
                Pace::Step(bytes, pause) => {
                    pass_began.get_or_insert(now);
                    most = most.max(bytes / pause.as_secs());
                    done += bytes;
                    now += pause.as_secs() as i64;
                    if done >= held {
                        ends.push(now);
                        (last_pass, pass_began, done) = (Some(now), None, 0);
                    }
                }
            }
        }
        (ends, most)
    }

    #[test]
    fn everything_is_read_within_thirty_days_and_never_faster_than_five_megabytes_a_second() {
        for (held, is_busy) in [
            (1, (|_| false) as fn(i64) -> bool),
            (500_000_000_000, |_| false),
            // Busy all day, idle at night.
            (500_000_000_000, |now| now % DAY < 16 * 3600),
            // Never idle.
            (200_000_000_000, |_| true),
        ] {
            let (ends, most) = run(held, 120, is_busy);
            assert!(most <= MOST_PER_SECOND);
            assert!(ends.len() >= 3, "{held}: {ends:?}");
            let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.clone().all(|gap| gap <= 30 * DAY), "{held}: {:?}", gaps.collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_small_cache_is_not_read_again_and_again() {
        let (ends, _) = run(10_000_000, 60, |_| false);
        assert_eq!(ends.len(), 4, "{ends:?}");
    }

    #[test]
    fn who_is_busy_is_left_alone_until_the_pass_is_late() {
        let busy = |day, pass_began: Option<i64>| {
            let pass_began = pass_began.map(|day| day * DAY);
            pace(Facts { now: day * DAY, last_pass: Some(0), pass_began, is_busy: true })
        };
        assert_eq!(busy(16, None), Pace::Wait(PAUSE));
        assert_eq!(busy(21, None), Pace::Step(LATE_STEP, PAUSE));
        assert_eq!(busy(21, Some(17)), Pace::Wait(PAUSE));
        assert_eq!(busy(23, Some(17)), Pace::Step(LATE_STEP, PAUSE));
    }

    #[test]
    fn a_clock_that_jumps_back_delays_a_pass_by_no_more_than_its_period() {
        let facts = Facts { now: 0, last_pass: Some(10_000 * DAY), pass_began: None, is_busy: false };
        assert_eq!(pace(facts), Pace::Wait(LONGEST_PAUSE));
    }
}
