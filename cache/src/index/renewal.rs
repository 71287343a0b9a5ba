//! What becomes of an index that turns out to be damaged while it is in use: it is checked, and made anew in its place.
//!
//! Whoever comes next does it, before his own question is answered; nobody waits for another start. Every page is checked
//! first: damage that was only met in memory is none. A damaged file is moved aside, as by a start (N6), and in the new one stand,
//! before anybody sees it: the jobs from the journal (C-22), the generations that are set aside (C-06), and the rows of what is
//! open. The rest comes from the files, by a sweep. The committing thread is kept out meanwhile: it has the *turn* for the
//! length of each commit, of index and journal. A step that fails is taken again by the next who comes; a process that dies
//! between two of them leaves what a start knows how to go on with (C-23).

use super::guard::guarded;
use super::{Change, Index, IndexOpenError, builder, unused_name};
use crate::disk;
use crate::fault::{DiskFault, IndexFault, OpenError};
use crate::journal::{self, Journal};
use redb::Database;
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Who knows what must stand in a new index because somebody has it open.
pub(crate) trait Heirs: Send + Sync {
    /// The rows of entities that are open. Asks nothing of the index.
    fn open_rows(&self) -> Result<Vec<Change>, OpenError>;
}

/// What the index met since the store was opened, and got over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexTroubles {
    /// How often it was closed and opened again: what a failed commit had done was unknown.
    pub reopened: u64,
    /// How often it was damaged, and made anew from what is open, the journal and the files.
    pub renewed: u64,
}

/// How it stands with damage that was met in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Damage {
    /// None was met.
    #[default]
    None,
    /// Some was met, and then every page was found whole; when it is met again, the check is not believed.
    Doubted,
    /// It was met, and no page was checked yet.
    Met,
    /// The file is not to be used any more.
    Condemned,
    /// The damaged file lies elsewhere, and the new one is not complete.
    Gone,
}

/// What an index needs to be made anew.
#[derive(Default)]
pub(super) struct Renewal {
    damage: Mutex<Damage>,
    is_damaged: AtomicBool,
    heirs: OnceLock<Weak<dyn Heirs>>,
    /// Held by the committing thread for the length of a commit, and by whoever makes the index anew.
    turn: Mutex<()>,
    /// The journal as it was read for the new index: the committing thread goes on with it.
    journal: Mutex<Option<Journal>>,
    /// How often a database was found whole or made anew: whoever met damage in an earlier one comes too late.
    opened: AtomicU64,
    count: AtomicU64,
}

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// The right to commit.
pub(crate) struct Turn<'i>(#[expect(dead_code, reason = "it is held, not used")] MutexGuard<'i, ()>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        HAS_TURN.set(false);
    }
}

impl Renewal {
    fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, damage: Damage) {
        *self.damage() = damage;
        self.is_damaged.store(!matches!(damage, Damage::None | Damage::Doubted), Relaxed);
    }

    /// Which database is open, of all that were.
    pub(super) fn opened(&self) -> u64 {
        self.opened.load(Relaxed)
    }

    /// Notes damage in a database; says whether it is the one that is open.
    pub(super) fn met_damage(&self, opened: u64) -> bool {
        let mut damage = self.damage();
        if opened != self.opened() {
            return false;
        }
        *damage = match *damage {
            Damage::None => Damage::Met,
            Damage::Doubted => Damage::Condemned,
            other => other,
        };
        self.is_damaged.store(true, Relaxed);
        true
    }

    /// Refuses to open what is known to be damaged.
    pub(super) fn refuse_damaged(&self) -> Result<(), redb::Error> {
        if self.is_damaged.load(Relaxed) { Err(damaged()) } else { Ok(()) }
    }
}

impl Index {
    /// From here on damage is mended in place, with the help of `heirs`.
    pub(crate) fn set_heirs(&self, heirs: Weak<dyn Heirs>) {
        let _ = self.renewal.heirs.set(heirs);
    }

    /// What it met and got over.
    pub(crate) fn troubles(&self) -> IndexTroubles {
        IndexTroubles { reopened: self.reopened.load(Relaxed), renewed: self.renewals() }
    }

    /// How often it was made anew.
    pub(crate) fn renewals(&self) -> u64 {
        self.renewal.count.load(Relaxed)
    }

    /// Takes the turn to commit. A damaged index is made anew first; then the journal is another, too.
    pub(crate) fn take_turn(&self, journal: &mut Journal) -> Turn<'_> {
        let turn = self.turn();
        if self.renewal.is_damaged.load(Relaxed)
            && let Err(error) = self.renew()
        {
            tracing::error!(%error, "the damaged cache index could not be made anew; another time");
        }
        if let Some(renewed) = self.renewal.journal.lock().unwrap_or_else(PoisonError::into_inner).take() {
            *journal = renewed;
        }
        turn
    }

    fn turn(&self) -> Turn<'_> {
        let guard = self.renewal.turn.lock().unwrap_or_else(PoisonError::into_inner);
        HAS_TURN.set(true);
        Turn(guard)
    }

    /// Makes a damaged index anew before it is asked anything. In the middle of a commit it is too late for that.
    pub(super) fn renew_if_damaged(&self) -> Result<(), redb::Error> {
        if !self.renewal.is_damaged.load(Relaxed) {
            return Ok(());
        }
        if HAS_TURN.get() {
            return Err(damaged());
        }
        let _turn = self.turn();
        self.renew()
    }

    /// The same; the caller has the turn.
    fn renew(&self) -> Result<(), redb::Error> {
        let heirs = self.renewal.heirs.get().and_then(Weak::upgrade).ok_or_else(damaged)?;
        let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        self.shut();
        loop {
            let damage = *self.renewal.damage();
            match damage {
                Damage::None | Damage::Doubted => return Ok(()),
                Damage::Met => self.check()?,
                Damage::Condemned => self.move_aside().map_err(|fault| error_of(fault.into(), &self.place.path))?,
                Damage::Gone => {
                    let fresh = self.begin_anew(&*heirs).map_err(|error| error_of(error, &self.place.path))?;
                    self.take_over(&fresh);
                }
            }
        }
    }

    /// Opens the index if every page of it is whole, and condemns it if not.
    fn check(&self) -> Result<(), redb::Error> {
        let place = &self.place;
        let file = place.disk.open(&place.path)?;
        let backend = place.settled(file)?;
        let checked =
            guarded(place, || Ok(builder().set_check_integrity_on_open(true).create_with_backend(backend)?));
        match checked {
            Ok(database) => {
                tracing::info!("every page of the cache index is whole");
                place.clear();
                self.go_on_with(Some(database), Damage::Doubted);
                Ok(())
            }
            Err(redb::Error::Corrupted(_) | redb::Error::RepairAborted) => {
                self.renewal.is(Damage::Condemned);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the damaged file another name.
    fn move_aside(&self) -> Result<(), DiskFault> {
        let (disk, path) = (&*self.place.disk, &self.place.path);
        if disk::length(disk, path)?.is_some() {
            let aside = unused_name(disk, path)?;
            tracing::error!(moved_to = %aside.display(), "the cache index is damaged: a new one is begun");
            disk::rename(disk, path, &aside)?;
        }
        self.renewal.is(Damage::Gone);
        Ok(())
    }

    /// Makes a new index, complete before anybody sees it.
    fn begin_anew(&self, heirs: &dyn Heirs) -> Result<Self, OpenError> {
        let (disk, path) = (&self.place.disk, &self.place.path);
        let root = path.parent().unwrap_or(Path::new("."));
        // What stands there is an attempt that was not finished.
        disk::unlink(&**disk, path)?;
        disk::sync_directory(&**disk, root)?;
        let fresh = Self::open_at(Arc::clone(&self.place)).map_err(|error| match error {
            IndexOpenError::Fault(fault) => OpenError::from(fault),
            IndexOpenError::Damaged(text) => IndexFault::new("be made", redb::Error::Corrupted(text)).into(),
            IndexOpenError::TooNew(_) => IndexFault::new("be made", damaged()).into(),
        })?;
        // Numbers go on: one that was used must not say that a later transaction is in the index.
        let mut transaction = self.highest_number();
        let (journal, jobs) = journal::open(disk, root, &fresh, &mut transaction)?;
        let mut changes = heirs.open_rows()?;
        changes.push(Change::Reserved(self.reserved.load(Relaxed)));
        changes.push(Change::Running(true));
        fresh.apply(transaction + 1, &changes)?;
        tracing::warn!(jobs.restored, rows = changes.len() - 2, "a new cache index is in its place");
        *self.renewal.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal);
        Ok(fresh)
    }

    /// Goes on with the database of another index.
    fn take_over(&self, fresh: &Self) {
        let database = fresh.database.write().unwrap_or_else(PoisonError::into_inner).take();
        self.set_counters(fresh.counters());
        self.latest.fetch_max(fresh.highest_number(), Relaxed);
        self.renewal.count.fetch_add(1, Relaxed);
        self.go_on_with(database, Damage::None);
    }

    fn go_on_with(&self, database: Option<Database>, damage: Damage) {
        self.publish(database);
        self.renewal.opened.fetch_add(1, Relaxed);
        self.renewal.is(damage);
    }
}

fn damaged() -> redb::Error {
    redb::Error::Corrupted("it is damaged".to_owned())
}

/// The error of a step as the index's own.
fn error_of(error: OpenError, path: &Path) -> redb::Error {
    let fault = match error {
        OpenError::Disk(fault) => fault,
        OpenError::Index(fault) => fault.of_file(path),
        other => DiskFault::new("make", path, std::io::Error::other(other)),
    };
    let number = fault.source.raw_os_error();
    redb::Error::Io(number.map_or_else(|| std::io::Error::other(fault), std::io::Error::from_raw_os_error))
}

#[cfg(test)]
mod tests;
