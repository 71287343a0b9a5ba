//! What is written for a tool, shown first, and what stood there before, so that it can be taken back ([`super::undo`]).
//!
//! The mounts go into a file of their own in the node's home, `gateway/TOOL.toml`, and what stood in the tool's files into
//! `gateway/TOOL.json` beside it. That one is written before anything else: whatever happens then can be undone. What stands in the home is
//! its owner's, whoever writes it: the node reads it as that user.

use super::files::{failed, make_folder, meant, read, remove, replace};
use super::tool::Tool;
use super::undo::{self, IfChanged, Undoing};
use super::{reach, refused};
use crate::failure::Failure;
use crate::setting::Setting;
use eddy_node::config::Settings;
use eddy_node::config::gateway::Indexes;
use eddy_node::owner::Hand;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// A mount of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) path: String,
    pub(crate) origin: String,
    /// Links that are to lead through the gateway.
    pub(crate) links: Vec<(String, String)>,
    /// What becomes of methods that change something.
    #[serde(default)]
    pub(crate) methods: Methods,
    /// Whether its pages promise something of files.
    #[serde(default)]
    pub(crate) indexes: Indexes,
}

/// What becomes of methods that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Methods {
    #[default]
    Refused,
    /// The tool asks with them.
    Forwarded,
}

impl Mount {
    /// One without links, of files that are read.
    pub(crate) fn plain(path: impl Into<String>, origin: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            origin: origin.into(),
            links: Vec::new(),
            methods: Methods::Refused,
            indexes: Indexes::Believed,
        }
    }
}

/// A file of the tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) path: PathBuf,
    /// What stands there; nothing where there is no file.
    pub(crate) before: Option<String>,
    pub(crate) after: String,
}

impl Edit {
    /// A file that is to read so.
    pub(crate) fn of(path: PathBuf, change: impl FnOnce(&str) -> Result<String, Failure>) -> Result<Self, Failure> {
        let before = read(&path)?;
        let after = change(before.as_deref().unwrap_or(""))?;
        Ok(Self { path, before, after })
    }
}

/// Everything that is written for a tool.
#[derive(Debug)]
pub(crate) struct Change {
    pub(super) tool: Tool,
    pub(super) mounts: Vec<Mount>,
    pub(super) files: Vec<Edit>,
}

/// A change that was made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    tool: String,
    pub(super) mounts: Vec<Mount>,
    pub(super) files: Vec<Edit>,
    /// Folders that were not there, each behind the one that it lies in.
    #[serde(default)]
    folders: Vec<PathBuf>,
    /// Under which folder the system lies that it was made for; nothing for this one.
    #[serde(default)]
    root: Option<PathBuf>,
    /// Where the gateway was; nothing in records of before this was kept.
    #[serde(default)]
    base: Option<String>,
}

/// Where the node keeps what is done for tools.
pub(super) fn folder(setting: &Setting) -> PathBuf {
    setting.home.join("gateway")
}

/// What becomes of a file: the lines that go and those that come.
#[derive(Debug, Serialize)]
pub(super) struct FileChange {
    path: String,
    is_new: bool,
    removed: Vec<String>,
    added: Vec<String>,
}

impl FileChange {
    pub(super) fn of(edit: &Edit) -> Self {
        let before: Vec<&str> = edit.before.as_deref().unwrap_or("").lines().collect();
        let after: Vec<&str> = edit.after.lines().collect();
        let only = |these: &[&str], those: &[&str]| {
            these.iter().filter(|line| !those.contains(line)).map(|line| (*line).to_owned()).collect()
        };
        Self {
            path: edit.path.display().to_string(),
            is_new: edit.before.is_none(),
            removed: only(&before, &after),
            added: only(&after, &before),
        }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{}{}\n", self.path, if self.is_new { " (new)" } else { "" });
        self.removed.iter().for_each(|line| text += &format!("  - {line}\n"));
        self.added.iter().for_each(|line| text += &format!("  + {line}\n"));
        text
    }
}

impl Change {
    /// What becomes of each file.
    pub(super) fn files(&self, folder: &Path) -> Vec<FileChange> {
        let mounts = Edit { path: mounts_file(folder, self.tool.name()), before: None, after: self.mounts_text() };
        std::iter::once(&mounts).chain(&self.files).map(FileChange::of).collect()
    }

    /// The same with paths that mean the same file from every folder: it is undone from another one, perhaps.
    pub(super) fn anchored(mut self) -> Result<Self, Failure> {
        for file in &mut self.files {
            file.path = std::path::absolute(&file.path).map_err(|error| failed(&file.path, &error))?;
        }
        Ok(self)
    }

    /// Refuses mounts of the gateway itself, and those with which the settings would be no good.
    pub(super) fn check(&self, folder: &Path, settings: &Settings, base: &str) -> Result<(), Failure> {
        for mount in &self.mounts {
            reach::refuse_itself(self.tool, &mount.origin, base, &settings.gateway.names)?;
        }
        let checked = settings.check_mounts(&mounts_file(folder, self.tool.name()), &self.mounts_text());
        checked.map_err(|error| refused(error.to_string()))
    }

    /// Writes what stood there, then the mounts, both by the hand of the home's owner, then the tool's files; all of it, or nothing.
    pub(super) fn make(self, (base, root): (&str, Option<&Path>), folder: &Path, hand: &Hand) -> Result<(), Failure> {
        let (tool, mounts) = (self.tool.name(), self.mounts_text());
        let folders = missing_folders(&self.files);
        let done = Done {
            tool: tool.to_owned(),
            mounts: self.mounts,
            files: self.files,
            folders,
            root: root.map(Path::to_path_buf),
            base: Some(base.to_owned()),
        };
        match done.write(&mounts, folder, hand) {
            Ok(()) => Ok(()),
            Err(why) => done.undo(folder).and(Err(why)),
        }
    }

    fn mounts_text(&self) -> String {
        let quoted = |text: &str| format!("{text:?}");
        let links = |mount: &Mount| {
            let pairs: Vec<_> =
                mount.links.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
            if pairs.is_empty() { String::new() } else { format!("links = {{ {} }}\n", pairs.join(", ")) }
        };
        let text = |mount: &Mount| {
            let methods = if mount.methods == Methods::Forwarded { "unsafe-methods = \"forward\"\n" } else { "" };
            let (path, origin) = (quoted(&mount.path), quoted(&mount.origin));
            let indexes = if mount.indexes == Indexes::Ignored { "indexes = \"ignored\"\n" } else { "" };
            format!("[[mount]]\npath = {path}\norigin = {origin}\n{methods}{indexes}{}", links(mount))
        };
        self.mounts.iter().map(text).collect()
    }
}

impl Done {
    /// What was done for a tool, if anything was.
    pub(super) fn read(folder: &Path, tool: Tool) -> Result<Option<Self>, Failure> {
        let path = done_file(folder, tool.name());
        let Some(text) = read(&path)? else { return Ok(None) };
        let wrong = |error| refused(format!("{}: {error}", path.display()));
        serde_json::from_str(&text).map(Some).map_err(wrong)
    }

    /// Refuses another system than the one that it was made for.
    pub(super) fn is_of(&self, root: Option<&Path>) -> Result<(), Failure> {
        let name = |root: Option<&Path>| root.unwrap_or(Path::new("/")).display().to_string();
        if self.root.as_deref() == root {
            return Ok(());
        }
        let (tool, its, other) = (&self.tool, name(self.root.as_deref()), name(root));
        Err(refused(format!("{tool} is enabled for the system at {its}, and not for {other}; disable it first")))
    }

    /// Refuses a gateway that is elsewhere now: the tool's files lead to where it was.
    pub(super) fn leads_to(&self, now: &str) -> Result<(), Failure> {
        match self.base.as_deref().filter(|base| *base != now) {
            None => Ok(()),
            Some(base) => {
                let tool = &self.tool;
                Err(refused(format!(
                    "the files of {tool} lead to {base}, and by gateway.listen the gateway is at {now}; disable {tool}, then enable it again"
                )))
            }
        }
    }

    fn write(&self, mounts: &str, folder: &Path, hand: &Hand) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::internal)?;
        let in_home = || {
            make_folder(folder)?;
            replace(&done_file(folder, &self.tool), &text, 0o600)?;
            replace(&mounts_file(folder, &self.tool), mounts, 0o600)
        };
        hand.act(|| Ok(in_home())).map_err(|error| failed(folder, &error.into()))??;
        self.files.iter().try_for_each(|file| replace(&file.path, &file.after, 0o644))
    }

    /// Whether what was written is in every file; what others have written there is no matter.
    pub(super) fn stands(&self) -> Result<bool, Failure> {
        for file in &self.files {
            if !undo::stands(self.tool(), file, read(&file.path)?.as_deref()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes it back; where a line of its own has changed since, nothing is touched.
    pub(super) fn undo(self, folder: &Path) -> Result<(), Failure> {
        Undoing::of(self, IfChanged::Refuse)?.carry_out(folder).map(drop)
    }

    /// Removes what is known of it, and the folders that were made for it.
    pub(super) fn forget(&self, folder: &Path) -> Result<(), Failure> {
        for made in self.folders.iter().rev() {
            // What somebody has put something into stays.
            let _ = fs::remove_dir(made);
        }
        remove(&mounts_file(folder, &self.tool))?;
        remove(&done_file(folder, &self.tool))
    }

    /// The tool that it was made for; nothing where this eddy does not know it.
    pub(super) fn tool(&self) -> Option<Tool> {
        Tool::ALL.into_iter().find(|tool| tool.name() == self.tool)
    }

    /// What that is called.
    pub(super) fn name(&self) -> &str {
        &self.tool
    }
}

/// The folders that have to be made for these files, each behind the one that it lies in.
fn missing_folders(files: &[Edit]) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = Vec::new();
    for file in files {
        let path = meant(&file.path);
        let above = path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty());
        let mut new: Vec<_> = above.take_while(|folder| fs::symlink_metadata(folder).is_err()).collect();
        new.reverse();
        missing.extend(new.into_iter().map(Path::to_path_buf));
    }
    missing.sort();
    missing.dedup();
    missing
}

fn mounts_file(folder: &Path, tool: &str) -> PathBuf {
    folder.join(format!("{tool}.toml"))
}

fn done_file(folder: &Path, tool: &str) -> PathBuf {
    folder.join(format!("{tool}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_wire::catalogue::ErrorCode;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    const BASE: &str = "http://127.0.0.1:7718";

    fn change(file: &Path) -> Change {
        let edit = Edit::of(file.to_path_buf(), |before| Ok(format!("{before}two\n"))).unwrap();
        let links = vec![("https://f/".into(), "/y/".into())];
        let mount = Mount { links, ..Mount::plain("/x", "https://h") };
        Change { tool: Tool::Npm, mounts: vec![mount], files: vec![edit] }
    }

    #[test]
    fn what_is_undone_is_as_it_was_to_the_bit_and_to_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("gateway"), home.path().join("rc"));
        for before in [None, Some("one\r\n"), Some("no end")] {
            let _ = fs::remove_file(&file);
            if let Some(before) = before {
                fs::write(&file, before).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
            }
            change(&file).make((BASE, None), &folder, &Hand::Own).unwrap();
            let done = Done::read(&folder, Tool::Npm).unwrap().unwrap();
            assert!(done.stands().unwrap() && fs::read_to_string(&file).unwrap().ends_with("two\n"));
            done.undo(&folder).unwrap();
            assert_eq!(fs::read_to_string(&file).ok().as_deref(), before);
            if before.is_some() {
                assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
            }
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
        }
    }

    #[test]
    fn folders_that_were_made_for_a_file_go_with_it_unless_somebody_has_put_something_there() {
        let home = tempfile::tempdir().unwrap();
        let (folder, made) = (home.path().join("gateway"), home.path().join("etc/environment.d"));
        std::fs::create_dir(home.path().join("there")).unwrap();
        for file in [made.join("one.conf"), home.path().join("there/two.conf")] {
            change(&file).make((BASE, None), &folder, &Hand::Own).unwrap();
            Done::read(&folder, Tool::Npm).unwrap().unwrap().undo(&folder).unwrap();
            assert!(!home.path().join("etc").exists() && home.path().join("there").exists());
        }
        change(&made.join("one.conf")).make((BASE, None), &folder, &Hand::Own).unwrap();
        fs::write(made.join("mine.conf"), "mine").unwrap();
        Done::read(&folder, Tool::Npm).unwrap().unwrap().undo(&folder).unwrap();
        assert_eq!(fs::read_dir(&made).unwrap().count(), 1, "what is somebody's stays");
    }

    #[test]
    fn a_change_is_of_one_system_and_names_its_files_whole() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("gateway");
        let root = home.path().join("image");
        let relative = Change { files: vec![], ..change(&root.join("rc")) };
        let edit = Edit { path: "image/rc".into(), before: None, after: "x".to_owned() };
        let anchored = Change { files: vec![edit], ..relative }.anchored().unwrap();
        assert_eq!(anchored.files[0].path, std::env::current_dir().unwrap().join("image/rc"));
        change(&root.join("rc")).make((BASE, Some(&root)), &folder, &Hand::Own).unwrap();
        let done = Done::read(&folder, Tool::Npm).unwrap().unwrap();
        done.is_of(Some(&root)).unwrap();
        for other in [None, Some(home.path())] {
            assert!(done.is_of(other).is_err(), "{other:?}");
        }
    }

    #[test]
    fn a_gateway_that_has_moved_is_told() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("gateway");
        change(&home.path().join("rc")).make((BASE, None), &folder, &Hand::Own).unwrap();
        let mut done = Done::read(&folder, Tool::Npm).unwrap().unwrap();
        done.leads_to(BASE).unwrap();
        let why = done.leads_to("http://127.0.0.1:7719").unwrap_err();
        assert!(format!("{why:?}").contains(BASE));
        // What was written before this was kept is taken as it is.
        done.base = None;
        done.leads_to("http://127.0.0.1:7719").unwrap();
    }

    #[test]
    fn where_one_file_cannot_be_written_nothing_was_changed() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("gateway"), home.path().join("rc"));
        fs::write(&file, "one\n").unwrap();
        let mut refused = change(&file);
        // Nobody, not even root, makes a folder there.
        refused.files.push(Edit { path: "/proc/eddy/rc".into(), before: None, after: "x".to_owned() });
        let why = refused.make((BASE, None), &folder, &Hand::Own).unwrap_err();
        assert!(why.is(ErrorCode::ConfigNotWritable));
        assert_eq!(fs::read_to_string(&file).unwrap(), "one\n");
        assert!(Done::read(&folder, Tool::Npm).unwrap().is_none() && fs::read_dir(&folder).unwrap().count() == 0);
    }

    #[test]
    fn what_somebody_has_changed_since_is_not_touched() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("gateway"), home.path().join("rc"));
        change(&file).make((BASE, None), &folder, &Hand::Own).unwrap();
        fs::write(&file, "mine\n").unwrap();
        let done = Done::read(&folder, Tool::Npm).unwrap().unwrap();
        assert!(!done.stands().unwrap());
        assert!(done.undo(&folder).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine\n");
        assert!(Done::read(&folder, Tool::Npm).unwrap().is_some(), "it can be undone later");
    }

    #[test]
    fn a_link_to_what_is_not_there_yet_stays_one() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file, target) = (home.path().join("gateway"), home.path().join("rc"), home.path().join("new/rc"));
        std::os::unix::fs::symlink("new/rc", &file).unwrap();
        change(&file).make((BASE, None), &folder, &Hand::Own).unwrap();
        assert!(file.is_symlink() && fs::read_to_string(&target).unwrap() == "two\n");
        Done::read(&folder, Tool::Npm).unwrap().unwrap().undo(&folder).unwrap();
        assert!(file.is_symlink() && !home.path().join("new").exists());
    }

    #[test]
    fn a_file_comes_back_as_its_owners() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root writes for others");
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("gateway"), home.path().join("rc"));
        fs::write(&file, "one\n").unwrap();
        fchown(fs::File::open(&file).unwrap(), Some(61_001), Some(61_002)).unwrap();
        let owner = || fs::metadata(&file).map(|there| (there.uid(), there.gid())).unwrap();
        change(&file).make((BASE, None), &folder, &Hand::Own).unwrap();
        assert_eq!(owner(), (61_001, 61_002));
        Done::read(&folder, Tool::Npm).unwrap().unwrap().undo(&folder).unwrap();
        assert_eq!(owner(), (61_001, 61_002));
    }

    #[test]
    fn what_root_writes_into_a_home_is_its_owners_and_the_tools_files_are_roots() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root writes for others");
            return;
        }
        let work = tempfile::tempdir().unwrap();
        fs::set_permissions(work.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = work.path().join("home");
        fs::create_dir(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(61_001), Some(61_001)).unwrap();
        let (folder, file) = (home.join("gateway"), work.path().join("rc"));
        change(&file).make((BASE, None), &folder, &Hand::of(61_001)).unwrap();
        for path in [folder.clone(), folder.join("npm.toml"), folder.join("npm.json")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), 61_001, "{}", path.display());
        }
        assert_eq!(fs::metadata(&file).unwrap().uid(), 0);
        Done::read(&folder, Tool::Npm).unwrap().unwrap().undo(&folder).unwrap();
        assert!(!file.exists() && fs::read_dir(&folder).unwrap().count() == 0);
    }

    #[test]
    fn mounts_that_the_settings_do_not_take_are_refused_before_anything_is_written() {
        let home = tempfile::tempdir().unwrap();
        let (folder, file) = (home.path().join("gateway"), home.path().join("rc"));
        let settings = Settings::default();
        let good = change(&file);
        good.check(&folder, &settings, BASE).unwrap();
        let bad = Change { mounts: vec![Mount::plain("/x", "https://user:token@h")], ..good };
        assert!(bad.check(&folder, &settings, BASE).is_err());
    }
}
