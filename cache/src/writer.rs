//! The writer: received bytes in, verified blocks at their place on disk.
//!
//! Whole runs are hashed and written straight from the caller's slice; only what does not fill a block waits in a buffer
//! of 256 KiB. A large file of the user's is written past the page cache at the same time (see [`crate::direct`]), and for that
//! everything passes through aligned buffers of 512 KiB: one is filled while others are written (`behind`). A block from a peer is
//! held against its expected hash before a byte of it is written (T-01).

use crate::aligned::AlignedBuffer;
use crate::behind::{Run, Target, WriteBehind};
use crate::entity::Shared;
use crate::fault::WriteError;
use crate::ledger::{Account, Source, Waste};
use crate::mirror::Mirror;
use eddy_content::{BLOCK_SIZE, BlockHash, tree};
use std::ops::Range;
use std::sync::Arc;

/// Bytes written at once where possible: a run that still lies in the second-level cache after it was hashed.
const RUN: usize = 256 * 1024;
/// Bytes written at once past the cache, where each write waits for the disk.
const DIRECT_RUN: usize = 512 * 1024;
const BLOCK: usize = BLOCK_SIZE as usize;

/// Writes consecutive blocks of one entity from one source for one account.
pub struct RunWriter {
    target: Target,
    /// The block that the next unhashed byte belongs to.
    next: u32,
    /// Bytes that are not written yet: whole blocks that are hashed, then the beginning of block `next`.
    buffer: AlignedBuffer,
    /// Hashes of the whole blocks in front of `next` that are not written yet.
    hashes: Vec<BlockHash>,
    expected: Option<(u32, Vec<BlockHash>)>,
    /// Whether runs are gathered in aligned memory, for the mirror to be written past the cache.
    is_aligning: bool,
    /// Whether each block is written as soon as it is whole.
    is_instant: bool,
    /// Who writes such runs while the next one comes; begun with the first full one.
    behind: Option<WriteBehind>,
    is_spent: bool,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Blocks that were completed and found right by this push.
    pub blocks: Range<u32>,
}

/// What a writer leaves when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The first block that this writer did not complete.
    pub next_block: u32,
    /// Bytes of that block that had arrived and are dropped.
    pub dropped: u64,
}

impl RunWriter {
    pub(crate) fn new(shared: Arc<Shared>, first_block: u32, source: Source, account: Account) -> Self {
        Self {
            is_aligning: false,
            is_instant: false,
            target: Target { shared, source, account, mirror: None },
            next: first_block,
            buffer: AlignedBuffer::default(),
            hashes: Vec::new(),
            expected: None,
            behind: None,
            is_spent: false,
        }
    }

    /// Switches to verifying: the i-th block of this writer must have `hashes[i]`; a block without one is refused.
    #[must_use]
    pub fn expect(mut self, hashes: Vec<BlockHash>) -> Self {
        self.expected = Some((self.next, hashes));
        self
    }

    /// Writes every block that this writer brings into `mirror`, too.
    #[must_use]
    pub fn mirror(mut self, mirror: Arc<Mirror>) -> Self {
        self.is_aligning = mirror.is_written_past_cache();
        self.target.mirror = Some(mirror);
        self
    }

    /// Writes runs of 256 KiB at once, whatever the mirror: others read them as soon as they are written.
    #[must_use]
    pub fn promptly(mut self) -> Self {
        self.is_aligning = false;
        self
    }

    /// Writes each block at once: others wait for it who pass it on, and each of them would wait for the rest of a run anew.
    #[must_use]
    pub fn instantly(mut self) -> Self {
        (self.is_aligning, self.is_instant) = (false, true);
        self
    }

    /// Bytes of a run.
    fn run(&self) -> usize {
        match (self.is_aligning, self.is_instant) {
            (true, _) => DIRECT_RUN,
            (false, true) => BLOCK,
            (false, false) => RUN,
        }
    }

    /// Bytes from block `next` to the entity's end.
    fn left(&self) -> usize {
        let geometry = &self.target.shared.geometry;
        let from = u64::from(self.next) * BLOCK_SIZE;
        usize::try_from(geometry.length().saturating_sub(from)).unwrap_or(usize::MAX)
    }

    /// Takes the next bytes, cut in any way.
    ///
    /// After an error the writer takes nothing more; blocks that were found right before it stay. With a large mirror runs are
    /// written behind: an error of the disk may be one of an earlier push, and what was pushed is written for certain
    /// after [`Self::finish`] only.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Pushed, WriteError> {
        if self.is_spent {
            return Err(WriteError::Spent);
        }
        let first = self.next;
        if let Err((error, lost)) = self.take(bytes) {
            self.is_spent = true;
            self.drop_buffer(&error, lost as u64);
            return Err(error);
        }
        Ok(Pushed { blocks: first..self.next })
    }

    /// Ends the writer: whole blocks wait for a commit, the beginning of another is dropped as aborted.
    pub fn finish(mut self) -> Result<Finished, WriteError> {
        if self.is_spent {
            return Err(WriteError::Spent);
        }
        self.is_spent = true;
        if let Err(error) = self.flush_all() {
            self.drop_buffer(&error, 0);
            return Err(error);
        }
        let dropped = self.buffer.len() as u64;
        self.target.waste(Waste::Aborted, dropped);
        self.buffer.clear();
        Ok(Finished { next_block: self.next, dropped })
    }

    /// The work of a push; an error comes with the number of pushed bytes that are nowhere accounted for.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), (WriteError, usize)> {
        while !bytes.is_empty() {
            if !self.is_aligning && self.buffer.is_empty() && bytes.len() >= RUN {
                let count = self.take_run(bytes)?;
                bytes = &bytes[count..];
            } else {
                let count = self.take_part(bytes).map_err(|e| (e, bytes.len()))?;
                bytes = &bytes[count..];
                if let Err(error) = self.settle(bytes.len()) {
                    return Err((error, bytes.len()));
                }
            }
        }
        Ok(())
    }

    /// Hashes and writes the whole blocks at the beginning of a large slice, without a copy.
    fn take_run(&mut self, bytes: &[u8]) -> Result<usize, (WriteError, usize)> {
        let mut done = 0;
        let hashed = loop {
            let length = match self.block_length() {
                Ok(length) => length,
                // What was asked for is complete; the next turn says that more came.
                Err(_) if done > 0 => break Ok(()),
                Err(error) => break Err(error),
            };
            let Some(block) = bytes.get(done..done + length).filter(|_| done < RUN) else { break Ok(()) };
            if let Err(error) = self.check(block) {
                break Err(error);
            }
            done += length;
        };
        // The blocks before a wrong one are right and are kept.
        let written = self.write(&bytes[..done]);
        hashed.and(written).map(|()| done).map_err(|error| (error, bytes.len() - done))
    }

    /// Copies up to the end of the block that is being filled.
    fn take_part(&mut self, bytes: &[u8]) -> Result<usize, WriteError> {
        let length = self.block_length()?;
        let missing = length - (self.buffer.len() - self.hashes.len() * BLOCK);
        let count = missing.min(bytes.len());
        self.buffer.reserve_once(self.run().min(self.left()));
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Hashes the buffer's last block when it is whole; writes when the buffer is full or a large slice waits.
    fn settle(&mut self, waiting: usize) -> Result<(), WriteError> {
        let start = self.hashes.len() * BLOCK;
        let length = self.block_length()?;
        if self.buffer.len() - start < length {
            return Ok(());
        }
        let buffer = std::mem::take(&mut self.buffer);
        let checked = self.check(&buffer[start..]);
        self.buffer = buffer;
        checked?;
        let has_straight_run = !self.is_aligning && waiting >= RUN;
        if self.is_aligning && self.buffer.len() >= self.run() {
            self.hand_over()
        } else if self.buffer.len() >= self.run() || length < BLOCK || has_straight_run {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Length of block `next`, or the refusal of anything beyond the end.
    fn block_length(&self) -> Result<usize, WriteError> {
        match self.target.shared.geometry.block_len(self.next) {
            0 => Err(WriteError::PastEnd { length: self.target.shared.geometry.length() }),
            length => Ok(length),
        }
    }

    /// Hashes the whole block `next` and holds it against its expected hash.
    fn check(&mut self, block: &[u8]) -> Result<(), WriteError> {
        let number = self.next;
        let hash = tree::hash_block(&self.target.shared.geometry, number, block);
        match (&self.expected, self.target.source) {
            (Some((first, hashes)), from) => match hashes.get((number - first) as usize) {
                Some(expected) if *expected == hash => {}
                Some(_) => return Err(WriteError::WrongBlock { block: number, from }),
                None => return Err(WriteError::Unverified { block: number }),
            },
            (None, Source::Peer { .. } | Source::Package) => return Err(WriteError::Unverified { block: number }),
            (None, Source::Origin { .. }) => {}
        }
        self.hashes.push(hash);
        self.next += 1;
        Ok(())
    }

    /// Writes the buffer's whole blocks.
    fn flush(&mut self) -> Result<(), WriteError> {
        let whole = self.target.shared.byte_count(&self.unwritten()) as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = self.write(&buffer[..whole]);
        buffer.drop_front(whole);
        self.buffer = buffer;
        outcome
    }

    /// Lets the full buffer of whole blocks be written behind our back, and goes on with another one; an error is one of an
    /// earlier run.
    fn hand_over(&mut self) -> Result<(), WriteError> {
        if self.behind.is_none() {
            self.behind = WriteBehind::of(&self.target);
        }
        let first = self.unwritten().start;
        let Some(behind) = &mut self.behind else { return self.flush() };
        let run = Run { first, hashes: std::mem::take(&mut self.hashes), bytes: std::mem::take(&mut self.buffer) };
        let (outcome, empty) = behind.hand_over(&self.target, run);
        self.buffer = empty;
        outcome
    }

    /// Writes all that is whole, and waits for what is on its way.
    fn flush_all(&mut self) -> Result<(), WriteError> {
        let before = self.behind.as_mut().map_or(Ok(()), WriteBehind::drain);
        before.and(self.flush())
    }

    /// The hashed blocks that are not written yet.
    fn unwritten(&self) -> Range<u32> {
        self.next - self.hashes.len() as u32..self.next
    }

    /// Writes `bytes`, exactly the unwritten hashed blocks.
    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let outcome = self.target.write(self.unwritten().start, &self.hashes, bytes);
        self.hashes.clear();
        outcome
    }

    /// Accounts for what an error leaves behind: right blocks in the buffer are kept, the rest is wasted.
    fn drop_buffer(&mut self, error: &WriteError, lost: u64) {
        if let Err(error) = self.flush_all() {
            tracing::debug!(%error, "blocks before a failure were not kept");
        }
        let reason = match error {
            WriteError::WrongBlock { .. } | WriteError::PastEnd { .. } => Waste::Corrupt,
            WriteError::Unverified { .. } | WriteError::Spent | WriteError::Disk(_) => Waste::Aborted,
        };
        self.target.waste(reason, self.buffer.len() as u64 + lost);
        self.buffer.clear();
    }
}

impl Drop for RunWriter {
    /// A writer that is dropped unfinished keeps its whole blocks, like one that is finished.
    fn drop(&mut self) {
        if !self.is_spent {
            self.is_spent = true;
            if let Err(error) = self.flush_all() {
                tracing::debug!(%error, "blocks of an abandoned writer were not kept");
            }
            self.target.waste(Waste::Aborted, self.buffer.len() as u64);
        }
    }
}
