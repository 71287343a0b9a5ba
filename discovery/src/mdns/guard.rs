//! How much CPU and memory the mDNS box may cost: decides after each slice of its running what comes next (T-08).
//!
//! libp2p's behaviour reads its socket as fast as it can and remembers every record for as long as the record says. Two
//! budgets bound that from outside. *CPU*: a bucket of thread time that refills at [`CPU_SHARE`] of real time; when it is
//! empty the box is not run at all and the kernel drops what overflows the socket. *Memory*: with [`MAX_RECORDS`]
//! remembered, or after [`STRAIN_PATIENCE`] of a drained bucket, the box is thrown away with all its sockets and queues and
//! built anew. A new box asks at once and its socket is empty, so the first answers that it hears are those to its own
//! question: that is how real neighbours are found inside a flood.

use std::time::Duration;

/// One part in this many of one core is what mDNS may cost in the long run; with what the service does for each record
/// that stays below a tenth.
pub(super) const CPU_SHARE: u32 = 12;
/// Thread time that may be spent at once after a quiet time: a whole office answering one question.
const BURST: Duration = Duration::from_millis(50);
/// A slice under load: short, so that the bucket is looked at often.
const BUSY_SLICE: Duration = Duration::from_millis(5);
/// A slice in quiet: mostly sleeping.
const CALM_SLICE: Duration = Duration::from_secs(1);
/// Longest rest; an overdraft beyond it is forgiven, so that the box cannot be silenced by one long slice.
const LONGEST_REST: Duration = Duration::from_millis(500);
/// Records that a box may remember.
pub(super) const MAX_RECORDS: usize = 1_024;
/// Least life of a box: each new one asks the whole network.
const LEAST_LIFE: Duration = Duration::from_millis(250);
/// A box whose bucket stays empty this long is rebuilt, since it may queue what it cannot report.
const STRAIN_PATIENCE: Duration = Duration::from_secs(4);
/// Longest life of a box. Shorter than the life of a candidate, so what is still announced is heard again in time
/// (the behaviour reports a record only once).
const LONGEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// What to do after a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Run on, for at most so long.
    Run(Duration),
    /// Do not run for so long, then ask [`Guard::after_rest`].
    Rest(Duration),
    /// Throw the box away and build a new one.
    Rebuild,
}

/// The budgets of one mDNS box after another. Pure: time is an argument.
#[derive(Debug)]
pub(super) struct Guard {
    /// Thread time left.
    bucket: Duration,
    looked: Duration,
    built: Duration,
    /// Since when the bucket has not been full.
    strained: Option<Duration>,
    /// Whether the networks changed since the box was built.
    changed: bool,
}

impl Guard {
    pub(super) fn new(now: Duration) -> Self {
        Self { bucket: BURST, looked: now, built: now, strained: None, changed: false }
    }

    /// A new box was built at `now`, with the CPU budget as it stands.
    pub(super) fn handle_built(&mut self, now: Duration) {
        self.built = now;
        self.strained = None;
        self.changed = false;
    }

    /// How long the first slice of a box may last.
    pub(super) fn first_slice(&self) -> Duration {
        BUSY_SLICE
    }

    /// Thread time at which a slice should end early.
    pub(super) fn slice_cpu(&self) -> Duration {
        BUSY_SLICE
    }

    /// A slice has ended at `now`: it used `cpu` of thread time and left `records` remembered.
    pub(super) fn after_slice(&mut self, now: Duration, cpu: Duration, records: usize) -> Next {
        self.refill(now);
        let overdraft = cpu.saturating_sub(self.bucket);
        self.bucket = self.bucket.saturating_sub(cpu);
        if self.bucket >= BURST / 2 {
            self.strained = None;
        } else if overdraft > Duration::ZERO && self.strained.is_none() {
            self.strained = Some(now);
        }
        let over = self.is_over(now, records);
        let age = now.saturating_sub(self.built);
        // After the rest the overdraft is paid and one busy slice is in the bucket.
        let owed = if overdraft.is_zero() { Duration::ZERO } else { (overdraft + BUSY_SLICE) * CPU_SHARE };
        let rest = owed.min(LONGEST_REST).max(if over { LEAST_LIFE.saturating_sub(age) } else { Duration::ZERO });
        if !rest.is_zero() {
            Next::Rest(rest)
        } else if over {
            Next::Rebuild
        } else {
            Next::Run(if self.bucket < BURST / 2 { BUSY_SLICE } else { CALM_SLICE })
        }
    }

    /// The networks of this host changed during a slice that used `cpu`: only a new box announces the new addresses, and
    /// only it asks again for what could not be judged before.
    pub(super) fn after_change(&mut self, now: Duration, cpu: Duration) -> Next {
        self.changed = true;
        self.after_slice(now, cpu, 0)
    }

    /// A rest has ended at `now`; `records` as before. The rest itself has paid the overdraft.
    pub(super) fn after_rest(&mut self, now: Duration, records: usize) -> Next {
        self.looked = now;
        self.bucket = self.bucket.max(BUSY_SLICE);
        if self.is_over(now, records) { Next::Rebuild } else { Next::Run(BUSY_SLICE) }
    }

    /// Whether the box is to be replaced, as soon as [`LEAST_LIFE`] allows.
    fn is_over(&self, now: Duration, records: usize) -> bool {
        let strained_long = self.strained.is_some_and(|since| now.saturating_sub(since) >= STRAIN_PATIENCE);
        let old = now.saturating_sub(self.built) >= LONGEST_LIFE;
        self.changed || records >= MAX_RECORDS || strained_long || old
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.looked);
        self.looked = now;
        self.bucket = (self.bucket + passed / CPU_SHARE).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_quiet_network_is_listened_to_without_rest() {
        let mut guard = Guard::new(ms(0));
        for second in 1..100 {
            assert_eq!(guard.after_slice(ms(second * 1_000), ms(1), 40), Next::Run(CALM_SLICE));
        }
    }

    #[test]
    fn under_load_the_box_gets_its_share_of_a_core_and_no_more() {
        let mut guard = Guard::new(ms(0));
        let (mut now, mut cpu) = (ms(0), ms(0));
        while now < ms(100_000) {
            // A flood: every slice is spent computing.
            now += BUSY_SLICE;
            cpu += BUSY_SLICE;
            match guard.after_slice(now, BUSY_SLICE, 0) {
                Next::Rest(pause) => {
                    now += pause;
                    if guard.after_rest(now, 0) == Next::Rebuild {
                        guard.handle_built(now);
                    }
                }
                Next::Rebuild => guard.handle_built(now),
                Next::Run(_) => {}
            }
        }
        assert!(cpu <= now / CPU_SHARE + BURST, "{cpu:?} of {now:?}");
        assert!(cpu >= now / (2 * CPU_SHARE), "{cpu:?} of {now:?}");
    }

    #[test]
    fn a_full_box_is_rebuilt_but_not_more_than_four_times_a_second() {
        let mut guard = Guard::new(ms(0));
        guard.handle_built(ms(1_000));
        assert_eq!(guard.after_slice(ms(1_100), ms(1), MAX_RECORDS), Next::Rest(ms(150)));
        assert_eq!(guard.after_rest(ms(1_250), MAX_RECORDS), Next::Rebuild);
        guard.handle_built(ms(1_250));
        assert_eq!(guard.after_slice(ms(1_600), ms(1), MAX_RECORDS), Next::Rebuild);
    }

    #[test]
    fn one_long_slice_cannot_silence_the_box() {
        let mut guard = Guard::new(ms(0));
        assert_eq!(guard.after_slice(ms(60_000), ms(30_000), 0), Next::Rest(LONGEST_REST));
        assert_eq!(guard.after_rest(ms(60_500), 0), Next::Run(BUSY_SLICE));
        assert_eq!(guard.after_slice(ms(60_501), ms(1), 0), Next::Run(BUSY_SLICE));
    }

    #[test]
    fn a_box_that_stays_strained_is_rebuilt_though_it_reports_little() {
        let mut guard = Guard::new(ms(0));
        let mut now = ms(0);
        while now < ms(3_500) {
            assert!(matches!(guard.after_slice(now, ms(60), 3), Next::Rest(_)), "at {now:?}");
            now += ms(500);
            assert_eq!(guard.after_rest(now, 3), Next::Run(BUSY_SLICE), "at {now:?}");
        }
        guard.after_slice(now, ms(60), 3);
        assert_eq!(guard.after_rest(ms(4_500), 3), Next::Rebuild);
    }

    #[test]
    fn changed_networks_get_a_new_box() {
        let mut guard = Guard::new(ms(0));
        assert_eq!(guard.after_change(ms(100), ms(1)), Next::Rest(ms(150)));
        assert_eq!(guard.after_rest(ms(250), 0), Next::Rebuild);
    }
}
