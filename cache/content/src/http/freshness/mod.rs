//! May a stored version be used without asking the origin (RFC 9111 section 4)?
//!
//! | file | what it says |
//! |---|---|
//! | `directives` | what `Cache-Control` says about time, read as RFC 9111 section 4.2.1 wants it |
//! | `variant` | whether a request selects the stored answer (`Vary`, RFC 9111 section 4.1) |
//! | `clock` | how old an answer is (RFC 9111 section 4.2.3) |
//! | `decide` | fresh, stale, or to be asked about |
//!
//! A [`Freshness`] holds the facts of the answers so far, not conclusions: a 304 replaces some of them and the rest stays
//! (RFC 9111 sections 3.2 and 4.3.4). It is kept in the entity's row. What is fresh is *used*, never *offered* because of it:
//! each peer asks the origin by itself, under its own freshness.
//!
//! **A shared cache or a private one?** What peers may have, and what several users of a node may have, is shared: `s-maxage` and
//! `proxy-revalidate` apply ([`Sharing::Shared`]). What is private to this node is kept as by a private cache: they do not
//! ([`Sharing::Private`]). Whether it may be shared at all is [`super::NotShared`]'s business, and comes first.

mod clock;
mod decide;
mod directives;
#[cfg(test)]
mod oracle;
mod variant;

/// The grammar of directives, for the requests' as well.
pub(in crate::http) mod directive {
    pub(in crate::http) use super::clock::delta_seconds;
    pub(in crate::http) use super::directives::{members, split_member};
}

pub use clock::{BACKWARD_JUMP, Exchange};
pub use decide::{Decision, MAX_HEURISTIC, MustAsk, Sharing, Stale};
pub use variant::{MAX_SELECTING, Variant};

use super::RequestPrivacy;
use super::cache_control::CacheControl;
use super::date::date_field;
use ::http::header::{CACHE_CONTROL, DATE, EXPIRES, HeaderMap, LAST_MODIFIED};
use directives::Directives;
use serde::{Deserialize, Serialize};

/// What the origin's answers so far say about how long a version may be used without asking.
///
/// Serialisable and small: some 40 bytes without `Vary`. The fields are in the order in which they are written: a change
/// of it is a change of the index's format.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Freshness {
    /// When the newest answer was asked for and came, by this node's clock.
    exchange: Exchange,
    /// The newest answer's Date; without a valid one, it counts as made when it came (RFC 9110 section 6.6.1).
    date: Option<i64>,
    /// The newest answer's Age, in seconds; 0 without one.
    age: u32,
    /// `Cache-Control`, of the newest answer that had it.
    directives: Option<Directives>,
    /// Expires, of the newest answer that had it.
    expires: Option<Expires>,
    /// Last-Modified, of the newest answer that had a valid one.
    last_modified: Option<i64>,
    /// What selected the answer, of the newest answer with a `Vary`.
    variant: Option<Variant>,
    /// Whether the newest answer was given to somebody who proved who they are.
    is_personal: bool,
}

/// The request that an answer answers, or that a stored answer is to answer.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Its fields.
    pub fields: &'a HeaderMap,
    /// Whether something in it is the user's own.
    pub privacy: RequestPrivacy,
}

/// The `Expires` field (RFC 9111 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Expires {
    /// A date, in seconds since the Unix epoch.
    At(i64),
    /// No valid date, "0" above all, or several fields: in the past.
    Past,
}

impl Freshness {
    /// The facts of an answer with status 200 or 206, or to a HEAD, or of a 304.
    #[must_use]
    pub fn of(headers: &HeaderMap, question: Question<'_>, exchange: Exchange) -> Self {
        Self {
            exchange,
            date: date_field(headers, DATE),
            age: clock::age_field(headers),
            directives: headers.contains_key(CACHE_CONTROL).then(|| Directives::of(headers, CacheControl::of(headers))),
            expires: headers
                .contains_key(EXPIRES)
                .then(|| date_field(headers, EXPIRES).map_or(Expires::Past, Expires::At)),
            last_modified: date_field(headers, LAST_MODIFIED),
            variant: Variant::of(headers, question.fields),
            is_personal: question.privacy == RequestPrivacy::Personal,
        }
    }

    /// The facts after a later answer about the same version: each field that it has replaces the stored one, the rest
    /// stays (RFC 9111 section 3.2). An answer that came earlier changes nothing.
    ///
    /// `Age` and `Date` always come from the later answer, for they say how old *that* answer is: an old `Age` kept beside a new
    /// moment of reception would count the same seconds twice.
    #[must_use]
    pub fn updated(self, later: Self) -> Self {
        if later.exchange.is_before(self.exchange) {
            return self;
        }
        Self {
            exchange: later.exchange,
            date: later.date,
            age: later.age,
            directives: later.directives.or(self.directives),
            expires: later.expires.or(self.expires),
            last_modified: later.last_modified.or(self.last_modified),
            variant: later.variant.or(self.variant),
            is_personal: later.is_personal,
        }
    }

    /// When the newest answer came, in seconds since the Unix epoch.
    #[must_use]
    pub fn received(&self) -> i64 {
        self.exchange.received
    }

    /// The age at `now` in whole seconds, for the `Age` field (RFC 9111 section 5.1); `None` when the clock has gone back behind the
    /// answer.
    #[must_use]
    pub fn age(&self, now: i64) -> Option<i64> {
        self.current_age(now)
    }

    /// Whether the origin promises not to change it while it is fresh (RFC 8246).
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.directives.is_some_and(|directives| directives.immutable)
    }

    /// Seconds for which the origin allows use after the end of freshness, should it not be reachable (RFC 5861 section 4).
    /// None where it forbids all use of stale answers (RFC 9111 section 4.2.4).
    #[must_use]
    pub fn stale_if_error(&self) -> Option<u32> {
        let directives = self.directives.filter(|d| !d.must_revalidate && !d.no_cache && !d.proxy_revalidate)?;
        directives.stale_if_error
    }
}

#[cfg(test)]
pub(in crate::http::freshness) mod tests {
    use super::*;
    use crate::http::fixture::{NOW, head};

    const DATE_NOW: &str = "Sun, 06 Nov 1994 13:00:00 GMT";

    pub(in crate::http::freshness) fn plain(fields: &HeaderMap) -> Question<'_> {
        Question { fields, privacy: RequestPrivacy::Plain }
    }

    fn facts(fields: &[(&'static str, &str)], received: i64) -> Freshness {
        let exchange = Exchange { asked: received, received };
        Freshness::of(&head(200, fields).headers, plain(&HeaderMap::new()), exchange)
    }

    fn decide(facts: &Freshness, now: i64) -> Decision {
        facts.decide(Sharing::Shared, plain(&HeaderMap::new()), now)
    }

    #[test]
    fn a_304_replaces_what_it_names_and_leaves_the_rest() {
        let stored = facts(&[("date", DATE_NOW), ("cache-control", "max-age=60"), ("age", "50")], NOW);
        assert_eq!(decide(&stored, NOW), Decision::Fresh { seconds: 10 });
        let silent = stored.clone().updated(facts(&[], NOW + 100));
        assert_eq!(decide(&silent, NOW + 100), Decision::Fresh { seconds: 60 }, "the old Age does not count any more");
        let speaking = stored.updated(facts(&[("cache-control", "no-cache")], NOW + 100));
        assert_eq!(decide(&speaking, NOW + 100), Decision::MustAsk(MustAsk::NoCache));
    }

    #[test]
    fn an_answer_that_came_before_the_stored_one_changes_nothing() {
        let stored = facts(&[("cache-control", "max-age=60")], NOW);
        assert_eq!(stored.clone().updated(facts(&[("cache-control", "max-age=600")], NOW - 1)), stored);
    }

    #[test]
    fn the_end_of_use_on_error_is_kept_unless_stale_use_is_forbidden() {
        let says = |value: &str| facts(&[("cache-control", value)], NOW).stale_if_error();
        assert_eq!(says("max-age=1, stale-if-error=600"), Some(600));
        assert_eq!(says("max-age=1"), None);
        assert_eq!(says("max-age=1, stale-if-error=600, must-revalidate"), None);
    }

    #[test]
    fn it_is_small_in_a_row_and_comes_back_the_same() {
        let fields = [("date", DATE_NOW), ("cache-control", "max-age=604800, immutable"), ("vary", "accept-encoding")];
        let stored = facts(&fields, NOW);
        let row = postcard::to_stdvec(&stored).expect("plain data");
        assert!(row.len() <= 80, "{}", row.len());
        assert_eq!(postcard::from_bytes::<Freshness>(&row).expect("the same"), stored);
    }
}
