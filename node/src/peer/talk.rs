//! A stream on which this node tells a member messages of swarms, before all bytes of blocks on the same connection.

use super::ask::AskError;
use super::close::code;
use super::core::Core;
use bytes::Bytes;
use eddy_wire::NodeId;
use eddy_wire::frame::StreamKind;
use quinn::{RecvStream, SendStream};

/// What the stream begins with.
const KIND: &[u8] = &[StreamKind::Swarm.byte()];
/// Above what streams of blocks have.
const PRIORITY: i32 = 1;

/// Why a member hears no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkEnd {
    /// It takes part in no swarm.
    Deaf,
    /// It is still starting, or gone: it may hear what is said on another stream.
    Broken,
}

/// One direction of a talk.
pub struct Talk {
    send: SendStream,
    /// Nothing comes on it; dropped, it would stop the member's half.
    _receive: RecvStream,
    connection: usize,
}

impl Talk {
    pub(super) async fn open(core: &Core, node: NodeId) -> Result<Self, AskError> {
        let connection = core.used(node).ok_or_else(|| AskError::Gone("not connected".to_owned()))?;
        let (send, receive) = connection.open_bi().await.map_err(|error| AskError::Gone(error.to_string()))?;
        let mut talk = Self { send, _receive: receive, connection: connection.stable_id() };
        // Fails only when the stream has ended, which the write says.
        let _ = talk.send.set_priority(PRIORITY);
        talk.say(Bytes::from_static(KIND)).await?;
        Ok(talk)
    }

    pub(super) fn is_current(&self, core: &Core, node: NodeId) -> bool {
        core.used(node).is_some_and(|connection| connection.stable_id() == self.connection)
    }

    /// Waits until the member hears no more, and says why. Cancel safe.
    pub async fn end(&self) -> TalkEnd {
        match self.send.stopped().await {
            Ok(Some(why)) if why == code::DEAF => TalkEnd::Deaf,
            Ok(_) | Err(_) => TalkEnd::Broken,
        }
    }

    /// Waits until the member says that it takes part in no swarm; for ever when it does, or is gone. Cancel safe.
    pub async fn is_deaf(&self) {
        if self.end().await != TalkEnd::Deaf {
            std::future::pending().await
        }
    }

    /// Sends whole frames. Not cancel safe: half a frame ends the talk.
    pub async fn say(&mut self, frames: Bytes) -> Result<(), AskError> {
        self.send.write_chunk(frames).await.map_err(|error| AskError::Gone(error.to_string()))
    }
}
