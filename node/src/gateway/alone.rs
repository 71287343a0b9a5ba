//! A reader whose file the store does not take, or takes no more of, goes on at the origin for itself.
//!
//! Under If-Range, so that another version never joins what was sent, and again where the line breaks. What the file's name
//! promises is held against that here: a reader that has not seen the beginning has the whole sent once more, and passes on what it lacks.

use super::body::{Broken, Pieces};
use super::filling::last_block;
use super::tally::{self, Tally};
use crate::origin::{Opened, Origin, OriginBody, OriginRequest, Retry};
use bytes::{Bytes, BytesMut};
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use eddy_content::http::Asked;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// How often an answer that breaks off is taken up again without a byte between.
const RESUMES: u32 = 5;
/// The first pause before that; it doubles.
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// The way to the origin for one reader.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) origin: Origin,
    /// A question about the version that the reader has begun with.
    pub(super) question: OriginRequest,
    pub(super) tally: Arc<Tally>,
}

/// What a reader still lacks.
pub(super) struct Rest<'a> {
    pub(super) range: Range<u64>,
    /// Bytes of the whole.
    pub(super) length: u64,
    /// What the whole must keep.
    pub(super) promised: &'a [ExpectedDigest],
    /// Of a reader that has seen every byte before the range.
    pub(super) check: Option<DigestCheck>,
}

/// Bytes on their way to a reader.
struct Passage<'a> {
    /// The next byte of the file.
    at: u64,
    /// The end of what is asked for.
    end: u64,
    /// What the reader wants of that.
    wanted: Range<u64>,
    /// From here on it waits until the whole is known to be right.
    shown: u64,
    kept: BytesMut,
    check: Option<DigestCheck>,
    to: &'a Pieces,
}

/// Why an answer is not read any further.
enum Stop {
    /// The reader is gone.
    Left,
    /// It ended before its time: another one may go on.
    Short,
}

impl Way {
    /// Sends the rest, to the end or until the reader is gone.
    pub(super) async fn send(&self, rest: Rest<'_>, to: &Pieces) -> Result<(), Broken> {
        let Rest { range, length, promised, check } = rest;
        let mut passage = if promised.is_empty() || range.end <= last_block(length) {
            let (at, end, shown) = (range.start, range.end, range.end);
            Passage { at, end, wanted: range, shown, kept: BytesMut::new(), check: None, to }
        } else {
            let at = if check.is_some() { range.start } else { 0 };
            let check = check.unwrap_or_else(|| DigestCheck::new(promised));
            let shown = last_block(length);
            Passage { at, end: length, wanted: range, shown, kept: BytesMut::new(), check: Some(check), to }
        };
        let mut tries = 0;
        while passage.at < passage.end {
            let before = passage.at;
            if let Some(body) = self.open(&passage).await? {
                match self.read(body, &mut passage).await {
                    Ok(()) => break,
                    Err(Stop::Left) => return Ok(()),
                    Err(Stop::Short) => {}
                }
            }
            tries = if passage.at > before { 0 } else { tries + 1 };
            if tries > RESUMES {
                return Err(Broken::Off);
            }
            tokio::select! {
                () = to.closed() => return Ok(()),
                () = tokio::time::sleep(RESUME_PAUSE * 2u32.pow(tries)) => {}
            }
        }
        passage.finish().await
    }

    /// The answer that has the next byte, and where it begins; nothing while the origin fails.
    async fn open(&self, passage: &Passage<'_>) -> Result<Option<(u64, OriginBody)>, Broken> {
        let asked = Asked::Range { first: passage.at, last: Some(passage.end - 1) };
        let request = OriginRequest { asked, ..self.question.clone() };
        match self.origin.open(&request).await {
            // Where there are no ranges the whole comes, and what is before is skipped.
            Ok(Opened::Body { span, body, .. }) if span.start <= passage.at => Ok(Some((span.start, body))),
            Err(error) if matches!(error.retry(), Retry::Transient { .. }) => Ok(None),
            // Another version: what was sent cannot be continued.
            _ => Err(Broken::Off),
        }
    }

    async fn read(&self, (mut place, mut body): (u64, OriginBody), passage: &mut Passage<'_>) -> Result<(), Stop> {
        while passage.at < passage.end {
            let next = tokio::select! {
                biased;
                () = passage.to.closed() => return Err(Stop::Left),
                next = body.next() => next,
            };
            let Ok(Some(mut bytes)) = next else { return Err(Stop::Short) };
            self.tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
            let skipped = passage.at.saturating_sub(place).min(bytes.len() as u64);
            place += bytes.len() as u64;
            passage.take(bytes.split_off(skipped as usize)).await?;
        }
        Ok(())
    }
}

impl Passage<'_> {
    /// Takes the next bytes of the file, and passes on what the reader wants of them and may see.
    async fn take(&mut self, mut bytes: Bytes) -> Result<(), Stop> {
        bytes.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        let start = self.at;
        self.at += bytes.len() as u64;
        if let Some(check) = &mut self.check {
            check.update(&bytes);
        }
        let part = |from: u64, to: u64| {
            let (from, to) = (from.max(start), to.min(start + bytes.len() as u64));
            (from < to).then(|| bytes.slice((from - start) as usize..(to - start) as usize))
        };
        if let Some(waits) = part(self.wanted.start.max(self.shown), self.wanted.end) {
            self.kept.extend_from_slice(&waits);
        }
        match part(self.wanted.start, self.wanted.end.min(self.shown)) {
            Some(ready) => self.to.send(Ok(ready)).await.map_err(|_| Stop::Left),
            None => Ok(()),
        }
    }

    /// All has come: what has waited goes out, if the whole is what it is to be.
    async fn finish(self) -> Result<(), Broken> {
        if self.check.is_some_and(|check| check.verify().is_err()) {
            return Err(Broken::False);
        }
        if !self.kept.is_empty() {
            // The reader may be gone.
            let _ = self.to.send(Ok(self.kept.freeze())).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::BLOCK_SIZE;
    use eddy_content::digest::DigestAlgorithm;
    use tokio::sync::mpsc;

    /// What a reader gets that lacks `wanted` of a file, has seen `seen` bytes, and is sent the rest in pieces of `piece` bytes.
    async fn got(file: &[u8], promised: &[ExpectedDigest], wanted: Range<u64>, piece: usize) -> (Vec<u8>, bool) {
        let (to, mut pieces) = mpsc::channel(1 << 12);
        let check = Some(DigestCheck::new(promised));
        let (end, shown) = (file.len() as u64, last_block(file.len() as u64));
        let mut passage = Passage { at: 0, end, wanted, shown, kept: BytesMut::new(), check, to: &to };
        for bytes in file.chunks(piece) {
            assert!(passage.take(Bytes::copy_from_slice(bytes)).await.is_ok());
        }
        let is_right = passage.finish().await.is_ok();
        drop(to);
        let mut all = Vec::new();
        while let Some(Ok(bytes)) = pieces.recv().await {
            all.extend_from_slice(&bytes);
        }
        (all, is_right)
    }

    #[tokio::test]
    async fn a_reader_gets_what_it_lacks_and_the_last_block_only_of_what_is_promised() {
        let file: Vec<u8> = (0..2 * BLOCK_SIZE + 100).map(|place| (place % 251) as u8).collect();
        let digest = |bytes: &[u8]| {
            [ExpectedDigest { algorithm: DigestAlgorithm::Blake3, value: blake3::hash(bytes).as_bytes().to_vec() }]
        };
        let (end, last) = (file.len() as u64, 2 * BLOCK_SIZE);
        for wanted in [0..end, 0..5, 70_000..end, last - 1..last + 1, last..end, end - 1..end] {
            for piece in [1000, 65_536, 1 << 20] {
                let bytes = |range: Range<u64>| file[range.start as usize..range.end as usize].to_vec();
                let right = got(&file, &digest(&file), wanted.clone(), piece).await;
                assert_eq!(right, (bytes(wanted.clone()), true), "{wanted:?} {piece}");
                let shown = wanted.start.min(last)..wanted.end.min(last);
                let wrong = got(&file, &digest(b"another"), wanted.clone(), piece).await;
                assert_eq!(wrong, (bytes(shown), false), "{wanted:?} {piece}");
            }
        }
    }
}
