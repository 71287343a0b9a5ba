//! The ledger: which bytes came from where and what became of them, in columns that close exactly.
//!
//! Two identities hold in every row at every moment, because all columns of an event are written in one transaction:
//! `received = used + wasted` for each source, and `delivered = origin + peers + cache`.

use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::time::Duration;

/// Whose account a byte goes to: one file of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The job.
    pub job: [u8; 16],
    /// The file's number in the job.
    pub file: u32,
}

impl Account {
    /// The sum of what was in the accounts of jobs that ended long ago. Ids of jobs are drawn, and none is this one.
    pub const EARLIER: Self = Self { job: [0xff; 16], file: u32::MAX };
    /// What was received to be kept for whoever asks next, while no job asked: one row, for one of each object would never end.
    pub const NO_JOB: Self = Self { job: *b"gateway's bodies", file: 0 };

    /// Whether accounts of this job are of no job at all: they never end.
    pub(crate) fn is_standing(job: &[u8; 16]) -> bool {
        [Self::EARLIER.job, Self::NO_JOB.job].contains(job)
    }
}

/// The row of peers that have none of their own any more. A node id is the hash of a key, and no key has this one.
pub const EARLIER_PEERS: [u8; 32] = [0; 32];

/// How much of the ledger is kept row by row. What is beyond is added to [`Account::EARLIER`] and [`EARLIER_PEERS`]: the sums are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerLimits {
    /// How long after its end a job has its own rows, to the second.
    pub age: Duration,
    /// Jobs that have ended and have their own rows; the newest.
    pub ended_jobs: u64,
    /// Rows that such jobs have together.
    pub accounts: u64,
    /// Rows of peers. When there are more, those that sent least go until a quarter of this is free: so one that is new has as long as it
    /// takes that many others to come, and does not go at once for having sent little yet.
    pub peers: u64,
}

impl Default for LedgerLimits {
    fn default() -> Self {
        let age = Duration::from_secs(90 * 24 * 3600);
        Self { age, ended_jobs: 10_000, accounts: 1 << 17, peers: 4096 }
    }
}

/// Where bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The origin, over this node's own connection.
    Origin {
        /// Whether the origin proved who it is.
        https: bool,
    },
    /// A member of the group.
    Peer {
        /// Its node id.
        node: [u8; 32],
    },
    /// A signed package: neither origin nor peer, so that its bytes are in no column.
    Package,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin { .. } => f.write_str("the origin"),
            Self::Package => f.write_str("a package"),
            Self::Peer { node } => write!(f, "peer {:02x}{:02x}{:02x}{:02x}..", node[0], node[1], node[2], node[3]),
        }
    }
}

/// Why received bytes were of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Waste {
    /// They were not what was promised, or rotted before they could be used.
    Corrupt,
    /// They were here already, or another source was faster.
    Duplicate,
    /// The transfer ended inside a block, or the block was lost before it was durable.
    Aborted,
    /// They belong to a version that the origin no longer names.
    Stale,
}

/// One event to account for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerEntry {
    /// Bytes that were received and thrown away outside a [`crate::RunWriter`] (which accounts for its own).
    Wasted {
        /// Whose account.
        account: Account,
        /// Who sent them.
        source: Source,
        /// Why they are of no use.
        reason: Waste,
        /// How many.
        bytes: u64,
    },
    /// Bytes that were counted as used and turned out to be of no use: moves them from `used` to `wasted`.
    Spoiled {
        /// Whose account.
        account: Account,
        /// Who sent them.
        source: Source,
        /// Why they are of no use.
        reason: Waste,
        /// How many; cut at what is counted as used.
        bytes: u64,
    },
    /// Everything that the account has used belongs to a version that it no longer wants: moves it to `wasted`. The peers'
    /// own rows keep it as used, for what they sent was right.
    Outdated {
        /// Whose account.
        account: Account,
        /// Bytes that are still of use; what is above is moved, the origin's first.
        except: u64,
    },
    /// Bytes that the origin sent a second time, to hold them against what is held: in no other column.
    Audited {
        /// Whose account.
        account: Account,
        /// How many.
        bytes: u64,
    },
    /// Bytes that peers sent for the account were used and are put aside, because the word that they were believed by is worth
    /// nothing: moves them to `wasted` as corrupt, cut at what is counted as used. The peers' own rows keep them as used: who
    /// passed them on is not who lied.
    Doubted {
        /// Whose account.
        account: Account,
        /// How many.
        bytes: u64,
    },
    /// A body that went straight to the destination, past the store; void once the account is delivered.
    Streamed {
        /// Whose account.
        account: Account,
        /// Who sent it.
        source: Source,
        /// How many bytes.
        bytes: u64,
    },
    /// Bytes that reached the destination, by where the job had them from. An account is delivered once: the same delivery
    /// told again after a crash changes nothing.
    Delivered {
        /// Whose account.
        account: Account,
        /// From which sources.
        bytes: Delivered,
    },
}

/// Wasted bytes by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wasted {
    /// See [`Waste::Corrupt`].
    pub corrupt: u64,
    /// See [`Waste::Duplicate`].
    pub duplicate: u64,
    /// See [`Waste::Aborted`].
    pub aborted: u64,
    /// See [`Waste::Stale`].
    pub stale: u64,
}

impl Wasted {
    /// All reasons together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.corrupt + self.duplicate + self.aborted + self.stale
    }

    fn add(&mut self, reason: Waste, bytes: u64) {
        let column = match reason {
            Waste::Corrupt => &mut self.corrupt,
            Waste::Duplicate => &mut self.duplicate,
            Waste::Aborted => &mut self.aborted,
            Waste::Stale => &mut self.stale,
        };
        *column = column.saturating_add(bytes);
    }
}

/// What one source sent and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flow {
    /// Body bytes that arrived.
    pub received: u64,
    /// Those that became held blocks.
    pub used: u64,
    /// Those that did not.
    pub wasted: Wasted,
}

impl Flow {
    /// Whether `received = used + wasted`.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.received == self.used + self.wasted.total()
    }

    pub(crate) fn use_up(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        self.used = self.used.saturating_add(bytes);
    }

    pub(crate) fn waste(&mut self, reason: Waste, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
        self.wasted.add(reason, bytes);
    }

    pub(crate) fn spoil(&mut self, reason: Waste, bytes: u64) {
        let moved = bytes.min(self.used);
        self.used -= moved;
        self.wasted.add(reason, moved);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.received = self.received.saturating_add(other.received);
        self.used = self.used.saturating_add(other.used);
        for (reason, bytes) in [
            (Waste::Corrupt, other.wasted.corrupt),
            (Waste::Duplicate, other.wasted.duplicate),
            (Waste::Aborted, other.wasted.aborted),
            (Waste::Stale, other.wasted.stale),
        ] {
            self.wasted.add(reason, bytes);
        }
    }
}

/// Delivered bytes by where the job had them from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delivered {
    /// Fetched from the origin for this job.
    pub origin: u64,
    /// Fetched from peers for this job.
    pub peers: u64,
    /// In the cache before this job asked.
    pub cache: u64,
}

impl Delivered {
    /// All sources together: what reached the destination.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.origin + self.peers + self.cache
    }

    fn merge(&mut self, other: &Self) {
        self.origin = self.origin.saturating_add(other.origin);
        self.peers = self.peers.saturating_add(other.peers);
        self.cache = self.cache.saturating_add(other.cache);
    }
}

/// The ledger's row of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Balance {
    /// What the origin sent.
    pub origin: Flow,
    /// What all peers together sent.
    pub peers: Flow,
    /// What reached the destination.
    pub delivered: Delivered,
    /// What the origin sent a second time, to catch liars; rows that were written before there was such a thing end here.
    #[serde(deserialize_with = "or_zero")]
    pub audited: u64,
}

impl Balance {
    /// Whether the identities hold in this row.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.origin.closes() && self.peers.closes()
    }

    /// Adds every column of another row. What closes in both closes in the sum.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.origin.merge(&other.origin);
        self.peers.merge(&other.peers);
        self.delivered.merge(&other.delivered);
        self.audited = self.audited.saturating_add(other.audited);
    }
}

fn or_zero<'de, D: Deserializer<'de>>(rest: D) -> Result<u64, D::Error> {
    // The last field of the row: what cannot be read is not there.
    Ok(u64::deserialize(rest).unwrap_or_default())
}

/// A row of the ledger as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerRow {
    /// One file of one job.
    File {
        /// Which.
        account: Account,
        /// Its columns.
        balance: Balance,
        /// What it was, for people, if somebody said so.
        name: Option<String>,
    },
    /// One peer, over all jobs.
    Peer {
        /// Its node id.
        node: [u8; 32],
        /// What it sent.
        flow: Flow,
    },
}

impl LedgerRow {
    /// Whether the identities hold in this row.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::File { balance, .. } => balance.closes(),
            Self::Peer { flow, .. } => flow.closes(),
        }
    }
}

/// A change to the flow of one (account, source): what a commit carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowChange {
    pub(crate) account: Account,
    pub(crate) source: Source,
    pub(crate) flow: Flow,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_without_the_last_column_is_read() {
        let flow = Flow { received: 7, used: 7, wasted: Wasted::default() };
        let delivered = Delivered { origin: 7, ..Delivered::default() };
        let old = postcard::to_stdvec(&(flow, Flow::default(), delivered)).unwrap();
        let expected = Balance { origin: flow, delivered, ..Balance::default() };
        assert_eq!(postcard::from_bytes::<Balance>(&old), Ok(expected));
        let new = Balance { audited: 300, ..expected };
        assert_eq!(postcard::from_bytes::<Balance>(&postcard::to_stdvec(&new).unwrap()), Ok(new));
    }

    proptest! {
        #[test]
        fn a_flow_closes_after_any_sequence_of_events(events in prop::collection::vec((0u8..3, 0u8..4, 0u64..1 << 40), 0..64)) {
            let mut flow = Flow::default();
            for (event, reason, bytes) in events {
                let reason = [Waste::Corrupt, Waste::Duplicate, Waste::Aborted, Waste::Stale][usize::from(reason)];
                match event {
                    0 => flow.use_up(bytes),
                    1 => flow.waste(reason, bytes),
                    _ => flow.spoil(reason, bytes),
                }
                prop_assert!(flow.closes());
            }
            let mut twice = flow;
            twice.merge(&flow);
            prop_assert!(twice.closes());
            prop_assert_eq!(twice.received, flow.received * 2);
        }
    }
}
