//! What goes to one client as the origin sent it, and what is kept of it: a part that the next client may want as well.

use super::Gateway;
use super::answer::{reply, say};
use super::body::{AnswerBody, Broken};
use super::flight::{Broke, MOST_IN_MEMORY, SMALL, read_on};
use super::gathered::{Gathered, OWN_LINKS, Wanted, no_room, with_room};
use super::growing::Growing;
use super::links;
use super::parts::Parts;
use super::promised::{Checked, keeps};
use super::refusal::Refusal;
use super::serve::{Answer, Call};
use super::shelf::{Held, Key, Look, Stored};
use super::tally;
use crate::driver::held::wall_clock;
use crate::origin::{OriginBody, RelayRequest, Relayed};
use bytes::{Bytes, BytesMut};
use eddy_content::Validator;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::{Freshness, Question, Variant};
use eddy_content::http::serve::{
    CacheStatus, Forwarded, Found, Joint, Keeping, Marks, Part, end_to_end, joint, may_keep, may_keep_posted, part_of,
    storable,
};
use eddy_content::http::{Asked, Framing, RequestPrivacy, ResponseHead, http_date};
use http::header::{
    ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, HeaderMap, HeaderValue,
    IF_RANGE, RANGE, VIA,
};
use http::{Method, Response, StatusCode};
use std::sync::Arc;

impl Gateway {
    /// Asks the origin for this client alone, with its own range and conditions, and passes the answer on.
    pub(super) async fn pass(self: &Arc<Self>, call: &Call, why: Forwarded) -> Answer {
        let mut fields = call.sent.with_conditions(&call.fields);
        let mut relayed = self.relayed(call, &call.method, fields.clone()).await?;
        let is_page = match told_of_page(call, &relayed.head) {
            Told::Page => Some(true),
            Told::Nothing => {
                // Its place at the origin is given back first: who waits there for a second one must not hold what others wait for.
                relayed.body = None;
                Some(self.is_page(call).await)
            }
            Told::NoPage => None,
        };
        if let Some(is_page) = is_page {
            if is_page {
                // RFC 9110 section 14.2: a range may be ignored. One of the origin's page is none of that which leads through the gateway.
                [RANGE, IF_RANGE].iter().for_each(|name| drop(fields.remove(name)));
            }
            drop(relayed);
            relayed = self.relayed(call, &call.method, fields).await?;
        }
        if relayed.head.status == 200 && has_links(call, &relayed.head) {
            match relayed.body.take() {
                Some(body) => return self.pass_led(call, relayed, (body, why)).await,
                None => links::fit(&mut relayed.head.headers),
            }
        }
        if relayed.head.status == 304 && links::may_have_links(&call.target.links, &call.target.url) {
            links::fit_unchanged(&call.fields, &mut relayed.head.headers);
        }
        let promised = self.promised(&call.target, (relayed.head.status, &relayed.head.headers));
        let content = match self.part(call, &relayed) {
            Some(part) => self.keep(call, &mut relayed, Kept::Part(part)).await?,
            None => self.content(call, &promised, (Bytes::new(), relayed.body.take())).await?,
        };
        Ok(self.relay(call, &relayed.head, content, (why, None)))
    }

    /// Whether the head of the whole says that it is a page.
    async fn is_page(&self, call: &Call) -> bool {
        match self.relayed(call, &Method::HEAD, call.sent.question()).await {
            Ok(whole) if whole.head.status == 200 => has_links(call, &whole.head),
            // Then nothing but the whole can say.
            _ => true,
        }
    }

    /// Puts the client's question to the origin, by this method and with these fields.
    pub(super) async fn relayed(&self, call: &Call, method: &Method, fields: HeaderMap) -> Result<Relayed, Refusal> {
        let request = RelayRequest {
            url: call.target.url.clone(),
            method: method.clone(),
            fields,
            content: None,
            asked: if method == Method::HEAD { Asked::Head } else { Asked::Whole },
            redirects: call.target.redirects,
            privacy: call.sent.privacy,
        };
        call.target.origin.relay(request).await.map_err(|error| Refusal::of_origin(&error))
    }

    /// Passes a page on with its links replaced: where its client may not go by itself, it may not go though nobody else gets the page.
    async fn pass_led(&self, call: &Call, mut relayed: Relayed, (mut body, why): (OriginBody, Forwarded)) -> Answer {
        let target = &call.target;
        let promised = self.promised(target, (relayed.head.status, &relayed.head.headers));
        let length = Framing::of(&relayed.head).ok().and_then(Framing::length);
        let content = match self.gathered(&mut body, Wanted::Page(length), &target.tally).await {
            Gathered::All(read, mut room) => {
                if !keeps(&promised, &read) {
                    return Err(Broke::False.refusal());
                }
                let led = self.led(target, &mut relayed.head.headers, read).await?;
                if !self.refit(&mut room, led.len() as u64).await {
                    return Err(no_room());
                }
                AnswerBody::Full(with_room(led, room))
            }
            Gathered::TooLong(read) => {
                target.tally.long_page(&target.url);
                let content = self.content(call, &promised, (read, Some(body))).await?;
                return Ok(self.relay(call, &relayed.head, content, (why, Some(OWN_LINKS))));
            }
            Gathered::NoRoom(_) => return Err(no_room()),
            Gathered::Broken(error) => return Err(Refusal::of_origin(&error)),
        };
        Ok(self.relay(call, &relayed.head, content, (why, None)))
    }

    /// Passes the answer to a POST on, and keeps it where a GET would have brought the same.
    pub(super) async fn posted(self: &Arc<Self>, call: &Call, mut relayed: Relayed) -> Answer {
        let length = Framing::of(&relayed.head).ok().and_then(Framing::length);
        let is_kept = call.method == Method::POST
            && call.target.rules.keeping == Keeping::AsRfc
            && !call.sent.is_unkept
            && may_keep_posted(&call.target.url, &call.sent.fields, &relayed.head);
        let content = match length.filter(|length| is_kept && *length <= MOST_IN_MEMORY) {
            Some(length) => self.keep(call, &mut relayed, Kept::Whole(length)).await?,
            None => self.content(call, &[], (Bytes::new(), relayed.body.take())).await?,
        };
        Ok(self.relay(call, &relayed.head, content, (Forwarded::Method, None)))
    }

    /// The part that an answer carries, where it may be kept: under the rules of the whole, and among files under a strong validator.
    fn part(&self, call: &Call, relayed: &Relayed) -> Option<Part> {
        let head = &relayed.head;
        let part = part_of(&call.fields, head).filter(|part| call.method == Method::GET && part.count() > 0)?;
        let whole = ResponseHead { status: 200, ..head.clone() };
        let rules = call.target.rules;
        let is_certain = matches!(part, Part::At { .. })
            && Validator::select(&head.headers, wall_clock()).is_ok()
            && !head.headers.contains_key(CONTENT_ENCODING);
        // T-34: one client's own is kept for nobody.
        let is_kept = !call.sent.is_unkept
            && call.sent.leave.is_none()
            && call.sent.privacy == RequestPrivacy::Plain
            && part.count() <= MOST_IN_MEMORY
            && (is_certain || rules.keeping == Keeping::AsRfc)
            && call.target.links.is_empty()
            && may_keep(rules.keeping, &call.sent.fields, &whole).is_ok();
        is_kept.then_some(part)
    }

    /// Reads a body into memory, from where its client gets it as it comes, and puts it on the shelf when it is there.
    async fn keep(self: &Arc<Self>, call: &Call, relayed: &mut Relayed, kept: Kept) -> Result<AnswerBody, Refusal> {
        let count = kept.count();
        let (Some(body), Some(room)) = (relayed.body.take(), self.room(count)) else {
            return self.content(call, &[], (Bytes::new(), relayed.body.take())).await;
        };
        let growing = Growing::with_room(Some(room));
        let (target, sent) = (call.target.clone(), call.sent.fields.clone());
        let stored = stored(call, relayed, kept.length(), growing.clone());
        let read = growing.clone();
        let content = AnswerBody::coming(|to| async move { read.send(0..count, &to).await });
        let (gateway, stop, tally) = (self.clone(), self.stop.clone(), call.target.tally.clone());
        self.tasks.spawn(async move {
            let came = tokio::select! {
                biased;
                () = stop.cancelled() => return growing.end_broken(),
                came = read_on(&growing, body, (count, &tally)) => came,
            };
            if came.is_err() {
                return growing.end_broken();
            }
            growing.end_whole();
            match kept {
                Kept::Whole(_) => gateway.shelf.put(target.key(), &sent, Arc::new(stored)),
                Kept::Part(part) => {
                    if let Some(parts) = Parts::of(&part, growing) {
                        gateway.put_part((target.key(), &sent), stored, parts);
                    }
                }
            }
        });
        Ok(content)
    }

    /// Puts a part on the shelf, with those of the same version that are there.
    fn put_part(&self, (key, sent): (Key<'_>, &HeaderMap), mut stored: Stored, mut parts: Parts) {
        let received = stored.freshness.received();
        if let Look::Here(old) = self.shelf.look(key, sent)
            && old.length == stored.length
            && matches!(joint(&old.fields, &stored.fields, received), Some(Joint::Validator(_)))
        {
            let Held::Parts(earlier) = &old.held else {
                // The whole of the same version is worth more.
                return;
            };
            if let Some(joined) = earlier.joined(&parts).filter(|joined| joined.bytes() <= MOST_IN_MEMORY) {
                parts = joined;
                stored.freshness = old.freshness.clone().updated(stored.freshness);
            }
        }
        stored.held = Held::Parts(Arc::new(parts));
        self.shelf.put(key, sent, Arc::new(stored));
    }

    /// The content of an answer that goes to its client alone. What is promised of it is held against it here too, whoever
    /// may keep it.
    pub(super) async fn content(
        &self,
        call: &Call,
        promised: &[ExpectedDigest],
        (read, body): (Bytes, Option<OriginBody>),
    ) -> Result<AnswerBody, Refusal> {
        // The content of the answer to another method is not the file.
        let promised = if call.method == Method::GET { promised } else { &[] };
        let mut checked = Checked::new(promised);
        let came = checked.take(read);
        let Some(mut body) = body else {
            let last = checked.end().ok_or_else(|| Broke::False.refusal())?;
            return Ok(AnswerBody::Full(if promised.is_empty() { came } else { last }));
        };
        if promised.is_empty() {
            return Ok(Self::stream(call, checked, (came, body)));
        }
        // What is small is refused with a status, in however many pieces it comes.
        let mut beginning = BytesMut::from(came);
        while (beginning.len() as u64) < SMALL {
            match body.next().await {
                Ok(Some(bytes)) => {
                    call.target.tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
                    beginning.extend_from_slice(&checked.take(bytes));
                }
                Ok(None) => {
                    beginning.extend_from_slice(&checked.end().ok_or_else(|| Broke::False.refusal())?);
                    return Ok(AnswerBody::Full(beginning.freeze()));
                }
                Err(error) => return Err(Refusal::of_origin(&error)),
            }
        }
        Ok(Self::stream(call, checked, (beginning.freeze(), body)))
    }

    /// Passes an answer on unchanged.
    pub(super) fn relay(
        &self,
        call: &Call,
        head: &ResponseHead,
        content: AnswerBody,
        (why, detail): (Forwarded, Option<&'static str>),
    ) -> Response<AnswerBody> {
        let mut fields = end_to_end(&head.headers);
        if matches!(content, AnswerBody::Full(_)) && call.method != Method::HEAD && !matches!(head.status, 204 | 304) {
            fields.remove(CONTENT_LENGTH);
        }
        if !fields.contains_key(DATE)
            && let Ok(now) = HeaderValue::from_str(&http_date(wall_clock()))
        {
            fields.insert(DATE, now);
        }
        let found = Found::Forwarded(why);
        let status = CacheStatus { found, origin_status: Some(head.status), ttl: None, is_collapsed: false, detail };
        say(&mut fields, &status);
        fields.append(VIA, self.via.clone());
        let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        reply(status, fields, content.counted(&call.target.tally, tally::Bytes::Sent))
    }

    /// Goes on with a body as it comes from the origin; a client that is gone ends it.
    fn stream(call: &Call, mut checked: Checked, (mut came, mut body): (Bytes, OriginBody)) -> AnswerBody {
        let (tally, url) = (call.target.tally.clone(), call.target.url.clone());
        AnswerBody::coming(|to| async move {
            loop {
                if !came.is_empty() && to.send(Ok(came)).await.is_err() {
                    return;
                }
                came = match body.next().await {
                    Ok(Some(bytes)) => {
                        tally.add(tally::Bytes::FromOrigin, bytes.len() as u64);
                        checked.take(bytes)
                    }
                    Ok(None) => break,
                    Err(_) => {
                        let _ = to.send(Err(Broken::Off)).await;
                        return;
                    }
                };
            }
            let last = checked.end();
            if last.is_none() {
                tracing::warn!(%url, "the origin's bytes are not those that the name promises");
            }
            if last.as_ref().is_none_or(|last| !last.is_empty()) {
                // Who is gone needs no end.
                let _ = to.send(last.ok_or(Broken::False)).await;
            }
        })
    }
}

/// The type of several ranges in one answer (RFC 9110 section 14.6).
const MULTIPART: &[u8] = b"multipart/byteranges";

/// Whether an answer of the origin's, of which the whole has this head, may hold links that are to be replaced.
fn has_links(call: &Call, head: &ResponseHead) -> bool {
    links::has_links(&call.target.links, &call.target.url, (200, &head.headers))
}

/// What an answer to a range says of the whole.
enum Told {
    Page,
    NoPage,
    /// The head of the whole is to be asked for.
    Nothing,
}

/// Whether an answer to a range is about a page of which the whole leads through the gateway. Several ranges at once, a part without a
/// type, and a range that lies behind the origin's page do not say so: the head of the whole does.
fn told_of_page(call: &Call, head: &ResponseHead) -> Told {
    let asks_for_part = call.method == Method::GET && call.fields.contains_key(RANGE);
    if !asks_for_part || !links::may_have_links(&call.target.links, &call.target.url) {
        return Told::NoPage;
    }
    let kind = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_told = !kind.is_empty() && !kind.to_ascii_lowercase().starts_with(MULTIPART);
    match head.status {
        206 if is_told && has_links(call, head) => Told::Page,
        206 if is_told => Told::NoPage,
        206 | 416 => Told::Nothing,
        _ => Told::NoPage,
    }
}

/// What is kept of an answer.
enum Kept {
    Part(Part),
    /// All of it, which has so many bytes.
    Whole(u64),
}

impl Kept {
    /// Bytes that come.
    fn count(&self) -> u64 {
        match self {
            Self::Part(part) => part.count(),
            Self::Whole(length) => *length,
        }
    }

    /// Bytes of the whole.
    fn length(&self) -> u64 {
        match self {
            Self::Part(part) => part.length(),
            Self::Whole(length) => *length,
        }
    }
}

/// What is stored: the head as that of the whole.
fn stored(call: &Call, relayed: &Relayed, length: u64, growing: Arc<Growing>) -> Stored {
    let headers = &relayed.head.headers;
    let question = Question { fields: &call.sent.fields, privacy: call.sent.privacy };
    let mut fields = storable(headers);
    fields.remove(CONTENT_RANGE);
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&http_date(relayed.exchange.received))
    {
        fields.insert(DATE, date);
    }
    Stored {
        status: 200,
        freshness: Freshness::of(headers, question, relayed.exchange),
        variant: Variant::of(headers, &call.sent.fields),
        languages: call.sent.fields.get(ACCEPT_LANGUAGE).cloned(),
        // Of a part nothing is promised, and the answer to another method is not the file.
        proved: Vec::new(),
        is_led: false,
        marks: Marks::of(&fields, relayed.exchange.received),
        fields,
        length,
        held: Held::Memory(growing),
    }
}
