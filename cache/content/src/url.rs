//! The resource URL: what an entity is an entity *of*, and how a URL may be shown.
//!
//! Normalisation is the WHATWG serialisation without fragment and userinfo, nothing else: the query keeps its order and
//! case (T-33). Whatever shows a URL to a person shows [`ResourceUrl::redacted`], which is also its `Display` (T-36).

use ::url::Url;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of the longest URL that is accepted; longer ones are refused by common servers.
pub const MAX_URL_LENGTH: usize = 8 * 1024;

/// Bytes of the longest file name that common file systems take.
const MAX_FILE_NAME: usize = 255;

/// A normalised http or https URL without fragment and userinfo. Parsing its text gives it back.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceUrl(Url);

/// What a user typed as a URL, parsed: the resource, and what rode along with it.
#[derive(Clone, PartialEq, Eq)]
pub struct TypedUrl {
    /// The resource itself.
    pub resource: ResourceUrl,
    /// User name and password from the userinfo part, percent-decoded by nobody: private content (T-33).
    pub userinfo: Option<Userinfo>,
    /// The fragment, without `#`: may carry a digest (`sha256=...`).
    pub fragment: Option<String>,
}

impl fmt::Debug for TypedUrl {
    /// Without what rode along: fragments carry tokens as well as digests.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedUrl({})", self.resource)
    }
}

/// Credentials that rode in a URL; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Userinfo {
    /// The user name.
    pub user: String,
    /// The password, empty when there was none.
    pub password: String,
}

impl fmt::Debug for Userinfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Userinfo(hidden)")
    }
}

/// Why a string is no resource URL. The text of the URL is not repeated: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL by the WHATWG rules.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// A scheme other than http and https.
    #[error("unknown scheme `{0}`: only http and https can be fetched")]
    Scheme(String),
    /// No host.
    #[error("the URL names no host")]
    NoHost,
    /// Longer than [`MAX_URL_LENGTH`].
    #[error("the URL is longer than {MAX_URL_LENGTH} bytes")]
    TooLong,
}

/// Scheme, host and port: what connections, budgets and homes are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OriginKey(String);

impl OriginKey {
    /// `https://host:port`, with the port always written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for OriginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TypedUrl {
    /// Parses what a user typed.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_LENGTH {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text.trim()).map_err(|e| UrlError::Malformed(e.to_string()))?;
        Self::from_url(url, text)
    }

    /// The URL that was parsed from `text`.
    fn from_url(mut url: Url, text: &str) -> Result<Self, UrlError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme(url.scheme().to_owned()));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(UrlError::NoHost);
        }
        let userinfo = (!url.username().is_empty() || url.password().is_some()).then(|| Userinfo {
            user: url.username().to_owned(),
            password: url.password().unwrap_or_default().to_owned(),
        });
        let fragment = url.fragment().map(str::to_owned);
        url.set_fragment(None);
        // Both can only fail on URLs without a host, which were refused above.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if url.as_str().len() > MAX_URL_LENGTH {
            return Err(UrlError::TooLong);
        }
        // What is written down must come back. The standard promises that; nothing that was normal before needs a second look.
        if url.as_str() != text && Url::parse(url.as_str()).ok().as_ref() != Some(&url) {
            return Err(UrlError::Malformed("it reads differently once it is normal".to_owned()));
        }
        Ok(Self { resource: ResourceUrl(url), userinfo, fragment })
    }
}

impl ResourceUrl {
    /// Parses a URL and drops fragment and userinfo.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        TypedUrl::parse(text).map(|typed| typed.resource)
    }

    /// Resolves a `Location` value against this URL (RFC 9110 section 10.2.2); same refusals as for a typed URL.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.len() > MAX_URL_LENGTH {
            return Err(UrlError::TooLong);
        }
        let url = self.0.join(location).map_err(|e| UrlError::Malformed(e.to_string()))?;
        TypedUrl::from_url(url, location).map(|typed| typed.resource)
    }

    /// The same with one way to write its path: what need not be percent-encoded is not, and the rest in upper case (RFC 3986 sections 6.2.2.1 and
    /// 6.2.2.2). Clients differ in that, and all of them mean one resource. The query stays as it is (T-33).
    #[must_use]
    pub fn with_normal_path(mut self) -> Self {
        if let Some(path) = normal_encoding(self.0.path()) {
            self.0.set_path(&path);
        }
        self
    }

    /// The whole URL, query included: for requests and keys, never for people or logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The parsed URL, for HTTP clients.
    #[must_use]
    pub fn as_url(&self) -> &Url {
        &self.0
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> OriginKey {
        let host = self.0.host_str().unwrap_or_default();
        let port = self.0.port_or_known_default().unwrap_or_default();
        OriginKey(format!("{}://{host}:{port}", self.0.scheme()))
    }

    /// The host, as in the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, written or that of the scheme.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether the origin proves who it is.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// The query, if any.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.0.query()
    }

    /// The URL for people and logs: a query becomes `?...`, and so does a path that holds a token (T-36).
    #[must_use]
    pub fn redacted(&self) -> String {
        let query = if self.0.query().is_some() { "?..." } else { "" };
        let path = if crate::http::has_credential_path(self) { "/..." } else { self.0.path() };
        format!("{}{path}{query}", self.0.origin().ascii_serialization())
    }

    /// A safe local file name from the last path segment, or `None` when it gives none (T-27).
    ///
    /// No separators, no control or bidirectional characters, no leading dot, at most 255 bytes.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        let last = self.0.path_segments()?.next_back()?;
        safe_file_name(&percent_decode(last))
    }
}

/// Makes one path component of `name`, or `None` when nothing safe is left (T-27).
fn safe_file_name(name: &str) -> Option<String> {
    let is_kept = |c: &char| !c.is_control() && !is_invisible(*c) && !matches!(c, '/' | '\\');
    let clean: String = name.chars().filter(is_kept).collect();
    // Both at once: trimmed one after the other, a space would shield the dot behind it.
    let clean = clean.trim_start_matches(|c: char| c == '.' || c.is_whitespace()).trim_end();
    let mut end = clean.len().min(MAX_FILE_NAME);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    let clean = clean[..end].trim_end();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// Characters that make a name look like another one: directional, zero-width and line-separating ones.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A path in the normal form of its percent-encoding, if it is not in that; dots that lead somewhere were resolved before, however written.
fn normal_encoding(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    // Behind a `%` that encodes nothing, what is decoded would make it encode something: such a path has no other form.
    let encodes = |at: usize| path[at..].get(1..3).is_some_and(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if path.match_indices('%').any(|(at, _)| !encodes(at)) {
        return None;
    }
    while let Some((before, encoded)) = rest.split_once('%') {
        normal.push_str(before);
        let digits = encoded.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.map(|digits| (digits, u8::from_str_radix(digits, 16))) {
            Some((_, Ok(byte))) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte))
            }
            Some((digits, _)) => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
            None => normal.push('%'),
        }
        rest = digits.map_or(encoded, |digits| &encoded[digits.len()..]);
    }
    normal.push_str(rest);
    (normal != path).then_some(normal)
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|b| (*b as char).to_digit(16));
        match (bytes[i], hex(i + 1), hex(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl fmt::Display for ResourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for ResourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceUrl({})", self.redacted())
    }
}

impl TryFrom<String> for ResourceUrl {
    type Error = UrlError;
    fn try_from(text: String) -> Result<Self, UrlError> {
        Self::parse(&text)
    }
}

impl From<ResourceUrl> for String {
    fn from(url: ResourceUrl) -> Self {
        url.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_way_to_be_written_and_the_query_keeps_its_own() {
        let normal = |path: &str| {
            let url = ResourceUrl::parse(&format!("http://h{path}")).expect("parses").with_normal_path();
            assert_eq!(url.clone().with_normal_path(), url, "it stays");
            assert_eq!(ResourceUrl::parse(url.as_str()), Ok(url.clone()), "its text gives it back");
            url.as_str().trim_start_matches("http://h").to_owned()
        };
        assert_eq!(normal("/%7euser/%41%2d%5f.%2Edeb?q=%7e%2f"), "/~user/A-_..deb?q=%7e%2f");
        assert_eq!(normal("/libstdc%2b%2b6/@a%2fb/%c3%a4"), "/libstdc%2B%2B6/@a%2Fb/%C3%A4");
        assert_eq!(normal("/a+b/%zz/50%/%4/%"), "/a+b/%zz/50%/%4/%");
        assert_eq!(normal("/%2541"), "/%2541", "what is encoded twice is decoded by nobody");
        for path in ["/a/%2%65%2%65/b", "/a/.%2%65/b", "/a/%%32e%%32e/b", "/%%36%35", "/%zz/%7e"] {
            assert_eq!(normal(path), path, "what encodes nothing is not made to encode something");
        }
        assert_eq!(normal("/a/%2e%2e/b/%2e"), "/b/");
        assert_eq!(normal("/"), "/");
    }

    #[test]
    fn normalises_without_touching_the_query() {
        let url = ResourceUrl::parse("HTTP://Example.COM:80/a/../b%7e?B=2&a=%2F#frag").expect("parses");
        assert_eq!(url.as_str(), "http://example.com/b%7e?B=2&a=%2F");
        assert_eq!(url.origin().as_str(), "http://example.com:80");
    }

    #[test]
    fn different_hosts_schemes_and_ports_never_share_a_key() {
        let urls = ["http://a/x", "https://a/x", "http://b/x", "http://a:8080/x", "http://a/x?", "http://a/X"];
        let all: std::collections::HashSet<_> = urls.iter().map(|u| ResourceUrl::parse(u).expect("parses")).collect();
        assert_eq!(all.len(), urls.len());
    }

    #[test]
    fn userinfo_and_fragment_are_split_off() {
        let typed = TypedUrl::parse("https://user:secret@host/f#secret=ab").expect("parses");
        assert_eq!(typed.resource.as_str(), "https://host/f");
        assert_eq!(typed.fragment.as_deref(), Some("secret=ab"));
        assert_eq!(typed.userinfo.as_ref().map(|u| u.password.as_str()), Some("secret"));
        assert!(!format!("{typed:?}").contains("secret"));
    }

    #[test]
    fn the_query_is_never_shown() {
        let url = ResourceUrl::parse("https://host/f?X-Amz-Signature=topsecret").expect("parses");
        assert_eq!(url.to_string(), "https://host/f?...");
        assert!(!format!("{url:?}").contains("topsecret"));
        assert_eq!(ResourceUrl::parse("https://host:8443/f?").expect("parses").to_string(), "https://host:8443/f?...");
    }

    #[test]
    fn a_path_that_holds_a_token_is_never_shown() {
        let url = ResourceUrl::parse("https://[::1]:8443/exp=1~acl=/*~hmac=topsecret/f").expect("parses");
        assert_eq!(url.to_string(), "https://[::1]:8443/...");
        assert!(!format!("{url:?}").contains("topsecret"));
    }

    #[test]
    fn refuses_what_cannot_be_fetched() {
        assert_eq!(ResourceUrl::parse("ftp://h/x"), Err(UrlError::Scheme("ftp".into())));
        assert!(matches!(ResourceUrl::parse("no url"), Err(UrlError::Malformed(_))));
        assert!(ResourceUrl::parse("http:///").is_err());
        assert_eq!(ResourceUrl::parse(&format!("http://h/{}", "a".repeat(MAX_URL_LENGTH))), Err(UrlError::TooLong));
    }

    #[test]
    fn a_file_name_never_leaves_its_folder() {
        let name = |url: &str| ResourceUrl::parse(url).expect("parses").file_name();
        assert_eq!(name("http://h/a/b.iso").as_deref(), Some("b.iso"));
        assert_eq!(name("http://h/a/%2e%2e%2fetc%2fpasswd").as_deref(), Some("etcpasswd"));
        assert_eq!(name("http://h/%20.%20.bashrc").as_deref(), Some("bashrc"));
        assert_eq!(name("http://h/%e2%80%8b.profile").as_deref(), Some("profile"));
        assert_eq!(name("http://h/").as_deref(), None);
        assert_eq!(name("http://h/%2e%2e").as_deref(), None);
        assert_eq!(name("http://h/x%00%1b%e2%80%aey").as_deref(), Some("xy"));
        assert!(name(&format!("http://h/{}", "n".repeat(999))).is_some_and(|n| n.len() == 255));
        assert!(name(&format!("http://h/{}", "€".repeat(99))).is_some_and(|n| n.len() == 255));
    }
}
