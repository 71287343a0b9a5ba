//! The bytes of an answer: as many as were promised, never more.

use super::budget::Permit;
use super::classify::{classify, is_http2_failure};
use super::degrade::Degraded;
use super::error::{Cause, OriginError, Phase};
use super::open::Shared;
use super::pace::Pace;
use bytes::Bytes;
use eddy_content::ResourceUrl;
use eddy_content::http::{BodyEnd, BodyMeter, Then};
use std::collections::VecDeque;
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

/// A body that is being read. Dropping it closes the connection unless the body was read to its end.
#[derive(Debug)]
pub struct OriginBody {
    // `None` after the end or a failure: the connection went back to the pool, or was closed.
    response: Option<Box<reqwest::Response>>,
    url: Box<ResourceUrl>,
    meter: BodyMeter,
    degraded: Option<Degraded>,
    shared: Arc<Shared>,
    // Held as long as the request is under way.
    permit: Option<Permit>,
    pace: Option<Pace>,
    ahead: Box<Ahead>,
}

/// What was read before it was asked for, and what ended that.
#[derive(Debug, Default)]
struct Ahead {
    pieces: VecDeque<Bytes>,
    broken: Option<OriginError>,
}

impl OriginBody {
    pub(super) fn new(
        response: Box<reqwest::Response>,
        url: ResourceUrl,
        meter: BodyMeter,
        shared: Arc<Shared>,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            response: Some(response),
            url: Box::new(url),
            meter,
            degraded: None,
            shared,
            permit,
            pace: None,
            ahead: Box::default(),
        }
    }

    pub(super) fn degraded_by(mut self, why: Option<Degraded>) -> Self {
        self.degraded = why;
        self
    }

    pub(super) fn paced_by(mut self, pace: Option<Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// The next piece, never empty; `None` at the end, of which [`Self::end`] then says whether it is proven.
    ///
    /// Bytes after the declared end are dropped and the connection is closed; an end before it is an error.
    /// Cancel safe: a piece is either returned or still to come.
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        if let Some(bytes) = self.ahead.pieces.pop_front() {
            return Ok(Some(bytes));
        }
        if let Some(error) = self.ahead.broken.take() {
            return Err(error);
        }
        self.read().await
    }

    /// Reads a piece that [`Self::next`] will give in its turn, and shows it; `None` when nothing more comes. Cancel safe.
    pub async fn read_ahead(&mut self) -> Option<Bytes> {
        if self.ahead.broken.is_some() {
            return None;
        }
        match self.read().await {
            Ok(piece) => {
                self.ahead.pieces.extend(piece.clone());
                piece
            }
            Err(error) => {
                self.ahead.broken = Some(error);
                None
            }
        }
    }

    async fn read(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            let Some(response) = self.response.as_mut() else { return Ok(None) };
            if let Some(pace) = &self.pace {
                pace.ready().await;
            }
            match response.chunk().await {
                Ok(Some(chunk)) if chunk.is_empty() => {}
                Ok(Some(chunk)) => return self.take(chunk),
                Ok(None) => return self.close(self.meter.handle_end()).map(|()| None),
                Err(error) => return self.break_off(&error).map(|()| None),
            }
        }
    }

    /// Body bytes so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.meter.received()
    }

    /// How the body stands; final once [`Self::next`] has returned `None`.
    #[must_use]
    pub fn end(&self) -> BodyEnd {
        self.meter.handle_end()
    }

    /// Why a simpler question than the caller's was asked in the end, if one was.
    #[must_use]
    pub fn degraded(&self) -> Option<Degraded> {
        self.degraded
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, OriginError> {
        if let Some(pace) = &self.pace {
            pace.take(chunk.len());
        }
        let taken = self.meter.handle_chunk(chunk.len());
        chunk.truncate(taken.usable);
        match taken.then {
            Then::Continue | Then::Ends => {}
            // Dropping an unfinished response closes its connection: nobody reads what follows on it.
            Then::Overrun => self.release(),
            Then::TooLong => return Err(self.fail(Cause::TooLong)),
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn close(&mut self, end: BodyEnd) -> Result<(), OriginError> {
        self.release();
        match end {
            BodyEnd::Complete { .. } | BodyEnd::Unproven { .. } => Ok(()),
            BodyEnd::Short { received, .. } => Err(self.fail(Cause::ClosedEarly { received })),
        }
    }

    fn break_off(&mut self, error: &reqwest::Error) -> Result<(), OriginError> {
        self.on_http2_trouble(error);
        match self.meter.handle_cut() {
            // Every byte had come; what broke was only the connection.
            BodyEnd::Complete { .. } => {
                self.release();
                Ok(())
            }
            _ => Err(self.fail(classify(error, Phase::Body, self.received()))),
        }
    }

    fn fail(&mut self, cause: Cause) -> OriginError {
        self.release();
        OriginError { url: self.url.clone(), cause }
    }

    fn release(&mut self) {
        self.response = None;
        self.permit = None;
    }

    fn on_http2_trouble(&self, error: &reqwest::Error) {
        let is_http2 = self.response.as_ref().is_some_and(|response| response.version() == http::Version::HTTP_2);
        if is_http2 || is_http2_failure(error) {
            tracing::debug!(url = %self.url, "HTTP/2 failed in a body: HTTP/1.1 for a while");
            self.shared.http1_hosts.on_http2_failure(&self.url.origin(), Instant::now());
        }
    }
}
