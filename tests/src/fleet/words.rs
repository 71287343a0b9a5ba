//! Rates, sizes and times as people write them: `100mbit`, `256MiB`, `40ms`.

use std::time::Duration;

/// A number and the unit after it.
fn parts(text: &str) -> Result<(f64, String), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| format!("{text:?} does not begin with a number"))?;
    Ok((number, text[end..].trim().to_ascii_lowercase()))
}

/// Bits per second.
pub fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = parts(text)?;
    let factor = match unit.as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(format!("{text:?}: a rate is written like 100mbit or 1gbit")),
    };
    positive(number * factor, text)
}

/// Bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = parts(text)?;
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        _ => return Err(format!("{text:?}: a size is written like 256MiB or 2GiB")),
    };
    positive(number * factor, text)
}

/// Bytes, or none.
pub fn bytes(text: &str) -> Result<u64, String> {
    if parts(text)?.0 == 0.0 { Ok(0) } else { size(text) }
}

/// A time.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = parts(text)?;
    let factor = match unit.as_str() {
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err(format!("{text:?}: a time is written like 40ms or 2s")),
    };
    Duration::try_from_secs_f64(number * factor).map_err(|_| format!("{text:?} is too long"))
}

/// A share between 0 and 1, or with a percent sign.
pub fn share(text: &str) -> Result<f64, String> {
    let (number, unit) = parts(text)?;
    let share = match unit.as_str() {
        "%" => number / 100.0,
        "" => number,
        _ => return Err(format!("{text:?}: a share is written like 10% or 0.1")),
    };
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(format!("{text:?} is not between 0 and 1")) }
}

fn positive(value: f64, text: &str) -> Result<u64, String> {
    if (1.0..1e18).contains(&value) { Ok(value as u64) } else { Err(format!("{text:?} is out of bounds")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood_and_nonsense_is_not() {
        assert_eq!(rate("100mbit"), Ok(100_000_000));
        assert_eq!(rate("1.5Gbit"), Ok(1_500_000_000));
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(time("40ms"), Ok(Duration::from_millis(40)));
        assert_eq!(share("10%"), Ok(0.1));
        for nonsense in ["", "mbit", "100", "100 apples", "0mbit", "-1mbit"] {
            assert!(rate(nonsense).is_err(), "{nonsense}");
        }
        assert!(share("110%").is_err());
    }
}
