//! The way out: every block is hashed as it is read, and a wrong one never leaves.

use crate::entity::Shared;
use crate::fault::{DiskFault, ReadError};
use eddy_content::{BlockHash, BlockSet, tree};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;

impl Shared {
    /// Reads held blocks into `into`, which is overwritten; every block is hashed (C-21).
    pub(crate) fn read_run(&self, blocks: Range<u32>, into: &mut Vec<u8>) -> Result<(), ReadError> {
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

    fn read_checked(&self, blocks: Range<u32>, into: &mut Vec<u8>) -> Result<(), ReadError> {
        let hashes = self.hashes_of_held(blocks.clone())?;
        let bytes = self.geometry.bytes_of(blocks.clone());
        // Keeps the buffer's length where it can: zeroing it for each run would cost a pass over memory.
        into.resize((bytes.end - bytes.start) as usize, 0);
        let file = self.data.file();
        if let Err(error) = file.read_exact_at(into, bytes.start) {
            if error.kind() == ErrorKind::UnexpectedEof {
                // The file was cut short behind our back: the first block that is not there is corrupt.
                return Err(ReadError::Corrupt { block: self.first_missing(&blocks) });
            }
            return Err(ReadError::Disk(DiskFault::new("read", &self.data.path, error)));
        }
        let mut rest = into.as_slice();
        for (block, expected) in blocks.zip(&hashes) {
            let (bytes, later) = rest.split_at(self.geometry.block_len(block));
            if tree::hash_block(&self.geometry, block, bytes) != *expected {
                return Err(ReadError::Corrupt { block });
            }
            rest = later;
        }
        Ok(())
    }

    /// The block in which the data file ends; some block of the run, whatever the file says.
    fn first_missing(&self, blocks: &Range<u32>) -> u32 {
        let length = self.data.file().metadata().map_or(0, |meta| meta.len());
        let at = u32::try_from(length / eddy_content::BLOCK_SIZE).unwrap_or(u32::MAX);
        at.clamp(blocks.start, blocks.end.saturating_sub(1).max(blocks.start))
    }

    /// The hashes of held blocks, from the outboard.
    pub(crate) fn hashes_of_held(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        let missing = BlockSet::from_run(blocks.clone()).difference(&self.blocks().held);
        if let Some(run) = missing.first_run() {
            return Err(ReadError::NotHeld { block: run.start });
        }
        Ok(self.layout.read_hashes(&self.outboard.file(), &self.outboard.path, blocks)?)
    }
}
