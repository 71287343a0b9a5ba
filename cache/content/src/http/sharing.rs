//! May an answer be stored, and may its bytes be offered to peers (RFC 9111 section 3; T-31 to T-37)?

use super::cache_control::CacheControl;
use super::signed_url::credential_mark;
use super::{Coding, Expectation, RequestPrivacy};
use crate::ResourceUrl;
use ::http::header::{HeaderMap, SET_COOKIE, VARY};

/// Why an answer may not be stored (RFC 9111 section 3). The job that asked for it is served all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotStored {
    /// `Cache-Control: no-store`, and no `must-understand` that lifts it (RFC 9111 section 5.2.2.3).
    #[error("the origin forbids storing it (no-store)")]
    NoStore,
}

/// Why an answer may be stored for its own job but not shared with peers (T-31 to T-37).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum NotShared {
    /// The request carried something personal (T-31, T-34).
    #[error("the request carried credentials or headers of the user's own")]
    PersonalRequest,
    /// It may not even be stored.
    #[error(transparent)]
    NotStored(#[from] NotStored),
    /// `Cache-Control: private`, qualified or not (T-35).
    #[error("the origin calls it private")]
    Private,
    /// `Set-Cookie` (T-35).
    #[error("the origin sent a cookie with it")]
    SetCookie,
    /// `Vary` names something other than Accept-Encoding (T-35).
    #[error("the origin varies it by more than Accept-Encoding")]
    Vary,
    /// The URL itself is a credential (T-36); holds the parameter's name.
    #[error("the URL holds a credential ({0})")]
    SignedUrl(&'static str),
    /// 203: a proxy has transformed it (RFC 9110 section 15.3.4), so it is not the origin's word (T-32).
    #[error("a proxy has transformed it (203)")]
    Transformed,
    /// The bytes are coded though identity was asked: the entity key does not name the coding.
    #[error("the origin sent it in a content coding that nobody asked for")]
    ContentCoding,
    /// No strong validator: never peer-cached (R-05, T-03).
    #[error("the origin names no strong version mark")]
    NoValidator,
}

impl NotShared {
    /// Whether a digest from the job may lift it: who can name the content by its hash knows it already (T-36).
    #[must_use]
    pub fn is_lifted_by_digest(self) -> bool {
        matches!(self, Self::SignedUrl(_))
    }
}

/// Whether the bytes may be kept. The statuses that get here (200, 206, 304) are understood, so `must-understand`
/// overrides `no-store` (RFC 9111 section 5.2.2.3).
pub(super) fn storable(headers: &HeaderMap) -> Result<(), NotStored> {
    let control = CacheControl::of(headers);
    if control.no_store && !control.must_understand { Err(NotStored::NoStore) } else { Ok(()) }
}

/// Whether the head and the request allow sharing; the validator is the caller's to check.
pub(super) fn shareable(expectation: &Expectation, headers: &HeaderMap, coding: &Coding) -> Result<(), NotShared> {
    if expectation.privacy == RequestPrivacy::Personal {
        return Err(NotShared::PersonalRequest);
    }
    storable(headers)?;
    if CacheControl::of(headers).private {
        return Err(NotShared::Private);
    }
    if headers.contains_key(SET_COOKIE) {
        return Err(NotShared::SetCookie);
    }
    if varies(headers) {
        return Err(NotShared::Vary);
    }
    if *coding != Coding::Identity {
        return Err(NotShared::ContentCoding);
    }
    shareable_url(&expectation.url)
}

/// Whether the URL alone allows sharing: to be asked of the requested URL, too, when redirects led elsewhere.
pub fn shareable_url(url: &ResourceUrl) -> Result<(), NotShared> {
    credential_mark(url).map_or(Ok(()), |mark| Err(NotShared::SignedUrl(mark)))
}

/// Whether anything but Accept-Encoding selects the representation: that one is always `identity` here.
fn varies(headers: &HeaderMap) -> bool {
    headers.get_all(VARY).iter().any(|value| {
        value.to_str().map_or(true, |text| {
            text.split(',').map(str::trim).any(|name| !name.is_empty() && !name.eq_ignore_ascii_case("accept-encoding"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::{expect_whole, head};

    fn verdict(fields: &[(&'static str, &str)]) -> Result<(), NotShared> {
        shareable(&expect_whole(), &head(200, fields).headers, &Coding::Identity)
    }

    #[test]
    fn t31_t34_a_personal_request_is_never_shared_even_if_public() {
        let mut expectation = expect_whole();
        expectation.privacy = RequestPrivacy::Personal;
        let public = head(200, &[("cache-control", "public, s-maxage=60")]);
        assert_eq!(shareable(&expectation, &public.headers, &Coding::Identity), Err(NotShared::PersonalRequest));
    }

    #[test]
    fn t35_private_no_store_cookies_and_vary_are_not_shared() {
        assert_eq!(verdict(&[]), Ok(()));
        assert_eq!(verdict(&[("cache-control", "Private")]), Err(NotShared::Private));
        assert_eq!(verdict(&[("cache-control", "No-Store")]), Err(NotShared::NotStored(NotStored::NoStore)));
        assert_eq!(verdict(&[("set-cookie", "a=b")]), Err(NotShared::SetCookie));
        for vary in ["*", "Cookie", "Accept-Encoding, Origin", "accept"] {
            assert_eq!(verdict(&[("vary", vary)]), Err(NotShared::Vary), "{vary}");
        }
        assert_eq!(verdict(&[("vary", "accept-encoding"), ("vary", "Cookie")]), Err(NotShared::Vary));
        assert_eq!(verdict(&[("vary", "Accept-Encoding,")]), Ok(()));
    }

    #[test]
    fn must_understand_lifts_no_store() {
        let fields = [("cache-control", "must-understand, no-store")];
        assert_eq!(storable(&head(200, &fields).headers), Ok(()));
        assert_eq!(storable(&head(200, &[("cache-control", "no-store")]).headers), Err(NotStored::NoStore));
    }

    #[test]
    fn t36_a_signed_url_is_not_shared_unless_a_digest_names_the_content() {
        let mut expectation = expect_whole();
        expectation.url = ResourceUrl::parse("https://h/f?X-Amz-Signature=s").expect("parses");
        let refusal = shareable(&expectation, &head(200, &[]).headers, &Coding::Identity);
        assert_eq!(refusal, Err(NotShared::SignedUrl("x-amz-signature")));
        assert!(refusal.is_err_and(NotShared::is_lifted_by_digest) && !NotShared::Private.is_lifted_by_digest());
    }

    #[test]
    fn r35_coded_bytes_are_not_shared() {
        let coded = shareable(&expect_whole(), &head(200, &[]).headers, &Coding::Coded("gzip".into()));
        assert_eq!(coded, Err(NotShared::ContentCoding));
    }
}
