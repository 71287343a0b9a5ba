//! What the asking side sends: which kind of stream this is, then one question.

use super::sealed::Layout;
use super::{FrameError, MAX_KEYS, MAX_READ_BLOCKS, Unsendable, kind};
use crate::cursor::Cursor;
use eddy_content::LookupKey;
use std::ops::Range;

/// What a bidirectional stream is for: its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// One [`Request`] and its answer.
    Request,
    /// One question about membership and its answer: only in groups with an authority of their own.
    Membership,
    /// Messages of [`crate::swarm`], one after the other, for as long as the connection lasts; nothing is answered on it.
    Swarm,
}

/// A question to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which blocks do you hold of these entities? One answer for each key, in this order.
    Ask {
        /// 1 to [`MAX_KEYS`] entity keys.
        keys: Vec<LookupKey>,
    },
    /// Send these blocks of this entity, with what shows them to be the origin's.
    Read {
        /// The entity.
        key: LookupKey,
        /// 1 to [`MAX_READ_BLOCKS`] blocks.
        blocks: Range<u32>,
    },
    /// As [`Self::Read`], of blocks of one segment that may still be on their way: each run is sent as soon as it is verified.
    Follow {
        /// The entity.
        key: LookupKey,
        /// 1 to [`MAX_READ_BLOCKS`] blocks.
        blocks: Range<u32>,
    },
    /// Who signed for these blocks of this entity? Answered with a [`super::Vouched`].
    Vouch {
        /// The entity.
        key: LookupKey,
        /// 1 to [`MAX_READ_BLOCKS`] blocks.
        blocks: Range<u32>,
    },
}

impl StreamKind {
    /// The byte that is sent.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Membership => 2,
            Self::Swarm => 3,
        }
    }

    /// The kind that a byte stands for, if this version knows it.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Request),
            2 => Some(Self::Membership),
            3 => Some(Self::Swarm),
            _ => None,
        }
    }
}

impl Layout for Request {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), Unsendable> {
        match self {
            Self::Ask { keys } => {
                if !(1..=MAX_KEYS).contains(&keys.len()) {
                    return Err(Unsendable::TooMany { field: "keys" });
                }
                out.extend_from_slice(&[kind::ASK, keys.len() as u8]);
                keys.iter().for_each(|key| out.extend_from_slice(&key.0));
            }
            Self::Read { key, blocks } | Self::Follow { key, blocks } | Self::Vouch { key, blocks } => {
                if !is_readable(blocks) {
                    return Err(Unsendable::TooMany { field: "blocks" });
                }
                out.push(match self {
                    Self::Read { .. } => kind::READ,
                    Self::Follow { .. } => kind::FOLLOW,
                    _ => kind::VOUCH,
                });
                out.extend_from_slice(&key.0);
                write_run(blocks, out);
            }
        }
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, FrameError> {
        match cursor.u8()? {
            kind::ASK => {
                let count = usize::from(cursor.u8()?);
                if !(1..=MAX_KEYS).contains(&count) {
                    return Err(FrameError::Field { field: "number of keys" });
                }
                let keys = (0..count).map(|_| cursor.array().map(LookupKey)).collect::<Result<_, _>>()?;
                Ok(Self::Ask { keys })
            }
            asked @ (kind::READ | kind::FOLLOW | kind::VOUCH) => {
                let key = LookupKey(cursor.array()?);
                let blocks = read_run(cursor)?;
                if !is_readable(&blocks) {
                    return Err(FrameError::Field { field: "number of blocks" });
                }
                Ok(match asked {
                    kind::READ => Self::Read { key, blocks },
                    kind::FOLLOW => Self::Follow { key, blocks },
                    _ => Self::Vouch { key, blocks },
                })
            }
            found => Err(FrameError::Kind { found }),
        }
    }
}

/// Whether a run may be asked for, or sent, at once.
pub(super) fn is_readable(blocks: &Range<u32>) -> bool {
    !blocks.is_empty() && blocks.end - blocks.start <= MAX_READ_BLOCKS
}

/// Appends a run as its start and its number of blocks.
pub(super) fn write_run(run: &Range<u32>, out: &mut Vec<u8>) {
    out.extend_from_slice(&run.start.to_le_bytes());
    out.extend_from_slice(&(run.end.saturating_sub(run.start)).to_le_bytes());
}

/// Reads a run, which may be empty but never wraps.
pub(super) fn read_run(cursor: &mut Cursor<'_>) -> Result<Range<u32>, FrameError> {
    let (start, count) = (cursor.u32()?, cursor.u32()?);
    let end = start.checked_add(count).ok_or(FrameError::Field { field: "run" })?;
    Ok(start..end)
}
