//! The store: what this node holds of the world, and the proof that it holds it.
//!
//! One data file and one outboard (block hashes, statements) per entity, and one redb index that says which blocks are
//! *acknowledged*: durable on disk, hashed before they were written, accounted for. Everything here blocks; callers run
//! it on blocking threads. The story of a byte:
//!
//! 1. [`Store::begin`] finds or makes the entity's files and gives a handle, a lease against eviction.
//! 2. [`RunWriter::push`] hashes whole blocks, checks them when they come from a peer, writes them at their place.
//! 3. [`EntityHandle::commit`] makes them durable, then the index says so, in one transaction with the ledger (C-01).
//! 4. [`EntityHandle::read_run`] hashes every block on its way out; a wrong one is dropped and never leaves.
//!
//! | module | question that it answers |
//! |---|---|
//! | [`store`] | the front door: which entities are here, what may come in? |
//! | [`handle`] | what can be asked of one entity? |
//! | [`writer`] | how do received bytes become verified, written blocks? |
//! | [`pending`] | how does a small object become durable while no thread waits for it? |
//! | [`mirror`] | how does the user's file get each block while it is hot? |
//! | [`read`] | how do blocks leave, and what happens to a rotten one? |
//! | [`ledger`] | which bytes came from where, and do the columns close? |
//! | [`room`] | how much may the store use? |
//! | [`package`] | how does a cache travel without a network? |
//! | [`scrub`] | is what is held still what was written? |
//! | [`rebuild`] | how do entities come back when the index is lost? |
//! | [`recovery`] | what did the last stop leave behind, and what was done about it? |
//! | [`disk`] | what does the store ask of a disk, and how is another one put under it? |
//! | `journal` | where are jobs kept a second time? |
//! | [`check`] | what is wrong with a store on disk, and can it be mended? |
//! | [`fault`] | what went wrong, whose fault is it, is a retry worth it? |
//!
//! The format on disk, the order of writes and the numbers are in `DESIGN.md` beside this crate.

pub mod check;
pub mod disk;
pub mod fault;
pub mod handle;
pub mod ledger;
pub mod mirror;
pub mod package;
pub mod pending;
pub mod read;
pub mod rebuild;
pub mod recovery;
pub mod room;
pub mod scrub;
pub mod store;
pub mod writer;

mod ahead;
mod aligned;
mod behind;
mod committer;
mod content;
mod direct;
mod entity;
mod extents;
mod index;
mod journal;
mod outboard;
mod packed;
mod row;

pub use check::{CheckReport, Depth, Finding, Object, Repair, Severity, check, check_on};
pub use eddy_content::evict::{EvictionPlan, EvictionReason, Victim};
pub use entity::MAX_STATEMENTS;
pub use fault::{
    AdmitError, CommitError, DiskFault, FaultKind, IndexFault, OpenError, ReadError, StoreError, WriteError,
};
pub use handle::{EntityHandle, StoredStatement};
pub use index::IndexTroubles;
pub use ledger::{Account, Balance, Delivered, Flow, LedgerEntry, LedgerLimits, LedgerRow, Source, Waste, Wasted};
pub use mirror::Mirror;
pub use package::{ExportOutcome, ImportOutcome, NotExported, NotImported, PackageError, PackagePlace, PackedEntity};
pub use pending::{CommitAnswer, PendingCommit};
pub use read::RunReader;
pub use rebuild::RebuildReport;
pub use recovery::{RecoveryReport, SweepReport};
pub use room::{ClearOutcome, Goal, Limits, Pin, Quota, RemoveOutcome, Reserve, Usage};
pub use row::{EntityRecord, NewEntity, Privacy};
pub use scrub::{ScrubRecord, ScrubStep, VerifyOutcome};
pub use store::{Closing, JobRow, JobRows, KeptFiles, Store, StoreConfig};
pub use writer::{Finished, Pushed, RunWriter};
