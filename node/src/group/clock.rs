//! The time by which certificates live: the machine's clock, except that setting it back extends no life (T-18).
//!
//! From its start a node counts on with the monotonic clock; of that and the machine's clock the later one holds. So a clock
//! that is set back changes nothing until the next start, and one that was ahead for a moment and is put right again
//! locks nobody out.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that was read at the start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start_unix: i64,
    start: Instant,
}

impl Clock {
    /// Starts to count; `at_least` is a time that has surely passed, such as the beginning of the node's own certificate.
    pub(crate) fn start(at_least: i64) -> Self {
        Self { start_unix: unix_now().max(at_least), start: Instant::now() }
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        let elapsed = i64::try_from(self.start.elapsed().as_secs()).unwrap_or(i64::MAX);
        later(self.start_unix, elapsed, unix_now())
    }
}

/// What holds: the time at the start and what has passed since, or the machine's clock if that is later.
fn later(start: i64, elapsed: i64, machine: i64) -> i64 {
    start.saturating_add(elapsed).max(machine)
}

/// Seconds since 1970 by the machine's clock.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 60 * 60;

    #[test]
    fn a_clock_that_is_set_back_extends_no_life() {
        assert_eq!(later(10 * DAY, DAY, 4 * DAY), 11 * DAY);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_believed_while_it_lasts() {
        assert_eq!(later(10 * DAY, DAY, 19 * DAY), 19 * DAY);
        assert_eq!(later(10 * DAY, DAY + 60, 11 * DAY + 60), 11 * DAY + 60);
    }

    #[test]
    fn a_certificate_of_ones_own_says_that_its_first_day_has_come() {
        let tomorrow = unix_now() + DAY;
        assert!(Clock::start(tomorrow).now() >= tomorrow);
        assert!((unix_now() - Clock::start(0).now()).abs() <= 1);
    }
}
