//! How what was written for a tool is taken back: bit by bit where nobody has written into its files since, by its own lines elsewhere.
//!
//! All files are looked at before one is touched. A line of eddy's that reads otherwise now is somebody's word: it is named, with what can be
//! done, and only whoever insists has the file put back over it, from which a copy is saved first.

use super::change::{Done, Edit, FileChange};
use super::docker;
use super::files::{meant, read, remove, replace, save_copy};
use super::hunks::{self, Changed, Undone};
use super::said;
use super::tool::Tool;
use crate::failure::Failure;
use eddy_wire::api::Problem;
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

/// What becomes of files in which eddy's own lines have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IfChanged {
    /// They are named, and nothing is touched.
    Refuse,
    /// They are put back as they were, and a copy is saved.
    Overwrite,
}

/// What is to be done with each file, decided before one is touched.
#[derive(Debug)]
pub(super) struct Undoing {
    done: Done,
    /// In the order of the files.
    ways: Vec<Way>,
}

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// It is as it was.
    Stay,
    /// All of it as it was.
    Restore,
    /// Eddy's lines go, and what others have written stays.
    Lines(String),
    /// The same, and nothing is left of a file that was not there.
    Remove,
    /// All of it as it was, over what stands there.
    Overwrite(Option<String>),
}

impl Undoing {
    /// Looks at all files of a change.
    pub(super) fn of(done: Done, if_changed: IfChanged) -> Result<Self, Failure> {
        let (mut ways, mut changes) = (Vec::new(), Vec::new());
        for file in &done.files {
            let now = read(&file.path)?;
            ways.push(match way(done.tool(), file, now.as_deref()) {
                Ok(way) => way,
                Err(changed) => {
                    changes.push((file, changed));
                    Way::Overwrite(now)
                }
            });
        }
        if if_changed == IfChanged::Refuse && !changes.is_empty() {
            return Err(in_the_way(&done, &changes));
        }
        Ok(Self { done, ways })
    }

    /// What will be overwritten.
    pub(super) fn overwritten(&self) -> Vec<FileChange> {
        let files = self.done.files.iter().zip(&self.ways);
        let of = |(file, way): (&Edit, &Way)| match way {
            Way::Overwrite(now) => {
                let after = file.before.clone().unwrap_or_default();
                Some(FileChange::of(&Edit { path: file.path.clone(), before: now.clone(), after }))
            }
            _ => None,
        };
        files.filter_map(of).collect()
    }

    /// Does it; says for each file that is not as it was, or was overwritten, what became of it.
    pub(super) fn carry_out(self, folder: &Path) -> Result<Vec<String>, Failure> {
        let mut said = Vec::new();
        for (file, way) in self.done.files.iter().zip(&self.ways) {
            // What nobody may write was not written either: it is no obstacle.
            match way {
                Way::Stay => {}
                Way::Restore => restore(file)?,
                Way::Remove => remove(&meant(&file.path))?,
                Way::Lines(text) => {
                    replace(&file.path, text, 0o644)?;
                    said.push(format!(
                        "{}: eddy's lines are out, what was written there since stays",
                        file.path.display()
                    ));
                }
                Way::Overwrite(now) => {
                    let copy = now.as_ref().map(|now| save_copy(&file.path, now)).transpose()?;
                    restore(file)?;
                    said.extend(copy.map(|copy| {
                        format!("{}: as it was; what stood there is in {}", file.path.display(), copy.display())
                    }));
                }
            }
        }
        self.done.forget(folder)?;
        Ok(said)
    }
}

/// Whether what was written into a file is there, whatever else is.
pub(super) fn stands(tool: Option<Tool>, file: &Edit, now: Option<&str>) -> bool {
    now == Some(&file.after) || now.is_some_and(|now| lines(tool, file, now).is_ok_and(|undone| undone.was_whole))
}

fn restore(file: &Edit) -> Result<(), Failure> {
    match &file.before {
        Some(before) => replace(&file.path, before, 0o644),
        None => remove(&meant(&file.path)),
    }
}

fn way(tool: Option<Tool>, file: &Edit, now: Option<&str>) -> Result<Way, Vec<Changed>> {
    match now {
        now if now == file.before.as_deref() => Ok(Way::Stay),
        Some(now) if now == file.after => Ok(Way::Restore),
        Some(now) => match lines(tool, file, now)?.text {
            text if file.before.is_none() && is_nothing(tool, &text) => Ok(Way::Remove),
            text if text == now => Ok(Way::Stay),
            text => Ok(Way::Lines(text)),
        },
        None => Err(Vec::new()),
    }
}

/// Takes eddy's lines out of a text into which others have written.
fn lines(tool: Option<Tool>, file: &Edit, now: &str) -> Result<Undone, Vec<Changed>> {
    let before = file.before.as_deref().unwrap_or("");
    if tool == Some(Tool::Docker) {
        return docker::undone(before, &file.after, now).ok_or_else(Vec::new);
    }
    let undone = hunks::undone(before, &file.after, now)?;
    let is_meant = tool.is_none_or(|tool| said::is_meant(tool, (before, &file.after), now, &undone.text));
    if is_meant { Ok(undone) } else { Err(Vec::new()) }
}

/// Whether a text says nothing to its tool.
fn is_nothing(tool: Option<Tool>, text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || tool == Some(Tool::Docker) && serde_json::from_str(text).is_ok_and(|is: serde_json::Map<_, _>| is.is_empty())
}

/// Says what stands in the way, and what can be done.
fn in_the_way(done: &Done, changes: &[(&Edit, Vec<Changed>)]) -> Failure {
    let tool = done.name();
    let of = |(file, changed): &(&Edit, Vec<Changed>)| -> Vec<String> {
        let path = file.path.display();
        let line = |Changed { wrote, now }: &Changed| match now {
            Some((number, now)) => format!(
                "{path} line {number}: eddy wrote `{wrote}`, and {tool} or somebody has written `{now}` there since"
            ),
            None => format!("{path}: eddy wrote `{wrote}`, and {tool} or somebody has taken that out since"),
        };
        match changed.is_empty() {
            true if !file.path.exists() => vec![format!("{path}: {tool} or somebody has removed it since")],
            true => vec![format!(
                "{path}: {tool} or somebody has changed it since so that eddy's lines cannot be told from others"
            )],
            false => changed.iter().map(line).collect(),
        }
    };
    let detail: Vec<String> = changes.iter().flat_map(of).collect();
    let wrote = changes.iter().flat_map(|(file, changed)| changed.iter().map(move |line| (file, &line.wrote)));
    let by_hand: Vec<String> =
        wrote.map(|(file, wrote)| format!("write `{wrote}` there again ({})", file.path.display())).collect();
    let by_hand = match by_hand.as_slice() {
        [] => String::new(),
        steps => format!("Either {}, then disable again and set your own. Or: ", steps.join(", ")),
    };
    let mut problem = Problem::new(ErrorCode::BadConfig, format!("{}; nothing was touched", detail.join("; ")));
    problem.remedy = format!(
        "{by_hand}`eddy gateway disable {tool} --force` puts the whole file back as it was before enable, shows which lines that takes, and \
         saves a copy beside it."
    );
    problem.into()
}

#[cfg(test)]
mod tests {
    use super::super::change::{Change, Mount};
    use super::*;
    use eddy_node::owner::Hand;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    const BASE: &str = "http://127.0.0.1:7718";

    /// A home and a tool's file into which eddy has written.
    struct Stage {
        work: tempfile::TempDir,
        tool: Tool,
    }

    impl Stage {
        fn new(tool: Tool, before: Option<&str>, after: &str) -> Self {
            let stage = Self { work: tempfile::tempdir().unwrap(), tool };
            if let Some(before) = before {
                fs::write(stage.file(), before).unwrap();
            }
            let edit = Edit::of(stage.file(), |_| Ok(after.to_owned())).unwrap();
            let change = Change { tool, mounts: vec![Mount::plain("/x", "https://h")], files: vec![edit] };
            change.make((BASE, None), &stage.folder(), &Hand::Own).unwrap();
            stage
        }

        fn folder(&self) -> PathBuf {
            self.work.path().join("gateway")
        }

        fn file(&self) -> PathBuf {
            self.work.path().join("rc")
        }

        fn done(&self) -> Done {
            Done::read(&self.folder(), self.tool).unwrap().unwrap()
        }

        fn text(&self) -> Option<String> {
            fs::read_to_string(self.file()).ok()
        }

        /// What is left when somebody has written this since.
        fn undone(&self, now: &str) -> Result<Vec<String>, String> {
            fs::write(self.file(), now).unwrap();
            let undoing = Undoing::of(self.done(), IfChanged::Refuse).map_err(|why| format!("{why:?}"))?;
            Ok(undoing.carry_out(&self.folder()).unwrap())
        }
    }

    #[test]
    fn each_tool_may_write_its_file_anew_in_the_way_that_it_does() {
        let pip = "[global]\nindex-url = G\n";
        let npm = "omit-lockfile-registry-resolved=true\nregistry=G\n";
        let cargo = "[source.crates-io]\nreplace-with = \"eddy\"\n\n[source.eddy]\nregistry = \"G\"\n";
        for (tool, before, after, now, left) in [
            // `pip config set global.timeout 60` into a file that eddy has made, and into one that was there.
            (Tool::Pip, None, pip, "[global]\nindex-url = G\ntimeout = 60\n\n", Some("[global]\ntimeout = 60\n\n")),
            (
                Tool::Pip,
                Some("# mine\n[global]\nindex_url: y\n    z\n[install]\nuser=1\n"),
                "# mine\n[global]\nindex-url = G\n[install]\nuser=1\n",
                "[global]\nindex-url = G\ntimeout = 60\n\n[install]\nuser = 1\n\n",
                Some("[global]\nindex_url: y\n    z\ntimeout = 60\n\n[install]\nuser = 1\n\n"),
            ),
            // `npm config set fund false`; and back.
            (
                Tool::Npm,
                None,
                npm,
                "omit-lockfile-registry-resolved=true\nregistry=G\nfund=false\n",
                Some("fund=false\n"),
            ),
            (Tool::Npm, None, npm, "registry=G\nomit-lockfile-registry-resolved=true\n", None),
            (Tool::Cargo, None, cargo, &format!("{cargo}\n[net]\nretry = 3\n"), Some("\n[net]\nretry = 3\n")),
            (Tool::Cargo, None, cargo, &format!("{cargo}# mine\n"), Some("# mine\n")),
            (
                Tool::Conda,
                None,
                "channel_alias: G\n",
                "channel_alias: G\nchannels:\n  - c\n",
                Some("channels:\n  - c\n"),
            ),
        ] {
            let stage = Stage::new(tool, before, after);
            fs::write(stage.file(), now).unwrap();
            assert!(stage.done().stands().unwrap(), "{now}");
            let said = stage.undone(now).unwrap();
            assert_eq!(stage.text().as_deref(), left, "{now}");
            assert_eq!(said.len(), usize::from(left.is_some()), "{said:?}");
            assert_eq!(fs::read_dir(stage.folder()).unwrap().count(), 0, "nothing is left");
        }
    }

    #[test]
    fn a_line_of_eddys_that_was_changed_is_named_and_nothing_is_touched_until_it_is_back() {
        let (before, after) = ("registry=y\na=1\n", "a=1\nregistry=G\n");
        let stage = Stage::new(Tool::Npm, Some(before), after);
        let why = stage.undone("a=1\nregistry=mine\nb=2\n").unwrap_err();
        let file = stage.file().display().to_string();
        for said in
            [&format!("{file} line 2"), "`registry=G`", "`registry=mine`", "npm", "--force", "nothing was touched"]
        {
            assert!(why.contains(said), "{said}: {why}");
        }
        assert_eq!(stage.text().as_deref(), Some("a=1\nregistry=mine\nb=2\n"));
        assert!(!stage.done().stands().unwrap());
        // What the remedy says.
        stage.undone("a=1\nregistry=G\nb=2\n").unwrap();
        assert_eq!(stage.text().as_deref(), Some("registry=y\na=1\nb=2\n"));
    }

    #[test]
    fn what_would_say_something_else_without_eddys_lines_is_not_touched() {
        // Behind eddy's section stands a key that would become one of another section's.
        let stage = Stage::new(Tool::Pip, Some("[global]\nindex-url = y\n"), "[global]\nindex-url = G\n");
        let why = stage.undone("[global]\nindex-url = G\n    https://mine\n").unwrap_err();
        assert!(why.contains("cannot be told") && why.contains("--force"), "{why}");
    }

    #[test]
    fn who_insists_has_the_file_as_it_was_and_a_copy_of_what_stood_there() {
        let stage = Stage::new(Tool::Npm, Some("registry=y\n"), "registry=G\n");
        fs::write(stage.file(), "registry=mine\n").unwrap();
        fs::set_permissions(stage.file(), fs::Permissions::from_mode(0o640)).unwrap();
        let first = stage.work.path().join("rc.eddy-saved");
        fs::write(&first, "of before").unwrap();
        let undoing = Undoing::of(stage.done(), IfChanged::Overwrite).unwrap();
        let shown = undoing.overwritten().iter().map(FileChange::shown).collect::<String>();
        assert!(shown.contains("- registry=mine") && shown.contains("+ registry=y"), "{shown}");
        let said = undoing.carry_out(&stage.folder()).unwrap();
        let copy = stage.work.path().join("rc.eddy-saved-2");
        assert!(said[0].contains(&copy.display().to_string()), "{said:?}");
        assert_eq!(stage.text().as_deref(), Some("registry=y\n"));
        assert_eq!(fs::read_to_string(&copy).unwrap(), "registry=mine\n");
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o640);
        assert_eq!(fs::read_to_string(first).unwrap(), "of before");
    }

    #[test]
    fn a_file_that_somebody_has_removed_is_made_again_only_for_who_insists() {
        let stage = Stage::new(Tool::Npm, Some("registry=y\n"), "registry=G\n");
        fs::remove_file(stage.file()).unwrap();
        let why = format!("{:?}", Undoing::of(stage.done(), IfChanged::Refuse).unwrap_err());
        assert!(why.contains("has removed it"), "{why}");
        assert_eq!(
            Undoing::of(stage.done(), IfChanged::Overwrite).unwrap().carry_out(&stage.folder()).unwrap(),
            [""; 0]
        );
        assert_eq!(stage.text().as_deref(), Some("registry=y\n"));
    }
}
