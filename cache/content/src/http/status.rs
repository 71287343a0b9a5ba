//! The other statuses: who must do what, and when. None of them touches the bytes held.

use super::date::parse_http_date;
use super::{Asked, ChangeReason, Expectation, Precondition, ResponseHead, Simpler, Verdict};
use ::http::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// The longest wait that an origin can impose.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Judges a status that carries no representation.
pub(super) fn judge(expectation: &Expectation, head: &ResponseHead, now: i64) -> Verdict {
    let status = head.status;
    let has_if_match = expectation.precondition == Precondition::IfMatch;
    match status {
        //
        412 if has_if_match => Verdict::Changed(ChangeReason::PreconditionFailed),
        401 | 407 => Verdict::Credentials { status },
        // 421: the connection serves another host (RFC 9110 section 15.5.20); 202: being prepared, ask again; 409: somebody else is
        // at work on it (F-29 of BITS).
        202 | 408 | 409 | 421 | 425 | 429 => transient(head, now),
        // any other 4xx may be about If-Match.
        400..=499 if has_if_match => Verdict::AskSimpler { status, without: Simpler::IfMatch },
        // Some servers sign or route GET alone.
        400..=499 | 501 if expectation.asked == Asked::Head => Verdict::AskSimpler { status, without: Simpler::Head },
        // That a resource is not there or not allowed does not depend on Range; these may.
        400 | 405 | 406 | 412 | 413 | 417 | 422 | 431 | 501 if matches!(expectation.asked, Asked::Range { .. }) => {
            Verdict::AskSimpler { status, without: Simpler::Range }
        }
        // What a server cannot do it will not do later (F-29 of BITS).
        501 | 505 => Verdict::Permanent { status },
        // Unknown classes count as 5xx (RFC 9110 section 15).
        500.. => transient(head, now),
        _ => Verdict::Permanent { status },
    }
}

fn transient(head: &ResponseHead, now: i64) -> Verdict {
    Verdict::Transient { status: head.status, retry_after: retry_after(&head.headers, now) }
}

/// Retry-After as a wait from `now`: delta-seconds or a date, at most [`MAX_RETRY_AFTER`]; garbage is no wish.
fn retry_after(headers: &HeaderMap, now: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let seconds = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // Digits alone can only fail by being too many.
        text.parse().unwrap_or(u64::MAX)
    } else {
        u64::try_from(parse_http_date(text)?.saturating_sub(now)).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}
