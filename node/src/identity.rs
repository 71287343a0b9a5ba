//! The node's own key: made at first start, kept in `node.key`, never shown.

use crate::secret_file::{self, Overwrite, SecretFileError};
use crate::secret_text::{SecretKind, SecretTextError};
use ed25519_dalek::SigningKey;
use eddy_wire::NodeId;
use rand::TryRng;
use rand::rngs::SysRng;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Who this node is: an Ed25519 key, by which it signs statements and proves its name in handshakes.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

/// Why the node has no key. Without one it can still download; it has no peers.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file does not hold a key.
    #[error(
        "{} holds no node key: {source}; restore it from a copy, or delete it to get a new name", path.display()
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretTextError,
    },
    /// The system gave no random bits.
    #[error("the system gives no random bits for a key: {0}")]
    Random(String),
}

/// The key's file in the node's home.
pub const FILE: &str = "node.key";

const KIND: SecretKind = SecretKind { name: "eddy-node", version: 1 };

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

impl Identity {
    /// Reads the key in `home`, or makes one. Two processes that start at once get the same one.
    ///
    /// A file that is there and not a key is an error, never replaced: it may be the name that others know.
    pub fn load_or_create(home: &Path) -> Result<Self, IdentityError> {
        let path = home.join(FILE);
        if let Some(identity) = Self::load(&path)? {
            return Ok(identity);
        }
        let secret = random_secret().map_err(|error| IdentityError::Random(error.to_string()))?;
        let mut line = KIND.text(&secret);
        line.push('\n');
        secret_file::write(&path, line.as_bytes(), Overwrite::Refuse)?;
        // What is durable is read back: it may be another process's.
        let absent = || SecretTextError::NotASecret { expected: KIND.name };
        Self::load(&path)?.ok_or_else(|| IdentityError::Content { path, source: absent() })
    }

    /// Reads the key in `home`, or makes one that is kept nowhere yet.
    pub fn load_or_draft(home: &Path) -> Result<Self, IdentityError> {
        if let Some(identity) = Self::load(&home.join(FILE))? {
            return Ok(identity);
        }
        let secret = random_secret().map_err(|error| IdentityError::Random(error.to_string()))?;
        Ok(Self { key: SigningKey::from_bytes(&secret) })
    }

    /// Keeps the key in `home`; false when another one is there, which stays.
    pub fn keep(&self, home: &Path) -> Result<bool, IdentityError> {
        let path = home.join(FILE);
        let mut line = KIND.text(self.key.as_bytes());
        line.push('\n');
        secret_file::write(&path, line.as_bytes(), Overwrite::Refuse)?;
        Ok(Self::load(&path)?.is_some_and(|kept| kept.node_id() == self.node_id()))
    }

    /// Reads the key in `home`; `None` when there is none.
    pub fn existing(home: &Path) -> Result<Option<Self>, IdentityError> {
        Self::load(&home.join(FILE))
    }

    /// The identity of a key that is held elsewhere, or of a test.
    #[must_use]
    pub fn from_key(key: SigningKey) -> Self {
        Self { key }
    }

    /// The identity of a key in PKCS #8, with or without its public half (RFC 8410 section 7); `None` unless it is Ed25519.
    pub(crate) fn from_pkcs8(key: &PrivateKeyDer<'_>) -> Option<Self> {
        let bytes = key.secret_der();
        // Length and version differ between the two forms, all else up to the key does not.
        let (head, rest) = bytes.split_at_checked(PKCS8_PREFIX.len())?;
        let is_ed25519 =
            head[0] == PKCS8_PREFIX[0] && head[2..4] == PKCS8_PREFIX[2..4] && head[5..] == PKCS8_PREFIX[5..];
        let seed = rest.first_chunk::<32>().filter(|_| is_ed25519)?;
        Some(Self { key: SigningKey::from_bytes(seed) })
    }

    /// The node's name: the public key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// The key, for signing statements.
    #[must_use]
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The key as TLS wants it.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        let mut der = Vec::with_capacity(PKCS8_PREFIX.len() + 32);
        der.extend_from_slice(&PKCS8_PREFIX);
        der.extend_from_slice(self.key.as_bytes());
        PrivatePkcs8KeyDer::from(der).into()
    }

    fn load(path: &Path) -> Result<Option<Self>, IdentityError> {
        let Some(bytes) = secret_file::read(path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let secret = KIND.parse(text).map_err(|source| IdentityError::Content { path: path.into(), source })?;
        Ok(Some(Self { key: SigningKey::from_bytes(&secret) }))
    }
}

/// 256 bits from the system.
pub(crate) fn random_secret() -> Result<Zeroizing<[u8; 32]>, rand::rngs::SysError> {
    let mut secret = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(secret.as_mut_slice())?;
    Ok(secret)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.node_id()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::Signer;

    #[test]
    fn the_first_start_makes_a_key_and_the_next_ones_keep_it() {
        let home = tempfile::tempdir().expect("a directory");
        let first = Identity::load_or_create(home.path()).expect("makes one");
        let second = Identity::load_or_create(home.path()).expect("reads it");
        assert_eq!(first.node_id(), second.node_id());
        assert_eq!(first.signing_key().sign(b"x"), second.signing_key().sign(b"x"));
    }

    #[test]
    fn two_homes_are_two_nodes() {
        let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let one = Identity::load_or_create(one.path()).expect("makes one");
        assert_ne!(one.node_id(), Identity::load_or_create(two.path()).expect("makes one").node_id());
    }

    #[test]
    fn nodes_that_start_at_once_in_one_home_are_one_node() {
        let home = tempfile::tempdir().expect("a directory");
        let start = || Identity::load_or_create(home.path()).expect("starts").node_id();
        let names: Vec<NodeId> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect()
        });
        assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    }

    #[test]
    fn a_broken_key_file_is_reported_and_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(FILE);
        for broken in [&b""[..], b"\xff\xfe", b"eddy-node-v1:aaaa", b"eddy-node-v9:aaaa"] {
            secret_file::write(&path, broken, Overwrite::Replace).expect("writes");
            assert!(matches!(Identity::load_or_create(home.path()), Err(IdentityError::Content { .. })));
            assert_eq!(std::fs::read(&path).expect("still there"), broken);
        }
    }

    #[test]
    fn the_key_that_tls_gets_is_the_key_of_the_name() {
        let identity = Identity::from_key(SigningKey::from_bytes(&[3; 32]));
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.private_key()).expect("TLS reads it");
        let spki = key.public_key().expect("has a public key");
        assert!(spki.ends_with(&identity.node_id().0));
    }

    #[test]
    fn nothing_secret_is_in_the_debug_text() {
        let identity = Identity::from_key(SigningKey::from_bytes(&[0x11; 32]));
        assert!(!format!("{identity:?}").contains("1111"));
    }
}
