//! What of a job must survive a crash: written before the act that it announces.

use super::spec::{Asking, JobId, JobSpec};
use super::state::JobState;
use crate::port::Failure;
use eddy_content::Root;
use serde::{Deserialize, Deserializer, Serialize};

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
    /// When the origin is asked; records that were written before there was a choice end here, and mean always.
    #[serde(deserialize_with = "or_always")]
    pub asking: Asking,
}

fn or_always<'de, D: Deserializer<'de>>(rest: D) -> Result<Asking, D::Error> {
    // The last field of the row: what cannot be read is not there.
    Ok(Asking::deserialize(rest).unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::spec::{Finish, Patience, PeerUse, Priority};

    #[test]
    fn a_record_from_before_there_was_a_choice_asks_always() {
        let spec = JobSpec {
            name: "n".to_owned(),
            priority: Priority::Low,
            files: Vec::new(),
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::WithinLifetime,
        };
        let (state, asking) = (JobState::Suspended, Asking::WithinLifetime);
        let id = JobId([7; 16]);
        let record =
            JobRecord { id, spec, state, created: 1, failure: None, files: Vec::new(), is_completing: true, asking };
        let row = postcard::to_stdvec(&record).expect("plain data");
        let read: JobRecord = postcard::from_bytes(&row).expect("a record");
        assert_eq!((read.asking, read.is_completing), (Asking::WithinLifetime, true));
        let old: JobRecord = postcard::from_bytes(&row[..row.len() - 1]).expect("a record");
        assert_eq!((old.asking, old.is_completing), (Asking::Always, true));
        assert!(postcard::from_bytes::<JobRecord>(&row[..row.len() - 2]).is_err(), "nothing else may be missing");
    }
}
