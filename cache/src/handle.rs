//! The handle on one entity: everything that can be asked of it, and the lease that keeps it here.

use crate::content::Content;
use crate::entity::Shared;
use crate::fault::{CommitError, DiskFault, ReadError};
use crate::ledger::{Account, Source};
use crate::mirror::Mirror;
use crate::pending::{CommitAnswer, PendingCommit};
use crate::read::RunReader;
use crate::row::EntityRecord;
use crate::writer::RunWriter;
use eddy_content::{BlockHash, BlockSet, Entity, EntityId, Geometry, Root, tree};
use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// A signed statement as the store sees it: opaque bytes about a run of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredStatement {
    /// First block that it speaks of.
    pub first_block: u32,
    /// How many blocks.
    pub count: u32,
    /// The statement itself, at most 4 KiB.
    pub bytes: Vec<u8>,
}

/// An open entity. While any clone lives, the entity is neither evicted nor removed.
///
/// Commit before the last handle goes: blocks that are written and not committed are dropped with it.
#[derive(Clone)]
pub struct EntityHandle {
    shared: Arc<Shared>,
}

impl EntityHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The version.
    #[must_use]
    pub fn entity(&self) -> &Entity {
        &self.shared.record.entity
    }

    /// The node-local name.
    #[must_use]
    pub fn id(&self) -> EntityId {
        self.shared.id
    }

    /// What the index said of the entity when it was opened.
    #[must_use]
    pub fn record(&self) -> &EntityRecord {
        &self.shared.record
    }

    /// Its block arithmetic.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.shared.geometry
    }

    /// The acknowledged blocks: durable, and hashed whenever they are read.
    #[must_use]
    pub fn held(&self) -> BlockSet {
        self.shared.blocks().held.clone()
    }

    /// Whether a block can be read by [`Self::read_written`]: it is held, or written and not yet durable.
    #[must_use]
    pub fn is_readable(&self, block: u32) -> bool {
        let state = self.shared.blocks();
        state.held.contains(block) || state.written.contains_key(&block)
    }

    /// The blocks that can be read by [`Self::read_written`], and those of them that this node fetched from the origin over its own
    /// connection: it may sign for them.
    #[must_use]
    pub fn readable(&self) -> (BlockSet, BlockSet) {
        self.readable_of(self.shared.geometry.all_blocks())
    }

    /// The same of these blocks alone: thousands may be written and not yet durable, and who follows wants to know of a few each time.
    #[must_use]
    pub fn readable_of(&self, blocks: Range<u32>) -> (BlockSet, BlockSet) {
        let asked = BlockSet::from_run(blocks.clone());
        let state = self.shared.blocks();
        let (mut readable, mut here) = (state.held.intersection(&asked), state.fetched_here.intersection(&asked));
        if matches!(self.shared.content, Content::Files(_)) && !blocks.is_empty() {
            readable.union_with(&state.written.range(blocks).map(|(block, _)| *block..*block + 1).collect());
            here.union_with(&state.written_here.intersection(&asked));
        }
        (readable, here)
    }

    /// The hashes of blocks that can be read by [`Self::read_written`], each held or written.
    pub fn readable_hashes(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        self.shared.readable_hashes(blocks)
    }

    /// The same as far as they can be had without waiting for the disk.
    #[must_use]
    pub fn readable_hashes_at_hand(&self, blocks: Range<u32>) -> Option<Vec<BlockHash>> {
        self.shared.readable_hashes_at_hand(blocks)
    }

    /// Reads blocks that are all held, or all written and not yet durable; each is hashed on its way out (C-21).
    pub fn read_written(&self, blocks: Range<u32>, into: &mut Vec<u8>) -> Result<(), ReadError> {
        self.shared.read_written(blocks, into)
    }

    /// Whether every block is held.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.shared.blocks().held.contains_run(self.shared.geometry.all_blocks())
    }

    /// The held blocks that this node fetched from the origin over its own connection: it may sign for them.
    #[must_use]
    pub fn fetched_here(&self) -> BlockSet {
        self.shared.blocks().fetched_here.clone()
    }

    /// A writer of consecutive blocks. A writer for a peer must be told what to [`RunWriter::expect`].
    #[must_use]
    pub fn writer(&self, first_block: u32, source: Source, account: Account) -> RunWriter {
        RunWriter::new(Arc::clone(&self.shared), first_block, source, account)
    }

    /// A mirror in the empty file `file` that stands at `path`: a writer that is told of it ([`RunWriter::mirror`]) brings
    /// every block there, too. When all blocks are held and the file system can share extents between the two, they are all
    /// there from the beginning, hashed where they stand.
    pub fn mirror(&self, path: &Path, file: File) -> Result<Mirror, DiskFault> {
        Mirror::new(&self.shared, path, file)
    }

    /// The held blocks that stand in the mirror with the very bytes that their hashes here speak of.
    #[must_use]
    pub fn mirrored(&self, mirror: &Mirror) -> BlockSet {
        mirror.blocks(&self.shared)
    }

    /// Whether 64 MiB or 1 s of written blocks wait for a commit.
    #[must_use]
    pub fn is_commit_due(&self) -> bool {
        self.shared.is_commit_due()
    }

    /// Makes written blocks durable and acknowledges them, with provenance and ledger, in one transaction (C-01).
    ///
    /// Gives the newly acknowledged blocks; cheap when nothing waits. After an error they are dropped and must be
    /// fetched again (C-08). May run beside writers of the same entity.
    pub fn commit(&self) -> Result<BlockSet, CommitError> {
        self.shared.commit()
    }

    /// The same of an entity that lies in the index, without a thread that waits: `told` hears on the committing thread what became of
    /// it, and passes that on to whoever ends the commit. It must not wait for anything, nor drop a handle. `None` where the entity has
    /// files, or another commit of it is under way.
    pub fn begin_commit(&self, told: impl FnOnce(CommitAnswer) + Send + 'static) -> Option<PendingCommit> {
        PendingCommit::begin(&self.shared, told)
    }

    /// Whether to let go of it writes nothing: it is settled, and nothing waits for its lease.
    #[must_use]
    pub fn ends_quietly(&self) -> bool {
        self.shared.is_settled() && !self.shared.core.is_overfull()
    }

    /// Whether its bytes lie in the index, so that a writer writes to memory alone.
    #[must_use]
    pub fn is_in_index(&self) -> bool {
        matches!(self.shared.content, Content::Index(_))
    }

    /// What is read next is what the disk has, not what is in memory of a small entity.
    pub(crate) fn forget_at_hand(&self) {
        if let Content::Index(inline) = &self.shared.content {
            inline.forget();
        }
    }

    /// Whether [`Self::commit`] has nothing to do, and nobody else is about to: what was written is held.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.shared.is_settled()
    }

    /// The hashes of held blocks.
    pub fn block_hashes(&self, blocks: Range<u32>) -> Result<Vec<BlockHash>, ReadError> {
        self.shared.hashes_of_held(blocks)
    }

    /// Reads held blocks into `into`, which is overwritten. Every block is hashed on its way out; one that is wrong is
    /// dropped from the held set and reported, and nothing is given out.
    pub fn read_run(&self, blocks: Range<u32>, into: &mut Vec<u8>) -> Result<(), ReadError> {
        self.shared.read_run(blocks, into)
    }

    /// Reads the blocks from `first` on, each held or written and not yet durable, into `into`, which is overwritten: those that have these
    /// hashes, which somebody was told (C-21). One that was fetched anew and differs is [`ReadError::Replaced`], and nothing is given out.
    pub fn read_as(&self, first: u32, hashes: &[BlockHash], into: &mut Vec<u8>) -> Result<(), ReadError> {
        self.shared.read_as(first, hashes, into).inspect_err(|_| into.clear())
    }

    /// Reads a block that is held, or written and not yet durable, without waiting for the disk, if it has this hash (C-21); `None` where it
    /// has not, does not lie in memory, or where [`Self::read_as`] has something to say about it. What is in `into` then is nothing.
    pub fn read_at_hand(&self, block: u32, hash: BlockHash, into: &mut Vec<u8>) -> Option<()> {
        let read = self.shared.read_at_hand(block, hash, into);
        if read.is_none() {
            into.clear();
        }
        read
    }

    /// The hashes of held blocks as far as they can be had without waiting for the disk.
    #[must_use]
    pub fn hashes_at_hand(&self, blocks: Range<u32>) -> Option<Vec<BlockHash>> {
        self.shared.hashes_at_hand(blocks)
    }

    /// Whether others may have it, so far as is known without the index: its record says so, and it has not turned private since.
    #[must_use]
    pub fn is_shareable(&self) -> bool {
        self.shared.is_shareable()
    }

    /// Strikes held blocks off that are not what they should be.
    pub fn quarantine(&self, rotten: &BlockSet) {
        self.shared.quarantine(rotten);
    }

    /// Puts held blocks aside because the word that they were believed by is worth nothing: they are held no more.
    pub fn set_aside(&self, doubted: &BlockSet) {
        self.shared.set_aside(&doubted.intersection(&self.held()));
    }

    /// A reader for a delivery, which needs every byte once.
    #[must_use]
    pub fn reader(&self) -> RunReader {
        RunReader::new(Arc::clone(&self.shared))
    }

    /// Keeps statements, durable with the next commit; says how many were new and fitted the bounds.
    pub fn put_statements(&self, statements: &[StoredStatement]) -> usize {
        self.shared.add_statements(statements)
    }

    /// Whether a statement is kept; one that was put and is not found no room.
    #[must_use]
    pub fn has_statement(&self, statement: &StoredStatement) -> bool {
        self.shared.blocks().statements.contains(statement)
    }

    /// The statements that speak of any of `blocks`, by the blocks that they speak of.
    #[must_use]
    pub fn statements(&self, blocks: Range<u32>) -> Vec<StoredStatement> {
        self.shared.blocks().statements.about(blocks)
    }

    /// The runs of all statements, in the order in which they came: without their bytes, of which there may be many.
    #[must_use]
    pub fn statement_runs(&self) -> Vec<Range<u32>> {
        let run = |kept: &StoredStatement| kept.first_block..kept.first_block.saturating_add(kept.count);
        self.shared.blocks().statements.iter().map(run).collect()
    }

    /// Bytes of all statements: they are in memory while it is open.
    #[must_use]
    pub fn statement_bytes(&self) -> u64 {
        let bytes = |kept: &StoredStatement| (size_of::<StoredStatement>() + kept.bytes.len()) as u64;
        self.shared.blocks().statements.iter().map(bytes).sum()
    }

    /// How many statements are kept of it: they are in memory while it is open.
    #[must_use]
    pub fn statement_count(&self) -> usize {
        self.shared.blocks().statements.len()
    }

    /// The BLAKE3 hash of the whole, when all blocks are held and their hashes can be read.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        let geometry = self.shared.geometry;
        let hashes = self.shared.hashes_of_held(geometry.all_blocks()).ok()?;
        tree::root(&geometry, &hashes)
    }

    /// Notes a use, for the order of eviction.
    pub fn touch(&self) {
        self.shared.core.touch(self.shared.id);
    }
}

impl fmt::Debug for EntityHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityHandle").field("id", &self.id()).field("url", &self.entity().url).finish_non_exhaustive()
    }
}
