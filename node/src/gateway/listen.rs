//! The listener: who may connect, how many, how long a request may take to arrive, and which resource it means (T-22, T-38, T-45).

use super::body::AnswerBody;
use super::flight::{Door, Target};
use super::line::{Line, Reset};
use super::refusal::Refusal;
use super::terms::{Asker, Number, Terms};
use super::{Gateway, tunnel};
use crate::config::gateway::{Fields, Indexes, MountRules, UnsafeMethods, plain_path};
use crate::origin::Redirects;
use eddy_content::ResourceUrl;
use eddy_content::http::serve::Keeping;
use eddy_content::http::{MAX_HEAD_BYTES, MAX_HEAD_FIELDS};
use eddy_content::url::MAX_URL_LENGTH;
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, ORIGIN, VIA};
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

/// Connections at a time; more wait at the door.
pub(super) const CONNECTIONS: usize = 4096;
/// How long the head of a request may take, which is also how long a connection may lie idle.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// The pause after the system would not give a connection: no descriptor is left, mostly.
const PAUSE: Duration = Duration::from_millis(100);

impl Gateway {
    /// Serves connections until the stop.
    pub(super) async fn listen(self: Arc<Self>, listener: TcpListener) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, client) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a client could not be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !self.admits(client.ip()) {
                continue;
            }
            let gateway = self.clone();
            self.tasks.spawn(async move {
                gateway.connection(stream, client, Arc::new(place)).await;
            });
        }
    }

    /// Whether this address may ask at all.
    fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || self.plan.allow.iter().any(|net| net.contains(&client))
    }

    /// Serves a connection to its end. A tunnel that it becomes goes on, and keeps its place.
    async fn connection(self: Arc<Self>, stream: TcpStream, client: SocketAddr, place: Arc<OwnedSemaphorePermit>) {
        let _ = stream.set_nodelay(true);
        let Ok(at) = stream.local_addr() else { return };
        let stop = self.stop.clone();
        let (reset, old) = (Reset::default(), Arc::new(AtomicBool::default()));
        let is_old = old.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let gateway = self.clone();
            old.store(request.version() == Version::HTTP_10, Ordering::Relaxed);
            let place = place.clone();
            async move { Ok::<_, Infallible>(gateway.request(request, at, place).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEAD_FIELDS)
            .half_close(false)
            .serve_connection(TokioIo::new(Line::new(stream, reset.clone())), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => return,
        };
        if let Err(error) = ended {
            // An answer that broke off is the service's own error.
            if error.is_user() && is_old.load(Ordering::Relaxed) {
                reset.order();
            }
            tracing::trace!(%client, %error, "a client's connection ended");
        }
    }

    /// Answers a request of a client that has connected to this address.
    async fn request(
        self: Arc<Self>,
        request: Request<Incoming>,
        at: SocketAddr,
        place: Arc<OwnedSemaphorePermit>,
    ) -> Response<AnswerBody> {
        match self.target(&request, at) {
            Ok(Some(target)) => self.serve(target, request).await,
            Ok(None) => tunnel::open(&self, request, place).await,
            Err(refusal) => refusal.answer(),
        }
    }

    /// What a request means; nothing for a tunnel.
    fn target(&self, request: &Request<Incoming>, at: SocketAddr) -> Result<Option<Target>, Refusal> {
        let refused = |status, text: &str| Err(Refusal::new(status, text));
        let (uri, fields) = (request.uri(), request.headers());
        if uri.path_and_query().is_some_and(|path| path.as_str().len() > MAX_URL_LENGTH) {
            return refused(StatusCode::URI_TOO_LONG, "the URL is too long");
        }
        if self.is_loop(fields) {
            return refused(StatusCode::LOOP_DETECTED, "the request has been here before");
        }
        // RFC 9112 section 6.1: a length beside a coding, or two lengths, is how requests are smuggled.
        let hosts = fields.get_all(HOST).iter().count();
        // RFC 9112 section 3.2: HTTP/1.0 may name no host; a browser, whose pages could lead here, always does.
        let is_nameless = request.version() == Version::HTTP_10 && hosts == 0;
        if fields.get_all(CONTENT_LENGTH).iter().count() > 1 || hosts != 1 && !is_nameless {
            return refused(StatusCode::BAD_REQUEST, "the request has one Host, and no more than one Content-Length");
        }
        if request.method() == Method::CONNECT {
            return if self.plan.tunnel {
                Ok(None)
            } else {
                refused(StatusCode::METHOD_NOT_ALLOWED, "no tunnels are made here")
            };
        }
        match uri.authority() {
            // RFC 9112 section 3.2.2: who asks for its own URL by the whole of it names it there, whatever its Host says.
            Some(authority) if uri.scheme_str() == Some("http") && self.authorities.own(authority, at) => {}
            Some(_) => return self.proxied(request).map(Some),
            None if is_nameless => {}
            None => self.check_host(fields)?,
        }
        self.check_site(fields)?;
        self.mounted(uri, at).map(Some)
    }

    /// What is mounted there.
    fn mounted(&self, uri: &Uri, at: SocketAddr) -> Result<Target, Refusal> {
        let mounts = self.mounts.list();
        let path = plain_path(uri.path());
        let found = mounts.iter().find_map(|mount| Some((mount, mount.plan.target(&path, uri.query())?)));
        let Some((mount, url)) = found else {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "nothing is mounted there"));
        };
        let (rules, tally, links) = (mount.plan.rules, mount.tally.clone(), mount.plan.links.clone());
        // A redirect may lead from a tool's http to https, where it would find no cache.
        let redirects = if rules.keeping == Keeping::AsRfc { Redirects::Pass } else { Redirects::Follow };
        let (base, called) = self.authorities.base(at);
        let terms = Terms { number: mount.terms, called: called.filter(|_| !links.is_empty()), asker: Asker::Anybody };
        let (origin, door, mount) = (self.named.clone(), Door::Mount, Some(mount.plan.clone()));
        Ok(Target { url, rules, origin, redirects, links, base, mount, door, terms, tally })
    }

    /// A plain http URL of a proxy's client.
    fn proxied(&self, request: &Request<Incoming>) -> Result<Target, Refusal> {
        let refused = |status, text: &str| Err(Refusal::new(status, text));
        if !self.plan.proxy {
            return refused(StatusCode::FORBIDDEN, "this is no proxy: only what is mounted is served");
        }
        if request.uri().scheme_str() != Some("http") {
            return refused(StatusCode::BAD_REQUEST, "the proxy takes http URLs; others go through a tunnel");
        }
        let Ok(url) = ResourceUrl::parse(&request.uri().to_string()).map(ResourceUrl::with_normal_path) else {
            return refused(StatusCode::BAD_REQUEST, "the URL cannot be fetched");
        };
        let rules = MountRules {
            keeping: Keeping::Files,
            fields: Fields::Negotiation,
            unsafe_methods: UnsafeMethods::Forward,
            indexes: Indexes::Ignored,
            stale_on_error: 0,
        };
        let (origin, tally) = (self.public.clone(), self.mounts.proxy());
        let (redirects, door) = (Redirects::Pass, Door::Proxy);
        let terms = Terms { number: Number::PROXY, called: None, asker: Asker::Anybody };
        let (links, base) = (Arc::default(), Arc::default());
        Ok(Target { url, rules, origin, redirects, links, base, mount: None, door, terms, tally })
    }

    /// Against pages whose name suddenly means this machine (DNS rebinding, T-45): a name must be one of this gateway's.
    fn check_host(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
        // RFC 9112 section 3.2.
        let Some(host) = text(HOST).and_then(|host| host.parse::<Authority>().ok()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the Host of the request is none"));
        };
        match self.authorities.admit(host.host()) {
            true => Ok(()),
            false => Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, "this gateway is not called so")),
        }
    }

    /// Against pages that send their visitors here: a browser says so.
    fn check_site(&self, fields: &HeaderMap) -> Result<(), Refusal> {
        let site = fields.get("sec-fetch-site").and_then(|value| value.to_str().ok());
        let is_foreign = fields.contains_key(ORIGIN) || !matches!(site, None | Some("none" | "same-origin"));
        match is_foreign {
            true => Err(Refusal::new(StatusCode::FORBIDDEN, "pages of other sites are not served")),
            false => Ok(()),
        }
    }

    fn is_loop(&self, fields: &HeaderMap) -> bool {
        let mut lines = fields.get_all(VIA).iter().filter_map(|value| value.to_str().ok());
        lines.any(|line| line.split(',').any(|hop| hop.split_whitespace().nth(1) == Some(self.pseudonym.as_str())))
    }
}
