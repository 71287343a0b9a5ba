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

/// The longest wait of an origin that is near: one connection to it is at its full speed at once.
const NEAR: Duration = Duration::from_millis(10);
/// Bytes a second of a connection beside which others would bring little more: this node hashes and writes what they bring.
const ENOUGH: u64 = 64 * 1024 * 1024;
/// How long a connection is watched before its pace says something.
const WATCHED: Duration = Duration::from_millis(300);

/// The line to the origin of one file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OriginLine {
    wait: Option<Duration>,
    /// The shortest wait: how far away the origin is, whatever else kept an answer.
    least_wait: Option<Duration>,
    pace: Option<u64>,
    /// Whether a connection has brought less than would be enough.
    is_narrow: bool,
}

impl OriginLine {
    /// A question has waited for so long.
    pub(super) fn on_first_byte(&mut self, waited: Duration) {
        self.wait = Some(waited.min(LONGEST_WAIT));
        self.least_wait = Some(self.least_wait.map_or(waited, |least| least.min(waited)));
    }

    /// A request has brought so many bytes since its first one came.
    pub(super) fn on_ended(&mut self, bytes: u64, since: Duration) {
        let pace = u128::from(bytes) * 1000 / since.as_millis().max(1);
        self.pace = Some(u64::try_from(pace).unwrap_or(u64::MAX));
    }

    /// A request that goes on has brought so many bytes since its first one came.
    pub(super) fn on_going(&mut self, bytes: u64, since: Duration) {
        self.is_narrow |= since >= WATCHED && u128::from(bytes) * 1000 / since.as_millis() < u128::from(ENOUGH);
    }

    /// Whether one connection brings about as much as several.
    pub(super) fn is_one_enough(&self) -> bool {
        !self.is_narrow && self.least_wait.is_some_and(|wait| wait <= NEAR)
    }

    /// Whether a connection has brought all of its request at such a pace.
    pub(super) fn is_wide(&self) -> bool {
        self.pace.is_some_and(|pace| pace >= ENOUGH)
    }

    /// Whether `left` bytes will have come within so many waits, at the pace at which `bytes` came in the time `since`: a wait at least, or it says
    /// nothing. The shortest wait counts: in the others this node's own requests may have stood behind each other.
    pub(super) fn is_over_by(&self, left: u64, (bytes, since): (u64, Duration), waits: u32) -> bool {
        let least = self.least_wait.map(|wait| wait.min(LONGEST_WAIT));
        let Some(wait) = least.filter(|wait| since >= *wait && bytes > 0) else { return false };
        u128::from(left) * since.as_micros() <= u128::from(bytes) * (wait * waits).as_micros()
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

    #[test]
    fn what_is_left_is_over_when_it_comes_in_two_waits_at_its_pace() {
        let mut line = OriginLine::default();
        let second = Duration::from_secs(1);
        assert!(!line.is_over_by(1, (1 << 20, second), 2), "nobody knows how long a wait is");
        line.on_first_byte(Duration::from_millis(100));
        assert!(line.is_over_by(200_000, (1_000_000, second), 2));
        assert!(!line.is_over_by(200_001, (1_000_000, second), 2));
        assert!(!line.is_over_by(1, (1 << 20, Duration::from_millis(99)), 2), "it has hardly begun");
        assert!(!line.is_over_by(0, (0, second), 2), "nothing has come");
        assert!(!line.is_over_by(u64::MAX, (u64::MAX, second), 2));
        line.on_first_byte(second);
        assert!(!line.is_over_by(200_001, (1_000_000, second), 2), "the second request stood behind others");
        let mut slow = OriginLine::default();
        slow.on_first_byte(Duration::MAX);
        assert!(slow.is_over_by(4_000_000, (2_000_000, 2 * second), 2), "no wait is believed to be longer");
        assert!(!slow.is_over_by(4_000_001, (2_000_000, 2 * second), 2));
    }

    #[test]
    fn one_connection_is_enough_to_a_near_origin_until_it_turns_out_narrow() {
        let mut line = OriginLine::default();
        assert!(!line.is_one_enough(), "nothing is known");
        line.on_first_byte(Duration::from_millis(2));
        line.on_first_byte(Duration::from_millis(200));
        line.on_going(1 << 20, Duration::from_millis(299));
        assert!(line.is_one_enough(), "it has not been watched for long");
        line.on_going(64 << 20, Duration::from_secs(1));
        assert!(line.is_one_enough() && !line.is_wide());
        line.on_ended(64 << 20, Duration::from_secs(1));
        assert!(line.is_wide());
        line.on_going(63 << 20, Duration::from_secs(1));
        line.on_going(640 << 20, Duration::from_secs(2));
        assert!(!line.is_one_enough(), "once is enough");
        let mut far = OriginLine::default();
        far.on_first_byte(Duration::from_millis(11));
        assert!(!far.is_one_enough());
    }
}
