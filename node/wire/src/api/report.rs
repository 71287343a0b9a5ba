//! The account of bytes, and the two identities that it must keep:
//!
//! ```text
//! delivered = origin used + peers used + cache used
//! received  = used + wasted                          (origin and peers)
//! ```

use super::Sources;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The account of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportView {
    /// One row for each file of each job, and one for all of those that ended long ago.
    pub rows: Vec<ReportRow>,
    /// The sums over all rows of the ledger, also those of other pages.
    pub totals: Account,
    /// The cursor of the next page; missing at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The account of one file of one job; with `ended_earlier`, of all files of jobs that ended long ago; with `gateway`, of what the gateway
/// fetched by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReportRow {
    /// The job's id.
    pub job: String,
    /// Which of its files, from 0.
    pub file: u32,
    /// The URL, redacted; missing when the job is gone.
    pub url: Option<String>,
    /// The destination; missing when the job is gone, and where the gateway gives the file to its clients.
    pub destination: Option<String>,
    /// Its bytes.
    pub account: Account,
    /// Whether this is no file of a job, but the sum over those of jobs that ended long ago: more than 90 days, or before the newest
    /// 10,000 of them. `job` and `file` name nothing then. Missing where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended_earlier: bool,
    /// Whether this is no file of a job, but the sum over the files up to 4 MiB that the gateway fetched and stored by itself. `job` and `file` name
    /// nothing then. Missing where it is false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gateway: bool,
}

/// Bytes by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Bytes that reached a destination.
    pub delivered: u64,
    /// Bytes that were of use, by where they came from.
    pub used: Sources,
    /// Bytes of content that arrived over a network.
    pub received: Received,
    /// Bytes of content that arrived for nothing.
    pub wasted: Wasted,
    /// Bytes that the origin sent a second time, to catch members that lie. They are in no other column: delivered to nobody,
    /// wasted by nobody.
    #[serde(default)]
    pub audited: u64,
}

/// Bytes of content that arrived over a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Received {
    /// From the origin.
    pub origin: u64,
    /// From peers.
    pub peers: u64,
}

/// Bytes that arrived for nothing, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Wasted {
    /// They were not what was promised.
    pub corrupt: u64,
    /// They were here already.
    pub duplicate: u64,
    /// The transfer ended inside a block.
    pub aborted: u64,
    /// The origin's version changed while they came.
    pub stale: u64,
}

impl Wasted {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.corrupt.saturating_add(self.duplicate).saturating_add(self.aborted).saturating_add(self.stale)
    }
}

/// Whether an account keeps its identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Both hold to the byte.
    Closes,
    /// Every received byte is accounted for; this many bytes wait for their delivery.
    Pending {
        /// Bytes that are here and not delivered.
        bytes: u64,
    },
    /// Bytes are missing or counted twice: an error in eddy.
    Broken,
}

impl Account {
    /// The sum of two accounts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            delivered: self.delivered.saturating_add(other.delivered),
            used: self.used.plus(other.used),
            received: Received {
                origin: self.received.origin.saturating_add(other.received.origin),
                peers: self.received.peers.saturating_add(other.received.peers),
            },
            wasted: Wasted {
                corrupt: self.wasted.corrupt.saturating_add(other.wasted.corrupt),
                duplicate: self.wasted.duplicate.saturating_add(other.wasted.duplicate),
                aborted: self.wasted.aborted.saturating_add(other.wasted.aborted),
                stale: self.wasted.stale.saturating_add(other.wasted.stale),
            },
            audited: self.audited.saturating_add(other.audited),
        }
    }

    /// Checks both identities. They hold for a sum of rows as they do for each row.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let used_from_network = u128::from(self.used.origin) + u128::from(self.used.peers);
        let wasted = u128::from(self.wasted.corrupt)
            + u128::from(self.wasted.duplicate)
            + u128::from(self.wasted.aborted)
            + u128::from(self.wasted.stale);
        let received = u128::from(self.received.origin) + u128::from(self.received.peers);
        let used = used_from_network + u128::from(self.used.cache);
        if received != used_from_network + wasted {
            return Identity::Broken;
        }
        match used.checked_sub(u128::from(self.delivered)) {
            None => Identity::Broken,
            Some(0) => Identity::Closes,
            Some(bytes) => Identity::Pending { bytes: u64::try_from(bytes).unwrap_or(u64::MAX) },
        }
    }

    /// The share of the delivered bytes that the origin did not have to send, in percent; never above 100.
    #[must_use]
    pub fn offload_percent(&self) -> Option<f64> {
        let used = self.used.total();
        #[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
        (used > 0).then(|| 100.0 * (used - self.used.origin.min(used)) as f64 / used as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            delivered: 60,
            used: Sources { origin: 10, peers: 20, cache: 30 },
            received: Received { origin: 14, peers: 23 },
            wasted: Wasted { corrupt: 1, duplicate: 2, aborted: 3, stale: 1 },
            audited: 5,
        }
    }

    #[test]
    fn an_account_closes_when_both_sums_agree() {
        assert_eq!(account().identity(), Identity::Closes);
        assert_eq!(Account::default().identity(), Identity::Closes);
    }

    #[test]
    fn bytes_that_wait_for_delivery_are_named() {
        assert_eq!(Account { delivered: 0, ..account() }.identity(), Identity::Pending { bytes: 60 });
    }

    #[test]
    fn one_byte_too_many_or_too_few_breaks_it() {
        assert_eq!(Account { delivered: 61, ..account() }.identity(), Identity::Broken);
        assert_eq!(Account { received: Received { origin: 13, peers: 23 }, ..account() }.identity(), Identity::Broken);
        assert_eq!(Account { wasted: Wasted::default(), ..account() }.identity(), Identity::Broken);
    }

    #[test]
    fn the_share_of_peers_and_cache_never_passes_a_hundred() {
        assert_eq!(account().offload_percent().map(f64::round), Some(83.0));
        assert_eq!(Account::default().offload_percent(), None);
    }
}
