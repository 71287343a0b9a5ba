//! What the store of a node holds.

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
}

/// One version of a resource in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntityView {
    /// The entity's id.
    pub id: String,
    /// The URL, redacted.
    pub url: String,
    /// What tells this version from others: an entity tag, or a date with the length.
    pub validator: String,
    /// Bytes of the whole entity.
    pub length: u64,
    /// Bytes of it that are held and checked.
    pub held: u64,
    /// Whether peers may have it.
    pub shareable: bool,
    /// The BLAKE3 of the whole entity in hex, when all of it is held.
    pub blake3: Option<String>,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub created_unix_ms: u64,
    /// When it was last used, in milliseconds since the Unix epoch.
    pub used_unix_ms: u64,
    /// Whether a job or a peer uses it now, so that it cannot be evicted.
    pub in_use: bool,
}

/// The outcome of removing one entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// Bytes that became free on the disk.
    pub freed: u64,
}

/// The outcome of clearing the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cleared {
    /// Entities that were removed.
    pub removed: u64,
    /// Entities that stay because a job or a peer uses them.
    pub kept: u64,
    /// Bytes that became free on the disk.
    pub freed: u64,
}
