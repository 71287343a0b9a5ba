//! What was asked and what was sent: the test's view of the line.

use super::{Ask, AskedRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All counters of an origin.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Most requests that were under way at one time.
    pub most_at_once: u64,
    /// By path, without the query.
    pub paths: BTreeMap<String, PathCounters>,
    /// Requests under way now.
    pub under_way: u64,
}

/// The counters of one path.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PathCounters {
    /// Requests, whatever their method.
    pub requests: u64,
    /// Those of them with HEAD.
    pub heads: u64,
    /// Bytes of the file that were written to sockets.
    pub body_bytes: u64,
    /// Those of them that answered requests for a later part of at most a segment of 1 MiB. Of a file without ranges those are second
    /// looks, at a block or a segment; they take nothing of an answer that is everything, and what lay in sockets then is in it.
    pub look_bytes: u64,
    /// Ranges asked, in order; the first 10,000.
    pub ranges: Vec<AskedRange>,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// The header fields of the last request.
    pub last_headers: BTreeMap<String, String>,
}

impl Counters {
    /// The counters of a path; zeros for one that was never asked.
    #[must_use]
    pub fn path(&self, path: &str) -> PathCounters {
        self.paths.get(path).cloned().unwrap_or_default()
    }

    /// File bytes sent, over all paths.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.paths.values().map(|path| path.body_bytes).sum()
    }

    /// Counts a request and numbers it.
    pub(super) fn on_ask(&mut self, ask: &mut Ask) {
        self.under_way += 1;
        self.most_at_once = self.most_at_once.max(self.under_way);
        let path = self.paths.entry(ask.path().to_owned()).or_default();
        path.requests += 1;
        path.heads += u64::from(ask.method == "HEAD");
        if let Some(range) = ask.range().filter(|_| path.ranges.len() < MAX_RANGES) {
            path.ranges.push(range);
        }
        path.last_headers = ask.headers.clone();
        ask.number = path.requests;
        ask.gets = path.requests - path.heads;
    }

    pub(super) fn on_status(&mut self, path: &str, status: u16) {
        *self.paths.entry(path.to_owned()).or_default().statuses.entry(status).or_default() += 1;
    }

    pub(super) fn on_body(&mut self, ask: &Ask, bytes: u64) {
        let path = self.paths.entry(ask.path().to_owned()).or_default();
        path.body_bytes += bytes;
        let is_look = matches!(ask.range(), Some(AskedRange::Within(first, last)) if first > 0 && last.saturating_sub(first) < LOOK);
        path.look_bytes += if is_look { bytes } else { 0 };
    }
}

const MAX_RANGES: usize = 10_000;
/// The longest second look: a segment of the files that these origins serve.
const LOOK: u64 = 1 << 20;
