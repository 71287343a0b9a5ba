//! What goes, shown before it goes; and pins, which keep things from going.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Entities that one order may name: each costs a few syncs of the disk, and the order must end within the time of a call.
pub const MAX_ORDER: usize = 256;

/// What is to become of pinned entities that an order names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PinnedToo {
    /// They stay.
    #[default]
    Keep,
    /// They go like the others.
    Remove,
}

/// Entities that are to go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemovalOrder {
    /// Their whole ids, at most 256.
    pub ids: Vec<String>,
    /// What is to become of those that are pinned.
    #[serde(default)]
    pub pinned: PinnedToo,
}

/// What would go, and what would stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanView {
    /// How many entities would go.
    pub count: u64,
    /// Bytes on the disk that this would free.
    pub bytes: u64,
    /// Whether even more would go than were counted.
    #[serde(default)]
    pub is_cut: bool,
    /// Those that would go, in this order; of very many only the first.
    pub victims: Vec<Planned>,
    /// Those that are named and would stay.
    pub kept: Vec<Kept>,
}

/// An entity that would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Planned {
    /// Its id.
    pub id: String,
    /// Its URL, redacted.
    pub url: String,
    /// Bytes on the disk that this would free.
    pub bytes: u64,
    /// When it was last used, in milliseconds since the Unix epoch.
    pub used_unix_ms: u64,
    /// Why it would go: a short phrase.
    pub reason: String,
}

/// An entity that stays although it was named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Why it stays.
    pub reason: KeptReason,
}

/// Why an entity stays although it was named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeptReason {
    /// A job or a peer uses it.
    InUse,
    /// Somebody pinned it.
    Pinned,
    /// It is not here.
    NotFound,
}

/// What became of an order to remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// The ids of those that are gone.
    pub removed: Vec<String>,
    /// Those that were named and stay.
    pub kept: Vec<Kept>,
    /// Bytes on the disk that became free.
    pub freed: u64,
}

impl Removed {
    /// Both outcomes as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.removed.extend(other.removed);
        self.kept.extend(other.kept);
        self.freed += other.freed;
        self
    }
}

impl PlanView {
    /// Both plans as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        self.bytes += other.bytes;
        self.is_cut |= other.is_cut;
        self.victims.extend(other.victims);
        self.kept.extend(other.kept);
        self
    }
}

/// What became of an order to pin or to unpin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PinChange {
    /// The entity's id.
    pub id: String,
    /// Its URL, redacted.
    pub url: String,
    /// How it stands.
    pub pinned: bool,
    /// Whether it stood otherwise before.
    pub changed: bool,
}
