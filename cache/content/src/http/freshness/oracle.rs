//! Freshness held against a crate that many use: `http-cache-semantics`, where that one is right.
//!
//! Known to differ, so not generated:
//!
//! * It takes no account of how far `Date` is behind reception, nor of the time that the answer took (RFC 9111 section 4.2.3): here
//!   `Age` covers the first and the second is zero.
//! * It panics on an `Age` that overflows, and reads lists of ages and signs otherwise (section 5.1).
//! * It compares directive names by case, and reads `max-age=x` as 0 (section 5.2: any case; 4.2.1: unclear, which is stale, too).
//! * Of a directive said twice it keeps the first (section 4.2.1 allows it; here different ones are unclear).
//! * `proxy-revalidate` makes it stale at once (section 5.2.2.8 says when it has become stale), `immutable` gives a day where no lifetime
//!   is named (RFC 8246 does not), a tenth of any age is taken (section 4.2.2; here at most a day), a cookie ends freshness.
//! * It knows no 206, no `must-understand`, no obsolete dates, and compares the first line of a selecting field only (section 4.1).
//! * It looks for `Pragma` in answers, which RFC 9111 section 5.4 never gave a meaning.

use super::tests::plain;
use super::{Decision, Exchange, Freshness, MAX_HEURISTIC, Sharing};
use ::http::{HeaderMap, HeaderValue, Request, Response};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A generated answer and the moments that matter.
#[derive(Debug, Clone)]
struct Case {
    fields: Vec<(&'static str, String)>,
    sharing: Sharing,
    received: i64,
    now: i64,
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

fn date(seconds: i64) -> String {
    httpdate::fmt_http_date(time(seconds))
}

/// Small numbers often, so that comparisons come out either way.
fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![0..5_i64, 0..100_000_i64, 0..100_000_000_i64]
}

fn control() -> impl Strategy<Value = String> {
    let directive = prop_oneof![
        4 => seconds().prop_map(|s| format!("max-age={s}")),
        2 => seconds().prop_map(|s| format!("s-maxage={s}")),
        1 => Just("no-cache".to_owned()),
        1 => Just("no-store".to_owned()),
        1 => Just("must-revalidate".to_owned()),
        1 => Just("public".to_owned()),
        1 => Just("no-transform".to_owned()),
    ];
    proptest::collection::vec(directive, 0..4).prop_map(|mut directives| {
        // Each once.
        let name = |directive: &String| directive.split('=').next().unwrap_or("").to_owned();
        directives.sort_by_key(name);
        directives.dedup_by_key(|directive| name(directive));
        directives.join(", ")
    })
}

prop_compose! {
    fn case()(
        received in 946_684_800..1_893_456_000_i64,
        behind in proptest::option::of(-10_000..10_000_i64),
        age in proptest::option::of(seconds()),
        control in proptest::option::of(control()),
        expires in proptest::option::weighted(0.3, proptest::option::weighted(0.9, -10_000..100_000_i64)),
        modified in proptest::option::of(seconds()),
        vary in proptest::option::weighted(0.2, prop_oneof![Just("*"), Just("accept"), Just("accept, x-one")]),
        is_shared in any::<bool>(),
        elapsed in seconds(),
    ) -> Case {
        let mut fields = Vec::new();
        // Where Date is behind, Age says at least as much.
        let least_age = behind.unwrap_or(0).max(0);
        let age = age.map(|age| age.max(least_age)).or((least_age > 0).then_some(least_age));
        let date_value = received - behind.unwrap_or(0);
        fields.extend(behind.map(|_| ("date", date(date_value))));
        fields.extend(age.map(|age| ("age", age.to_string())));
        fields.extend(control.map(|control| ("cache-control", control)));
        fields.extend(expires.map(|at| ("expires", at.map_or("0".to_owned(), |at| date(date_value + at)))));
        fields.extend(modified.map(|before| ("last-modified", date(date_value - before))));
        fields.extend(vary.map(|vary| ("vary", vary.to_owned())));
        let sharing = if is_shared { Sharing::Shared } else { Sharing::Private };
        Case { fields, sharing, received, now: received + elapsed }
    }
}

fn headers(fields: &[(&'static str, String)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| ((*name).try_into().expect("a name"), HeaderValue::from_str(value).expect("a value")))
        .collect()
}

fn request(fields: &HeaderMap) -> Request<()> {
    let mut request = Request::get("https://origin.example/f").body(()).expect("a request");
    *request.headers_mut() = fields.clone();
    request
}

/// What the oracle says: age, seconds left, whether the second request is answered from the cache.
fn oracle(case: &Case, first: &HeaderMap, second: &HeaderMap) -> (i64, i64, bool) {
    let mut response = Response::new(());
    *response.headers_mut() = headers(&case.fields);
    let options = CacheOptions { shared: case.sharing == Sharing::Shared, ..CacheOptions::default() };
    let policy = CachePolicy::new_options(&request(first), &response, time(case.received), options);
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).expect("small");
    let is_fresh = matches!(policy.before_request(&request(second), time(case.now)), BeforeRequest::Fresh(_));
    (seconds(policy.age(time(case.now))), seconds(policy.time_to_live(time(case.now))), is_fresh)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn age_and_freshness_are_what_the_oracle_says(case in case(), second in prop_oneof![4 => Just("a"), 1 => Just("b")]) {
        let accept = |value: &str| headers(&[("accept", value.to_owned())]);
        let (first, second) = (accept("a"), accept(second));
        let facts = Freshness::of(&headers(&case.fields), plain(&first), Exchange { asked: case.received, received: case.received });
        let (age, left, is_fresh) = oracle(&case, &first, &second);
        prop_assert_eq!(facts.current_age(case.now), Some(age));
        let names_lifetime = case.fields.iter().any(|(name, value)| match *name {
            "expires" => true,
            "cache-control" => value.contains("max-age") || value.contains("s-maxage") && case.sharing == Sharing::Shared,
            _ => false,
        });
        let left = if names_lifetime { left } else { left.min((MAX_HEURISTIC - age).max(0)) };
        match facts.decide(case.sharing, plain(&second), case.now) {
            Decision::Fresh { seconds } => {
                prop_assert_eq!(i64::from(seconds), left);
                prop_assert!(is_fresh);
            }
            Decision::Stale(_) | Decision::MustAsk(_) => prop_assert!(!is_fresh || left == 0),
        }
    }
}
