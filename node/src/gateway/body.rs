//! The content of an answer on its way to a client.

use super::tally::{self, Tally};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces that wait for a client: a slow one holds its own reader back and nobody else.
const QUEUE: usize = 2;

/// The content broke off: the connection is closed, so that the client sees it.
#[derive(Debug, thiserror::Error)]
#[error("the content broke off")]
pub(super) struct Broken;

/// The content of an answer.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// None.
    Empty,
    /// All of it, here.
    Full(Bytes),
    /// As it comes.
    Pieces(mpsc::Receiver<Result<Bytes, Broken>>),
    /// One whose bytes are counted as they go.
    Counted(Box<Self>, Arc<Tally>, tally::Bytes),
}

impl AnswerBody {
    /// The same, counted.
    pub(super) fn counted(self, tally: &Arc<Tally>, kind: tally::Bytes) -> Self {
        Self::Counted(Box::new(self), tally.clone(), kind)
    }
}

/// The sending end of [`AnswerBody::Pieces`].
pub(super) type Pieces = mpsc::Sender<Result<Bytes, Broken>>;

/// A body that somebody fills piece by piece.
pub(super) fn pieces() -> (Pieces, AnswerBody) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (sender, AnswerBody::Pieces(receiver))
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Pieces(pieces) => pieces.poll_recv(cx).map(|next| next.map(|piece| piece.map(Frame::data))),
            Self::Counted(body, tally, kind) => {
                let polled = Pin::new(&mut **body).poll_frame(cx);
                if let Poll::Ready(Some(Ok(frame))) = &polled
                    && let Some(bytes) = frame.data_ref()
                {
                    tally.add(*kind, bytes.len() as u64);
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Pieces(_) => false,
            Self::Counted(body, ..) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pieces(_) => SizeHint::default(),
            Self::Counted(body, ..) => body.size_hint(),
        }
    }
}
