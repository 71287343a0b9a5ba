//! cargo: the index of its default registry is replaced by a mount; the files, which the index keeps elsewhere, are led here as well.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// The host of the default registry's sparse index.
const INDEX: &str = "index.crates.io";
/// What cargo calls its default registry.
const DEFAULT: &str = "crates-io";
/// What stands for it.
const OURS: &str = "eddy";

pub(super) async fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    let home = cargo_home()?;
    let missing = || refused(format!("cargo has fetched nothing from {INDEX} yet; name its index with --origin"));
    let used = || has_used(&home).then(|| format!("https://{INDEX}"));
    let index = origin.map(str::to_owned).or_else(used).ok_or_else(missing)?;
    let index = index.trim_start_matches("sparse+").trim_end_matches('/').to_owned();
    let described = ask::text(&format!("{index}/config.json")).await?;
    let mut mounts = vec![Mount::plain("/cargo/index", index.as_str())];
    let value: serde_json::Value =
        serde_json::from_str(&described).map_err(|error| refused(format!("{index}/config.json: {error}")))?;
    let files = value.get("dl").and_then(|dl| dl.as_str()).unwrap_or_default();
    for root in ask::hosts_of(files).into_iter().take(1) {
        mounts[0].links.push((root.clone(), "/cargo/files/".to_owned()));
        mounts.push(Mount::plain("/cargo/files", root.trim_end_matches('/')));
    }
    let registry = format!("sparse+{base}/cargo/index/");
    let file = Edit::of(home.join("config.toml"), |before| with_source(before, &registry))?;
    Ok(Change { tool: Tool::Cargo, mounts, files: vec![file] })
}

fn cargo_home() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("CARGO_HOME") {
        return Ok(named.into());
    }
    let home = etcetera::home_dir().map_err(|error| refused(format!("this user has no home directory ({error})")))?;
    Ok(home.join(".cargo"))
}

/// Whether cargo has used its default registry's sparse index: its copy lies in a folder that begins with the host's name. Other folders there are
/// other registries.
fn has_used(home: &Path) -> bool {
    let Ok(folders) = std::fs::read_dir(home.join("registry").join("index")) else { return false };
    folders.flatten().any(|entry| {
        let name = entry.file_name();
        let parts = name.to_str().and_then(|name| name.rsplit_once('-'));
        let is_its = parts.is_some_and(|(host, hash)| host == INDEX && hash.len() == 16);
        is_its && (entry.path().join("config.json").is_file() || entry.path().join(".cache").is_dir())
    })
}

/// The file with this registry in the place of the default one; everything else stays as it stands.
fn with_source(before: &str, registry: &str) -> Result<String, Failure> {
    let of = |text: &str| {
        let read: Result<toml::Table, _> = toml::from_str(text);
        read.map_err(|error| refused(format!("cargo's configuration: {}", error.message())))
    };
    let mut meant = of(before)?;
    let odd = || refused("cargo's configuration cannot be changed safely; replace the registry by hand".to_owned());
    let sources = meant.entry("source").or_insert_with(|| toml::Table::new().into()).as_table_mut().ok_or_else(odd)?;
    if sources.contains_key(DEFAULT) || sources.contains_key(OURS) {
        return Err(refused(
            "cargo's configuration replaces the default registry already; eddy leaves that alone".to_owned(),
        ));
    }
    let source = |key: &str, value: &str| toml::Table::from_iter([(key.to_owned(), value.into())]);
    sources.insert(DEFAULT.to_owned(), source("replace-with", OURS).into());
    sources.insert(OURS.to_owned(), source("registry", registry).into());
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let ours = format!("[source.{DEFAULT}]\nreplace-with = \"{OURS}\"\n\n[source.{OURS}]\nregistry = \"{registry}\"\n");
    let after = format!("{before}{gap}{ours}");
    // What is written says what was meant, and nothing else changes.
    if of(&after).is_ok_and(|is| is == meant) { Ok(after) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_registry_beside_the_default_one_is_not_taken_for_it() {
        let home = tempfile::tempdir().unwrap();
        let folder = |name: &str| home.path().join("registry/index").join(name).join(".cache");
        std::fs::create_dir_all(folder("index.acme.example-0123456789abcdef")).unwrap();
        assert!(!has_used(home.path()));
        std::fs::create_dir_all(folder("index.crates.io-1949cf8c6b5b557f")).unwrap();
        assert!(has_used(home.path()));
    }

    #[test]
    fn a_registry_is_replaced_once_however_the_file_says_it() {
        let ours = "[source.crates-io]\nreplace-with = \"eddy\"\n\n[source.eddy]\nregistry = \"r\"\n";
        for before in ["", "# mine\n[net]\nretry = 3\n", "[source.local]\ndirectory = \"/x\"\n"] {
            assert_eq!(with_source(before, "r").unwrap(), format!("{before}{ours}"));
        }
        assert_eq!(with_source("a = 1", "r").unwrap(), format!("a = 1\n{ours}"));
        for refused in [
            "[source.crates-io]\nreplace-with = \"x\"\n",
            "source.\"crates-io\".replace-with = \"x\"\n",
            "[source]\ncrates-io = { replace-with = \"x\" }\n",
            "[ source . 'eddy' ]\n",
            "source = { local = { directory = \"/x\" } }\n",
            "source = 1\n",
            "[net\n",
        ] {
            assert!(with_source(refused, "r").is_err(), "{refused}");
        }
        // What a comment says replaces nothing.
        assert!(with_source("# [source.crates-io]\n", "r").is_ok());
    }
}
