//! The validator: the mark by which two answers are known to be of the same version.

use crate::http::date::{date_field, parse_http_date};
use ::http::header::{DATE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the longest validator that is kept.
pub const MAX_VALIDATOR_LENGTH: usize = 1024;

/// Seconds that `Date` must lie behind `Last-Modified` (R-04). RFC 9110 section 8.8.2.2 asks for one; RFC 7232 asked for
/// sixty, which also covers servers with two slightly different clocks.
pub const LAST_MODIFIED_MARGIN: i64 = 60;

/// A strong validator: bytes of one version may be joined under it (R-02, R-04). A weak one never gets this type.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Validator {
    /// A strong entity tag, quotes included, compared byte by byte (RFC 9110 section 8.8.3.2).
    StrongEtag(String),
    /// A Last-Modified value, verbatim, that is strong by RFC 9110 section 8.8.2.2 with our margin of 60 s (R-04).
    LastModified(String),
}

/// Why an answer gave no strong validator: its bytes may not be joined with those of another answer (R-05).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error, Serialize, Deserialize)]
pub enum NotStrong {
    /// Neither ETag nor Last-Modified.
    #[error("the server names no version (no ETag, no Last-Modified)")]
    Absent,
    /// `W/"..."` (R-03).
    #[error("the server's ETag is weak")]
    WeakEtag,
    /// An ETag that is not a quoted string of visible ASCII, or is empty: some servers send `""` for everything.
    #[error("the server's ETag is malformed")]
    MalformedEtag,
    /// Several ETags that differ.
    #[error("the server sent several ETags that differ")]
    SeveralEtags,
    /// Longer than [`MAX_VALIDATOR_LENGTH`].
    #[error("the server's version mark is longer than {MAX_VALIDATOR_LENGTH} bytes")]
    TooLong,
    /// A Last-Modified that is repeated or no date.
    #[error("the server's Last-Modified is malformed")]
    MalformedLastModified,
    /// No usable Date to compare Last-Modified with.
    #[error("the answer has no Date to prove that Last-Modified is settled")]
    NoDate,
    /// Date less than [`LAST_MODIFIED_MARGIN`] after Last-Modified: the file may have changed twice in that time.
    #[error("the file changed less than {LAST_MODIFIED_MARGIN} s before the answer")]
    TooRecent,
    /// Last-Modified lies after Date or after our own clock (R-07).
    #[error("the server's Last-Modified lies in the future")]
    InFuture,
}

impl Validator {
    /// The strong validator that an answer's headers give; `now` is in seconds since the Unix epoch (R-02 to R-04, R-07).
    ///
    /// A Last-Modified counts only where there is no ETag at all: a weak ETag says that the origin itself distinguishes
    /// less than bytes (R-04).
    pub fn select(headers: &HeaderMap, now: i64) -> Result<Self, NotStrong> {
        if headers.contains_key(ETAG) { strong_etag(headers) } else { strong_last_modified(headers, now) }
    }

    /// The validator that [`Validator::kind`] and [`Validator::header_value`] gave, if an origin could have sent it.
    #[must_use]
    pub fn recognise(kind: u8, value: &str) -> Option<Self> {
        if value.len() > MAX_VALIDATOR_LENGTH {
            return None;
        }
        match kind {
            1 => (is_etag(value) && value.len() > 2).then(|| Self::StrongEtag(value.to_owned())),
            2 => parse_http_date(value).map(|_| Self::LastModified(value.to_owned())),
            _ => None,
        }
    }

    /// The value for `If-Range`, verbatim as the origin sent it.
    #[must_use]
    pub fn header_value(&self) -> &str {
        match self {
            Self::StrongEtag(value) | Self::LastModified(value) => value,
        }
    }

    /// One byte that tells the kinds apart in hashes and statements.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::StrongEtag(_) => 1,
            Self::LastModified(_) => 2,
        }
    }
}

/// Verbatim marks for a conditional request about a whole object: weak ones will do there (R-03).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConditionalMarks {
    /// For `If-None-Match`: the ETag, strong or weak.
    pub etag: Option<String>,
    /// For `If-Modified-Since`: the Last-Modified value.
    pub last_modified: Option<String>,
}

impl ConditionalMarks {
    /// Reads both marks; what is repeated, too long or not ASCII is left out.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let etag = single(headers, ETAG).ok().flatten().filter(|value| {
            let opaque = value.strip_prefix("W/").unwrap_or(value);
            is_etag(opaque)
        });
        let last_modified = single(headers, LAST_MODIFIED).ok().flatten();
        Self {
            etag: etag.map(str::to_owned),
            last_modified: last_modified.filter(|_| date_field(headers, LAST_MODIFIED).is_some()).map(str::to_owned),
        }
    }
}

fn strong_etag(headers: &HeaderMap) -> Result<Validator, NotStrong> {
    let value = single(headers, ETAG)
        .map_err(|fault| match fault {
            FieldFault::Several => NotStrong::SeveralEtags,
            FieldFault::NotAscii => NotStrong::MalformedEtag,
            FieldFault::TooLong => NotStrong::TooLong,
        })?
        .ok_or(NotStrong::Absent)?;
    // R-03. A lower-case `w/` is malformed by the grammar, and surely not strong.
    if value.starts_with("W/") || value.starts_with("w/") {
        return Err(NotStrong::WeakEtag);
    }
    // R-02. `""` is valid by the grammar but marks nothing.
    if !is_etag(value) || value.len() == 2 {
        return Err(NotStrong::MalformedEtag);
    }
    Ok(Validator::StrongEtag(value.to_owned()))
}

fn strong_last_modified(headers: &HeaderMap, now: i64) -> Result<Validator, NotStrong> {
    let value = single(headers, LAST_MODIFIED)
        .map_err(|fault| match fault {
            FieldFault::TooLong => NotStrong::TooLong,
            FieldFault::Several | FieldFault::NotAscii => NotStrong::MalformedLastModified,
        })?
        .ok_or(NotStrong::Absent)?;
    let modified = date_field(headers, LAST_MODIFIED).ok_or(NotStrong::MalformedLastModified)?;
    let date = date_field(headers, DATE).ok_or(NotStrong::NoDate)?;
    // R-07.
    if modified > date || modified > now {
        return Err(NotStrong::InFuture);
    }
    // R-04.
    if date - modified < LAST_MODIFIED_MARGIN {
        return Err(NotStrong::TooRecent);
    }
    Ok(Validator::LastModified(value.to_owned()))
}

/// What is wrong with a field that should stand once.
pub(crate) enum FieldFault {
    Several,
    NotAscii,
    TooLong,
}

/// The one value of a field, `None` when it is absent; a repetition of the identical value is forgiven.
pub(crate) fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, FieldFault> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.any(|other| other != first) {
        return Err(FieldFault::Several);
    }
    let text = first.to_str().map_err(|_| FieldFault::NotAscii)?.trim_matches([' ', '\t']);
    if text.len() > MAX_VALIDATOR_LENGTH {
        return Err(FieldFault::TooLong);
    }
    Ok(Some(text))
}

/// Whether `value` is an opaque-tag of visible ASCII: `DQUOTE *etagc DQUOTE` (RFC 9110 section 8.8.3).
fn is_etag(value: &str) -> bool {
    value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .is_some_and(|opaque| opaque.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x7e)))
}

impl fmt::Debug for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Validator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped: the value comes from the origin and may hold terminal controls (T-28).
        match self {
            Self::StrongEtag(value) => write!(f, "etag {}", value.escape_debug()),
            Self::LastModified(value) => write!(f, "last-modified {}", value.escape_debug()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
    const NOW: i64 = 784_123_200 + 3600;

    fn select(fields: &[(&'static str, &str)]) -> Result<Validator, NotStrong> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a field value"));
        }
        Validator::select(&headers, NOW)
    }

    #[test]
    fn r02_a_strong_etag_is_kept_with_its_quotes() {
        assert_eq!(select(&[("etag", "\"a,b/W\"")]), Ok(Validator::StrongEtag("\"a,b/W\"".into())));
        assert_eq!(select(&[("etag", "\"a\""), ("etag", "\"a\"")]), Ok(Validator::StrongEtag("\"a\"".into())));
    }

    #[test]
    fn r02_what_is_no_etag_is_not_strong() {
        for value in ["abc", "\"abc", "abc\"", "\"a\"b\"", "\"a b\"", "\"\"", "'a'", "\"ä\"", ""] {
            assert_eq!(select(&[("etag", value)]), Err(NotStrong::MalformedEtag), "{value}");
        }
        assert_eq!(select(&[("etag", "\"a\""), ("etag", "\"b\"")]), Err(NotStrong::SeveralEtags));
        let long = format!("\"{}\"", "a".repeat(MAX_VALIDATOR_LENGTH));
        assert_eq!(select(&[("etag", &long)]), Err(NotStrong::TooLong));
    }

    #[test]
    fn r03_a_weak_etag_is_not_strong_and_hides_the_date() {
        let old = "Sun, 06 Nov 1994 08:00:00 GMT";
        let fields = [("etag", "W/\"a\""), ("last-modified", old), ("date", NOON)];
        assert_eq!(select(&fields), Err(NotStrong::WeakEtag));
        assert_eq!(select(&[("etag", "w/\"a\"")]), Err(NotStrong::WeakEtag));
    }

    #[test]
    fn r04_a_date_is_strong_sixty_seconds_later() {
        let at = |modified: &str| select(&[("last-modified", modified), ("date", NOON)]);
        assert!(matches!(at("Sun, 06 Nov 1994 11:59:00 GMT"), Ok(Validator::LastModified(_))));
        assert_eq!(at("Sun, 06 Nov 1994 11:59:01 GMT"), Err(NotStrong::TooRecent));
        assert_eq!(select(&[("last-modified", NOON)]), Err(NotStrong::NoDate));
        assert_eq!(select(&[("last-modified", "gestern"), ("date", NOON)]), Err(NotStrong::MalformedLastModified));
        assert_eq!(select(&[]), Err(NotStrong::Absent));
    }

    #[test]
    fn r04_the_date_is_kept_verbatim() {
        let odd = "sun, 06 nov 1994 08:00:00 gmt";
        assert_eq!(select(&[("last-modified", odd), ("date", NOON)]), Ok(Validator::LastModified(odd.into())));
    }

    #[test]
    fn r07_a_date_in_the_future_is_weak() {
        let later = "Sun, 06 Nov 1994 14:00:00 GMT";
        assert_eq!(select(&[("last-modified", later), ("date", NOON)]), Err(NotStrong::InFuture));
        let far = "Sun, 06 Nov 1994 16:00:00 GMT";
        assert_eq!(select(&[("last-modified", later), ("date", far)]), Err(NotStrong::InFuture), "by our clock");
    }

    #[test]
    fn weak_marks_serve_conditional_requests() {
        let mut headers = HeaderMap::new();
        headers.insert(ETAG, HeaderValue::from_static("W/\"a\""));
        headers.insert(LAST_MODIFIED, HeaderValue::from_static(NOON));
        let marks = ConditionalMarks::of(&headers);
        assert_eq!((marks.etag.as_deref(), marks.last_modified.as_deref()), (Some("W/\"a\""), Some(NOON)));
        headers.insert(ETAG, HeaderValue::from_static("bare"));
        assert_eq!(ConditionalMarks::of(&headers).etag, None);
    }

    #[test]
    fn a_validator_never_moves_the_terminal() {
        assert_eq!(Validator::StrongEtag("\"\u{1b}[2J\"".into()).to_string(), r#"etag \"\u{1b}[2J\""#);
    }
}
