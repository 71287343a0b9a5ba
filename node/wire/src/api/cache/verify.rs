//! What became of a verification on demand.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyProgress {
    /// Bytes of the entity that were hashed.
    pub done: u64,
    /// Bytes of it that are held.
    pub held: u64,
}

/// What became of the verification of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifiedView {
    /// The entity's id.
    pub id: String,
    /// Its URL, redacted.
    pub url: String,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Bytes that were not what was written; they are set aside, and fetched again when somebody asks for them.
    pub corrupt: u64,
}
