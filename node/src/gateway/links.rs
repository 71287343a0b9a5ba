//! Indexes whose files lie at another host lead through the gateway: the beginnings of URLs are replaced in pages and indexes.
//!
//! A mount that does not stand where its origin does may have the links that begin at the origin's root replaced as well: those of HTML, and
//! the `"url"` of Python's indexes (PEP 691). Only where the mount says so, only in text, and never in what peers or jobs see: the bytes are
//! not the origin's any more.

use super::flight::Target;
use bytes::Bytes;
use eddy_content::ResourceUrl;
use eddy_content::http::serve::{Name, name_of};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};
use std::sync::Arc;
use url::Position;

/// Beginnings of URLs, and the paths of the gateway that stand for them; the longest first.
pub(super) type Links = Arc<[(String, String)]>;

/// The link that stands for all that begin at the origin's root.
const ROOT: &str = "/";
/// What an index says of a wheel's own description (PEP 658): text, of which it names the digest.
const METADATA: &str = ".metadata";

/// Whether an answer may hold links that are to be replaced. Published files may be text: their bytes stay.
pub(super) fn has_links(links: &[(String, String)], url: &ResourceUrl, (status, fields): (u16, &HeaderMap)) -> bool {
    if links.is_empty() || status != 200 || fields.contains_key(CONTENT_ENCODING) {
        return false;
    }
    let kind = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let is_text = kind.starts_with("text/") || kind.contains("json") || kind.contains("xml");
    is_text && may_have_links(links, url)
}

/// The same, as far as it is known without an answer.
pub(super) fn may_have_links(links: &[(String, String)], url: &ResourceUrl) -> bool {
    let is_file = || name_of(url) != Name::Plain || url.as_url().path().ends_with(METADATA);
    !links.is_empty() && !is_file()
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

/// Makes the fields fit by which the origin says that its page is still the one that a client has, where the client's own leads through the
/// gateway, by all that it says of it: it names the weak mark, or none.
pub(super) fn fit_unchanged(request: &HeaderMap, fields: &mut HeaderMap) {
    let mut marks = request.get_all(IF_NONE_MATCH).iter().map(HeaderValue::as_bytes).peekable();
    let weak_of = |tag: &HeaderValue| match tag.as_bytes() {
        weak @ [b'W', b'/', ..] => weak.to_vec(),
        strong => [b"W/", strong].concat(),
    };
    let weak = fields.get(ETAG).map(weak_of);
    let mut names_weak =
        |weak: &[u8]| marks.any(|line| line == b"*" || line.windows(weak.len()).any(|part| part == weak));
    if request.get(IF_NONE_MATCH).is_none() || weak.is_none_or(|weak| names_weak(&weak)) {
        fit(fields);
    }
}

/// What asks whether the origin's page is still the one whose mark has been made weak. Some origins compare marks as text.
pub(super) fn marks_of_page(fields: &HeaderMap) -> Option<HeaderValue> {
    let weak = fields.get(ETAG)?.as_bytes();
    let strong = weak.strip_prefix(b"W/")?;
    HeaderValue::from_bytes(&[strong, b", ", weak].concat()).ok()
}

/// The content of a page with its links replaced.
pub(super) fn lead(links: &[(String, String)], base: &str, page: &ResourceUrl, content: &[u8]) -> Bytes {
    let guide = Guide::of(links, base, page);
    let (mut all, mut copied, mut at) = (Vec::with_capacity(content.len()), 0, 0);
    while at < content.len() {
        let Some((length, parts)) = guide.look(content.split_at(at)) else {
            at += 1;
            continue;
        };
        all.extend_from_slice(&content[copied..at]);
        parts.iter().for_each(|part| all.extend_from_slice(part.as_bytes()));
        copied = at + length;
        at = copied.max(at + 1);
    }
    all.extend_from_slice(&content[copied..]);
    // It may lie there for long, and is counted as what it is.
    all.shrink_to_fit();
    all.into()
}

/// Where a redirect leads, as who asks at a mount gets there: through the gateway if the mount or one of its links leads there, else by its
/// whole URL, for a path from the origin's root is none of the gateway's. By a path alone (RFC 9110 section 10.2.2), which leads to whatever its
/// client calls the gateway.
pub(super) fn location(target: &Target, location: &str) -> Option<String> {
    let mount = target.mount.as_ref()?;
    let there = target.url.as_url().join(location).ok()?;
    let is_near = there.origin() == target.url.as_url().origin();
    let inside = |from: &str| there.as_str().strip_prefix(from);
    let by_link = || mount.links.iter().find_map(|(from, to)| Some((to.as_str(), inside(from)?)));
    let by_mount = || {
        let rest = inside(&mount.origin).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))?;
        Some((mount.path.as_str(), rest))
    };
    let by_root = || {
        let (_, to) = mount.links.iter().find(|(from, _)| from == ROOT && is_near)?;
        Some((to.as_str(), there[Position::BeforePath..].strip_prefix(ROOT)?))
    };
    let through = by_link().or_else(by_mount).or_else(by_root);
    Some(through.map_or_else(|| there.to_string(), |(to, rest)| own_path(to, rest)))
}

/// A path of the gateway's that reads as nothing else: two slashes would begin a host, and without one it would lead on from where its client is.
fn own_path(to: &str, rest: &str) -> String {
    let path = format!("{to}{rest}");
    match path.as_bytes() {
        [b'/', b'/' | b'\\', ..] => format!("/.{path}"),
        [b'/', ..] => path,
        _ => format!("/{path}"),
    }
}

/// What the links of one page become.
struct Guide<'a> {
    links: &'a [(String, String)],
    base: &'a str,
    /// Where links from the origin's root lead.
    root: Option<&'a str>,
    /// The page's host as a link begins that names no scheme, and its scheme.
    host: String,
    scheme: &'a str,
}

impl<'a> Guide<'a> {
    fn of(links: &'a [(String, String)], base: &'a str, page: &'a ResourceUrl) -> Self {
        let root = links.iter().find(|(from, _)| from == ROOT).map(|(_, to)| to.as_str());
        let url = page.as_url();
        Self {
            links,
            base,
            root,
            host: format!("//{}/", &url[Position::BeforeHost..Position::AfterPort]),
            scheme: url.scheme(),
        }
    }

    /// How many bytes of what begins here are replaced, and by what.
    fn look(&self, (before, here): (&[u8], &[u8])) -> Option<(usize, [&'a str; 2])> {
        match here[0] {
            b'h' if here.starts_with(b"http") => {
                self.links.iter().find_map(|(from, to)| Some((written(here, from)?, [self.base, to.as_str()])))
            }
            b'/' | b'\\' | b'&' => {
                let slash = written(here, "/").filter(|_| is_target(before))?;
                match written(&here[slash..], "/") {
                    Some(_) => self.look_at_host(here),
                    None => self.root.map(|to| (slash, ["", to])),
                }
            }
            _ => None,
        }
    }

    /// A link that names a host and no scheme has that of its page (RFC 3986 section 4.2). Unless it leads through the gateway it has to name it,
    /// for the gateway's own is another one.
    fn look_at_host(&self, here: &[u8]) -> Option<(usize, [&'a str; 2])> {
        let without_scheme = |from: &'a str| from.strip_prefix(self.scheme)?.strip_prefix(':');
        let by_link = self.links.iter().find_map(|(from, to)| {
            let length = without_scheme(from).and_then(|from| written(here, from))?;
            Some((length, [self.base, to.as_str()]))
        });
        let by_root = || Some((written(here, &self.host)?, ["", self.root?]));
        let whole = || (self.scheme == "https").then_some((0, ["https:", ""]));
        by_link.or_else(by_root).or_else(whole)
    }
}

/// How many bytes a text takes here, if it stands here, its slashes written as JSON or HTML may.
fn written(here: &[u8], text: &str) -> Option<usize> {
    let mut at = 0;
    for byte in text.bytes() {
        let is_slash =
            |slash: &&&[u8]| here[at..].get(..slash.len()).is_some_and(|found| found.eq_ignore_ascii_case(slash));
        at += match here.get(at) {
            Some(found) if *found == byte => 1,
            _ if byte == b'/' => SLASHES.iter().find(is_slash)?.len(),
            _ => return None,
        };
    }
    Some(at)
}

/// A slash in JSON and in HTML, in other words.
const SLASHES: [&[u8]; 4] = [br"\/", br"\u002f", b"&#47;", b"&#x2f;"];

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

    fn page(url: &str) -> ResourceUrl {
        ResourceUrl::parse(url).expect("parses")
    }

    #[test]
    fn only_the_named_links_are_replaced() {
        let links = [("https://f.h/".to_owned(), "/files/".to_owned())];
        let text = br#"{"a":"https://f.h/x","b":"https://f.hh/y","c":"http","d":"https://f.h/"}"#;
        let led = lead(&links, "http://127.0.0.1:1", &page("https://h/simple/"), text);
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
    fn who_asks_by_the_weak_mark_of_a_led_page_gets_that_back() {
        let of = HeaderValue::from_static;
        for (asked, said, fitting) in [
            (Some("W/\"a\""), "\"a\"", "W/\"a\""),
            (Some("\"b\", W/\"a\""), "\"a\"", "W/\"a\""),
            (None, "\"a\"", "W/\"a\""),
            (Some("*"), "\"a\"", "W/\"a\""),
            // It has the origin's own from somewhere else.
            (Some("\"a\""), "\"a\"", "\"a\""),
            (Some("W/\"aa\", \"a\""), "\"a\"", "\"a\""),
            (Some("W/\"a\""), "W/\"a\"", "W/\"a\""),
        ] {
            let request = HeaderMap::from_iter(asked.map(|asked| (IF_NONE_MATCH, of(asked))));
            let mut fields = HeaderMap::from_iter([(ETAG, of(said))]);
            fit_unchanged(&request, &mut fields);
            assert_eq!(fields[ETAG], fitting, "{asked:?}");
        }
    }

    #[test]
    fn a_path_of_the_gateways_names_no_other_host() {
        for (to, rest, path) in [
            ("/m", "/a?b#c", "/m/a?b#c"),
            ("/files/", "a", "/files/a"),
            ("", "/a", "/a"),
            ("", "//other.example/a", "/.//other.example/a"),
            ("/", "/other.example/a", "/.//other.example/a"),
            ("", "/\\other.example/a", "/./\\other.example/a"),
            ("", "?b", "/?b"),
            ("", "", "/"),
        ] {
            assert_eq!(own_path(to, rest), path);
            let seen = url::Url::parse("http://gateway/m/x").expect("parses").join(path).expect("joins");
            assert_eq!(seen.host_str(), Some("gateway"), "{path}");
        }
    }

    #[test]
    fn links_from_the_origins_root_lead_below_the_mount_and_nothing_else_that_begins_with_a_slash() {
        let links = [("https://h/".to_owned(), "/m/".to_owned()), (ROOT.to_owned(), "/m/".to_owned())];
        let led = |text: &str| {
            let led = lead(&links, "http://g", &page("https://h/simple/a/"), text.as_bytes());
            String::from_utf8(led.to_vec()).expect("text")
        };
        for (before, after) in [
            ("<a href=\"/p/a.whl#sha256=1\">/p/a</a>", "<a href=\"/m/p/a.whl#sha256=1\">/p/a</a>"),
            ("<A HREF = '/p/a'><a href=/b>", "<A HREF = '/m/p/a'><a href=/m/b>"),
            ("{\"url\": \"/p/a\",\"name\":\"/p/a\"}", "{\"url\": \"/m/p/a\",\"name\":\"/p/a\"}"),
            ("<a href=\"https://h/p/a\"></a>", "<a href=\"http://g/m/p/a\"></a>"),
            // The same in other words.
            ("<a href=\"//h/p/a\"><a href='&#x2F;p&#x2F;a'>", "<a href=\"http://g/m/p/a\"><a href='/m/p&#x2F;a'>"),
            (r#"{"url":"\/p\/a","b":"https:\/\/h\/p"}"#, r#"{"url":"/m/p\/a","b":"http://g/m/p"}"#),
            (r#"{"url":"\u002F\u002fh\u002fp"}"#, r#"{"url":"http://g/m/p"}"#),
            // It meant the scheme of its page.
            ("<a href=\"//other.h/a\">", "<a href=\"https://other.h/a\">"),
            (r#"{"url":"\/\/hh\/p"}"#, r#"{"url":"https:\/\/hh\/p"}"#),
        ] {
            assert_eq!(led(before), after);
        }
        for same in [
            "<a href=\"../p/a\">",
            "<p title=\"//other.h/a\">",
            r#"{"url":"\"}"#,
            "<a href=\"&#",
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
    fn a_host_without_a_scheme_is_that_of_the_page() {
        let links = [(ROOT.to_owned(), "/m/".to_owned()), ("https://f.h/".to_owned(), "/f/".to_owned())];
        let led = |at: &str, text: &str| {
            String::from_utf8(lead(&links, "http://g", &page(at), text.as_bytes()).to_vec()).expect("text")
        };
        let text = "<a href=//h:8080/a><a href=//h/a><a href=//f.h/a>";
        assert_eq!(led("http://h:8080/x", text), "<a href=/m/a><a href=//h/a><a href=//f.h/a>");
        assert_eq!(led("https://h/x", text), "<a href=https://h:8080/a><a href=/m/a><a href=http://g/f/a>");
    }

    #[test]
    fn a_page_is_asked_about_with_its_own_mark_as_well() {
        let of = HeaderValue::from_static;
        let marks = |tag| marks_of_page(&HeaderMap::from_iter([(ETAG, of(tag))]));
        assert_eq!((marks("W/\"a\""), marks("\"a\"")), (Some(of("\"a\", W/\"a\"")), None));
    }

    #[test]
    fn published_files_are_no_pages_though_they_may_be_text() {
        let links = [(ROOT.to_owned(), "/m/".to_owned())];
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"))]);
        let has = |path: &str| has_links(&links, &page(&format!("https://h{path}")), (200, &headers));
        assert!(has("/simple/a/") && has("/config.json"));
        assert!(!has("/p/a-1-py3-none-any.whl.metadata") && !has("/p/a-1-py3-none-any.whl"));
    }
}
