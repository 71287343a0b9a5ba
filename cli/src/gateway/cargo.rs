//! cargo: the index of its default registry is replaced by a mount; the files, which the index keeps elsewhere, are led here as well.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

pub(super) async fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    let home = cargo_home()?;
    let missing = || refused("cargo has fetched from no sparse index yet; name it with --origin".to_owned());
    let index = origin.map(str::to_owned).or_else(|| index_of(&home)).ok_or_else(missing)?;
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
    let file = Edit::of(home.join("config.toml"), |before| {
        if before.contains("[source.crates-io]") || before.contains("[source.eddy]") {
            return Err(refused(
                "cargo's configuration replaces the default registry already; eddy leaves that alone".to_owned(),
            ));
        }
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        let ours = "[source.crates-io]\nreplace-with = \"eddy\"\n\n[source.eddy]\n";
        Ok(format!("{before}{gap}{ours}registry = \"sparse+{base}/cargo/index/\"\n"))
    })?;
    Ok(Change { tool: Tool::Cargo, mounts, files: vec![file] })
}

fn cargo_home() -> Result<PathBuf, Failure> {
    if let Some(named) = std::env::var_os("CARGO_HOME") {
        return Ok(named.into());
    }
    let home = etcetera::home_dir().map_err(|error| refused(format!("this user has no home directory ({error})")))?;
    Ok(home.join(".cargo"))
}

/// The sparse index that cargo has used: its copy lies in a folder that begins with the host's name.
fn index_of(home: &Path) -> Option<String> {
    let folders = std::fs::read_dir(home.join("registry").join("index")).ok()?;
    let mut hosts: Vec<String> = folders
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (host, hash) = name.rsplit_once('-')?;
            let is_sparse = entry.path().join("config.json").is_file() || entry.path().join(".cache").is_dir();
            (is_sparse && host.starts_with("index.") && hash.len() == 16).then(|| format!("https://{host}"))
        })
        .collect();
    hosts.sort();
    hosts.into_iter().next()
}
