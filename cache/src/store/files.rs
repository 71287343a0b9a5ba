//! Where the files of the store lie and what they are called.
//!
//! `entities/<first two hex digits>/<id>-<generation>.data` and `.outboard`; `quarantine/` for what nobody claims.

use crate::content::FilePair;
use crate::direct::BlockFile;
use crate::disk::{self, Disk};
use crate::fault::{DiskFault, FaultKind};
use crate::outboard::{Header, Layout};
use crate::row::EntityRecord;
use eddy_content::{EntityId, Geometry};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// No file has a number from here on: one each nanosecond would take a century to get there. A name that has is not ours, and must not
/// bring the numbering to its end.
const GENERATIONS: u64 = 1 << 62;
/// The name of the index.
pub(super) const INDEX: &str = "index.redb";

/// The directory tree of a store.
#[derive(Clone)]
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Directories of files whose names this process has made durable; at most 256.
    durable: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The two files of one entity.
pub(crate) struct Pair {
    pub(crate) data: PathBuf,
    pub(crate) outboard: PathBuf,
    pub(crate) directory: PathBuf,
}

/// What a file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) id: EntityId,
    pub(crate) generation: u64,
}

impl Name {
    /// Reads `<id>-<generation>.<kind>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (stem, kind) = text.rsplit_once('.')?;
        let (id, generation) = stem.split_once('-')?;
        matches!(kind, "data" | "outboard").then_some(())?;
        let generation = generation.parse().ok().filter(|generation| *generation < GENERATIONS)?;
        Some(Self { id: id.parse().ok()?, generation })
    }
}

impl Files {
    /// The tree as it stands, for whoever only looks.
    pub(crate) fn at(disk: Arc<dyn Disk>, root: &Path) -> Self {
        Self { disk, root: root.to_owned(), durable: Arc::default() }
    }

    pub(crate) fn new(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, DiskFault> {
        let files = Self::at(disk, root);
        disk::make_directory(&*files.disk, &files.entities())?;
        disk::make_directory(&*files.disk, &files.quarantine())?;
        disk::sync_directory(&*files.disk, root)?;
        Ok(files)
    }

    /// Makes the directory of a store with its parents, so that a power cut cannot take it away with all that it holds.
    ///
    /// A parent that is there may have been made by a process that did not live to make it durable.
    pub(crate) fn make_root(disk: &dyn Disk, root: &Path) -> Result<(), DiskFault> {
        disk::make_directory(disk, root)?;
        for parent in root.ancestors().skip(1) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            match disk::sync_directory(disk, parent) {
                // What may be searched and not read, or cannot be synced, is not ours, and its owner's to keep.
                Err(fault) if matches!(fault.kind(), FaultKind::Denied | FaultKind::Other) => {}
                other => other?,
            }
        }
        Ok(())
    }

    /// The disk that they are on.
    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    pub(crate) fn entities(&self) -> PathBuf {
        self.root.join("entities")
    }

    pub(crate) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The files of one generation of an entity.
    pub(crate) fn pair(&self, id: &EntityId, generation: u64) -> Pair {
        let directory = self.entities().join(format!("{:02x}", id.0[0]));
        let stem = format!("{id}-{generation}");
        Pair {
            data: directory.join(format!("{stem}.data")),
            outboard: directory.join(format!("{stem}.outboard")),
            directory,
        }
    }

    /// Makes the files of a new entity, durable with their names before anything refers to them (C-02).
    pub(crate) fn make(&self, record: &EntityRecord, geometry: &Geometry) -> Result<FilePair, DiskFault> {
        let pair = self.pair(&record.id(), record.generation);
        let made = self.make_pair(&pair, record, geometry);
        if let Err(fault) = &made
            && fault.source.kind() != ErrorKind::AlreadyExists
        {
            // Nothing refers to them yet; what cannot be removed either is an orphan of the next sweep.
            self.unlink(&[pair]);
        }
        made
    }

    fn make_pair(&self, pair: &Pair, record: &EntityRecord, geometry: &Geometry) -> Result<FilePair, DiskFault> {
        let disk = &*self.disk;
        self.make_shard(pair)?;
        let data = disk::create(disk, &pair.data)?;
        disk::preallocate(&*data, &pair.data, geometry.length())?;
        disk::sync_all(&*data, &pair.data)?;
        let outboard = disk::create(disk, &pair.outboard)?;
        let header = Header::of(record).encode();
        let layout = Layout::new(header.len() as u64, geometry);
        disk::write_at(&*outboard, &pair.outboard, &header, 0)?;
        disk::preallocate(&*outboard, &pair.outboard, layout.statements())?;
        disk::sync_all(&*outboard, &pair.outboard)?;
        disk::sync_directory(disk, &pair.directory)?;
        let data = BlockFile::new(&self.disk, &pair.data, data, geometry.length());
        Ok(FilePair { data, outboard: BlockFile::new(&self.disk, &pair.outboard, outboard, 0), layout })
    }

    /// Makes the directory that a pair is in. One that is there may have been made by a process that did not live to make
    /// it durable, so each is made durable once by every process that puts something into it.
    pub(crate) fn make_shard(&self, pair: &Pair) -> Result<(), DiskFault> {
        let disk = &*self.disk;
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if disk::length(disk, &pair.directory)?.is_none() {
            durable.remove(&pair.directory);
            disk::make_directory(disk, &pair.directory)?;
        }
        if !durable.contains(&pair.directory) {
            disk::sync_directory(disk, &self.entities())?;
            durable.insert(pair.directory.clone());
        }
        Ok(())
    }

    /// Notes in the outboard that an entity turned private, so that one made again from its files is private, too.
    pub(crate) fn mark_private(&self, record: &EntityRecord) -> Result<(), DiskFault> {
        let path = self.pair(&record.id(), record.generation).outboard;
        match disk::open(&*self.disk, &path)? {
            Some(outboard) => Header::mark_private(&*outboard, &path),
            None => Ok(()),
        }
    }

    /// Opens the files of an entity; `None` when they are not what its row says.
    pub(crate) fn open(&self, record: &EntityRecord, geometry: &Geometry) -> Result<Option<FilePair>, DiskFault> {
        let pair = self.pair(&record.id(), record.generation);
        let (Some(data), Some(outboard)) =
            (disk::open(&*self.disk, &pair.data)?, disk::open(&*self.disk, &pair.outboard)?)
        else {
            return Ok(None);
        };
        let length = data.length().map_err(|e| DiskFault::new("measure", &pair.data, e))?;
        let header = Header::read(&*outboard, &pair.outboard)?;
        let Some((header, header_length)) = header else { return Ok(None) };
        if length != geometry.length() || header.generation != record.generation || header.entity != record.entity {
            return Ok(None);
        }
        let layout = Layout::new(header_length, geometry);
        let data = BlockFile::new(&self.disk, &pair.data, data, length);
        let outboard = BlockFile::new(&self.disk, &pair.outboard, outboard, 0);
        Ok(Some(FilePair { data, outboard, layout }))
    }

    /// Deletes what lies in quarantine, whatever its age. What the disk keeps stays there.
    pub(crate) fn empty_quarantine(&self) {
        let directory = self.quarantine();
        let empty = |name: String| disk::unlink(&*self.disk, &directory.join(name));
        let refused = match disk::list(&*self.disk, &directory) {
            Ok(names) => names.into_iter().fold(None, |refused, name| empty(name).err().or(refused)),
            Err(fault) => Some(fault),
        };
        if let Some(error) = refused {
            tracing::debug!(%error, "something stays in the quarantine of the cache");
        }
    }

    /// Removes the files of entities, durably: one sync for each directory that they lay in. Says of each pair whether it went:
    /// one that the disk keeps stops no other.
    pub(crate) fn unlink(&self, pairs: &[Pair]) -> Vec<Result<(), DiskFault>> {
        let disk = &*self.disk;
        let unlink = |pair: &Pair| disk::unlink(disk, &pair.data).and(disk::unlink(disk, &pair.outboard));
        let unlinked: Vec<_> = pairs.iter().map(unlink).collect();
        let directories: BTreeSet<&PathBuf> = pairs.iter().map(|pair| &pair.directory).collect();
        let sync = |directory: &PathBuf| match disk::length(disk, directory)? {
            Some(_) => disk::sync_directory(disk, directory),
            None => Ok(()),
        };
        let synced: BTreeMap<_, _> = directories.into_iter().map(|directory| (directory, sync(directory))).collect();
        let settle = |(pair, unlinked): (&Pair, Result<(), DiskFault>)| {
            unlinked.and_then(|()| synced.get(&pair.directory).cloned().unwrap_or(Ok(())))
        };
        pairs.iter().zip(unlinked).map(settle).collect()
    }

    /// Whether both files of an entity are there, and the data file has its length (C-07).
    pub(crate) fn are_whole(&self, record: &EntityRecord) -> Result<bool, DiskFault> {
        let pair = self.pair(&record.id(), record.generation);
        let is_long_enough = disk::length(&*self.disk, &pair.data)? == Some(record.entity.length);
        Ok(is_long_enough && disk::length(&*self.disk, &pair.outboard)?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_says_what_it_is_of() {
        let id = EntityId([7; 32]);
        assert_eq!(Name::parse(&format!("{id}-12.data")), Some(Name { id, generation: 12 }));
        let beyond = [GENERATIONS, u64::MAX].map(|generation| format!("{id}-{generation}.data"));
        let wrong = [format!("{id}.data"), format!("{id}-x.data"), format!("{id}-1.tmp"), "a-1.data".to_owned()];
        for wrong in wrong.into_iter().chain(beyond) {
            assert_eq!(Name::parse(&wrong), None, "{wrong}");
        }
    }
}
