//! What is wrong with a node, and what to do about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing has to be done.
    Note,
    /// It works, but not as it should.
    Warning,
    /// Something is lost, or does not work.
    Error,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// On what: a file, an entity, a setting.
    pub object: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is the matter.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether it has been mended.
    pub mended: bool,
}

impl Finding {
    /// Whether somebody should do something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.mended && self.severity > Severity::Note
    }
}

/// What an examination came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DoctorReport {
    /// The node that runs here, so that the store was looked at through it; its process.
    pub running: Option<u32>,
    /// Entities that were looked at.
    pub entities: u64,
    /// Bytes that were hashed.
    pub hashed: u64,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}
