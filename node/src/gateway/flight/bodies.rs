//! Where the body of an answer goes: into memory, where everybody reads it as it comes, or into the store by the engine.

use super::super::alone::Way;
use super::super::fields::Sent;
use super::super::filling::{Filling, Followed, Proof};
use super::super::gathered::{Gathered, OWN_LINKS, QUICK, Wanted, no_room, with_room};
use super::super::growing::Growing;
use super::super::links;
use super::super::promised::{is_by_index, keeps};
use super::super::promises::Page;
use super::super::refusal::{Refusal, is_origins_fault};
use super::super::shelf::{Held, Stored};
use super::super::tally::Tally;
use super::intake::{Broke, Intake};
use super::take::length_of;
use super::{FIRST_RANGE, Flight, Landing, Manner, Outcome, Solo, value};
use crate::config::gateway::Indexes;
use crate::driver::{AheadBody, Given, HoldOrder, Naming, contacted};
use crate::origin::{Opened, OriginBody, OriginRequest, Relayed, Span};
use crate::transfer::recent::Recent;
use bytes::Bytes;
use eddy_cache::Privacy;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::{Freshness, Variant};
use eddy_content::http::http_date;
use eddy_content::http::serve::{Marks, may_keep, storable};
use eddy_content::http::{Asked, BodyEnd, Coding, Known, Precondition, Representation, ResponseHead, Verdict};
use eddy_content::{EntityId, Geometry, ResourceUrl};
use eddy_engine::port::Contacted;
use eddy_engine::{Asking, FileSpec, Finish, JobSpec, Patience, PeerUse, Portion, Priority, Terms};
use eddy_wire::api::Sources;
use http::header::{ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, DATE};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of a body that is read before anybody is told of it: one piece for most small objects. What is false among them is refused with a status.
pub(in crate::gateway) const SMALL: u64 = 64 << 10;
/// Bytes of a large body that stay in memory for readers that keep up: all that comes with the first answer, or less where memory is
/// scarce.
const RECENT: [u64; 2] = [FIRST_RANGE, 2 << 20];
/// Bytes of memory that they leave.
const FOR_PAGES: u64 = 64 << 20;
/// How long an origin that is near takes to answer: as for the ranges of a job (`is_one_enough` in `node/engine/src/planner/line.rs`).
const NEAR: Duration = Duration::from_millis(10);
/// How often a body that breaks off is taken up again without a byte between.
const RESUMES: u32 = 5;
/// The first pause before that; it doubles.
const RESUME_PAUSE: Duration = Duration::from_millis(100);

/// What a body in memory grows from and to.
pub(super) struct Growth {
    /// Its beginning, which is here already.
    pub(super) held: Bytes,
    /// Bytes that it will have.
    pub(super) length: u64,
    /// The memory for them.
    pub(super) room: OwnedSemaphorePermit,
    /// Digests that the whole must keep before anybody sees a byte of it.
    pub(super) digests: Vec<ExpectedDigest>,
}

impl Flight {
    /// A small body: everybody reads it from memory as it comes.
    pub(super) async fn grow(
        &mut self,
        relayed: Relayed,
        representation: Option<Representation>,
        body: OriginBody,
        growth: Growth,
    ) -> Option<Manner> {
        let Growth { held, length, room, digests } = growth;
        let growing = Growing::with_room(Some(room));
        growing.push(held);
        let known = representation.as_ref().map(Representation::known).filter(|known| known.validator.is_some());
        let is_shown = length > SMALL && digests.is_empty();
        let promised = self.promised(&relayed.head);
        if is_shown {
            self.stand(&relayed, growing.clone(), (length, &promised));
        }
        let page = self.page(&relayed.head);
        let mut intake = Intake::new(&growing, length, &self.target.tally, &promised);
        if page.is_some() {
            intake = intake.withholding();
        }
        let again = known.map(|known| self.again(&relayed, known));
        match self.fill(&mut intake, body, again).await {
            Ok(()) => {
                let last = intake.withheld();
                if let Some(kind) = page {
                    let content = growing.followed_by(&last);
                    // What was joined is a page when it is what the origin promised.
                    if keeps(&digests, &content) {
                        self.learn(kind, content).await;
                    }
                }
                growing.push(last);
                growing.end_whole();
            }
            Err(broke) => {
                growing.end_broken();
                self.gateway.shelf.forget(&self.target.url);
                if matches!(broke, Broke::False) {
                    self.distrust(&relayed.head, &promised);
                }
                let refusal = broke.refusal();
                if !is_shown && !self.use_stale() {
                    self.land(Landing::Failed(Arc::new(refusal)));
                }
                return None;
            }
        }
        let bytes = growing.all()?;
        if !keeps(&digests, &bytes) {
            // What was joined is not what the origin promised.
            self.gateway.shelf.forget(&self.target.url);
            return Some(Manner::Whole);
        }
        if !is_shown {
            self.stand(&relayed, growing, (length, &promised));
        }
        if let Some(representation) = representation {
            self.save(&relayed, Representation { length: Some(length), ..representation }, bytes);
        }
        None
    }

    /// Reads a body to its end, taking it up again where it broke off, under If-Range: another version never joins (R-10, T-23).
    async fn fill(&self, intake: &mut Intake<'_>, body: OriginBody, again: Option<OriginRequest>) -> Result<(), Broke> {
        let mut broken = match intake.read(body).await {
            Ok(()) => return Ok(()),
            Err(broken) => broken,
        };
        let mut tries = 0;
        while let (Broke::Off(_), Some(again), true) = (&broken, &again, tries < RESUMES) {
            tokio::time::sleep(RESUME_PAUSE * 2u32.pow(tries)).await;
            tries += 1;
            let first = intake.received();
            let asked = Asked::Range { first, last: Some(intake.length() - 1) };
            let request = OriginRequest { asked, ..again.clone() };
            match self.target.origin.open(&request).await {
                Ok(Opened::Body { span, body, .. }) if span.start == first => match intake.read(body).await {
                    Ok(()) => return Ok(()),
                    Err(again) => broken = again,
                },
                Err(error) if is_origins_fault(&error) => broken = Broke::Off(Refusal::of_origin(&error)),
                // Another version, or no ranges: what was sent cannot be continued.
                _ => break,
            }
            if intake.received() > first {
                tries = 0;
            }
        }
        Err(broken)
    }

    /// A body of unknown length, or one whose links are replaced: read as far as memory allows, then passed on if that was not all. A page that
    /// may not be kept has its links replaced all the same.
    pub(super) async fn gather(&mut self, mut relayed: Relayed, mut body: OriginBody) -> Option<Manner> {
        let about = (relayed.head.status, &relayed.head.headers);
        let has_links = links::has_links(&self.target.links, &self.target.url, about);
        let wanted = if has_links { Wanted::Page(length_of(&relayed.head)) } else { Wanted::Body };
        let (read, mut room) = match self.gateway.gathered(&mut body, wanted, &self.target.tally).await {
            Gathered::All(read, room) => (read, room),
            Gathered::NoRoom(_) if has_links => return self.fail(no_room()),
            Gathered::TooLong(read) if has_links => {
                self.target.tally.long_page(&self.target.url);
                let promised = self.promised(&relayed.head);
                let (head, detail) = (relayed.head, Some(OWN_LINKS));
                return self.hand(Solo { head, promised, read, body: Some(body), detail });
            }
            Gathered::NoRoom(read) | Gathered::TooLong(read) => return self.alone(relayed.head, read, Some(body)),
            Gathered::Broken(error) if self.stale.is_some() && is_origins_fault(&error) && self.use_stale() => {
                return None;
            }
            Gathered::Broken(error) => return self.fail(Refusal::of_origin(&error)),
        };
        let promised = self.promised(&relayed.head);
        if !keeps(&promised, &read) {
            self.distrust(&relayed.head, &promised);
            return self.fail(Broke::False.refusal());
        }
        // elsewhere nobody knows whether that was all.
        let is_proven = !matches!(body.end(), BodyEnd::Unproven { .. });
        if let Some(kind) = self.page(&relayed.head).filter(|_| is_proven) {
            self.learn(kind, read.clone()).await;
        }
        if has_links {
            let is_kept = is_proven && self.is_kept(&relayed.head);
            let led = match self.gateway.led(&self.target, &mut relayed.head.headers, read).await {
                Ok(led) => led,
                Err(refusal) => return self.fail(refusal),
            };
            let length = led.len() as u64;
            if !self.gateway.refit(&mut room, length).await {
                return self.fail(no_room());
            }
            if is_kept {
                // Not the origin's bytes any more: never in the store.
                let held = Held::Memory(Growing::whole(led, Some(room)));
                let stored = self.stored(&relayed, held, (length, &promised)).led();
                return self.place(stored, relayed.head.status);
            }
            // What was promised was of the page as it came.
            let read = with_room(led, room);
            return self.hand(Solo { head: relayed.head, promised: Vec::new(), read, body: None, detail: None });
        }
        if !is_proven {
            return self.alone(relayed.head, with_room(read, room), None);
        }
        let length = read.len() as u64;
        self.stand(&relayed, Growing::whole(read.clone(), Some(room)), (length, &promised));
        if let Verdict::Whole { representation } = relayed.verdict.clone() {
            self.save(&relayed, Representation { length: Some(length), ..representation }, read);
        }
        None
    }

    /// A question about more of this version: as one whom a redirect has led there, where one has, with what proves who asks.
    fn again(&self, relayed: &Relayed, known: Known) -> OriginRequest {
        let about = OriginRequest::new(relayed.final_url.clone(), Asked::Whole).about(known, Precondition::IfRange);
        let personal = self.sent.leave.as_ref().map(|leave| leave.personal()).unwrap_or_default();
        OriginRequest { personal, led_by: relayed.led_by, ..about }
    }

    /// Has a file that broke the word of an index not fetched again for a while.
    fn distrust(&self, head: &ResponseHead, promised: &[ExpectedDigest]) {
        if is_by_index(&self.target, &head.headers) {
            self.gateway.distrusted.note(&self.target.url, promised, Instant::now());
        }
    }

    /// Whether an answer may be kept for others.
    fn is_kept(&self, head: &ResponseHead) -> bool {
        !self.sent.is_unkept && may_keep(self.target.rules.keeping, &self.sent.fields, head).is_ok()
    }

    /// The type of a page from which something may be learned.
    pub(super) fn page(&self, head: &ResponseHead) -> Option<String> {
        let kind =
            head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("").to_ascii_lowercase();
        let is_plain = head.status == 200 && !head.headers.contains_key(CONTENT_ENCODING);
        let is_page = self.target.rules.indexes == Indexes::Believed && is_plain;
        (is_page && self.gateway.promises.may_name(&self.target.url, &kind)).then_some(kind)
    }

    /// Learns what a page says of others, before its client can ask for them. A long one is not read where others are served.
    async fn learn(&self, kind: String, content: Bytes) {
        let (gateway, target) = (self.gateway.clone(), self.target.clone());
        let is_quick = content.len() <= QUICK;
        let learning = move || {
            let page = Page { url: &target.url, kind: &kind, content: &content, links: &target.links };
            gateway.promises.learn(&page);
        };
        if is_quick {
            return learning();
        }
        // Nothing learned is nothing checked.
        let _ = tokio::task::spawn_blocking(learning).await;
    }

    /// Puts an answer whose body is in memory on the shelf, and lands on it.
    pub(super) fn stand(
        &self,
        relayed: &Relayed,
        growing: Arc<Growing>,
        facts: (u64, &[ExpectedDigest]),
    ) -> Option<Manner> {
        self.place(self.stored(relayed, Held::Memory(growing), facts), relayed.head.status)
    }

    fn place(&self, stored: Stored, status: u16) -> Option<Manner> {
        let stored = Arc::new(stored);
        self.gateway.shelf.put(self.target.key(), &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, None, Outcome::Answered(status)));
        None
    }

    /// Has the engine fill an entity of the store, and lands on it; `None` where that cannot be.
    pub(super) async fn hold(
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
        let id = representation.entity(&relayed.final_url)?.id();
        let known = representation.known();
        let freshness = Box::new(Freshness::of(&relayed.head.headers, self.asked_by(), relayed.exchange));
        let span = body.as_ref().map(|(span, _)| (span.start, span.end));
        // Of digests only the promised one is looked at in the end: members are believed as if the origin had named none.
        let promised = self.promised(&kept);
        let representation = Representation { digests: Vec::new(), ..representation };
        let facts = contacted(relayed.final_url.clone(), representation, freshness, span);
        let facts = Contacted { waited: self.waited, ..facts };
        let privacy = if facts.shareable { Privacy::Shareable } else { Privacy::Private };
        // A hub's redirect leads elsewhere each time.
        let is_asked_again = self.linked(&kept).is_some() || self.sent.leave.is_some();
        let naming = if is_asked_again { Naming::Asked(privacy) } else { Naming::Place };
        // Where the body is here, its first bytes wait for nobody; else the entity is awaited, and who fills it.
        let begins = span.is_some_and(|(start, _)| start == 0);
        let is_whole = span.is_some_and(|(start, end)| start == 0 && end == Some(length));
        let recent = if begins { self.recent() } else { None };
        let body = body.map(|(span, body)| {
            let (ahead, reading) = AheadBody::begin(body, span, recent.clone());
            let stop = self.gateway.stop.clone();
            self.gateway.tasks.spawn(async move { stop.run_until_cancelled_owned(reading).await });
            (span, ahead)
        });
        let origin = self.target.origin.clone();
        let order = HoldOrder {
            spec: job(&self.target.url, promised.clone(), &self.sent),
            given: Given { facts, body, led_by: relayed.led_by },
            recent: recent.clone(),
            origin,
            naming,
        };
        let (driver, tally) = (self.gateway.driver.clone(), self.target.tally.clone());
        let (origin, question) = (self.target.origin.clone(), self.again(&relayed, known));
        let way = Way { origin, question, tally: tally.clone() };
        let word = if promised.is_empty() || !is_by_index(&self.target, &kept.headers) {
            Word::OfName
        } else {
            Word::OfIndex(self.holding(id).await, length)
        };
        let held_against = promised.clone();
        let filling = match recent {
            Some(recent) => {
                // From a near origin the whole is in memory before the store has made its place. What is promised is held against that there.
                let is_near = self.waited.is_some_and(|waited| waited <= NEAR);
                let waits = is_near && is_whole && length <= recent.most() / 16 * 15 && promised.is_empty();
                let filling = Filling::coming(length, promised, recent, way);
                let filled = filling.clone();
                self.follow((id, tally, word), async move {
                    if waits {
                        filled.let_readers_go_first().await;
                    }
                    filled.fill(order, &driver).await
                });
                filling
            }
            None => {
                let holding = match driver.hold(order).await {
                    Ok(holding) => holding,
                    Err(refusal) => {
                        tracing::warn!(url = %self.target.url, why = %refusal, "the store does not take a file");
                        self.is_refused = true;
                        return None;
                    }
                };
                let filling = Filling::of(&holding, promised, way);
                let followed = filling.clone();
                self.follow((id, tally, word), async move { followed.follow(holding.job, &driver).await });
                filling
            }
        };
        let held = Held::Entity(id, Arc::downgrade(&filling));
        relayed.head.status = 200;
        relayed.head.headers.remove(CONTENT_RANGE);
        let stored = Arc::new(self.stored(&relayed, held, (length, &held_against)));
        self.gateway.shelf.put(self.target.key(), &self.sent.fields, stored.clone());
        self.land(Landing::Stored(stored, Some(filling), Outcome::Answered(200)));
        Some(())
    }

    /// How much of an entity the store holds.
    async fn holding(&self, id: EntityId) -> Before {
        let store = self.gateway.store.clone();
        let found = tokio::task::spawn_blocking(move || match store.find(&id) {
            Ok(Some(entity)) if entity.is_complete() => Before::All,
            Ok(Some(entity)) if entity.held().is_empty() => Before::Nothing,
            Ok(None) => Before::Nothing,
            _ => Before::Some,
        });
        found.await.unwrap_or(Before::Some)
    }

    /// Has a filling followed to its end. What is not as promised is forgotten, and so is what nobody could hold against that: who asks next
    /// does. The store loses what may be false, and not what an index alone says is false.
    fn follow(
        &self,
        (id, tally, word): (EntityId, Arc<Tally>, Word),
        following: impl Future<Output = Followed> + Send + 'static,
    ) {
        let (gateway, url) = (self.gateway.clone(), self.target.url.clone());
        self.gateway.tasks.spawn(async move {
            let Followed { sources, proof } = following.await;
            tally.job(sources);
            if proof == Proof::Kept {
                return;
            }
            gateway.shelf.forget(&url);
            if proof == Proof::False {
                tracing::warn!(%url, "the origin's bytes are not those that the name promises");
                if word.condemns(sources) {
                    gateway.discard(id).await;
                }
            }
        });
    }

    /// Memory for the newest bytes of a large body. Some is left for pages, which need it more: these bytes are in the store as well.
    fn recent(&self) -> Option<Recent> {
        let is_left = |most: &u64| self.gateway.room.available_permits() as u64 * 1024 >= most + FOR_PAGES;
        let mut fitting = RECENT.into_iter().filter(is_left);
        fitting.find_map(|most| Some(Recent::new(most, Some(self.gateway.room(most)?))))
    }

    /// What is stored of an answer: so many bytes, which keep these promises or are never all shown.
    fn stored(&self, relayed: &Relayed, held: Held, (length, promised): (u64, &[ExpectedDigest])) -> Stored {
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
            languages: self.sent.fields.get(ACCEPT_LANGUAGE).cloned(),
            proved: promised.to_vec(),
            is_led: false,
            marks: Marks::of(&fields, relayed.exchange.received),
            fields,
            length,
            held,
        }
    }

    /// Gives the answer to the client that caused it, and lets the others ask for themselves.
    pub(super) fn alone(&mut self, head: ResponseHead, read: Bytes, body: Option<OriginBody>) -> Option<Manner> {
        let promised = self.promised(&head);
        self.hand(Solo { head, promised, read, body, detail: None })
    }

    fn hand(&mut self, answer: Solo) -> Option<Manner> {
        if let Some(solo) = self.solo.take() {
            // Gone already: then nobody wants it, and the connection closes.
            let _ = solo.send(answer);
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

/// Whose word a promise is.
#[derive(Clone, Copy)]
enum Word {
    /// The file's own name's, or its hub's.
    OfName,
    /// An index's; with what was held before, and the bytes of the whole.
    OfIndex(Before, u64),
}

/// What the store held of an entity before a job filled it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Some,
    All,
}

impl Word {
    /// Whether bytes that break it leave the store. An index's word may be the false one: what was whole before, and what the origin alone has
    /// sent, stays, is given to nobody to whom that is promised, and need not be fetched to see that. On one member's word nothing stays.
    fn condemns(self, sources: Sources) -> bool {
        match self {
            Self::OfName | Self::OfIndex(Before::Some, _) => true,
            Self::OfIndex(Before::All, _) => sources.peers > 0,
            Self::OfIndex(Before::Nothing, length) => sources.peers > 0 || sources.origin < length,
        }
    }
}

/// Whether a version can be held in the store.
pub(super) fn may_hold(representation: &Representation) -> bool {
    representation.validator.is_some()
        && representation.storable.is_ok()
        && representation.coding == Coding::Identity
        && representation.length.is_some_and(|length| Geometry::new(length).is_some())
}

/// The job that fills an entity for the gateway.
fn job(url: &ResourceUrl, digests: Vec<ExpectedDigest>, sent: &Sent) -> JobSpec {
    let headers = sent.leave.as_ref().map(|leave| leave.fields()).unwrap_or_default();
    let file = FileSpec {
        url: url.clone(),
        destination: String::new(),
        // On this rung one member may give what it holds; it is checked before the last block is shown.
        digests,
        overwrite: false,
        credentials: None,
        portion: Portion::Whole,
    };
    JobSpec {
        name: "gateway".to_owned(),
        priority: Priority::Foreground,
        files: vec![file],
        finish: Finish::Auto,
        patience: Patience::Watching,
        peers: PeerUse::FULL,
        asking: Asking::Always,
        terms: Terms { headers, ..Terms::default() },
    }
}

/// Reads a body as far as it goes; why it did not go to the end.
pub(in crate::gateway) async fn read_on(
    growing: &Growing,
    body: OriginBody,
    (length, tally): (u64, &Tally),
) -> Result<(), Refusal> {
    Intake::new(growing, length, tally, &[]).read(body).await.map_err(Broke::refusal)
}
