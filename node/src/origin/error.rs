//! What went wrong on the way to an origin, whose fault it is, and whether another try is worth it.

use eddy_content::ResourceUrl;
use eddy_content::http::{AfterFault, ConnectRefusal, ProtocolFault};
use std::fmt;
use std::time::Duration;

/// A failed question or a failed body. Its text shows no query and no secret (T-36).
#[derive(Debug, thiserror::Error)]
#[error("{url}: {cause}")]
pub struct OriginError {
    /// The URL that was being asked, after redirects.
    pub url: Box<ResourceUrl>, // boxed: a URL is large, and results are moved often
    /// What happened.
    pub cause: Cause,
}

/// What happened between this node and an origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The host's name has no address.
    #[error("the host name does not resolve ({reason})")]
    Dns {
        /// The resolver's words.
        reason: String,
        /// Whether the resolver itself failed, so that the name may still exist.
        resolver_failed: bool,
    },
    /// The address is one that this request may not connect to (T-20).
    #[error("refused to connect to {host}: {refusal}")]
    Address {
        /// The host, a name or an address.
        host: String,
        /// Why.
        refusal: ConnectRefusal,
    },
    /// Nobody listens on the port.
    #[error("connection refused")]
    Refused,
    /// No route to the host or the network.
    #[error("the network or host is unreachable")]
    Unreachable,
    /// This process or this machine has too many files open for one more connection (T-51).
    #[error("no file descriptor is left for a connection")]
    NoDescriptor,
    /// The connection could not be made for another reason.
    #[error("cannot connect ({0})")]
    Connect(String),
    /// The proxy on the way cannot be reached.
    #[error("the proxy: {0}")]
    Proxy(Box<Cause>),
    /// The server could not prove who it is, or TLS failed.
    #[error("TLS: {0}")]
    Tls(TlsFault),
    /// Nothing happened for too long.
    #[error("no progress for too long while {0}")]
    Timeout(Phase),
    /// The connection was reset, or HTTP/2 gave up on it.
    #[error("the connection was reset")]
    Reset,
    /// The body ended before its declared end, or before its last chunk.
    #[error("the server closed the connection early, after {received} bytes of the body")]
    ClosedEarly {
        /// Body bytes that arrived.
        received: u64,
    },
    /// A body whose length nobody has named went on and on (T-26).
    #[error("the body is longer than the limit for bodies of unknown length")]
    TooLong,
    /// A status code that is no answer to the question.
    #[error("the server answered {status}")]
    Status {
        /// The code.
        status: u16,
        /// Whether the judge holds another try for sensible.
        retry: Retry,
    },
    /// The answer breaks HTTP's rules; nothing of it was used.
    #[error("the server's answer breaks HTTP: {0}")]
    Protocol(#[from] ProtocolFault),
    /// The answer cannot be parsed as HTTP at all (R-32, T-38).
    #[error("the server's answer is not valid HTTP ({0})")]
    Malformed(String),
    /// The answer's head is larger than 64 KiB (T-22).
    #[error("the head of the server's answer is too large")]
    HeadTooLarge,
    /// More redirects than the limit (T-20).
    #[error("more than {limit} redirects")]
    TooManyRedirects {
        /// The limit.
        limit: u8,
    },
    /// A redirect from https to http (T-20).
    #[error("a redirect from https to http was refused")]
    Downgrade,
    /// A redirect to something that cannot be fetched.
    #[error("a redirect leads nowhere ({0})")]
    BadRedirect(eddy_content::url::UrlError),
    /// A header of the job's own is no valid header, or is one that eddy sets itself.
    #[error("the header field `{0}` cannot be sent")]
    BadHeader(String),
    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client ({0})")]
    Setup(String),
}

/// How TLS failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate has expired.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate is not valid yet: often this machine's clock is wrong.
    #[error("the certificate is not valid yet (is this machine's clock right?)")]
    NotYetValid,
    /// Signed by nobody whom this machine trusts.
    #[error("the certificate is signed by an unknown issuer")]
    UnknownIssuer,
    /// The certificate is for another host.
    #[error("the certificate is for another host name")]
    WrongName,
    /// The certificate was revoked.
    #[error("the certificate was revoked")]
    Revoked,
    /// Another fault of the certificate.
    #[error("the certificate is invalid ({0})")]
    Certificate(String),
    /// The handshake failed: no common version or cipher, or no TLS at all on that port.
    #[error("the handshake failed ({0})")]
    Handshake(String),
}

/// What was being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A place among the requests that the origin sees at a time.
    Turn,
    /// The connection and its TLS handshake.
    Connecting,
    /// The head of the answer.
    Answer,
    /// More of the body.
    Body,
}

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The origin's.
    Origin,
    /// The network's between here and there.
    Network,
    /// The job's: its URL, its credentials, its headers.
    Job,
    /// This machine's: its certificates, its settings.
    Node,
}

/// Whether the same question may get another answer later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Yes; not before the time that the origin named.
    Transient {
        /// The origin's wish (Retry-After), capped by the judge.
        after: Option<Duration>,
    },
    /// Not until somebody changes something.
    Permanent,
}

impl OriginError {
    /// A short name that never changes, for catalogues, scripts and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.cause.code()
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.cause.fault()
    }

    /// Whether another try is worth it.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.cause.retry()
    }

    /// The HTTP status code, when that is what went wrong.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.cause {
            Cause::Status { status, .. } => Some(status),
            _ => None,
        }
    }
}

impl Cause {
    /// The same of a question that a proxy was to pass on: who could not be connected to is the proxy.
    pub(super) fn of_proxy(self) -> Self {
        match self {
            Self::Dns { .. }
            | Self::Refused
            | Self::Unreachable
            | Self::Connect(_)
            | Self::Timeout(Phase::Connecting) => Self::Proxy(Box::new(self)),
            other => other,
        }
    }

    /// See [`OriginError::code`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Dns { .. } => "origin-dns",
            Self::Address { .. } => "origin-address-refused",
            Self::Refused => "origin-connection-refused",
            Self::Unreachable => "origin-unreachable",
            Self::NoDescriptor => "origin-no-descriptor",
            Self::Connect(_) => "origin-connect",
            Self::Proxy(_) => "origin-proxy",
            Self::Tls(fault) => fault.code(),
            Self::Timeout(_) => "origin-timeout",
            Self::Reset => "origin-reset",
            Self::ClosedEarly { .. } => "origin-closed-early",
            Self::TooLong => "origin-too-long",
            Self::Status { status, .. } => status_code(*status),
            Self::Protocol(_) | Self::Malformed(_) | Self::HeadTooLarge => "origin-protocol",
            Self::TooManyRedirects { .. } | Self::Downgrade | Self::BadRedirect(_) => "origin-redirect",
            Self::BadHeader(_) => "origin-bad-header",
            Self::Setup(_) => "origin-setup",
        }
    }

    /// See [`OriginError::fault`].
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Timeout(Phase::Turn) => Fault::Node,
            Self::Dns { resolver_failed: true, .. }
            | Self::Unreachable
            | Self::Timeout(_)
            | Self::Connect(_)
            | Self::Proxy(_) => Fault::Network,
            Self::Dns { .. } | Self::BadHeader(_) => Fault::Job,
            Self::Status { status: 400..=407 | 410 | 414, .. } => Fault::Job,
            Self::Tls(TlsFault::NotYetValid) | Self::Setup(_) | Self::NoDescriptor => Fault::Node,
            _ => Fault::Origin,
        }
    }

    /// See [`OriginError::retry`].
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Status { retry, .. } => *retry,
            Self::Protocol(fault) if fault.after() == AfterFault::TryAgain => Retry::Transient { after: None },
            Self::Dns { resolver_failed: true, .. }
            | Self::Refused
            | Self::Unreachable
            | Self::NoDescriptor
            | Self::Connect(_)
            | Self::Proxy(_)
            | Self::Timeout(_)
            | Self::Reset
            | Self::ClosedEarly { .. } => Retry::Transient { after: None },
            Self::Dns { .. }
            | Self::Address { .. }
            | Self::Tls(_)
            | Self::TooLong
            | Self::Protocol(_)
            | Self::Malformed(_)
            | Self::HeadTooLarge
            | Self::TooManyRedirects { .. }
            | Self::Downgrade
            | Self::BadRedirect(_)
            | Self::BadHeader(_)
            | Self::Setup(_) => Retry::Permanent,
        }
    }
}

impl TlsFault {
    fn code(&self) -> &'static str {
        match self {
            Self::Expired => "origin-tls-expired",
            Self::NotYetValid => "origin-tls-not-yet-valid",
            Self::UnknownIssuer => "origin-tls-unknown-issuer",
            Self::WrongName => "origin-tls-wrong-name",
            Self::Revoked => "origin-tls-revoked",
            Self::Certificate(_) => "origin-tls-certificate",
            Self::Handshake(_) => "origin-tls-handshake",
        }
    }
}

/// The codes that people meet often get names of their own; the rest share one per class.
fn status_code(status: u16) -> &'static str {
    match status {
        401 => "origin-401",
        403 => "origin-403",
        404 => "origin-404",
        407 => "origin-407",
        410 => "origin-410",
        429 => "origin-429",
        503 => "origin-503",
        400..=499 => "origin-4xx",
        500..=599 => "origin-5xx",
        _ => "origin-status",
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "waiting for other requests to the origin",
            Self::Connecting => "connecting",
            Self::Answer => "waiting for the answer",
            Self::Body => "reading the body",
        })
    }
}
