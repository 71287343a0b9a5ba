//! The group secret, and what every holder derives from it.
//!
//! Each use has its own BLAKE3 derivation context, so that no derived key tells anything about another or the secret.

use crate::identity::random_secret;
use crate::secret_text::{SecretKind, SecretTextError};
use ed25519_dalek::{SigningKey, VerifyingKey};
use eddy_content::LookupSecret;
use eddy_wire::statement::GroupId;
use std::fmt;
use zeroize::Zeroizing;

/// 256 bits that make whoever knows them a member.
#[derive(Clone)]
pub struct GroupSecret(Zeroizing<[u8; 32]>);

const KIND: SecretKind = SecretKind { name: "eddy-group", version: 1 };

impl GroupSecret {
    /// A new secret, from the system's randomness.
    pub fn generate() -> Result<Self, rand::rngs::SysError> {
        random_secret().map(Self)
    }

    /// Reads the text form. Whole but wrong secrets cannot be told from right ones; typing errors can.
    pub fn parse(text: &str) -> Result<Self, SecretTextError> {
        KIND.parse(text).map(Self)
    }

    /// Whether a text may be a secret, or a part of one, and should be shown to nobody.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        KIND.is_like(text)
    }

    /// The text form: one line, `eddy-group-v1:` and 56 characters.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        KIND.text(&self.0)
    }

    /// The key of the group's certificate authority.
    pub(super) fn ca_key(&self) -> SigningKey {
        let seed = Zeroizing::new(blake3::derive_key("eddy v1 2026-11 group certificate authority", self.0.as_slice()));
        SigningKey::from_bytes(&seed)
    }

    pub(super) fn lookup_secret(&self) -> LookupSecret {
        LookupSecret::new(blake3::derive_key("eddy v1 2026-11 group lookup secret", self.0.as_slice()))
    }
}

/// The group's fingerprint: a hash of its authority's public key, so that it follows from any member's chain, too.
pub(crate) fn group_id(ca: &VerifyingKey) -> GroupId {
    GroupId(blake3::derive_key("eddy v1 2026-11 group id", ca.as_bytes()))
}

impl fmt::Debug for GroupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupSecret(hidden)")
    }
}
