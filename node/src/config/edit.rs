//! Changes keys of `eddy.toml` in place: comments, order and everything else stay as their author left them.
//!
//! The new text must be a valid configuration before a byte of it is written; then it is whole under the file's name or not
//! there at all.

use super::keys::{Key, Kind};
use super::{ConfigError, Settings, parse, read};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

/// What becomes of a key.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The key with its tables: `cache.quota`.
    pub key: String,
    /// Its value; `None` takes the key out, so that the default holds.
    pub value: Option<Value>,
}

impl Edit {
    /// What somebody typed for a key; `default` takes it out. `None` when the key does not take such a thing.
    #[must_use]
    pub fn typed(key: &Key, name: &str, text: &str) -> Option<Self> {
        let value = match (text, key.kind) {
            ("default", _) => None,
            (_, Kind::Text) => Some(text.trim_matches('"').into()),
            (_, Kind::Other) => Some(text.parse().ok()?),
        };
        Some(Self { key: name.to_owned(), value })
    }
}

/// Why the file was not changed. The administrator's fault or the disk's.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// What stands there, or what would, is no valid configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Something stands where the table should.
    #[error("{}: `{name}` is no table", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
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
        for edit in edits {
            let applied = apply(document.as_table_mut(), &edit.key, edit.value.as_ref());
            applied.map_err(|name| EditError::NoTable { path: path.to_path_buf(), name })?;
        }
        let text = document.to_string();
        let settings = parse(path, &text)?;
        Ok(Self { path: path.to_path_buf(), is_changed: text != before, text, settings })
    }

    /// The text that it would have.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
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
        let before = std::fs::metadata(path);
        if let Ok(before) = &before {
            file.set_permissions(Permissions::from_mode(before.mode() & 0o7777))?;
        }
        // A file that root makes in a service's home is the service's: else that could not read it. Who is not root can give nothing away.
        let is_root = rustix::process::geteuid().is_root();
        let folder = || path.parent().filter(|_| is_root).and_then(|folder| std::fs::metadata(folder).ok());
        if let Some(like) = before.ok().or_else(folder)
            && (like.uid(), like.gid()) != (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        {
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
        }
        file.write_all(self.text.as_bytes())?;
        file.sync_all()
    }
}

/// Changes the key where it stands, table by table; the name of what should be a table and is none.
fn apply(table: &mut dyn TableLike, key: &str, value: Option<&Value>) -> Result<(), String> {
    if let Some((outer, inner)) = key.split_once('.') {
        if value.is_some() && !table.contains_key(outer) {
            let mut made = Table::new();
            // `[hooks.scan]` needs no `[hooks]` above it.
            made.set_implicit(inner.contains('.'));
            table.insert(outer, Item::Table(made));
        }
        let Some(item) = table.get_mut(outer) else { return Ok(()) };
        return apply(item.as_table_like_mut().ok_or(outer)?, inner, value);
    }
    match (value, table.get_mut(key)) {
        (None, _) => drop(table.remove(key)),
        (Some(value), Some(Item::Value(there))) => {
            // What stands before and behind the value: blanks, a comment.
            let decor = there.decor().clone();
            *there = value.clone();
            *there.decor_mut() = decor;
        }
        (Some(value), _) => drop(table.insert(key, Item::Value(value.clone()))),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(key: &str, value: &str) -> Edit {
        Edit { key: format!("cache.{key}"), value: Some(value.into()) }
    }

    fn without(key: &str) -> Edit {
        Edit { key: format!("cache.{key}"), value: None }
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
        assert_eq!(changed(before, &[without("quota")]), "[cache]\nreserve = \"2 GiB\"\n");
        assert_eq!(changed("", &[without("quota")]), "");
    }

    #[test]
    fn a_key_of_a_table_with_a_name_makes_that_table_alone() {
        let command = Edit { key: "hooks.scan.command".to_owned(), value: Some("[\"/bin/true\"]".parse().unwrap()) };
        assert_eq!(changed("", &[command]), "[hooks.scan]\ncommand = [\"/bin/true\"]\n");
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
    fn a_file_that_root_makes_belongs_to_whom_the_home_belongs() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root makes files for others");
            return;
        }
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(61_001), Some(61_002)).unwrap();
        let path = home.path().join("eddy.toml");
        for quota in ["1 GiB", "2 GiB"] {
            assert!(Draft::of(&path, &[edit("quota", quota)]).unwrap().write().unwrap());
            let made = std::fs::metadata(&path).unwrap();
            assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (61_001, 61_002, 0o600));
        }
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
