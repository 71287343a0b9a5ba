//! Whether and when to try again.
//!
//! Better numbers than BITS's 10 minutes: first wait short, doubling, jittered, capped; an origin's `Retry-After` wins.

use crate::job::spec::Patience;
use crate::port::Failure;
use rand::RngExt;
use rand::rngs::SmallRng;
use std::time::Duration;

/// First wait of a job that nobody watches.
const BACKGROUND_FIRST: Duration = Duration::from_secs(60);
/// Longest wait of a job that nobody watches.
const BACKGROUND_LONGEST: Duration = Duration::from_secs(600);
/// First wait of a job that somebody watches.
const WATCHING_FIRST: Duration = Duration::from_secs(1);
/// Longest wait of a job that somebody watches.
const WATCHING_LONGEST: Duration = Duration::from_secs(15);
/// Longest `Retry-After` that is obeyed.
const RETRY_AFTER_LONGEST: Duration = Duration::from_secs(24 * 3600);

/// First pause between two looks after a condition of this machine.
const PROBE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two looks while the condition stands.
const PROBE_LONGEST: Duration = Duration::from_secs(5);
/// Longest pause before the first look, when earlier looks were mistaken: the way was free and the next turn met the same.
const PROBE_MISTAKEN_LONGEST: Duration = Duration::from_secs(60);
/// Looks that may be under way at a time, of all jobs.
pub const PROBES_AT_ONCE: usize = 16;
/// The pause of a look that found no place.
pub const PROBE_LATER: Duration = Duration::from_secs(1);
/// How long a watched job waits for a condition of this node's disk to end before it goes past the cache.
const WATCHING_PAST_CACHE: Duration = Duration::from_secs(30);
/// The same for a job that nobody watches.
const BACKGROUND_PAST_CACHE: Duration = Duration::from_secs(600);

/// Without progress for this long a watched job becomes an error.
pub const WATCHING_NO_PROGRESS: Duration = Duration::from_secs(60);
/// Without progress for this long a background job becomes an error (F-26: 14 days).
pub const BACKGROUND_NO_PROGRESS: Duration = Duration::from_secs(1_209_600);

/// The code of a job that has used up its time of transfer (F-24).
pub const TIME_OVER: &str = "transfer-time-over";

/// The code of a job whose question broke off that is asked once only (F-68).
pub const ASKED_ONCE: &str = "asked-once";

/// Why such a job has stopped when something else stopped it than an answer.
#[must_use]
pub fn broken_off() -> Failure {
    Failure::fatal(
        ASKED_ONCE,
        "it was stopped while its question was under way; whether that had an effect only its origin knows",
    )
}

/// First pause of a host that does not answer, for the jobs that nobody watches.
const HOST_FIRST: Duration = Duration::from_secs(5);
/// Longest pause of such a host.
const HOST_LONGEST: Duration = Duration::from_secs(60);
/// Jobs that a network has woken begin within this time.
const WAKE_WITHIN: Duration = Duration::from_secs(2);

/// The pause before attempt number `attempt` (counted from 1): exponential, with full jitter over the upper half. A job's own
/// wish for the first pause stands in for that of its patience.
#[must_use]
pub fn job_delay(
    (patience, wish): (Patience, Option<Duration>),
    attempt: u32,
    retry_after: Option<Duration>,
    rng: &mut SmallRng,
) -> Duration {
    let (first, longest) = match patience {
        Patience::Watching => (WATCHING_FIRST, WATCHING_LONGEST),
        Patience::Background => (BACKGROUND_FIRST, BACKGROUND_LONGEST),
    };
    let first = wish.unwrap_or(first);
    let longest = longest.max(first);
    let backoff = jittered(first, longest, attempt, rng);
    retry_after.map_or(backoff, |wish| wish.min(RETRY_AFTER_LONGEST).max(backoff))
}

/// How long a host is spared that did not answer so often in a row.
#[must_use]
pub fn host_delay(failures: u32, rng: &mut SmallRng) -> Duration {
    jittered(HOST_FIRST, HOST_LONGEST, failures, rng)
}

/// How long a host is spared that has asked for a pause.
#[must_use]
pub fn host_wish(wish: Duration) -> Duration {
    wish.min(RETRY_AFTER_LONGEST)
}

/// How long a job waits that a network has woken.
#[must_use]
pub fn wake_delay(rng: &mut SmallRng) -> Duration {
    WAKE_WITHIN.mul_f64(rng.random_range(0.0..=1.0))
}

/// The pause before a look whether a condition of this machine has ended: the first after `attempts` turns in a row that met it,
/// or one after `looks` that found it standing.
#[must_use]
pub fn probe_delay(attempts: u32, looks: u32, rng: &mut SmallRng) -> Duration {
    let first = jittered(PROBE_FIRST, PROBE_MISTAKEN_LONGEST, attempts, rng);
    first.max(jittered(PROBE_FIRST, PROBE_LONGEST, looks.saturating_add(1), rng))
}

/// How long a condition of this machine is only looked at; then a turn is given though it stands, past the cache.
#[must_use]
pub fn condition_delay(patience: Patience, rng: &mut SmallRng) -> Duration {
    let longest = match patience {
        Patience::Watching => WATCHING_PAST_CACHE,
        Patience::Background => BACKGROUND_PAST_CACHE,
    };
    jittered(longest, longest, 1, rng)
}

/// The pause before the origin is asked again inside one turn of a job, after `failures` failures in a row.
#[must_use]
pub fn origin_delay(failures: u32, rng: &mut SmallRng) -> Duration {
    jittered(Duration::from_millis(200), Duration::from_secs(5), failures, rng)
}

/// Failures in a row, without a byte between, after which the origin is given up for this turn.
pub const ORIGIN_FAILURES_PER_TURN: u32 = 4;

/// How long a job of this patience is retried without progress.
#[must_use]
pub fn no_progress_timeout(patience: Patience) -> Duration {
    match patience {
        Patience::Watching => WATCHING_NO_PROGRESS,
        Patience::Background => BACKGROUND_NO_PROGRESS,
    }
}

fn jittered(first: Duration, longest: Duration, attempt: u32, rng: &mut SmallRng) -> Duration {
    let doubled = first.saturating_mul(1u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    let full = doubled.min(longest);
    full.mul_f64(rng.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn waits_grow_and_stay_below_the_cap() {
        let mut rng = SmallRng::seed_from_u64(1);
        for attempt in 1..100 {
            let wait = job_delay((Patience::Background, None), attempt, None, &mut rng);
            assert!(wait >= BACKGROUND_FIRST / 2 && wait <= BACKGROUND_LONGEST, "{attempt}: {wait:?}");
        }
        assert!(job_delay((Patience::Background, None), 9, None, &mut rng) >= BACKGROUND_LONGEST / 2);
    }

    #[test]
    fn a_condition_is_looked_at_within_seconds_and_seldom_when_looks_are_mistaken() {
        let mut rng = SmallRng::seed_from_u64(1);
        for looks in 0..100 {
            let wait = probe_delay(1, looks, &mut rng);
            assert!(wait >= PROBE_FIRST / 2 && wait <= PROBE_LONGEST, "{looks}: {wait:?}");
        }
        for attempts in 10..100 {
            let wait = probe_delay(attempts, 0, &mut rng);
            assert!(wait >= PROBE_MISTAKEN_LONGEST / 2 && wait <= PROBE_MISTAKEN_LONGEST, "{attempts}: {wait:?}");
        }
    }

    #[test]
    fn the_origins_wish_is_obeyed_up_to_a_day() {
        let mut rng = SmallRng::seed_from_u64(1);
        let wait = |wish| job_delay((Patience::Watching, None), 1, Some(Duration::from_secs(wish)), &mut rng.clone());
        assert_eq!(wait(120), Duration::from_secs(120));
        assert_eq!(wait(9_999_999), RETRY_AFTER_LONGEST);
        assert!(job_delay((Patience::Watching, None), 1, Some(Duration::ZERO), &mut rng) >= WATCHING_FIRST / 2);
    }
}
