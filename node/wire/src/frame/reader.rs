//! Takes frames, and the raw bytes between them, out of a stream that arrives in pieces of any size.
//!
//! Pure: the caller pushes what it received and asks what is complete. Nothing is lost when the caller is cancelled
//! between two pieces, since all that arrived is in here.

use super::{Frame, FrameError, HEADER_LENGTH, decode_payload, payload_length};
use bytes::{Bytes, BytesMut};

/// The received part of a stream that nobody has taken yet.
///
/// Holds what was pushed and not taken: who pushes only when [`FrameReader::poll`] or [`FrameReader::take`] gave nothing
/// never holds more than one frame and one piece.
#[derive(Default)]
pub struct FrameReader {
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what has arrived.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// Takes the next frame, or `None` while it is incomplete. A header that breaks a limit fails at once, before its
    /// payload is waited for.
    pub fn poll<T: Frame>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<HEADER_LENGTH>() else {
            return Ok(None);
        };
        let end = HEADER_LENGTH + payload_length(*header)?;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let frame = self.buffer.split_to(end);
        decode_payload(&frame[HEADER_LENGTH..]).map(Some)
    }

    /// Takes up to `most` raw bytes that follow the frames taken so far; empty when none have arrived.
    pub fn take(&mut self, most: usize) -> Bytes {
        let length = most.min(self.buffer.len());
        self.buffer.split_to(length).freeze()
    }

    /// Bytes that have arrived and were not taken.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameReader").field("buffered", &self.buffered()).finish()
    }
}
