//! The index: a redb database that says what is acknowledged, changed by whole transactions only.
//!
//! Every change is a [`Change`], plain data; [`Index::apply`] carries a list of them out in one durable two-phase
//! transaction (C-09). A commit that fails is *unknown* (C-08): the database is closed, opened again and asked whether
//! the transaction is in it, by number. Nothing is retried and believed.

mod apply;
mod audit;
mod jobs;
mod line;
mod query;
mod rebuild;

use crate::disk::{Disk, DiskBackend, OpenFile};
use crate::fault::IndexFault;
use crate::ledger::{Account, FlowChange, LedgerEntry};
use crate::room::Pin;
use crate::row::EntityRecord;
use crate::scrub::ScrubRecord;
use eddy_content::{BlockHash, BlockSet, EntityId, LookupKey};
use redb::{Builder, Database, ReadTransaction, ReadableDatabase, TableDefinition};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub(crate) use line::{Counters, Line, LineHold};
pub(crate) use query::InLine;

/// A table: every key and every value is bytes, every value is sealed (see [`crate::row`]).
type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

/// Format of the whole store; raised when an older program must not touch it (C-24).
pub(crate) const FORMAT: u32 = 2;
/// Bytes of redb's page cache; its own default is 1 GiB.
const PAGE_CACHE: usize = 32 << 20;

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

/// All of them.
const ALL_TABLES: [Table; 14] = [
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
];

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
/// The last entity whose blocks were proved; there while some may have to be.
const KEY_UNPROVEN: &[u8] = b"unproven";
const KEY_COUNTERS: &[u8] = b"counters";
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
    Inline { id: EntityId, generation: u64, hash: BlockHash, bytes: Vec<u8> },
    /// The statements of an entity that lies in the index, encoded; void when another generation is here.
    InlineStatements { id: EntityId, generation: u64, bytes: Vec<u8> },
    /// Notes a use, in seconds since 1970.
    Used(EntityId, i64),
    /// The origin has named another version under a URL of the entity.
    Superseded(EntityId),
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

/// The open index.
pub(crate) struct Index {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// `None` after a failure that could not be got over yet; the next use tries again.
    database: RwLock<Option<Database>>,
    /// Held while it is opened again.
    reopening: Mutex<()>,
    /// The sums as of the last transaction.
    counters: Mutex<Counters>,
}

impl Index {
    /// Opens or makes the index; redb repairs what an unclean stop left.
    pub(crate) fn open(disk: &Arc<dyn Disk>, path: &Path) -> Result<Self, IndexOpenError> {
        let database = RwLock::new(Some(open_database(&**disk, path)?));
        let index = Self {
            disk: Arc::clone(disk),
            path: path.to_owned(),
            database,
            reopening: Mutex::default(),
            counters: Mutex::default(),
        };
        index.bring_up_to_date()?;
        Ok(index)
    }

    /// The format of an index that was closed cleanly, without touching it; `None` when it cannot be told that way.
    pub(crate) fn format_of(disk: &dyn Disk, path: &Path) -> Option<u32> {
        let file = disk.open(path).ok().filter(|file| file.length().is_ok_and(|length| length > 0))?;
        let format = guarded(|| {
            let database = builder().open_read_only_with_backend(DiskBackend(file))?;
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
            Some(_) => self.rebuild_lines().map_err(IndexOpenError::Fault)?,
            None => self.stamp().map_err(IndexOpenError::Fault)?,
        }
        let counters = self.meta(KEY_COUNTERS).map_err(IndexOpenError::Fault)?.unwrap_or_default();
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        Ok(())
    }

    /// The sums over all entities.
    pub(crate) fn counters(&self) -> Counters {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a question in a read transaction of its own.
    fn read<T>(&self, ask: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, IndexFault> {
        self.with(|database| ask(&database.begin_read()?)).map_err(|e| IndexFault::new("be read", e))
    }

    /// Lends the database out, opening it again first if a failure closed it.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, redb::Error> {
        if self.is_closed() {
            let _one = self.reopening.lock().unwrap_or_else(PoisonError::into_inner);
            // Somebody else may have opened it meanwhile: two databases on one file would overwrite each other.
            if self.is_closed() {
                self.open_again()?;
            }
        }
        let outcome = match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => guarded(|| work(database)),
            None => return Err(redb::Error::DatabaseClosed),
        };
        if let Err(redb::Error::Corrupted(text)) = &outcome {
            self.suspect(text);
        }
        outcome
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
        let file = self.disk.open(&self.path)?;
        if file.length()? == 0 {
            return Err(redb::Error::Corrupted("the index is gone".to_owned()));
        }
        let database = guarded(|| Ok(builder().create_with_backend(DiskBackend(file))?))?;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        Ok(())
    }

    /// Drops the database, whatever state it is in.
    fn shut(&self) {
        let taken = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Err(error) = guarded(|| {
            drop(taken);
            Ok(())
        }) {
            tracing::warn!(%error, "the index did not close");
        }
    }

    /// Notes that the index is damaged, so that the next start checks all of it.
    fn suspect(&self, text: &str) {
        tracing::error!(damage = text, "the cache index is damaged; the next start checks it");
        match self.disk.create(&suspicion(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                tracing::error!(%error, "the suspicion could not be written down");
            }
            _ => {}
        }
        self.shut();
    }

    /// Closes the index; errors say that the last state may not be marked as clean.
    pub(crate) fn close(&self) -> Result<(), IndexFault> {
        let taken = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(database) = taken else { return Ok(()) };
        guarded(|| Ok(database.close()?)).map_err(|e| IndexFault::new("be closed", e))
    }
}

impl Drop for Index {
    /// Closing is work, too, and on damaged pages redb panics in it.
    fn drop(&mut self) {
        self.shut();
    }
}

/// Runs redb and turns a panic of its into what it means: it panics on some damaged pages, and damage is an answer
/// here, not a reason to die (N6). The database is dropped afterwards, so no broken state is seen again.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(redb::Error::Corrupted("a page makes no sense".to_owned())))
        .map_err(|error| match error {
            // The tables are as this program made them, or they are damaged: a name or a type with a flipped bit.
            redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TableIsNotMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_) => redb::Error::Corrupted(error.to_string()),
            other => other,
        })
}

/// The file beside the index that says that it was found damaged while it was in use.
fn suspicion(path: &Path) -> PathBuf {
    path.with_extension("suspect")
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(PAGE_CACHE);
    builder
}

/// Opens the database file, telling damage from a disk that refuses.
fn open_database(disk: &dyn Disk, path: &Path) -> Result<Database, IndexOpenError> {
    let file =
        open_file(disk, path).map_err(|e| IndexOpenError::Fault(IndexFault::new("be opened", redb::Error::Io(e))))?;
    let suspicion = suspicion(path);
    let is_suspect = disk.length(&suspicion).is_ok();
    let opened =
        guarded(|| Ok(builder().set_check_integrity_on_open(is_suspect).create_with_backend(DiskBackend(file))?));
    if is_suspect && opened.is_ok() {
        // It is whole. One that is not stays under suspicion until it was moved aside.
        let _ = disk.unlink(&suspicion);
    }
    opened.map_err(IndexOpenError::from)
}

/// Opens the file, or makes it: redb takes an empty one for a new database.
fn open_file(disk: &dyn Disk, path: &Path) -> io::Result<OpenFile> {
    match disk.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let file = disk.create(path)?;
            // Its name must outlive a power cut before anything in it is acknowledged (C-02).
            path.parent().map_or(Ok(()), |directory| disk.sync_directory(directory))?;
            Ok(file)
        }
        other => other,
    }
}

impl From<redb::Error> for IndexOpenError {
    fn from(error: redb::Error) -> Self {
        match &error {
            redb::Error::UpgradeRequired(version) => Self::TooNew(u32::from(*version)),
            redb::Error::Corrupted(_) | redb::Error::RepairAborted => Self::Damaged(error.to_string()),
            redb::Error::Io(e) if is_damage(e) => Self::Damaged(error.to_string()),
            _ => Self::Fault(IndexFault::new("be opened", error)),
        }
    }
}

/// Whether an I/O error speaks of the content of the file, not of the disk.
fn is_damage(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
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
