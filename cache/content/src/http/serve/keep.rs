//! Whether an answer may be stored (RFC 9111 section 3; T-32, T-35).

use crate::ResourceUrl;
use crate::http::ResponseHead;
use crate::http::cache_control::CacheControl;
use crate::http::freshness::directive::{members, split_member};
use ::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LOCATION, EXPIRES, HeaderMap, SET_COOKIE, VARY};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Keeping {
    /// Files: 200 and what can be had without anybody's name (T-32, T-34, T-35).
    #[default]
    Files,
    /// Whatever RFC 9111 lets a shared cache keep.
    AsRfc,
}

/// Why an answer is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotKept {
    /// `no-store` in the request.
    #[error("the request forbids storing it")]
    Request,
    /// `no-store`.
    #[error("the origin forbids storing it (no-store)")]
    NoStore,
    /// `private`.
    #[error("the origin calls it private")]
    Private,
    /// The request carried Authorization, and the answer does not say that others may have it (RFC 9111 section 3.5).
    #[error("it was given to somebody who proved who they are")]
    Authorization,
    /// `Set-Cookie`.
    #[error("the origin sent a cookie with it")]
    SetCookie,
    /// `Vary: *`: no request selects it again.
    #[error("no request selects it again (Vary: *)")]
    Vary,
    /// A status that is not kept, or not without a lifetime that the origin names.
    #[error("an answer with this status is not kept")]
    Status,
}

/// Whether the answer to a GET with these `request` fields may be stored by a shared cache.
pub fn may_keep(keeping: Keeping, request: &HeaderMap, head: &ResponseHead) -> Result<(), NotKept> {
    let control = CacheControl::of(&head.headers);
    let is_understood = KNOWN.contains(&head.status);
    match () {
        () if has(request, "no-store") => Err(NotKept::Request),
        // RFC 9111 section 5.2.2.3: `must-understand` lifts `no-store` where the status is understood, and forbids the rest.
        () if control.must_understand && !is_understood => Err(NotKept::NoStore),
        () if control.no_store && !control.must_understand => Err(NotKept::NoStore),
        () if control.private => Err(NotKept::Private),
        () if request.contains_key(AUTHORIZATION) && !lifts_authorization(keeping, &head.headers) => {
            Err(NotKept::Authorization)
        }
        () if keeping == Keeping::Files && head.headers.contains_key(SET_COOKIE) => Err(NotKept::SetCookie),
        () if varies_by_all(&head.headers) => Err(NotKept::Vary),
        () if !is_kept_status(keeping, head) => Err(NotKept::Status),
        () => Ok(()),
    }
}

/// Whether the answer to a POST may be stored for those who GET the same URL: only where the origin says that it is what they would
/// get, by `Content-Location`, and for how long (RFC 9110 section 9.3.3). Only where everything is kept that RFC 9111 allows (T-37).
#[must_use]
pub fn may_keep_posted(url: &ResourceUrl, request: &HeaderMap, head: &ResponseHead) -> bool {
    let headers = &head.headers;
    let is_named = headers.contains_key(EXPIRES) || ["max-age", "s-maxage"].iter().any(|name| has(headers, name));
    let mut places = headers.get_all(CONTENT_LOCATION).iter();
    let (Some(place), None) = (places.next(), places.next()) else { return false };
    let is_its_own = place.to_str().is_ok_and(|text| url.join(text).is_ok_and(|place| place == *url));
    head.status == 200 && is_named && is_its_own && may_keep(Keeping::AsRfc, request, head).is_ok()
}

/// RFC 9111 section 3.5.
fn lifts_authorization(keeping: Keeping, headers: &HeaderMap) -> bool {
    keeping == Keeping::AsRfc && ["public", "s-maxage", "must-revalidate"].iter().any(|name| has(headers, name))
}

fn is_kept_status(keeping: Keeping, head: &ResponseHead) -> bool {
    // A part is not an answer to a request for the whole, and 304 speaks of another answer.
    let is_answer = !matches!(head.status, 0..=199 | 206 | 304);
    let is_named = head.headers.contains_key(EXPIRES)
        || ["max-age", "s-maxage", "public"].iter().any(|name| has(&head.headers, name));
    match keeping {
        Keeping::Files => head.status == 200,
        Keeping::AsRfc => is_answer && (is_named || HEURISTIC.contains(&head.status)),
    }
}

fn varies_by_all(headers: &HeaderMap) -> bool {
    headers
        .get_all(VARY)
        .iter()
        .any(|value| value.as_bytes().split(|b| *b == b',').any(|name| name.trim_ascii() == b"*"))
}

fn has(headers: &HeaderMap, name: &str) -> bool {
    let mut members = headers.get_all(CACHE_CONTROL).iter().flat_map(|value| members(value.as_bytes()));
    members.any(|member| split_member(&member).0.eq_ignore_ascii_case(name))
}

/// Statuses that may be kept without a lifetime that the origin names (RFC 9110 section 15.1), less 206.
const HEURISTIC: [u16; 11] = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501];

/// Statuses whose rules this cache follows, for `must-understand`.
const KNOWN: [u16; 14] = [200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    fn keeps(keeping: Keeping, status: u16, request: &[(&'static str, &str)], answer: &[(&'static str, &str)]) -> bool {
        may_keep(keeping, &head(200, request).headers, &head(status, answer)).is_ok()
    }

    #[test]
    fn t35_what_is_private_or_forbidden_is_not_kept() {
        let both = [Keeping::Files, Keeping::AsRfc];
        for (keeping, fields) in both.iter().flat_map(|keeping| {
            let odd = ["no-store", "No-Store, max-age=5", "private", "max-age=5, PRIVATE"];
            odd.map(|value| (*keeping, [("cache-control", value)]))
        }) {
            assert!(!keeps(keeping, 200, &[], &fields), "{fields:?}");
        }
        assert!(keeps(Keeping::Files, 200, &[], &[]) && !keeps(Keeping::Files, 200, &[], &[("vary", "a, *")]));
        assert!(!keeps(Keeping::Files, 200, &[("cache-control", "no-store")], &[]));
        assert!(!keeps(Keeping::Files, 200, &[], &[("set-cookie", "a=b"), ("cache-control", "max-age=9")]));
    }

    #[test]
    fn t32_files_are_kept_and_errors_are_not() {
        let lives = [("cache-control", "max-age=60")];
        for status in [204, 301, 404, 410, 500, 503] {
            assert!(!keeps(Keeping::Files, status, &[], &lives), "{status}");
            assert!(keeps(Keeping::AsRfc, status, &[], &lives), "{status}");
        }
        assert!(keeps(Keeping::AsRfc, 404, &[], &[]) && !keeps(Keeping::AsRfc, 500, &[], &[]));
        assert!(!keeps(Keeping::AsRfc, 206, &[], &lives) && !keeps(Keeping::AsRfc, 304, &[], &lives));
    }

    #[test]
    fn t34_an_answer_to_somebody_known_needs_the_origins_word() {
        let known = [("authorization", "x")];
        assert!(!keeps(Keeping::AsRfc, 200, &known, &[("cache-control", "max-age=60")]));
        for word in ["public", "s-maxage=9", "must-revalidate"] {
            assert!(keeps(Keeping::AsRfc, 200, &known, &[("cache-control", word)]), "{word}");
            assert!(!keeps(Keeping::Files, 200, &known, &[("cache-control", word)]), "{word}");
        }
    }

    #[test]
    fn must_understand_lifts_no_store_for_what_is_understood() {
        let fields = [("cache-control", "no-store, must-understand, max-age=60")];
        assert!(keeps(Keeping::AsRfc, 200, &[], &fields) && !keeps(Keeping::AsRfc, 499, &[], &fields));
    }

    #[test]
    fn t37_an_answer_to_post_is_kept_only_as_what_a_get_would_bring() {
        let url = ResourceUrl::parse("http://h/a/b").expect("parses");
        let keeps =
            |status, fields: &[(&'static str, &str)]| may_keep_posted(&url, &HeaderMap::new(), &head(status, fields));
        let (lives, here) = (("cache-control", "max-age=60"), ("content-location", "http://h/a/b"));
        assert!(keeps(200, &[lives, here]) && keeps(200, &[lives, ("content-location", "b")]));
        assert!(!keeps(200, &[lives]) && !keeps(200, &[here]) && !keeps(201, &[lives, here]));
        for other in ["http://h/a/c", "http://other/a/b", "b?c"] {
            assert!(!keeps(200, &[lives, ("content-location", other)]), "{other}");
        }
        assert!(!keeps(200, &[("cache-control", "max-age=60, private"), here]));
    }
}
