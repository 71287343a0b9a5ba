//! The receiving half of a stream: frames, and the raw bytes between them. Nothing that arrived is lost on cancellation.

use bytes::{BufMut, BytesMut};
use eddy_wire::frame::{Frame, FrameError, FrameReader};
use quinn::{ReadError, RecvStream, VarInt};
use tokio::io::AsyncReadExt;

/// Bytes that are taken from the stream at a time while a frame is awaited: about one packet is read beyond it.
const FRAME_PIECE: usize = 16 * 1024;

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

    /// Appends at least one and at most `most` raw bytes. Cancel safe.
    ///
    /// This is the one copy on the way in: packets of 1.4 kB become runs that can be hashed and written at full speed.
    pub(crate) async fn bytes(&mut self, into: &mut BytesMut, most: usize) -> Result<(), InputError> {
        if self.frames.buffered() > 0 {
            into.extend_from_slice(&self.frames.take(most));
            return Ok(());
        }
        match self.receive.read_buf(&mut into.limit(most)).await {
            Ok(0) => Err(InputError::Ended),
            Ok(_) => Ok(()),
            Err(error) => {
                let inner = error.get_ref().and_then(|e| e.downcast_ref::<ReadError>()).cloned();
                Err(inner.map_or_else(|| InputError::Lost(error.to_string()), lost))
            }
        }
    }
}

fn lost(error: ReadError) -> InputError {
    match error {
        ReadError::Reset(code) => InputError::Reset(code),
        other => InputError::Lost(other.to_string()),
    }
}
