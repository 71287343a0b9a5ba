//! How fast members take a content, and so for how long assignments may be collected without anybody's line resting meanwhile.

use super::Home;
use crate::swarm::constants::{COLLECT_DONE, COLLECT_MIDST, COLLECT_SHARE, WINDOW};
use std::time::Duration;

/// How fast a content is taken.
#[derive(Debug)]
pub(super) struct Tempo {
    /// Segments that members have finished since `since`.
    finished: u32,
    since: Duration,
    /// Segments that one member finishes in a second; 0 when unknown. It rises at once and falls by halves.
    rate: f64,
    /// For how long assignments are collected.
    collecting: Duration,
}

impl Tempo {
    pub(super) fn new(now: Duration) -> Self {
        Self { finished: 0, since: now, rate: 0.0, collecting: COLLECT_MIDST }
    }

    /// A member has a segment.
    pub(super) fn on_finished(&mut self) {
        self.finished = self.finished.saturating_add(1);
    }

    /// Counts what so many members have finished who have up to `window` segments under way at once.
    fn look(&mut self, now: Duration, takers: usize, window: u32) {
        let elapsed = now.saturating_sub(self.since).as_secs_f64();
        if elapsed > 0.0 {
            let rate = f64::from(self.finished) / takers.max(1) as f64 / elapsed;
            self.rate = if rate > self.rate { rate } else { (self.rate + rate) / 2.0 };
            (self.finished, self.since) = (0, now);
        }
        let share = f64::from(window) / self.rate / f64::from(COLLECT_SHARE);
        // In milliseconds, as members are told.
        let millis = (share * 1000.0).clamp(COLLECT_DONE.as_millis() as f64, COLLECT_MIDST.as_millis() as f64);
        self.collecting = Duration::from_millis(millis as u64);
    }

    /// For how long assignments are collected in the middle of the content.
    pub(super) fn collecting(&self) -> Duration {
        self.collecting
    }
}

impl Home {
    /// Looks how fast a content was taken since the last time.
    pub(super) fn look_at_tempo(&mut self, now: Duration, b: u32) {
        let board = &self.boards[b as usize];
        let size = board.geometry.segment_size();
        let takers = board.wanting().count();
        let window = board.wanting().map(|(n, _)| self.seats[n as usize].window(size)).min().unwrap_or(WINDOW);
        self.boards[b as usize].tempo.look(now, takers, window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a second of so many finished segments of ten members makes of a tempo.
    fn after(finished: u32) -> Duration {
        let mut tempo = Tempo::new(Duration::ZERO);
        (0..finished).for_each(|_| tempo.on_finished());
        tempo.look(Duration::from_secs(1), 10, 16);
        tempo.collecting()
    }

    #[test]
    fn the_faster_members_take_the_sooner_they_hear() {
        // Ten segments a second each: a window of sixteen lasts 1.6 s, a share of it 400 ms.
        assert_eq!(after(100), COLLECT_MIDST);
        // Forty: 100 ms.
        assert_eq!(after(400), Duration::from_millis(100));
        assert_eq!(after(1_000_000), COLLECT_DONE);
        assert_eq!(after(0), COLLECT_MIDST, "nothing is known before something has come");
    }

    #[test]
    fn a_quiet_half_second_slows_it_by_half_only() {
        let mut tempo = Tempo::new(Duration::ZERO);
        (0..400).for_each(|_| tempo.on_finished());
        tempo.look(Duration::from_secs(1), 10, 16);
        tempo.look(Duration::from_millis(1500), 10, 16);
        assert_eq!(tempo.collecting(), Duration::from_millis(200));
    }
}
