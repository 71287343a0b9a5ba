//! Settings as Python's `configparser` reads them, as pip's are: a name in any case before `=` or `:`, and a value that goes on on lines that stand
//! further in.

use std::ops::Range;

/// A setting and the lines that it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: String,
    name: String,
    /// All of its lines, with a space between them.
    pub(super) value: String,
    lines: Range<usize>,
}

impl Entry {
    /// What pip takes the name for: letters in any case, either line, and the dashes of an option.
    pub(super) fn key(&self) -> String {
        let key = self.name.replace('_', "-");
        key.strip_prefix("--").map(str::to_owned).unwrap_or(key)
    }
}

/// A text that can be read.
#[derive(Debug, Default)]
pub(super) struct Ini {
    sections: Vec<(String, usize)>,
    pub(super) entries: Vec<Entry>,
}

/// What a text says; nothing where `configparser` takes it for broken.
pub(super) fn parsed(text: &str) -> Option<Ini> {
    let mut ini = Ini::default();
    // How far in the setting stands that may go on; nothing right after the head of a section.
    let mut open: Option<usize> = None;
    for (at, line) in text.lines().enumerate() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        let inward = indent(line).len();
        if let Some(entry) = ini.entries.last_mut().filter(|_| open.is_some_and(|start| inward > start)) {
            entry.value = format!("{} {bare}", entry.value).trim_start().to_owned();
            entry.lines.end = at + 1;
            continue;
        }
        if let Some(name) = section(bare) {
            let is_there = ini.sections.iter().any(|(there, _)| there == name);
            ini.sections.push((name.to_owned(), at));
            open = None;
            if is_there {
                return None;
            }
            continue;
        }
        let section = ini.sections.last()?.0.clone();
        let (name, value) = bare.split_once(['=', ':'])?;
        let name = name.trim_end().to_lowercase();
        let is_there = ini.entries.iter().any(|entry| entry.section == section && entry.name == name);
        if name.is_empty() || is_there {
            return None;
        }
        ini.entries.push(Entry { section, name, value: value.trim().to_owned(), lines: at..at + 1 });
        open = Some(inward);
    }
    Some(ini)
}

/// The text with this setting in the place of all that pip takes for the same; nothing where it cannot be changed safely.
pub(super) fn set(before: &str, section: &str, key: &str, value: &str) -> Option<String> {
    let was = parsed(before)?;
    let is_it = |entry: &Entry| entry.section == section && entry.key() == key;
    let old: Vec<&Entry> = was.entries.iter().filter(|entry| is_it(entry)).collect();
    let lines: Vec<&str> = before.lines().collect();
    // As far in as its neighbours: they would be its value otherwise.
    let first = old.first().copied().or_else(|| was.entries.iter().find(|entry| entry.section == section));
    let inward = first.and_then(|entry| lines.get(entry.lines.start)).map_or("", |line| indent(line));
    let line = format!("{inward}{key} = {value}");
    let head = was.sections.iter().find(|(name, _)| name == section).map(|(_, at)| *at);
    let mut after = String::new();
    for (at, text) in lines.iter().enumerate() {
        let is_old = old.iter().any(|entry| entry.lines.contains(&at));
        if !is_old {
            after += &format!("{text}\n");
        }
        let is_place = old.first().map_or(head == Some(at), |entry| entry.lines.start == at);
        if is_place {
            after += &format!("{line}\n");
        }
    }
    if head.is_none() {
        after += &format!("[{section}]\n{line}\n");
    }
    // What is written says what was meant, and nothing else changes.
    let is = parsed(&after)?;
    let said = |ini: &Ini, ours: bool| -> Vec<_> {
        let entries = ini.entries.iter().filter(|entry| is_it(entry) == ours);
        entries.map(|entry| (entry.section.clone(), entry.name.clone(), entry.value.clone())).collect()
    };
    let meant = vec![(section.to_owned(), key.to_owned(), value.to_owned())];
    (said(&was, false) == said(&is, false) && said(&is, true) == meant).then_some(after)
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The name in the head of a section.
fn section(bare: &str) -> Option<&str> {
    let inside = bare.strip_prefix('[')?;
    inside.rfind(']').filter(|end| *end > 0).map(|end| &inside[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global(before: &str) -> Option<String> {
        set(before, "global", "index-url", "x")
    }

    #[test]
    fn a_setting_is_put_where_it_stands_or_added() {
        for (before, after) in [
            ("", "[global]\nindex-url = x\n"),
            ("[install]\na = b", "[install]\na = b\n[global]\nindex-url = x\n"),
            ("[global]\nindex_url=y\nc = d\n[x]\n", "[global]\nindex-url = x\nc = d\n[x]\n"),
            ("[global]\nc = d\n[x]\nindex-url = y\n", "[global]\nindex-url = x\nc = d\n[x]\nindex-url = y\n"),
        ] {
            assert_eq!(global(before).as_deref(), Some(after), "{before}");
        }
    }

    #[test]
    fn one_setting_is_left_however_it_was_written() {
        for before in [
            "[global]\nindex-url: y\n",
            "[global]\nIndex-URL = y\n",
            "[global]\nindex-url =\n    y\n",
            "[global]\nindex-url = y\n    z\n# of mine\n\n    w\n",
            "[global]\n--index-url = y\nindex_url = z\nindex-url = w\n",
        ] {
            assert_eq!(global(before).as_deref(), Some("[global]\nindex-url = x\n"), "{before}");
        }
        assert_eq!(global("[global]\n  c = d\n").as_deref(), Some("[global]\n  index-url = x\n  c = d\n"));
        assert_eq!(
            global("[global]\n# mine\nc: d\n  e\nindex-url=y\n").as_deref(),
            Some("[global]\n# mine\nc: d\n  e\nindex-url = x\n")
        );
    }

    #[test]
    fn what_pip_could_not_read_is_left_alone() {
        for broken in ["a = b\n", "[global]\na\n", "[global]\na = b\nA: c\n", "[global]\n[global]\n", "[global]\n= b\n"]
        {
            assert_eq!(global(broken), None, "{broken}");
        }
    }
}
