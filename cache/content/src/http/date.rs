//! HTTP dates as seconds since the Unix epoch (RFC 9110 section 5.6.7).

use ::http::{HeaderMap, HeaderName};
use std::time::UNIX_EPOCH;

/// Bytes of the longest date that is looked at; the longest valid one has 33 (RFC 850, Wednesday in September).
const MAX_DATE_LENGTH: usize = 48;
/// The last second of the year 9999, beyond which the form has no year.
const MAX_DATE: u64 = 253_402_300_799;

/// Parses any of the three forms, in any letter case: `httpdate` is case-sensitive, and RFC 9111 section 4.2 asks caches
/// to be lenient.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    if text.len() > MAX_DATE_LENGTH || !text.is_ascii() {
        return None;
    }
    let time = httpdate::parse_http_date(&canonical_case(text.trim())).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// The moment as a field has it (RFC 9110 section 5.6.7); before 1970 there is none.
#[must_use]
pub fn http_date(seconds: i64) -> String {
    let since = std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(MAX_DATE));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

/// The date in field `name`; `None` when it is absent, repeated or garbage.
pub(crate) fn date_field(headers: &HeaderMap, name: HeaderName) -> Option<i64> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse_http_date(value.to_str().ok()?)
}

/// Writes every word with a capital first letter but `GMT`, as the grammar has them.
fn canonical_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside_word = false;
    for c in text.chars() {
        out.push(if inside_word { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() });
        inside_word = c.is_ascii_alphabetic();
    }
    match out.strip_suffix("Gmt") {
        Some(rest) => format!("{rest}GMT"),
        None => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_three_forms_in_any_case() {
        let same = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "sun, 06 NOV 1994 08:49:37 gmt",
            "SUNDAY, 06-nov-94 08:49:37 Gmt",
        ];
        for text in same {
            assert_eq!(parse_http_date(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn garbage_is_no_date() {
        for text in ["", "0", "-1", "yesterday", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 31 Feb 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
        assert_eq!(parse_http_date(&"x".repeat(1 << 20)), None);
    }
}
