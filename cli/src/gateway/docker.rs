//! docker: the gateway becomes the first of the engine's mirrors. It asks each in turn and its own registry last, so it goes on by itself when
//! no daemon runs.

use super::change::{Change, Edit};
use super::hunks::Undone;
use super::tool::Tool;
use super::{Mount, refused};
use crate::failure::Failure;
use std::ops::Range;
use std::path::Path;

/// The key of the engine's mirrors.
const MIRRORS: &str = "registry-mirrors";
/// Where images come from that name no registry.
const REGISTRY: &str = "https://registry-1.docker.io";

pub(super) fn plan(base: &str, origin: Option<&str>, root: &Path) -> Result<Change, Failure> {
    let file = root.join("etc/docker/daemon.json");
    let before = super::files::read(&file)?;
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

/// The file without the gateway among its mirrors, however it is laid out now; nothing where it cannot be changed safely.
pub(super) fn undone(before: &str, after: &str, now: &str) -> Option<Undone> {
    let gateway = mirrors(after).ok()?.into_iter().next()?;
    let mut meant = parsed(now).ok()?;
    let Some(list) = meant.get_mut(MIRRORS) else { return Some(Undone { text: now.to_owned(), was_whole: false }) };
    let list = list.as_array_mut()?;
    let Some(place) = list.iter().position(|url| *url == *gateway) else {
        return Some(Undone { text: now.to_owned(), was_whole: false });
    };
    list.remove(place);
    let is_ours = list.is_empty() && parsed(before).ok()?.get(MIRRORS).is_none();
    let members = items(now, now.find('{')?)?;
    let is_list = |member: &Range<usize>| {
        let (key, rest) = now[member.clone()].trim_start().split_once(':').unwrap_or_default();
        serde_json::from_str::<String>(key).is_ok_and(|key| key == MIRRORS) && rest.trim_start().starts_with('[')
    };
    let number = members.iter().position(is_list)?;
    let text = if is_ours {
        meant.as_object_mut()?.remove(MIRRORS);
        without(now, &members, number)
    } else {
        let start = members[number].start;
        without(now, &items(now, start + now[start..].find('[')?)?, place)
    };
    // What is written says what was meant, and nothing else changes.
    (parsed(&text).ok()? == meant).then_some(Undone { text, was_whole: true })
}

/// What stands between the commas of an object or a list that opens here, with the spaces around it.
fn items(text: &str, open: usize) -> Option<Vec<Range<usize>>> {
    let (mut items, mut start, mut depth, mut is_text, mut is_escaped) = (Vec::new(), open + 1, 0_u32, false, false);
    for (at, letter) in text.bytes().enumerate().skip(open + 1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'[' | b'{' => depth += 1,
            b',' if depth == 0 => items.push(std::mem::replace(&mut start, at + 1)..at),
            b']' | b'}' if depth == 0 => {
                items.push(start..at);
                return Some(items);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The text without one of the items, and without the comma that it no longer needs.
fn without(text: &str, items: &[Range<usize>], number: usize) -> String {
    let begin = |item: &Range<usize>| item.end - text[item.clone()].trim_start().len();
    let end = |item: &Range<usize>| item.start + text[item.clone()].trim_end().len();
    let item = &items[number];
    let gone = match (number.checked_sub(1), items.get(number + 1)) {
        (_, Some(next)) => begin(item)..begin(next),
        (Some(last), None) => items[last].end..end(item),
        (None, None) => item.clone(),
    };
    format!("{}{}", &text[..gone.start], &text[gone.end..])
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

    #[test]
    fn the_gateway_alone_is_taken_out_however_the_file_is_laid_out() {
        let base = "http://127.0.0.1:7718";
        let left = |before: &str, now: &str| undone(before, &set(before, base).unwrap(), now).map(|undone| undone.text);
        let with = |text: &str| text.replace('G', &format!("\"{base}\""));
        for (before, now, is) in [
            (
                "",
                "{\n  \"a\": {\"registry-mirrors\": [G]},\n  \"registry-mirrors\": [\n    G\n  ]\n}\n",
                Some("{\n  \"a\": {\"registry-mirrors\": [G]}\n}\n"),
            ),
            ("", "{\"registry-mirrors\":[G],\"a\":\"]},\\\"\"}", Some("{\"a\":\"]},\\\"\"}")),
            ("", "{\"registry-mirrors\":[G]}", Some("{}")),
            ("", "{\"registry-mirrors\": [\"https://n\", G]}", Some("{\"registry-mirrors\": [\"https://n\"]}")),
            (
                "{\"registry-mirrors\": [\"https://m\"]}",
                "{\n  \"registry-mirrors\": [\n    G,\n    \"https://m\"\n  ],\n  \"b\": 1\n}\n",
                Some("{\n  \"registry-mirrors\": [\n    \"https://m\"\n  ],\n  \"b\": 1\n}\n"),
            ),
            (
                "{\"registry-mirrors\": []}",
                "{\"b\": 1, \"registry-mirrors\": [G]}",
                Some("{\"b\": 1, \"registry-mirrors\": []}"),
            ),
            // Who took it out has done it.
            ("", "{\"b\": 1}", Some("{\"b\": 1}")),
            ("", "{\"registry-mirrors\": [\"https://n\"]}", Some("{\"registry-mirrors\": [\"https://n\"]}")),
            ("", "{\"registry-mirrors\": G}", None),
            ("", "{", None),
        ] {
            assert_eq!(left(before, &with(now)), is.map(with), "{now}");
        }
    }
}
