//! What went wrong on the way, in the engine's terms: class, row of the catalogue, what happened.

use super::sink::SinkFault;
use crate::condition;
use crate::deliver::{code, refusal};
use crate::origin::{Cause, OriginError, Retry, TlsFault};
use eddy_cache::{AdmitError, CommitError, WriteError};
use eddy_content::BlockSet;
use eddy_content::http::ConnectRefusal;
use eddy_engine::port::{FetchOutcome, PeerFault};
use eddy_engine::{Failure, FailureClass};
use eddy_wire::catalogue::ErrorCode;
use std::path::Path;

/// A failed question or body.
#[must_use]
pub fn of_origin(error: &OriginError) -> Failure {
    let row = row_of(&error.cause);
    let retry_after = match error.retry() {
        Retry::Transient { after } => after,
        Retry::Permanent => None,
    };
    let class = match (&error.cause, error.retry()) {
        (Cause::NoDescriptor, _) => FailureClass::Disk,
        (Cause::Dns { .. } | Cause::Refused | Cause::Unreachable | Cause::Connect(_) | Cause::Proxy(_), _) => {
            FailureClass::Unreachable
        }
        (_, Retry::Transient { .. }) => FailureClass::Transient,
        (_, Retry::Permanent) => FailureClass::Fatal,
    };
    Failure { class, retry_after, ..refusal(row, error.to_string()) }
}

/// The machine is on no network any more.
#[must_use]
pub fn network_lost() -> Failure {
    Failure::transient(code(ErrorCode::NetworkLost), "the network of this machine has gone")
}

fn row_of(cause: &Cause) -> ErrorCode {
    match cause {
        Cause::Dns { .. } => ErrorCode::NameNotResolved,
        Cause::Refused => ErrorCode::ConnectionRefused,
        // Who names the address himself may go there: the remedy is that of a redirect.
        Cause::Address { refusal: ConnectRefusal::Inward { .. }, .. } => ErrorCode::HttpRedirect,
        Cause::Unreachable | Cause::Connect(_) | Cause::Address { .. } => ErrorCode::HostUnreachable,
        // Only proxies say 407.
        Cause::Proxy(_) | Cause::Status { status: 407, .. } => ErrorCode::ProxyFailed,
        Cause::Tls(TlsFault::Expired | TlsFault::NotYetValid) => ErrorCode::TlsExpired,
        Cause::Tls(TlsFault::UnknownIssuer | TlsFault::Revoked) => ErrorCode::TlsUntrusted,
        Cause::Tls(TlsFault::WrongName) => ErrorCode::TlsWrongName,
        Cause::Tls(TlsFault::Certificate(_) | TlsFault::Handshake(_)) => ErrorCode::TlsFailed,
        Cause::Timeout(_) => ErrorCode::OriginTimeout,
        Cause::Reset | Cause::ClosedEarly { .. } => ErrorCode::ConnectionLost,
        Cause::Status { status, .. } => ErrorCode::from_http_status(*status).unwrap_or(ErrorCode::OriginProtocol),
        Cause::Protocol(_) | Cause::Malformed(_) | Cause::HeadTooLarge => ErrorCode::OriginProtocol,
        Cause::TooManyRedirects { .. } | Cause::Downgrade | Cause::BadRedirect(_) => ErrorCode::HttpRedirect,
        Cause::TooLong => ErrorCode::LengthMismatch,
        Cause::BadHeader(_) => ErrorCode::BadRequest,
        Cause::NoDescriptor => ErrorCode::TooManyOpenFiles,
        Cause::Setup(_) => ErrorCode::Internal,
    }
}

/// An entity that the store does not take in.
#[must_use]
pub fn of_admission(error: &AdmitError, directory: &Path) -> Failure {
    match condition::of_admission(error) {
        Some(kind) => condition::of_cache(kind, directory, error),
        // The engine streams such a file past the cache.
        None => Failure { class: FailureClass::Disk, ..refusal(ErrorCode::CacheTooSmall, error.to_string()) },
    }
}

/// Blocks that could not be made durable: they are fetched again when the disk is well (C-08).
#[must_use]
pub fn of_commit(error: &CommitError, directory: &Path) -> Failure {
    condition::of_cache(condition::of_commit(error), directory, error)
}

/// How a fetch whose writing thread failed has ended.
#[must_use]
pub fn of_sink(fault: &SinkFault, is_from_peer: bool) -> FetchOutcome {
    match fault {
        SinkFault::Write(WriteError::Disk(disk)) => {
            let row = condition::at_home(disk.kind());
            FetchOutcome::Failed(Failure { class: FailureClass::Disk, ..refusal(row, disk.to_string()) })
        }
        SinkFault::Write(_) if is_from_peer => FetchOutcome::PeerFailed(PeerFault::Lied),
        SinkFault::Write(error) => {
            FetchOutcome::Failed(Failure::transient(code(ErrorCode::OriginProtocol), error.to_string()))
        }
        // The origin is believed without one.
        SinkFault::Unkept { blocks } => FetchOutcome::Unwitnessed(BlockSet::from_run(blocks.clone())),
        SinkFault::Commit(failure) => FetchOutcome::Failed(failure.clone()),
        SinkFault::NoRun | SinkFault::Died => {
            FetchOutcome::Failed(Failure::transient(code(ErrorCode::Internal), "the writing thread of a transfer died"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::OriginRequest;
    use eddy_content::ResourceUrl;
    use eddy_content::http::{Asked, HeaderMap, ResponseHead, Verdict, judge};

    #[test]
    fn f29_what_a_job_does_after_a_status_is_what_the_catalogue_says_of_it() {
        let url = ResourceUrl::parse("https://h/f").expect("parses");
        let expectation = OriginRequest::new(url.clone(), Asked::Whole).expectation(&url);
        for status in 400..=599 {
            let head = ResponseHead { status, version: http::Version::HTTP_11, headers: HeaderMap::new() };
            let retry = match judge(&expectation, &head, 0) {
                Verdict::Transient { .. } => Retry::Transient { after: None },
                _ => Retry::Permanent,
            };
            let error = OriginError { url: Box::new(url.clone()), cause: Cause::Status { status, retry } };
            let passes = of_origin(&error).class == FailureClass::Transient;
            let row = ErrorCode::from_http_status(status).expect("an error").entry();
            assert_eq!(passes, row.retry.helps(), "{status} is {}", row.code);
        }
    }
}
