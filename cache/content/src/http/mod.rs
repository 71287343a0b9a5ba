//! What an HTTP answer means, decided before a byte of its body is kept.
//!
//! [`judge`] takes what was asked and what came back and gives a [`Verdict`]; every rule is a branch with its
//! citation. The shell that speaks HTTP carries the verdict out and decides nothing.
//!
//! | file | what it judges |
//! |---|---|
//! | `judge` | which status goes to which rules |
//! | `partial` | 206 and 416: is this the range that was asked, of the version that is known? |
//! | `whole` | 200, HEAD and 304: which version is it? |
//! | `version` | is it the known version? |
//! | `status` | errors: who must do what, and when? |
//! | `framing` | where does the body end? |
//! | `body` | did it end there? |
//! | `content_range`, `date`, `cache_control` | the fields' grammars |
//! | `representation` | what the answer says about the version |
//! | [`freshness`] | may a stored version be used without asking (RFC 9111 section 4)? |
//! | `sharing`, `signed_url` | may it be stored, may it be shared (RFC 9111 section 3, T-31 to T-37)? |
//! | [`serve`] | how is a request answered from what is held (RFC 9111, the gateway)? |
//! | `redirect`, `address` | may this hop be taken, may this address be connected (R-15, T-20)? |
//! | `digest_access` | how is a password proved without being sent (RFC 7616)? |

mod address;
mod body;
mod cache_control;
mod content_range;
pub(crate) mod date;
mod digest_access;
mod fault;
#[cfg(test)]
pub(crate) mod fixture;
mod framing;
pub mod freshness;
mod judge;
#[cfg(test)]
mod judge_tests;
mod partial;
mod redirect;
mod representation;
pub mod serve;
mod sharing;
mod signed_url;
mod status;
mod version;
mod whole;

pub use address::{AddressClass, ConnectRefusal, may_connect};
pub use body::{BodyEnd, BodyLimit, BodyMeter, Taken, Then};
pub use content_range::ContentRange;
pub use date::http_date;
pub use digest_access::{DigestChallenge, Proved};
pub use fault::{AfterFault, ChangeReason, ProtocolFault};
pub use framing::{Framing, MAX_HEAD_BYTES, MAX_HEAD_FIELDS, MAX_INTERIM_ANSWERS, MAX_SECONDS_TO_HEAD};
pub use freshness::Freshness;
pub use judge::{MAX_CHANGES_PER_JOB, Simpler, Verdict, judge};
pub use redirect::{Carry, Location, MAX_REDIRECTS, RedirectRefusal, may_carry_credentials, may_follow};
pub use representation::{Coding, RangeSupport, Representation};
pub use sharing::{NotShared, NotStored, shareable_url};
pub use signed_url::credential_mark;
pub(crate) use signed_url::has_credential_path;
pub use status::MAX_RETRY_AFTER;

use crate::{Entity, ResourceUrl, Validator};
pub use ::http::HeaderMap;
use ::http::Version;

/// The head of an answer: status, protocol version, headers.
#[derive(Clone)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// The protocol version of the answer.
    pub version: Version,
    /// The header fields, repeated ones kept apart.
    pub headers: HeaderMap,
}

impl std::fmt::Debug for ResponseHead {
    /// Without the fields: Location and Set-Cookie hold secrets (T-36).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields = self.headers.len();
        write!(f, "ResponseHead({} {:?}, {fields} fields)", self.status, self.version)
    }
}

impl ResponseHead {
    /// Whether the server spoke HTTP/1.0 or older.
    #[must_use]
    pub fn is_http10(&self) -> bool {
        self.version <= Version::HTTP_10
    }
}

/// What the request asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Metadata alone (HEAD).
    Head,
    /// The whole representation (GET without Range).
    Whole,
    /// One byte range, `last` inclusive; open-ended without it.
    Range {
        /// First byte.
        first: u64,
        /// Last byte, inclusive.
        last: Option<u64>,
    },
}

/// The precondition that the request carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    None,
    /// If-Range with the known validator.
    IfRange,
    /// If-Match, or If-Unmodified-Since for a date.
    IfMatch,
    /// If-None-Match or If-Modified-Since.
    IfNoneMatch,
}

/// What earlier answers, or the job, established about the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The strong validator of the version that bytes are held of.
    pub validator: Option<Validator>,
    /// The complete length, once known.
    pub length: Option<u64>,
    /// The content coding of the bytes held.
    pub coding: Coding,
}

impl Known {
    /// What is known of a stored entity. Only uncoded bytes are kept as entities across jobs.
    #[must_use]
    pub fn of(entity: &Entity) -> Self {
        Self { validator: Some(entity.validator.clone()), length: Some(entity.length), coding: Coding::Identity }
    }
}

/// Everything that [`judge`] needs to know about the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// The URL of this very request, after the redirects so far.
    pub url: ResourceUrl,
    /// What was asked.
    pub asked: Asked,
    /// Under which precondition.
    pub precondition: Precondition,
    /// The version that is being assembled; `None` on first contact.
    pub known: Option<Known>,
    /// Whether the request carried credentials, cookies, a client certificate or headers of the user's own (T-31, T-34):
    /// the answer is then private whatever its headers say.
    pub privacy: RequestPrivacy,
}

/// Whether the request itself makes its answer private.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestPrivacy {
    /// Built from the allow-list alone.
    Plain,
    /// Carried something that only this user has.
    Personal,
}
