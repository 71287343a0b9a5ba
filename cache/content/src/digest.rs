//! Digests that a job, a URL or an origin promised, and the check that the bytes keep them.

/// The digest algorithms that publishers and origins use, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum DigestAlgorithm {
    /// MD5: detects accidents only.
    Md5,
    /// SHA-1: detects accidents only.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE3.
    Blake3,
}

/// A digest that the whole representation must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ExpectedDigest {
    /// The algorithm.
    pub algorithm: DigestAlgorithm,
    /// The digest, as long as the algorithm's output.
    pub value: Vec<u8>,
}
