//! Jobs at rest are sealed: their URLs, header fields and credentials may be secrets, and rows end in copies and backups.
//!
//! A row is a mark, a nonce, and the record under AES-256-GCM-SIV (RFC 8452: a nonce that came twice would tell no more than that two
//! rows are the same), bound to the job's id. The key is a file of the home, `jobs.key`, for its owner alone. Rows of earlier versions are
//! read, too, and written anew when their job changes: those with the first mark have every name written out, and those that begin with
//! the job's id are not even sealed.

use crate::secret_file::{self, Overwrite, SecretFileError};
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use eddy_engine::{JobId, JobRecord};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The name of the key's file in the home.
const NAME: &str = "jobs.key";
/// Bytes of a key.
const KEY: usize = 32;
/// How a sealed row begins.
const MARK: &[u8; 8] = b"eddyjob\x02";
/// How one began when every name was written out.
const MARK_WRITTEN_OUT: &[u8; 8] = b"eddyjob\x01";

/// The key under which jobs are written down. Clones share it.
#[derive(Clone)]
pub struct JobSeal(Arc<LessSafeKey>);

/// Why a row is no job.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It was sealed with another key, or changed.
    #[error("it was not sealed with this home's {NAME}, or was changed since")]
    Seal,
    /// What it holds is no record.
    #[error(transparent)]
    Record(#[from] postcard::Error),
}

impl JobSeal {
    /// Reads the key of a home, or makes it.
    pub fn load_or_create(home: &Path) -> Result<Self, SecretFileError> {
        let path = home.join(NAME);
        if secret_file::read(&path)?.is_none() {
            let mut fresh = Zeroizing::new([0; KEY]);
            rand::fill(&mut fresh[..]);
            // Another process may have been quicker; its key is as good.
            secret_file::write(&path, &fresh[..], Overwrite::Refuse)?;
        }
        let bytes = secret_file::read(&path)?;
        let key = bytes.as_ref().and_then(|bytes| Self::of(bytes));
        key.ok_or(SecretFileError::NotAFile { path })
    }

    /// A key that nobody else will ever have.
    #[must_use]
    pub fn fleeting() -> Self {
        let mut fresh = Zeroizing::new([0; KEY]);
        rand::fill(&mut fresh[..]);
        // The length is right by construction.
        Self::of(&fresh[..]).unwrap_or_else(|| unreachable!("a key of {KEY} bytes"))
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self(Arc::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, bytes).ok()?))))
    }

    /// The row of a record.
    pub(super) fn seal(&self, record: &JobRecord) -> Result<Vec<u8>, RowError> {
        self.seal_bytes(MARK, record.id, record.encode()?)
    }

    fn seal_bytes(&self, mark: &[u8; 8], id: JobId, mut bytes: Vec<u8>) -> Result<Vec<u8>, RowError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(id.0), &mut bytes)
            .map_err(|_| RowError::Seal)?;
        Ok([&mark[..], &nonce, &bytes].concat())
    }

    /// Seals what is kept beside a job's row, for what the mark says and nothing else.
    pub(super) fn seal_beside(&self, mark: &[u8; 8], id: JobId, mut bytes: Vec<u8>) -> Result<Vec<u8>, RowError> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce);
        let about = Aad::from([&mark[..], &id.0].concat());
        let sealed = self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), about, &mut bytes);
        sealed.map_err(|_| RowError::Seal)?;
        Ok([&nonce[..], &bytes].concat())
    }

    /// Opens what [`Self::seal_beside`] sealed.
    pub(super) fn open_beside(&self, mark: &[u8; 8], id: JobId, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, RowError> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN).ok_or(RowError::Seal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| RowError::Seal)?;
        let mut bytes = Zeroizing::new(sealed.to_vec());
        let about = Aad::from([&mark[..], &id.0].concat());
        let length = self.0.open_in_place(nonce, about, &mut bytes).map_err(|_| RowError::Seal)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// The record of a row.
    pub fn open(&self, id: JobId, row: &[u8]) -> Result<JobRecord, RowError> {
        if row.starts_with(&id.0) {
            return Ok(JobRecord::decode_written_out(row)?);
        }
        let (mark, rest) = row.split_first_chunk().ok_or(RowError::Seal)?;
        let read = match mark {
            MARK => JobRecord::decode,
            MARK_WRITTEN_OUT => JobRecord::decode_written_out,
            _ => return Err(RowError::Seal),
        };
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(RowError::Seal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| RowError::Seal)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = self.0.open_in_place(nonce, Aad::from(id.0), &mut sealed).map_err(|_| RowError::Seal)?;
        let record = read(plain)?;
        if record.id == id { Ok(record) } else { Err(RowError::Seal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::ResourceUrl;
    use eddy_engine::job::parcel::Parcel;
    use eddy_engine::job::record::FileRecord;
    use eddy_engine::job::spec::Credentials;
    use eddy_engine::job::terms::{Authorization, Life, Terms, Ties};
    use eddy_engine::{Asking, FileSpec, Finish, JobSpec, JobState, Patience, PeerUse, Portion, Priority};

    fn record(id: u8) -> JobRecord {
        let known = Credentials { user: "u".into(), password: "topsecret".into() };
        let file = |name: &str| FileSpec {
            url: ResourceUrl::parse(&format!("https://origin.example/{name}")).expect("a URL"),
            destination: format!("/srv/{name}"),
            digests: Vec::new(),
            overwrite: false,
            credentials: None,
            portion: Portion::Whole,
        };
        let spec = JobSpec {
            name: "n".into(),
            priority: Priority::Normal,
            files: vec![file("a"), file("ab")],
            finish: Finish::Auto,
            patience: Patience::Background,
            peers: PeerUse::FULL,
            asking: Asking::WithinLifetime,
            terms: Terms {
                authorization: Some(Authorization::Basic(known)),
                ties: Ties { hook: Some("h".into()), ..Ties::default() },
                ..Terms::default()
            },
        };
        let known = [FileRecord::Published { length: 5 }, FileRecord::Wanted { length: Some(3), held: 1 }];
        JobRecord {
            id: JobId([id; 16]),
            state: JobState::Suspended,
            created: 1,
            failure: None,
            is_completing: false,
            life: Life { touched: 9, ..Life::default() },
            parcel: Parcel::of(&spec, &known),
        }
    }

    /// The record in the bytes of earlier versions.
    fn written_out(record: &JobRecord) -> Vec<u8> {
        let (spec, files) = (record.spec(), record.files());
        let said = (&record.id, &spec, record.state, record.created, &record.failure, &files, record.is_completing);
        let at_the_end = (spec.asking, &spec.terms, record.life, &spec.terms.ties);
        postcard::to_stdvec(&(said, at_the_end)).expect("plain data")
    }

    #[test]
    fn a_row_shows_nothing_and_opens_with_the_key_of_its_home_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let seal = JobSeal::load_or_create(home.path()).expect("a key");
        let row = seal.seal(&record(7)).expect("sealed");
        assert!(!row.windows(9).any(|window| window == b"topsecret"));
        let again = JobSeal::load_or_create(home.path()).expect("the same key");
        assert_eq!(again.open(JobId([7; 16]), &row).expect("opens"), record(7));
        assert!(JobSeal::fleeting().open(JobId([7; 16]), &row).is_err(), "another key");
        assert!(seal.open(JobId([8; 16]), &row).is_err(), "another job's row");
        for at in 0..row.len() {
            let mut changed = row.clone();
            changed[at] ^= 1;
            assert!(seal.open(JobId([7; 16]), &changed).is_err(), "byte {at}");
            assert!(seal.open(JobId([7; 16]), &row[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn rows_of_earlier_versions_are_read() {
        let (seal, id) = (JobSeal::fleeting(), JobId([7; 16]));
        let unsealed = written_out(&record(7));
        assert_eq!(seal.open(id, &unsealed).expect("reads"), record(7), "from before there was a seal");
        let row = seal.seal_bytes(MARK_WRITTEN_OUT, id, unsealed).expect("sealed");
        assert_eq!(seal.open(id, &row).expect("reads"), record(7), "from before names were told short");
        let row = seal.seal_bytes(b"eddyjob\x03", id, record(7).encode().expect("plain data")).expect("sealed");
        assert!(matches!(seal.open(id, &row), Err(RowError::Seal)), "a later version's row is left to it");
    }
}
