//! apt: each origin of its sources becomes a list of two mirrors, the gateway first and the origin itself behind it. So apt goes on
//! by itself when no daemon runs.

use super::change::{Change, Edit, read};
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

pub(super) fn plan(base: &str, origin: Option<&str>) -> Result<Change, Failure> {
    if origin.is_some() {
        return Err(refused("apt's origins are those of its sources; name none".to_owned()));
    }
    let (sources, parts, folder) = places()?;
    let mut plan = Plan { base, folder, mounts: Vec::new() };
    let mut files = Vec::new();
    let listed = std::fs::read_dir(&parts).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = listed.unwrap_or_default();
    paths.push(sources);
    paths.sort();
    for path in paths {
        let kind = path.extension().and_then(|kind| kind.to_str());
        let Some(text) = read(&path).ok().flatten().filter(|_| matches!(kind, Some("list" | "sources"))) else {
            continue;
        };
        let is_deb822 = kind == Some("sources");
        let after: String = text.split_inclusive('\n').map(|line| plan.line(line, is_deb822)).collect();
        if after != text {
            files.push(Edit { path, before: Some(text), after });
        }
    }
    if files.is_empty() {
        return Err(refused("apt's sources name no http or https origin".to_owned()));
    }
    for (number, mount) in plan.mounts.iter().enumerate() {
        let after = format!("{base}{}\tpriority:1\n{}\tpriority:2\n", mount.path, mount.origin);
        files.insert(number, Edit { path: plan.list(number), before: read(&plan.list(number))?, after });
    }
    Ok(Change { tool: Tool::Apt, mounts: plan.mounts, files })
}

struct Plan<'a> {
    base: &'a str,
    folder: PathBuf,
    mounts: Vec<Mount>,
}

impl Plan<'_> {
    /// A line with its origins replaced; others as they are.
    fn line(&mut self, line: &str, is_deb822: bool) -> String {
        let start = line.trim_start();
        let is_ours = if is_deb822 {
            start.to_ascii_lowercase().starts_with("uris:")
        } else {
            start.starts_with("deb ") || start.starts_with("deb-src ") || start.starts_with("deb\t")
        };
        if !is_ours {
            return line.to_owned();
        }
        let mut out = String::new();
        for word in line.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let (bare, space) = word.split_at(word.trim_end().len());
            let is_origin = bare.starts_with("http://") || bare.starts_with("https://");
            out += &if is_origin && !bare.starts_with(self.base) { self.mirror(bare) } else { bare.to_owned() };
            out += space;
        }
        out
    }

    /// What stands for an origin.
    fn mirror(&mut self, origin: &str) -> String {
        let origin = origin.trim_end_matches('/');
        let number = self.mounts.iter().position(|mount| mount.origin == origin).unwrap_or_else(|| {
            let path = format!("/apt/{}", self.mounts.len());
            self.mounts.push(Mount::plain(path, origin));
            self.mounts.len() - 1
        });
        format!("mirror+file:{}", self.list(number).display())
    }

    fn list(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number}.list"))
    }
}

/// apt's own word on where its sources are, and a folder beside them that its downloaders may read.
fn places() -> Result<(PathBuf, PathBuf, PathBuf), Failure> {
    let names = ["S", "Dir::Etc::sourcelist/f", "P", "Dir::Etc::sourceparts/d", "E", "Dir::Etc/d"];
    let said = ask::tool("apt-config", &[&["shell"], names.as_slice()].concat())
        .ok_or_else(|| refused("apt is not here".to_owned()))?;
    let of = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(&format!("{name}='")));
        line.and_then(|rest| rest.strip_suffix('\'')).map(PathBuf::from)
    };
    match (of("S"), of("P"), of("E")) {
        (Some(sources), Some(parts), Some(folder)) => Ok((sources, parts, folder.join(Path::new("eddy")))),
        _ => Err(refused("apt does not say where its sources are".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_replaced_and_everything_else_stays() {
        let mut plan = Plan { base: "http://127.0.0.1:7718", folder: "/e".into(), mounts: Vec::new() };
        let line = "deb [arch=amd64 signed-by=/k] https://h/debian/  stable main\n";
        assert_eq!(plan.line(line, false), "deb [arch=amd64 signed-by=/k] mirror+file:/e/0.list  stable main\n");
        assert_eq!(
            plan.line("URIs: https://h/debian http://i/x\r\n", true),
            "URIs: mirror+file:/e/0.list mirror+file:/e/1.list\r\n"
        );
        for same in ["# deb https://h/debian x\n", "deb cdrom:[x]/ y z\n", "deb file:/x y z", "\n"] {
            assert_eq!(plan.line(same, false), same);
        }
        assert_eq!(plan.line("Suites: http://h\n", true), "Suites: http://h\n");
        assert_eq!(
            plan.mounts.iter().map(|m| m.origin.as_str()).collect::<Vec<_>>(),
            ["https://h/debian", "http://i/x"]
        );
    }
}
