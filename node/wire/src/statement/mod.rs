//! A member's signed word about bytes that it fetched from the origin itself (design: trust, "What", 4).
//!
//! | module | question that it answers |
//! |---|---|
//! | this one | what is said, and what exactly is signed? |
//! | [`belief`] | is it said of the bytes in hand, and truly by the signer? |
//! | [`claim`] | what did it sign, hash by hash? |
//! | [`endorsed`] | how does it travel with the proof that its signer is a member? |
//!
//! The signed bytes are a fixed layout behind a domain string: a signature made for any other purpose by the same key (a
//! TLS handshake, a certificate) can never be taken for a statement, and no two statements have the same bytes.

pub mod belief;
pub mod claim;
pub mod endorsed;

pub use belief::{Disbelief, Expected};
pub use claim::Claim;
pub use endorsed::{EndorsedStatement, MAX_CERTIFICATE, MAX_ENDORSED};

use crate::NodeId;
use crate::cursor::{Cursor, Short};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use eddy_content::tree::RunHash;
use eddy_content::{Geometry, LookupKey};
use std::fmt;
use std::ops::Range;

/// Blocks of the longest run that one statement may cover: 16 MiB, the largest segment.
pub const MAX_STATEMENT_BLOCKS: u32 = 256;

/// Bytes of an encoded [`SignedStatement`].
pub const STATEMENT_LENGTH: usize = 1 + BODY_LENGTH + SIGNATURE_LENGTH;

/// Version of the layout below; part of what is signed.
const VERSION: u8 = 1;
/// Sets these signatures apart from every other use of the key.
const DOMAIN: &[u8] = b"eddy v1 statement of origin bytes\0";
const BODY_LENGTH: usize = 32 + 32 + 8 + 4 + 4 + 32 + 8 + 1 + 1 + 32;
const SIGNATURE_LENGTH: usize = 64;

/// The public fingerprint of a group: which circle of trust a statement was made for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub [u8; 32]);

/// How the bytes came from the origin to the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Plain HTTP: nobody proved to be the origin.
    Http,
    /// HTTPS: the origin proved its name.
    Https,
}

/// "I fetched these blocks of this entity from its origin over my own connection, and their hashes are these."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The group that it is said to.
    pub group: GroupId,
    /// The entity, by the name that only the group can form.
    pub key: LookupKey,
    /// Bytes of the whole entity.
    pub length: u64,
    /// First block of the run.
    pub first_block: u32,
    /// Blocks of the run, 1 to [`MAX_STATEMENT_BLOCKS`].
    pub count: u32,
    /// The run's block hashes, hashed ([`eddy_content::tree::run_hash`]).
    pub run: RunHash,
    /// When the last of the bytes came, in seconds since 1970, by the signer's clock.
    pub time: i64,
    /// How they came.
    pub transport: Transport,
    /// The kind of validator that the origin gave ([`eddy_content::Validator::kind`]).
    pub validator: u8,
    /// Who says so.
    pub signer: NodeId,
}

/// A [`Statement`] and its signature, which nobody has checked yet unless [`SignedStatement::verify_signature`] was asked.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedStatement {
    /// What is said.
    pub statement: Statement,
    /// Ed25519 over the domain string, the version and the body.
    pub signature: [u8; SIGNATURE_LENGTH],
}

/// Why bytes are no statement, or a statement is not its signer's. The fault is the sender's; asking again is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Made by another version of eddy.
    #[error("the statement has version {found}, this node reads {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Too few or too many bytes.
    #[error("the statement has the wrong length")]
    Length,
    /// A field with a value that no statement has.
    #[error("the statement's {field} is impossible")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// The signer's key is no Ed25519 key that could sign for one person only.
    #[error("the statement's signer is no usable key")]
    Key,
    /// The signature is not the signer's.
    #[error("the statement's signature is wrong")]
    Signature,
}

impl Statement {
    /// The blocks that are spoken of.
    #[must_use]
    pub fn blocks(&self) -> Range<u32> {
        self.first_block..self.first_block.saturating_add(self.count)
    }

    /// Signs it, in the name of `key`'s owner whatever `signer` said before.
    #[must_use]
    pub fn sign(mut self, key: &SigningKey) -> SignedStatement {
        self.signer = NodeId(key.verifying_key().to_bytes());
        let signature = key.sign(&self.signed_bytes()).to_bytes();
        SignedStatement { statement: self, signature }
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(DOMAIN.len() + 1 + BODY_LENGTH);
        bytes.extend_from_slice(DOMAIN);
        bytes.push(VERSION);
        self.write_body(&mut bytes);
        bytes
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group.0);
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.first_block.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.run.0);
        out.extend_from_slice(&self.time.to_le_bytes());
        out.push(self.transport.code());
        out.push(self.validator);
        out.extend_from_slice(&self.signer.0);
    }

    fn read_body(cursor: &mut Cursor<'_>) -> Result<Self, StatementError> {
        let statement = Self {
            group: GroupId(cursor.array()?),
            key: LookupKey(cursor.array()?),
            length: cursor.u64()?,
            first_block: cursor.u32()?,
            count: cursor.u32()?,
            run: RunHash(cursor.array()?),
            time: cursor.i64()?,
            transport: Transport::from_code(cursor.u8()?).ok_or(StatementError::Field { field: "transport" })?,
            validator: cursor.u8()?,
            signer: NodeId(cursor.array()?),
        };
        statement.check_run()?;
        Ok(statement)
    }

    /// Whether the run has a permitted size and lies inside an entity of the stated length.
    fn check_run(&self) -> Result<(), StatementError> {
        let geometry = Geometry::new(self.length).ok_or(StatementError::Field { field: "length" })?;
        if !(1..=MAX_STATEMENT_BLOCKS).contains(&self.count) {
            return Err(StatementError::Field { field: "number of blocks" });
        }
        match self.first_block.checked_add(self.count) {
            Some(end) if end <= geometry.block_count() => Ok(()),
            _ => Err(StatementError::Field { field: "run" }),
        }
    }
}

impl SignedStatement {
    /// The bytes that travel and are kept: version, body, signature; always [`STATEMENT_LENGTH`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(STATEMENT_LENGTH);
        bytes.push(VERSION);
        self.statement.write_body(&mut bytes);
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Reads the bytes of one statement, and nothing after them. Does not check the signature.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut cursor = Cursor::new(bytes);
        match cursor.u8()? {
            VERSION => {}
            found => return Err(StatementError::Version { found }),
        }
        if bytes.len() != STATEMENT_LENGTH {
            return Err(StatementError::Length);
        }
        let statement = Statement::read_body(&mut cursor)?;
        Ok(Self { statement, signature: cursor.array()? })
    }

    /// Checks that `statement.signer` signed exactly this statement.
    ///
    /// Strict verification: a key of small order, under which one signature fits many messages, is refused, and so is a
    /// second form of a signature (RFC 8032 section 8.4), so that a statement has one encoding.
    pub fn verify_signature(&self) -> Result<(), StatementError> {
        let key = VerifyingKey::from_bytes(&self.statement.signer.0).map_err(|_| StatementError::Key)?;
        if key.is_weak() {
            return Err(StatementError::Key);
        }
        key.verify_strict(&self.statement.signed_bytes(), &Signature::from_bytes(&self.signature))
            .map_err(|_| StatementError::Signature)
    }
}

impl Transport {
    const fn code(self) -> u8 {
        match self {
            Self::Http => 1,
            Self::Https => 2,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Http),
            2 => Some(Self::Https),
            _ => None,
        }
    }
}

impl From<Short> for StatementError {
    fn from(_: Short) -> Self {
        Self::Length
    }
}

impl fmt::Debug for SignedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedStatement").field("statement", &self.statement).finish_non_exhaustive()
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({}..)", data_encoding::HEXLOWER.encode(&self.0[..6]))
    }
}

#[cfg(test)]
pub(crate) mod tests;
