//! The way out: every block is hashed as it is read, and a wrong one never leaves.

use crate::ahead::ReadAhead;
use crate::aligned::AlignedBuffer;
use crate::content::Content;
use crate::direct::BlockFile;
use crate::entity::Shared;
use crate::fault::{DiskFault, ReadError};
use eddy_content::{BlockHash, BlockSet, tree};
use std::fmt;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::Arc;

/// Where read bytes land, and the way they take.
pub(crate) trait Landing {
    /// Replaces what is there by `length` bytes of the file.
    fn load(&mut self, from: &BlockFile, length: usize, offset: u64) -> io::Result<()>;
    /// Replaces what is there by these bytes.
    fn take(&mut self, bytes: &[u8]);
    /// The bytes.
    fn bytes(&self) -> &[u8];
    /// Forgets them.
    fn clear(&mut self);
}

/// Through the page cache: what one peer asks for, the next one wants as well.
impl Landing for Vec<u8> {
    fn load(&mut self, from: &BlockFile, length: usize, offset: u64) -> io::Result<()> {
        from.expect_more(offset, length as u64);
        from.file().read_exact_into(self, length, offset)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.clear();
        self.extend_from_slice(bytes);
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn clear(&mut self) {
        self.clear();
    }
}

/// Past it: a delivery reads everything, and once.
impl Landing for AlignedBuffer {
    fn load(&mut self, from: &BlockFile, length: usize, offset: u64) -> io::Result<()> {
        from.read_once(self, length, offset)
    }

    fn take(&mut self, bytes: &[u8]) {
        self.replace(bytes);
    }

    fn bytes(&self) -> &[u8] {
        self
    }

    fn clear(&mut self) {
        self.clear();
    }
}

/// Reads an entity once from end to end, for a delivery. Keeps its buffer between runs; while one run is hashed, the next two of
/// a large file are on their way.
pub struct RunReader {
    shared: Arc<Shared>,
    buffer: AlignedBuffer,
    ahead: Option<ReadAhead>,
    /// The block behind the last run.
    next: u32,
}

impl RunReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: AlignedBuffer::default(), ahead: None, next: 0 }
    }

    /// The bytes of held blocks, each hashed on its way out as by [`crate::EntityHandle::read_run`].
    pub fn read(&mut self, blocks: Range<u32>) -> Result<&[u8], ReadError> {
        let is_here = self.ahead.as_mut().is_some_and(|ahead| ahead.take(&blocks, &mut self.buffer));
        self.order_behind(&blocks);
        if is_here && self.shared.check(blocks.clone(), &self.buffer).is_ok() {
            return Ok(&self.buffer);
        }
        // Not ordered, or not right: read in the ordinary way, which knows what to do about rot.
        self.shared.read_run(blocks, &mut self.buffer)?;
        Ok(&self.buffer)
    }

    /// Orders the runs behind `blocks`, of the same length, as long as runs are asked for in order.
    fn order_behind(&mut self, blocks: &Range<u32>) {
        let is_in_order = blocks.start == self.next;
        self.next = blocks.end;
        let end = self.shared.geometry.block_count();
        if !is_in_order || end <= blocks.end {
            return;
        }
        if self.ahead.is_none() {
            self.ahead = ReadAhead::start(&self.shared);
        }
        if let Some(ahead) = &mut self.ahead {
            ahead.order_behind(blocks, end);
        }
    }
}

impl fmt::Debug for RunReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunReader").field("entity", &self.shared.id).finish_non_exhaustive()
    }
}

impl Shared {
    /// Reads held blocks into `into`, which is overwritten; every block is hashed (C-21).
    pub(crate) fn read_run(&self, blocks: Range<u32>, into: &mut impl Landing) -> Result<(), ReadError> {
        let outcome = self.read_checked(blocks.clone(), into);
        let Err(ReadError::Corrupt { block }) = outcome else { return outcome.inspect_err(|_| into.clear()) };
        // Once more before the sentence: the block may have been dropped and written again while it was read. That of a small entity is asked
        // of the index: what is wrong in memory alone condemns nothing on the disk.
        if let Content::Index(inline) = &self.content {
            inline.forget();
        }
        let second = self.read_checked(blocks, into);
        if let Err(error) = &second {
            into.clear();
            if let ReadError::Corrupt { block } = error {
                self.quarantine(&BlockSet::from_run(*block..*block + 1));
            }
        } else {
            tracing::debug!(block, "a block that was read wrong was read right the second time");
        }
        second
    }

    /// Reads blocks of a file that are written, durable or not, into `into`, each held against its hash. For who reads what is still
    /// coming: nothing that a crash could take back is said to be held by it.
    pub(crate) fn read_written(&self, blocks: Range<u32>, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let hashes: Option<Vec<_>> = {
            let state = self.blocks();
            blocks.clone().map(|block| state.written.get(&block).copied()).collect()
        };
        let (Some(hashes), Content::Files(pair)) = (hashes, &self.content) else {
            return self.read_run(blocks, into);
        };
        let bytes = self.geometry.bytes_of(blocks.clone());
        self.load(&pair.data, &blocks, (bytes.end - bytes.start) as usize, into)?;
        if let Some(block) = self.first_unlike(blocks, &hashes, into) {
            into.clear();
            return Err(ReadError::Corrupt { block });
        }
        Ok(())
    }

    /// Reads blocks that are held, or written and not yet durable, and have these hashes.
    pub(crate) fn read_as(&self, first: u32, hashes: &[BlockHash], into: &mut Vec<u8>) -> Result<(), ReadError> {
        let count = u32::try_from(hashes.len()).unwrap_or(u32::MAX);
        let blocks = first..first.saturating_add(count);
        let bytes = self.geometry.bytes_of(blocks.clone());
        let length = (bytes.end - bytes.start) as usize;
        if let Content::Files(pair) = &self.content
            && self.is_readable(blocks.clone())
            && self.load(&pair.data, &blocks, length, into).is_ok()
            && self.first_unlike(blocks.clone(), hashes, into).is_none()
        {
            return Ok(());
        }
        // Something else stands there: the ordinary way knows whether that is rot, and reads once more before it says so.
        let (mut all, mut one) = (Vec::with_capacity(length), Vec::new());
        for (block, hash) in blocks.zip(hashes) {
            self.read_written(block..block + 1, &mut one)?;
            if tree::hash_block(&self.geometry, block, &one) != *hash {
                return Err(ReadError::Replaced { block });
            }
            all.extend_from_slice(&one);
        }
        *into = all;
        Ok(())
    }

    fn is_readable(&self, mut blocks: Range<u32>) -> bool {
        let state = self.blocks();
        blocks.all(|block| state.held.contains(block) || state.written.contains_key(&block))
    }

    /// The first block whose bytes do not have its hash.
    fn first_unlike(&self, blocks: Range<u32>, hashes: &[BlockHash], bytes: &[u8]) -> Option<u32> {
        let mut rest = bytes;
        blocks.zip(hashes).find_map(|(block, expected)| {
            let (bytes, later) = rest.split_at(self.geometry.block_len(block));
            rest = later;
            (tree::hash_block(&self.geometry, block, bytes) != *expected).then_some(block)
        })
    }

    fn read_checked(&self, blocks: Range<u32>, into: &mut impl Landing) -> Result<(), ReadError> {
        self.must_hold(&blocks)?;
        let bytes = self.geometry.bytes_of(blocks.clone());
        let length = (bytes.end - bytes.start) as usize;
        match &self.content {
            Content::Files(pair) => self.load(&pair.data, &blocks, length, into)?,
            Content::Index(_) if blocks.is_empty() => into.take(&[]),
            Content::Index(inline) => {
                // The one row has both.
                let (expected, bytes) = inline.read_block(length)?;
                if tree::hash_block(&self.geometry, blocks.start, &bytes) != expected {
                    return Err(ReadError::Corrupt { block: blocks.start });
                }
                into.take(&bytes);
                return Ok(());
            }
        }
        self.check(blocks, into.bytes())
    }

    /// Holds the bytes of held blocks against their hashes.
    fn check(&self, blocks: Range<u32>, bytes: &[u8]) -> Result<(), ReadError> {
        let hashes = self.hashes_of_held(blocks.clone())?;
        self.first_unlike(blocks, &hashes, bytes).map_or(Ok(()), |block| Err(ReadError::Corrupt { block }))
    }

    /// Loads the `length` bytes of blocks from the data file.
    fn load(
        &self,
        data: &BlockFile,
        blocks: &Range<u32>,
        length: usize,
        into: &mut impl Landing,
    ) -> Result<(), ReadError> {
        let Err(error) = into.load(data, length, self.geometry.bytes_of(blocks.clone()).start) else { return Ok(()) };
        if error.kind() == ErrorKind::UnexpectedEof {
            // The file was cut short behind our back: the first block that is not there is corrupt.
            return Err(ReadError::Corrupt { block: first_missing(data, blocks) });
        }
        Err(ReadError::Disk(DiskFault::new("read", &data.path, error)))
    }

    /// Reads a block, held or written, that lies in memory and has this hash; gives nothing where it would have to wait for the disk, or where
    /// anything is not as it should be: who asks again in the ordinary way hears what.
    pub(crate) fn read_at_hand(&self, block: u32, hash: BlockHash, into: &mut Vec<u8>) -> Option<()> {
        let length = self.geometry.block_len(block);
        let count = match &self.content {
            Content::Files(_) if !self.is_readable(block..block + 1) => return None,
            Content::Files(pair) => {
                into.resize(length, 0);
                let offset = self.geometry.bytes_of(block..block + 1).start;
                pair.data.file().read_cached_at(into, offset).ok()?
            }
            Content::Index(inline) => {
                self.must_hold(&(block..block + 1)).ok()?;
                into.take(&inline.at_hand()?.1);
                into.len()
            }
        };
        let is_right = count == length && hash == tree::hash_block(&self.geometry, block, into);
        is_right.then_some(())
    }

    /// The hashes of held blocks that lie in memory; nothing where the disk would have to be waited for.
    pub(crate) fn hashes_at_hand(&self, blocks: Range<u32>) -> Option<Vec<BlockHash>> {
        self.must_hold(&blocks).ok()?;
        match &self.content {
            Content::Files(pair) => pair.layout.read_cached_hashes(&*pair.outboard.file(), blocks),
            Content::Index(_) if blocks.is_empty() => None,
            Content::Index(inline) => inline.at_hand().map(|(hash, _)| vec![hash]),
        }
    }

    /// The hashes of held blocks.
    pub(crate) fn hashes_of_held(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        self.must_hold(&blocks)?;
        Ok(self.content.hashes(blocks)?)
    }

    /// The hashes of blocks that are written and not yet durable; nothing for the others.
    fn hashes_of_written(&self, blocks: Range<u32>) -> Vec<Option<BlockHash>> {
        let state = self.blocks();
        blocks.map(|block| state.written.get(&block).copied()).collect()
    }

    /// The hashes of blocks each of which is held, or written and not yet durable, as far as they lie in memory.
    pub(crate) fn readable_hashes_at_hand(&self, blocks: Range<u32>) -> Option<Vec<BlockHash>> {
        let written = self.hashes_of_written(blocks.clone());
        if written.iter().all(Option::is_none) {
            return self.hashes_at_hand(blocks);
        }
        let of_held = |block: u32| self.hashes_at_hand(block..block + 1)?.first().copied();
        blocks.zip(written).map(|(block, known)| known.or_else(|| of_held(block))).collect()
    }

    /// The hashes of blocks each of which is held, or written and not yet durable.
    pub(crate) fn readable_hashes(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        let written = self.hashes_of_written(blocks.clone());
        let of_block = |(block, known): (u32, Option<BlockHash>)| match known {
            Some(hash) => Ok(hash),
            None => self.hashes_of_held(block..block + 1)?.first().copied().ok_or(ReadError::NotHeld { block }),
        };
        if written.iter().all(Option::is_none) {
            return self.hashes_of_held(blocks);
        }
        blocks.zip(written).map(of_block).collect()
    }

    fn must_hold(&self, blocks: &Range<u32>) -> Result<(), ReadError> {
        let missing = BlockSet::from_run(blocks.clone()).difference(&self.blocks().held);
        missing.first_run().map_or(Ok(()), |run| Err(ReadError::NotHeld { block: run.start }))
    }
}

/// The block in which the data file ends; some block of the run, whatever the file says.
fn first_missing(data: &BlockFile, blocks: &Range<u32>) -> u32 {
    let length = data.file().length().unwrap_or(0);
    let at = u32::try_from(length / eddy_content::BLOCK_SIZE).unwrap_or(u32::MAX);
    at.clamp(blocks.start, blocks.end.saturating_sub(1).max(blocks.start))
}
