//! Which fields of a client's request the origin gets (T-31).

use super::leave::Leave;
use crate::config::gateway::Fields;
use crate::origin::PERSONAL;
use eddy_content::http::RequestPrivacy;
use eddy_content::http::serve::{RequestDirectives, end_to_end};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// The fields that go on, and whether something in them is the user's own.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// The fields: without a range and without conditions, which are this node's business.
    pub(super) fields: HeaderMap,
    /// Whether the answer can only be this user's.
    pub(super) privacy: RequestPrivacy,
    /// Whether something in them proves who somebody is: peers get nothing of the answer, whoever may keep it here.
    pub(super) names_somebody: bool,
    /// Whether the request forbids that anything of the answer is kept (RFC 9111 section 5.2.1.5).
    pub(super) is_unkept: bool,
    /// The origin's leave, of one who has shown it a proof that goes with each question and is none of the fields.
    pub(super) leave: Option<Arc<Leave>>,
}

impl Sent {
    /// What of a request's fields goes on.
    pub(super) fn of(request: &HeaderMap, policy: Fields) -> Self {
        let mut fields = HeaderMap::new();
        for (name, value) in &end_to_end(request) {
            let is_negotiation = SELECTING.contains(name) || PERSONAL.contains(name);
            let goes = match policy {
                Fields::Negotiation => is_negotiation,
                Fields::All => !OURS.contains(name),
            };
            if goes {
                fields.append(name.clone(), value.clone());
            }
        }
        // ranges apply to the coded form, and who decodes cannot check a digest.
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let names_somebody = PERSONAL.iter().any(|name| fields.contains_key(name));
        let privacy = match policy {
            Fields::Negotiation if names_somebody => RequestPrivacy::Personal,
            // With all fields the rules of RFC 9111 section 3.5 look after Authorization.
            Fields::Negotiation | Fields::All => RequestPrivacy::Plain,
        };
        Self { fields, privacy, names_somebody, is_unkept: RequestDirectives::of(request).no_store, leave: None }
    }

    /// The fields of a question, with what proves who asks.
    pub(super) fn question(&self) -> HeaderMap {
        let mut fields = self.fields.clone();
        if let Some(leave) = &self.leave {
            leave.show(&mut fields);
        }
        fields
    }

    /// What of them proves who asks.
    pub(super) fn proof(&self) -> HeaderMap {
        let is_proof = |(name, _): &(&HeaderName, &HeaderValue)| PERSONAL.contains(name);
        self.fields.iter().filter(is_proof).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The others.
    pub(super) fn without_proof(mut self) -> Self {
        PERSONAL.iter().for_each(|name| drop(self.fields.remove(name)));
        self
    }

    /// The same fields, with the client's own range and conditions.
    pub(super) fn with_conditions(&self, request: &HeaderMap) -> HeaderMap {
        let mut fields = self.question();
        for name in CONDITIONAL {
            for value in request.get_all(&name) {
                fields.append(name.clone(), value.clone());
            }
        }
        fields
    }

    /// A name for requests that want the same of one URL.
    pub(super) fn likeness(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 gateway request");
        hasher.update(&[u8::from(self.is_unkept)]);
        let mut lines: Vec<_> = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        lines.sort_unstable();
        for part in lines.into_iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }
}

/// What chooses among variants.
const SELECTING: [HeaderName; 2] = [header::ACCEPT, header::ACCEPT_LANGUAGE];

/// What this node says itself.
const OURS: [HeaderName; 11] = [
    header::HOST,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::VIA,
];

/// Ranges and conditions.
const CONDITIONAL: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn names(sent: &Sent) -> Vec<&str> {
        let mut names: Vec<_> = sent.fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn t31_only_what_selects_goes_on_unless_the_administrator_says_otherwise() {
        let asked = request(&[
            ("accept", "text/html"),
            ("x-forwarded-host", "evil"),
            ("range", "bytes=0-1"),
            ("accept-encoding", "gzip"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ]);
        let sent = Sent::of(&asked, Fields::Negotiation);
        assert_eq!(names(&sent), ["accept", "accept-encoding"]);
        assert_eq!(
            (sent.privacy, &sent.fields["accept-encoding"]),
            (RequestPrivacy::Plain, &HeaderValue::from_static("identity"))
        );
        assert_eq!(names(&Sent::of(&asked, Fields::All)), ["accept", "accept-encoding", "x-forwarded-host"]);
        assert!(sent.with_conditions(&asked).contains_key("range"));
    }

    #[test]
    fn t34_what_proves_somebody_makes_the_answer_theirs() {
        for name in PERSONAL.each_ref().map(HeaderName::as_str) {
            let sent = Sent::of(&request(&[(name, "secret")]), Fields::Negotiation);
            assert_eq!(sent.privacy, RequestPrivacy::Personal, "{name}");
            assert!(sent.fields.contains_key(name) && sent.names_somebody, "{name}");
            assert!(Sent::of(&request(&[(name, "secret")]), Fields::All).names_somebody, "{name}");
        }
    }

    #[test]
    fn who_has_leave_is_like_others_who_have_it_and_shows_his_own_proof() {
        let admitted = |secret: &'static str| {
            let sent = Sent::of(&request(&[("accept", "a"), ("authorization", secret)]), Fields::Negotiation);
            let leave = Leave::shown(sent.proof()).expect("it can be sent");
            Sent { leave: Some(Arc::new(leave)), ..sent.without_proof() }
        };
        let (mine, other) = (admitted("Bearer mine"), admitted("Bearer other"));
        assert_eq!(mine.likeness(), other.likeness());
        assert!(!mine.fields.contains_key("authorization") && mine.names_somebody);
        for fields in [mine.question(), mine.with_conditions(&request(&[("range", "bytes=0-1")]))] {
            assert_eq!(
                (&fields["authorization"], &fields["accept"]),
                (&HeaderValue::from_static("Bearer mine"), &HeaderValue::from_static("a"))
            );
        }
        assert!(!format!("{mine:?}").contains("Bearer"));
    }

    #[test]
    fn requests_that_want_the_same_are_alike() {
        let of = |fields| Sent::of(&request(fields), Fields::Negotiation).likeness();
        assert_eq!(of(&[("accept", "a"), ("user-agent", "x")]), of(&[("accept", "a"), ("user-agent", "y")]));
        assert_ne!(of(&[("accept", "a")]), of(&[("accept", "b")]));
    }
}
