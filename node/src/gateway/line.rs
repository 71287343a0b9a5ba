//! The line to a client, which may end so that nobody takes what came for all, and ends where its client takes nothing any more.
//!
//! Content without a length ends for HTTP/1.0 with its connection: where it breaks off, only a reset tells that from its end. Who
//! does not read what he has asked for keeps a place at its origin, and memory, from those who do.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// How long a client may take nothing of what waits for it: three times what servers of the web mostly allow, for tools that unpack in between.
const STALL: Duration = Duration::from_secs(180);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    reset: Reset,
    stall: Stall,
}

/// Has a line end with a reset, wherever it is held by then.
#[derive(Debug, Clone, Default)]
pub(super) struct Reset(Arc<AtomicBool>);

impl Reset {
    /// The line ends so.
    pub(super) fn order(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Line {
    pub(super) fn new(stream: TcpStream, reset: Reset) -> Self {
        Self { stream, reset, stall: Stall::default() }
    }
}

/// Counts the time in which a client takes nothing.
#[derive(Debug, Default)]
struct Stall(Option<Pin<Box<Sleep>>>);

impl Stall {
    /// What became of a write; an error where it has waited for too long.
    fn bound<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.0 = None;
            return written;
        }
        let patience = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Relaxed) {
            // Where the system does not take it the line ends as any other: nothing more can be said on it.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.stall.bound(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.stall.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_for_minutes_is_served_no_longer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let _client = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("it listens");
        let (stream, _) = listener.accept().await.expect("a client");
        let mut line = Line::new(stream, Reset::default());
        let began = Instant::now();
        let ended = loop {
            if let Err(error) = line.write_all(&[0; 1 << 16]).await {
                break error.kind();
            }
        };
        assert_eq!(ended, io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= STALL);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_waited_for() {
        let mut stall = Stall::default();
        for _ in 0..5 {
            let before = Instant::now();
            let mut pause = std::pin::pin!(tokio::time::sleep(STALL - Duration::from_secs(1)));
            let waited = poll_fn(|cx| {
                let written = pause.as_mut().poll(cx).map(|()| Ok(1));
                stall.bound(cx, written)
            });
            assert_eq!((waited.await.ok(), before.elapsed()), (Some(1), STALL - Duration::from_secs(1)));
        }
        let ended = poll_fn(|cx| stall.bound::<usize>(cx, Poll::Pending)).await;
        assert_eq!(ended.expect_err("nothing was taken").kind(), io::ErrorKind::TimedOut);
    }
}
