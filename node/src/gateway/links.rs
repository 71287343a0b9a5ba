//! Indexes whose files lie at another host lead through the gateway: the beginnings of URLs are replaced in pages and indexes.
//!
//! A mount that does not stand where its origin does may have the links that begin at the origin's root replaced as well: those of HTML, and
//! the `"url"` of Python's indexes (PEP 691). Only where the mount says so, only in text, and never in what peers or jobs see: the bytes are
//! not the origin's any more.

use bytes::Bytes;
use eddy_content::ResourceUrl;
use eddy_content::http::ResponseHead;
use eddy_content::http::serve::{Name, name_of};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue};

/// The link that stands for all that begin at the origin's root.
const ROOT: &str = "/";
/// What an index says of a wheel's own description (PEP 658): text, of which it names the digest.
const METADATA: &str = ".metadata";

/// Whether an answer may hold links that are to be replaced. Published files may be text: their bytes stay.
pub(super) fn has_links(links: &[(String, String)], url: &ResourceUrl, head: &ResponseHead) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let is_text = kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    let is_file = || name_of(url) == Name::Immutable || url.as_url().path().ends_with(METADATA);
    !links.is_empty() && is_text && head.status == 200 && !head.headers.contains_key(CONTENT_ENCODING) && !is_file()
}

/// Makes the fields of the origin's page fit one whose links are replaced. Its mark says only that the two mean the same: no range of the one
/// may ever be joined to the other (R-02).
pub(super) fn fit(fields: &mut HeaderMap) {
    for name in ["content-md5", "digest", "repr-digest", "content-digest"] {
        fields.remove(name);
    }
    fields.remove(CONTENT_LENGTH);
    if let Some(tag) = fields.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
        match HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
            Ok(weak) => drop(fields.insert(ETAG, weak)),
            Err(_) => drop(fields.remove(ETAG)),
        }
    }
}

/// The content with its links replaced.
pub(super) fn lead(links: &[(String, String)], base: &str, content: &[u8]) -> Bytes {
    let root = links.iter().find(|(from, _)| from == ROOT);
    let (mut all, mut copied, mut at) = (Vec::with_capacity(content.len()), 0, 0);
    while at < content.len() {
        let (before, here) = content.split_at(at);
        let found = match here[0] {
            b'h' if here.starts_with(b"http") => {
                links.iter().find(|(from, _)| here.starts_with(from.as_bytes())).map(|link| (base, link))
            }
            // `//host/` begins at no root.
            b'/' if !here.starts_with(b"//") && is_target(before) => root.map(|link| ("", link)),
            _ => None,
        };
        match found {
            Some((base, (from, to))) => {
                for part in [&content[copied..at], base.as_bytes(), to.as_bytes()] {
                    all.extend_from_slice(part);
                }
                at += from.len();
                copied = at;
            }
            None => at += 1,
        }
    }
    all.extend_from_slice(&content[copied..]);
    // It may lie there for long, and is counted as what it is.
    all.shrink_to_fit();
    all.into()
}

/// Whether what follows is where a link of HTML leads to, or a `"url"` of JSON.
fn is_target(before: &[u8]) -> bool {
    let (quote, before) = match before.split_last() {
        Some((quote @ (b'"' | b'\''), before)) => (Some(*quote), before),
        _ => (None, before),
    };
    let before = before.trim_ascii_end();
    if let Some(name) = before.strip_suffix(b"=") {
        let name = name.trim_ascii_end();
        return name.len() >= 4 && name[name.len() - 4..].eq_ignore_ascii_case(b"href");
    }
    let name = before.strip_suffix(b":").filter(|_| quote == Some(b'"'));
    name.is_some_and(|name| name.trim_ascii_end().ends_with(b"\"url\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_links_are_replaced() {
        let links = [("https://f.h/".to_owned(), "/files/".to_owned())];
        let text = br#"{"a":"https://f.h/x","b":"https://f.hh/y","c":"http","d":"https://f.h/"}"#;
        let led = lead(&links, "http://127.0.0.1:1", text);
        let wanted =
            br#"{"a":"http://127.0.0.1:1/files/x","b":"https://f.hh/y","c":"http","d":"http://127.0.0.1:1/files/"}"#;
        assert_eq!(&led[..], &wanted[..]);
        let length = led.len();
        assert_eq!(led.try_into_mut().expect("the only one").capacity(), length, "it takes no more than it has");
    }

    #[test]
    fn the_fields_of_a_led_page_promise_nothing_of_its_bytes() {
        for (tag, fitting) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
            let of = HeaderValue::from_static;
            let mut fields = HeaderMap::from_iter([(CONTENT_LENGTH, of("9")), (ETAG, of(tag))]);
            fields.insert("repr-digest", of("sha-256=:AA==:"));
            fit(&mut fields);
            assert_eq!(fields, HeaderMap::from_iter([(ETAG, of(fitting))]));
        }
    }

    #[test]
    fn links_from_the_origins_root_lead_below_the_mount_and_nothing_else_that_begins_with_a_slash() {
        let links = [("https://h/".to_owned(), "/m/".to_owned()), (ROOT.to_owned(), "/m/".to_owned())];
        let led = |text: &str| {
            let led = lead(&links, "http://g", text.as_bytes());
            String::from_utf8(led.to_vec()).expect("text")
        };
        for (before, after) in [
            ("<a href=\"/p/a.whl#sha256=1\">/p/a</a>", "<a href=\"/m/p/a.whl#sha256=1\">/p/a</a>"),
            ("<A HREF = '/p/a'><a href=/b>", "<A HREF = '/m/p/a'><a href=/m/b>"),
            ("{\"url\": \"/p/a\",\"name\":\"/p/a\"}", "{\"url\": \"/m/p/a\",\"name\":\"/p/a\"}"),
            ("<a href=\"https://h/p/a\"></a>", "<a href=\"http://g/m/p/a\"></a>"),
        ] {
            assert_eq!(led(before), after);
        }
        for same in [
            "<a href=\"../p/a\">",
            "<a href=\"//other.h/a\">",
            "<p title=\"/usr/bin\">",
            "{\"a\":[\"/x\"]}",
            "/",
            "",
            "=/x",
        ] {
            assert_eq!(led(same), same);
        }
    }

    #[test]
    fn published_files_are_no_pages_though_they_may_be_text() {
        let links = [(ROOT.to_owned(), "/m/".to_owned())];
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"))]);
        let head = ResponseHead { status: 200, version: http::Version::HTTP_11, headers };
        let has =
            |path: &str| has_links(&links, &ResourceUrl::parse(&format!("https://h{path}")).expect("parses"), &head);
        assert!(has("/simple/a/") && has("/config.json"));
        assert!(!has("/p/a-1-py3-none-any.whl.metadata") && !has("/p/a-1-py3-none-any.whl"));
    }
}
