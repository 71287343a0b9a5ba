//! Answers of the gateway's own: a status and one line, with nothing of the request in it.

use super::body::AnswerBody;
use crate::origin::{Cause, OriginError, Phase};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

/// Why a request is not answered from an origin or from what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// The origin could not be asked.
    pub(super) fn of_origin(error: &OriginError) -> Self {
        let status = match &error.cause {
            // Others have all the places there: who asks again gets his turn.
            Cause::Timeout(Phase::Turn) => StatusCode::SERVICE_UNAVAILABLE,
            Cause::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Cause::Address { .. } | Cause::Downgrade => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_GATEWAY,
        };
        // The error shows no query and no secret (T-36).
        Self::new(status, error.to_string())
    }

    pub(super) fn answer(&self) -> Response<AnswerBody> {
        let mut text: String = self.text.chars().flat_map(char::escape_debug).collect();
        text.push('\n');
        let mut answer = Response::new(AnswerBody::Full(Bytes::from(text)));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::BAD_REQUEST {
            // T-38: what follows a request that nobody understands is not read as one.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Whether the origin, rather than this node or the request, is why it could not be asked.
pub(super) fn is_origins_fault(error: &OriginError) -> bool {
    match &error.cause {
        Cause::Dns { .. }
        | Cause::Refused
        | Cause::Unreachable
        | Cause::Connect(_)
        | Cause::Reset
        | Cause::ClosedEarly { .. }
        | Cause::Malformed(_)
        | Cause::Protocol(_)
        | Cause::Tls(_) => true,
        Cause::Timeout(phase) => matches!(phase, Phase::Connecting | Phase::Answer | Phase::Body),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::ResourceUrl;

    #[test]
    fn who_has_waited_in_vain_for_his_turn_is_told_to_ask_again_and_no_origin_is_blamed() {
        let error = |phase| OriginError {
            url: Box::new(ResourceUrl::parse("http://h/f").expect("parses")),
            cause: Cause::Timeout(phase),
        };
        let told = |phase| {
            let answered = Refusal::of_origin(&error(phase)).answer();
            (answered.status().as_u16(), answered.headers().contains_key(RETRY_AFTER), is_origins_fault(&error(phase)))
        };
        assert_eq!(told(Phase::Turn), (503, true, false));
        assert_eq!(told(Phase::Answer), (504, false, true));
    }
}
