//! What a file says, as its tool reads it: so that lines that were taken out are known to have changed nothing else.

use super::ini;
use super::tool::Tool;
use std::collections::BTreeSet;

/// Settings and their values, in an order of their own.
type Said = Vec<(String, String)>;

/// Whether `is` says what `now` says, and what `before` said of all that `after` had changed. What cannot be read is not judged.
pub(super) fn is_meant(tool: Tool, (before, after): (&str, &str), now: &str, is: &str) -> bool {
    let of = |text| said(tool, text);
    let (Some(before), Some(after), Some(now)) = (of(before), of(after), of(now)) else { return true };
    let Some(is) = of(is) else { return false };
    let values = |said: &Said, name: &str| -> Vec<String> {
        said.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
    };
    let names: BTreeSet<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    let changed: BTreeSet<&String> =
        names.into_iter().filter(|name| values(&before, name) != values(&after, name)).collect();
    let theirs = now.into_iter().filter(|(name, _)| !changed.contains(name));
    let mut meant: Said = theirs.chain(before.iter().filter(|(name, _)| changed.contains(name)).cloned()).collect();
    let mut is = is;
    meant.sort();
    is.sort();
    is == meant
}

/// What a text says; nothing where its tool could not read it.
fn said(tool: Tool, text: &str) -> Option<Said> {
    let mut said = match tool {
        Tool::Pip => {
            let entries = ini::parsed(text)?.entries;
            entries.into_iter().map(|entry| (format!("{}.{}", entry.section, entry.key()), entry.value)).collect()
        }
        Tool::Cargo | Tool::Containerd => {
            let mut leaves = Vec::new();
            flatten("", &toml::Value::Table(toml::from_str(text).ok()?), &mut leaves);
            leaves
        }
        Tool::Npm | Tool::Nix => text.lines().filter_map(assignment).collect(),
        // Their lines are by themselves, or their files eddy's own.
        Tool::Apt | Tool::Docker | Tool::Dnf | Tool::Conda | Tool::Huggingface => Vec::new(),
    };
    said.sort();
    Some(said)
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let (name, value) = line.split_once('=').filter(|_| !line.starts_with(['#', ';']))?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

fn flatten(path: &str, value: &toml::Value, into: &mut Said) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(name, value)| flatten(&format!("{path}.{name:?}"), value, into));
        }
        other => into.push((path.to_owned(), other.to_string())),
    }
}
