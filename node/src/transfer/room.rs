//! The cache as a guest on a disk: it gives way to the user's files, and says whether its own disk is well.

use crate::condition;
use eddy_cache::{FaultKind, RemoveOutcome, Store, StoreError};
use eddy_engine::Failure;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Bytes below which a disk counts as full for the store: room for a commit of its index.
const LEAST: u64 = 1 << 20;

/// The store, and where it lies.
#[derive(Debug, Clone)]
pub struct CacheRoom {
    /// The store.
    pub store: Store,
    /// Its directory.
    pub directory: PathBuf,
}

impl CacheRoom {
    /// Removes cached entities that nobody uses until `need` bytes are free where `place` is, if the cache lies on the same
    /// file system. Whether they are free then, or at least more than before.
    ///
    /// The reserve is for others, and the user's files are those others.
    #[must_use]
    pub fn give_way(&self, place: &impl AsFd, need: u64) -> bool {
        if !self.is_beside(place) {
            return false;
        }
        let Some(lacking) = free_bytes(place).map(|free| need.saturating_sub(free)) else { return false };
        if lacking == 0 {
            return true;
        }
        match self.evict(lacking) {
            Ok(0) => false,
            Ok(bytes) => {
                tracing::info!(bytes, "the cache gave way to a file on a full disk");
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the cache could not give way");
                false
            }
        }
    }

    /// Whether the cache lies on the same file system.
    #[must_use]
    pub fn is_beside(&self, place: &impl AsFd) -> bool {
        let ours = std::fs::metadata(&self.directory).map(|found| found.dev());
        let theirs = rustix::fs::fstat(place).map(|found| found.st_dev);
        matches!((ours, theirs), (Ok(ours), Ok(theirs)) if ours == theirs)
    }

    fn evict(&self, bytes: u64) -> Result<u64, StoreError> {
        let plan = self.store.plan_eviction(bytes.saturating_add(self.store.usage()?.available))?;
        let mut freed = 0;
        for victim in plan.victims {
            if let RemoveOutcome::Removed { bytes } = self.store.remove(&victim.id)? {
                freed += bytes;
            }
        }
        Ok(freed)
    }

    /// Looks whether the store can be written: the room and the mount first, which costs nothing, then its index.
    pub fn probe(&self) -> Result<(), Failure> {
        let fault = |kind, error: &dyn std::fmt::Display| Err(condition::of_cache(kind, &self.directory, error));
        let opened = std::fs::File::open(&self.directory);
        let (folder, place) = match opened.and_then(|folder| Ok((rustix::fs::fstatvfs(&folder)?, folder))) {
            Ok((place, folder)) => (folder, place),
            Err(error) => return fault(FaultKind::of(&error), &error),
        };
        if place.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return fault(FaultKind::ReadOnly, &"its file system is mounted read-only");
        }
        let free = place.f_bavail.saturating_mul(place.f_frsize);
        if free < LEAST && !self.give_way(&folder, LEAST) {
            return fault(FaultKind::Full, &format_args!("{free} bytes are free"));
        }
        match self.store.probe() {
            Ok(()) => Ok(()),
            Err(error) => fault(condition::of_store(&error), &error),
        }
    }
}

/// Bytes that this user may still write on the file system of `place`.
#[must_use]
pub fn free_bytes(place: &impl AsFd) -> Option<u64> {
    let room = rustix::fs::fstatvfs(place).ok()?;
    Some(room.f_bavail.saturating_mul(room.f_frsize))
}
