//! Changes keys of `eddy.toml` in place: comments, order and everything else stay as their author left them.
//!
//! The new text must be a valid configuration before a byte of it is written; then it is whole under the file's name or not
//! there at all.

use super::{ConfigError, Settings, parse, read};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// What becomes of a key of `[cache]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The key, as it stands in the file.
    pub key: &'static str,
    /// Its value; `None` takes the key out, so that the default holds.
    pub value: Option<String>,
}

/// Why the file was not changed. The administrator's fault or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// What stands there, or what would, is no valid configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something stands where the table should.
    #[error("{}: `cache` is no table", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A changed configuration that is not written yet.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    text: String,
    is_changed: bool,
    /// What holds with it.
    pub settings: Settings,
}

impl Draft {
    /// Reads the file, which may be missing, and changes its text.
    pub fn of(path: &Path, edits: &[Edit]) -> Result<Self, EditError> {
        let before = read(path)?.unwrap_or_default();
        let wrong = |message: String| ConfigError::Parse { path: path.to_path_buf(), message };
        let mut document: DocumentMut = before.parse().map_err(|e: toml_edit::TomlError| wrong(e.to_string()))?;
        if edits.iter().any(|edit| edit.value.is_some()) && !document.contains_key("cache") {
            document.insert("cache", Item::Table(Table::new()));
        }
        if let Some(item) = document.get_mut("cache") {
            let no_table = || EditError::NoTable { path: path.to_path_buf() };
            let table = item.as_table_like_mut().ok_or_else(no_table)?;
            for edit in edits {
                apply(table, edit);
            }
        }
        let text = document.to_string();
        let settings = parse(path, &text)?;
        Ok(Self { path: path.to_path_buf(), is_changed: text != before, text, settings })
    }

    /// Writes it, durably; says whether there was anything to write.
    pub fn write(&self) -> Result<bool, EditError> {
        if self.is_changed {
            self.replace().map_err(|source| EditError::Write { path: self.path.clone(), source })?;
        }
        Ok(self.is_changed)
    }

    fn replace(&self) -> io::Result<()> {
        // A link stays a link: what it leads to is replaced.
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut temporary = path.clone().into_os_string();
        temporary.push(format!(".{}.new", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let written = self.write_beside(&temporary, &path).and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            // It may never have been there.
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        File::open(directory)?.sync_all()
    }

    fn write_beside(&self, temporary: &Path, path: &Path) -> io::Result<()> {
        // Of a process that had our id and was killed here.
        let _ = std::fs::remove_file(temporary);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        if let Ok(before) = std::fs::metadata(path) {
            file.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
            if (before.uid(), before.gid())
                != (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
            {
                fchown(&file, Some(before.uid()), Some(before.gid()))?;
            }
        }
        file.write_all(self.text.as_bytes())?;
        file.sync_all()
    }
}

fn apply(table: &mut dyn TableLike, edit: &Edit) {
    match (&edit.value, table.get_mut(edit.key)) {
        (None, _) => drop(table.remove(edit.key)),
        (Some(value), Some(Item::Value(there))) => {
            // What stands before and behind the value: blanks, a comment.
            let decor = there.decor().clone();
            *there = Value::from(value.as_str());
            *there.decor_mut() = decor;
        }
        (Some(value), _) => drop(table.insert(edit.key, Item::Value(Value::from(value.as_str())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(key: &'static str, value: &str) -> Edit {
        Edit { key, value: Some(value.to_owned()) }
    }

    fn changed(before: &str, edits: &[Edit]) -> String {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("eddy.toml");
        std::fs::write(&path, before).unwrap();
        Draft::of(&path, edits).unwrap().write().unwrap();
        std::fs::read_to_string(&path).unwrap()
    }

    #[test]
    fn comments_and_order_stay() {
        let before = "# mine\n[peers]\nmdns = false # no\n\n[cache] # small\n# why\nquota = \"1 GiB\"  # enough\n";
        let after = changed(before, &[edit("quota", "2GiB"), edit("reserve", "1 GiB")]);
        assert_eq!(
            after,
            "# mine\n[peers]\nmdns = false # no\n\n[cache] # small\n# why\nquota = \"2GiB\"  # enough\nreserve = \"1 GiB\"\n"
        );
    }

    #[test]
    fn tables_of_every_form_are_changed_where_they_stand() {
        assert_eq!(changed("", &[edit("quota", "1 GiB")]), "[cache]\nquota = \"1 GiB\"\n");
        assert_eq!(
            changed("cache = { quota = \"1 GiB\" }\n", &[edit("quota", "9 %")]),
            "cache = { quota = \"9 %\" }\n"
        );
        assert_eq!(changed("cache.quota = \"1 GiB\"\n", &[edit("quota", "9 %")]), "cache.quota = \"9 %\"\n");
    }

    #[test]
    fn a_key_that_goes_takes_nothing_with_it() {
        let before = "[cache]\nquota = \"1 GiB\"\nreserve = \"2 GiB\"\n";
        assert_eq!(changed(before, &[Edit { key: "quota", value: None }]), "[cache]\nreserve = \"2 GiB\"\n");
        assert_eq!(changed("", &[Edit { key: "quota", value: None }]), "");
    }

    #[test]
    fn what_would_be_no_configuration_is_not_written() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("eddy.toml");
        for (before, value) in
            [("[cache]\nquota = \"1 GiB\"\n", "much"), ("[cache\n", "1 GiB"), ("cache = 1\n", "1 GiB")]
        {
            std::fs::write(&path, before).unwrap();
            assert!(Draft::of(&path, &[edit("quota", value)]).is_err(), "{before}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
        }
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_and_nothing_is_left_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("missing").join("eddy.toml");
        let draft = Draft::of(&path, &[edit("quota", "1 GiB")]).unwrap();
        assert!(matches!(draft.write(), Err(EditError::Write { .. })));
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn mode_and_link_of_the_file_stay() {
        let home = tempfile::tempdir().unwrap();
        let (real, link) = (home.path().join("real.toml"), home.path().join("eddy.toml"));
        std::fs::write(&real, "").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(Draft::of(&link, &[edit("quota", "1 GiB")]).unwrap().write().unwrap());
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        assert!(!Draft::of(&link, &[edit("quota", "1 GiB")]).unwrap().write().unwrap(), "the same twice is no change");
    }
}
