//! Which URLs name bytes that never change, by the habits of package registries.
//!
//! A name that holds a digest, and the file of a published version, are used without asking; an index that changes under one name
//! is asked about. What looks like a file is fetched as one: in ranges, and from peers.

use crate::ResourceUrl;
use crate::digest::{DigestAlgorithm, ExpectedDigest, from_oci_path, parse};

/// What a URL's name says of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// They never change.
    Immutable,
    /// They are a file's, which may be replaced.
    File,
    /// Nothing.
    Plain,
}

/// Hexadecimal digits that make a segment of a path a digest: BLAKE2b-224, which one registry spreads over three segments, has 60 of
/// its 64 in the last one; SHA-1 and MD5 name nothing safely.
const DIGEST_DIGITS: usize = 56;

/// What the URL's name says. A query may select anything, except the one that says beside a digest of which registry it is.
#[must_use]
pub fn name_of(url: &ResourceUrl) -> Name {
    let path = url.as_url().path();
    match url.as_url().query() {
        None => {}
        Some(query) if is_namespace(query) && digest_in_path(url).is_some() => return Name::Immutable,
        Some(_) => return Name::Plain,
    }
    let last = path.rsplit('/').next().unwrap_or("").to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| last.len() > end.len() && last.ends_with(end));
    match () {
        () if path.split('/').any(is_digest) => Name::Immutable,
        () if ends(&PUBLISHED) && !is_moving(&last) => Name::Immutable,
        // npm: `/name/-/name-1.2.3.tgz`; crates: `/api/v1/crates/name/1.2.3/download`.
        () if last.ends_with(".tgz") && path.contains("/-/") => Name::Immutable,
        () if last == "download" && path.contains("/crates/") => Name::Immutable,
        () if ends(&FILES) || ends(&PUBLISHED) => Name::File,
        () => Name::Plain,
    }
}

/// Whether a name says itself that it leads to another file one day: `epel-release-latest-9.noarch.rpm`, `browser_current_amd64.deb`.
fn is_moving(name: &str) -> bool {
    name.split(|letter: char| !letter.is_ascii_alphanumeric())
        .any(|word| matches!(word, "latest" | "current" | "nightly"))
}

/// The digest of the bytes that the URL's name promises: a blob of a registry, `by-hash/SHA256/<hex>`, or a last segment that says
/// `sha256:<hex>`. Hexadecimal digits alone say nothing of what they are a digest of.
#[must_use]
pub fn digest_of(url: &ResourceUrl) -> Option<ExpectedDigest> {
    (name_of(url) == Name::Immutable).then(|| digest_in_path(url)).flatten()
}

/// The digest that the path alone promises.
fn digest_in_path(url: &ResourceUrl) -> Option<ExpectedDigest> {
    let named = from_oci_path(url).or_else(|| {
        let mut segments = url.as_url().path().rsplit('/');
        let (last, kind, folder) = (segments.next()?, segments.next()?, segments.next()?);
        match folder {
            "by-hash" => parse(&format!("{}:{last}", kind.to_ascii_lowercase())).ok(),
            _ => parse(last).ok().filter(|_| last.starts_with("sha256:") || last.starts_with("sha512:")),
        }
    });
    named.filter(|digest| matches!(digest.algorithm, DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512))
}

/// Whether a query only says of which registry an image is: containerd says so to each mirror (`?ns=docker.io`), of what is named by its digest
/// as well.
fn is_namespace(query: &str) -> bool {
    query.strip_prefix("ns=").is_some_and(|registry| !registry.is_empty() && !registry.contains('&'))
}

/// `<hex>`, `sha256:<hex>`, or `<hex>` with an extension.
fn is_digest(segment: &str) -> bool {
    let rest = segment.rsplit_once([':', '=']).map_or(segment, |(_, rest)| rest);
    let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
    digits >= DIGEST_DIGITS && rest.as_bytes().get(digits).is_none_or(|next| matches!(next, b'.' | b'-' | b'_'))
}

/// Extensions of files that registries publish once under a name with a version.
const PUBLISHED: [&str; 9] = [".whl", ".crate", ".deb", ".udeb", ".ddeb", ".rpm", ".drpm", ".conda", ".nar.xz"];

/// Extensions of files, large as a rule.
const FILES: [&str; 21] = [
    ".tar.gz",
    ".tgz",
    ".tar.xz",
    ".tar.bz2",
    ".tar.zst",
    ".zip",
    ".iso",
    ".img",
    ".qcow2",
    ".bin",
    ".exe",
    ".msi",
    ".dmg",
    ".apk",
    ".jar",
    ".safetensors",
    ".gguf",
    ".onnx",
    ".parquet",
    ".squashfs",
    ".cab",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Name {
        name_of(&ResourceUrl::parse(&format!("https://h{path}")).expect("parses"))
    }

    #[test]
    fn what_says_that_it_is_the_latest_may_be_another_file_tomorrow() {
        for path in ["/epel-release-latest-9.noarch.rpm", "/browser_current_amd64.deb", "/x-nightly.whl"] {
            assert_ne!(of(path), Name::Immutable, "{path}");
        }
        assert_eq!(of("/currently_1.0_amd64.deb"), Name::Immutable);
    }

    #[test]
    fn published_files_and_digests_never_change() {
        let hex = "0123456789abcdef".repeat(4);
        for path in [
            format!("/dists/x/by-hash/SHA256/{hex}"),
            format!("/v2/library/x/blobs/sha256:{hex}"),
            format!("/packages/2b/ab/{}/x-1.0.tar.gz", &hex[4..]),
            "/pool/main/x_1.0_amd64.deb".to_owned(),
            "/x-1.0-py3-none-any.whl".to_owned(),
            "/name/-/name-1.2.3.tgz".to_owned(),
            "/api/v1/crates/x/1.0.0/download".to_owned(),
        ] {
            assert_eq!(of(&path), Name::Immutable, "{path}");
        }
    }

    #[test]
    fn a_name_may_promise_a_digest() {
        let digest = |path: String| digest_of(&ResourceUrl::parse(&format!("https://h{path}")).expect("parses"));
        let (hex, long) = ("0123456789abcdef".repeat(4), "0123456789abcdef".repeat(8));
        for path in [
            format!("/v2/library/x/blobs/sha256:{hex}"),
            format!("/dists/x/by-hash/SHA256/{hex}"),
            format!("/dists/x/by-hash/SHA512/{long}"),
            format!("/x/sha256:{hex}"),
        ] {
            assert!(digest(path.clone()).is_some_and(|digest| digest.algorithm.is_collision_resistant()), "{path}");
        }
        for path in [format!("/x/{hex}"), format!("/by-hash/SHA256/{long}"), "/x-1.0-py3-none-any.whl".to_owned()] {
            assert_eq!(digest(path.clone()), None, "{path}");
        }
        assert_eq!(digest(format!("/dists/x/by-hash/MD5Sum/{}", &hex[..32])), None);
    }

    #[test]
    fn the_registry_that_a_mirror_is_asked_for_takes_no_promise_from_a_digest() {
        let hex = "0123456789abcdef".repeat(4);
        let parsed = |path: &str| ResourceUrl::parse(&format!("https://h{path}")).expect("parses");
        for kind in ["blobs", "manifests"] {
            let url = parsed(&format!("/v2/library/x/{kind}/sha256:{hex}?ns=docker.io"));
            assert_eq!((name_of(&url), digest_of(&url).is_some()), (Name::Immutable, true), "{kind}");
        }
        let blob = format!("/v2/library/x/blobs/sha256:{hex}");
        for query in ["?ns=", "?ns=a&x=b", "?x=b&ns=a", "?x=docker.io", "?"] {
            let url = parsed(&format!("{blob}{query}"));
            assert_eq!((name_of(&url), digest_of(&url)), (Name::Plain, None), "{query}");
        }
        for path in ["/v2/library/x/manifests/latest?ns=docker.io", "/x-1.0-py3-none-any.whl?ns=docker.io"] {
            assert_eq!((of(path), digest_of(&parsed(path))), (Name::Plain, None), "{path}");
        }
    }

    #[test]
    fn indexes_and_names_that_are_used_again_may_change() {
        for path in [
            "/dists/x/InRelease",
            "/simple/x/",
            "/config.json",
            "/latest",
            "/.deb",
            "/x.whl?token=1",
            "/v2/x/manifests/1",
        ] {
            assert_eq!(of(path), Name::Plain, "{path}");
        }
        assert_eq!(of("/latest.tar.gz"), Name::File);
        assert_eq!(of("/commit/0123456789abcdef0123456789abcdef01234567"), Name::Plain, "SHA-1 proves nothing");
    }
}
