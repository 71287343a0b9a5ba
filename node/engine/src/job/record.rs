//! What of a job must survive a crash: written before the act that it announces.

use super::spec::{JobId, JobSpec};
use super::state::JobState;
use crate::port::Failure;
use eddy_content::Root;
use serde::{Deserialize, Serialize};

/// The durable form of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub id: JobId,
    /// What it asks for.
    pub spec: JobSpec,
    /// Its state, as [`JobState::at_rest`].
    pub state: JobState,
    /// When it was created, in seconds since the Unix epoch.
    pub created: i64,
    /// The fault that stopped it, if one did.
    pub failure: Option<Failure>,
    /// How far each file is, in the order of the specification.
    pub files: Vec<FileRecord>,
    /// Whether its owner has asked for completion: what is staged is being delivered, what is not is dropped.
    pub is_completing: bool,
}

/// The durable state of one file. The blocks that are held are the store's knowledge, not the job's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileRecord {
    /// Not whole.
    Wanted {
        /// Bytes of the whole, if the origin has said so.
        length: Option<u64>,
        /// Bytes that were held when this was written: for people; the store knows better.
        held: u64,
    },
    /// Whole, verified, and standing under its temporary name beside the destination. A crash between here and the ledger's
    /// entry of the delivery must not lose where the bytes came from (promise 10).
    Staged {
        /// Bytes.
        length: u64,
        /// The BLAKE3 of the whole.
        root: Root,
        /// Of those, bytes from the origin.
        origin: u64,
        /// Of those, bytes from peers; the rest was held before.
        peers: u64,
    },
    /// Visible at its destination.
    Published {
        /// Bytes.
        length: u64,
    },
}

impl FileRecord {
    /// A file that nothing is known of yet.
    pub const UNKNOWN: Self = Self::Wanted { length: None, held: 0 };
}
