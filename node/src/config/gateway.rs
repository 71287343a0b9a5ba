//! `[gateway]`: what is served to tools over plain HTTP, and from which origins.

use eddy_content::ResourceUrl;
use eddy_content::http::serve::Keeping;
use eddy_content::url::{TypedUrl, UrlError};
use eddy_wire::api::amount::parse_age;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::Url;
use utoipa::ToSchema;

/// Mounts of one gateway.
pub const MAX_MOUNTS: usize = 256;

/// Where the gateway listens when nobody says.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7718);

/// `[gateway]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct GatewaySettings {
    /// Where it listens, over TCP: "127.0.0.1:7718". Port 0 takes any free one. Default: 127.0.0.1:7718.
    #[schema(value_type = Option<String>)]
    pub listen: Option<SocketAddr>,
    /// Who may ask, besides this machine: ["10.0.0.0/8"]. Needed for an address that others reach.
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<IpNet>,
    /// Names by which it may be called besides addresses and localhost, against pages that rebind their name: ["cache.lan"].
    pub names: Vec<String>,
    /// Whether it is a proxy for plain http URLs (`http_proxy`). Default: false.
    pub proxy: bool,
    /// Whether that proxy passes CONNECT on as a tunnel that it cannot see into. Default: false.
    pub tunnel: bool,
    /// What is served, by path.
    pub mount: Vec<MountSettings>,
}

/// `[[gateway.mount]]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MountSettings {
    /// The path under which it is served: "/debian".
    pub path: String,
    /// Whose it is: "https://host/debian".
    pub origin: String,
    /// What is kept: "files" for 200 alone and nothing personal, "rfc" for whatever a shared cache may keep. Default: "files".
    #[serde(default)]
    pub keep: Keep,
    /// Which fields of a request the origin gets: "negotiation" for what selects a variant, "all". Default: "negotiation".
    #[serde(default)]
    pub fields: Fields,
    /// What becomes of methods that change something: "refuse" or "forward". Default: "refuse".
    #[serde(default)]
    pub unsafe_methods: UnsafeMethods,
    /// Links in its pages and indexes that are to lead through the gateway as well, for registries that keep files elsewhere:
    /// { "https://files.host/" = "/files/" }; of "/", those that begin at the origin's root.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Whether what its pages and indexes say of files is held against those files: "believed", or "ignored" where several parties publish
    /// under one host, for one of them could say something false of another's. Default: "believed".
    #[serde(default)]
    pub indexes: Indexes,
    /// How long after its time something may still be used while the origin cannot be reached, where the origin says nothing about
    /// it: "1 h". Default: not at all.
    pub stale_on_error: Option<String>,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Files.
    #[default]
    Files,
    /// Whatever RFC 9111 allows.
    Rfc,
}

/// Which fields of a request go on to the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Fields {
    /// Those by which a variant is chosen, and what proves who somebody is.
    #[default]
    Negotiation,
    /// All that go end to end.
    All,
}

/// What becomes of methods that are not known to be safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum UnsafeMethods {
    /// 405.
    #[default]
    Refuse,
    /// To the origin; what they change is forgotten here.
    Forward,
}

/// Whether the digests count that pages and indexes name for files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Indexes {
    /// They are promises.
    #[default]
    Believed,
    /// Pages are content as any other.
    Ignored,
}

/// Why the gateway cannot be as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadGateway {
    /// A path that cannot be matched.
    #[error("a mount's path starts with `/` and has no `?`, `#`, `//`, `.` or `..` in it: {0}")]
    Path(String),
    /// The same path twice.
    #[error("two mounts have the path {0}")]
    Twice(String),
    /// An origin that is no URL.
    #[error("the origin of the mount {path}: {source}")]
    Origin {
        /// The mount.
        path: String,
        /// What is wrong.
        source: UrlError,
    },
    /// Credentials, a query or a fragment in an origin.
    #[error("the origin of the mount {0} may have no credentials, query or fragment")]
    NotPlain(String),
    /// More than [`MAX_MOUNTS`].
    #[error("at most {MAX_MOUNTS} mounts")]
    TooMany,
    /// An address that others reach, without saying who may.
    #[error("{0} can be reached from elsewhere: say in `allow` by whom")]
    Open(SocketAddr),
    /// A tunnel without a proxy.
    #[error("`tunnel` needs `proxy = true`")]
    TunnelAlone,
    /// A link that is none.
    #[error("a link leads from the beginning of a URL, or from `/`, to a path of the gateway: {0}")]
    Link(String),
    /// A time that is none.
    #[error("stale-on-error of the mount {path}: {reason}")]
    Time {
        /// The mount.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

/// A gateway as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPlan {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask besides this machine.
    pub allow: Vec<IpNet>,
    /// By which names.
    pub names: Vec<String>,
    /// Whether plain http URLs are fetched for whoever asks.
    pub proxy: bool,
    /// Whether tunnels are made.
    pub tunnel: bool,
    /// The mounts, the longest path first.
    pub mounts: Vec<MountPlan>,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// Its path, without a slash at the end: "" for everything.
    pub path: String,
    /// Its origin, without a slash at the end.
    pub origin: String,
    /// The rules.
    pub rules: MountRules,
    /// URLs that begin so, and the paths that stand for them; the longest first.
    pub links: Arc<[(String, String)]>,
}

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MountRules {
    /// What is kept.
    pub keeping: Keeping,
    /// Which fields go on.
    pub fields: Fields,
    /// What becomes of other methods.
    pub unsafe_methods: UnsafeMethods,
    /// Whether its pages promise something.
    pub indexes: Indexes,
    /// Seconds of stale use on error.
    pub stale_on_error: u32,
}

impl GatewaySettings {
    /// The gateway that is wanted; `None` where nothing is to be served.
    pub fn plan(&self) -> Result<Option<GatewayPlan>, BadGateway> {
        if self.tunnel && !self.proxy {
            return Err(BadGateway::TunnelAlone);
        }
        if self.mount.len() > MAX_MOUNTS {
            return Err(BadGateway::TooMany);
        }
        let listen = self.listen.unwrap_or(DEFAULT_LISTEN);
        if !listen.ip().is_loopback() && self.allow.is_empty() {
            return Err(BadGateway::Open(listen));
        }
        let mut mounts = self.mount.iter().map(MountSettings::plan).collect::<Result<Vec<_>, _>>()?;
        mounts.sort_by(|one, other| other.path.len().cmp(&one.path.len()).then_with(|| one.path.cmp(&other.path)));
        if let Some(pair) = mounts.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(BadGateway::Twice(pair[0].path.clone()));
        }
        let (allow, names) = (self.allow.clone(), self.names.iter().map(|name| name.to_ascii_lowercase()).collect());
        let plan = GatewayPlan { listen, allow, names, proxy: self.proxy, tunnel: self.tunnel, mounts };
        Ok((plan.proxy || !plan.mounts.is_empty()).then_some(plan))
    }
}

impl MountSettings {
    fn plan(&self) -> Result<MountPlan, BadGateway> {
        let path = self.path.trim_end_matches('/').to_owned();
        let is_odd = |part: &str| matches!(part, "" | "." | "..");
        let is_plain = !path.contains(['?', '#', '%', '\\']) && path.bytes().all(|byte| byte.is_ascii_graphic());
        let is_good = self.path.starts_with('/') && is_plain && !path.split('/').skip(1).any(is_odd);
        if !is_good {
            return Err(BadGateway::Path(self.path.escape_debug().to_string()));
        }
        let origin = self.origin.trim_end_matches('/');
        let typed = TypedUrl::parse(origin).map_err(|source| BadGateway::Origin { path: self.path.clone(), source })?;
        let has_query = typed.resource.as_url().query().is_some();
        if has_query || typed.userinfo.is_some() || typed.fragment.is_some() {
            return Err(BadGateway::NotPlain(self.path.clone()));
        }
        let origin = typed.resource.with_normal_path().as_str().trim_end_matches('/').to_owned();
        let keeping = if self.keep == Keep::Rfc { Keeping::AsRfc } else { Keeping::Files };
        let bad_time = |reason: String| BadGateway::Time { path: self.path.clone(), reason };
        let stale_on_error = match self.stale_on_error.as_deref().filter(|text| *text != "none") {
            Some(text) => parse_age(text).map_err(|error| bad_time(error.to_string()))?,
            None => Duration::ZERO,
        };
        let stale_on_error = u32::try_from(stale_on_error.as_secs()).unwrap_or(u32::MAX);
        let (fields, unsafe_methods) = (self.fields, self.unsafe_methods);
        let mut links: Vec<_> = self.links.clone().into_iter().collect();
        links.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        let is_begun = |from: &str| from == "/" || TypedUrl::parse(from).is_ok();
        let is_link = |(from, to): &(String, String)| is_begun(from) && to.starts_with('/');
        if let Some((from, _)) = links.iter().find(|link| !is_link(link)) {
            return Err(BadGateway::Link(from.escape_debug().to_string()));
        }
        let rules = MountRules { keeping, fields, unsafe_methods, indexes: self.indexes, stale_on_error };
        Ok(MountPlan { path, origin, rules, links: links.into() })
    }
}

/// A path as the origin's own URL has it, by which its mount is found: without dots that lead up or nowhere, however they are written (WHATWG
/// URL, "path state"; RFC 3986 section 6.2.2.3).
#[must_use]
pub fn plain_path(path: &str) -> Cow<'_, str> {
    let has_dots = path.contains("/.") || path.as_bytes().windows(3).any(|three| three.eq_ignore_ascii_case(b"%2e"));
    if !has_dots && !path.contains('\\') {
        return Cow::Borrowed(path);
    }
    Url::parse(&format!("http://host{path}")).map_or(Cow::Borrowed(path), |url| Cow::Owned(url.path().to_owned()))
}

impl MountPlan {
    /// The URL at the origin that a path and query under this mount mean: one for all ways to write the path (RFC 3986 section 6.2.2.2).
    #[must_use]
    pub fn target(&self, path: &str, query: Option<&str>) -> Option<ResourceUrl> {
        let rest = path.strip_prefix(self.path.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let url = ResourceUrl::parse(&format!("{}{rest}{query}", self.origin)).ok()?.with_normal_path();
        // Dots that the URL's own rules resolve must not lead out of the mount.
        let is_inside = url.as_str().strip_prefix(self.origin.as_str());
        let is_inside = is_inside.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        is_inside.then_some(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Option<GatewayPlan>, BadGateway> {
        toml::from_str::<GatewaySettings>(text).expect("the right keys").plan()
    }

    fn mount(path: &str, origin: &str) -> Result<Option<GatewayPlan>, BadGateway> {
        plan(&format!("[[mount]]\npath = \"{path}\"\norigin = \"{origin}\""))
    }

    #[test]
    fn without_a_mount_or_a_proxy_there_is_no_gateway() {
        assert_eq!(plan(""), Ok(None));
        assert!(plan("proxy = true").unwrap().is_some());
        assert_eq!(plan("tunnel = true"), Err(BadGateway::TunnelAlone));
    }

    #[test]
    fn an_address_that_others_reach_needs_a_word_about_them() {
        assert!(matches!(plan("listen = \"0.0.0.0:1\"\nproxy = true"), Err(BadGateway::Open(_))));
        assert!(plan("listen = \"0.0.0.0:1\"\nproxy = true\nallow = [\"10.0.0.0/8\"]").is_ok());
    }

    #[test]
    fn a_path_leads_into_its_origin_and_not_out_of_it() {
        let plan = mount("/a/", "https://h/x/").unwrap().unwrap();
        let at = |path: &str, query| plan.mounts[0].target(path, query).map(|url| url.as_str().to_owned());
        assert_eq!(at("/a/b/c", Some("q=1")).as_deref(), Some("https://h/x/b/c?q=1"));
        assert_eq!(at("/a", None).as_deref(), Some("https://h/x"));
        for path in ["/ab", "/b", "/a/../../etc", "/a/%2e%2e/%2e%2e/etc", "/a/..", "/a//../../../y"] {
            assert_eq!(at(path, None), None, "{path}");
        }
        for path in ["/a/%2%65%2%65/etc", "/a/.%2%65/etc", "/a/%%32e%%32e/etc"] {
            let at = at(path, None).expect("it is a path like any other");
            assert!(at.starts_with("https://h/x/") && at.contains('%'), "{path}: {at}");
        }
        let coded = mount("/a", "https://h/%7euser/%c3%a4").unwrap().unwrap();
        assert_eq!(coded.mounts[0].target("/a/b", None).unwrap().as_str(), "https://h/~user/%C3%A4/b");
        let root = mount("/", "https://h").unwrap().unwrap();
        assert_eq!(root.mounts[0].target("/b", None).unwrap().as_str(), "https://h/b");
        assert_eq!(root.mounts[0].target("//evil/b", None).unwrap().host(), "h");
        assert_eq!(root.mounts[0].target("@evil/", None), None);
    }

    #[test]
    fn dots_of_a_path_are_gone_before_its_mount_is_found() {
        for (path, plain) in [
            ("/a/b/../c", "/a/c"),
            ("/a/x/%2E%2e/b", "/a/b"),
            ("/a/.%2e/b", "/b"),
            ("/a/./b/%2e/c", "/a/b/c"),
            ("/a\\..\\b", "/b"),
            ("/../../b/..", "/"),
            ("/a//../b", "/a/b"),
            ("/a/.b/..c/%2ed", "/a/.b/..c/%2ed"),
            ("/a//b/%41", "/a//b/%41"),
        ] {
            assert_eq!(plain_path(path), plain, "{path}");
        }
    }

    #[test]
    fn odd_mounts_are_refused() {
        for path in ["a", "/a/../b", "/a//b", "/a?b", "/a b", "/%61"] {
            assert!(matches!(mount(path, "https://h"), Err(BadGateway::Path(_))), "{path}");
        }
        assert!(matches!(mount("/a", "ftp://h"), Err(BadGateway::Origin { .. })));
        for (link, is_good) in [("/", true), ("https://f/", true), ("/files/", false), ("f", false)] {
            let links = format!("[[mount]]\npath = \"/a\"\norigin = \"https://h\"\nlinks = {{ \"{link}\" = \"/a/\" }}");
            assert_eq!(plan(&links).is_ok(), is_good, "{link}");
        }
        for origin in ["https://u:p@h", "https://h/?a", "https://h/#a"] {
            assert!(matches!(mount("/a", origin), Err(BadGateway::NotPlain(_))), "{origin}");
        }
        let twice = "[[mount]]\npath = \"/a\"\norigin = \"http://h\"\n[[mount]]\npath = \"/a/\"\norigin = \"http://i\"";
        assert!(matches!(plan(twice), Err(BadGateway::Twice(_))));
    }
}
