//! Where the bytes of an open entity are: in two files, or, when they are one block at most, in the index.
//!
//! A small object in files of its own costs four syncs and two inodes; in the index it costs a share of one transaction,
//! with its admission in the same one. Until that commit it is in memory alone: nothing of it is acknowledged, and nothing of
//! it is on disk (C-01). From then on it is in both as long as the entity is open. What is read is hashed like any block (C-21).

use crate::direct::BlockFile;
use crate::disk;
use crate::fault::{DiskFault, IndexFault, ReadError};
use crate::handle::StoredStatement;
use crate::index::{Change, Index};
use crate::outboard::{self, Layout};
use bytes::Bytes;
use eddy_content::{BLOCK_SIZE, BlockHash, EntityId};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of the longest entity that lies in the index: one block, and with its seal far below a row's bound (C-09).
pub(crate) const MOST_IN_INDEX: u64 = BLOCK_SIZE;

/// The place of an open entity's bytes.
pub(crate) enum Content {
    /// Two files.
    Files(FilePair),
    /// A row.
    Index(Inline),
}

/// The open files of an entity, and where things stand in the outboard.
pub(crate) struct FilePair {
    pub(crate) data: BlockFile,
    pub(crate) outboard: BlockFile,
    pub(crate) layout: Layout,
}

/// An entity of at most one block, in the index.
pub(crate) struct Inline {
    index: Arc<Index>,
    id: EntityId,
    generation: u64,
    /// The file that it is in, for faults.
    path: PathBuf,
    block: Mutex<AtHand>,
}

/// The block of an entity that lies in the index, once it was written or read while it is open: who delivers or gives it asks for the hash
/// and then for the bytes, and each time the whole row would be held against its seal.
#[derive(Default)]
enum AtHand {
    #[default]
    Nothing,
    /// It is not durable.
    Written(Bytes),
    /// The index has it under this hash.
    Kept(BlockHash, Bytes),
}

impl Content {
    /// Whether what is read once comes past the page cache.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Files(pair) if pair.data.is_direct())
    }

    /// Writes the bytes of whole blocks; nothing is durable yet.
    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), DiskFault> {
        match self {
            Self::Files(pair) => pair.data.write_at(bytes, offset),
            Self::Index(inline) => {
                *inline.block() = AtHand::Written(Bytes::copy_from_slice(bytes));
                Ok(())
            }
        }
    }

    /// The statements that are kept, at most `limit`, and where the next one goes.
    pub(crate) fn statements(&self, limit: usize) -> Result<(Vec<StoredStatement>, u64), DiskFault> {
        match self {
            Self::Files(pair) => pair.layout.read_statements(&*pair.outboard.file(), &pair.outboard.path, limit),
            Self::Index(inline) => {
                let bytes = inline.index.inline_statements(&inline.id).map_err(|fault| inline.fault(&fault))?;
                let mut statements = Vec::new();
                let mut rest = bytes.as_slice();
                while statements.len() < limit
                    && let Some((statement, length)) = outboard::decode_statement(rest)
                {
                    statements.push(statement);
                    rest = &rest[length..];
                }
                Ok((statements, 0))
            }
        }
    }

    /// Where the first statement goes.
    pub(crate) fn first_statement(&self) -> u64 {
        match self {
            Self::Files(pair) => pair.layout.statements(),
            Self::Index(_) => 0,
        }
    }

    /// Takes nothing that was written for durable, after a failed commit (C-08).
    pub(crate) fn distrust(&self) {
        match self {
            Self::Files(pair) => {
                pair.data.reopen();
                pair.outboard.reopen();
            }
            Self::Index(inline) => *inline.block() = AtHand::Nothing,
        }
    }

    /// The hashes of held blocks; wrong ones where they are gone.
    pub(crate) fn hashes(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, DiskFault> {
        match self {
            Self::Files(pair) => pair.layout.read_hashes(&*pair.outboard.file(), &pair.outboard.path, blocks),
            Self::Index(_) if blocks.is_empty() => Ok(Vec::new()),
            Self::Index(inline) => Ok(vec![inline.hash()?.unwrap_or(BlockHash([0; 32]))]),
        }
    }
}

impl FilePair {
    /// Makes what was written durable: hashes and statements, then the data, then the outboard (C-01).
    pub(crate) fn make_durable(
        &self,
        hashes: &[(u32, &[BlockHash])],
        statements: (&[u8], u64),
    ) -> Result<(), DiskFault> {
        let outboard = self.outboard.file();
        for (first, hashes) in hashes {
            self.layout.write_hashes(&*outboard, &self.outboard.path, *first, hashes)?;
        }
        if !statements.0.is_empty() {
            disk::write_at(&*outboard, &self.outboard.path, statements.0, statements.1)?;
        }
        if !hashes.is_empty() {
            disk::sync_bytes(&*self.data.file(), &self.data.path)?;
        }
        if !hashes.is_empty() || !statements.0.is_empty() {
            disk::sync_bytes(&*outboard, &self.outboard.path)?;
        }
        Ok(())
    }
}

impl Inline {
    /// An entity in the file `path` of the index.
    pub(crate) fn new(index: Arc<Index>, path: PathBuf, id: EntityId, generation: u64) -> Self {
        Self { index, id, generation, path, block: Mutex::default() }
    }

    fn block(&self) -> MutexGuard<'_, AtHand> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The change that puts the written block, of this hash, into the index.
    pub(crate) fn change(&self, hash: BlockHash) -> Change {
        let bytes = match &*self.block() {
            AtHand::Nothing => Bytes::new(),
            AtHand::Written(bytes) | AtHand::Kept(_, bytes) => bytes.clone(),
        };
        Change::Inline { id: self.id, generation: self.generation, hash, bytes }
    }

    /// The change that keeps these statements, and no others.
    pub(crate) fn statements_change(&self, statements: &[StoredStatement]) -> Change {
        let bytes = statements.iter().flat_map(outboard::encode_statement).collect();
        Change::InlineStatements { id: self.id, generation: self.generation, bytes }
    }

    /// The index has the written block under this hash.
    pub(crate) fn is_kept(&self, hash: BlockHash) {
        let mut block = self.block();
        if let AtHand::Written(bytes) = &*block {
            *block = AtHand::Kept(hash, bytes.clone());
        }
    }

    /// What the index has is not to be taken from memory: the row is asked for.
    pub(crate) fn forget(&self) {
        let mut block = self.block();
        if matches!(*block, AtHand::Kept(..)) {
            *block = AtHand::Nothing;
        }
    }

    /// The block and its hash, if the index has them and they are in memory.
    pub(crate) fn at_hand(&self) -> Option<(BlockHash, Bytes)> {
        match &*self.block() {
            AtHand::Kept(hash, bytes) => Some((*hash, bytes.clone())),
            AtHand::Nothing | AtHand::Written(_) => None,
        }
    }

    /// The block and its hash, as they were put into the index or are in it.
    pub(crate) fn read(&self) -> Result<Option<(BlockHash, Bytes)>, DiskFault> {
        if let Some(kept) = self.at_hand() {
            return Ok(Some(kept));
        }
        let found = self.index.inline(&self.id, self.generation).map_err(|fault| self.fault(&fault))?;
        let Some((hash, bytes)) = found.map(|(hash, bytes)| (hash, Bytes::from(bytes))) else { return Ok(None) };
        let mut block = self.block();
        if matches!(*block, AtHand::Nothing) {
            *block = AtHand::Kept(hash, bytes.clone());
        }
        Ok(Some((hash, bytes)))
    }

    /// The hash of the block.
    fn hash(&self) -> Result<Option<BlockHash>, DiskFault> {
        Ok(self.read()?.map(|(hash, _)| hash))
    }

    /// The block of `length` bytes, with the hash that it should have.
    pub(crate) fn read_block(&self, length: usize) -> Result<(BlockHash, Bytes), ReadError> {
        let found = self.read()?.filter(|(_, bytes)| bytes.len() == length);
        found.ok_or(ReadError::Corrupt { block: 0 })
    }

    fn fault(&self, fault: &IndexFault) -> DiskFault {
        fault.of_file(&self.path)
    }
}
