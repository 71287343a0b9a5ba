//! The life of a job: nine states, one transition table.
//!
//! States and transitions are those of BITS (inventory section 1.3); the whole state-by-event matrix is a reviewed snapshot.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Makes an enum that names all of its variants, so that none can be left out of the matrix.
macro_rules! in_the_matrix {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$what:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        pub enum $name { $($(#[$what])* $variant,)* }

        impl $name {
            /// Every one there is.
            pub const ALL: [Self; [$(stringify!($variant)),*].len()] = [$(Self::$variant),*];
        }
    };
}

in_the_matrix! {
/// Where a job stands, in BITS's numbering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Asks the origin what there is.
    Connecting,
    /// Bytes are moving.
    Transferring,
    /// Stopped by its owner, or not yet started.
    Suspended,
    /// Stopped by a fault that needs somebody's hand.
    Error,
    /// Stopped by a fault that may pass; tries again by itself.
    TransientError,
    /// Every file is whole and verified, nothing is visible yet.
    Transferred,
    /// Final: delivered.
    Acknowledged,
    /// Final: cancelled.
    Cancelled,
}
}

in_the_matrix! {
/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// The owner lets it run.
    Resume,
    /// The owner stops it.
    Suspend,
    /// The owner takes what is whole and ends it.
    Complete,
    /// The owner throws it away, or it was forgotten for too long (F-23).
    Cancel,
    /// The scheduler gives it the turn.
    Turn,
    /// The first answer of an origin has come.
    Connected,
    /// Preempted, or its time slice is over.
    Preempt,
    /// Every file is whole and verified.
    AllDone,
    /// What was asked for on demand is there, and some file is not whole (F-57).
    RangesDone,
    /// A fault that may pass.
    Falter,
    /// A fault that needs somebody's hand.
    Fail,
    /// The retry delay has elapsed, or the network has come up.
    Retry,
    /// A file was added after all were done.
    FilesAdded,
    /// The delivery of some file failed; the job stays until that is mended.
    DeliveryFailed,
    /// The delivery of some file failed for a reason that may pass; it is tried again.
    DeliveryFaltered,
}
}

/// The event does not fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} cannot {event}")]
pub struct IllegalTransition {
    /// The state that the job keeps.
    pub state: JobState,
    /// The event that was refused.
    pub event: JobEvent,
}

impl JobState {
    /// The transition table.
    pub fn after(self, event: JobEvent) -> Result<Self, IllegalTransition> {
        use JobEvent as E;
        use JobState as S;
        let next = match (self, event) {
            (S::Acknowledged | S::Cancelled, _) => None,
            (_, E::Cancel) => Some(S::Cancelled),
            (_, E::Complete) => Some(S::Acknowledged),
            (S::Transferred, E::DeliveryFailed) => Some(S::Transferred),
            // Whatever it was doing, its owner wanted it delivered.
            (_, E::DeliveryFaltered) => Some(S::TransientError),
            (S::Suspended | S::TransientError | S::Error, E::Resume) => Some(S::Queued),
            // Resuming what already runs, or is done, changes nothing.
            (S::Queued | S::Connecting | S::Transferring | S::Transferred, E::Resume) => Some(self),
            (_, E::Suspend) => Some(S::Suspended),
            (S::Queued, E::Turn) => Some(S::Connecting),
            (S::Connecting, E::Connected) => Some(S::Transferring),
            (S::Connecting | S::Transferring, E::Preempt) => Some(S::Queued),
            (S::Transferring, E::AllDone) => Some(S::Transferred),
            (S::Transferring, E::RangesDone) => Some(S::Suspended),
            (S::Queued | S::Connecting | S::Transferring, E::Falter) => Some(S::TransientError),
            (S::Connecting | S::Transferring | S::TransientError, E::Fail) => Some(S::Error),
            (S::TransientError, E::Retry) => Some(S::Queued),
            (S::Transferred, E::FilesAdded) => Some(S::Queued),
            _ => None,
        };
        next.ok_or(IllegalTransition { state: self, event })
    }

    /// Whether nothing can happen to the job any more.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Cancelled)
    }

    /// Whether the job occupies one of the scheduler's places.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Connecting | Self::Transferring)
    }

    /// The state to write down: what runs now will have to queue again after a restart.
    #[must_use]
    pub fn at_rest(self) -> Self {
        if self.is_active() { Self::Queued } else { self }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Transferring => "transferring",
            Self::Suspended => "suspended",
            Self::Error => "in error",
            Self::TransientError => "waiting to try again",
            Self::Transferred => "transferred",
            Self::Acknowledged => "delivered",
            Self::Cancelled => "cancelled",
        })
    }
}

impl fmt::Display for JobEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resume => "be resumed",
            Self::Suspend => "be paused",
            Self::Complete => "be finished",
            Self::Cancel => "be cancelled",
            Self::Turn => "get the turn",
            Self::Connected => "become connected",
            Self::Preempt => "be preempted",
            Self::AllDone => "become transferred",
            Self::RangesDone => "rest with what was asked for",
            Self::Falter => "falter",
            Self::Fail => "fail",
            Self::Retry => "be retried",
            Self::FilesAdded => "take more files",
            Self::DeliveryFailed => "fail its delivery",
            Self::DeliveryFaltered => "falter in its delivery",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    #[test]
    fn the_whole_matrix_is_as_reviewed() {
        let mut matrix = String::new();
        for state in JobState::ALL {
            writeln!(matrix, "{state:?}").unwrap();
            for event in JobEvent::ALL {
                match state.after(event) {
                    Ok(next) => writeln!(matrix, "    {event:?} -> {next:?}").unwrap(),
                    Err(refusal) => writeln!(matrix, "    {event:?} -- {refusal}").unwrap(),
                }
            }
        }
        insta::assert_snapshot!(matrix);
    }

    #[test]
    fn nothing_leaves_a_final_state() {
        for state in [JobState::Acknowledged, JobState::Cancelled] {
            assert!(JobEvent::ALL.iter().all(|event| state.after(*event).is_err()));
        }
    }

    #[test]
    fn every_state_can_be_reached_from_creation() {
        let mut reached = vec![JobState::Suspended];
        let mut next = 0;
        while next < reached.len() {
            for event in JobEvent::ALL {
                if let Ok(state) = reached[next].after(event)
                    && !reached.contains(&state)
                {
                    reached.push(state);
                }
            }
            next += 1;
        }
        assert_eq!(reached.len(), JobState::ALL.len());
    }
}
