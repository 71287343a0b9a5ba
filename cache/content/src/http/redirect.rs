//! May this redirect be followed, and what may travel along (R-15, T-20)?

use super::{ProtocolFault, ResponseHead, Verdict};
use crate::ResourceUrl;
use crate::url::MAX_URL_LENGTH;
use ::http::header::LOCATION;
use std::fmt;

/// Redirects that one request may follow (T-20).
pub const MAX_REDIRECTS: usize = 10;

/// A Location value, verbatim; may be a signed URL, so it is never shown (T-36). Resolve it with [`ResourceUrl::join`].
#[derive(Clone, PartialEq, Eq)]
pub struct Location(String);

impl std::ops::Deref for Location {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Location {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Location(hidden)")
    }
}

/// Why a redirect is not followed. The origin's fault; a retry does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum RedirectRefusal {
    /// From https to http: the origin's word would no longer be proved (T-20).
    #[error("the server redirects from https to http")]
    Downgrade,
    /// To the very URL that redirected.
    #[error("the server redirects in a circle")]
    Loop,
}

/// Whether credentials and cookies may go along to the next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Carry {
    /// The same scheme, host and port.
    Credentials,
    /// Another origin: Authorization, Cookie and the like stay behind.
    Nothing,
}

/// Whether the hop may be taken. That both are http or https is in their type; that the number of hops stays within
/// [`MAX_REDIRECTS`] and each address passes [`super::may_connect`] is the caller's to see.
pub fn may_follow(from: &ResourceUrl, to: &ResourceUrl) -> Result<(), RedirectRefusal> {
    if from.is_https() && !to.is_https() {
        return Err(RedirectRefusal::Downgrade);
    }
    if from == to {
        return Err(RedirectRefusal::Loop);
    }
    Ok(())
}

/// What may travel from hop to hop.
#[must_use]
pub fn may_carry_credentials(from: &ResourceUrl, to: &ResourceUrl) -> Carry {
    if from.origin() == to.origin() { Carry::Credentials } else { Carry::Nothing }
}

/// Judges a 3xx other than 304 by its Location.
pub(super) fn judge(head: &ResponseHead) -> Verdict {
    let mut locations = head.headers.get_all(LOCATION).iter();
    match (locations.next().map(|value| std::str::from_utf8(value.as_bytes())), locations.next()) {
        (Some(Ok(location)), None) if !location.trim().is_empty() && location.len() <= MAX_URL_LENGTH => {
            Verdict::Redirect { location: location.trim().into() }
        }
        // 300 may offer a list to a person instead (RFC 9110 section 15.4.1).
        (None, _) if head.status == 300 => Verdict::Permanent { status: 300 },
        _ => ProtocolFault::BadLocation.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ResourceUrl {
        ResourceUrl::parse(text).expect("parses")
    }

    #[test]
    fn t20_https_never_becomes_http() {
        let follow = |from: &str, to: &str| may_follow(&url(from), &url(to));
        assert_eq!(follow("https://a/x", "http://a/x"), Err(RedirectRefusal::Downgrade));
        assert_eq!(follow("http://a/x", "https://a/x"), Ok(()));
        assert_eq!(follow("https://a/x", "https://b/y"), Ok(()));
        assert_eq!(follow("https://a/x", "https://a/x"), Err(RedirectRefusal::Loop));
    }

    #[test]
    fn t20_only_http_and_https_can_be_named() {
        let from = url("https://a/x");
        for location in ["file:///etc/passwd", "ftp://a/x", "unix:/run/x.sock", "gopher://a", "data:,x", "javascript:1"]
        {
            assert!(from.join(location).is_err(), "{location}");
        }
    }

    #[test]
    fn r15_credentials_stay_with_their_origin() {
        let carry = |from: &str, to: &str| may_carry_credentials(&url(from), &url(to));
        assert_eq!(carry("https://a/x", "https://a:443/y"), Carry::Credentials);
        for other in ["https://b/x", "https://a:8443/x", "http://a/x", "https://sub.a/x"] {
            assert_eq!(carry("https://a/x", other), Carry::Nothing, "{other}");
        }
    }
}
