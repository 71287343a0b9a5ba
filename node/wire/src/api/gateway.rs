//! What the gateway has done for tools since the node started, by mount.

use super::Sources;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayView {
    /// Where it listens; missing where there is none.
    pub listens: Option<String>,
    /// One row for each mount, and one for the proxy if there is one.
    pub mounts: Vec<MountView>,
    /// Why what is mounted is not served, or not as the settings say now; it is tried again all the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What was asked of one mount, and what was answered. All of it since the node started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MountView {
    /// Its path at the gateway; "proxy" for plain http URLs of a proxy's clients.
    pub path: String,
    /// Its origin, redacted; missing for the proxy.
    pub origin: Option<String>,
    /// Requests.
    pub requests: u64,
    /// Those answered from what was held, without asking the origin.
    pub hits: u64,
    /// Those answered from what was held, after the origin had said that it is still good.
    pub validated: u64,
    /// Those that the gateway refused, or for which the origin could not be asked.
    pub refused: u64,
    /// Bytes of content that went to clients.
    pub sent: u64,
    /// Those of them that were held when they were asked for.
    pub sent_held: u64,
    /// Bytes of content that came for this mount, by where from. What was held by the store already counts as from the cache.
    pub came: Sources,
}

impl MountView {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in [
            (&mut self.requests, other.requests),
            (&mut self.hits, other.hits),
            (&mut self.validated, other.validated),
            (&mut self.refused, other.refused),
            (&mut self.sent, other.sent),
            (&mut self.sent_held, other.sent_held),
            (&mut self.came.origin, other.came.origin),
            (&mut self.came.peers, other.came.peers),
            (&mut self.came.cache, other.came.cache),
        ] {
            *sum = sum.saturating_add(count);
        }
    }

    /// The share of requests, in per cent, that cost the origin no content.
    #[must_use]
    pub fn hit_percent(&self) -> Option<f64> {
        let spared = self.hits.saturating_add(self.validated);
        (self.requests > 0).then(|| spared as f64 * 100.0 / self.requests as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spared_the_origin_is_counted_against_all_requests() {
        let mount = MountView { requests: 8, hits: 3, validated: 1, ..MountView::default() };
        assert_eq!(mount.hit_percent(), Some(50.0));
        assert_eq!(MountView::default().hit_percent(), None);
    }
}
