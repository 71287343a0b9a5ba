//! Origins that get HTTP/1.1 because HTTP/2 failed there.
//!
//! A stalled or reset HTTP/2 connection takes every stream on it along, and some servers stall again on each new one. The
//! remedy that always works is the older protocol, for a while.

use eddy_content::url::OriginKey;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Remembers, for a bounded number of origins and a bounded time, where HTTP/2 failed.
#[derive(Debug, Default)]
pub(super) struct Http1Hosts {
    until: Mutex<HashMap<OriginKey, Instant>>,
}

impl Http1Hosts {
    /// HTTP/2 failed at this origin.
    pub(super) fn on_http2_failure(&self, origin: &OriginKey, now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, end| *end > now);
        if until.len() < MAX_HOSTS || until.contains_key(origin) {
            until.insert(origin.clone(), now + MEMORY);
        }
    }

    /// Whether the next request there speaks HTTP/1.1.
    pub(super) fn contains(&self, origin: &OriginKey, now: Instant) -> bool {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).get(origin).is_some_and(|end| *end > now)
    }
}

/// How long a failure is remembered: long enough for a big download, short enough for a repaired server.
const MEMORY: Duration = Duration::from_secs(600);

/// Most origins that are remembered; beyond that a failing one is simply tried with HTTP/2 again.
const MAX_HOSTS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use eddy_content::ResourceUrl;

    fn origin(host: usize) -> OriginKey {
        ResourceUrl::parse(&format!("https://host{host}/")).expect("parses").origin()
    }

    #[test]
    fn a_failure_is_remembered_for_its_origin_and_then_forgotten() {
        let hosts = Http1Hosts::default();
        let now = Instant::now();
        hosts.on_http2_failure(&origin(1), now);
        assert!(hosts.contains(&origin(1), now));
        assert!(!hosts.contains(&origin(2), now));
        assert!(!hosts.contains(&origin(1), now + MEMORY));
    }

    #[test]
    fn memory_is_bounded() {
        let hosts = Http1Hosts::default();
        let now = Instant::now();
        for host in 0..3 * MAX_HOSTS {
            hosts.on_http2_failure(&origin(host), now);
        }
        assert_eq!(hosts.until.lock().expect("not poisoned").len(), MAX_HOSTS);
    }
}
