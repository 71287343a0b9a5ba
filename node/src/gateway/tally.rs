//! What was asked of a mount and what was answered, counted since it was mounted.

use eddy_content::ResourceUrl;
use eddy_content::http::serve::{CacheStatus, Found};
use eddy_wire::api::{MountView, Sources};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Where bytes went or came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bytes {
    /// To a client, from what was held when it asked.
    SentHeld,
    /// To a client, otherwise.
    Sent,
    /// From the origin, past the engine.
    FromOrigin,
}

/// The counts of one mount.
#[derive(Debug, Default)]
pub(super) struct Tally {
    path: String,
    origin: Option<String>,
    requests: AtomicU64,
    hits: AtomicU64,
    validated: AtomicU64,
    refused: AtomicU64,
    sent: AtomicU64,
    sent_held: AtomicU64,
    from_origin: AtomicU64,
    from_peers: AtomicU64,
    from_cache: AtomicU64,
    has_long_page: AtomicBool,
}

impl Tally {
    /// Nothing counted yet of what is mounted there.
    pub(super) fn new(path: String, origin: Option<String>) -> Self {
        Self { path, origin, ..Self::default() }
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refusal(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an answer by what it says of itself; to which bytes its content belongs.
    pub(super) fn answer(&self, status: &CacheStatus) -> Bytes {
        match (status.found, status.origin_status) {
            (Found::Hit, _) => self.hits.fetch_add(1, Ordering::Relaxed),
            (Found::Forwarded(_), Some(304)) => self.validated.fetch_add(1, Ordering::Relaxed),
            (Found::Forwarded(_), _) => return Bytes::Sent,
        };
        Bytes::SentHeld
    }

    /// Says once that a page's links stay as they are, for it is too long.
    pub(super) fn long_page(&self, url: &ResourceUrl) {
        if !self.has_long_page.swap(true, Ordering::Relaxed) {
            tracing::warn!(mount = %self.path, %url, "a page of more than 16 MiB keeps its own links, which may lead past the gateway");
        }
    }

    pub(super) fn add(&self, kind: Bytes, bytes: u64) {
        let counters: &[&AtomicU64] = match kind {
            Bytes::Sent => &[&self.sent],
            Bytes::SentHeld => &[&self.sent, &self.sent_held],
            Bytes::FromOrigin => &[&self.from_origin],
        };
        for counter in counters {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// What a job of the engine has brought.
    pub(super) fn job(&self, sources: Sources) {
        self.from_origin.fetch_add(sources.origin, Ordering::Relaxed);
        self.from_peers.fetch_add(sources.peers, Ordering::Relaxed);
        self.from_cache.fetch_add(sources.cache, Ordering::Relaxed);
    }

    pub(super) fn view(&self) -> MountView {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        MountView {
            path: self.path.clone(),
            origin: self.origin.clone(),
            requests: of(&self.requests),
            hits: of(&self.hits),
            validated: of(&self.validated),
            refused: of(&self.refused),
            sent: of(&self.sent),
            sent_held: of(&self.sent_held),
            came: Sources { origin: of(&self.from_origin), peers: of(&self.from_peers), cache: of(&self.from_cache) },
        }
    }
}
