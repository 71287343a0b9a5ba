//! What became of a job is told: to the log, and to those who follow it.

use super::command::Whose;
use super::{Driver, log};
use eddy_engine::job::live::Job;
use eddy_engine::{Goal, JobId, JobState};
use eddy_wire::api::EventKind;

impl Driver {
    /// Shows those who follow a job what became of it, as far as it is due.
    pub(super) fn show(&mut self, changed: &[JobId], ended: &[JobId]) {
        let now = self.now().mono;
        for id in changed.iter().chain(ended) {
            let is_urgent = self.engine.job(*id).is_some_and(|job| self.watchers.is_urgent(now, job));
            if is_urgent
                && let Ok(view) = self.view(Whose::Anybodys, *id)
                && let Some(job) = self.engine.job(*id)
            {
                self.watchers.tell(now, job, view);
            }
        }
        for id in self.watchers.due(now) {
            let view = self.view(Whose::Anybodys, id);
            match (self.engine.job(id), view) {
                (Some(job), Ok(view)) => self.watchers.tell(now, job, view),
                _ => self.watchers.end(id),
            }
        }
    }

    /// Shows those who follow a job that it is finished: its files stand at their destinations and in the ledger, so nobody waits for its row
    /// to go. After a crash in between it is delivered once more, which finds everything done.
    pub(super) fn show_finished(&mut self, id: JobId) {
        if self.engine.job(id).is_some_and(|job| job.state() == JobState::Acknowledged) {
            self.show(&[], &[id]);
        }
    }

    /// Remembers what the log is told.
    pub(super) fn note(&mut self, news: &[(JobId, EventKind)]) {
        for (id, _) in news {
            match self.engine.job(*id).map(Job::state) {
                Some(state) => drop(self.told.insert(*id, state)),
                None => drop(self.told.remove(id)),
            }
        }
    }

    /// What is new about a job since the log was told last.
    pub(super) fn news_of(&self, id: JobId) -> Option<EventKind> {
        // What is only held is nobody's job.
        let job = self.engine.job(id).filter(|job| job.goal() != Goal::Hold)?;
        let (state, told) = (job.state(), self.told.get(&id).copied());
        if told == Some(state) {
            return None;
        }
        Some(match state {
            JobState::Suspended if told.is_none() => EventKind::Created,
            JobState::Suspended if job.has_ranges() => EventKind::RangesTransferred,
            JobState::Suspended => EventKind::Paused,
            JobState::Queued if told.is_some_and(JobState::is_active) => EventKind::Preempted,
            JobState::Queued => EventKind::Queued,
            JobState::Connecting => return None,
            JobState::Transferring => EventKind::Transferring,
            JobState::TransientError => EventKind::Waiting,
            JobState::Error => EventKind::Failed,
            JobState::Transferred => EventKind::Transferred,
            JobState::Acknowledged => EventKind::Finished,
            JobState::Cancelled => EventKind::Cancelled,
        })
    }

    /// Tells the log; what it was told is with the system when this returns.
    pub(super) async fn tell(&self, news: Vec<(JobId, EventKind)>) {
        let at = u64::try_from(self.now().wall).unwrap_or_default().saturating_mul(1000);
        let events = news.into_iter().filter_map(|(id, kind)| Some(log::event(kind, self.engine.job(id)?, at)));
        let events: Vec<_> = events.collect();
        if !events.is_empty() {
            let log = self.events.clone();
            // A disk that hangs holds nothing up but this.
            let _ = tokio::task::spawn_blocking(move || log.append(events)).await;
        }
    }
}
