//! The receiving half of a stream: frames, and the raw bytes between them. Nothing that arrived is lost on cancellation.

use super::gathered::Gathered;
use bytes::Bytes;
use eddy_wire::frame::{Frame, FrameError, FrameReader};
use quinn::{ReadError, RecvStream, VarInt};

/// Bytes that are taken from the stream at a time while a frame is awaited: about one packet is read beyond it.
const FRAME_PIECE: usize = 16 * 1024;
/// Packets' worth of bytes that are taken from the stream at a time while raw bytes are awaited.
const CHUNKS: usize = 32;

/// What can come instead of a frame or bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InputError {
    /// The sender broke the protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The sender finished the stream too early.
    #[error("the stream ended early")]
    Ended,
    /// The sender gave the stream up.
    #[error("the stream was reset with code {0}")]
    Reset(VarInt),
    /// The connection is gone.
    #[error("the connection is gone: {0}")]
    Lost(String),
}

/// A stream that is read.
pub(crate) struct Input {
    pub(crate) receive: RecvStream,
    frames: FrameReader,
}

impl Input {
    pub(crate) fn new(receive: RecvStream) -> Self {
        Self { receive, frames: FrameReader::new() }
    }

    /// The stream's first byte. Cancel safe.
    pub(crate) async fn kind(&mut self) -> Result<u8, InputError> {
        let chunk = self.receive.read_chunk(1, true).await.map_err(lost)?.ok_or(InputError::Ended)?;
        chunk.bytes.first().copied().ok_or(InputError::Ended)
    }

    /// The next frame. Cancel safe.
    pub(crate) async fn frame<T: Frame>(&mut self) -> Result<T, InputError> {
        loop {
            if let Some(frame) = self.frames.poll()? {
                return Ok(frame);
            }
            let chunk = self.receive.read_chunk(FRAME_PIECE, true).await.map_err(lost)?.ok_or(InputError::Ended)?;
            self.frames.push(&chunk.bytes);
        }
    }

    /// Gathers at least one and at most `most` raw bytes, as they lie in the packets that brought them. Cancel safe.
    pub(crate) async fn gather(&mut self, into: &mut Gathered, most: usize) -> Result<(), InputError> {
        if self.frames.buffered() > 0 {
            into.push(self.frames.take(most));
            return Ok(());
        }
        let mut arrived: [Bytes; CHUNKS] = std::array::from_fn(|_| Bytes::new());
        let count = self.receive.read_chunks(&mut arrived).await.map_err(lost)?.ok_or(InputError::Ended)?;
        let mut missing = most;
        for mut chunk in arrived.into_iter().take(count) {
            let own = chunk.split_to(chunk.len().min(missing));
            missing -= own.len();
            into.push(own);
            if !chunk.is_empty() {
                // The beginning of the next frame.
                self.frames.push(&chunk);
            }
        }
        Ok(())
    }
}

fn lost(error: ReadError) -> InputError {
    match error {
        ReadError::Reset(code) => InputError::Reset(code),
        other => InputError::Lost(other.to_string()),
    }
}
