//! From the store to the user's destination: staged beside it, then renamed into place.
//!
//! Nothing is visible under the destination's name before it is whole, verified and durable (N2, C-04, R-45). All functions
//! block; they belong on a blocking thread. What is done in the destination's directory is done as the owner of the job
//! (`crate::owner`).

use crate::condition;
use crate::owner::Hand;
use crate::transfer::room::{CacheRoom, free_bytes};
use eddy_cache::{EntityHandle, FaultKind, Mirror, ReadError};
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use eddy_content::{BlockSet, Root};
use eddy_engine::{Failure, FailureClass, FileRef, Owner};
use eddy_wire::catalogue::ErrorCode;
use folder::{Folder, Identity};
use rustix::fs::{FallocateFlags, FileType, StatVfsMountFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

pub use discard::{Cleared, Clearing, discard};
pub use reveal::{Publication, publish};

mod discard;
mod folder;
mod portion;
#[cfg(test)]
mod race;
mod reveal;
#[cfg(test)]
mod tests;

/// Blocks that are read, checked and written in one go: the 2 MiB of a huge page, which the disk fills at once.
const RUN: u32 = 32;
/// Bytes from which a file is begun before its blocks come; a shorter one is still in the cache when it is copied.
const SHORTEST_MIRRORED: u64 = 1 << 20;

/// Bytes that a look sets aside and gives back.
const PROBED: u64 = 64 << 10;

/// Where one file of a job is to stand, and where it stands until it is whole.
#[derive(Debug, Clone)]
pub struct Destination {
    path: PathBuf,
    /// The last part of the path.
    name: OsString,
    /// The staged file's name, beside it.
    part: OsString,
    /// Whose file it is to be.
    owner: u32,
    hand: Arc<OnceLock<Hand>>,
    folder: Arc<OnceLock<Folder>>,
    /// The directory that was found first.
    identity: Arc<OnceLock<Identity>>,
    /// What the staged name waits for before it is written.
    before: Option<Cleared>,
}

/// A staged file in the making, which gets each verified block as it comes; removed on drop unless it was staged.
#[derive(Debug)]
pub struct Part {
    destination: Destination,
    mirror: Arc<Mirror>,
    is_kept: bool,
}

/// What a staged file is to be.
#[derive(Debug, Clone, Copy)]
pub struct StageOrder<'a> {
    /// Digests that the bytes must have.
    pub digests: &'a [ExpectedDigest],
    /// The file's time.
    pub last_modified: Option<i64>,
    /// The cache, which gives way.
    pub room: &'a CacheRoom,
}

/// Why a file could not be staged.
#[derive(Debug)]
pub enum StageError {
    /// Blocks of the store do not have their hashes; they are quarantined and must be fetched again.
    Damaged(BlockSet),
    /// Anything else, in the engine's terms.
    Failed(Failure),
}

impl From<Failure> for StageError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Part {
    /// What a writer is told of.
    #[must_use]
    pub fn mirror(&self) -> Arc<Mirror> {
        Arc::clone(&self.mirror)
    }

    /// Whether the file still stands under its name: a person may have removed it, a later run of the job replaced it.
    fn is_in_place(&self) -> bool {
        let ours = self.mirror.file().metadata();
        let Ok(folder) = self.destination.folder() else { return false };
        let there = folder.look(&self.destination.part);
        ours.is_ok_and(|ours| there.is_ok_and(|there| (ours.dev(), ours.ino()) == (there.st_dev, there.st_ino)))
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_kept && self.is_in_place() {
            self.destination.discard();
        }
    }
}

impl Destination {
    /// The destination of a user's job's file; the staged file's name is the same after a restart.
    #[must_use]
    pub fn new(file: FileRef, path: &str, Owner(owner): Owner) -> Self {
        let path = PathBuf::from(path);
        let name = path.file_name().unwrap_or_default().to_owned();
        let part = format!(".eddy-{}-{}.part", file.job, file.file).into();
        let (hand, folder, identity) = (Arc::default(), Arc::default(), Arc::default());
        Self { path, name, part, owner, hand, folder, identity, before: None }
    }

    /// The same destination, whose staged file is written after what stood there is taken away.
    #[must_use]
    pub fn after(self, before: Cleared) -> Self {
        Self { before: Some(before), ..self }
    }

    /// Whose file it is to be.
    #[must_use]
    pub fn owner(&self) -> u32 {
        self.owner
    }

    fn await_cleared(&self) {
        self.before.iter().for_each(Cleared::wait);
    }

    /// Where the file stands until it is whole.
    #[must_use]
    pub fn part(&self) -> PathBuf {
        self.path.with_file_name(&self.part)
    }

    /// Who makes the file. The user database is asked once.
    fn hand(&self) -> &Hand {
        self.hand.get_or_init(|| Hand::of(self.owner))
    }

    /// The directory, opened when it is first needed and held from then on.
    fn folder(&self) -> Result<&Folder, Failure> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let folder = Folder::open(self.parent(), self.hand().clone()).map_err(|e| self.folder_failure(e))?;
        let identity = folder.identity().map_err(|e| self.folder_failure(e))?;
        if *self.identity.get_or_init(|| identity) != identity {
            let detail = format!("`{}` is another folder than when the file was begun", self.parent().display());
            return Err(refusal(ErrorCode::DestinationUnsafe, detail));
        }
        Ok(self.folder.get_or_init(|| folder))
    }

    /// The same destination without the open directory, which is still known again.
    #[must_use]
    pub fn closed(&self) -> Self {
        Self { folder: Arc::default(), ..self.clone() }
    }

    fn folder_failure(&self, error: Errno) -> Failure {
        let parent = self.parent().display();
        match error {
            Errno::LOOP => refusal(ErrorCode::DestinationUnsafe, format!("there is a symbolic link in `{parent}`")),
            Errno::NOENT | Errno::NOTDIR => refusal(ErrorCode::DestinationNoParent, format!("`{parent}` is no folder")),
            other => self.disk_failure("open the folder of", &other.into()),
        }
    }

    /// Looks, without a trace, whether the destination can be written.
    pub fn check(&self, overwrite: bool) -> Result<(), Failure> {
        let shown = self.path.display();
        let folder = self.folder()?;
        match folder.look(&self.name) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                return Err(refusal(ErrorCode::DestinationIsDirectory, format!("`{shown}` is a folder")));
            }
            Ok(_) if !overwrite => {
                return Err(refusal(ErrorCode::DestinationExists, format!("`{shown}` exists")));
            }
            _ => {}
        }
        folder.may_write().map_err(|e| self.disk_failure("write", &e.into()))
    }

    /// Looks whether a condition that stopped the delivery has ended: the room and the mount first, then what a delivery does,
    /// with a file that never gets a name. `need` bytes are still to be written there.
    pub fn probe(&self, need: u64, room: &CacheRoom) -> Result<(), Failure> {
        let folder = self.folder()?;
        let place = folder.room().map_err(|e| self.disk_failure("look at the place of", &e.into()))?;
        if place.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(self.disk_failure("write", &Errno::ROFS.into()));
        }
        if place.f_bavail.saturating_mul(place.f_frsize) < need {
            let _ = room.give_way(folder, need);
            let free = free_bytes(folder).unwrap_or_default();
            if free < need {
                let detail = format!("`{}` needs {need} bytes, {free} are free", self.path.display());
                return Err(Failure { class: FailureClass::Destination, ..refusal(ErrorCode::DiskFull, detail) });
            }
        }
        match folder.create_nameless() {
            Ok(file) if need > 0 => match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, need.min(PROBED)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
                Err(e) => Err(self.disk_failure("write", &e.into())),
            },
            Ok(_) => Ok(()),
            // Not every file system makes files without a name; then the rights must do.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                folder.may_write().map_err(|e| self.disk_failure("write", &e.into()))
            }
            Err(e) => Err(self.disk_failure("create", &e.into())),
        }
    }

    /// Begins the staged file before the blocks come, so that each is written there as well while it is hot.
    ///
    /// `None` when it is not worth it, or when the place refuses: [`Self::stage`] then copies, and says what the disk says.
    /// An error when the disk has no room for the file and its copy in the cache, and the cache has nothing to lose yet.
    pub fn mirror(&self, entity: &EntityHandle, room: &CacheRoom) -> Result<Option<Part>, Failure> {
        let length = entity.geometry().length();
        if length < SHORTEST_MIRRORED || entity.is_complete() {
            return Ok(None);
        }
        let is_full = |failure: &Failure| failure.code == code(ErrorCode::DiskFull);
        let refused = match self.begin(entity) {
            Err(failure) if is_full(&failure) && self.gives_way(room, length) => self.begin(entity),
            other => other,
        };
        match refused {
            Ok(part) => Ok(Some(part)),
            Err(failure)
                if is_full(&failure)
                    && self.folder().is_ok_and(|folder| room.is_beside(folder))
                    && entity.held().is_empty()
                    // After the loss of an index what is held has to be proved first.
                    && entity.is_unproven().is_ok_and(|is_unproven| !is_unproven) =>
            {
                Err(failure)
            }
            Err(failure) => {
                tracing::debug!(detail = %failure.detail, "no file beside the destination yet");
                Ok(None)
            }
        }
    }

    /// Begins the staged file: its room is set aside, nothing is in it.
    fn begin(&self, entity: &EntityHandle) -> Result<Part, Failure> {
        let file = self.create_part()?;
        match entity.mirror(&self.part(), file) {
            Ok(mirror) => Ok(Part { destination: self.clone(), mirror: Arc::new(mirror), is_kept: false }),
            Err(fault) => {
                self.discard();
                Err(self.disk_failure("set room aside for", &fault.source))
            }
        }
    }

    /// Puts the whole entity beside the destination: what `part` lacks is copied, hashing every block on its way out; every
    /// digest is checked.
    ///
    /// What fails leaves nothing behind, as the part goes with it: the bytes are in the store, and a full disk needs the
    /// room. Before that the cache gives way.
    pub fn stage(&self, entity: &EntityHandle, part: Option<Part>, order: &StageOrder<'_>) -> Result<Root, StageError> {
        match self.stage_once(entity, part, order) {
            Err(StageError::Failed(failure))
                if Self::is_out_of_room(&failure) && self.gives_way(order.room, entity.geometry().length()) =>
            {
                self.stage_once(entity, None, order)
            }
            other => other,
        }
    }

    /// Whether the disk has no room for the file.
    fn is_out_of_room(failure: &Failure) -> bool {
        failure.class == FailureClass::Destination && failure.code == code(ErrorCode::DiskFull)
    }

    fn stage_once(
        &self,
        entity: &EntityHandle,
        part: Option<Part>,
        &StageOrder { digests, last_modified, room }: &StageOrder<'_>,
    ) -> Result<Root, StageError> {
        let part = part.filter(Part::is_in_place).map_or_else(|| self.begin(entity), Ok)?;
        let check = self.complete(entity, &part.mirror, DigestCheck::beside_root(digests), room)?;
        let root =
            entity.root().ok_or_else(|| Failure::transient(code(ErrorCode::BlockCorrupt), "the store lost a block"))?;
        check.verify_with_root(root).map_err(|e| refusal(ErrorCode::DigestMismatch, e.to_string()))?;
        self.seal(&part.mirror.file(), last_modified)?;
        part.keep();
        Ok(root)
    }

    /// Copies the blocks that are not there; reads all when a digest wants every byte in order.
    fn complete(
        &self,
        entity: &EntityHandle,
        mirror: &Mirror,
        mut check: DigestCheck,
        room: &CacheRoom,
    ) -> Result<DigestCheck, StageError> {
        let (geometry, there) = (entity.geometry(), entity.mirrored(mirror));
        let mut reader = entity.reader();
        for start in (0..geometry.block_count()).step_by(RUN as usize) {
            let blocks = start..geometry.block_count().min(start + RUN);
            let missing = BlockSet::from_run(blocks.clone()).difference(&there);
            if missing.is_empty() && !check.needs_bytes() {
                continue;
            }
            let place = geometry.bytes_of(blocks.clone());
            let bytes = match reader.read(blocks.clone()) {
                Ok(bytes) => bytes,
                Err(error) => {
                    return Err(damage(
                        entity,
                        &BlockSet::from_run(blocks.start..geometry.block_count()),
                        &error,
                        room,
                    ));
                }
            };
            check.update(bytes);
            for run in missing.runs() {
                let run = geometry.bytes_of(run);
                let part = &bytes[(run.start - place.start) as usize..(run.end - place.start) as usize];
                mirror.write(part, run.start).map_err(|e| self.disk_failure("write", &e.source))?;
            }
        }
        Ok(check)
    }

    /// Creates the staged file for a body that cannot be kept in the store.
    pub fn create_part(&self) -> Result<File, Failure> {
        self.await_cleared();
        let folder = self.folder()?;
        let created = match folder.create(&self.part) {
            Err(Errno::EXIST) => {
                // A leftover of this very job; nobody else makes files of this name. Rare: to look for it each time would take the
                // directory from everybody else who makes files in it.
                let _ = folder.remove(&self.part);
                folder.create(&self.part)
            }
            other => other,
        };
        created.map_err(|e| self.disk_failure("create", &e.into()))
    }

    /// Makes a staged file durable, with the origin's time stamp.
    pub fn seal(&self, file: &File, last_modified: Option<i64>) -> Result<(), Failure> {
        if let Some(seconds) = last_modified.and_then(|s| u64::try_from(s).ok()) {
            // The time stamp is a courtesy: a file system that refuses it does not fail the download.
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let _ = self.hand().act(|| file.set_modified(at).map_err(|_| Errno::PERM));
        }
        file.sync_all().map_err(|e| self.disk_failure("sync", &e))
    }

    /// Takes the staged file away, if there is one.
    pub fn discard(&self) {
        self.await_cleared();
        if let Ok(folder) = self.folder() {
            let _ = folder.remove(&self.part);
        }
    }

    /// Whether the cache has made room for `need` bytes, or for some of them.
    #[must_use]
    pub fn gives_way(&self, room: &CacheRoom, need: u64) -> bool {
        self.folder().is_ok_and(|folder| room.give_way(folder, need))
    }

    /// Bytes that are free beside the destination.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        free_bytes(self.folder().ok()?)
    }

    fn parent(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("/"),
        }
    }

    /// What an I/O error at the destination means for the job.
    pub fn disk_failure(&self, verb: &str, error: &io::Error) -> Failure {
        let detail = format!("cannot {verb} the file for `{}`: {error}", self.path.display());
        if error.kind() == io::ErrorKind::NotFound {
            return refusal(ErrorCode::DestinationNoParent, detail);
        }
        let row = condition::at_destination(FaultKind::of(error));
        Failure { class: FailureClass::Destination, ..refusal(row, detail) }
    }
}

/// What a read that failed has come upon. Rot seldom comes alone: these blocks of the file are looked through, so that all of it is
/// fetched again at once. A block that the medium does not give any more is as good as rotten, and to be written anew.
fn damage(entity: &EntityHandle, among: &BlockSet, error: &ReadError, room: &CacheRoom) -> StageError {
    let kind = condition::of_read(error);
    if let Some(kind) = kind.filter(|kind| *kind != FaultKind::Medium) {
        return StageError::Failed(condition::of_cache(kind, &room.directory, error));
    }
    let (mut damaged, mut unreadable) = (BlockSet::new(), BlockSet::new());
    if let ReadError::Corrupt { block } = error {
        // Struck off by the read that met it: it does not show again.
        damaged.insert(*block..*block + 1);
    }
    let mut reader = entity.reader();
    for run in among.runs().flat_map(pieces) {
        if reader.read(run.clone()).is_ok() {
            continue;
        }
        for block in run {
            match reader.read(block..block + 1) {
                Err(ReadError::Corrupt { .. } | ReadError::NotHeld { .. }) => damaged.insert(block..block + 1),
                Err(ReadError::Disk(fault)) if fault.kind() == FaultKind::Medium => {
                    unreadable.insert(block..block + 1);
                }
                _ => {}
            }
        }
    }
    if !unreadable.is_empty() {
        entity.quarantine(&unreadable);
        damaged.union_with(&unreadable);
    }
    if damaged.is_empty() {
        // It could be read the second time.
        return StageError::Failed(Failure::transient(code(ErrorCode::BlockCorrupt), error.to_string()));
    }
    tracing::error!(url = %entity.entity().url, blocks = damaged.len(), "cached blocks are damaged: fetched again");
    StageError::Damaged(damaged)
}

/// What is read in one go of a run of blocks.
fn pieces(run: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let end = run.end;
    run.step_by(RUN as usize).map(move |start| start..end.min(start.saturating_add(RUN)))
}

/// A failure with a row of the catalogue that needs somebody's hand.
pub(crate) fn refusal(row: ErrorCode, detail: impl Into<String>) -> Failure {
    Failure::fatal(code(row), detail)
}

pub(crate) fn code(row: ErrorCode) -> &'static str {
    row.entry().code
}
