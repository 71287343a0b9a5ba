//! What `Cache-Control` says about time (RFC 9111 section 5.2.2).
//!
//! Numbers are read strictly and prohibitions tolerantly (`cache_control`), so that every doubt ends in asking. A directive
//! that is said twice with different values, or whose value is no number, leaves the lifetime unclear, and what is unclear is
//! stale (RFC 9111 section 4.2.1).

use super::clock::delta_seconds;
use crate::http::cache_control::CacheControl;
use ::http::header::{CACHE_CONTROL, HeaderMap};
use serde::{Deserialize, Serialize};

/// The directives that matter for freshness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(super) struct Directives {
    pub(super) max_age: Option<Seconds>,
    pub(super) s_maxage: Option<Seconds>,
    pub(super) no_store: bool,
    pub(super) no_cache: bool,
    pub(super) must_revalidate: bool,
    pub(super) proxy_revalidate: bool,
    pub(super) immutable: bool,
    pub(super) stale_if_error: Option<u32>,
}

/// The value of a directive that takes seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Seconds {
    /// A number.
    Of(u32),
    /// No number, or several.
    Unclear,
}

impl Directives {
    /// Reads all lines of the field as one list. `tolerant` is what a tolerant reader found.
    pub(super) fn of(headers: &HeaderMap, tolerant: CacheControl) -> Self {
        let mut found = Self {
            // `must-understand` lifts it, and what is stored is understood (RFC 9111 section 5.2.2.3).
            no_store: tolerant.no_store && !tolerant.must_understand,
            no_cache: tolerant.no_cache,
            must_revalidate: tolerant.must_revalidate,
            proxy_revalidate: tolerant.proxy_revalidate,
            ..Self::default()
        };
        let mut stale_if_error = None;
        for value in headers.get_all(CACHE_CONTROL) {
            for member in members(value.as_bytes()) {
                let (name, argument) = split_member(&member);
                match name.to_ascii_lowercase().as_str() {
                    "max-age" => said(&mut found.max_age, argument),
                    "s-maxage" => said(&mut found.s_maxage, argument),
                    "stale-if-error" => said(&mut stale_if_error, argument),
                    "immutable" => found.immutable = true,
                    _ => {}
                }
            }
        }
        found.stale_if_error = match stale_if_error {
            Some(Seconds::Of(seconds)) => Some(seconds),
            Some(Seconds::Unclear) | None => None,
        };
        found
    }
}

/// Takes a value for a directive, perhaps the second one.
fn said(slot: &mut Option<Seconds>, argument: Option<&str>) {
    let value = argument.and_then(delta_seconds).map_or(Seconds::Unclear, Seconds::Of);
    *slot = match *slot {
        Some(known) if known != value => Some(Seconds::Unclear),
        _ => Some(value),
    };
}

/// The members of a list, cut at commas outside of quotes; bytes beyond ASCII make a member no number.
pub(in crate::http) fn members(list: &[u8]) -> Vec<String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = list.split(|byte| {
        let is_end = *byte == b',' && !is_quoted;
        match byte {
            b'"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = is_quoted && *byte == b'\\' && !is_escaped;
        is_end
    });
    parts.map(|part| String::from_utf8_lossy(part).trim().to_owned()).collect()
}

/// Name and argument; a quoted argument counts like a plain one (RFC 9111 section 5.2).
pub(in crate::http) fn split_member(member: &str) -> (&str, Option<&str>) {
    let Some((name, argument)) = member.split_once('=') else { return (member, None) };
    let argument = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(argument);
    (name, Some(argument))
}

#[cfg(test)]
mod tests {
    use super::super::clock::MAX_SECONDS;
    use super::*;
    use crate::http::fixture::head;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Directives {
        let fields: Vec<_> = values.iter().map(|value| ("cache-control", *value)).collect();
        let headers = head(200, &fields).headers;
        Directives::of(&headers, CacheControl::of(&headers))
    }

    #[test]
    fn seconds_are_read_in_any_case_and_quoted() {
        for text in
            ["max-age=60", "Max-Age=60", "public, MAX-AGE=60", "max-age=\"60\"", "x=\"a,max-age=5\", max-age=60"]
        {
            assert_eq!(of(&[text]).max_age, Some(Seconds::Of(60)), "{text}");
        }
        assert_eq!(of(&["public", "s-maxage=7"]).s_maxage, Some(Seconds::Of(7)), "a second line");
        assert_eq!(of(&["max-age=99999999999999"]).max_age, Some(Seconds::Of(MAX_SECONDS)));
        assert_eq!(of(&["stale-if-error=9"]).stale_if_error, Some(9));
        assert!(of(&["max-age=60, Immutable"]).immutable);
    }

    #[test]
    fn doubtful_values_leave_the_lifetime_unclear() {
        for text in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age=60s",
            "max-age = 60",
            "max-age=60;no-transform",
            "max-age=60 immutable",
            "max-age=60, max-age=61",
            "max-age=\"60",
        ] {
            let found = of(&[text]);
            assert!(found.max_age != Some(Seconds::Of(60)) && found.max_age != Some(Seconds::Of(1)), "{text}");
        }
        assert_eq!(of(&["max-age=60", "max-age=61"]).max_age, Some(Seconds::Unclear));
        assert_eq!(of(&["max-age=60, max-age=60"]).max_age, Some(Seconds::Of(60)), "no contradiction");
        assert_eq!(of(&["stale-if-error=9, stale-if-error=8"]).stale_if_error, None);
    }

    #[test]
    fn prohibitions_are_found_in_odd_spellings() {
        for text in ["No-Cache", "max-age=60;no-cache", "no-cache=\"set-cookie\"", "x=\"unbalanced, max-age=60"] {
            assert!(of(&[text]).no_cache, "{text}");
        }
        assert!(of(&["max-age=1,MUST-revalidate"]).must_revalidate && of(&["proxy-revalidate"]).proxy_revalidate);
        assert!(of(&["no-store"]).no_store && !of(&["no-store, must-understand"]).no_store);
        assert!(!of(&["x=\"no-cache\", max-age=60"]).no_cache);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "[ -~\u{e9}]{0,60}") {
            let _ = of(&[&text]);
        }
    }
}
