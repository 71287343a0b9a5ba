//! Indexes whose files lie at another host lead through the gateway: the beginnings of URLs are replaced in pages and indexes.
//!
//! Only where the mount says so, only in text, and never in what peers or jobs see: the bytes are not the origin's any more.

use bytes::Bytes;
use eddy_content::http::ResponseHead;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

/// Whether an answer may hold links that are to be replaced.
pub(super) fn has_links(links: &[(String, String)], head: &ResponseHead) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let is_text = kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    !links.is_empty() && is_text && head.status == 200 && !head.headers.contains_key(CONTENT_ENCODING)
}

/// The content with its links replaced; fields that no longer fit it are taken out.
pub(super) fn lead(links: &[(String, String)], base: &str, fields: &mut HeaderMap, content: &[u8]) -> Bytes {
    for name in ["content-md5", "digest", "repr-digest", "content-digest"] {
        fields.remove(name);
    }
    fields.remove(CONTENT_LENGTH);
    let mut all = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.windows(4).position(|word| word == b"http") {
        let (before, here) = rest.split_at(at);
        all.extend_from_slice(before);
        match links.iter().find(|(from, _)| here.starts_with(from.as_bytes())) {
            Some((from, to)) => {
                all.extend_from_slice(base.as_bytes());
                all.extend_from_slice(to.as_bytes());
                rest = &here[from.len()..];
            }
            None => {
                all.extend_from_slice(&here[..4]);
                rest = &here[4..];
            }
        }
    }
    all.extend_from_slice(rest);
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_links_are_replaced() {
        let links = [("https://f.h/".to_owned(), "/files/".to_owned())];
        let text = br#"{"a":"https://f.h/x","b":"https://f.hh/y","c":"http","d":"https://f.h/"}"#;
        let mut fields = HeaderMap::from_iter([(CONTENT_LENGTH, http::HeaderValue::from_static("9"))]);
        let led = lead(&links, "http://127.0.0.1:1", &mut fields, text);
        let wanted =
            br#"{"a":"http://127.0.0.1:1/files/x","b":"https://f.hh/y","c":"http","d":"http://127.0.0.1:1/files/"}"#;
        assert_eq!(&led[..], &wanted[..]);
        assert!(fields.is_empty());
    }
}
