//! A statement together with the certificate that shows its signer to be a member: what is stored and passed on.
//!
//! A relay may have met the signer where the reader never will, so the proof of membership travels with the word. The
//! certificate is opaque here; whether it is a member's, and for the signer's key, is the group's to say.

use super::{STATEMENT_LENGTH, SignedStatement, StatementError};
use crate::cursor::Cursor;
use std::fmt;

/// Bytes of the longest certificate that travels with a statement; a group certificate has about 450.
pub const MAX_CERTIFICATE: usize = 2048;

/// Bytes of the longest encoded [`EndorsedStatement`].
pub const MAX_ENDORSED: usize = STATEMENT_LENGTH + 2 + MAX_CERTIFICATE;

/// A signed statement and the DER of its signer's group certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct EndorsedStatement {
    /// What was said and signed.
    pub signed: SignedStatement,
    /// The signer's group certificate, at most [`MAX_CERTIFICATE`] bytes.
    pub certificate: Vec<u8>,
}

impl EndorsedStatement {
    /// The bytes that are stored and relayed: the signed statement, then the certificate behind its length.
    ///
    /// A certificate beyond [`MAX_CERTIFICATE`] would be refused by every reader and is left out.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.signed.encode();
        let certificate = if self.certificate.len() <= MAX_CERTIFICATE { self.certificate.as_slice() } else { &[] };
        bytes.extend_from_slice(&(certificate.len() as u16).to_le_bytes());
        bytes.extend_from_slice(certificate);
        bytes
    }

    /// Reads one endorsed statement, and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let mut cursor = Cursor::new(bytes);
        let endorsed = Self::read(&mut cursor)?;
        if cursor.is_at_end() { Ok(endorsed) } else { Err(StatementError::Length) }
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, StatementError> {
        let signed = SignedStatement::decode(cursor.slice(STATEMENT_LENGTH)?)?;
        let length = usize::from(cursor.u16()?);
        if length == 0 || length > MAX_CERTIFICATE {
            return Err(StatementError::Field { field: "certificate" });
        }
        Ok(Self { signed, certificate: cursor.slice(length)?.to_vec() })
    }
}

impl fmt::Debug for EndorsedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndorsedStatement")
            .field("statement", &self.signed.statement)
            .field("certificate", &format_args!("{} bytes", self.certificate.len()))
            .finish()
    }
}
