//! Heads and expectations for the tests of this room.

use super::{Asked, Coding, Expectation, Known, Precondition, RequestPrivacy, ResponseHead};
use crate::{ResourceUrl, Validator};
use ::http::{HeaderMap, HeaderValue, Version};

/// The wall clock of the tests: 1994-11-06 13:00:00 UTC.
pub(crate) const NOW: i64 = 784_126_800;

/// An HTTP/1.1 head.
pub(crate) fn head(status: u16, fields: &[(&'static str, &str)]) -> ResponseHead {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a field value"));
    }
    ResponseHead { status, version: Version::HTTP_11, headers }
}

/// A first question for the whole.
pub(crate) fn expect_whole() -> Expectation {
    Expectation {
        url: ResourceUrl::parse("https://origin.example/f").expect("parses"),
        asked: Asked::Whole,
        precondition: Precondition::None,
        known: None,
        privacy: RequestPrivacy::Plain,
    }
}

/// A first question for a range.
pub(crate) fn expect_range(first: u64, last: Option<u64>) -> Expectation {
    Expectation { asked: Asked::Range { first, last }, ..expect_whole() }
}

/// A question for a range of the version `"v1"` of 1000 bytes, under `precondition`.
pub(crate) fn resume(first: u64, last: Option<u64>, precondition: Precondition) -> Expectation {
    Expectation { precondition, known: Some(known_v1()), ..expect_range(first, last) }
}

/// The version `"v1"` of 1000 bytes.
pub(crate) fn known_v1() -> Known {
    Known { validator: Some(Validator::StrongEtag("\"v1\"".into())), length: Some(1000), coding: Coding::Identity }
}
