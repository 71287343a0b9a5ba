//! Taking one's own lines out of a text that others have written into since, line by line.
//!
//! What was done to the text is known as hunks: lines that came, and lines that went for them. Those that came are looked for in the text as it
//! is now; where each is there as written, it goes and the others come back. Where one reads otherwise, that is somebody's word, and it is
//! named instead. Tools write their files anew with other spaces, so these do not count.

use similar::{Algorithm, DiffOp, DiffTag, capture_diff_slices};
use std::collections::{BTreeMap, BTreeSet};

/// A line of ours that is not there as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    /// What was written.
    pub(super) wrote: String,
    /// What stands there now, and in which line, counted from one; nothing where nothing does.
    pub(super) now: Option<(usize, String)>,
}

/// A text without what was written into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Undone {
    pub(super) text: String,
    /// Whether all that was written was there.
    pub(super) was_whole: bool,
}

/// Takes what led from `before` to `after` out of `now`; otherwise which of its lines have changed.
pub(super) fn undone(before: &str, after: &str, now: &str) -> Result<Undone, Vec<Changed>> {
    let texts = Texts {
        before: before.lines().collect(),
        after: after.lines().collect(),
        now: now.split_inclusive('\n').collect(),
    };
    let mut plan = Plan::of(&texts);
    let changed: Vec<Changed> = texts.hunks().into_iter().flat_map(|hunk| plan.take(&texts, &hunk)).collect();
    if !changed.is_empty() {
        return Err(changed);
    }
    plan.keep_heads_in_use(&texts);
    Ok(Undone { text: plan.text(&texts), was_whole: plan.was_whole })
}

struct Texts<'a> {
    before: Vec<&'a str>,
    after: Vec<&'a str>,
    /// With their ends.
    now: Vec<&'a str>,
}

impl Texts<'_> {
    /// What was done.
    fn hunks(&self) -> Vec<DiffOp> {
        let ops = capture_diff_slices(Algorithm::Myers, &self.after, &self.before);
        ops.into_iter().filter(|op| op.tag() != DiffTag::Equal).collect()
    }

    /// Whether a line of the text as it is now reads like one of those that went.
    fn is_back(&self, line: usize) -> bool {
        self.before.iter().any(|before| bare(before) == bare(self.now[line]))
    }
}

/// What becomes of the lines that are there now.
struct Plan {
    /// Where each line of the text after the change is now.
    at: Vec<Option<usize>>,
    /// Lines that are nobody's but of who came later.
    foreign: BTreeSet<usize>,
    gone: BTreeSet<usize>,
    /// What comes before a line.
    back: BTreeMap<usize, Vec<String>>,
    was_whole: bool,
}

impl Plan {
    fn of(texts: &Texts<'_>) -> Self {
        let after: Vec<String> = texts.after.iter().map(|line| bare(line)).collect();
        let now: Vec<String> = texts.now.iter().map(|line| bare(line)).collect();
        let mut at = vec![None; after.len()];
        let mut foreign: BTreeSet<usize> = (0..now.len()).collect();
        for op in capture_diff_slices(Algorithm::Myers, &after, &now) {
            if let DiffOp::Equal { old_index, new_index, len } = op {
                for step in 0..len {
                    at[old_index + step] = Some(new_index + step);
                    foreign.remove(&(new_index + step));
                }
            }
        }
        // A tool that puts its settings in an order of its own moves lines past each other.
        for (line, text) in after.iter().enumerate().filter(|(_, text)| !text.is_empty()) {
            let mut same = foreign.iter().filter(|number| now[**number] == *text);
            if let (None, Some(only), None) = (at[line], same.next().copied(), same.next()) {
                at[line] = Some(only);
                foreign.remove(&only);
            }
        }
        Self { at, foreign, gone: BTreeSet::new(), back: BTreeMap::new(), was_whole: true }
    }

    /// Plans a hunk to be undone; says which of its lines stand in the way.
    fn take(&mut self, texts: &Texts<'_>, hunk: &DiffOp) -> Vec<Changed> {
        let (ours, theirs) = (hunk.old_range(), &texts.before[hunk.new_range()]);
        let missing: Vec<usize> =
            ours.clone().filter(|line| self.at[*line].is_none() && is_needed(texts.after[*line])).collect();
        let is_back = |text: &&str| self.foreign.iter().any(|line| bare(texts.now[*line]) == bare(text));
        let absent: Vec<&str> = theirs.iter().filter(|text| !is_back(text)).copied().collect();
        let in_the_way = |line: &usize| {
            let now = self.rival(texts, *line).map(|now| (now + 1, texts.now[now].trim_end().to_owned()));
            let has_changed = now.is_some() || absent.iter().any(|text| is_needed(text));
            has_changed.then(|| Changed { wrote: texts.after[*line].to_owned(), now })
        };
        let changed: Vec<Changed> = missing.iter().filter_map(in_the_way).collect();
        if changed.is_empty() {
            self.was_whole &= missing.is_empty();
            let first = ours.clone().find_map(|line| self.at[line]);
            self.gone.extend(ours.clone().filter_map(|line| self.at[line]));
            let place = first.unwrap_or_else(|| self.place(ours.start, texts.now.len()));
            self.back.entry(place).or_default().extend(absent.into_iter().map(str::to_owned));
        }
        changed
    }

    /// What stands in the place of a line of ours that is not there: what sets the same, or what was put between its neighbours.
    fn rival(&self, texts: &Texts<'_>, line: usize) -> Option<usize> {
        let mut others = self.foreign.iter().copied().filter(|now| is_needed(texts.now[*now]) && !texts.is_back(*now));
        let same = key(texts.after[line]);
        if let Some(rival) = others.clone().find(|now| same.is_some() && key(texts.now[*now]) == same) {
            return Some(rival);
        }
        let start = self.above(line).unwrap_or(0);
        let end = self.at[line..].iter().flatten().copied().find(|now| *now >= start).unwrap_or(texts.now.len());
        // A line with a name of its own was added, and replaces nothing.
        others.find(|now| (start..end).contains(now) && (same.is_none() || key(texts.now[*now]).is_none()))
    }

    /// Where a line would stand now: behind what it stood behind.
    fn place(&self, line: usize, end: usize) -> usize {
        let below = || self.at[line..].iter().flatten().next().copied();
        self.above(line).or_else(below).unwrap_or(end)
    }

    /// Behind the nearest line above that is still there.
    fn above(&self, line: usize) -> Option<usize> {
        self.at[..line].iter().rev().flatten().next().map(|now| now + 1)
    }

    /// The head of a section into which somebody has put something stays.
    fn keep_heads_in_use(&mut self, texts: &Texts<'_>) {
        let heads: Vec<usize> = self.gone.iter().copied().filter(|line| is_head(texts.now[*line])).collect();
        for head in heads {
            let section = (head + 1..texts.now.len()).take_while(|line| !is_head(texts.now[*line]));
            let stays = |line: usize| is_needed(texts.now[line]) && !self.gone.contains(&line);
            if section.clone().any(stays) {
                self.gone.remove(&head);
            }
        }
    }

    fn text(&self, texts: &Texts<'_>) -> String {
        let mut text = String::new();
        let mut put = |line: &str| {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(line);
        };
        for (number, line) in texts.now.iter().enumerate() {
            self.back.get(&number).into_iter().flatten().for_each(|line| put(&format!("{line}\n")));
            if !self.gone.contains(&number) {
                put(line);
            }
        }
        self.back.get(&texts.now.len()).into_iter().flatten().for_each(|line| put(&format!("{line}\n")));
        text
    }
}

/// A line however its spaces are: at its ends, and around its first sign of equality.
fn bare(line: &str) -> String {
    match line.split_once('=') {
        Some((name, value)) => format!("{}={}", name.trim(), value.trim()),
        None => line.trim().to_owned(),
    }
}

/// Whether a line says something by itself: no blank one, comment or head of a section.
fn is_needed(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with(['#', ';']) && !is_head(line)
}

fn is_head(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('[') && line.ends_with(']')
}

/// What a line sets.
fn key(line: &str) -> Option<String> {
    let end = line.find(['=', ':'])?;
    Some(line[..end].trim().replace('_', "-").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, after: &str, now: &str) -> String {
        undone(before, after, now).map(|undone| undone.text).unwrap_or_else(|changed| format!("{changed:?}"))
    }

    #[test]
    fn what_others_wrote_stays_and_what_was_replaced_comes_back() {
        let (before, after) = ("a=1\nregistry = y\n@s:x=z\n", "a=1\n@s:x=z\nomit=true\nregistry=x\n");
        for (now, left) in [
            // A key at the end, one in between, one that is gone, another value.
            ("a=1\n@s:x=z\nomit=true\nregistry=x\nmine=2\n", "a=1\nregistry = y\n@s:x=z\nmine=2\n"),
            ("a=1\n@s:x=z\nomit=true\nmine=2\nregistry=x\n", "a=1\nregistry = y\n@s:x=z\nmine=2\n"),
            ("@s:x=z\nomit=true\nregistry=x\n", "registry = y\n@s:x=z\n"),
            ("a=5\n@s:x=z\nomit=true\nregistry=x\n", "a=5\nregistry = y\n@s:x=z\n"),
            // In an order of its own, with other spaces, and without an end.
            ("registry = x\nomit = true\na = 1\n@s:x = z", "a = 1\nregistry = y\n@s:x = z"),
            ("# mine\na=1\n\n@s:x=z\n\nomit=true\nregistry=x\n", "# mine\na=1\nregistry = y\n\n@s:x=z\n\n"),
        ] {
            assert_eq!(text(before, after, now), left, "{now}");
            assert!(undone(before, after, now).unwrap().was_whole);
        }
    }

    #[test]
    fn a_line_of_ours_that_reads_otherwise_is_named_with_its_line_and_what_stands_there() {
        let changed = |wrote: &str, now: Option<(usize, &str)>| Changed {
            wrote: wrote.to_owned(),
            now: now.map(|(line, text)| (line, text.to_owned())),
        };
        for (before, after, now, named) in [
            ("", "registry=x\n", "a=1\nregistry=z\n", changed("registry=x", Some((2, "registry=z")))),
            ("", "two\n", "mine\n", changed("two", Some((1, "mine")))),
            // Elsewhere in the file, and in another section, it is another line.
            (
                "[i]\nindex-url = q\n",
                "[i]\nindex-url = q\n[g]\nindex-url = x\n",
                "[i]\nindex-url = q\n[g]\nindex-url = z\n",
                changed("index-url = x", Some((4, "index-url = z"))),
            ),
            // It was taken out, and what it had replaced is not back.
            ("deb h\nb\n", "deb g\nb\n", "b\n", changed("deb g", None)),
            ("deb h\nb\n", "deb g\nb\n", "# deb g\nb\n", changed("deb g", None)),
        ] {
            assert_eq!(undone(before, after, now), Err(vec![named]), "{now}");
        }
    }

    #[test]
    fn what_somebody_has_put_back_by_hand_is_not_put_back_twice() {
        let (before, after) = ("a\nregistry=y\n", "a\nregistry=x\n");
        let undone = undone(before, after, "a\nregistry = y\nmine=1\n").unwrap();
        assert_eq!((undone.text.as_str(), undone.was_whole), ("a\nregistry = y\nmine=1\n", false));
        // What had come for nothing may go like that.
        assert_eq!(text("a\n", "a\nours=1\n", "a\nmine=2\n"), "a\nmine=2\n");
        assert_eq!(text("registry=y\na\n", "a\nregistry=x\n", "a\nregistry=y\n"), "a\nregistry=y\n");
    }

    #[test]
    fn a_head_goes_with_its_section_unless_somebody_has_put_something_there() {
        let ours = "[global]\nindex-url = x\n";
        assert_eq!(text("", ours, "[global]\nindex-url = x\n\n[mine]\na = b\n"), "\n[mine]\na = b\n");
        assert_eq!(text("", ours, "[global]\nindex-url = x\ntimeout = 6\n\n"), "[global]\ntimeout = 6\n\n");
        let cargo = "[source.crates-io]\nreplace-with = \"eddy\"\n\n[source.eddy]\nregistry = \"r\"\n";
        assert_eq!(
            text("a = 1\n", &format!("a = 1\n{cargo}"), &format!("a = 1\n{cargo}\n[net]\nretry = 2\n")),
            "a = 1\n\n[net]\nretry = 2\n"
        );
    }
}
