//! The entity: one version of a resource, and its names here and among peers.

use crate::{ResourceUrl, Validator};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// One version of a resource: bytes may be joined inside it, never across two.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// The final URL, after redirects.
    pub url: ResourceUrl,
    /// The strong validator.
    pub validator: Validator,
    /// Bytes.
    pub length: u64,
}

/// The name of an entity inside this node: an unkeyed BLAKE3 hash. Never leaves the node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EntityId(pub [u8; 32]);

/// The entity key, the only name that peers hear: BLAKE3 keyed with the group's lookup secret (T-12).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LookupKey(pub [u8; 32]);

/// The group's lookup secret: who lacks it can neither form nor recognise an entity key. Wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct LookupSecret([u8; 32]);

impl LookupSecret {
    /// Wraps 256 secret bits.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for LookupSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupSecret(hidden)")
    }
}

impl Entity {
    /// The node-local name.
    #[must_use]
    pub fn id(&self) -> EntityId {
        let hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 entity id");
        EntityId(self.absorb(hasher))
    }

    /// The name among the members of the group that knows `secret`.
    #[must_use]
    pub fn lookup_key(&self, secret: &LookupSecret) -> LookupKey {
        LookupKey(self.absorb(blake3::Hasher::new_keyed(&secret.0)))
    }

    /// Feeds (URL, validator kind and value, length), each part behind its own length so that no two entities collide.
    fn absorb(&self, mut hasher: blake3::Hasher) -> [u8; 32] {
        let value = self.validator.header_value();
        for part in [self.url.as_str().as_bytes(), &[self.validator.kind()], value.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.update(&self.length.to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

macro_rules! hex_name {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}..)"), data_encoding::HEXLOWER.encode(&self.0[..6]))
            }
        }
        impl std::str::FromStr for $name {
            type Err = NotAName;
            fn from_str(text: &str) -> Result<Self, NotAName> {
                let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| NotAName)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAName)?))
            }
        }
    )*};
}
hex_name!(EntityId, LookupKey);

/// The text is not 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entity is named by 64 hexadecimal digits")]
pub struct NotAName;

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(url: &str, etag: &str, length: u64) -> Entity {
        Entity { url: ResourceUrl::parse(url).expect("parses"), validator: Validator::StrongEtag(etag.into()), length }
    }

    #[test]
    fn every_part_of_the_identity_changes_both_names() {
        let secret = LookupSecret::new([7; 32]);
        let base = entity("http://h/f", "\"a\"", 10);
        let mut others = vec![
            entity("http://h/g", "\"a\"", 10),
            entity("http://h/f", "\"b\"", 10),
            entity("http://h/f", "\"a\"", 11),
        ];
        others.push(Entity { validator: Validator::LastModified("\"a\"".into()), ..base.clone() });
        for other in others {
            assert_ne!(other.id(), base.id());
            assert_ne!(other.lookup_key(&secret), base.lookup_key(&secret));
        }
    }

    #[test]
    fn another_secret_gives_another_key() {
        let base = entity("http://h/f", "\"a\"", 10);
        assert_ne!(base.lookup_key(&LookupSecret::new([1; 32])), base.lookup_key(&LookupSecret::new([2; 32])));
    }

    #[test]
    fn names_survive_their_text() {
        let id = entity("http://h/f", "\"a\"", 10).id();
        assert_eq!(id.to_string().parse::<EntityId>(), Ok(id));
        assert!("xy".parse::<EntityId>().is_err());
    }
}
