//! Jobs at rest are sealed: their URLs, header fields and credentials may be secrets, and rows end in copies and backups.
//!
//! A row is a mark, a nonce, and the record under AES-256-GCM-SIV (RFC 8452: a nonce that came twice would tell no more than that two
//! rows are the same), bound to the job's id. The key is a file of the home, `jobs.key`, for its owner alone. Rows of earlier versions
//! begin with the job's id and are read as they are.

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
const MARK: &[u8; 8] = b"eddyjob\x01";

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
        let mut sealed = postcard::to_stdvec(record)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce);
        let aad = Aad::from(record.id.0);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
            .map_err(|_| RowError::Seal)?;
        Ok([&MARK[..], &nonce, &sealed].concat())
    }

    /// The record of a row.
    pub fn open(&self, id: JobId, row: &[u8]) -> Result<JobRecord, RowError> {
        if row.starts_with(&id.0) {
            return Ok(postcard::from_bytes(row)?);
        }
        let rest = row.strip_prefix(MARK).ok_or(RowError::Seal)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or(RowError::Seal)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| RowError::Seal)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = self.0.open_in_place(nonce, Aad::from(id.0), &mut sealed).map_err(|_| RowError::Seal)?;
        let record: JobRecord = postcard::from_bytes(plain)?;
        if record.id == id { Ok(record) } else { Err(RowError::Seal) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_engine::job::spec::Credentials;
    use eddy_engine::job::terms::{Authorization, Life, Terms};
    use eddy_engine::{Asking, Finish, JobSpec, JobState, Patience, PeerUse, Priority};

    fn record(id: u8) -> JobRecord {
        let known = Credentials { user: "u".into(), password: "topsecret".into() };
        JobRecord {
            id: JobId([id; 16]),
            spec: JobSpec {
                name: "n".into(),
                priority: Priority::Normal,
                files: Vec::new(),
                finish: Finish::Auto,
                patience: Patience::Background,
                peers: PeerUse::FULL,
                asking: Asking::Always,
                terms: Terms::default(),
            },
            state: JobState::Suspended,
            created: 1,
            failure: None,
            files: Vec::new(),
            is_completing: false,
            asking: Asking::Always,
            terms: Terms { authorization: Some(Authorization::Basic(known)), ..Terms::default() },
            ties: eddy_engine::job::terms::Ties::default(),
            life: Life::default(),
        }
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
    fn a_row_from_before_there_was_a_seal_is_read() {
        let row = postcard::to_stdvec(&record(7)).expect("plain data");
        assert_eq!(JobSeal::fleeting().open(JobId([7; 16]), &row).expect("reads"), record(7));
    }
}
