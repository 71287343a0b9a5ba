//! The way out: every block is hashed as it is read, and a wrong one never leaves.

use crate::content::Content;
use crate::direct::{AlignedBuffer, BlockFile};
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
        // Keeps the buffer's length where it can: zeroing it for each run would cost a pass over memory.
        self.resize(length, 0);
        from.file().read_exact_at(self, offset)
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

/// Reads an entity once from end to end, for a delivery. Keeps its buffer between runs.
pub struct RunReader {
    shared: Arc<Shared>,
    buffer: AlignedBuffer,
}

impl RunReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: AlignedBuffer::default() }
    }

    /// The bytes of held blocks, each hashed on its way out as by [`crate::EntityHandle::read_run`].
    pub fn read(&mut self, blocks: Range<u32>) -> Result<&[u8], ReadError> {
        self.shared.read_run(blocks, &mut self.buffer)?;
        Ok(&self.buffer)
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
        // Once more before the sentence: the block may have been dropped and written again while it was read.
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

    fn read_checked(&self, blocks: Range<u32>, into: &mut impl Landing) -> Result<(), ReadError> {
        let hashes = self.hashes_of_held(blocks.clone())?;
        let bytes = self.geometry.bytes_of(blocks.clone());
        let length = (bytes.end - bytes.start) as usize;
        match &self.content {
            Content::Files(pair) => self.load(&pair.data, &blocks, length, into)?,
            Content::Index(_) if blocks.is_empty() => into.take(&[]),
            Content::Index(inline) => into.take(&inline.read_block(length)?.1),
        }
        let mut rest = into.bytes();
        for (block, expected) in blocks.zip(&hashes) {
            let (bytes, later) = rest.split_at(self.geometry.block_len(block));
            if tree::hash_block(&self.geometry, block, bytes) != *expected {
                return Err(ReadError::Corrupt { block });
            }
            rest = later;
        }
        Ok(())
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

    /// The hashes of held blocks.
    pub(crate) fn hashes_of_held(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        let missing = BlockSet::from_run(blocks.clone()).difference(&self.blocks().held);
        if let Some(run) = missing.first_run() {
            return Err(ReadError::NotHeld { block: run.start });
        }
        Ok(self.content.hashes(blocks)?)
    }
}

/// The block in which the data file ends; some block of the run, whatever the file says.
fn first_missing(data: &BlockFile, blocks: &Range<u32>) -> u32 {
    let length = data.file().length().unwrap_or(0);
    let at = u32::try_from(length / eddy_content::BLOCK_SIZE).unwrap_or(u32::MAX);
    at.clamp(blocks.start, blocks.end.saturating_sub(1).max(blocks.start))
}
