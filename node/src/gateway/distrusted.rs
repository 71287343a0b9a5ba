//! Files whose bytes were not those that an index promises: for a while they are not fetched again for each who asks.
//!
//! An index may be the false one of the two, or older than the file: so what it says otherwise by then is asked for at once, and the same after
//! a minute. What a file's own name promises is asked for each time, for that does not change.

use eddy_content::ResourceUrl;
use eddy_content::digest::ExpectedDigest;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Files that are kept in mind; the one that came longest ago goes first.
const MOST: usize = 256;
/// For how long.
pub(super) const REMEMBERED: Duration = Duration::from_secs(60);

/// What broke an index's word, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Distrusted(Mutex<VecDeque<([u8; 32], Instant)>>);

impl Distrusted {
    /// The bytes of this URL were not these.
    pub(super) fn note(&self, url: &ResourceUrl, promised: &[ExpectedDigest], now: Instant) {
        let key = key(url, promised);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(other, at)| *other != key && now.saturating_duration_since(*at) < REMEMBERED);
        if known.len() == MOST {
            known.pop_front();
        }
        known.push_back((key, now));
    }

    /// Whether they were not these a short while ago.
    pub(super) fn has(&self, url: &ResourceUrl, promised: impl FnOnce() -> Vec<ExpectedDigest>, now: Instant) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return false;
        }
        let key = key(url, &promised());
        known.iter().any(|(other, at)| *other == key && now.saturating_duration_since(*at) < REMEMBERED)
    }
}

fn key(url: &ResourceUrl, promised: &[ExpectedDigest]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("eddy v1 2026-11 gateway distrusted file");
    let values = promised.iter().map(|digest| digest.value.as_slice());
    for part in values.chain([url.as_str().as_bytes()]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::digest::DigestAlgorithm;

    fn url(number: usize) -> ResourceUrl {
        ResourceUrl::parse(&format!("http://h/{number}")).expect("parses")
    }

    fn digest(byte: u8) -> Vec<ExpectedDigest> {
        vec![ExpectedDigest { algorithm: DigestAlgorithm::Sha256, value: vec![byte; 32] }]
    }

    #[test]
    fn a_broken_word_is_remembered_for_a_minute_and_no_other_word_with_it() {
        let (distrusted, start) = (Distrusted::default(), Instant::now());
        distrusted.note(&url(1), &digest(1), start);
        let has = |number, byte, later| distrusted.has(&url(number), || digest(byte), start + later);
        let soon = REMEMBERED.saturating_sub(Duration::from_millis(1));
        assert!(has(1, 1, Duration::ZERO) && has(1, 1, soon));
        assert!(!has(1, 1, REMEMBERED) && !has(1, 2, soon) && !has(2, 1, soon));
        assert!(!distrusted.has(&url(1), Vec::new, start), "nothing is promised any more");
        distrusted.note(&url(1), &digest(1), start + soon);
        assert!(has(1, 1, REMEMBERED), "it was broken again");
    }

    #[test]
    fn few_are_remembered() {
        let (distrusted, now) = (Distrusted::default(), Instant::now());
        (0..=MOST).for_each(|number| distrusted.note(&url(number), &digest(1), now));
        let has = |number| distrusted.has(&url(number), || digest(1), now);
        assert!(!has(0) && has(1) && has(MOST));
        assert_eq!(distrusted.0.lock().expect("no panic").len(), MOST);
    }
}
