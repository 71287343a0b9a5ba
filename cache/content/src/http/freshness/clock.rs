//! How old an answer is (RFC 9111 section 4.2.3), whatever the clocks do.

use super::Freshness;
use ::http::header::{AGE, HeaderMap};
use serde::{Deserialize, Serialize};

/// Seconds by which the clock may go back without notice. Beyond, nothing that was received before counts as fresh (C-13).
pub const BACKWARD_JUMP: i64 = 60;

/// The largest number of seconds; larger ones count as this one (RFC 9111 section 1.2.2).
pub(super) const MAX_SECONDS: u32 = 1 << 31;

/// When an answer was asked for and came, in seconds since the Unix epoch, by the node's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Exchange {
    /// When the request was sent (`request_time`).
    pub asked: i64,
    /// When the head of the answer came (`response_time`).
    pub received: i64,
}

impl Exchange {
    /// Whether it was over before the other one.
    pub(super) fn is_before(self, other: Self) -> bool {
        // After a jump back of the clock the later one has the earlier time; it must not be refused for ever.
        self.received < other.received && other.received.saturating_sub(self.received) <= BACKWARD_JUMP
    }
}

/// The Age field in seconds. The first of several counts, and garbage is no age (RFC 9111 section 5.1).
pub(super) fn age_field(headers: &HeaderMap) -> u32 {
    let first = headers.get(AGE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let first = first.split(',').next().unwrap_or("");
    delta_seconds(first.trim()).unwrap_or(0)
}

/// A `delta-seconds`: digits and nothing else, however many.
pub(in crate::http) fn delta_seconds(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What does not fit is too large, for there are digits only.
    is_number.then(|| text.parse().map_or(MAX_SECONDS, |seconds: u32| seconds.min(MAX_SECONDS)))
}

impl Freshness {
    /// The answer's Date, or when it came.
    pub(super) fn date_value(&self) -> i64 {
        self.date.unwrap_or(self.exchange.received)
    }

    /// The age at `now` in seconds, never less than zero; `None` when the clock has gone back behind the answer.
    pub(super) fn current_age(&self, now: i64) -> Option<i64> {
        let Exchange { asked, received } = self.exchange;
        let since = |later: i64, earlier: i64| later.saturating_sub(earlier).max(0);
        if now.saturating_add(BACKWARD_JUMP) < received {
            return None;
        }
        let apparent_age = since(received, self.date_value());
        let response_delay = since(received, asked);
        let corrected_age_value = i64::from(self.age).saturating_add(response_delay);
        let corrected_initial_age = apparent_age.max(corrected_age_value);
        let resident_time = since(now, received);
        Some(corrected_initial_age.saturating_add(resident_time))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::plain;
    use super::*;
    use crate::http::fixture::{NOW, head};
    use proptest::prelude::*;

    fn age_at(fields: &[(&'static str, &str)], exchange: Exchange, now: i64) -> Option<i64> {
        Freshness::of(&head(200, fields).headers, plain(&HeaderMap::new()), exchange).current_age(now)
    }

    const AT_ONCE: Exchange = Exchange { asked: NOW, received: NOW };

    #[test]
    fn the_age_is_the_larger_of_what_the_date_and_what_the_age_field_say() {
        let date = ("date", "Sun, 06 Nov 1994 12:59:00 GMT");
        assert_eq!(age_at(&[], AT_ONCE, NOW), Some(0));
        assert_eq!(age_at(&[date], AT_ONCE, NOW + 5), Some(65));
        assert_eq!(age_at(&[date, ("age", "20")], AT_ONCE, NOW), Some(60));
        assert_eq!(age_at(&[date, ("age", "200")], AT_ONCE, NOW), Some(200));
    }

    #[test]
    fn the_time_of_the_answer_on_its_way_counts_as_age() {
        let slow = Exchange { asked: NOW - 30, received: NOW };
        assert_eq!(age_at(&[("age", "5")], slow, NOW + 1), Some(36));
        let backwards = Exchange { asked: NOW + 30, received: NOW };
        assert_eq!(age_at(&[("age", "5")], backwards, NOW + 1), Some(6));
    }

    #[test]
    fn a_date_in_the_future_makes_nothing_younger() {
        assert_eq!(age_at(&[("date", "Mon, 07 Nov 1994 12:59:00 GMT"), ("age", "5")], AT_ONCE, NOW + 1), Some(6));
    }

    #[test]
    fn c13_after_a_jump_back_of_the_clock_there_is_no_age() {
        assert_eq!(age_at(&[], AT_ONCE, NOW - BACKWARD_JUMP), Some(0));
        assert_eq!(age_at(&[], AT_ONCE, NOW - BACKWARD_JUMP - 1), None);
    }

    #[test]
    fn ages_are_read_as_the_rfc_wants() {
        let age = |values: &[&str]| {
            let fields: Vec<_> = values.iter().map(|value| ("age", *value)).collect();
            age_field(&head(200, &fields).headers)
        };
        assert_eq!(age(&["7"]), 7);
        assert_eq!(age(&["7", "9"]), 7, "the first of several");
        assert_eq!(age(&["7, 9"]), 7);
        assert_eq!(age(&["99999999999999999999999999"]), MAX_SECONDS);
        for garbage in ["", "-7", "7.5", "+7", "seven", "7 9", "0x7"] {
            assert_eq!(age(&[garbage]), 0, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn no_clock_overflows_and_no_age_is_negative(asked: i64, received: i64, now: i64, age in "[0-9]{0,30}") {
            let found = age_at(&[("age", &age), ("date", "Sun, 06 Nov 1994 12:59:00 GMT")], Exchange { asked, received }, now);
            prop_assert!(found.is_none_or(|age| age >= 0));
        }

        #[test]
        fn nothing_grows_younger(start in 0i64..4_000_000_000, step in 0i64..1_000_000, age in 0u32..1_000_000) {
            let exchange = Exchange { asked: start, received: start };
            let fields = [("age", age.to_string())];
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
            prop_assert_eq!(age_at(&fields, exchange, start + step), Some(i64::from(age) + step));
        }
    }
}
