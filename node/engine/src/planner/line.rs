//! What is known of the line to the origin: how long a question waits for its first byte, and how fast bytes come then.
//!
//! A request is so long that the wait before it costs little of its time; where the origin answers at once, requests stay short, so
//! that none holds the end up on a connection that is slower than the others.

use std::time::Duration;

/// How many times as long as it waits a request should run: the wait is a twentieth of it.
const TIMES_THE_WAIT: u32 = 20;
/// Bytes a second on a connection of which nothing is known.
const USUAL_PACE: u64 = 32 * 1024 * 1024;
/// The longest wait that is believed: it may have been a handshake, or the origin's bad moment.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The line to the origin of one file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OriginLine {
    wait: Option<Duration>,
    pace: Option<u64>,
}

impl OriginLine {
    /// A question has waited for so long.
    pub(super) fn on_first_byte(&mut self, waited: Duration) {
        self.wait = Some(waited.min(LONGEST_WAIT));
    }

    /// A request has brought so many bytes since its first one came.
    pub(super) fn on_ended(&mut self, bytes: u64, since: Duration) {
        let pace = u128::from(bytes) * 1000 / since.as_millis().max(1);
        self.pace = Some(u64::try_from(pace).unwrap_or(u64::MAX));
    }

    /// Bytes of a request for which the wait before it is a small part.
    pub(super) fn worth_a_wait(&self) -> u64 {
        let Some(wait) = self.wait else { return 0 };
        let time = (wait * TIMES_THE_WAIT).as_millis();
        let bytes = u128::from(self.pace.unwrap_or(USUAL_PACE)) * time / 1000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_worth_twenty_times_its_wait() {
        let mut line = OriginLine::default();
        assert_eq!(line.worth_a_wait(), 0, "nothing is known");
        line.on_first_byte(Duration::from_millis(100));
        assert_eq!(line.worth_a_wait(), 64 << 20);
        line.on_ended(8 << 20, Duration::from_secs(1));
        assert_eq!(line.worth_a_wait(), 16 << 20);
        line.on_first_byte(Duration::from_secs(1000));
        assert_eq!(line.worth_a_wait(), 320 << 20);
    }
}
