//! conda: the place where channels are looked for by their name becomes a mount. Channels that are written out as URLs, and the "defaults" of a
//! distribution, are left alone.

use super::change::{Change, Edit};
use super::files::read;
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// Where channels are looked for by name unless somebody says otherwise.
const ALIAS: &str = "https://conda.anaconda.org";

pub(super) fn plan(base: &str, origin: Option<&str>, root: Option<&Path>) -> Result<Change, Failure> {
    let file = file(root)?;
    let present = read(&file)?.as_deref().and_then(alias);
    let origin = origin.map(str::to_owned).or(present).unwrap_or_else(|| ALIAS.to_owned());
    let origin = origin.trim_end_matches('/').to_owned();
    let file = Edit::of(file, |before| Ok(set(before, &format!("channel_alias: {base}/conda"))))?;
    let mounts = vec![Mount::plain("/conda", origin)];
    Ok(Change { tool: Tool::Conda, mounts, files: vec![file] })
}

fn file(root: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(root) = root {
        return Ok(root.join("etc/conda/.condarc"));
    }
    if let Some(named) = std::env::var_os("CONDARC") {
        return Ok(named.into());
    }
    let home = etcetera::home_dir().map_err(|error| refused(format!("this user has no home directory ({error})")))?;
    Ok(home.join(".condarc"))
}

fn is_alias(line: &str) -> bool {
    line.starts_with("channel_alias:")
}

fn alias(text: &str) -> Option<String> {
    let line = text.lines().find(|line| is_alias(line))?;
    let value = line.split_once(':')?.1.split(" #").next()?.trim().trim_matches(['"', '\'']);
    Some(value.to_owned()).filter(|url| url.starts_with("http"))
}

/// The file with this line, in the place of one with the same key.
fn set(before: &str, line: &str) -> String {
    if before.lines().any(is_alias) {
        return before
            .split_inclusive('\n')
            .map(|text| if is_alias(text) { format!("{line}\n") } else { text.to_owned() })
            .collect();
    }
    let gap = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    format!("{before}{gap}{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alias_is_set_where_it_stands_or_added() {
        assert_eq!(set("", "channel_alias: x"), "channel_alias: x\n");
        assert_eq!(set("channels:\n  - c", "channel_alias: x"), "channels:\n  - c\nchannel_alias: x\n");
        assert_eq!(set("channel_alias: y\na: b\n", "channel_alias: x"), "channel_alias: x\na: b\n");
        assert_eq!(alias("a: b\nchannel_alias: \"https://m/c\" # mine\n").as_deref(), Some("https://m/c"));
    }
}
