//! nix: the gateway becomes the first substituter, its origin stands behind it and is asked when no daemon runs. What comes is held against the
//! signatures that nix trusts anyway.

use super::Mount;
use super::change::{Change, Edit};
use super::files::read;
use super::tool::Tool;
use crate::failure::Failure;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The substituter that nix has by itself.
const CACHE: &str = "https://cache.nixos.org/";

pub(super) fn plan(base: &str, origin: Option<&str>, root: Option<&Path>) -> Result<Change, Failure> {
    let file = file(root, std::env::var_os("NIX_CONF_DIR"));
    let present = substituters(read(&file)?.as_deref().unwrap_or(""));
    let first = present.iter().find(|url| url.starts_with("http")).cloned();
    let origin = origin.map(str::to_owned).or(first).unwrap_or_else(|| CACHE.to_owned());
    let origin = origin.trim_end_matches('/').to_owned();
    let file = Edit::of(file, |before| Ok(set(before, &format!("{base}/nix"))))?;
    let mounts = vec![Mount::plain("/nix", origin)];
    Ok(Change { tool: Tool::Nix, mounts, files: vec![file] })
}

/// Where nix has its settings; what this system's environment says is nothing to another one.
fn file(root: Option<&Path>, named: Option<OsString>) -> PathBuf {
    let folder = match (root, named) {
        (Some(root), _) => root.join("etc/nix"),
        (None, Some(named)) => named.into(),
        (None, None) => "/etc/nix".into(),
    };
    folder.join("nix.conf")
}

fn is_list(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| key.trim() == "substituters")
}

fn substituters(text: &str) -> Vec<String> {
    let last = text.lines().rfind(|line| is_list(line));
    let values = last.and_then(|line| line.split_once('=')).map_or(CACHE, |(_, values)| values);
    values.split_whitespace().map(str::to_owned).collect()
}

/// The file with the gateway in front of its substituters.
fn set(before: &str, gateway: &str) -> String {
    let line = format!("substituters = {gateway} {}", substituters(before).join(" "));
    let last = before.lines().enumerate().filter(|(_, line)| is_list(line)).last();
    match last {
        Some((at, _)) => {
            let lines = before.split_inclusive('\n').enumerate();
            lines.map(|(number, text)| if number == at { format!("{line}\n") } else { text.to_owned() }).collect()
        }
        None => {
            let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
            format!("{before}{gap}{line}\n")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_stands_before_the_substituters() {
        assert_eq!(set("", "G"), format!("substituters = G {CACHE}\n"));
        assert_eq!(set("a = b", "G"), format!("a = b\nsubstituters = G {CACHE}\n"));
        let two = "substituters = https://x https://y\ntrusted-substituters = z\n";
        assert_eq!(set(two, "G"), "substituters = G https://x https://y\ntrusted-substituters = z\n");
    }

    #[test]
    fn the_settings_of_another_system_are_under_its_folder() {
        let of = |root: Option<&str>, named: Option<&str>| file(root.map(Path::new), named.map(OsString::from));
        assert_eq!(of(Some("/image"), Some("/own")), Path::new("/image/etc/nix/nix.conf"));
        assert_eq!(of(None, Some("/own")), Path::new("/own/nix.conf"));
        assert_eq!(of(None, None), Path::new("/etc/nix/nix.conf"));
    }
}
