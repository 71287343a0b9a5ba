//! Why a job that waits for its turn does not have it.

use super::{Engine, Turns};
use crate::job::spec::JobId;
use crate::job::state::JobState;
use crate::schedule::Class;
use crate::sessions::Sessions;
use std::time::Duration;

/// What a job that is queued waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnWait {
    /// This node gives no turns: it was started to look only.
    NoTurns,
    /// It runs only while its owner is logged on, who is not.
    OwnerAway,
    /// It runs only while its owner is logged on, and nobody can say whether that is so.
    SessionsUnknown,
    /// Its host did not answer, or asked for a pause: nobody asks it before then, monotonic.
    HostSpared(Duration),
    /// Another job tries its host, which did not answer before.
    HostTried,
    /// As many jobs as may are at its host.
    HostBusy,
    /// As many jobs of its owner as may are running.
    OwnerBusy,
    /// As many jobs as may are running, and none of them gives way to it.
    PlacesTaken,
}

impl Engine {
    /// What a job that is queued waits for.
    #[must_use]
    pub fn turn_wait(&self, id: JobId) -> Option<TurnWait> {
        let job = self.roster.get(id).filter(|job| job.state() == JobState::Queued)?;
        let (queue, places) = (self.roster.queue(), &self.places);
        if self.turns == Turns::Given && !self.roster.admits(job) {
            let is_unknown = *self.roster.sessions() == Sessions::Unknown;
            return Some(if is_unknown { TurnWait::SessionsUnknown } else { TurnWait::OwnerAway });
        }
        Some(match Class::of(job.priority(), job.goal()) {
            _ if self.turns == Turns::Withheld => TurnWait::NoTurns,
            Class::Foreground | Class::Held => TurnWait::PlacesTaken,
            Class::Background => match queue.closed_until(job.host()) {
                Some(until) => TurnWait::HostSpared(until),
                None if queue.is_on_trial(job.host()) => TurnWait::HostTried,
                None if queue.is_full(job.host()) => TurnWait::HostBusy,
                None if self.roster.shares().background(job.owner()) >= places.per_owner
                    && self.roster.background() < places.background =>
                {
                    TurnWait::OwnerBusy
                }
                None => TurnWait::PlacesTaken,
            },
        })
    }
}
