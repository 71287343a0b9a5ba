//! The bytes of an answer: as many as were promised, never more.

use super::budget::Permit;
use super::classify::{classify, is_http2_failure};
use super::error::{Cause, OriginError, Phase};
use super::open::Shared;
use bytes::Bytes;
use eddy_content::ResourceUrl;
use std::sync::Arc;
use std::time::Instant;

/// Which bytes of the representation a body carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte's place in the representation.
    pub start: u64,
    /// Past the last byte; unknown where the server names no length.
    pub end: Option<u64>,
}

/// What it means when the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// A length was declared, or the framing marks the end: an end is complete.
    Marked,
    /// The body ends when the connection does: complete only if a digest or another answer says so.
    Unmarked,
}

/// A body that is being read. Dropping it closes the connection unless the body was read to its end.
#[derive(Debug)]
pub struct OriginBody {
    // `None` after the end or a failure: the connection went back to the pool, or was closed.
    response: Option<Box<reqwest::Response>>,
    url: ResourceUrl,
    received: u64,
    declared: Option<u64>,
    end: BodyEnd,
    shared: Arc<Shared>,
    // Held as long as the request is under way.
    permit: Option<Permit>,
}

impl OriginBody {
    pub(super) fn new(
        response: reqwest::Response,
        url: ResourceUrl,
        span: Span,
        shared: Arc<Shared>,
        permit: Option<Permit>,
    ) -> Self {
        let declared = span.end.map(|end| end.saturating_sub(span.start));
        let end = body_end(&response, declared);
        Self { response: Some(Box::new(response)), url, received: 0, declared, end, shared, permit }
    }

    /// The next piece, never empty; `None` at the end, which is a complete one where [`Self::end`] is marked.
    ///
    /// Bytes after the declared end are dropped and the connection is closed; an end before it is an error.
    /// Cancel safe: a piece is either returned or still to come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            let Some(response) = self.response.as_mut() else { return Ok(None) };
            let left = self.declared.map_or(u64::MAX, |declared| declared.saturating_sub(self.received));
            match response.chunk().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return Ok(self.accept(chunk, left)),
                Ok(None) if left > 0 && self.declared.is_some() => {
                    return Err(self.fail(Cause::ClosedEarly { received: self.received }));
                }
                Ok(None) => {
                    self.finish();
                    return Ok(None);
                }
                Err(error) => {
                    let cause = classify(&error, Phase::Body, self.received);
                    self.on_http2_trouble(&error);
                    return Err(self.fail(cause));
                }
            }
        }
    }

    /// Body bytes so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// What the end of this body will mean.
    #[must_use]
    pub fn end(&self) -> BodyEnd {
        self.end
    }

    fn accept(&mut self, mut chunk: Bytes, left: u64) -> Option<Bytes> {
        if chunk.len() as u64 > left {
            // More than was declared: what is left is ours, the rest is nobody's, and the connection is spoilt.
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.finish();
        }
        self.received += chunk.len() as u64;
        (!chunk.is_empty()).then_some(chunk)
    }

    fn fail(&mut self, cause: Cause) -> OriginError {
        self.finish();
        OriginError { url: Box::new(self.url.clone()), cause }
    }

    fn finish(&mut self) {
        self.response = None;
        self.permit = None;
    }

    fn on_http2_trouble(&self, error: &reqwest::Error) {
        let over_http2 = self.response.as_ref().is_some_and(|r| r.version() == http::Version::HTTP_2);
        if over_http2 || is_http2_failure(error) {
            tracing::debug!(url = %self.url, "HTTP/2 failed in a body: HTTP/1.1 for a while");
            self.shared.http1_hosts.on_http2_failure(&self.url.origin(), Instant::now());
        }
    }
}

fn body_end(response: &reqwest::Response, declared: Option<u64>) -> BodyEnd {
    let is_chunked = response.headers().contains_key(http::header::TRANSFER_ENCODING);
    let has_frames = response.version() == http::Version::HTTP_2;
    let has_length = response.headers().contains_key(http::header::CONTENT_LENGTH);
    match declared {
        Some(_) => BodyEnd::Marked,
        None if is_chunked || has_frames || has_length => BodyEnd::Marked,
        None => BodyEnd::Unmarked,
    }
}
