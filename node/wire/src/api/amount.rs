//! Amounts as people write them: the unit is in the value, so that nobody has to guess.

use std::time::Duration;

/// Characters of the longest amount that is read.
const MAX_TEXT: usize = 64;

/// A size, or a share of something whose size is not known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So many hundredths, 1 to 100.
    Percent(u8),
}

/// The text is no amount; it says what would be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAmount {
    /// No size.
    #[error("`{0}` is no size: write a number and B, KiB, MiB, GiB, TiB or kB, MB, GB, TB, like 500MiB")]
    Size(String),
    /// Neither a size nor a share.
    #[error("`{0}` is neither a size like 50GiB nor a share like 20%")]
    SizeOrShare(String),
    /// No rate.
    #[error("`{0}` is no rate: write a size and /s, like 20MB/s")]
    Rate(String),
    /// A rate that is too low.
    #[error("`{0}` is too low: the least is {1}")]
    TooLow(String, &'static str),
    /// No age.
    #[error("`{0}` is no age: write a number and s, min, h, d or w, like 30d")]
    Age(String),
}

/// Parses "64 MiB", "1.5GB" or "4096".
pub fn parse_size(text: &str) -> Result<u64, BadAmount> {
    size(text).ok_or_else(|| BadAmount::Size(shown(text)))
}

/// Parses what [`parse_size`] does, or "20 %".
pub fn parse_amount(text: &str) -> Result<Amount, BadAmount> {
    let share = text.trim().strip_suffix('%').and_then(|share| share.trim().parse().ok());
    let share = share.filter(|percent| (1..=100).contains(percent)).map(Amount::Percent);
    share.or_else(|| size(text).map(Amount::Bytes)).ok_or_else(|| BadAmount::SizeOrShare(shown(text)))
}

/// Parses "20 MB/s" or "1.5MiB/s": bytes in a second.
pub fn parse_rate(text: &str) -> Result<u64, BadAmount> {
    let bytes = text.trim().strip_suffix("/s").and_then(size);
    bytes.ok_or_else(|| BadAmount::Rate(shown(text)))
}

/// Parses "90 s", "30min", "12 h", "30 d" or "2w"; an age of nothing is none.
pub fn parse_age(text: &str) -> Result<Duration, BadAmount> {
    age(text).filter(|age| !age.is_zero()).ok_or_else(|| BadAmount::Age(shown(text)))
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    #[expect(clippy::cast_precision_loss, reason = "a fraction of a unit is written with few digits")]
    let bytes = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)? * factor as f64;
    #[expect(clippy::cast_precision_loss, reason = "the bound need not be exact")]
    let fits = bytes < u64::MAX as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within the bounds of u64")]
    fits.then_some(bytes as u64)
}

fn age(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds: u64 = match unit.to_ascii_lowercase().as_str() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 7 * 86_400,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(seconds)?;
    // What cannot be subtracted from a point in time is no age.
    (i64::try_from(seconds).ok()? < i64::MAX / 2000).then_some(Duration::from_secs(seconds))
}

/// The number and the unit, both without blanks around them.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    (text.len() <= MAX_TEXT && !number.is_empty()).then_some((number, unit.trim()))
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_carry_their_unit() {
        assert_eq!(parse_amount("64 MiB"), Ok(Amount::Bytes(64 << 20)));
        assert_eq!(parse_amount("1.5GB"), Ok(Amount::Bytes(1_500_000_000)));
        assert_eq!(parse_amount("20 %"), Ok(Amount::Percent(20)));
        assert_eq!(parse_size("9007199254740993"), Ok(9_007_199_254_740_993), "not rounded");
        for wrong in ["", "x", "0 %", "101 %", "5 parsecs", "-1 GiB", "1e99 TiB", "99999999999 TiB", "1..2 GB"] {
            assert!(parse_amount(wrong).is_err(), "{wrong}");
        }
        assert!(parse_size("20 %").is_err());
        assert!(parse_size(&"9".repeat(10_000)).is_err());
    }

    #[test]
    fn ages_carry_their_unit() {
        assert_eq!(parse_age("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_age("90 min"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "30", "0d", "-1d", "3 fortnights", "99999999999999999999d", "9999999999999999w"] {
            let refused = parse_age(wrong).expect_err(wrong).to_string();
            assert!(refused.contains("like 30d"), "{refused}");
        }
    }
}
