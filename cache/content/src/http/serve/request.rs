//! What the request's `Cache-Control` allows (RFC 9111 section 5.2.1).

use crate::http::freshness::directive::{delta_seconds, members, split_member};
use ::http::header::{CACHE_CONTROL, HeaderMap, PRAGMA};

/// The directives of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RequestDirectives {
    /// Ask the origin first.
    pub no_cache: bool,
    /// Store nothing of the answer.
    pub no_store: bool,
    /// Do not ask the origin at all.
    pub only_if_cached: bool,
    /// The oldest answer that will do, in seconds.
    pub max_age: Option<u32>,
    /// How long the answer must stay fresh, in seconds.
    pub min_fresh: Option<u32>,
    /// How stale the answer may be.
    pub max_stale: Option<MaxStale>,
}

/// How stale an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxStale {
    /// However stale.
    Any,
    /// By so many seconds.
    By(u32),
}

impl RequestDirectives {
    /// Reads the directives; what has no valid number is as if it were not there, but a `max-age` without one asks first.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for member in headers.get_all(CACHE_CONTROL).iter().flat_map(|value| members(value.as_bytes())) {
            let (name, argument) = split_member(&member);
            let seconds = argument.and_then(delta_seconds);
            match name.to_ascii_lowercase().as_str() {
                "no-cache" => found.no_cache = true,
                "no-store" => found.no_store = true,
                "only-if-cached" => found.only_if_cached = true,
                "max-age" => found.max_age = Some(seconds.unwrap_or(0)),
                "min-fresh" => found.min_fresh = seconds,
                "max-stale" if argument.is_none() => found.max_stale = Some(MaxStale::Any),
                "max-stale" => found.max_stale = seconds.map(MaxStale::By),
                _ => {}
            }
        }
        // RFC 9111 section 5.4: HTTP/1.0 clients know no other word.
        if !headers.contains_key(CACHE_CONTROL) {
            let pragma = headers.get_all(PRAGMA).iter().flat_map(|value| members(value.as_bytes()));
            found.no_cache = pragma.into_iter().any(|member| member.eq_ignore_ascii_case("no-cache"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    fn of(fields: &[(&'static str, &str)]) -> RequestDirectives {
        RequestDirectives::of(&head(200, fields).headers)
    }

    #[test]
    fn directives_are_read_in_any_case_and_over_several_lines() {
        let found = of(&[("cache-control", "Max-Age=5, no-STORE"), ("cache-control", "max-stale, min-fresh=\"7\"")]);
        assert_eq!((found.max_age, found.min_fresh, found.max_stale), (Some(5), Some(7), Some(MaxStale::Any)));
        assert!(found.no_store && !found.no_cache && !found.only_if_cached);
        assert_eq!(of(&[("cache-control", "max-stale=9")]).max_stale, Some(MaxStale::By(9)));
        assert_eq!(of(&[("cache-control", "max-stale=nine")]).max_stale, None);
        assert_eq!(of(&[("cache-control", "max-age=nine")]).max_age, Some(0), "doubt asks the origin");
    }

    #[test]
    fn pragma_speaks_only_where_cache_control_is_silent() {
        assert!(of(&[("pragma", "no-cache")]).no_cache);
        assert!(!of(&[("pragma", "no-cache"), ("cache-control", "max-age=9")]).no_cache);
        assert!(!of(&[("pragma", "foo")]).no_cache);
    }
}
