//! The head that a behaviour gives to an ask, and the part of the file that follows it.

use super::version::{http_date, unix_now};
use super::{Ask, AskedRange, Behaviour, Framing, HeadAnswer, HeadFault, Instead, RangeAnswer, RangeLie, Version};
use std::ops::Range;

/// What is sent for one ask.
#[derive(Debug)]
pub(super) struct Answer {
    /// The head, complete with its empty line.
    pub(super) head: String,
    /// What follows.
    pub(super) body: Body,
    /// Whether the body is sent in chunks.
    pub(super) is_chunked: bool,
    /// Whether the connection ends with this answer.
    pub(super) closes: bool,
    /// The status, for the counters.
    pub(super) status: u16,
}

/// What follows a head.
#[derive(Debug)]
pub(super) enum Body {
    /// Nothing.
    None,
    /// This text.
    Text(String),
    /// These bytes of the version.
    Part(Range<u64>),
}

impl Answer {
    pub(super) fn to(ask: &Ask, behaviour: &Behaviour, version: &Version) -> Self {
        if let Some(instead) = &behaviour.instead {
            return Self::instead(ask, behaviour, instead);
        }
        if let (HeadAnswer::Refused(status), "HEAD") = (behaviour.head, ask.method.as_str()) {
            return Self::text(ask, behaviour, status, &[]);
        }
        if let Some(refusal) = Self::precondition(ask, behaviour, version) {
            return refusal;
        }
        match Self::chosen_part(ask, behaviour, version) {
            Chosen::Whole => Self::whole(ask, behaviour, version),
            Chosen::Part(part) => Self::part(ask, behaviour, version, part),
            Chosen::Nothing => {
                let line = format!("Content-Range: bytes */{}", version.length);
                Self::text(ask, behaviour, 416, &[line])
            }
        }
    }

    fn instead(ask: &Ask, behaviour: &Behaviour, instead: &Instead) -> Self {
        match instead {
            Instead::Status(status, lines) => Self::text(ask, behaviour, *status, lines),
            Instead::Redirect(status, location) => {
                Self::text(ask, behaviour, *status, &[format!("Location: {location}")])
            }
        }
    }

    /// RFC 9110 section 13.2.2, for the preconditions that answer without a body.
    fn precondition(ask: &Ask, behaviour: &Behaviour, version: &Version) -> Option<Self> {
        if behaviour.ranges == RangeAnswer::Lie(RangeLie::IgnoresPreconditions) {
            return None;
        }
        let marks = Marks::of(behaviour, version);
        let failed = ask.header("if-match").is_some_and(|tag| !marks.is_strong_tag(tag))
            || ask.header("if-unmodified-since").is_some_and(|date| !marks.is_date(date));
        if failed {
            return Some(Self::text(ask, behaviour, 412, &[]));
        }
        let unchanged = match ask.header("if-none-match") {
            Some(tags) => tags.split(',').any(|tag| marks.is_tag(tag.trim())),
            None => ask.header("if-modified-since").is_some_and(|date| marks.is_date(date)),
        };
        unchanged.then(|| {
            let lines = behaviour.mark.lines(version, unix_now());
            Self { body: Body::None, ..Self::text(ask, behaviour, 304, &lines) }
        })
    }

    fn chosen_part(ask: &Ask, behaviour: &Behaviour, version: &Version) -> Chosen {
        let lie = match behaviour.ranges {
            RangeAnswer::Ignored => return Chosen::Whole,
            RangeAnswer::Lie(lie) => Some(lie),
            RangeAnswer::Honest => None,
        };
        if lie == Some(RangeLie::Unasked) && ask.method == "GET" {
            return Chosen::Part(0..version.length);
        }
        let Some(range) = ask.range().filter(|_| ask.method == "GET" && behaviour.framing != Framing::Http10) else {
            return Chosen::Whole;
        };
        let marks = Marks::of(behaviour, version);
        let is_other = ask.header("if-range").is_some_and(|mark| !marks.is_strong_tag(mark) && !marks.is_date(mark));
        if is_other && lie != Some(RangeLie::IgnoresPreconditions) {
            return Chosen::Whole;
        }
        let end = version.length;
        let part = match range {
            AskedRange::From(first) => first..end,
            AskedRange::Within(first, last) => first..end.min(last.saturating_add(1)),
            AskedRange::Last(count) => end.saturating_sub(count)..end,
        };
        if part.is_empty() { Chosen::Nothing } else { Chosen::Part(part) }
    }

    fn whole(ask: &Ask, behaviour: &Behaviour, version: &Version) -> Self {
        let now = unix_now();
        let mut lines = behaviour.mark.lines(version, now);
        if behaviour.ranges != RangeAnswer::Ignored && behaviour.framing != Framing::Http10 {
            lines.push("Accept-Ranges: bytes".to_owned());
        }
        let mut length = version.length;
        if let (HeadAnswer::OtherLength(other), "HEAD") = (behaviour.head, ask.method.as_str()) {
            length = other;
        }
        Self::assemble(ask, behaviour, 200, lines, Body::Part(0..length))
    }

    fn part(ask: &Ask, behaviour: &Behaviour, version: &Version, asked: Range<u64>) -> Self {
        let lie = match behaviour.ranges {
            RangeAnswer::Lie(lie) => Some(lie),
            RangeAnswer::Honest | RangeAnswer::Ignored => None,
        };
        let part = match lie {
            Some(RangeLie::OtherStart) => asked.start + 1..asked.end,
            Some(RangeLie::Longer) => asked.start..asked.end + 1,
            Some(RangeLie::Shorter) => asked.start..asked.end - (asked.end - asked.start) / 2,
            _ => asked,
        };
        let (first, last, total) = (part.start, part.end.saturating_sub(1), version.length);
        let honest = format!("Content-Range: bytes {first}-{last}/{total}");
        let ranges = match lie {
            Some(RangeLie::OtherTotal) => vec![format!("Content-Range: bytes {first}-{last}/{}", total + 1)],
            Some(RangeLie::HiddenTotal) => vec![format!("Content-Range: bytes {first}-{last}/*")],
            Some(RangeLie::Garbage) => vec!["Content-Range: bytes around the middle".to_owned()],
            Some(RangeLie::OtherUnit) => vec![format!("Content-Range: lines {first}-{last}/{total}")],
            Some(RangeLie::Backwards) => vec![format!("Content-Range: bytes {}-{first}/{total}", last + 1)],
            Some(RangeLie::Missing) => Vec::new(),
            Some(RangeLie::Multipart) => vec!["Content-Type: multipart/byteranges; boundary=edge".to_owned()],
            Some(RangeLie::Twice) => vec![honest.clone(), honest],
            _ => vec![honest],
        };
        let mark = behaviour.partial_mark.as_ref().unwrap_or(&behaviour.mark);
        let mut lines = mark.lines(version, unix_now());
        lines.extend(ranges);
        Self::assemble(ask, behaviour, 206, lines, Body::Part(part))
    }

    fn text(ask: &Ask, behaviour: &Behaviour, status: u16, lines: &[String]) -> Self {
        Self::assemble(ask, behaviour, status, lines.to_vec(), Body::Text(format!("this is status {status}\n")))
    }

    fn assemble(ask: &Ask, behaviour: &Behaviour, status: u16, mut lines: Vec<String>, body: Body) -> Self {
        let is_file = matches!(body, Body::Part(_));
        let framing = if is_file { behaviour.framing } else { Framing::Length };
        let length = match &body {
            Body::None => 0,
            Body::Text(text) => text.len() as u64,
            Body::Part(part) => part.end - part.start,
        };
        lines.insert(0, format!("Date: {}", http_date(unix_now())));
        match framing {
            _ if status == 304 => {}
            Framing::Length | Framing::Http10 => lines.push(format!("Content-Length: {length}")),
            Framing::Chunked => lines.push("Transfer-Encoding: chunked".to_owned()),
            Framing::Close => lines.push("Connection: close".to_owned()),
        }
        lines.extend(behaviour.extra_headers.iter().cloned());
        match behaviour.head_fault.filter(|_| is_file) {
            Some(HeadFault::LengthAndChunked) => lines.push("Transfer-Encoding: chunked".to_owned()),
            Some(HeadFault::TwoLengths) => lines.push(format!("Content-Length: {}", length + 1)),
            Some(HeadFault::NegativeLength) => {
                lines.retain(|line| !line.starts_with("Content-Length"));
                lines.push("Content-Length: -5".to_owned());
            }
            Some(HeadFault::HugeField(bytes)) => lines.push(format!("X-Huge: {}", "h".repeat(bytes))),
            Some(HeadFault::ManyFields(count)) => lines.extend((0..count).map(|n| format!("X-Field-{n}: {n}"))),
            _ => {}
        }
        let protocol = if framing == Framing::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let is_chunked = framing == Framing::Chunked || lines.iter().any(|l| l == "Transfer-Encoding: chunked");
        Self {
            head: format!("{protocol} {status} As Scripted\r\n{}\r\n\r\n", lines.join("\r\n")),
            body: if ask.method == "HEAD" { Body::None } else { body },
            is_chunked,
            closes: matches!(framing, Framing::Close | Framing::Http10),
            status,
        }
    }
}

enum Chosen {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// The marks that the current version has, for comparing preconditions.
struct Marks(Vec<String>);

impl Marks {
    fn of(behaviour: &Behaviour, version: &Version) -> Self {
        Self(behaviour.mark.lines(version, unix_now()))
    }

    fn is_strong_tag(&self, tag: &str) -> bool {
        !tag.starts_with("W/") && self.0.iter().any(|line| line.strip_prefix("ETag: ") == Some(tag))
    }

    fn is_tag(&self, tag: &str) -> bool {
        let opaque = |tag: &str| tag.trim_start_matches("W/").to_owned();
        self.0.iter().filter_map(|line| line.strip_prefix("ETag: ")).any(|own| opaque(own) == opaque(tag))
    }

    fn is_date(&self, date: &str) -> bool {
        self.0.iter().any(|line| line.strip_prefix("Last-Modified: ") == Some(date))
    }
}
