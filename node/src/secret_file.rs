//! Small files that only their owner may read: the node's key, the group's secret.
//!
//! A file is whole or absent, whatever crashes: it is written under another name, made durable, and only then given its
//! own (T-16). One that others can read is refused, since a secret that may be known is worse than none.

use rustix::fs::{Mode, OFlags};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why a secret file could not be read or written. The disk's fault or the administrator's; a retry helps only after a
/// repair.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// Others than the owner may read or change it.
    #[error(
        "{} may be read or changed by other users (mode {mode:03o}): if nobody can have copied it, run `chmod 600 {}`; \
        otherwise replace it", path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A directory, a symbolic link, or far too long.
    #[error("{} is not a secret's file", path.display())]
    NotAFile {
        /// What stands there.
        path: PathBuf,
    },
    /// The system refused a step.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried, as in "read".
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether a file that is there already may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// It stays.
    Refuse,
    /// It is replaced.
    Replace,
}

/// What became of a file to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is durable.
    Done,
    /// Another one was there, and stays.
    WasThere,
}

/// Bytes of the longest secret file.
const MAX_LENGTH: u64 = 4096;

/// Reads the file; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    read_up_to(path, MAX_LENGTH)
}

/// Reads a file that may be larger than a secret's, up to `most` bytes.
pub(crate) fn read_up_to(path: &Path, most: u64) -> Result<Option<Zeroizing<Vec<u8>>>, SecretFileError> {
    let failed = |source| SecretFileError::Io { step: "read", path: path.into(), source };
    // Not through a link, and without waiting for somebody to write into a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(SecretFileError::NotAFile { path: path.into() }),
        Err(error) => return Err(failed(error.into())),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(SecretFileError::NotAFile { path: path.into() });
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::Exposed { path: path.into(), mode });
    }
    // Room for all of it at once: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(metadata.len().max(MAX_LENGTH) as usize));
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes the file with mode 0600 and makes it durable; the directory is made, mode 0700, when it is missing.
///
/// With [`Overwrite::Refuse`], of several processes that write at once exactly one is [`Written::Done`].
pub(crate) fn write(path: &Path, bytes: &[u8], overwrite: Overwrite) -> Result<Written, SecretFileError> {
    let directory = parent(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| SecretFileError::Io {
        step: "make the directory",
        path: directory.into(),
        source,
    })?;
    let temporary = temporary_name(path);
    let written = write_temporary(&temporary, bytes).and_then(|()| give_name(&temporary, path, overwrite));
    let written = written.map_err(|source| SecretFileError::Io { step: "write", path: path.into(), source });
    // Gone already after a rename; a link, or a failure, leaves it.
    let _ = fs::remove_file(&temporary);
    let written = written?;
    sync_directory(directory)?;
    Ok(written)
}

/// Removes the file, durably; whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool, SecretFileError> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(SecretFileError::Io { step: "remove", path: path.into(), source }),
    }
}

fn write_temporary(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn give_name(temporary: &Path, path: &Path, overwrite: Overwrite) -> io::Result<Written> {
    match overwrite {
        Overwrite::Replace => fs::rename(temporary, path).map(|()| Written::Done),
        // A rename would replace; a link refuses.
        Overwrite::Refuse => match fs::hard_link(temporary, path) {
            Ok(()) => Ok(Written::Done),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Written::WasThere),
            Err(error) => Err(error),
        },
    }
}

fn sync_directory(directory: &Path) -> Result<(), SecretFileError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(|source| SecretFileError::Io {
        step: "make durable",
        path: directory.into(),
        source,
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name beside `path` that nobody else uses.
fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{:016x}.new", rand::random::<u64>()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("deep/home/a.secret");
        (home, path)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_written_file_is_read_back_and_is_its_owners_alone() {
        let (_home, path) = place();
        assert!(read(&path).expect("no fault").is_none());
        assert_eq!(write(&path, b"one", Overwrite::Refuse).expect("writes"), Written::Done);
        assert_eq!(read(&path).expect("reads").expect("is there").as_slice(), b"one");
        assert_eq!((mode(&path), mode(path.parent().expect("has one"))), (0o600, 0o700));
    }

    #[test]
    fn nothing_else_is_left_in_the_directory() {
        let (_home, path) = place();
        write(&path, b"one", Overwrite::Refuse).expect("writes");
        write(&path, b"two", Overwrite::Refuse).expect("no fault");
        write(&path, b"three", Overwrite::Replace).expect("writes");
        let names: Vec<_> = fs::read_dir(parent(&path)).expect("lists").map(|e| e.expect("an entry").path()).collect();
        assert_eq!(names, vec![path]);
    }

    #[test]
    fn a_file_is_replaced_only_when_told() {
        let (_home, path) = place();
        write(&path, b"one", Overwrite::Refuse).expect("writes");
        assert_eq!(write(&path, b"two", Overwrite::Refuse).expect("no fault"), Written::WasThere);
        assert_eq!(read(&path).expect("reads").expect("is there").as_slice(), b"one");
        assert_eq!(write(&path, b"two", Overwrite::Replace).expect("writes"), Written::Done);
        assert_eq!(read(&path).expect("reads").expect("is there").as_slice(), b"two");
    }

    #[test]
    fn a_file_that_others_may_read_or_change_is_refused_with_the_remedy() {
        let (_home, path) = place();
        write(&path, b"one", Overwrite::Refuse).expect("writes");
        for shared in [0o640, 0o604, 0o620, 0o602, 0o601, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(shared)).expect("changes");
            let error = read(&path).expect_err("refused");
            assert!(matches!(error, SecretFileError::Exposed { mode, .. } if mode == shared));
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("changes");
        assert!(read(&path).expect("reads").is_some());
    }

    #[test]
    fn what_is_no_plain_small_file_is_refused_without_waiting() {
        let (home, path) = place();
        write(&path, &[b'x'; 4097], Overwrite::Refuse).expect("writes");
        let link = home.path().join("link");
        symlink(&path, &link).expect("links");
        let pipe = home.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("makes a pipe");
        for not_a_file in [path.as_path(), &link, &pipe, home.path()] {
            assert!(matches!(read(not_a_file), Err(SecretFileError::NotAFile { .. })), "{}", not_a_file.display());
        }
    }

    #[test]
    fn of_many_that_write_at_once_one_wins_and_its_bytes_stay() {
        let (_home, path) = place();
        let winners: Vec<u8> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0u8..8)
                .map(|number| {
                    let path = &path;
                    scope.spawn(move || (number, write(path, &[number], Overwrite::Refuse).expect("no fault")))
                })
                .collect();
            let ends = writers.into_iter().map(|writer| writer.join().expect("no panic"));
            ends.filter(|(_, written)| *written == Written::Done).map(|(number, _)| number).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(read(&path).expect("reads").expect("is there").as_slice(), winners);
    }

    #[test]
    fn a_removed_file_is_gone_and_removing_again_is_no_fault() {
        let (_home, path) = place();
        write(&path, b"one", Overwrite::Refuse).expect("writes");
        assert!(remove(&path).expect("removes"));
        assert!(!remove(&path).expect("no fault"));
        assert!(read(&path).expect("no fault").is_none());
    }
}
