//! What happened to jobs: a bounded log with a cursor.

use super::JobState;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number, as a text: the cursor behind it. Later ones have larger numbers.
    pub id: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// What happened.
    pub kind: EventKind,
    /// The job's id.
    pub job: String,
    /// The job's name for people.
    pub name: String,
    /// To which user it belongs.
    pub owner: u32,
    /// How it stands then.
    pub state: JobState,
    /// The hook that is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// The stable code of what stopped it, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What exactly happened, if there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What may happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// It was made.
    Created,
    /// It waits for its turn.
    Queued,
    /// It gave its turn to another.
    Preempted,
    /// Bytes begin to arrive.
    Transferring,
    /// A fault that may pass stopped it.
    Waiting,
    /// A fault that needs somebody's hand stopped it.
    Failed,
    /// Somebody stopped it.
    Paused,
    /// Every byte is there and checked.
    Transferred,
    /// What was asked for on demand is there, and its files are not whole.
    RangesTransferred,
    /// Its files stand at their destinations.
    Finished,
    /// Nothing is left of it.
    Cancelled,
    /// Its owner changed it.
    Changed,
    /// Somebody else made it his own.
    Taken,
}

impl EventKind {
    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Preempted => "preempted",
            Self::Transferring => "transferring",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Paused => "paused",
            Self::Transferred => "transferred",
            Self::RangesTransferred => "has its ranges",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Changed => "changed",
            Self::Taken => "taken",
        }
    }
}

/// How long a call waits for a job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// Most seconds, 0 to 25; 25 if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Longest wait of one call, in seconds.
pub const MAX_WAIT: u64 = 25;
