//! Every refusal and failure, as problem details (RFC 9457) with the row of the [catalogue](crate::catalogue).

use crate::catalogue::ErrorCode;
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The media type of a problem (RFC 9457 section 3).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, whose fault it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem as a URI: `urn:eddy:error:` and the code (RFC 9457 section 3.1.1).
    #[serde(rename = "type")]
    pub kind: String,
    /// One sentence that is the same for every problem of the kind.
    pub title: String,
    /// The HTTP status that answers a call which meets the problem.
    pub status: u16,
    /// What exactly happened this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The stable code: `eddy explain CODE` tells more.
    pub code: String,
    /// Whose fault it is: `user`, `origin`, `network`, `peer`, `disk`, `eddy`.
    pub class: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether trying again without a change may help.
    pub retry: bool,
    /// The matching code of BITS, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<String>,
}

impl Problem {
    /// The problem of a row of the catalogue, with what exactly happened.
    ///
    /// `detail` must not carry secrets; what came from outside is neutralised where it is shown (T-28).
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()).filter(|text| !text.is_empty()), ..Self::from(code) }
    }

    /// The row of the catalogue, unless the problem comes from another version of eddy.
    #[must_use]
    pub fn error_code(&self) -> Option<ErrorCode> {
        ErrorCode::parse(&self.code)
    }
}

impl From<ErrorCode> for Problem {
    fn from(code: ErrorCode) -> Self {
        let entry = code.entry();
        Self {
            kind: format!("urn:eddy:error:{}", entry.code),
            title: entry.sentence.to_owned(),
            status: entry.status,
            detail: None,
            code: entry.code.to_owned(),
            class: entry.class.word().to_owned(),
            remedy: entry.remedy.to_owned(),
            retry: entry.retry.helps(),
            bits: entry.bits.map(str::to_owned),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.title)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

impl std::error::Error for Problem {}
