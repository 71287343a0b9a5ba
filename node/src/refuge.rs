//! Where a node works whose own disk refuses: a directory among the system's short-lived files, gone with the node.
//!
//! A home on a full, read-only or failing disk is no reason to leave the user without the file: bytes go past the cache then.
//! What the node needs for itself meanwhile, an empty index and perhaps a key and a socket, stands here. Nothing here outlives
//! the node, so nobody is told that it would.

use eddy_cache::FaultKind;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory for this user alone, removed on drop.
#[derive(Debug)]
pub(crate) struct Refuge(PathBuf);

impl Refuge {
    /// Makes one where there is room: in the user's runtime directory, in shared memory, among temporary files.
    pub(crate) fn make() -> io::Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let name = format!("eddy-{:016x}", rand::random::<u64>());
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for place in runtime.into_iter().chain(["/dev/shm".into(), std::env::temp_dir()]) {
            let path = place.join(&name);
            // Fails when it exists: nobody can have prepared it.
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Refuge {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "a directory of short-lived files stays behind");
        }
    }
}

/// The refuge of a node, made when something first needs it.
#[derive(Debug, Default)]
pub(crate) struct Shelter(Option<Refuge>);

impl Shelter {
    /// Where to go when the node's own place refused with `kind`; `None` when that is no condition of the disk, or when there is
    /// no other place either.
    pub(crate) fn after(&mut self, kind: FaultKind) -> Option<&Path> {
        if kind == FaultKind::Other {
            return None;
        }
        if self.0.is_none() {
            self.0 = Refuge::make().inspect_err(|error| tracing::warn!(%error, "no short-lived place either")).ok();
        }
        self.0.as_ref().map(Refuge::path)
    }

    /// Whether something stands there.
    #[must_use]
    pub(crate) fn is_used(&self) -> bool {
        self.0.is_some()
    }
}
