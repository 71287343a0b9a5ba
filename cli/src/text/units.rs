//! Sizes, rates and times for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::time::Duration;

/// How sizes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// `1.5 MiB`.
    Human,
    /// `1572864`.
    Exact,
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

impl Sizes {
    /// A number of bytes.
    pub(crate) fn size(self, bytes: u64) -> String {
        if self == Self::Exact {
            return bytes.to_string();
        }
        if bytes < 1024 {
            return format!("{bytes} B");
        }
        #[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
        let mut value = bytes as f64 / 1024.0;
        let mut unit = 0;
        // 1023.95 would be written as 1024.0.
        while value >= 1023.95 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        format!("{value:.1} {}", UNITS[unit])
    }

    /// A number of bytes that may not be known yet.
    pub(crate) fn size_if_known(self, bytes: Option<u64>) -> String {
        bytes.map_or_else(|| String::from("?"), |bytes| self.size(bytes))
    }

    /// A number of bytes per second.
    pub(crate) fn rate(self, bytes: u64) -> String {
        if self == Self::Exact { bytes.to_string() } else { format!("{}/s", self.size(bytes)) }
    }
}

/// A duration in its two largest units: `59 s`, `1 min 5 s`, `2 h 3 min`, `3 d 4 h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A point in time, in the local zone, to the second; empty for what is out of range.
pub(crate) fn time(unix_ms: u64) -> String {
    i64::try_from(unix_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(String::new, |at| at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Percent of the whole, rounded down: 100 only when everything is there.
pub(crate) fn percent(done: u64, whole: u64) -> u64 {
    let share = u128::from(done.min(whole)) * 100 / u128::from(whole.max(1));
    if whole == 0 { 100 } else { u64::try_from(share).unwrap_or(100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_after_the_point_and_never_four_before_it() {
        let human = |bytes| Sizes::Human.size(bytes);
        assert_eq!(human(0), "0 B");
        assert_eq!(human(1023), "1023 B");
        assert_eq!(human(1536), "1.5 KiB");
        assert_eq!(human(1024 * 1024 - 1), "1.0 MiB");
        assert_eq!(human(u64::MAX), "16.0 EiB");
        assert_eq!(Sizes::Exact.size(1536), "1536");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let shown = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!((shown(0), shown(65), shown(7380)), ("0 s".into(), "1 min 5 s".into(), "2 h 3 min".into()));
        assert_eq!(shown(u64::MAX), "213503982334601 d 7 h");
    }

    #[test]
    fn a_hundred_percent_is_only_said_of_the_whole() {
        assert_eq!((percent(999, 1000), percent(1000, 1000), percent(0, 0), percent(5, 0)), (99, 100, 100, 100));
    }
}
