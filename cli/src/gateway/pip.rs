//! pip: its index becomes a mount; the files of an index that keeps them elsewhere are led through the gateway as well.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use std::path::PathBuf;

/// A project that every index has, to see where it keeps its files.
const SAMPLE: &str = "pip";

pub(super) async fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    let index = match origin {
        Some(origin) => origin.to_owned(),
        None => {
            index().ok_or_else(|| refused("pip does not say which index it uses; name it with --origin".to_owned()))?
        }
    };
    let index = index.trim_end_matches('/').to_owned();
    let page = ask::text(&format!("{index}/{SAMPLE}/")).await?;
    let mut mounts = vec![Mount { path: "/pip/index".to_owned(), origin: index.clone(), links: Vec::new() }];
    for (number, root) in ask::hosts_of(&page).into_iter().filter(|root| !index.starts_with(root)).take(8).enumerate() {
        // A page names other hosts as well; those of its files are the ones that its links lead to.
        if !page.contains(&format!("href=\"{root}")) {
            continue;
        }
        let path = format!("/pip/files{number}");
        mounts[0].links.push((root.clone(), format!("{path}/")));
        mounts.push(Mount { path, origin: root.trim_end_matches('/').to_owned(), links: Vec::new() });
    }
    let line = format!("index-url = {base}/pip/index/");
    let file = Edit::of(config_file()?, |before| Ok(set(before, &line)))?;
    Ok(Change { tool: Tool::Pip, mounts, files: vec![file] })
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

/// The file with this line in `[global]`, in the place of one with the same key.
fn set(before: &str, line: &str) -> String {
    let key = |text: &str| text.split_once('=').map(|(key, _)| key.trim().replace('_', "-"));
    let mut lines: Vec<String> = before.lines().map(str::to_owned).collect();
    let Some(start) = lines.iter().position(|text| text.trim() == "[global]") else {
        let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
        return format!("{before}{gap}[global]\n{line}\n");
    };
    let end = lines
        .iter()
        .skip(start + 1)
        .position(|text| text.trim_start().starts_with('['))
        .map_or(lines.len(), |at| start + 1 + at);
    match (start + 1..end).find(|at| key(&lines[*at]) == key(line)) {
        Some(at) => lines[at] = line.to_owned(),
        None => lines.insert(start + 1, line.to_owned()),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_set_where_it_stands_or_added() {
        assert_eq!(set("", "index-url = x"), "[global]\nindex-url = x\n");
        assert_eq!(set("[install]\na = b", "index-url = x"), "[install]\na = b\n[global]\nindex-url = x\n");
        assert_eq!(
            set("[global]\nindex_url=y\nc = d\n[x]\n", "index-url = x"),
            "[global]\nindex-url = x\nc = d\n[x]\n"
        );
        assert_eq!(
            set("[global]\nc = d\n[x]\nindex-url = y\n", "index-url = x"),
            "[global]\nindex-url = x\nc = d\n[x]\nindex-url = y\n"
        );
    }
}
