//! The few HTTP clients of an origin shell, made on first use.
//!
//! A client is a connection pool. Requests that may connect to public addresses alone get a pool of their own, so that they
//! never ride on a connection that another request was allowed to make; requests that must speak HTTP/1.1 get one as well.

use super::config::{ClientCertificate, ConfigError, OriginConfig, Proxies};
use super::reach::{CheckedResolver, Reach};
use super::request::Audience;
use crate::secret_file;
use eddy_content::http::{MAX_HEAD_BYTES, MAX_HEAD_FIELDS};
use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{Certificate, Client, ClientBuilder, Identity, NoProxy, Proxy};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Which versions of HTTP a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Versions {
    /// HTTP/2 where the server offers it over TLS, else HTTP/1.1.
    Any,
    /// HTTP/1.1 alone, after HTTP/2 failed.
    Http1,
}

/// What a server sees that wants a certificate (F-71): a pool that shows one is never used for anybody but the origin that the job names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Showing {
    /// The job's certificate.
    Certificate,
    /// None.
    Nothing,
}

/// All clients of one configuration.
#[derive(Debug)]
pub(super) struct Clients {
    config: OriginConfig,
    extra_roots: Vec<Certificate>,
    identity: Option<Identity>,
    proxies: Matcher,
    // Each reads the platform's certificates when made, so none is made that is not needed. Bounded by its keys.
    made: Mutex<HashMap<(Reach, Versions, Showing), Client>>,
}

impl Clients {
    pub(super) fn new(config: OriginConfig) -> Result<Self, ConfigError> {
        let extra_roots = read_roots(&config)?;
        let identity = config.certificate.as_ref().map(read_identity).transpose()?;
        let proxies = match &config.proxies {
            Proxies::Environment => Matcher::from_system(),
            Proxies::Direct => Matcher::builder().build(),
            Proxies::Fixed { url, except } => Matcher::builder().all(url.clone()).no(except.clone()).build(),
        };
        let clients = Self { config, extra_roots, identity, proxies, made: Mutex::default() };
        clients.select(Reach::Named, Versions::Any, Audience::NamedOrigin)?;
        Ok(clients)
    }

    pub(super) fn config(&self) -> &OriginConfig {
        &self.config
    }

    /// The client with these properties.
    pub(super) fn select(&self, reach: Reach, versions: Versions, audience: Audience) -> Result<Client, ConfigError> {
        let showing = match (&self.identity, audience) {
            (Some(_), Audience::NamedOrigin) => Showing::Certificate,
            _ => Showing::Nothing,
        };
        let key = (reach, versions, showing);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = made.get(&key) {
            return Ok(client.clone());
        }
        let client = self.build(key)?;
        made.insert(key, client.clone());
        Ok(client)
    }

    /// Whether a proxy makes the connection for this URL: then its addresses are the proxy's to resolve and to refuse.
    pub(super) fn is_proxied(&self, url: &url::Url) -> bool {
        url.as_str().parse::<http::Uri>().is_ok_and(|uri| self.proxies.intercept(&uri).is_some())
    }

    fn build(&self, (reach, versions, showing): (Reach, Versions, Showing)) -> Result<Client, ConfigError> {
        let roots = self.extra_roots.clone();
        let platform = self.builder(reach, versions, showing)?.tls_certs_merge(roots.clone()).build();
        match platform {
            Ok(client) => Ok(client),
            Err(reason) => {
                // A machine without any certificate store can still fetch over http; https then fails as "unknown issuer".
                tracing::warn!(reason = %chain_text(&reason), "no platform certificates: https origins will be refused");
                let bare = self.builder(reach, versions, showing)?.tls_certs_only(roots).build();
                bare.map_err(|e| ConfigError::Client { reason: chain_text(&e) })
            }
        }
    }

    fn builder(&self, reach: Reach, versions: Versions, showing: Showing) -> Result<ClientBuilder, ConfigError> {
        let config = &self.config;
        let mut builder = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .read_timeout(config.read_timeout) // never `timeout`: that one covers the whole body
            .redirect(reqwest::redirect::Policy::none()) // each hop is judged and checked by us (T-20)
            .referer(false)
            .retry(reqwest::retry::never()) // the engine retries
            .dns_resolver(CheckedResolver(reach))
            .http1_max_headers(MAX_HEAD_FIELDS)
            .http2_max_header_list_size(MAX_HEAD_BYTES as u32)
            .http2_initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_max_frame_size(HTTP2_FRAME)
            .http2_keep_alive_interval(config.read_timeout / 2)
            .http2_keep_alive_timeout(config.read_timeout / 2)
            .pool_max_idle_per_host(config.requests_per_origin)
            .pool_idle_timeout(IDLE);
        if versions == Versions::Http1 {
            builder = builder.http1_only();
        }
        if let (Showing::Certificate, Some(identity)) = (showing, &self.identity) {
            builder = builder.identity(identity.clone());
        }
        match &config.proxies {
            Proxies::Environment => Ok(builder),
            Proxies::Direct => Ok(builder.no_proxy()),
            Proxies::Fixed { url, except } => {
                let proxy = Proxy::all(url).map_err(|_| ConfigError::Proxy)?;
                Ok(builder.no_proxy().proxy(proxy.no_proxy(NoProxy::from_string(except))))
            }
        }
    }
}

fn read_roots(config: &OriginConfig) -> Result<Vec<Certificate>, ConfigError> {
    let Some(path) = &config.extra_roots else { return Ok(Vec::new()) };
    let pem = std::fs::read(path).map_err(|source| ConfigError::ReadRoots { path: path.clone(), source })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(ConfigError::ParseRoots { path: path.clone() }),
    }
}

fn read_identity(files: &ClientCertificate) -> Result<Identity, ConfigError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|source| ConfigError::ReadCertificate { path: path.clone(), source })
    };
    let missing = || ConfigError::ReadCertificate { path: files.key.clone(), source: ErrorKind::NotFound.into() };
    let key = secret_file::read_up_to(&files.key, MAX_KEY)?.ok_or_else(missing)?;
    let certificate = read(&files.certificate)?;
    // Room for all of it at once: a growing buffer would leave copies of the key behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(key.len() + 1 + certificate.len()));
    pem.extend_from_slice(&key);
    pem.push(b'\n');
    pem.extend(certificate);
    Identity::from_pem(&pem).map_err(|_| ConfigError::ParseCertificate { path: files.certificate.clone() })
}

/// The deepest reason of an error, which says more than its wrappers.
fn chain_text(error: &dyn std::error::Error) -> String {
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// Bytes of the longest file of a key.
const MAX_KEY: u64 = 64 * 1024;

/// How long a connection that nobody uses is kept. A fleet that starts together asks the origin once for each machine, and few of them read
/// from it: with the library's 90 s hundreds of idle connections would lie at the origin meanwhile. A new one costs a reader a round trip or two.
const IDLE: Duration = Duration::from_secs(5);

/// HTTP/2 windows: what one stream, and all streams of a connection, may have on the way. 8 MiB carries 640 Mbit/s over
/// 100 ms; the connection's window is also the most memory that one hostile connection can pin.
const HTTP2_STREAM_WINDOW: u32 = 8 * 1024 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// HTTP/2 frames that we are willing to take: large ones mean fewer wake-ups per byte.
const HTTP2_FRAME: u32 = 256 * 1024;
