//! One question to an origin: asked, judged, and the verdict carried out.

use super::body::{OriginBody, Span};
use super::budget::Budgets;
use super::classify::{classify, is_http2_failure};
use super::client::{Clients, Versions};
use super::config::{ConfigError, OriginConfig};
use super::degrade::{Degraded, MAX_STEPS, simplify};
use super::error::{Cause, OriginError, Phase, Retry};
use super::fallback::Http1Hosts;
use super::hop::{Hop, Path};
use super::pace::Pace;
use super::proof::{Challenges, DigestUser, Proof};
use super::reach::Reach;
use super::request::{Audience, OriginRequest, Redirecting};
use bytes::Bytes;
use eddy_content::ResourceUrl;
use eddy_content::http::freshness::{Exchange, Question};
use eddy_content::http::{
    AddressClass, Asked, BodyLimit, BodyMeter, ChangeReason, DigestChallenge, Framing, Freshness, ProtocolFault,
    RangeSupport, Representation, Verdict, judge,
};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The way to all origins. Cheap to clone; clones share connections and budgets.
#[derive(Debug, Clone)]
pub struct Origin {
    pub(super) shared: Arc<Shared>,
}

/// What all clones, and all bodies that are being read, share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clients: Clients,
    budgets: Budgets,
    pub(super) http1_hosts: Http1Hosts,
    challenges: Challenges,
}

/// An answer that means something.
#[derive(Debug)]
pub enum Opened {
    /// The answer to a question for the head.
    Described {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// Who has led there, from another origin.
        led_by: Option<AddressClass>,
        /// What the answer says about the version.
        representation: Representation,
        /// How long it may be used without asking again.
        freshness: Box<Freshness>,
    },
    /// Bytes: those of `span`, which starts where asked, or at 0 when the server sent the whole.
    Body {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// What the answer says about the version.
        representation: Representation,
        /// How long it may be used without asking again.
        freshness: Box<Freshness>,
        /// Who has led there, from another origin.
        led_by: Option<AddressClass>,
        /// Which bytes follow.
        span: Span,
        /// The bytes.
        body: OriginBody,
    },
    /// The known version is still the current one.
    NotModified {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// What the answer says about the version.
        representation: Representation,
        /// How long it may be used without asking again.
        freshness: Box<Freshness>,
    },
    /// No such range; the complete length, if the server named it.
    Unsatisfiable {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// N of `bytes */N`.
        length: Option<u64>,
    },
    /// The origin now names another version than the known one; no byte of it was read.
    Changed(ChangeReason),
}

impl Opened {
    /// Who has led to what has answered, from another origin.
    #[must_use]
    pub fn led_by(&self) -> Option<AddressClass> {
        match self {
            Self::Described { led_by, .. } | Self::Body { led_by, .. } => *led_by,
            Self::NotModified { .. } | Self::Unsatisfiable { .. } | Self::Changed(_) => None,
        }
    }
}

impl Origin {
    /// Sets the way up; reads certificates and the proxy settings once.
    pub fn new(config: OriginConfig) -> Result<Self, ConfigError> {
        let budgets = Budgets::new(config.requests_per_origin);
        let (http1_hosts, challenges) = (Http1Hosts::default(), Challenges::default());
        let shared = Shared { clients: Clients::new(config)?, budgets, http1_hosts, challenges };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks one question, follows its redirects, and returns before the first byte of a body is read.
    ///
    /// Where the server refuses the question as asked, or answers a range wrongly, a simpler one is asked at once:
    /// [`OriginBody::degraded`] says why, and the body then starts at 0. Waits for a place in the origin's budget first.
    /// Cancel safe: a dropped future closes what it opened.
    pub async fn open(&self, request: &OriginRequest) -> Result<Opened, OriginError> {
        let is_head_wanted = request.asked == Asked::Head;
        let mut question = request.clone();
        let mut degraded = None;
        for _ in 0..MAX_STEPS {
            let (verdict, hop, (final_url, led_by)) = self.ask(&question).await?;
            // Whoever asks with another method than GET asks once.
            match simplify(&question, is_head_wanted, &verdict).filter(|_| question.verb.is_none()) {
                Some((simpler, why)) => {
                    tracing::debug!(url = %final_url, ?why, "asking a simpler question");
                    degraded = Some(why);
                    question = simpler;
                }
                None => {
                    let privacy = question.expectation(&final_url).privacy;
                    let asked = Question { fields: &hop.asked, privacy };
                    let freshness = Box::new(Freshness::of(&hop.head.headers, asked, hop.exchange));
                    let pace = request.pace.clone();
                    let answer = Answer { hop, final_url, led_by, degraded, freshness, pace };
                    return if is_head_wanted {
                        self.describe(verdict, answer)
                    } else {
                        self.carry_out(verdict, answer)
                    };
                }
            }
        }
        let cause = Cause::Status { status: refused_status(degraded), retry: Retry::Permanent };
        Err(OriginError { url: Box::new(request.url.clone()), cause })
    }

    /// Asks until an answer is no redirect.
    async fn ask(&self, request: &OriginRequest) -> Result<(Verdict, Hop, Place), OriginError> {
        let mut path = Path::start(&self.shared.clients, request);
        loop {
            let hop = self.send(request, &path).await.map_err(|cause| path.error(cause))?;
            if let Some(last) = &request.last_head {
                last.put(&hop.head);
            }
            match judge(&request.expectation(&path.url), &hop.head, unix_now()) {
                // The hop is dropped inside: its place in the budget is given back before another is asked for.
                Verdict::Redirect { .. } if request.redirects == Redirecting::Refuse || request.verb.is_some() => {
                    return Err(path.error(Cause::TooManyRedirects { limit: 0 }));
                }
                Verdict::Redirect { location } => path.follow(&location, hop).map_err(|cause| path.error(cause))?,
                verdict => {
                    let led_by = path.led_by();
                    return Ok((verdict, hop, (path.url, led_by)));
                }
            }
        }
    }

    /// Sends one hop's request and waits for the head of its answer.
    async fn send(&self, request: &OriginRequest, path: &Path<'_>) -> Result<Hop, Cause> {
        let audience = path.audience();
        let is_named = audience == Audience::NamedOrigin;
        let fields = request.headers(audience)?;
        if let Some(who) = request.digest.as_ref().filter(|_| is_named) {
            return self.send_hashed((request.method(), fields), path, who).await;
        }
        let proof = request.credentials.as_ref().filter(|_| is_named).map(Proof::Basic);
        self.exchange(path, (request.method(), fields, proof), None).await
    }

    /// Sends a request that answers the origin's last challenge. A 401 brings another one and says that nothing was done (RFC 9110
    /// section 15.5.2), so the request is sent again, whatever its method.
    async fn send_hashed(
        &self,
        (method, fields): (http::Method, http::HeaderMap),
        path: &Path<'_>,
        who: &DigestUser,
    ) -> Result<Hop, Cause> {
        let (challenges, origin) = (&self.shared.challenges, path.url.origin());
        let target = &path.url.as_url()[url::Position::BeforePath..url::Position::AfterQuery];
        let mut proof = challenges.answer(&origin, who, (&method, target));
        let mut refused = 0;
        loop {
            let question = (method.clone(), fields.clone(), proof.map(Proof::Ready));
            let hop = self.exchange(path, question, None).await?;
            let wanted = DigestChallenge::of(&hop.head.headers).filter(|_| hop.head.status == 401);
            let Some(wanted) = wanted else { return Ok(hop) };
            // A right answer may come too late for its nonce. Any other to a challenge of a moment ago is wrong.
            refused += 1;
            if refused >= MOST_REFUSED || (refused > 1 && !wanted.is_stale()) {
                return Ok(hop);
            }
            // Its connection and its place in the budget are given back before the next question.
            drop(hop);
            proof = challenges.meet(&origin, who, wanted, (&method, target));
        }
    }

    /// One request and the head of its answer, at the place where the path has got to.
    pub(super) async fn exchange(
        &self,
        path: &Path<'_>,
        (method, fields, proof): (http::Method, http::HeaderMap, Option<Proof<'_>>),
        body: Option<Bytes>,
    ) -> Result<Hop, Cause> {
        let shared = &self.shared;
        path.check_literal()?;
        let is_proxied = shared.clients.is_proxied(path.url.as_url());
        let origin = path.url.origin();
        let place = shared.budgets.acquire(&origin, path.pace);
        let permit = match path.patience {
            Some(patience) => tokio::time::timeout(patience, place).await.map_err(|_| Cause::Timeout(Phase::Turn))?,
            None => place.await,
        };
        let is_http1 = shared.http1_hosts.contains(&origin, Instant::now());
        // RFC 9113 section 5.2.1: what waits unread on a connection is counted against all streams on it, those of other jobs too.
        let is_slow = path.pace.is_some_and(Pace::is_limited);
        let versions = if is_http1 || is_slow { Versions::Http1 } else { Versions::Any };
        // A proxy's own address is the administrator's choice, and the origin's is the proxy's to resolve.
        let reach = if is_proxied { Reach::Named } else { path.reach };
        let client =
            shared.clients.select(reach, versions, path.audience()).map_err(|e| Cause::Setup(e.to_string()))?;
        let asked = unix_now();
        let mut builder = client.request(method, path.url.as_url().clone()).headers(fields.clone());
        if let Some(body) = body {
            builder = builder.body(body);
        }
        match proof {
            Some(Proof::Basic(credentials)) => {
                let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
                builder = builder.basic_auth(plain(&credentials.user), Some(plain(&credentials.password)));
            }
            Some(Proof::Ready(value)) => {
                builder = builder.headers(http::HeaderMap::from_iter([(http::header::AUTHORIZATION, value)]));
            }
            None => {}
        }
        let response = builder.send().await.map_err(|error| {
            let cause = classify(&error, Phase::Answer, 0);
            // Before an answer nobody says which version was spoken: a silent https server may be a stalled HTTP/2 one.
            let may_be_http2 = path.url.is_https() && cause == Cause::Timeout(Phase::Answer);
            if versions == Versions::Any && (may_be_http2 || is_http2_failure(&error)) {
                shared.http1_hosts.on_http2_failure(&origin, Instant::now());
            }
            if is_proxied { cause.of_proxy() } else { cause }
        })?;
        let exchange = Exchange { asked, received: unix_now() };
        Ok(Hop::new(response, permit, is_proxied, &path.url, (fields, exchange)))
    }

    /// What a question for the head alone ends in: a good answer to GET describes as well as one to HEAD.
    fn describe(&self, verdict: Verdict, answer: Answer) -> Result<Opened, OriginError> {
        match verdict {
            Verdict::Continue { representation, .. } | Verdict::Whole { representation } => {
                let Answer { final_url, led_by, freshness, .. } = answer;
                Ok(Opened::Described { final_url, led_by, representation, freshness })
            }
            other => self.carry_out(other, answer),
        }
    }

    fn carry_out(&self, verdict: Verdict, answer: Answer) -> Result<Opened, OriginError> {
        let meter = Framing::of(&answer.hop.head)
            .ok()
            .and_then(|framing| BodyMeter::new(&verdict, framing, BodyLimit(self.shared.clients.config().body_limit)));
        let (final_url, led_by, freshness) = (answer.final_url.clone(), answer.led_by, answer.freshness.clone());
        let failed = |cause| Err(OriginError { url: Box::new(answer.final_url.clone()), cause });
        match (verdict, meter) {
            (Verdict::Continue { bytes, representation }, Some(meter)) => {
                let span = Span { start: bytes.start, end: Some(bytes.end) };
                Ok(Opened::Body { final_url, representation, freshness, led_by, span, body: self.body(answer, meter) })
            }
            (Verdict::Whole { mut representation }, Some(meter)) => {
                if answer.degraded.is_some() {
                    representation.ranges = RangeSupport::No;
                }
                let span = Span { start: 0, end: representation.length };
                Ok(Opened::Body { final_url, representation, freshness, led_by, span, body: self.body(answer, meter) })
            }
            (Verdict::Described { representation }, _) => {
                Ok(Opened::Described { final_url, led_by, representation, freshness })
            }
            (Verdict::NotModified { representation }, _) => {
                Ok(Opened::NotModified { final_url, representation, freshness })
            }
            (Verdict::Unsatisfiable { length }, _) => Ok(Opened::Unsatisfiable { final_url, length }),
            (Verdict::Changed(reason), _) => Ok(Opened::Changed(reason)),
            // the origin contradicts itself about this version, so none of its bytes can be trusted.
            (Verdict::Protocol(ProtocolFault::SameVersionOtherLength), _) => Ok(Opened::Changed(ChangeReason::Length)),
            (Verdict::Protocol(fault), _) => failed(Cause::Protocol(fault)),
            (Verdict::Transient { status, retry_after }, _) => {
                failed(Cause::Status { status, retry: Retry::Transient { after: retry_after } })
            }
            (
                Verdict::Permanent { status } | Verdict::Credentials { status } | Verdict::AskSimpler { status, .. },
                _,
            ) => failed(Cause::Status { status, retry: Retry::Permanent }),
            // The judge promises a body only behind a framing that it could read, and `ask` has followed the redirects.
            (Verdict::Continue { .. } | Verdict::Whole { .. } | Verdict::Redirect { .. }, _) => {
                failed(Cause::Protocol(ProtocolFault::NotFinal))
            }
        }
    }

    fn body(&self, answer: Answer, meter: BodyMeter) -> OriginBody {
        let Hop { response, permit, .. } = answer.hop;
        OriginBody::new(response, answer.final_url, meter, Arc::clone(&self.shared), permit)
            .degraded_by(answer.degraded)
            .paced_by(answer.pace)
    }
}

/// Where a question has ended, and who has led there from another origin.
type Place = (ResourceUrl, Option<AddressClass>);

/// A judged answer.
struct Answer {
    hop: Hop,
    final_url: ResourceUrl,
    led_by: Option<AddressClass>,
    degraded: Option<Degraded>,
    freshness: Box<Freshness>,
    pace: Option<Pace>,
}

/// Refusals of one question for want of a right hash, after which it is refused: without one, with that of an old challenge, too late.
const MOST_REFUSED: u32 = 3;

fn refused_status(degraded: Option<Degraded>) -> u16 {
    match degraded {
        Some(Degraded::Refused(status)) => status,
        Some(Degraded::Fault(_)) | None => 0,
    }
}

pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|d| i64::try_from(d.as_secs()).ok()).unwrap_or_default()
}
