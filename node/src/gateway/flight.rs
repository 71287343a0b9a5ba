//! One question to an origin for all who want the same: asked once, judged, and its body put where everybody can read it.
//!
//! The task belongs to nobody: a client that goes away takes nothing with it. What cannot be shared goes to the client that caused the
//! question, and the others ask for themselves.

use super::Gateway;
use super::fields::Sent;
use super::filling::Filling;
use super::growing::Growing;
use super::links;
use super::refusal::{Refusal, is_origins_fault};
use super::shelf::{Held, Stored};
use crate::config::gateway::MountRules;
use crate::driver::held::wall_clock;
use crate::driver::{Given, HoldOrder, contacted};
use crate::origin::{Opened, Origin, OriginBody, OriginRequest, Redirects, RelayRequest, Relayed, Span};
use bytes::Bytes;
use eddy_content::http::freshness::{Freshness, Question, Variant};
use eddy_content::http::http_date;
use eddy_content::http::serve::{Keeping, Marks, Name, OnError, may_keep, name_of, on_error, refresh, storable};
use eddy_content::http::{Asked, BodyEnd, Coding, Framing, Known, Precondition, Representation, ResponseHead, Verdict};
use eddy_content::{EntityId, Geometry, ResourceUrl};
use eddy_engine::{Asking, FileSpec, Finish, JobSpec, Patience, PeerUse, Priority, Terms};
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE,
};
use http::{Method, StatusCode};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

/// Bytes of the largest body that is kept in memory; larger ones go through the store, in ranges and from peers.
pub(super) const MOST_IN_MEMORY: u64 = 4 << 20;
/// Bytes of a body that is read before anybody is told of it: one piece for most small objects.
const SMALL: u64 = 64 << 10;
/// Bytes asked for with the first question about a file.
const FIRST_RANGE: u64 = 16 << 20;
/// How often a body that breaks off is taken up again without a byte between.
const RESUMES: u32 = 5;
/// The first pause before that; it doubles.
const RESUME_PAUSE: Duration = Duration::from_millis(100);
/// Questions of one flight: HEAD, a range, the whole, and one more.
const MOST_QUESTIONS: u32 = 4;

/// What is asked about.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: ResourceUrl,
    pub(super) rules: MountRules,
    /// The way to it.
    pub(super) origin: Origin,
    pub(super) redirects: Redirects,
    /// URLs in pages that are to lead through the gateway, and what stands for them.
    pub(super) links: Arc<[(String, String)]>,
}

/// How a flight ended for those who wait.
#[derive(Clone)]
pub(super) enum Landing {
    /// Everybody reads this; with the origin's status, and the filling that must not be lost before it is read.
    Stored(Arc<Stored>, Option<Arc<Filling>>, Outcome),
    /// It cannot be shared: each asks for itself.
    Alone,
    /// The origin could not be asked.
    Failed(Arc<Refusal>),
}

/// What the origin did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Sent an answer with this status.
    Answered(u16),
    /// Said with this status that what is stored is still good.
    NotModified(u16),
    /// Failed, so that what is stored is used stale.
    Failed,
}

/// An answer for one client alone.
pub(super) struct Solo {
    pub(super) head: ResponseHead,
    /// What was read of the body already.
    pub(super) read: Bytes,
    pub(super) body: Option<OriginBody>,
}

/// The flights under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Likeness, watch::Receiver<Option<Landing>>>>);

/// What requests have in common that one flight answers: the URL, and what the origin gets of their fields.
type Likeness = (ResourceUrl, [u8; 32]);

/// A place in a flight.
pub(super) struct Place {
    pub(super) landing: watch::Receiver<Option<Landing>>,
    /// For who caused it: the answer that is for nobody else.
    pub(super) solo: Option<oneshot::Receiver<Solo>>,
}

impl Gateway {
    /// Joins the flight that wants the same, or starts one.
    pub(super) fn board(self: &Arc<Self>, target: &Target, sent: &Sent, stale: Option<Arc<Stored>>) -> Place {
        let key = (target.url.clone(), sent.likeness());
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(&key) {
            return Place { landing: landing.clone(), solo: None };
        }
        let (landing, waiting) = watch::channel(None);
        let (solo, answer) = oneshot::channel();
        flights.insert(key.clone(), waiting.clone());
        drop(flights);
        let flight = Flight {
            gateway: self.clone(),
            target: target.clone(),
            sent: sent.clone(),
            stale,
            landing,
            solo: Some(solo),
        };
        let (gateway, stop) = (self.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = flight.fly() => {}
            }
            gateway.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        });
        Place { landing: waiting, solo: Some(answer) }
    }

    /// Whether something is on its way for such a request.
    pub(super) fn is_flying(&self, url: &ResourceUrl, sent: &Sent) -> bool {
        let flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.contains_key(&(url.clone(), sent.likeness()))
    }
}

struct Flight {
    gateway: Arc<Gateway>,
    target: Target,
    sent: Sent,
    stale: Option<Arc<Stored>>,
    landing: watch::Sender<Option<Landing>>,
    solo: Option<oneshot::Sender<Solo>>,
}

/// How a question is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Head,
    FirstRange,
    Whole,
    /// About what is stored: 304 if it is still good.
    Conditional,
}

impl Flight {
    async fn fly(mut self) {
        let mut manner = self.first_manner().await;
        for _ in 0..MOST_QUESTIONS {
            let relayed = match self.target.origin.relay(self.question(manner)).await {
                Ok(relayed) => relayed,
                Err(error) if is_origins_fault(&error) && self.use_stale() => return,
                Err(error) => return self.land(Landing::Failed(Arc::new(Refusal::of_origin(&error)))),
            };
            match self.take(relayed, manner).await {
                Some(next) => manner = next,
                None => return,
            }
        }
        let text = "the origin answers each question as if another had been asked";
        self.land(Landing::Failed(Arc::new(Refusal::new(StatusCode::BAD_GATEWAY, text))));
    }

    fn land(&self, landing: Landing) {
        self.landing.send_replace(Some(landing));
    }

    /// HEAD where the body may be unwanted, a range where it may be large, else the whole.
    async fn first_manner(&self) -> Manner {
        let has_mark =
            |stale: &Arc<Stored>| stale.fields.contains_key(ETAG) || stale.fields.contains_key(LAST_MODIFIED);
        if self.stale.as_ref().is_some_and(has_mark) {
            return Manner::Conditional;
        }
        if self.target.rules.keeping == Keeping::AsRfc {
            // A transparent cache asks as its clients do.
            return Manner::Whole;
        }
        let is_file = name_of(&self.target.url) != Name::Plain;
        let has_peers = self.gateway.peers.as_ref().is_some_and(|peers| !peers.connected().is_empty());
        match () {
            () if is_file && has_peers || self.is_in_store().await => Manner::Head,
            () if is_file => Manner::FirstRange,
            () => Manner::Whole,
        }
    }

    async fn is_in_store(&self) -> bool {
        let (store, url) = (self.gateway.store.clone(), self.target.url.clone());
        let found = tokio::task::spawn_blocking(move || store.latest(&url)).await;
        matches!(found, Ok(Ok(Some(record))) if record.held_blocks > 0)
    }

    fn question(&self, manner: Manner) -> RelayRequest {
        let mut fields = self.sent.fields.clone();
        let asked = match manner {
            Manner::Head => Asked::Head,
            Manner::FirstRange => {
                fields.insert(RANGE, value(&format!("bytes=0-{}", FIRST_RANGE - 1)));
                Asked::Range { first: 0, last: Some(FIRST_RANGE - 1) }
            }
            Manner::Whole | Manner::Conditional => Asked::Whole,
        };
        if let (Manner::Conditional, Some(stale)) = (manner, &self.stale) {
            for (mark, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(mark) = stale.fields.get(mark) {
                    fields.insert(condition, mark.clone());
                }
            }
        }
        RelayRequest {
            url: self.target.url.clone(),
            method: if manner == Manner::Head { Method::HEAD } else { Method::GET },
            fields,
            content: None,
            asked,
            redirects: self.target.redirects,
            privacy: self.sent.privacy,
        }
    }

    /// Lands on what is stored though its time is over, where that is allowed; R-57.
    fn use_stale(&self) -> bool {
        let Some(stale) = &self.stale else { return false };
        let question = self.asked_by();
        let is_good =
            on_error(&stale.freshness, question, self.target.rules.stale_on_error, wall_clock()) == OnError::Use;
        if is_good {
            self.land(Landing::Stored(stale.clone(), None, Outcome::Failed));
        }
        is_good
    }

    fn asked_by(&self) -> Question<'_> {
        Question { fields: &self.sent.fields, privacy: self.sent.privacy }
    }

    /// Takes an answer; the next question, if that was not the last.
    async fn take(&mut self, mut relayed: Relayed, manner: Manner) -> Option<Manner> {
        let status = relayed.head.status;
        if matches!(status, 500 | 502 | 503 | 504) && self.use_stale() {
            return None;
        }
        if let (304, Manner::Conditional, Some(stale)) = (status, manner, self.stale.clone()) {
            return self.take_not_modified(&relayed, &stale);
        }
        if manner == Manner::Head {
            return self.take_description(relayed).await;
        }
        if manner == Manner::FirstRange {
            match relayed.verdict.clone() {
                Verdict::Continue { bytes, representation } if bytes.start == 0 => {
                    if representation.length != Some(bytes.end) {
                        let part = Span { start: 0, end: Some(bytes.end) };
                        let body = relayed.body.take().map(|body| (part, body));
                        return self.hold(relayed, representation, body).await.map_or(Some(Manner::Whole), |()| None);
                    }
                    // The whole of it came as a part of it.
                    relayed.head.status = 200;
                    relayed.head.headers.remove(CONTENT_RANGE);
                    relayed.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.end));
                    relayed.verdict = Verdict::Whole { representation };
                }
                Verdict::Whole { .. } => {}
                // Whatever else a range led to, the plain question may lead elsewhere.
                _ => return Some(Manner::Whole),
            }
        }
        self.take_answer(relayed).await
    }

    /// What is stored is still good, under the fields of the answer that says so (RFC 9111 section 4.3.4; R-53).
    fn take_not_modified(&mut self, relayed: &Relayed, stale: &Arc<Stored>) -> Option<Manner> {
        let later = &relayed.head.headers;
        // T-37: a 304 about another version than the stored one says nothing about that.
        if let (Some(named), Some(known)) = (later.get(ETAG), stale.fields.get(ETAG))
            && opaque(named) != opaque(known)
        {
            self.stale = None;
            return Some(Manner::Whole);
        }
        let mut stored = Stored::clone(stale);
        refresh(&mut stored.fields, later);
        stored.freshness = stored.freshness.updated(Freshness::of(later, self.asked_by(), relayed.exchange));
        stored.variant = Variant::of(&stored.fields, &self.sent.fields);
        stored.marks = Marks::of(&stored.fields, relayed.exchange.received);
        let stored = Arc::new(stored);
        self.gateway.shelf.put(&self.target.url, &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, None, Outcome::NotModified(relayed.head.status)));
        None
    }

    /// The head of a version whose body may be here, at peers, or at the origin in ranges.
    async fn take_description(&mut self, relayed: Relayed) -> Option<Manner> {
        let (Verdict::Described { representation } | Verdict::Whole { representation }) = relayed.verdict.clone()
        else {
            return Some(Manner::Whole);
        };
        let is_large = representation.length.is_some_and(|length| length > MOST_IN_MEMORY);
        let is_here = match representation.entity(&relayed.final_url) {
            Some(entity) => self.holds_some(entity.id()).await,
            None => false,
        };
        if (is_large || is_here) && relayed.head.status == 200 {
            return self.hold(relayed, representation, None).await.map_or(Some(Manner::Whole), |()| None);
        }
        Some(Manner::Whole)
    }

    async fn holds_some(&self, id: EntityId) -> bool {
        let store = self.gateway.store.clone();
        let found =
            tokio::task::spawn_blocking(move || store.find(&id).ok().flatten().is_some_and(|e| !e.held().is_empty()));
        found.await.unwrap_or(false)
    }

    /// Takes the answer to a question about the whole.
    async fn take_answer(&mut self, mut relayed: Relayed) -> Option<Manner> {
        let kept = may_keep(self.target.rules.keeping, &self.sent.fields, &relayed.head);
        if self.sent.is_unkept || kept.is_err() {
            tracing::debug!(url = %self.target.url, why = ?kept.err(), "the answer is passed on and not kept");
            return self.alone(relayed.head, Bytes::new(), relayed.body);
        }
        let representation = match &relayed.verdict {
            Verdict::Whole { representation } => Some(representation.clone()),
            _ => None,
        };
        let Some(body) = relayed.body.take() else {
            return self.stand(&relayed, Growing::whole(Bytes::new(), None), 0);
        };
        let length = length_of(&relayed.head);
        match length {
            _ if links::has_links(&self.target.links, &relayed.head) => self.gather(relayed, body).await,
            Some(length) if length > MOST_IN_MEMORY => {
                let Some(representation) = representation.filter(may_hold) else {
                    return self.alone(relayed.head, Bytes::new(), Some(body));
                };
                let span = Span { start: 0, end: Some(length) };
                self.hold(relayed, representation, Some((span, body))).await.map_or(Some(Manner::Whole), |()| None)
            }
            Some(length) => match self.gateway.room(length) {
                Some(room) => self.grow(relayed, representation, body, (length, room)).await,
                None => self.alone(relayed.head, Bytes::new(), Some(body)),
            },
            None => self.gather(relayed, body).await,
        }
    }

    /// A small body: everybody reads it from memory as it comes.
    async fn grow(
        &mut self,
        relayed: Relayed,
        representation: Option<Representation>,
        body: OriginBody,
        (length, room): (u64, OwnedSemaphorePermit),
    ) -> Option<Manner> {
        let growing = Growing::with_room(Some(room));
        let known = representation.as_ref().map(Representation::known).filter(|known| known.validator.is_some());
        if length > SMALL {
            self.stand(&relayed, growing.clone(), length);
        }
        let is_whole = self.fill(&growing, body, (relayed.final_url.clone(), known), length).await;
        match is_whole {
            Ok(()) => growing.end_whole(),
            Err(refusal) => {
                growing.end_broken();
                self.gateway.shelf.forget(&self.target.url);
                if length <= SMALL && !self.use_stale() {
                    self.land(Landing::Failed(Arc::new(refusal)));
                }
                return None;
            }
        }
        if length <= SMALL {
            self.stand(&relayed, growing.clone(), length);
        }
        if let (Some(representation), Some(bytes)) = (representation, growing.all()) {
            self.save(&relayed, representation, bytes);
        }
        None
    }

    /// Reads a body to its end, taking it up again where it broke off, under If-Range: another version never joins (R-10, T-23).
    async fn fill(
        &self,
        growing: &Growing,
        body: OriginBody,
        (url, known): (ResourceUrl, Option<Known>),
        length: u64,
    ) -> Result<(), Refusal> {
        let mut broken = match read_on(growing, body, length).await {
            Ok(()) => return Ok(()),
            Err(broken) => broken,
        };
        let Some(known) = known else { return Err(broken) };
        let mut tries = 0;
        while tries < RESUMES {
            tokio::time::sleep(RESUME_PAUSE * 2u32.pow(tries)).await;
            tries += 1;
            let first = growing.received();
            let asked = Asked::Range { first, last: Some(length - 1) };
            let request = OriginRequest::new(url.clone(), asked).about(known.clone(), Precondition::IfRange);
            match self.target.origin.open(&request).await {
                Ok(Opened::Body { span, body, .. }) if span.start == first => {
                    match read_on(growing, body, length).await {
                        Ok(()) => return Ok(()),
                        Err(again) => broken = again,
                    }
                }
                Err(error) if is_origins_fault(&error) => broken = Refusal::of_origin(&error),
                // Another version, or no ranges: what was sent cannot be continued.
                _ => return Err(broken),
            }
            if growing.received() > first {
                tries = 0;
            }
        }
        Err(broken)
    }

    /// A body of unknown length: read as far as memory allows, then passed on if that was not all.
    async fn gather(&mut self, mut relayed: Relayed, mut body: OriginBody) -> Option<Manner> {
        let Some(room) = self.gateway.room(MOST_IN_MEMORY) else {
            return self.alone(relayed.head, Bytes::new(), Some(body));
        };
        let mut read = bytes::BytesMut::new();
        loop {
            match body.next().await {
                Ok(Some(bytes)) => {
                    read.extend_from_slice(&bytes);
                    if read.len() as u64 > MOST_IN_MEMORY {
                        return self.alone(relayed.head, read.freeze(), Some(body));
                    }
                }
                Ok(None) => break,
                Err(error) if self.stale.is_some() && is_origins_fault(&error) && self.use_stale() => return None,
                Err(error) => {
                    self.land(Landing::Failed(Arc::new(Refusal::of_origin(&error))));
                    return None;
                }
            }
        }
        let read = read.freeze();
        if matches!(body.end(), BodyEnd::Unproven { .. }) {
            // nobody knows whether that was all.
            return self.alone(relayed.head, read, None);
        }
        if links::has_links(&self.target.links, &relayed.head) {
            let read = links::lead(&self.target.links, &self.gateway.base, &mut relayed.head.headers, &read);
            let length = read.len() as u64;
            // Not the origin's bytes any more: never in the store.
            return self.stand(&relayed, Growing::whole(read, Some(room)), length);
        }
        let length = read.len() as u64;
        self.stand(&relayed, Growing::whole(read.clone(), Some(room)), length);
        if let Verdict::Whole { representation } = relayed.verdict.clone() {
            self.save(&relayed, Representation { length: Some(length), ..representation }, read);
        }
        None
    }

    /// Puts an answer whose body is in memory on the shelf, and lands on it.
    fn stand(&self, relayed: &Relayed, growing: Arc<Growing>, length: u64) -> Option<Manner> {
        let stored = Arc::new(self.stored(relayed, length, Held::Memory(growing)));
        self.gateway.shelf.put(&self.target.url, &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, None, Outcome::Answered(relayed.head.status)));
        None
    }

    /// Has the engine fill an entity of the store, and lands on it; `None` where that cannot be.
    async fn hold(
        &mut self,
        mut relayed: Relayed,
        representation: Representation,
        body: Option<(Span, OriginBody)>,
    ) -> Option<()> {
        let kept = ResponseHead { status: 200, ..relayed.head.clone() };
        if self.sent.is_unkept || may_keep(self.target.rules.keeping, &self.sent.fields, &kept).is_err() {
            return None;
        }
        let length = representation.length.filter(|_| may_hold(&representation))?;
        let freshness = Box::new(Freshness::of(&relayed.head.headers, self.asked_by(), relayed.exchange));
        let span = body.as_ref().map(|(span, _)| (span.start, span.end));
        let facts = contacted(relayed.final_url.clone(), representation, freshness, span);
        let given = Given { facts, body };
        let order = HoldOrder { spec: job(&self.target.url), given, origin: self.target.origin.clone() };
        let holding = self.gateway.driver.hold(order).await.ok()?;
        let id = holding.entity.id();
        let (filling, following) = Filling::start(holding, self.gateway.driver.clone());
        self.gateway.tasks.spawn(following);
        let held = Held::Entity(id, Arc::downgrade(&filling));
        relayed.head.status = 200;
        relayed.head.headers.remove(CONTENT_RANGE);
        let stored = Arc::new(self.stored(&relayed, length, held));
        self.gateway.shelf.put(&self.target.url, &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, Some(filling), Outcome::Answered(200)));
        Some(())
    }

    fn stored(&self, relayed: &Relayed, length: u64, held: Held) -> Stored {
        let headers = &relayed.head.headers;
        let mut fields = storable(headers);
        if !fields.contains_key(DATE) {
            // RFC 9110 section 6.6.1: who receives an answer without a date gives it one.
            fields.insert(DATE, value(&http_date(relayed.exchange.received)));
        }
        Stored {
            status: relayed.head.status,
            freshness: Freshness::of(headers, self.asked_by(), relayed.exchange),
            variant: Variant::of(headers, &self.sent.fields),
            marks: Marks::of(&fields, relayed.exchange.received),
            fields,
            length,
            held,
        }
    }

    /// Gives the answer to the client that caused it, and lets the others ask for themselves.
    fn alone(&mut self, head: ResponseHead, read: Bytes, body: Option<OriginBody>) -> Option<Manner> {
        if let Some(solo) = self.solo.take() {
            // Gone already: then nobody wants it, and the connection closes.
            let _ = solo.send(Solo { head, read, body });
        }
        self.land(Landing::Alone);
        None
    }

    /// Keeps a small body in the store, behind everything else.
    fn save(&self, relayed: &Relayed, representation: Representation, bytes: Bytes) {
        let Some(entity) = representation.entity(&relayed.final_url).filter(|_| may_hold(&representation)) else {
            return;
        };
        let freshness = Freshness::of(&relayed.head.headers, self.asked_by(), relayed.exchange);
        self.gateway.saver.save(&self.target.url, entity, &representation, freshness, bytes);
    }
}

/// Whether a version can be held in the store.
fn may_hold(representation: &Representation) -> bool {
    representation.validator.is_some()
        && representation.storable.is_ok()
        && representation.coding == Coding::Identity
        && representation.length.is_some_and(|length| Geometry::new(length).is_some())
}

/// The job that fills an entity for the gateway.
fn job(url: &ResourceUrl) -> JobSpec {
    let file = FileSpec {
        url: url.clone(),
        destination: String::new(),
        digests: Vec::new(),
        overwrite: false,
        credentials: None,
    };
    JobSpec {
        name: "gateway".to_owned(),
        priority: Priority::Foreground,
        files: vec![file],
        finish: Finish::Auto,
        patience: Patience::Watching,
        peers: PeerUse::FULL,
        asking: Asking::Always,
        terms: Terms::default(),
    }
}

/// Reads a body as far as it goes; why it did not go to the end.
async fn read_on(growing: &Growing, mut body: OriginBody, length: u64) -> Result<(), Refusal> {
    loop {
        match body.next().await {
            Ok(Some(bytes)) => growing.push(bytes),
            Ok(None) if growing.received() == length => return Ok(()),
            Ok(None) => return Err(Refusal::new(StatusCode::BAD_GATEWAY, "the origin's answer ended early")),
            Err(error) => return Err(Refusal::of_origin(&error)),
        }
    }
}

/// The length that a head names.
fn length_of(head: &ResponseHead) -> Option<u64> {
    Framing::of(head).ok()?.length()
}

/// A value that this node has written itself.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn opaque(etag: &HeaderValue) -> &[u8] {
    etag.as_bytes().strip_prefix(b"W/").unwrap_or(etag.as_bytes())
}
