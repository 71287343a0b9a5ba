//! The check that bytes keep every promised digest, in one pass.

use super::{DigestAlgorithm, ExpectedDigest};
use crate::Root;
use sha2::Digest as _;

/// Hashes a stream with every algorithm that some expected digest needs.
pub struct DigestCheck {
    expected: Vec<ExpectedDigest>,
    hashers: Vec<(DigestAlgorithm, Hasher)>,
}

/// All promises are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The strongest algorithm that was checked; `None` when nothing was promised.
    pub strongest: Option<DigestAlgorithm>,
}

impl Kept {
    /// Whether the content is proved against malice, not only against accidents (MD5 and SHA-1 prove no more).
    #[must_use]
    pub fn is_decisive(self) -> bool {
        self.strongest.is_some_and(DigestAlgorithm::is_collision_resistant)
    }
}

/// The bytes are not the promised ones. Never delivered; whose fault it is, the sources tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bytes have {actual}, but {expected} was promised")]
pub struct DigestMismatch {
    /// What was promised; of several broken promises, the strongest.
    pub expected: ExpectedDigest,
    /// What the bytes have.
    pub actual: ExpectedDigest,
}

enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
}

impl DigestCheck {
    /// A check of these promises. Two promises of one algorithm share a hasher; if they differ, one of them is broken.
    #[must_use]
    pub fn new(expected: &[ExpectedDigest]) -> Self {
        Self::with_algorithms(expected, &[])
    }

    /// A check for content whose BLAKE3 root falls out of its block hashes: give it to [`Self::verify_with_root`].
    #[must_use]
    pub fn beside_root(expected: &[ExpectedDigest]) -> Self {
        Self::with_algorithms(expected, &[DigestAlgorithm::Blake3])
    }

    fn with_algorithms(expected: &[ExpectedDigest], except: &[DigestAlgorithm]) -> Self {
        let needed = |algorithm: &DigestAlgorithm| {
            !except.contains(algorithm) && expected.iter().any(|digest| digest.algorithm == *algorithm)
        };
        let hashers = DigestAlgorithm::ALL.into_iter().filter(needed).map(|a| (a, Hasher::new(a))).collect();
        Self { expected: super::strongest_first(expected.to_vec()), hashers }
    }

    /// Whether any byte must be hashed at all; if not, a pass over the data can be spared.
    #[must_use]
    pub fn needs_bytes(&self) -> bool {
        !self.hashers.is_empty()
    }

    /// Takes the next bytes, in order.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.hashers {
            hasher.update(bytes);
        }
    }

    /// Compares: the strongest promise first, any broken one fails.
    pub fn verify(self) -> Result<Kept, DigestMismatch> {
        self.compare(None)
    }

    /// As [`Self::verify`], with the root that the block hashes combine to in place of a BLAKE3 pass.
    pub fn verify_with_root(self, root: Root) -> Result<Kept, DigestMismatch> {
        self.compare(Some(root))
    }

    fn compare(self, root: Option<Root>) -> Result<Kept, DigestMismatch> {
        let mut actual: Vec<ExpectedDigest> = self
            .hashers
            .into_iter()
            .map(|(algorithm, hasher)| ExpectedDigest { algorithm, value: hasher.finalize() })
            .collect();
        actual.extend(root.map(|root| ExpectedDigest { algorithm: DigestAlgorithm::Blake3, value: root.0.to_vec() }));
        let strongest = self.expected.first().map(|digest| digest.algorithm);
        for expected in self.expected {
            let found = actual.iter().find(|digest| digest.algorithm == expected.algorithm);
            if found != Some(&expected) {
                // A promise without a hasher (a root that was never given) is a broken one: nothing proved it.
                let actual =
                    found.cloned().unwrap_or(ExpectedDigest { algorithm: expected.algorithm, value: Vec::new() });
                return Err(DigestMismatch { expected, actual });
            }
        }
        Ok(Kept { strongest })
    }
}

impl Hasher {
    fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Md5 => Self::Md5(md5::Md5::new()),
            DigestAlgorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            DigestAlgorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            DigestAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
        }
    }

    fn finalize(self) -> Vec<u8> {
        match self {
            Self::Md5(hasher) => hasher.finalize().to_vec(),
            Self::Sha1(hasher) => hasher.finalize().to_vec(),
            Self::Sha256(hasher) => hasher.finalize().to_vec(),
            Self::Sha512(hasher) => hasher.finalize().to_vec(),
            Self::Blake3(hasher) => hasher.finalize().as_bytes().to_vec(),
        }
    }
}

impl std::fmt::Debug for DigestCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestCheck").field("expected", &self.expected).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::parse;

    /// The published test vectors of "abc".
    const OF_ABC: [&str; 5] = [
        "md5:900150983cd24fb0d6963f7d28e17f72",
        "sha1:a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    ];

    fn promised(texts: &[&str]) -> Vec<ExpectedDigest> {
        texts.iter().map(|text| parse(text).expect("a digest")).collect()
    }

    fn check(expected: &[ExpectedDigest], bytes: &[u8]) -> Result<Kept, DigestMismatch> {
        let mut check = DigestCheck::new(expected);
        for byte in bytes.chunks(1) {
            check.update(byte);
        }
        check.verify()
    }

    #[test]
    fn r43_all_promises_of_all_algorithms_are_kept() {
        let kept = check(&promised(&OF_ABC), b"abc").expect("kept");
        assert_eq!((kept.strongest, kept.is_decisive()), (Some(DigestAlgorithm::Blake3), true));
    }

    #[test]
    fn r43_any_broken_promise_fails_and_the_strongest_is_named() {
        for broken in 0..OF_ABC.len() {
            let mut expected = promised(&OF_ABC);
            expected[broken].value[0] ^= 1;
            let mismatch = check(&expected, b"abc").expect_err("broken");
            assert_eq!(mismatch.expected, expected[broken]);
        }
        let mismatch = check(&promised(&OF_ABC), b"abd").expect_err("other bytes");
        assert_eq!(mismatch.expected.algorithm, DigestAlgorithm::Blake3);
    }

    #[test]
    fn two_different_promises_of_one_algorithm_cannot_both_be_kept() {
        let mut expected = promised(&[OF_ABC[2], OF_ABC[2]]);
        assert!(check(&expected, b"abc").is_ok());
        expected[1].value[31] ^= 1;
        assert!(check(&expected, b"abc").is_err());
    }

    #[test]
    fn weak_digests_detect_accidents_only() {
        let kept = check(&promised(&OF_ABC[..2]), b"abc").expect("kept");
        assert!(!kept.is_decisive());
        assert_eq!(check(&[], b"abc"), Ok(Kept { strongest: None }));
    }

    #[test]
    fn the_root_of_the_blocks_spares_the_blake3_pass() {
        let expected = promised(&OF_ABC[4..]);
        let root = Root(*blake3::hash(b"abc").as_bytes());
        let beside = || DigestCheck::beside_root(&expected);
        assert!(!beside().needs_bytes());
        assert!(beside().verify_with_root(root).is_ok());
        assert!(beside().verify_with_root(Root([0; 32])).is_err());
        assert!(beside().verify().is_err(), "a root that was never given proves nothing");
    }

    #[test]
    fn a_promise_of_the_wrong_length_is_kept_by_no_bytes() {
        let short = ExpectedDigest { algorithm: DigestAlgorithm::Sha256, value: vec![0xba] };
        assert!(check(&[short], b"abc").is_err());
    }

    #[test]
    fn a_mismatch_reads_well() {
        let text = check(&promised(&OF_ABC[..1]), b"x").expect_err("other bytes").to_string();
        insta::assert_snapshot!(text, @"the bytes have md5:9dd4e461268c8034f5c8564e155c67a6, but md5:900150983cd24fb0d6963f7d28e17f72 was promised");
    }
}
