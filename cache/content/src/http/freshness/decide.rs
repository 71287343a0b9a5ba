//! Fresh, stale, or to be asked about (RFC 9111 section 4).

use super::directives::Seconds;
use super::{Expires, Freshness, Question};
use crate::http::RequestPrivacy;

/// The longest lifetime, in seconds, that is guessed from Last-Modified where the origin names none.
pub const MAX_HEURISTIC: i64 = 24 * 3600;

/// The part of an answer's age at which it was last modified that is guessed as its lifetime (RFC 9111 section 4.2.2).
const HEURISTIC_PART: i64 = 10;

/// As which kind of cache the node keeps the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// For more than one user: `s-maxage` and `proxy-revalidate` apply.
    Shared,
    /// For one.
    Private,
}

/// Whether a stored version may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It may, without asking, for so many seconds more.
    Fresh {
        /// Whole seconds, at least 1.
        seconds: u32,
    },
    /// It should be asked about: its time is over.
    Stale(Stale),
    /// It must be asked about, whatever its age.
    MustAsk(MustAsk),
}

/// Why a version is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stale {
    /// Its lifetime is over.
    #[error("the lifetime that the origin named ended {seconds} s ago")]
    Expired {
        /// Since when, in whole seconds.
        seconds: u32,
    },
    /// The lifetime that was guessed from Last-Modified is over.
    #[error("the lifetime that was guessed from Last-Modified ended {seconds} s ago")]
    GuessExpired {
        /// Since when, in whole seconds.
        seconds: u32,
    },
    /// The origin has named no lifetime, and there is nothing to guess one from.
    #[error("the origin names no lifetime")]
    NoLifetime,
    /// The directive has no number, or two different ones (RFC 9111 section 4.2.1).
    #[error("the lifetime that the origin names is not clear")]
    Unclear,
    /// The clock has gone back to before the answer came (C-13).
    #[error("the clock has gone back to before it was received")]
    ClockWentBack,
}

/// Why a version must be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MustAsk {
    /// `no-cache` (RFC 9111 section 5.2.2.4); qualified by field names, too.
    #[error("the origin wants to be asked each time (no-cache)")]
    NoCache,
    /// `no-store`: it is here for the job that is fetching it and for no other (RFC 9111 section 5.2.2.5).
    #[error("the origin forbids storing it (no-store)")]
    NoStore,
    /// Either request carried something that proves who the user is, and only the origin can tell what they may have (RFC
    /// 9111 section 3.5, stricter: no directive of the answer lifts it here).
    #[error("it belongs to somebody who proved who they are to the origin")]
    Personal,
    /// The URL led here through redirects, about which nothing is stored: they may lead elsewhere by now.
    #[error("its URL redirects, and the redirect may have changed")]
    Redirected,
    /// The request would select another answer (RFC 9111 section 4.1), or `Vary: *`.
    #[error("the request may select another variant (Vary)")]
    OtherVariant,
    /// Its time is over, and the origin forbids any use after it: `must-revalidate`, or `proxy-revalidate` or `s-maxage` for what
    /// is shared (RFC 9111 sections 5.2.2.2, 5.2.2.8, 5.2.2.10).
    #[error("its time is over, and the origin forbids use after that (must-revalidate)")]
    MustRevalidate,
}

/// The lifetime of a version, and who says so.
#[derive(Clone, Copy)]
enum Lifetime {
    Named(i64),
    Guessed(i64),
}

impl Freshness {
    /// Decides at `now` (seconds since the Unix epoch) whether the version may answer a request for its own URL.
    #[must_use]
    pub fn decide(&self, sharing: Sharing, question: Question<'_>, now: i64) -> Decision {
        let directives = self.directives.unwrap_or_default();
        if directives.no_store {
            return Decision::MustAsk(MustAsk::NoStore);
        }
        if self.is_personal || question.privacy == RequestPrivacy::Personal {
            return Decision::MustAsk(MustAsk::Personal);
        }
        if directives.no_cache {
            return Decision::MustAsk(MustAsk::NoCache);
        }
        if self.variant.as_ref().is_some_and(|variant| !variant.is_selected_by(question.fields)) {
            return Decision::MustAsk(MustAsk::OtherVariant);
        }
        let stale = match self.left(sharing, now) {
            // Exactly as old as its lifetime is not fresh any more: the lifetime must be greater (RFC 9111 section 4.2).
            Ok((_, left)) if left > 0 => return Decision::Fresh { seconds: u32::try_from(left).unwrap_or(u32::MAX) },
            Ok((lifetime, left)) => expired(lifetime, left),
            Err(stale) => stale,
        };
        let for_shared = directives.proxy_revalidate || directives.s_maxage.is_some();
        if directives.must_revalidate || sharing == Sharing::Shared && for_shared {
            return Decision::MustAsk(MustAsk::MustRevalidate);
        }
        Decision::Stale(stale)
    }

    /// Whether the origin has named no lifetime, so that a shared cache would guess one (RFC 9111 section 4.2.2).
    #[must_use]
    pub fn is_guessed(&self) -> bool {
        matches!(self.lifetime(Sharing::Shared), Ok(Lifetime::Guessed(_)))
    }

    /// The lifetime, and how many seconds of it are left.
    fn left(&self, sharing: Sharing, now: i64) -> Result<(Lifetime, i64), Stale> {
        let lifetime = self.lifetime(sharing)?;
        let (Lifetime::Named(seconds) | Lifetime::Guessed(seconds)) = lifetime;
        let age = self.current_age(now).ok_or(Stale::ClockWentBack)?;
        Ok((lifetime, seconds.saturating_sub(age)))
    }

    /// The freshness lifetime (RFC 9111 section 4.2.1): the first that applies of `s-maxage`, `max-age`, Expires, a guess.
    fn lifetime(&self, sharing: Sharing) -> Result<Lifetime, Stale> {
        let directives = self.directives.unwrap_or_default();
        let s_maxage = directives.s_maxage.filter(|_| sharing == Sharing::Shared);
        match s_maxage.or(directives.max_age) {
            Some(Seconds::Of(seconds)) => return Ok(Lifetime::Named(i64::from(seconds))),
            Some(Seconds::Unclear) => return Err(Stale::Unclear),
            None => {}
        }
        match self.expires {
            Some(Expires::At(moment)) => return Ok(Lifetime::Named(moment.saturating_sub(self.date_value()).max(0))),
            Some(Expires::Past) => return Ok(Lifetime::Named(0)),
            None => {}
        }
        let unchanged = self.last_modified.map(|date| self.date_value().saturating_sub(date).max(0));
        let guess = unchanged.ok_or(Stale::NoLifetime)? / HEURISTIC_PART;
        Ok(Lifetime::Guessed(guess.min(MAX_HEURISTIC)))
    }
}

fn expired(lifetime: Lifetime, left: i64) -> Stale {
    let seconds = u32::try_from(left.unsigned_abs()).unwrap_or(u32::MAX);
    match lifetime {
        Lifetime::Named(_) => Stale::Expired { seconds },
        Lifetime::Guessed(_) => Stale::GuessExpired { seconds },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exchange;
    use super::super::tests::plain;
    use super::*;
    use crate::http::fixture::{NOW, head};
    use ::http::HeaderMap;

    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 13:00:00 GMT");

    fn decide_as(sharing: Sharing, fields: &[(&'static str, &str)], after: i64) -> Decision {
        let exchange = Exchange { asked: NOW, received: NOW };
        let none = HeaderMap::new();
        Freshness::of(&head(200, fields).headers, plain(&none), exchange).decide(sharing, plain(&none), NOW + after)
    }

    fn decide(fields: &[(&'static str, &str)], after: i64) -> Decision {
        decide_as(Sharing::Shared, fields, after)
    }

    fn control(value: &str, after: i64) -> Decision {
        decide(&[DATE, ("cache-control", value)], after)
    }

    #[test]
    fn max_age_is_counted_down_to_the_second() {
        assert_eq!(control("max-age=60", 0), Decision::Fresh { seconds: 60 });
        assert_eq!(control("max-age=60", 59), Decision::Fresh { seconds: 1 });
        assert_eq!(control("max-age=60", 60), Decision::Stale(Stale::Expired { seconds: 0 }));
        assert_eq!(control("max-age=60", 100), Decision::Stale(Stale::Expired { seconds: 40 }));
        assert_eq!(control("max-age=0", 0), Decision::Stale(Stale::Expired { seconds: 0 }));
    }

    #[test]
    fn max_age_goes_before_expires_and_expires_before_a_guess() {
        let expires = ("expires", "Sun, 06 Nov 1994 13:10:00 GMT");
        let modified = ("last-modified", "Sun, 06 Nov 1994 12:00:00 GMT");
        assert_eq!(decide(&[DATE, expires, ("cache-control", "max-age=5")], 0), Decision::Fresh { seconds: 5 });
        assert_eq!(decide(&[DATE, expires, modified], 0), Decision::Fresh { seconds: 600 });
        assert_eq!(decide(&[DATE, modified], 0), Decision::Fresh { seconds: 360 });
        assert_eq!(decide(&[DATE], 0), Decision::Stale(Stale::NoLifetime));
    }

    #[test]
    fn expires_is_counted_from_the_origins_date_and_invalid_it_is_past() {
        let slow_clock = ("date", "Sun, 06 Nov 1994 12:00:00 GMT");
        let expires = ("expires", "Sun, 06 Nov 1994 14:00:00 GMT");
        // Two hours by the origin's clock, one of which seems to have passed already.
        assert_eq!(decide(&[slow_clock, expires], 0), Decision::Fresh { seconds: 3600 });
        for invalid in ["0", "-1", "soon", "Sun, 06 Nov 1994 14:00:00 CET"] {
            assert_eq!(decide(&[DATE, ("expires", invalid)], 0), Decision::Stale(Stale::Expired { seconds: 0 }));
        }
        assert_eq!(decide(&[DATE, expires, expires], 0), Decision::Stale(Stale::Expired { seconds: 0 }), "two of them");
    }

    #[test]
    fn a_guess_is_a_tenth_and_at_most_a_day() {
        let old = ("last-modified", "Thu, 06 Nov 1980 13:00:00 GMT");
        assert_eq!(decide(&[DATE, old], 0), Decision::Fresh { seconds: 24 * 3600 });
        assert_eq!(decide(&[DATE, old], 24 * 3600 + 7), Decision::Stale(Stale::GuessExpired { seconds: 7 }));
        let future = ("last-modified", "Mon, 06 Nov 2000 13:00:00 GMT");
        assert_eq!(decide(&[DATE, future], 0), Decision::Stale(Stale::GuessExpired { seconds: 0 }));
    }

    #[test]
    fn s_maxage_counts_for_what_is_shared_alone() {
        let fields = [DATE, ("cache-control", "s-maxage=600, max-age=5")];
        assert_eq!(decide_as(Sharing::Shared, &fields, 0), Decision::Fresh { seconds: 600 });
        assert_eq!(decide_as(Sharing::Private, &fields, 0), Decision::Fresh { seconds: 5 });
        assert_eq!(decide_as(Sharing::Shared, &fields, 600), Decision::MustAsk(MustAsk::MustRevalidate));
        assert_eq!(decide_as(Sharing::Private, &fields, 6), Decision::Stale(Stale::Expired { seconds: 1 }));
    }

    #[test]
    fn the_origins_wish_to_be_asked_goes_before_any_lifetime() {
        assert_eq!(control("max-age=60, no-cache", 0), Decision::MustAsk(MustAsk::NoCache));
        assert_eq!(control("max-age=60, No-Cache=\"x\"", 0), Decision::MustAsk(MustAsk::NoCache));
        assert_eq!(control("max-age=60, no-store", 0), Decision::MustAsk(MustAsk::NoStore));
        assert_eq!(control("max-age=60, must-revalidate", 0), Decision::Fresh { seconds: 60 });
        assert_eq!(control("max-age=60, must-revalidate", 60), Decision::MustAsk(MustAsk::MustRevalidate));
        assert_eq!(control("max-age=60, proxy-revalidate", 60), Decision::MustAsk(MustAsk::MustRevalidate));
        let vary = [DATE, ("cache-control", "max-age=60"), ("vary", "*")];
        assert_eq!(decide(&vary, 0), Decision::MustAsk(MustAsk::OtherVariant));
    }

    #[test]
    fn what_somebody_got_for_themselves_is_asked_about_each_time() {
        let none = HeaderMap::new();
        let personal = Question { fields: &none, privacy: RequestPrivacy::Personal };
        let answer = head(200, &[DATE, ("cache-control", "public, max-age=60")]).headers;
        let exchange = Exchange { asked: NOW, received: NOW };
        let theirs = Freshness::of(&answer, personal, exchange);
        let everybodys = Freshness::of(&answer, plain(&none), exchange);
        let must_ask = Decision::MustAsk(MustAsk::Personal);
        assert_eq!(theirs.decide(Sharing::Private, plain(&none), NOW), must_ask);
        assert_eq!(everybodys.decide(Sharing::Private, personal, NOW), must_ask);
        // Once the origin has given it to a stranger, it is everybody's.
        let opened = theirs.updated(everybodys);
        assert_eq!(opened.decide(Sharing::Private, plain(&none), NOW), Decision::Fresh { seconds: 60 });
    }

    #[test]
    fn what_is_unclear_is_stale() {
        for value in ["max-age=60, max-age=61", "max-age=x", "s-maxage=, max-age=60"] {
            let decision = decide_as(Sharing::Shared, &[DATE, ("cache-control", value)], 0);
            assert!(!matches!(decision, Decision::Fresh { .. }), "{value}: {decision:?}");
        }
        assert_eq!(control("max-age=60, max-age=61", 0), Decision::Stale(Stale::Unclear));
    }

    #[test]
    fn c13_after_a_jump_back_of_the_clock_nothing_is_fresh() {
        assert_eq!(control("max-age=60", -60), Decision::Fresh { seconds: 60 });
        assert_eq!(control("max-age=60", -61), Decision::Stale(Stale::ClockWentBack));
    }
}
