//! What two members say to each other over QUIC.
//!
//! One bidirectional stream is one question. The asker sends a [`StreamKind`] byte, then one [`Request`] (or a question of
//! [`crate::membership`], which has its own frames in this envelope); the other side answers [`Request::Ask`] with one [`Answers`],
//! and [`Request::Read`] and [`Request::Follow`] with [`ReadReply`] frames until `End` or `Refused`. A stream of [`StreamKind::Swarm`] is
//! no question: it carries messages of [`crate::swarm`] one way.
//! [`Request::Vouch`] is answered with one [`Vouched`]. After a `ReadReply::Run` the raw bytes of its `send` blocks follow at once, outside of any frame: their number is
//! known from the geometry, so nothing about them can be lied about but the bytes themselves.
//!
//! | module | what it says |
//! |---|---|
//! | this one | the envelope: version, length, and what is in it |
//! | [`request`] | "who has these?", "read me this" |
//! | [`answer`] | "I hold these blocks of it" |
//! | [`vouch`] | "here is who signed for them" |
//! | [`read`] | "here are hashes, the word of who fetched them, and bytes" |
//! | `words` | statements and their hashes, as the last two carry them |
//! | [`reader`] | frames out of a stream, whatever the pieces it comes in |
//!
//! Everything is bounded before it is allocated (T-06, T-19); whatever breaks a rule is a [`FrameError`], which is always
//! the sender's fault and costs it the connection.

pub mod answer;
pub mod read;
pub mod reader;
pub mod request;
pub mod vouch;
mod words;

pub use answer::{Answer, Answers};
pub use read::{ReadRefusal, ReadReply, RunHeader};
pub use reader::FrameReader;
pub use request::{Request, StreamKind};
pub use vouch::{MAX_VOUCHED, Vouched};

use crate::cursor::{Cursor, Short};
use crate::statement::{MAX_STATEMENT_BLOCKS, StatementError};

/// The one protocol name of TLS's ALPN: another version is another name (T-15).
pub const ALPN: &[u8] = b"eddy/1";

/// Bytes of the longest frame's payload.
pub const MAX_FRAME: usize = 256 * 1024;
/// Keys in one [`Request::Ask`].
pub const MAX_KEYS: usize = 64;
/// Runs of blocks in one [`Answer::Holds`].
pub const MAX_RUNS: usize = 4096;
/// Blocks of one [`Request::Read`], and of one [`RunHeader::send`].
pub const MAX_READ_BLOCKS: u32 = 256;
/// Block hashes in one [`RunHeader`]: the blocks sent, and what the statements at both ends of them reach beyond.
pub const MAX_HASHES: usize = (MAX_READ_BLOCKS + 2 * MAX_STATEMENT_BLOCKS) as usize;
/// Statements in one [`RunHeader`].
pub const MAX_STATEMENTS: usize = 256;

/// Bytes before a frame's payload: the version, then the payload's length (u32, little-endian).
pub const HEADER_LENGTH: usize = 5;

/// Version of every layout in this module.
const VERSION: u8 = 1;

/// Why bytes from a peer are no frame. The peer is at fault; it is a bug or an attack, so a retry there is useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Another version than the ALPN promised.
    #[error("the frame has version {found}, this node speaks {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// Longer than [`MAX_FRAME`].
    #[error("the frame claims {length} bytes, the limit is {MAX_FRAME}")]
    TooLong {
        /// What the header says.
        length: u32,
    },
    /// Ends inside a field.
    #[error("the frame ends too early")]
    Short,
    /// Goes on after its last field.
    #[error("the frame goes on after its end")]
    Trailing,
    /// A frame of another kind than the protocol allows here.
    #[error("a frame of kind {found} has no place here")]
    Kind {
        /// The kind byte.
        found: u8,
    },
    /// A field whose value breaks the protocol.
    #[error("the frame's {field} breaks the protocol")]
    Field {
        /// Which one.
        field: &'static str,
    },
    /// A statement in it is ill-formed.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// Why a value cannot be sent: every peer would refuse it. A bug of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// A field beyond its limit.
    #[error("too many {field} for one frame")]
    TooMany {
        /// Which one.
        field: &'static str,
    },
    /// All together are more than [`MAX_FRAME`].
    #[error("the frame would have {length} bytes, the limit is {MAX_FRAME}")]
    TooLong {
        /// Bytes of the payload.
        length: usize,
    },
}

/// A value that travels in a frame of its own. Implemented in this crate only.
pub trait Frame: Sized + sealed::Layout {}

impl<T: sealed::Layout> Frame for T {}

pub(crate) mod sealed {
    use super::{Cursor, FrameError, Unsendable};

    pub trait Layout: Sized {
        /// Appends the payload: a kind byte that no other frame has, then the fields.
        fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable>;

        /// Reads the payload up to its last field.
        fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError>;
    }
}

/// The bytes of a value, header included.
pub fn encode_frame<T: Frame>(value: &T) -> Result<Vec<u8>, Unsendable> {
    let mut bytes = vec![VERSION, 0, 0, 0, 0];
    value.write(&mut bytes)?;
    let length = bytes.len() - HEADER_LENGTH;
    if length > MAX_FRAME {
        return Err(Unsendable::TooLong { length });
    }
    bytes[1..HEADER_LENGTH].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(bytes)
}

/// Bytes of the payload that follows this header.
pub fn payload_length(header: [u8; HEADER_LENGTH]) -> Result<usize, FrameError> {
    let [version, length @ ..] = header;
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    match u32::from_le_bytes(length) {
        length if length as usize > MAX_FRAME => Err(FrameError::TooLong { length }),
        length => Ok(length as usize),
    }
}

/// Reads a payload of exactly the length that its header gave.
pub fn decode_payload<T: Frame>(payload: &[u8]) -> Result<T, FrameError> {
    let mut cursor = Cursor::new(payload);
    let value = T::read(&mut cursor)?;
    if cursor.is_at_end() { Ok(value) } else { Err(FrameError::Trailing) }
}

/// Reads one whole frame, header included, and nothing after it.
pub fn decode_frame<T: Frame>(bytes: &[u8]) -> Result<T, FrameError> {
    let mut cursor = Cursor::new(bytes);
    let length = payload_length(cursor.array()?)?;
    let payload = cursor.slice(length)?;
    if cursor.is_at_end() { decode_payload(payload) } else { Err(FrameError::Trailing) }
}

impl From<Short> for FrameError {
    fn from(_: Short) -> Self {
        Self::Short
    }
}

/// The kind byte of each frame: one number space, so that no frame can be read as another.
pub(crate) mod kind {
    pub(super) const ASK: u8 = 1;
    pub(super) const READ: u8 = 2;
    pub(super) const ANSWERS: u8 = 3;
    pub(super) const RUN: u8 = 4;
    pub(super) const END: u8 = 5;
    pub(super) const REFUSED: u8 = 6;
    pub(super) const VOUCH: u8 = 13;
    pub(super) const VOUCHED: u8 = 14;
    pub(super) const FOLLOW: u8 = 15;
    // 32 to 63 belong to `crate::swarm`. Of `crate::membership`:
    pub(crate) const ENROL: u8 = 7;
    pub(crate) const RENEW: u8 = 8;
    pub(crate) const DENIED_SINCE: u8 = 9;
    pub(crate) const DENIED: u8 = 10;
    pub(crate) const ADMITTED: u8 = 11;
    pub(crate) const NOT_ADMITTED: u8 = 12;
}

#[cfg(test)]
mod tests;
