//! The shared state of one open entity: its blocks, and what waits to be committed.
//!
//! Blocks go `free -> claimed (a writer has it) -> pending (written) -> held (acknowledged)`. The lock on [`Blocks`] is
//! held for set arithmetic only, never across a system call.

#[cfg(test)]
mod failed_sync;
mod statements;

pub use statements::MAX_STATEMENTS;

use crate::content::{Content, Inline};
use crate::fault::{CommitError, DiskFault, StoreError};
use crate::handle::StoredStatement;
use crate::index::Change;
use crate::ledger::{Account, Flow, FlowChange, Source, Waste};
use crate::outboard;
use crate::row::{EntityRecord, Privacy};
use crate::store::Core;
use eddy_content::{BlockHash, BlockSet, EntityId, Geometry};
use statements::Statements;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Written bytes after which a commit is due (C-01).
const BATCH_BYTES: u64 = 64 << 20;
/// Age of the oldest written byte after which a commit is due (C-01).
const BATCH_AGE: Duration = Duration::from_secs(1);

/// One open entity; as long as it lives, the entity is not evicted.
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) record: EntityRecord,
    pub(crate) id: EntityId,
    pub(crate) geometry: Geometry,
    pub(crate) content: Content,
    /// Whether the index has its row; one that lies in the index gets it with its first commit.
    has_row: Arc<AtomicBool>,
    /// Whether the record has turned private since it was read.
    has_turned_private: AtomicBool,
    blocks: Arc<Mutex<Blocks>>,
    /// Taken for the length of a commit: commits of one entity follow each other, writers go on meanwhile.
    turn: Turn,
}

/// The turn to commit an entity. No lock: a commit may begin on one thread and end on another.
#[derive(Default)]
struct Turn {
    is_taken: Mutex<bool>,
    given_back: Condvar,
}

impl Turn {
    fn is_taken(&self) -> MutexGuard<'_, bool> {
        self.is_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn, which lasts as long as the value.
    fn take(&self) -> Taken<'_> {
        let mut is_taken = self.is_taken();
        while *is_taken {
            is_taken = self.given_back.wait(is_taken).unwrap_or_else(PoisonError::into_inner);
        }
        *is_taken = true;
        Taken(self)
    }

    /// Takes it if nobody has it; whoever does gives it back.
    fn try_take(&self) -> bool {
        !std::mem::replace(&mut *self.is_taken(), true)
    }

    fn give_back(&self) {
        *self.is_taken() = false;
        self.given_back.notify_one();
    }
}

/// A turn that ends with this.
struct Taken<'t>(&'t Turn);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.give_back();
    }
}

/// Which blocks are where on their way to being held.
#[derive(Default)]
pub(crate) struct Blocks {
    pub(crate) held: BlockSet,
    pub(crate) fetched_here: BlockSet,
    /// Being written, written, or being committed.
    claimed: BlockSet,
    pending: Vec<PendingRun>,
    /// The hashes of blocks that are written and not yet held.
    pub(crate) written: BTreeMap<u32, BlockHash>,
    /// Those of them that came from the origin to this node.
    pub(crate) written_here: BlockSet,
    pending_bytes: u64,
    oldest: Option<Instant>,
    flows: BTreeMap<(Account, Source), Flow>,
    pub(crate) statements: Statements,
    /// How many of the statements are in the file, and where the next one goes.
    saved_statements: usize,
    statements_end: u64,
    /// Raised when a sync fails: whatever was written under an older epoch is not believed (C-08).
    epoch: u64,
    /// How often the store took back what it had believed, or was about to.
    retractions: u64,
    /// Whether a batch was taken whose end is not known yet.
    is_committing: bool,
}

/// Blocks that are written and not yet durable.
struct PendingRun {
    first: u32,
    hashes: Vec<BlockHash>,
    source: Source,
    account: Account,
}

impl PendingRun {
    fn blocks(&self) -> Range<u32> {
        self.first..self.first + self.hashes.len() as u32
    }

    /// Whether blocks from `first` on of this source and account go on where it ends.
    fn is_followed_by(&self, first: u32, source: Source, account: Account) -> bool {
        self.blocks().end == first && self.source == source && self.account == account
    }
}

/// What one commit carries.
#[derive(Default)]
pub(crate) struct Batch {
    runs: Vec<PendingRun>,
    flows: BTreeMap<(Account, Source), Flow>,
    statements: Vec<u8>,
    statements_at: u64,
}

impl Batch {
    fn blocks(&self) -> BlockSet {
        self.runs.iter().map(PendingRun::blocks).collect()
    }

    fn fetched_here(&self) -> BlockSet {
        self.runs.iter().filter(|run| matches!(run.source, Source::Origin { .. })).map(PendingRun::blocks).collect()
    }
}

/// Blocks that a writer may write now.
pub(crate) struct Claim {
    pub(crate) blocks: Range<u32>,
    epoch: u64,
}

impl Shared {
    /// Puts an entity together from its content and what the index says of it.
    pub(crate) fn new(
        core: Arc<Core>,
        record: EntityRecord,
        geometry: Geometry,
        content: Content,
        sets: (BlockSet, BlockSet),
    ) -> Result<Self, DiskFault> {
        let (held, fetched_here) = sets;
        let (statements, statements_end) = content.statements(MAX_STATEMENTS)?;
        let (saved_statements, statements) = (statements.len(), Statements::of(statements));
        let blocks = Blocks { held, fetched_here, statements, saved_statements, statements_end, ..Blocks::default() };
        let blocks = Arc::new(Mutex::new(blocks));
        let (id, has_row, has_turned_private) = (record.id(), Arc::new(AtomicBool::new(true)), AtomicBool::new(false));
        let turn = Turn::default();
        Ok(Self { core, record, id, geometry, content, has_row, has_turned_private, blocks, turn })
    }

    /// An entity that lies in the index and is not there yet: its row comes with the first commit.
    pub(crate) fn unborn(core: Arc<Core>, record: EntityRecord, geometry: Geometry) -> Self {
        core.expect(&record);
        let content = Content::Index(core.inline(&record));
        let (id, has_row, blocks) = (record.id(), Arc::default(), Arc::default());
        let (has_turned_private, turn) = (AtomicBool::new(false), Turn::default());
        Self { core, record, id, geometry, content, has_row, has_turned_private, blocks, turn }
    }

    /// Whether the index has its row, and its blocks, also for whoever has no handle.
    pub(crate) fn state(&self) -> (Arc<AtomicBool>, Arc<Mutex<Blocks>>) {
        (Arc::clone(&self.has_row), Arc::clone(&self.blocks))
    }

    /// From now on nobody else may have it, whatever its record said when it was read.
    pub(crate) fn turn_private(&self) {
        self.has_turned_private.store(true, Release);
    }

    /// Whether others may have it.
    pub(crate) fn is_shareable(&self) -> bool {
        self.record.privacy == Privacy::Shareable && !self.has_turned_private.load(Acquire)
    }

    /// Makes sure that the index has the entity's row.
    pub(crate) fn ensure_row(&self) -> Result<(), StoreError> {
        // Whoever asks has the turn of all admissions: not for as long as somebody else syncs what he writes.
        if self.has_row.load(Acquire) {
            return Ok(());
        }
        let _one_at_a_time = self.turn.take();
        self.core.committer.commit(self.birth())?;
        self.is_born();
        Ok(())
    }

    /// The changes that give it its row; none when it has one.
    fn birth(&self) -> Vec<Change> {
        if self.has_row.load(Relaxed) { Vec::new() } else { self.core.birth(&self.record) }
    }

    fn is_born(&self) {
        if !self.has_row.swap(true, Relaxed) {
            self.core.expect_no_more(&self.record);
        }
    }

    /// The block sets, for a moment.
    pub(crate) fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of a run of blocks.
    pub(crate) fn byte_count(&self, blocks: &Range<u32>) -> u64 {
        let bytes = self.geometry.bytes_of(blocks.clone());
        bytes.end - bytes.start
    }

    /// Claims the first run of `blocks` that nobody has; what lies before it counts as duplicate waste.
    /// `None` when all of it is taken.
    pub(crate) fn claim(&self, blocks: Range<u32>, account: Account, source: Source) -> Option<Claim> {
        let mut state = self.blocks();
        let mut free = BlockSet::from_run(blocks.clone());
        if !state.held.is_empty() {
            free.difference_with(&state.held);
        }
        free.difference_with(&state.claimed);
        let run = free.first_run();
        let duplicate = blocks.start..run.as_ref().map_or(blocks.end, |run| run.start);
        if !duplicate.is_empty() {
            let bytes = self.byte_count(&duplicate);
            state.waste(account, source, Waste::Duplicate, bytes);
        }
        let blocks = run?;
        state.claimed.insert(blocks.clone());
        Some(Claim { blocks, epoch: state.epoch })
    }

    /// Notes that claimed blocks are written; they wait for a commit. `false` when a sync failed meanwhile.
    pub(crate) fn wrote(&self, claim: &Claim, hashes: &[BlockHash], account: Account, source: Source) -> bool {
        let bytes = self.byte_count(&claim.blocks);
        let mut state = self.blocks();
        if state.epoch != claim.epoch {
            state.give_back(&claim.blocks, account, source, bytes);
            return false;
        }
        state.flow(account, source).use_up(bytes);
        state.written.extend(claim.blocks.clone().zip(hashes.iter().copied()));
        if matches!(source, Source::Origin { .. }) {
            state.written_here.insert(claim.blocks.clone());
        }
        state.pending_bytes += bytes;
        state.oldest.get_or_insert_with(Instant::now);
        match state.pending.last_mut() {
            Some(last) if last.is_followed_by(claim.blocks.start, source, account) => {
                last.hashes.extend_from_slice(hashes);
            }
            _ => state.pending.push(PendingRun { first: claim.blocks.start, hashes: hashes.to_vec(), source, account }),
        }
        true
    }

    /// Gives claimed blocks back that could not be written.
    pub(crate) fn abandon(&self, claim: &Claim, account: Account, source: Source) {
        let bytes = self.byte_count(&claim.blocks);
        self.blocks().give_back(&claim.blocks, account, source, bytes);
    }

    /// Whether enough waits, or long enough, that a commit is due.
    pub(crate) fn is_commit_due(&self) -> bool {
        let state = self.blocks();
        state.pending_bytes >= BATCH_BYTES || state.oldest.is_some_and(|at| at.elapsed() >= BATCH_AGE)
    }

    /// Whether a commit has nothing to do: all that was written, said and counted is durable.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.blocks();
        let waits = state.is_committing || !state.pending.is_empty() || !state.flows.is_empty();
        let is_said = state.saved_statements == state.statements.len();
        self.has_row.load(Relaxed) && !waits && is_said && state.claimed.is_empty()
    }

    /// Keeps new statements for the next commit; says how many were taken.
    pub(crate) fn add_statements(&self, new: &[StoredStatement]) -> usize {
        let most = statements::most(&self.geometry);
        let most_bytes = match self.content {
            Content::Index(_) => statements::MOST_INLINE_BYTES,
            Content::Files(_) => usize::MAX,
        };
        let mut state = self.blocks();
        let before = state.statements.len();
        for statement in new {
            let length = statement.bytes.len();
            let has_room = state.statements.len() < most && state.statements.bytes() + length <= most_bytes;
            if has_room && length <= outboard::MAX_STATEMENT {
                state.statements.add(statement);
            }
        }
        state.statements.len() - before
    }

    /// Makes what is written durable, then acknowledged (C-01); gives the newly acknowledged blocks.
    pub(crate) fn commit(&self) -> Result<BlockSet, CommitError> {
        let _one_at_a_time = self.turn.take();
        let batch = self.begin_batch();
        let outcome = self.make_durable(&batch);
        self.end_batch(batch, outcome)
    }

    /// Takes what waits for a commit of an entity that lies in the index, and the changes that it is; nothing where a commit is under way.
    /// Whoever gets it has the turn until [`Self::end_turn`].
    pub(crate) fn begin_turn(&self) -> Option<(Batch, Vec<Change>)> {
        let Content::Index(inline) = &self.content else { return None };
        if !self.turn.try_take() {
            return None;
        }
        let batch = self.begin_batch();
        let changes = self.changes(&batch, self.inline_changes(inline, &batch));
        Some((batch, changes))
    }

    /// Ends a turn: what became of its batch, if that is known.
    pub(crate) fn end_turn(
        &self,
        batch: Batch,
        outcome: Option<Result<(), StoreError>>,
    ) -> Result<BlockSet, CommitError> {
        let _ends = Taken(&self.turn);
        if let Some(outcome) = outcome {
            return self.end_batch(batch, outcome);
        }
        // It is in the index, with its place in the ledger, or it is not: nobody here counts on it, and it is not booked again.
        let blocks = batch.blocks();
        let mut state = self.blocks();
        state.is_committing = false;
        state.claimed.difference_with(&blocks);
        state.written.retain(|block, _| !blocks.contains(*block));
        state.written_here.difference_with(&blocks);
        // Whether the statements are there nobody knows either: they are offered again.
        state.saved_statements = 0;
        state.statements_end = self.content.first_statement();
        Err(CommitError { blocks: blocks.len(), source: StoreError::Closing })
    }

    fn begin_batch(&self) -> Batch {
        let mut state = self.blocks();
        state.is_committing = true;
        state.take_batch()
    }

    fn end_batch(&self, batch: Batch, outcome: Result<(), StoreError>) -> Result<BlockSet, CommitError> {
        if let Err(source) = outcome {
            return Err(self.drop_unknown(batch, source));
        }
        self.is_born();
        if let (Content::Index(inline), Some(hash)) =
            (&self.content, batch.runs.iter().flat_map(|run| &run.hashes).last())
        {
            inline.is_kept(*hash);
        }
        let blocks = batch.blocks();
        let mut state = self.blocks();
        state.is_committing = false;
        state.held.union_with(&blocks);
        state.fetched_here.difference_with(&blocks);
        state.fetched_here.union_with(&batch.fetched_here());
        state.claimed.difference_with(&blocks);
        state.written.retain(|block, _| !blocks.contains(*block));
        state.written_here.difference_with(&blocks);
        Ok(blocks)
    }

    fn make_durable(&self, batch: &Batch) -> Result<(), StoreError> {
        let content = match &self.content {
            Content::Files(pair) => {
                let hashes: Vec<_> = batch.runs.iter().map(|run| (run.first, run.hashes.as_slice())).collect();
                pair.make_durable(&hashes, (&batch.statements, batch.statements_at))?;
                Vec::new()
            }
            Content::Index(inline) => self.inline_changes(inline, batch),
        };
        self.core.committer.commit(self.changes(batch, content))
    }

    /// The bytes of a batch, and the statements, of an entity that lies in the index.
    fn inline_changes(&self, inline: &Inline, batch: &Batch) -> Vec<Change> {
        let bytes = batch.runs.iter().flat_map(|run| &run.hashes).map(|hash| inline.change(*hash));
        let statements =
            (!batch.statements.is_empty()).then(|| inline.statements_change(self.blocks().statements.since(0)));
        bytes.chain(statements).collect()
    }

    /// The changes of a batch: its row first, if it has none; `content` where that lies in the index, ledger, blocks.
    fn changes(&self, batch: &Batch, content: Vec<Change>) -> Vec<Change> {
        let flow = |(&(account, source), &flow): (&(Account, Source), &Flow)| {
            Change::Flow(FlowChange { account, source, flow })
        };
        let add = batch.blocks();
        let held = (!add.is_empty()).then(|| Change::Blocks {
            id: self.id,
            generation: self.record.generation,
            add,
            fetched_here: batch.fetched_here(),
            remove: BlockSet::new(),
        });
        self.birth().into_iter().chain(content).chain(batch.flows.iter().map(flow)).chain(held).collect()
    }

    /// After a failed commit nothing that was written since the last good one is believed: a failed sync marks dirty
    /// pages clean, also those of blocks that are not in this batch (C-08).
    fn drop_unknown(&self, batch: Batch, source: StoreError) -> CommitError {
        tracing::warn!(entity = %self.record.entity.url, error = %source, "written blocks could not be made durable");
        let mut state = self.blocks();
        let later = state.take_batch();
        state.is_committing = false;
        state.epoch += 1;
        state.retractions += 1;
        state.written.clear();
        state.written_here = BlockSet::new();
        let mut dropped = 0;
        for batch in [batch, later] {
            for ((account, source), flow) in batch.flows {
                state.flow(account, source).merge(&flow);
            }
            for run in batch.runs {
                let blocks = run.blocks();
                dropped += blocks.end - blocks.start;
                let bytes = self.byte_count(&blocks);
                state.claimed.remove(blocks);
                state.flow(run.account, run.source).spoil(Waste::Aborted, bytes);
            }
        }
        // Statements that may not be in the file are offered again under new places.
        state.saved_statements = 0;
        state.statements_end = self.content.first_statement();
        if matches!(self.content, Content::Index(_)) {
            // Before anybody writes it anew: that would be in memory, and gone again.
            self.content.distrust();
            drop(state);
        } else {
            drop(state);
            self.content.distrust();
        }
        CommitError { blocks: dropped, source }
    }

    /// Drops blocks that are not what they should be.
    pub(crate) fn quarantine(&self, rotten: &BlockSet) {
        tracing::error!(entity = %self.record.entity.url, blocks = rotten.len(), "cached blocks are corrupt: dropped");
        self.drop_blocks(rotten);
    }

    /// Puts blocks aside whose bytes are what their hashes say, and whose hashes nobody vouches for any more.
    pub(crate) fn set_aside(&self, doubted: &BlockSet) {
        tracing::warn!(entity = %self.record.entity.url, blocks = doubted.len(), "cached blocks are put aside");
        self.drop_blocks(doubted);
    }

    /// Drops blocks: durably first, so that they are not rewritten while they count.
    fn drop_blocks(&self, rotten: &BlockSet) {
        let change = Change::Blocks {
            id: self.id,
            generation: self.record.generation,
            add: BlockSet::new(),
            fetched_here: BlockSet::new(),
            remove: rotten.clone(),
        };
        if let Err(error) = self.core.committer.commit(vec![change]) {
            // They are dropped in this process all the same; the next one finds them by their hash.
            tracing::error!(%error, "blocks could not be struck off the index");
        }
        if let Content::Index(inline) = &self.content {
            inline.forget();
        }
        let mut state = self.blocks();
        state.retractions += 1;
        state.held.difference_with(rotten);
        state.fetched_here.difference_with(rotten);
    }
}

impl Blocks {
    /// How often something was taken back: a copy made before the last time may differ from what came since.
    pub(crate) fn retractions(&self) -> u64 {
        self.retractions
    }

    fn flow(&mut self, account: Account, source: Source) -> &mut Flow {
        self.flows.entry((account, source)).or_default()
    }

    /// Accounts for received bytes that are of no use.
    pub(crate) fn waste(&mut self, account: Account, source: Source, reason: Waste, bytes: u64) {
        if bytes > 0 {
            self.flow(account, source).waste(reason, bytes);
        }
    }

    fn give_back(&mut self, blocks: &Range<u32>, account: Account, source: Source, bytes: u64) {
        self.claimed.remove(blocks.clone());
        self.waste(account, source, Waste::Aborted, bytes);
    }

    /// Takes all that waits. The blocks stay claimed until the commit's end.
    fn take_batch(&mut self) -> Batch {
        let statements_at = self.statements_end;
        let statements: Vec<u8> =
            self.statements.since(self.saved_statements).iter().flat_map(outboard::encode_statement).collect();
        self.statements_end += statements.len() as u64;
        self.saved_statements = self.statements.len();
        self.pending_bytes = 0;
        self.oldest = None;
        Batch {
            runs: joined(std::mem::take(&mut self.pending)),
            flows: std::mem::take(&mut self.flows),
            statements,
            statements_at,
        }
    }
}

/// Runs that were written out of order, joined where they touch: their hashes are written in as few pieces.
fn joined(mut pending: Vec<PendingRun>) -> Vec<PendingRun> {
    pending.sort_by_key(|run| run.first);
    let mut runs: Vec<PendingRun> = Vec::with_capacity(pending.len());
    for run in pending {
        match runs.last_mut() {
            Some(last) if last.is_followed_by(run.first, run.source, run.account) => last.hashes.extend(run.hashes),
            _ => runs.push(run),
        }
    }
    runs
}

impl Drop for Shared {
    /// What was received and never committed is not lost from the account: it becomes aborted waste.
    fn drop(&mut self) {
        let batch = self.blocks().take_batch();
        let mut flows = batch.flows;
        for run in &batch.runs {
            let bytes = self.geometry.bytes_of(run.blocks());
            let flow = flows.entry((run.account, run.source)).or_default();
            flow.spoil(Waste::Aborted, bytes.end - bytes.start);
        }
        let flows = flows.into_iter();
        let flows = flows.map(|((account, source), flow)| Change::Flow(FlowChange { account, source, flow }));
        // What was let in is here, whether anything of it came or not.
        let changes = self.birth().into_iter().chain(flows).collect();
        if let Err(error) = self.core.committer.commit(changes) {
            tracing::warn!(%error, "uncommitted bytes are lost from the ledger");
        }
        self.is_born();
        self.core.on_released();
    }
}
