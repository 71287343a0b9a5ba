//! The whole of an entity in another file without a copy, where the file system shares extents between files (FICLONE).
//!
//! What stands there afterwards is read and hashed like anything that leaves the store (C-21); it is only not written a
//! second time. The two files stay files of their own: who writes into one changes nothing in the other (T-48).

use crate::aligned::AlignedBuffer;
use crate::content::Content;
use crate::direct::BlockFile;
use crate::entity::Shared;
use eddy_content::{BlockSet, tree};
use std::fs::File;
use std::ops::Range;

/// Blocks that are read at once: 1 MiB.
const RUN: u32 = 16;

impl Shared {
    /// Gives the empty `file` the extents of the data file, when every block is held; says whether the file system could.
    pub(crate) fn share_extents(&self, file: &File) -> bool {
        let Content::Files(pair) = &self.content else { return false };
        let is_whole = self.blocks().held.contains_run(self.geometry.all_blocks());
        is_whole && pair.data.file().share_extents(file).is_ok()
    }

    /// The blocks of `file` that are what the store's hashes say. What cannot be read is not among them: whoever needs it
    /// copies it from the store, which knows what to do about rot.
    pub(crate) fn right_blocks(&self, file: &BlockFile) -> BlockSet {
        let (mut right, mut buffer) = (BlockSet::new(), AlignedBuffer::default());
        let count = self.geometry.block_count();
        for start in (0..count).step_by(RUN as usize) {
            self.check_run(file, start..count.min(start + RUN), &mut buffer, &mut right);
        }
        right
    }

    fn check_run(&self, file: &BlockFile, blocks: Range<u32>, buffer: &mut AlignedBuffer, right: &mut BlockSet) {
        let place = self.geometry.bytes_of(blocks.clone());
        let Ok(hashes) = self.hashes_of_held(blocks.clone()) else { return };
        if file.read_once(buffer, (place.end - place.start) as usize, place.start).is_err() {
            return;
        }
        let mut rest: &[u8] = buffer;
        for (block, expected) in blocks.zip(&hashes) {
            let (bytes, later) = rest.split_at(self.geometry.block_len(block));
            if tree::hash_block(&self.geometry, block, bytes) == *expected {
                right.insert(block..block + 1);
            }
            rest = later;
        }
    }
}
