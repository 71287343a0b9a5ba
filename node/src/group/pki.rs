//! Somebody's own PKI: certificate, key and authorities from files that another program keeps fresh (SPIFFE, step-ca).
//!
//! A member is who shows a chain to one of the authorities that webpki accepts for servers and for clients, over at most three
//! certificates in between, whatever algorithms they use; the node's own key must be Ed25519, since it is the node's name and
//! signs statements. Whoever the authorities certify is a member, so they should certify nobody else. Who was removed is
//! their business too: there is no deny-list of ours.

use super::NodeCertificate;
use super::clock::Clock;
use super::member::{self, Member, NotAMember, Rule};
use crate::identity::Identity;
use crate::secret_file::{self, SecretFileError};
use eddy_content::LookupSecret;
use eddy_wire::statement::GroupId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use tokio::sync::watch;
use zeroize::Zeroizing;

/// Bytes of the longest file that is read.
const MAX_FILE: u64 = 256 * 1024;
/// Fewest bytes of a lookup secret's file.
const SHORTEST_SECRET: usize = 32;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PkiFiles {
    /// PEM: this node's certificate, then those between it and an authority.
    pub cert: PathBuf,
    /// PEM: the certificate's key, PKCS #8, Ed25519; only its owner may read it.
    pub key: PathBuf,
    /// PEM: the authorities.
    pub ca: PathBuf,
    /// At least 32 bytes that all members have and nobody else; only its owner may read it.
    pub lookup: PathBuf,
}

/// Why the files make no member. The administrator's to repair.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A secret's file.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{}: {expected} was expected", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The certificate makes nobody a member.
    #[error("{}: {why}", path.display())]
    NotAMember {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        why: NotAMember,
    },
    /// The certificate is for another key.
    #[error("{} is not the certificate of {}", cert.display(), key.display())]
    OtherKey {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// A member by files.
pub(super) struct Pki {
    files: PkiFiles,
    id: GroupId,
    lookup: LookupSecret,
    identity: Identity,
    shown: RwLock<Shown>,
    clock: Clock,
    renewed: watch::Sender<u64>,
}

/// What may change while the node runs.
#[derive(Clone, PartialEq, Eq)]
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    authorities: Vec<CertificateDer<'static>>,
}

impl Pki {
    pub(super) fn load(files: &PkiFiles) -> Result<Self, PkiError> {
        let identity = identity(files)?;
        let secret = secret_file::read(&files.lookup)?.filter(|bytes| bytes.trim_ascii().len() >= SHORTEST_SECRET);
        let expected = "a secret of at least 32 bytes";
        let secret = secret.ok_or_else(|| PkiError::Content { path: files.lookup.clone(), expected })?;
        let secret = secret.trim_ascii();
        let lookup = Zeroizing::new(blake3::derive_key("eddy v1 2026-11 own pki lookup secret", secret));
        let id = GroupId(blake3::derive_key("eddy v1 2026-11 own pki group id", secret));
        let shown = Shown::load(files)?;
        let clock = Clock::start(0);
        let pki = Self {
            files: files.clone(),
            id,
            lookup: LookupSecret::new(*lookup),
            identity,
            shown: RwLock::new(shown.clone()),
            clock,
            renewed: watch::Sender::new(0),
        };
        pki.check(&shown)?;
        Ok(pki)
    }

    pub(super) fn id(&self) -> GroupId {
        self.id
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    pub(super) fn lookup_secret(&self) -> LookupSecret {
        self.lookup.clone()
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.now()
    }

    pub(super) fn authority(&self) -> CertificateDer<'static> {
        self.current().authorities.first().cloned().unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }

    pub(super) fn renewals(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    pub(super) fn shown(&self, node: &Identity) -> NodeCertificate {
        let mut chain = self.current().chain.into_iter();
        let certificate = chain.next().unwrap_or_else(|| CertificateDer::from(Vec::new()));
        NodeCertificate { certificate, above: chain.collect(), key: node.private_key() }
    }

    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: i64) -> Result<Member, NotAMember> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        member::verify(Rule::Own(&shown.authorities), chain, now)
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        vec![self.files.cert.clone(), self.files.ca.clone()]
    }

    /// Takes files that were replaced, if they still make this node a member by the same key.
    pub(super) fn reread(&self) -> Result<(), PkiError> {
        let found = Shown::load(&self.files)?;
        if found != self.current() {
            self.check(&found)?;
            *self.shown.write().unwrap_or_else(PoisonError::into_inner) = found;
            self.renewed.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(())
    }

    fn current(&self) -> Shown {
        self.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(&self, shown: &Shown) -> Result<(), PkiError> {
        let path = self.files.cert.clone();
        let member = member::verify(Rule::Own(&shown.authorities), &shown.chain, self.clock.now());
        match member {
            Ok(member) if member.node == self.identity.node_id() => Ok(()),
            Ok(_) => Err(PkiError::OtherKey { cert: path, key: self.files.key.clone() }),
            Err(why) => Err(PkiError::NotAMember { path, why }),
        }
    }
}

impl Shown {
    fn load(files: &PkiFiles) -> Result<Self, PkiError> {
        Ok(Self { chain: certificates(&files.cert)?, authorities: certificates(&files.ca)? })
    }
}

/// The identity of a node whose key is in a file of its administrator's.
pub(crate) fn identity(files: &PkiFiles) -> Result<Identity, PkiError> {
    let wrong = || PkiError::Content { path: files.key.clone(), expected: "an Ed25519 key in PKCS #8, as PEM," };
    let text = secret_file::read(&files.key)?.ok_or_else(wrong)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| wrong())?;
    Identity::from_pkcs8(&key).ok_or_else(wrong)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let read = |source| PkiError::Read { path: path.to_path_buf(), source };
    let wrong = || PkiError::Content { path: path.to_path_buf(), expected: "certificates as PEM" };
    if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE {
        return Err(wrong());
    }
    let text = std::fs::read(path).map_err(read)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| wrong())?;
    if found.is_empty() { Err(wrong()) } else { Ok(found) }
}
