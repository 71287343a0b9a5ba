//! A stored answer, made into the answer to a request: conditions, ranges, age (RFC 9110 sections 13 and 14; ).

use super::body::AnswerBody;
use super::filling::{Filling, Reader};
use super::growing::Growing;
use super::parts::Parts;
use super::shelf::Stored;
use bytes::{Bytes, BytesMut};
use eddy_content::http::serve::{CacheStatus, Condition, Found, Selected, condition, may_range, select};
use http::header::{
    ACCEPT_RANGES, AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, VARY,
};
use http::{Method, Response, StatusCode};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a body that are taken out of memory at once instead of being sent piece by piece.
const AT_ONCE: u64 = 1 << 20;

/// Where the bytes are read.
pub(super) enum Here {
    /// In memory.
    Memory(Arc<Growing>),
    /// In memory, as far as they are wanted.
    Parts(Arc<Parts>),
    /// In the store.
    Entity(Arc<Filling>),
}

/// The request that is answered.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) method: &'a Method,
    pub(super) fields: &'a HeaderMap,
}

/// Answers from what is stored.
pub(super) fn answer(
    stored: &Stored,
    source: Here,
    wanted: Wanted<'_>,
    (status, now): (CacheStatus, i64),
) -> Response<AnswerBody> {
    let mut fields = stored.fields.clone();
    fields.remove(CONTENT_LENGTH);
    let is_whole = stored.status == 200;
    if is_whole {
        // whatever the origin can do.
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    // An answer that has just come has the age that it came with; what was stored, or confirmed now, has grown older here.
    let is_stored = status.found == Found::Hit || status.origin_status == Some(304);
    if let Some(age) = stored.freshness.age(now).filter(|_| is_stored) {
        fields.insert(AGE, HeaderValue::from(age));
    }
    say(&mut fields, &status);
    let found =
        if (200..300).contains(&stored.status) { condition(wanted.fields, &stored.marks) } else { Condition::Proceed };
    match found {
        Condition::Proceed => {}
        Condition::NotModified => return bare(StatusCode::NOT_MODIFIED, only_about_the_cache(&fields)),
        Condition::Failed => return bare(StatusCode::PRECONDITION_FAILED, only_about_the_cache(&fields)),
    }
    let is_range = is_whole && wanted.method == Method::GET && may_range(wanted.fields, &stored.marks);
    let selected = if is_range { select(wanted.fields, stored.length) } else { Selected::Whole };
    let code = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::BAD_GATEWAY);
    match selected {
        Selected::Whole => {
            let length = stored.length;
            let has_none = matches!(stored.status, 204 | 304);
            if !has_none {
                fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            let is_bare = wanted.method == Method::HEAD || has_none;
            let body =
                if is_bare { AnswerBody::Empty } else { send(source, vec![(Bytes::new(), 0..length)], Bytes::new()) };
            reply(code, fields, body)
        }
        Selected::Unsatisfiable => {
            fields.insert(CONTENT_RANGE, text(&format!("bytes */{}", stored.length)));
            fields.remove(CONTENT_TYPE);
            bare(StatusCode::RANGE_NOT_SATISFIABLE, fields)
        }
        Selected::Ranges(ranges) if ranges.len() == 1 => {
            let range = ranges[0].clone();
            fields.insert(CONTENT_RANGE, content_range(&range, stored.length));
            fields.insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
            let body = send(source, vec![(Bytes::new(), range)], Bytes::new());
            reply(StatusCode::PARTIAL_CONTENT, fields, body)
        }
        Selected::Ranges(ranges) => parts(stored, source, &ranges, fields),
    }
}

/// Several ranges: multipart/byteranges (RFC 9110 section 14.6).
fn parts(stored: &Stored, source: Here, ranges: &[Range<u64>], mut fields: HeaderMap) -> Response<AnswerBody> {
    let boundary = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
    let kind = fields.get(CONTENT_TYPE).cloned();
    let mut sections = Vec::with_capacity(ranges.len());
    let mut length = 0;
    for (index, range) in ranges.iter().enumerate() {
        let mut head = BytesMut::new();
        head.extend_from_slice(if index == 0 { b"--" } else { b"\r\n--" });
        head.extend_from_slice(boundary.as_bytes());
        if let Some(kind) = &kind {
            head.extend_from_slice(b"\r\nContent-Type: ");
            head.extend_from_slice(kind.as_bytes());
        }
        head.extend_from_slice(b"\r\nContent-Range: ");
        head.extend_from_slice(content_range(range, stored.length).as_bytes());
        head.extend_from_slice(b"\r\n\r\n");
        length += head.len() as u64 + range.end - range.start;
        sections.push((head.freeze(), range.clone()));
    }
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    length += end.len() as u64;
    // RFC 9110 section 15.3.7.2: no Content-Range for the whole of it.
    fields.remove(CONTENT_RANGE);
    fields.insert(CONTENT_TYPE, text(&format!("multipart/byteranges; boundary={boundary}")));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    reply(StatusCode::PARTIAL_CONTENT, fields, send(source, sections, end))
}

/// Sends sections, each behind its head, and an end.
fn send(source: Here, sections: Vec<(Bytes, Range<u64>)>, end: Bytes) -> AnswerBody {
    if let (Here::Memory(growing), [(_, range)], true) = (&source, sections.as_slice(), end.is_empty())
        && range.end - range.start <= AT_ONCE
        && let Some(all) = growing.all()
        && range.end <= all.len() as u64
    {
        return AnswerBody::Full(all.slice(range.start as usize..range.end as usize));
    }
    let source = match source {
        Here::Memory(growing) => Source::Memory(growing),
        // Counted from now on: between here and the first look for a piece nobody may think that nobody reads.
        Here::Entity(filling) => Source::Entity(filling.reader()),
        Here::Parts(parts) => return sliced(parts, sections, end),
    };
    let is_judged_first = matches!(&source, Source::Entity(reader) if reader.is_judged_first());
    let body = AnswerBody::coming(|to| async move {
        for (head, range) in sections {
            if !head.is_empty() && to.send(Ok(head)).await.is_err() {
                return;
            }
            source.send(range, &to).await;
            if to.is_closed() {
                return;
            }
        }
        if !end.is_empty() {
            let _ = to.send(Ok(end)).await;
        }
    });
    if is_judged_first { body.judged_first() } else { body }
}

/// Sections of what is in memory: as they lie there, for each client that reads slowly would have a copy of its own.
fn sliced(parts: Arc<Parts>, sections: Vec<(Bytes, Range<u64>)>, end: Bytes) -> AnswerBody {
    let mut pieces = Vec::new();
    for (head, range) in sections {
        pieces.push(head);
        // Whoever asks has looked whether they are here.
        pieces.extend(parts.pieces(&range).unwrap_or_default());
    }
    pieces.push(end);
    pieces.retain(|piece| !piece.is_empty());
    if let [all] = pieces.as_slice()
        && all.len() as u64 <= AT_ONCE
    {
        return AnswerBody::Full(all.clone());
    }
    AnswerBody::coming(|to| async move {
        for piece in pieces {
            if to.send(Ok(piece)).await.is_err() {
                return;
            }
        }
        // Their memory is theirs until the last of them is on its way.
        drop(parts);
    })
}

enum Source {
    Memory(Arc<Growing>),
    Entity(Reader),
}

impl Source {
    async fn send(&self, range: Range<u64>, to: &super::body::Pieces) {
        match self {
            Self::Memory(growing) => growing.send(range, to).await,
            Self::Entity(reader) => reader.send(range, to).await,
        }
    }
}

/// Adds this node's word to `Cache-Status` (RFC 9211; R-56).
pub(super) fn say(fields: &mut HeaderMap, status: &CacheStatus) {
    fields.append(HeaderName::from_static("cache-status"), text(&status.to_string()));
}

/// The fields that a 304 carries (RFC 9110 section 15.4.5), and those of this node.
fn only_about_the_cache(fields: &HeaderMap) -> HeaderMap {
    let is_kept = |name: &HeaderName| {
        [CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, VARY, AGE, LAST_MODIFIED].contains(name)
            || name == "cache-status"
    };
    fields.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn content_range(range: &Range<u64>, length: u64) -> HeaderValue {
    text(&format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1)))
}

/// A value that this node has written itself: digits, letters, signs.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn bare(status: StatusCode, fields: HeaderMap) -> Response<AnswerBody> {
    reply(status, fields, AnswerBody::Empty)
}

pub(super) fn reply(status: StatusCode, fields: HeaderMap, body: AnswerBody) -> Response<AnswerBody> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    *answer.headers_mut() = fields;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::http::serve::Part;
    use hyper::body::Body as _;
    use std::future::poll_fn;
    use std::pin::Pin;

    async fn pieces(mut body: AnswerBody) -> Vec<Bytes> {
        let mut all = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            all.extend(frame.ok().and_then(|frame| frame.into_data().ok()));
        }
        all
    }

    #[tokio::test]
    async fn what_lies_in_parts_is_copied_for_nobody() {
        let (first, second) = (Bytes::from(vec![1; 3 << 20]), Bytes::from(vec![2; 1000]));
        let at = |start: u64, bytes: &Bytes| {
            let part = Part::At { bytes: start..start + bytes.len() as u64, length: 10 << 20 };
            Parts::of(&part, Growing::whole(bytes.clone(), None)).expect("all of it")
        };
        let parts = Arc::new(at(0, &first).joined(&at(3 << 20, &second)).expect("the same anchor"));
        let is_of = |piece: &Bytes, whole: &Bytes| whole.as_ptr_range().contains(&piece.as_ptr());
        let whole = (3 << 20) + 1000;
        let got = pieces(sliced(parts.clone(), vec![(Bytes::new(), 5..whole)], Bytes::new())).await;
        assert_eq!(got.iter().map(Bytes::len).collect::<Vec<_>>(), [(3 << 20) - 5, 1000]);
        assert!(is_of(&got[0], &first) && is_of(&got[1], &second));
        let sections = vec![(Bytes::from_static(b"<"), 0..2), (Bytes::from_static(b"|"), whole - 2..whole)];
        let got = pieces(sliced(parts.clone(), sections, Bytes::from_static(b">"))).await;
        assert_eq!(got.concat(), b"<\x01\x01|\x02\x02>");
        assert!(is_of(&got[1], &first));
        assert_eq!(Arc::strong_count(&parts), 1);
    }
}
