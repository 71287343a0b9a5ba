//! A body on its way into memory, held against the digest that its name promises, if it promises one. Its last piece may be withheld until
//! something else is done: whoever reads it gets no end before that.

use super::super::growing::Growing;
use super::super::refusal::Refusal;
use super::super::tally::{self, Tally};
use crate::origin::OriginBody;
use bytes::Bytes;
use eddy_content::digest::{DigestCheck, ExpectedDigest};
use http::StatusCode;

/// How far a body came.
pub(in crate::gateway) enum Broke {
    /// The line did, or the origin ended early: the rest may come over another one.
    Off(Refusal),
    /// All of it came, and it is not what its name promises.
    False,
}

impl Broke {
    pub(in crate::gateway) fn refusal(self) -> Refusal {
        match self {
            Self::Off(refusal) => refusal,
            Self::False => Refusal::new(
                StatusCode::BAD_GATEWAY,
                "the origin's bytes are not those that the name or an index promises",
            ),
        }
    }
}

/// A body on its way into memory.
pub(super) struct Intake<'a> {
    growing: &'a Growing,
    length: u64,
    tally: &'a Tally,
    check: Option<DigestCheck>,
    ending: Ending,
}

/// What becomes of the last piece.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Shown,
    Withheld(Bytes),
}

impl<'a> Intake<'a> {
    /// One that goes on behind what is there, to so many bytes; the whole must keep these digests.
    pub(super) fn new(growing: &'a Growing, length: u64, tally: &'a Tally, digests: &[ExpectedDigest]) -> Self {
        let mut check = (!digests.is_empty()).then(|| DigestCheck::new(digests));
        if let Some(check) = &mut check {
            growing.look(|piece| check.update(piece));
        }
        Self { growing, length, tally, check, ending: Ending::Shown }
    }

    /// One that keeps the last piece back.
    pub(super) fn withholding(self) -> Self {
        Self { ending: Ending::Withheld(Bytes::new()), ..self }
    }

    /// What was kept back.
    pub(super) fn withheld(self) -> Bytes {
        match self.ending {
            Ending::Shown => Bytes::new(),
            Ending::Withheld(last) => last,
        }
    }

    /// Bytes that have come.
    pub(super) fn received(&self) -> u64 {
        self.growing.received()
    }

    /// Bytes that are to come in all.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads a body as far as it goes. Where a digest is promised the last piece waits for it: nobody gets all of what is false.
    pub(super) async fn read(&mut self, mut body: OriginBody) -> Result<(), Broke> {
        let mut last = Bytes::new();
        let waits = self.check.is_some() || self.ending != Ending::Shown;
        loop {
            match body.next().await {
                Ok(Some(mut bytes)) => {
                    // R-31, and a bound for bodies whose framing names no end.
                    let left = self.length.saturating_sub(self.growing.received() + last.len() as u64);
                    bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    if bytes.is_empty() {
                        return self.end(last);
                    }
                    self.tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
                    let ready = if waits { std::mem::replace(&mut last, bytes) } else { bytes };
                    self.push(ready);
                }
                Ok(None) if self.growing.received() + last.len() as u64 == self.length => return self.end(last),
                Ok(None) => {
                    self.push(last);
                    let text = "the origin's answer ended early";
                    return Err(Broke::Off(Refusal::new(StatusCode::BAD_GATEWAY, text)));
                }
                Err(error) => {
                    self.push(last);
                    return Err(Broke::Off(Refusal::of_origin(&error)));
                }
            }
        }
    }

    fn push(&mut self, bytes: Bytes) {
        if let Some(check) = &mut self.check {
            check.update(&bytes);
        }
        self.growing.push(bytes);
    }

    fn end(&mut self, last: Bytes) -> Result<(), Broke> {
        if let Some(mut check) = self.check.take() {
            check.update(&last);
            check.verify().map_err(|_| Broke::False)?;
        }
        match &mut self.ending {
            Ending::Shown => self.growing.push(last),
            Ending::Withheld(withheld) => *withheld = last,
        }
        Ok(())
    }
}
