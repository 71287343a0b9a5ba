//! The directory of a destination: reached without following a link, and held open while something is made in it (T-41).
//!
//! Who writes for a user into a directory that others may rename under way must not be led elsewhere. So the path is gone
//! through once, with links refused, and everything after that is relative to the directory that was found: a parent that is
//! swapped for a link meanwhile changes nothing. Links that a user put into the path on purpose are followed by the command
//! that makes the job, which names the real path.
//!
//! Every step is the owner's own: it has their rights and no others (`crate::owner`), so even where a name leads astray nothing can be
//! done there that they could not do themselves.

use crate::owner::Hand;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Stat, StatVfs, accessat, fstat, fstatvfs,
    fsync, openat, openat2, renameat_with, statat, unlinkat,
};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

/// Mode of a file that is made for a user; the process's mask takes away what it wants.
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// An open directory, in which things are done as one user.
#[derive(Debug)]
pub(super) struct Folder {
    directory: OwnedFd,
    hand: Hand,
}

/// Which directory it is, whatever it is called.
pub(super) type Identity = (u64, u64);

impl Folder {
    /// Opens the directory at an absolute path. [`Errno::LOOP`] says that a link is on the way.
    pub(super) fn open(path: &Path, hand: Hand) -> Result<Self> {
        let directory = hand.act(|| open(path))?;
        Ok(Self { directory, hand })
    }

    /// Which directory it is.
    pub(super) fn identity(&self) -> Result<Identity> {
        let found = fstat(&self.directory)?;
        Ok((found.st_dev, found.st_ino))
    }

    /// What stands under a name; a link is a link.
    pub(super) fn look(&self, name: &OsStr) -> Result<Stat> {
        self.act(|at| statat(at, name, AtFlags::SYMLINK_NOFOLLOW))
    }

    /// Whether the user may make files here.
    pub(super) fn may_write(&self) -> Result<()> {
        self.act(|at| accessat(at, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS))
    }

    /// Makes a file that was not there.
    pub(super) fn create(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.act(|at| openat(at, name, flags, FILE_MODE).map(File::from))
    }

    /// Opens a file to read it; a link is not followed, and a pipe not waited for.
    pub(super) fn open_file(&self, name: &OsStr) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        self.act(|at| openat(at, name, flags, Mode::empty()).map(File::from))
    }

    /// Makes a file that never gets a name.
    pub(super) fn create_nameless(&self) -> Result<OwnedFd> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        self.act(|at| openat(at, ".", flags, Mode::RUSR | Mode::WUSR))
    }

    /// Removes a file, or a link itself.
    pub(super) fn remove(&self, name: &OsStr) -> Result<()> {
        self.act(|at| unlinkat(at, name, AtFlags::empty()))
    }

    /// Renames within the directory; a link at `to` is replaced, not followed.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr, flags: RenameFlags) -> Result<()> {
        self.act(|at| renameat_with(at, from, at, to, flags))
    }

    /// Makes its names durable, where it may be read.
    pub(super) fn sync(&self) -> Result<()> {
        match fsync(&self.directory) {
            Err(Errno::BADF) => Ok(()),
            other => other,
        }
    }

    /// The room of its file system.
    pub(super) fn room(&self) -> Result<StatVfs> {
        fstatvfs(&self.directory)
    }

    fn act<T: Send>(&self, step: impl FnOnce(&OwnedFd) -> Result<T> + Send) -> Result<T> {
        self.hand.act(|| step(&self.directory))
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP) => walk(path),
        // A directory that may be written and searched, but not listed.
        Err(Errno::ACCESS) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
        }
        other => other,
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The same as `RESOLVE_NO_SYMLINKS`, step by step.
fn walk(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = openat(CWD, "/", flags, Mode::empty())?;
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => at = step(&at, name, flags)?,
            Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
        }
    }
    // What `O_PATH` gives cannot be synced.
    openat(&at, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).or(Ok(at))
}

fn step(at: &OwnedFd, name: &OsStr, flags: OFlags) -> Result<OwnedFd> {
    openat(at, name, flags, Mode::empty()).map_err(|error| match statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => Errno::LOOP,
        _ => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_the_way_are_refused_either_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("a real path");
        std::fs::create_dir_all(root.join("a/b")).expect("made");
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).expect("made");
        for open in [|path: &Path| open(path).map(|_| ()), |path: &Path| walk(path).map(|_| ())] {
            assert_eq!(open(&root.join("a/b")), Ok(()));
            assert_eq!(open(&root.join("link/b")), Err(Errno::LOOP));
            assert_eq!(open(&root.join("link")), Err(Errno::LOOP));
            assert_eq!(open(&root.join("a/none")), Err(Errno::NOENT));
        }
    }
}
