//! Statements of members with the hashes that they are checked with: what two answers have in common.

use super::{FrameError, MAX_HASHES, Unsendable};
use crate::cursor::Cursor;
use crate::statement::EndorsedStatement;
use eddy_content::tree::BlockHash;

/// Statements, and hashes of consecutive blocks: of all that they speak of.
#[derive(Clone, Copy)]
pub(super) struct Words<'a> {
    /// The block that the first of `hashes` belongs to.
    pub(super) hashes_from: u32,
    pub(super) hashes: &'a [BlockHash],
    pub(super) statements: &'a [EndorsedStatement],
}

/// What was read of them.
pub(super) struct Said {
    pub(super) hashes_from: u32,
    pub(super) hashes: Vec<BlockHash>,
    pub(super) statements: Vec<EndorsedStatement>,
}

impl Words<'_> {
    /// Whether a frame that carries at most so many statements can carry them.
    pub(super) fn check(self, most_statements: usize) -> Result<(), Unsendable> {
        if self.hashes.len() > MAX_HASHES {
            return Err(Unsendable::TooMany { field: "hashes" });
        }
        if self.statements.len() > most_statements {
            return Err(Unsendable::TooMany { field: "statements" });
        }
        Ok(())
    }

    /// Appends them; they have been checked.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hashes_from.to_le_bytes());
        out.extend_from_slice(&(self.hashes.len() as u16).to_le_bytes());
        self.hashes.iter().for_each(|hash| out.extend_from_slice(&hash.0));
        out.extend_from_slice(&(self.statements.len() as u16).to_le_bytes());
        self.statements.iter().for_each(|said| out.extend_from_slice(&said.encode()));
    }
}

impl Said {
    /// Reads them, of at most so many statements.
    pub(super) fn read(cursor: &mut Cursor<'_>, most_statements: usize) -> Result<Self, FrameError> {
        let hashes_from = cursor.u32()?;
        let count = usize::from(cursor.u16()?);
        if count > MAX_HASHES {
            return Err(FrameError::Field { field: "number of hashes" });
        }
        let hashes = (0..count).map(|_| cursor.array().map(BlockHash)).collect::<Result<_, _>>()?;
        let count = usize::from(cursor.u16()?);
        if count > most_statements {
            return Err(FrameError::Field { field: "number of statements" });
        }
        let statements = (0..count).map(|_| EndorsedStatement::read(cursor)).collect::<Result<_, _>>()?;
        Ok(Self { hashes_from, hashes, statements })
    }
}
