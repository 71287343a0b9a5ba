//! dnf: in front of each `baseurl` stands the same one at the gateway. dnf takes the next of the list where one does not answer, so it goes on by
//! itself when no daemon runs. Repositories that name a metalink or a list of mirrors are left alone.

use super::change::{Change, Edit};
use super::files::read;
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

pub(super) fn plan(base: &str, origin: Option<&str>, root: &Path) -> Result<Change, Failure> {
    if origin.is_some() {
        return Err(refused("dnf's origins are those of its repositories; name none".to_owned()));
    }
    let folder = root.join("etc/yum.repos.d");
    let listed = std::fs::read_dir(&folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = listed.unwrap_or_default();
    paths.sort();
    let (mut mounts, mut files) = (Vec::new(), Vec::new());
    for path in paths.into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "repo")) {
        let Some(text) = read(&path)? else { continue };
        let after: String = text.split_inclusive('\n').map(|line| with_gateway(line, base, &mut mounts)).collect();
        if after != text {
            files.push(Edit { path, before: Some(text), after });
        }
    }
    if files.is_empty() {
        return Err(refused("no repository of dnf names a baseurl over http or https".to_owned()));
    }
    Ok(Change { tool: Tool::Dnf, mounts, files })
}

/// A line with the gateway in front of each URL of its `baseurl`; others as they are.
fn with_gateway(line: &str, base: &str, mounts: &mut Vec<Mount>) -> String {
    let Some((key, value)) = line.split_once('=').filter(|(key, _)| key.trim() == "baseurl") else {
        return line.to_owned();
    };
    let mut out = format!("{key}=");
    for word in value.split_inclusive([' ', ',', '\t', '\r', '\n']) {
        let bare = word.trim_end_matches([' ', ',', '\t', '\r', '\n']);
        if let Some((host, path)) = host_and_path(bare).filter(|(host, _)| *host != base) {
            // Variables of dnf may stand in the path: the mount is the host.
            let number = mounts.iter().position(|mount| mount.origin == host).unwrap_or_else(|| {
                let path = format!("/dnf/{}", mounts.len());
                mounts.push(Mount::plain(path, host));
                mounts.len() - 1
            });
            out += &format!("{base}{}{path} ", mounts[number].path);
        }
        out += word;
    }
    out
}

/// `https://host` and what follows; nothing where the host is not written out.
fn host_and_path(url: &str) -> Option<(&str, &str)> {
    let after = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let end = url.len() - after.len() + after.find('/')?;
    let (host, path) = url.split_at(end);
    (!host.contains(['$', '@'])).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_baseurl_gets_the_gateway_in_front() {
        let mut mounts = Vec::new();
        let mut with = |line: &str| with_gateway(line, "http://127.0.0.1:7718", &mut mounts);
        assert_eq!(
            with("baseurl=https://h/fedora/$releasever/os/\n"),
            "baseurl=http://127.0.0.1:7718/dnf/0/fedora/$releasever/os/ https://h/fedora/$releasever/os/\n"
        );
        assert_eq!(
            with("baseurl = http://i/x, https://h/y\r\n"),
            "baseurl = http://127.0.0.1:7718/dnf/1/x http://i/x, http://127.0.0.1:7718/dnf/0/y https://h/y\r\n"
        );
        for same in [
            "name=x\n",
            "#baseurl=https://h/\n",
            "metalink=https://h/m\n",
            "baseurl=https://$h/x\n",
            "baseurl=file:///x\n",
        ] {
            assert_eq!(with(same), same);
        }
        assert_eq!(mounts.iter().map(|mount| mount.origin.as_str()).collect::<Vec<_>>(), ["https://h", "http://i"]);
    }
}
