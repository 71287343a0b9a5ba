//! One request: which resource it means, whether what is stored answers it, and else what does.

use super::answer::{Here, Wanted, answer, reply, say};
use super::body::{AnswerBody, Broken, pieces};
use super::fields::Sent;
use super::filling::Filling;
use super::flight::{Landing, Outcome, Place, Solo, Target};
use super::refusal::Refusal;
use super::shelf::{Held, Look, Stored};
use super::{Gateway, MAX_CONTENT};
use crate::config::gateway::UnsafeMethods;
use crate::driver::held::wall_clock;
use crate::origin::{OriginBody, Redirects, RelayRequest};
use bytes::{Bytes, BytesMut};
use eddy_content::http::freshness::Question;
use eddy_content::http::serve::{
    AskFirst, CacheStatus, Forwarded, Found, Keeping, Name, RequestDirectives, Reuse, end_to_end, invalidated, name_of,
    reuse,
};
use eddy_content::http::{Asked, RequestPrivacy, ResponseHead};
use http::header::{ALLOW, CONTENT_LENGTH, DATE, HeaderMap, HeaderValue, RANGE, TRANSFER_ENCODING, VIA};
use http::{Method, Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use std::pin::Pin;
use std::sync::Arc;

type Answer = Result<Response<AnswerBody>, Refusal>;

/// A request, taken apart.
struct Call {
    target: Target,
    method: Method,
    fields: HeaderMap,
    sent: Sent,
}

impl Gateway {
    /// Answers a request for a target.
    pub(super) async fn serve(self: &Arc<Self>, target: Target, request: Request<Incoming>) -> Response<AnswerBody> {
        let (parts, content) = request.into_parts();
        let sent = Sent::of(&parts.headers, target.rules.fields);
        let call = Call { target, method: parts.method, fields: parts.headers, sent };
        let is_safe = matches!(call.method, Method::GET | Method::HEAD);
        let answered =
            if is_safe { self.cached(&call, &content).await } else { self.unsafe_method(&call, content).await };
        answered.unwrap_or_else(|refusal| refusal.answer())
    }

    async fn cached(self: &Arc<Self>, call: &Call, content: &Incoming) -> Answer {
        // RFC 9110 section 9.3.1: content in a GET means nothing, and is how requests are smuggled (T-38).
        if !content.is_end_stream() || call.fields.contains_key(TRANSFER_ENCODING) {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "a request of this method has no content"));
        }
        let directives = RequestDirectives::of(&call.fields);
        if call.sent.privacy == RequestPrivacy::Personal {
            return self.pass(call, Forwarded::Request).await;
        }
        let look = self.shelf.look(&call.target.url, &call.sent.fields);
        let (why, stale) = match look {
            Look::Here(stored) => match self.may_use(&stored, call, &directives) {
                Reuse::Fresh { seconds } => {
                    let status = hit(Some(i64::from(seconds)));
                    return match self.open(&stored).await {
                        Some(here) => Ok(self.from(&stored, here, call, status)),
                        None => self.after_loss(call).await,
                    };
                }
                Reuse::StaleAllowed | Reuse::WhileAsking if self.open(&stored).await.is_none() => {
                    return self.after_loss(call).await;
                }
                found @ (Reuse::StaleAllowed | Reuse::WhileAsking) => {
                    if found == Reuse::WhileAsking {
                        drop(self.board(&call.target, &call.sent, Some(stored.clone())));
                    }
                    let here = self.open(&stored).await.ok_or_else(lost)?;
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

    /// The store has lost the body of what was on the shelf: once more, from the origin.
    async fn after_loss(self: &Arc<Self>, call: &Call) -> Answer {
        self.shelf.forget(&call.target.url);
        self.ask(call, (Forwarded::UriMiss, None)).await
    }

    fn may_use(&self, stored: &Stored, call: &Call, directives: &RequestDirectives) -> Reuse {
        let question = Question { fields: &call.sent.fields, privacy: call.sent.privacy };
        let now = wall_clock();
        let found = reuse((&stored.freshness, &stored.fields), directives, question, now);
        if call.target.rules.keeping == Keeping::AsRfc {
            return found;
        }
        let is_immutable = name_of(&call.target.url) == Name::Immutable && stored.status == 200;
        match found {
            // What is published once under its name does not change, whatever lifetime was named for it.
            Reuse::Ask(AskFirst::Stale(_)) if is_immutable => Reuse::Fresh { seconds: 0 },
            // A guess is not good enough for an index that changes under one name.
            Reuse::Fresh { .. } if stored.freshness.is_guessed() && !is_immutable => {
                Reuse::Ask(AskFirst::NotFreshEnough)
            }
            found => found,
        }
    }

    async fn ask(self: &Arc<Self>, call: &Call, (why, stale): (Forwarded, Option<Arc<Stored>>)) -> Answer {
        let is_range = call.fields.contains_key(RANGE);
        let is_flying = self.is_flying(&call.target.url, &call.sent);
        // A part of what is not here is not worth the whole: passed on as it comes.
        let is_part = is_range && stale.is_none() && !is_flying && !self.is_in_store(call).await;
        if is_part || call.method == Method::HEAD && !is_flying {
            return self.pass(call, why).await;
        }
        let Place { mut landing, solo } = self.board(&call.target, &call.sent, stale);
        let is_collapsed = solo.is_none();
        let landed = landing.wait_for(Option::is_some).await.map(|landed| landed.clone());
        // The flight's task is gone without a word: the node stops.
        let Ok(Some(landed)) = landed else {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops"));
        };
        match landed {
            Landing::Failed(refusal) => Err(Refusal::clone(&refusal)),
            Landing::Stored(stored, filling, outcome) => {
                let here = match filling {
                    Some(filling) => Here::Entity(filling),
                    None => self.open(&stored).await.ok_or_else(lost)?,
                };
                let (found, origin_status) = match outcome {
                    Outcome::Answered(status) => (Found::Forwarded(why), Some(status)),
                    Outcome::NotModified(status) => (Found::Forwarded(why), Some(status)),
                    Outcome::Failed => (Found::Hit, None),
                };
                let status = CacheStatus { found, origin_status, ttl: None, is_collapsed, detail: None };
                Ok(self.from(&stored, here, call, status))
            }
            Landing::Alone => match solo {
                Some(solo) => match solo.await {
                    Ok(Solo { head, read, body }) => Ok(self.relay(call, &head, (read, body), why)),
                    Err(_) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the node stops")),
                },
                None => self.pass(call, why).await,
            },
        }
    }

    async fn is_in_store(&self, call: &Call) -> bool {
        let (store, url) = (self.store.clone(), call.target.url.clone());
        let found = tokio::task::spawn_blocking(move || store.latest(&url)).await;
        matches!(found, Ok(Ok(Some(record))) if record.held_blocks > 0)
    }

    /// Where the bytes of a stored answer are read; `None` when they are gone.
    async fn open(&self, stored: &Stored) -> Option<Here> {
        match &stored.held {
            Held::Memory(growing) => (!growing.is_broken()).then(|| Here::Memory(growing.clone())),
            Held::Entity(id, filling) => {
                if let Some(filling) = filling.upgrade() {
                    return Some(Here::Entity(filling));
                }
                let (store, id) = (self.store.clone(), *id);
                let found = tokio::task::spawn_blocking(move || store.find(&id)).await;
                let entity = found.ok()?.ok()?.filter(eddy_cache::EntityHandle::is_complete)?;
                entity.touch();
                Some(Here::Entity(Filling::whole(entity)))
            }
        }
    }

    fn from(&self, stored: &Stored, here: Here, call: &Call, status: CacheStatus) -> Response<AnswerBody> {
        let wanted = Wanted { method: &call.method, fields: &call.fields };
        let mut answered = answer(stored, here, wanted, (status, wall_clock()), &self.tasks);
        answered.headers_mut().append(VIA, self.via());
        answered
    }

    /// Asks the origin for this client alone, with its own range and conditions, and passes the answer on.
    async fn pass(&self, call: &Call, why: Forwarded) -> Answer {
        let request = RelayRequest {
            url: call.target.url.clone(),
            method: call.method.clone(),
            fields: call.sent.with_conditions(&call.fields),
            content: None,
            asked: if call.method == Method::HEAD { Asked::Head } else { Asked::Whole },
            redirects: call.target.redirects,
            privacy: call.sent.privacy,
        };
        let relayed = call.target.origin.relay(request).await.map_err(|error| Refusal::of_origin(&error))?;
        Ok(self.relay(call, &relayed.head, (Bytes::new(), relayed.body), why))
    }

    /// Passes an answer on unchanged.
    fn relay(
        &self,
        call: &Call,
        head: &ResponseHead,
        (read, body): (Bytes, Option<OriginBody>),
        why: Forwarded,
    ) -> Response<AnswerBody> {
        let mut fields = end_to_end(&head.headers);
        if body.is_none() && call.method != Method::HEAD && !matches!(head.status, 204 | 304) {
            fields.remove(CONTENT_LENGTH);
        }
        if !fields.contains_key(DATE)
            && let Ok(now) = HeaderValue::from_str(&eddy_content::http::http_date(wall_clock()))
        {
            fields.insert(DATE, now);
        }
        let found = Found::Forwarded(why);
        say(
            &mut fields,
            &CacheStatus { found, origin_status: Some(head.status), ttl: None, is_collapsed: false, detail: None },
        );
        fields.append(VIA, self.via());
        let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let content = match body {
            None => AnswerBody::Full(read),
            Some(body) => self.stream(read, body),
        };
        reply(status, fields, content)
    }

    /// A body as it comes from the origin; a client that is gone ends it.
    fn stream(&self, read: Bytes, mut body: OriginBody) -> AnswerBody {
        let (to, content) = pieces();
        self.tasks.spawn(async move {
            if !read.is_empty() && to.send(Ok(read)).await.is_err() {
                return;
            }
            loop {
                let next = tokio::select! {
                    biased;
                    () = to.closed() => return,
                    next = body.next() => next,
                };
                let piece = match next {
                    Ok(Some(bytes)) => Ok(bytes),
                    Ok(None) => return,
                    Err(_) => Err(Broken),
                };
                let is_last = piece.is_err();
                if to.send(piece).await.is_err() || is_last {
                    return;
                }
            }
        });
        content
    }

    /// A method that may change something: refused, or forwarded and what it changes forgotten (RFC 9111 section 4.4; R-58).
    async fn unsafe_method(&self, call: &Call, content: Incoming) -> Answer {
        let is_listed = !matches!(call.method, Method::CONNECT | Method::TRACE);
        if call.target.rules.unsafe_methods == UnsafeMethods::Refuse || !is_listed {
            let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here");
            let mut answered = refusal.answer();
            answered.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(answered);
        }
        let content = collect(content).await?;
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
                self.shelf.forget(&url);
            }
        }
        Ok(self.relay(call, &relayed.head, (Bytes::new(), relayed.body), Forwarded::Method))
    }
}

fn hit(ttl: Option<i64>) -> CacheStatus {
    CacheStatus { found: Found::Hit, origin_status: None, ttl, is_collapsed: false, detail: None }
}

fn lost() -> Refusal {
    Refusal::new(StatusCode::BAD_GATEWAY, "what was held is gone; ask again")
}

/// The content of a request, up to [`MAX_CONTENT`].
async fn collect(mut content: Incoming) -> Result<Bytes, Refusal> {
    let mut all = BytesMut::new();
    loop {
        let next = std::future::poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await;
        match next {
            None => return Ok(all.freeze()),
            Some(Err(_)) => return Err(Refusal::new(StatusCode::BAD_REQUEST, "the content of the request broke off")),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    all.extend_from_slice(&bytes);
                }
                if all.len() > MAX_CONTENT {
                    return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the content of the request is too large"));
                }
            }
        }
    }
}
