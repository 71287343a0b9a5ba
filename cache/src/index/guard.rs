//! Keeps redb's panics at arm's length: one on a rotten page becomes an answer, and is noted before anything unwinds.
//!
//! A guard that redb drops while such a panic unwinds may panic again, and that ends the process. So the panic hook writes
//! the suspicion down first: whatever becomes of this process, the next start checks every page and moves a rotten index
//! aside. What rot could do in use is looked for before, when an index is opened ([`super::open`]).

use crate::disk::{Disk, DiskBackend, OpenFile, Unsynced};
use std::cell::{Cell, RefCell};
use std::io;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

/// Where an index lies, whether it is suspected of being damaged, and what of it may not be on the disk.
pub(super) struct Place {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    unsynced: Arc<Unsynced>,
}

thread_local! {
    /// The index that this thread works on just now.
    static AT_WORK: RefCell<Option<Arc<Place>>> = const { RefCell::new(None) };
    /// What the first panic of this work said.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

impl Place {
    pub(super) fn new(disk: &Arc<dyn Disk>, path: &Path) -> Arc<Self> {
        let unsynced = Arc::new(Unsynced::of(disk, path));
        Arc::new(Self { disk: Arc::clone(disk), path: path.to_owned(), unsynced })
    }

    /// The file for redb; what a failed sync left unknown of it is settled first (C-08).
    pub(super) fn settled(&self, file: OpenFile) -> io::Result<DiskBackend> {
        DiskBackend::new(file, &self.unsynced)
    }

    /// The file beside the index that says that it was found damaged while it was in use.
    fn suspicion(&self) -> PathBuf {
        self.path.with_extension("suspect")
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.disk.length(&self.suspicion()).is_ok()
    }

    /// Notes that the index is damaged, so that the next start checks all of it.
    pub(super) fn suspect(&self, damage: &str) {
        tracing::error!(damage, "the cache index is damaged: it is checked before it is used again");
        match self.disk.create(&self.suspicion()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::error!(%error, "the suspicion could not be written down");
            }
            _ => {}
        }
    }

    /// It was found to be whole, or lies elsewhere. A suspicion that stays costs one more check.
    pub(super) fn clear(&self) {
        if self.is_suspect() {
            let _ = self.disk.unlink(&self.suspicion());
        }
    }
}

/// Runs redb and turns a panic of its into what it means: it panics on some damaged pages, and damage is an answer
/// here, not a reason to die (N6). The database is dropped afterwards, so no broken state is seen again.
pub(super) fn guarded<T>(place: &Arc<Place>, work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    watch_panics();
    let before = AT_WORK.replace(Some(Arc::clone(place)));
    PANICS.set(0);
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    AT_WORK.set(before);
    outcome
        .unwrap_or_else(|_| {
            let said = SAID.take().unwrap_or_default();
            Err(redb::Error::Corrupted(format!("a page makes no sense: {said}")))
        })
        .map_err(|error| match error {
            // The tables are as this program made them, or they are damaged: a name or a type with a flipped bit.
            redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => redb::Error::Corrupted(error.to_string()),
            // A page that leads beyond the file.
            redb::Error::Io(error) if is_damage(&error) => redb::Error::Corrupted(error.to_string()),
            other => other,
        })
}

/// Whether an I/O error speaks of the content of the file, not of the disk.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Puts this module's look at a panic before that of the process, once.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let place = AT_WORK.try_with(|place| place.borrow().clone()).ok().flatten();
            let Some(place) = place else { return usual(panic) };
            PANICS.set(PANICS.get() + 1);
            if PANICS.get() > 1 {
                // The process is about to end: people should see why.
                return usual(panic);
            }
            let said = describe(panic);
            place.suspect(&said);
            SAID.set(Some(said));
        }));
    });
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let said = panic.payload_as_str().unwrap_or("something else than text");
    match panic.location() {
        Some(place) => format!("{said} ({}:{})", place.file().rsplit('/').next().unwrap_or_default(), place.line()),
        None => said.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_panic_is_damage_and_is_written_down_before_it_unwinds() {
        /// What redb's guards do when a panic unwinds: something may go wrong in it.
        struct Guard(Arc<Place>, Arc<AtomicBool>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.1.store(self.0.is_suspect(), Relaxed);
            }
        }
        let directory = tempfile::tempdir().expect("a directory");
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let place = Place::new(&disk, &directory.path().join("index.redb"));
        let was_suspect = Arc::new(AtomicBool::new(false));
        let outcome: Result<(), _> = guarded(&place, || {
            let _guard = Guard(Arc::clone(&place), Arc::clone(&was_suspect));
            panic!("a page of rot");
        });
        let Err(redb::Error::Corrupted(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("a page of rot") && text.contains("guard.rs"), "{text}");
        assert!(was_suspect.load(Relaxed), "who dies in unwinding has left a note");
        place.clear();
        assert!(!place.is_suspect());
        assert!(guarded(&place, || Ok(1)).is_ok_and(|one| one == 1));
        assert!(!place.is_suspect(), "work that goes well is not suspected");
    }
}
