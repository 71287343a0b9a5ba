//! Who is a peer: the members of a group, by a secret that all of them hold.
//!
//! From 256 secret bits every member derives the same certificate authority and the same lookup secret; it certifies
//! itself and knows another member by its certificate. Nothing has to be run or enrolled, one line of text is copied. The
//! price: who knows the secret is a member, and only a new secret shuts a member out.
//!
//! | module | question that it answers |
//! |---|---|
//! | this one | which group is this node in? |
//! | [`secret`] | what is the secret, and what follows from it? |
//! | [`certificate`] | what does a member show? |
//! | [`member`] | is this certificate a member's, and whose? |

pub mod certificate;
pub mod member;
pub mod secret;

pub use crate::secret_file::{Overwrite, SecretFileError};
pub use crate::secret_text::SecretTextError;
pub use certificate::NodeCertificate;
pub use member::NotAMember;
pub use secret::GroupSecret;

use crate::identity::Identity;
use crate::secret_file::{self, Written};
use ed25519_dalek::SigningKey;
use eddy_content::LookupSecret;
use eddy_wire::NodeId;
use eddy_wire::statement::GroupId;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::path::{Path, PathBuf};

/// The group that this node is in.
#[derive(Clone)]
pub struct Group {
    secret: GroupSecret,
    id: GroupId,
    ca_key: SigningKey,
    ca: CertificateDer<'static>,
}

/// Why the node's group could not be read, made, joined or left.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The file cannot be read or written: the disk's fault or the administrator's.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The file holds no group secret: the administrator's to repair.
    #[error("{} holds no group secret: {source}; leave the group and join it again", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretTextError,
    },
    /// The text that was given is no group secret: the user's to repair.
    #[error(transparent)]
    Secret(#[from] SecretTextError),
    /// The node is in another group, and was not told to leave that.
    #[error("this node is in group {name} already")]
    InAnother {
        /// The name of that group.
        name: String,
    },
    /// The system gave no random bits.
    #[error("the system gives no random bits for a group secret: {0}")]
    Random(String),
    /// The certificate library refused: a bug.
    #[error("a group certificate could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// The group's file in the node's home.
pub const FILE: &str = "group.secret";

impl Group {
    /// The group of the node whose home this is; `None` when it is in none.
    pub fn load(home: &Path) -> Result<Option<Self>, GroupError> {
        let path = home.join(FILE);
        let Some(bytes) = secret_file::read(&path)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let secret = GroupSecret::parse(text).map_err(|source| GroupError::Content { path, source })?;
        Self::from_secret(secret).map(Some)
    }

    /// Makes a new group with this node as its first member.
    pub fn init(home: &Path, overwrite: Overwrite) -> Result<Self, GroupError> {
        let secret = GroupSecret::generate().map_err(|error| GroupError::Random(error.to_string()))?;
        Self::from_secret(secret)?.keep(home, overwrite)
    }

    /// Joins the group whose secret `text` is. Joining the group that one is in changes nothing.
    pub fn join(home: &Path, text: &str, overwrite: Overwrite) -> Result<Self, GroupError> {
        Self::from_secret(GroupSecret::parse(text)?)?.keep(home, overwrite)
    }

    /// Leaves the group; whether there was one. The secret is gone from this node, so it must be known elsewhere.
    pub fn leave(home: &Path) -> Result<bool, GroupError> {
        Ok(secret_file::remove(&home.join(FILE))?)
    }

    /// The group of a secret, kept nowhere.
    pub fn from_secret(secret: GroupSecret) -> Result<Self, GroupError> {
        let ca_key = secret.ca_key();
        let ca = certificate::authority(&ca_key)?;
        Ok(Self { id: secret::group_id(&ca_key.verifying_key()), secret, ca_key, ca })
    }

    /// A short name for people, which tells two groups apart and gives nothing away: the first 12 digits of the id.
    #[must_use]
    pub fn name(&self) -> String {
        self.id.to_string().chars().take(12).collect()
    }

    /// The public fingerprint.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.id
    }

    /// What makes another machine a member.
    #[must_use]
    pub fn secret(&self) -> &GroupSecret {
        &self.secret
    }

    /// What turns an entity into the key that members ask by (T-12).
    #[must_use]
    pub fn lookup_secret(&self) -> LookupSecret {
        self.secret.lookup_secret()
    }

    /// The certificate of the group itself, the same on every member.
    #[must_use]
    pub fn ca(&self) -> CertificateDer<'static> {
        self.ca.clone()
    }

    /// Certifies a node as a member; the same bytes each time.
    pub fn certify(&self, node: &Identity) -> Result<NodeCertificate, GroupError> {
        let certificate = certificate::member(&self.ca_key, node.node_id())?;
        Ok(NodeCertificate { certificate, key: node.private_key() })
    }

    /// The member that a certificate is for, at `now_unix` seconds since 1970.
    pub fn verify_member(&self, certificate: &CertificateDer<'_>, now_unix: i64) -> Result<NodeId, NotAMember> {
        member::verify(&self.ca, certificate, now_unix)
    }

    fn keep(self, home: &Path, overwrite: Overwrite) -> Result<Self, GroupError> {
        let mut line = self.secret.text();
        line.push('\n');
        match secret_file::write(&home.join(FILE), line.as_bytes(), overwrite)? {
            Written::Done => Ok(self),
            Written::WasThere => match Self::load(home)? {
                Some(there) if there.id != self.id => Err(GroupError::InAnother { name: there.name() }),
                // The same one; or somebody left it in this moment, which is as if he had left after us.
                _ => Ok(self),
            },
        }
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests;
