//! The body's meter: it sees that a body ends where the verdict said.
//!
//! The shell hands in the size of every chunk before it uses it, and the end of the stream when it comes.

use super::{Framing, Verdict};

/// The most bytes that a body of unknown length may have (T-26): a policy, or the free space less the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimit(pub u64);

impl Default for BodyLimit {
    /// 64 GiB.
    fn default() -> Self {
        Self(64 << 30)
    }
}

/// Counts a body against what was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyMeter {
    framing: Framing,
    declared: Option<u64>,
    limit: u64,
    received: u64,
}

/// What to do with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes from the chunk's start that belong to the body; the rest is not used.
    pub usable: usize,
    /// What follows.
    pub then: Then,
}

/// What follows after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// More is expected.
    Continue,
    /// The declared end is reached; the stream should end now.
    Ends,
    /// Bytes after the declared end: ignore them, close the connection, do not reuse it. The body itself is whole.
    Overrun,
    /// The limit for bodies of unknown length is exceeded (T-26): stop; the body is not whole.
    TooLong,
}

/// How the body stands when its stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// As declared, or ended by its mark: these were all bytes.
    Complete {
        /// Bytes of the body.
        length: u64,
    },
    /// Ended by the closing connection alone: complete only if a digest, or a HEAD's length, confirms it.
    Unproven {
        /// Bytes that came.
        length: u64,
    },
    /// Cut before the declared end: what came may be kept and resumed from, success it is not.
    Short {
        /// Bytes that came.
        received: u64,
        /// Bytes that are missing, where the length was declared.
        missing: Option<u64>,
    },
}

impl BodyMeter {
    /// The meter for the body behind `verdict`; `None` when the verdict promises no usable body.
    #[must_use]
    pub fn new(verdict: &Verdict, framing: Framing, limit: BodyLimit) -> Option<Self> {
        let declared = match verdict {
            //
            Verdict::Continue { bytes, .. } => Some(bytes.end - bytes.start),
            Verdict::Whole { representation } => framing.length().or(representation.length),
            _ => return None,
        };
        Some(Self { framing, declared, limit: limit.0, received: 0 })
    }

    /// The meter for a body that is passed on as it comes, whatever its answer means.
    #[must_use]
    pub fn passing(framing: Framing, limit: BodyLimit) -> Self {
        Self { framing, declared: framing.length(), limit: limit.0, received: 0 }
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Counts a chunk of `size` bytes.
    pub fn handle_chunk(&mut self, size: usize) -> Taken {
        let bound = self.declared.unwrap_or(self.limit);
        let room = bound - self.received;
        let usable = usize::try_from(room).map_or(size, |room| room.min(size));
        self.received += usable as u64;
        let then = match (usable < size, self.declared) {
            (true, Some(_)) => Then::Overrun,
            (true, None) => Then::TooLong,
            (false, Some(declared)) if self.received == declared => Then::Ends,
            (false, _) => Then::Continue,
        };
        Taken { usable, then }
    }

    /// Judges the body when the HTTP client says that its stream ended well (the client reports a missing last chunk as an
    /// error, which is [`Self::handle_cut`]).
    #[must_use]
    pub fn handle_end(&self) -> BodyEnd {
        match self.declared {
            Some(declared) if self.received < declared => self.handle_cut(),
            Some(_) => BodyEnd::Complete { length: self.received },
            None if self.framing == Framing::UntilClose => BodyEnd::Unproven { length: self.received },
            None => BodyEnd::Complete { length: self.received },
        }
    }

    /// Judges the body when its stream broke off.
    #[must_use]
    pub fn handle_cut(&self) -> BodyEnd {
        match self.declared.map(|declared| declared - self.received) {
            // Everything declared had come; what broke was only the connection.
            Some(0) => BodyEnd::Complete { length: self.received },
            missing => BodyEnd::Short { received: self.received, missing },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::{NOW, expect_range, expect_whole, head};
    use crate::http::{Expectation, ResponseHead, judge};
    use proptest::prelude::*;

    fn meter(expectation: &Expectation, head: &ResponseHead, limit: u64) -> BodyMeter {
        let verdict = judge(expectation, head, NOW);
        BodyMeter::new(&verdict, Framing::of(head).expect("framed"), BodyLimit(limit)).expect("has a body")
    }

    fn exact(length: u64) -> BodyMeter {
        meter(&expect_whole(), &head(200, &[("content-length", &length.to_string())]), 1)
    }

    #[test]
    fn r24_a_part_is_as_long_as_its_range_even_if_chunked() {
        let fields = [("content-range", "bytes 0-99/1000"), ("transfer-encoding", "chunked"), ("etag", "\"a\"")];
        let mut meter = meter(&expect_range(0, Some(99)), &head(206, &fields), 1);
        assert_eq!(meter.handle_chunk(60), Taken { usable: 60, then: Then::Continue });
        assert_eq!(meter.handle_end(), BodyEnd::Short { received: 60, missing: Some(40) });
        assert_eq!(meter.handle_chunk(41), Taken { usable: 40, then: Then::Overrun });
    }

    #[test]
    fn r31_bytes_after_the_declared_end_are_not_used() {
        let mut meter = exact(100);
        assert_eq!(meter.handle_chunk(150), Taken { usable: 100, then: Then::Overrun });
        assert_eq!(meter.handle_chunk(1), Taken { usable: 0, then: Then::Overrun });
        assert_eq!(meter.handle_end(), BodyEnd::Complete { length: 100 });
    }

    #[test]
    fn r33_a_cut_before_the_declared_end_is_never_success() {
        let mut meter = exact(100);
        assert_eq!(meter.handle_end(), BodyEnd::Short { received: 0, missing: Some(100) });
        meter.handle_chunk(99);
        assert_eq!(meter.handle_cut(), BodyEnd::Short { received: 99, missing: Some(1) });
        assert_eq!(meter.handle_chunk(1).then, Then::Ends);
        assert_eq!(meter.handle_cut(), BodyEnd::Complete { length: 100 });
    }

    #[test]
    fn r33_a_chunked_body_without_its_last_chunk_is_cut() {
        let mut meter = meter(&expect_whole(), &head(200, &[("transfer-encoding", "chunked")]), 1000);
        meter.handle_chunk(10);
        assert_eq!(meter.handle_cut(), BodyEnd::Short { received: 10, missing: None });
        assert_eq!(meter.handle_end(), BodyEnd::Complete { length: 10 });
    }

    #[test]
    fn r34_a_body_that_ends_by_closing_is_unproven() {
        let mut meter = meter(&expect_whole(), &head(200, &[]), 1000);
        meter.handle_chunk(10);
        assert_eq!(meter.handle_end(), BodyEnd::Unproven { length: 10 });
    }

    #[test]
    fn t26_an_endless_body_is_stopped_at_the_limit() {
        let mut meter = meter(&expect_whole(), &head(200, &[]), 100);
        assert_eq!(meter.handle_chunk(100), Taken { usable: 100, then: Then::Continue });
        assert_eq!(meter.handle_chunk(1), Taken { usable: 0, then: Then::TooLong });
    }

    #[test]
    fn an_empty_body_is_complete_at_once() {
        assert_eq!(exact(0).handle_end(), BodyEnd::Complete { length: 0 });
    }

    #[test]
    fn verdicts_without_a_body_have_no_meter() {
        let verdict = judge(&expect_whole(), &head(404, &[]), NOW);
        assert_eq!(BodyMeter::new(&verdict, Framing::UntilClose, BodyLimit::default()), None);
    }

    proptest! {
        #[test]
        fn exactly_the_declared_bytes_are_used(declared in 0u64..5000, chunks in proptest::collection::vec(0usize..900, 0..20)) {
            let mut meter = exact(declared);
            let used: usize = chunks.iter().map(|size| meter.handle_chunk(*size).usable).sum();
            let sent: usize = chunks.iter().sum();
            prop_assert_eq!(used as u64, declared.min(sent as u64));
            let is_complete = matches!(meter.handle_end(), BodyEnd::Complete { .. });
            prop_assert_eq!(is_complete, sent as u64 >= declared);
        }
    }
}
