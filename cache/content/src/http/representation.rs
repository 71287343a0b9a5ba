//! What an answer says about the version that it carries.

use super::date::date_field;
use super::sharing::{NotShared, NotStored, shareable, storable};
use super::{Expectation, Known, ResponseHead};
use crate::digest::{self, ExpectedDigest};
use crate::validator::{ConditionalMarks, NotStrong};
use crate::{Entity, Validator};
use ::http::header::{ACCEPT_RANGES, CONTENT_ENCODING, HeaderMap, LAST_MODIFIED};

/// Whether the origin serves byte ranges of this resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSupport {
    /// It has sent a 206, or says `Accept-Ranges: bytes`.
    Yes,
    /// It says `Accept-Ranges: none`, answered a range with 200, or speaks HTTP/1.0.
    No,
    /// It has not said.
    Unknown,
}

/// The content coding of the bytes: part of what a version is (R-01), though only `identity` is ever asked for (R-12).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Coding {
    /// Uncoded.
    #[default]
    Identity,
    /// Coded although identity was asked; the coded bytes are the representation (R-35). Holds the field, in lower case.
    Coded(String),
}

/// The facts of one answer about the selected representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    /// The strong validator, if the answer gave one (R-02, R-04, R-07).
    pub validator: Option<Validator>,
    /// Why there is no strong validator, for `eddy why`.
    pub not_strong: Option<NotStrong>,
    /// Verbatim marks, weak ones too, for a conditional request about the whole (R-03).
    pub marks: ConditionalMarks,
    /// The complete length, if the answer gave one.
    pub length: Option<u64>,
    /// The content coding of the bytes.
    pub coding: Coding,
    /// Whether ranges can be asked for.
    pub ranges: RangeSupport,
    /// Digests of the whole representation that the origin named, strongest first (R-43, R-47).
    pub digests: Vec<ExpectedDigest>,
    /// Digests of exactly the bytes that this message carries (Content-Digest), strongest first (R-47).
    pub message_digests: Vec<ExpectedDigest>,
    /// Last-Modified as seconds since the Unix epoch, for the delivered file's time.
    pub last_modified: Option<i64>,
    /// Whether the bytes may be kept.
    pub storable: Result<(), NotStored>,
    /// Whether the bytes may be offered to peers.
    pub shareable: Result<(), NotShared>,
}

impl Representation {
    /// Reads the facts of an answer with content or of a HEAD; `now` is in seconds since the Unix epoch.
    ///
    /// The caller settles `length` and `ranges`, which depend on the status, and corrects `validator` with what is known.
    pub(super) fn read(expectation: &Expectation, head: &ResponseHead, now: i64) -> Self {
        let headers = &head.headers;
        let coding = Coding::of(headers).unwrap_or_default();
        let mut representation = Self {
            validator: None,
            not_strong: None,
            marks: ConditionalMarks::of(headers),
            length: None,
            ranges: RangeSupport::announced(head),
            digests: digest::of_representation(headers, head.status == 206),
            message_digests: digest::of_message(headers),
            last_modified: date_field(headers, LAST_MODIFIED),
            storable: storable(headers),
            shareable: shareable(expectation, headers, &coding),
            coding,
        };
        representation.adopt(Validator::select(headers, now));
        representation
    }

    /// Takes a validator, or takes it away with the reason; without one, nothing is shared (R-05).
    pub(super) fn adopt(&mut self, validator: Result<Validator, NotStrong>) {
        self.not_strong = validator.as_ref().err().copied();
        self.validator = validator.ok();
        if self.validator.is_none() && self.shareable.is_ok() {
            self.shareable = Err(NotShared::NoValidator);
        } else if self.validator.is_some() && self.shareable == Err(NotShared::NoValidator) {
            self.shareable = Ok(());
        }
    }

    /// The entity that the bytes belong to, once validator and length are known; `url` is the final one (R-01).
    #[must_use]
    pub fn entity(&self, url: &crate::ResourceUrl) -> Option<Entity> {
        Some(Entity { url: url.clone(), validator: self.validator.clone()?, length: self.length? })
    }

    /// What later answers will be held against.
    #[must_use]
    pub fn known(&self) -> Known {
        Known { validator: self.validator.clone(), length: self.length, coding: self.coding.clone() }
    }
}

impl RangeSupport {
    /// What the head says by itself, before its status is weighed.
    fn announced(head: &ResponseHead) -> Self {
        if head.is_http10() {
            return Self::No;
        }
        let says = |unit: &str| {
            head.headers.get_all(ACCEPT_RANGES).iter().any(|value| {
                value.to_str().is_ok_and(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(unit)))
            })
        };
        match (says("bytes"), says("none")) {
            (true, false) => Self::Yes,
            (_, true) => Self::No,
            (false, false) => Self::Unknown,
        }
    }
}

impl Coding {
    /// The coding that the head names; `None` when it names none, which in a 206 to If-Range says nothing (RFC 9110
    /// section 15.3.7).
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            codings.extend(text.split(',').map(|part| part.trim().to_owned()));
        }
        if codings.is_empty() {
            return None;
        }
        // `aws-chunked` is the coding of an upload that some S3 servers echo by mistake; the bytes are not coded.
        codings.retain(|coding| !matches!(coding.as_str(), "" | "identity" | "aws-chunked"));
        Some(if codings.is_empty() { Self::Identity } else { Self::Coded(codings.join(", ")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::{NOW, expect_whole, head};
    use ::http::Version;

    fn read(fields: &[(&'static str, &str)]) -> Representation {
        Representation::read(&expect_whole(), &head(200, fields), NOW)
    }

    #[test]
    fn range_support_is_read_from_accept_ranges_and_version() {
        assert_eq!(read(&[]).ranges, RangeSupport::Unknown);
        assert_eq!(read(&[("accept-ranges", "Bytes")]).ranges, RangeSupport::Yes);
        assert_eq!(read(&[("accept-ranges", "none")]).ranges, RangeSupport::No);
        let old = ResponseHead { version: Version::HTTP_10, ..head(200, &[("accept-ranges", "bytes")]) };
        assert_eq!(Representation::read(&expect_whole(), &old, NOW).ranges, RangeSupport::No);
    }

    #[test]
    fn r35_codings_are_named_and_identity_is_none() {
        assert_eq!(read(&[("content-encoding", "GZIP")]).coding, Coding::Coded("gzip".into()));
        assert_eq!(
            read(&[("content-encoding", "gzip"), ("content-encoding", "br")]).coding,
            Coding::Coded("gzip, br".into())
        );
        for identity in ["identity", "", "aws-chunked", "aws-chunked,"] {
            assert_eq!(read(&[("content-encoding", identity)]).coding, Coding::Identity, "{identity}");
        }
    }

    #[test]
    fn without_a_strong_validator_nothing_is_shared_and_the_reason_is_kept() {
        let weak = read(&[("etag", "W/\"a\"")]);
        assert_eq!((weak.shareable, weak.not_strong), (Err(NotShared::NoValidator), Some(NotStrong::WeakEtag)));
        assert_eq!(weak.entity(&expect_whole().url), None);
        let strong = read(&[("etag", "\"a\"")]);
        assert_eq!((strong.shareable, strong.not_strong), (Ok(()), None));
    }
}
