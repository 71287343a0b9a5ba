//! One request: which resource it means, whether what is stored answers it, and else what does.

use super::Gateway;
use super::answer::{Here, Wanted, answer};
use super::body::{AnswerBody, Broken};
use super::content::collect;
use super::fields::Sent;
use super::filling::let_go;
use super::flight::{Broke, Landing, Outcome, Place, Solo, Target, Waits};
use super::links;
use super::refusal::Refusal;
use super::shelf::{Held, Look, Stored};
use crate::config::gateway::UnsafeMethods;
use crate::driver::held::wall_clock;
use crate::origin::{Redirects, RelayRequest};
use eddy_cache::EntityHandle;
use eddy_content::http::freshness::Question;
use eddy_content::http::serve::{
    AskFirst, CacheStatus, Condition, Forwarded, Found, Keeping, Name, RequestDirectives, Reuse, Selected, condition,
    invalidated, may_range, name_of, reuse, select,
};
use eddy_content::http::{Asked, RequestPrivacy};
use eddy_content::{BLOCK_SIZE, ResourceUrl};
use http::header::{ALLOW, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION, RANGE, TRANSFER_ENCODING, VIA};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

pub(super) type Answer = Result<Response<AnswerBody>, Refusal>;

/// A request, taken apart.
pub(super) struct Call {
    pub(super) target: Target,
    pub(super) method: Method,
    pub(super) fields: HeaderMap,
    pub(super) sent: Sent,
}

/// An answer of which nothing is lost before its head is out: one that would break off before its first byte is a refusal.
async fn begun(answered: Answer) -> Answer {
    let mut answered = answered?;
    match answered.body_mut().begin().await {
        Ok(()) => Ok(answered),
        Err(Broken::False) => Err(Broke::False.refusal()),
        Err(why @ Broken::Off) => Err(Refusal::new(StatusCode::BAD_GATEWAY, why.to_string())),
    }
}

impl Gateway {
    /// Answers a request for a target.
    pub(super) async fn serve(self: &Arc<Self>, target: Target, request: Request<Incoming>) -> Response<AnswerBody> {
        let (parts, content) = request.into_parts();
        let sent = Sent::of(&parts.headers, target.rules.fields);
        let call = Call { target, method: parts.method, fields: parts.headers, sent };
        call.target.tally.request();
        let is_safe = matches!(call.method, Method::GET | Method::HEAD);
        let answered =
            if is_safe { self.cached(&call, &content).await } else { self.unsafe_method(&call, content).await };
        match begun(answered).await {
            Ok(mut answered) => {
                self.lead_on(&call.target, &mut answered);
                answered
            }
            Err(refusal) => {
                call.target.tally.refusal();
                refusal.answer()
            }
        }
    }

    /// Has a redirect that is passed on lead through the gateway.
    fn lead_on(&self, target: &Target, answered: &mut Response<AnswerBody>) {
        if !answered.status().is_redirection() && answered.status() != StatusCode::CREATED {
            return;
        }
        let place = answered.headers().get(LOCATION).and_then(|place| place.to_str().ok());
        let led = place.and_then(|place| links::location(target, place));
        if let Some(led) = led.and_then(|led| HeaderValue::from_str(&led).ok()) {
            answered.headers_mut().insert(LOCATION, led);
        }
    }

    async fn cached(self: &Arc<Self>, call: &Call, content: &Incoming) -> Answer {
        // RFC 9110 section 9.3.1: content in a GET means nothing, and is how requests are smuggled (T-38).
        if !content.is_end_stream() || call.fields.contains_key(TRANSFER_ENCODING) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "a request of this method has no content"));
        }
        if call.sent.privacy == RequestPrivacy::Personal {
            return self.personal(call).await;
        }
        self.shared(call).await
    }

    /// Answers from what is kept, or by a flight that others may be on.
    pub(super) async fn shared(self: &Arc<Self>, call: &Call) -> Answer {
        let directives = RequestDirectives::of(&call.fields);
        let (look, fields) = self.look(call);
        let (why, stale) = match look {
            Look::Here(stored) => match self.may_use((&stored, &fields), call, &directives) {
                Reuse::Fresh { .. } | Reuse::StaleAllowed | Reuse::WhileAsking if !is_enough(&stored, call) => {
                    (Forwarded::Partial, Some(stored))
                }
                Reuse::Fresh { seconds } => {
                    let status = hit(Some(i64::from(seconds)));
                    return match self.open(&stored, call).await {
                        Some(here) => Ok(self.from(&stored, here, call, status)),
                        None => self.after_loss(call, &stored).await,
                    };
                }
                found @ (Reuse::StaleAllowed | Reuse::WhileAsking) => {
                    let Some(here) = self.open(&stored, call).await else {
                        return self.after_loss(call, &stored).await;
                    };
                    if found == Reuse::WhileAsking {
                        drop(self.board((&call.target, &call.sent), Some(stored.clone()), Waits::Nobody));
                    }
                    return Ok(self.from(&stored, here, call, hit(None)));
                }
                Reuse::Ask(why) => {
                    let why = if why == AskFirst::Request { Forwarded::Request } else { Forwarded::Stale };
                    (why, Some(stored))
                }
            },
            Look::OtherVariant => (Forwarded::VaryMiss, None),
            Look::Nothing => (Forwarded::UriMiss, None),
        };
        if directives.only_if_cached {
            // RFC 9111 section 5.2.1.7.
            return Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "it is not held, and the request forbids asking for it",
            ));
        }
        self.ask(call, (why, stale)).await
    }

    /// What the shelf has, and the fields under which it has it.
    fn look<'a>(&self, call: &'a Call) -> (Look, Cow<'a, HeaderMap>) {
        let (key, fields) = (call.target.key(), &call.sent.fields);
        let look = self.shelf.look(key, fields);
        if let Look::Here(stored) = &look
            && self.is_unfit(stored, &call.target)
        {
            return (Look::Nothing, Cow::Borrowed(fields));
        }
        if matches!(look, Look::OtherVariant)
            && let Some(like) = self.shelf.in_favourite_language(key, fields)
        {
            return match self.shelf.look(key, &like) {
                Look::Here(stored) if self.is_unfit(&stored, &call.target) => (Look::Nothing, Cow::Borrowed(fields)),
                look => (look, Cow::Owned(like)),
            };
        }
        (look, Cow::Borrowed(fields))
    }

    /// Whether this is none for who asks here: something is promised by now that nobody has held it against, or it was no page when it came. Of
    /// parts nothing is promised.
    fn is_unfit(&self, stored: &Stored, target: &Target) -> bool {
        let about = (stored.status, &stored.fields);
        let is_proved = matches!(stored.held, Held::Parts(_))
            || self.promised(target, about).iter().all(|digest| stored.proved.contains(digest));
        stored.is_led != links::has_links(&target.links, &target.url, about) || !is_proved
    }

    /// The store has lost the body of what was on the shelf: once more, from the origin.
    async fn after_loss(self: &Arc<Self>, call: &Call, lost: &Arc<Stored>) -> Answer {
        self.shelf.lose(&call.target.url, lost);
        self.ask(call, (Forwarded::UriMiss, None)).await
    }

    fn may_use(&self, (stored, fields): (&Stored, &HeaderMap), call: &Call, directives: &RequestDirectives) -> Reuse {
        let question = Question { fields, privacy: call.sent.privacy };
        let now = wall_clock();
        let found = reuse((&stored.freshness, &stored.fields), directives, question, now);
        if call.target.rules.keeping == Keeping::AsRfc {
            return found;
        }
        // Most are simply fresh: a name is looked at where it matters.
        let is_immutable = || name_of(&call.target.url) == Name::Immutable && stored.status == 200;
        match found {
            // What is published once under its name does not change, whatever lifetime was named for it.
            Reuse::Ask(AskFirst::Stale(_)) if is_immutable() => Reuse::Fresh { seconds: 0 },
            // A guess is not good enough for an index that changes under one name.
            Reuse::Fresh { .. } if stored.freshness.is_guessed() && !is_immutable() => {
                Reuse::Ask(AskFirst::NotFreshEnough)
            }
            found => found,
        }
    }

    /// Asks the origin, together with all who want the same; where the body of what it calls still good is lost, once more without that, and then
    /// what the store holds of it is gone on with. Where that is lost as well the client is answered alone.
    async fn ask(self: &Arc<Self>, call: &Call, (why, stale): (Forwarded, Option<Arc<Stored>>)) -> Answer {
        if let Some(answered) = self.ask_once(call, (why, stale)).await? {
            return Ok(answered);
        }
        // Another may have asked meanwhile.
        let stale = match self.look(call).0 {
            Look::Here(stored) => Some(stored),
            Look::Nothing | Look::OtherVariant => None,
        };
        match self.ask_once(call, (why, stale)).await? {
            Some(answered) => Ok(answered),
            None => self.pass(call, why).await,
        }
    }

    /// The same; nothing where it ended with what is lost, which the shelf has forgotten by then.
    async fn ask_once(
        self: &Arc<Self>,
        call: &Call,
        (why, stale): (Forwarded, Option<Arc<Stored>>),
    ) -> Result<Option<Response<AnswerBody>>, Refusal> {
        let all = 0..u64::MAX;
        // `bytes=0-` is the whole by another name.
        let is_range = call.fields.contains_key(RANGE) && select(&call.fields, u64::MAX) != Selected::Ranges(vec![all]);
        let is_flying = self.is_flying(&call.target, &call.sent);
        let has_whole = stale.as_ref().is_some_and(|stored| !matches!(stored.held, Held::Parts(_)));
        // A part of what is not here is not worth the whole: passed on as it comes.
        let is_part = is_range && !has_whole && !is_flying && !self.is_in_store(&call.target.url).await;
        if is_part || call.method == Method::HEAD && !is_flying {
            return self.pass(call, why).await.map(Some);
        }
        if !is_flying && self.is_distrusted(&call.target) {
            let text = "a moment ago the origin's bytes were not those that an index promises; they are asked for again in a minute";
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, text));
        }
        let Place { mut landing, solo } = self.board((&call.target, &call.sent), stale, Waits::Client)?;
        let is_collapsed = solo.is_none();
        let landed = landing.wait_for(Option::is_some).await.map(|landed| landed.clone());
        // The flight's task is gone without a word: the node stops.
        let Ok(Some(landed)) = landed else {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops"));
        };
        match landed {
            Landing::Failed(refusal) => Err(Refusal::clone(&refusal)),
            // It has begun before something was promised.
            Landing::Stored(stored, ..) if self.is_unfit(&stored, &call.target) => self.pass(call, why).await.map(Some),
            Landing::Stored(stored, filling, outcome) => {
                let here = match filling {
                    Some(filling) => Here::Entity(filling),
                    None => match self.open(&stored, call).await {
                        Some(here) => here,
                        None => {
                            // Who asks again is to meet neither of them.
                            self.shelf.lose(&call.target.url, &stored);
                            self.flights.leave((&call.target, &call.sent), &landing);
                            return Ok(None);
                        }
                    },
                };
                let (found, origin_status) = match outcome {
                    Outcome::Answered(status) => (Found::Forwarded(why), Some(status)),
                    Outcome::NotModified(status) => (Found::Forwarded(why), Some(status)),
                    Outcome::Failed => (Found::Hit, None),
                };
                let status = CacheStatus { found, origin_status, ttl: None, is_collapsed, detail: None };
                Ok(Some(self.from(&stored, here, call, status)))
            }
            Landing::Alone => match solo {
                Some(solo) => match solo.await {
                    Ok(Solo { head, promised, read, body, detail }) => {
                        let content = self.content(call, &promised, (read, body)).await?;
                        Ok(Some(self.relay(call, &head, content, (why, detail))))
                    }
                    Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops")),
                },
                None => self.pass(call, why).await.map(Some),
            },
        }
    }

    /// Whether the store holds something of a URL. Of most that it holds nothing of, that is known without a look.
    pub(super) async fn is_in_store(&self, url: &ResourceUrl) -> bool {
        if !self.store.may_have(url) {
            return false;
        }
        let (store, url) = (self.store.clone(), url.clone());
        let found = tokio::task::spawn_blocking(move || store.latest(&url)).await;
        matches!(found, Ok(Ok(Some(record))) if record.held_blocks > 0)
    }

    /// Where the bytes of a stored answer are read; `None` when they are gone. For a call that gets ranges, those are enough.
    async fn open(&self, stored: &Stored, call: &Call) -> Option<Here> {
        match &stored.held {
            Held::Memory(growing) => (!growing.is_broken()).then(|| Here::Memory(growing.clone())),
            Held::Parts(parts) => Some(Here::Parts(parts.clone())),
            Held::Entity(id, filling) => {
                if let Some(filling) = filling.upgrade() {
                    return Some(Here::Entity(filling));
                }
                let (store, id) = (self.store.clone(), *id);
                let found = tokio::task::spawn_blocking(move || store.find(&id)).await;
                let entity = found.ok()?.ok()??;
                let gets_ranges = call.method == Method::GET && may_range(&call.fields, &stored.marks);
                let selected = if gets_ranges { select(&call.fields, stored.length) } else { Selected::Whole };
                let is_here = match selected {
                    Selected::Ranges(ranges) => holds(&entity, &ranges),
                    Selected::Whole | Selected::Unsatisfiable => entity.is_complete(),
                };
                if !is_here {
                    let_go(entity);
                    return None;
                }
                self.found(&call.target, stored, entity).await
            }
        }
    }

    fn from(&self, stored: &Stored, here: Here, call: &Call, status: CacheStatus) -> Response<AnswerBody> {
        let wanted = Wanted { method: &call.method, fields: &call.fields };
        let kind = call.target.tally.answer(&status);
        let mut answered = answer(stored, here, wanted, (status, wall_clock()));
        answered.headers_mut().append(VIA, self.via.clone());
        answered.map(|body| body.counted(&call.target.tally, kind))
    }

    /// A method that may change something: refused, or forwarded and what it changes forgotten (RFC 9111 section 4.4; R-58).
    async fn unsafe_method(self: &Arc<Self>, call: &Call, content: Incoming) -> Answer {
        let is_listed = !matches!(call.method, Method::CONNECT | Method::TRACE);
        if call.target.rules.unsafe_methods == UnsafeMethods::Refuse || !is_listed {
            call.target.tally.refusal();
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here");
            let mut answered = refusal.answer();
            answered.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answered);
        }
        let content = collect(&self.room, content).await?;
        let mut fields = Sent::of(&call.fields, crate::config::gateway::Fields::All).with_conditions(&call.fields);
        fields.remove(CONTENT_LENGTH);
        let request = RelayRequest {
            url: call.target.url.clone(),
            method: call.method.clone(),
            fields,
            content: Some(content),
            asked: Asked::Whole,
            redirects: Redirects::Pass,
            privacy: RequestPrivacy::Personal,
        };
        let relayed = call.target.origin.relay(request).await.map_err(|error| Refusal::of_origin(&error))?;
        if call.method != Method::OPTIONS {
            for url in invalidated(&call.target.url, relayed.head.status, &relayed.head.headers) {
                self.shelf.forget(&url.with_normal_path());
            }
        }
        self.posted(call, relayed).await
    }
}

/// Whether what is stored answers the call: parts may hold other bytes than it wants.
fn is_enough(stored: &Stored, call: &Call) -> bool {
    let Held::Parts(parts) = &stored.held else { return true };
    let is_bare = call.method == Method::HEAD || condition(&call.fields, &stored.marks) != Condition::Proceed;
    let wants_ranges = may_range(&call.fields, &stored.marks);
    is_bare || wants_ranges && parts.satisfy(&call.fields, stored.length)
}

/// Whether all blocks of these ranges are held.
fn holds(entity: &EntityHandle, ranges: &[Range<u64>]) -> bool {
    let held = entity.held();
    ranges.iter().all(|range| {
        let blocks = (range.start / BLOCK_SIZE) as u32..range.end.div_ceil(BLOCK_SIZE) as u32;
        held.runs().any(|run| run.start <= blocks.start && blocks.end <= run.end)
    })
}

fn hit(ttl: Option<i64>) -> CacheStatus {
    CacheStatus { found: Found::Hit, origin_status: None, ttl, is_collapsed: false, detail: None }
}
