//! The store as a whole, an entity in a list, an entity in full.

use super::limits::LimitsView;
use crate::api::doctor::Finding;
use crate::api::trust::Rung;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The store as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheView {
    /// Where it lies.
    pub directory: String,
    /// Entities in it.
    pub entities: u64,
    /// Bytes that it uses on the disk.
    pub used: u64,
    /// Bytes that it may use.
    pub quota: u64,
    /// Bytes of the file system that it leaves free.
    pub reserve: u64,
    /// Bytes that are free on the file system now.
    pub free: u64,
    /// Bytes that could come in now without anything going.
    pub available: u64,
    /// Bytes of what it uses that are pinned.
    pub pinned: u64,
    /// The limits as they were set.
    pub limits: LimitsView,
    /// When all of it was last hashed from end to end, in milliseconds since the Unix epoch.
    pub scrubbed_unix_ms: Option<u64>,
    /// Blocks that were ever found corrupt, and set aside.
    pub corrupt_blocks: u64,
    /// What is or was wrong with it.
    pub findings: Vec<Finding>,
}

/// One version of a resource in the store, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityView {
    /// The entity's id.
    pub id: String,
    /// The URL, redacted.
    pub url: String,
    /// What tells this version from others: an entity tag, or a date.
    pub validator: String,
    /// Bytes of the whole entity.
    pub length: u64,
    /// Bytes of it that are held and checked.
    pub held: u64,
    /// Whether peers may have it.
    pub shareable: bool,
    /// Whether somebody pinned it, so that it is not evicted.
    pub pinned: bool,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When it was last used, in milliseconds since the Unix epoch.
    pub used_unix_ms: u64,
    /// Whether a job or a peer uses it now, so that it cannot go.
    pub in_use: bool,
}

/// One version of a resource in the store, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityDetail {
    /// What lists show of it.
    #[serde(flatten)]
    pub entity: EntityView,
    /// The URL as it was first asked for, redacted.
    pub requested_url: String,
    /// The BLAKE3 of the whole entity in hex, when all of it is held.
    pub blake3: Option<String>,
    /// Until when the origin allows it to be used without being asked, in milliseconds since the Unix epoch.
    pub fresh_until_unix_ms: Option<u64>,
    /// Why it is not fresh, so that the origin is asked before it is used again; missing when it is fresh.
    pub not_fresh: Option<String>,
    /// Digests that the origin or a user promised, as algorithm:hex.
    pub digests: Vec<String>,
    /// The origin's Last-Modified, in milliseconds since the Unix epoch.
    pub modified_unix_ms: Option<u64>,
    /// Held bytes that this node fetched from the origin itself.
    pub from_origin: u64,
    /// Held bytes that came from peers.
    pub from_peers: u64,
    /// On whose word its held bytes are believed to be the origin's: the weakest.
    #[serde(default)]
    pub rung: Option<Rung>,
    /// How many members vouch for each held byte that this node did not fetch itself, at least; missing when it fetched all. Three
    /// are counted at most.
    #[serde(default)]
    pub witnesses: Option<u8>,
    /// Signed statements of members that are kept with it.
    pub statements: u64,
    /// Where its bytes lie.
    pub place: Place,
}

/// Where the bytes of an entity lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the index itself.
    Index,
    /// In a file of its own.
    File(String),
}
