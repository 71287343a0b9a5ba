//! Packages on their way from the node and to it.

use super::{Client, TIMEOUT, address, append_query, body, cause, parse};
use bytes::{Buf, Bytes, BytesMut};
use eddy_wire::api::{ExportEnd, ExportOrder, ExportView, ImportQuery, ImportView, MAX_PIECE, Problem};
use eddy_wire::catalogue::ErrorCode;
use futures::stream::{self, StreamExt};
use reqwest::{Method, Response};
use std::io::{self, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// Bytes of the longest word about how a package ended.
const MAX_END: usize = 64 * 1024;

/// Why a package was not written.
#[derive(Debug)]
pub enum ExportFailure {
    /// The node's refusal.
    Problem(Problem),
    /// Where it was to be written.
    Output(io::Error),
}

impl From<Problem> for ExportFailure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Client {
    /// Packs entities and writes the package to `into`; `on_progress` hears how many bytes were written so far.
    pub async fn export(
        &self,
        order: &ExportOrder,
        into: &mut (dyn Write + Send),
        on_progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<ExportView, ExportFailure> {
        // It may take hours; a dead node closes the connection.
        let request = self.request(Method::POST, &["cache", "export"])?.timeout(Duration::MAX).json(order);
        let mut pieces = Pieces { response: self.send(request).await?, unread: BytesMut::new() };
        let mut written = 0;
        loop {
            let length = pieces.take(4).await?.get_u32_le() as usize;
            if length == 0 {
                let length = pieces.take(4).await?.get_u32_le() as usize;
                if length > MAX_END {
                    return Err(incompatible().into());
                }
                let end: ExportEnd = parse(&pieces.take(length).await?)?;
                return match end {
                    ExportEnd::Done(view) => Ok(view),
                    ExportEnd::Failed(problem) => Err(problem.into()),
                };
            }
            if length > MAX_PIECE {
                return Err(incompatible().into());
            }
            into.write_all(&pieces.take(length).await?).map_err(ExportFailure::Output)?;
            written += length as u64;
            on_progress(written);
        }
    }

    /// Takes a package in, or says what it has. The pieces end with the channel; a failure to read ends the call.
    pub async fn import(
        &self,
        query: &ImportQuery,
        pieces: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<ImportView, Problem> {
        let mut url = address(&["cache", "import"])?;
        append_query(&mut url, query)?;
        let stream = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces))).boxed();
        let request = self.http.post(url).timeout(Duration::MAX).header("content-type", "application/octet-stream");
        let response = self.send(request.body(reqwest::Body::wrap_stream(stream))).await?;
        // The answer stands; only its way is left.
        let bytes = tokio::time::timeout(TIMEOUT, body(response)).await;
        parse(&bytes.map_err(|_| Problem::from(ErrorCode::TooSlow))??)
    }
}

/// The answer to an export, cut as the node cut it.
struct Pieces {
    response: Response,
    unread: BytesMut,
}

impl Pieces {
    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes, Problem> {
        while self.unread.len() < length {
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.unread.extend_from_slice(&chunk),
                Ok(None) => return Err(Problem::new(ErrorCode::ShuttingDown, "the package was cut short")),
                Err(error) => return Err(Problem::new(ErrorCode::DaemonUnreachable, cause(&error))),
            }
        }
        Ok(self.unread.split_to(length).freeze())
    }
}

fn incompatible() -> Problem {
    Problem::new(ErrorCode::DaemonIncompatible, "a piece of the package is too long")
}
