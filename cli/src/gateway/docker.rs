//! docker: the gateway becomes the first of the engine's mirrors. It asks each in turn and its own registry last, so it goes on by itself when
//! no daemon runs.

use super::change::{Change, Edit};
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use std::path::Path;

/// Where images come from that name no registry.
const REGISTRY: &str = "https://registry-1.docker.io";

pub(super) fn plan(base: &str, origin: Option<&str>, root: &Path) -> Result<Change, Failure> {
    let file = root.join("etc/docker/daemon.json");
    let before = super::change::read(&file)?;
    let present = mirrors(before.as_deref().unwrap_or(""))?;
    let origin = origin.map(str::to_owned).or_else(|| present.into_iter().next());
    let origin = origin.unwrap_or_else(|| REGISTRY.to_owned());
    let origin = origin.trim_end_matches('/').trim_end_matches("/v2").to_owned();
    // The engine allows no path in a mirror: the mount is the one that it will ask for.
    let mounts = vec![Mount::plain("/v2", format!("{origin}/v2"))];
    let file = Edit::of(file, |before| set(before, base))?;
    Ok(Change { tool: Tool::Docker, mounts, files: vec![file] })
}

fn parsed(text: &str) -> Result<serde_json::Value, Failure> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| refused(format!("docker's daemon.json: {error}")))?;
    if value.is_object() { Ok(value) } else { Err(refused("docker's daemon.json is no object".to_owned())) }
}

fn mirrors(text: &str) -> Result<Vec<String>, Failure> {
    let value = parsed(text)?;
    let listed = value.get("registry-mirrors").and_then(|list| list.as_array()).cloned().unwrap_or_default();
    Ok(listed.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect())
}

/// The file with the gateway in front of the mirrors that it has; everything else stays as it stands.
fn set(before: &str, base: &str) -> Result<String, Failure> {
    let odd = || refused("docker's daemon.json cannot be changed safely; add the mirror by hand".to_owned());
    let wanted = {
        let mut list = vec![base.to_owned()];
        list.extend(mirrors(before)?);
        list
    };
    let after = match before.find("\"registry-mirrors\"") {
        Some(key) => {
            let open = key + before[key..].find('[').ok_or_else(odd)?;
            let gap = if wanted.len() > 1 { ", " } else { "" };
            format!("{}\"{base}\"{gap}{}", &before[..=open], &before[open + 1..])
        }
        None if before.trim().is_empty() => format!("{{\n  \"registry-mirrors\": [\"{base}\"]\n}}\n"),
        None => {
            let open = before.find('{').ok_or_else(odd)?;
            let gap = if parsed(before)?.as_object().is_some_and(|object| !object.is_empty()) { "," } else { "" };
            format!("{}\n  \"registry-mirrors\": [\"{base}\"]{gap}{}", &before[..=open], &before[open + 1..])
        }
    };
    // What is written says what was meant, and nothing else changes.
    let (mut was, is) = (parsed(before)?, parsed(&after)?);
    if let Some(object) = was.as_object_mut() {
        object.insert("registry-mirrors".to_owned(), wanted.into());
    }
    if was == is { Ok(after) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_stands_before_the_mirrors_and_the_rest_stays() {
        let base = "http://127.0.0.1:7718";
        let after = |before: &str| set(before, base).unwrap();
        assert_eq!(after(""), format!("{{\n  \"registry-mirrors\": [\"{base}\"]\n}}\n"));
        assert_eq!(after("{}"), format!("{{\n  \"registry-mirrors\": [\"{base}\"]}}"));
        assert_eq!(after("{\"a\": 1}\n"), format!("{{\n  \"registry-mirrors\": [\"{base}\"],\"a\": 1}}\n"));
        let mirror = "{\n  \"registry-mirrors\": [ \"https://m\" ],\n  \"b\": {}\n}\n";
        assert_eq!(after(mirror), mirror.replace("[ \"https", &format!("[\"{base}\",  \"https")));
        for odd in ["[", "[]", "{\"log\": {\"registry-mirrors\": []}}"] {
            assert!(set(odd, base).is_err(), "{odd}");
        }
    }
}
