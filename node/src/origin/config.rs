//! What an administrator, or a test, sets about the way to origins.

use crate::secret_file::SecretFileError;
use eddy_content::http::{BodyLimit, MAX_REDIRECTS, MAX_SECONDS_TO_HEAD};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use utoipa::ToSchema;

/// Settings of an [`Origin`](super::Origin).
#[derive(Debug, Clone)]
pub struct OriginConfig {
    /// Longest wait for a TCP connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// Longest silence: from the question to the answer's head, and between two reads of a body.
    pub read_timeout: Duration,
    /// The `User-Agent` value.
    pub user_agent: String,
    /// A PEM file with certificates that are trusted besides the platform's.
    pub extra_roots: Option<PathBuf>,
    /// Certificates that jobs may name, for origins that want one.
    pub certificates: BTreeMap<String, ClientCertificate>,
    /// The one that is shown to origins that want one.
    pub certificate: Option<ClientCertificate>,
    /// Whether a job may name an origin on a private or loopback address at all.
    pub private_addresses: PrivateAddresses,
    /// Through which proxies requests go.
    pub proxies: Proxies,
    /// Most requests that one origin sees from this node at a time.
    pub requests_per_origin: usize,
    /// Most redirects that are followed for one question (T-20).
    pub redirect_limit: u8,
    /// Most bytes of a body whose length nobody has named (T-26).
    pub body_limit: u64,
}

/// A certificate with which this node proves itself to origins, in files that are read when the first job names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// PEM: the certificate, then those between it and an authority.
    #[schema(value_type = String)]
    pub certificate: PathBuf,
    /// PEM: its private key, which nobody but the node's user may read (mode 0600).
    #[schema(value_type = String)]
    pub key: PathBuf,
}

/// Whether origins on private, loopback and link-local addresses may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivateAddresses {
    /// A job may name one; a redirect from a public origin to one is refused all the same (T-20).
    WhenNamed,
    /// Never: for nodes that take jobs from people who may not see the local network.
    Refused,
}

/// Where the choice of a proxy comes from.
#[derive(Debug, Clone)]
pub enum Proxies {
    /// `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, or the platform's settings.
    Environment,
    /// None: connect directly.
    Direct,
    /// One proxy for everything except the hosts of `except` (the syntax of `no_proxy`).
    Fixed {
        /// The proxy's URL; http, https, socks5 and socks5h.
        url: String,
        /// Hosts that are reached directly.
        except: String,
    },
}

/// Why the way to origins cannot be set up: the user's or the administrator's fault, found at start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file of extra roots cannot be read.
    #[error("cannot read the root certificates in {path}")]
    ReadRoots {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of extra roots holds no certificate.
    #[error("{path} holds no valid PEM certificate")]
    ParseRoots {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate of this name.
    #[error("no certificate `{0}` is registered")]
    UnknownCertificate(String),
    /// A file of the certificate cannot be read.
    #[error("cannot read {path}: {source}")]
    ReadCertificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The key of a certificate may be read by others, or is no file.
    #[error(transparent)]
    CertificateKey(#[from] SecretFileError),
    /// The files do not hold a certificate and its key.
    #[error("{path} and its key are no certificate in PEM")]
    ParseCertificate {
        /// The certificate.
        path: PathBuf,
    },
    /// The proxy's URL is no URL.
    #[error("the proxy setting is not a proxy URL")]
    Proxy,
    /// The HTTP client refuses its settings.
    #[error("cannot set up the HTTP client: {reason}")]
    Client {
        /// The client's words.
        reason: String,
    },
}

impl Default for OriginConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(MAX_SECONDS_TO_HEAD),
            user_agent: concat!("eddy/", env!("CARGO_PKG_VERSION")).to_owned(),
            extra_roots: None,
            certificates: BTreeMap::new(),
            certificate: None,
            private_addresses: PrivateAddresses::WhenNamed,
            proxies: Proxies::Environment,
            requests_per_origin: 8,
            redirect_limit: MAX_REDIRECTS as u8,
            body_limit: BodyLimit::default().0,
        }
    }
}
