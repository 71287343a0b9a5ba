//! How a server may misbehave, as plain data: a behaviour is an honest server with some things replaced.

use super::Version;
use std::time::Duration;

/// How a resource is served. The default is an honest HTTP/1.1 server with ranges and a strong ETag.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// What happens to a Range field.
    pub ranges: RangeAnswer,
    /// How the end of a body is made known.
    pub framing: Framing,
    /// The marks of the version.
    pub mark: Mark,
    /// Another mark on 206 answers alone.
    pub partial_mark: Option<Mark>,
    /// The answer to HEAD.
    pub head: HeadAnswer,
    /// What is wrong with heads.
    pub head_fault: Option<HeadFault>,
    /// What is wrong with bodies.
    pub body: Option<BodyFault>,
    /// Another answer than the file.
    pub instead: Option<Instead>,
    /// Raw header lines that are added (without line ends).
    pub extra_headers: Vec<String>,
    /// Wait before the head: a far-away server.
    pub first_byte_delay: Duration,
    /// Most body bytes a second on one connection.
    pub rate: Option<u64>,
}

/// What happens to a Range field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RangeAnswer {
    /// As RFC 9110 section 14 says, preconditions included.
    #[default]
    Honest,
    /// 200 with everything, and no word about ranges.
    Ignored,
    /// A 206 that is wrong.
    Lie(RangeLie),
}

/// A wrong 206.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeLie {
    /// Starts one byte later than asked, and says so.
    OtherStart,
    /// Ends one byte later than asked, and says so.
    Longer,
    /// Names another complete length.
    OtherTotal,
    /// Hides the complete length behind `*`.
    HiddenTotal,
    /// Several parts for one range.
    Multipart,
    /// A Content-Range that is no grammar's.
    Garbage,
    /// No Content-Range.
    Missing,
    /// Two Content-Range fields.
    Twice,
    /// A unit other than bytes.
    OtherUnit,
    /// Last before first.
    Backwards,
    /// 206 though nothing was asked.
    Unasked,
    /// The old part although the precondition names another version: If-Range and If-Match are ignored.
    IgnoresPreconditions,
    /// Half of what was asked, honestly labelled: allowed.
    Shorter,
}

/// How the end of a body is made known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// Content-Length.
    #[default]
    Length,
    /// Chunked.
    Chunked,
    /// By closing the connection.
    Close,
    /// HTTP/1.0, with a length, closing after each answer and without ranges.
    Http10,
}

/// The marks of a version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Mark {
    /// A strong ETag, made from the version's tag, with Last-Modified beside it.
    #[default]
    Strong,
    /// The same tag, weak, and no date.
    Weak,
    /// Last-Modified alone, as old as the version is.
    Modified,
    /// Last-Modified alone, this many seconds before the answer's Date.
    JustModified(i64),
    /// Nothing.
    None,
    /// This strong ETag, whatever the version.
    Fixed(String),
}

/// The answer to HEAD.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeadAnswer {
    /// As GET, without the body.
    #[default]
    Honest,
    /// This status.
    Refused(u16),
    /// Another length than GET has.
    OtherLength(u64),
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadFault {
    /// Content-Length and Transfer-Encoding together.
    LengthAndChunked,
    /// Two Content-Lengths that differ.
    TwoLengths,
    /// A negative Content-Length.
    NegativeLength,
    /// One field of this many bytes.
    HugeField(usize),
    /// This many fields.
    ManyFields(usize),
    /// Fields without end.
    EndlessFields,
    /// This many interim answers first.
    Interim(usize),
    /// Interim answers without end.
    EndlessInterim,
    /// Something that is not HTTP.
    NotHttp,
    /// The connection closes without an answer.
    Silence,
    /// Nothing ever comes.
    Hang,
}

/// What is wrong with a body. Offsets count from the start of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFault {
    /// The connection closes in an orderly way after this many bytes.
    CloseAfter(u64),
    /// The connection is reset after this many bytes.
    ResetAfter(u64),
    /// Silence of this length after this many bytes.
    StallAfter(u64, Duration),
    /// This many bytes, then a pause, again and again.
    Drip(usize, Duration),
    /// This many bytes more than announced; in chunked framing in a chunk of their own.
    Extra(usize),
    /// In chunked framing: a chunk size that is no number, after this many bytes.
    BrokenChunk(u64),
}

/// Another answer than the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// A status with header lines and a short text as the body.
    Status(u16, Vec<String>),
    /// A redirect with this Location.
    Redirect(u16, String),
}

impl Behaviour {
    /// An honest server with this answer to ranges.
    #[must_use]
    pub fn ranges(ranges: RangeAnswer) -> Self {
        Self { ranges, ..Self::default() }
    }

    /// An honest server but for this lie.
    #[must_use]
    pub fn lie(lie: RangeLie) -> Self {
        Self::ranges(RangeAnswer::Lie(lie))
    }

    /// An honest server with this framing.
    #[must_use]
    pub fn framing(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }

    /// An honest server with these marks.
    #[must_use]
    pub fn mark(mark: Mark) -> Self {
        Self { mark, ..Self::default() }
    }

    /// An honest server but for its bodies.
    #[must_use]
    pub fn body(fault: BodyFault) -> Self {
        Self { body: Some(fault), ..Self::default() }
    }

    /// An honest server but for its heads.
    #[must_use]
    pub fn head_fault(fault: HeadFault) -> Self {
        Self { head_fault: Some(fault), ..Self::default() }
    }

    /// A server that answers this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { instead: Some(Instead::Status(status, Vec::new())), ..Self::default() }
    }

    /// A server that redirects.
    #[must_use]
    pub fn redirect(location: impl Into<String>) -> Self {
        Self { instead: Some(Instead::Redirect(302, location.into())), ..Self::default() }
    }

    /// The same with one more header line.
    #[must_use]
    pub fn with_header(mut self, line: impl Into<String>) -> Self {
        self.extra_headers.push(line.into());
        self
    }

    /// The same, as far away as this.
    #[must_use]
    pub fn far_away(mut self, delay: Duration) -> Self {
        self.first_byte_delay = delay;
        self
    }

    /// A behaviour by the name that command lines use.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let seconds = Duration::from_secs;
        Some(match name {
            "honest" => Self::default(),
            "no-ranges" => Self::ranges(RangeAnswer::Ignored),
            "no-length" => Self { ranges: RangeAnswer::Ignored, ..Self::framing(Framing::Close) },
            "chunked" => Self::framing(Framing::Chunked),
            "http10" => Self::framing(Framing::Http10),
            "no-validator" => Self::mark(Mark::None),
            "weak-etag" => Self::mark(Mark::Weak),
            "last-modified" => Self::mark(Mark::Modified),
            "just-modified" => Self::mark(Mark::JustModified(5)),
            "head-405" => Self { head: HeadAnswer::Refused(405), ..Self::default() },
            "other-start" => Self::lie(RangeLie::OtherStart),
            "other-total" => Self::lie(RangeLie::OtherTotal),
            "garbage-range" => Self::lie(RangeLie::Garbage),
            "missing-range" => Self::lie(RangeLie::Missing),
            "multipart" => Self::lie(RangeLie::Multipart),
            "early-close" => Self::body(BodyFault::CloseAfter(1 << 20)),
            "reset" => Self::body(BodyFault::ResetAfter(1 << 20)),
            "stall" => Self::body(BodyFault::StallAfter(1 << 20, seconds(3600))),
            "drip" => Self::body(BodyFault::Drip(1, seconds(1))),
            "slow" => Self { rate: Some(1 << 20), ..Self::default() },
            _ => return None,
        })
    }
}

impl Mark {
    /// The header lines of this mark for a version; `now` is the answer's Date.
    pub(super) fn lines(&self, version: &Version, now: i64) -> Vec<String> {
        let date = |at: i64| format!("Last-Modified: {}", super::version::http_date(at));
        match self {
            Self::Strong => vec![format!("ETag: \"{}\"", version.tag), date(version.modified)],
            Self::Weak => vec![format!("ETag: W/\"{}\"", version.tag)],
            Self::Modified => vec![date(version.modified)],
            Self::JustModified(age) => vec![date(now - age)],
            Self::None => Vec::new(),
            Self::Fixed(tag) => vec![format!("ETag: \"{tag}\"")],
        }
    }
}
