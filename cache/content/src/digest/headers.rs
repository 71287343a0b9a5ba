//! Digests in HTTP fields: RFC 9530, RFC 3230, and S3's own.
//!
//! Garbage and unknown algorithms are ignored: a digest that nobody can read protects nothing and breaks nothing.

use super::{DigestAlgorithm, ExpectedDigest, strongest_first, text::decode};
use ::http::header::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

/// Digests of the whole representation, strongest first.
///
/// From a 206 only `Repr-Digest` is taken: RFC 9530 section 3.1 is clear about it, while old servers differ in what
/// `Digest` covers there, and S3 answers a part with that part's checksum.
#[must_use]
pub fn of_representation(headers: &HeaderMap, is_partial: bool) -> Vec<ExpectedDigest> {
    let mut found = structured(headers, "repr-digest");
    if !is_partial {
        found.extend(rfc3230(headers));
        found.extend(s3_full_object(headers));
    }
    strongest_first(found)
}

/// Digests of exactly the bytes that the message carries (`Content-Digest`), strongest first.
#[must_use]
pub fn of_message(headers: &HeaderMap) -> Vec<ExpectedDigest> {
    strongest_first(structured(headers, "content-digest"))
}

/// The whole-representation digests that trailers add: of all trailer fields only `Repr-Digest` counts here, and
/// only for algorithms that the header left open.
#[must_use]
pub fn of_trailers(from_header: &[ExpectedDigest], trailers: &HeaderMap) -> Vec<ExpectedDigest> {
    let is_open = |digest: &ExpectedDigest| from_header.iter().all(|known| known.algorithm != digest.algorithm);
    strongest_first(structured(trailers, "repr-digest").into_iter().filter(is_open).collect())
}

/// A dictionary of byte sequences (RFC 9530 section 2); several lines are one dictionary.
fn structured(headers: &HeaderMap, name: &'static str) -> Vec<ExpectedDigest> {
    let Some(joined) = joined(headers, name) else { return Vec::new() };
    let Ok(dictionary) = Parser::new(&joined).parse::<Dictionary>() else { return Vec::new() };
    let digest = |(key, entry): (sfv::Key, ListEntry)| match entry {
        ListEntry::Item(sfv::Item { bare_item: BareItem::ByteSequence(value), .. }) => {
            ExpectedDigest::new(registered(key.as_str())?, value)
        }
        _ => None,
    };
    dictionary.into_iter().filter_map(digest).collect()
}

/// `Digest: SHA-256=base64, MD5=base64` (RFC 3230; obsolete, still sent). No structured field.
fn rfc3230(headers: &HeaderMap) -> Vec<ExpectedDigest> {
    let Some(joined) = joined(headers, "digest") else { return Vec::new() };
    joined
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .filter_map(|(name, value)| decode(registered(name)?, value))
        .collect()
}

/// `x-amz-checksum-sha256` of a full object: a composite of part checksums says so, or ends in `-<parts>`.
fn s3_full_object(headers: &HeaderMap) -> Option<ExpectedDigest> {
    let kind = headers.get("x-amz-checksum-type");
    if kind.is_some_and(|kind| !kind.as_bytes().eq_ignore_ascii_case(b"FULL_OBJECT")) {
        return None;
    }
    decode(DigestAlgorithm::Sha256, headers.get("x-amz-checksum-sha256")?.to_str().ok()?.trim())
}

/// The algorithm of an HTTP registry's key; the registries do not know BLAKE3.
fn registered(key: &str) -> Option<DigestAlgorithm> {
    match key.to_ascii_lowercase().as_str() {
        "sha-256" => Some(DigestAlgorithm::Sha256),
        "sha-512" => Some(DigestAlgorithm::Sha512),
        "sha" => Some(DigestAlgorithm::Sha1),
        "md5" => Some(DigestAlgorithm::Md5),
        _ => None,
    }
}

/// All lines of a field as one list; `None` when it is absent or not ASCII.
fn joined(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let lines: Option<Vec<&str>> =
        headers.get_all(HeaderName::from_static(name)).iter().map(|value| value.to_str().ok()).collect();
    lines.filter(|lines| !lines.is_empty()).map(|lines| lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fixture::head;

    const SHA256: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const MD5: &str = "1B2M2Y8AsgTpgAmY7PhCfg==";

    fn algorithms(digests: &[ExpectedDigest]) -> Vec<DigestAlgorithm> {
        digests.iter().map(|d| d.algorithm).collect()
    }

    #[test]
    fn r47_repr_digest_covers_the_whole_and_content_digest_the_message() {
        let both =
            head(206, &[("repr-digest", &format!("sha-256=:{SHA256}:")), ("content-digest", &format!("md5=:{MD5}:"))]);
        assert_eq!(algorithms(&of_representation(&both.headers, true)), [DigestAlgorithm::Sha256]);
        assert_eq!(algorithms(&of_message(&both.headers)), [DigestAlgorithm::Md5]);
    }

    #[test]
    fn the_strongest_comes_first_and_lines_are_one_dictionary() {
        let two = head(
            200,
            &[
                ("repr-digest", &format!("md5=:{MD5}:, unixsum=:AAA=:")),
                ("repr-digest", &format!("sha-256=:{SHA256}:")),
            ],
        );
        let found = of_representation(&two.headers, false);
        assert_eq!(algorithms(&found), [DigestAlgorithm::Sha256, DigestAlgorithm::Md5]);
    }

    #[test]
    fn the_old_digest_field_counts_on_a_whole_answer_only() {
        let old = head(200, &[("digest", &format!("SHA-256={SHA256},MD5={MD5},unixsum=30637"))]);
        assert_eq!(of_representation(&old.headers, false).len(), 2);
        assert_eq!(of_representation(&old.headers, true), []);
    }

    #[test]
    fn s3_checksums_count_for_full_objects_only() {
        let of =
            |fields: &[(&'static str, &str)], partial| of_representation(&head(200, fields).headers, partial).len();
        let sum = ("x-amz-checksum-sha256", SHA256);
        assert_eq!(of(&[sum], false), 1);
        assert_eq!(of(&[sum, ("x-amz-checksum-type", "FULL_OBJECT")], false), 1);
        assert_eq!(of(&[sum, ("x-amz-checksum-type", "COMPOSITE")], false), 0);
        assert_eq!(of(&[("x-amz-checksum-sha256", &format!("{SHA256}-3"))], false), 0);
        assert_eq!(of(&[sum], true), 0);
    }

    #[test]
    fn garbage_is_ignored() {
        for value in
            ["", "sha-256", "sha-256=abc", "sha-256=:AAAA:", "sha-256=?1", "sha-256=(:AA==:)", "::::", "blake3=:AA==:"]
        {
            assert_eq!(of_representation(&head(200, &[("repr-digest", value)]).headers, false), [], "{value}");
        }
    }

    #[test]
    fn r39_trailers_add_digests_but_never_overrule_the_header() {
        let trailers = head(200, &[("repr-digest", &format!("sha-256=:{SHA256}:, md5=:{MD5}:")), ("etag", "\"x\"")]);
        let known = ExpectedDigest { algorithm: DigestAlgorithm::Sha256, value: vec![0; 32] };
        assert_eq!(algorithms(&of_trailers(&[known], &trailers.headers)), [DigestAlgorithm::Md5]);
        assert_eq!(of_trailers(&[], &trailers.headers).len(), 2);
    }
}
