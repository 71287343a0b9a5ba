//! The index: a redb database that says what is acknowledged, changed by whole transactions only.
//!
//! Every change is a [`Change`], plain data; [`Index::apply`] carries a list of them out in one durable two-phase
//! transaction (C-09). A commit that fails is *unknown* (C-08): the database is closed, opened again and asked whether
//! the transaction is in it, by number. Nothing is retried and believed. Damage that is met in use is an answer, too: the
//! index is checked, or made anew in place ([`renewal`]).

mod apply;
mod audit;
mod fold;
mod guard;
mod jobs;
mod line;
mod names;
mod query;
mod rebuild;
mod renewal;
mod tables;

use crate::disk::{Disk, DiskBackend};
use crate::fault::IndexFault;
use crate::ledger::{Account, FlowChange, LedgerEntry, LedgerLimits};
use crate::recovery::unused_name;
use crate::room::Pin;
use crate::row::EntityRecord;
use crate::scrub::ScrubRecord;
use bytes::Bytes;
use eddy_content::{BlockHash, BlockSet, EntityId, LookupKey};
use guard::{Place, guarded};
use names::NameFilter;
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, TableDefinition};
use renewal::Renewal;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(crate) use fold::Strays;
pub(crate) use line::{Counters, Line, LineHold};
pub(crate) use query::{InLine, LineKey};
pub(crate) use renewal::Heirs;
pub use renewal::IndexTroubles;

/// A table: every key and every value is bytes, every value is sealed (see [`crate::row`]).
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Format of the whole store; raised when an older program must not touch it (C-24).
pub(crate) const FORMAT: u32 = 2;
/// Bytes of redb's page cache; its own default is 1 GiB.
const PAGE_CACHE: usize = 32 << 20;
/// Bytes of an index of which every page and every row is looked at whenever it is opened.
const SMALL: u64 = 16 << 20;

const META: Table = TableDefinition::new("meta");
const ENTITIES: Table = TableDefinition::new("entities");
const HELD: Table = TableDefinition::new("held");
const LINES: Table = TableDefinition::new("lines");
const ORDER: Table = TableDefinition::new("order");
const DOOMED: Table = TableDefinition::new("doomed");
const INLINE: Table = TableDefinition::new("inline");
const INLINE_STATEMENTS: Table = TableDefinition::new("inline_statements");
const NAMES: Table = TableDefinition::new("names");
const LOOKUP: Table = TableDefinition::new("lookup");
const JOBS: Table = TableDefinition::new("jobs");
const FILES: Table = TableDefinition::new("ledger_files");
const ACCOUNT_NAMES: Table = TableDefinition::new("ledger_names");
const PEERS: Table = TableDefinition::new("ledger_peers");
/// Came after the others: an index of this format may have been written by a program that did not know it.
const ENDED: Table = TableDefinition::new("ledger_ended");

/// All of them.
const ALL_TABLES: [Table; 15] = [
    META,
    ENTITIES,
    HELD,
    LINES,
    ORDER,
    DOOMED,
    INLINE,
    INLINE_STATEMENTS,
    NAMES,
    LOOKUP,
    JOBS,
    FILES,
    ACCOUNT_NAMES,
    PEERS,
    ENDED,
];

/// What an index is called, in place of its ending, until it is whole.
const UNFINISHED: &str = "unfinished";

const KEY_FORMAT: &[u8] = b"format";
const KEY_TRANSACTION: &[u8] = b"transaction";
/// The highest generation that a row ever had.
const KEY_GENERATION: &[u8] = b"generation";
/// The highest generation that may have been used.
const KEY_RESERVED: &[u8] = b"reserved";
const KEY_RUNNING: &[u8] = b"running";
const KEY_FINGERPRINT: &[u8] = b"lookup_fingerprint";
const KEY_JOBS: &[u8] = b"jobs_sequence";
const KEY_SCRUB: &[u8] = b"scrub";
/// Before a name: the highest epoch that is known of it.
const KEY_EPOCH: &[u8] = b"epoch:";
/// The last entity whose blocks were proved; there while some may have to be.
const KEY_UNPROVEN: &[u8] = b"unproven";
const KEY_COUNTERS: &[u8] = b"counters";
/// How far the look for accounts of jobs that are gone came, and when it was done.
const KEY_STRAYS: &[u8] = b"ledger_strays";
/// The last entity of which lines, order and sums were made anew; there while that is not finished.
const KEY_REBUILD: &[u8] = b"rebuild";

/// One change of the index.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Writes an entity's row and makes it the newest version under its last name; void when a later generation is here.
    Entity(Box<EntityRecord>, [u8; 32]),
    /// Marks an entity as being removed (C-05).
    Doom(EntityId),
    /// Removes every row of an entity.
    Forget(Box<EntityRecord>, Option<LookupKey>),
    /// Removes the damaged row of an entity, and its blocks, by key.
    Strike(Vec<u8>),
    /// Adds and removes held blocks of one generation of an entity; void when that is no longer here.
    Blocks { id: EntityId, generation: u64, add: BlockSet, fetched_here: BlockSet, remove: BlockSet },
    /// The bytes of an entity that lies in the index, with their hash; void when another generation is here.
    Inline { id: EntityId, generation: u64, hash: BlockHash, bytes: Bytes },
    /// The statements of an entity that lies in the index, encoded; void when another generation is here.
    InlineStatements { id: EntityId, generation: u64, bytes: Vec<u8> },
    /// Notes a use, in seconds since 1970.
    Used(EntityId, i64),
    /// The origin has named another version under a URL of the entity.
    Superseded(EntityId),
    /// The same of whatever other version was named last under a URL before the entity `by`.
    Supersede { name: [u8; 32], by: EntityId },
    /// Pins an entity, or lets it go.
    Pin(EntityId, Pin),
    /// Writes or removes a job's row.
    Job([u8; 16], Option<Vec<u8>>),
    /// Number of the last change of a job's row, in the transaction that carries it.
    JobsSequence(u64),
    /// Some entity was adopted: blocks that are not held may be proved, of all entities.
    Unproven,
    /// Blocks of the entities up to `to` were proved, of all when `None`; void when `from` is no longer where it was.
    Proven { from: Vec<u8>, to: Option<Vec<u8>> },
    /// Removes a row that cannot be read.
    StrikeRow(&'static str, Vec<u8>),
    /// How far the scrub came, and what it found.
    Scrubbed(ScrubRecord),
    /// Accounts for received bytes.
    Flow(FlowChange),
    /// Accounts for an event.
    Entry(LedgerEntry),
    /// Names an account for people.
    AccountName(Account, String),
    /// A job is gone and its accounts are still there.
    JobEnded([u8; 16]),
    /// How far the look for such jobs came.
    StraysSought(Strays),
    /// Adds a slice of the accounts that are beyond the limits to that of earlier ones.
    FoldAccounts(LedgerLimits),
    /// The same of peers.
    FoldPeers(LedgerLimits),
    /// Writes a row of the lookup table.
    Lookup(LookupKey, EntityId),
    /// Takes a row out of the lookup table.
    Unlookup(LookupKey),
    /// Empties the lookup table.
    ClearLookup,
    /// Says for which secret the lookup table is complete.
    Fingerprint(Option<[u8; 32]>),
    /// Says up to which number generations may have been used (C-06).
    Reserved(u64),
    /// Says whether a process has the store open: still true at the next start after an unclean stop.
    Running(bool),
    /// The highest epoch that is known of something, by its name; it only grows.
    Epoch([u8; 32], u64),
}

/// Why an index did not open.
#[derive(Debug)]
pub(crate) enum IndexOpenError {
    /// It is damaged beyond redb's own repair.
    Damaged(String),
    /// A later version wrote it.
    TooNew(u32),
    /// The disk refused, or something else that is no damage.
    Fault(IndexFault),
}

/// What came of opening the database again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Whole,
    Damaged,
}

/// The open index.
pub(crate) struct Index {
    place: Arc<Place>,
    /// `None` after a failure that could not be got over yet; the next use tries again.
    database: RwLock<Option<Database>>,
    /// Held while it is opened again.
    reopening: Mutex<()>,
    /// The sums as of the last transaction.
    counters: Mutex<Counters>,
    /// The highest number of a transaction that was tried here.
    latest: AtomicU64,
    /// What generations are set aside, as of the last transaction.
    reserved: AtomicU64,
    /// How often it was opened again.
    reopened: AtomicU64,
    /// Under which URLs something may be here.
    names: NameFilter,
    renewal: Renewal,
}

impl Index {
    /// Opens or makes the index; redb repairs what an unclean stop left.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, IndexOpenError> {
        Self::open_at(Place::new(disk, path))
    }

    fn open_at(place: Arc<Place>) -> Result<Self, IndexOpenError> {
        let database = RwLock::new(Some(open_database(&place)?));
        let index = Self {
            place,
            database,
            reopening: Mutex::default(),
            counters: Mutex::default(),
            latest: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
            reopened: AtomicU64::new(0),
            names: NameFilter::default(),
            renewal: Renewal::default(),
        };
        index.bring_up_to_date()?;
        Ok(index)
    }

    /// The format of an index that was closed cleanly, without touching it; `None` when it cannot be told that way.
    pub(crate) fn format_of(disk: &Arc<dyn Disk>, path: &Path) -> Option<u32> {
        let file = disk.open(path).ok().filter(|file| file.length().is_ok_and(|length| length > 0))?;
        let format = guarded(&Place::new(disk, path), || {
            let database = builder().open_read_only_with_backend(DiskBackend::to_read(file))?;
            query::format(&database.begin_read()?)
        });
        match format {
            Err(redb::Error::UpgradeRequired(version)) => Some(u32::from(version)),
            other => other.ok().flatten(),
        }
    }

    /// Stamps a new index, refuses one of a later format, and upgrades one of an earlier format (C-24).
    fn bring_up_to_date(&self) -> Result<(), IndexOpenError> {
        match self.meta::<u32>(KEY_FORMAT).map_err(IndexOpenError::Fault)? {
            Some(found) if found > FORMAT => return Err(IndexOpenError::TooNew(found)),
            Some(_) => {
                self.rebuild_lines().map_err(IndexOpenError::Fault)?;
                self.add_ended().map_err(IndexOpenError::Fault)?;
            }
            None => self.stamp().map_err(IndexOpenError::Fault)?,
        }
        let counters = self.meta(KEY_COUNTERS).map_err(IndexOpenError::Fault)?.unwrap_or_default();
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        self.latest.fetch_max(self.last_transaction().map_err(IndexOpenError::Fault)?, Relaxed);
        self.reserved.store(self.generations().map_err(IndexOpenError::Fault)?.1, Relaxed);
        Ok(())
    }

    /// The highest number of a transaction that was tried: the next one is higher.
    pub(crate) fn highest_number(&self) -> u64 {
        self.latest.load(Relaxed)
    }

    /// The sums over all entities.
    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a question in a read transaction of its own.
    fn read<T>(&self, ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, IndexFault> {
        self.with(|database| ask(&database.begin_read()?)).map_err(|e| IndexFault::new("be read", e))
    }

    /// Lends the database out, opening it again first if a failure closed it, and making it anew if it is damaged.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        self.renew_if_damaged()?;
        if self.is_closed() && self.open_if_closed()? == Opened::Damaged {
            self.renew_if_damaged()?;
        }
        let opened = self.renewal.opened();
        let outcome = match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => guarded(&self.place, || work(database)),
            None => return Err(redb::Error::DatabaseClosed),
        };
        if let Err(redb::Error::Corrupted(text)) = &outcome {
            self.suspect(text, opened);
        }
        outcome
    }

    /// Opens the database again unless somebody else has done so meanwhile: two on one file would overwrite each other.
    fn open_if_closed(&self) -> Result<Opened, redb::Error> {
        let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_closed() {
            return Ok(Opened::Whole);
        }
        let opened = self.renewal.opened();
        match self.open_again() {
            Ok(()) => Ok(Opened::Whole),
            Err(redb::Error::Corrupted(text)) => {
                self.suspect(&text, opened);
                Ok(Opened::Damaged)
            }
            Err(error) => Err(error),
        }
    }

    fn is_closed(&self) -> bool {
        self.database.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Closes the database and opens it again, so that what is read next is what is on disk (C-08).
    fn reopen(&self) -> Result<(), redb::Error> {
        let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
        self.open_again()
    }

    /// The same; the caller has the lock.
    fn open_again(&self) -> Result<(), redb::Error> {
        self.shut();
        self.renewal.refuse_damaged()?;
        let file = self.place.disk.open(&self.place.path)?;
        if file.length()? == 0 {
            return Err(redb::Error::Corrupted("the index is gone".to_owned()));
        }
        let backend = self.place.settled(file)?;
        let database = guarded(&self.place, || Ok(builder().create_with_backend(backend)?))?;
        self.publish(Some(database));
        self.reopened.fetch_add(1, Relaxed);
        Ok(())
    }

    fn publish(&self, database: Option<Database>) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = database;
    }

    /// Drops the database, whatever state it is in.
    fn shut(&self) {
        let taken = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(error) = guarded(&self.place, || {
            drop(taken);
            Ok(())
        }) {
            tracing::warn!(%error, "the index did not close");
        }
    }

    /// Notes that the index is damaged: it is checked before it is used again, by the next start if not before.
    fn suspect(&self, text: &str, opened: u64) {
        if self.renewal.met_damage(opened) {
            self.place.suspect(text);
            self.shut();
        }
    }

    /// Closes the index; errors say that the last state may not be marked as clean.
    pub(crate) fn close(&self) -> Result<(), IndexFault> {
        let taken = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(database) = taken else { return Ok(()) };
        guarded(&self.place, || Ok(database.close()?)).map_err(|e| IndexFault::new("be closed", e))
    }
}

impl Drop for Index {
    /// Closing is work, too, and on damaged pages redb panics in it.
    fn drop(&mut self) {
        self.shut();
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(PAGE_CACHE);
    builder
}

/// Opens the database file, or makes it; tells damage from a disk that refuses.
///
/// Every page of a small index is checked, its own books included: rot in those is met nowhere but in the middle of a commit.
fn open_database(place: &Arc<Place>) -> Result<Database, IndexOpenError> {
    let file = match place.disk.open(&place.path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return make_database(place),
        other => other.map_err(refused)?,
    };
    let is_small = file.length().is_ok_and(|length| 0 < length && length <= SMALL);
    let is_checked = is_small || place.is_suspect();
    let backend = place.settled(file).map_err(refused)?;
    let opened =
        guarded(place, || Ok(builder().set_check_integrity_on_open(is_checked).create_with_backend(backend)?));
    if is_checked && opened.is_ok() {
        // It is whole. One that is not stays under suspicion until it was moved aside.
        place.clear();
    }
    opened.map_err(IndexOpenError::from)
}

/// Makes the database under another name, and gives it its own when it is whole: one whose making was cut short is no index, and
/// so no damaged one either.
fn make_database(place: &Arc<Place>) -> Result<Database, IndexOpenError> {
    let unfinished = place.path.with_extension(UNFINISHED);
    match place.disk.unlink(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(refused(e)),
        _ => {}
    }
    let file = place.disk.create(&unfinished).map_err(refused)?;
    let backend = place.settled(file).map_err(refused)?;
    let database = guarded(place, || Ok(builder().create_with_backend(backend)?))?;
    place.disk.rename(&unfinished, &place.path).map_err(refused)?;
    // Its name must outlive a power cut before anything in it is acknowledged (C-02).
    place.path.parent().map_or(Ok(()), |directory| place.disk.sync_directory(directory)).map_err(refused)?;
    // Whatever was suspected lies elsewhere, or nowhere.
    place.clear();
    Ok(database)
}

fn refused(error: io::Error) -> IndexOpenError {
    IndexOpenError::Fault(IndexFault::new("be opened", redb::Error::Io(error)))
}

impl From<redb::Error> for IndexOpenError {
    fn from(error: redb::Error) -> Self {
        match &error {
            redb::Error::UpgradeRequired(version) => Self::TooNew(u32::from(*version)),
            redb::Error::Corrupted(_) | redb::Error::RepairAborted => Self::Damaged(error.to_string()),
            _ => Self::Fault(IndexFault::new("be opened", error)),
        }
    }
}

/// The key of a chunk of an entity's held blocks: sorts behind the entity, by number.
fn chunk_key(id: &EntityId, chunk: u32) -> [u8; 36] {
    join(&id.0, &chunk.to_be_bytes())
}

/// The key of one entity under one requested URL.
fn name_key(name: &[u8; 32], id: &EntityId) -> [u8; 64] {
    join(name, &id.0)
}

/// The key of an account: files of a job lie side by side, in order.
fn account_key(account: &Account) -> [u8; 20] {
    join(&account.job, &account.file.to_be_bytes())
}

/// Two byte strings of known length as one.
fn join<const N: usize>(a: &[u8], b: &[u8]) -> [u8; N] {
    let mut key = [0; N];
    key[..a.len()].copy_from_slice(a);
    key[a.len()..a.len() + b.len()].copy_from_slice(b);
    key
}
