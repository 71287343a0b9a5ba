//! The body of an origin into the store.

use super::failure;
use super::open::OpenEntity;
use super::progress::Progress;
use super::sink::Sink;
use crate::driver::ways::Dress;
use crate::origin::{Opened, Origin, OriginBody, OriginRequest, Span};
use eddy_cache::Source;
use eddy_content::BLOCK_SIZE;
use eddy_content::http::{Asked, Known, Precondition, RangeSupport};
use eddy_content::url::Userinfo;
use eddy_engine::Failure;
use eddy_engine::job::spec::Credentials;
use eddy_engine::port::FetchOutcome;
use std::ops::Range;
use tokio_util::sync::CancellationToken;

/// What a fetch from the origin is told.
#[derive(Debug)]
pub(crate) struct OriginFetch {
    /// The blocks to bring.
    pub(crate) blocks: Range<u32>,
    /// Whether a range can be asked for; if not, the whole is read and what comes before the blocks is skipped.
    pub(crate) ranges: RangeSupport,
    /// What the question shows of the job.
    pub(crate) dress: Dress,
    /// Up to which block an answer is read that turns out to be the whole; the engine hears what it was. None: it is not read.
    pub(crate) through: Option<u32>,
}

/// Asks the origin for blocks of the open entity's version and stores them.
pub(crate) async fn fetch(
    origin: &Origin,
    open: &OpenEntity,
    fetch: OriginFetch,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> FetchOutcome {
    let bytes = open.entity.geometry().bytes_of(fetch.blocks.clone());
    let entity = open.entity.entity();
    let asked = match fetch.ranges {
        RangeSupport::No => Asked::Whole,
        _ => Asked::Range { first: bytes.start, last: Some(bytes.end - 1) },
    };
    // If-Range on every range: another version answers 200 or 412 and never mixes (R-10, promise 4).
    let precondition = if asked == Asked::Whole { Precondition::None } else { Precondition::IfRange };
    let known = Known::of(entity);
    let mut request = OriginRequest::new(entity.url.clone(), asked.clone()).about(known, precondition);
    fetch.dress.put_on(&mut request);
    let opened = tokio::select! {
        biased;
        () = cancel.cancelled() => return FetchOutcome::Aborted,
        opened = origin.open(&request) => opened,
    };
    match opened {
        Ok(Opened::Body { representation, span, body, .. }) => {
            let is_whole = asked == Asked::Whole || representation.ranges == RangeSupport::No;
            let blocks = match fetch.through {
                None if asked != Asked::Whole && span.start != bytes.start => return FetchOutcome::NoRanges,
                Some(through) => {
                    progress.answered(if is_whole { RangeSupport::No } else { representation.ranges }).await;
                    fetch.blocks.start..if is_whole { through } else { fetch.blocks.end }
                }
                None => fetch.blocks,
            };
            pump(body, span, open, blocks, progress, cancel).await
        }
        Ok(Opened::Changed(_) | Opened::Unsatisfiable { .. }) => FetchOutcome::Changed,
        Ok(Opened::Described { .. } | Opened::NotModified { .. }) => {
            FetchOutcome::Failed(Failure::transient("origin-protocol", "the server answered a range without a body"))
        }
        Err(error) => FetchOutcome::Failed(failure::of_origin(&error)),
    }
}

/// Moves a body that begins at `span.start` into the store, the given blocks of it, and commits what came.
pub async fn pump(
    mut body: OriginBody,
    span: Span,
    open: &OpenEntity,
    blocks: Range<u32>,
    progress: &mut Progress,
    cancel: &CancellationToken,
) -> FetchOutcome {
    let wanted = open.entity.geometry().bytes_of(blocks.clone());
    let https = open.entity.entity().url.is_https();
    let mut sink = Sink::start(open, Source::Origin { https });
    sink.begin(blocks.start).await;
    let mut at = span.start;
    let outcome = loop {
        if at >= wanted.end {
            break FetchOutcome::Done;
        }
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => break FetchOutcome::Aborted,
            next = body.next() => next,
        };
        match next {
            Ok(Some(bytes)) => {
                let length = bytes.len() as u64;
                let useful = clip(at, length, &wanted);
                at += length;
                if useful.is_empty() {
                    progress.moves().await;
                    continue;
                }
                progress.count(useful.len() as u64).await;
                let place = at - length + useful.start as u64;
                if place / BLOCK_SIZE == at / BLOCK_SIZE {
                    progress.moves().await;
                } else {
                    progress.got_on();
                }
                let bytes = bytes.slice(useful);
                if let Some(recent) = open.recent() {
                    recent.put(place, bytes.clone());
                }
                if !sink.push(bytes).await {
                    break FetchOutcome::Done;
                }
            }
            Ok(None) if at >= wanted.end => break FetchOutcome::Done,
            // A 206 may end earlier than asked: what came is kept, the rest is planned again.
            Ok(None) => break FetchOutcome::Done,
            Err(error) => break FetchOutcome::Failed(failure::of_origin(&error)),
        }
    };
    drop(body);
    let written = progress.flush_with(sink.finish()).await;
    let committed = open.commit().await;
    match (written, committed) {
        (Err(fault), _) => failure::of_sink(&fault, false),
        (Ok(()), Err(failure)) => FetchOutcome::Failed(failure),
        (Ok(()), Ok(())) => outcome,
    }
}

/// The part of `length` bytes at `at` that lies in `wanted`, as indices into them.
fn clip(at: u64, length: u64, wanted: &Range<u64>) -> Range<usize> {
    let start = wanted.start.max(at).min(at + length);
    let end = wanted.end.min(at + length).max(start);
    (start - at) as usize..(end - at) as usize
}

/// The job's credentials as the origin room takes them.
#[must_use]
pub fn userinfo(credentials: Option<Credentials>) -> Option<Userinfo> {
    credentials.map(|Credentials { user, password }| Userinfo { user, password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_bytes_of_a_piece_are_taken() {
        assert_eq!(clip(0, 100, &(0..1000)), 0..100);
        assert_eq!(clip(0, 100, &(40..1000)), 40..100);
        assert_eq!(clip(0, 100, &(40..60)), 40..60);
        assert!(clip(0, 100, &(100..200)).is_empty());
        assert!(clip(200, 100, &(100..200)).is_empty());
    }
}
