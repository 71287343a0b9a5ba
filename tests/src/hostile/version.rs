//! The bytes and marks of one version of a file.

use std::ops::Range;
use std::time::{Duration, SystemTime};

/// One version: its bytes follow from the seed, so every test can foretell each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// What the bytes are made from.
    pub seed: u64,
    /// How many bytes there are.
    pub length: u64,
    /// The strong entity tag, without quotes.
    pub tag: String,
    /// When the version came to be, as seconds since the Unix epoch.
    pub modified: i64,
}

impl Version {
    /// A version with its own tag, one day old.
    #[must_use]
    pub fn new(seed: u64, length: u64) -> Self {
        Self { seed, length, tag: format!("v{seed}"), modified: unix_now() - 86_400 }
    }

    /// The bytes of a range; whatever lies past the end goes on as if the file were endless.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)];
        self.fill(range.start, &mut bytes);
        bytes
    }

    /// Fills `into` with the bytes that start at `offset`.
    pub fn fill(&self, offset: u64, into: &mut [u8]) {
        let mut stream = blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof();
        stream.set_position(offset);
        stream.fill(into);
    }

    /// All of its bytes.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        self.bytes(0..self.length)
    }

    /// Last-Modified, as HTTP writes it.
    #[must_use]
    pub fn last_modified(&self) -> String {
        http_date(self.modified)
    }
}

pub(super) fn http_date(seconds: i64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()))
}

pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
