//! Digests as people and URLs write them.

use super::{DigestAlgorithm, ExpectedDigest, MAX_DIGESTS, strongest_first};
use crate::ResourceUrl;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

/// Why a text is no digest. The user's to mend; a retry does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestTextError {
    /// No `algorithm:value`.
    #[error("a digest is written `sha256:<hexadecimal>`")]
    NoSeparator,
    /// An algorithm that is not one of [`DigestAlgorithm`].
    #[error("unknown digest algorithm: use blake3, sha512, sha256, sha1 or md5")]
    UnknownAlgorithm,
    /// A value that is neither hexadecimal nor base64 of the right length.
    #[error("the {algorithm} value must be {} hexadecimal digits, or base64 of {} bytes", algorithm.output_len() * 2, algorithm.output_len())]
    Value {
        /// The algorithm that was named.
        algorithm: DigestAlgorithm,
    },
    /// More than [`MAX_DIGESTS`] digests.
    #[error("more than {MAX_DIGESTS} digests for one file")]
    TooMany,
}

/// Parses `sha256:hex`, `sha256=hex`, `sha256=base64` or `sha256-base64` (as in web pages' integrity attributes).
pub fn parse(text: &str) -> Result<ExpectedDigest, DigestTextError> {
    let text = text.trim();
    let (name, value) =
        text.split_once([':', '=']).or_else(|| split_at_last_dash_of_name(text)).ok_or(DigestTextError::NoSeparator)?;
    // `sha256-<base64>=`: the padding was taken for the separator.
    let (name, value) = match DigestAlgorithm::from_name(name) {
        Some(_) => (name, value),
        None => split_at_last_dash_of_name(text).ok_or(DigestTextError::UnknownAlgorithm)?,
    };
    let algorithm = DigestAlgorithm::from_name(name).ok_or(DigestTextError::UnknownAlgorithm)?;
    decode(algorithm, value).ok_or(DigestTextError::Value { algorithm })
}

/// The split behind the first dash that ends the name of an algorithm (`sha-256-...` has two).
fn split_at_last_dash_of_name(text: &str) -> Option<(&str, &str)> {
    text.match_indices('-')
        .map(|(at, _)| (&text[..at], &text[at + 1..]))
        .take(2)
        .find(|(name, value)| DigestAlgorithm::from_name(name).is_some_and(|alg| decode(alg, value).is_some()))
}

/// Decodes a value whose length tells hexadecimal from base64.
pub(super) fn decode(algorithm: DigestAlgorithm, value: &str) -> Option<ExpectedDigest> {
    let text = value.as_bytes();
    // Bounded before anything is allocated: no output has more than 128 hexadecimal digits.
    if text.len() > 2 * algorithm.output_len() {
        return None;
    }
    if text.len() == 2 * algorithm.output_len() {
        return ExpectedDigest::new(algorithm, HEXLOWER_PERMISSIVE.decode(text).ok()?);
    }
    [&BASE64, &BASE64_NOPAD, &BASE64URL, &BASE64URL_NOPAD]
        .iter()
        .find_map(|encoding| encoding.decode(text).ok())
        .and_then(|bytes| ExpectedDigest::new(algorithm, bytes))
}

/// The digests in a URL's fragment (`#sha256=...&egg=name`, `#sha256:...`), strongest first; other parts are not ours.
pub fn from_fragment(fragment: &str) -> Result<Vec<ExpectedDigest>, DigestTextError> {
    let mut digests = Vec::new();
    for part in fragment.split('&') {
        let named = part.split_once([':', '=']).and_then(|(name, _)| DigestAlgorithm::from_name(name));
        if named.is_some() {
            digests.push(parse(part)?);
        }
        if digests.len() > MAX_DIGESTS {
            return Err(DigestTextError::TooMany);
        }
    }
    Ok(strongest_first(digests))
}

/// The digest that names a blob or a manifest in an OCI registry (`/v2/<name>/blobs/sha256:<hex>`).
#[must_use]
pub fn from_oci_path(url: &ResourceUrl) -> Option<ExpectedDigest> {
    let parts: Vec<&str> = url.as_url().path_segments()?.collect();
    let [.., kind, reference] = parts.as_slice() else { return None };
    if parts.len() < 4 || parts[0] != "v2" || !matches!(*kind, "blobs" | "manifests") {
        return None;
    }
    let (name, hex) =
        reference.split_once(':').or_else(|| reference.split_once("%3A")).or_else(|| reference.split_once("%3a"))?;
    // The OCI image specification registers these two, in lower-case hexadecimal.
    let algorithm = DigestAlgorithm::from_name(name).filter(|_| matches!(name, "sha256" | "sha512"))?;
    decode(algorithm, hex)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const BASE: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

    #[test]
    fn one_digest_in_every_spelling() {
        let expected = parse(&format!("sha256:{HEX}")).expect("parses");
        let unpadded = BASE.trim_end_matches('=');
        let url_safe = unpadded.replace('+', "-").replace('/', "_");
        for text in [
            format!("sha256={HEX}"),
            format!("SHA-256:{}", HEX.to_uppercase()),
            format!("sha256={BASE}"),
            format!("sha256-{BASE}"),
            format!("sha-256-{unpadded}"),
            format!("sha256:{url_safe}"),
            format!("  sha256:{HEX}\n"),
        ] {
            assert_eq!(parse(&text).as_ref(), Ok(&expected), "{text}");
        }
        assert_eq!(expected.to_string(), format!("sha256:{HEX}"));
    }

    #[test]
    fn what_is_no_digest_says_why() {
        assert_eq!(parse(HEX), Err(DigestTextError::NoSeparator));
        assert_eq!(parse(&format!("crc32:{HEX}")), Err(DigestTextError::UnknownAlgorithm));
        let short = parse("sha256:abcd").expect_err("too short");
        assert_eq!(short.to_string(), "the sha256 value must be 64 hexadecimal digits, or base64 of 32 bytes");
        assert!(parse(&format!("sha256:{}", "g".repeat(64))).is_err());
        assert!(parse(&format!("sha512:{HEX}")).is_err());
    }

    #[test]
    fn a_fragment_may_hold_several_and_other_things() {
        let found = from_fragment(&format!("egg=x&md5={}&sha256={HEX}", "0".repeat(32))).expect("parses");
        let names: Vec<_> = found.iter().map(|d| d.algorithm).collect();
        assert_eq!(names, [DigestAlgorithm::Sha256, DigestAlgorithm::Md5]);
        assert_eq!(from_fragment("section-2"), Ok(Vec::new()));
        assert!(from_fragment("sha256=oops").is_err(), "a promise that cannot be kept is said, not ignored");
    }

    #[test]
    fn a_registry_path_names_its_blob() {
        let of = |path: &str| from_oci_path(&ResourceUrl::parse(&format!("https://r.example{path}")).expect("parses"));
        assert!(of(&format!("/v2/library/debian/blobs/sha256:{HEX}")).is_some());
        assert!(of(&format!("/v2/debian/manifests/sha256%3A{HEX}")).is_some());
        assert_eq!(of(&format!("/v1/library/debian/blobs/sha256:{HEX}")), None);
        assert_eq!(of(&format!("/v2/blobs/sha256:{HEX}")), None);
        assert_eq!(of("/v2/library/debian/manifests/latest"), None);
        assert_eq!(of("/v2/library/debian/blobs/sha256:abc"), None);
        assert_eq!(of(&format!("/v2/a/blobs/md5:{}", "0".repeat(32))), None);
    }

    proptest! {
        #[test]
        fn text_survives_the_round_trip(which in 0usize..5, seed in any::<[u8; 64]>()) {
            let algorithm = DigestAlgorithm::ALL[which];
            let digest = ExpectedDigest::new(algorithm, seed[..algorithm.output_len()].to_vec()).expect("right length");
            prop_assert_eq!(parse(&digest.to_string()), Ok(digest.clone()));
            let dashed = format!("{}-{}", algorithm.name(), BASE64.encode(&digest.value));
            prop_assert_eq!(parse(&dashed), Ok(digest));
        }

        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = from_fragment(&text);
        }
    }
}
