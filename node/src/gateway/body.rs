//! The content of an answer on its way to a client.

use super::tally::{self, Tally};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Pieces that wait for a client: a slow one holds its own reader back and nobody else.
const QUEUE: usize = 2;

/// Why no more of the content comes: the connection is closed, so that the client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the content broke off")]
    Off,
    #[error("the content is not what its name or an index promises")]
    False,
}

/// The content of an answer.
pub(super) enum AnswerBody {
    /// None.
    Empty,
    /// All of it, here.
    Full(Bytes),
    /// As it comes.
    Coming(Coming),
    /// One whose bytes are counted as they go.
    Counted(Box<Self>, Arc<Tally>, tally::Bytes),
}

impl AnswerBody {
    /// A body whose pieces are sent by the future that `send` gives. It is carried on by the client's own connection, whenever that looks for
    /// more: nobody has to be woken between the two, and it ends with the connection.
    pub(super) fn coming<F>(send: impl FnOnce(Pieces) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (to, pieces) = mpsc::channel(QUEUE);
        Self::Coming(Coming { sender: Some(Box::pin(send(to))), pieces, first: None, is_judged_first: false })
    }

    /// The same, of which nothing comes before the whole is known to be what was promised.
    pub(super) fn judged_first(mut self) -> Self {
        if let Self::Coming(coming) = &mut self {
            coming.is_judged_first = true;
        }
        self
    }

    /// Looks once for the first piece, and keeps it: an answer whose content breaks off before it can still say so by its status, where the line
    /// would else be closed without a word. Waits for it only where it comes with a judgement. Cancel safe.
    pub(super) async fn begin(&mut self) -> Result<(), Broken> {
        let mut body = self;
        while let Self::Counted(inner, ..) = body {
            body = inner;
        }
        match body {
            Self::Coming(coming) => poll_fn(|cx| coming.begin(cx)).await,
            _ => Ok(()),
        }
    }

    /// The same, counted.
    pub(super) fn counted(self, tally: &Arc<Tally>, kind: tally::Bytes) -> Self {
        Self::Counted(Box::new(self), tally.clone(), kind)
    }
}

/// The way of pieces into a body.
pub(super) type Pieces = mpsc::Sender<Result<Bytes, Broken>>;

/// A body that comes, and who sends it.
pub(super) struct Coming {
    sender: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    pieces: mpsc::Receiver<Result<Bytes, Broken>>,
    /// A piece that was looked for before the head went out.
    first: Option<Bytes>,
    is_judged_first: bool,
}

impl Coming {
    fn begin(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        match self.poll(cx) {
            Poll::Ready(Some(Err(broken))) => Poll::Ready(Err(broken)),
            Poll::Ready(Some(Ok(piece))) => {
                self.first = Some(piece);
                Poll::Ready(Ok(()))
            }
            Poll::Pending if self.is_judged_first => Poll::Pending,
            Poll::Ready(None) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        if let Some(piece) = self.first.take() {
            return Poll::Ready(Some(Ok(piece)));
        }
        // First the sender, so that the next pieces are on their way while this one goes out.
        if let Some(sender) = &mut self.sender
            && sender.as_mut().poll(cx).is_ready()
        {
            self.sender = None;
        }
        self.pieces.poll_recv(cx)
    }
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
            Self::Coming(coming) => coming.poll(cx).map(|next| next.map(|piece| piece.map(Frame::data))),
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
            Self::Coming(_) => false,
            Self::Counted(body, ..) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Coming(_) => SizeHint::default(),
            Self::Counted(body, ..) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    async fn next(body: &mut AnswerBody) -> Option<Bytes> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        frame.map(|frame| frame.expect("whole").into_data().expect("data"))
    }

    #[tokio::test]
    async fn a_body_that_comes_is_sent_a_few_pieces_ahead_of_its_client_and_no_more() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let mut body = AnswerBody::coming(|to| async move {
            for number in 0..10u8 {
                if to.send(Ok(Bytes::copy_from_slice(&[number]))).await.is_err() {
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        for number in 0..10 {
            assert_eq!(next(&mut body).await.expect("a piece")[..], [number]);
            let ahead = sent.load(Ordering::Relaxed) - usize::from(number);
            assert!((1..=QUEUE + 1).contains(&ahead), "{ahead} pieces are in memory");
        }
        assert_eq!(next(&mut body).await, None);
    }

    #[tokio::test]
    async fn what_breaks_off_before_its_first_piece_is_told_before_it_is_sent() {
        let broken = |why| AnswerBody::coming(move |to| async move { drop(to.send(Err(why)).await) });
        for why in [Broken::Off, Broken::False] {
            assert_eq!(broken(why).begin().await, Err(why));
        }
        let mut good = AnswerBody::coming(|to| async move {
            for piece in ["a", "b"] {
                drop(to.send(Ok(Bytes::from_static(piece.as_bytes()))).await);
            }
            drop(to.send(Err(Broken::Off)).await);
        });
        good.begin().await.expect("it has begun");
        assert_eq!([next(&mut good).await, next(&mut good).await], [Some("a".into()), Some("b".into())]);
        let late = || {
            AnswerBody::coming(|to| async move {
                tokio::task::yield_now().await;
                drop(to.send(Err(Broken::False)).await);
            })
        };
        assert_eq!(late().begin().await, Ok(()), "an ordinary one is not waited for");
        assert_eq!(late().judged_first().begin().await, Err(Broken::False));
    }

    #[tokio::test]
    async fn whoever_sends_a_body_ends_with_its_client() {
        let held = Arc::new(());
        let there = held.clone();
        let body = AnswerBody::coming(|to| async move {
            to.closed().await;
            drop(there);
        });
        drop(body);
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
