//! Asking a member which blocks of an entity it holds.

use super::belief::Lie;
use super::close::{abort, code};
use super::core::Core;
use super::stream::{Input, InputError};
use bytes::Bytes;
use eddy_content::{BlockSet, LookupKey};
use eddy_wire::NodeId;
use eddy_wire::frame::{Answer, Answers, Frame, Request, StreamKind, encode_frame};
use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

/// Why a member did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It is not connected, or its connection broke. Another peer, or later.
    #[error("the peer is gone: {0}")]
    Gone(String),
    /// It did not answer in time.
    #[error("the peer did not answer in time")]
    Stalled,
    /// Its answer cannot be true. The peer is at fault.
    #[error("the peer lies: {0}")]
    Lied(#[from] Lie),
}

/// Asks one member about one entity. Cancel safe: a question that nobody waits for is taken back.
pub(crate) async fn ask(core: &Core, node: NodeId, key: LookupKey) -> Result<Option<(u64, BlockSet)>, AskError> {
    let connection = core.used(node).ok_or_else(|| AskError::Gone("not connected".to_owned()))?;
    let answers = timeout(core.config.patience.answer, async {
        let mut question = Question::put(&connection, StreamKind::Request, &Request::Ask { keys: vec![key] }).await?;
        question.input.frame::<Answers>().await
    });
    let mut answers = answers.await.map_err(|_| AskError::Stalled)??.0;
    match (answers.pop(), answers.is_empty()) {
        (Some(Answer::NotHere), true) => Ok(None),
        (Some(Answer::Holds { length, blocks }), true) => Ok(Some((length, blocks))),
        _ => Err(Lie::Protocol("more answers than questions".to_owned()).into()),
    }
}

/// A question on its own stream. Dropped before its answer is complete, it is taken back.
pub(crate) struct Question {
    pub(crate) input: Input,
}

impl Question {
    /// Opens a stream and puts the question.
    pub(crate) async fn put<T: Frame>(
        connection: &Connection,
        kind: StreamKind,
        request: &T,
    ) -> Result<Self, InputError> {
        let frame = encode_frame(request).map_err(|error| InputError::Lost(error.to_string()))?;
        let (send, receive) = connection.open_bi().await.map_err(|error| InputError::Lost(error.to_string()))?;
        let mut stream = Unasked { send, receive: Some(receive) };
        let mut bytes = Vec::with_capacity(1 + frame.len());
        bytes.push(kind.byte());
        bytes.extend_from_slice(&frame);
        let written = stream.send.write_chunk(Bytes::from(bytes)).await;
        written.map_err(|error| InputError::Lost(error.to_string()))?;
        // Fails only when the other end stopped the stream, which its answer will say.
        let _ = stream.send.finish();
        let receive = stream.receive.take().ok_or(InputError::Ended)?;
        Ok(Self { input: Input::new(receive) })
    }
}

/// A stream on which the question is not complete: dropped, it is reset, where QUIC would call it finished.
struct Unasked {
    send: SendStream,
    receive: Option<RecvStream>,
}

impl Drop for Unasked {
    fn drop(&mut self) {
        if let Some(receive) = &mut self.receive {
            abort(&mut self.send, receive, code::ABORTED);
        }
    }
}

impl From<InputError> for AskError {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Frame(error) => Self::Lied(Lie::Protocol(error.to_string())),
            other => Self::Gone(other.to_string()),
        }
    }
}
