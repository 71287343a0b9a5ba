//! One question to an origin: its hops, the verdict, and the verdict carried out.

use super::body::{OriginBody, Span};
use super::budget::{Budgets, Permit};
use super::classify::{classify, is_http2_failure};
use super::client::{Clients, MAX_HEAD_BYTES, Versions};
use super::config::{ConfigError, OriginConfig, PrivateAddresses};
use super::error::{Cause, OriginError, Phase, Retry};
use super::fallback::Http1Hosts;
use super::reach::{AddressClass, Reach, classify_address, literal_class};
use super::request::{Audience, OriginRequest};
use eddy_content::ResourceUrl;
use eddy_content::http::{ChangeReason, Representation, ResponseHead, Verdict, judge};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// The way to all origins. Cheap to clone; clones share connections and budgets.
#[derive(Debug, Clone)]
pub struct Origin {
    shared: Arc<Shared>,
}

/// What all clones, and all bodies that are being read, share.
#[derive(Debug)]
pub(super) struct Shared {
    clients: Clients,
    budgets: Budgets,
    pub(super) http1_hosts: Http1Hosts,
}

/// An answer that means something.
#[derive(Debug)]
pub enum Opened {
    /// The answer to a question for the head.
    Described {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// What the answer says about the version.
        representation: Representation,
    },
    /// Bytes: those of `span`, which starts where asked, or at 0 when the server sent the whole.
    Body {
        /// The URL after redirects.
        final_url: ResourceUrl,
        /// What the answer says about the version.
        representation: Representation,
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

impl Origin {
    /// Sets the way up; reads certificates and the proxy settings once.
    pub fn new(config: OriginConfig) -> Result<Self, ConfigError> {
        let budgets = Budgets::new(config.requests_per_origin);
        let shared = Shared { clients: Clients::new(config)?, budgets, http1_hosts: Http1Hosts::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Asks one question, follows its redirects, and returns before the first byte of a body is read.
    ///
    /// Waits for a place in the origin's budget first. Cancel safe: a dropped future closes what it opened.
    pub async fn open(&self, request: &OriginRequest) -> Result<Opened, OriginError> {
        let mut path = Path::start(&self.shared, request);
        loop {
            let hop = self.ask(request, &path).await.map_err(|cause| path.error(cause))?;
            match judge(&request.expectation(&path.url), &hop.head, unix_now()) {
                Verdict::Redirect { location } => {
                    let limit = self.shared.clients.config().redirect_limit;
                    let from = hop.class;
                    drop(hop); // gives the place in the budget back before another is asked for
                    path.follow(&location, from, limit).map_err(|cause| path.error(cause))?;
                }
                verdict => return self.carry_out(verdict, hop, &path),
            }
        }
    }

    /// Sends one hop's request and waits for the head of its answer.
    async fn ask(&self, request: &OriginRequest, path: &Path<'_>) -> Result<Hop, Cause> {
        let shared = &self.shared;
        let is_proxied = path.check()?;
        let origin = path.url.origin();
        let permit = shared.budgets.acquire(&origin).await;
        let versions =
            if shared.http1_hosts.contains(&origin, Instant::now()) { Versions::Http1 } else { Versions::Any };
        // A proxy's own address is the administrator's choice, so no rule applies to it.
        let reach = if is_proxied { Reach::Anywhere } else { path.reach };
        let client = shared.clients.select(reach, versions).map_err(|e| Cause::Setup(e.to_string()))?;
        let audience = path.audience(request);
        let mut builder =
            client.request(request.method(), path.url.as_url().clone()).headers(request.headers(audience)?);
        if let (Audience::NamedOrigin, Some(credentials)) = (audience, &request.credentials) {
            let plain = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
            builder = builder.basic_auth(plain(&credentials.user), Some(plain(&credentials.password)));
        }
        let response = builder.send().await.map_err(|error| {
            let cause = classify(&error, Phase::Answer, 0);
            let may_be_http2 = path.url.is_https() && cause == Cause::Timeout(Phase::Answer);
            if versions == Versions::Any && (may_be_http2 || is_http2_failure(&error)) {
                shared.http1_hosts.on_http2_failure(&origin, Instant::now());
            }
            cause
        })?;
        Hop::read(response, permit, is_proxied, path)
    }

    fn carry_out(&self, verdict: Verdict, hop: Hop, path: &Path<'_>) -> Result<Opened, OriginError> {
        let final_url = path.url.clone();
        let body = |hop: Hop, span: Span| {
            OriginBody::new(hop.response, path.url.clone(), span, Arc::clone(&self.shared), hop.permit)
        };
        match verdict {
            Verdict::Continue { bytes, representation } => {
                let span = Span { start: bytes.start, end: Some(bytes.end) };
                Ok(Opened::Body { final_url, representation, span, body: body(hop, span) })
            }
            Verdict::Whole { representation } => {
                let span = Span { start: 0, end: representation.length };
                Ok(Opened::Body { final_url, representation, span, body: body(hop, span) })
            }
            Verdict::Described { representation } => Ok(Opened::Described { final_url, representation }),
            Verdict::NotModified { representation } => Ok(Opened::NotModified { final_url, representation }),
            Verdict::Unsatisfiable { length } => Ok(Opened::Unsatisfiable { final_url, length }),
            Verdict::Changed(reason) => Ok(Opened::Changed(reason)),
            Verdict::Transient { status, retry_after } => {
                Err(path.error(Cause::Status { status, retry: Retry::Transient { after: retry_after } }))
            }
            Verdict::Permanent { status } | Verdict::Credentials { status } | Verdict::AskSimpler { status, .. } => {
                Err(path.error(Cause::Status { status, retry: Retry::Permanent }))
            }
            Verdict::Protocol(fault) => Err(path.error(Cause::Protocol(fault))),
            // `open` follows redirects; one that arrives here would be a redirect without an end.
            Verdict::Redirect { .. } => Err(path.error(Cause::TooManyRedirects { limit: 0 })),
        }
    }
}

/// Where a question has got to.
struct Path<'a> {
    shared: &'a Shared,
    named: &'a ResourceUrl,
    url: ResourceUrl,
    hops: u8,
    reach: Reach,
}

impl<'a> Path<'a> {
    fn start(shared: &'a Shared, request: &'a OriginRequest) -> Self {
        let reach = match shared.clients.config().private_addresses {
            PrivateAddresses::WhenNamed => Reach::Anywhere,
            PrivateAddresses::Refused => Reach::PublicOnly,
        };
        Self { shared, named: &request.url, url: request.url.clone(), hops: 0, reach }
    }

    /// Refuses an address that is written in the URL itself; says whether a proxy will connect.
    fn check(&self) -> Result<bool, Cause> {
        match literal_class(&self.url) {
            Some(class) if !self.reach.allows(class) => {
                Err(Cause::Address { address: self.url.host().to_owned(), class })
            }
            _ => Ok(self.shared.clients.is_proxied(self.url.as_url())),
        }
    }

    /// what is personal goes to the origin that the job names and to no other.
    fn audience(&self, request: &OriginRequest) -> Audience {
        if self.url.origin() == request.url.origin() { Audience::NamedOrigin } else { Audience::Stranger }
    }

    /// Takes a redirect, under the rules of T-20.
    fn follow(&mut self, location: &str, from: AddressClass, limit: u8) -> Result<(), Cause> {
        if self.hops >= limit {
            return Err(Cause::TooManyRedirects { limit });
        }
        let next = self.url.join(location).map_err(Cause::BadRedirect)?;
        if self.url.is_https() && !next.is_https() {
            return Err(Cause::Downgrade);
        }
        // From the first public hop on, somebody else chooses where this node connects to: public places alone.
        if from == AddressClass::Public {
            self.reach = Reach::PublicOnly;
        }
        tracing::debug!(from = %self.url, to = %next, "redirected");
        self.hops += 1;
        self.url = next;
        Ok(())
    }

    fn error(&self, cause: Cause) -> OriginError {
        tracing::debug!(url = %self.url, named = %self.named, code = cause.code(), "origin refused");
        OriginError { url: Box::new(self.url.clone()), cause }
    }
}

/// One answer, before it is judged.
struct Hop {
    response: reqwest::Response,
    head: ResponseHead,
    class: AddressClass,
    permit: Option<Permit>,
}

impl Hop {
    fn read(
        response: reqwest::Response,
        permit: Option<Permit>,
        is_proxied: bool,
        path: &Path<'_>,
    ) -> Result<Self, Cause> {
        let size: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size > MAX_HEAD_BYTES {
            return Err(Cause::HeadTooLarge); // T-22
        }
        let peer = response.remote_addr().filter(|_| !is_proxied).map(|address| classify_address(address.ip()));
        // Behind a proxy a name may be anybody's: the stricter reading.
        let class = peer.or_else(|| literal_class(&path.url)).unwrap_or(AddressClass::Public);
        let head = ResponseHead {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            version: response.version(),
        };
        Ok(Self { response, head, class, permit })
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|d| i64::try_from(d.as_secs()).ok()).unwrap_or_default()
}
