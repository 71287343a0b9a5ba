//! The way back from a lost index: entities made again from their files alone (C-22).
//!
//! An outboard names its entity wholly, and has a hash for every block that was ever acknowledged. So a pair of files that no
//! row speaks of is *adopted*: it gets a row, with nothing held. Blocks become held one by one as they are *proved*: read,
//! hashed, and found to be what the outboard says. The sweep adopts, the store's own thread proves behind it, and neither
//! keeps the store from opening. Every step may be cut short and comes again (C-23).
//!
//! What the files do not say is lost with the index: which blocks this node fetched itself (so it signs none of them),
//! pins, uses, later names, and the ledger, which begins anew. What was made private later is marked in the outboard.

use crate::Store;
use crate::aligned::AlignedBuffer;
use crate::content::{Content, FilePair};
use crate::direct::BlockFile;
use crate::disk::{self, Disk};
use crate::fault::{DiskFault, StoreError};
use crate::handle::EntityHandle;
use crate::index::Change;
use crate::outboard::{Header, Layout};
use crate::row::{self, EntityRecord, NewEntity, Place};
use crate::store::{Files, Name, Pair, Stock, wall_clock};
use eddy_content::{BlockHash, BlockSet, EntityId, Geometry, tree};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Blocks that are proved under one hold of the lock of admissions: 2 MiB.
const SLICE: u32 = 32;
/// Block hashes that are looked at together.
const HASHES: u32 = 4096;
/// Entities that are remembered because somebody had them open: one of them that was let go of begins another pass.
const MOST_PASSED: usize = 1024;

/// Data and outboard of a pair: where each is, and where it belongs.
type Moves = [(PathBuf, PathBuf); 2];

/// What a rebuild found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RebuildReport {
    /// Entities that were made again from their files.
    pub adopted: u64,
    /// Blocks that were found to be what their outboards say, and are held again.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// What became of a pair of files that no row speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adoption {
    /// It has a row.
    Adopted,
    /// It is no whole pair.
    NotWhole,
    /// No block of it was ever acknowledged.
    Empty,
    /// The entity is here under another generation.
    Taken,
}

impl Store {
    /// Makes entities again from files that no row speaks of, and proves their blocks, now and to the end; else the store's
    /// thread does so, slowly. What somebody has open is left to it.
    pub fn rebuild(&self) -> Result<RebuildReport, StoreError> {
        let (stock, mut report) = (self.stock(), RebuildReport::default());
        report.adopted = self.sweep()?.adopted;
        let mut prover = Prover::default();
        while prover.step(stock)? {}
        (report.blocks, report.bytes) = (prover.blocks, prover.bytes);
        Ok(report)
    }
}

/// Gives a pair of files a row, with nothing held. The caller has the lock of admissions.
pub(crate) fn adopt(stock: &Stock, name: &Name) -> Result<Adoption, StoreError> {
    if stock.index.record(&name.id)?.is_some() {
        return Ok(Adoption::Taken);
    }
    let Some((record, geometry)) = read_record(&stock.files, name)? else { return Ok(Adoption::NotWhole) };
    let Some(FilePair { outboard, layout, .. }) = stock.files.open(&record, &geometry)? else {
        return Ok(Adoption::NotWhole);
    };
    if !has_hashes(&outboard, &layout, &geometry)? {
        return Ok(Adoption::Empty);
    }
    tracing::info!(entity = %record.entity.url, "a cached entity is made again from its files");
    let named = row::name_of(&record.requested_url);
    let mut changes = vec![Change::Entity(Box::new(record.clone()), named), Change::Unproven];
    changes.extend(stock.lookup_change(&record));
    stock.committer.commit(changes)?;
    stock.note_adoption();
    stock.saw_generation(name.generation);
    Ok(Adoption::Adopted)
}

/// The record of an entity as its outboard describes it.
pub(crate) fn read_record(files: &Files, name: &Name) -> Result<Option<(EntityRecord, Geometry)>, DiskFault> {
    let pair = files.pair(&name.id, name.generation);
    let Some(outboard) = disk::open(&**files.disk(), &pair.outboard)? else { return Ok(None) };
    let Some((header, privacy)) = Header::read_with_privacy(&*outboard, &pair.outboard)? else { return Ok(None) };
    let Some(geometry) = Geometry::new(header.entity.length) else { return Ok(None) };
    if header.generation != name.generation || header.entity.id() != name.id {
        return Ok(None);
    }
    let new = NewEntity {
        entity: header.entity,
        requested_url: header.requested_url,
        privacy,
        last_modified: header.last_modified,
        digests: header.digests,
        // Whatever may be used without asking was known to the index alone.
        freshness: None,
    };
    Ok(Some((EntityRecord::admit(&new, Place::Files, name.generation, wall_clock()), geometry)))
}

impl EntityHandle {
    /// Whether the entity was made again from its files and has blocks that are not proved yet: they are here, though not held.
    pub fn is_unproven(&self) -> Result<bool, StoreError> {
        let shared = self.shared();
        let Content::Files(FilePair { outboard, layout, .. }) = &shared.content else { return Ok(false) };
        let is_behind = |cursor: Vec<u8>| shared.id.0.as_slice() > cursor.as_slice();
        let is_left = shared.core.index.unproven()?.is_some_and(is_behind);
        Ok(is_left && !self.is_complete() && has_hashes(outboard, layout, &self.geometry())?)
    }
}

/// Whether a hash of any block was ever written: then it was acknowledged, or as good as that.
fn has_hashes(outboard: &BlockFile, layout: &Layout, geometry: &Geometry) -> Result<bool, DiskFault> {
    let mut start = 0;
    while start < geometry.block_count() {
        let end = geometry.block_count().min(start + HASHES);
        if layout.read_hashes(&*outboard.file(), &outboard.path, start..end)?.iter().any(is_written) {
            return Ok(true);
        }
        start = end;
    }
    Ok(false)
}

fn is_written(hash: &BlockHash) -> bool {
    hash.0 != [0; 32]
}

/// Files of one pair in the quarantine: what each was called, and where it lies.
type Aside = Vec<(String, PathBuf)>;

/// Moves whole pairs out of the quarantine and adopts them; says how many, and what the disk said where it refused one.
pub(crate) fn reclaim_quarantine(stock: &Stock) -> Result<(u64, Vec<DiskFault>), StoreError> {
    let disk = &**stock.files.disk();
    let mut pairs: BTreeMap<(EntityId, u64), Aside> = BTreeMap::new();
    // Whoever empties it meets a refusal, and says so.
    for name in disk::list(disk, &stock.files.quarantine()).unwrap_or_default() {
        let Some((_, original)) = name.split_once('.') else { continue };
        let Some(parsed) = Name::parse(original) else { continue };
        let path = stock.files.quarantine().join(&name);
        pairs.entry((parsed.id, parsed.generation)).or_default().push((original.to_owned(), path));
    }
    let (mut adopted, mut refused) = (0, Vec::new());
    // The latest generation of an entity first: the others find it taken.
    for ((id, generation), files) in pairs.into_iter().rev() {
        let _one = stock.admit();
        match reclaim(stock, &Name { id, generation }, &files) {
            Ok(adoption) => adopted += u64::from(adoption == Adoption::Adopted),
            Err(StoreError::Disk(fault)) => refused.push(fault),
            Err(error) => return Err(error),
        }
    }
    Ok((adopted, refused))
}

/// Moves a whole pair out of the quarantine and adopts it.
fn reclaim(stock: &Stock, name: &Name, files: &Aside) -> Result<Adoption, StoreError> {
    let disk = &**stock.files.disk();
    let pair = stock.files.pair(&name.id, name.generation);
    let Some(moves) = moves_to(disk, &pair, files)? else { return Ok(Adoption::NotWhole) };
    if stock.index.record(&name.id)?.is_some() {
        return Ok(Adoption::Taken);
    }
    if !is_worth_a_row(stock, &moves)? {
        return Ok(Adoption::NotWhole);
    }
    stock.files.make_shard(&pair)?;
    for (from, to) in moves.iter().filter(|(from, to)| from != to) {
        disk::rename(disk, from, to)?;
    }
    disk::sync_directory(disk, &pair.directory)?;
    disk::sync_directory(disk, &stock.files.quarantine())?;
    adopt(stock, name)
}

/// Where the data and the outboard of a pair are, and where they belong; `None` unless each is there once. One of them may be where
/// it belongs, while the other lies in the quarantine: a process that moved them was killed in between.
fn moves_to(disk: &dyn Disk, pair: &Pair, aside: &[(String, PathBuf)]) -> Result<Option<Moves>, DiskFault> {
    let from = |kind: &str, to: &Path| {
        let mut found = aside.iter().filter(|(original, _)| original.ends_with(kind)).map(|(_, path)| path);
        let is_there = disk::length(disk, to)?.is_some();
        Ok(match (found.next(), found.next(), is_there) {
            (Some(path), None, false) => Some(path.clone()),
            (None, None, true) => Some(to.to_owned()),
            _ => None,
        })
    };
    let (data, outboard) = (from(".data", &pair.data)?, from(".outboard", &pair.outboard)?);
    Ok(data.zip(outboard).map(|(data, outboard)| [(data, pair.data.clone()), (outboard, pair.outboard.clone())]))
}

/// Whether a pair in quarantine is one that would be adopted: another would only come back to the quarantine, as new there.
fn is_worth_a_row(stock: &Stock, moves: &Moves) -> Result<bool, DiskFault> {
    let disk = &**stock.files.disk();
    let [(data, _), (path, _)] = moves;
    let Some(outboard) = disk::open(disk, path)? else { return Ok(false) };
    let Some((header, length)) = Header::read(&*outboard, path)? else { return Ok(false) };
    let Some(geometry) = Geometry::new(header.entity.length) else { return Ok(false) };
    if disk::length(disk, data)? != Some(geometry.length()) {
        return Ok(false);
    }
    let outboard = BlockFile::new(stock.files.disk(), path, outboard, 0);
    has_hashes(&outboard, &Layout::new(length, &geometry), &geometry)
}

/// How far an entity was proved.
enum Slice {
    /// The next slice begins with this block.
    Next(EntityId, u32),
    /// To its end, or it has nothing to prove.
    Whole,
    /// Not at all: somebody has it open.
    InUse(EntityId),
}

/// Turns blocks of adopted entities into held ones, a slice at a time.
///
/// The index notes the last entity that was gone through; where in one it is, only the prover knows. Whoever begins again
/// with an entity skips what is held.
///
/// What somebody has open is passed over, and comes later: the place in the index stays before it, and the pass goes on in memory. At
/// its end the prover waits until one of those was let go of, and begins again behind the place in the index.
#[derive(Default)]
pub(crate) struct Prover {
    at: Option<(EntityId, u32)>,
    /// The last entity of this pass, once one was passed over.
    ahead: Option<Vec<u8>>,
    /// Who was passed over, as far as they are remembered.
    passed: Vec<EntityId>,
    /// The pass came to its end.
    is_waiting: bool,
    /// Adoptions up to this pass.
    adoptions: u64,
    buffer: AlignedBuffer,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
}

impl Prover {
    /// Proves one slice; `false` when nothing is left to prove, or nothing that nobody has open.
    pub(crate) fn step(&mut self, stock: &Stock) -> Result<bool, StoreError> {
        let Some(cursor) = stock.index.unproven()? else { return Ok(false) };
        if self.waits(stock) {
            return Ok(false);
        }
        let after = Some(self.ahead.as_ref().unwrap_or(&cursor)).filter(|cursor| !cursor.is_empty());
        let Some((key, record)) = stock.index.rows(after.map(Vec::as_slice), 1)?.into_iter().next() else {
            self.is_waiting = self.ahead.is_some();
            if self.is_waiting {
                return Ok(false);
            }
            stock.committer.commit(vec![Change::Proven { from: cursor, to: None }])?;
            return Ok(stock.index.unproven()?.is_some());
        };
        let slice = match record.filter(|record| record.place == Place::Files && !record.doomed) {
            Some(record) => self.prove(stock, &record)?,
            None => Slice::Whole,
        };
        self.at = None;
        match slice {
            Slice::Next(id, block) => self.at = Some((id, block)),
            Slice::Whole if self.ahead.is_none() => {
                stock.committer.commit(vec![Change::Proven { from: cursor, to: Some(key) }])?;
            }
            Slice::Whole => self.ahead = Some(key),
            Slice::InUse(id) => {
                self.ahead = Some(key);
                self.passed.extend(Some(id).filter(|_| self.passed.len() < MOST_PASSED));
            }
        }
        Ok(true)
    }

    /// Whether all that is left is open; if not, the next pass begins.
    fn waits(&mut self, stock: &Stock) -> bool {
        let adoptions = stock.adoptions();
        let has_more = std::mem::replace(&mut self.adoptions, adoptions) != adoptions;
        if !has_more && !self.is_waiting {
            return false;
        }
        if !has_more && self.passed.iter().all(|id| stock.is_in_use(id)) {
            return true;
        }
        (self.is_waiting, self.ahead) = (false, None);
        self.passed.clear();
        false
    }

    /// Proves the next slice of an entity.
    fn prove(&mut self, stock: &Stock, record: &EntityRecord) -> Result<Slice, StoreError> {
        let id = record.id();
        let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(Slice::Whole) };
        let first = self.at.filter(|(at, _)| *at == id).map_or(0, |(_, block)| block);
        let _one = stock.admit();
        // Who has it open fetches what he lacks; what he writes must not be looked at meanwhile.
        let is_same = stock.index.record(&id)?.is_some_and(|now| now.generation == record.generation && !now.doomed);
        let (held, _) = stock.index.held(&id)?;
        if !is_same || first >= geometry.block_count() || held.len() == geometry.block_count() {
            return Ok(Slice::Whole);
        }
        if stock.is_in_use(&id) {
            return Ok(Slice::InUse(id));
        }
        let Some(FilePair { data, outboard, layout }) = stock.files.open(record, &geometry)? else {
            return Ok(Slice::Whole);
        };
        let end = geometry.block_count().min(first.saturating_add(HASHES));
        let hashes = layout.read_hashes(&*outboard.file(), &outboard.path, first..end)?;
        // The next run of blocks that have a hash and are not held.
        let is_due = |block: &u32| is_written(&hashes[(*block - first) as usize]) && !held.contains(*block);
        let Some(start) = (first..end).find(is_due) else {
            return Ok(if end < geometry.block_count() { Slice::Next(id, end) } else { Slice::Whole });
        };
        let run_end = (start..end.min(start.saturating_add(SLICE))).find(|block| !is_due(block));
        let run = start..run_end.unwrap_or(end.min(start.saturating_add(SLICE)));
        let medium = BlockFile::on_medium(stock.files.disk(), &data.path, data.file());
        let right = self.right_blocks(&medium, &geometry, run.clone(), &hashes[(start - first) as usize..]);
        if !right.is_empty() {
            // They may be in the page cache alone since a kill: durable first (C-01).
            disk::sync_bytes(&*data.file(), &data.path)?;
            disk::sync_bytes(&*outboard.file(), &outboard.path)?;
            let none = BlockSet::new();
            let generation = record.generation;
            let change =
                Change::Blocks { id, generation, add: right.clone(), fetched_here: none.clone(), remove: none };
            stock.committer.commit(vec![change])?;
            self.blocks += u64::from(right.len());
            self.bytes += right.runs().map(|run| geometry.bytes_of(run)).map(|b| b.end - b.start).sum::<u64>();
        }
        Ok(Slice::Next(id, run.end))
    }

    /// The blocks of a run that have their hashes. What cannot be read has not.
    fn right_blocks(
        &mut self,
        medium: &BlockFile,
        geometry: &Geometry,
        run: Range<u32>,
        hashes: &[BlockHash],
    ) -> BlockSet {
        let mut right = BlockSet::new();
        for (block, expected) in run.zip(hashes) {
            let bytes = geometry.block_bytes(block);
            let length = (bytes.end - bytes.start) as usize;
            match medium.read_once(&mut self.buffer, length, bytes.start) {
                Ok(()) if tree::hash_block(geometry, block, &self.buffer) == *expected => {
                    right.insert(block..block + 1)
                }
                Ok(()) => {}
                Err(error) => tracing::warn!(%error, path = %medium.path.display(), "a block cannot be read"),
            }
        }
        right
    }
}

/// The files of an entity, for whoever checks them.
pub(crate) fn open_files(files: &Files, record: &EntityRecord) -> Result<Option<(FilePair, Geometry)>, DiskFault> {
    let Some(geometry) = Geometry::new(record.entity.length) else { return Ok(None) };
    Ok(files.open(record, &geometry)?.map(|open| (open, geometry)))
}

#[cfg(test)]
mod tests;
