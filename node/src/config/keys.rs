//! The keys that the configuration file knows, read off the types that take it in: one source for what is accepted and what is told.

use super::{ConfigError, Settings, file_of, load, read};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Value};
use utoipa::{PartialSchema, ToSchema};

/// Tables within tables that are followed; the settings have three.
const DEEPEST: usize = 6;

/// A key that may be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name with those of its tables: `cache.quota`. What the administrator names stands in capitals: `hooks.NAME.command`.
    pub name: String,
    /// What it is for.
    pub text: String,
    /// What holds when nobody sets it, as one would say it.
    pub default: Option<String>,
    /// What it takes.
    pub kind: Kind,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text in quotes.
    Text,
    /// A number, `true` or `false`, or a list: as TOML writes them.
    Other,
}

/// A key that is set, or could be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The name, with the names that the administrator gave.
    pub name: String,
    /// The value as it stands in the file.
    pub value: String,
}

/// All keys, tables in the order of the alphabet.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut parts = Vec::new();
    Settings::schemas(&mut parts);
    let json = |schema| serde_json::to_value(schema).unwrap_or_default();
    let parts: BTreeMap<String, Json> = parts.into_iter().map(|(name, schema)| (name, json(schema))).collect();
    let mut keys = Vec::new();
    gather(&json(Settings::schema()), &parts, "", "", &mut keys, DEEPEST);
    keys.sort_by(|a: &Key, b| a.name.cmp(&b.name));
    keys
}

/// The key of which `name` is one: `hooks.scan.command` is one of `hooks.NAME.command`.
#[must_use]
pub fn key_of(keys: &[Key], name: &str) -> Option<Key> {
    let is_it = |key: &&Key| {
        let (wanted, there) = (key.name.split('.'), name.split('.'));
        wanted.clone().count() == there.clone().count()
            && wanted.zip(there).all(|(wanted, there)| wanted == there || (wanted == "NAME" && !there.is_empty()))
    };
    keys.iter().find(is_it).cloned()
}

/// What is set in the file; nothing when there is no file. The whole configuration is held to be valid first.
pub fn set(home: &Path, file: Option<&Path>) -> Result<Vec<Set>, ConfigError> {
    load(home, file)?;
    let path = file_of(home, file);
    let text = read(&path)?.unwrap_or_default();
    let wrong = |error: toml_edit::TomlError| ConfigError::Parse { path: path.clone(), message: error.to_string() };
    let document: DocumentMut = text.parse().map_err(wrong)?;
    let mut found = Vec::new();
    flatten(document.as_item(), String::new(), &mut found);
    Ok(found)
}

fn flatten(item: &Item, name: String, found: &mut Vec<Set>) {
    let under = |inner: &str| if name.is_empty() { inner.to_owned() } else { format!("{name}.{inner}") };
    if let Some(table) = item.as_table_like() {
        table.iter().for_each(|(inner, item)| flatten(item, under(inner), found));
    } else if let Some(tables) = item.as_array_of_tables() {
        let each = tables.iter().enumerate();
        each.for_each(|(index, table)| flatten(&Item::Table(table.clone()), format!("{name}[{index}]"), found));
    } else if let Some(value) = item.as_value() {
        found.push(Set { name, value: plain(value) });
    }
}

/// A value on one line, without the comments around it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.value().clone(),
        other => {
            let text = other.clone().decorated("", "").to_string();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }
}

/// Follows a schema (OpenAPI 3.1) down to what is no table.
fn gather(schema: &Json, parts: &BTreeMap<String, Json>, name: &str, text: &str, keys: &mut Vec<Key>, deep: usize) {
    let schema = resolved(schema, parts);
    let Some(deep) = deep.checked_sub(1) else { return };
    let own = |schema: &Json| schema["description"].as_str().unwrap_or_default().to_owned();
    if let Some(properties) = schema["properties"].as_object() {
        for (inner, schema) in properties {
            let inner_name = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
            gather(schema, parts, &inner_name, &own(schema), keys, deep);
        }
    } else if schema["additionalProperties"].is_object() && is_table(&schema["additionalProperties"], parts) {
        gather(&schema["additionalProperties"], parts, &format!("{name}.NAME"), text, keys, deep);
    } else if is_table(&schema["items"], parts) {
        gather(&schema["items"], parts, &format!("{name}[]"), text, keys, deep);
    } else {
        let said = if text.is_empty() { own(schema) } else { text.to_owned() };
        let (text, default) = split(&said);
        let kind = if is_text(schema) { Kind::Text } else { Kind::Other };
        keys.push(Key { name: name.to_owned(), text, default, kind });
    }
}

/// What stands behind a reference, or behind one that may be missing.
fn resolved<'a>(schema: &'a Json, parts: &'a BTreeMap<String, Json>) -> &'a Json {
    let choice = ["oneOf", "anyOf", "allOf"].iter().find_map(|how| schema[how].as_array());
    let schema = choice.and_then(|those| those.iter().find(|one| one["$ref"].is_string())).unwrap_or(schema);
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    name.and_then(|name| parts.get(name)).unwrap_or(schema)
}

fn is_table(schema: &Json, parts: &BTreeMap<String, Json>) -> bool {
    resolved(schema, parts)["properties"].is_object()
}

/// Whether it is text, or may be missing and is text.
fn is_text(schema: &Json) -> bool {
    let kind = &schema["type"];
    kind == "string" || kind.as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "string"))
}

/// The explanation, and the default that its last sentence names.
fn split(said: &str) -> (String, Option<String>) {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    match said.split_once("Default: ") {
        Some((text, default)) => (text.trim().to_owned(), Some(default.trim_end_matches('.').replace('"', ""))),
        None => (said, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_is_for() {
        let keys = keys();
        let silent: Vec<&Key> = keys.iter().filter(|key| key.text.is_empty()).collect();
        assert!(silent.is_empty(), "{silent:?}");
        let names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
        insta::assert_snapshot!(names.join("\n"));
    }

    /// The names of the keys come from one derived reader of the types, the file is read by another: both must agree.
    #[test]
    fn each_key_is_taken_by_the_file() {
        for key in keys() {
            let name = key.name.replace("NAME", "one");
            let text = match name.split_once("[].") {
                Some((table, key)) => format!("[[{table}]]\n{key} = 1979-05-27\n"),
                None => format!("{name} = 1979-05-27\n"),
            };
            // A date is what no key takes: so each says that it knows the key and not the value.
            let message = toml::from_str::<Settings>(&text).unwrap_err().to_string();
            assert!(!message.contains("unknown field"), "{name}: {message}");
        }
    }

    #[test]
    fn what_is_set_is_found_in_every_form_of_a_table() {
        let home = tempfile::tempdir().unwrap();
        let text = "cache = { quota = \"1 GiB\" }\npeers.mdns = false # no\n[hooks.scan]\ncommand = [\"/bin/true\",\n \"x\"]\n";
        std::fs::write(home.path().join("eddy.toml"), text).unwrap();
        let set = set(home.path(), None).unwrap();
        let pairs: Vec<(&str, &str)> = set.iter().map(|set| (set.name.as_str(), set.value.as_str())).collect();
        let wanted =
            [("cache.quota", "1 GiB"), ("peers.mdns", "false"), ("hooks.scan.command", "[\"/bin/true\", \"x\"]")];
        assert_eq!(pairs, wanted);
        let keys = keys();
        assert!(set.iter().all(|set| key_of(&keys, &set.name).is_some()), "{set:?}");
    }
}
