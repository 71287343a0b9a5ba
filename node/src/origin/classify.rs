//! From the HTTP stack's error chains to causes that people can act on.

use super::error::{Cause, Phase, TlsFault};
use super::reach::ResolveError;
use std::error::Error;
use std::io;

/// Says what an error of the HTTP client means; `phase` is what was going on.
pub(super) fn classify(error: &reqwest::Error, phase: Phase, received: u64) -> Cause {
    let chain = Chain::of(error);
    if let Some(resolve) = chain.find::<ResolveError>() {
        return dns(resolve);
    }
    if let Some(tls) = chain.find::<rustls::Error>() {
        return Cause::Tls(tls_fault(tls));
    }
    if error.is_timeout() {
        return Cause::Timeout(if error.is_connect() { Phase::Connecting } else { phase });
    }
    if let Some(cause) = chain.io().find_map(|e| socket(e, error.is_connect(), phase, received)) {
        return cause;
    }
    if is_http2_failure(error) {
        return Cause::Reset;
    }
    if error.is_connect() {
        return Cause::Connect(chain.deepest());
    }
    match chain.find::<hyper::Error>() {
        Some(http) if http.is_parse() => malformed(http, &chain),
        Some(http) if http.is_incomplete_message() || http.is_closed() || http.is_canceled() => closed(phase, received),
        _ if phase == Phase::Body => Cause::ClosedEarly { received },
        _ => Cause::Connect(chain.deepest()),
    }
}

/// Whether HTTP/2 itself, not the origin behind it, gave up.
pub(super) fn is_http2_failure(error: &reqwest::Error) -> bool {
    Chain::of(error).find::<h2::Error>().is_some()
}

fn dns(error: &ResolveError) -> Cause {
    match error {
        ResolveError::Refused { host, refusal } => Cause::Address { host: host.clone(), refusal: *refusal },
        ResolveError::Lookup(source) => {
            let text = source.to_string();
            // A resolver that could not open its own socket.
            if text.contains("Too many open files") {
                return Cause::NoDescriptor;
            }
            // The platform tells EAI_AGAIN from EAI_NONAME only in its words (glibc's and musl's, never translated).
            let resolver_failed = ["Temporary failure", "Try again", "System error"].iter().any(|t| text.contains(t));
            let reason = text.rsplit(": ").next().unwrap_or_default().to_owned();
            Cause::Dns { reason, resolver_failed }
        }
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            C::Expired | C::ExpiredContext { .. } => TlsFault::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => TlsFault::NotYetValid,
            // An issuer that only has the name of one who is trusted signs with another key.
            C::UnknownIssuer | C::BadSignature => TlsFault::UnknownIssuer,
            C::NotValidForName | C::NotValidForNameContext { .. } => TlsFault::WrongName,
            C::Revoked => TlsFault::Revoked,
            other => TlsFault::Certificate(shown(other)),
        },
        other => TlsFault::Handshake(shown(other)),
    }
}

/// What an error of the socket means, if it is one of those that say something.
fn socket(error: &io::Error, connecting: bool, phase: Phase, received: u64) -> Option<Cause> {
    use io::ErrorKind as K;
    use rustix::io::Errno;
    if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(error) {
        return Some(Cause::NoDescriptor);
    }
    Some(match error.kind() {
        K::ConnectionRefused => Cause::Refused,
        K::NetworkUnreachable | K::HostUnreachable | K::NetworkDown | K::AddrNotAvailable => Cause::Unreachable,
        K::TimedOut => Cause::Timeout(if connecting { Phase::Connecting } else { phase }),
        K::UnexpectedEof if connecting => Cause::Tls(TlsFault::Handshake("the server hung up".to_owned())),
        K::UnexpectedEof => closed(phase, received),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected => Cause::Reset,
        // How hyper reports a chunk that is no chunk.
        K::InvalidData | K::InvalidInput if phase == Phase::Body => Cause::Malformed(shown(error)),
        _ => return None,
    })
}

fn malformed(error: &hyper::Error, chain: &Chain<'_>) -> Cause {
    if error.is_parse_too_large() { Cause::HeadTooLarge } else { Cause::Malformed(chain.deepest()) }
}

/// A connection that ends before the answer began is as good as reset; within the body it is R-33.
fn closed(phase: Phase, received: u64) -> Cause {
    if phase == Phase::Body { Cause::ClosedEarly { received } } else { Cause::Reset }
}

/// An error and everything under it.
struct Chain<'a>(Vec<&'a (dyn Error + 'static)>);

impl<'a> Chain<'a> {
    fn of(error: &'a (dyn Error + 'static)) -> Self {
        let mut links = Vec::new();
        let mut next = Some(error);
        while let Some(link) = next {
            links.push(link);
            // `io::Error::source` skips the error that it wraps; ask for that one first.
            let wrapped = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| link.source());
            if links.len() >= MAX_LINKS {
                break;
            }
        }
        Self(links)
    }

    fn find<E: Error + 'static>(&self) -> Option<&'a E> {
        self.0.iter().find_map(|link| link.downcast_ref::<E>())
    }

    fn io(&self) -> impl Iterator<Item = &'a io::Error> + '_ {
        self.0.iter().filter_map(|link| link.downcast_ref::<io::Error>())
    }

    /// The words of the last link: the wrappers repeat the URL, which may hold secrets (T-36); the last never does.
    fn deepest(&self) -> String {
        self.0.iter().skip(1).last().map(shown).unwrap_or_default()
    }
}

/// Text of foreign origin, fit for a terminal and of bounded length (T-28).
fn shown(text: impl std::fmt::Display) -> String {
    text.to_string().chars().flat_map(char::escape_debug).take(MAX_SHOWN).collect()
}

/// Links of an error chain that are looked at.
const MAX_LINKS: usize = 16;

/// Characters of a foreign message that are shown.
const MAX_SHOWN: usize = 200;
