//! Files of tools and of the home: read, put in place whole or not at all, and taken away.

use super::refused;
use crate::failure::Failure;
use eddy_wire::catalogue::ErrorCode;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The text of a file; nothing where there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(refused(format!("{} is no text", path.display()))),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(format!("{}: {error}", path.display()))),
    }
}

/// Links in a row that are followed, as Linux does.
const MAX_LINKS: usize = 40;

/// The file that a path means: behind its links, also where the last of them leads to nothing yet.
pub(super) fn meant(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().unwrap_or(Path::new(".")).join(target);
    }
    path
}

/// Puts a text in the place of a file, whole or not at all; its owner and its mode stay.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    // A link stays a link: what it leads to is replaced.
    let path = &meant(path);
    let there = fs::metadata(path).ok();
    let mode = there.as_ref().map_or(mode, |there| there.mode() & 0o7777);
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.eddy-new", std::process::id()));
    let beside = parent.join(name);
    let owner = there.map(|there| (there.uid(), there.gid()));
    let written = (|| {
        fs::create_dir_all(parent)?;
        // Of a process that had our id and was killed here.
        let _ = fs::remove_file(&beside);
        make(&beside, text, mode, owner)?;
        fs::rename(&beside, path)?;
        fs::File::open(parent)?.sync_all()
    })();
    written.map_err(|error| {
        // It may never have been there.
        let _ = fs::remove_file(&beside);
        failed(path, &error)
    })
}

/// Makes a file that is not there, and syncs it.
fn make(path: &Path, text: &str, mode: u32, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o700).open(path)?;
    let new = file.metadata()?;
    if let Some((user, group)) = owner.filter(|owner| *owner != (new.uid(), new.gid())) {
        fchown(&file, Some(user), Some(group))?;
    }
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Copies that are kept beside a file at most.
const MAX_COPIES: u32 = 1_000;

/// Saves what a file said beside it, for the same owner alone, under a name that is free; returns it.
pub(super) fn save_copy(path: &Path, text: &str) -> Result<PathBuf, Failure> {
    let path = &meant(path);
    let there = fs::metadata(path).map_err(|error| failed(path, &error))?;
    let (mode, owner) = (there.mode() & 0o7777, Some((there.uid(), there.gid())));
    for number in 1..=MAX_COPIES {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(if number == 1 { ".eddy-saved".to_owned() } else { format!(".eddy-saved-{number}") });
        let copy = path.with_file_name(name);
        match make(&copy, text, mode, owner) {
            Ok(()) => return Ok(copy),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&copy, &error)),
        }
    }
    Err(failed(path, &std::io::Error::other("too many copies are beside it")))
}

pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, &error)),
        _ => Ok(()),
    }
}

pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed(folder, &error))
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::ConfigNotWritable, format!("{}: {error}", path.display()))
}
