//! What of a job must survive a crash: written before the act that it announces.

use super::spec::{Asking, JobId, JobSpec};
use super::state::JobState;
use super::terms::{Life, Terms, Ties};
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
    #[serde(deserialize_with = "or_default")]
    pub asking: Asking,
    /// What else it says; older records end here, and say nothing else.
    #[serde(deserialize_with = "or_default")]
    pub terms: Terms,
    /// What it has lived through.
    #[serde(deserialize_with = "or_default")]
    pub life: Life,
    /// What it is tied to.
    #[serde(deserialize_with = "or_default")]
    pub ties: Ties,
}

/// A value at the end of a row that older rows end before.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(rest: D) -> Result<T, D::Error> {
    // At the end of the row: what cannot be read is not there.
    Ok(T::deserialize(rest).unwrap_or_default())
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
    use crate::job::terms::Presence;

    #[test]
    fn a_record_from_before_there_was_more_to_say_is_read_as_it_was_meant() {
        let spec = JobSpec {
            name: "n".to_owned(),
            priority: Priority::Low,
            files: Vec::new(),
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::WithinLifetime,
            terms: Terms::default(),
        };
        let (state, asking) = (JobState::Suspended, Asking::WithinLifetime);
        let terms = Terms { description: "d".to_owned(), ..Terms::default() };
        let life = Life { touched: 7, ..Life::default() };
        let (id, files) = (JobId([7; 16]), Vec::new());
        let ties = Ties { hook: Some("h".to_owned()), presence: Presence::WhileLoggedOn };
        let (created, failure, is_completing) = (1, None, true);
        let record = JobRecord { id, spec, state, created, failure, files, is_completing, asking, terms, life, ties };
        let row = postcard::to_stdvec(&record).expect("plain data");
        let tied = postcard::to_stdvec(&record.ties).expect("plain data").len();
        let lives = postcard::to_stdvec(&record.life).expect("plain data").len();
        let says = postcard::to_stdvec(&record.terms).expect("plain data").len();
        let read = |cut: usize| postcard::from_bytes::<JobRecord>(&row[..row.len() - cut]);
        assert_eq!(read(0).expect("a record").ties, record.ties);
        let without_presence = Ties { presence: Presence::NotNeeded, ..record.ties.clone() };
        assert_eq!(
            read(1).expect("a record").ties,
            without_presence,
            "a hook is not forgotten with what came after it"
        );
        let row = &row[..row.len() - tied];
        let read = |cut: usize| postcard::from_bytes::<JobRecord>(&row[..row.len() - cut]);
        assert_eq!(read(0).expect("a record").ties, Ties::default());
        let whole = read(0).expect("a record");
        assert_eq!((whole.asking, whole.is_completing), (Asking::WithinLifetime, true));
        assert_eq!((&whole.terms, whole.life), (&record.terms, record.life));
        let without_life = read(lives).expect("a record");
        assert_eq!((without_life.terms, without_life.life), (record.terms.clone(), Life::default()));
        let without_terms = read(lives + says).expect("a record");
        assert_eq!((without_terms.asking, without_terms.terms), (Asking::WithinLifetime, Terms::default()));
        let old = read(lives + says + 1).expect("a record");
        assert_eq!((old.asking, old.is_completing), (Asking::Always, true));
        assert!(read(lives + says + 2).is_err(), "nothing else may be missing");
    }
}
