//! Files to fetch: bytes from a seed, and the BLAKE3 that whatever arrives must have.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::hostile::Version;

/// Bytes made and written at a time.
const CHUNK: u64 = 1 << 20;

/// One mebibyte.
pub const MIB: u64 = 1 << 20;

/// Writes `length` bytes made from `seed` and returns their BLAKE3.
///
/// # Errors
/// When the file cannot be written.
pub fn write_sample(path: &Path, seed: u64, length: u64) -> Result<blake3::Hash> {
    let version = Version::new(seed, length);
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let mut hasher = blake3::Hasher::new();
    let mut offset = 0;
    while offset < length {
        let chunk = version.bytes(offset..length.min(offset + CHUNK));
        hasher.update(&chunk);
        file.write_all(&chunk)?;
        offset += chunk.len() as u64;
    }
    Ok(hasher.finalize())
}

/// The BLAKE3 of a whole file.
///
/// # Errors
/// When it cannot be read.
pub fn hash_of(path: &Path) -> Result<blake3::Hash> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}

/// A whole number from the environment, for tests whose size a person may choose.
///
/// # Panics
/// When it is set and no number: a typing error must not become a smaller test.
#[must_use]
pub fn from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is no whole number")),
        Err(_) => default,
    }
}
