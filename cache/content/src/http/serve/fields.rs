//! Which fields are stored, sent on, and replaced by a 304 (RFC 9111 sections 3.1 and 3.2; RFC 9110 section 7.6.1).

use ::http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName};

/// The fields that go beyond one connection: without those of the connection itself, and those that `Connection` names.
#[must_use]
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut named = Vec::new();
    for value in headers.get_all(CONNECTION) {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        named.extend(text.split(',').map(|name| name.trim().to_ascii_lowercase()));
    }
    let is_kept = |name: &HeaderName| !HOP_BY_HOP.contains(&name.as_str()) && !named.iter().any(|n| n == name.as_str());
    headers.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The fields of an answer that are stored with it: those that go end to end, less those that speak of a proxy's own exchange.
#[must_use]
pub fn storable(headers: &HeaderMap) -> HeaderMap {
    let mut kept = end_to_end(headers);
    for name in ["proxy-authentication-info", "proxy-authenticate", "proxy-authorization"] {
        kept.remove(name);
    }
    kept
}

/// The stored fields after a 304 (RFC 9111 section 3.2): each field that it has replaces the stored one, except those that
/// describe the stored bytes themselves.
pub fn refresh(stored: &mut HeaderMap, not_modified: &HeaderMap) {
    let later = storable(not_modified);
    let is_taken = |name: &HeaderName| !OF_THE_BYTES.contains(name) && name != "content-md5";
    for name in later.keys().filter(|name| is_taken(name)) {
        stored.remove(name);
    }
    for (name, value) in later.iter().filter(|(name, _)| is_taken(name)) {
        stored.append(name, value.clone());
    }
}

/// What belongs to one connection (RFC 9110 section 7.6.1), and what is known to be taken for it.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// What a 304 must not change, because it says how the stored bytes are to be read.
const OF_THE_BYTES: [HeaderName; 3] = [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    #[test]
    fn what_belongs_to_the_connection_stays_there() {
        let fields = [("connection", "A, close"), ("a", "1"), ("b", "2"), ("keep-alive", "x"), ("te", "trailers")];
        let kept = end_to_end(&head(200, &fields).headers);
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), vec!["b"]);
    }

    #[test]
    fn a_304_replaces_fields_but_not_those_of_the_bytes() {
        let mut stored =
            head(200, &[("a", "1"), ("b", "1"), ("content-encoding", "x"), ("content-length", "5")]).headers;
        let later = [
            ("a", "2"),
            ("a", "3"),
            ("content-encoding", "y"),
            ("content-length", "0"),
            ("connection", "b"),
            ("b", "9"),
        ];
        refresh(&mut stored, &head(304, &later).headers);
        let all =
            |name: &str| stored.get_all(name).iter().map(|v| v.to_str().expect("text").to_owned()).collect::<Vec<_>>();
        assert_eq!((all("a"), all("b")), (vec!["2".to_owned(), "3".to_owned()], vec!["1".to_owned()]));
        assert_eq!((all("content-encoding"), all("content-length")), (vec!["x".to_owned()], vec!["5".to_owned()]));
    }
}
