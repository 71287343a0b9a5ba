//! What lies on a simulated disk: for each file and name what is durable, what is only in memory, and what a power cut
//! leaves of the difference.
//!
//! A file's unsynced writes are kept apart until it is synced. At a cut each of them survives, is lost, or is torn at
//! sectors of 512 bytes, and of a sector that was written several times any version may be the one that is there. Names
//! are durable when their directory was synced; until then each change of a name survives or not, whatever became of
//! the changes before it. A rename survives wholly or not at all, as on every file system with a journal.

use crate::support::Choices;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes that a disk writes wholly or not at all.
pub(crate) const SECTOR: u64 = 512;

/// Names a file whatever it is called.
pub(crate) type Inode = u64;

/// What a power cut does to what is not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All of it is lost.
    Lost,
    /// All of it survives, as after the death of the process alone.
    Kept,
    /// Each part of it meets its own fate, drawn from this seed.
    Drawn(u64),
}

/// One change of a disk.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    MakeDirectory(PathBuf),
    SyncDirectory(PathBuf),
    Create(PathBuf),
    Rename(PathBuf, PathBuf),
    Unlink(PathBuf),
    Write(Inode, u64, Arc<[u8]>),
    SetLength(Inode, u64),
    Sync(Inode),
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File(Inode),
}

pub(super) type Names = BTreeMap<PathBuf, Node>;

/// A change of names that is not durable yet.
#[derive(Debug, Clone)]
enum NameChange {
    Put(PathBuf, Node),
    Take(PathBuf),
    Move(PathBuf, PathBuf, Node),
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            Self::Put(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Take(path) => drop(names.remove(path)),
            Self::Move(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }

    fn is_in(&self, directory: &Path) -> bool {
        let is_child = |path: &Path| path.parent() == Some(directory);
        match self {
            Self::Put(path, _) | Self::Take(path) => is_child(path),
            Self::Move(from, to, _) => is_child(from) || is_child(to),
        }
    }
}

/// The bytes of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// What a reader sees.
    pub(super) cached: Vec<u8>,
    /// What is there after a power cut that loses everything.
    pub(super) durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Debug, Clone)]
enum Unsynced {
    Write(u64, Arc<[u8]>),
    Length(u64),
}

impl Unsynced {
    /// Does it to `bytes`; gives the range of bytes that this changed.
    fn apply(&self, bytes: &mut Vec<u8>) -> std::ops::Range<u64> {
        let before = bytes.len() as u64;
        match self {
            Self::Write(offset, new) => {
                let end = *offset as usize + new.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset as usize..end].copy_from_slice(new);
                *offset..end as u64
            }
            Self::Length(length) => {
                bytes.resize(*length as usize, 0);
                (*length).min(before)..before
            }
        }
    }
}

/// A disk's content.
#[derive(Debug, Clone, Default)]
pub(crate) struct Medium {
    pub(super) files: BTreeMap<Inode, Content>,
    pub(super) cached: Names,
    pub(super) durable: Names,
    changes: Vec<NameChange>,
    pub(super) last: Inode,
}

impl Medium {
    /// A disk with nothing but its root.
    pub(crate) fn new() -> Self {
        let root: Names = [(PathBuf::from("/"), Node::Directory)].into();
        Self { cached: root.clone(), durable: root, ..Self::default() }
    }

    /// What stands at a path.
    pub(crate) fn node(&self, path: &Path) -> Option<Node> {
        self.cached.get(path).copied()
    }

    /// The names in a directory.
    pub(crate) fn list(&self, directory: &Path) -> Vec<String> {
        let children = self.cached.keys().filter(|path| path.parent() == Some(directory));
        children.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect()
    }

    /// The files that have names, by path.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Inode)> {
        let inode = |(path, node): (&PathBuf, &Node)| match node {
            Node::File(inode) => Some((path.clone(), *inode)),
            Node::Directory => None,
        };
        self.cached.iter().filter_map(inode).collect()
    }

    /// The bytes of a file as a reader sees them.
    pub(crate) fn bytes(&self, inode: Inode) -> &[u8] {
        self.files.get(&inode).map_or(&[], |content| &content.cached)
    }

    /// Bytes of all files that have names.
    pub(crate) fn used(&self) -> u64 {
        self.files().into_iter().map(|(_, inode)| self.bytes(inode).len() as u64).sum()
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::MakeDirectory(path) => {
                for directory in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
                    if self.node(directory).is_none() {
                        self.rename(NameChange::Put(directory.to_owned(), Node::Directory));
                    }
                }
            }
            Change::SyncDirectory(path) => {
                let (now, later) = std::mem::take(&mut self.changes).into_iter().partition(|change| change.is_in(path));
                self.changes = later;
                let now: Vec<NameChange> = now;
                now.iter().for_each(|change| change.apply(&mut self.durable));
            }
            Change::Create(path) => {
                self.last += 1;
                self.files.insert(self.last, Content::default());
                self.rename(NameChange::Put(path.clone(), Node::File(self.last)));
            }
            Change::Rename(from, to) => {
                if let Some(node) = self.node(from) {
                    self.rename(NameChange::Move(from.clone(), to.clone(), node));
                }
            }
            Change::Unlink(path) => self.rename(NameChange::Take(path.clone())),
            Change::Write(inode, offset, bytes) => self.write(*inode, Unsynced::Write(*offset, Arc::clone(bytes))),
            Change::SetLength(inode, length) => self.write(*inode, Unsynced::Length(*length)),
            Change::Sync(inode) => {
                if let Some(content) = self.files.get_mut(inode) {
                    content.sync();
                }
            }
        }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.cached);
        self.changes.push(change);
    }

    fn write(&mut self, inode: Inode, write: Unsynced) {
        if let Some(content) = self.files.get_mut(&inode) {
            write.apply(&mut content.cached);
            content.unsynced.push(write);
        }
    }

    /// What a failed sync does (C-08): some of the writes reached the disk, none is tried again, and the memory goes on
    /// showing all of them.
    pub(crate) fn fail_sync(&mut self, inode: Inode, choices: &mut Choices) {
        if let Some(content) = self.files.get_mut(&inode) {
            content.settle(choices.below(u64::MAX));
        }
    }

    /// What a disk does that says it has synced and has not.
    pub(crate) fn forget_unsynced(&mut self, inode: Inode) {
        if let Some(content) = self.files.get_mut(&inode) {
            content.unsynced.clear();
        }
    }

    /// Takes what is in memory of a file and on no disk, nor waiting to be written there, out of memory.
    pub(crate) fn drop_cached(&mut self, inode: Inode) {
        if let Some(content) = self.files.get_mut(&inode) {
            content.cached.clone_from(&content.durable);
            for write in &content.unsynced {
                write.apply(&mut content.cached);
            }
        }
    }

    /// Cuts the power: what is there afterwards is durable.
    pub(crate) fn cut(&mut self, fate: Fate) {
        let mut choices = Choices(if let Fate::Drawn(seed) = fate { seed } else { 0 });
        for content in self.files.values_mut() {
            match fate {
                Fate::Lost => content.unsynced.clear(),
                Fate::Kept => content.sync(),
                Fate::Drawn(_) => content.settle(choices.below(u64::MAX)),
            }
            content.cached.clone_from(&content.durable);
        }
        for change in self.changes.drain(..) {
            let survives = match fate {
                Fate::Lost => false,
                Fate::Kept => true,
                Fate::Drawn(_) => choices.below(2) == 0,
            };
            if survives {
                change.apply(&mut self.durable);
            }
        }
        // Whatever stands in a directory that is lost cannot be reached any more.
        let names = self.durable.clone();
        let is_directory = |path: &Path| names.get(path) == Some(&Node::Directory);
        self.durable.retain(|path, _| path.ancestors().skip(1).all(is_directory));
        self.cached.clone_from(&self.durable);
        let linked: Vec<Inode> = self.files().into_iter().map(|(_, inode)| inode).collect();
        self.files.retain(|inode, _| linked.contains(inode));
    }
}

impl Content {
    /// Bytes that are durable.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), durable: bytes, unsynced: Vec::new() }
    }

    /// Brings all writes to the disk.
    fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            write.apply(&mut self.durable);
        }
    }

    /// Brings some of the unsynced writes to the disk and forgets the others.
    fn settle(&mut self, seed: u64) {
        if self.unsynced.is_empty() {
            return;
        }
        let mut choices = Choices(seed);
        let mut lengths = vec![self.durable.len()];
        // What the memory showed after each write; of that the disk may have taken any sector at any time.
        let mut shown = self.durable.clone();
        let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
        for write in std::mem::take(&mut self.unsynced) {
            let changed = write.apply(&mut shown);
            lengths.push(shown.len());
            if self.durable.len() < shown.len() {
                self.durable.resize(shown.len(), 0);
            }
            let sectors = changed.start / SECTOR..changed.end.div_ceil(SECTOR);
            let tear = Tear::draw(&mut choices, sectors.end - sectors.start);
            for sector in sectors.clone() {
                if !tear.takes(sector - sectors.start, &mut choices) {
                    continue;
                }
                let taken = versions.entry(sector).or_default();
                *taken += 1;
                if choices.below(*taken) == 0 {
                    let (from, to) = ((sector * SECTOR) as usize, ((sector + 1) * SECTOR) as usize);
                    let end = to.min(self.durable.len());
                    for at in from.min(end)..end {
                        self.durable[at] = shown.get(at).copied().unwrap_or(0);
                    }
                }
            }
        }
        let length = lengths[choices.below(lengths.len() as u64) as usize];
        self.durable.truncate(length);
        self.durable.resize(length, 0);
    }
}

/// Which sectors of a write reach the disk.
enum Tear {
    None,
    All,
    Before(u64),
    From(u64),
    Some,
}

impl Tear {
    fn draw(choices: &mut Choices, sectors: u64) -> Self {
        match choices.below(10) {
            0..=2 => Self::None,
            3..=5 => Self::All,
            6 | 7 => Self::Before(choices.below(sectors + 1)),
            8 => Self::From(choices.below(sectors + 1)),
            _ => Self::Some,
        }
    }

    fn takes(&self, sector: u64, choices: &mut Choices) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Before(end) => sector < *end,
            Self::From(start) => sector >= *start,
            Self::Some => choices.below(2) == 0,
        }
    }
}
