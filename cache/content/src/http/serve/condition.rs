//! Whether a condition of the request holds for what would be sent (RFC 9110 section 13).

use crate::Validator;
use crate::http::date::{date_field, parse_http_date};
use ::http::header::{
    DATE, ETAG, HeaderMap, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
};

/// The marks of the version that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks {
    /// The ETag as the origin sent it, quotes and weakness included.
    pub etag: Option<String>,
    /// Last-Modified, in seconds since the Unix epoch; where there is none, the answer's Date (RFC 9111 section 4.3.2).
    pub modified: Option<i64>,
    /// Whether `modified` is a Last-Modified that would do as a strong validator.
    pub is_date_strong: bool,
}

impl Marks {
    /// The marks in the fields of an answer that came at `received`.
    #[must_use]
    pub fn of(fields: &HeaderMap, received: i64) -> Self {
        let modified = date_field(fields, LAST_MODIFIED);
        Self {
            etag: fields.get(ETAG).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            modified: modified.or_else(|| date_field(fields, DATE)).or(Some(received)),
            is_date_strong: matches!(Validator::select(fields, received), Ok(Validator::LastModified(_))),
        }
    }
}

/// What the request's conditions lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// The answer is sent.
    Proceed,
    /// 304: whoever asks has it.
    NotModified,
    /// 412: it is not the version that was meant.
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 section 13.2.2, but for `If-Range`.
#[must_use]
pub fn condition(request: &HeaderMap, marks: &Marks) -> Condition {
    if request.contains_key(IF_MATCH) {
        if !is_listed(request, &IF_MATCH, marks, Comparison::Strong) {
            return Condition::Failed;
        }
    } else if let (Some(since), Some(modified)) = (date(request, &IF_UNMODIFIED_SINCE), marks.modified)
        && modified > since
    {
        return Condition::Failed;
    }
    if request.contains_key(IF_NONE_MATCH) {
        // It goes before the date, which is then not looked at.
        let is_known = is_listed(request, &IF_NONE_MATCH, marks, Comparison::Weak);
        return if is_known { Condition::NotModified } else { Condition::Proceed };
    }
    match (date(request, &IF_MODIFIED_SINCE), marks.modified) {
        (Some(since), Some(modified)) if modified <= since => Condition::NotModified,
        _ => Condition::Proceed,
    }
}

/// Whether a `Range` is to be obeyed: not where `If-Range` names another version (RFC 9110 section 13.1.5).
#[must_use]
pub fn may_range(request: &HeaderMap, marks: &Marks) -> bool {
    let Some(value) = request.get(IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    let text = text.trim();
    if text.starts_with('"') || text.starts_with("W/") {
        // strong comparison.
        return !text.starts_with("W/") && marks.etag.as_deref() == Some(text);
    }
    marks.is_date_strong && parse_http_date(text).is_some() && parse_http_date(text) == marks.modified
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether one of the listed tags, or `*`, is the version's (RFC 9110 section 8.8.3.2).
fn is_listed(request: &HeaderMap, name: &::http::HeaderName, marks: &Marks, comparison: Comparison) -> bool {
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    request.get_all(name).iter().any(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if text.trim() == "*" {
            return true;
        }
        let Some(etag) = &marks.etag else { return false };
        tags(&text).any(|tag| match comparison {
            Comparison::Weak => opaque(tag) == opaque(etag),
            Comparison::Strong => tag == etag && !tag.starts_with("W/"),
        })
    })
}

/// The tags of a list; commas inside of quotes belong to the tag.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = list.split(move |c: char| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    parts.map(str::trim).filter(|tag| !tag.is_empty())
}

fn date(request: &HeaderMap, name: &::http::HeaderName) -> Option<i64> {
    parse_http_date(request.get(name)?.to_str().ok()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::{NOW, head};

    const AT_NOW: &str = "Sun, 06 Nov 1994 13:00:00 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 12:59:59 GMT";

    fn marks(etag: &str) -> Marks {
        Marks { etag: Some(etag.to_owned()), modified: Some(NOW), is_date_strong: true }
    }

    fn of(fields: &[(&'static str, &str)], etag: &str) -> Condition {
        condition(&head(200, fields).headers, &marks(etag))
    }

    #[test]
    fn a_known_tag_is_answered_304_by_weak_comparison() {
        for value in ["\"a\"", "W/\"a\"", "\"x\", \"a\"", "\"x\",W/\"a\",\"y\"", "*"] {
            assert_eq!(of(&[("if-none-match", value)], "\"a\""), Condition::NotModified, "{value}");
            assert_eq!(of(&[("if-none-match", value)], "W/\"a\""), Condition::NotModified, "{value}");
        }
        assert_eq!(of(&[("if-none-match", "\"b\"")], "\"a\""), Condition::Proceed);
        assert_eq!(of(&[("if-none-match", "\"a,b\"")], "\"a,b\""), Condition::NotModified, "a comma inside of a tag");
    }

    #[test]
    fn a_tag_goes_before_a_date() {
        let both = [("if-none-match", "\"b\""), ("if-modified-since", AT_NOW)];
        assert_eq!(of(&both, "\"a\""), Condition::Proceed);
        assert_eq!(of(&[("if-modified-since", AT_NOW)], "\"a\""), Condition::NotModified);
        assert_eq!(of(&[("if-modified-since", BEFORE)], "\"a\""), Condition::Proceed);
        assert_eq!(of(&[("if-modified-since", "gestern")], "\"a\""), Condition::Proceed);
    }

    #[test]
    fn if_match_needs_the_very_version() {
        assert_eq!(of(&[("if-match", "\"b\"")], "\"a\""), Condition::Failed);
        assert_eq!(of(&[("if-match", "W/\"a\"")], "W/\"a\""), Condition::Failed, "weak tags name no version");
        assert_eq!(of(&[("if-match", "\"a\"")], "\"a\""), Condition::Proceed);
        assert_eq!(of(&[("if-unmodified-since", BEFORE)], "\"a\""), Condition::Failed);
    }

    #[test]
    fn r10_if_range_with_another_version_drops_the_range() {
        let may = |value: &str, etag: &str| may_range(&head(200, &[("if-range", value)]).headers, &marks(etag));
        assert!(may("\"a\"", "\"a\"") && !may("\"b\"", "\"a\"") && !may("W/\"a\"", "W/\"a\""));
        assert!(may(AT_NOW, "\"a\"") && !may(BEFORE, "\"a\"") && !may("rubbish", "\"a\""));
        let weak = Marks { is_date_strong: false, ..marks("\"a\"") };
        assert!(!may_range(&head(200, &[("if-range", AT_NOW)]).headers, &weak));
        assert!(may_range(&HeaderMap::new(), &weak));
    }
}
