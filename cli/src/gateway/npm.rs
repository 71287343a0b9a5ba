//! npm: its registry becomes a mount, and so do the links of its indexes to the files.
//!
//! npm writes into a project's lock file where each package came from. That would be this machine's gateway, where nobody else finds it, and neither
//! does this machine once npm is disabled; so npm is told not to. The digests stay, and each machine asks the registry that it uses itself.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use std::path::PathBuf;

pub(super) fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    let missing = || refused("npm does not say which registry it uses; name it with --origin".to_owned());
    let asked = || ask::tool("npm", &["config", "get", "registry"]).filter(|url| url.starts_with("http"));
    let registry = origin.map(str::to_owned).or_else(asked).ok_or_else(missing)?;
    let registry = registry.trim_end_matches('/').to_owned();
    let file = ask::tool("npm", &["config", "get", "userconfig"]).filter(|path| path.starts_with('/'));
    let file = PathBuf::from(file.ok_or_else(|| refused("npm does not say where its configuration is".to_owned()))?);
    let links = vec![(format!("{registry}/"), "/npm/".to_owned())];
    let mounts = vec![Mount { links, ..Mount::plain("/npm", registry) }];
    let line = format!("registry={base}/npm/");
    let file = Edit::of(file, |before| Ok(set(&set(before, NO_PLACES), &line)))?;
    Ok(Change { tool: Tool::Npm, mounts, files: vec![file] })
}

/// Keeps what packages were fetched from out of lock files; from npm 8.8 on.
const NO_PLACES: &str = "omit-lockfile-registry-resolved=true";

/// A word for those who have enabled it.
pub(super) fn hint() -> &'static str {
    "lock files name no places of packages from now on (omit-lockfile-registry-resolved), so that they are good on every machine; this needs npm 8.8"
}

/// The file with this line, in the place of one with the same key.
fn set(before: &str, line: &str) -> String {
    let key = |text: &str| text.split_once('=').map(|(key, _)| key.trim().to_owned());
    let is_same = |text: &str| key(text) == key(line);
    let mut kept: String = before.lines().filter(|text| !is_same(text)).map(|text| format!("{text}\n")).collect();
    kept += line;
    kept + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_registry_stands_in_the_file() {
        assert_eq!(set("", "registry=x"), "registry=x\n");
        assert_eq!(
            set(&set("omit-lockfile-registry-resolved = false\na=b\n", NO_PLACES), "registry=x"),
            "a=b\nomit-lockfile-registry-resolved=true\nregistry=x\n"
        );
        assert_eq!(set("a=b\nregistry = y\n@s:registry=z", "registry=x"), "a=b\n@s:registry=z\nregistry=x\n");
    }
}
