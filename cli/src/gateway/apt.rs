//! apt: each origin of its sources becomes a list of two mirrors, the gateway first and the origin itself behind it. So apt goes on
//! by itself when no daemon runs.
//!
//! A file in which an origin has credentials is left alone, whole: a list of mirrors is read by everybody, no mount may have them, and what
//! stood in the file would be kept in the node's home for the way back.

use super::change::{Change, Edit};
use super::files::read;
use super::tool::Tool;
use super::{Mount, ask, refused};
use crate::failure::Failure;
use crate::setting::Setting;
use std::path::{Path, PathBuf};

pub(super) fn plan(base: &str, origin: Option<&str>, setting: &Setting) -> Result<Change, Failure> {
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
        if text.lines().any(names_credentials) {
            setting.note(&format!("{} is left alone: an origin in it has credentials", path.display()));
            continue;
        }
        let after: String = text.split_inclusive('\n').map(|line| plan.line(line, is_deb822)).collect();
        if after != text {
            files.push(Edit { path, before: Some(text), after });
        }
    }
    if files.is_empty() {
        return Err(refused("apt's sources name no http or https origin that could be mounted".to_owned()));
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
        if !names_origins(line, is_deb822) {
            return line.to_owned();
        }
        let mut out = String::new();
        for word in line.split_inclusive(|c: char| c.is_ascii_whitespace()) {
            let (bare, space) = word.split_at(word.trim_end().len());
            out += &if is_origin(bare) && !bare.starts_with(self.base) { self.mirror(bare) } else { bare.to_owned() };
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

/// Whether a line of a file says where packages come from.
fn names_origins(line: &str, is_deb822: bool) -> bool {
    let start = line.trim_start();
    match is_deb822 {
        true => start.to_ascii_lowercase().starts_with("uris:"),
        false => start.starts_with("deb ") || start.starts_with("deb-src ") || start.starts_with("deb\t"),
    }
}

fn is_origin(word: &str) -> bool {
    word.starts_with("http://") || word.starts_with("https://")
}

/// Whether a line that is no comment names an origin with a user or a password, also one that cannot be read.
fn names_credentials(line: &str) -> bool {
    let authority = |word: &str| word.split("//").nth(1)?.split('/').next().map(str::to_owned);
    let has = |word: &str| is_origin(word) && authority(word).is_some_and(|authority| authority.contains('@'));
    !line.trim_start().starts_with('#') && line.split_ascii_whitespace().any(has)
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

    #[test]
    fn an_origin_with_credentials_is_known() {
        for line in [
            "deb https://user:token@h/debian stable main",
            "deb [arch=amd64] https://h/a https://token@h/b x",
            "URIs: https://h/ http://u:p@i",
            "  http://u:p@i/behind-the-first-line",
            "deb https://u:p@[broken/ x y",
        ] {
            assert!(names_credentials(line), "{line}");
        }
        for line in [
            "deb https://h/de@bian stable main",
            "# deb https://user:token@h/debian stable main",
            "deb [signed-by=/k@1] http://h/ x",
            "Suites: a@b",
        ] {
            assert!(!names_credentials(line), "{line}");
        }
    }
}
