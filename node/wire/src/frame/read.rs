//! The answer to a read: hashes and signed statements first, then the bytes that they speak of.
//!
//! A statement covers a run that seldom ends where a read does, and its signature can only be checked with the hashes of
//! all its blocks; so the header carries more hashes than blocks. The reader checks every statement, then each block
//! against its hash as it arrives: a lie is known before a byte of it is kept (T-01).

use super::request::{is_readable, read_run, write_run};
use super::sealed::Layout;
use super::words::{Said, Words};
use super::{FrameError, MAX_STATEMENTS, Unsendable, kind};
use crate::cursor::Cursor;
use crate::statement::EndorsedStatement;
use eddy_content::tree::BlockHash;
use std::ops::Range;

/// One frame of the answer to [`super::Request::Read`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadReply {
    /// A run; the raw bytes of [`RunHeader::send`] follow this frame at once.
    Run(RunHeader),
    /// Nothing more comes. What was asked for and not sent is not here.
    End,
    /// Nothing comes, or nothing more.
    Refused(ReadRefusal),
}

/// Why a member sends nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ReadRefusal {
    /// It holds none of the blocks, or may not give them to the asker: the same answer (T-12).
    #[error("the peer does not hold these blocks")]
    NotHere,
    /// It serves others; later it may have room.
    #[error("the peer is busy")]
    Busy,
    /// The read is beyond the limits of this member.
    #[error("the read is larger than the peer allows")]
    TooMuch,
}

/// What shows that the bytes that follow are the origin's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHeader {
    /// The block that the first of `hashes` belongs to.
    pub hashes_from: u32,
    /// Hashes of consecutive blocks: at least of all that are sent and all that `statements` speak of.
    pub hashes: Vec<BlockHash>,
    /// The blocks whose bytes follow, in order; each has the length that the geometry gives it.
    pub send: Range<u32>,
    /// Members' statements, which together should cover `send`.
    pub statements: Vec<EndorsedStatement>,
}

const NOT_HERE: u8 = 1;
const BUSY: u8 = 2;
const TOO_MUCH: u8 = 3;

impl RunHeader {
    /// The hashes of exactly `blocks`; `None` unless the header has them all.
    #[must_use]
    pub fn hashes_of(&self, blocks: Range<u32>) -> Option<&[BlockHash]> {
        let from = blocks.start.checked_sub(self.hashes_from)? as usize;
        let to = blocks.end.checked_sub(self.hashes_from)? as usize;
        self.hashes.get(from..to)
    }

    /// Whether the header says all that it has to: a run that may be sent, and hashes for every block it speaks of.
    fn is_complete(&self) -> bool {
        is_readable(&self.send)
            && self.hashes_of(self.send.clone()).is_some()
            && self.statements.iter().all(|said| self.hashes_of(said.signed.statement.blocks()).is_some())
    }

    fn words(&self) -> Words<'_> {
        Words { hashes_from: self.hashes_from, hashes: &self.hashes, statements: &self.statements }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        self.words().check(MAX_STATEMENTS)?;
        if !self.is_complete() {
            return Err(Unsendable::TooMany { field: "blocks without a hash" });
        }
        out.push(kind::RUN);
        write_run(&self.send, out);
        self.words().write(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        let send = read_run(cursor)?;
        let Said { hashes_from, hashes, statements } = Said::read(cursor, MAX_STATEMENTS)?;
        let header = Self { hashes_from, hashes, send, statements };
        if header.is_complete() { Ok(header) } else { Err(FrameError::Field { field: "run header" }) }
    }
}

impl Layout for ReadReply {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::Run(header) => header.write(out)?,
            Self::End => out.push(kind::END),
            Self::Refused(refusal) => out.extend_from_slice(&[
                kind::REFUSED,
                match refusal {
                    ReadRefusal::NotHere => NOT_HERE,
                    ReadRefusal::Busy => BUSY,
                    ReadRefusal::TooMuch => TOO_MUCH,
                },
            ]),
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::RUN => RunHeader::read(cursor).map(Self::Run),
            kind::END => Ok(Self::End),
            kind::REFUSED => match cursor.u8()? {
                NOT_HERE => Ok(Self::Refused(ReadRefusal::NotHere)),
                BUSY => Ok(Self::Refused(ReadRefusal::Busy)),
                TOO_MUCH => Ok(Self::Refused(ReadRefusal::TooMuch)),
                _ => Err(FrameError::Field { field: "refusal" }),
            },
            found => Err(FrameError::Kind { found }),
        }
    }
}
