//! Why something did not work, in terms that the engine can act on and a person can read.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why something did not work, in terms that the engine can act on and a person can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Whether a further attempt is worth it.
    pub class: FailureClass,
    /// The stable code of the error catalogue.
    pub code: String,
    /// What happened to which object, as a lower-case fragment without secrets.
    pub detail: String,
    /// The pause that the other side asked for.
    pub retry_after: Option<Duration>,
}

/// Whether a further attempt is worth it (F-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// Somebody must change something first.
    Fatal,
    /// May pass by itself.
    Transient,
    /// The origin could not be reached at all: may pass, but whoever watches wants to know at once.
    Unreachable,
    /// This node's own disk, or its open files, stand in the way: full, failing, read-only, without rights, too many. The job
    /// waits and looks after it (C-08, T-50, T-51).
    Disk,
    /// The same of the user's disk, where the file is to stand: the cache gives way first.
    Destination,
}

impl FailureClass {
    /// Whether a condition of this machine is to blame: it ends without the job, and the job notices that by itself.
    #[must_use]
    pub fn is_condition(self) -> bool {
        matches!(self, Self::Disk | Self::Destination)
    }
}

impl Failure {
    /// A failure that needs somebody's hand.
    #[must_use]
    pub fn fatal(code: &str, detail: impl Into<String>) -> Self {
        Self { class: FailureClass::Fatal, code: code.to_owned(), detail: detail.into(), retry_after: None }
    }

    /// A failure that may pass by itself.
    #[must_use]
    pub fn transient(code: &str, detail: impl Into<String>) -> Self {
        Self { class: FailureClass::Transient, code: code.to_owned(), detail: detail.into(), retry_after: None }
    }
}
