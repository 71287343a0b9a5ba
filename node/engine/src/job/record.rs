//! What of a job must survive a crash: written before the act that it announces.

use super::parcel::Parcel;
use super::spec::{Asking, Goal, JobId, JobSpec};
use super::state::JobState;
use super::terms::{Life, Terms, Ties};
use crate::port::Failure;
use eddy_content::Root;
use serde::{Deserialize, Deserializer, Serialize};

/// The durable form of a job. What it is to say besides stands at the end, and may be missing in older ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// Its name.
    pub id: JobId,
    /// Its state, as [`JobState::at_rest`].
    pub state: JobState,
    /// When it was created, in seconds since the Unix epoch.
    pub created: i64,
    /// The fault that stopped it, if one did.
    pub failure: Option<Failure>,
    /// Whether its owner has asked for completion: what is staged is being delivered, what is not is dropped.
    pub is_completing: bool,
    /// What it has lived through.
    pub life: Life,
    /// What it asks for, and how far each of its files is.
    pub parcel: Parcel,
}

impl JobRecord {
    /// What it asks for.
    #[must_use]
    pub fn spec(&self) -> JobSpec {
        self.parcel.unpacked().0
    }

    /// How far each file is, in the order of the specification.
    #[must_use]
    pub fn files(&self) -> Vec<FileRecord> {
        self.parcel.unpacked().1
    }

    /// What it is for.
    #[must_use]
    pub fn goal(&self) -> Goal {
        self.parcel.head().goal
    }

    /// The bytes in which it is written down.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(self)
    }

    /// Reads what [`Self::encode`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, postcard::Error> {
        postcard::from_bytes(bytes)
    }

    /// Reads what was written when every name of a job was written out.
    pub fn decode_written_out(bytes: &[u8]) -> Result<Self, postcard::Error> {
        let WrittenOut { id, mut spec, state, created, failure, files, is_completing, asking, terms, life, ties } =
            postcard::from_bytes(bytes)?;
        (spec.asking, spec.terms) = (asking, Terms { ties, ..terms });
        Ok(Self { id, state, created, failure, is_completing, life, parcel: Parcel::of(&spec, &files) })
    }
}

/// The durable form of earlier versions.
#[derive(Deserialize)]
#[cfg_attr(test, derive(Serialize))]
struct WrittenOut {
    id: JobId,
    spec: JobSpec,
    state: JobState,
    created: i64,
    failure: Option<Failure>,
    files: Vec<FileRecord>,
    is_completing: bool,
    /// Records that were written before there was a choice end here, and mean always.
    #[serde(deserialize_with = "or_default")]
    asking: Asking,
    /// Older records end here, and say nothing else.
    #[serde(deserialize_with = "or_default")]
    terms: Terms,
    #[serde(deserialize_with = "or_default")]
    life: Life,
    #[serde(deserialize_with = "or_default")]
    ties: Ties,
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
        let ties = Ties { hook: Some("h".to_owned()), presence: Presence::WhileLoggedOn, certificate: None };
        let (created, failure, is_completing) = (1, None, true);
        let record = WrittenOut { id, spec, state, created, failure, files, is_completing, asking, terms, life, ties };
        let row = postcard::to_stdvec(&record).expect("plain data");
        let tied = postcard::to_stdvec(&record.ties).expect("plain data").len();
        let lives = postcard::to_stdvec(&record.life).expect("plain data").len();
        let says = postcard::to_stdvec(&record.terms).expect("plain data").len();
        let read = |cut: usize| JobRecord::decode_written_out(&row[..row.len() - cut]);
        let whole = read(0).expect("a record");
        assert_eq!((whole.id, whole.state, whole.created, whole.is_completing), (id, state, created, true));
        assert_eq!(whole.spec().terms.ties, record.ties);
        let without_presence = Ties { presence: Presence::NotNeeded, ..record.ties.clone() };
        assert_eq!(
            read(1).expect("a record").spec().terms.ties,
            record.ties,
            "its last byte says that it names no certificate"
        );
        let absent = read(2).expect("a record").spec().terms.ties;
        assert_eq!(absent, without_presence, "a hook is not forgotten with what came after it");
        let row = &row[..row.len() - tied];
        let read = |cut: usize| JobRecord::decode_written_out(&row[..row.len() - cut]);
        let untied = read(0).expect("a record");
        assert_eq!((untied.spec().asking, untied.is_completing), (Asking::WithinLifetime, true));
        assert_eq!((&untied.spec().terms, untied.life), (&record.terms, record.life));
        let without_life = read(lives).expect("a record");
        assert_eq!((without_life.spec().terms, without_life.life), (record.terms.clone(), Life::default()));
        let without_terms = read(lives + says).expect("a record").spec();
        assert_eq!((without_terms.asking, without_terms.terms), (Asking::WithinLifetime, Terms::default()));
        let old = read(lives + says + 1).expect("a record");
        assert_eq!((old.spec().asking, old.is_completing), (Asking::Always, true));
        assert!(read(lives + says + 2).is_err(), "nothing else may be missing");
    }
}
