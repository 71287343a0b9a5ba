//! One question to an origin for all who want the same: asked once, judged, and its body put where everybody can read it.
//!
//! The task belongs to nobody: a client that goes away takes nothing with it, as long as another waits. What cannot be shared goes to the client
//! that caused the question, and the others ask for themselves.
//!
//! | module | idea |
//! |---|---|
//! | `boarding` | who waits for which flight |
//! | `take` | what an answer means for those who wait |
//! | `bodies` | where its body goes |
//! | `intake` | a body on its way into memory |

mod boarding;
mod bodies;
mod intake;
mod take;

pub(super) use boarding::Flights;
pub(super) use bodies::{SMALL, read_on};
pub(super) use intake::Broke;
pub(super) use take::length_of;

use super::Gateway;
use super::fields::Sent;
use super::filling::Filling;
use super::links::{self, Links};
use super::promised;
use super::refusal::{Refusal, is_origins_fault};
use super::shelf::{Held, Key, Stored};
use super::tally::Tally;
use super::terms::Terms;
use crate::config::gateway::{MountPlan, MountRules};
use crate::driver::held::wall_clock;
use crate::origin::{Origin, OriginBody, Redirects, RelayRequest};
use boarding::{Boarding, Ticket};
use bytes::Bytes;
use eddy_content::digest::ExpectedDigest;
use eddy_content::http::freshness::Question;
use eddy_content::http::serve::{Keeping, Name, OnError, name_of, on_error};
use eddy_content::http::{Asked, ResponseHead};
use eddy_content::{ResourceUrl, Validator};
use http::header::{ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Bytes of the largest body that is kept in memory; larger ones go through the store, in ranges and from peers.
pub(super) const MOST_IN_MEMORY: u64 = 4 << 20;
/// Bytes asked for with the first question about a file.
const FIRST_RANGE: u64 = 16 << 20;
/// Questions of one flight: the rest of what is held, HEAD, a range, the whole, and one more.
const MOST_QUESTIONS: u32 = 5;

/// What is asked about.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) url: ResourceUrl,
    pub(super) rules: MountRules,
    /// The way to it.
    pub(super) origin: Origin,
    pub(super) redirects: Redirects,
    /// URLs in pages that are to lead through the gateway, and what stands for them.
    pub(super) links: Links,
    /// The gateway's own URL where its pages name it, without a slash at the end.
    pub(super) base: Arc<str>,
    /// Where it is mounted.
    pub(super) mount: Option<Arc<MountPlan>>,
    /// Who has named it.
    pub(super) door: Door,
    /// What is kept of it is for who asks under the same.
    pub(super) terms: Terms,
    /// Where it is counted.
    pub(super) tally: Arc<Tally>,
}

impl Target {
    /// What its answers are known by.
    pub(super) fn key(&self) -> Key<'_> {
        (&self.url, self.terms)
    }
}

/// By which way a request came to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// The administrator has mounted it: its indexes are believed.
    Mount,
    /// A proxy's client has named it.
    Proxy,
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
    /// What the whole must keep.
    pub(super) promised: Vec<ExpectedDigest>,
    /// What was read of the body already.
    pub(super) read: Bytes,
    pub(super) body: Option<OriginBody>,
    /// A word about it for `Cache-Status`.
    pub(super) detail: Option<&'static str>,
}

/// A place in a flight.
pub(super) struct Place {
    pub(super) landing: watch::Receiver<Option<Landing>>,
    /// For who caused it: the answer that is for nobody else.
    pub(super) solo: Option<oneshot::Receiver<Solo>>,
}

/// For whom a flight begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// A client, and those who join it.
    Client,
    /// Whoever asks next: what is stored is to be good again by then.
    Nobody,
}

impl Gateway {
    /// Joins the flight that wants the same, or starts one; refused where there are too many.
    pub(super) fn board(
        self: &Arc<Self>,
        (target, sent): (&Target, &Sent),
        stale: Option<Arc<Stored>>,
        waits: Waits,
    ) -> Result<Place, Refusal> {
        let (mut ticket, landing) = match self.flights.board((target, sent)) {
            Boarding::Joined(landing) => return Ok(Place { landing, solo: None }),
            Boarding::Begun(ticket, landing) => (ticket, landing),
            Boarding::Full => {
                let text = "too many questions are under way; ask again";
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
            }
        };
        if waits == Waits::Nobody {
            ticket.for_nobody();
        }
        let (stale, beginning) = match stale {
            Some(stored) if matches!(stored.held, Held::Parts(_)) => (None, Beginning::of(&stored)),
            stale => (stale, None),
        };
        let (solo, answer) = oneshot::channel();
        let flight = Flight {
            gateway: self.clone(),
            target: target.clone(),
            sent: sent.clone(),
            stale,
            beginning,
            waited: None,
            is_refused: false,
            ticket,
            solo: Some(solo),
        };
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = flight.fly() => {}
            }
        });
        Ok(Place { landing, solo: Some(answer) })
    }

    /// Whether something is on its way for such a request.
    pub(super) fn is_flying(&self, target: &Target, sent: &Sent) -> bool {
        self.flights.has((target, sent))
    }
}

struct Flight {
    gateway: Arc<Gateway>,
    target: Target,
    sent: Sent,
    stale: Option<Arc<Stored>>,
    beginning: Option<Beginning>,
    /// How long the last answer was waited for.
    waited: Option<Duration>,
    /// Whether the store does not take it.
    is_refused: bool,
    ticket: Ticket,
    solo: Option<oneshot::Sender<Solo>>,
}

/// The beginning of a body whose rest is to be asked for.
#[derive(Clone)]
struct Beginning {
    bytes: Bytes,
    length: u64,
    fields: HeaderMap,
}

impl Beginning {
    fn of(stored: &Stored) -> Option<Self> {
        let Held::Parts(parts) = &stored.held else { return None };
        let bytes = parts.beginning().filter(|bytes| (bytes.len() as u64) < stored.length)?;
        let is_small = stored.length <= MOST_IN_MEMORY;
        is_small.then(|| Self { bytes, length: stored.length, fields: stored.fields.clone() })
    }
}

/// How a question is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Head,
    FirstRange,
    Whole,
    /// About what is stored: 304 if it is still good.
    Conditional,
    /// What comes behind the beginning that is held.
    Rest,
}

impl Flight {
    async fn fly(mut self) {
        let mut manner = self.first_manner().await;
        for _ in 0..MOST_QUESTIONS {
            let asked = Instant::now();
            let relayed = tokio::select! {
                biased;
                relayed = self.target.origin.relay(self.question(manner)) => relayed,
                () = self.ticket.is_deserted() => return,
            };
            self.waited = Some(asked.elapsed());
            let relayed = match relayed {
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
        self.ticket.land(landing);
    }

    fn fail(&self, refusal: Refusal) -> Option<Manner> {
        self.land(Landing::Failed(Arc::new(refusal)));
        None
    }

    /// HEAD where the body may be unwanted, a range where it may be large, else the whole.
    async fn first_manner(&self) -> Manner {
        let has_mark =
            |stale: &Arc<Stored>| stale.fields.contains_key(ETAG) || stale.fields.contains_key(LAST_MODIFIED);
        if self.stale.as_ref().is_some_and(has_mark) {
            return Manner::Conditional;
        }
        if self.beginning.is_some() {
            return Manner::Rest;
        }
        if self.target.rules.keeping == Keeping::AsRfc {
            // A transparent cache asks as its clients do.
            return Manner::Whole;
        }
        let is_file = name_of(&self.target.url) != Name::Plain;
        let has_peers =
            self.sent.leave.is_none() && self.gateway.peers.as_ref().is_some_and(|peers| !peers.connected().is_empty());
        match () {
            () if is_file && has_peers || self.gateway.is_in_store(&self.target.url).await => Manner::Head,
            () if is_file => Manner::FirstRange,
            () => Manner::Whole,
        }
    }

    fn question(&self, manner: Manner) -> RelayRequest {
        let mut fields = self.sent.question();
        let asked = match manner {
            Manner::Head => Asked::Head,
            Manner::FirstRange => {
                fields.insert(RANGE, value(&format!("bytes=0-{}", FIRST_RANGE - 1)));
                Asked::Range { first: 0, last: Some(FIRST_RANGE - 1) }
            }
            Manner::Rest => {
                let first = self.beginning.as_ref().map_or(0, |beginning| beginning.bytes.len() as u64);
                fields.insert(RANGE, value(&format!("bytes={first}-")));
                Asked::Range { first, last: None }
            }
            Manner::Whole | Manner::Conditional => Asked::Whole,
        };
        if let (Manner::Rest, Some(beginning)) = (manner, &self.beginning)
            && let Ok(validator) = Validator::select(&beginning.fields, wall_clock())
        {
            // another version is then sent whole.
            fields.insert(IF_RANGE, value(validator.header_value()));
        }
        if let (Manner::Conditional, Some(stale)) = (manner, &self.stale) {
            for (mark, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
                if let Some(mark) = stale.fields.get(mark) {
                    fields.insert(condition, mark.clone());
                }
            }
        }
        if let (Manner::Conditional, Some(stale)) = (manner, self.stale.as_ref().filter(|stale| stale.is_led))
            && let Some(marks) = links::marks_of_page(&stale.fields)
        {
            fields.insert(IF_NONE_MATCH, marks);
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

    /// What the whole must keep.
    fn promised(&self, head: &ResponseHead) -> Vec<ExpectedDigest> {
        self.gateway.promised(&self.target, (head.status, &head.headers))
    }

    /// The digest that a hub names where it redirects to a large file.
    fn linked(&self, head: &ResponseHead) -> Option<ExpectedDigest> {
        promised::linked(&self.target, &head.headers)
    }

    fn asked_by(&self) -> Question<'_> {
        Question { fields: &self.sent.fields, privacy: self.sent.privacy }
    }
}

/// A value that this node has written itself.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
