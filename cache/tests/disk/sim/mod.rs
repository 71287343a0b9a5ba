//! A disk in memory that fails to order: power cuts, refusals, full disks, and lies.
//!
//! [`medium`] says what is on it and what a cut leaves; this is its face to the store. A [`SimDisk`] is a machine
//! between two power cuts: after a cut, whatever the old store still does through its old disk is refused and changes
//! nothing.

mod meddle;
pub(crate) mod medium;

use crate::meter::{Event, Kind, Meter};
use crate::support::Choices;
use eddy_cache::disk::{Disk, DiskFile, Lock, OpenFile, Volume};
use medium::{Change, Fate, Inode, Medium, Node};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a disk that was given no other size.
const ROOMY: u64 = 1 << 40;

/// A simulated machine's disk, from one power cut to the next.
#[derive(Clone)]
pub(crate) struct SimDisk {
    machine: Arc<Mutex<Machine>>,
    life: u64,
}

struct Machine {
    medium: Medium,
    meter: Meter,
    /// How often the power came; disks and files of an earlier life are dead.
    life: u64,
    locks: BTreeSet<PathBuf>,
    choices: Choices,
    size: u64,
    /// What is refused for good: operations of these kinds on this path and what is under it.
    forbidden: Vec<(&'static [Kind], PathBuf)>,
    /// All operations so far: their kinds, names, places and lengths.
    trace: DefaultHasher,
    record: Option<Vec<Change>>,
}

/// An open file of a simulated disk.
struct SimFile {
    disk: SimDisk,
    inode: Inode,
    path: PathBuf,
}

impl SimDisk {
    /// An empty disk; `seed` draws whatever is left to chance.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(Medium::new(), seed)
    }

    /// A disk with this content.
    pub(crate) fn with(medium: Medium, seed: u64) -> Self {
        let machine = Machine {
            medium,
            meter: Meter::default(),
            life: 0,
            locks: BTreeSet::new(),
            choices: Choices(seed),
            size: ROOMY,
            forbidden: Vec::new(),
            trace: DefaultHasher::new(),
            record: None,
        };
        Self { machine: Arc::new(Mutex::new(machine)), life: 0 }
    }

    /// The disk as the store wants it.
    pub(crate) fn share(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Begins to write down every change.
    pub(crate) fn record(&self) {
        self.machine().record = Some(Vec::new());
    }

    /// The changes since [`Self::record`].
    pub(crate) fn recorded(&self) -> Vec<Change> {
        self.machine().record.take().unwrap_or_default()
    }

    /// How many changes are recorded.
    pub(crate) fn record_length(&self) -> usize {
        self.machine().record.as_ref().map_or(0, Vec::len)
    }

    /// What is on it.
    pub(crate) fn medium(&self) -> Medium {
        self.machine().medium.clone()
    }

    /// Looks at the counters, or gives an order.
    pub(crate) fn meter<T>(&self, work: impl FnOnce(&mut Meter) -> T) -> T {
        work(&mut self.machine().meter)
    }

    /// Sets the size of the disk, in bytes.
    pub(crate) fn resize(&self, size: u64) {
        self.machine().size = size;
    }

    /// Refuses operations of these kinds on a path, and on what is under it, until [`Self::allow_all`].
    pub(crate) fn forbid(&self, kinds: &'static [Kind], path: &Path) {
        self.machine().forbidden.push((kinds, path.to_owned()));
    }

    /// Refuses nothing more by its path.
    pub(crate) fn allow_all(&self) {
        self.machine().forbidden.clear();
    }

    /// Whether the power went in the middle of something.
    pub(crate) fn is_dead(&self) -> bool {
        self.machine().life != self.life
    }

    /// Cuts the power, unless it is gone already, and gives the disk as it is found when it comes back.
    pub(crate) fn cut(&self, fate: Fate) -> Self {
        let mut machine = self.machine();
        if machine.life == self.life {
            machine.cut(fate);
        }
        machine.meter.order(None);
        let life = machine.life;
        drop(machine);
        Self { machine: Arc::clone(&self.machine), life }
    }

    /// A number that two runs share only when they asked the same of the disk in the same order.
    pub(crate) fn trace(&self) -> u64 {
        self.machine().trace.finish()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an operation; refuses it when that is the order, or the power is off.
    fn enter(
        &self,
        kind: Kind,
        path: &Path,
        place: (u64, u64),
    ) -> io::Result<(MutexGuard<'_, Machine>, Option<Event>)> {
        let mut machine = self.machine();
        if machine.life != self.life {
            return Err(Errno::IO.into());
        }
        machine.note(kind, path, place);
        if machine.forbidden.iter().any(|(kinds, under)| kinds.contains(&kind) && path.starts_with(under)) {
            return Err(Errno::ACCESS.into());
        }
        match machine.meter.step(kind) {
            Some(Event::PowerCut) => {
                let seed = machine.choices.below(u64::MAX);
                machine.cut(Fate::Drawn(seed));
                Err(Errno::IO.into())
            }
            // What is refused half-way is the caller's business.
            Some(Event::Refuse(errno)) if !matches!(kind, Kind::Write | Kind::Sync) => Err(errno.into()),
            event => Ok((machine, event)),
        }
    }
}

impl Machine {
    fn apply(&mut self, change: Change) {
        self.medium.apply(&change);
        if let Some(record) = &mut self.record {
            record.push(change);
        }
    }

    fn cut(&mut self, fate: Fate) {
        self.medium.cut(fate);
        self.life += 1;
        self.locks.clear();
    }

    fn note(&mut self, kind: Kind, path: &Path, place: (u64, u64)) {
        // Times stand in names; two runs differ in them.
        let text = path.to_string_lossy();
        let timeless: String = text.split(|c: char| c.is_ascii_digit()).collect::<Vec<_>>().join("#");
        (kind, timeless, place).hash(&mut self.trace);
    }

    /// Whether the disk can take a file of this length in place of one of that.
    fn has_room(&self, before: u64, after: u64) -> bool {
        after <= before || self.medium.used() + (after - before) <= self.size
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimDisk").field("life", &self.life).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimFile").field("path", &self.path).finish_non_exhaustive()
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

/// The time beside every disk of these tests, in seconds: it stands still, so that the same steps evict the same entities.
pub(crate) const STANDING_TIME: i64 = 1_800_000_000;

impl Disk for SimDisk {
    fn clock(&self) -> i64 {
        STANDING_TIME
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let (mut machine, _) = self.enter(Kind::MakeDirectory, path, (0, 0))?;
        machine.apply(Change::MakeDirectory(path.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let (mut machine, event) = self.enter(Kind::SyncDirectory, path, (0, 0))?;
        if machine.medium.node(path) != Some(Node::Directory) {
            return Err(missing());
        }
        if event != Some(Event::Lie) {
            machine.apply(Change::SyncDirectory(path.to_owned()));
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<OpenFile> {
        let (mut machine, _) = self.enter(Kind::Create, path, (0, 0))?;
        if path.parent().and_then(|parent| machine.medium.node(parent)) != Some(Node::Directory) {
            return Err(missing());
        }
        if machine.medium.node(path).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        machine.apply(Change::Create(path.to_owned()));
        let node = machine.medium.node(path);
        drop(machine);
        self.file(path, node)
    }

    fn open(&self, path: &Path) -> io::Result<OpenFile> {
        let (machine, _) = self.enter(Kind::Open, path, (0, 0))?;
        let node = machine.medium.node(path);
        drop(machine);
        self.file(path, node)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut machine, _) = self.enter(Kind::Rename, from, (0, 0))?;
        machine.medium.node(from).ok_or_else(missing)?;
        machine.apply(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let (mut machine, _) = self.enter(Kind::Unlink, path, (0, 0))?;
        if machine.medium.node(path).ok_or_else(missing)? == Node::Directory {
            return Err(Errno::ISDIR.into());
        }
        machine.apply(Change::Unlink(path.to_owned()));
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let (machine, _) = self.enter(Kind::List, directory, (0, 0))?;
        match machine.medium.node(directory) {
            Some(Node::Directory) => Ok(machine.medium.list(directory)),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(missing()),
        }
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let (machine, _) = self.enter(Kind::Measure, path, (0, 0))?;
        match machine.medium.node(path).ok_or_else(missing)? {
            Node::File(inode) => Ok(machine.medium.bytes(inode).len() as u64),
            Node::Directory => Ok(4096),
        }
    }

    fn volume(&self, path: &Path) -> io::Result<Volume> {
        let (machine, _) = self.enter(Kind::Volume, path, (0, 0))?;
        Ok(Volume { total: machine.size, available: machine.size.saturating_sub(machine.medium.used()) })
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let (mut machine, _) = self.enter(Kind::Lock, path, (0, 0))?;
        if !machine.locks.insert(path.to_owned()) {
            return Ok(Lock::Theirs(None));
        }
        drop(machine);
        Ok(Lock::Ours(Box::new(SimLock { disk: self.clone(), path: path.to_owned() })))
    }
}

impl SimDisk {
    fn file(&self, path: &Path, node: Option<Node>) -> io::Result<OpenFile> {
        match node.ok_or_else(missing)? {
            Node::File(inode) => Ok(Arc::new(SimFile { disk: self.clone(), inode, path: path.to_owned() })),
            Node::Directory => Err(Errno::ISDIR.into()),
        }
    }
}

/// A held lock.
struct SimLock {
    disk: SimDisk,
    path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut machine = self.disk.machine();
        if machine.life == self.disk.life {
            machine.locks.remove(&self.path);
        }
    }
}

impl SimFile {
    fn enter(&self, kind: Kind, place: (u64, u64)) -> io::Result<(MutexGuard<'_, Machine>, Option<Event>)> {
        self.disk.enter(kind, &self.path, place)
    }

    fn grow(&self, kind: Kind, length: u64) -> io::Result<()> {
        let (mut machine, _) = self.enter(kind, (0, length))?;
        let before = machine.medium.bytes(self.inode).len() as u64;
        if !machine.has_room(before, length) {
            return Err(Errno::NOSPC.into());
        }
        // What is set aside never makes a file shorter.
        if kind == Kind::SetLength || length > before {
            machine.apply(Change::SetLength(self.inode, length));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut machine, event) = self.enter(Kind::Sync, (0, 0))?;
        match event {
            Some(Event::Refuse(errno)) => {
                let Machine { medium, choices, .. } = &mut *machine;
                medium.fail_sync(self.inode, choices);
                if choices.below(2) == 0 {
                    // The pages that were marked clean are needed for something else.
                    medium.drop_cached(self.inode);
                }
                return Err(errno.into());
            }
            Some(Event::Lie) => machine.medium.forget_unsynced(self.inode),
            _ => machine.apply(Change::Sync(self.inode)),
        }
        Ok(())
    }

    fn write(&self, machine: &mut Machine, offset: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            machine.apply(Change::Write(self.inode, offset, bytes.into()));
        }
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let (machine, _) = self.enter(Kind::Read, (offset, into.len() as u64))?;
        let bytes = machine.medium.bytes(self.inode);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut machine, event) = self.enter(Kind::Write, (offset, bytes.len() as u64))?;
        let before = machine.medium.bytes(self.inode).len() as u64;
        let full = !machine.has_room(before, offset + bytes.len() as u64);
        match event {
            Some(Event::Lie) => return Ok(()),
            Some(Event::Misdirect) => {
                let sectors = (before / medium::SECTOR).max(1);
                let elsewhere = machine.choices.below(sectors) * medium::SECTOR;
                let end = (before.saturating_sub(elsewhere) as usize).min(bytes.len());
                self.write(&mut machine, elsewhere, &bytes[..end]);
                return Ok(());
            }
            Some(Event::Refuse(errno)) => {
                let done = machine.choices.below(bytes.len() as u64 + 1) as usize;
                self.write(&mut machine, offset, &bytes[..done]);
                return Err(errno.into());
            }
            _ if full => return Err(Errno::NOSPC.into()),
            _ => self.write(&mut machine, offset, bytes),
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let (machine, _) = self.enter(Kind::Measure, (0, 0))?;
        Ok(machine.medium.bytes(self.inode).len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.grow(Kind::SetLength, length)
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.grow(Kind::Preallocate, length)
    }

    fn sync_bytes(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}
