//! pip: the host of its index becomes a mount, for an index leads to its files past itself, or from the root of its host. The files of one that
//! keeps them at other hosts are led through the gateway as well.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, ask, ini, reach, refused};
use crate::failure::Failure;
use eddy_node::config::gateway::Indexes;
use reqwest::Url;
use std::path::PathBuf;

/// A project that every public index has, to see where it keeps its files.
const SAMPLE: &str = "pip";
/// Where the host of the index is mounted.
const PATH: &str = "/pip/index";

pub(super) async fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    let index = match origin {
        Some(origin) => origin.to_owned(),
        None => {
            index().ok_or_else(|| refused("pip does not say which index it uses; name it with --origin".to_owned()))?
        }
    };
    let index = index.trim_end_matches('/').to_owned();
    let (host, folder) = host_and_folder(&index)?;
    reach::refuse_itself(Tool::Pip, &host, base, &[])?;
    let page = sample(&index).await?;
    let mut links = vec![(format!("{host}/"), format!("{PATH}/")), ("/".to_owned(), format!("{PATH}/"))];
    let mut files = Vec::new();
    for root in ask::hosts_of(&page).into_iter().filter(|root| *root != format!("{host}/")).take(8) {
        // A page names other hosts as well; those of its files are the ones that its links lead to.
        if !page.contains(&format!("href=\"{root}")) {
            continue;
        }
        let path = format!("/pip/files{}", files.len());
        links.push((root.clone(), format!("{path}/")));
        files.push(Mount { indexes: Indexes::Ignored, ..Mount::plain(path, root.trim_end_matches('/').to_owned()) });
    }
    let mut mounts = mounts(&host, &folder, &links);
    mounts.extend(files);
    let url = format!("{base}{PATH}{folder}/");
    let trusted = trusted(base);
    let odd = || refused("pip's configuration cannot be changed safely: pip itself would not read it so".to_owned());
    let file = Edit::of(config_file()?, |before| {
        let after = ini::set(before, "global", "index-url", &url).ok_or_else(odd)?;
        let Some(host) = trusted.as_deref() else { return Ok(after) };
        trust(&after, host).ok_or_else(odd)
    })?;
    Ok(Change { tool: Tool::Pip, mounts, files: vec![file] })
}

/// The index, whose word counts, and the rest of its host, where anybody may have put files. An index that is all of its host is believed; one
/// whose folder cannot be a mount's path is not.
fn mounts(host: &str, folder: &str, links: &[(String, String)]) -> Vec<Mount> {
    let mount = |folder: &str, indexes| Mount {
        links: links.to_vec(),
        indexes,
        ..Mount::plain(format!("{PATH}{folder}"), format!("{host}{folder}"))
    };
    if folder.is_empty() {
        return vec![mount("", Indexes::Believed)];
    }
    let is_path = !folder.contains(['%', '\\']) && !folder.contains("//");
    let index = is_path.then(|| mount(folder, Indexes::Believed));
    index.into_iter().chain([mount("", Indexes::Ignored)]).collect()
}

/// `https://host` of an index, and what follows.
fn host_and_folder(index: &str) -> Result<(String, String), Failure> {
    let odd = |why: &str| refused(format!("the index of pip {why}; name another with --origin"));
    let url = Url::parse(index).map_err(|_| odd("is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(odd("has a password in its URL, which the gateway does not keep"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(odd("has a query"));
    }
    Ok((url.origin().ascii_serialization(), url.path().trim_end_matches('/').to_owned()))
}

/// A page that shows where the files are: of a project that most have, or of the first one that the index lists.
async fn sample(index: &str) -> Result<String, Failure> {
    if let Ok(page) = ask::text(&format!("{index}/{SAMPLE}/")).await {
        return Ok(page);
    }
    let root = format!("{index}/");
    let list = ask::text(&root).await?;
    let first = first_link(&list).and_then(|link| Url::parse(&root).ok()?.join(link).ok());
    match first {
        Some(project) => ask::text(project.as_str()).await,
        None => Ok(list),
    }
}

fn first_link(page: &str) -> Option<&str> {
    let rest = page.split_once("href=\"")?.1;
    Some(rest.split_once('"')?.0)
}

/// The index that pip uses, by its own word.
fn index() -> Option<String> {
    if let Some(set) = ask::tool("pip", &["config", "get", "global.index-url"]).filter(|url| url.starts_with("http")) {
        return Some(set);
    }
    let help = ask::tool("pip", &["download", "--help"])?;
    let after = help.split_once("--index-url")?.1;
    let default = after.split_once("default")?.1.trim_start();
    Some(default.chars().take_while(|c| !c.is_whitespace() && *c != ')').collect())
        .filter(|url: &String| url.starts_with("http"))
}

fn config_file() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("PIP_CONFIG_FILE") {
        return Ok(named.into());
    }
    use etcetera::BaseStrategy;
    let base = etcetera::choose_base_strategy()
        .map_err(|error| refused(format!("this user has no home directory ({error})")))?;
    Ok(base.config_dir().join("pip").join("pip.conf"))
}

/// What pip has to be told to trust: of plain http it passes over every index that is not on loopback.
fn trusted(base: &str) -> Option<String> {
    let url = Url::parse(base).ok()?;
    let is_local = match url.host()? {
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
        url::Host::Domain(name) => name == "localhost",
    };
    let host = url.host_str()?;
    (!is_local).then(|| url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

/// The file with this host before those that are trusted already.
fn trust(before: &str, host: &str) -> Option<String> {
    let is_it = |entry: &&ini::Entry| entry.section == "global" && entry.key() == "trusted-host";
    let present: String =
        ini::parsed(before)?.entries.iter().filter(is_it).map(|entry| format!(" {}", entry.value)).collect();
    ini::set(before, "global", "trusted-host", format!("{host}{present}").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_its_host_and_a_folder_there() {
        let parts = |index| host_and_folder(index).ok();
        let of = |host: &str, folder: &str| Some((host.to_owned(), folder.to_owned()));
        assert_eq!(parts("https://h/simple"), of("https://h", "/simple"));
        assert_eq!(parts("http://h:3141/root/pypi/+simple"), of("http://h:3141", "/root/pypi/+simple"));
        assert_eq!(parts("https://h"), of("https://h", ""));
        for odd in ["https://me:secret@h/simple", "https://h/simple?x", "simple"] {
            assert_eq!(parts(odd), None, "{odd}");
        }
        assert_eq!(first_link("<a class=x href=\"a/\">a</a> <a href=\"b/\">"), Some("a/"));
    }

    #[test]
    fn an_index_is_believed_and_what_lies_beside_it_is_not() {
        let of = |folder: &str| -> Vec<_> {
            let mounts = mounts("https://h", folder, &[("/".to_owned(), format!("{PATH}/"))]);
            assert!(mounts.iter().all(|mount| mount.links.len() == 1));
            mounts.into_iter().map(|mount| (mount.path, mount.origin, mount.indexes)).collect()
        };
        let row = |path: &str, origin: &str, indexes| (path.to_owned(), origin.to_owned(), indexes);
        let host = |indexes| row("/pip/index", "https://h", indexes);
        let index = row("/pip/index/a/simple", "https://h/a/simple", Indexes::Believed);
        assert_eq!(of("/a/simple"), [index, host(Indexes::Ignored)]);
        assert_eq!(of(""), [host(Indexes::Believed)]);
        for odd in ["/a%20b/simple", "/a//simple"] {
            assert_eq!(of(odd), [host(Indexes::Ignored)], "{odd}");
        }
    }

    #[test]
    fn a_gateway_that_is_not_on_loopback_is_one_of_those_that_are_trusted() {
        for (base, host) in [
            ("http://127.0.0.1:7718", None),
            ("http://127.1.2.3:7718", None),
            ("http://[::1]:7718", None),
            ("http://10.0.0.1:7718", Some("10.0.0.1:7718")),
            ("http://[fd00::1]:7718", Some("[fd00::1]:7718")),
            ("http://10.0.0.1:80", Some("10.0.0.1")),
        ] {
            assert_eq!(trusted(base).as_deref(), host, "{base}");
        }
        for (before, after) in [
            ("[global]\na = b\n", "[global]\ntrusted-host = g\na = b\n"),
            (
                "[install]\ntrusted-host = x\n[global]\nTrusted_Host: y\n    z\n",
                "[install]\ntrusted-host = x\n[global]\ntrusted-host = g y z\n",
            ),
            ("[global]\ntrusted-host =\n    z\n", "[global]\ntrusted-host = g z\n"),
        ] {
            assert_eq!(trust(before, "g").as_deref(), Some(after), "{before}");
        }
    }
}
