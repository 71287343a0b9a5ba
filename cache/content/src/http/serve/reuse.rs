//! Whether a stored answer may be used (RFC 9111 section 4; RFC 5861).

use super::request::{MaxStale, RequestDirectives};
use crate::http::Freshness;
use crate::http::freshness::directive::{delta_seconds, members, split_member};
use crate::http::freshness::{Decision, MustAsk, Question, Sharing, Stale};
use ::http::header::{AGE, CACHE_CONTROL, HeaderMap};

/// Whether a stored answer may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It may, for so many seconds more.
    Fresh {
        /// Whole seconds.
        seconds: u32,
    },
    /// It may though it is stale, and should be asked about behind the answer (RFC 5861 section 3).
    WhileAsking,
    /// It may though it is stale, because the request says so.
    StaleAllowed,
    /// The origin is to be asked first.
    Ask(AskFirst),
}

/// Why the origin is to be asked before a stored answer is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AskFirst {
    /// `no-cache` in the request.
    #[error("the request wants the origin to be asked")]
    Request,
    /// Older than the request's `max-age`, or not fresh for as long as its `min-fresh`.
    #[error("it is not as fresh as the request wants it")]
    NotFreshEnough,
    /// Its time is over.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The origin wants it so.
    #[error(transparent)]
    Origin(#[from] MustAsk),
}

/// Decides at `now` whether the stored answer with these fields may answer the request. `headers` are the stored fields.
#[must_use]
pub fn reuse(
    (freshness, headers): (&Freshness, &HeaderMap),
    asked: &RequestDirectives,
    question: Question<'_>,
    now: i64,
) -> Reuse {
    if asked.no_cache {
        return Reuse::Ask(AskFirst::Request);
    }
    if is_age_unclear(headers) {
        return Reuse::Ask(AskFirst::NotFreshEnough);
    }
    let is_too_old = || asked.max_age.is_some_and(|most| freshness.age(now).is_none_or(|age| age > i64::from(most)));
    match freshness.decide(Sharing::Shared, question, now) {
        Decision::MustAsk(reason) => Reuse::Ask(reason.into()),
        Decision::Fresh { seconds } => {
            let is_short = asked.min_fresh.is_some_and(|least| seconds < least);
            if is_short || is_too_old() { Reuse::Ask(AskFirst::NotFreshEnough) } else { Reuse::Fresh { seconds } }
        }
        Decision::Stale(stale) => {
            let since = since_expiry(stale);
            let is_allowed = since.is_some_and(|since| match asked.max_stale {
                Some(MaxStale::Any) => true,
                Some(MaxStale::By(most)) => since <= most,
                None => false,
            });
            let is_behind = since.is_some_and(|since| seconds_of(headers, "stale-while-revalidate") > since);
            match () {
                () if asked.min_fresh.is_some() || is_too_old() => Reuse::Ask(AskFirst::NotFreshEnough),
                () if is_allowed => Reuse::StaleAllowed,
                () if is_behind => Reuse::WhileAsking,
                () => Reuse::Ask(stale.into()),
            }
        }
    }
}

/// Whether a stored answer may be used because the origin cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It may, stale as it is.
    Use,
    /// It may not: whoever asks is told that the origin cannot be reached.
    Fail,
}

/// Decides whether a stored answer may be used after the origin has failed, which `policy` allows for so many seconds after the
/// end of freshness where the origin says nothing about it (RFC 9111 section 4.2.4; RFC 5861 section 4). R-57: never where the
/// origin forbids stale use.
#[must_use]
pub fn on_error(freshness: &Freshness, question: Question<'_>, policy: u32, now: i64) -> OnError {
    match freshness.decide(Sharing::Shared, question, now) {
        Decision::Fresh { .. } => OnError::Use,
        Decision::Stale(stale) => {
            let most = freshness.stale_if_error().unwrap_or(policy);
            // What has no lifetime has been stale since it came.
            let since = since_expiry(stale).or_else(|| u32::try_from(freshness.age(now)?).ok());
            if since.is_some_and(|since| since < most) { OnError::Use } else { OnError::Fail }
        }
        Decision::MustAsk(_) => OnError::Fail,
    }
}

fn since_expiry(stale: Stale) -> Option<u32> {
    match stale {
        Stale::Expired { seconds } | Stale::GuessExpired { seconds } => Some(seconds),
        Stale::NoLifetime | Stale::Unclear | Stale::ClockWentBack => None,
    }
}

/// Whether nobody can tell how old the answer was when it came: its `Age` is no number, or there are several. RFC 9111 section 5.1 lets
/// such a field be ignored; asking is always right, and R-52 wants what the public suite wants.
fn is_age_unclear(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(AGE).iter();
    let (first, second) = (values.next(), values.next());
    let is_number = |value: &::http::HeaderValue| value.to_str().is_ok_and(|text| delta_seconds(text.trim()).is_some());
    second.is_some() || first.is_some_and(|value| !is_number(value))
}

/// The seconds of a directive; 0 where it is not there or no number.
fn seconds_of(headers: &HeaderMap, name: &str) -> u32 {
    let members = headers.get_all(CACHE_CONTROL).iter().flat_map(|value| members(value.as_bytes()));
    let found = members.into_iter().find_map(|member| {
        let (found, argument) = split_member(&member);
        found.eq_ignore_ascii_case(name).then(|| argument.and_then(delta_seconds))
    });
    found.flatten().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::RequestPrivacy;
    use crate::http::fixture::{NOW, head};
    use crate::http::freshness::Exchange;

    fn decide(stored: &str, request: &str, after: i64) -> Reuse {
        let headers = head(200, &[("cache-control", stored)]).headers;
        let fields = HeaderMap::new();
        let question = Question { fields: &fields, privacy: RequestPrivacy::Plain };
        let freshness = Freshness::of(&headers, question, Exchange { asked: NOW, received: NOW });
        let asked = RequestDirectives::of(&head(200, &[("cache-control", request)]).headers);
        reuse((&freshness, &headers), &asked, question, NOW + after)
    }

    fn fails(stored: &str, policy: u32, after: i64) -> OnError {
        let headers = head(200, &[("cache-control", stored)]).headers;
        let fields = HeaderMap::new();
        let question = Question { fields: &fields, privacy: RequestPrivacy::Plain };
        let freshness = Freshness::of(&headers, question, Exchange { asked: NOW, received: NOW });
        on_error(&freshness, question, policy, NOW + after)
    }

    #[test]
    fn the_request_may_want_it_fresher_than_the_origin_does() {
        assert_eq!(decide("max-age=60", "", 10), Reuse::Fresh { seconds: 50 });
        assert_eq!(decide("max-age=60", "max-age=10", 10), Reuse::Fresh { seconds: 50 });
        assert_eq!(decide("max-age=60", "max-age=9", 10), Reuse::Ask(AskFirst::NotFreshEnough));
        assert_eq!(decide("max-age=60", "min-fresh=50", 10), Reuse::Fresh { seconds: 50 });
        assert_eq!(decide("max-age=60", "min-fresh=51", 10), Reuse::Ask(AskFirst::NotFreshEnough));
        assert_eq!(decide("max-age=60", "no-cache", 10), Reuse::Ask(AskFirst::Request));
    }

    #[test]
    fn the_request_may_be_content_with_a_stale_answer() {
        assert_eq!(decide("max-age=60", "max-stale=10", 70), Reuse::StaleAllowed);
        assert_eq!(decide("max-age=60", "max-stale", 7000), Reuse::StaleAllowed);
        assert_eq!(decide("max-age=60", "max-stale=9", 70), Reuse::Ask(Stale::Expired { seconds: 10 }.into()));
        assert_eq!(decide("max-age=60", "max-stale, max-age=5", 70), Reuse::Ask(AskFirst::NotFreshEnough));
    }

    #[test]
    fn r52_an_age_that_is_unclear_asks_the_origin() {
        let fields = HeaderMap::new();
        let question = Question { fields: &fields, privacy: RequestPrivacy::Plain };
        let decide = |ages: &[&'static str]| {
            let mut lines = vec![("cache-control", "max-age=60")];
            lines.extend(ages.iter().map(|age| ("age", *age)));
            let headers = head(200, &lines).headers;
            let freshness = Freshness::of(&headers, question, Exchange { asked: NOW, received: NOW });
            reuse((&freshness, &headers), &RequestDirectives::default(), question, NOW)
        };
        assert_eq!((decide(&[]), decide(&["10"])), (Reuse::Fresh { seconds: 60 }, Reuse::Fresh { seconds: 50 }));
        for ages in [&["x"][..], &["-1"], &["1.5"], &["0, 9"], &["0", "9"], &["9;a"], &[""]] {
            assert_eq!(decide(ages), Reuse::Ask(AskFirst::NotFreshEnough), "{ages:?}");
        }
    }

    #[test]
    fn r57_what_must_be_revalidated_is_never_used_stale() {
        for forbidden in ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage=60"] {
            let stored = format!("max-age=60, stale-if-error=600, stale-while-revalidate=600, {forbidden}");
            assert!(matches!(decide(&stored, "max-stale", 70), Reuse::Ask(AskFirst::Origin(_))), "{forbidden}");
            assert_eq!(fails(&stored, 600, 70), OnError::Fail, "{forbidden}");
        }
    }

    #[test]
    fn the_origin_may_allow_stale_use_while_it_is_asked_or_fails() {
        assert_eq!(decide("max-age=60, stale-while-revalidate=10", "", 69), Reuse::WhileAsking);
        assert!(matches!(decide("max-age=60, stale-while-revalidate=10", "", 70), Reuse::Ask(_)));
        assert_eq!(fails("max-age=60, stale-if-error=10", 0, 69), OnError::Use);
        assert_eq!(
            fails("max-age=60, stale-if-error=10", 600, 71),
            OnError::Fail,
            "its own word goes before the policy"
        );
        assert_eq!((fails("max-age=60", 0, 61), fails("max-age=60", 10, 61)), (OnError::Fail, OnError::Use));
        assert_eq!(fails("x", 10, 5), OnError::Use, "without a lifetime it has been stale since it came");
    }
}
