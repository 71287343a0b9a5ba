//! Digests that a job, a URL or an origin promised, and the check that the bytes keep them.
//!
//! A digest here always covers the *whole* representation, but for [`of_message`]: RFC 9530 keeps the two apart, and so
//! do we. The strongest decides, any mismatch fails.

mod check;
mod headers;
mod text;

pub use check::{DigestCheck, DigestMismatch, Kept};
pub use headers::{of_message, of_representation, of_trailers};
pub use text::{DigestTextError, from_fragment, from_oci_path, parse};

use std::fmt;

/// Digests that one source may name; more are ignored, since each costs a pass of its algorithm over the bytes.
pub const MAX_DIGESTS: usize = 8;

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

impl DigestAlgorithm {
    /// All algorithms, weakest first.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512, Self::Blake3];

    /// Bytes of its output.
    #[must_use]
    pub fn output_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Whether it withstands somebody who wants two contents with one digest; MD5 and SHA-1 do not.
    #[must_use]
    pub fn is_collision_resistant(self) -> bool {
        self >= Self::Sha256
    }

    /// The name that people write.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// The algorithm of that name, in the spellings of publishers and of the HTTP registries, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "md5" => Some(Self::Md5),
            "sha1" | "sha-1" | "sha" => Some(Self::Sha1),
            "sha256" | "sha-256" => Some(Self::Sha256),
            "sha512" | "sha-512" => Some(Self::Sha512),
            "blake3" | "b3" => Some(Self::Blake3),
            _ => None,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A digest that the whole representation must have.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ExpectedDigest {
    /// The algorithm.
    pub algorithm: DigestAlgorithm,
    /// The digest, as long as the algorithm's output; a value of any other length is kept by no bytes.
    pub value: Vec<u8>,
}

impl ExpectedDigest {
    /// A digest of the right length, or `None`.
    #[must_use]
    pub fn new(algorithm: DigestAlgorithm, value: Vec<u8>) -> Option<Self> {
        (value.len() == algorithm.output_len()).then_some(Self { algorithm, value })
    }
}

impl fmt::Display for ExpectedDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, data_encoding::HEXLOWER.encode(&self.value))
    }
}

/// Sorts strongest first, drops repetitions and what exceeds [`MAX_DIGESTS`].
fn strongest_first(mut digests: Vec<ExpectedDigest>) -> Vec<ExpectedDigest> {
    digests.sort_by(|a, b| b.algorithm.cmp(&a.algorithm).then_with(|| a.value.cmp(&b.value)));
    digests.dedup();
    digests.truncate(MAX_DIGESTS);
    digests
}
