//! Whether what is held is still what was written: one entity on demand, and all of them a little at a time (C-30).
//!
//! A scrub asks the medium, not the page cache, in which a rotten block can look well for weeks: it reads past the cache
//! where the disk has such a way. A block that is wrong twice is struck off, as on the read path, and whoever wants it
//! fetches it again. How far the scrub came and what it found is kept in the index; whoever calls it decides how fast it
//! goes. Sizes, names and generations are compared by the sweep once a day (C-31).

use crate::Store;
use crate::aligned::AlignedBuffer;
use crate::direct::BlockFile;
use crate::disk;
use crate::fault::{DiskFault, ReadError, StoreError};
use crate::handle::EntityHandle;
use crate::index::Change;
use crate::row::Place;
use crate::store::wall_clock;
use eddy_content::{BlockSet, EntityId, tree};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::ops::Range;

/// Blocks that are read at once: 1 MiB.
const RUN_BLOCKS: u32 = 16;
/// Corrupt blocks of one pass from which the disk itself is suspect (C-30).
const ALARM: u64 = 3;

/// What a look at one entity found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyOutcome {
    /// Blocks that were hashed.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those that were wrong: struck off, to be fetched again.
    pub corrupt: BlockSet,
}

/// What one step of the scrub did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ScrubStep {
    /// Blocks that were hashed.
    pub blocks: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Blocks that were wrong and are struck off.
    pub corrupt: u64,
    /// Whether the pass over all entities came to its end with this step; the next one begins another.
    pub is_pass_complete: bool,
}

/// How far the scrub came, and what it found since this cache was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScrubRecord {
    /// When the last full pass ended, in seconds since 1970.
    pub last_full_pass: Option<i64>,
    /// When the pass that is under way began.
    pub pass_began: Option<i64>,
    /// Blocks that this pass found wrong.
    pub corrupt_in_pass: u64,
    /// Blocks that were ever found wrong, by scrub or verify.
    pub corrupt: u64,
    /// Bytes that were ever hashed by the scrub.
    pub bytes: u64,
    /// The entity that the pass is at, and its next block.
    at: Option<([u8; 32], u32)>,
}

impl Store {
    /// Hashes every held block of an entity as the medium has it; `None` when it is not here.
    ///
    /// `on_progress` hears how many bytes are done. Wrong blocks are struck off.
    pub fn verify(&self, id: &EntityId, on_progress: &mut dyn FnMut(u64)) -> Result<Option<VerifyOutcome>, StoreError> {
        let Some(handle) = self.find(id)? else { return Ok(None) };
        let mut look = Look::new(self, handle)?;
        let mut outcome = VerifyOutcome::default();
        for run in cut(&look.handle.held(), 0) {
            let corrupt = look.at(run.clone())?;
            outcome.blocks += u64::from(run.end - run.start);
            outcome.bytes += look.bytes_of(&run);
            outcome.corrupt.union_with(&corrupt);
            on_progress(outcome.bytes);
        }
        if !outcome.corrupt.is_empty() {
            look.strike(&outcome.corrupt);
            self.note_corrupt(u64::from(outcome.corrupt.len()))?;
        }
        Ok(Some(outcome))
    }

    /// Counts blocks that somebody found wrong who looked for rot in another way than [`Self::verify`].
    pub fn note_corrupt(&self, blocks: u64) -> Result<(), StoreError> {
        let _one = self.stock().scrub_record();
        let mut record = self.scrubbed()?;
        record.corrupt = record.corrupt.saturating_add(blocks);
        self.stock().committer.commit(vec![Change::Scrubbed(record)])
    }

    /// What the scrub found so far.
    pub fn scrubbed(&self) -> Result<ScrubRecord, StoreError> {
        Ok(self.stock().index.scrubbed()?)
    }

    /// Goes on with the scrub for about `budget` bytes, from where it was, also in an earlier process.
    ///
    /// One caller at a time. A part that the medium refuses to read is an error; the scrub goes on behind it.
    pub fn scrub_step(&self, budget: u64) -> Result<ScrubStep, StoreError> {
        let (mut record, mut step) = (self.scrubbed()?, ScrubStep::default());
        record.pass_began.get_or_insert_with(wall_clock);
        let scrubbed = self.scrub(&mut record, &mut step, budget);
        record.bytes += step.bytes;
        let _one = self.stock().scrub_record();
        // Others may have found something meanwhile.
        record.corrupt = self.scrubbed()?.corrupt.saturating_add(step.corrupt);
        record.corrupt_in_pass += step.corrupt;
        if step.corrupt > 0 && record.corrupt_in_pass > ALARM {
            tracing::error!(corrupt = record.corrupt_in_pass, "several cached blocks rotted: the disk may be failing");
        }
        if step.is_pass_complete {
            record.last_full_pass = Some(wall_clock());
            (record.pass_began, record.at, record.corrupt_in_pass) = (None, None, 0);
        }
        self.stock().committer.commit(vec![Change::Scrubbed(record)])?;
        scrubbed.map(|()| step)
    }

    fn scrub(&self, record: &mut ScrubRecord, step: &mut ScrubStep, budget: u64) -> Result<(), StoreError> {
        while step.bytes < budget {
            let (id, first) = match record.at {
                Some((id, first)) if first > 0 && self.record_of(&EntityId(id))?.is_some() => (EntityId(id), first),
                at => match self.next_entity(at.map(|(id, _)| id))? {
                    Some(id) => (id, 0),
                    None => {
                        step.is_pass_complete = true;
                        return Ok(());
                    }
                },
            };
            // Block 0 means: this one is done, or has nothing.
            record.at = Some((id.0, 0));
            let Some(handle) = self.find(&id)? else { continue };
            let mut look = Look::new(self, handle)?;
            let mut corrupt = BlockSet::new();
            for run in cut(&look.handle.held(), first) {
                if step.bytes >= budget {
                    record.at = Some((id.0, run.start));
                    break;
                }
                match look.at(run.clone()) {
                    Ok(found) => corrupt.union_with(&found),
                    Err(error) => {
                        // What cannot be read is left behind: the read path meets it, and the scrub must not stick to it.
                        record.at = Some((id.0, run.end));
                        strike(&look, &corrupt, step);
                        return Err(error);
                    }
                }
                step.blocks += u64::from(run.end - run.start);
                step.bytes += look.bytes_of(&run);
            }
            strike(&look, &corrupt, step);
        }
        Ok(())
    }

    fn next_entity(&self, after: Option<[u8; 32]>) -> Result<Option<EntityId>, StoreError> {
        let mut after: Option<Vec<u8>> = after.map(|id| id.to_vec());
        loop {
            let rows = self.stock().index.rows(after.as_deref(), 1)?;
            let Some((key, record)) = rows.into_iter().next() else { return Ok(None) };
            if let Some(record) = record.filter(|record| !record.doomed) {
                return Ok(Some(record.id()));
            }
            after = Some(key);
        }
    }
}

fn strike(look: &Look, corrupt: &BlockSet, step: &mut ScrubStep) {
    if !corrupt.is_empty() {
        step.corrupt += u64::from(corrupt.len());
        look.strike(corrupt);
    }
}

/// Held blocks from `first` on, in pieces that are read at once.
fn cut(held: &BlockSet, first: u32) -> Vec<Range<u32>> {
    let mut runs = Vec::new();
    for run in held.intersection(&BlockSet::from_run(first..u32::MAX)).runs() {
        let mut start = run.start;
        while start < run.end {
            let end = run.end.min(start.saturating_add(RUN_BLOCKS));
            runs.push(start..end);
            start = end;
        }
    }
    runs
}

/// A look at one entity's blocks on the medium.
pub(crate) struct Look {
    pub(crate) handle: EntityHandle,
    /// `None` when its bytes are in the index.
    medium: Option<BlockFile>,
    buffer: AlignedBuffer,
}

impl Look {
    pub(crate) fn new(store: &Store, handle: EntityHandle) -> Result<Self, StoreError> {
        let (stock, record) = (store.stock(), handle.record());
        let medium = match record.place {
            Place::Files => {
                let path = stock.files.pair(&handle.id(), record.generation).data;
                let file = disk::open(&**stock.files.disk(), &path)?;
                file.map(|file| BlockFile::on_medium(stock.files.disk(), &path, file))
            }
            _ => None,
        };
        Ok(Self { handle, medium, buffer: AlignedBuffer::default() })
    }

    fn bytes_of(&self, blocks: &Range<u32>) -> u64 {
        let bytes = self.handle.geometry().bytes_of(blocks.clone());
        bytes.end - bytes.start
    }

    /// The blocks of a run that are wrong, after a second look at each of them.
    pub(crate) fn at(&mut self, run: Range<u32>) -> Result<BlockSet, StoreError> {
        if self.medium.is_none() {
            return self.struck_blocks(run);
        }
        let suspects = self.wrong_blocks(run)?;
        let mut corrupt = BlockSet::new();
        for block in suspects.runs().flatten() {
            // It may have been struck off and written again while it was read.
            corrupt.union_with(&self.wrong_blocks(block..block + 1)?);
        }
        Ok(corrupt)
    }

    /// Strikes off what was found wrong, unless the reading has done so.
    fn strike(&self, corrupt: &BlockSet) {
        if self.medium.is_some() {
            self.handle.quarantine(corrupt);
        }
    }

    /// The blocks of a run that the ordinary reading found wrong: it looks twice itself, and strikes them off.
    fn struck_blocks(&mut self, run: Range<u32>) -> Result<BlockSet, StoreError> {
        let (mut struck, mut bytes) = (BlockSet::new(), Vec::new());
        self.handle.forget_at_hand();
        for block in run {
            match self.handle.read_run(block..block + 1, &mut bytes) {
                Err(ReadError::Corrupt { block }) => struck.insert(block..block + 1),
                Err(ReadError::Disk(fault)) => return Err(fault.into()),
                // Struck off by somebody else since: that one was told.
                Ok(()) | Err(ReadError::NotHeld { .. } | ReadError::Replaced { .. }) => {}
            }
        }
        Ok(struck)
    }

    fn wrong_blocks(&mut self, run: Range<u32>) -> Result<BlockSet, StoreError> {
        let geometry = self.handle.geometry();
        let mut wrong = BlockSet::new();
        let hashes = match self.handle.block_hashes(run.clone()) {
            Ok(hashes) => hashes,
            // Struck off since: nothing to find.
            Err(ReadError::NotHeld { .. } | ReadError::Corrupt { .. } | ReadError::Replaced { .. }) => {
                return Ok(wrong);
            }
            Err(ReadError::Disk(fault)) => return Err(fault.into()),
        };
        let Some(medium) = &self.medium else { return Ok(wrong) };
        let bytes = geometry.bytes_of(run.clone());
        match medium.read_once(&mut self.buffer, (bytes.end - bytes.start) as usize, bytes.start) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && run.end - run.start > 1 => {
                // Cut short: each block by itself, to tell those that are there.
                for block in run {
                    wrong.union_with(&self.wrong_blocks(block..block + 1)?);
                }
                return Ok(wrong);
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(BlockSet::from_run(run)),
            Err(error) => return Err(DiskFault::new("read", &medium.path, error).into()),
        }
        let mut rest: &[u8] = &self.buffer;
        for (block, expected) in run.zip(&hashes) {
            let (bytes, later) = rest.split_at(geometry.block_len(block));
            if tree::hash_block(&geometry, block, bytes) != *expected {
                wrong.insert(block..block + 1);
            }
            rest = later;
        }
        Ok(wrong)
    }
}
