//! A node's signed word over a package of entities: who packed it, and that nobody changed it since.
//!
//! A seal says less than a [statement](crate::statement): not that the signer fetched the bytes from their origin, but that it
//! held them, checked, when it packed them. The certificate shows that the signer is a member of its group; a node in no group
//! seals without one, and is trusted by its key alone.

use crate::NodeId;
use crate::cursor::{Cursor, Short};
use crate::statement::MAX_CERTIFICATE;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use std::fmt;

/// Bytes of the longest encoded [`Seal`].
pub const MAX_SEAL: usize = 1 + 32 + 64 + 2 + MAX_CERTIFICATE;

/// Version of the layout; part of what is signed.
const VERSION: u8 = 1;
/// Sets these signatures apart from every other use of the key.
const DOMAIN: &[u8] = b"eddy v1 package of entities\0";

/// A signature over a package, and who made it.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    /// Who packed it.
    pub signer: NodeId,
    /// Ed25519 over the domain string, the version, the signer and the package's own bytes.
    pub signature: [u8; 64],
    /// The signer's group certificate; empty when it is in no group.
    pub certificate: Vec<u8>,
}

/// Why bytes are no seal, or not the signer's. The fault is the package's; trying again is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Made by another version of eddy.
    #[error("the seal has version {found}, this node reads {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Too few or too many bytes.
    #[error("the seal has the wrong length")]
    Length,
    /// The signer's key is no Ed25519 key that could sign for one person only.
    #[error("the seal's signer is no usable key")]
    Key,
    /// The signature is not the signer's, or the package is not the one that was signed.
    #[error("the seal's signature is wrong")]
    Signature,
}

impl From<Short> for SealError {
    fn from(_: Short) -> Self {
        Self::Length
    }
}

impl Seal {
    /// Signs `packed` in the name of `key`'s owner. A certificate beyond [`MAX_CERTIFICATE`] is left out.
    #[must_use]
    pub fn sign(key: &SigningKey, certificate: &[u8], packed: &[u8]) -> Self {
        let signer = NodeId(key.verifying_key().to_bytes());
        let signature = key.sign(&signed_bytes(&signer, packed)).to_bytes();
        let certificate = if certificate.len() <= MAX_CERTIFICATE { certificate.to_vec() } else { Vec::new() };
        Self { signer, signature, certificate }
    }

    /// Checks that `signer` signed exactly `packed`. Strict, as for statements.
    pub fn verify(&self, packed: &[u8]) -> Result<(), SealError> {
        let key = VerifyingKey::from_bytes(&self.signer.0).map_err(|_| SealError::Key)?;
        if key.is_weak() {
            return Err(SealError::Key);
        }
        key.verify_strict(&signed_bytes(&self.signer, packed), &Signature::from_bytes(&self.signature))
            .map_err(|_| SealError::Signature)
    }

    /// The bytes that stand in a package.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.signer.0);
        bytes.extend_from_slice(&self.signature);
        bytes.extend_from_slice(&(self.certificate.len() as u16).to_le_bytes());
        bytes.extend_from_slice(&self.certificate);
        bytes
    }

    /// Reads one seal, and nothing after it. Does not check the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, SealError> {
        let mut cursor = Cursor::new(bytes);
        match cursor.u8()? {
            VERSION => {}
            found => return Err(SealError::Version { found }),
        }
        let (signer, signature) = (NodeId(cursor.array()?), cursor.array()?);
        let length = usize::from(cursor.u16()?);
        if length > MAX_CERTIFICATE {
            return Err(SealError::Length);
        }
        let certificate = cursor.slice(length)?.to_vec();
        if cursor.is_at_end() { Ok(Self { signer, signature, certificate }) } else { Err(SealError::Length) }
    }
}

fn signed_bytes(signer: &NodeId, packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(DOMAIN.len() + 33 + packed.len());
    bytes.extend_from_slice(DOMAIN);
    bytes.push(VERSION);
    bytes.extend_from_slice(&signer.0);
    bytes.extend_from_slice(packed);
    bytes
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("signer", &self.signer)
            .field("certificate", &format_args!("{} bytes", self.certificate.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal() -> Seal {
        Seal::sign(&SigningKey::from_bytes(&[7; 32]), b"certificate", b"packed")
    }

    #[test]
    fn a_seal_is_read_as_it_was_written_and_its_bytes_are_for_ever() {
        let bytes = seal().encode();
        assert_eq!(Seal::decode(&bytes), Ok(seal()));
        insta::assert_snapshot!(data_encoding::HEXLOWER.encode(&bytes));
    }

    #[test]
    fn another_package_another_signer_and_every_flipped_bit_are_noticed() {
        assert_eq!(seal().verify(b"packed"), Ok(()));
        assert_eq!(seal().verify(b"packet"), Err(SealError::Signature));
        let other = NodeId(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        assert!(Seal { signer: other, ..seal() }.verify(b"packed").is_err());
        let bytes = seal().encode();
        for bit in 0..(bytes.len() - 11) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Seal::decode(&flipped).and_then(|seal| seal.verify(b"packed")).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_statement_is_no_seal() {
        // The same key signs both; the domain string keeps them apart.
        let key = SigningKey::from_bytes(&[7; 32]);
        let signature = key.sign(b"packed").to_bytes();
        assert_eq!(Seal { signature, ..seal() }.verify(b"packed"), Err(SealError::Signature));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(seal) = Seal::decode(&bytes) {
                prop_assert_eq!(seal.encode(), bytes);
            }
        }
    }
}
