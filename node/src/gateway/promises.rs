//! Digests that an index names for the files it lists: as good as one in the file's own name.
//!
//! Read out of what passes through a mount: links of Python's indexes (`href="...#sha256=..."`, and PEP 691), npm's descriptions of packages,
//! and the sums of cargo's sparse indexes. An index speaks for files of its own origin, and for those to which its mount's links lead; it
//! speaks by the connection that brought it. In memory alone: what is forgotten is only not checked, and the tool checks it as ever.

use eddy_content::ResourceUrl;
use eddy_content::digest::{DigestAlgorithm, ExpectedDigest, parse};
use eddy_content::url::MAX_URL_LENGTH;
use serde::Deserialize;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Files that are kept in mind; the one that was named longest ago goes first.
const MOST: usize = 32_768;
/// Files of one page.
const MOST_OF_PAGE: usize = 16_384;
/// Registries of cargo.
const MOST_REGISTRIES: usize = 64;
/// Markers in the place of a registry's files.
const MOST_MARKERS: usize = 8;
/// Characters of a name, a version or a sum in a sparse index.
const LONGEST_NAME: usize = 256;
/// Characters of a digest in a link.
const LONGEST_DIGEST: usize = 160;

/// What indexes have promised.
#[derive(Debug, Default)]
pub(super) struct Promises(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// By the hash of the file's URL.
    named: HashMap<[u8; 32], Named>,
    order: VecDeque<[u8; 32]>,
    /// Where a sparse index lies, and where its files do.
    registries: Vec<(String, String)>,
}

/// What is said of one file.
#[derive(Debug)]
struct Named {
    /// The page that says it, by the hash of its URL.
    page: [u8; 32],
    /// What it says; nothing when another page says something else: nobody knows here which of them speaks for the file.
    digest: Option<ExpectedDigest>,
}

/// A page that passes.
pub(super) struct Page<'a> {
    pub(super) url: &'a ResourceUrl,
    /// Its type, in lower case.
    pub(super) kind: &'a str,
    pub(super) content: &'a [u8],
    /// The mount's links.
    pub(super) links: &'a [(String, String)],
}

impl Promises {
    /// The digest that a file of this URL must have, if an index has named one.
    pub(super) fn of(&self, url: &ResourceUrl) -> Option<ExpectedDigest> {
        self.inner().named.get(&key(url)).and_then(|named| named.digest.clone())
    }

    /// Whether something may be learned of a page: so that only those are read.
    pub(super) fn may_name(&self, url: &ResourceUrl, kind: &str) -> bool {
        kind.contains("html") || kind.contains("json") || is_config(url) || self.files_of(url).is_some()
    }

    /// Learns what a page promises of others. Takes a pass over it.
    pub(super) fn learn(&self, page: &Page<'_>) {
        if is_config(page.url)
            && let Ok(Registry { dl }) = serde_json::from_slice(page.content)
        {
            return self.learn_registry(page.url, dl);
        }
        let files = self.files_of(page.url);
        let named: Vec<(String, ExpectedDigest)> = match files {
            Some(files) => in_sparse_index(page.content, &files),
            None if page.kind.contains("html") => in_html(page.content),
            None => in_json(page.content),
        };
        let may_speak = |url: &ResourceUrl| {
            url.origin() == page.url.origin() || page.links.iter().any(|(from, _)| url.as_str().starts_with(from))
        };
        let mut inner = self.inner();
        for (link, digest) in named {
            let is_safe = matches!(digest.algorithm, DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512);
            let there = page.url.join(&link).map(ResourceUrl::with_normal_path);
            if let Some(url) = there.ok().filter(|url| is_safe && may_speak(url)) {
                inner.keep((key(&url), key(page.url)), digest);
            }
        }
    }

    /// Where the files of the sparse index are that this URL lies in.
    fn files_of(&self, url: &ResourceUrl) -> Option<String> {
        let inner = self.inner();
        let found = inner.registries.iter().find(|(root, _)| url.as_str().starts_with(root));
        found.map(|(_, files)| files.clone())
    }

    fn learn_registry(&self, config: &ResourceUrl, files: String) {
        let Some(root) = config.as_str().strip_suffix(CONFIG) else { return };
        // It is repeated in every file's URL, and its markers stand for names.
        if files.len() > MAX_URL_LENGTH || files.matches('{').count() > MOST_MARKERS {
            return;
        }
        let mut inner = self.inner();
        inner.registries.retain(|(known, _)| known != root);
        inner.registries.truncate(MOST_REGISTRIES - 1);
        inner.registries.insert(0, (root.to_owned(), files));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keeps what a page says of a file. A page may take its own word back, and no other's.
    fn keep(&mut self, (key, page): ([u8; 32], [u8; 32]), digest: ExpectedDigest) {
        match self.named.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(Named { page, digest: Some(digest) });
                self.order.push_back(key);
            }
            Entry::Occupied(mut entry) => {
                let named = entry.get_mut();
                if named.page == page {
                    named.digest = named.digest.is_some().then_some(digest);
                } else if named.digest.as_ref() != Some(&digest) {
                    named.digest = None;
                }
            }
        }
        while self.named.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.named.remove(&oldest);
        }
    }
}

fn key(url: &ResourceUrl) -> [u8; 32] {
    *blake3::hash(url.as_str().as_bytes()).as_bytes()
}

/// What a sparse index says of itself.
#[derive(Deserialize)]
struct Registry {
    dl: String,
}

/// Where it says that.
const CONFIG: &str = "config.json";

fn is_config(url: &ResourceUrl) -> bool {
    url.as_str().ends_with("/config.json")
}

/// Links with a digest behind them.
fn in_html(content: &[u8]) -> Vec<(String, ExpectedDigest)> {
    let Ok(text) = std::str::from_utf8(content) else { return Vec::new() };
    let is_quote = |byte: &u8| matches!(byte, b'"' | b'\'');
    let found = text.match_indices("#sha").take(MOST_OF_PAGE).filter_map(|(at, _)| {
        let start = at.saturating_sub(MAX_URL_LENGTH);
        let start = start + content[start..at].iter().rposition(is_quote)? + 1;
        let rest = &content[at..content.len().min(at + LONGEST_DIGEST)];
        let end = at + rest.iter().position(|byte| is_quote(byte) || *byte == b'&')?;
        Some((text.get(start..at)?.to_owned(), parse(text.get(at + 1..end)?).ok()?))
    });
    found.collect()
}

/// Files of a project of Python's (PEP 691), or of a package of npm's.
fn in_json(content: &[u8]) -> Vec<(String, ExpectedDigest)> {
    if let Ok(Project { files }) = serde_json::from_slice(content) {
        let named = files.into_iter().take(MOST_OF_PAGE);
        let digest = |file: &ProjectFile| parse(&format!("sha256:{}", file.hashes.get("sha256")?)).ok();
        return named.filter_map(|file| Some((digest(&file)?, file.url))).map(|(digest, url)| (url, digest)).collect();
    }
    let Ok(Package { versions }) = serde_json::from_slice(content) else { return Vec::new() };
    let named = versions.into_values().take(MOST_OF_PAGE);
    named.filter_map(|Version { dist }| Some((dist.tarball, parse(&dist.integrity?).ok()?))).collect()
}

#[derive(Deserialize)]
struct Project {
    files: Vec<ProjectFile>,
}

#[derive(Deserialize)]
struct ProjectFile {
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Package {
    versions: BTreeMap<String, Version>,
}

#[derive(Deserialize)]
struct Version {
    dist: Distribution,
}

#[derive(Deserialize)]
struct Distribution {
    tarball: String,
    integrity: Option<String>,
}

/// Versions of a crate, a line each; `files` says where they are.
fn in_sparse_index(content: &[u8], files: &str) -> Vec<(String, ExpectedDigest)> {
    let rows = content.split(|byte| *byte == b'\n').take(MOST_OF_PAGE);
    let named = rows.filter_map(|row| {
        let row: Row = serde_json::from_slice(row).ok()?;
        if [&row.name, &row.vers, &row.cksum].iter().any(|text| text.len() > LONGEST_NAME) {
            return None;
        }
        let digest = parse(&format!("sha256:{}", row.cksum)).ok()?;
        let url = if files.contains('{') {
            let names = [("{crate}", &row.name), ("{version}", &row.vers), ("{sha256-checksum}", &row.cksum)];
            names.into_iter().fold(files.to_owned(), |url, (marker, text)| url.replace(marker, text))
        } else {
            format!("{files}/{}/{}/download", row.name, row.vers)
        };
        // There are markers for folders as well, which nobody here has seen in use.
        (url.len() <= MAX_URL_LENGTH && !url.contains('{')).then_some((url, digest))
    });
    named.collect()
}

#[derive(Deserialize)]
struct Row {
    name: String,
    vers: String,
    cksum: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn url(text: &str) -> ResourceUrl {
        ResourceUrl::parse(text).expect("parses")
    }

    fn learned(promises: &Promises, (at, kind): (&str, &str), content: &str) {
        let links = [("https://files.h/".to_owned(), "/files/".to_owned())];
        promises.learn(&Page { url: &url(at), kind, content: content.as_bytes(), links: &links });
    }

    #[test]
    fn pages_and_indexes_promise_what_they_list_and_nobody_elses_files() {
        let promises = Promises::default();
        let html = format!(
            "<a href=\"../../p/a-1.whl#sha256={HEX}\">a</a> <a href='https://files.h/b-1.whl#sha256={HEX}&amp;x=1'>b</a> \
             <a href=\"https://other.h/c-1.whl#sha256={HEX}\">c</a> <a href=\"d#sha256=12\">d</a> #sha #sha256={HEX}"
        );
        learned(&promises, ("https://h/simple/a/", "text/html; charset=utf-8"), &html);
        let json = format!(
            "{{\"versions\":[\"2\"],\"files\":[{{\"url\":\"https://files.h/a-2.whl\",\"hashes\":{{\"sha256\":\"{HEX}\"}}}},\
             {{\"url\":\"/a-3.whl\",\"hashes\":{{}}}}]}}"
        );
        learned(&promises, ("https://h/simple/a/", "application/vnd.pypi.simple.v1+json"), &json);
        let sha512 = data_encoding::BASE64.encode(&[7; 64]);
        let npm = format!(
            "{{\"versions\":{{\"1.0.0\":{{\"dist\":{{\"tarball\":\"https://h/x/-/x-1.0.0.tgz\",\"integrity\":\"sha512-{sha512}\"}}}},\
             \"0.1.0\":{{\"dist\":{{\"tarball\":\"https://h/x/-/x-0.1.0.tgz\"}}}}}}}}"
        );
        learned(&promises, ("https://h/x", "application/json"), &npm);
        let known = |text: &str| promises.of(&url(text)).map(|digest| digest.algorithm);
        for file in ["https://h/p/a-1.whl", "https://files.h/b-1.whl", "https://files.h/a-2.whl"] {
            assert_eq!(known(file), Some(DigestAlgorithm::Sha256), "{file}");
        }
        assert_eq!(known("https://h/x/-/x-1.0.0.tgz"), Some(DigestAlgorithm::Sha512));
        for file in
            ["https://other.h/c-1.whl", "https://h/simple/a/d", "https://h/a-3.whl", "https://h/x/-/x-0.1.0.tgz"]
        {
            assert_eq!(known(file), None, "{file}");
        }
    }

    #[test]
    fn a_sparse_index_promises_its_crates_once_it_has_said_where_they_are() {
        let rows = format!("{{\"name\":\"a\",\"vers\":\"1.0.0\",\"cksum\":\"{HEX}\",\"deps\":[]}}\nno row\n");
        let row = ("https://index.h/a/a", "text/plain");
        for (files, file) in [
            ("https://files.h/crates", "https://files.h/crates/a/1.0.0/download"),
            ("https://files.h/{crate}/{crate}-{version}.crate", "https://files.h/a/a-1.0.0.crate"),
        ] {
            let promises = Promises::default();
            learned(&promises, row, &rows);
            assert!(!promises.may_name(&url(row.0), row.1) && promises.of(&url(file)).is_none());
            learned(&promises, ("https://index.h/config.json", "application/json"), &format!("{{\"dl\":\"{files}\"}}"));
            assert!(promises.may_name(&url(row.0), row.1));
            learned(&promises, row, &rows);
            assert!(promises.of(&url(file)).is_some(), "{file}");
        }
    }

    #[test]
    fn a_page_takes_its_own_word_back_and_another_ones_contradiction_ends_the_promise() {
        let promises = Promises::default();
        let says = |page: &str, digit: char| {
            let hex = digit.to_string().repeat(64);
            learned(&promises, (page, "text/html"), &format!("'/a.whl#sha256={hex}'"));
            promises.of(&url("https://h/a.whl")).map(|digest| digest.value[0])
        };
        assert_eq!(says("https://h/simple/a/", '1'), Some(0x11));
        assert_eq!(says("https://h/simple/a/", '2'), Some(0x22), "the file was published again");
        assert_eq!(says("https://h/somebody/", '2'), Some(0x22));
        assert_eq!(says("https://h/somebody/", '3'), None, "another page of the same origin says something else");
        assert_eq!(says("https://h/simple/a/", '2'), None, "and nobody knows any more who is right");
    }

    #[test]
    fn a_registry_that_makes_long_urls_of_short_rows_is_not_followed() {
        let row = format!("{{\"name\":\"{}\",\"vers\":\"1\",\"cksum\":\"{HEX}\"}}\n", "n".repeat(200));
        for (files, is_followed) in [
            ("https://files.h/".to_owned() + &"x".repeat(MAX_URL_LENGTH), false),
            ("https://files.h/".to_owned() + &"{crate}".repeat(MOST_MARKERS + 1), false),
            ("https://files.h/".to_owned() + &"{crate}".repeat(MOST_MARKERS), true),
        ] {
            let promises = Promises::default();
            learned(&promises, ("https://index.h/config.json", "application/json"), &format!("{{\"dl\":\"{files}\"}}"));
            assert_eq!(promises.may_name(&url("https://index.h/n/n"), "text/plain"), is_followed);
            learned(&promises, ("https://index.h/n/n", "text/plain"), &row);
            assert_eq!(promises.inner().named.len(), usize::from(is_followed));
        }
        assert!(
            in_sparse_index(row.replace("nnn", "nnnnnn").as_bytes(), "https://f.h").is_empty(),
            "the name is too long"
        );
        assert!(
            in_sparse_index(row.as_bytes(), &("https://files.h/".to_owned() + &"x".repeat(MAX_URL_LENGTH))).is_empty()
        );
    }

    #[test]
    fn what_was_named_longest_ago_makes_room_and_pages_of_noise_end() {
        let promises = Promises::default();
        for page in 0..4 {
            let links = (0..MOST_OF_PAGE).map(|file| format!("'{page}-{file}#sha256={HEX}'")).collect::<String>();
            learned(&promises, ("https://h/", "text/html"), &links);
        }
        assert!(promises.of(&url("https://h/0-0")).is_none() && promises.of(&url("https://h/3-0")).is_some());
        let kept = |inner: &Inner| (inner.named.len(), inner.order.len());
        assert_eq!(kept(&promises.inner()), (MOST, MOST));
        learned(&promises, ("https://h/", "text/html"), &"#sha".repeat(1 << 20));
    }
}
