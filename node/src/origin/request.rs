//! The question, and the header fields that it becomes.
//!
//! Requests are built from nothing but the URL, the range, the precondition and the job's own fields (T-31): no cookies, no
//! referer, nothing that another client sent.

use super::error::Cause;
use super::head::LastHead;
use super::pace::Pace;
use super::proof::DigestUser;
use eddy_content::http::{AddressClass, Asked, Expectation, Known, Precondition, RequestPrivacy};
use eddy_content::url::Userinfo;
use eddy_content::{ResourceUrl, Validator};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// One question to an origin.
#[derive(Debug, Clone)]
pub struct OriginRequest {
    /// What is asked about.
    pub url: ResourceUrl,
    /// The head, the whole, or one range.
    pub asked: Asked,
    /// The precondition; anything but `None` needs a validator in `known`, and is left out without one.
    pub precondition: Precondition,
    /// The version that bytes are already held of.
    pub known: Option<Known>,
    /// Header fields of the job's own; they make the answer private and stay at the first origin.
    pub personal: PersonalHeaders,
    /// Credentials that rode in the URL; sent as Basic, to the first origin alone.
    pub credentials: Option<Userinfo>,
    /// What the first origin sees hashes of, if it wants any; in place of `credentials`.
    pub digest: Option<DigestUser>,
    /// What becomes of redirects.
    pub redirects: Redirecting,
    /// Another method than GET, for a question for the whole (F-68): asked once, and not led elsewhere.
    pub verb: Option<http::Method>,
    /// Where the head of the last answer is left, if somebody wants it.
    pub last_head: Option<LastHead>,
    /// How fast the body may come, if not as fast as it goes.
    pub pace: Option<Pace>,
    /// Of which class the address was that has led to the URL by a redirect: it is not named by whoever asks (T-20).
    pub led_by: Option<AddressClass>,
}

/// What becomes of redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirecting {
    /// They are followed, as far as T-20 lets them.
    #[default]
    Follow,
    /// They end the question.
    Refuse,
}

/// Header fields that a job adds to its requests. Never shown, never sent to another origin than the one they are for.
#[derive(Clone, Default)]
pub struct PersonalHeaders(HeaderMap);

impl std::fmt::Debug for PersonalHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PersonalHeaders({} hidden)", self.0.len())
    }
}

impl PersonalHeaders {
    /// Checks fields as a user typed them; the error names the first field that cannot be sent.
    pub fn parse<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, Cause> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let refused = || Cause::BadHeader(name.escape_debug().take(MAX_SHOWN_NAME).collect());
            let field = HeaderName::try_from(name).map_err(|_| refused())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| refused())?;
            if OURS.contains(&field) || headers.len() >= MAX_PERSONAL {
                return Err(refused());
            }
            value.set_sensitive(true);
            headers.append(field, value);
        }
        Ok(Self(headers))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl OriginRequest {
    /// A first question without preconditions, credentials or personal fields.
    #[must_use]
    pub fn new(url: ResourceUrl, asked: Asked) -> Self {
        Self {
            url,
            asked,
            precondition: Precondition::None,
            known: None,
            personal: PersonalHeaders::default(),
            credentials: None,
            digest: None,
            redirects: Redirecting::Follow,
            verb: None,
            last_head: None,
            pace: None,
            led_by: None,
        }
    }

    /// The same question about a version that is already known.
    #[must_use]
    pub fn about(mut self, known: Known, precondition: Precondition) -> Self {
        self.known = Some(known);
        self.precondition = precondition;
        self
    }

    /// What the judge is told about this question, asked at `url`.
    pub(crate) fn expectation(&self, url: &ResourceUrl) -> Expectation {
        let is_proved = self.credentials.is_some() || self.digest.is_some();
        let is_personal = !self.personal.is_empty() || is_proved || self.verb.is_some();
        Expectation {
            url: url.clone(),
            asked: self.asked.clone(),
            precondition: if self.validator().is_some() { self.sent_precondition() } else { Precondition::None },
            known: self.known.clone(),
            privacy: if is_personal { RequestPrivacy::Personal } else { RequestPrivacy::Plain },
        }
    }

    /// The fields by which an answer may be selected (RFC 9111 section 4.1), as the origin that the URL names would see them.
    pub fn selecting_fields(&self) -> Result<HeaderMap, Cause> {
        self.headers(Audience::NamedOrigin)
    }

    pub(super) fn method(&self) -> http::Method {
        match (&self.asked, &self.verb) {
            (Asked::Head, _) => http::Method::HEAD,
            (Asked::Whole, Some(verb)) => verb.clone(),
            // Range goes with GET alone.
            _ => http::Method::GET,
        }
    }

    /// The fields of one hop; `audience` says whether that hop may see what is personal.
    pub(super) fn headers(&self, audience: Audience) -> Result<HeaderMap, Cause> {
        let mut headers = match audience {
            Audience::NamedOrigin => self.personal.0.clone(),
            Audience::Stranger => HeaderMap::new(),
        };
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert("want-repr-digest", HeaderValue::from_static(WANTED_DIGESTS));
        // one range per request.
        if let Asked::Range { first, last } = self.asked {
            let last = last.map(|last| last.to_string()).unwrap_or_default();
            headers.insert(header::RANGE, value(&format!("bytes={first}-{last}"))?);
        }
        if let Some(validator) = self.validator() {
            let name = match (self.sent_precondition(), validator) {
                (Precondition::None, _) => return Ok(headers),
                (Precondition::IfRange, _) => header::IF_RANGE,
                (Precondition::IfMatch, Validator::StrongEtag(_)) => header::IF_MATCH,
                (Precondition::IfMatch, Validator::LastModified(_)) => header::IF_UNMODIFIED_SINCE,
                (Precondition::IfNoneMatch, Validator::StrongEtag(_)) => header::IF_NONE_MATCH,
                (Precondition::IfNoneMatch, Validator::LastModified(_)) => header::IF_MODIFIED_SINCE,
            };
            headers.insert(name, value(validator.header_value())?);
        }
        Ok(headers)
    }

    fn validator(&self) -> Option<&Validator> {
        self.known.as_ref()?.validator.as_ref()
    }

    /// If-Range never goes without Range.
    fn sent_precondition(&self) -> Precondition {
        match (self.precondition, &self.asked) {
            (Precondition::IfRange, Asked::Head | Asked::Whole) => Precondition::None,
            (precondition, _) => precondition,
        }
    }
}

/// Who will read a hop's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// The origin that the job names.
    NamedOrigin,
    /// An origin that a redirect named (T-20, R-15).
    Stranger,
}

fn value(text: &str) -> Result<HeaderValue, Cause> {
    // A validator came from an answer's header, so it is a legal value; a stored one that was tampered with is not.
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| Cause::BadHeader("validator".to_owned()))
}

/// Fields that eddy sets itself, or that belong to the connection: a job that set them would change what the judge judges.
const OURS: [HeaderName; 17] = [
    header::HOST,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("want-repr-digest"),
];

/// Personal fields of one job.
const MAX_PERSONAL: usize = 64;

/// Characters of a refused field's name that an error repeats.
const MAX_SHOWN_NAME: usize = 64;

/// RFC 9530 section 4: the digests that decide, strongest preferred.
const WANTED_DIGESTS: &str = "sha-256=10, sha-512=5";

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::http::Coding;

    fn url() -> ResourceUrl {
        ResourceUrl::parse("http://h/f").expect("parses")
    }

    fn known(validator: Validator) -> Known {
        Known { validator: Some(validator), length: Some(10), coding: Coding::Identity }
    }

    #[test]
    fn r10_if_range_goes_only_with_a_range() {
        let about = known(Validator::StrongEtag("\"a\"".into()));
        let whole = OriginRequest::new(url(), Asked::Whole).about(about.clone(), Precondition::IfRange);
        let headers = whole.headers(Audience::NamedOrigin).expect("legal");
        assert!(!headers.contains_key(header::IF_RANGE));
        assert_eq!(whole.expectation(&whole.url).precondition, Precondition::None);

        let range =
            OriginRequest::new(url(), Asked::Range { first: 3, last: None }).about(about, Precondition::IfRange);
        let headers = range.headers(Audience::NamedOrigin).expect("legal");
        assert_eq!(headers[header::RANGE], "bytes=3-");
        assert_eq!(headers[header::IF_RANGE], "\"a\"");
    }

    #[test]
    fn r12_r14_identity_is_always_asked_for_and_head_has_no_range() {
        let head = OriginRequest::new(url(), Asked::Head);
        let headers = head.headers(Audience::Stranger).expect("legal");
        assert_eq!(headers[header::ACCEPT_ENCODING], "identity");
        assert!(!headers.contains_key(header::RANGE));
        assert_eq!(head.method(), http::Method::HEAD);
    }

    #[test]
    fn f68_another_method_goes_with_the_whole_alone_and_makes_the_answer_private() {
        let ask = |asked| OriginRequest { verb: Some(http::Method::POST), ..OriginRequest::new(url(), asked) };
        assert_eq!(ask(Asked::Whole).method(), http::Method::POST);
        assert_eq!(ask(Asked::Range { first: 0, last: None }).method(), http::Method::GET);
        assert_eq!(ask(Asked::Whole).expectation(&url()).privacy, RequestPrivacy::Personal);
    }

    #[test]
    fn a_date_validator_uses_the_date_preconditions() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let ask = |precondition| {
            let request = OriginRequest::new(url(), Asked::Range { first: 0, last: Some(9) })
                .about(known(Validator::LastModified(date.into())), precondition);
            request.headers(Audience::NamedOrigin).expect("legal")
        };
        assert_eq!(ask(Precondition::IfMatch)[header::IF_UNMODIFIED_SINCE], date);
        assert_eq!(ask(Precondition::IfNoneMatch)[header::IF_MODIFIED_SINCE], date);
    }

    #[test]
    fn t31_a_job_cannot_set_the_fields_that_the_judge_relies_on() {
        for name in ["Range", "if-range", "Accept-Encoding", "Host", "Transfer-Encoding", "bad name", ""] {
            assert!(PersonalHeaders::parse([(name, "x")]).is_err(), "{name}");
        }
        assert!(PersonalHeaders::parse([("X-Key", "a\r\nb")]).is_err());
    }

    #[test]
    fn personal_fields_are_hidden_and_stay_with_the_named_origin() {
        let mut request = OriginRequest::new(url(), Asked::Whole);
        request.personal = PersonalHeaders::parse([("X-Api-Key", "topsecret")]).expect("legal");
        assert!(!format!("{request:?}").contains("topsecret"));
        assert_eq!(request.expectation(&request.url).privacy, RequestPrivacy::Personal);
        assert_eq!(request.headers(Audience::NamedOrigin).expect("legal")["x-api-key"], "topsecret");
        assert!(!request.headers(Audience::Stranger).expect("legal").contains_key("x-api-key"));
    }
}
